// Whole trees. Rows of a tree are kept in the order of its nodes, with their targets and weights
// beside them; a feature is looked at through the ranks of its values, gathered for the rows of a
// node. So what is not drawn costs nothing, and nothing is sorted in advance but ranks.
#include <algorithm>  // std::min, std::max, std::find, std::push_heap
#include <cmath>      // std::exp2
#include <memory>     // std::unique_ptr
#include <mutex>      // std::mutex
#include <vector>     // nodes

#include "core/error.hpp"     // invalid
#include "core/parallel.hpp"  // parallel_for, check_interrupt
#include "core/random.hpp"    // Philox
#include "ops/tree_built.hpp"
#include "ops/tree_checks.hpp"
#include "ops/tree_emission.hpp"
#include "ops/tree_search.hpp"

namespace kernelmill::tree {
namespace {

// Trees up to this size grow on one thread each, about 200 ms.
constexpr index_t kWholeTree = index_t{1} << 22;
// Subtrees of this size are tasks.
constexpr index_t kFewestEntries = index_t{1} << 13, kMostEntries = index_t{1} << 20;

// Grows a tree, or a part of one.
class Grower : public Growth {
 public:
  Grower(const Field& field, Plot& plot, index_t most)
      : f_(field),
        p_(plot),
        search_(field, plot, most, field.rule.max_features > field.ranks.features),
        sides_(static_cast<std::size_t>(most)),
        signed_(plot.by_numbers && !field.classes.empty()) {
    const Rule& r = field.rule;
    const bool pairs = plot.by_sums && !plot.by_units && !plot.by_numbers;
    const bool wide = field.y.cols > 1;
    // What is set aside of one number a row has room where ranks of the node were.
    if (pairs || wide)
      moved_ = Workspace<double>(
          static_cast<std::size_t>(pairs ? 2 * most : (most / 2 + 1) * field.y.cols));
    if (pairs) sought_.pairs = reinterpret_cast<Pair*>(moved_.data());
    width_ = field.y.cols;
    if (!field.classes.empty()) {
      width_ = 0;
      for (const index_t c : field.classes) width_ += c;
    }
    drawn_ = r.max_features <= field.ranks.features;
    // Vectors that double hold three times what they need when they do; pages unused cost nothing.
    const double leaves =
        std::min(std::exp2(r.max_depth), r.max_leaf_nodes > 0 ? r.max_leaf_nodes : 1e9);
    const auto room = static_cast<std::size_t>(2 * std::min(static_cast<double>(most), leaves));
    nodes.reserve(std::min(room, Spare::kMost));
    values.reserve(std::min(room * static_cast<std::size_t>(width_), Spare::kMost));
    for (index_t j = 0; j < field.ranks.features; ++j) features_.push_back(j);
  }

  // A new node, measured. Whether it may be split.
  bool open(index_t start, index_t stop, index_t depth, std::uint64_t key, double low, double high,
            std::vector<Open>& to) {
    const auto number = static_cast<std::int32_t>(nodes.size());
    values.resize(values.size() + static_cast<std::size_t>(width_));
    double* const value = values.data() + values.size() - width_;
    const Measure m = p_.by_units   ? measure_units(start, stop, value)
                      : p_.by_marks ? measure_marks(start, stop, value)
                      : signed_     ? measure_signed(start, stop, value)
                                    : measure(p_.targets, start, stop, value);
    const index_t count = stop - start;
    if (!f_.monotonic.empty()) clip(m.mass, low, high, values.data() + number * width_);
    nodes.push_back({m.impurity, m.mass, {0}, static_cast<std::int32_t>(count), kLeaf, -1});
    const Rule& r = f_.rule;
    const auto rows = static_cast<double>(count);
    if (m.pure || rows < std::max(r.min_split, 2 * r.min_leaf) ||
        (p_.min_weight > 0 && m.mass < 2 * p_.min_weight * kSlack) ||
        static_cast<double>(depth) >= r.max_depth) {
      return false;
    }
    to.push_back({start, stop, depth, key, low, high, number});
    return true;
  }

