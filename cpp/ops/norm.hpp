// Twins of python/kernelmill/ops/norm.py. Views have shape (n, c, k): c channels of k places in n
// samples.
#pragma once

#include <span>  // std::span

#include "core/matrix.hpp"  // CubeView

namespace kernelmill::norm {

// Spans hold c parameters, or none; n groups statistics.
template <class T>
void group(CubeView<const T> x, std::span<const T> weight, std::span<const T> bias, index_t groups,
           double eps, bool centered, CubeView<T> y, std::span<double> mean,
           std::span<double> inverse);
template <class T>
void group_backward(CubeView<const T> dout, CubeView<const T> x, MatrixView<const double> mean,
                    std::span<const double> inverse, std::span<const T> weight, bool centered,
                    CubeView<T> dx, std::span<T> dweight, std::span<T> dbias);

// c statistics.
template <class T>
void batch(CubeView<const T> x, std::span<const T> weight, std::span<const T> bias, double eps,
           CubeView<T> y, std::span<double> mean, std::span<double> variance,
           std::span<double> inverse);
template <class T>
void batch_evaluate(CubeView<const T> x, std::span<const double> mean,
                    std::span<const double> inverse, std::span<const T> weight,
                    std::span<const T> bias, CubeView<T> y);
template <class T>
void batch_backward(CubeView<const T> dout, CubeView<const T> x, std::span<const double> mean,
                    std::span<const double> inverse, std::span<const T> weight, bool evaluate,
                    CubeView<T> dx, std::span<T> dweight, std::span<T> dbias);

}  // namespace kernelmill::norm
