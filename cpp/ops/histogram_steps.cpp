#include "ops/histogram_steps.hpp"

#include <algorithm>  // std::max, std::min
#include <bit>        // std::bit_width
#include <cmath>      // std::floor, std::frexp, std::ldexp, std::rint

#include "core/parallel.hpp"  // parallel_for, ordered_reduce

namespace kernelmill::histogram {
namespace {

// kWordRows of them fill the 26 bits of a field: 4095 x 8191 < 2^25, and a sign; 4095 x 16383 <
// 2^26.
constexpr double kLargestGradient = 8191, kLargestHessian = 16383;
constexpr index_t kChunk = 1 << 14;

struct Sizes {
  double top = 0, size = 0, most = 0, sum = 0;
};

Sizes sizes_of(std::span<const double> gradient, std::span<const double> hessian) {
  const bool each = hessian.size() == gradient.size();
  Sizes all = ordered_reduce<Sizes>(
      std::ssize(gradient), kChunk, [] { return Sizes(); },
      [&](Sizes& own, index_t, index_t begin, index_t end) {
        constexpr index_t lanes = 8;
        double top[lanes] = {}, sizes[lanes] = {}, most[lanes] = {}, sum[lanes] = {};
        const double *g = gradient.data(), *h = hessian.data();
        const auto take = [&](index_t i, index_t l) {
          const double size = std::fabs(g[i]);
          top[l] = size > top[l] ? size : top[l];
          sizes[l] += size;
          if (!each) return;
          most[l] = h[i] > most[l] ? h[i] : most[l];
          sum[l] += h[i];
        };
        index_t i = begin;
        for (; i + lanes <= end; i += lanes) {
          for (index_t l = 0; l < lanes; ++l) take(i + l, l);
        }
        for (; i < end; ++i) take(i, 0);
        for (index_t l = 0; l < lanes; ++l) {
          own.top = std::max(own.top, top[l]);
          own.most = std::max(own.most, most[l]);
          own.size += sizes[l];
          own.sum += sum[l];
        }
      },
      [](Sizes& into, Sizes&& from) {
        into.top = std::max(into.top, from.top);
        into.most = std::max(into.most, from.most);
        into.size += from.size;
        into.sum += from.sum;
      });
  if (!each && !hessian.empty()) all.most = hessian[0];
  return all;
}

double fine_step(double largest, index_t n) {
  if (largest == 0) return 1;
  int exponent = 0;
  std::frexp(largest, &exponent);
  exponent -= 52 - static_cast<int>(std::bit_width(static_cast<std::uint64_t>(n)));
  return std::ldexp(1.0, std::max(exponent, -1074));
}

// The finaliser of MurmurHash3 (Appleby), whose halves round the two numbers of a row.
std::uint32_t hash(std::uint32_t x) {
  x ^= x >> 16;
  x *= 0x85EBCA6Bu;
  x ^= x >> 13;
  x *= 0xC2B2AE35u;
  return x ^ (x >> 16);
}

}  // namespace

Steps steps_of(std::span<const double> gradient, std::span<const double> hessian, double coarse,
               std::uint64_t seed) {
  const index_t n = std::ssize(gradient);
  const bool one = hessian.size() == 1;
  const double* const g = gradient.data();
  const double* const h = hessian.data();
  const Sizes sizes = sizes_of(gradient, hessian);
  const auto rows = static_cast<double>(std::max<index_t>(n, 1));
  Steps steps;
  const bool small = 16 * (sizes.top / kLargestGradient) <= sizes.size / rows &&
                     (one || 16 * (sizes.most / kLargestHessian) <= sizes.sum / rows);
  steps.coarse = static_cast<double>(n) >= coarse && small && sizes.top > 0 && sizes.most > 0;
  if (steps.coarse) {
    steps.gradient = sizes.top / kLargestGradient;
    steps.hessian = one ? sizes.most : sizes.most / kLargestHessian;
    steps.words = Workspace<std::uint64_t>(static_cast<std::size_t>(n));
    const double by = kLargestGradient / sizes.top, with = kLargestHessian / sizes.most;
    const auto key = static_cast<std::uint32_t>(seed ^ (seed >> 32));
    std::uint64_t* const words = steps.words.data();
    parallel_for(n, kChunk, [&](index_t, index_t begin, index_t end) {
      for (index_t i = begin; i < end; ++i) {
        const std::uint32_t bits = hash(static_cast<std::uint32_t>(i) * 0x9E3779B1u + key);
        const double u = static_cast<double>(static_cast<std::int32_t>(bits & 0xFFFF)) * 0x1p-16;
        const double v = static_cast<double>(static_cast<std::int32_t>(bits >> 16)) * 0x1p-16;
        const double down = std::floor(g[i] * by + u);
        const auto a = static_cast<std::int32_t>(down < kLargestGradient ? down : kLargestGradient);
        const auto b = one ? std::int32_t{1} : static_cast<std::int32_t>(h[i] * with + v);
        words[i] = (std::uint64_t{1} << (2 * kFieldBits)) +
                   (static_cast<std::uint64_t>(b) << kFieldBits) +
                   static_cast<std::uint64_t>(static_cast<std::int64_t>(a));
      }
    });
    return steps;
  }
  steps.gradient = fine_step(sizes.top, n);
  steps.hessian = one ? (hessian.empty() ? 0 : h[0]) : fine_step(sizes.most, n);
  steps.pairs = Workspace<double>(static_cast<std::size_t>(2 * n));
  double* const pairs = steps.pairs.data();
  parallel_for(n, kChunk, [&](index_t, index_t begin, index_t end) {
    for (index_t i = begin; i < end; ++i) {
      pairs[2 * i] = std::rint(g[i] / steps.gradient);
      pairs[2 * i + 1] = one ? 1.0 : std::rint(h[i] / steps.hessian);
    }
  });
  return steps;
}

}  // namespace kernelmill::histogram
