// The best cut of one feature for squared error and the Gini index of two classes, without sorting.
//
// The gain of a split is a convex function of what goes left, its weight w and its sum s:
//
//   g(w, s) = (s W - T w)^2 / (W w (W - w)) = s^2 / w + (T - s)^2 / (W - w) - T^2 / W,
//
// a sum of perspectives of squares. Rows are added up by bins of adjacent ranks. A cut inside a bin
// takes some of its rows, so its (w, s) lies in a polygon that is known from the sums of the bin,
// and its gain is at most that of a corner. Only bins with a corner that beats the best gain known
// are looked into, in the same way. Small sets are looked at cut by cut. The answer is exact.
//
// The polygon: with P and N the sums of the positive and of the negative s of a bin from (a, sa) to
// (b, sb), and s <= ymax w, s >= ymin w for every row, rows with the largest y first lead along
// slope ymax to sa + P, rows with the smallest first along ymin to sa + N; from the other end the
// same. So there are four corners besides the ends, (a + P / ymax, sa + P), (b - N / ymin, sa + P),
// (b - P / ymax, sa + N), (a + N / ymin, sa + N).
#pragma once

#include <bit>          // std::bit_cast
#include <cstdint>      // std::uint32_t
#include <cstring>      // std::memcpy
#include <limits>       // infinity
#include <memory>       // std::unique_ptr
#include <type_traits>  // std::conditional_t
#include <vector>       // levels

#include "core/workspace.hpp"  // Workspace
#include "ops/tree_measure.hpp"
#include "ops/tree_open.hpp"  // OpenBins

namespace kernelmill::tree {

// Of a row: weight and weighted y.
struct Pair {
  double w, s;
};

// Of some rows: weight, weighted y, rows, and weighted y of those where it is positive.
struct Sum {
  double w, s, n, p;
  // As one vector, {w, s, 1, max(s, 0)}: number by number fits took 6 % longer.
  void add(const Pair& row) {
    typedef double Two __attribute__((vector_size(16)));
    typedef double Four __attribute__((vector_size(32)));
    constexpr double kLeast = -std::numeric_limits<double>::infinity();
    constexpr Four floor = {kLeast, kLeast, kLeast, 0.0}, ones = {1.0, 1.0, 1.0, 1.0};
    Two given;
    Four sum;
    std::memcpy(&given, &row, sizeof(given));
    std::memcpy(&sum, this, sizeof(sum));
    const Four twice = __builtin_shufflevector(given, given, 0, 1, 0, 1);
    const Four counted = __builtin_shufflevector(twice, ones, 0, 1, 4, 3);
    sum += counted > floor ? counted : floor;
    std::memcpy(this, &sum, sizeof(sum));
  }
  void add(const Sum& other) {
    w += other.w;
    s += other.s;
    n += other.n;
    p += other.p;
  }
};

inline Sum wide(const Sum& sum) { return sum; }

// The same for two classes and weights that are whole numbers, as bags have: a quarter of the
// memory. 21 bits each of rows, weight, and weight of the second class, whose y is 1.
struct Units {
  static constexpr int kBits = 21;
  static constexpr std::uint64_t kMost = (std::uint64_t{1} << kBits) - 1;

  std::uint64_t bits;

  static Units of(std::uint64_t weight, bool second) {
    return {1 | weight << kBits | (second ? weight : 0) << (2 * kBits)};
  }
  void add(const Units& other) { bits += other.bits; }
};
inline Sum wide(const Units& units) {
  const auto part = [&](int at) {
    return static_cast<double>(
        static_cast<std::int64_t>(units.bits >> (at * Units::kBits) & Units::kMost));
  };
  return {part(1), part(2), part(0), part(2)};
}

// What rows of a kind are read as, and add up to. A row in one number is the y of weight 1, or the
// weight of a row of two classes, negative in the first, whose y is 0.
template <class Row>
using ReadOf = std::conditional_t<std::is_same_v<Row, double>, Pair, Row>;
template <class Row>
using SumOf = std::conditional_t<std::is_same_v<Row, Units>, Units, Sum>;

// What `SumSearch` needs to know of a node.
struct SumNode {
  double W, T;       // weight, and weighted y
  double n;          // rows
  double scale;      // factor of the gain
  double low, high;  // least and largest y, not above and not below 0
  double slack;      // gains this close are equal
  double min_leaf, min_weight;
  Order order = Order::kRanks;
  const double* tallies = nullptr;  // weights of classes, where there are more than two
  index_t classes = 0;
  // How a number is read: as y about the center with weight 1, or as a row of two classes.
  double center = 0, least = -std::numeric_limits<double>::infinity();
  std::uint64_t kept = 0, set = std::bit_cast<std::uint64_t>(1.0);

