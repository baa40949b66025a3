// Growth of one tree, on the CPU and on a GPU: which leaf is split next, what its children may do,
// and what is written of the tree. How histograms are built and searched is the engine's affair.
#pragma once

#include <algorithm>  // std::copy_n, std::max, std::min, std::sort
#include <cmath>      // std::ceil
#include <queue>      // std::priority_queue
#include <vector>     // std::vector

#include "core/random.hpp"  // Philox
#include "ops/histogram_cuts.hpp"
#include "ops/histogram_steps.hpp"

namespace kernelmill::histogram {

// The histogram of a node: for each feature the sums of gradients, of hessians, and the number of
// rows of each code, all of them whole numbers.
struct Shape {
  index_t features, stride;  // codes of a feature, rounded up

  KERNELMILL_BOTH index_t feature_size() const { return 3 * stride; }
  KERNELMILL_BOTH index_t size() const { return features * feature_size(); }
};

struct Leaf {
  index_t start = 0, stop = 0, depth = 0;
  Sums sums;
  Bounds bounds;
  std::vector<bool> groups;  // those that hold all features of the path
  Cut cut;
  index_t histogram = -1;  // its slot
  index_t left = -1, right = -1;

  index_t rows() const { return stop - start; }
};

// Places of histograms in use. Leaves that wait keep theirs, up to a limit; then they are built
// again.
class Slots {
 public:
  // `most` of `size` numbers of 8 bytes, within 256 MiB.
  Slots(index_t size, index_t most) {
    constexpr index_t bytes = index_t{256} << 20;
    most_ = std::min(most, std::max<index_t>(8, bytes / std::max<index_t>(8 * size, 1)));
  }
  // With two for histograms that nobody keeps.
  index_t count() const { return most_ + 2; }
  index_t take() {
    if (free_.empty()) return used_++;
    const index_t slot = free_.back();
    free_.pop_back();
    return slot;
  }
  void give(index_t& slot) {
    if (slot >= 0) free_.push_back(slot);
    slot = -1;
  }
  bool crowded() const { return used_ - std::ssize(free_) >= most_; }

 private:
  index_t most_, used_ = 0;
  std::vector<index_t> free_;
};

// One leaf, or two siblings, the one of fewer rows first, whose cuts are to be found.
struct Pair {
  Leaf* members[2] = {nullptr, nullptr};
  bool looks[2] = {false, false};
  std::vector<char> allowed[2];  // features, where it looks
  index_t slots[2] = {-1, -1};   // of their histograms; the first is built where there is one
  bool differ = false;           // the second lies in the slot of its parent, and is the rest of it
};

inline Shape shape_of(std::span<const std::int32_t> counts) {
  std::int32_t most = 1;
  for (const std::int32_t count : counts) most = std::max(most, count);
  return {std::ssize(counts), (most + 7) / 8 * 8};
}

// An engine has
//   void find(Pair&)               builds histograms; sets the cuts of members that look, and the
//                                  sums of a root
//   index_t partition(const Leaf&) moves rows that go left to the front; where the others begin
//   void add_up(ends, exact)       G and H of leaves, of what was given rather than of steps
template <class Engine>
class GrowthOf {
 public:
  index_t run() {
    leaves_.resize(1);
    leaves_[0].stop = n_;
    leaves_[0].groups.assign(static_cast<std::size_t>(features_.groups.rows), true);
    if (tree_.split.rows > 1 && shape_.features > 0) look_at({0, -1}, -1);
    push(0);
    while (std::ssize(leaves_) + 2 <= tree_.split.rows && !waiting_.empty()) {
      const index_t best = waiting_.top().second;
      waiting_.pop();
      split(best);
    }
    std::vector<index_t> ends;
    for (index_t i = 0; i < std::ssize(leaves_); ++i) {
      if (leaf(i).left < 0) ends.push_back(i);
    }
    exact_.resize(leaves_.size());
    engine().add_up(ends, exact_);
    emit();
    return std::ssize(leaves_);
  }

 protected:
  GrowthOf(const Features& features, const Rule& rule, std::uint64_t seed, index_t n,
           const Tree& tree, const StepSizes& sizes)
      : features_(features),
        rule_(rule),
        seed_(seed),
        n_(n),
        tree_(tree),
        sizes_(sizes),
        shape_(shape_of(features.counts)),
        slots_(shape_.size(), tree.split.rows / 2 + 1) {
    const auto steps = [](double x, double step) { return step > 0 ? x / step : 0; };
    measures_.l1 = steps(rule.l1, sizes.gradient);
    measures_.l2 = steps(rule.l2, sizes.hessian);
    measures_.min_leaf = rule.min_leaf;
    measures_.min_hessian = steps(rule.min_hessian, sizes.hessian);
    measures_.min_gain = rule.min_gain;
    measures_.unit = steps(sizes.gradient * sizes.gradient / 2, sizes.hessian);
    measures_.coarse = sizes.coarse;
    scale_ = sizes.hessian > 0 ? sizes.gradient / sizes.hessian : 1;
  }