  // The best split of a node; whether there is one.
  bool find(Open& node) {
    const Built& own = nodes[static_cast<std::size_t>(node.node)];
    sought_.value = values.data() + node.node * width_;
    if (!f_.monotonic.empty()) {  // what is stored is clipped to bounds
      level_.resize(static_cast<std::size_t>(width_));
      measure(p_.targets, node.start, node.stop, level_.data());
      sought_.value = level_.data();
    }
    sought_.slack = kEqual * own.impurity * own.mass;
    sought_.most = p_.by_sums || p_.by_marks ? own.impurity * own.mass : kInfinity;
    sought_.sums = {own.mass,
                    p_.by_marks || f_.classes.empty() ? 0.0 : sought_.value[1],
                    static_cast<double>(node.stop - node.start),
                    p_.by_sums && !f_.classes.empty() ? 2.0 : 1.0,
                    0.0,
                    1.0,
                    sought_.slack,
                    least_rows(),
                    p_.min_weight};
    if (p_.by_marks) {
      sought_.sums.tallies = sought_.value;
      sought_.sums.classes = width_;
    } else if (p_.by_sums && !p_.by_units) {
      describe(node);
    }
    node.split = {kNoGain};
    if (drawn_) {
      draw(node);
    } else {
      search_.look(node, sought_, features_.data(), f_.ranks.features);
    }
    return node.split.gain > kNoGain && !(p_.min_gain > 0 && node.split.gain < p_.min_gain);
  }

  // Moves the rows of a node to its children, which are opened. `node` may lie in `to`.
  void split(Open node, std::vector<Open>& to) {
    const Split s = node.split;
    const index_t n = node.stop - node.start, outputs = f_.y.cols;
    std::int32_t* const rows = p_.rows.data() + node.start;
    std::int32_t* const ranks = search_.scratch_ranks();
    index_t left = 0;
    std::uint8_t* const goes = sides_.data();
    Built& built = nodes[static_cast<std::size_t>(node.node)];
    built.feature = static_cast<std::int32_t>(s.feature) | (s.missing_left ? kMissing : 0);
    if (f_.of_levels(s.feature)) {
      for (index_t j = 0; j < n; ++j) {
        goes[j] = holds(s.levels, f_.code(s.feature, rows[j]));
        left += goes[j];
      }
      built.feature |= kCategory;
      built.levels = static_cast<std::int32_t>(sets.size());
      sets.push_back(s.levels);
    } else if (f_.rule.random) {
      f_.with_values(s.feature, [&](const auto& value) {
        for (index_t j = 0; j < n; ++j) {
          const double x = value(rows[j]);
          goes[j] = (x <= s.threshold) | (s.missing_left & (x != x));
          left += goes[j];
        }
      });
      built.threshold = s.threshold;
    } else {
      gather(f_, s.feature, rows, n, ranks);
      std::int32_t last = INT32_MIN, first = kNoRank;  // ranks beside the cut
      for (index_t j = 0; j < n; ++j) {
        const std::int32_t rank = ranks[j];
        const bool below = rank <= s.rank;
        last = std::max(last, below ? rank : INT32_MIN);
        first = std::min(first, below ? kNoRank : rank);
        goes[j] = below | (s.missing_left & (rank == kNoRank));
        left += goes[j];
      }
      // A row of a rank: of a bin that with the largest or the least value in the node.
      const auto row_of = [&](std::int32_t rank, bool largest) {
        index_t at = std::find(ranks, ranks + n, rank) - ranks;
        for (index_t j = at + 1; f_.ranks.binned() && j < n; ++j) {
          if (ranks[j] != rank) continue;
          const double x = f_.value(s.feature, rows[j]), best = f_.value(s.feature, rows[at]);
          if (largest ? x > best : x < best) at = j;
        }
        return rows[at];
      };
      built.beside[0] = row_of(last, true);
      built.beside[1] = first == kNoRank ? kMissing : row_of(first, false);
    }
    divide(rows, n, left);
    if (p_.by_units) {
      divide(p_.units.data() + node.start, n, left);
    } else if (p_.by_marks) {
      divide(p_.marks.data() + node.start, n, left);
    } else if (outputs == 1) {
      divide(p_.y.data() + node.start, n, left);
    } else {
      divide_wide(p_.y.data() + node.start * outputs, n, left, outputs);
    }
    if (!p_.targets.weight.empty()) divide(p_.weight.data() + node.start, n, left);
    const index_t middle_of = node.start + left, depth = node.depth + 1;
    double low[2] = {node.low, node.low}, high[2] = {node.high, node.high};
    if (!f_.monotonic.empty()) {
      const int sign = f_.monotonic[static_cast<std::size_t>(s.feature)];
      const double a = level(node.start, middle_of), b = level(middle_of, node.stop);
      const double mean = std::clamp((a + b) / 2, node.low, node.high);
      if (sign > 0) high[0] = low[1] = mean;
      if (sign < 0) low[0] = high[1] = mean;
    }
    nodes[static_cast<std::size_t>(node.node)].left = static_cast<std::int32_t>(nodes.size());
    open(node.start, middle_of, depth, child_key(node.key, 1), low[0], high[0], to);
    open(middle_of, node.stop, depth, child_key(node.key, 2), low[1], high[1], to);
  }

