#include "ops/recurrent.hpp"

#include "bindings/family.hpp"
#include "core/error.hpp"  // invalid

namespace kernelmill {

namespace {

using Sizes = std::span<const index_t>;
using recurrent::Steps;

// What the signature cannot say. Sizes may be of any magnitude: sums wrap as in NumPy.
Steps checked(const char* op, Sizes sizes, bool reverse, index_t rows, index_t sequences) {
  std::uint64_t sum = 0;
  index_t most = sequences;
  bool valid = true;
  for (const index_t size : sizes) {
    valid = valid && size >= 0 && size <= most;
    most = size;
    sum += static_cast<std::uint64_t>(size);
  }
  if (!valid || static_cast<index_t>(sum) != rows) {
    invalid(op, "batch_sizes must never rise, start with at most ", sequences, " and add up to ",
            rows, ", got a sum of ", static_cast<index_t>(sum));
  }
  return {sizes, reverse};
}

template <class T>
void elman_forward(const T* weight, const T* bias, Sizes sizes, bool relu, bool reverse,
                   MatrixView<T> y, MatrixView<T> h) {
  const Steps steps = checked("recurrent.elman_forward", sizes, reverse, y.rows, h.rows);
  recurrent::elman_forward<T>(steps, weight, bias, relu, y.data, h);
}

template <class T>
void elman_backward(std::span<const T> y, MatrixView<const T> dy, const T* weight, Sizes sizes,
                    bool relu, bool reverse, MatrixView<T> dh, MatrixView<T> dgates) {
  const Steps steps = checked("recurrent.elman_backward", sizes, reverse, dgates.rows, dh.rows);
  recurrent::elman_backward<T>(steps, y.data(), dy, weight, relu, dh, dgates.data);
}

void check_square(const char* op, index_t p, index_t u, bool projected) {
  if (!projected && p != u) {
    invalid(op, "weight must be square for each gate without a projection, got shape (4, ", u, ", ",
            p, ")");
  }
}

template <class T>
void lstm_forward(const T* weight, const T* bias, MatrixView<const T> projection, Sizes sizes,
                  bool reverse, T* gates, MatrixView<T> h, MatrixView<T> c, MatrixView<T> y,
                  T* cells) {
  constexpr const char* op = "recurrent.lstm_forward";
  check_square(op, h.cols, c.cols, projection.data != nullptr);
  const Steps steps = checked(op, sizes, reverse, y.rows, h.rows);
  recurrent::lstm_forward<T>(steps, weight, bias, projection, gates, h, c, y.data, cells);
}

template <class T>
void lstm_backward(const T* gates, DenseView<T> cells, MatrixView<const T> dy, const T* weight,
                   MatrixView<const T> projection, Sizes sizes, bool reverse, bool skip,
                   MatrixView<T> dh, MatrixView<T> dc, T* dgates, T* dstates, T* m) {
  constexpr const char* op = "recurrent.lstm_backward";
  check_square(op, dh.cols, dc.cols, projection.data != nullptr);
  const Steps steps = checked(op, sizes, reverse, cells.shape[0], dh.rows);
  recurrent::lstm_backward<T>(steps, gates, cells.data, dy, weight, projection, dh, dc, dgates,
                              skip ? nullptr : dstates, skip ? nullptr : m);
}

template <class T>
void gru_forward(const T* weight, const T* bias, Sizes sizes, bool reverse, T* gates,
                 MatrixView<T> h, MatrixView<T> y, T* q) {
  const Steps steps = checked("recurrent.gru_forward", sizes, reverse, y.rows, h.rows);
  recurrent::gru_forward<T>(steps, weight, bias, gates, h, y.data, q);
}

template <class T>
void gru_backward(const T* gates, const T* q, const T* y, const T* h0, MatrixView<const T> dy,
                  const T* weight, Sizes sizes, bool reverse, MatrixView<T> dh, T* dgates,
                  MatrixView<T> dq) {
  const Steps steps = checked("recurrent.gru_backward", sizes, reverse, dq.rows, dh.rows);
  recurrent::gru_backward<T>(steps, gates, q, y, h0, dy, weight, dh, dgates, dq.data);
}

}  // namespace

void bind_recurrent(Family family) {
  family.op<elman_forward<float>, elman_forward<double>>("elman_forward");
  family.op<elman_backward<float>, elman_backward<double>>("elman_backward");
  family.op<lstm_forward<float>, lstm_forward<double>>("lstm_forward");
  family.op<lstm_backward<float>, lstm_backward<double>>("lstm_backward");
  family.op<gru_forward<float>, gru_forward<double>>("gru_forward");
  family.op<gru_backward<float>, gru_backward<double>>("gru_backward");
}

}  // namespace kernelmill
