// Steps, histograms in shared memory, and rows in the order of leaves.
#include <algorithm>  // std::max, std::min

#include "core/launch.cuh"  // launch, block_sum, block_scan
#include "ops/histogram_grow.cuh"

namespace kernelmill::histogram {
namespace {

// --- steps
// ----------------------------------------------------------------------------------------

__global__ void sizes_kernel(const double* gradient, const double* hessian, index_t n, bool one,
                             Sizes* out) {
  __shared__ double shared[kThreads];
  const auto larger = [](double a, double b) { return a > b ? a : b; };
  Sizes own;
  for (index_t i = global_thread(); i < n; i += global_threads()) {
    const double size = fabs(gradient[i]);
    own.top = larger(own.top, size);
    own.size += size;
    const double h = hessian[one ? 0 : i];
    own.most = larger(own.most, h);
    own.sum += h;
  }
  own.top = block_join<kThreads>(own.top, shared, larger);
  own.most = block_join<kThreads>(own.most, shared, larger);
  own.size = block_sum<kThreads>(own.size, shared);
  own.sum = block_sum<kThreads>(own.sum, shared);
  if (threadIdx.x == 0) out[blockIdx.x] = own;
}

__global__ void coarse_kernel(const double* gradient, const double* hessian, index_t n,
                              const Coarse coarse, Coarse::Pair* out) {
  for (index_t i = global_thread(); i < n; i += global_threads()) {
    out[i] = coarse.rounded(i, gradient[i], coarse.one ? 0.0 : hessian[i]);
  }
}

__global__ void fine_kernel(const double* gradient, const double* hessian, index_t n, bool one,
                            const StepSizes steps, Fine* out) {
  for (index_t i = global_thread(); i < n; i += global_threads()) {
    const auto whole = [](double x) { return static_cast<std::int64_t>(rint(x)); };
    out[i] = {whole(gradient[i] / steps.gradient), one ? 1 : whole(hessian[i] / steps.hessian)};
  }
}

// --- histograms
// -----------------------------------------------------------------------------------

// Features of a block, side by side in a warp, so that threads of different features never add to
// the same place; with 256 codes each their sums fill 24 KiB of shared memory, or 40 for fine ones.
constexpr int kGroup = 8;
// Rows of a block at most: 2^17 hessians of 16383 stay below 2^31.
constexpr index_t kMostWindow = index_t{1} << 17, kLeastWindow = 4096, kWindows = 1024;

template <class Entry>
struct SumOf {
  using type = Whole;
};
template <>
struct SumOf<Coarse::Pair> {
  using type = std::int32_t;  // added by one instruction
};

// A block adds up some rows for a group of features in its own memory, then adds its sums to those
// of the node.
template <class Entry>
__global__ void __launch_bounds__(kThreads)
    build_kernel(const Codes codes, const Entry* entries, const std::int32_t* rows, index_t n,
                 index_t window, const std::int32_t* counts, const Shape shape, bool one,
                 Whole* out) {
  using Sum = typename SumOf<Entry>::type;
  __shared__ Sum gradients[kGroup * kCodes], hessians[kGroup * kCodes];
  __shared__ std::int32_t numbers[kGroup * kCodes];
  const int thread = static_cast<int>(threadIdx.x);
  for (int e = thread; e < kGroup * kCodes; e += kThreads) {
    gradients[e] = hessians[e] = 0;
    numbers[e] = 0;
  }
  __syncthreads();
  const index_t first = static_cast<index_t>(blockIdx.x) * kGroup, f = first + thread % kGroup;
  const index_t begin = static_cast<index_t>(blockIdx.y) * window, end = min(n, begin + window);
  if (f < shape.features) {
    const std::uint8_t* const code = codes.feature(f);
    for (index_t i = begin + thread / kGroup; i < end; i += kThreads / kGroup) {
      const index_t row = rows[i];
      const Entry entry = entries[row];
      const int at = thread % kGroup * static_cast<int>(kCodes) + code[row * codes.width];
      atomicAdd(gradients + at, static_cast<Sum>(entry.gradient));
      if (!one) atomicAdd(hessians + at, static_cast<Sum>(entry.hessian));
      atomicAdd(numbers + at, 1);
    }
  }
  __syncthreads();
  // Negative numbers go round to their complement, as sums of them do.
  const auto whole = [](Sum sum) { return static_cast<Whole>(static_cast<long long>(sum)); };
  for (int e = thread; e < kGroup * kCodes; e += kThreads) {
    const index_t own = first + e / kCodes, c = e % kCodes;
    if (own >= shape.features || c >= counts[own] || numbers[e] == 0) continue;
    Whole* const to = out + own * shape.feature_size() + c;
    const auto number = static_cast<Whole>(numbers[e]);
    atomicAdd(to, whole(gradients[e]));
    atomicAdd(to + shape.stride, one ? number : whole(hessians[e]));
    atomicAdd(to + 2 * shape.stride, number);
  }
}

// --- rows
// -----------------------------------------------------------------------------------------

__global__ void lefts_kernel(const Codes codes, const Cut cut, const std::int32_t* rows, index_t n,
                             std::int32_t* lefts) {
  __shared__ double shared[kPartThreads];
  const std::uint8_t* const code = codes.feature(cut.feature);
  const index_t begin = (static_cast<index_t>(blockIdx.x) * kPartThreads + threadIdx.x) * kPartEach;
  int own = 0;
  for (index_t i = begin; i < min(n, begin + kPartEach); ++i) {
    own += cut.goes_left(code[rows[i] * codes.width]);
  }
  const double all = block_sum<kPartThreads>(own, shared);
  if (threadIdx.x == 0) lefts[blockIdx.x] = static_cast<std::int32_t>(all);
}

// A thread moves rows that stand together, so that each side keeps its order.
__global__ void scatter_kernel(const Codes codes, const Cut cut, const std::int32_t* rows,
                               index_t n, const std::int32_t* lefts, std::int32_t* out) {
  __shared__ double shared[kPartThreads];
  __shared__ std::int32_t places[kPartThreads];
  const std::uint8_t* const code = codes.feature(cut.feature);
  double before = 0;  // whole numbers below 2^31
  for (index_t part = threadIdx.x; part < blockIdx.x; part += kPartThreads) before += lefts[part];
  before = block_sum<kPartThreads>(before, shared);
  const index_t begin = (static_cast<index_t>(blockIdx.x) * kPartThreads + threadIdx.x) * kPartEach;
  const index_t end = min(n, begin + kPartEach);
  bool sides[kPartEach];
  std::int32_t own = 0;
#pragma unroll
  for (int e = 0; e < kPartEach; ++e) {
    const index_t i = begin + e;
    sides[e] = i < end && cut.goes_left(code[rows[i] * codes.width]);
    own += sides[e];
  }
  index_t left = static_cast<index_t>(before) + block_scan<kPartThreads>(own, places) - own;
  index_t right = static_cast<index_t>(cut.left.rows) + begin - left;
#pragma unroll
  for (int e = 0; e < kPartEach; ++e) {
    if (begin + e < end) out[sides[e] ? left++ : right++] = rows[begin + e];
  }
}

__global__ void pieces_kernel(const double* gradient, const double* hessian,
                              const std::int32_t* rows, const Piece* pieces, index_t count,
                              bool one, double* sums) {
  __shared__ double shared[kThreads];
  for (index_t p = blockIdx.x; p < count; p += gridDim.x) {
    double g = 0, h = 0;
    for (index_t i = pieces[p].begin + threadIdx.x; i < pieces[p].end; i += kThreads) {
      g += gradient[rows[i]];
      if (!one) h += hessian[rows[i]];
    }
    g = block_sum<kThreads>(g, shared);
    h = block_sum<kThreads>(h, shared);
    if (threadIdx.x == 0) {
      sums[2 * p] = g;
      sums[2 * p + 1] = h;
    }
  }
}

}  // namespace

DeviceSteps::DeviceSteps(const Call& call, const GrowRows& given, double coarse_from,
                         std::uint64_t seed, const GrowSpace& space) {
  const double *const g = given.gradient.data(), *const h = given.hessian.data();
  const index_t n = std::ssize(given.gradient);
  const bool one = given.one();
  Sizes all;
  if (n > 0) {
    const auto blocks = std::min<index_t>(kSizeBlocks, div_up(n, 4 * kThreads));
    launch(call, sizes_kernel, static_cast<unsigned>(blocks), kThreads, g, h, n, one, space.sizes);
    std::vector<Sizes> parts(static_cast<std::size_t>(blocks));
    download(call, parts.data(), space.sizes, blocks);
    for (const Sizes& part : parts) {
      all.top = std::max(all.top, part.top);
      all.most = std::max(all.most, part.most);
      all.size += part.size;
      all.sum += part.sum;
    }
  }
  only = all.most;
  static_cast<StepSizes&>(*this) = step_sizes(all, n, one, coarse_from);
  if (n == 0) return;
  if (coarse) {
    launch(call, coarse_kernel, grid_for(n, kThreads), kThreads, g, h, n, Coarse(all, seed, one),
           space.coarse());
  } else {
    launch(call, fine_kernel, grid_for(n, kThreads), kThreads, g, h, n, one,
           static_cast<const StepSizes&>(*this), space.fine);
  }
}

void build(const Call& call, const GrowRows& given, bool coarse, const Leaf& leaf,
           const Shape& shape, const GrowSpace& space, Whole* out) {
  zero(call, out, sizeof(Whole) * static_cast<std::size_t>(shape.size()));
  const index_t n = leaf.rows();
  if (n == 0) return;
  const index_t window = std::clamp(div_up(n, kWindows), kLeastWindow, kMostWindow);
  const dim3 grid(static_cast<unsigned>(div_up(shape.features, kGroup)),
                  static_cast<unsigned>(div_up(n, window)));
  const std::int32_t* const rows = given.rows.data() + leaf.start;
  if (coarse) {
    launch(call, build_kernel<Coarse::Pair>, grid, kThreads, given.codes, space.coarse(), rows, n,
           window, space.counts, shape, given.one(), out);
  } else {
    launch(call, build_kernel<Fine>, grid, kThreads, given.codes, space.fine, rows, n, window,
           space.counts, shape, given.one(), out);
  }
}

void partition(const Call& call, const Codes& codes, const Leaf& leaf, std::int32_t* rows,
               const GrowSpace& space) {
  const index_t n = leaf.rows();
  const auto parts = static_cast<unsigned>(div_up(n, kPartRows));
  launch(call, lefts_kernel, parts, kPartThreads, codes, leaf.cut, rows + leaf.start, n,
         space.lefts);
  launch(call, scatter_kernel, parts, kPartThreads, codes, leaf.cut, rows + leaf.start, n,
         space.lefts, space.spare);
  check(call, "copy",
        cudaMemcpyAsync(rows + leaf.start, space.spare,
                        sizeof(std::int32_t) * static_cast<std::size_t>(n),
                        cudaMemcpyDeviceToDevice, call.stream));
}

std::vector<double> piece_sums(const Call& call, const GrowRows& given,
                               const std::vector<Piece>& pieces, const GrowSpace& space) {
  std::vector<double> sums(2 * pieces.size());
  if (pieces.empty()) return sums;
  const index_t count = std::ssize(pieces);
  upload(call, space.pieces, pieces.data(), count);
  launch(call, pieces_kernel, grid_for(count, 1), kThreads, given.gradient.data(),
         given.hessian.data(), given.rows.data(), space.pieces, count, given.one(), space.sums);
  download(call, sums.data(), space.sums, 2 * count);
  return sums;
}

}  // namespace kernelmill::histogram
