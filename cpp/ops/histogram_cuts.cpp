#include "ops/histogram_cuts.hpp"

#include <algorithm>  // std::max, std::sort
#include <utility>    // std::pair

namespace kernelmill::histogram {
namespace {

// A gain below this share of the score of the leaf is rounding: sums are exact, their squares by
// their weights are not.
constexpr double kEqual = 0x1p-40;
constexpr index_t kLanes = 8;

// Sums of everything up to each cut, and what both sides lower the objective; -1 where a side is
// too small.
struct Candidates {
  alignas(64) double G[kCodes + kLanes], H[kCodes + kLanes], rows[kCodes + kLanes];
  alignas(64) double score[kCodes + kLanes];
};

struct Search {
  const Measures& m;
  const Sums& node;
  const Bounds& bounds;
  int sign;
  double least_rows, least_hessian;

  bool plain() const { return m.l1 == 0 && sign == 0 && bounds.none(); }

  // Scores of cuts [begin, end) with `more` added to the left.
  void score(Candidates& c, index_t begin, index_t end, const Sums& more) const {
    if (!plain()) {
      for (index_t j = begin; j < end; ++j) {
        c.score[j] = constrained({c.G[j] + more.G, c.H[j] + more.H, c.rows[j] + more.rows});
      }
      return;
    }
    const double l2 = m.l2, all_G = node.G, all_H = node.H, all_rows = node.rows;
    for (index_t j = begin; j < end; ++j) {
      const double G = c.G[j] + more.G, H = c.H[j] + more.H, rows = c.rows[j] + more.rows;
      const double other_G = all_G - G, other_H = all_H - H, other_rows = all_rows - rows;
      const double s = G * G / (H + l2) + other_G * other_G / (other_H + l2);
      const double fewer = rows < other_rows ? rows : other_rows;
      const double lighter = H < other_H ? H : other_H;
      const bool fits = (fewer >= least_rows) & (lighter >= least_hessian);
      c.score[j] = fits ? s : -1.0;
    }
  }

  double constrained(const Sums& left) const {
    const Sums right{node.G - left.G, node.H - left.H, node.rows - left.rows};
    if (std::min(left.rows, right.rows) < least_rows || std::min(left.H, right.H) < least_hessian) {
      return -1;
    }
    const double a = m.value(left.G, left.H, bounds.low, bounds.high);
    const double b = m.value(right.G, right.H, bounds.low, bounds.high);
    if (sign * a > sign * b) return -1;
    // Clipped values may raise the objective; -1 stands for what does not fit.
    return std::max(0.0, m.lowers(left.G, left.H, a) + m.lowers(right.G, right.H, b));
  }

  // The first of the best in [begin, end).
  static index_t first_best(const Candidates& c, index_t begin, index_t end) {
    double top[kLanes];
    std::fill_n(top, kLanes, -1.0);
    index_t j = begin;
    for (; j + kLanes <= end; j += kLanes) {
      for (index_t l = 0; l < kLanes; ++l) {
        top[l] = c.score[j + l] > top[l] ? c.score[j + l] : top[l];
      }
    }
    for (; j < end; ++j) top[0] = std::max(top[0], c.score[j]);
    double most = -1;
    for (const double one : top) most = std::max(most, one);
    for (j = begin; j < end && c.score[j] != most;) ++j;
    return j;
  }

