// The rows of one tree, and the search for a split of one feature of one node.
#pragma once

#include <algorithm>  // std::min, std::max
#include <cmath>      // std::isfinite
#include <vector>     // scratch

#include "core/error.hpp"   // invalid
#include "core/random.hpp"  // Philox, uniform_double
#include "ops/tree_criteria.hpp"
#include "ops/tree_sort.hpp"
#include "ops/tree_sums.hpp"

namespace kernelmill::tree {

// Limits are compared with sums of rounded numbers: what reaches them exactly counts.
constexpr double kSlack = 1 - kEqual;

// A node that may be split.
struct Open {
  index_t start, stop, depth;
  std::uint64_t key;
  double low, high;  // bounds of its value
  std::int32_t node;
  Split split{};
};

// Rows of one tree.
struct Plot {
  Workspace<std::int32_t> rows;
  Workspace<double> y, weight;
  index_t n = 0;
  Targets targets{};
  double min_weight = 0, min_gain = 0;
  std::uint64_t seed = 0;

  Plot(const Field& f, index_t tree)
      : rows(static_cast<std::size_t>(f.y.rows)),
        y(static_cast<std::size_t>(f.y.rows * f.y.cols)),
        weight(static_cast<std::size_t>(f.weight.rows == 0 ? 0 : f.y.rows)) {
    const bool weighted = f.weight.rows != 0;
    const index_t outputs = f.y.cols;
    const double* const given = weighted ? f.weight.row(tree) : nullptr;
    double total = 0;
    for (index_t i = 0; i < f.y.rows; ++i) {
      if (weighted && !(given[i] > 0)) continue;
      rows.data()[n] = static_cast<std::int32_t>(i);
      for (index_t k = 0; k < outputs; ++k) y.data()[n * outputs + k] = f.y(i, k);
      if (weighted) weight.data()[n] = given[i];
      total += weighted ? given[i] : 1.0;
      ++n;
    }
    if (n == 0) invalid("tree.grow", "weight must be above 0 for some row of each tree, got none");
    min_weight = f.rule.min_weight * total;
    min_gain = f.rule.min_gain * total * kSlack;
    targets = {dense<const double>(y.data(), n, outputs),
               {weight.data(), static_cast<std::size_t>(weighted ? n : 0)},
               f.classes,
               f.rule.criterion,
               f.rule.alpha,
               f.rule.min_leaf,
               min_weight};
    seed = static_cast<std::uint64_t>(f.seeds[static_cast<std::size_t>(tree)]);
  }
};

// One feature of one node at a time; a thread has one.
class FeatureSearch {
 public:
  FeatureSearch(const Field& field, const Plot& plot, index_t most)
      : f_(field), p_(plot), ranks_(static_cast<std::size_t>(most)) {}

  struct Found {
    Split split{kNoGain};
    bool varies = false;
  };

  // By sums, if `sums` are given, which belong to the rows of the node; else by a walker.
  Found find(const Open& node, index_t feature, const SumNode* sums, const Sum* each,
             Walker* walker, double floor, double slack) {
    const index_t n = node.stop - node.start;
    const std::int32_t* const column = f_.ranks.row(feature);
    const std::int32_t* const rows = p_.rows.data() + node.start;
    std::int32_t* const ranks = ranks_.data();
    std::int32_t lo = kMissing, hi = 0;
    for (index_t j = 0; j < n; ++j) {
      const std::int32_t rank = column[rows[j]];
      ranks[j] = rank;
      lo = std::min(lo, rank);
      hi = std::max(hi, rank);
    }
    Found found;
    if (lo == hi) return found;
    found.varies = true;
    const bool gaps = hi == kMissing;
    if (gaps) {
      hi = 0;
      for (index_t j = 0; j < n; ++j) hi = std::max(hi, ranks[j] == kMissing ? 0 : ranks[j]);
    }
    std::int32_t only = -1;  // the rank to cut behind
    if (f_.rule.random) {
      if (lo == hi) return found;
      only = drawn_cut(node, feature, lo, hi, found.split.threshold);
    }
    found.split.feature = feature;
    if (sums != nullptr) {
      by_sums(*sums, each, n, gaps, lo, hi, only, floor, found.split);
    } else {
      by_walk(node, feature, *walker, only, slack, found.split);
    }
    return found;
  }

