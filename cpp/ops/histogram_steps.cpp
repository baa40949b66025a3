#include "ops/histogram_steps.hpp"

#include <algorithm>  // std::max
#include <cmath>      // std::fabs, std::rint

#include "core/parallel.hpp"  // parallel_for, ordered_reduce
#include "ops/histogram_build.hpp"

namespace kernelmill::histogram {
namespace {

constexpr index_t kChunk = 1 << 14;

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

}  // namespace

Steps steps_of(std::span<const double> gradient, std::span<const double> hessian, double coarse,
               std::uint64_t seed) {
  const index_t n = std::ssize(gradient);
  const bool one = hessian.size() == 1;
  const double* const g = gradient.data();
  const double* const h = hessian.data();
  const Sizes sizes = sizes_of(gradient, hessian);
  Steps steps;
  static_cast<StepSizes&>(steps) = step_sizes(sizes, n, one, coarse);
  if (steps.coarse) {
    steps.words = Workspace<std::uint64_t>(static_cast<std::size_t>(n));
    const Coarse with(sizes, seed, one);
    std::uint64_t* const words = steps.words.data();
    parallel_for(n, kChunk, [&](index_t, index_t begin, index_t end) {
      for (index_t i = begin; i < end; ++i) {
        const auto [a, b] = with.rounded(i, g[i], one ? 0.0 : h[i]);
        words[i] = (std::uint64_t{1} << (2 * kFieldBits)) +
                   (static_cast<std::uint64_t>(b) << kFieldBits) +
                   static_cast<std::uint64_t>(static_cast<std::int64_t>(a));
      }
    });
    return steps;
  }
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
