#include "ops/kernels.cuh"

#include <algorithm>  // std::clamp, std::min

#include "core/tile.cuh"  // Tile, loaders

namespace kernelmill {
namespace {

using kernels::Function;
using kernels::Kind;

constexpr index_t kBlockBytes = index_t{32} << 20;  // of the Gram matrix: it stays in the L2 cache
constexpr int kSums = 4;                            // sums that one pass over a row of K takes

// acc += |a - b|
struct AbsoluteDifference {
  template <class T>
  static __device__ void apply(T& acc, T a, T b) {
    const T t = a - b;
    acc += t < 0 ? -t : t;
  }
};

// acc += (a - b)^2 / (a + b), and nothing for 0 / 0, as beyond the last column
struct ChiSquare {
  template <class T>
  static __device__ void apply(T& acc, T a, T b) {
    const T t = a - b, total = a + b;
    acc += total == 0 ? T{0} : t * t / total;
  }
};

// Out of line: once, not for each result of a thread.
template <class T>
[[gnu::noinline]] __device__ T of_product(const Function& f, T product) {
  const T base = static_cast<T>(f.gamma) * product + static_cast<T>(f.coef0);
  if (f.kind == Kind::sigmoid) return tanh(base);
  if (kernels::is_whole(f.degree)) {
    return kernels::whole_power(base, static_cast<std::uint32_t>(f.degree));
  }
  return static_cast<T>(pow(static_cast<double>(base), f.degree));
}

// k from what Step has added up.
template <class Step, class T>
__device__ T finished(const Function& f, T sum) {
  if constexpr (std::is_same_v<Step, Product>) {
    return f.kind == Kind::linear ? sum : of_product(f, sum);
  } else {
    return exp(-static_cast<T>(f.gamma) * sum);
  }
}

// Squares of differences for rbf, as in pairwise.cu: no entry to recompute, and k(x, y) = k(y, x).
template <class T, class Step, class Tile>
__global__ void __launch_bounds__(Tile::kThreads, Tile::kThreads == 256 ? 2 : 3)
    kernel_rows_kernel(DeviceRows<T> x, bool x_aligned, DeviceRows<T> y, bool y_aligned,
                       index_t tiles_across, Function f, const index_t* places, T* out) {
  __shared__ typename Tile::Shared shared;
  const index_t first_x = static_cast<index_t>(blockIdx.x) / tiles_across * Tile::kRowsA;
  const index_t first_y = static_cast<index_t>(blockIdx.x) % tiles_across * Tile::kRowsB;
  RowLoader<T, Tile::kRowsA, Tile::kThreads> load_x(x, first_x, x_aligned, nullptr);
  RowLoader<T, Tile::kRowsB, Tile::kThreads> load_y(y, first_y, y_aligned, nullptr);
  T sum[Tile::kPerA][Tile::kPerB] = {};
  Tile::template accumulate<Step>(shared, load_x, load_y, x.d, sum);
#pragma unroll
  for (int i = 0; i < Tile::kPerA; ++i) {
    const index_t row = first_x + Tile::place_a() + Tile::kAcrossA * i;
    if (row >= x.n) continue;
    T* const to = out + (places == nullptr ? row : places[row]) * y.n;
#pragma unroll
    for (int j = 0; j < Tile::kPerB; ++j) {
      const index_t column = first_y + Tile::place_b() + Tile::kAcrossB * j;
      if (column < y.n) to[column] = finished<Step>(f, sum[i][j]);
    }
  }
}

template <class Step, class T>
void launch_rows(const Call& call, const DeviceRows<T>& x, const DeviceRows<T>& y,
                 const Function& f, const index_t* places, T* out) {
  using Tile = typename PairTile<T>::type;
  const index_t across = div_up(y.n, Tile::kRowsB);
  by_launches<Tile::kRowsA>(x, across, [&](const DeviceRows<T>& part, index_t first, dim3 blocks) {
    launch(call, kernel_rows_kernel<T, Step, Tile>, blocks, Tile::kThreads, part,
           packs_aligned(part), y, packs_aligned(y), across, f,
           places == nullptr ? nullptr : places + first,
           places == nullptr ? out + first * y.n : out);
  });
}

// A block takes a row of K, in double; the order of its sums is fixed by m alone.
template <class T>
__global__ void kernel_sums_kernel(const T* values, index_t rows, index_t m, const double* coef,
                                   index_t k, double* sums) {
  __shared__ double shared[kThreads];
  for (index_t i = blockIdx.x; i < rows; i += gridDim.x) {
    const T* const row = values + i * m;
    for (index_t c = 0; c < k; c += kSums) {
      double sum[kSums] = {};
      for (index_t j = threadIdx.x; j < m; j += kThreads) {
        const auto value = static_cast<double>(row[j]);
#pragma unroll
        for (int s = 0; s < kSums; ++s) {
          if (c + s < k) sum[s] += value * coef[j * k + c + s];
        }
      }
#pragma unroll
      for (int s = 0; s < kSums; ++s) {
        if (c + s >= k) break;
        const double total = block_sum<kThreads>(sum[s], shared);
        if (threadIdx.x == 0) sums[i * k + c + s] = total;
      }
    }
  }
}

}  // namespace

template <class T>
void kernel_rows(const Call& call, const DeviceRows<T>& x, const DeviceRows<T>& y,
                 const kernels::Function& f, const index_t* places, T* out) {
  if (x.n == 0 || y.n == 0) return;
  switch (f.kind) {
    case Kind::rbf:
      return launch_rows<SquaredDifference>(call, x, y, f, places, out);
    case Kind::laplacian:
      return launch_rows<AbsoluteDifference>(call, x, y, f, places, out);
    case Kind::chi2:
      return launch_rows<ChiSquare>(call, x, y, f, places, out);
    default:
      return launch_rows<Product>(call, x, y, f, places, out);
  }
}

template <class T>
KernelSumsSpace<T>::KernelSumsSpace(Arena& arena, index_t n, index_t m)
    : rows(
          std::min(n, std::clamp<index_t>(
                          kBlockBytes / (std::max<index_t>(1, m) * index_t{sizeof(T)}), 1, 65536))),
      block(arena.take<T>(rows * m)) {}

template <class T>
void kernel_sums(const Call& call, const DeviceRows<T>& x, const DeviceRows<T>& y,
                 const double* coef, index_t k, const kernels::Function& f, double* sums,
                 const KernelSumsSpace<T>& space) {
  if (x.n == 0 || k == 0) return;
  for (index_t first = 0; first < x.n; first += space.rows) {
    DeviceRows<T> part = x;
    part.data = x.data + first * x.stride;
    part.n = std::min(space.rows, x.n - first);
    kernel_rows<T>(call, part, y, f, nullptr, space.block);
    launch(call, kernel_sums_kernel<T>, grid_for(part.n * kThreads, kThreads), kThreads,
           space.block, part.n, y.n, coef, k, sums + first * k);
  }
}

template struct KernelSumsSpace<float>;
template struct KernelSumsSpace<double>;
KERNELMILL_FOR_FLOATS(kernel_rows)
KERNELMILL_FOR_FLOATS(kernel_sums)

}  // namespace kernelmill
