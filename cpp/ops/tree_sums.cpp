#include "ops/tree_sums.hpp"

#include <algorithm>  // std::max, std::fill_n
#include <bit>        // std::bit_width
#include <limits>     // infinity

#include "ops/tree_sort.hpp"  // count_lower, Bins

namespace kernelmill::tree {
namespace {

constexpr int kFewestBits = 4, kMostBits = 9;

int bits_of(index_t rows) {
  return std::clamp(static_cast<int>(std::bit_width(static_cast<std::uint64_t>(rows))) - 3,
                    kFewestBits, kMostBits);
}

// Calls `at(w, s)` for the corners, but its ends, of a bin whose rows add up to `own` and behind
// which w and s are left; `up` and `down` are the inverses of the largest and of the least y.
template <class At>
void at_corners(const Sum& own, double w, double s, double up, double down, const At& at) {
  const double before_w = w - own.w, before_s = s - own.s;
  const double P = own.p, N = own.s - P;
  at(before_w + P * up, before_s + P);
  at(w - N * down, before_s + P);
  at(w - P * up, before_s + N);
  at(before_w + N * down, before_s + N);
}

}  // namespace

template <class Given>
double best_partition(const SumNode& node, const Given* rows, index_t n) {
  struct Row {
    double y, w, s;
  } sorted[kTiny];
  for (index_t j = 0; j < n; ++j) {
    const Pair own = node.read(rows[j]);
    const double y = own.s / own.w;
    index_t at = j;
    for (; at > 0 && sorted[at - 1].y > y; --at) sorted[at] = sorted[at - 1];
    sorted[at] = {y, own.w, own.s};
  }
  double w = 0, s = 0, most = 0;
  for (index_t j = 0; j + 1 < n; ++j) {
    w += sorted[j].w;
    s += sorted[j].s;
    most = std::max(most, node.gain(w, s));
  }
  return most;
}

// Every cut between a few rows. A row comes behind those of lower ranks and those of its own that
// were seen before.
template <class Row>
void SumSearch<Row>::few(const std::int32_t* ranks, const Row* rows, index_t n, Sum base) {
  std::int32_t slot[kFew], own[kFew], rank[kFew + 1] = {};
  std::uint8_t seen[kFew] = {};
  ReadOf<Row> sorted[kFew];
  std::copy_n(ranks, n, own);
  count_lower(own, n, slot);
  for (index_t i = 0; i < n; ++i) {
    const std::int32_t at = slot[i] + seen[slot[i]]++;
    sorted[at] = node_->read(rows[i]);
    rank[at] = own[i];
  }
  rank[n] = rank[n - 1];
  double left_w[kFew], left_s[kFew], gains[kFew];
  if constexpr (std::is_same_v<ReadOf<Row>, Pair>) {
    double w = 0, s = 0;
    for (index_t i = 0; i < n; ++i) {
      left_w[i] = base.w + (w += sorted[i].w);
      left_s[i] = base.s + (s += sorted[i].s);
    }
  } else {
    for (index_t i = 1; i < n; ++i) sorted[i].add(sorted[i - 1]);
    for (index_t i = 0; i < n; ++i) {
      const Sum sum = wide(sorted[i]);
      left_w[i] = base.w + sum.w;
      left_s[i] = base.s + sum.s;
    }
  }
  const SumNode node = *node_;
  // Behind row i there are i + 1 rows more than those of `base`.
  const double least_n = node.min_leaf - base.n - 1, most_n = node.n - node.min_leaf - base.n - 1;
  const double limit = std::max(best_->gain + node.slack, floor_ - node.slack);
  int above = 0;
  for (index_t i = 0; i < n; ++i) {
    const double w = left_w[i], at = static_cast<double>(static_cast<std::int32_t>(i));
    const double gain = node.gain(w, left_s[i]);
    const bool fits = (rank[i] != rank[i + 1]) & (at >= least_n) & (at <= most_n) &
                      (w >= node.min_weight) & (node.W - w >= node.min_weight) & (w < node.W);
    gains[i] = fits ? gain : -1.0;
    above |= int{gains[i] > limit};
  }
  if (above == 0) return;
  for (index_t i = 0; i < n; ++i) {
    if (gains[i] >= 0 && gains[i] > best_->gain + node.slack) {
      *best_ = {gains[i], rank[i], left_w[i], base.n + static_cast<double>(i + 1)};
    }
  }
}

template <class Row>
typename SumSearch<Row>::Level& SumSearch<Row>::level_of(std::size_t depth, index_t bins,
                                                         index_t features) {
  while (levels_.size() <= depth) levels_.push_back(std::make_unique<Level>());
  Level& level = *levels_[depth];
  const auto size = static_cast<std::size_t>(bins), all = size * static_cast<std::size_t>(features);
  if (level.bins.size() < all) level.bins.resize(all);
  for (auto* own : {&level.w, &level.s, &level.n, &level.gains}) {
    if (own->size() < size) own->resize(size);
  }
  return level;
}

// What is left of the cut behind each bin, and the gains of these cuts; the best gain.
template <class Row>
[[gnu::always_inline]] inline double SumSearch<Row>::sum_up(const SumNode& node, Level& level,
                                                            const SumOf<Row>* bin, index_t bins,
                                                            const Sum& base) {
  double *const after_w = level.w.data(), *const after_s = level.s.data(),
                *const after_n = level.n.data(), *const gains = level.gains.data();
  Sum left = base;
  for (index_t b = 0; b < bins; ++b) {
    left.add(wide(bin[b]));
    after_w[b] = left.w;
    after_s[b] = left.s;
    after_n[b] = left.n;
  }
  double top = -1.0;
  for (index_t b = 0; b < bins; ++b) {
    const double w = after_w[b], count = after_n[b];
    const bool fits = (count >= node.min_leaf) & (node.n - count >= node.min_leaf) &
                      (w >= node.min_weight) & (node.W - w >= node.min_weight) & (w < node.W) &
                      (b + 1 < bins);  // the last cut belongs to the caller
    const double gain = node.gain(w, after_s[b]);
    gains[b] = fits ? gain : -1.0;
    top = std::max(top, gains[b]);
  }
  return top;
}

template <class Row>
void SumSearch<Row>::outlook(const SumNode& given, const Panel& panel, const Row* rows,
                             Outlook* to) {
  const SumNode node = given;
  const int bits = bits_of(panel.n);
  const index_t stride = (index_t{1} << bits) + 1;
  Level& level = level_of(0, stride, kPanel);
  SumOf<Row>* const bin = level.bins.data();
  std::fill_n(bin, kPanel * stride, SumOf<Row>{});
  struct {
    index_t feature, count;
    float origin, scale;
    bool wide;
  } cut[kPanel];
  index_t some = -1;  // a feature with bins
  for (index_t k = 0; k < panel.features; ++k) {
    const Range& range = panel.ranges[k];
    const Bins cells(rank_of_value(range.low), rank_of_value(range.high), bits,
                     panel.whole[k] != 0 ? Order::kWhole : Order::kValues);
    cut[k] = {k, cells.count, cells.origin(), cells.scale(), cells.wide};
    // Equal values and those that are no numbers, or too close, have no bins.
    to[k].top = -1;
    to[k].most = range.low == range.high ? -1 : std::numeric_limits<double>::infinity();
    if (cells.by_width()) {
      some = k;
      to[k].most = 0;
    }
  }
  if (some < 0) return;
  for (index_t k = 0; k < kPanel; ++k) {
    if (k >= panel.features || cut[k].scale == 0) cut[k] = cut[some];
  }
  for (index_t i = 0; i < panel.n; ++i) {
    const float* const x = panel.X + panel.rows[i] * panel.row_stride;
    const auto row = node.read(rows[i]);
    for (index_t k = 0; k < kPanel; ++k) {
      const float at = (x[cut[k].feature] - cut[k].origin) * cut[k].scale;
      bin[k * stride + static_cast<std::int32_t>(at)].add(row);
    }
  }
  const double up = node.high > 0 ? 1 / node.high : 0, down = node.low < 0 ? 1 / node.low : 0;
  const double scale = node.scale / node.W;
  for (index_t k = 0; k < panel.features; ++k) {
    if (to[k].most != 0) continue;
    const SumOf<Row>* const own = bin + k * stride;
    to[k].top = to[k].most = sum_up(node, level, own, cut[k].count, {0, 0, 0, 0});
    double most = -1;
    for (index_t b = 0; b < cut[k].count && cut[k].wide; ++b) {
      const Sum sum = wide(own[b]);
      double bound = -1;
      at_corners(sum, level.w[static_cast<std::size_t>(b)], level.s[static_cast<std::size_t>(b)],
                 up, down, [&](double w, double s) {
                   const double d = s * node.W - node.T * w;
                   const double gain = d * d / (w * (node.W - w));
                   bound = gain > bound ? gain : bound;
                 });
      most = sum.n > 1 && bound > most ? bound : most;
    }
    to[k].most = std::max(to[k].most, most * scale);
  }
}

template <class Row>
void SumSearch<Row>::search(std::size_t depth, const std::int32_t* ranks, const Row* rows,
                            index_t n, Sum base, std::int32_t lo, std::int32_t hi) {
  if (lo == hi || n < 2) return;
  if (n <= kFew) {
    few(ranks, rows, n, base);
    return;
  }
  const SumNode node = *node_;
  // Equal widths of outliers leave most rows in one bin, which is then cut by shares of the bits.
  const Bins cells(lo, hi, bits_of(n), depth % 2 == 0 ? node.order : Order::kRanks);
  const index_t bins = cells.count;
  Level& level = level_of(depth, bins, 1);
  SumOf<Row>* const bin = level.bins.data();
  // What is left of the cut behind a bin.
  double* const after_w = level.w.data();
  double* const after_s = level.s.data();
  double* const after_n = level.n.data();
  double* const gains = level.gains.data();
  std::uint8_t* const open = level.open.marks(bins);
  std::fill_n(bin, bins, SumOf<Row>{});
  cells.each(ranks, n, [&](index_t i, std::int32_t b) { bin[b].add(node.read(rows[i])); });
  const double top = sum_up(node, level, bin, bins, base);
  double least = std::max({top, floor_, best_->gain}) - node.slack;
  if (cells.wide) {
    const double up = node.high > 0 ? 1 / node.high : 0, down = node.low < 0 ? 1 / node.low : 0;
    // Rounding may cost a corner some units of the last place.
    const double limit = least > 0 ? least * (1 - 0x1p-40) * node.W / node.scale : -1.0;
    for (index_t b = 0; b < bins; ++b) {
      const Sum own = wide(bin[b]);
      int may = int{limit < 0};
      at_corners(own, after_w[b], after_s[b], up, down, [&](double w, double s) {
        const double d = s * node.W - node.T * w;
        may |= int{d * d > limit * w * (node.W - w)};  // int: combined without branches
      });
      open[b] = static_cast<std::uint8_t>(may & int{own.n > 1});
    }
    level.open.begin(cells, ranks, rows, n, node.order != Order::kRanks);
  }
  index_t cut = -1;  // the bin behind which the best cut lies
  for (index_t b = 0; b < bins; ++b) {
    if (cells.wide && open[b]) {
      const double gain = best_->gain;
      const auto own =
          level.open.of(b, [bin](index_t c) { return static_cast<index_t>(wide(bin[c]).n); });
      const Sum before = b > 0 ? Sum{after_w[b - 1], after_s[b - 1], after_n[b - 1], 0} : base;
      search(depth + 1, own.ranks, own.rows, own.n, before, own.lo, own.hi);
      least = std::max(least, best_->gain - node.slack);
      if (best_->gain > gain) cut = -1;
    }
    if (gains[b] >= 0 && gains[b] >= least && gains[b] > best_->gain + node.slack) {
      *best_ = {gains[b], -1, after_w[b], after_n[b]};
      cut = b;
    }
  }
  if (cut >= 0) best_->rank = cells.last(cut, ranks, n);
}

template double best_partition<Pair>(const SumNode&, const Pair*, index_t);
template double best_partition<double>(const SumNode&, const double*, index_t);
template class SumSearch<Pair>;
template class SumSearch<Units>;
template class SumSearch<double>;

}  // namespace kernelmill::tree
