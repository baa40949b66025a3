// Walks down fitted trees.
#include <algorithm>  // std::min, std::fill_n
#include <atomic>     // std::atomic
#include <vector>     // packed trees

#include "core/parallel.hpp"   // parallel_for
#include "core/workspace.hpp"  // Workspace
#include "ops/tree.hpp"
#include "ops/tree_packed.hpp"

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
      if (!fits) refuse_nodes(op);
      for (index_t l = 0; l < count; ++l) f(row, first + l, at[l]);
    }
  }
}

// --- many rows: trees rewritten for walks without branches
// ----------------------------------------

// Rows of a task, which stay in the cache beside a tree, and a tree comes from memory once for
// each. Nodes packed at a time.
constexpr index_t kFewestRows = 512, kMostRows = 8192, kRowBytes = 1 << 19;
constexpr index_t kPacked = index_t{1} << 21;
// Leaves of rows along the nodes as they are.
template <bool levels, class T>
void walk_nodes(const Forest& forest, index_t t, const T* X, index_t d, index_t rows, bool by_value,
                std::int32_t* leaves) {
  const Node* const tree = forest.tree(t);
  for (index_t first = 0; first < rows; first += kAbreast) {
    const index_t count = std::min(kAbreast, rows - first);
    index_t at[kAbreast] = {};
    for (bool inner = true; inner;) {
      inner = false;
      for (index_t l = 0; l < kAbreast; ++l) {
        const Node& node = tree[at[l]];
        const index_t row = first + std::min(l, count - 1);
        const bool leaf = node.feature < 0;
        const index_t f = leaf ? 0 : node.feature & kFeature;
        const double x = static_cast<double>(X[row * d + f]);
        const bool left =
            levels ? leaf || goes_left(node, x, forest.sides) : number_goes_left(node, x);
        // Without a branch, which would be taken by chance: next, less where the row stands.
        const index_t right = node.right - at[l], away = left ? 1 : 0;
        at[l] += (right + (-away & (1 - right))) & -static_cast<index_t>(!leaf);
        inner |= !leaf;
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

// Whether the nodes of a tree name what exists.
bool checked(const Forest& forest, index_t t, PackedTree& about) {
  bool fits = true;
  for (index_t v = 0; v < forest.size(t); ++v) {
    const Node& node = forest.tree(t)[v];
    fits &= forest.fits(node, v, forest.size(t));
    about.levels |= node.feature >= 0 && (node.feature & kCategory) != 0;
  }
  return fits;
}

// f(tree, first row, rows, leaves) for blocks of rows, the trees of a block in order.
template <class T, class Link, class F>
void each_block(const char* op, const Forest& forest, const MatrixView<const T>& X, bool by_value,
                F f) {
  const index_t d = X.cols;
  // Packing eight nodes takes as long as one walk is then shorter.
  const bool packs = forest.count >= d && X.rows * 8 * forest.trees() >= forest.count;
  const LinkBits bits(d);
  index_t first = 0;
  while (first < forest.trees()) {
    index_t last = first + 1;
    std::vector<index_t> begins{0, packed_size(forest.size(first))};
    while (last < forest.trees() && begins.back() + forest.size(last) <= kPacked) {
      begins.push_back(begins.back() + packed_size(forest.size(last++)));
    }
    const index_t trees = last - first;
    Workspace<Packed<T, Link>> packed(static_cast<std::size_t>(packs ? begins.back() : 0));
    std::vector<PackedTree> about(static_cast<std::size_t>(trees));
    std::atomic<bool> fits{true};
    parallel_for(trees, 1, [&](index_t, index_t begin, index_t end) {
      for (index_t t = begin; t < end; ++t) {
        const auto own = static_cast<std::size_t>(t);
        const index_t tree = first + t;
        if (!(packs ? pack(forest, tree, by_value, bits, packed.data() + begins[own], about[own])
                    : checked(forest, tree, about[own]))) {
          fits = false;
        }
      }
    });
    if (!fits) refuse_nodes(op);
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
      bool gaps = false;
      const index_t looked = packs ? (end - begin) * d : 0;
      for (index_t i = 0; i < looked; ++i) gaps |= rows[i] != rows[i];
      std::int32_t leaves[kMostRows], alive[kMostRows];
      for (index_t t = 0; t < trees; ++t) {
        const auto own = static_cast<std::size_t>(t);
        const Packed<T, Link>* const tree = packed.data() + begins[own];
        // The next tree comes while rows go down this one.
        if (packs && t + 1 < trees) {
          fetch(packed.data() + begins[own + 1], forest.size(first + t + 1));
        }
        if (!about[own].plain) {
          const auto down = about[own].levels ? walk_nodes<true, T> : walk_nodes<false, T>;
          down(forest, first + t, rows, d, end - begin, by_value, leaves);
        } else if (gaps) {
          walk<true>(tree, about[own], bits, rows, d, end - begin, leaves, alive);
        } else {
          walk<false>(tree, about[own], bits, rows, d, end - begin, leaves, alive);
        }
        f(first + t, begin, end - begin, leaves);
      }
    });
    first = last;
  }
}

// The same, with links of 32 bits where they suffice.
template <class T, class F>
void each_block(const char* op, const Forest& forest, const MatrixView<const T>& X, bool by_value,
                F f) {
  index_t most = 0;
  for (index_t t = 0; t < forest.trees(); ++t) most = std::max(most, forest.size(t));
  if (sizeof(T) == 4 && LinkBits(X.cols).fit(32, packed_size(most))) {
    each_block<T, std::uint32_t>(op, forest, X, by_value, f);
  } else {
    each_block<T, std::uint64_t>(op, forest, X, by_value, f);
  }
}

// Whether a tree is to serve a block of rows, rather than a row all trees, which then come from far
// memory again and again.
template <class T>
bool many(const Forest& forest, const MatrixView<const T>& X) {
  // Places of values in a block are numbers of 32 bits.
  if (X.cols >= (index_t{1} << 17)) return false;
  return X.cols > 0 && X.rows >= 64 && X.rows * 16 * forest.trees() >= forest.count;
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
