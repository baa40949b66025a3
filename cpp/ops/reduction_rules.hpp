// The reductions of python/kernelmill/ops/reduction.py for C++ and CUDA: what a partial result is,
// how two become one, and what is made of the last. A state holds up to two float64 and a count, so
// float32 is accumulated in float64, and results do not depend on how elements were cut into parts
// but for rounding.
#pragma once

#include <cmath>    // the C library's functions
#include <cstdint>  // std::int64_t

#include "core/both.hpp"    // KERNELMILL_BOTH
#include "core/matrix.hpp"  // index_t
#if !defined(__CUDACC__)
#include "core/math.hpp"  // exp, log: the same bits with every C library
#endif

namespace kernelmill::reduction {

enum class Kind { sum, mean, max, min, argmax, argmin, variance, logsumexp, norm };
inline constexpr Kind kKinds[] = {Kind::sum,      Kind::mean,      Kind::max,
                                  Kind::min,      Kind::argmax,    Kind::argmin,
                                  Kind::variance, Kind::logsumexp, Kind::norm};
inline constexpr const char* kNames[] = {"sum",    "mean",     "max",       "min", "argmax",
                                         "argmin", "variance", "logsumexp", "norm"};

constexpr bool is_index(Kind kind) { return kind == Kind::argmax || kind == Kind::argmin; }
// Whether there is no result without elements.
constexpr bool needs_elements(Kind kind) {
  return kind == Kind::max || kind == Kind::min || is_index(kind);
}

// sum, mean: a = sum. max, min: a. argmax, argmin: a and its index b. variance: mean a (from the
// first element) and sum of squared deviations b. logsumexp: b e^a. norm: a sqrt(b).
struct State {
  double a = 0, b = 0;
  index_t n = 0;
};

// The state of one element. `index` is below 2^53.
template <Kind kind>
KERNELMILL_BOTH State lift(double x, index_t index) {
  if constexpr (is_index(kind)) return {x, static_cast<double>(index), 1};
  if constexpr (kind == Kind::logsumexp) return {x, x == -HUGE_VAL ? 0.0 : 1.0, 1};
  if constexpr (kind == Kind::norm) {
    return {fabs(x), x == 0 ? 0.0 : 1.0, 1};
  }
  if constexpr (kind == Kind::variance) return {x, x - x, 1};  // NaN where x is not finite
  return {x, 0, 1};
}

// Whether x is chosen over y: NaN is chosen over all, the first of equals.
template <Kind kind>
KERNELMILL_BOTH bool chosen(double x, double y) {
  constexpr bool largest = kind == Kind::max || kind == Kind::argmax;
  return (largest ? x > y : x < y) || (x != x && y == y);
}

// Chan, Golub, LeVeque (1983) for the variance.
template <Kind kind>
KERNELMILL_BOTH void merge(State& into, const State& from) {
  if (from.n == 0) return;
  if (into.n == 0) {
    into = from;
    return;
  }
  const index_t n = into.n + from.n;
  if constexpr (kind == Kind::sum || kind == Kind::mean) {
    into.a += from.a;
  } else if constexpr (kind == Kind::max || kind == Kind::min) {
    if (chosen<kind>(from.a, into.a)) into.a = from.a;
  } else if constexpr (is_index(kind)) {
    const bool tie = from.a == into.a || (from.a != from.a && into.a != into.a);
    if (chosen<kind>(from.a, into.a) || (tie && from.b < into.b)) {
      into.a = from.a;
      into.b = from.b;
    }
  } else if constexpr (kind == Kind::variance) {
    const double delta = from.a - into.a,
                 share = static_cast<double>(from.n) / static_cast<double>(n);
    into.a += delta * share;
    into.b += from.b + delta * delta * share * static_cast<double>(into.n);
  } else {
    // Both are scaled; the smaller scale gives way. Infinite scales are equal or lose at once.
    if (from.a == into.a) {
      into.b += from.b;
    } else {
      const bool larger = from.a > into.a || from.a != from.a;
      const State &high = larger ? from : into, &low = larger ? into : from;
      double factor;
      if constexpr (kind == Kind::logsumexp) {
        factor = exp(low.a - high.a);
      } else {
        factor = low.a / high.a;
        factor *= factor;
      }
      into = {high.a, high.b + (low.b == 0 ? 0.0 : low.b * factor), 0};
    }
  }
  into.n = n;
}

template <Kind kind>
KERNELMILL_BOTH double finish(const State& state, double ddof) {
  const auto n = static_cast<double>(state.n);
  if constexpr (is_index(kind)) return state.b;
  if constexpr (kind == Kind::mean) return state.a / n;
  if constexpr (kind == Kind::variance) return state.b / (n > ddof ? n - ddof : 0.0);
  if constexpr (kind == Kind::logsumexp) return state.b == 0 ? -HUGE_VAL : state.a + log(state.b);
  if constexpr (kind == Kind::norm) return state.a * sqrt(state.b);
  return state.a;
}

}  // namespace kernelmill::reduction
