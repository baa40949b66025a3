#include "ops/embedding.hpp"

#include "bindings/family.hpp"

namespace kernelmill {

namespace {

using Index = std::span<const index_t>;

template <class T>
void backward(MatrixView<const T> dout, Index index, index_t, index_t padding,
              MatrixView<T> dweight) {
  embedding::backward<T>(dout, index, padding, dweight);
}

template <class T>
void bag(MatrixView<const T> weight, Index index, Index offsets, std::span<const T> sample_weight,
         index_t mode, index_t padding, MatrixView<T> y) {
  embedding::bag<T>(
      weight, {index, offsets, sample_weight, static_cast<embedding::Mode>(mode), padding}, y);
}

template <class T>
void bag_backward(MatrixView<const T> dout, MatrixView<const T> weight, Index index, Index offsets,
                  std::span<const T> sample_weight, index_t mode, index_t padding,
                  MatrixView<T> dweight, std::span<T> dsample_weight) {
  embedding::bag_backward<T>(
      dout, weight, {index, offsets, sample_weight, static_cast<embedding::Mode>(mode), padding},
      dweight, dsample_weight);
}

}  // namespace

void bind_embedding(Family family) {
  family.op<embedding::forward<float>, embedding::forward<double>>("forward");
  family.op<backward<float>, backward<double>>("backward");
  family.op<bag<float>, bag<double>>("bag");
  family.op<bag_backward<float>, bag_backward<double>>("bag_backward");
}

}  // namespace kernelmill
