#include "ops/kmeans.cuh"

#include <algorithm>  // std::max
#include <limits>     // infinity
#include <string>     // messages

#include "core/launch.cuh"  // launch, sums in order
#include "core/origin.hpp"  // median_origin
#include "core/tile.cuh"    // Tile, loaders

namespace kernelmill {
namespace {

// The nearest center maximises x'.c' - ||c'||^2 / 2 with x' and c' measured from an origin amid the
// centers: one fused multiply-add per column and no constant per row. The widest tile has the best
// ratio of arithmetic to shared memory; fewer centers take a narrower one.
template <class T>
struct AssignTiles;
template <>
struct AssignTiles<float> {
  using Wide = Tile<float, 128, 128, 8, 8>;
  using Middle = Tile<float, 128, 64, 8, 8>;
  using Narrow = Tile<float, 128, 32, 8, 4>;
};
template <>
struct AssignTiles<double> {
  using Wide = Tile<double, 64, 64, 4, 4>;
  using Middle = Wide;
  using Narrow = Tile<double, 64, 32, 4, 4>;
};

constexpr index_t kWidest = 128;     // most centers in a tile
constexpr index_t kFewestRows = 64;  // fewest rows in a tile

// One warp per padded center. The norm is that of the rounded center, so that the score is exact
// for the center that is compared.
template <class T>
__global__ void center_kernel(DeviceRows<double> centers, PreparedCenters<T> to) {
  const index_t j = global_thread() / 32;
  if (j >= to.rows) return;
  double norm = 0;
  for (index_t p = threadIdx.x % 32; p < to.columns; p += 32) {
    T c = 0;
    if (j < centers.n && p < centers.d) {
      c = static_cast<T>(centers.data[j * centers.stride + p] - static_cast<double>(to.origin[p]));
    }
    to.shifted[j * to.columns + p] = c;
    norm += static_cast<double>(c) * static_cast<double>(c);
  }
  norm = lane_sum<32>(norm);
  if (threadIdx.x % 32 == 0) {
    to.half_norm[j] =
        j < centers.n ? static_cast<T>(0.5 * norm) : std::numeric_limits<T>::infinity();
  }
}

// Registers are bounded so that two blocks of 256 threads, or three of 128, share a multiprocessor.
template <class T, class Tile>
__global__ void __launch_bounds__(Tile::kThreads, Tile::kThreads == 256 ? 2 : 3)
    assign_kernel(DeviceRows<T> x, bool aligned, DeviceRows<double> centers,
                  PreparedCenters<T> prepared, const T* weight, Assignment<T> to) {
  constexpr int kPerA = Tile::kPerA, kPerB = Tile::kPerB;
  __shared__ typename Tile::Shared shared;
  __shared__ T shared_score[Tile::kWarpsB][Tile::kRowsA];
  __shared__ int shared_index[Tile::kWarpsB][Tile::kRowsA];
  __shared__ double shared_term[Tile::kRowsA];

  const int thread = static_cast<int>(threadIdx.x);
  const index_t first = static_cast<index_t>(blockIdx.x) * Tile::kRowsA;
  const int k = static_cast<int>(centers.n);
  RowLoader<T, Tile::kRowsA, Tile::kThreads> load_x(x, first, aligned, prepared.origin);

  // The best so far of each row and column of warps stays in shared memory, out of the registers of
  // the product. One thread alone reads and writes a slot. A comparison with NaN is false: a row of
  // NaN keeps index 0, which is in range.
  const auto better = [](T s, int j, T than_s, int than_j) {
    return s > than_s || (s == than_s && j < than_j);
  };
  const int warp_b = thread / 32 % Tile::kWarpsB;
  const bool keeps = (thread & 14) == 0;
  if (keeps) {
    for (int i = 0; i < kPerA; ++i) {
      const int row = Tile::place_a() + Tile::kAcrossA * i;
      shared_score[warp_b][row] = -std::numeric_limits<T>::infinity();
      shared_index[warp_b][row] = 0;
    }
  }
  for (int base = 0; base < k; base += Tile::kRowsB) {
    const int own = base + Tile::place_b();
    PaddedLoader<T, Tile::kRowsB, Tile::kThreads> load_c(prepared.shifted + base * prepared.columns,
                                                         prepared.columns);
    T score[kPerA][kPerB];
#pragma unroll
    for (int j = 0; j < kPerB; ++j) {
      const T start = -prepared.half_norm[own + Tile::kAcrossB * j];
#pragma unroll
      for (int i = 0; i < kPerA; ++i) score[i][j] = start;
    }
    Tile::template accumulate<Product>(shared, load_x, load_c, x.d, score);
#pragma unroll
    for (int i = 0; i < kPerA; ++i) {
      T best = -std::numeric_limits<T>::infinity();
      int index = 0;
#pragma unroll
      for (int j = 0; j < kPerB; ++j) {  // rising j, strict comparison: the lowest of ties
        if (score[i][j] > best) {
          best = score[i][j];
          index = own + Tile::kAcrossB * j;
        }
      }
#pragma unroll
      for (int step = 2; step <= 8; step *= 2) {  // the lane bits that choose b
        const T s = __shfl_xor_sync(0xffffffffu, best, step);
        const int j = __shfl_xor_sync(0xffffffffu, index, step);
        if (better(s, j, best, index)) {
          best = s;
          index = j;
        }
      }
      const int row = Tile::place_a() + Tile::kAcrossA * i;
      if (keeps && best > shared_score[warp_b][row]) {  // later tiles hold higher indices
        shared_score[warp_b][row] = best;
        shared_index[warp_b][row] = index;
      }
    }
  }

  __syncthreads();
  for (int r = thread; r < Tile::kRowsA; r += Tile::kThreads) {
    T s = shared_score[0][r];
    int label = shared_index[0][r];
#pragma unroll
    for (int warp = 1; warp < Tile::kWarpsB; ++warp) {
      if (better(shared_score[warp][r], shared_index[warp][r], s, label)) {
        s = shared_score[warp][r];
        label = shared_index[warp][r];
      }
    }
    shared_index[0][r] = label;
    if (first + r < x.n) {
      if (to.changed != nullptr && to.labels[first + r] != label) *to.changed = 1;
      to.labels[first + r] = label;
    }
  }
  if (to.squared == nullptr && to.inertia == nullptr) return;

  // Distances from differences, 8 lanes to a row; its columns are still in the second-level cache.
  __syncthreads();
  static_assert(Tile::kRowsA % (Tile::kThreads / 8) == 0);  // whole warps stay together
  for (int r = thread / 8; r < Tile::kRowsA; r += Tile::kThreads / 8) {
    const index_t i = first + r;
    const index_t row = i >= x.n ? -1 : x.order == nullptr ? i : x.order[i];
    double sum = 0;
    if (row >= 0) {
      const double* center = centers.data + shared_index[0][r] * centers.stride;
      for (index_t p = thread % 8; p < x.d; p += 8) {
        const double difference = static_cast<double>(x.data[row * x.stride + p]) - center[p];
        sum += difference * difference;
      }
    }
    sum = lane_sum<8>(sum);
    if (thread % 8 == 0) {
      const double w = row < 0 ? 0.0 : weight == nullptr ? 1.0 : static_cast<double>(weight[row]);
      shared_term[r] = row < 0 ? 0.0 : w * sum;
      if (row >= 0 && to.squared != nullptr) to.squared[i] = static_cast<T>(sum);
    }
  }
  if (to.inertia == nullptr) return;
  __syncthreads();
  if (thread < 32) {
    double sum = 0;
    for (int r = thread; r < Tile::kRowsA; r += 32) sum += shared_term[r];
    sum = lane_sum<32>(sum);
    if (thread == 0) to.inertia[blockIdx.x] = sum;
  }
}

template <class Tile, class T>
index_t launch_assign(const Call& call, const DeviceRows<T>& x, const DeviceRows<double>& centers,
                      const T* weight, const Assignment<T>& to, const PreparedCenters<T>& space) {
  const index_t blocks = div_up(x.n, Tile::kRowsA);
  launch(call, assign_kernel<T, Tile>, dim3(static_cast<unsigned>(blocks)), Tile::kThreads, x,
         packs_aligned(x), centers, space, weight, to);
  return blocks;
}

// Returns the number of blocks, each of which wrote one inertia.
template <class T>
index_t run_assign(const Call& call, const DeviceRows<T>& x, const DeviceRows<double>& centers,
                   const T* weight, const Assignment<T>& to, const PreparedCenters<T>& space) {
  if (x.n == 0) return 0;
  median_origin(call, centers, space.columns, space.origin);
  launch(call, center_kernel<T>, dim3(static_cast<unsigned>(div_up(space.rows * 32, kThreads))),
         kThreads, centers, space);
  using Tiles = AssignTiles<T>;
  if (centers.n > Tiles::Middle::kRowsB) {
    return launch_assign<typename Tiles::Wide>(call, x, centers, weight, to, space);
  }
  if (centers.n > Tiles::Narrow::kRowsB) {
    return launch_assign<typename Tiles::Middle>(call, x, centers, weight, to, space);
  }
  return launch_assign<typename Tiles::Narrow>(call, x, centers, weight, to, space);
}

// Sums, weights and inertia (the last of space.inertia) with labels in `labels`.
template <class T>
double statistics(const Call& call, const DeviceRows<T>& x, const DeviceRows<double>& centers,
                  const T* weight, double* sums, double* weights, const LloydSpace<T>& space) {
  Assignment<T> to;
  to.labels = space.labels;
  to.inertia = space.inertia + 1;
  const index_t blocks = run_assign(call, x, centers, weight, to, space.centers);
  sum_in_order(call, to.inertia, blocks, space.inertia);
  label_sums(call, x, weight, space.labels, centers.n, sums, weights, space.label_sums);
  double inertia = 0;
  download(call, &inertia, space.inertia, 1);
  return inertia;
}

// Moves center j = blockIdx.x to its mean. (seen c + sums) / (seen + weights); without weight it
// stays. seen is null for zero, else it is updated.
__global__ void update_kernel(const double* sums, const double* weights, index_t d, double* centers,
                              double* seen, double* shifts, int* empty) {
  __shared__ double shared[kThreads];
  const index_t j = blockIdx.x;
  const double weight = weights[j];
  const double before = seen == nullptr ? 0.0 : seen[j];
  double moved = 0;
  if (weight > 0) {
    for (index_t p = threadIdx.x; p < d; p += kThreads) {
      const double old = centers[j * d + p], sum = sums[j * d + p];
      const double center = (seen == nullptr ? sum : before * old + sum) / (before + weight);
      centers[j * d + p] = center;
      moved += (center - old) * (center - old);
    }
  }
  moved = block_sum<kThreads>(moved, shared);  // all have read seen[j]
  if (threadIdx.x == 0) {
    if (shifts != nullptr) shifts[j] = moved;
    if (empty != nullptr && !(weight > 0)) *empty = 1;
    if (seen != nullptr) seen[j] = before + weight;
  }
}

// (least, greatest) of rows; both start at the first row.
__global__ void range_kernel(const std::int64_t* rows, index_t count, std::int64_t* range) {
  long long least = rows[0], greatest = least;
  for (index_t i = global_thread(); i < count; i += global_threads()) {
    least = min(least, static_cast<long long>(rows[i]));
    greatest = max(greatest, static_cast<long long>(rows[i]));
  }
  atomicMin(reinterpret_cast<long long*>(range), least);
  atomicMax(reinterpret_cast<long long*>(range) + 1, greatest);
}

// Throws unless all `rows`, of which there are some, lie in [0, stored).
void check_rows(const Call& call, const char* name, const std::int64_t* rows, index_t count,
                index_t stored, std::int64_t* range) {
  for (int end = 0; end < 2; ++end) {
    check(call, "copy",
          cudaMemcpyAsync(range + end, rows, sizeof(*rows), cudaMemcpyDeviceToDevice, call.stream));
  }
  launch(call, range_kernel, grid_for(count, kThreads), kThreads, rows, count, range);
  std::int64_t found[2] = {0, 0};
  download(call, found, range, 2);
  if (found[0] < 0 || found[1] >= stored) {
    throw std::out_of_range(std::string(call.op) + ": " + name + " must lie in [0, " +
                            std::to_string(stored) + "), got " + std::to_string(found[0]) + " to " +
                            std::to_string(found[1]));
  }
}

// No bounds are kept on the device; these are always valid.
template <class T>
__global__ void loose_bounds_kernel(T* bounds, index_t n) {
  for (index_t i = global_thread(); i < n; i += global_threads()) {
    bounds[2 * i] = std::numeric_limits<T>::infinity();
    bounds[2 * i + 1] = 0;
  }
}

}  // namespace

template <class T>
PreparedCenters<T>::PreparedCenters(Arena& arena, index_t d, index_t k)
    : columns(div_up(d, Stage<T>::columns) * Stage<T>::columns),
      rows(div_up(k, kWidest) * kWidest),
      origin(arena.take<T>(columns)),
      shifted(arena.take<T>(rows * columns)),
      half_norm(arena.take<T>(rows)) {}

template <class T>
LloydSpace<T>::LloydSpace(Arena& arena, const Call& call, index_t n, index_t d, index_t k)
    : centers(arena, d, k),
      label_sums(arena, call, n, d, k),
      labels(arena.take<std::int32_t>(n)),
      inertia(arena.take<double>(inertia_blocks(n) + 1)),
      sums(arena.take<double>(k * d)),
      weights(arena.take<double>(k)),
      shifts(arena.take<double>(k)),
      progress(arena.take<Progress>(1)),
      range(arena.take<std::int64_t>(2)) {}

index_t inertia_blocks(index_t n) { return div_up(n, kFewestRows); }

template <class T>
void assign(const Call& call, const DeviceRows<T>& x, const DeviceRows<double>& centers,
            const T* weight, const Assignment<T>& to, const PreparedCenters<T>& space) {
  run_assign(call, x, centers, weight, to, space);
}

template <class T>
double lloyd_step(const Call& call, const DeviceRows<T>& x, const DeviceRows<double>& centers,
                  const T* weight, double* sums, double* weights, const LloydSpace<T>& space) {
  return statistics(call, x, centers, weight, sums, weights, space);
}

template <class T>
LloydSlice lloyd(const Call& call, const DeviceRows<T>& x, double* centers, double* weights,
                 index_t k, std::int32_t* labels, T* bounds, const T* weight, index_t n_steps,
                 double tol, const LloydSpace<T>& space) {
  const DeviceRows<double> view{centers, k, x.d, x.d};
  LloydSlice slice{0, std::numeric_limits<double>::infinity(), 0};
  while (slice.steps < n_steps && slice.status == 0) {
    zero(call, space.progress, sizeof(*space.progress));
    Assignment<T> to;
    to.labels = labels;
    to.changed = &space.progress->changed;
    run_assign(call, x, view, weight, to, space.centers);
    label_sums(call, x, weight, labels, k, space.sums, weights, space.label_sums);
    launch(call, update_kernel, dim3(static_cast<unsigned>(k)), kThreads, space.sums, weights, x.d,
           centers, nullptr, space.shifts, &space.progress->empty);
    sum_in_order(call, space.shifts, k, &space.progress->shift);
    typename LloydSpace<T>::Progress progress{};
    download(call, &progress, space.progress, 1);
    ++slice.steps;
    slice.shift = progress.shift;
    if (progress.empty) {
      slice.status = 3;
    } else if (!progress.changed) {
      slice.status = 1;
    } else if (progress.shift <= tol) {
      slice.status = 2;
    }
  }
  if (bounds != nullptr && x.n > 0) {
    launch(call, loose_bounds_kernel<T>, grid_for(x.n, kThreads), kThreads, bounds, x.n);
  }
  return slice;
}

template <class T>
double minibatch_step(const Call& call, const DeviceRows<T>& x, index_t stored, double* centers,
                      double* weight_sums, index_t k, const T* weight, const LloydSpace<T>& space) {
  if (x.n == 0) return 0.0;
  check_rows(call, "rows", x.order, x.n, stored, space.range);
  const DeviceRows<double> view{centers, k, x.d, x.d};
  const double inertia = statistics(call, x, view, weight, space.sums, space.weights, space);
  launch(call, update_kernel, dim3(static_cast<unsigned>(k)), kThreads, space.sums, space.weights,
         x.d, centers, weight_sums, nullptr, nullptr);
  return inertia;
}

template struct PreparedCenters<float>;
template struct PreparedCenters<double>;
template struct LloydSpace<float>;
template struct LloydSpace<double>;
KERNELMILL_FOR_FLOATS(assign)
KERNELMILL_FOR_FLOATS(lloyd_step)
KERNELMILL_FOR_FLOATS(lloyd)
KERNELMILL_FOR_FLOATS(minibatch_step)

}  // namespace kernelmill
