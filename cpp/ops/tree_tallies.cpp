#include "ops/tree_tallies.hpp"

#include <algorithm>  // std::sort, std::max
#include <bit>        // std::bit_width
#include <limits>     // infinity
#include <utility>    // std::integer_sequence

namespace kernelmill::tree {
namespace {

constexpr double kNone = -std::numeric_limits<double>::infinity();
constexpr int kFewestBits = 4, kMostBits = 10;
// Bins take the time of their classes, which is no gain with more classes than rows in a bin.
constexpr index_t kMostBinned = 16;
constexpr index_t kMostCornered = 5;
// Up to this many rows of more classes most bins would stay open.
constexpr index_t kFewLoose = 128;

// Weights of few classes side by side in one number.
template <int classes>
struct Packed {
  static constexpr int kBits = 64 / classes;
  static constexpr std::uint64_t kMost = (std::uint64_t{1} << kBits) - 1;

  static std::uint64_t of(std::uint64_t weight, std::uint32_t label) {
    return weight << (static_cast<int>(label) * kBits);
  }
  static double weight(std::uint64_t sum, int label) {
    return static_cast<double>(static_cast<std::int32_t>(sum >> (label * kBits) & kMost));
  }
  static double weight(std::uint64_t sum) {
    double all = 0;
    for (int k = 0; k < classes; ++k) all += weight(sum, k);
    return all;
  }
  // Gains of cuts by what is left of them; not a number where that is all.
  template <int... k>
  static void gains(const SumNode& node, double whole, const std::uint64_t* sums, index_t n,
                    double* gains, std::integer_sequence<int, k...>) {
    const double total[] = {node.tallies[k]...}, mass = node.W, before = whole / mass;
    for (index_t i = 0; i < n; ++i) {
      const std::uint64_t sum = sums[i];
      const double own = ((weight(sum, k) * weight(sum, k)) + ...);
      const double cross = ((weight(sum, k) * total[k]) + ...), left = (weight(sum, k) + ...);
      gains[i] = own / left + (whole - 2 * cross + own) / (mass - left) - before;
    }
  }
};

typedef double Eight __attribute__((vector_size(64)));

inline Eight load(const double* from) {
  Eight value;
  std::memcpy(&value, from, sizeof(value));
  return value;
}
inline Eight larger_of(const Eight& a, const Eight& b) { return a > b ? a : b; }

// The largest E over the corners of eight boxes but their two ends, which are cuts between bins.
template <int classes>
struct Corners {
  Eight more_own[classes], more_cross[classes], more[classes];
  double mass, limit, share;

