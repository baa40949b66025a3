#include "ops/sparse_kmeans.cuh"

#include <algorithm>  // std::max
#include <bit>        // std::bit_width
#include <limits>     // infinity

#include "core/error.hpp"   // invalid
#include "core/launch.cuh"  // launch
#include "core/sort.hpp"    // sort_pairs

namespace kernelmill {
namespace {

constexpr int kThreads = 256;
constexpr int kPerLane = 4;  // centers that a lane compares in one reading of a row
constexpr int kWindow = 64;  // sorted entries that one thread adds up

enum Fault : int { kNone = 0, kEnds = 1, kFalling = 2, kColumn = 3 };

// Any thread that sees a fault names it; with several, which one is told is not defined.
template <class Index>
__global__ void check_kernel(const Index* indices, const Index* indptr, index_t n, index_t stored,
                             index_t d, int* fault) {
  for (index_t i = global_thread(); i < std::max(n, stored) + 1; i += global_threads()) {
    if (i == 0 && (indptr[0] != 0 || indptr[n] != static_cast<Index>(stored))) *fault = kEnds;
    if (i < n && indptr[i + 1] < indptr[i]) *fault = kFalling;
    if (i < stored && (indices[i] < 0 || static_cast<index_t>(indices[i]) >= d)) *fault = kColumn;
  }
}

__global__ void transpose_kernel(const double* centers, index_t k, index_t d, double* transposed) {
  for (index_t i = global_thread(); i < k * d; i += global_threads()) {
    transposed[i] = centers[i % k * d + i / k];
  }
}

// One warp per center.
__global__ void norm_kernel(const double* centers, index_t k, index_t d, double* norms) {
  const index_t j = global_thread() / 32;
  if (j >= k) return;
  double norm = 0;
  for (index_t p = threadIdx.x % 32; p < d; p += 32)
    norm += centers[j * d + p] * centers[j * d + p];
  norm = lane_sum<32>(norm);
  if (threadIdx.x % 32 == 0) norms[j] = norm;
}

// ||x||^2 of the entries [begin, end) by one warp. Repeated columns add up before they are squared:
// rows whose columns rise, the usual kind, have none; others compare every pair of entries.
template <class T, class Index>
__device__ double squared_norm(const CsrRows<T, Index>& x, index_t begin, index_t end) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  bool rising = true;
  for (index_t q = begin + lane + 1; q < end; q += 32) {
    rising = rising && x.indices[q - 1] < x.indices[q];
  }
  const bool simple = __all_sync(0xffffffffu, rising);
  double norm = 0;
  for (index_t q = begin + lane; q < end; q += 32) {
    auto value = static_cast<double>(x.data[q]);
    if (!simple) {
      bool first = true;
      for (index_t other = begin; other < end; ++other) {
        if (other == q || x.indices[other] != x.indices[q]) continue;
        if (other < q) {
          first = false;
          break;
        }
        value += static_cast<double>(x.data[other]);
      }
      if (!first) value = 0;  // counted where the column came first
    }
    norm += value * value;
  }
  return lane_sum<32>(norm);
}

// One warp per row: each lane keeps x.c for kPerLane centers while the row goes by.
template <class T, class Index>
__global__ void __launch_bounds__(kThreads)
    assign_kernel(CsrRows<T, Index> x, const double* transposed, const double* norms, index_t k,
                  std::int32_t* labels, T* squared, double* nearest) {
  const index_t row = global_thread() / 32;
  if (row >= x.n) return;  // whole warps
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const index_t begin = x.indptr[row], end = x.indptr[row + 1];
  double best = std::numeric_limits<double>::infinity();
  index_t index = 0;
  for (index_t base = 0; base < k; base += 32 * kPerLane) {
    double dot[kPerLane] = {};
    for (index_t q = begin; q < end; ++q) {
      const auto value = static_cast<double>(x.data[q]);
      const double* const c = transposed + static_cast<index_t>(x.indices[q]) * k;
#pragma unroll
      for (int m = 0; m < kPerLane; ++m) {
        const index_t j = base + lane + 32 * m;
        if (j < k) dot[m] += value * c[j];
      }
    }
#pragma unroll
    for (int m = 0; m < kPerLane; ++m) {
      const index_t j = base + lane + 32 * m;
      if (j < k && norms[j] - 2 * dot[m] < best) {  // rising j: the lowest of ties
        best = norms[j] - 2 * dot[m];
        index = j;
      }
    }
  }
#pragma unroll
  for (int step = 16; step > 0; step /= 2) {
    const double s = __shfl_xor_sync(0xffffffffu, best, step);
    const index_t j = __shfl_xor_sync(0xffffffffu, index, step);
    if (s < best || (s == best && j < index)) {
      best = s;
      index = j;
    }
  }
  const double norm = squared_norm(x, begin, end);
  if (lane == 0) {
    // Nothing compares below infinity in a row of NaN or inf; its distance must not look finite.
    double distance = norm + best;
    if (distance < 0) distance = 0;
    labels[row] = static_cast<std::int32_t>(index);
    if (squared != nullptr) squared[row] = static_cast<T>(distance);
    if (nearest != nullptr) nearest[row] = distance;
  }
}

// terms[i] *= weight[i]
template <class T>
__global__ void weigh_kernel(double* terms, const T* weight, index_t n) {
  for (index_t i = global_thread(); i < n; i += global_threads()) {
    terms[i] *= static_cast<double>(weight[i]);
  }
}

// Entry q of row i gets the key label_i d + column and the value w_i x: one warp per row.
template <class T, class Index>
__global__ void key_kernel(CsrRows<T, Index> x, const std::int32_t* labels, const T* weight,
                           index_t d, std::uint64_t* keys, double* values) {
  const index_t row = global_thread() / 32;
  if (row >= x.n) return;
  const double w = weight == nullptr ? 1.0 : static_cast<double>(weight[row]);
  const index_t base = labels[row] * d;
  const index_t end = x.indptr[row + 1];
  for (index_t q = x.indptr[row] + threadIdx.x % 32; q < end; q += 32) {
    keys[q] = static_cast<std::uint64_t>(base + static_cast<index_t>(x.indices[q]));
    values[q] = w * static_cast<double>(x.data[q]);
  }
}

// Each thread adds the runs of equal keys in its window. A run that lies inside goes to its sum.
// The part of a run that comes in from the left goes to head, the part that goes on to the right,
// of a run that starts here, to tail.
__global__ void run_kernel(const std::uint64_t* keys, const double* values, index_t count,
                           double* head, double* tail, double* sums) {
  const index_t begin = global_thread() * kWindow;
  if (begin >= count) return;
  const index_t end = min(count, begin + kWindow);
  bool starts_here = begin == 0 || keys[begin - 1] != keys[begin];
  double sum = 0;
  for (index_t q = begin; q < end; ++q) {
    sum += values[q];
    const bool last = q + 1 == count || keys[q + 1] != keys[q];
    if (!last && q + 1 < end) continue;
    if (!starts_here) {
      head[begin / kWindow] = sum;
    } else if (last) {
      sums[keys[q]] = sum;
    } else {
      tail[begin / kWindow] = sum;
    }
    starts_here = true;
    sum = 0;
  }
}

// The thread whose window a run leaves to the right follows it and adds its parts in order.
__global__ void join_kernel(const std::uint64_t* keys, index_t count, const double* head,
                            const double* tail, double* sums) {
  const index_t window = global_thread();
  const index_t end = (window + 1) * kWindow;
  if (end >= count || keys[end] != keys[end - 1]) return;
  const std::uint64_t key = keys[end - 1];
  const index_t begin = window * kWindow;
  // A run that also came in from the left belongs to the window where it started.
  if (keys[begin] == key && begin > 0 && keys[begin - 1] == key) return;
  double sum = tail[window];
  for (index_t w = window + 1; w * kWindow < count && keys[w * kWindow] == key; ++w) sum += head[w];
  sums[key] = sum;
}

dim3 warps(index_t rows) { return dim3(static_cast<unsigned>(div_up(rows * 32, kThreads))); }

template <class T, class Index>
void run_assign(const Call& call, const CsrRows<T, Index>& x, const double* centers, index_t k,
                index_t d, std::int32_t* labels, T* squared, double* nearest,
                const SparseSpace& space) {
  if (x.n == 0) return;
  if (d > 0) {
    launch(call, transpose_kernel, grid_for(k * d, kThreads), kThreads, centers, k, d,
           space.transposed);
  }
  launch(call, norm_kernel, warps(k), kThreads, centers, k, d, space.norms);
  launch(call, assign_kernel<T, Index>, warps(x.n), kThreads, x, space.transposed, space.norms, k,
         labels, squared, nearest);
}

}  // namespace

