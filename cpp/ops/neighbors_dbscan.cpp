// DBSCAN in memory O(n): who is core, which core rows belong together, whom the border joins.
//
// No list of neighbours is stored. With a tree, whole leaves are compared with whole leaves; the
// components of the core rows are kept by a union-find, which threads share: a component does not
// depend on the order of the unions that made it.
#include <algorithm>  // std::all_of, std::min
#include <atomic>     // std::atomic_ref
#include <numeric>    // std::iota
#include <vector>     // states

#include "ops/neighbors_blocks.hpp"
#include "ops/neighbors_within.hpp"

namespace kernelmill::neighbors {
namespace {

class Components {
 public:
  explicit Components(index_t n) : parent_(static_cast<std::size_t>(n)) {
    std::iota(parent_.begin(), parent_.end(), index_t{0});
  }

  index_t find(index_t i) {
    for (;;) {
      const index_t up = load(i);
      if (up == i) return i;
      const index_t above = load(up);
      // Halves the path; a race writes another ancestor, which is as true.
      if (above != up) at(i).store(above, std::memory_order_relaxed);
      i = above;
    }
  }

  void unite(index_t a, index_t b) {
    for (;;) {
      a = find(a);
      b = find(b);
      if (a == b) return;
      if (a < b) std::swap(a, b);
      index_t expected = a;  // still a root?
      if (at(a).compare_exchange_strong(expected, b, std::memory_order_relaxed)) return;
    }
  }

 private:
  std::atomic_ref<index_t> at(index_t i) {
    return std::atomic_ref<index_t>(parent_[static_cast<std::size_t>(i)]);
  }
  index_t load(index_t i) { return at(i).load(std::memory_order_relaxed); }

  std::vector<index_t> parent_;
};

// Numbers components by their first core row; `place[i]` is where row i stands in `components`.
index_t number_components(std::span<const bool> core, const index_t* place, Components& components,
                          std::span<index_t> labels) {
  const std::size_t n = core.size();
  std::vector<index_t> number(n, -1);
  index_t next = 0;
  for (std::size_t i = 0; i < n; ++i) {
    labels[i] = -1;
    if (!core[i]) continue;
    const index_t root = components.find(place == nullptr ? static_cast<index_t>(i) : place[i]);
    index_t& own = number[static_cast<std::size_t>(root)];
    if (own < 0) own = next++;
    labels[i] = own;
  }
  return next;
}

template <class M, class T>
class LeafScan {
 public:
  LeafScan(const M& metric, const Tree<T>& tree, double limit, double min_samples,
           std::span<const double> weight)
      : metric_(metric),
        tree_(tree),
        limit_(limit),
        min_samples_(min_samples),
        n_(tree.n),
        core_(static_cast<std::size_t>(n_)),
        first_core_(static_cast<std::size_t>(tree.leaves), -1),
        solid_(static_cast<std::size_t>(tree.leaves)),
        components_(n_) {
    if (weight.empty()) return;
    weight_.resize(static_cast<std::size_t>(n_));
    sums_.resize(static_cast<std::size_t>(n_) + 1);
    for (index_t i = 0; i < n_; ++i) {
      const double w = weight[static_cast<std::size_t>(tree.order[i])];
      weight_[static_cast<std::size_t>(i)] = w;
      sums_[static_cast<std::size_t>(i) + 1] = sums_[static_cast<std::size_t>(i)] + w;
      negative_ = negative_ || w < 0;
    }
  }

  void run(std::span<index_t> labels, std::span<bool> core) {
    const auto each_leaf = [&](auto body) {
      parallel_for(tree_.leaves, 8, [&](index_t, index_t begin, index_t end) {
        Leaf leaf(tree_.d);
        for (index_t l = begin; l < end; ++l) {
          open(leaf, l);
          body(leaf);
        }
      });
    };
    each_leaf([&](Leaf& leaf) { count(leaf); });
    each_leaf([&](Leaf& leaf) { link(leaf); });
    std::vector<index_t> place(static_cast<std::size_t>(n_));
    for (index_t i = 0; i < n_; ++i) {
      const auto row = static_cast<std::size_t>(tree_.order[i]);
      place[row] = i;
      core[row] = core_[static_cast<std::size_t>(i)] != 0;
    }
    number_components(core, place.data(), components_, labels);
    index_t* const label = labels.data();
    each_leaf([&](Leaf& leaf) { join(leaf, label); });
  }

