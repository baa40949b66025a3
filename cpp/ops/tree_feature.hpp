// The rows of one tree, and the search for a split of one feature of one node.
#pragma once

#include <algorithm>    // std::min, std::max
#include <cmath>        // std::isfinite, std::fabs, std::floor, std::ilogb, std::ldexp
#include <type_traits>  // std::is_same_v
#include <vector>       // scratch

#include "core/error.hpp"   // invalid
#include "core/random.hpp"  // Philox, uniform_double
#include "ops/tree_criteria.hpp"
#include "ops/tree_sort.hpp"
#include "ops/tree_sums.hpp"
#include "ops/tree_tallies.hpp"

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

// Rows of one tree: with targets and weights, or with both in `units`, `marks`, or one number of
// `y`, where these can hold them.
struct Plot {
  Workspace<std::int32_t> rows;
  Workspace<Units> units;
  Workspace<Mark> marks;
  Workspace<double> y, weight;
  index_t n = 0;
  int exponent = 0;  // weights are those given over 2 to this power
  Targets targets{};
  double min_weight = 0, min_gain = 0;
  std::uint64_t seed = 0;
  bool by_sums = false, by_units = false, by_marks = false, by_numbers = false;
  // Levels of the whole tree in order, by feature and key, if they are put in order once.
  std::vector<std::vector<std::uint8_t>> orders;

  Plot(const Field& f, index_t tree) : rows(static_cast<std::size_t>(f.y.rows)) {
    const double* const given = f.weight.rows != 0 ? f.weight.row(tree) : nullptr;
    double total = 0, heaviest = 1;
    bool whole = true;
    const auto weight_of = [&](index_t i) {
      const double w = given == nullptr ? 1.0 : given[i];
      return exponent == 0 ? w : std::ldexp(w, -exponent);
    };
    const auto look = [&] {
      n = 0;
      total = 0;
      for (index_t i = 0; i < f.y.rows; ++i) {
        const double w = weight_of(i);
        rows.data()[n] = static_cast<std::int32_t>(i);
        n += w > 0;
        total += w > 0 ? w : 0.0;
        whole &= w == std::floor(w);
        heaviest = std::max(heaviest, w);
      }
    };
    look();
    // Gains have cubes of weights, which must not leave the range of numbers.
    if (total > 0 && std::isfinite(total) && !(0x1p-64 < total && total < 0x1p64)) {
      exponent = std::ilogb(total);
      look();
      whole = false;
    }
    if (n == 0) invalid("tree.grow", "weight must be above 0 for some row of each tree, got none");
    const bool binary = f.rule.criterion == kGini && f.classes.size() == 1 && f.classes[0] == 2;
    const bool numbers = f.rule.criterion == kSquared && f.y.cols == 1;
    by_sums = f.monotonic.empty() && (binary || numbers);
    by_units = by_sums && binary && whole &&
               std::max(total, static_cast<double>(n)) <= static_cast<double>(Units::kMost);
    by_numbers = by_sums && !by_units && (binary || given == nullptr);
    // Sums of squares of weights stay whole up to 2**53.
    const bool exact = whole && total < 0x1p26;
    by_marks = f.markable() && exact && heaviest <= Mark::kMost;
    min_weight = f.rule.min_weight * total;
    min_gain = f.rule.min_gain * total * kSlack;
    seed = static_cast<std::uint64_t>(f.seeds[static_cast<std::size_t>(tree)]);
    if (by_units) {
      units = Workspace<Units>(static_cast<std::size_t>(n));
      for (index_t j = 0; j < n; ++j) {
        const index_t i = rows.data()[j];
        units.data()[j] = Units::of(given == nullptr ? 1 : static_cast<std::uint64_t>(given[i]),
                                    f.y(i, 0) == 1.0);
      }
      return;
    }
    if (by_marks) {
      marks = Workspace<Mark>(static_cast<std::size_t>(n));
      for (index_t j = 0; j < n; ++j) {
        const index_t i = rows.data()[j];
        marks.data()[j] = Mark::of(static_cast<std::uint32_t>(f.y(i, 0)),
                                   given == nullptr ? 1 : static_cast<std::uint32_t>(given[i]));
      }
      return;
    }
    const index_t outputs = f.y.cols;
    y = Workspace<double>(static_cast<std::size_t>(n * outputs));
    if (by_numbers && binary) {  // as `SumNode::read` demands
      for (index_t j = 0; j < n; ++j) {
        const index_t i = rows.data()[j];
        y.data()[j] = f.y(i, 0) == 1.0 ? weight_of(i) : -weight_of(i);
      }
      return;
    }
    if (given != nullptr) weight = Workspace<double>(static_cast<std::size_t>(n));
    for (index_t j = 0; j < n; ++j) {
      const index_t i = rows.data()[j];
      for (index_t k = 0; k < outputs; ++k) y.data()[j * outputs + k] = f.y(i, k);
      if (given != nullptr) weight.data()[j] = weight_of(i);
    }
    targets = {dense<const double>(y.data(), n, outputs),
               {weight.data(), static_cast<std::size_t>(given == nullptr ? 0 : n)},
               f.classes,
               f.rule.criterion,
               f.rule.alpha,
               f.rule.min_leaf,
               min_weight};
    targets.whole = exact;
    targets.bagged = f.rule.bagged;
    if (targets.whole && f.rule.criterion == kEntropy && total < kTabled) {
      const auto size = static_cast<std::size_t>(total) + 1;
      xlogx = Workspace<double>(size);
      xlogx.data()[0] = 0;
      for (std::size_t x = 1; x < size; ++x) {
        xlogx.data()[x] = static_cast<double>(x) * std::log(static_cast<double>(x));
      }
      targets.xlogx = xlogx.data();
    }
  }

