// The losses of boosting: values and derivatives of a row, on the CPU and on a GPU.
#pragma once

#include <cmath>  // the C library's functions

#include "core/both.hpp"  // KERNELMILL_BOTH
#if !defined(__CUDACC__)
#include "core/math.hpp"  // exp, log1p, tanh: the same bits with every C library
#endif
#include "ops/histogram_types.hpp"

namespace kernelmill::histogram {

struct Slope {
  double g, h;
};

template <Loss loss>
KERNELMILL_BOTH inline Slope slope_of(double x, double y, double a) {
  const double r = x - y;
  if constexpr (loss == Loss::squared) return {r, 1};
  if constexpr (loss == Loss::absolute) return {(r > 0 ? 1.0 : 0.0) - (r < 0 ? 1.0 : 0.0), 1};
  if constexpr (loss == Loss::quantile) {
    return {(r > 0 ? 1 - a : 0.0) - (r < 0 ? a : 0.0), 1};
  }
  if constexpr (loss == Loss::huber) {
    const double low = r < -a ? -a : r;
    return {low > a ? a : low, 1};
  }
  if constexpr (loss == Loss::log_cosh) {
    const double t = tanh(r);
    const bool far = fabs(r) > 1e-4;  // tanh(r) / r is 1 - r^2 / 3
    return {t, far ? t / (far ? r : 1.0) : 1.0};
  }
  if constexpr (loss == Loss::poisson) {
    const double e = exp(x);
    return {e - y, e};
  }
  if constexpr (loss == Loss::gamma) {
    const double e = y * exp(-x);
    return {1 - e, e};
  }
  const double e = exp(-fabs(x)), one = 1 / (1 + e), p = x >= 0 ? one : e * one;
  return {p - y, e * one * one};
}

template <Loss loss>
KERNELMILL_BOTH inline double loss_of(double x, double y, double a) {
  const double r = x - y, size = fabs(r);
  if constexpr (loss == Loss::squared) return r * r / 2;
  if constexpr (loss == Loss::absolute) return size;
  if constexpr (loss == Loss::quantile) return r > 0 ? (1 - a) * r : -a * r;
  if constexpr (loss == Loss::huber) return size <= a ? r * r / 2 : a * (size - a / 2);
  if constexpr (loss == Loss::log_cosh) return size + log1p(expm1(-2 * size) / 2);
  if constexpr (loss == Loss::poisson) return exp(x) - y * x;
  if constexpr (loss == Loss::gamma) return x + y * exp(-x);
  return (x > 0 ? x : 0.0) + log1p(exp(-fabs(x))) - y * x;
}

template <Loss loss>
struct Of {
  static constexpr Loss value = loss;
};

// Calls f with the type of a loss of one score.
template <class F>
void for_loss(Loss loss, F f) {
  switch (loss) {
    case Loss::squared:
      return f(Of<Loss::squared>{});
    case Loss::absolute:
      return f(Of<Loss::absolute>{});
    case Loss::quantile:
      return f(Of<Loss::quantile>{});
    case Loss::huber:
      return f(Of<Loss::huber>{});
    case Loss::log_cosh:
      return f(Of<Loss::log_cosh>{});
    case Loss::poisson:
      return f(Of<Loss::poisson>{});
    case Loss::gamma:
      return f(Of<Loss::gamma>{});
    default:
      return f(Of<Loss::log>{});
  }
}

}  // namespace kernelmill::histogram
