#include "ops/silhouette.cuh"

#include "core/tile.cuh"  // Tile, loaders

namespace kernelmill {
namespace {

template <class T>
struct SumTile;
template <>
struct SumTile<float> {
  using type = Tile<float, 64, 64, 4, 8>;
};
template <>
struct SumTile<double> {
  using type = Tile<double, 64, 32, 4, 4>;
};

// Block (a tile of rows of X, cluster g): square roots are added while the squares are in
// registers. Threads of a row add up lane by lane, then warp by warp: an order fixed by the tile
// alone.
template <class T, class Tile>
__global__ void __launch_bounds__(Tile::kThreads, 3)
    distance_sums_kernel(DeviceRows<T> x, bool x_aligned, DeviceRows<T> y, bool y_aligned,
                         const index_t* offsets, index_t k, double* sums) {
  __shared__ typename Tile::Shared shared;
  static_assert(Tile::kWarpsB == 1);  // one warp holds all columns of its rows
  const index_t g = static_cast<index_t>(blockIdx.x) % k;
  const index_t first = static_cast<index_t>(blockIdx.x) / k * Tile::kRowsA;
  const index_t begin = offsets[g], end = offsets[g + 1];
  RowLoader<T, Tile::kRowsA, Tile::kThreads> load_x(x, first, x_aligned, nullptr);
  double sum[Tile::kPerA] = {};
  for (index_t base = begin; base < end; base += Tile::kRowsB) {
    RowLoader<T, Tile::kRowsB, Tile::kThreads> load_y(y, base, y_aligned, nullptr);
    T square[Tile::kPerA][Tile::kPerB] = {};
    Tile::template accumulate<SquaredDifference>(shared, load_x, load_y, x.d, square);
#pragma unroll
    for (int j = 0; j < Tile::kPerB; ++j) {
      if (base + Tile::place_b() + Tile::kAcrossB * j >= end) continue;  // the next cluster's row
#pragma unroll
      for (int i = 0; i < Tile::kPerA; ++i) sum[i] += static_cast<double>(sqrt(square[i][j]));
    }
  }
#pragma unroll
  for (int i = 0; i < Tile::kPerA; ++i) {
#pragma unroll
    for (int step = 2; step <= 8; step *= 2) {  // the lane bits that choose b
      sum[i] += __shfl_xor_sync(0xffffffffu, sum[i], step);
    }
    const index_t row = first + Tile::place_a() + Tile::kAcrossA * i;
    if ((threadIdx.x & 14) == 0 && row < x.n) sums[row * k + g] = sum[i];
  }
}

}  // namespace

template <class T>
void cluster_distance_sums(const Call& call, const DeviceRows<T>& x, const DeviceRows<T>& y,
                           const index_t* offsets, index_t k, double* sums) {
  using Tile = typename SumTile<T>::type;
  if (x.n == 0 || k == 0) return;
  by_launches<Tile::kRowsA>(x, k, [&](const DeviceRows<T>& part, index_t first, dim3 blocks) {
    launch(call, distance_sums_kernel<T, Tile>, blocks, Tile::kThreads, part, packs_aligned(part),
           y, packs_aligned(y), offsets, k, sums + first * k);
  });
}

KERNELMILL_FOR_FLOATS(cluster_distance_sums)

}  // namespace kernelmill