 private:
  // Total weights up to which x log x is a table: 2 MiB, made once, against a logarithm a cut.
  static constexpr double kTabled = 0x1p18;
  Workspace<double> xlogx;
};

// Ranks of some rows.
inline void gather(const Field& f, index_t feature, const std::int32_t* rows, index_t n,
                   std::int32_t* to) {
  const bool all = n == f.ranks.rows;  // in their order: that is the root
  f.with_ranks(feature, [&](const auto& rank) {
    if (all) {
      for (index_t j = 0; j < n; ++j) to[j] = rank(j);
    } else {
      for (index_t j = 0; j < n; ++j) to[j] = rank(rows[j]);
    }
  });
}

// One feature of one node at a time; a thread has one.
class FeatureSearch {
 public:
  FeatureSearch(const Field& field, const Plot& plot, index_t most)
      : f_(field), p_(plot), ranks_(static_cast<std::size_t>(most + 2)) {}

  struct Found {
    Split split{kNoGain};
    bool varies = false;
  };

  // `Plot::orders` of the rows of the tree.
  std::vector<std::vector<std::uint8_t>> all_orders() {
    std::vector<std::vector<std::uint8_t>> found;
    codes_.resize(static_cast<std::size_t>(p_.n));
    for (index_t f = 0; f < f_.ranks.features; ++f) {
      for (index_t j = 0; f_.of_levels(f) && j < p_.n; ++j) {
        codes_[static_cast<std::size_t>(j)] = f_.code(f, p_.rows.data()[j]);
      }
      for (index_t key = 0; key < orders(); ++key) {
        found.push_back(f_.of_levels(f) ? ordered(0, p_.n, codes_.data(), key)
                                        : std::vector<std::uint8_t>{});
      }
    }
    return found;
  }

  // Room for a rank of each row and two more, between two searches.
  std::int32_t* scratch_ranks() { return ranks_.data(); }

  // By sums of the rows of the node, if they are given; else by a walker.
  template <class Row>
  Found find(const Open& node, index_t feature, const SumNode& sums, const Row* each,
             Walker* walker, double floor, double slack) {
    const index_t n = node.stop - node.start;
    Found found;
    if (f_.of_levels(feature)) {
      by_levels(node, feature, sums, each, walker, floor, slack, found);
      return found;
    }
    if (f_.rule.random) return find_drawn(node, feature, sums, each, walker, floor, slack);
    const std::int32_t* const ranks = ranks_.data();
    gather(f_, feature, p_.rows.data() + node.start, n, ranks_.data());
    constexpr std::int32_t kLeast = std::numeric_limits<std::int32_t>::min();
    std::int32_t lo = kNoRank, hi = kLeast;
    for (index_t j = 0; j < n; ++j) {
      lo = std::min(lo, ranks[j]);
      hi = std::max(hi, ranks[j]);
    }
    if (lo == hi) return found;
    found.varies = true;
    const bool gaps = hi == kNoRank;
    if (gaps) {
      hi = kLeast;
      for (index_t j = 0; j < n; ++j) hi = std::max(hi, ranks[j] == kNoRank ? kLeast : ranks[j]);
    }
    found.split.feature = feature;
    if (walker == nullptr) {
      SumNode own = sums;
      own.order = order_of(feature);
      by_sums(own, ranks, each, n, gaps, lo, hi, -1, floor, found.split);
    } else {
      by_walk(node, feature, ranks, *walker, -1, slack, found.split);
    }
    return found;
  }

