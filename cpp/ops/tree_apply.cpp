// Walks down fitted trees.
#include <algorithm>  // std::min, std::fill_n
#include <atomic>     // std::atomic
#include <cmath>      // std::nextafter
#include <limits>     // infinity
#include <vector>     // packed trees

#include "core/error.hpp"      // invalid
#include "core/parallel.hpp"   // parallel_for
#include "core/workspace.hpp"  // Workspace
#include "ops/tree.hpp"

namespace kernelmill::tree {
namespace {

struct Forest {
  const Node* nodes;
  std::span<const index_t> roots;
  index_t count, features, values;

  Forest(const char* op, std::span<const index_t> words, std::span<const index_t> begins, index_t d,
         index_t most)
      : nodes(reinterpret_cast<const Node*>(words.data())),
        roots(begins),
        count(std::ssize(words) / 2),
        features(d),
        values(most) {
    for (std::size_t t = 0; t < roots.size(); ++t) {
      if (roots[t] < 0 || end(static_cast<index_t>(t)) <= roots[t] ||
          end(static_cast<index_t>(t)) > count) {
        refuse(op);
      }
    }
  }
  index_t trees() const { return std::ssize(roots); }
  index_t end(index_t t) const {
    return t + 1 < trees() ? roots[static_cast<std::size_t>(t + 1)] : count;
  }
  index_t size(index_t t) const { return end(t) - roots[static_cast<std::size_t>(t)]; }
  const Node* tree(index_t t) const { return nodes + roots[static_cast<std::size_t>(t)]; }
  // Whether a node of a tree of some size can be left, or read.
  bool fits(const Node& node, index_t at, index_t size) const {
    return node.feature < 0
               ? 0 <= node.right && node.right < values
               : (node.feature & kFeature) < features && node.right > at + 1 && node.right < size;
  }
  [[noreturn]] static void refuse(const char* op) {
    invalid(op,
            "nodes must name features of X, children behind their parent and values that exist, "
            "got others");
  }
};

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
          const bool left = x != x ? (node.feature & kMissing) != 0 : x <= node.threshold;
          at[l] = left ? at[l] + 1 : node.right;
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
  std::int32_t child;
  std::int32_t feature;  // with the mark of the missing
};

// The largest T that is not above t: x <= t for a T is x <= lower(t).
template <class T>
T lower(double t) {
  const T rounded = static_cast<T>(t);
  return static_cast<double>(rounded) > t ? std::nextafter(rounded, -std::numeric_limits<T>::max())
                                          : rounded;
}

// Nodes by levels, so that those which all rows pass lie together. `leaf` says what a leaf is: its
// number in the tree, or that of its values. False where they are not a tree.
template <class T>
bool pack(const Forest& forest, index_t t, bool by_value, Packed<T>* to, std::int32_t* leaf) {
  const index_t size = forest.size(t);
  const Node* const tree = forest.tree(t);
  index_t last = 1;
  leaf[0] = 0;
  for (index_t i = 0; i < last; ++i) {
    const index_t at = leaf[i];
    const Node& node = tree[at];
    if (!forest.fits(node, at, size)) return false;
    if (node.feature < 0) {
      to[i] = {std::numeric_limits<T>::infinity(), static_cast<std::int32_t>(i), 0};
      if (by_value) leaf[i] = node.right;
      continue;
    }
    if (last + 2 > size) return false;
    to[i] = {lower<T>(node.threshold), static_cast<std::int32_t>(last), node.feature};
    leaf[last++] = static_cast<std::int32_t>(at + 1);
    leaf[last++] = node.right;
  }
  return true;
}

// Rows of a task: a tree comes from memory once for each. Nodes packed at a time.
constexpr index_t kFewestRows = 512, kMostRows = 4096, kPacked = index_t{1} << 21;
constexpr index_t kLanes = 16;
constexpr int kSteps = 4;  // between two looks whether all are at leaves

// Leaves of rows without missing values.
template <class T>
void descend(const Packed<T>* tree, const T* X, index_t d, index_t rows, std::int32_t* leaves) {
  index_t row = 0;
  for (; row + kLanes <= rows; row += kLanes) {
    std::int32_t at[kLanes] = {};
    const T* const x = X + row * d;
    bool moved = true;
    while (moved) {
      for (int step = 0; step < kSteps; ++step) {
        // Unrolled, the numbers of nodes stay in registers: 1.3 ns a step rather than 3.
#pragma GCC unroll 16
        for (index_t l = 0; l < kLanes; ++l) {
          const Packed<T>& node = tree[at[l]];
          at[l] = node.child + !(x[l * d + (node.feature & kFeature)] <= node.threshold);
        }
      }
      moved = false;
#pragma GCC unroll 16
      for (index_t l = 0; l < kLanes; ++l) moved |= tree[at[l]].child != at[l];
    }
    std::copy_n(at, kLanes, leaves + row);
  }
  for (; row < rows; ++row) {
    std::int32_t at = 0;
    while (tree[at].child != at) {
      const Packed<T>& node = tree[at];
      at = node.child + !(X[row * d + (node.feature & kFeature)] <= node.threshold);
    }
    leaves[row] = at;
  }
}

template <class T>
void descend_with_gaps(const Packed<T>* tree, const T* X, index_t d, index_t rows,
                       std::int32_t* leaves) {
  for (index_t row = 0; row < rows; ++row) {
    std::int32_t at = 0;
    while (tree[at].child != at) {
      const Packed<T>& node = tree[at];
      const T x = X[row * d + (node.feature & kFeature)];
      const bool left = x != x ? (node.feature & kMissing) != 0 : x <= node.threshold;
      at = node.child + !left;
    }
    leaves[row] = at;
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
    std::atomic<bool> fits{true};
    parallel_for(trees, 1, [&](index_t, index_t begin, index_t end) {
      for (index_t t = begin; t < end; ++t) {
        const index_t at = begins[static_cast<std::size_t>(t)];
        if (!pack(forest, first + t, by_value, packed.data() + at, numbers.data() + at)) {
          fits = false;
        }
      }
    });
    if (!fits) Forest::refuse(op);
    const index_t grain = std::clamp(X.rows / 16, kFewestRows, kMostRows);
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
      bool gaps = false;
      for (index_t i = 0; i < (end - begin) * d; ++i) gaps |= rows[i] != rows[i];
      std::int32_t leaves[kMostRows];
      for (index_t t = 0; t < trees; ++t) {
        const index_t at = begins[static_cast<std::size_t>(t)];
        const Packed<T>* const tree = packed.data() + at;
        (gaps ? descend_with_gaps<T> : descend<T>)(tree, rows, d, end - begin, leaves);
        for (index_t i = 0; i < end - begin; ++i) leaves[i] = numbers.data()[at + leaves[i]];
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
           MatrixView<std::int32_t> leaves) {
  const Forest forest("tree.apply", nodes, roots, X.cols, INT32_MAX);
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
             std::span<const double> values, MatrixView<double> sums) {
  const index_t cols = sums.cols;
  const Forest forest("tree.predict", nodes, roots, X.cols,
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
                         MatrixView<std::int32_t>);                                               \
  template void predict<T>(MatrixView<const T>, std::span<const index_t>,                         \
                           std::span<const index_t>, std::span<const double>, MatrixView<double>);
KERNELMILL_TREE(float)
KERNELMILL_TREE(double)

}  // namespace kernelmill::tree
