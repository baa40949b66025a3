// Activations that layers apply to adjacent values while these are near.
#pragma once

#include "core/matrix.hpp"  // index_t

namespace kernelmill::linear {

template <class T>
using Activate = void (*)(T* values, index_t count, T parameter);

// The one at that place of ACTIVATIONS in python/kernelmill/ops/linear.py: null for none.
template <class T>
Activate<T> activation_at(index_t place);
extern template Activate<float> activation_at(index_t);
extern template Activate<double> activation_at(index_t);

}  // namespace kernelmill::linear