  // What cuts of so many features, from the first one on, may gain.
  template <class Row>
  void outlook(const Open& node, index_t first, index_t count, const SumNode& sums, const Row* rows,
               const Range* ranges, Outlook* to) {
    if constexpr (!std::is_same_v<Row, Mark>)
      scratch<Row>().search.outlook(
          sums,
          {f_.X_single.row(0) + first, f_.X_single.row_stride, p_.rows.data() + node.start,
           node.stop - node.start, count, ranges, f_.whole.data() + first},
          rows, to);
  }

 private:
  Order order_of(index_t feature) const {
    if (!f_.by_values() || f_.rule.random || f_.of_levels(feature)) return Order::kRanks;
    return f_.whole[static_cast<std::size_t>(feature)] ? Order::kWhole : Order::kValues;
  }

  // The threshold that is drawn cuts the values into two ranks.
  template <class Row>
  Found find_drawn(const Open& node, index_t feature, const SumNode& sums, const Row* each,
                   Walker* walker, double floor, double slack) {
    const index_t n = node.stop - node.start;
    const std::int32_t* const rows = p_.rows.data() + node.start;
    std::int32_t* const ranks = ranks_.data();
    Found found;
    bool gaps = false;
    double t = 0;
    f_.with_values(feature, [&](const auto& value) {
      using T = decltype(value(0));
      values_.resize(static_cast<std::size_t>(2 * n));
      T* const own = reinterpret_cast<T*>(values_.data());
      constexpr T kMost = std::numeric_limits<T>::infinity();
      T low = kMost, high = -kMost;
      for (index_t j = 0; j < n; ++j) {
        const T x = own[j] = value(rows[j]);
        low = x < low ? x : low;
        high = x > high ? x : high;
        gaps |= x != x;
      }
      found.varies = low < high || (gaps && low == high);
      if (!found.varies) return;  // values all equal are cut from the missing
      t = drawn_threshold(node, feature, low, high);
      for (index_t j = 0; j < n; ++j) {
        const T x = own[j];
        ranks[j] = x != x ? kNoRank : static_cast<std::int32_t>(static_cast<double>(x) > t);
      }
      found.split.feature = feature;
    });
    if (found.split.feature < 0) return found;
    found.split.threshold = t;
    if (walker == nullptr) {
      by_sums(sums, ranks, each, n, gaps, 0, 1, 0, floor, found.split);
    } else {
      by_walk(node, feature, ranks, *walker, 0, slack, found.split);
    }
    return found;
  }

  double drawn_threshold(const Open& node, index_t feature, double low, double high) const {
    const double u = uniform(node, feature, 1);
    // Volatile: not fused with the sum, so that every level gives the same threshold.
    const volatile double step = u * (high - low);
    const double t = std::isfinite(high - low) ? low + step : low / 2 + high / 2;
    return (low <= t && t < high ? t : low) + 0.0;  // not -0
  }

  // How many orders of levels are tried: one is enough for two classes or one mean.
  index_t orders() const {
    if (f_.classes.empty()) return f_.y.cols;
    index_t count = 0;
    for (const index_t c : f_.classes) count += c == 2 ? 1 : c;
    return count;
  }

