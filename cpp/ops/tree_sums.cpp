#include "ops/tree_sums.hpp"

#include <algorithm>  // std::max, std::fill_n
#include <bit>        // std::bit_width

#include "ops/tree_sort.hpp"  // count_lower

namespace kernelmill::tree {
namespace {

constexpr int kFewestBits = 4, kMostBits = 9;

}  // namespace

double best_partition(const SumNode& node, const Pair* rows, index_t n) {
  struct Row {
    double y, w, s;
  } sorted[kTiny];
  for (index_t j = 0; j < n; ++j) {
    const double y = rows[j].s / rows[j].w;
    index_t at = j;
    for (; at > 0 && sorted[at - 1].y > y; --at) sorted[at] = sorted[at - 1];
    sorted[at] = {y, rows[j].w, rows[j].s};
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
  Row sorted[kFew];
  std::copy_n(ranks, n, own);
  count_lower(own, n, slot);
  for (index_t i = 0; i < n; ++i) {
    const std::int32_t at = slot[i] + seen[slot[i]]++;
    sorted[at] = rows[i];
    rank[at] = own[i];
  }
  rank[n] = rank[n - 1];
  double left_w[kFew], left_s[kFew], gains[kFew];
  if constexpr (std::is_same_v<Row, Pair>) {
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
                      (w >= node.min_weight) & (node.W - w >= node.min_weight);
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
void SumSearch<Row>::search(std::size_t depth, const std::int32_t* ranks, const Row* rows,
                            index_t n, Sum base, std::int32_t lo, std::int32_t hi) {
  if (lo == hi || n < 2) return;
  if (n <= kFew) {
    few(ranks, rows, n, base);
    return;
  }
  const SumNode node = *node_;
  while (levels_.size() <= depth) levels_.push_back(std::make_unique<Level>());
  Level& level = *levels_[depth];
  const int bits = std::clamp(static_cast<int>(std::bit_width(static_cast<std::uint64_t>(n))) - 3,
                              kFewestBits, kMostBits);
  const auto range = static_cast<std::uint32_t>(hi - lo);
  const int shift = std::max(0, static_cast<int>(std::bit_width(range)) - bits);
  const auto bins = static_cast<index_t>(range >> shift) + 1;
  const auto size = static_cast<std::size_t>(bins);
  if (level.bins.size() < size) {
    level.bins.resize(size);
    level.w.resize(size);
    level.s.resize(size);
    level.n.resize(size);
    level.gains.resize(size);
    level.open.resize(size);
    level.place.resize(size);
  }
  SumOf<Row>* const bin = level.bins.data();
  // What is left of the cut behind a bin.
  double* const after_w = level.w.data();
  double* const after_s = level.s.data();
  double* const after_n = level.n.data();
  double* const gains = level.gains.data();
  std::uint8_t* const open = level.open.data();
  std::fill_n(bin, bins, SumOf<Row>{});
  for (index_t i = 0; i < n; ++i) {
    bin[static_cast<std::uint32_t>(ranks[i] - lo) >> shift].add(rows[i]);
  }
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
  double least = std::max({top, floor_, best_->gain}) - node.slack;
  bool any = false;
  if (shift > 0) {
    const double up = node.high > 0 ? 1 / node.high : 0, down = node.low < 0 ? 1 / node.low : 0;
    // Rounding may cost a corner some units of the last place.
    const double limit = least > 0 ? least * (1 - 0x1p-40) * node.W / node.scale : -1.0;
    for (index_t b = 0; b < bins; ++b) {
      const Sum own = wide(bin[b]);
      const double bw = after_w[b], bs = after_s[b];
      const double aw = bw - own.w, as = bs - own.s;
      const double P = own.p, N = own.s - P;
      const auto beats = [&](double w, double s) {
        const double d = s * node.W - node.T * w;
        return int{d * d > limit * w * (node.W - w)};  // int: combined without branches
      };
      const int may = beats(aw + P * up, as + P) | beats(bw - N * down, as + P) |
                      beats(bw - P * up, as + N) | beats(aw + N * down, as + N) | int{limit < 0};
      open[b] = static_cast<std::uint8_t>(may & int{own.n > 1});
    }
    for (index_t b = 0; b < bins; ++b) any |= open[b] != 0;
  }
  if (any) {
    // Rows of open bins, and these by bin.
    std::int32_t* const place = level.place.data();
    std::int32_t next = 0;
    for (index_t b = 0; b < bins; ++b) {
      place[b] = next;
      if (open[b]) next += static_cast<std::int32_t>(wide(bin[b]).n);
    }
    if (level.room <= next) {  // one more: a row is written before it is known to belong
      const auto room = static_cast<std::size_t>(next + 1);
      level.moved = Workspace<Row>(room);
      level.ranks = Workspace<std::int32_t>(room);
      level.chosen = Workspace<std::int32_t>(room);
      level.room = next + 1;
    }
    std::int32_t* const chosen = level.chosen.data();
    index_t count = 0;
    for (index_t i = 0; i < n; ++i) {
      chosen[count] = static_cast<std::int32_t>(i);
      count += open[static_cast<std::uint32_t>(ranks[i] - lo) >> shift];
    }
    for (index_t c = 0; c < count; ++c) {
      const std::int32_t i = chosen[c];
      const auto b = static_cast<std::uint32_t>(ranks[i] - lo) >> shift;
      const std::int32_t to = place[b]++;
      level.moved.data()[to] = rows[i];
      level.ranks.data()[to] = ranks[i];
    }
  }
  std::size_t begin = 0;
  for (index_t b = 0; b < bins; ++b) {
    if (any && open[b]) {
      const auto count = static_cast<index_t>(wide(bin[b]).n);
      const std::int32_t* const own = level.ranks.data() + begin;
      std::int32_t first = own[0], last = own[0];
      for (index_t i = 1; i < count; ++i) {
        first = std::min(first, own[i]);
        last = std::max(last, own[i]);
      }
      const Sum before = b > 0 ? Sum{after_w[b - 1], after_s[b - 1], after_n[b - 1], 0} : base;
      search(depth + 1, own, level.moved.data() + begin, count, before, first, last);
      begin += static_cast<std::size_t>(count);
      least = std::max(least, best_->gain - node.slack);
    }
    if (gains[b] >= 0 && gains[b] >= least && gains[b] > best_->gain + node.slack) {
      const auto end = static_cast<std::int32_t>(static_cast<std::uint32_t>(lo) +
                                                 (static_cast<std::uint32_t>(b + 1) << shift) - 1);
      *best_ = {gains[b], end, after_w[b], after_n[b]};
    }
  }
}

template class SumSearch<Pair>;
template class SumSearch<Units>;

}  // namespace kernelmill::tree
