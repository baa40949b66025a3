#include "ops/pairwise.cuh"

#include "core/tile.cuh"  // Tile, loaders

namespace kernelmill {
namespace {

// Squares of differences: half the rate of an expanded square, and no entry to recompute.
template <class T, class Tile>
__global__ void __launch_bounds__(Tile::kThreads, Tile::kThreads == 256 ? 2 : 3)
    euclidean_kernel(DeviceRows<T> x, bool x_aligned, DeviceRows<T> y, bool y_aligned,
                     index_t tiles_across, bool squared, T* out) {
  __shared__ typename Tile::Shared shared;
  // Blocks that run together share rows of X, and Y passes through the cache.
  const index_t first_x = static_cast<index_t>(blockIdx.x) / tiles_across * Tile::kRowsA;
  const index_t first_y = static_cast<index_t>(blockIdx.x) % tiles_across * Tile::kRowsB;
  RowLoader<T, Tile::kRowsA, Tile::kThreads> load_x(x, first_x, x_aligned, nullptr);
  RowLoader<T, Tile::kRowsB, Tile::kThreads> load_y(y, first_y, y_aligned, nullptr);
  T square[Tile::kPerA][Tile::kPerB] = {};
  Tile::template accumulate<SquaredDifference>(shared, load_x, load_y, x.d, square);
#pragma unroll
  for (int i = 0; i < Tile::kPerA; ++i) {
    const index_t row = first_x + Tile::place_a() + Tile::kAcrossA * i;
#pragma unroll
    for (int j = 0; j < Tile::kPerB; ++j) {
      const index_t column = first_y + Tile::place_b() + Tile::kAcrossB * j;
      if (row < x.n && column < y.n) {
        out[row * y.n + column] = squared ? square[i][j] : sqrt(square[i][j]);
      }
    }
  }
}

}  // namespace

template <class T>
void euclidean(const Call& call, const DeviceRows<T>& x, const DeviceRows<T>& y, bool squared,
               T* out) {
  using Tile = typename PairTile<T>::type;
  if (x.n == 0 || y.n == 0) return;
  const index_t across = div_up(y.n, Tile::kRowsB);
  by_launches<Tile::kRowsA>(x, across, [&](const DeviceRows<T>& part, index_t first, dim3 blocks) {
    launch(call, euclidean_kernel<T, Tile>, blocks, Tile::kThreads, part, packs_aligned(part), y,
           packs_aligned(y), across, squared, out + first * y.n);
  });
}

KERNELMILL_FOR_FLOATS(euclidean)

}  // namespace kernelmill
