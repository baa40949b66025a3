// Weighted moments of the rows about the means, in float64.
//
// Rows are cut into pieces, as many as fill a device, by the shapes alone; each block adds up one
// piece of one tile of the result, and the pieces are added in order.

#include <algorithm>  // std::max, std::clamp

#include "core/launch.cuh"  // launch
#include "core/origin.hpp"  // median_origin
#include "ops/mixture_parts.cuh"

namespace kernelmill {
namespace {

constexpr int kStage = 16;            // rows at once in shared memory
constexpr index_t kEnough = 2048;     // blocks that fill a device
constexpr index_t kFewestRows = 512;  // of a piece

index_t pieces_of(index_t n, index_t tiles) {
  return std::clamp<index_t>(kEnough / std::max<index_t>(1, tiles), 1,
                             std::max<index_t>(1, div_up(n, kFewestRows)));
}

// --- weights, sums and squares of single features: 32 components x 32 features a block -----------

constexpr int kSide = 32;
constexpr int kSquare = kSide * kSide;
// What a block writes: sums, squares of features, weights.
constexpr int kSumsWidth = 2 * kSquare + kSide;

index_t sums_tiles(index_t k, index_t d) {
  return div_up(k, kSide) * std::max<index_t>(1, div_up(d, kSide));
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    sums_kernel(DeviceRows<T> x, const T* weight, const double* share, const double* means,
                index_t k, index_t per_piece, index_t tiles, double* pieces) {
  __shared__ double shares[kStage][kSide], rows[kStage][kSide];
  const int thread = static_cast<int>(threadIdx.x), own_p = thread % 16, own_j = thread / 16;
  const index_t across = max(index_t{1}, div_up(x.d, kSide));
  const index_t tile = blockIdx.x % tiles, piece = blockIdx.x / tiles;
  const index_t first_j = tile / across * kSide, first_p = tile % across * kSide;
  const index_t end = min(x.n, (piece + 1) * per_piece);
  double mean[2][2], sum[2][2] = {}, square[2][2] = {}, total[2] = {};
#pragma unroll
  for (int a = 0; a < 2; ++a) {
#pragma unroll
    for (int b = 0; b < 2; ++b) {
      const index_t j = first_j + own_j + 16 * a, p = first_p + own_p + 16 * b;
      mean[a][b] = j < k && p < x.d ? means[j * x.d + p] : 0.0;
    }
  }
  for (index_t first = piece * per_piece; first < end; first += kStage) {
    for (int at = thread; at < kStage * kSide; at += kThreads) {
      const int r = at / kSide, c = at % kSide;
      const index_t row = first + r;
      const bool counts = row < end && (weight == nullptr || weight[row] != T(0));
      shares[r][c] = counts && first_j + c < k ? share[row * k + first_j + c] : 0.0;
      // NaN would reach the sums even with a share of 0: what does not count must read as finite.
      rows[r][c] = counts && first_p + c < x.d
                       ? static_cast<double>(x.data[row * x.stride + first_p + c])
                       : 0.0;
    }
    __syncthreads();
#pragma unroll 4
    for (int r = 0; r < kStage; ++r) {
#pragma unroll
      for (int a = 0; a < 2; ++a) {
        const double w = shares[r][own_j + 16 * a];
        total[a] += w;
#pragma unroll
        for (int b = 0; b < 2; ++b) {
          const double difference = rows[r][own_p + 16 * b] - mean[a][b];
          const double weighted = w * difference;
          sum[a][b] += weighted;
          square[a][b] += weighted * difference;
        }
      }
    }
    __syncthreads();
  }
  double* const to = pieces + blockIdx.x * static_cast<index_t>(kSumsWidth);
#pragma unroll
  for (int a = 0; a < 2; ++a) {
#pragma unroll
    for (int b = 0; b < 2; ++b) {
      const int at = (own_j + 16 * a) * kSide + own_p + 16 * b;
      to[at] = sum[a][b];
      to[kSquare + at] = square[a][b];
    }
    if (own_p == 0) to[2 * kSquare + own_j + 16 * a] = total[a];
  }
}

// Entry (j, p) of sums and squares, and weights with p = 0; squares may be null.
__global__ void combine_sums_kernel(const double* pieces, index_t n_pieces, index_t tiles,
                                    index_t k, index_t d, bool first, double* weights, double* sums,
                                    double* squares) {
  const index_t across = max(index_t{1}, div_up(d, kSide)), width = max(index_t{1}, d);
  for (index_t at = global_thread(); at < k * width; at += global_threads()) {
    const index_t j = at / width, p = at % width;
    const double* from =
        pieces + (j / kSide * across + p / kSide) * static_cast<index_t>(kSumsWidth);
    const index_t place = j % kSide * kSide + p % kSide;
    double sum = 0, square = 0, weight = 0;
    for (index_t q = 0; q < n_pieces; ++q, from += tiles * kSumsWidth) {
      sum += from[place];
      square += from[kSquare + place];
      weight += from[2 * kSquare + j % kSide];
    }
    if (p == 0) weights[j] = first ? weight : weights[j] + weight;
    if (p >= d) continue;
    sums[at] = first ? sum : sums[at] + sum;
    if (squares != nullptr) squares[at] = first ? square : squares[at] + square;
  }
}

// --- squares of pairs of features ----------------------------------------------------------------
//
// A block takes the pairs of kSpan x kSpan features for 64 / kSpan components: rows of the tile are
// (component, feature) with the responsibility multiplied in, columns are features of the same
// component. Of two tiles that mirror each other one is made.

constexpr int kTileRows = 64;

struct SquareTiles {
  index_t span, components, per_side, per_component_group, count;
};

__host__ __device__ inline SquareTiles square_tiles(index_t k, index_t d) {
  SquareTiles t{};
  t.span = d <= 16 ? 16 : d <= 32 ? 32 : 64;
  t.components = kTileRows / t.span;
  t.per_side = (d + t.span - 1) / t.span;
  t.per_component_group = t.per_side * (t.per_side + 1) / 2;
  t.count = (k + t.components - 1) / t.components * t.per_component_group;
  return t;
}

template <class T, int kSpan>
__global__ void __launch_bounds__(kThreads)
    squares_kernel(DeviceRows<T> x, const T* weight, const double* share, const double* about,
                   index_t k, index_t per_piece, double* pieces) {
  constexpr int kComponents = kTileRows / kSpan, kAcross = kSpan / 16;
  constexpr int kLoads = kStage * kTileRows / kThreads;
  __shared__ double left[kStage][kTileRows], right[kStage][kTileRows];
  const SquareTiles tiles = square_tiles(k, x.d);
  const int thread = static_cast<int>(threadIdx.x), own_a = thread / 16, own_b = thread % 16;
  const index_t tile = blockIdx.x % tiles.count, piece = blockIdx.x / tiles.count;
  const index_t end = min(x.n, (piece + 1) * per_piece);
  index_t pair = tile % tiles.per_component_group, high = 0;
  while (pair > high) pair -= ++high;  // pairs (low, high) in order of high: 00, 01, 11, 02, ...
  const index_t first_p = pair * kSpan, first_q = high * kSpan;

  // Thread t brings column t % 64 of rows t / 64, t / 64 + 4, ...
  const int column = thread % kTileRows, own_row = thread / kTileRows;
  const index_t j = tile / tiles.per_component_group * kComponents + column / kSpan;
  const index_t p = first_p + column % kSpan, q = first_q + column % kSpan;
  const bool has_p = j < k && p < x.d, has_q = j < k && q < x.d;
  const double mean_p = has_p ? about[j * x.d + p] : 0.0;
  const double mean_q = has_q ? about[j * x.d + q] : 0.0;

  double sum[4][kAcross] = {};
  double next_left[kLoads], next_right[kLoads];
  const auto fetch = [&](index_t first) {
#pragma unroll
    for (int i = 0; i < kLoads; ++i) {
      const index_t row = first + own_row + i * (kThreads / kTileRows);
      const bool counts = row < end && (weight == nullptr || weight[row] != T(0));
      const T* const from = x.data + row * x.stride;
      const double at_p = counts && has_p ? static_cast<double>(from[p]) - mean_p : 0.0;
      next_right[i] = counts && has_q ? static_cast<double>(from[q]) - mean_q : 0.0;
      next_left[i] = counts && has_p ? share[row * k + j] * at_p : 0.0;
    }
  };
  fetch(piece * per_piece);
  for (index_t first = piece * per_piece; first < end; first += kStage) {
#pragma unroll
    for (int i = 0; i < kLoads; ++i) {
      left[own_row + i * (kThreads / kTileRows)][column] = next_left[i];
      right[own_row + i * (kThreads / kTileRows)][column] = next_right[i];
    }
    __syncthreads();
    if (first + kStage < end) fetch(first + kStage);
#pragma unroll 4
    for (int r = 0; r < kStage; ++r) {
#pragma unroll
      for (int a = 0; a < 4; ++a) {
        const int at = own_a + 16 * a;
#pragma unroll
        for (int b = 0; b < kAcross; ++b) {
          sum[a][b] += left[r][at] * right[r][at / kSpan * kSpan + own_b + 16 * b];
        }
      }
    }
    __syncthreads();
  }
  double* const to = pieces + blockIdx.x * static_cast<index_t>(kTileRows * kSpan);
#pragma unroll
  for (int a = 0; a < 4; ++a) {
#pragma unroll
    for (int b = 0; b < kAcross; ++b) to[(own_a + 16 * a) * kSpan + own_b + 16 * b] = sum[a][b];
  }
}

// Entry (j, p, q), p <= q, and its mirror image.
__global__ void combine_squares_kernel(const double* pieces, index_t n_pieces, index_t k, index_t d,
                                       bool first, double* squares) {
  const SquareTiles tiles = square_tiles(k, d);
  const index_t width = kTileRows * tiles.span;
  for (index_t at = global_thread(); at < k * d * d; at += global_threads()) {
    const index_t j = at / (d * d), p = at / d % d, q = at % d;
    if (p > q) continue;
    const index_t low = p / tiles.span, high = q / tiles.span;
    const index_t tile =
        j / tiles.components * tiles.per_component_group + high * (high + 1) / 2 + low;
    const index_t row = j % tiles.components * tiles.span + p % tiles.span;
    const double* from = pieces + tile * width + row * tiles.span + q % tiles.span;
    double sum = 0;
    for (index_t i = 0; i < n_pieces; ++i, from += tiles.count * width) sum += *from;
    if (!first) sum += squares[at];
    squares[at] = sum;
    squares[(j * d + q) * d + p] = sum;
  }
}

// --- one second moment for all components -------------------------------------------------------

__global__ void totals_kernel(const double* share, index_t n, index_t k, double* totals) {
  for (index_t i = global_thread(); i < n; i += global_threads()) {
    double sum = 0;
    for (index_t j = 0; j < k; ++j) sum += share[i * k + j];
    totals[i] = sum;
  }
}

// From moments about the origin to moments about each mean, m = origin + delta:
// sum_j (delta_j s_j' + s_j delta_j' + w_j delta_j delta_j') less, s and w being sums about m.
__global__ void move_kernel(const double* means, const double* origin, index_t k, index_t d,
                            const double* weights, const double* sums, double* squares) {
  for (index_t at = global_thread(); at < d * d; at += global_threads()) {
    const index_t p = at / d, q = at % d;
    if (p > q) continue;
    double square = squares[at];
    for (index_t j = 0; j < k; ++j) {
      const double delta_p = means[j * d + p] - origin[p], delta_q = means[j * d + q] - origin[q];
      square -=
          delta_p * sums[j * d + q] + sums[j * d + p] * delta_q + weights[j] * delta_p * delta_q;
    }
    squares[at] = square;
    squares[q * d + p] = square;
  }
}

template <class T>
void add_squares(const Call& call, const DeviceRows<T>& x, const T* weight, const double* share,
                 const double* about, index_t k, bool first, double* squares, double* pieces) {
  const SquareTiles tiles = square_tiles(k, x.d);
  if (tiles.count == 0) return;
  const index_t n_pieces = pieces_of(x.n, tiles.count), per_piece = div_up(x.n, n_pieces);
  const dim3 blocks(static_cast<unsigned>(n_pieces * tiles.count));
  const auto kernel = tiles.span == 16   ? squares_kernel<T, 16>
                      : tiles.span == 32 ? squares_kernel<T, 32>
                                         : squares_kernel<T, 64>;
  launch(call, kernel, blocks, kThreads, x, weight, share, about, k, per_piece, pieces);
  launch(call, combine_squares_kernel, grid_for(k * x.d * x.d, kThreads), kThreads, pieces,
         n_pieces, k, x.d, first, squares);
}

}  // namespace

MomentSpace::MomentSpace(Arena& arena, index_t n, index_t d, index_t k, bool with_squares,
                         bool pooled) {
  const index_t tiles = sums_tiles(k, d);
  pieces = arena.take<double>(pieces_of(n, tiles) * tiles * kSumsWidth);
  const SquareTiles squares = square_tiles(pooled ? 1 : k, d);
  square_pieces = arena.take<double>(
      with_squares ? pieces_of(n, squares.count) * squares.count * kTileRows * squares.span : 0);
  totals = arena.take<double>(pooled ? n : 0);
  origin = arena.take<double>(pooled ? d : 0);
}

void start_moments(const Call& call, const double* means, index_t k, index_t d,
                   Covariance covariance, const Moments& to, const MomentSpace& space) {
  const auto bytes = [](index_t count) { return sizeof(double) * static_cast<std::size_t>(count); };
  zero(call, to.weights, bytes(k));
  zero(call, to.sums, bytes(k * d));
  zero(call, to.squares,
       bytes(covariance == Covariance::diag ? k * d
                                            : (covariance == Covariance::tied ? 1 : k) * d * d));
  if (covariance == Covariance::tied) {
    median_origin(call, DeviceRows<double>{means, k, d, d}, d, space.origin);
  }
}

template <class T>
void add_moments(const Call& call, const DeviceRows<T>& x, const T* weight, const double* share,
                 const double* means, index_t k, Covariance covariance, bool first,
                 const Moments& to, const MomentSpace& space) {
  if (x.n == 0) return;
  const index_t tiles = sums_tiles(k, x.d), n_pieces = pieces_of(x.n, tiles);
  launch(call, sums_kernel<T>, dim3(static_cast<unsigned>(n_pieces * tiles)), kThreads, x, weight,
         share, means, k, div_up(x.n, n_pieces), tiles, space.pieces);
  launch(call, combine_sums_kernel, grid_for(k * std::max<index_t>(1, x.d), kThreads), kThreads,
         space.pieces, n_pieces, tiles, k, x.d, first, to.weights, to.sums,
         covariance == Covariance::diag ? to.squares : nullptr);
  if (covariance == Covariance::full) {
    add_squares(call, x, weight, share, means, k, first, to.squares, space.square_pieces);
  } else if (covariance == Covariance::tied) {
    launch(call, totals_kernel, grid_for(x.n, kThreads), kThreads, share, x.n, k, space.totals);
    add_squares(call, x, weight, space.totals, space.origin, index_t{1}, first, to.squares,
                space.square_pieces);
  }
}

void finish_moments(const Call& call, const double* means, index_t k, index_t d,
                    Covariance covariance, const Moments& to, const MomentSpace& space) {
  if (covariance != Covariance::tied || d == 0) return;
  launch(call, move_kernel, grid_for(d * d, kThreads), kThreads, means, space.origin, k, d,
         to.weights, to.sums, to.squares);
}

template <class T>
void moments(const Call& call, const DeviceRows<T>& x, const double* share, const double* means,
             index_t k, Covariance covariance, const Moments& to, const MomentSpace& space) {
  start_moments(call, means, k, x.d, covariance, to, space);
  if (x.n == 0) return;
  add_moments<T>(call, x, nullptr, share, means, k, covariance, true, to, space);
  finish_moments(call, means, k, x.d, covariance, to, space);
}

KERNELMILL_FOR_FLOATS(add_moments)
KERNELMILL_FOR_FLOATS(moments)

}  // namespace kernelmill
