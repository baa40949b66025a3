#include "ops/linear_activations.hpp"

#include "ops/elementwise_functions.hpp"  // row_<name>

namespace kernelmill::linear {
namespace {

template <class T, class F>
KERNELMILL_INLINE void apply(T* values, index_t count, F f) {
#pragma omp simd
  for (index_t i = 0; i < count; ++i) values[i] = f(values[i]);
}

template <class T, T (*f)(T)>
void activate(T* values, index_t count, T) {
  apply(values, count, [](T x) { return f(x); });
}
template <class T, T (*f)(T, T)>
void activate(T* values, index_t count, T parameter) {
  apply(values, count, [parameter](T x) { return f(x, parameter); });
}

template <class T>
constexpr Activate<T> kActivations[] = {
    nullptr,
    activate<T, elementwise::row_relu<T>>,
    activate<T, elementwise::row_logistic<T>>,
    activate<T, elementwise::row_tanh<T>>,
    activate<T, elementwise::row_gelu<T>>,
    activate<T, elementwise::row_gelu_tanh<T>>,
    activate<T, elementwise::row_silu<T>>,
    activate<T, elementwise::row_leaky_relu<T>>,
    activate<T, elementwise::row_elu<T>>,
    activate<T, elementwise::row_selu<T>>,
    activate<T, elementwise::row_softplus<T>>,
    activate<T, elementwise::row_log_sigmoid<T>>,
};

}  // namespace

template <class T>
Activate<T> activation_at(index_t place) {
  return kActivations<T>[place];
}
template Activate<float> activation_at(index_t);
template Activate<double> activation_at(index_t);

}  // namespace kernelmill::linear
