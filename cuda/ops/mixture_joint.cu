// Log joint densities: products with the columns of P, squares summed in registers.

#include <algorithm>  // std::max, std::min, std::clamp

#include "core/launch.cuh"  // launch
#include "core/origin.hpp"  // median_origin
#include "core/tile.cuh"    // Tile, loaders
#include "ops/mixture_parts.cuh"

namespace kernelmill {
namespace {

constexpr double kLogTwoPi = 1.8378770664093454836;

// Eight threads of one warp share the rows of B, one row of each group of 8. A component takes
// whole groups, so its squares are summed within those threads.
template <class T>
struct JointTile;
template <>
struct JointTile<float> {
  using type = Tile<float, 128, 64, 8, 8>;
};
template <>
struct JointTile<double> {
  using type = Tile<double, 64, 32, 4, 4>;
};
constexpr int kGroup = 8;
constexpr index_t kMostRowsB = 64;

// Row r of the result is column q = r % (8 groups) of P of component r / (8 groups).
template <class T>
__global__ void factor_kernel(const double* P, index_t n_factors, index_t d, JointSpace<T> to) {
  const index_t width = kGroup * to.groups;
  for (index_t at = global_thread(); at < to.rows * to.columns; at += global_threads()) {
    const index_t r = at / to.columns, p = at % to.columns, f = r / width, q = r % width;
    const bool inside = f < n_factors && q < d && p <= q;
    to.factors[at] = inside ? static_cast<T>(P[(f * d + p) * d + q]) : T(0);
  }
}

// (m_j - o)' P_j, column q, in float64: to -starts, or to shifts when P is shared.
template <class T>
__global__ void shift_kernel(Mixture mixture, index_t padded, JointSpace<T> to) {
  const index_t d = mixture.d, width = kGroup * to.groups;
  const bool shared = mixture.covariance == Covariance::tied;
  const index_t across = shared ? to.columns : width, count = shared ? padded : to.rows / width + 1;
  for (index_t at = global_thread(); at < count * across; at += global_threads()) {
    const index_t j = at / across, q = at % across;
    double sum = 0;
    if (j < mixture.k && q < d) {
      const double* P = mixture.factors + (shared ? 0 : j * d * d);
      for (index_t p = 0; p <= q; ++p) {
        sum += (mixture.means[j * d + p] - static_cast<double>(to.origin[p])) * P[p * d + q];
      }
    }
    if (shared) {
      to.shifts[at] = static_cast<T>(sum);
    } else if (at < to.rows) {
      to.starts[at] = static_cast<T>(-sum);
    }
  }
}

template <class T>
__global__ void diag_kernel(Mixture mixture, JointSpace<T> to) {
  for (index_t at = global_thread(); at < mixture.k * mixture.d; at += global_threads()) {
    const double P = mixture.factors[at], o = static_cast<double>(to.origin[at % mixture.d]);
    to.factors[at] = static_cast<T>(P);
    to.shifts[at] = static_cast<T>((mixture.means[at] - o) * P);
  }
}

// One warp per component.
__global__ void constant_kernel(Mixture mixture, double* constants) {
  const index_t j = global_thread() / 32, d = mixture.d;
  if (j >= mixture.k) return;
  double log_det = 0;
  for (index_t p = threadIdx.x % 32; p < d; p += 32) {
    const double* const P = mixture.factors;
    log_det += log(mixture.covariance == Covariance::diag   ? P[j * d + p]
                   : mixture.covariance == Covariance::tied ? P[p * d + p]
                                                            : P[(j * d + p) * d + p]);
  }
  log_det = lane_sum<32>(log_det);
  if (threadIdx.x % 32 == 0) {
    constants[j] = mixture.offsets[j] + log_det - 0.5 * static_cast<double>(mixture.d) * kLogTwoPi;
  }
}

// Sum over the threads that share the rows of A; the first of them uses it.
template <class T>
__device__ T group_sum(T x) {
#pragma unroll
  for (int step = 2; step <= 8; step *= 2) {  // the lane bits that choose b
    x += __shfl_xor_sync(0xffffffffu, x, step);
  }
  return x;
}

template <class T, class Tile>
__global__ void __launch_bounds__(Tile::kThreads, 3)
    full_kernel(DeviceRows<T> x, bool aligned, JointSpace<T> space, index_t k, T* out) {
  constexpr int kPerA = Tile::kPerA, kPerB = Tile::kPerB;
  static_assert(Tile::kAcrossB == kGroup && Tile::kWarpsB == 1);
  __shared__ typename Tile::Shared shared;
  __shared__ T shared_sum[kPerA][Tile::kThreads];  // out of the registers of the product
  const index_t first = static_cast<index_t>(blockIdx.x) * Tile::kRowsA;
  RowLoader<T, Tile::kRowsA, Tile::kThreads> load_x(x, first, aligned, space.origin);
#pragma unroll
  for (int a = 0; a < kPerA; ++a) shared_sum[a][threadIdx.x] = 0;
  index_t component = 0, done = 0;  // groups of the component
  for (index_t base = 0; component < k; base += Tile::kRowsB) {
    PaddedLoader<T, Tile::kRowsB, Tile::kThreads> load_p(space.factors + base * space.columns,
                                                         space.columns);
    T white[kPerA][kPerB];
#pragma unroll
    for (int b = 0; b < kPerB; ++b) {
      const T start = space.starts[base + Tile::place_b() + kGroup * b];
#pragma unroll
      for (int a = 0; a < kPerA; ++a) white[a][b] = start;
    }
    // P is upper triangular: no column of this tile reaches beyond its last.
    const bool within = done + kPerB <= space.groups;
    const index_t reach = within ? min(x.d, (done + kPerB) * kGroup) : x.d;
    Tile::template accumulate<Product>(shared, load_x, load_p, reach, white);
    T sum[kPerA];
#pragma unroll
    for (int a = 0; a < kPerA; ++a) sum[a] = shared_sum[a][threadIdx.x];
#pragma unroll
    for (int b = 0; b < kPerB; ++b) {
#pragma unroll
      for (int a = 0; a < kPerA; ++a) sum[a] += white[a][b] * white[a][b];
      if (++done < space.groups) continue;
#pragma unroll
      for (int a = 0; a < kPerA; ++a) {
        const T square = group_sum(sum[a]);
        const index_t row = first + Tile::place_a() + Tile::kAcrossA * a;
        if (Tile::place_b() == 0 && row < x.n && component < k) {
          out[row * k + component] =
              static_cast<T>(space.constants[component] - 0.5 * static_cast<double>(square));
        }
        sum[a] = 0;
      }
      done = 0;
      ++component;
    }
#pragma unroll
    for (int a = 0; a < kPerA; ++a) shared_sum[a][threadIdx.x] = sum[a];
  }
}

// white = x' P for the one P of all components.
template <class T, class Tile>
__global__ void __launch_bounds__(Tile::kThreads, 3)
    whiten_kernel(DeviceRows<T> x, bool aligned, JointSpace<T> space) {
  constexpr int kPerA = Tile::kPerA, kPerB = Tile::kPerB;
  __shared__ typename Tile::Shared shared;
  const index_t first = static_cast<index_t>(blockIdx.x) * Tile::kRowsA;
  RowLoader<T, Tile::kRowsA, Tile::kThreads> load_x(x, first, aligned, space.origin);
  for (index_t base = 0; base < x.d; base += Tile::kRowsB) {
    PaddedLoader<T, Tile::kRowsB, Tile::kThreads> load_p(space.factors + base * space.columns,
                                                         space.columns);
    T white[kPerA][kPerB] = {};
    Tile::template accumulate<Product>(shared, load_x, load_p, min(x.d, base + Tile::kRowsB),
                                       white);
#pragma unroll
    for (int a = 0; a < kPerA; ++a) {
      const index_t row = first + Tile::place_a() + Tile::kAcrossA * a;
#pragma unroll
      for (int b = 0; b < kPerB; ++b) {
        const index_t q = base + Tile::place_b() + Tile::kAcrossB * b;
        if (row < x.n && q < x.d) space.white[row * space.columns + q] = white[a][b];
      }
    }
  }
}

template <class T, class Tile>
__global__ void __launch_bounds__(Tile::kThreads, 3)
    tied_kernel(DeviceRows<T> white, JointSpace<T> space, index_t k, T* out) {
  constexpr int kPerA = Tile::kPerA, kPerB = Tile::kPerB;
  __shared__ typename Tile::Shared shared;
  const index_t first = static_cast<index_t>(blockIdx.x) * Tile::kRowsA;
  RowLoader<T, Tile::kRowsA, Tile::kThreads> load_white(white, first, true, nullptr);
  for (index_t base = 0; base < k; base += Tile::kRowsB) {
    PaddedLoader<T, Tile::kRowsB, Tile::kThreads> load_m(space.shifts + base * space.columns,
                                                         space.columns);
    T square[kPerA][kPerB] = {};
    Tile::template accumulate<SquaredDifference>(shared, load_white, load_m, white.d, square);
#pragma unroll
    for (int a = 0; a < kPerA; ++a) {
      const index_t row = first + Tile::place_a() + Tile::kAcrossA * a;
#pragma unroll
      for (int b = 0; b < kPerB; ++b) {
        const index_t j = base + Tile::place_b() + Tile::kAcrossB * b;
        if (row < white.n && j < k) {
          out[row * k + j] =
              static_cast<T>(space.constants[j] - 0.5 * static_cast<double>(square[a][b]));
        }
      }
    }
  }
}

// Diagonal: each component scales the columns its own way, so this is no product. A block takes 64
// rows and 32 components at a time through shared memory, 16 columns a stage; a thread has 4 x 4.
constexpr int kDiagRows = 64, kDiagComponents = 32, kDiagColumns = 16, kDiagThreads = 128;

template <class T>
__global__ void __launch_bounds__(kDiagThreads)
    diag_joint_kernel(DeviceRows<T> x, JointSpace<T> space, index_t k, T* out) {
  __shared__ T rows[kDiagRows][kDiagColumns + 1];
  __shared__ T scales[kDiagComponents][kDiagColumns + 1];
  __shared__ T shifts[kDiagComponents][kDiagColumns + 1];
  const int thread = static_cast<int>(threadIdx.x), own_row = thread / 8, own_j = thread % 8;
  const index_t first = static_cast<index_t>(blockIdx.x) * kDiagRows;
  for (index_t base = 0; base < k; base += kDiagComponents) {
    T square[4][4] = {};
    for (index_t column = 0; column < x.d; column += kDiagColumns) {
      for (int at = thread; at < kDiagRows * kDiagColumns; at += kDiagThreads) {
        const int r = at / kDiagColumns, c = at % kDiagColumns;
        const index_t row = first + r, p = column + c;
        const bool inside = row < x.n && p < x.d;
        rows[r][c] = inside ? x.data[row * x.stride + p] - space.origin[p] : T(0);
      }
      for (int at = thread; at < kDiagComponents * kDiagColumns; at += kDiagThreads) {
        const int r = at / kDiagColumns, c = at % kDiagColumns;
        const index_t j = base + r, p = column + c;
        const bool inside = j < k && p < x.d;
        scales[r][c] = inside ? space.factors[j * x.d + p] : T(0);
        shifts[r][c] = inside ? space.shifts[j * x.d + p] : T(0);
      }
      __syncthreads();
#pragma unroll 4
      for (int c = 0; c < kDiagColumns; ++c) {
        T value[4];
#pragma unroll
        for (int a = 0; a < 4; ++a) value[a] = rows[own_row + 16 * a][c];
#pragma unroll
        for (int b = 0; b < 4; ++b) {
          const T scale = scales[own_j + 8 * b][c], shift = shifts[own_j + 8 * b][c];
#pragma unroll
          for (int a = 0; a < 4; ++a) {
            const T white = value[a] * scale - shift;
            square[a][b] += white * white;
          }
        }
      }
      __syncthreads();
    }
#pragma unroll
    for (int a = 0; a < 4; ++a) {
      const index_t row = first + own_row + 16 * a;
#pragma unroll
      for (int b = 0; b < 4; ++b) {
        const index_t j = base + own_j + 8 * b;
        if (row < x.n && j < k) {
          out[row * k + j] =
              static_cast<T>(space.constants[j] - 0.5 * static_cast<double>(square[a][b]));
        }
      }
    }
  }
}

index_t padded_components(index_t k) { return div_up(k, kMostRowsB) * kMostRowsB; }

dim3 row_blocks(index_t n, int rows) { return dim3(static_cast<unsigned>(div_up(n, rows))); }

}  // namespace

template <class T>
JointSpace<T>::JointSpace(Arena& arena, index_t n, index_t d, index_t k, Covariance covariance)
    : columns(div_up(d, Stage<T>::columns) * Stage<T>::columns),
      groups(std::max<index_t>(1, div_up(d, kGroup))) {
  const bool diag = covariance == Covariance::diag, shared = covariance == Covariance::tied;
  rows = diag ? 0 : div_up((shared ? 1 : k) * groups * kGroup, kMostRowsB) * kMostRowsB;
  constexpr index_t kWhite = index_t{1} << 22;  // numbers at once
  block = std::min(n, std::clamp<index_t>(kWhite / std::max<index_t>(1, columns), 1024, 1 << 16));
  origin = arena.take<T>(columns);
  factors = arena.take<T>(diag ? k * d : rows * columns);
  starts = arena.take<T>(covariance == Covariance::full ? rows : 0);
  shifts = arena.take<T>(diag ? k * d : shared ? padded_components(k) * columns : 0);
  white = arena.take<T>(shared ? block * columns : 0);
  constants = arena.take<double>(k);
}

template <class T>
void prepare_joint(const Call& call, const Mixture& mixture, const JointSpace<T>& space) {
  const index_t d = mixture.d, k = mixture.k;
  median_origin(call, DeviceRows<double>{mixture.means, k, d, d}, space.columns, space.origin);
  launch(call, constant_kernel, row_blocks(32 * k, kThreads), kThreads, mixture, space.constants);
  if (mixture.covariance == Covariance::diag) {
    launch(call, diag_kernel<T>, grid_for(k * d, kThreads), kThreads, mixture, space);
    return;
  }
  const bool shared = mixture.covariance == Covariance::tied;
  launch(call, factor_kernel<T>, grid_for(space.rows * space.columns, kThreads), kThreads,
         mixture.factors, shared ? index_t{1} : k, d, space);
  const index_t shifts = shared ? padded_components(k) * space.columns : space.rows;
  launch(call, shift_kernel<T>, grid_for(shifts, kThreads), kThreads, mixture, padded_components(k),
         space);
}

template <class T>
void joint_rows(const Call& call, const DeviceRows<T>& x, const Mixture& mixture, T* log_joint,
                const JointSpace<T>& space) {
  using Tile = typename JointTile<T>::type;
  const index_t k = mixture.k;
  if (x.n == 0) return;
  if (mixture.covariance == Covariance::diag) {
    launch(call, diag_joint_kernel<T>, row_blocks(x.n, kDiagRows), kDiagThreads, x, space, k,
           log_joint);
    return;
  }
  if (mixture.covariance == Covariance::full) {
    launch(call, full_kernel<T, Tile>, row_blocks(x.n, Tile::kRowsA), Tile::kThreads, x,
           packs_aligned(x), space, k, log_joint);
    return;
  }
  for (index_t first = 0; first < x.n; first += space.block) {
    DeviceRows<T> part = x;
    part.data = x.data + first * x.stride;
    part.n = std::min(space.block, x.n - first);
    const dim3 blocks = row_blocks(part.n, Tile::kRowsA);
    launch(call, whiten_kernel<T, Tile>, blocks, Tile::kThreads, part, packs_aligned(part), space);
    const DeviceRows<T> white{space.white, part.n, x.d, space.columns};
    launch(call, tied_kernel<T, Tile>, blocks, Tile::kThreads, white, space, k,
           log_joint + first * k);
  }
}

template <class T>
void log_joint(const Call& call, const DeviceRows<T>& x, const Mixture& mixture, T* log_joint,
               const JointSpace<T>& space) {
  if (x.n == 0) return;
  prepare_joint(call, mixture, space);
  joint_rows(call, x, mixture, log_joint, space);
}

template struct JointSpace<float>;
template struct JointSpace<double>;
KERNELMILL_FOR_FLOATS(prepare_joint)
KERNELMILL_FOR_FLOATS(joint_rows)
KERNELMILL_FOR_FLOATS(log_joint)

}  // namespace kernelmill
