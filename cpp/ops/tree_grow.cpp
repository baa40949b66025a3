// Whole trees. Rows of a tree are kept in the order of its nodes, with their targets and weights
// beside them; a feature is looked at through the ranks of its values, gathered for the rows of a
// node. So what is not drawn costs nothing, and nothing is sorted in advance but ranks.
#include <algorithm>  // std::min, std::max, std::find, std::push_heap
#include <cmath>      // std::exp2, std::ldexp
#include <cstring>    // std::memcpy
#include <memory>     // std::unique_ptr
#include <mutex>      // std::mutex
#include <vector>     // nodes

#include "core/error.hpp"     // invalid
#include "core/parallel.hpp"  // parallel_for, check_interrupt
#include "core/random.hpp"    // Philox
#include "ops/tree_built.hpp"
#include "ops/tree_checks.hpp"
#include "ops/tree_feature.hpp"

namespace kernelmill::tree {
namespace {

// A node with more rows times features is searched by several threads, a feature each; what a
// search takes over from feature to feature then starts anew, at any number of threads.
constexpr index_t kManyEntries = index_t{1} << 17;
// Trees up to this size grow on one thread each, about 200 ms.
constexpr index_t kWholeTree = index_t{1} << 22;
// Subtrees of this size are tasks.
constexpr index_t kFewestEntries = index_t{1} << 13, kMostEntries = index_t{1} << 20;

// Nodes of a tree, or of a part of one.
class Grower {
 public:
  Grower(const Field& field, Plot& plot, index_t most)
      : f_(field),
        p_(plot),
        search_(std::make_unique<FeatureSearch>(field, plot, most)),
        sides_(static_cast<std::size_t>(most)) {
    const Rule& r = field.rule;
    const bool binary = r.criterion == kGini && field.classes.size() == 1 && field.classes[0] == 2;
    by_sums_ =
        field.monotonic.empty() && (binary || (r.criterion == kSquared && field.y.cols == 1));
    if (!by_sums_ && !plot.by_marks) walker_ = walker_of(plot.targets);
    const bool pairs = by_sums_ && !plot.by_units;
    moved_ = Workspace<double>(
        static_cast<std::size_t>(most * (pairs ? 2 : std::max<index_t>(1, field.y.cols))));
    if (pairs) each_ = reinterpret_cast<Pair*>(moved_.data());
    width_ = field.y.cols;
    if (!field.classes.empty()) {
      width_ = 0;
      for (const index_t c : field.classes) width_ += c;
    }
    drawn_ = r.max_features <= field.ranks.features;
    nodes.swap(Spare::own().nodes);
    values.swap(Spare::own().values);
    // Vectors that double hold three times what they need when they do; pages unused cost nothing.
    const double leaves =
        std::min(std::exp2(r.max_depth), r.max_leaf_nodes > 0 ? r.max_leaf_nodes : 1e9);
    const auto room = static_cast<std::size_t>(2 * std::min(static_cast<double>(most), leaves));
    nodes.reserve(std::min(room, Spare::kMost));
    values.reserve(std::min(room * static_cast<std::size_t>(width_), Spare::kMost));
    for (index_t j = 0; j < field.ranks.features; ++j) features_.push_back(j);
  }

  // Gives back all but the nodes.
  void finish() {
    search_.reset();
    walker_.reset();
    moved_ = {};
    sides_ = {};
  }

  ~Grower() {
    nodes.clear();
    values.clear();
    Spare& spare = Spare::own();
    if (nodes.capacity() <= Spare::kMost) nodes.swap(spare.nodes);
    if (values.capacity() <= Spare::kMost) values.swap(spare.values);
  }
  Grower(const Grower&) = delete;
  Grower& operator=(const Grower&) = delete;

  std::vector<Built> nodes;
  std::vector<double> values;  // of the nodes
  std::vector<LevelSet> sets;  // of levels
  index_t width() const { return width_; }

