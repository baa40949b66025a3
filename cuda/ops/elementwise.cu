// The accurate functions of the CUDA library (errors of 1 to 2 units in the last place, tables in
// the CUDA programming guide), one pass over memory, 16 bytes a thread at a time.

#include "ops/elementwise.cuh"

#include <cmath>    // exp, log, log1p, tanh, erf
#include <cstdint>  // std::uintptr_t

#include "core/launch.cuh"  // launch
#include "core/tile.cuh"    // Pack

namespace kernelmill {
namespace {

constexpr int kThreads = 256;

// y = F(x)
struct Exp {
  template <class T>
  __device__ T operator()(T x) const {
    return ::exp(x);
  }
};
struct Log {
  template <class T>
  __device__ T operator()(T x) const {
    return ::log(x);
  }
};
struct Log1p {
  template <class T>
  __device__ T operator()(T x) const {
    return ::log1p(x);
  }
};
struct Tanh {
  template <class T>
  __device__ T operator()(T x) const {
    return ::tanh(x);
  }
};
struct Erf {
  template <class T>
  __device__ T operator()(T x) const {
    return ::erf(x);
  }
};
// e^-|x| never overflows, and below zero the result keeps its relative accuracy.
struct Logistic {
  template <class T>
  __device__ T operator()(T x) const {
    const T z = ::exp(-::fabs(x));
    return (x < T(0) ? z : T(1)) / (T(1) + z);
  }
};

template <class T, class F>
__global__ void __launch_bounds__(kThreads) apply_kernel(const T* x, index_t count, T* y) {
  constexpr F f{};
  const index_t packs = count / Pack<T>::size;
  for (index_t i = global_thread(); i < packs; i += global_threads()) {
    Pack<T> value = reinterpret_cast<const Pack<T>*>(x)[i];
#pragma unroll
    for (int e = 0; e < Pack<T>::size; ++e) value.at[e] = f(value.at[e]);
    reinterpret_cast<Pack<T>*>(y)[i] = value;
  }
  const index_t rest = packs * Pack<T>::size + global_thread();
  if (rest < count) y[rest] = f(x[rest]);
}

template <class T, class F>
__global__ void unaligned_kernel(const T* x, index_t count, T* y) {
  constexpr F f{};
  for (index_t i = global_thread(); i < count; i += global_threads()) y[i] = f(x[i]);
}

template <class F, class T>
void run(const Call& call, const T* x, index_t count, T* y) {
  if (count == 0) return;
  if ((reinterpret_cast<std::uintptr_t>(x) | reinterpret_cast<std::uintptr_t>(y)) % 16 == 0) {
    launch(call, apply_kernel<T, F>, grid_for(div_up(count, Pack<T>::size), kThreads), kThreads, x,
           count, y);
  } else {
    launch(call, unaligned_kernel<T, F>, grid_for(count, kThreads), kThreads, x, count, y);
  }
}

}  // namespace

template <class T>
void apply(const Call& call, Function function, const T* x, index_t count, T* y) {
  switch (function) {
    case Function::exp:
      return run<Exp>(call, x, count, y);
    case Function::log:
      return run<Log>(call, x, count, y);
    case Function::log1p:
      return run<Log1p>(call, x, count, y);
    case Function::tanh:
      return run<Tanh>(call, x, count, y);
    case Function::erf:
      return run<Erf>(call, x, count, y);
    case Function::logistic:
      return run<Logistic>(call, x, count, y);
  }
}

template void apply<float>(const Call&, Function, const float*, index_t, float*);
template void apply<double>(const Call&, Function, const double*, index_t, double*);

}  // namespace kernelmill