  // All below the nodes in `stack`; those of at most `part` rows times features go to `parts`.
  void depth_first(std::vector<Open>& stack, index_t part, std::vector<Open>* parts) {
    const index_t features = std::min(f_.rule.max_features, f_.ranks.features);
    index_t looked = 0;
    while (!stack.empty()) {
      Open node = stack.back();
      stack.pop_back();
      const index_t entries = (node.stop - node.start) * features;
      if (parts != nullptr && entries <= part) {
        parts->push_back(node);
        continue;
      }
      looked += entries;
      if (looked > (index_t{1} << 16)) {
        check_interrupt();
        looked = 0;
      }
      if (!find(node)) continue;
      fresh_.clear();
      split(node, fresh_);
      // The left child first: its rows are those last moved.
      for (std::size_t i = fresh_.size(); i-- > 0;) stack.push_back(fresh_[i]);
    }
  }

  // The node whose split gains most is split first, the first of equals.
  void best_first(std::vector<Open>& fresh, index_t most) {
    struct Waiting {
      double gain;
      index_t serial;
      Open node;
      bool operator<(const Waiting& other) const {
        return gain != other.gain ? gain < other.gain : serial > other.serial;
      }
    };
    std::vector<Waiting> heap;
    index_t leaves = 1, serial = 0;
    while (true) {
      for (Open& node : fresh) {
        check_interrupt();
        if (!find(node)) continue;
        heap.push_back({node.split.gain, serial++, node});
        std::push_heap(heap.begin(), heap.end());
      }
      if (heap.empty() || leaves >= most) return;
      std::pop_heap(heap.begin(), heap.end());
      const Open node = heap.back().node;
      heap.pop_back();
      fresh.clear();
      split(node, fresh);
      ++leaves;
    }
  }

 private:
  // What a search by sums needs to know of the rows of a node but for units.
  void describe(const Open& node) {
    const index_t n = node.stop - node.start;
    const double* const y = p_.y.data() + node.start;
    if (signed_) {
      sought_.sums.read_classes();
      if (n <= kTiny) sought_.most = std::min(sought_.most, best_partition(sought_.sums, y, n));
      return;
    }
    const Targets& t = p_.targets;
    const double* const w = t.weight.empty() ? nullptr : t.weight.data() + node.start;
    const double center = sought_.sums.center = sought_.value[0];
    double low = 0, high = 0, total = 0;
    for (index_t j = 0; j < n; ++j) {
      const double off = y[j] - center, mass = w == nullptr ? 1.0 : w[j];
      low = std::min(low, off);
      high = std::max(high, off);
      const double s = mass * off;
      if (sought_.pairs != nullptr) sought_.pairs[j] = {mass, s};
      total += s;
    }
    sought_.sums.T = total;  // not 0: the mean is rounded
    sought_.sums.low = low;
    sought_.sums.high = high;
    if (n > kTiny) return;
    sought_.most = std::min(sought_.most, sought_.pairs != nullptr
                                              ? best_partition(sought_.sums, sought_.pairs, n)
                                              : best_partition(sought_.sums, y, n));
  }
  double least_rows() const { return std::max(1.0, f_.rule.min_leaf); }

  Measure measure_units(index_t start, index_t stop, double* value) const {
    Units sum{};
    for (index_t j = start; j < stop; ++j) sum.add(p_.units.data()[j]);
    const Sum all = wide(sum);
    value[0] = all.w - all.s;
    value[1] = all.s;
    const bool pure = all.s == 0 || all.s == all.w;
    const double squares = value[0] * value[0] + value[1] * value[1];
    return {pure ? 0.0 : (all.w - squares / all.w) / all.w, all.w, pure};
  }