  // Whether this score gains, and more than `best`; then it is the new one.
  bool take(double score, const Sums& left, Cut& best) const {
    if (score < 0) return false;
    const double own = m.lowers(node.G, node.H, m.value(node.G, node.H, bounds.low, bounds.high));
    const double gain = score - own;
    double feigned = 0;
    if (m.coarse) {
      const double H = std::max(node.H, 1.0), ratio = node.G / H;
      feigned = 8 * (1 + ratio * ratio) * node.rows / H;
    }
    if (!(gain > std::max(kEqual * score, feigned)) || !(gain > best.gain)) return false;
    // The unit of a gain may underflow.
    if (m.min_gain > 0 && !(gain * m.unit > m.min_gain)) return false;
    best.gain = gain;
    best.left = left;
    best.left_value = m.value(left.G, left.H, bounds.low, bounds.high);
    best.right_value = m.value(node.G - left.G, node.H - left.H, bounds.low, bounds.high);
    return true;
  }
};

void set(Cut& cut, index_t code, bool left) {
  const std::uint64_t bit = std::uint64_t{1} << (code % 64);
  std::uint64_t& word = cut.sides[static_cast<std::size_t>(code / 64)];
  word = left ? word | bit : word & ~bit;
}

void look_at_numbers(const Search& search, const double* G, const double* H, const double* rows,
                     index_t count, std::int32_t f, Cut& best) {
  // Codes with rows, where many have none: a cut behind an empty one is the cut before it.
  std::int32_t codes[kCodes];
  index_t present = 0;
  const bool sparse = search.node.rows < static_cast<double>(count);
  for (index_t j = 1; sparse && j < count; ++j) {
    codes[present] = static_cast<std::int32_t>(j);
    present += rows[j] > 0;
  }
  Candidates c;
  double g = 0, h = 0, r = 0;
  if (sparse) {
    count = present + 1;
    for (index_t j = 1; j < count; ++j) {
      const index_t code = codes[j - 1];
      c.G[j] = g += G[code];
      c.H[j] = h += H[code];
      c.rows[j] = r += rows[code];
    }
  } else {
    for (index_t j = 1; j < count; ++j) {
      c.G[j] = g += G[j];
      c.H[j] = h += H[j];
      c.rows[j] = r += rows[j];
    }
  }
  const bool missing = rows[0] > 0;
  for (const bool left : {false, true}) {
    if (left && !missing) break;
    const Sums more = left ? Sums{G[0], H[0], rows[0]} : Sums{};
    const index_t end = missing && !left ? count : count - 1;
    if (end <= 1) continue;
    search.score(c, 1, end, more);
    const index_t j = Search::first_best(c, 1, end);
    if (j == end) continue;
    const Sums sums{c.G[j] + more.G, c.H[j] + more.H, c.rows[j] + more.rows};
    if (!search.take(c.score[j], sums, best)) continue;
    best.feature = f;
    best.code = sparse ? codes[j - 1] : static_cast<std::int32_t>(j);
    best.missing_left = missing ? left : sums.rows > search.node.rows - sums.rows;
  }
}

void look_at_levels(const Search& search, const double* G, const double* H, const double* rows,
                    index_t count, std::int32_t f, Cut& best) {
  // Rare levels are one, under the lowest code of them.
  const double least = search.m.min_leaf / 2;
  // The order of levels is chosen from the same rows as the cut, so gains of noise are larger.
  Measures softer = search.m;
  softer.l2 += (search.m.min_leaf - 1) * search.node.H / search.node.rows;
  const Search soft{softer,      search.node,       search.bounds,
                    search.sign, search.least_rows, search.least_hessian};
  const auto rare = [&](index_t code) { return rows[code] > 0 && rows[code] < least; };
  std::pair<double, index_t> order[kCodes];
  index_t present = 0, pool = -1;
  Sums pooled;
  const auto enter = [&](index_t code, double g, double h) {
    const double ratio = g / (h + softer.l2);
    order[present++] = {ratio == ratio ? ratio : 0.0, code};
  };
  for (index_t code = 0; code < count; ++code) {
    if (rare(code)) {
      pool = pool < 0 ? code : pool;
      pooled.G += G[code];
      pooled.H += H[code];
      pooled.rows += rows[code];
    } else if (rows[code] > 0) {
      enter(code, G[code], H[code]);
    }
  }
  if (pool >= 0) enter(pool, pooled.G, pooled.H);
  std::sort(order, order + present, [](const auto& a, const auto& b) { return a < b; });
  Candidates c;
  double g = 0, h = 0, r = 0;
  for (index_t j = 0; j + 1 < present; ++j) {
    const index_t code = order[j].second;
    c.G[j] = g += code == pool ? pooled.G : G[code];
    c.H[j] = h += code == pool ? pooled.H : H[code];
    c.rows[j] = r += code == pool ? pooled.rows : rows[code];
  }
  if (present < 2) return;
  soft.score(c, 0, present - 1, {});
  const index_t j = Search::first_best(c, 0, present - 1);
  if (j == present - 1) return;
  const Sums sums{c.G[j], c.H[j], c.rows[j]};
  if (!search.take(c.score[j], sums, best)) return;
  best.feature = f;
  best.code = -1;
  const bool larger = sums.rows > search.node.rows - sums.rows;
  best.sides.fill(larger ? ~std::uint64_t{0} : 0);
  for (index_t p = 0; p < present; ++p) {
    const index_t own = order[p].second;
    set(best, own, p <= j);
    for (index_t code = own; own == pool && code < count; ++code) {
      if (rare(code)) set(best, code, p <= j);
    }
  }
  best.missing_left = best.goes_left(0);
}

}  // namespace

void fill_sides(Cut& cut) {
  if (cut.code < 0) return;
  for (index_t w = 0; w < 4; ++w) {
    const index_t own = cut.code + 1 - 64 * w;  // codes of this word that go left
    cut.sides[static_cast<std::size_t>(w)] = own >= 64 ? ~std::uint64_t{0}
                                             : own > 0 ? (std::uint64_t{1} << own) - 1
                                                       : 0;
  }
  set(cut, 0, cut.missing_left);
}

void look(const Measures& measures, const double* histogram, index_t stride, index_t count,
          bool categorical, int sign, const Sums& node, const Bounds& bounds, std::int32_t f,
          Cut& best) {
  // Sums of hessians are whole, so half a step is above none and below one.
  const Search search{measures,
                      node,
                      bounds,
                      sign,
                      std::max(measures.min_leaf, 1.0),
                      std::max(measures.min_hessian, 0.5)};
  const auto look = categorical ? look_at_levels : look_at_numbers;
  look(search, histogram, histogram + stride, histogram + 2 * stride, count, f, best);
}

}  // namespace kernelmill::histogram
