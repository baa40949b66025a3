#include "ops/tree_sums.hpp"

#include <algorithm>  // std::max, std::fill_n
#include <bit>        // std::bit_width

namespace kernelmill::tree {
namespace {

// Up to this many rows all cuts are looked at.
constexpr index_t kFew = 64;
constexpr int kFewestBits = 4, kMostBits = 9;

}  // namespace

// The slot of a row is the number of rows with a lower rank: n^2 comparisons, 8 to 64 of them an
// instruction, are faster than a sort.
template <class Row>
void SumSearch<Row>::few(const std::int32_t* ranks, const Row* rows, index_t n, Sum base) {
  std::int32_t slot[kFew], rank_of[kFew], own[kFew];
  Row sums[kFew];
  for (index_t i = 0; i < n; ++i) own[i] = ranks[i];
  for (index_t i = n; i < kFew; ++i) own[i] = INT32_MAX;
  const index_t padded = (n + 15) / 16 * 16;
  for (index_t i = 0; i < n; ++i) {
    const std::int32_t mine = own[i];
    std::int32_t below = 0;
    for (index_t j = 0; j < padded; ++j) below += own[j] < mine;
    slot[i] = below;
    sums[i] = Row{};
  }
  for (index_t i = 0; i < n; ++i) {
    sums[slot[i]].add(rows[i]);
    rank_of[slot[i]] = own[i];
  }
  double w[kFew], s[kFew], left[kFew], gains[kFew];
  std::int32_t rank[kFew];
  index_t cuts = 0;
  for (index_t i = 0; i < n; ++i) {
    const Sum own_sum = wide(sums[i]);
    if (own_sum.n == 0) continue;
    base.add(own_sum);
    w[cuts] = base.w;
    s[cuts] = base.s;
    left[cuts] = base.n;
    rank[cuts++] = rank_of[i];
  }
  --cuts;  // behind the last there is none
  const SumNode& node = *node_;
  for (index_t i = 0; i < cuts; ++i) {
    const bool fits = left[i] >= node.min_leaf && node.n - left[i] >= node.min_leaf &&
                      w[i] >= node.min_weight && node.W - w[i] >= node.min_weight;
    const double gain = node.gain(w[i], s[i]);
    gains[i] = fits ? gain : -1.0;
  }
  for (index_t i = 0; i < cuts; ++i) {
    if (gains[i] >= 0 && gains[i] > best_->gain + node.slack) {
      *best_ = {gains[i], rank[i], left[i]};
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
  const SumNode& node = *node_;
  while (levels_.size() <= depth) levels_.push_back(std::make_unique<Level>());
  Level& level = *levels_[depth];
  const int bits = std::clamp(static_cast<int>(std::bit_width(static_cast<std::uint64_t>(n))) - 4,
                              kFewestBits, kMostBits);
  const auto range = static_cast<std::uint32_t>(hi - lo);
  const int shift = std::max(0, static_cast<int>(std::bit_width(range)) - bits);
  const auto bins = static_cast<index_t>(range >> shift) + 1;
  const auto size = static_cast<std::size_t>(bins);
  if (level.bins.size() < size) {
    level.bins.resize(size);
    level.after.resize(size);
    level.gains.resize(size);
    level.open.resize(size);
    level.place.resize(size);
    level.lowest.resize(size);
    level.highest.resize(size);
  }
  Row* const bin = level.bins.data();
  Sum* const after = level.after.data();
  double* const gains = level.gains.data();
  std::uint8_t* const open = level.open.data();
  std::fill_n(bin, bins, Row{});
  for (index_t i = 0; i < n; ++i)
    bin[static_cast<std::uint32_t>(ranks[i] - lo) >> shift].add(rows[i]);
  Sum left = base;
  for (index_t b = 0; b < bins; ++b) {
    left.add(wide(bin[b]));
    after[b] = left;
  }
  double top = -1.0;
  for (index_t b = 0; b < bins - 1; ++b) {
    const Sum& a = after[b];
    const bool fits = a.n >= node.min_leaf && node.n - a.n >= node.min_leaf &&
                      a.w >= node.min_weight && node.W - a.w >= node.min_weight;
    const double gain = fits && a.w > 0 && a.w < node.W ? node.gain(a.w, a.s) : -1.0;
    gains[b] = gain;
    top = std::max(top, gain);
  }
  gains[bins - 1] = -1.0;  // that cut belongs to the caller
  double least = std::max({top, floor_, best_->gain}) - node.slack;
  bool any = false;
  if (shift > 0) {
    const double up = node.high > 0 ? 1 / node.high : 0, down = node.low < 0 ? 1 / node.low : 0;
    // Rounding may cost a corner some units of the last place.
    const double limit = least > 0 ? least * (1 - 0x1p-40) * node.W / node.scale : -1.0;
    for (index_t b = 0; b < bins; ++b) {
      const Sum own = wide(bin[b]);
      const double bw = after[b].w, bs = after[b].s;
      const double aw = bw - own.w, as = bs - own.s;
      const double P = own.p, N = own.s - P;
      const auto beats = [&](double w, double s) {
        const double d = s * node.W - node.T * w;
        return d * d > limit * w * (node.W - w);
      };
      const bool may = beats(aw + P * up, as + P) | beats(bw - N * down, as + P) |
                       beats(bw - P * up, as + N) | beats(aw + N * down, as + N) | (limit < 0);
      open[b] = may & (own.n > 1);
    }
    for (index_t b = 0; b < bins; ++b) any |= open[b] != 0;
  }
  if (any) {
    // Rows by bin.
    if (static_cast<index_t>(level.moved.size()) < n) {
      level.moved.resize(static_cast<std::size_t>(n));
      level.ranks.resize(static_cast<std::size_t>(n));
    }
    std::int32_t* const place = level.place.data();
    std::int32_t next = 0;
    for (index_t b = 0; b < bins; ++b) {
      place[b] = next;
      if (open[b]) next += static_cast<std::int32_t>(wide(bin[b]).n);
    }
    for (index_t i = 0; i < n; ++i) {
      const auto b = static_cast<std::uint32_t>(ranks[i] - lo) >> shift;
      if (!open[b]) continue;
      const auto to = static_cast<std::size_t>(place[b]++);
      level.moved[to] = rows[i];
      level.ranks[to] = ranks[i];
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
      Sum before = after[b];
      before = b > 0 ? after[b - 1] : base;
      search(depth + 1, own, level.moved.data() + begin, count, before, first, last);
      begin += static_cast<std::size_t>(count);
      least = std::max(least, best_->gain - node.slack);
    }
    if (gains[b] >= 0 && gains[b] >= least && gains[b] > best_->gain + node.slack) {
      const auto end = static_cast<std::int32_t>(static_cast<std::uint32_t>(lo) +
                                                 (static_cast<std::uint32_t>(b + 1) << shift) - 1);
      *best_ = {gains[b], end, after[b].n};
    }
  }
}

template class SumSearch<Sum>;
template class SumSearch<Units>;

}  // namespace kernelmill::tree