  Measure measure_signed(index_t start, index_t stop, double* value) const {
    double sums[2] = {0, 0};
    for (index_t j = start; j < stop; ++j) {
      const double signed_weight = p_.y.data()[j];
      sums[0] += std::max(-signed_weight, 0.0);
      sums[1] += std::max(signed_weight, 0.0);
    }
    std::copy_n(sums, 2, value);
    const double mass = sums[0] + sums[1];
    const bool pure = sums[0] == 0 || sums[1] == 0;
    const double squares = sums[0] * sums[0] + sums[1] * sums[1];
    return {pure ? 0.0 : std::max(0.0, mass - squares / mass) / mass, mass, pure};
  }

  Measure measure_marks(index_t start, index_t stop, double* value) const {
    std::fill_n(value, width_, 0.0);
    for (index_t j = start; j < stop; ++j) {
      const Mark mark = p_.marks.data()[j];
      value[mark.label()] += static_cast<double>(mark.weight());
    }
    double mass = 0, squares = 0, most = 0;
    for (index_t k = 0; k < width_; ++k) {
      mass += value[k];
      squares += value[k] * value[k];
      most = std::max(most, value[k]);
    }
    const bool pure = most == mass;
    return {pure ? 0.0 : (mass - squares / mass) / mass, mass, pure};
  }

  // Some features, drawn without replacement and looked at in this order, so that ties of different
  // trees fall differently; more while all are constant.
  void draw(Open& node) {
    const Philox philox(p_.seed, node.key);
    PhiloxWords words{};
    const index_t d = f_.ranks.features;
    swapped_.clear();
    chosen_.clear();
    bool varies = false;
    for (index_t i = 0; i < d && (i < f_.rule.max_features || !varies); ++i) {
      if (i % 4 == 0) words = philox.block(static_cast<std::uint64_t>(i / 4));
      const auto left = static_cast<std::uint64_t>(d - i);
      const index_t j = i + static_cast<index_t>((words.w[i % 4] * left) >> 32);
      std::swap(features_[static_cast<std::size_t>(i)], features_[static_cast<std::size_t>(j)]);
      swapped_.push_back(j);
      chosen_.push_back(features_[static_cast<std::size_t>(i)]);
      if (i + 1 < f_.rule.max_features) continue;
      varies = search_.look(node, sought_, chosen_.data(), std::ssize(chosen_));
      chosen_.clear();
    }
    for (index_t i = std::ssize(swapped_); i-- > 0;) {
      std::swap(features_[static_cast<std::size_t>(i)],
                features_[static_cast<std::size_t>(swapped_[static_cast<std::size_t>(i)])]);
    }
  }

  // What goes left first, in order. The smaller side is set aside; each is written to both sides
  // and kept on one: which is hard to predict.
  template <class V>
  void divide(V* given, index_t n, index_t left) const {
    const std::uint8_t* const goes = sides_.data();
    V* const other = reinterpret_cast<V*>(search_.scratch_ranks());
    index_t aside = 0;
    if (2 * left >= n) {
      for (index_t j = 0, to = 0; j < n; ++j) {
        const V value = given[j];
        given[to] = value;
        other[aside] = value;
        to += goes[j];
        aside += 1 - goes[j];
      }
      std::copy_n(other, aside, given + left);
      return;
    }
    for (index_t j = n, to = n; j-- > 0;) {
      const V value = given[j];
      given[to - 1] = value;
      other[aside] = value;
      to -= 1 - goes[j];
      aside += goes[j];
    }
    std::reverse_copy(other, other + aside, given);
  }

  // The same of `width` numbers a row.
  void divide_wide(double* given, index_t n, index_t left, index_t width) {
    const std::uint8_t* const goes = sides_.data();
    const bool aside = 2 * left < n;  // the side that is set aside
    double* other = moved_.data();
    for (index_t j = 0; j < n; ++j) {
      if ((goes[j] != 0) == aside) other = std::copy_n(given + j * width, width, other);
    }
    double* to = aside ? given + n * width : given;
    for (index_t i = 0; i < n; ++i) {
      const index_t j = aside ? n - 1 - i : i;
      if ((goes[j] != 0) == aside) continue;
      if (aside) to -= width;
      std::copy_n(given + j * width, width, to);
      if (!aside) to += width;
    }
    std::copy(moved_.data(), other, aside ? given : given + left * width);
  }

