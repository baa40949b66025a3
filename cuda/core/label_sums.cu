#include "core/label_sums.hpp"

#include <algorithm>  // std::min
#include <bit>        // std::bit_width

#include "core/launch.cuh"  // launch
#include "core/sort.hpp"    // sort_pairs

namespace kernelmill {
namespace {

// Rows sorted at once: positions stay below 2^31.
constexpr index_t kMostRows = index_t{1} << 30;

// Rows per window, by the number of rows alone: enough windows to fill a device, few enough that
// the pieces cost little beside the rows.
int window_length(index_t n) {
  int length = 256;
  while (length < 4096 && n / length > 16384) length *= 2;
  return length;
}

index_t slots(index_t n, index_t k) { return div_up(n, window_length(n)) + k; }

// Threads side by side on columns; the rest of a block goes down the rows.
int column_threads(index_t d) { return power_of_two(std::clamp<index_t>(d, 1, kThreads)); }

// offsets[j] = first position with a label of at least j. Position i fills the labels after that of
// i - 1 up to its own, so every entry is written by one thread.
__global__ void offsets_kernel(const std::uint32_t* sorted, index_t count, index_t k,
                               std::int32_t* offsets) {
  for (index_t i = global_thread(); i <= count; i += global_threads()) {
    const index_t before = i == 0 ? -1 : static_cast<index_t>(sorted[i - 1]);
    const index_t here = i == count ? k : static_cast<index_t>(sorted[i]);
    for (index_t j = before + 1; j <= here; ++j) offsets[j] = static_cast<std::int32_t>(i);
  }
}

// Adds the values of the threads that share a column, in thread order; valid in the first of them.
__device__ double add_down(double value, int across, double* shared) {
  const int thread = static_cast<int>(threadIdx.x);
  shared[thread] = value;
  __syncthreads();
  if (thread < across) {
    for (int t = thread + across; t < kThreads; t += across) value += shared[t];
  }
  __syncthreads();
  return value;
}

// Window q and label j meet in slot q + j: along the sorted rows q and j never fall and one of them
// rises from piece to piece, so no two pieces share a slot.
template <class T>
__global__ void __launch_bounds__(kThreads)
    window_kernel(DeviceRows<T> x, const T* weight, const std::uint32_t* sorted,
                  const std::int32_t* by_label, const std::int32_t* offsets, index_t first,
                  index_t count, int window, int across, double* partial_sums,
                  double* partial_weights) {
  __shared__ double shared[kThreads];
  const int thread = static_cast<int>(threadIdx.x);
  const int down = kThreads / across, lane = thread / across;
  const index_t f = static_cast<index_t>(blockIdx.y) * across + thread % across;
  const index_t q = blockIdx.x;
  const index_t end = min(count, (q + 1) * window);
  for (index_t begin = q * window; begin < end;) {
    const index_t j = static_cast<index_t>(sorted[begin]);
    const index_t stop = min(end, static_cast<index_t>(offsets[j + 1]));
    double sum = 0, weight_sum = 0;
#pragma unroll 4
    for (index_t i = begin + lane; i < stop; i += down) {
      index_t row = first + by_label[i];
      if (x.order != nullptr) row = x.order[row];
      const double w = weight == nullptr ? 1.0 : static_cast<double>(weight[row]);
      weight_sum += w;
      if (f < x.d) sum += w * static_cast<double>(x.data[row * x.stride + f]);
    }
    sum = add_down(sum, across, shared);
    if (lane == 0 && f < x.d) partial_sums[(q + j) * x.d + f] = sum;
    if (blockIdx.y == 0) {
      weight_sum = add_down(weight_sum, across, shared);
      if (thread == 0) partial_weights[q + j] = weight_sum;
    }
    begin = stop;
  }
}

// Adds the pieces of label j = blockIdx.x in window order, to what is there when `accumulate`.
__global__ void __launch_bounds__(kThreads)
    combine_kernel(const std::int32_t* offsets, index_t d, int window, int across, bool accumulate,
                   const double* partial_sums, const double* partial_weights, double* sums,
                   double* weights) {
  __shared__ double shared[kThreads];
  const int thread = static_cast<int>(threadIdx.x);
  const int down = kThreads / across, lane = thread / across;
  const index_t f = static_cast<index_t>(blockIdx.y) * across + thread % across;
  const index_t j = blockIdx.x;
  const index_t begin = offsets[j], end = offsets[j + 1];
  const index_t last = end > begin ? (end - 1) / window : -1;
  double sum = 0, weight_sum = 0;
  for (index_t q = begin / window + lane; q <= last; q += down) {
    if (f < d) sum += partial_sums[(q + j) * d + f];
    weight_sum += partial_weights[q + j];
  }
  sum = add_down(sum, across, shared);
  if (lane == 0 && f < d) sums[j * d + f] = accumulate ? sums[j * d + f] + sum : sum;
  if (blockIdx.y == 0) {
    weight_sum = add_down(weight_sum, across, shared);
    if (thread == 0) weights[j] = accumulate ? weights[j] + weight_sum : weight_sum;
  }
}

}  // namespace

LabelSumsSpace::LabelSumsSpace(Arena& arena, const Call& call, index_t n, index_t d, index_t k) {
  const index_t most = std::min(n, kMostRows);
  rows = arena.take<std::int32_t>(most);
  by_label = arena.take<std::int32_t>(most);
  sorted = arena.take<std::uint32_t>(most);
  offsets = arena.take<std::int32_t>(k + 1);
  partial_sums = arena.take<double>(slots(most, k) * d);
  partial_weights = arena.take<double>(slots(most, k));
  sort_bytes = most == 0 ? 0 : kernelmill::sort_bytes<std::uint32_t, std::int32_t>(call, most);
  sort = arena.take<char>(static_cast<index_t>(sort_bytes));
}

template <class T>
void label_sums(const Call& call, const DeviceRows<T>& x, const T* weight,
                const std::int32_t* labels, index_t k, double* sums, double* weights,
                const LabelSumsSpace& space) {
  if (x.n == 0) {
    zero(call, sums, sizeof(double) * static_cast<std::size_t>(k * x.d));
    zero(call, weights, sizeof(double) * static_cast<std::size_t>(k));
    return;
  }
  const int across = column_threads(x.d);
  const auto tiles = static_cast<unsigned>(std::max<index_t>(1, div_up(x.d, across)));
  const int window = window_length(std::min(x.n, kMostRows));
  const int bits = std::max(1, static_cast<int>(std::bit_width(static_cast<std::uint64_t>(k - 1))));
  for (index_t first = 0; first < x.n; first += kMostRows) {
    const index_t count = std::min(kMostRows, x.n - first);
    number(call, space.rows, count);
    // Labels are not negative, so their order as unsigned numbers is the same.
    sort_pairs(call, space.sort, space.sort_bytes,
               reinterpret_cast<const std::uint32_t*>(labels + first), space.sorted, space.rows,
               space.by_label, count, bits);
    launch(call, offsets_kernel, grid_for(count + 1, kThreads), kThreads, space.sorted, count, k,
           space.offsets);
    launch(call, window_kernel<T>, dim3(static_cast<unsigned>(div_up(count, window)), tiles),
           kThreads, x, weight, space.sorted, space.by_label, space.offsets, first, count, window,
           across, space.partial_sums, space.partial_weights);
    launch(call, combine_kernel, dim3(static_cast<unsigned>(k), tiles), kThreads, space.offsets,
           x.d, window, across, first > 0, space.partial_sums, space.partial_weights, sums,
           weights);
  }
}

KERNELMILL_FOR_STORED(label_sums)

}  // namespace kernelmill
