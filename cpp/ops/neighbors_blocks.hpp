// What all searches share: metrics along lanes, blocks of points, trees of boxes, the k nearest.
//
// A metric sums (or takes the largest of) a function of each difference, in float64 and in
// ascending order of the features, into a *reduced* distance; `finish` makes it the distance. The
// bound of a box is computed by the same steps from the least possible differences. Each step is
// monotone also when rounded, so no point of a box is nearer than its bound, to the last bit, and
// pruning never changes a result.
#pragma once

#include <algorithm>  // std::max, std::min
#include <array>      // offsets of levels
#include <bit>        // std::bit_cast
#include <cmath>      // std::sqrt, std::pow
#include <cstdint>    // std::uint64_t
#include <limits>     // std::numeric_limits

#include "core/error.hpp"      // invalid
#include "core/matrix.hpp"     // MatrixView
#include "core/parallel.hpp"   // parallel_for
#include "core/tile_pack.hpp"  // load_as, store
#include "core/workspace.hpp"  // Workspace
#include "ops/neighbors.hpp"

namespace kernelmill::neighbors {

using Vec = tile::Params<double>::Vec;
constexpr int kLanes = tile::Params<double>::lanes;
// Differences of few features take no longer than products, and need no second look.
constexpr index_t kFewFeatures = 6;
constexpr double kInfinity = std::numeric_limits<double>::infinity();

[[gnu::always_inline]] inline Vec magnitude(const Vec& t) { return t < 0 ? -t : t; }

// `slack`: what rounding may do to the order of sums, relative to them.
struct Exact {
  static constexpr double slack = 0;
};
struct Euclidean : Exact {
  Metric form = Metric::euclidean;  // or its square, or half of that
  [[gnu::always_inline]] void add(Vec& sum, const Vec& t) const { sum += t * t; }
  double finish(double sum, index_t) const {
    if (form == Metric::euclidean) return std::sqrt(sum);
    return form == Metric::sqeuclidean ? sum : sum / 2;
  }
};
struct Manhattan : Exact {
  [[gnu::always_inline]] void add(Vec& sum, const Vec& t) const { sum += magnitude(t); }
  double finish(double sum, index_t) const { return sum; }
};
struct Chebyshev : Exact {
  [[gnu::always_inline]] void add(Vec& sum, const Vec& t) const {
    const Vec a = magnitude(t);
    sum = a > sum ? a : sum;
  }
  double finish(double sum, index_t) const { return sum; }
};
struct Minkowski {
  static constexpr double slack = 1e-13;  // pow of the library need not be monotone
  double p;
  void add(Vec& sum, const Vec& t) const {
    double lane[kLanes];
    tile::store(lane, magnitude(t));
    for (double& a : lane) a = std::pow(a, p);
    sum += tile::load<Vec>(lane);
  }
  double finish(double sum, index_t) const { return std::pow(sum, 1 / p); }
};
struct Hamming : Exact {
  [[gnu::always_inline]] void add(Vec& sum, const Vec& t) const {
    sum += t != 0 ? Vec{} + 1.0 : Vec{};
  }
  double finish(double sum, index_t d) const { return d == 0 ? 0.0 : sum / static_cast<double>(d); }
};
struct NanEuclidean : Exact {
  double finish(double sum, index_t) const { return std::sqrt(sum); }
};

// Reduced distances of point q to the first `count` points of a block, the others are anything.
template <class M, class T>
[[gnu::always_inline]] inline void block_distances(const M& metric, const double* q, const T* block,
                                                   index_t d, index_t count, double* out) {
  constexpr int N = 4;
  for (index_t l = 0; l < count; l += N * kLanes) {
    Vec sum[N] = {};
    const T* from = block + l;
    for (index_t p = 0; p < d; ++p, from += kWidth) {
      KERNELMILL_UNROLL
      for (int v = 0; v < N; ++v) {
        metric.add(sum[v], tile::load_as<Vec>(from + v * kLanes) - q[p]);
      }
    }
    KERNELMILL_UNROLL
    for (int v = 0; v < N; ++v) tile::store(out + l + v * kLanes, sum[v]);
  }
}

// Where both are present; scaled up to all features, NaN without a common one.
template <class T>
inline void block_distances(const NanEuclidean&, const double* q, const T* block, index_t d,
                            index_t count, double* out) {
  for (index_t l = 0; l < count; l += kLanes) {
    Vec sum{}, present{};
    const T* from = block + l;
    for (index_t p = 0; p < d; ++p, from += kWidth) {
      const Vec t = tile::load_as<Vec>(from) - q[p];
      sum += t == t ? t * t : Vec{};
      present += t == t ? Vec{} + 1.0 : Vec{};
    }
    tile::store(out + l, sum * static_cast<double>(d) / present);  // 0 / 0: NaN
  }
}

// Packs at most kWidth rows as a block: row l is row_of(l).
template <class T, class RowOf>
void pack_block(MatrixView<const T> y, index_t count, T* block, RowOf row_of) {
  for (index_t l = 0; l < count; ++l) {
    const T* from = y.row(row_of(l));
    for (index_t p = 0; p < y.cols; ++p, from += y.col_stride) block[p * kWidth + l] = *from;
  }
}
template <class T>
void pack_block(MatrixView<const T> y, index_t begin, index_t count, T* block) {
  pack_block(y, count, block, [begin](index_t l) { return begin + l; });
}

// A row as doubles.
template <class T>
void copy_row(MatrixView<const T> x, index_t i, double* q) {
  for (index_t p = 0; p < x.cols; ++p) q[p] = static_cast<double>(x(i, p));
}

// Leaf l of a tree holds the positions [leaf_begin(l), leaf_begin(l + 1)) of its order.
inline index_t leaf_begin(index_t l, index_t n, index_t leaves) {
  return static_cast<index_t>(static_cast<__int128>(n) * l / leaves);
}

// Items of level 0 are leaves; item j of level h + 1 is the group of items 8 j, ..., 8 j + 7 of
// level h, as long as there are several groups.
class Levels {
 public:
  explicit Levels(index_t leaves) {
    index_t items = std::max<index_t>(leaves, 1);
    do {
      items_[static_cast<std::size_t>(count_)] = items;
      first_group_[static_cast<std::size_t>(count_)] = groups_;
      items = (items + kFan - 1) / kFan;
      groups_ += items;
      ++count_;
    } while (items > 1);
  }
  int count() const { return count_; }
  index_t groups() const { return groups_; }
  index_t items(int level) const { return items_[static_cast<std::size_t>(level)]; }
  index_t first_group(int level) const { return first_group_[static_cast<std::size_t>(level)]; }

