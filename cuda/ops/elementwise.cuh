// Elementary functions: the CUDA twins of python/kernelmill/ops/elementwise.py, whose docstrings
// are the contract.
#pragma once

#include "core/call.hpp"  // Call

namespace kernelmill {

enum class Function { exp, log, log1p, tanh, erf, logistic };

// y[i] = function(x[i]) for 0 <= i < count.
template <class T>
void apply(const Call& call, Function function, const T* x, index_t count, T* y);

}  // namespace kernelmill