 private:
  std::int32_t drawn_cut(const Open& node, index_t feature, std::int32_t lo, std::int32_t hi,
                         double& t) const {
    const Philox philox(p_.seed, node.key);
    const auto words =
        philox.block((std::uint64_t{1} << 32) + static_cast<std::uint64_t>(feature / 2));
    const index_t at = 2 * (feature % 2);
    const double u = uniform_double(words.w[at], words.w[at + 1]);
    const double low = f_.value(feature, lo), high = f_.value(feature, hi);
    // Volatile: not fused with the sum, so that every level gives the same threshold.
    const volatile double step = u * (high - low);
    t = std::isfinite(high - low) ? low + step : low / 2 + high / 2;
    if (!(low <= t && t < high)) t = low;
    std::int32_t below = lo, above = hi;  // value(below) <= t < value(above)
    while (above - below > 1) {
      const std::int32_t middle = below + (above - below) / 2;
      (f_.value(feature, middle) <= t ? below : above) = middle;
    }
    return below;
  }

  void by_sums(const SumNode& node, const Sum* each, index_t n, bool gaps, std::int32_t lo,
               std::int32_t hi, std::int32_t only, double floor, Split& split) {
    const std::int32_t* ranks = ranks_.data();
    index_t present = n;
    Sum missing{0, 0, 0, 0}, all{0, 0, 0, 0};
    if (gaps) {
      present_.resize(static_cast<std::size_t>(n));
      present_ranks_.resize(static_cast<std::size_t>(n));
      present = 0;
      for (index_t j = 0; j < n; ++j) {
        if (ranks[j] == kMissing) {
          missing.add(each[j]);
          continue;
        }
        all.add(each[j]);
        present_[static_cast<std::size_t>(present)] = each[j];
        present_ranks_[static_cast<std::size_t>(present++)] = ranks[j];
      }
      ranks = present_ranks_.data();
      each = present_.data();
    }
    const auto search = [&](const Sum& base, SumCut& best) {
      if (only < 0) {
        sums_.run(node, ranks, each, present, base, lo, hi, floor, best);
        return;
      }
      Sum left = base;
      for (index_t j = 0; j < present; ++j) {
        if (ranks[j] <= only) left.add(each[j]);
      }
      SumSearch::consider(node, left, only, best);
    };
    // Both see each cut; with equal gains the lower cut wins, then missing right.
    SumCut own{kNoGain}, other{kNoGain};
    search({0, 0, 0, 0}, own);
    bool left = 2 * own.left > node.n;
    if (gaps) {
      if (only < 0) SumSearch::consider(node, all, hi, own);
      search(missing, other);
      const bool close = other.gain >= own.gain - node.slack && other.rank < own.rank;
      left = other.gain > own.gain + node.slack || close;
      if (left) own = other;
    }
    split.gain = own.gain;
    split.rank = own.rank;
    split.missing_left = left;
  }

  void by_walk(const Open& node, index_t feature, Walker& walker, std::int32_t only, double slack,
               Split& split) {
    const index_t n = node.stop - node.start;
    sorted_.resize(static_cast<std::size_t>(2 * n));
    entries_.resize(static_cast<std::size_t>(n));
    for (index_t j = 0; j < n; ++j) {
      sorted_[static_cast<std::size_t>(j)] = {static_cast<std::uint32_t>(ranks_.data()[j]),
                                              static_cast<std::uint32_t>(j)};
    }
    const auto* const in = sorted(sorted_.data(), sorted_.data() + n, n);
    index_t present = 0, cut = 0;
    for (index_t j = 0; j < n; ++j) {
      const bool first = j == 0 || in[j].key != in[j - 1].key;
      entries_[static_cast<std::size_t>(j)] =
          static_cast<std::int32_t>(in[j].item + node.start) | (first ? kFirst : 0);
      present += in[j].key != static_cast<std::uint32_t>(kMissing);
      cut += only >= 0 && in[j].key <= static_cast<std::uint32_t>(only);
    }
    const int sign = f_.monotonic.empty() ? 0 : f_.monotonic[static_cast<std::size_t>(feature)];
    const Cut found =
        walker.walk({entries_.data(), n, present, cut, sign, node.low, node.high, slack});
    split.gain = found.gain;
    split.missing_left = found.missing_left;
    if (found.left > 0) split.rank = static_cast<std::int32_t>(in[found.left - 1].key);
  }

  const Field& f_;
  const Plot& p_;
  Workspace<std::int32_t> ranks_;
  SumSearch sums_;
  std::vector<Sum> present_;
  std::vector<std::int32_t> present_ranks_, entries_;
  std::vector<Keyed<std::uint32_t>> sorted_;
};

}  // namespace kernelmill::tree