 private:
  int count_ = 0;
  index_t groups_ = 0;
  std::array<index_t, 24> items_{}, first_group_{};
};

template <class T>
struct Tree {
  Tree(const TreeArrays<T>& arrays, index_t n_, index_t d_)
      : order(arrays.order.data()),
        points(arrays.points),
        boxes(arrays.boxes),
        n(n_),
        d(d_),
        leaves(arrays.leaves),
        levels(arrays.leaves) {
    if (arrays.groups != levels.groups() || leaves > n || (n + leaves - 1) / leaves > kWidth) {
      invalid("neighbors", "order, points and boxes must be what grow gave for these rows, got ",
              leaves, " leaves and ", arrays.groups, " groups for ", n, " rows");
    }
  }

  const T* leaf(index_t l) const { return points + l * d * kWidth; }
  index_t begin(index_t l) const { return leaf_begin(l, n, leaves); }
  index_t size(index_t l) const { return begin(l + 1) - begin(l); }
  // The boxes of group g of a level: least values, then largest, [dimension][kFan] each.
  const double* group(int level, index_t g) const {
    return boxes + (levels.first_group(level) + g) * 2 * d * kFan;
  }
  // Positions that an item covers.
  index_t item_begin(int level, index_t item) const {
    return begin(std::min(leaves, item << (3 * level)));
  }

  const index_t* order;
  const T* points;
  const double* boxes;
  index_t n, d, leaves;
  Levels levels;
};

// Least and largest reduced distances from the points of a box [low, high] to the boxes of a group;
// a point is a box whose sides are equal.
template <class M>
[[gnu::always_inline]] inline void near_bounds(const M& metric, const double* low,
                                               const double* high, const double* group, index_t d,
                                               double* out) {
  KERNELMILL_UNROLL
  for (int l = 0; l < kFan; l += kLanes) {
    Vec sum{};
    const double *least = group + l, *largest = least + d * kFan;
    for (index_t p = 0; p < d; ++p, least += kFan, largest += kFan) {
      const Vec below = tile::load<Vec>(least) - high[p], above = low[p] - tile::load<Vec>(largest);
      const Vec gap = below > above ? below : above;
      metric.add(sum, gap > 0 ? gap : Vec{});
    }
    tile::store(out + l, sum * (1 - M::slack));
  }
}
template <class M>
[[gnu::always_inline]] inline void far_bounds(const M& metric, const double* low,
                                              const double* high, const double* group, index_t d,
                                              double* out) {
  KERNELMILL_UNROLL
  for (int l = 0; l < kFan; l += kLanes) {
    Vec sum{};
    const double *least = group + l, *largest = least + d * kFan;
    for (index_t p = 0; p < d; ++p, least += kFan, largest += kFan) {
      const Vec left = high[p] - tile::load<Vec>(least), right = tile::load<Vec>(largest) - low[p];
      metric.add(sum, left > right ? left : right);
    }
    tile::store(out + l, sum * (1 + M::slack));
  }
}

struct Found {
  double distance;  // reduced
  index_t index;

