// The best cuts of features: a warp holds the histogram of one, eight codes in each lane.
#include "core/launch.cuh"  // launch
#include "ops/histogram_grow.cuh"

namespace kernelmill::histogram {
namespace {

constexpr int kWarps = 4, kSearchThreads = 32 * kWarps, kEach = 8;
constexpr unsigned kAll = 0xffffffffu;
static_assert(32 * kEach == kCodes);

// Levels in their order.
struct Ordered {
  double G[kCodes], H[kCodes], rows[kCodes];
};

// Sums of the codes of a lane.
struct Own {
  double G[kEach], H[kEach], rows[kEach];

  __device__ Sums at(int e) const { return {G[e], H[e], rows[e]}; }
};

__device__ Sums operator+(const Sums& a, const Sums& b) {
  return {a.G + b.G, a.H + b.H, a.rows + b.rows};
}

// Whole numbers, so any order will do.
__device__ double from_lane(double x, int lane) { return __shfl_sync(kAll, x, lane); }
__device__ Sums from_lane(const Sums& x, int lane) {
  return {from_lane(x.G, lane), from_lane(x.H, lane), from_lane(x.rows, lane)};
}

// Each value becomes the sum of those up to it; the sum of all is returned to all lanes.
__device__ double scan(double (&x)[kEach], int lane) {
#pragma unroll
  for (int e = 1; e < kEach; ++e) x[e] += x[e - 1];
  double before = x[kEach - 1];
#pragma unroll
  for (int step = 1; step < 32; step *= 2) {
    const double other = __shfl_up_sync(kAll, before, step);
    if (lane >= step) before += other;
  }
  const double total = from_lane(before, 31);
  before -= x[kEach - 1];
#pragma unroll
  for (int e = 0; e < kEach; ++e) x[e] += before;
  return total;
}
__device__ Sums scan(Own& own, int lane) {
  const double G = scan(own.G, lane), H = scan(own.H, lane);
  return {G, H, scan(own.rows, lane)};
}

struct Place {
  double score;
  int at;
};

// The first of the best of places [begin, end), which have `own` and `more` on their left; a score
// of -1 where no place fits.
__device__ Place first_best(const Search& search, const Own& own, const Sums& more, int lane,
                            int begin, int end) {
  Place best{-1, 0};
#pragma unroll
  for (int e = 0; e < kEach; ++e) {
    const int at = lane * kEach + e;
    if (at < begin || at >= end) continue;
    const double score = search.score(own.at(e) + more);
    if (score > best.score) best = {score, at};
  }
#pragma unroll
  for (int step = 16; step > 0; step /= 2) {
    const double score = __shfl_xor_sync(kAll, best.score, step);
    const int at = __shfl_xor_sync(kAll, best.at, step);
    if (score > best.score || (score == best.score && at < best.at)) best = {score, at};
  }
  return best;
}

// What a place has on its left, from the lane that holds it.
__device__ Sums sums_at(const Own& own, int at) {
  Sums found;
#pragma unroll
  for (int e = 0; e < kEach; ++e) {
    if (at % kEach == e) found = own.at(e);
  }
  return from_lane(found, at / kEach);
}

// Begins with the sums of codes; gives those of the node.
__device__ Sums look_at_numbers(Search search, Own& own, int lane, int count, Cut& best) {
  const Sums missing = from_lane(own.at(0), 0);
  if (lane == 0) own.G[0] = own.H[0] = own.rows[0] = 0;
  search.node = scan(own, lane) + missing;
  const bool some = missing.rows > 0;
  for (int left = 0; left < (some ? 2 : 1); ++left) {
    const Sums more = left != 0 ? missing : Sums{};
    const int end = some && left == 0 ? count : count - 1;
    const Place place = first_best(search, own, more, lane, 1, end);
    const Sums sums = sums_at(own, place.at) + more;
    if (!search.take(place.score, sums, best)) continue;
    best.code = place.at;
    best.missing_left = some ? left != 0 : sums.rows > search.node.rows - sums.rows;
    best.feature = 0;
  }
  return search.node;
}

// The same for levels, with sides; rare levels are one, under the lowest code of them.
__device__ Sums look_at_levels(Search search, Own& own, int lane, Ordered& ordered, Cut& best) {
  const double least = search.m.min_leaf / 2;
  Sums pooled;
  int pool = static_cast<int>(kCodes);
#pragma unroll
  for (int e = kEach - 1; e >= 0; --e) {
    const bool rare = own.rows[e] > 0 && own.rows[e] < least;
    search.node = search.node + own.at(e);
    if (rare) {
      pooled = pooled + own.at(e);
      pool = lane * kEach + e;
    }
  }
#pragma unroll
  for (int step = 16; step > 0; step /= 2) {
    search.node = search.node + Sums{__shfl_xor_sync(kAll, search.node.G, step),
                                     __shfl_xor_sync(kAll, search.node.H, step),
                                     __shfl_xor_sync(kAll, search.node.rows, step)};
    pooled =
        pooled + Sums{__shfl_xor_sync(kAll, pooled.G, step), __shfl_xor_sync(kAll, pooled.H, step),
                      __shfl_xor_sync(kAll, pooled.rows, step)};
    const int other = __shfl_xor_sync(kAll, pool, step);
    pool = other < pool ? other : pool;
  }
  // Ratios of the levels that are there; NaN for the others.
  const Search soft = search.of_levels();
  double* const ratios = ordered.G;
  double ratio[kEach];
  Own level;  // what counts as the level of a code
#pragma unroll
  for (int e = 0; e < kEach; ++e) {
    const int code = lane * kEach + e;
    const bool rare = own.rows[e] > 0 && own.rows[e] < least;
    const Sums sums = code == pool ? pooled : rare ? Sums{} : own.at(e);
    level.G[e] = sums.G;
    level.H[e] = sums.H;
    level.rows[e] = sums.rows;
    const double quotient = sums.G / (sums.H + soft.m.l2);
    ratio[e] = quotient == quotient ? quotient : 0.0;
    ratios[code] = sums.rows > 0 ? ratio[e] : std::numeric_limits<double>::quiet_NaN();
  }
  __syncwarp();
  int rank[kEach] = {}, present = 0;
  for (int other = 0; other < kCodes; ++other) {
    const double theirs = ratios[other];
    present += theirs == theirs;
#pragma unroll
    for (int e = 0; e < kEach; ++e) {
      rank[e] += theirs < ratio[e] || (theirs == ratio[e] && other < lane * kEach + e);
    }
  }
  __syncwarp();
  if (present < 2) return search.node;
#pragma unroll
  for (int e = 0; e < kEach; ++e) {
    if (level.rows[e] == 0) continue;
    ordered.G[rank[e]] = level.G[e];
    ordered.H[rank[e]] = level.H[e];
    ordered.rows[rank[e]] = level.rows[e];
  }
  __syncwarp();
  Own sorted;
#pragma unroll
  for (int e = 0; e < kEach; ++e) {
    const int at = lane * kEach + e;
    const bool there = at < present;
    sorted.G[e] = there ? ordered.G[at] : 0;
    sorted.H[e] = there ? ordered.H[at] : 0;
    sorted.rows[e] = there ? ordered.rows[at] : 0;
  }
  scan(sorted, lane);
  const Place place = first_best(soft, sorted, {}, lane, 0, present - 1);
  const Sums sums = sums_at(sorted, place.at);
  int pool_rank = 0;
#pragma unroll
  for (int e = 0; e < kEach; ++e) {
    if (pool % kEach == e) pool_rank = rank[e];
  }
  pool_rank = __shfl_sync(kAll, pool_rank, pool / kEach % 32);
  if (!search.take(place.score, sums, best)) return search.node;
  best.code = -1;
  best.feature = 0;
  const bool larger = sums.rows > search.node.rows - sums.rows;
  std::uint64_t bits = 0;
#pragma unroll
  for (int e = 0; e < kEach; ++e) {
    const bool rare = own.rows[e] > 0 && own.rows[e] < least;
    const bool left = own.rows[e] == 0 ? larger : (rare ? pool_rank : rank[e]) <= place.at;
    bits |= std::uint64_t{left} << e;
  }
#pragma unroll
  for (int word = 0; word < 4; ++word) {
    std::uint64_t all = lane / 8 == word ? bits << (8 * (lane % 8)) : 0;
#pragma unroll
    for (int step = 16; step > 0; step /= 2) all |= __shfl_xor_sync(kAll, all, step);
    best.sides[static_cast<std::size_t>(word)] = all;
  }
  best.missing_left = best.goes_left(0);
  return search.node;
}

struct Places {
  const std::int32_t *counts, *monotonic;
  const bool* categorical;
};

__global__ void __launch_bounds__(kSearchThreads)
    search_kernel(const Members members, const Places places, const Measures measures,
                  const Shape shape) {
  __shared__ Ordered ordered[kWarps];
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
  const index_t f = static_cast<index_t>(blockIdx.x) * kWarps + warp;
  if (f >= shape.features) return;  // the whole warp
  const Member& member = members.at[blockIdx.y];
  const int count = places.counts[f];
  Whole* const histogram = member.own + f * shape.feature_size();
  const Whole* const less =
      member.less == nullptr ? nullptr : member.less + f * shape.feature_size();
  Own own;
#pragma unroll
  for (int e = 0; e < kEach; ++e) {
    const int code = lane * kEach + e;
    long long sums[3] = {0, 0, 0};
    if (code < count) {
#pragma unroll
      for (int s = 0; s < 3; ++s) {
        const index_t at = s * shape.stride + code;
        Whole sum = histogram[at];
        if (less != nullptr) histogram[at] = sum -= less[at];
        sums[s] = static_cast<long long>(sum);
      }
    }
    own.G[e] = static_cast<double>(sums[0]);
    own.H[e] = static_cast<double>(sums[1]);
    own.rows[e] = static_cast<double>(sums[2]);
  }
  Looked looked;
  if (member.allowed == nullptr || member.allowed[f] != 0) {
    Search search{
        measures, {}, member.bounds, places.monotonic == nullptr ? 0 : places.monotonic[f]};
    looked.node = places.categorical[f]
                      ? look_at_levels(search, own, lane, ordered[warp], looked.cut)
                      : look_at_numbers(search, own, lane, count, looked.cut);
    if (looked.cut.feature == 0) looked.cut.feature = static_cast<std::int32_t>(f);
  }
  if (lane == 0) member.looked[f] = looked;
}

// The largest gain, then the lowest feature. The sums of the node come from any that was looked at.
__global__ void choose_kernel(const Members members, index_t d) {
  const Member& member = members.at[blockIdx.x];
  const int lane = static_cast<int>(threadIdx.x);
  double gain = 0;
  auto at = static_cast<long long>(d), seen = at;
  for (index_t f = lane; f < d; f += 32) {
    const Looked& looked = member.looked[f];
    if (looked.node.rows > 0 && f < seen) seen = f;
    if (looked.cut.feature >= 0 && looked.cut.gain > gain) {
      gain = looked.cut.gain;
      at = f;
    }
  }
#pragma unroll
  for (int step = 16; step > 0; step /= 2) {
    const double other = __shfl_xor_sync(kAll, gain, step);
    const long long place = __shfl_xor_sync(kAll, at, step);
    const long long also = __shfl_xor_sync(kAll, seen, step);
    if (other > gain || (other == gain && place < at)) {
      gain = other;
      at = place;
    }
    seen = also < seen ? also : seen;
  }
  if (lane != 0) return;
  Looked best;
  if (at < d) best.cut = member.looked[at].cut;
  if (seen < d) best.node = member.looked[seen].node;
  *member.best = best;
}

}  // namespace

void search(const Call& call, const Members& members, const Measures& measures, const Shape& shape,
            bool monotonic, const GrowSpace& space) {
  const Places places{space.counts, monotonic ? space.monotonic : nullptr, space.categorical};
  const dim3 grid(static_cast<unsigned>(div_up(shape.features, kWarps)),
                  static_cast<unsigned>(members.count));
  launch(call, search_kernel, grid, kSearchThreads, members, places, measures, shape);
  launch(call, choose_kernel, static_cast<unsigned>(members.count), 32, members, shape.features);
}

}  // namespace kernelmill::histogram
