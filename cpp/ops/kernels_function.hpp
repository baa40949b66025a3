// From products, squared distances or other sums over features to values of a kernel function.
#pragma once

#include <cmath>    // std::pow
#include <cstdint>  // powers

#include "core/math.hpp"  // exp, tanh
#include "ops/kernels.hpp"

namespace kernelmill::kernels {

// Whether k is no function of a product: a sum over features of a function of x_p and y_p.
inline bool of_sums(Kind kind) { return kind == Kind::laplacian || kind == Kind::chi2; }

// values[l] from a product, a squared distance or a sum, for l < count.
template <class T>
[[gnu::noinline]] void finish(const Function& f, T* values, index_t count) {
  const T gamma = static_cast<T>(f.gamma), coef0 = static_cast<T>(f.coef0);
  switch (f.kind) {
    case Kind::linear:
      return;
    case Kind::poly: {
      const bool whole = is_whole(f.degree);
      const auto e = whole ? static_cast<std::uint32_t>(f.degree) : 0U;
      for (index_t l = 0; l < count; ++l) {
        const T base = gamma * values[l] + coef0;
        values[l] = whole ? whole_power(base, e)
                          : static_cast<T>(std::pow(static_cast<double>(base), f.degree));
      }
      return;
    }
    case Kind::sigmoid:
#pragma omp simd
      for (index_t l = 0; l < count; ++l)
        values[l] = kernelmill::tanh<T>(gamma * values[l] + coef0);
      return;
    default:
#pragma omp simd
      for (index_t l = 0; l < count; ++l) values[l] = kernelmill::exp<T>(-gamma * values[l]);
  }
}

}  // namespace kernelmill::kernels