  friend bool operator<(const Found& a, const Found& b) {
    return a.distance < b.distance || (a.distance == b.distance && a.index < b.index);
  }
};

// The k least of what is added, by distance and then by index: sorted while k is small, a heap
// where moving entries would take longer.
class Nearest {
 public:
  Nearest(Found* memory, index_t k) : found_(memory), k_(k) {}

  double worst() const { return worst_; }  // what is farther can be left out

  [[gnu::always_inline]] void add(double distance, index_t index) {
    const Found one{distance, index};
    if (count_ == k_ && !(one < (sorted() ? found_[k_ - 1] : found_[0]))) return;
    insert(one);
  }

  // Sorted, the missing ones with index -1 and distance NaN.
  void finish() {
    if (!sorted()) std::sort(found_, found_ + count_);
    for (; count_ < k_; ++count_) {
      found_[count_] = {std::numeric_limits<double>::quiet_NaN(), -1};
    }
  }

 private:
  bool sorted() const { return k_ <= 40; }

  void insert(const Found& one) {
    if (sorted()) {
      index_t at = count_ < k_ ? count_++ : k_ - 1;
      for (; at > 0 && one < found_[at - 1]; --at) found_[at] = found_[at - 1];
      found_[at] = one;
      if (count_ == k_) worst_ = found_[k_ - 1].distance;
      return;
    }
    if (count_ == k_) std::pop_heap(found_, found_ + count_--);
    found_[count_++] = one;
    std::push_heap(found_, found_ + count_);
    if (count_ == k_) worst_ = found_[0].distance;
  }

  Found* found_;
  index_t k_, count_ = 0;
  double worst_ = kInfinity;
};

// The largest reduced distance whose distance is at most r.
template <class M>
double reduced_limit(const M& metric, double r, index_t d) {
  if (!(r < kInfinity)) return r;
  double low = 0, high = std::numeric_limits<double>::max();
  if (!(metric.finish(low, d) <= r)) return -1;
  if (metric.finish(high, d) <= r) return high;
  // Bisection over the bits of doubles, which are in the order of their values.
  auto a = std::bit_cast<std::uint64_t>(low), b = std::bit_cast<std::uint64_t>(high);
  while (b - a > 1) {
    const std::uint64_t middle = a + (b - a) / 2;
    (metric.finish(std::bit_cast<double>(middle), d) <= r ? a : b) = middle;
  }
  return std::bit_cast<double>(a);
}

// Calls body(metric) with the type of the metric.
template <class Body>
void with_tree_metric(const Measure& measure, const char* op, Body&& body) {
  switch (measure.metric) {
    case Metric::euclidean:
    case Metric::sqeuclidean:
    case Metric::half_sqeuclidean:
      return body(Euclidean{{}, measure.metric});
    case Metric::manhattan:
      return body(Manhattan{});
    case Metric::chebyshev:
      return body(Chebyshev{});
    case Metric::minkowski:
      return body(Minkowski{measure.p});
    default:
      invalid(op, "metric must be one of the family of Minkowski for a tree, got number ",
              static_cast<int>(measure.metric));
  }
}
template <class Body>
void with_metric(const Measure& measure, const char* op, Body&& body) {
  switch (measure.metric) {
    case Metric::hamming:
      return body(Hamming{});
    case Metric::nan_euclidean:
      return body(NanEuclidean{});
    default:
      return with_tree_metric(measure, op, body);
  }
}

// Whether products can be compared in place of differences.
inline bool is_euclidean(const Measure& measure) {
  return measure.metric == Metric::euclidean || measure.metric == Metric::sqeuclidean ||
         measure.metric == Metric::half_sqeuclidean;
}

// Queries of a task: enough that the blocks of y, which each task packs for itself, are used often.
inline index_t scan_grain(index_t n) { return std::clamp<index_t>(n / 64, 8, 128); }

// The distances of rows [begin, begin + n) of x to all rows of y, a block of y at a time:
// use(i, from, distance, count) for row begin + i and rows [from, from + count) of y.
template <class M, class T, class Use>
void scan(const M& metric, MatrixView<const T> x, index_t begin, index_t n, MatrixView<const T> y,
          const Use& use) {
  const index_t d = x.cols;
  const Workspace<double> q(static_cast<std::size_t>(n * d));
  const Workspace<T> block(static_cast<std::size_t>(d * kWidth));
  for (index_t i = 0; i < n; ++i) copy_row(x, begin + i, q.data() + i * d);
  for (index_t from = 0; from < y.rows; from += kWidth) {
    if (from % (64 * kWidth) == 0) check_interrupt();
    const index_t count = std::min(kWidth, y.rows - from);
    pack_block(y, from, count, block.data());
    for (index_t i = 0; i < n; ++i) {
      alignas(64) double distance[kWidth];
      block_distances(metric, q.data() + i * d, block.data(), d, count, distance);
      use(i, from, distance, count);
    }
  }
}

}  // namespace kernelmill::neighbors