  // A new node, measured. Whether it may be split.
  bool open(index_t start, index_t stop, index_t depth, std::uint64_t key, double low, double high,
            std::vector<Open>& to) {
    const auto number = static_cast<std::int32_t>(nodes.size());
    values.resize(values.size() + static_cast<std::size_t>(width_));
    double* const value = values.data() + values.size() - width_;
    const Measure m = p_.by_units   ? measure_units(start, stop, value)
                      : p_.by_marks ? measure_marks(start, stop, value)
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
    value_ = values.data() + node.node * width_;
    if (!f_.monotonic.empty()) {  // what is stored is clipped to bounds
      level_.resize(static_cast<std::size_t>(width_));
      measure(p_.targets, node.start, node.stop, level_.data());
      value_ = level_.data();
    }
    slack_ = kEqual * own.impurity * own.mass;
    most_ = by_sums_ || p_.by_marks ? own.impurity * own.mass : kInfinity;
    if (p_.by_units) {
      const auto rows = static_cast<double>(node.stop - node.start);
      sums_ = {own.mass, value_[1], rows, 2.0, 0.0, 1.0, slack_, least_rows(), p_.min_weight};
    } else if (p_.by_marks) {
      const auto rows = static_cast<double>(node.stop - node.start);
      sums_ = {own.mass, 0.0, rows, 1.0, 0.0, 0.0, slack_, least_rows(), 0.0, value_, width_};
    } else if (by_sums_) {
      describe(node, own, value_);
    } else {
      walker_->begin({node.start, node.stop, value_, own.mass});
    }
    node.split = {kNoGain};
    if (drawn_) {
      draw(node);
    } else {
      look(node, features_.data(), f_.ranks.features);
    }
    return node.split.rank >= 0 && !(p_.min_gain > 0 && node.split.gain < p_.min_gain);
  }