 private:
  struct Leaf {
    explicit Leaf(index_t d) : memory(static_cast<std::size_t>(3 * d)) {
      low = memory.data();
      high = low + d;
      q = high + d;
    }
    Workspace<double> memory;
    double *low, *high, *q;
    index_t number = 0, begin = 0, size = 0;
    const T* points = nullptr;
  };
  struct Item {
    int level;
    index_t group;
  };
  // Leaves of one group that may have a point within the limit of some point of a leaf.
  struct Near {
    const double* boxes;
    int count;
    std::array<index_t, kFan> leaf;
    std::array<int, kFan> lane;  // in `boxes`
    std::array<bool, kFan> all;  // every pair is within the limit
  };

  void open(Leaf& leaf, index_t l) const {
    const double* const box = tree_.group(0, l / kFan) + l % kFan;
    for (index_t p = 0; p < tree_.d; ++p) {
      leaf.low[p] = box[p * kFan];
      leaf.high[p] = box[(tree_.d + p) * kFan];
    }
    leaf.number = l;
    leaf.begin = tree_.begin(l);
    leaf.size = tree_.size(l);
    leaf.points = tree_.leaf(l);
  }
  void point(Leaf& leaf, index_t r) const {
    for (index_t p = 0; p < tree_.d; ++p) {
      leaf.q[p] = static_cast<double>(leaf.points[p * kWidth + r]);
    }
  }

  // Calls near_leaves(near), which says whether to go on, for the leaves that may have a point
  // within the limit of some point of this one. whole(level, item), asked first where all pairs are
  // within it, says whether that settled it.
  template <class Whole, class NearLeaves>
  void walk(const Leaf& leaf, index_t first_leaf, Whole whole, NearLeaves near_leaves) const {
    std::array<Item, 24 * kFan> stack;
    std::size_t waiting = 0;
    stack[waiting++] = {tree_.levels.count() - 1, 0};
    while (waiting > 0) {
      const auto [level, group] = stack[--waiting];
      alignas(64) double near[kFan], far[kFan];
      const double* const boxes = tree_.group(level, group);
      near_bounds(metric_, leaf.low, leaf.high, boxes, tree_.d, near);
      far_bounds(metric_, leaf.low, leaf.high, boxes, tree_.d, far);
      const index_t first = group * kFan;
      const index_t count = std::min(kFan, tree_.levels.items(level) - first);
      Near found{boxes, 0, {}, {}, {}};
      for (index_t l = 0; l < count; ++l) {
        const index_t item = first + l;
        if (!(near[l] <= limit_) || ((item + 1) << (3 * level)) <= first_leaf) continue;
        const bool all = far[l] <= limit_;
        if (all && whole(level, item)) continue;
        if (level > 0) {
          stack[waiting++] = {level - 1, item};
        } else {
          const auto at = static_cast<std::size_t>(found.count++);
          found.leaf[at] = item;
          found.lane[at] = static_cast<int>(l);
          found.all[at] = all;
        }
      }
      if (found.count > 0 && !near_leaves(found)) return;
    }
  }

  // Calls with(i) for the leaves near.leaf[i] that may have a point within the limit of point r.
  // Boxes of leaves touch in many dimensions where a point and a box do not: of 180,000 normal rows
  // in 9 dimensions, with a limit of 1, a point is near a tenth of the leaves that its leaf is
  // near.
  template <class With>
  [[gnu::always_inline]] void each_near(Leaf& leaf, index_t r, const Near& near, With with) const {
    point(leaf, r);
    alignas(64) double bound[kFan];
    near_bounds(metric_, leaf.q, leaf.q, near.boxes, tree_.d, bound);
    for (std::size_t i = 0; i < static_cast<std::size_t>(near.count); ++i) {
      if (bound[near.lane[i]] <= limit_) with(i);
    }
  }

