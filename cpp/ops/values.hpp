// Twins of python/kernelmill/ops/values.py.
#pragma once

#include <tuple>  // results

#include "core/matrix.hpp"  // MatrixView

namespace kernelmill {

template <class T>
std::tuple<double, index_t> extent(MatrixView<const T> X);

}  // namespace kernelmill