  // Moves the rows of a node to its children, which are opened. `node` may lie in `to`.
  void split(Open node, std::vector<Open>& to) {
    const Split s = node.split;
    const index_t n = node.stop - node.start, outputs = f_.y.cols;
    std::int32_t* const rows = p_.rows.data() + node.start;
    std::int32_t* const ranks = search_->scratch_ranks();
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
      std::int32_t last = 0, first = kMissing;  // ranks beside the cut
      for (index_t j = 0; j < n; ++j) {
        const std::int32_t rank = ranks[j];
        const bool below = rank <= s.rank;
        last = std::max(last, below ? rank : 0);
        first = std::min(first, below ? kMissing : rank);
        goes[j] = below | (s.missing_left & (rank == kMissing));
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
      built.beside[1] = first == kMissing ? kMissing : row_of(first, false);
    }
    if (p_.by_units) {
      divide_units(rows, p_.units.data() + node.start, n);
    } else if (p_.by_marks) {
      divide(rows, n, 1);
      divide(p_.marks.data() + node.start, n, 1);
    } else {
      divide(rows, n, 1);
      divide(p_.y.data() + node.start * outputs, n, outputs);
      if (!p_.targets.weight.empty()) divide(p_.weight.data() + node.start, n, 1);
    }
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
  void describe(const Open& node, const Built& own, const double* value) {
    const Targets& t = p_.targets;
    const index_t n = node.stop - node.start;
    const bool classes = !f_.classes.empty();
    const double center = classes ? 0.0 : value[0];
    const double* const y = t.y.data + node.start;
    const double* const w = t.weight.empty() ? nullptr : t.weight.data() + node.start;
    double low = 0, high = 0, total = 0;
    Pair* const each = each_;
    for (index_t j = 0; j < n; ++j) {
      const double off = y[j] - center, mass = w == nullptr ? 1.0 : w[j];
      low = std::min(low, off);
      high = std::max(high, off);
      const double s = mass * off;
      each[j] = {mass, s};
      total += s;
    }
    sums_ = {own.mass,
             classes ? value[1] : total,  // not 0: the mean is rounded
             static_cast<double>(n),
             classes ? 2.0 : 1.0,
             low,
             high,
             slack_,
             least_rows(),
             p_.min_weight};
    if (n <= kTiny) most_ = std::min(most_, best_partition(sums_, each, n));
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

  // The best of some features, the first of equals; whether one of them varies.
  bool look(Open& node, const index_t* features, index_t count) {
    const index_t n = node.stop - node.start;
    bool varies = false;
    const auto take = [&](const FeatureSearch::Found& found) {
      varies = varies || found.varies;
      if (found.split.gain > node.split.gain + slack_) {
        node.split = found.split;
      }
    };
    if (n * count <= kManyEntries) {
      for (index_t i = 0; i < count; ++i) {
        take(find_in(*search_, node, features[i], walker_.get(), node.split.gain));
        // No other can be better by more than rounding.
        if (node.split.gain + slack_ / 2 >= most_) break;
      }
      return varies;
    }
    std::vector<FeatureSearch::Found> found(static_cast<std::size_t>(count));
    parallel_for(count, 1, [&](index_t, index_t begin, index_t end) {
      FeatureSearch own(f_, p_, n);
      std::unique_ptr<Walker> walker;
      if (walker_ != nullptr) {
        walker = walker_of(p_.targets);
        const Built& built = nodes[static_cast<std::size_t>(node.node)];
        walker->begin({node.start, node.stop, value_, built.mass});
      }
      for (index_t i = begin; i < end; ++i) {
        found[static_cast<std::size_t>(i)] = find_in(own, node, features[i], walker.get(), kNoGain);
      }
    });
    for (const auto& one : found) take(one);
    return varies;
  }

  FeatureSearch::Found find_in(FeatureSearch& search, const Open& node, index_t feature,
                               Walker* walker, double floor) const {
    if (p_.by_marks) {
      return search.find(node, feature, sums_, p_.marks.data() + node.start, walker, floor, slack_);
    }
    return p_.by_units ? search.find(node, feature, sums_, p_.units.data() + node.start, walker,
                                     floor, slack_)
                       : search.find(node, feature, sums_, each_, walker, floor, slack_);
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
      varies = look(node, chosen_.data(), std::ssize(chosen_));
      chosen_.clear();
    }
    for (index_t i = std::ssize(swapped_); i-- > 0;) {
      std::swap(features_[static_cast<std::size_t>(i)],
                features_[static_cast<std::size_t>(swapped_[static_cast<std::size_t>(i)])]);
    }
  }

  void divide_units(std::int32_t* rows, Units* units, index_t n) {
    const std::uint8_t* const goes = sides_.data();
    std::int32_t* const other_rows = search_->scratch_ranks();
    Units* const other = reinterpret_cast<Units*>(moved_.data());
    index_t left = 0, right = 0;
    for (index_t j = 0; j < n; ++j) {
      const std::int32_t row = rows[j];
      const Units unit = units[j];
      rows[left] = row;
      units[left] = unit;
      other_rows[right] = row;
      other[right] = unit;
      left += goes[j];
      right += 1 - goes[j];
    }
    std::copy_n(other_rows, right, rows + left);
    std::copy_n(other, right, units + left);
  }

  // What goes left first, in order. Both are written and one is kept: sides are hard to predict.
  template <class V>
  void divide(V* given, index_t n, index_t width) {
    const std::uint8_t* const goes = sides_.data();
    V* const other = reinterpret_cast<V*>(moved_.data());
    index_t left = 0, right = 0;
    if (width == 1) {
      for (index_t j = 0; j < n; ++j) {
        const V value = given[j];
        given[left] = value;
        other[right] = value;
        left += goes[j];
        right += 1 - goes[j];
      }
      std::copy_n(other, right, given + left);
      return;
    }
    for (index_t j = 0; j < n; ++j) {
      for (index_t k = 0; k < width; ++k) {
        const V value = given[j * width + k];
        given[left * width + k] = value;
        other[right * width + k] = value;
      }
      left += goes[j];
      right += 1 - goes[j];
    }
    std::copy_n(other, right * width, given + left * width);
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
  std::unique_ptr<FeatureSearch> search_;
  Workspace<double> moved_;
  Pair* each_ = nullptr;  // rows of the node that is searched by sums, in the room of `moved_`
  Workspace<std::uint8_t> sides_;
  std::unique_ptr<Walker> walker_;
  SumNode sums_{};
  double slack_ = 0, most_ = kInfinity;  // gains this close are equal; none is larger
  const double* value_ = nullptr;        // of the node that is searched
  bool by_sums_ = false, drawn_ = false;
  index_t width_ = 0;
  std::vector<index_t> features_, swapped_, chosen_;
  std::vector<double> level_;
  std::vector<Open> fresh_;
};

// Writes a tree depth first, as far as its parts have grown; what is written is given back, so that
// few nodes are held twice. Thresholds are looked up here, where many loads overlap. Nodes of kind
// `kPart` stand for the root of another grower.
class Emission {
 public:
  Emission(const Field& f, const Grower& top, std::vector<std::unique_ptr<Grower>>& parts,
           const Grown& grown, index_t tree, int exponent)
      : f_(f),
        exponent_(exponent),
        parts_(parts),
        nodes_(grown.nodes + tree * grown.capacity),
        stats_(grown.stats + tree * grown.capacity * 3),
        values_(grown.value + tree * grown.capacity * grown.width),
        sides_(grown.sides + tree * grown.most_sides * kCodes / 8),
        capacity_(grown.capacity),
        width_(grown.width),
        most_sides_(grown.most_sides),
        stack_{{&top, 0, -1}} {}

  index_t size() const { return at_; }

  // Until the end, or a part that is not there yet.
  void advance() {
    while (!stack_.empty()) {
      Next next = stack_.back();
      const Built* own = &next.grower->nodes[static_cast<std::size_t>(next.node)];
      if (own->feature == kPart) {
        auto& part = parts_[static_cast<std::size_t>(own->left)];
        if (part == nullptr) return;
        stack_.pop_back();
        const std::size_t below = stack_.size();
        write({part.get(), 0, next.parent});
        while (stack_.size() > below) write_top();
        part.reset();
        continue;
      }
      write_top();
    }
  }

 private:
  struct Next {
    const Grower* grower;
    index_t node, parent;  // parent: whose right child it is, or -1
  };

  void write_top() {
    const Next next = stack_.back();
    stack_.pop_back();
    write(next);
  }

  void write(const Next& next) {
    const Built& own = next.grower->nodes[static_cast<std::size_t>(next.node)];
    const index_t at = at_++;
    if (at == capacity_) {
      invalid("tree.grow", "nodes must have room for a whole tree, got ", capacity_);
    }
    if (next.parent >= 0) nodes_[next.parent].right = static_cast<std::int32_t>(at);
    stats_[3 * at] = own.impurity;
    stats_[3 * at + 1] = std::ldexp(own.mass, exponent_);
    stats_[3 * at + 2] = static_cast<double>(own.count);
    std::copy_n(next.grower->values.data() + next.node * width_, width_, values_ + at * width_);
    if (exponent_ != 0 && !f_.classes.empty()) {  // weights of classes
      for (index_t k = 0; k < width_; ++k) {
        values_[at * width_ + k] = std::ldexp(values_[at * width_ + k], exponent_);
      }
    }
    if (own.feature < 0) {
      nodes_[at] = {-2.0, -1, leaves_++};
      return;
    }
    const bool of_levels = (own.feature & kCategory) != 0;
    const double threshold = of_levels        ? static_cast<double>(sets_)
                             : f_.rule.random ? own.threshold
                                              : middle(f_, own);
    nodes_[at] = {threshold, own.feature, 0};
    if (of_levels) {
      if (sets_ == most_sides_) {
        invalid("tree.grow", "sides must have room for a whole tree, got ", most_sides_);
      }
      const LevelSet& set = next.grower->sets[static_cast<std::size_t>(own.levels)];
      std::memcpy(sides_ + sets_++ * kCodes / 8, set.data(), sizeof(set));
    }
    stack_.push_back({next.grower, own.left + 1, at});
    stack_.push_back({next.grower, own.left, -1});
  }

  const Field& f_;
  int exponent_;
  std::vector<std::unique_ptr<Grower>>& parts_;
  Node* nodes_;
  double *stats_, *values_;
  std::uint8_t* sides_;
  index_t capacity_, width_, most_sides_;
  std::vector<Next> stack_;
  index_t at_ = 0, sets_ = 0;
  std::int32_t leaves_ = 0;
};

index_t grow_tree(const Field& field, const Grown& grown, index_t tree, bool alone) {
  Plot plot(field, tree);
  if (field.rule.levels_once && !field.categorical.empty()) {
    plot.orders = FeatureSearch(field, plot, plot.n).all_orders();
  }
  const index_t features = std::min(field.rule.max_features, field.ranks.features);
  std::vector<std::unique_ptr<Grower>> parts;
  Grower top(field, plot, plot.n);
  std::vector<Open> stack, small;
  top.open(0, plot.n, 0, 0, -kInfinity, kInfinity, stack);
  if (field.rule.max_leaf_nodes > 0) {
    top.best_first(stack, static_cast<index_t>(field.rule.max_leaf_nodes));
  } else {
    const index_t part = std::clamp(plot.n * features / 64, kFewestEntries, kMostEntries);
    top.depth_first(stack, part, alone ? &small : nullptr);
    parts.resize(small.size());
    for (std::size_t i = 0; i < small.size(); ++i) {
      Built& node = top.nodes[static_cast<std::size_t>(small[i].node)];
      node.feature = kPart;
      node.left = static_cast<std::int32_t>(i);
    }
  }
  top.finish();
  Emission emission(field, top, parts, grown, tree, plot.exponent);
  std::mutex writing;
  parallel_for(std::ssize(small), 1, [&](index_t, index_t begin, index_t end) {
    for (auto i = static_cast<std::size_t>(begin); i < static_cast<std::size_t>(end); ++i) {
      const Open& root = small[i];
      auto part = std::make_unique<Grower>(field, plot, root.stop - root.start);
      std::vector<Open> own;
      part->open(root.start, root.stop, root.depth, root.key, root.low, root.high, own);
      part->depth_first(own, 0, nullptr);
      part->finish();
      const std::lock_guard lock(writing);
      parts[i] = std::move(part);
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
  check_ranks(given.ranks, given.rule.random);
  Field field = given;
  field.gaps = given.rule.random || any_missing(given.ranks);
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
