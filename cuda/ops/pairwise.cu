#include "ops/pairwise.cuh"

#include <algorithm>  // std::min

#include "core/tile.cuh"  // Tile, loaders

namespace kernelmill {
namespace {

template <class T>
struct PairTile;
template <>
struct PairTile<float> {
  using type = Tile<float, 128, 64, 8, 8>;
};
template <>
struct PairTile<double> {
  using type = Tile<double, 64, 64, 4, 4>;
};

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
  // One launch covers kMaxBlocks tiles; more rows than that take several.
  const index_t rows_per_launch = std::max<index_t>(1, kMaxBlocks / across) * Tile::kRowsA;
  for (index_t first = 0; first < x.n; first += rows_per_launch) {
    DeviceRows<T> part = x;
    part.data = x.data + first * x.stride;
    part.n = std::min(rows_per_launch, x.n - first);
    const index_t blocks = div_up(part.n, Tile::kRowsA) * across;
    launch(call, euclidean_kernel<T, Tile>, dim3(static_cast<unsigned>(blocks)), Tile::kThreads,
           part, packs_aligned(part), y, packs_aligned(y), across, squared, out + first * y.n);
  }
}

KERNELMILL_FOR_FLOATS(euclidean)

}  // namespace kernelmill
