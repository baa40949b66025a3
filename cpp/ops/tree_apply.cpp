// Walks down fitted trees.
#include <algorithm>  // std::min, std::fill_n
#include <cmath>      // std::isnan

#include "core/error.hpp"     // invalid
#include "core/parallel.hpp"  // parallel_for
#include "ops/tree.hpp"

namespace kernelmill::tree {
namespace {

struct Forest {
  const Node* nodes;
  std::span<const index_t> roots;
};

Forest checked(const char* op, std::span<const index_t> words, std::span<const index_t> roots,
               index_t d, index_t values) {
  const index_t count = std::ssize(words) / 2;
  const auto* const nodes = reinterpret_cast<const Node*>(words.data());
  for (std::size_t t = 0; t < roots.size(); ++t) {
    const index_t begin = roots[t], end = t + 1 < roots.size() ? roots[t + 1] : count;
    bool fits = 0 <= begin && begin < end && end <= count;
    for (index_t v = begin; fits && v < end; ++v) {
      const Node& node = nodes[v];
      fits = node.feature < 0 ? 0 <= node.right && node.right < values
                              : (node.feature & kPosition) < d && node.right > v - begin + 1 &&
                                    node.right < end - begin;
    }
    if (!fits) {
      invalid(op,
              "nodes must name features of X, children behind their parent and values that "
              "exist, got others");
    }
  }
  return {nodes, roots};
}

// Rows go down a tree side by side: the load of the next node takes longer than a comparison, and
// those of several rows overlap.
constexpr index_t kAbreast = 8;
// Rows of a task.
constexpr index_t kRows = 64;

template <class T>
index_t step(const Node& node, index_t at, const MatrixView<const T>& X, index_t row) {
  const double x = static_cast<double>(X(row, node.feature & kPosition));
  const bool left = x != x ? (node.feature & kMissing) != 0 : x <= node.threshold;
  return left ? at + 1 : node.right;
}

// Leaves of rows [begin, end), at most kRows, of one tree.
template <class T>
void descend(const Node* tree, const MatrixView<const T>& X, index_t begin, index_t end,
             index_t* leaves) {
  index_t row = begin;
  for (; row + kAbreast <= end; row += kAbreast) {
    index_t at[kAbreast] = {};
    for (bool inner = true; inner;) {
      inner = false;
      for (index_t l = 0; l < kAbreast; ++l) {
        const Node& node = tree[at[l]];
        if (node.feature < 0) continue;
        at[l] = step(node, at[l], X, row + l);
        inner = true;
      }
    }
    std::copy_n(at, kAbreast, leaves + (row - begin));
  }
  for (; row < end; ++row) {
    index_t at = 0;
    while (tree[at].feature >= 0) at = step(tree[at], at, X, row);
    leaves[row - begin] = at;
  }
}

// f(tree, first row, leaves, rows) for all blocks of rows, the trees of a block in order.
template <class T, class F>
void each_block(const Forest& forest, const MatrixView<const T>& X, F f) {
  const index_t trees = std::ssize(forest.roots);
  const index_t grain = kRows * std::max<index_t>(1, 64 / std::max<index_t>(1, trees));
  parallel_for(X.rows, grain, [&](index_t, index_t first, index_t last) {
    index_t leaves[kRows];
    for (index_t begin = first; begin < last; begin += kRows) {
      const index_t end = std::min(last, begin + kRows);
      for (index_t t = 0; t < trees; ++t) {
        const Node* const tree = forest.nodes + forest.roots[static_cast<std::size_t>(t)];
        descend(tree, X, begin, end, leaves);
        f(t, tree, begin, leaves, end - begin);
      }
    }
  });
}

}  // namespace

template <class T>
void apply(MatrixView<const T> X, std::span<const index_t> nodes, std::span<const index_t> roots,
           MatrixView<std::int32_t> leaves) {
  const Forest forest = checked("tree.apply", nodes, roots, X.cols, INT32_MAX);
  each_block(forest, X,
             [&](index_t t, const Node*, index_t begin, const index_t* found, index_t n) {
               for (index_t i = 0; i < n; ++i) {
                 leaves(begin + i, t) = static_cast<std::int32_t>(found[i]);
               }
             });
}

template <class T>
void predict(MatrixView<const T> X, std::span<const index_t> nodes, std::span<const index_t> roots,
             MatrixView<const double> values, MatrixView<double> sums) {
  const Forest forest = checked("tree.predict", nodes, roots, X.cols, values.rows);
  std::fill_n(sums.data, sums.rows * sums.cols, 0.0);
  each_block(forest, X,
             [&](index_t, const Node* tree, index_t begin, const index_t* found, index_t n) {
               for (index_t i = 0; i < n; ++i) {
                 const double* const from = values.row(tree[found[i]].right);
                 double* const to = sums.row(begin + i);
                 for (index_t s = 0; s < values.cols; ++s) to[s] += from[s * values.col_stride];
               }
             });
}

#define KERNELMILL_TREE(T)                                                                        \
  template void apply<T>(MatrixView<const T>, std::span<const index_t>, std::span<const index_t>, \
                         MatrixView<std::int32_t>);                                               \
  template void predict<T>(MatrixView<const T>, std::span<const index_t>,                         \
                           std::span<const index_t>, MatrixView<const double>,                    \
                           MatrixView<double>);
KERNELMILL_TREE(float)
KERNELMILL_TREE(double)

}  // namespace kernelmill::tree