  // Levels of rows in order: by what `key` of a row is on average, then by code.
  std::vector<std::uint8_t> ordered(index_t start, index_t n, const std::int32_t* codes,
                                    index_t key) const {
    double mass[kCodes] = {}, sum[kCodes] = {};
    index_t output = key;
    double label = -1;
    for (std::size_t k = 0; k < f_.classes.size(); ++k) {
      const index_t own = f_.classes[k] == 2 ? 1 : f_.classes[k];
      if (key < own) {
        output = static_cast<index_t>(k);
        label = own == 1 ? 1.0 : static_cast<double>(key);
        break;
      }
      key -= own;
    }
    for (index_t j = 0; j < n; ++j) {
      double w, y;
      if (p_.by_units) {
        const Sum own = wide(p_.units.data()[start + j]);
        w = own.w;
        y = own.s / own.w;
      } else if (p_.by_numbers && label >= 0) {
        w = std::fabs(p_.y.data()[start + j]);
        y = p_.y.data()[start + j] > 0 ? 1.0 : 0.0;
      } else {
        w = p_.targets.w(start + j);
        y = p_.targets.y(start + j, output);
        if (label >= 0) y = y == label ? 1.0 : 0.0;
      }
      mass[codes[j]] += w;
      sum[codes[j]] += w * y;
    }
    std::pair<double, std::int32_t> order[kCodes];
    index_t present = 0;
    for (std::int32_t code = 0; code < kCodes; ++code) {
      if (mass[code] > 0) order[present++] = {sum[code] / mass[code], code};
    }
    std::sort(order, order + present);
    std::vector<std::uint8_t> levels;
    for (index_t i = 0; i < present; ++i) {
      levels.push_back(static_cast<std::uint8_t>(order[i].second));
    }
    return levels;
  }

  // Numbers the levels that a node has, in order; how many there are.
  index_t place_levels(const Open& node, index_t feature, const std::int32_t* codes, index_t key) {
    const index_t n = node.stop - node.start;
    std::vector<std::uint8_t> own;
    if (p_.orders.empty()) own = ordered(node.start, n, codes, key);
    const auto& order =
        p_.orders.empty() ? own : p_.orders[static_cast<std::size_t>(feature * orders() + key)];
    std::fill_n(place_, kCodes, -1);
    for (index_t j = 0; j < n; ++j) place_[codes[j]] = 0;
    index_t present = 0;
    for (const std::uint8_t code : order) {
      if (place_[code] == 0) place_[code] = static_cast<std::int32_t>(present++);
    }
    return present;
  }

  // A categorical feature: its levels in an order are like ranks, so all else is as for numbers.
  template <class Row>
  void by_levels(const Open& node, index_t feature, const SumNode& sums, const Row* each,
                 Walker* walker, double floor, double slack, Found& found) {
    const index_t n = node.stop - node.start;
    std::int32_t* const ranks = ranks_.data();
    codes_.resize(static_cast<std::size_t>(n));
    std::int32_t* const codes = codes_.data();
    std::int32_t lo = static_cast<std::int32_t>(kCodes), hi = 0;
    for (index_t j = 0; j < n; ++j) {
      codes[j] = f_.code(feature, p_.rows.data()[node.start + j]);
      lo = std::min(lo, codes[j]);
      hi = std::max(hi, codes[j]);
    }
    if (lo == hi) return;
    found.varies = true;
    const index_t all = orders();
    index_t first = 0, last = all;
    std::pair<double, double> drawn{};
    if (f_.rule.random) {
      drawn = {uniform(node, feature, 1), uniform(node, feature, 2)};
      first = std::min(all - 1, static_cast<index_t>(drawn.second * static_cast<double>(all)));
      last = first + 1;
    }
    for (index_t key = first; key < last; ++key) {
      const index_t present = place_levels(node, feature, codes, key);
      for (index_t j = 0; j < n; ++j) ranks[j] = place_[codes[j]];
      const auto cuts = static_cast<double>(present - 1);
      const std::int32_t only =
          !f_.rule.random
              ? -1
              : static_cast<std::int32_t>(std::min(cuts - 1, std::floor(drawn.first * cuts)));
      Split own{kNoGain};
      own.feature = feature;
      const auto top = static_cast<std::int32_t>(present - 1);
      if (walker == nullptr) {
        by_sums(sums, ranks, each, n, false, 0, top, only, floor, own);
      } else {
        by_walk(node, feature, ranks, *walker, only, slack, own);
      }
      if (!(own.gain > found.split.gain + slack)) continue;
      // Levels that the node lacks follow the larger child.
      own.levels.fill(own.missing_left ? ~std::uint64_t{0} : 0);
      for (std::int32_t code = 0; code < kCodes; ++code) {
        const auto word = static_cast<std::size_t>(code / 64);
        const std::uint64_t bit = std::uint64_t{1} << (code % 64);
        if (place_[code] < 0) continue;
        own.levels[word] =
            place_[code] <= own.rank ? own.levels[word] | bit : own.levels[word] & ~bit;
      }
      own.missing_left = holds(own.levels, 0);
      found.split = own;
    }
  }