  // The weight of the points of a leaf that are within the limit of the point in leaf.q.
  double weight_within(const Leaf& leaf, index_t other) const {
    const index_t begin = tree_.begin(other), size = tree_.size(other);
    alignas(64) double distance[kWidth];
    block_distances(metric_, leaf.q, tree_.leaf(other), tree_.d, size, distance);
    if (weight_.empty()) {
      index_t found = 0;
      for (index_t l = 0; l < size; ++l) found += distance[l] <= limit_;
      return static_cast<double>(found);
    }
    const double* const w = weight_.data() + begin;
    double sum = 0;
    for (index_t l = 0; l < size; ++l) sum += distance[l] <= limit_ ? w[l] : 0.0;
    return sum;
  }

  // Adds what other leaves have within the limit: to `common` for all rows, to `sum` for each.
  template <class Enough>
  void count_others(Leaf& leaf, double* sum, double& common, Enough enough) {
    const auto weight_of = [&](index_t begin, index_t end) {
      return weight_.empty()
                 ? static_cast<double>(end - begin)
                 : sums_[static_cast<std::size_t>(end)] - sums_[static_cast<std::size_t>(begin)];
    };
    walk(
        leaf, 0,
        [&](int level, index_t item) {
          common += weight_of(tree_.item_begin(level, item), tree_.item_begin(level, item + 1));
          if (leaf.number >> (3 * level) == item) {  // its own points have been counted
            common -= weight_of(leaf.begin, leaf.begin + leaf.size);
          }
          return true;
        },
        [&](const Near& near) {
          for (index_t r = 0; r < leaf.size; ++r) {
            if (!negative_ && common + sum[r] >= min_samples_) continue;
            each_near(leaf, r, near, [&](std::size_t i) {
              if (near.leaf[i] != leaf.number) sum[r] += weight_within(leaf, near.leaf[i]);
            });
          }
          return !enough();
        });
  }

  // Sums of weights within the limit, until every row is core.
  void count(Leaf& leaf) {
    double sum[kWidth] = {};
    double common = 0;
    index_t missing = leaf.size;
    const auto enough = [&] {
      if (negative_) return false;
      missing = 0;
      for (index_t r = 0; r < leaf.size; ++r) missing += common + sum[r] < min_samples_;
      return missing == 0;
    };
    // Its own points come first: they are the likeliest to be enough.
    for (index_t r = 0; r < leaf.size; ++r) {
      point(leaf, r);
      sum[r] = weight_within(leaf, leaf.number);
    }
    if (!enough()) count_others(leaf, sum, common, enough);
    index_t& first = first_core_[static_cast<std::size_t>(leaf.number)];
    for (index_t r = 0; r < leaf.size; ++r) {
      const bool is_core = common + sum[r] >= min_samples_;
      core_[static_cast<std::size_t>(leaf.begin + r)] = is_core;
      if (is_core && first < 0) first = leaf.begin + r;
    }
    // Whether any two rows of the leaf are within the limit.
    double diameter = 0;
    {
      Vec total{};
      for (index_t p = 0; p < tree_.d; ++p) {
        metric_.add(total, Vec{} + (leaf.high[p] - leaf.low[p]));
      }
      diameter = total[0] * (1 + M::slack);
    }
    solid_[static_cast<std::size_t>(leaf.number)] = diameter <= limit_;
  }