  template <int k = 0, bool some = false, bool all = true>
  void visit(const Eight& own, const Eight& cross, const Eight& w, Eight& top) const {
    if constexpr (k < classes) {
      visit<k + 1, some, false>(own, cross, w, top);
      visit<k + 1, true, all>(own + more_own[k], cross + more_cross[k], w + more[k], top);
    } else if constexpr (some && !all) {
      top = larger_of(top, mass * own - w * (2 * cross + limit * (mass - w) - share * w));
    }
  }
};

template <int classes>
void corners(const SumNode& node, const double* s, index_t stride, const double* own,
             const double* cross, const double* w, index_t bins, double limit, double share,
             double* tops) {
  for (index_t b = 0; b < bins; b += 8) {
    Corners<classes> box;
    box.mass = node.W;
    box.limit = limit;
    box.share = share;
    for (int k = 0; k < classes; ++k) {
      const Eight from = load(s + k * stride + b), to = load(s + k * stride + b + 1);
      box.more[k] = to - from;
      box.more_own[k] = to * to - from * from;
      box.more_cross[k] = node.tallies[k] * box.more[k];
    }
    Eight top = Eight{} + kNone;
    box.visit(load(own + b), load(cross + b), load(w + b), top);
    std::memcpy(tops + b, &top, sizeof(top));
  }
}

// A bound of E over boxes of any number of classes.
void ends(const SumNode& node, const double* s, index_t stride, const double* w, index_t bins,
          double limit, double share, double* tops) {
  for (index_t b = 0; b < bins; b += 8) {
    const Eight first = load(w + b), last = load(w + b + 1);
    Eight low = first * (share * first - limit * (node.W - first));
    Eight high = last * (share * last - limit * (node.W - last));
    for (index_t k = 0; k < node.classes; ++k) {
      const Eight from = load(s + k * stride + b), to = load(s + k * stride + b + 1);
      const Eight a = node.W * from, c = node.W * to;
      const Eight x = 2 * node.tallies[k] * first, y = 2 * node.tallies[k] * last;
      low += larger_of(from * (a - x), to * (c - x));
      high += larger_of(from * (a - y), to * (c - y));
    }
    const Eight top = larger_of(low, high);
    std::memcpy(tops + b, &top, sizeof(top));
  }
}

}  // namespace

// Every cut between a few rows of few classes. The slot of a row is the number of rows with a lower
// rank; behind an empty slot the cut is that before it, which was seen first.
template <int classes>
void TallySearch::few(const std::int32_t* ranks, const Mark* rows, index_t n, Base base) {
  using P = Packed<classes>;
  const SumNode& node = *node_;
  const double limit = std::max(floor_, best_->gain) + node.slack;
  std::int32_t slot[kFew], rank_of[kFew], own[kFew];
  std::uint64_t sums[kFew] = {};
  double gains[kFew];
  std::copy_n(ranks, n, own);
  count_lower(own, n, slot);
  for (index_t i = 0; i < n; ++i) {
    sums[slot[i]] += P::of(rows[i].weight(), rows[i].label());
    rank_of[slot[i]] = own[i];
  }
  for (std::uint32_t k = 0; k < classes; ++k) {
    const double before = base.tallies[static_cast<index_t>(k) * base.stride];
    sums[0] += P::of(static_cast<std::uint64_t>(before), k);
  }
  for (index_t i = 1; i < n; ++i) sums[i] += sums[i - 1];
  P::gains(node, whole_, sums, n, gains, std::make_integer_sequence<int, classes>{});
  const std::uint64_t all = sums[n - 1];
  int above = 0;
  for (index_t i = 0; i < n; ++i) above |= int{gains[i] > limit} & int{sums[i] != all};
  if (above == 0) return;
  for (index_t i = 0; i < n && sums[i] != all; ++i) {
    if (gains[i] > best_->gain + node.slack) *best_ = {gains[i], rank_of[i], P::weight(sums[i])};
  }
  best_->rows = base.n;
  for (index_t i = 0; i < n; ++i) best_->rows += ranks[i] <= best_->rank ? 1.0 : 0.0;
}

// Every cut between rows, which are sorted; those of a rank in any order.
void TallySearch::in_order(const std::int32_t* ranks, const Mark* rows, index_t n, Base base,
                           std::int32_t lo, std::int32_t hi) {
  const SumNode& node = *node_;
  if (room_ < n) {
    room_ = n;
    const auto size = static_cast<std::size_t>(n);
    sorted_ = Workspace<Keyed<std::int32_t>>(size);
    own_ = Workspace<double>(size);
    cross_ = Workspace<double>(size);
    left_ = Workspace<double>(size);
    gains_ = Workspace<double>(size);
  }
  Keyed<std::int32_t>* const in = sorted_.data();
  const int bits = std::max(
      0, static_cast<int>(std::bit_width(static_cast<std::uint64_t>(n))) - (n > kFew ? 4 : 7));
  const Bins bins(lo, hi, bits, node.order);
  places_.assign(static_cast<std::size_t>(bins.count) + 1, 0);
  std::uint32_t* const places = places_.data();
  bins.each(ranks, n, [&](index_t, std::int32_t bin) { ++places[bin + 1]; });
  for (index_t b = 0; b < bins.count; ++b) places[b + 1] += places[b];
  bins.each(ranks, n,
            [&](index_t i, std::int32_t bin) { in[places[bin]++] = {ranks[i], rows[i].bits}; });
  if (bins.wide) sort_bins(in, places, bins.count);
  tally_.resize(static_cast<std::size_t>(node.classes));
  double *const tally = tally_.data(), *const own = own_.data(), *const cross = cross_.data(),
                *const left = left_.data(), *const gains = gains_.data();
  double a = 0, c = 0, sum = 0;
  for (index_t k = 0; k < node.classes; ++k) {
    const double s = tally[k] = base.tallies[k * base.stride];
    a += s * s;
    c += s * node.tallies[k];
    sum += s;
  }
  for (index_t i = 0; i < n; ++i) {
    const Mark mark{in[i].item};
    const auto k = static_cast<index_t>(mark.label());
    const auto w = static_cast<double>(mark.weight());
    const double s = tally[k];
    a += w * (2 * s + w);
    c += w * node.tallies[k];
    sum += w;
    tally[k] = s + w;
    own[i] = a;
    cross[i] = c;
    left[i] = sum;
  }
  const double before = whole_ / node.W, mass = node.W;
  // The cut behind row i has i + 1 rows more on its left than `base`.
  const auto least = static_cast<index_t>(node.min_leaf - base.n),
             most = static_cast<index_t>(node.n - node.min_leaf - base.n);
  const double limit = std::max(floor_, best_->gain) + node.slack;
  int above = 0;
  for (index_t i = 0; i + 1 < n; ++i) {
    const double other = whole_ - 2 * cross[i] + own[i];
    const double gain = own[i] / left[i] + other / (mass - left[i]) - before;
    const bool fits = (in[i].key != in[i + 1].key) & (i + 1 >= least) & (i + 1 <= most);
    gains[i] = fits ? gain : kNone;
    above |= int{gains[i] > limit};
  }
  if (above == 0) return;
  for (index_t i = 0; i + 1 < n; ++i) {
    if (gains[i] > best_->gain + node.slack) {
      *best_ = {gains[i], in[i].key, left[i], base.n + static_cast<double>(i + 1)};
    }
  }
}

// Which bins may hold a cut inside that gains more than `least`.
void TallySearch::choose(Level& level, index_t bins, double least, std::uint8_t* open) const {
  const SumNode& node = *node_;
  const index_t stride = bins + 1;
  const double *const n = level.n.data(), *const w = level.w.data(), *const s = level.s.data();
  double* const tops = level.gains.data() + bins;
  if (least > 0) {
    const double limit = least * (1 - kEqual), share = whole_ / node.W;
    const auto box = [&](auto of) {
      of(node, s, stride, level.own.data(), level.cross.data(), w, bins, limit, share, tops);
    };
    switch (node.classes) {
      case 3:
        box(corners<3>);
        break;
      case 4:
        box(corners<4>);
        break;
      case 5:
        box(corners<5>);
        break;
      default:
        ends(node, s, stride, w, bins, limit, share, tops);
    }
  } else {
    std::fill_n(tops, bins, 1.0);
  }
  // Terms of E are below this many units of w times `whole`, and rounded to 2^-53.
  const double rounding = 0x1p-44 * whole_;
  for (index_t b = 0; b < bins; ++b) {
    open[b] =
        static_cast<std::uint8_t>(int{n[b + 1] - n[b] > 1} & int{tops[b] > -rounding * w[b + 1]});
  }
}

void TallySearch::search(std::size_t depth, const std::int32_t* ranks, const Mark* rows, index_t n,
                         Base base, std::int32_t lo, std::int32_t hi) {
  if (lo == hi || n < 2) return;
  const SumNode& node = *node_;
  const index_t classes = node.classes;
  if (n <= kFew && few_ != nullptr) return (this->*few_)(ranks, rows, n, base);
  if (n <= (classes > kMostCornered ? kFewLoose : kFew) || classes > kMostBinned) {
    return in_order(ranks, rows, n, base, lo, hi);
  }
  const int bits = std::clamp(static_cast<int>(std::bit_width(static_cast<std::uint64_t>(n))) - 3,
                              kFewestBits, kMostBits);
  const Bins cells(lo, hi, bits, depth % 2 == 0 ? node.order : Order::kRanks);
  const index_t bins = cells.count, stride = bins + 1;
  while (levels_.size() <= depth) levels_.push_back(std::make_unique<Level>());
  Level& level = *levels_[depth];
  constexpr index_t kBeyond = 8;  // vectors read so far
  if (level.room < classes * stride) {
    level.room = classes * stride;
    const auto all = static_cast<std::size_t>(level.room),
               one = static_cast<std::size_t>((index_t{1} << kMostBits) + 2 + kBeyond);
    level.bins = Workspace<std::uint64_t>(all);
    level.s = Workspace<double>(all + kBeyond);
    level.w = Workspace<double>(one);
    level.own = Workspace<double>(one);
    level.cross = Workspace<double>(one);
    level.n = Workspace<double>(one);
    level.gains = Workspace<double>(2 * one);
  }
  std::uint64_t* const bin = level.bins.data();
  std::fill_n(bin, classes * bins, std::uint64_t{0});
  cells.each(ranks, n, [&](index_t i, std::int32_t b) {
    const auto label = static_cast<index_t>(rows[i].label());
    bin[label * bins + b] += std::uint64_t{1} << 32 | rows[i].weight();
  });
  // Of the cut before bin b, at b.
  double *const s = level.s.data(), *const w = level.w.data(), *const own = level.own.data(),
                *const cross = level.cross.data(), *const count = level.n.data(),
                *const gains = level.gains.data();
  std::fill_n(w, stride, 0.0);
  std::fill_n(own, stride, 0.0);
  std::fill_n(cross, stride, 0.0);
  std::fill_n(count, stride, base.n);
  for (index_t k = 0; k < classes; ++k) {
    const double before = base.tallies[k * base.stride], total = node.tallies[k];
    std::uint64_t sum = 0;
    for (index_t b = 0; b < bins; ++b) bin[k * bins + b] = sum += bin[k * bins + b];
    double* const to = s + k * stride;
    to[0] = before;
    for (index_t b = 0; b < bins; ++b) {
      const std::uint64_t all = bin[k * bins + b];
      to[b + 1] = before + static_cast<double>(static_cast<std::int32_t>(all & 0xFFFFFFFFu));
      count[b + 1] += static_cast<double>(static_cast<std::int32_t>(all >> 32));
    }
    for (index_t b = 0; b < stride; ++b) {
      const double x = to[b];
      w[b] += x;
      own[b] += x * x;
      cross[b] += total * x;
    }
  }
  double top = kNone;
  const double whole_before = whole_ / node.W;
  for (index_t b = 1; b < bins; ++b) {  // the last cut belongs to the caller
    const double other = whole_ - 2 * cross[b] + own[b];
    const double gain = own[b] / w[b] + other / (node.W - w[b]) - whole_before;
    const bool fits = (count[b] >= node.min_leaf) & (node.n - count[b] >= node.min_leaf);
    gains[b] = fits ? gain : kNone;
    top = std::max(top, gains[b]);
  }
  double least = std::max({top, floor_, best_->gain}) - node.slack;
  std::uint8_t* const open = level.open.marks(bins);
  if (cells.wide) {
    choose(level, bins, least, open);
    level.open.begin(cells, ranks, rows, n, node.order != Order::kRanks);
  }
  index_t cut = -1;  // the bin behind which the best cut lies
  for (index_t b = 0; b < bins; ++b) {
    if (cells.wide && open[b]) {
      const double gain = best_->gain;
      const auto of = level.open.of(
          b, [count](index_t c) { return static_cast<index_t>(count[c + 1] - count[c]); });
      search(depth + 1, of.ranks, of.rows, of.n, {s + b, stride, count[b]}, of.lo, of.hi);
      least = std::max(least, best_->gain - node.slack);
      if (best_->gain > gain) cut = -1;
    }
    // Gains of 0 may be rounded to less.
    if (b + 1 < bins && gains[b + 1] >= least && gains[b + 1] > best_->gain + node.slack) {
      *best_ = {gains[b + 1], -1, w[b + 1], count[b + 1]};
      cut = b;
    }
  }
  if (cut >= 0) best_->rank = cells.last(cut, ranks, n);
}

// `few` for as many classes, if they fit.
template <int... more>
TallySearch::Few TallySearch::few_of(std::integer_sequence<int, more...>) const {
  Few found = nullptr;
  ((found = node_->classes == 3 + more && node_->W <= static_cast<double>(Packed<3 + more>::kMost)
                ? &TallySearch::few<3 + more>
                : found),
   ...);
  return found;
}

void TallySearch::run(const SumNode& node, const std::int32_t* ranks, const Mark* rows, index_t n,
                      std::int32_t lo, std::int32_t hi, double floor, SumCut& best) {
  node_ = &node;
  floor_ = floor;
  best_ = &best;
  whole_ = 0;
  for (index_t k = 0; k < node.classes; ++k) whole_ += node.tallies[k] * node.tallies[k];
  few_ = node.min_leaf <= 1 ? few_of(std::make_integer_sequence<int, 8>{}) : nullptr;
  static constexpr double kNothing = 0;
  search(0, ranks, rows, n, {&kNothing, 0, 0.0}, lo, hi);
}

}  // namespace kernelmill::tree
