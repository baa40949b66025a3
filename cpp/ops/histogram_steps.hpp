// Gradients and hessians as whole multiples of a step, so that sums are exact in any order, on the
// CPU and on a GPU.
#pragma once

#include <algorithm>  // std::max
#include <bit>        // std::bit_width
#include <cmath>      // std::frexp, std::ldexp
#include <cstdint>    // std::uint32_t

#include "core/both.hpp"    // KERNELMILL_BOTH
#include "core/matrix.hpp"  // index_t

namespace kernelmill::histogram {

constexpr double kLargestGradient = 8191, kLargestHessian = 16383;  // coarse ones

// What steps follow from: largest and mean sizes of gradients and hessians; where one hessian
// stands for all, it is `most`.
struct Sizes {
  double top = 0, size = 0, most = 0, sum = 0;
};

struct StepSizes {
  double gradient = 1, hessian = 1;
  bool coarse = false;
};

inline double fine_step(double largest, index_t n) {
  if (largest == 0) return 1;
  int exponent = 0;
  std::frexp(largest, &exponent);
  exponent -= 52 - static_cast<int>(std::bit_width(static_cast<std::uint64_t>(n)));
  return std::ldexp(1.0, std::max(exponent, -1074));
}

// Steps of n rows; coarse ones from so many rows on, where they suit.
inline StepSizes step_sizes(const Sizes& sizes, index_t n, bool one, double coarse) {
  const auto rows = static_cast<double>(std::max<index_t>(n, 1));
  const bool small = 16 * (sizes.top / kLargestGradient) <= sizes.size / rows &&
                     (one || 16 * (sizes.most / kLargestHessian) <= sizes.sum / rows);
  if (static_cast<double>(n) >= coarse && small && sizes.top > 0 && sizes.most > 0) {
    return {sizes.top / kLargestGradient, one ? sizes.most : sizes.most / kLargestHessian, true};
  }
  return {fine_step(sizes.top, n), one ? sizes.most : fine_step(sizes.most, n), false};
}

// The finaliser of MurmurHash3 (Appleby), whose halves round the two numbers of a row.
KERNELMILL_BOTH inline std::uint32_t hash(std::uint32_t x) {
  x ^= x >> 16;
  x *= 0x85EBCA6Bu;
  x ^= x >> 13;
  x *= 0xC2B2AE35u;
  return x ^ (x >> 16);
}

// Rounds the numbers of a row up or down at random.
struct Coarse {
  double by, with;
  std::uint32_t key;
  bool one;

  struct Pair {
    std::int32_t gradient, hessian;
  };

  Coarse(const Sizes& sizes, std::uint64_t seed, bool unit)
      : by(kLargestGradient / sizes.top),
        with(kLargestHessian / sizes.most),
        key(static_cast<std::uint32_t>(seed ^ (seed >> 32))),
        one(unit) {}

  KERNELMILL_BOTH Pair rounded(index_t i, double g, double h) const {
    const std::uint32_t bits = hash(static_cast<std::uint32_t>(i) * 0x9E3779B1u + key);
    const double u = static_cast<double>(static_cast<std::int32_t>(bits & 0xFFFF)) * 0x1p-16;
    const double v = static_cast<double>(static_cast<std::int32_t>(bits >> 16)) * 0x1p-16;
    const double down = floor(g * by + u);
    return {static_cast<std::int32_t>(down < kLargestGradient ? down : kLargestGradient),
            one ? std::int32_t{1} : static_cast<std::int32_t>(h * with + v)};
  }
};

}  // namespace kernelmill::histogram