  // A number of a node and feature in [0, 1).
  double uniform(const Open& node, index_t feature, std::uint64_t kind) const {
    const Philox philox(p_.seed, node.key);
    const auto words = philox.block((kind << 32) + static_cast<std::uint64_t>(feature / 2));
    const index_t at = 2 * (feature % 2);
    return uniform_double(words.w[at], words.w[at + 1]);
  }

  template <class Row>
  void by_sums(const SumNode& node, const std::int32_t* ranks, const Row* each, index_t n,
               bool gaps, std::int32_t lo, std::int32_t hi, std::int32_t only, double floor,
               Split& split) {
    if constexpr (std::is_same_v<Row, Mark>) {
      SumCut own{kNoGain};
      tallies_.run(node, ranks, each, n, lo, hi, floor, own);
      split.gain = own.gain;
      split.rank = own.rank;
      split.missing_left = larger(f_.rule.bagged, own.rows, node.n, own.left, node.W);
      return;
    } else {
      std::vector<Row>& present_ = scratch<Row>().present;
      SumSearch<Row>& sums_ = scratch<Row>().search;
      index_t present = n;
      SumOf<Row> missing{}, all{};
      if (gaps) {
        present_.resize(static_cast<std::size_t>(n));
        present_ranks_.resize(static_cast<std::size_t>(n));
        present = 0;
        for (index_t j = 0; j < n; ++j) {
          if (ranks[j] == kNoRank) {
            missing.add(node.read(each[j]));
            continue;
          }
          all.add(node.read(each[j]));
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
        SumOf<Row> own{};
        for (index_t j = 0; j < present; ++j) {
          if (ranks[j] <= only) own.add(node.read(each[j]));
        }
        Sum left = base;
        left.add(wide(own));
        consider(node, left, only, best);
      };
      // Both see each cut; with equal gains the lower cut wins, then missing right.
      SumCut own{kNoGain}, other{kNoGain};
      search({0, 0, 0, 0}, own);
      bool left = larger(f_.rule.bagged, own.rows, node.n, own.left, node.W);
      if (gaps) {
        if (only < 0) consider(node, wide(all), hi, own);
        search(wide(missing), other);
        const bool close = other.gain >= own.gain - node.slack && other.rank < own.rank;
        left = other.gain > own.gain + node.slack || close;
        if (left) own = other;
      }
      split.gain = own.gain;
      split.rank = own.rank;
      split.missing_left = left;
    }
  }

  // Takes the room of the ranks.
  void by_walk(const Open& node, index_t feature, const std::int32_t* ranks, Walker& walker,
               std::int32_t only, double slack, Split& split) {
    const index_t n = node.stop - node.start;
    sorted_.resize(static_cast<std::size_t>(n));
    const auto* const in = sort_ranks(ranks, n, order_of(feature), sorted_.data(), places_);
    std::int32_t* const entries = ranks_.data();
    index_t present = 0, cut = 0;
    for (index_t j = 0; j < n; ++j) {
      const bool first = j == 0 || in[j].key != in[j - 1].key;
      entries[j] = static_cast<std::int32_t>(in[j].item + node.start) | (first ? kFirst : 0);
      present += in[j].key != kNoRank;
      cut += only >= 0 && in[j].key <= only;
    }
    const int sign = f_.monotonic.empty() ? 0 : f_.monotonic[static_cast<std::size_t>(feature)];
    const Cut found = walker.walk({entries, n, present, cut, sign, node.low, node.high, slack});
    split.gain = found.gain;
    split.missing_left = found.missing_left;
    if (found.left > 0) split.rank = in[found.left - 1].key;
  }

  const Field& f_;
  const Plot& p_;
  template <class Row>
  struct Scratch {
    SumSearch<Row> search;
    std::vector<Row> present;
  };
  template <class Row>
  Scratch<Row>& scratch() {
    if constexpr (std::is_same_v<Row, Units>) {
      return units_;
    } else if constexpr (std::is_same_v<Row, double>) {
      return numbers_;
    } else {
      return pairs_;
    }
  }

  Workspace<std::int32_t> ranks_;
  Scratch<Pair> pairs_;
  Scratch<Units> units_;
  Scratch<double> numbers_;
  TallySearch tallies_;
  std::vector<float> values_;  // of a feature, in T
  std::vector<std::int32_t> present_ranks_, codes_;
  std::int32_t place_[kCodes];  // of levels in an order, -1 for those not there
  std::vector<std::uint32_t> places_;
  std::vector<Keyed<std::int32_t>> sorted_;
};

}  // namespace kernelmill::tree
