// Walks down fitted trees.
#include <algorithm>  // std::min, std::fill_n
#include <atomic>     // std::atomic
#include <cmath>      // std::nextafter
#include <limits>     // infinity
#include <vector>     // packed trees

#include "core/parallel.hpp"   // parallel_for
#include "core/workspace.hpp"  // Workspace
#include "ops/tree.hpp"
#include "ops/tree_forest.hpp"

namespace kernelmill::tree {
namespace {

// --- a few rows: the nodes as they are
// ------------------------------------------------------------

// Walks go down side by side: the load of the next node takes longer than a comparison.
constexpr index_t kAbreast = 8;

// f(row, tree, leaf) for all trees of a row in order. Nodes are checked on the way.
template <class T, class F>
void walk_rows(const char* op, const Forest& forest, const MatrixView<const T>& X, index_t begin,
               index_t end, F f) {
  const index_t trees = forest.trees();
  for (index_t row = begin; row < end; ++row) {
    for (index_t first = 0; first < trees; first += kAbreast) {
      const index_t count = std::min(kAbreast, trees - first);
      index_t at[kAbreast] = {};
      bool fits = true;
      for (bool inner = true; inner;) {
        inner = false;
        for (index_t l = 0; l < count; ++l) {
          const Node& node = forest.tree(first + l)[at[l]];
          if (!forest.fits(node, at[l], forest.size(first + l))) fits = false;
          if (node.feature < 0 || !fits) continue;
          const double x = static_cast<double>(X(row, node.feature & kFeature));
          at[l] = goes_left(node, x, forest.sides) ? at[l] + 1 : node.right;
          inner = true;
        }
      }
      if (!fits) Forest::refuse(op);
      for (index_t l = 0; l < count; ++l) f(row, first + l, at[l]);
    }
  }
}

// --- many rows: trees rewritten for walks without branches
// ----------------------------------------

// Children stand side by side. A leaf is its own left child, and all values are below its
// threshold.
template <class T>
struct Packed {
  T threshold;
  std::int32_t child, feature;
};

// The largest T that is not above t: x <= t for a T is x <= lower(t).
template <class T>
T lower(double t) {
  const T rounded = static_cast<T>(t);
  return static_cast<double>(rounded) > t ? std::nextafter(rounded, -std::numeric_limits<T>::max())
                                          : rounded;
}

// Nodes by levels, so that those which all rows pass lie together. `leaf` says what a leaf is: its
// number in the tree, or that of its values; `steps` is 0 where a node is split by levels. False
// where they are not a tree.
template <class T>
bool pack(const Forest& forest, index_t t, bool by_value, Packed<T>* to, std::int32_t* leaf,
          int& steps) {
  const index_t size = forest.size(t);
  const Node* const tree = forest.tree(t);
  index_t last = 1, depth = 0, below = 1;  // nodes from `below` on are deeper
  double depths = 0;                       // of leaves
  bool levels = false;
  leaf[0] = 0;
  for (index_t i = 0; i < last; ++i) {
    if (i == below) {
      ++depth;
      below = last;
    }
    const index_t at = leaf[i];
    const Node& node = tree[at];
    if (!forest.fits(node, at, size)) return false;
    if (node.feature < 0) {
      to[i] = {std::numeric_limits<T>::infinity(), static_cast<std::int32_t>(i), 0};
      if (by_value) leaf[i] = node.right;
      depths += static_cast<double>(depth);
      continue;
    }
    if (last + 2 > size) return false;
    levels |= (node.feature & kCategory) != 0;
    to[i] = {lower<T>(node.threshold), static_cast<std::int32_t>(last), node.feature & kFeature};
    leaf[last++] = static_cast<std::int32_t>(at + 1);
    leaf[last++] = node.right;
  }
  steps = levels ? 0 : 1 + static_cast<int>(0.75 * depths / static_cast<double>((last + 1) / 2));
  return true;
}

// Rows of a task, which stay in the cache beside a tree, and a tree comes from memory once for
// each. Nodes packed at a time.
constexpr index_t kFewestRows = 512, kMostRows = 8192, kRowBytes = 1 << 19;
constexpr index_t kPacked = index_t{1} << 21;
constexpr index_t kLanes = 16;
constexpr int kSteps = 3;  // between two looks at which rows are not at leaves yet

// Takes rows some steps down, side by side: `x` points to each row. Unrolled, the numbers of nodes
// stay in registers, and loads of several rows overlap.
template <class T>
void descend(const Packed<T>* tree, const T* const* x, int steps, std::int32_t* at) {
  std::int32_t own[kLanes];
#pragma GCC unroll 16
  for (index_t l = 0; l < kLanes; ++l) own[l] = at[l];
  for (int step = 0; step < steps; ++step) {
#pragma GCC unroll 16
    for (index_t l = 0; l < kLanes; ++l) {
      const Packed<T>& node = tree[own[l]];
      own[l] = node.child + !(x[l][node.feature] <= node.threshold);
    }
  }
#pragma GCC unroll 16
  for (index_t l = 0; l < kLanes; ++l) at[l] = own[l];
}

// Leaves of rows without missing values. All go down as far as most leaves lie; then those which
// are not at leaves yet are gathered again and again.
template <class T>
void walk(const Packed<T>* tree, const T* X, index_t d, index_t rows, int steps,
          std::int32_t* leaves, std::int32_t* alive) {
  const T* x[kLanes];
  std::int32_t at[kLanes];
  index_t count = rows;
  for (index_t i = 0; i < rows; ++i) {
    leaves[i] = 0;
    alive[i] = static_cast<std::int32_t>(i);
  }
  while (count > 0) {
    for (index_t first = 0; first < count; first += kLanes) {
      const index_t lanes = std::min(kLanes, count - first);
      for (index_t l = 0; l < kLanes; ++l) {
        const index_t row = alive[first + std::min(l, lanes - 1)];
        x[l] = X + row * d;
        at[l] = leaves[row];
      }
      descend(tree, x, steps, at);
      for (index_t l = 0; l < lanes; ++l) leaves[alive[first + l]] = at[l];
    }
    index_t kept = 0;
    for (index_t i = 0; i < count; ++i) {
      const std::int32_t row = alive[i], leaf = leaves[row];
      alive[kept] = row;
      kept += tree[leaf].child != leaf;
    }
    count = kept;
    steps = kSteps;
  }
}

// The same along the nodes as they are, with missing values and levels.
template <class T>
void walk_nodes(const Forest& forest, index_t t, const T* X, index_t d, index_t rows, bool by_value,
                std::int32_t* leaves) {
  const Node* const tree = forest.tree(t);
  for (index_t first = 0; first < rows; first += kAbreast) {
    const index_t count = std::min(kAbreast, rows - first);
    index_t at[kAbreast] = {};
    for (bool inner = true; inner;) {
      inner = false;
      for (index_t l = 0; l < count; ++l) {
        const Node& node = tree[at[l]];
        if (node.feature < 0) continue;
        const double x = static_cast<double>(X[(first + l) * d + (node.feature & kFeature)]);
        at[l] = goes_left(node, x, forest.sides) ? at[l] + 1 : node.right;
        inner = true;
      }
    }
    for (index_t l = 0; l < count; ++l) {
      leaves[first + l] = by_value ? tree[at[l]].right : static_cast<std::int32_t>(at[l]);
    }
  }
}

template <class V>
void fetch(const V* values, index_t count) {
  const char* const bytes = reinterpret_cast<const char*>(values);
  for (index_t i = 0; i < count * static_cast<index_t>(sizeof(V)); i += 64) {
    __builtin_prefetch(bytes + i, 0, 2);
  }
}

// f(tree, first row, rows, leaves) for blocks of rows, the trees of a block in order.
template <class T, class F>
void each_block(const char* op, const Forest& forest, const MatrixView<const T>& X, bool by_value,
                F f) {
  const index_t d = X.cols;
  index_t first = 0;
  while (first < forest.trees()) {
    index_t last = first + 1;
    std::vector<index_t> begins{0, forest.size(first)};
    while (last < forest.trees() && begins.back() + forest.size(last) <= kPacked) {
      begins.push_back(begins.back() + forest.size(last++));
    }
    const index_t trees = last - first;
    Workspace<Packed<T>> packed(static_cast<std::size_t>(begins.back()));
    Workspace<std::int32_t> numbers(static_cast<std::size_t>(begins.back()));
    std::vector<int> steps(static_cast<std::size_t>(trees));
    std::atomic<bool> fits{true};
    parallel_for(trees, 1, [&](index_t, index_t begin, index_t end) {
      for (index_t t = begin; t < end; ++t) {
        const index_t at = begins[static_cast<std::size_t>(t)];
        if (!pack(forest, first + t, by_value, packed.data() + at, numbers.data() + at,
                  steps[static_cast<std::size_t>(t)])) {
          fits = false;
        }
      }
    });
    if (!fits) Forest::refuse(op);
    const index_t held = kRowBytes / (d * static_cast<index_t>(sizeof(T)));
    const index_t grain = std::clamp(std::min(X.rows / 16, held), kFewestRows, kMostRows);
    parallel_for(X.rows, grain, [&](index_t, index_t begin, index_t end) {
      Workspace<T> copy(X.rows_contiguous() && X.row_stride == d
                            ? 0
                            : static_cast<std::size_t>((end - begin) * d));
      const T* rows = X.row(begin);
      if (copy.data() != nullptr) {
        for (index_t i = begin; i < end; ++i) {
          for (index_t j = 0; j < d; ++j) copy.data()[(i - begin) * d + j] = X(i, j);
        }
        rows = copy.data();
      }
      // A look at all values costs more than a few steps along nodes as they are.
      bool gaps = forest.count < d;
      const index_t looked = gaps ? 0 : (end - begin) * d;
      for (index_t i = 0; i < looked; ++i) gaps |= rows[i] != rows[i];
      std::int32_t leaves[kMostRows], alive[kMostRows];
      for (index_t t = 0; t < trees; ++t) {
        const index_t at = begins[static_cast<std::size_t>(t)];
        const Packed<T>* const tree = packed.data() + at;
        // The next tree comes while rows go down this one: 11 ns of 39 a walk were spent waiting.
        if (t + 1 < trees) {
          fetch(tree + forest.size(first + t), forest.size(first + t + 1));
          fetch(numbers.data() + at + forest.size(first + t), forest.size(first + t + 1));
        }
        const int down = steps[static_cast<std::size_t>(t)];
        if (gaps || down == 0) {
          walk_nodes(forest, first + t, rows, d, end - begin, by_value, leaves);
        } else {
          walk(tree, rows, d, end - begin, down, leaves, alive);
          for (index_t i = 0; i < end - begin; ++i) leaves[i] = numbers.data()[at + leaves[i]];
        }
        f(first + t, begin, end - begin, leaves);
      }
    });
    first = last;
  }
}

// Whether to rewrite the trees, which costs about a walk for every ten nodes.
template <class T>
bool many(const Forest& forest, const MatrixView<const T>& X) {
  return X.cols > 0 && X.rows >= 64 && X.rows * 10 * forest.trees() >= forest.count;
}

// f(row, tree, leaf), the trees of a row in order.
template <class T, class F>
void each_row(const char* op, const Forest& forest, const MatrixView<const T>& X, F f) {
  const index_t grain = std::max<index_t>(1, 1024 / std::max<index_t>(1, forest.trees()));
  parallel_for(X.rows, grain, [&](index_t, index_t begin, index_t end) {
    walk_rows(op, forest, X, begin, end, f);
  });
}

// sums += values of the leaves.
template <int width>
void add(const double* values, index_t stride, const std::int32_t* leaves, index_t n, index_t cols,
         double* sums) {
  const index_t most = width == 0 ? cols : width;
  for (index_t i = 0; i < n; ++i) {
    const double* const from = values + leaves[i] * stride;
    for (index_t s = 0; s < most; ++s) sums[i * most + s] += from[s];
  }
}

}  // namespace

template <class T>
void apply(MatrixView<const T> X, std::span<const index_t> nodes, std::span<const index_t> roots,
           Sides sides, MatrixView<std::int32_t> leaves) {
  const Forest forest("tree.apply", nodes, roots, sides, X.cols, INT32_MAX);
  if (many(forest, X)) {
    each_block("tree.apply", forest, X, false,
               [&](index_t t, index_t first, index_t n, const std::int32_t* found) {
                 for (index_t i = 0; i < n; ++i) leaves(first + i, t) = found[i];
               });
  } else {
    each_row("tree.apply", forest, X, [&](index_t row, index_t t, index_t leaf) {
      leaves(row, t) = static_cast<std::int32_t>(leaf);
    });
  }
}

template <class T>
void predict(MatrixView<const T> X, std::span<const index_t> nodes, std::span<const index_t> roots,
             Sides sides, std::span<const double> values, MatrixView<double> sums) {
  const index_t cols = sums.cols;
  const Forest forest("tree.predict", nodes, roots, sides, X.cols,
                      cols == 0 ? INT32_MAX : std::ssize(values) / cols);
  std::fill_n(sums.data, sums.rows * cols, 0.0);
  if (many(forest, X)) {
    const auto adder = cols == 1 ? add<1> : cols == 2 ? add<2> : add<0>;
    each_block("tree.predict", forest, X, true,
               [&](index_t, index_t first, index_t n, const std::int32_t* found) {
                 adder(values.data(), cols, found, n, cols, sums.row(first));
               });
  } else {
    each_row("tree.predict", forest, X, [&](index_t row, index_t t, index_t leaf) {
      const auto one = static_cast<std::int32_t>(forest.tree(t)[leaf].right);
      add<0>(values.data(), cols, &one, 1, cols, sums.row(row));
    });
  }
}

#define KERNELMILL_TREE(T)                                                                        \
  template void apply<T>(MatrixView<const T>, std::span<const index_t>, std::span<const index_t>, \
                         Sides, MatrixView<std::int32_t>);                                        \
  template void predict<T>(MatrixView<const T>, std::span<const index_t>,                         \
                           std::span<const index_t>, Sides, std::span<const double>,              \
                           MatrixView<double>);
KERNELMILL_TREE(float)
KERNELMILL_TREE(double)

}  // namespace kernelmill::tree
