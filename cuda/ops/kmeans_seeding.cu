// Greedy k-means++ seeding.
//
// Each seed costs two passes over X: one prices the candidates, one updates the distance of every
// row to its nearest seed together with the mass of each block of rows. Candidates are drawn from
// running sums over groups of blocks, then over the blocks of one group, then over the rows of one
// block. Distances are differences, not an expanded square: a row equal to a seed must have
// distance exactly 0, so that it is never drawn again.

#include <algorithm>  // std::max
#include <limits>     // infinity
#include <stdexcept>  // std::invalid_argument

#include "core/error.hpp"   // invalid
#include "core/launch.cuh"  // launch
#include "ops/kmeans.cuh"

namespace kernelmill {
namespace {

constexpr int kRows = 256;           // rows of a block
constexpr int kLanes = 8;            // threads that share a row
constexpr int kTogether = 8;         // candidates priced in one reading of a row
static_assert(kTogether == kLanes);  // each lane keeps one candidate's sum
constexpr int kAtOnce = kThreads / kLanes;

// Both propagate NaN, as NumPy's minimum and argmin do.
__device__ double least(double a, double b) { return a != a || a <= b ? a : b; }
__device__ bool before(double a, double b) { return b == b && (a != a || a < b); }

template <class T>
__device__ double weight_of(const T* weight, index_t row) {
  return weight == nullptr ? 1.0 : static_cast<double>(weight[row]);
}

// left[block, c] = sum over the rows of the block of w min(closest, distance to candidate c).
template <class T>
__global__ void __launch_bounds__(kThreads)
    price_kernel(DeviceRows<T> x, const T* weight, const double* closest, const index_t* candidates,
                 int trials, double* left) {
  __shared__ double shared[kAtOnce][kTogether];
  const int lane = static_cast<int>(threadIdx.x) % kLanes;
  const int group = static_cast<int>(threadIdx.x) / kLanes;
  const index_t first = static_cast<index_t>(blockIdx.x) * kRows;
  for (int base = 0; base < trials; base += kTogether) {
    const T* candidate[kTogether];
#pragma unroll
    for (int c = 0; c < kTogether; ++c) {  // the last group repeats its last candidate
      candidate[c] = x.data + candidates[min(base + c, trials - 1)] * x.stride;
    }
    double mine = 0;
    for (int r = group; r < kRows; r += kAtOnce) {
      const index_t row = first + r;
      double distance[kTogether] = {};
      if (row < x.n) {
        for (index_t p = lane; p < x.d; p += kLanes) {
          const auto value = static_cast<double>(x.data[row * x.stride + p]);
#pragma unroll
          for (int c = 0; c < kTogether; ++c) {
            const double difference = value - static_cast<double>(candidate[c][p]);
            distance[c] += difference * difference;
          }
        }
      }
      double own = 0;
#pragma unroll
      for (int c = 0; c < kTogether; ++c) {
        const double sum = lane_sum<kLanes>(distance[c]);
        if (c == lane) own = sum;
      }
      if (row < x.n) mine += weight_of(weight, row) * least(closest[row], own);
    }
    shared[group][lane] = mine;
    __syncthreads();
    if (threadIdx.x < kTogether && base + lane < trials) {
      double sum = 0;
      for (int g = 0; g < kAtOnce; ++g) sum += shared[g][lane];
      left[static_cast<index_t>(blockIdx.x) * trials + base + lane] = sum;
    }
    __syncthreads();
  }
}

// total[c] = sum over blocks of left[block, c], for c = blockIdx.x.
__global__ void total_kernel(const double* left, index_t blocks, int trials, double* total) {
  __shared__ double shared[kThreads];
  double sum = 0;
  for (index_t b = threadIdx.x; b < blocks; b += kThreads) sum += left[b * trials + blockIdx.x];
  sum = block_sum<kThreads>(sum, shared);
  if (threadIdx.x == 0) total[blockIdx.x] = sum;
}

// The first candidate that leaves the least.
__global__ void choose_kernel(const double* total, const index_t* candidates, int trials,
                              std::int64_t* index) {
  int best = 0;
  for (int c = 1; c < trials; ++c) {
    if (before(total[c], total[best])) best = c;
  }
  *index = candidates[best];
}

// closest = min(closest, distance to row *seed), and the mass of each block. Without a seed the
// mass is that of the weights alone.
template <class T>
__global__ void __launch_bounds__(kThreads)
    mass_kernel(DeviceRows<T> x, const T* weight, const std::int64_t* seed, bool is_first,
                double* closest, double* mass) {
  __shared__ double shared[kThreads];
  const int lane = static_cast<int>(threadIdx.x) % kLanes;
  const int group = static_cast<int>(threadIdx.x) / kLanes;
  const index_t first = static_cast<index_t>(blockIdx.x) * kRows;
  double sum = 0;
  for (int r = group; r < kRows; r += kAtOnce) {
    const index_t row = first + r;
    double near = 0;
    if (seed != nullptr && row < x.n) {
      const T* const to = x.data + *seed * x.stride;
      for (index_t p = lane; p < x.d; p += kLanes) {
        const double difference =
            static_cast<double>(x.data[row * x.stride + p]) - static_cast<double>(to[p]);
        near += difference * difference;
      }
    }
    near = lane_sum<kLanes>(near);
    if (lane != 0 || row >= x.n) continue;
    if (seed == nullptr) {
      sum += weight_of(weight, row);
    } else {
      if (!is_first) near = least(closest[row], near);
      closest[row] = near;
      sum += weight_of(weight, row) * near;
    }
  }
  sum = block_sum<kThreads>(sum, shared);
  if (threadIdx.x == 0) mass[blockIdx.x] = sum;
}

// mass[blocks + g] = sum of the blocks of group g = blockIdx.x.
__global__ void group_kernel(double* mass, index_t blocks, index_t per_group) {
  __shared__ double shared[kThreads];
  const index_t begin = static_cast<index_t>(blockIdx.x) * per_group;
  const index_t end = min(blocks, begin + per_group);
  double sum = 0;
  for (index_t b = begin + threadIdx.x; b < end; b += kThreads) sum += mass[b];
  sum = block_sum<kThreads>(sum, shared);
  if (threadIdx.x == 0) mass[blocks + blockIdx.x] = sum;
}

// Walks value(begin), value(begin + 1), ... until the running sum passes `goal`; `running` ends
// just before the value that passed. If none passes, rounding is to blame: the last positive one is
// taken. All threads of the block call it and get the same answer.
template <class Value>
__device__ index_t first_passing(index_t begin, index_t end, double goal, double& running,
                                 double* shared, Value&& value) {
  __shared__ index_t found, last_positive;
  __shared__ double sum, sum_before_last;
  if (threadIdx.x == 0) {
    found = -1;
    last_positive = begin;
    sum = sum_before_last = running;
  }
  for (index_t base = begin; base < end; base += kThreads) {
    const index_t i = base + threadIdx.x;
    if (i < end) shared[threadIdx.x] = value(i);
    __syncthreads();
    if (threadIdx.x == 0) {
      const int count = static_cast<int>(min(static_cast<index_t>(kThreads), end - base));
      for (int t = 0; t < count && found < 0; ++t) {
        if (shared[t] > 0) {
          last_positive = base + t;
          sum_before_last = sum;
        }
        if (sum + shared[t] > goal) {
          found = base + t;
        } else {
          sum += shared[t];
        }
      }
    }
    __syncthreads();
    if (found >= 0) break;  // the same for all: nobody writes it before the next barrier
  }
  __syncthreads();
  const index_t at = found >= 0 ? found : last_positive;
  running = found >= 0 ? sum : sum_before_last;
  __syncthreads();
  return at;
}

// Draws candidate c = blockIdx.x: the first row whose running mass passes uniforms[c] * total. mass
// is null, or of total 0 when every row is a seed already: then rows are drawn by weight.
template <class T>
__global__ void draw_kernel(index_t n, const T* weight, const double* closest, const double* mass,
                            const double* weight_mass, index_t blocks, index_t groups,
                            index_t per_group, const double* uniforms, index_t* candidates) {
  __shared__ double shared[kThreads];
  __shared__ double shared_total;
  __shared__ bool by_weight;
  if (threadIdx.x == 0) {
    double total = 0;
    if (mass != nullptr) {
      for (index_t g = 0; g < groups; ++g) total += mass[blocks + g];
    }
    by_weight = !(total > 0);
    if (by_weight) {
      total = 0;
      for (index_t g = 0; g < groups; ++g) total += weight_mass[blocks + g];
    }
    shared_total = total;
  }
  __syncthreads();
  const bool weighs = by_weight;
  const double* const masses = weighs ? weight_mass : mass;
  const double goal = uniforms[blockIdx.x] * shared_total;
  double running = 0;
  const index_t group = first_passing(0, groups, goal, running, shared,
                                      [&](index_t g) { return masses[blocks + g]; });
  const index_t block = first_passing(group * per_group, min(blocks, (group + 1) * per_group), goal,
                                      running, shared, [&](index_t b) { return masses[b]; });
  const index_t row = first_passing(
      block * kRows, min(n, (block + 1) * kRows), goal, running, shared,
      [&](index_t i) { return weighs ? weight_of(weight, i) : weight_of(weight, i) * closest[i]; });
  if (threadIdx.x == 0) candidates[blockIdx.x] = row;
}

template <class T>
__global__ void round_kernel(const double* from, index_t count, T* to) {
  for (index_t i = global_thread(); i < count; i += global_threads()) {
    to[i] = static_cast<T>(from[i]);
  }
}

// Blocks per group: near the root of the number of blocks, so that both walks are short.
index_t group_length(index_t blocks) {
  index_t length = 1;
  while (length * length < blocks) length *= 2;
  return length;
}

}  // namespace

template <class T>
SeedingSpace<T>::SeedingSpace(Arena& arena, index_t n, index_t trials)
    : blocks(div_up(n, kRows)),
      groups(0),
      per_group(group_length(blocks)),
      closest(arena.take<double>(n)),
      mass(nullptr),
      weight_mass(nullptr),
      left(nullptr),
      candidates(nullptr) {
  groups = div_up(blocks, per_group);
  mass = arena.take<double>(blocks + groups);
  weight_mass = arena.take<double>(blocks + groups);
  left = arena.take<double>((blocks + 1) * trials);
  candidates = arena.take<index_t>(trials);
}

template <class T>
void plus_plus(const Call& call, const DeviceRows<T>& x, const double* uniforms, index_t k,
               index_t trials, const T* weight, std::int64_t* indices, T* squared,
               const SeedingSpace<T>& space) {
  const dim3 blocks(static_cast<unsigned>(space.blocks));
  const dim3 groups(static_cast<unsigned>(space.groups));
  const auto weigh = [&](const std::int64_t* seed, bool is_first, double* mass) {
    launch(call, mass_kernel<T>, blocks, kThreads, x, weight, seed, is_first, space.closest, mass);
    launch(call, group_kernel, groups, kThreads, mass, space.blocks, space.per_group);
  };

  weigh(nullptr, true, space.weight_mass);
  if (weight != nullptr) {
    sum_in_order(call, space.weight_mass + space.blocks, space.groups, space.left);
    double total = 0;
    download(call, &total, space.left, 1);
    if (!(total > 0)) invalid(call.op, "sample_weight must have a positive sum, got ", total);
  }
  fill(call, space.closest, x.n, std::numeric_limits<double>::infinity());
  double* const totals = space.left + space.blocks * trials;
  for (index_t s = 0; s < k; ++s) {
    const int count = s == 0 ? 1 : static_cast<int>(trials);
    launch(call, draw_kernel<T>, dim3(static_cast<unsigned>(count)), kThreads, x.n, weight,
           space.closest, s == 0 ? nullptr : space.mass, space.weight_mass, space.blocks,
           space.groups, space.per_group, uniforms + s * trials, space.candidates);
    if (count > 1) {
      launch(call, price_kernel<T>, blocks, kThreads, x, weight, space.closest, space.candidates,
             count, space.left);
      launch(call, total_kernel, dim3(static_cast<unsigned>(count)), kThreads, space.left,
             space.blocks, count, totals);
    }
    launch(call, choose_kernel, 1, 1, totals, space.candidates, count, indices + s);
    weigh(indices + s, s == 0, space.mass);
  }
  launch(call, round_kernel<T>, grid_for(x.n, kThreads), kThreads, space.closest, x.n, squared);
}

template struct SeedingSpace<float>;
template struct SeedingSpace<double>;
KERNELMILL_FOR_FLOATS(plus_plus)

}  // namespace kernelmill