SparseSpace::SparseSpace(Arena& arena, const Call& call, index_t n, index_t stored, index_t d,
                         index_t k, bool with_sums)
    : transposed(arena.take<double>(d * k)),
      norms(arena.take<double>(k)),
      nearest(arena.take<double>(with_sums ? n + 1 : 0)),
      fault(arena.take<int>(1)),
      label_sums(arena, call, with_sums ? n : 0, 0, k) {
  const index_t entries = with_sums ? stored : 0;
  keys = arena.take<std::uint64_t>(entries);
  sorted_keys = arena.take<std::uint64_t>(entries);
  values = arena.take<double>(entries);
  sorted_values = arena.take<double>(entries);
  head = arena.take<double>(div_up(entries, kWindow));
  tail = arena.take<double>(div_up(entries, kWindow));
  sort_bytes = entries == 0 ? 0 : kernelmill::sort_bytes<std::uint64_t, double>(call, entries);
  sort = arena.take<char>(static_cast<index_t>(sort_bytes));
}

template <class T, class Index>
void check_csr(const Call& call, const CsrRows<T, Index>& x, index_t d, const SparseSpace& space) {
  zero(call, space.fault, sizeof(int));
  launch(call, check_kernel<Index>, grid_for(std::max(x.n, x.stored) + 1, kThreads), kThreads,
         x.indices, x.indptr, x.n, x.stored, d, space.fault);
  int fault = kNone;
  download(call, &fault, space.fault, 1);
  if (fault == kEnds) invalid(call.op, "indptr must run from 0 to ", x.stored);
  if (fault == kFalling) invalid(call.op, "indptr must never fall");
  if (fault == kColumn) invalid(call.op, "indices must lie in [0, ", d, ")");
}