  Leaf& leaf(index_t i) { return leaves_[static_cast<std::size_t>(i)]; }
  int sign_of(index_t f) const {
    return features_.monotonic.empty() ? 0 : features_.monotonic[static_cast<std::size_t>(f)];
  }
  Search search_of(const Leaf& own, index_t f) const {
    return {measures_, own.sums, own.bounds, sign_of(f)};
  }

  const Features& features_;
  const Rule& rule_;
  std::uint64_t seed_;
  index_t n_;
  const Tree& tree_;
  StepSizes sizes_;
  Shape shape_;
  Slots slots_;
  Measures measures_;

 private:
  Engine& engine() { return static_cast<Engine&>(*this); }

  bool may_split(const Leaf& own) const {
    return static_cast<double>(own.rows()) >= 2 * std::max(rule_.min_leaf, 1.0) &&
           !(0 < rule_.max_depth && rule_.max_depth <= static_cast<double>(own.depth));
  }

  // Features that a leaf may split.
  void allow(const Leaf& own, index_t number, std::vector<char>& allowed) const {
    const index_t d = shape_.features;
    allowed.assign(static_cast<std::size_t>(d), 1);
    const auto& groups = features_.groups;
    index_t some = d;
    if (groups.rows > 0) {
      some = 0;
      for (index_t f = 0; f < d; ++f) {
        bool any = false;
        for (index_t q = 0; q < groups.rows; ++q) {
          any = any || (own.groups[static_cast<std::size_t>(q)] && groups(q, f));
        }
        allowed[static_cast<std::size_t>(f)] = any;
        some += any;
      }
    }
    const auto most = std::max<index_t>(
        1, static_cast<index_t>(std::ceil(rule_.share * static_cast<double>(some))));
    if (most >= some) return;
    std::vector<std::pair<std::uint32_t, index_t>> words;
    const Philox philox(seed_, static_cast<std::uint64_t>(number));
    for (index_t f = 0; f < d; ++f) {
      if (!allowed[static_cast<std::size_t>(f)]) continue;
      words.emplace_back(philox.block(static_cast<std::uint64_t>(f / 4)).w[f % 4], f);
    }
    std::sort(words.begin(), words.end());
    for (index_t i = most; i < some; ++i) {
      allowed[static_cast<std::size_t>(words[static_cast<std::size_t>(i)].second)] = 0;
    }
  }

  void push(index_t i) {
    Leaf& own = leaf(i);
    if (own.cut.feature < 0) {
      slots_.give(own.histogram);
      return;
    }
    waiting_.emplace(own.cut.gain, i);
  }

  struct Lower {  // the largest gain first, then the oldest leaf
    using Entry = std::pair<double, index_t>;
    bool operator()(const Entry& a, const Entry& b) const {
      return a.first != b.first ? a.first < b.first : a.second > b.second;
    }
  };

  struct Numbers {
    index_t small, large;  // the second -1 for a leaf alone
  };

  // Finds cuts of a leaf, or of two siblings from the histogram of their parent.
  void look_at(const Numbers& numbers, index_t parent) {
    Pair pair;
    for (int s = 0; s < 2; ++s) {
      const index_t number = s == 0 ? numbers.small : numbers.large;
      if (number < 0) continue;
      pair.members[s] = &leaf(number);
      if (!may_split(leaf(number))) continue;
      pair.looks[s] = true;
      allow(leaf(number), number, pair.allowed[s]);  // numbers of draws are those of leaves
    }
    if (!pair.looks[0] && !pair.looks[1]) {
      slots_.give(parent);
      return;
    }
    pair.differ = pair.looks[1] && parent >= 0;
    if (pair.looks[0] || pair.differ) pair.slots[0] = slots_.take();
    if (pair.differ) {
      pair.slots[1] = parent;
    } else {
      slots_.give(parent);
      if (pair.looks[1]) pair.slots[1] = slots_.take();
    }
    engine().find(pair);
    for (int s = 0; s < 2; ++s) {
      if (pair.slots[s] < 0) continue;
      Leaf& own = *pair.members[s];
      if (pair.looks[s]) fill_sides(own.cut);
      if (pair.looks[s] && own.cut.feature >= 0 && !slots_.crowded()) {
        own.histogram = pair.slots[s];
      } else {
        slots_.give(pair.slots[s]);
      }
    }
  }