  // Unites the core rows of a leaf with those within the limit in this leaf and in later ones.
  void link(Leaf& leaf) {
    const index_t mine = first_core_[static_cast<std::size_t>(leaf.number)];
    if (mine < 0) return;
    const bool solid = solid_[static_cast<std::size_t>(leaf.number)] != 0;
    if (solid) unite_leaf(leaf.number, mine);
    walk(
        leaf, leaf.number, [](int, index_t) { return false; },
        [&](const Near& near) {
          Near left{near.boxes, 0, {}, {}, {}};
          for (std::size_t i = 0; i < static_cast<std::size_t>(near.count); ++i) {
            const index_t other = near.leaf[i];
            const index_t theirs = first_core_[static_cast<std::size_t>(other)];
            if (theirs < 0 || (solid && other == leaf.number)) continue;
            if (solid && settled(other, mine, theirs)) continue;
            if (near.all[i]) {
              if (!solid) unite_leaf(leaf.number, mine);
              unite_leaf(other, mine);
              continue;
            }
            const auto at = static_cast<std::size_t>(left.count++);
            left.leaf[at] = other;
            left.lane[at] = near.lane[i];
          }
          if (left.count > 0) pairs(leaf, left, solid, mine);
          return true;
        });
  }

  // Whether all core rows of a leaf are in one component, that of `mine`.
  bool settled(index_t other, index_t mine, index_t theirs) {
    return solid_[static_cast<std::size_t>(other)] != 0 &&
           components_.find(mine) == components_.find(theirs);
  }

  void pairs(Leaf& leaf, const Near& near, bool solid, index_t mine) {
    for (index_t r = 0; r < leaf.size; ++r) {
      const index_t a = leaf.begin + r;
      if (!core_[static_cast<std::size_t>(a)]) continue;
      each_near(leaf, r, near, [&](std::size_t i) {
        const index_t other = near.leaf[i], begin = tree_.begin(other), size = tree_.size(other);
        const index_t theirs = first_core_[static_cast<std::size_t>(other)];
        if (settled(other, solid ? mine : a, theirs)) return;
        const bool solid_other = solid_[static_cast<std::size_t>(other)] != 0;
        alignas(64) double distance[kWidth];
        block_distances(metric_, leaf.q, tree_.leaf(other), tree_.d, size, distance);
        for (index_t l = 0; l < size; ++l) {
          if (!(distance[l] <= limit_) || !core_[static_cast<std::size_t>(begin + l)]) continue;
          components_.unite(a, begin + l);
          if (solid_other) break;
        }
      });
    }
  }

  void unite_leaf(index_t number, index_t with) {
    const index_t begin = tree_.begin(number), size = tree_.size(number);
    for (index_t i = begin; i < begin + size; ++i) {
      if (core_[static_cast<std::size_t>(i)]) components_.unite(i, with);
    }
  }

  // Gives other rows the least label of the core rows within the limit.
  void join(Leaf& leaf, index_t* labels) const {
    index_t missing = 0;
    for (index_t r = 0; r < leaf.size; ++r) {
      missing += !core_[static_cast<std::size_t>(leaf.begin + r)];
    }
    if (missing == 0) return;
    walk(
        leaf, 0, [](int, index_t) { return false; },
        [&](const Near& near) {
          for (index_t r = 0; r < leaf.size; ++r) {
            if (core_[static_cast<std::size_t>(leaf.begin + r)]) continue;
            index_t& label = labels[tree_.order[leaf.begin + r]];
            each_near(leaf, r, near, [&](std::size_t i) {
              const index_t other = near.leaf[i], begin = tree_.begin(other);
              const index_t size = tree_.size(other);
              if (first_core_[static_cast<std::size_t>(other)] < 0) return;
              alignas(64) double distance[kWidth];
              block_distances(metric_, leaf.q, tree_.leaf(other), tree_.d, size, distance);
              for (index_t l = 0; l < size; ++l) {
                if (!(distance[l] <= limit_) || !core_[static_cast<std::size_t>(begin + l)]) {
                  continue;
                }
                const index_t theirs = labels[tree_.order[begin + l]];
                if (label < 0 || theirs < label) label = theirs;
              }
            });
          }
          return true;
        });
  }