template <class T, class Index>
void sparse_assign(const Call& call, const CsrRows<T, Index>& x, const double* centers, index_t k,
                   index_t d, std::int32_t* labels, T* squared, const SparseSpace& space) {
  run_assign(call, x, centers, k, d, labels, squared, nullptr, space);
}

template <class T, class Index>
double sparse_lloyd_step(const Call& call, const CsrRows<T, Index>& x, const double* centers,
                         index_t k, index_t d, const T* weight, double* sums, double* weights,
                         std::int32_t* labels, const SparseSpace& space) {
  zero(call, sums, sizeof(double) * static_cast<std::size_t>(k * d));
  DeviceRows<T> rows;  // no columns: weights alone
  rows.n = x.n;
  double* const inertia = space.nearest;
  run_assign(call, x, centers, k, d, labels, static_cast<T*>(nullptr), inertia + 1, space);
  label_sums(call, rows, weight, labels, k, sums, weights, space.label_sums);
  if (x.n == 0) return 0.0;
  if (weight != nullptr) {
    launch(call, weigh_kernel<T>, grid_for(x.n, kThreads), kThreads, inertia + 1, weight, x.n);
  }
  sum_in_order(call, inertia + 1, x.n, inertia);
  if (x.stored > 0) {
    launch(call, key_kernel<T, Index>, warps(x.n), kThreads, x, labels, weight, d, space.keys,
           space.values);
    const int bits = std::max(1, static_cast<int>(std::bit_width(static_cast<std::uint64_t>(k) *
                                                                 static_cast<std::uint64_t>(d))));
    sort_pairs(call, space.sort, space.sort_bytes, space.keys, space.sorted_keys, space.values,
               space.sorted_values, x.stored, bits);
    const dim3 windows(static_cast<unsigned>(div_up(div_up(x.stored, kWindow), kThreads)));
    launch(call, run_kernel, windows, kThreads, space.sorted_keys, space.sorted_values, x.stored,
           space.head, space.tail, sums);
    launch(call, join_kernel, windows, kThreads, space.sorted_keys, x.stored, space.head,
           space.tail, sums);
  }
  double total = 0;
  download(call, &total, inertia, 1);
  return total;
}

#define KERNELMILL_INSTANTIATE(T, Index)                                                          \
  template void check_csr<T, Index>(const Call&, const CsrRows<T, Index>&, index_t,               \
                                    const SparseSpace&);                                          \
  template void sparse_assign<T, Index>(const Call&, const CsrRows<T, Index>&, const double*,     \
                                        index_t, index_t, std::int32_t*, T*, const SparseSpace&); \
  template double sparse_lloyd_step<T, Index>(const Call&, const CsrRows<T, Index>&,              \
                                              const double*, index_t, index_t, const T*, double*, \
                                              double*, std::int32_t*, const SparseSpace&);
KERNELMILL_INSTANTIATE(float, std::int32_t)
KERNELMILL_INSTANTIATE(float, std::int64_t)
KERNELMILL_INSTANTIATE(double, std::int32_t)
KERNELMILL_INSTANTIATE(double, std::int64_t)
#undef KERNELMILL_INSTANTIATE

}  // namespace kernelmill