  void split(index_t parent) {
    const index_t middle = engine().partition(leaf(parent));
    const index_t first = std::ssize(leaves_);
    leaves_.resize(leaves_.size() + 2);
    Leaf& own = leaf(parent);
    own.left = first;
    own.right = first + 1;
    Leaf &left = leaf(first), &right = leaf(first + 1);
    left.start = own.start;
    left.stop = right.start = middle;
    right.stop = own.stop;
    left.depth = right.depth = own.depth + 1;
    left.bounds = right.bounds = own.bounds;
    left.sums = own.cut.left;
    right.sums = {own.sums.G - left.sums.G, own.sums.H - left.sums.H,
                  own.sums.rows - left.sums.rows};
    const int sign = sign_of(own.cut.feature);
    if (sign != 0) {
      const double between = (own.cut.left_value + own.cut.right_value) / 2;
      (sign > 0 ? left : right).bounds.high = between;
      (sign > 0 ? right : left).bounds.low = between;
    }
    left.groups = own.groups;
    for (index_t q = 0; q < features_.groups.rows; ++q) {
      const auto at = static_cast<std::size_t>(q);
      left.groups[at] = left.groups[at] && features_.groups(q, own.cut.feature);
    }
    right.groups = left.groups;
    index_t histogram = own.histogram;
    own.histogram = -1;
    if (std::ssize(leaves_) + 2 > tree_.split.rows) {  // no room for their children
      slots_.give(histogram);
      return;
    }
    const bool swapped = right.rows() < left.rows();
    look_at({first + swapped, first + !swapped}, histogram);
    push(first);
    push(first + 1);
  }

  // The value of a leaf from its exact sums, or of an inner node from those in steps.
  double value_of(index_t i) {
    const Leaf& own = leaf(i);
    if (own.left >= 0) {
      return measures_.value(own.sums.G, own.sums.H, own.bounds.low, own.bounds.high) * scale_;
    }
    const Sums& sums = exact_[static_cast<std::size_t>(i)];
    const double size = std::max(0.0, std::fabs(sums.G) - rule_.l1);
    const double best =
        sums.H + rule_.l2 > 0 ? -std::copysign(size, sums.G) / (sums.H + rule_.l2) : 0.0;
    return std::min(std::max(best, own.bounds.low * scale_), own.bounds.high * scale_);
  }

  // Writes the nodes, depth first.
  void emit() {
    struct Due {
      index_t leaf, parent;
      bool right;
    };
    std::vector<Due> due{{0, -1, false}};
    index_t at = 0;
    for (; !due.empty(); ++at) {
      const Due next = due.back();
      due.pop_back();
      if (next.parent >= 0) tree_.split(next.parent, next.right ? 4 : 3) = static_cast<int>(at);
      const Leaf& own = leaf(next.leaf);
      const bool inner = own.left >= 0;
      const auto small = [](index_t x) { return static_cast<std::int32_t>(x); };
      const std::int32_t split[8] = {inner ? own.cut.feature : -1,
                                     inner ? own.cut.code : 0,
                                     inner && own.cut.missing_left,
                                     -1,
                                     -1,
                                     small(own.start),
                                     small(own.stop),
                                     small(own.depth)};
      std::copy_n(split, 8, tree_.split.row(at));
      const Sums& exact = exact_[static_cast<std::size_t>(next.leaf)];
      double* const stats = tree_.stats.row(at);
      // Step by step: the square of a step may underflow where gains do not.
      stats[0] = inner ? own.cut.gain * sizes_.gradient / 2 / sizes_.hessian * sizes_.gradient : 0;
      stats[1] = rule_.rate * value_of(next.leaf);
      stats[2] = inner ? own.sums.G * sizes_.gradient : exact.G;
      stats[3] = inner ? own.sums.H * sizes_.hessian : exact.H;
      for (index_t c = 0; c < 32; ++c) {
        tree_.sides(at, c) =
            inner ? static_cast<std::uint8_t>(own.cut.sides[static_cast<std::size_t>(c / 8)] >>
                                              (8 * (c % 8)))
                  : std::uint8_t{0};
      }
      if (!inner) continue;
      due.push_back({own.right, at, true});
      due.push_back({own.left, at, false});
    }
    for (; at < tree_.split.rows; ++at) {
      std::fill_n(tree_.split.row(at), 8, 0);
      std::fill_n(tree_.stats.row(at), 4, 0.0);
      std::fill_n(tree_.sides.row(at), 32, std::uint8_t{0});
    }
  }

  double scale_ = 1;
  std::vector<Leaf> leaves_;
  std::vector<Sums> exact_;
  std::priority_queue<typename Lower::Entry, std::vector<typename Lower::Entry>, Lower> waiting_;
};

}  // namespace kernelmill::histogram
