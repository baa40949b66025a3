#include "ops/tree_tallies.hpp"

#include <algorithm>  // std::sort, std::max
#include <bit>        // std::bit_width
#include <limits>     // infinity

namespace kernelmill::tree {
namespace {

// Weights of three classes, 21 bits each.
struct Trio {
  static constexpr int kBits = 21;
  static constexpr std::uint64_t kMost = (std::uint64_t{1} << kBits) - 1;

  static std::uint64_t of(Mark mark) {
    return std::uint64_t{mark.weight()} << (static_cast<int>(mark.label()) * kBits);
  }
  static double weight(std::uint64_t sum, int label) {
    return static_cast<double>(static_cast<std::int32_t>(sum >> (label * kBits) & kMost));
  }
  static double weight(std::uint64_t sum) {
    return weight(sum, 0) + weight(sum, 1) + weight(sum, 2);
  }
};

// Gains of cuts by what is left of them; not a number where that is all.
void gains_of(const SumNode& node, const std::uint64_t* sums, index_t n, double* gains) {
  const double T0 = node.tallies[0], T1 = node.tallies[1], T2 = node.tallies[2], mass = node.W;
  const double whole = T0 * T0 + T1 * T1 + T2 * T2, before = whole / mass;
  for (index_t i = 0; i < n; ++i) {
    const double s0 = Trio::weight(sums[i], 0), s1 = Trio::weight(sums[i], 1),
                 s2 = Trio::weight(sums[i], 2);
    const double own = s0 * s0 + s1 * s1 + s2 * s2, left = s0 + s1 + s2;
    const double other = whole - 2 * (s0 * T0 + s1 * T1 + s2 * T2) + own;
    gains[i] = own / left + other / (mass - left) - before;
  }
}

}  // namespace

void TallySearch::three(const SumNode& node, const std::int32_t* ranks, const Mark* rows, index_t n,
                        std::int32_t lo, std::int32_t hi, SumCut& best) {
  const double limit = best.gain + node.slack;
  int above = 0;
  if (n <= kFew && node.min_leaf <= 1) {
    // The slot of a row is the number of rows with a lower rank. Behind an empty slot the cut is
    // that before it, which was seen first.
    std::int32_t slot[kFew], rank_of[kFew], own[kFew];
    std::uint64_t sums[kFew] = {};
    double gains[kFew];
    std::copy_n(ranks, n, own);
    count_lower(own, n, slot);
    for (index_t i = 0; i < n; ++i) {
      sums[slot[i]] += Trio::of(rows[i]);
      rank_of[slot[i]] = own[i];
    }
    for (index_t i = 1; i < n; ++i) sums[i] += sums[i - 1];
    gains_of(node, sums, n, gains);
    const std::uint64_t all = sums[n - 1];
    for (index_t i = 0; i < n; ++i) above |= int{gains[i] > limit} & int{sums[i] != all};
    if (above == 0) return;
    for (index_t i = 0; i < n && sums[i] != all; ++i) {
      if (gains[i] > best.gain + node.slack) {
        best = {gains[i], rank_of[i], Trio::weight(sums[i])};
      }
    }
    for (index_t i = 0; i < n; ++i) best.rows += ranks[i] <= best.rank ? 1.0 : 0.0;
    return;
  }
  const Keyed<std::uint32_t>* const in = in_order(ranks, rows, n, lo, hi);
  std::uint64_t sum = 0;
  std::uint64_t* const sums = sums_.data();
  double* const gains = gains_.data();
  for (index_t i = 0; i < n; ++i) sums[i] = sum += Trio::of(Mark{in[i].item});
  gains_of(node, sums, n - 1, gains);
  // The cut behind row i has i + 1 rows on its left.
  const auto least = static_cast<index_t>(node.min_leaf);
  const index_t first = std::max<index_t>(0, least - 1), last = std::min(n - 1, n - least);
  for (index_t i = first; i < last; ++i) {
    above |= int{in[i].key != in[i + 1].key} & int{gains[i] > limit};
  }
  if (above == 0) return;
  for (index_t i = first; i < last; ++i) {
    if (in[i].key != in[i + 1].key && gains[i] > best.gain + node.slack) {
      best = {gains[i], static_cast<std::int32_t>(in[i].key), Trio::weight(sums[i]),
              static_cast<double>(i + 1)};
    }
  }
}

// Rows by rising rank; those of a rank in any order.
const Keyed<std::uint32_t>* TallySearch::in_order(const std::int32_t* ranks, const Mark* rows,
                                                  index_t n, std::int32_t lo, std::int32_t hi) {
  Keyed<std::uint32_t>* const to = sorted_.data();
  const auto range = static_cast<std::uint32_t>(hi - lo);
  const bool narrow = range < 1u << 25;  // as `sort_few` demands
  if (n <= kFew) {
    for (index_t i = 0; i < n; ++i) to[i] = {static_cast<std::uint32_t>(ranks[i]), rows[i].bits};
    if (narrow) {
      sort_few(to, n);
    } else {
      std::sort(to, to + n, [](const auto& a, const auto& b) { return a.key < b.key; });
    }
    return to;
  }
  const int bits = static_cast<int>(std::bit_width(static_cast<std::uint64_t>(n))) - 4;
  const int shift = std::max(0, static_cast<int>(std::bit_width(range)) - bits);
  const auto bins = static_cast<std::size_t>(range >> shift) + 1;
  places_.assign(bins + 1, 0);
  const auto bin = [&](index_t i) { return static_cast<std::uint32_t>(ranks[i] - lo) >> shift; };
  for (index_t i = 0; i < n; ++i) ++places_[bin(i) + 1];
  for (std::size_t b = 0; b < bins; ++b) places_[b + 1] += places_[b];
  for (index_t i = 0; i < n; ++i) {
    to[places_[bin(i)]++] = {static_cast<std::uint32_t>(ranks[i]), rows[i].bits};
  }
  if (shift == 0) return to;
  std::uint32_t begin = 0;
  for (std::size_t b = 0; b < bins; ++b) {
    const std::uint32_t end = places_[b];
    if (end - begin > kFew || shift > 25) {
      std::sort(to + begin, to + end, [](const auto& a, const auto& c) { return a.key < c.key; });
    } else if (end - begin > 1) {
      sort_few(to + begin, end - begin);
    }
    begin = end;
  }
  return to;
}

void TallySearch::run(const SumNode& node, const std::int32_t* ranks, const Mark* rows, index_t n,
                      std::int32_t lo, std::int32_t hi, SumCut& best) {
  if (room_ < n) {
    room_ = n;
    const auto size = static_cast<std::size_t>(n);
    sorted_ = Workspace<Keyed<std::uint32_t>>(size);
    own_ = Workspace<double>(size);
    cross_ = Workspace<double>(size);
    left_ = Workspace<double>(size);
    gains_ = Workspace<double>(size);
    sums_ = Workspace<std::uint64_t>(size);
  }
  if (node.classes == 3 && node.W <= static_cast<double>(Trio::kMost)) {
    return three(node, ranks, rows, n, lo, hi, best);
  }
  const Keyed<std::uint32_t>* const in = in_order(ranks, rows, n, lo, hi);
  double whole = 0;
  for (index_t k = 0; k < node.classes; ++k) whole += node.tallies[k] * node.tallies[k];
  tally_.assign(static_cast<std::size_t>(node.classes), 0.0);
  double *const tally = tally_.data(), *const own = own_.data(), *const cross = cross_.data(),
                *const left = left_.data(), *const gains = gains_.data();
  double a = 0, c = 0, sum = 0;
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
  const double before = whole / node.W, mass = node.W;
  const auto least = static_cast<index_t>(node.min_leaf);
  constexpr double kNone = -std::numeric_limits<double>::infinity();
  // The cut behind row i has i + 1 rows on its left.
  const double limit = best.gain + node.slack;
  int above = 0;
  for (index_t i = 0; i + 1 < n; ++i) {
    const double other = whole - 2 * cross[i] + own[i];
    const double gain = own[i] / left[i] + other / (mass - left[i]) - before;
    const bool fits = (in[i].key != in[i + 1].key) & (i + 1 >= least) & (n - i - 1 >= least);
    gains[i] = fits ? gain : kNone;
    above |= int{gains[i] > limit};
  }
  if (above == 0) return;
  for (index_t i = 0; i + 1 < n; ++i) {
    if (gains[i] > best.gain + node.slack) {
      best = {gains[i], static_cast<std::int32_t>(in[i].key), left[i], static_cast<double>(i + 1)};
    }
  }
}

}  // namespace kernelmill::tree