  // What a monotonic constraint compares: the value, or the share of the second class.
  double level(index_t start, index_t stop) {
    level_.resize(static_cast<std::size_t>(width_));
    const Measure m = measure(p_.targets, start, stop, level_.data());
    return f_.classes.empty() ? level_[0] : level_[1] / m.mass;
  }

  void clip(double mass, double low, double high, double* value) const {
    if (f_.classes.empty()) {
      value[0] = std::clamp(value[0], low, high);
    } else {
      const double share = std::clamp(value[1] / mass, low, high);
      value[0] = mass * (1 - share);
      value[1] = mass * share;
    }
  }

  const Field& f_;
  Plot& p_;
  NodeSearch search_;
  Workspace<double> moved_;  // room for half of the targets, or for all rows as pairs
  Workspace<std::uint8_t> sides_;
  Sought sought_;
  bool signed_, drawn_ = false;
  index_t width_ = 0;
  std::vector<index_t> features_, swapped_, chosen_;
  std::vector<double> level_;
  std::vector<Open> fresh_;
};

index_t grow_tree(const Field& field, const Grown& grown, index_t tree, bool alone) {
  Plot plot(field, tree);
  if (field.rule.levels_once && !field.categorical.empty()) {
    plot.orders = FeatureSearch(field, plot, plot.n).all_orders();
  }
  const index_t features = std::min(field.rule.max_features, field.ranks.features);
  std::vector<std::unique_ptr<Growth>> parts;
  std::vector<Open> small;
  const auto whole = [&] {
    Grower top(field, plot, plot.n);
    std::vector<Open> stack;
    top.open(0, plot.n, 0, 0, -kInfinity, kInfinity, stack);
    if (field.rule.max_leaf_nodes > 0) {
      top.best_first(stack, static_cast<index_t>(field.rule.max_leaf_nodes));
    } else {
      const index_t part = std::clamp(plot.n * features / 64, kFewestEntries, kMostEntries);
      top.depth_first(stack, part, alone ? &small : nullptr);
    }
    return top.taken();
  };
  const std::unique_ptr<Growth> top = whole();
  parts.resize(small.size());
  for (std::size_t i = 0; i < small.size(); ++i) {
    Built& node = top->nodes[static_cast<std::size_t>(small[i].node)];
    node.feature = kPart;
    node.left = static_cast<std::int32_t>(i);
  }
  Emission emission(field, *top, parts, grown, tree, plot.exponent);
  std::mutex writing;
  parallel_for(std::ssize(small), 1, [&](index_t, index_t begin, index_t end) {
    for (auto i = static_cast<std::size_t>(begin); i < static_cast<std::size_t>(end); ++i) {
      const Open& root = small[i];
      Grower part(field, plot, root.stop - root.start);
      std::vector<Open> own;
      part.open(root.start, root.stop, root.depth, root.key, root.low, root.high, own);
      part.depth_first(own, 0, nullptr);
      std::unique_ptr<Growth> made = part.copied();
      const std::lock_guard lock(writing);
      parts[i] = std::move(made);
      emission.advance();
    }
  });
  emission.advance();
  return emission.size();
}

}  // namespace

void grow(const Field& given, const Grown& grown) {
  check_targets(given, grown.width);
  check_levels(given);
  check_ranks(given);
  Field field = given;
  look_at_values(field);
  const index_t trees = std::ssize(field.seeds), d = field.ranks.features;
  const index_t entries = field.y.rows * std::min(field.rule.max_features, d);
  const auto one = [&](index_t tree, bool alone) {
    grown.sizes[static_cast<std::size_t>(tree)] = grow_tree(field, grown, tree, alone);
  };
  // A tree is the same however it is grown.
  if (entries <= kWholeTree && trees >= thread_limit()) {
    parallel_for(trees, 1, [&](index_t, index_t begin, index_t end) {
      for (index_t tree = begin; tree < end; ++tree) one(tree, false);
    });
  } else {
    for (index_t tree = 0; tree < trees; ++tree) one(tree, entries > kFewestEntries);
  }
  if (trees == 1) Spare::give_back();
}

}  // namespace kernelmill::tree
