// Twins of python/kernelmill/ops/softmax.py. Views have shape (n, c, k), softmax runs over c.
#pragma once

#include <span>  // std::span

#include "core/matrix.hpp"  // CubeView

namespace kernelmill::softmax {

template <class T>
void softmax(CubeView<const T> x, CubeView<T> y);
template <class T>
void log_softmax(CubeView<const T> x, CubeView<T> y);
template <class T>
void softmax_backward(CubeView<const T> dout, CubeView<const T> y, CubeView<T> dx);
template <class T>
void log_softmax_backward(CubeView<const T> dout, CubeView<const T> y, CubeView<T> dx);

// Spans of positions hold n k values; weight holds c or none. Returns the sum of the weights of the
// targets that count.
template <class T>
double cross_entropy(CubeView<const T> logits, std::span<const index_t> target,
                     std::span<const T> weight, index_t ignore_index, double label_smoothing,
                     std::span<T> losses, std::span<double> lse);
template <class T>
void cross_entropy_backward(std::span<const T> dout, CubeView<const T> logits,
                            std::span<const double> lse, std::span<const index_t> target,
                            std::span<const T> weight, index_t ignore_index, double label_smoothing,
                            CubeView<T> dlogits);

}  // namespace kernelmill::softmax
