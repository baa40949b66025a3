#include "ops/embedding.cuh"

#include "bindings/device.hpp"

namespace kernelmill {

namespace {

using Index = std::span<const index_t>;

index_t length(Index values) { return static_cast<index_t>(values.size()); }

template <class T>
embedding::Bags<T> bags_of(Index index, Index offsets, const Acc<T>* sample_weight, index_t mode,
                           index_t padding) {
  return {index.data(),    offsets.data(), length(index),
          length(offsets), sample_weight,  static_cast<embedding::Mode>(mode),
          padding};
}

template <class T>
void forward(const Call& call, Scratch* scratch, MatrixView<const T> weight, Index index, T* y) {
  embedding::forward<T>(call, weight, index.data(), length(index), y, scratch->make<RangeSpace>());
}

template <class T>
void backward(const Call& call, Scratch* scratch, DeviceRows<T> dout, Index index, index_t rows,
              index_t padding, Acc<T>* dweight) {
  embedding::backward<T>(call, dout, index.data(), rows, padding, dweight,
                         scratch->make<embedding::SumsSpace>(call, dout.n, dout.d, rows));
}

template <class T>
void bag(const Call& call, Scratch* scratch, MatrixView<const T> weight, Index index, Index offsets,
         const Acc<T>* sample_weight, index_t mode, index_t padding, T* y) {
  embedding::bag<T>(call, weight, bags_of<T>(index, offsets, sample_weight, mode, padding), y,
                    scratch->make<RangeSpace>());
}

template <class T>
void bag_backward(const Call& call, Scratch* scratch, MatrixView<const T> dout,
                  MatrixView<const T> weight, Index index, Index offsets,
                  const Acc<T>* sample_weight, index_t mode, index_t padding, Acc<T>* dweight,
                  Acc<T>* dsample_weight) {
  embedding::bag_backward<T>(
      call, dout, weight, bags_of<T>(index, offsets, sample_weight, mode, padding), dweight,
      dsample_weight,
      scratch->make<embedding::BagSpace>(call, length(index), weight.cols, weight.rows));
}

}  // namespace

void bind_embedding(Family family) {
  family.op<KERNELMILL_STORED(forward)>("forward");
  family.op<KERNELMILL_STORED(backward)>("backward");
  family.op<KERNELMILL_STORED(bag)>("bag");
  family.op<KERNELMILL_STORED(bag_backward)>("bag_backward");
}

}  // namespace kernelmill
