// Quantiles of the residuals of leaves, one leaf after another: sorted, then found by one block.
#include <algorithm>  // std::max, std::min

#include "core/launch.cuh"  // launch, block_join, block_scan
#include "core/sort.hpp"    // sort_pairs
#include "ops/histogram.cuh"
#include "ops/histogram_checks.hpp"

namespace kernelmill::histogram {
namespace {

constexpr int kWide = 1024;
constexpr std::uint64_t kSign = std::uint64_t{1} << 63;

// Rises with the value; both zeros are one.
__device__ std::uint64_t key_of(double x) {
  x += 0.0;
  std::uint64_t bits = 0;
  memcpy(&bits, &x, sizeof(bits));
  return (bits & kSign) != 0 ? ~bits : bits | kSign;
}

__device__ double value_of(std::uint64_t key) {
  const std::uint64_t bits = (key & kSign) != 0 ? key & ~kSign : ~key;
  double x = 0;
  memcpy(&x, &bits, sizeof(x));
  return x;
}

__global__ void keys_kernel(const double* residual, const double* weight, const std::int32_t* rows,
                            index_t n, std::uint64_t* keys, double* weights) {
  for (index_t i = global_thread(); i < n; i += global_threads()) {
    keys[i] = key_of(residual[rows[i]]);
    weights[i] = weight == nullptr ? 1.0 : weight[rows[i]];
  }
}

// A thread adds up weights that stand together; the one at whose end the wanted weight is reached
// looks where. Any order of sums is within the 2^-40 that comparisons allow.
__global__ void __launch_bounds__(kWide)
    quantile_kernel(const std::uint64_t* keys, const double* weights, index_t n, double level,
                    double* value) {
  __shared__ double sums[kWide], shared[kWide];
  const int thread = static_cast<int>(threadIdx.x);
  const index_t each = (n + kWide - 1) / kWide;
  const index_t begin = min(n, thread * each), end = min(n, begin + each);
  double own = 0;
  for (index_t i = begin; i < end; ++i) own += weights[i];
  const double up_to = block_scan<kWide>(own, sums);
  const double total = sums[kWide - 1];
  const double wanted = level * total, slack = 0x1p-40 * total;
  const double none = kWide;
  const double reached = up_to >= wanted - slack ? thread : none;
  const double first =
      block_join<kWide>(reached, shared, [](double a, double b) { return a < b ? a : b; });
  if (thread != (first < none ? static_cast<int>(first) : kWide - 1)) return;
  double below = thread == 0 ? 0.0 : sums[thread - 1];
  index_t at = begin;
  for (; at < end; ++at) {
    below += weights[at];
    if (below >= wanted - slack) break;
  }
  at = min(at, n - 1);
  const double found = value_of(keys[at]);
  *value = below <= wanted + slack && at + 1 < n ? found / 2 + value_of(keys[at + 1]) / 2 : found;
}

index_t longest(const std::int32_t* spans, index_t m) {
  index_t most = 0;
  for (index_t s = 0; s < m; ++s) {
    most = std::max<index_t>(most, spans[2 * s + 1] - spans[2 * s]);
  }
  return most;
}

}  // namespace

QuantileSpace::QuantileSpace(Arena& arena, const Call& call, const std::int32_t* spans, index_t m,
                             index_t places)
    : range(arena) {
  const index_t n = std::min(longest(spans, m), places);
  for (int side = 0; side < 2; ++side) {
    keys[side] = arena.take<std::uint64_t>(n);
    weights[side] = arena.take<double>(n);
  }
  sort_bytes = n == 0 ? 0 : kernelmill::sort_bytes<std::uint64_t, double>(call, n);
  sort = arena.take<char>(static_cast<index_t>(sort_bytes));
}

void check_spans(const Call& call, std::span<const std::int32_t> rows, const std::int32_t* spans,
                 index_t m, index_t n, const RangeSpace& space) {
  const index_t places = std::ssize(rows);
  if (spans_fit(dense(spans, m, 2), places) && inside(call, rows.data(), places, n, space)) return;
  refuse_spans(call.op, places, n);
}

void quantiles(const Call& call, std::span<const double> residual, const double* weight,
               std::span<const std::int32_t> rows, const std::int32_t* spans, index_t m,
               double level, double* value, const QuantileSpace& space) {
  check_spans(call, rows, spans, m, std::ssize(residual), space.range);
  fill(call, value, m, 0.0);
  for (index_t s = 0; s < m; ++s) {
    const index_t n = spans[2 * s + 1] - spans[2 * s];
    if (n == 0) continue;
    launch(call, keys_kernel, grid_for(n, kThreads), kThreads, residual.data(), weight,
           rows.data() + spans[2 * s], n, space.keys[0], space.weights[0]);
    sort_pairs(call, space.sort, space.sort_bytes, space.keys[0], space.keys[1], space.weights[0],
               space.weights[1], n, 64);
    launch(call, quantile_kernel, 1, kWide, space.keys[1], space.weights[1], n, level, value + s);
  }
}

}  // namespace kernelmill::histogram
