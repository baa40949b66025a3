// The sizes of the steps are read on the host, so that a whole recurrence is queued at once.
#include "ops/recurrent.cuh"

#include <algorithm>  // std::reverse

#include "bindings/device.hpp"
#include "core/error.hpp"  // invalid

namespace kernelmill {

namespace {

using BatchSizes = std::span<const index_t>;
using recurrent::BackwardSpace;
using recurrent::ForwardSpace;
using recurrent::Sizes;
using recurrent::Steps;

// What the signature cannot say. Sizes may be of any magnitude: sums wrap as in NumPy.
Steps steps_of(const Call& call, BatchSizes sizes, bool reverse, index_t rows, index_t sequences) {
  Steps steps;
  std::uint64_t sum = 0;
  index_t most = sequences;
  bool valid = true;
  for (const index_t size : sizes) {
    valid = valid && size >= 0 && size <= most;
    most = size;
    if (size > 0) steps.push_back({static_cast<index_t>(sum), size});
    sum += static_cast<std::uint64_t>(size);
  }
  if (!valid || static_cast<index_t>(sum) != rows) {
    invalid(call.op, "batch_sizes must never rise, start with at most ", sequences,
            " and add up to ", rows, ", got a sum of ", static_cast<index_t>(sum));
  }
  if (reverse) std::reverse(steps.begin(), steps.end());
  return steps;
}

void check_square(const Call& call, const Sizes& s) {
  if (!s.projected && s.width != s.units) {
    invalid(call.op, "weight must be square for each gate without a projection, got shape (4, ",
            s.units, ", ", s.width, ")");
  }
}

template <class T>
void elman_forward(const Call& call, Scratch* scratch, const T* weight, const T* bias,
                   BatchSizes sizes, bool relu, bool reverse, MatrixView<T> y, MatrixView<T> h) {
  const Steps steps = steps_of(call, sizes, reverse, y.rows, h.rows);
  const Sizes s{1, h.cols, h.cols, h.rows, false};
  recurrent::elman_forward<T>(call, steps, s, weight, bias, relu, y.data, h.data,
                              scratch->make<ForwardSpace<T>>(s));
}

template <class T>
void elman_backward(const Call& call, Scratch* scratch, const T* y, MatrixView<const T> dy,
                    const T* weight, BatchSizes sizes, bool relu, bool reverse, MatrixView<T> dh,
                    MatrixView<T> dgates) {
  const Steps steps = steps_of(call, sizes, reverse, dgates.rows, dh.rows);
  const Sizes s{1, dh.cols, dh.cols, dh.rows, false};
  recurrent::elman_backward<T>(call, steps, s, y, dy, weight, relu, dh.data, dgates.data,
                               scratch->make<BackwardSpace<T>>(s));
}

template <class T>
void lstm_forward(const Call& call, Scratch* scratch, const T* weight, const T* bias,
                  MatrixView<const T> projection, BatchSizes sizes, bool reverse, T* gates,
                  MatrixView<T> h, MatrixView<T> c, MatrixView<T> y, T* cells) {
  const Sizes s{4, c.cols, h.cols, h.rows, projection.data != nullptr};
  check_square(call, s);
  const Steps steps = steps_of(call, sizes, reverse, y.rows, h.rows);
  recurrent::lstm_forward<T>(call, steps, s, weight, bias, projection,
                             {gates, h.data, c.data, y.data, cells},
                             scratch->make<ForwardSpace<T>>(s));
}

template <class T>
void lstm_backward(const Call& call, Scratch* scratch, const T* gates, DenseView<T> cells,
                   MatrixView<const T> dy, const T* weight, MatrixView<const T> projection,
                   BatchSizes sizes, bool reverse, bool skip, MatrixView<T> dh, MatrixView<T> dc,
                   T* dgates, T* dstates, T* m) {
  const Sizes s{4, dc.cols, dh.cols, dh.rows, projection.data != nullptr};
  check_square(call, s);
  const Steps steps = steps_of(call, sizes, reverse, cells.shape[0], dh.rows);
  recurrent::lstm_backward<T>(
      call, steps, s, gates, cells.data, dy, weight, projection,
      {dh.data, dc.data, dgates, skip ? nullptr : dstates, skip ? nullptr : m},
      scratch->make<BackwardSpace<T>>(s));
}

template <class T>
void gru_forward(const Call& call, Scratch* scratch, const T* weight, const T* bias,
                 BatchSizes sizes, bool reverse, T* gates, MatrixView<T> h, MatrixView<T> y, T* q) {
  const Steps steps = steps_of(call, sizes, reverse, y.rows, h.rows);
  const Sizes s{3, h.cols, h.cols, h.rows, false};
  recurrent::gru_forward<T>(call, steps, s, weight, bias, gates, h.data, y.data, q,
                            scratch->make<ForwardSpace<T>>(s));
}

template <class T>
void gru_backward(const Call& call, Scratch* scratch, const T* gates, const T* q, const T* y,
                  const T* h0, MatrixView<const T> dy, const T* weight, BatchSizes sizes,
                  bool reverse, MatrixView<T> dh, T* dgates, MatrixView<T> dq) {
  const Steps steps = steps_of(call, sizes, reverse, dq.rows, dh.rows);
  const Sizes s{3, dh.cols, dh.cols, dh.rows, false};
  recurrent::gru_backward<T>(call, steps, s, {gates, q, y, h0}, dy, weight, dh.data, dgates,
                             dq.data, scratch->make<BackwardSpace<T>>(s));
}

}  // namespace

void bind_recurrent(Family family) {
  family.op<KERNELMILL_STORED(elman_forward)>("elman_forward");
  family.op<KERNELMILL_STORED(elman_backward)>("elman_backward");
  family.op<KERNELMILL_STORED(lstm_forward)>("lstm_forward");
  family.op<KERNELMILL_STORED(lstm_backward)>("lstm_backward");
  family.op<KERNELMILL_STORED(gru_forward)>("gru_forward");
  family.op<KERNELMILL_STORED(gru_backward)>("gru_backward");
}

}  // namespace kernelmill
