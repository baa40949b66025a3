// Twins of python/kernelmill/ops/embedding.py.
#pragma once

#include <span>  // std::span

#include "core/matrix.hpp"  // MatrixView

namespace kernelmill::embedding {

// In the order of MODES.
enum class Mode { sum, mean, max };

// Positions in bags: offsets hold the first of each.
template <class T>
struct Bags {
  std::span<const index_t> index, offsets;
  std::span<const T> sample_weight;  // or empty
  Mode mode;
  index_t padding;

  index_t begin(index_t b) const { return offsets[static_cast<std::size_t>(b)]; }
  index_t end(index_t b) const {
    const auto next = static_cast<std::size_t>(b + 1);
    return next < offsets.size() ? offsets[next] : static_cast<index_t>(index.size());
  }
};

template <class T>
void forward(MatrixView<const T> weight, std::span<const index_t> index, MatrixView<T> y);
template <class T>
void backward(MatrixView<const T> dout, std::span<const index_t> index, index_t padding,
              MatrixView<T> dweight);
template <class T>
void bag(MatrixView<const T> weight, const Bags<T>& bags, MatrixView<T> y);
template <class T>
void bag_backward(MatrixView<const T> dout, MatrixView<const T> weight, const Bags<T>& bags,
                  MatrixView<T> dweight, std::span<T> dsample_weight);

#define KERNELMILL_EMBEDDING(linkage, T)                                                          \
  linkage template void forward<T>(MatrixView<const T>, std::span<const index_t>, MatrixView<T>); \
  linkage template void backward<T>(MatrixView<const T>, std::span<const index_t>, index_t,       \
                                    MatrixView<T>);                                               \
  linkage template void bag<T>(MatrixView<const T>, const Bags<T>&, MatrixView<T>);               \
  linkage template void bag_backward<T>(MatrixView<const T>, MatrixView<const T>, const Bags<T>&, \
                                        MatrixView<T>, std::span<T>);
KERNELMILL_EMBEDDING(extern, float)
KERNELMILL_EMBEDDING(extern, double)

}  // namespace kernelmill::embedding