  void read_classes() {
    least = 0;
    kept = ~std::bit_cast<std::uint64_t>(-0.0);
    set = 0;
  }
  Pair read(double row) const {
    const double s = row - center;
    return {std::bit_cast<double>((std::bit_cast<std::uint64_t>(row) & kept) | set),
            s > least ? s : least};
  }
  const Pair& read(const Pair& row) const { return row; }
  Units read(Units row) const { return row; }

  double gain(double w, double s) const {
    const double d = s * W - T * w;
    return d * d * scale / (W * w * (W - w));
  }
};

struct SumCut {
  double gain;
  std::int32_t rank = -1;     // ranks of at most this go left
  double left = 0, rows = 0;  // weight and rows that go left
};

// The gain of the best of all partitions of at most kTiny rows into two: it cuts them in the order
// of y. Of features without a signal, 1 in 2, 4 or 10 has it for 4, 5 or 7 rows; then there is no
// need to look at others.
constexpr index_t kTiny = 8;
template <class Row>
double best_partition(const SumNode& node, const Row* rows, index_t n);

// The cut behind all present rows.
inline void consider(const SumNode& node, const Sum& left, std::int32_t rank, SumCut& best) {
  if (left.n < node.min_leaf || node.n - left.n < node.min_leaf) return;
  if (node.min_weight > 0 && (left.w < node.min_weight || node.W - left.w < node.min_weight)) {
    return;
  }
  const double gain = node.gain(left.w, left.s);
  if (gain > best.gain + node.slack) best = {gain, rank, left.w, left.n};
}

// Values of a feature that stand for ranks.
struct Range {
  float low, high;
};

// Features beside each other, of some rows.
struct Panel {
  const float* X;
  index_t row_stride;
  const std::int32_t* rows;
  index_t n, features;
  const Range* ranges;        // of features in these rows
  const std::uint8_t* whole;  // whether their values are whole numbers
};

// What cuts of a feature gain: the best between two bins, and a bound of those inside of bins.
struct Outlook {
  double top, most;
};

// `Row` is `Pair`, `Units` or one number.
template <class Row>
class SumSearch {
 public:
  static constexpr index_t kPanel = 5;  // features at most

  // Looks at several features in one pass over their rows, which reads a line of memory once for
  // all of them.
  void outlook(const SumNode& node, const Panel& panel, const Row* rows, Outlook* to);

  // The best cut between different ranks of n rows with ranks in [lo, hi], where rows that add up
  // to `base` go left besides. Cuts whose gain is below that of `best` or `floor` are passed over.
  void run(const SumNode& node, const std::int32_t* ranks, const Row* rows, index_t n, Sum base,
           std::int32_t lo, std::int32_t hi, double floor, SumCut& best) {
    node_ = &node;
    floor_ = floor;
    best_ = &best;
    search(0, ranks, rows, n, base, lo, hi);
  }

 private:
  // Scratch of one depth of recursion.
  struct Level {
    std::vector<SumOf<Row>> bins;
    std::vector<double> w, s, n, gains;
    OpenBins<Row> open;
  };

  Level& level_of(std::size_t depth, index_t bins, index_t features);
  static double sum_up(const SumNode& node, Level& level, const SumOf<Row>* bin, index_t bins,
                       const Sum& base);
  void search(std::size_t depth, const std::int32_t* ranks, const Row* rows, index_t n, Sum base,
              std::int32_t lo, std::int32_t hi);
  void few(const std::int32_t* ranks, const Row* rows, index_t n, Sum base);

  const SumNode* node_ = nullptr;
  double floor_ = 0;
  SumCut* best_ = nullptr;
  std::vector<std::unique_ptr<Level>> levels_;
};

}  // namespace kernelmill::tree