  const M& metric_;
  const Tree<T>& tree_;
  double limit_, min_samples_;
  index_t n_;
  bool negative_ = false;
  std::vector<double> weight_, sums_;  // by position
  std::vector<char> core_;             // by position
  std::vector<index_t> first_core_;    // of each leaf, -1 without
  std::vector<char> solid_;            // of each leaf
  Components components_;              // of positions
};

// The same from pairs, query by query.
template <class T>
void by_pairs(MatrixView<const T> x, double eps, double min_samples, std::span<const double> weight,
              Measure measure, std::span<index_t> labels, std::span<bool> core) {
  const index_t n = x.rows;
  struct State {
    std::span<const double> weight;
    std::vector<double> sums;
    std::span<bool> core;
    Components components;
    std::span<index_t> labels;
    std::vector<index_t> border;
  } state{weight, std::vector<double>(static_cast<std::size_t>(n)), core, Components(n), labels,
          {}};
  const char* const op = "neighbors.dbscan";
  visit(x, x, eps, measure, {}, TreeArrays<T>{}, op,
        {&state,
         [](void* self, index_t i, index_t row, double) {
           State& s = *static_cast<State*>(self);
           s.sums[static_cast<std::size_t>(i)] +=
               s.weight.empty() ? 1.0 : s.weight[static_cast<std::size_t>(row)];
         },
         nullptr});
  for (index_t i = 0; i < n; ++i) {
    core[static_cast<std::size_t>(i)] = state.sums[static_cast<std::size_t>(i)] >= min_samples;
    if (!core[static_cast<std::size_t>(i)]) state.border.push_back(i);
  }
  visit(x, x, eps, measure, {}, TreeArrays<T>{}, op,
        {&state,
         [](void* self, index_t i, index_t row, double) {
           State& s = *static_cast<State*>(self);
           if (i < row && s.core[static_cast<std::size_t>(i)] &&
               s.core[static_cast<std::size_t>(row)]) {
             s.components.unite(i, row);
           }
         },
         nullptr});
  number_components(core, nullptr, state.components, labels);
  if (state.border.empty()) return;
  const index_t others = static_cast<index_t>(state.border.size()), d = x.cols;
  const Workspace<T> copies(static_cast<std::size_t>(others * d));
  for (index_t b = 0; b < others; ++b) {
    for (index_t p = 0; p < d; ++p) {
      copies.data()[b * d + p] = x(state.border[static_cast<std::size_t>(b)], p);
    }
  }
  visit(
      MatrixView<const T>{copies.data(), others, d, d, 1}, x, eps, measure, {}, TreeArrays<T>{}, op,
      {&state,
       [](void* self, index_t b, index_t row, double) {
         State& s = *static_cast<State*>(self);
         if (!s.core[static_cast<std::size_t>(row)]) return;
         const index_t theirs = s.labels[static_cast<std::size_t>(row)];
         index_t& label = s.labels[static_cast<std::size_t>(s.border[static_cast<std::size_t>(b)])];
         if (label < 0 || theirs < label) label = theirs;
       },
       nullptr});
}

}  // namespace

template <class T>
void dbscan(MatrixView<const T> x, double eps, double min_samples, std::span<const double> weight,
            Measure measure, const TreeArrays<T>& tree, std::span<index_t> labels,
            std::span<bool> core) {
  if (x.rows == 0) return;
  if (tree.empty()) return by_pairs(x, eps, min_samples, weight, measure, labels, core);
  for (const index_t row : tree.order) {
    if (row < 0 || row >= x.rows) {
      invalid("neighbors.dbscan", "order must hold numbers of rows, got ", row, " for ", x.rows,
              " rows");
    }
  }
  const Tree<T> grown(tree, x.rows, x.cols);
  with_tree_metric(measure, "neighbors.dbscan", [&](const auto& metric) {
    const double limit = reduced_limit(metric, eps, x.cols);
    LeafScan<std::decay_t<decltype(metric)>, T>(metric, grown, limit, min_samples, weight)
        .run(labels, core);
  });
}

KERNELMILL_FOR_FLOATS(dbscan)

}  // namespace kernelmill::neighbors
