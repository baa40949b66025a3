#include "ops/histogram_cuts.hpp"

#include <algorithm>  // std::max, std::sort
#include <utility>    // std::pair

namespace kernelmill::histogram {
namespace {

constexpr index_t kLanes = 8;

// Sums of everything up to each cut, and what both sides lower the objective; -1 where a side is
// too small.
struct Candidates {
  alignas(64) double G[kCodes + kLanes], H[kCodes + kLanes], rows[kCodes + kLanes];
  alignas(64) double score[kCodes + kLanes];
};

// Scores of cuts [begin, end) with `more` added to the left.
void score(const Search& search, Candidates& c, index_t begin, index_t end, const Sums& more) {
  const Search own = search;  // nothing that is written to may be part of it
  if (!own.plain()) {
    for (index_t j = begin; j < end; ++j) {
      c.score[j] = own.constrained({c.G[j] + more.G, c.H[j] + more.H, c.rows[j] + more.rows});
    }
    return;
  }
  const double g = more.G, h = more.H, r = more.rows;
  for (index_t j = begin; j < end; ++j) {
    c.score[j] = own.plain_score({c.G[j] + g, c.H[j] + h, c.rows[j] + r});
  }
}

// The first of the best in [begin, end).
index_t first_best(const Candidates& c, index_t begin, index_t end) {
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
    score(search, c, 1, end, more);
    const index_t j = first_best(c, 1, end);
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
  const Search soft = search.of_levels();
  const auto rare = [&](index_t code) { return rows[code] > 0 && rows[code] < least; };
  std::pair<double, index_t> order[kCodes];
  index_t present = 0, pool = -1;
  Sums pooled;
  const auto enter = [&](index_t code, double g, double h) {
    const double ratio = g / (h + soft.m.l2);
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
  score(soft, c, 0, present - 1, {});
  const index_t j = first_best(c, 0, present - 1);
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

void look(const Search& search, const double* histogram, index_t stride, index_t count,
          bool categorical, std::int32_t f, Cut& best) {
  const auto look = categorical ? look_at_levels : look_at_numbers;
  look(search, histogram, histogram + stride, histogram + 2 * stride, count, f, best);
}

}  // namespace kernelmill::histogram
