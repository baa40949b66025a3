#include "ops/tree_tallies.hpp"

#include <algorithm>  // std::sort, std::max
#include <bit>        // std::bit_width
#include <limits>     // infinity

namespace kernelmill::tree {

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
