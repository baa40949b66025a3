// Walks down trees, over codes and over rows.
//
// Trees of few leaves are not walked. Their leaves are numbered from left to right, and a row
// begins with a mask of all leaves. Each test that sends it right clears the leaves on the left of
// that node, whether the row would come there or not; the lowest leaf that is left is its own
// (Lucchese et al., 2015, "QuickScorer"). So a test is one comparison and one AND for as many rows
// as a register holds, without a load that depends on another.
#include <algorithm>  // std::min, std::fill_n
#include <bit>        // std::countr_zero
#include <cmath>      // std::nextafter
#include <cstring>    // std::memcpy
#include <limits>     // infinity
#include <vector>     // std::vector

#include "core/parallel.hpp"   // parallel_for
#include "core/workspace.hpp"  // Workspace
#include "ops/histogram.hpp"
#include "ops/histogram_checks.hpp"
#include "ops/histogram_forest.hpp"
#include "ops/tree_forest.hpp"  // refuse_nodes

namespace kernelmill::histogram {
namespace {

// Rows that walk a tree side by side, so that their loads overlap.
constexpr index_t kAbreast = 8;
// Rows whose masks stay in registers, and fewest rows for which masks are worth making.
constexpr index_t kMaskRows = 64, kFewRows = 32;

template <class T>
double down(const Forest& forest, index_t root, const MatrixView<const T>& X, index_t row) {
  const Node* const tree = forest.nodes + root;
  index_t at = 0;
  while (tree[at].feature >= 0) {
    const Node& node = tree[at];
    const double x = static_cast<double>(X(row, node.feature & kFeature));
    at = forest.goes_left(node, x) ? at + 1 : node.right;
  }
  return tree[at].threshold;
}

template <class T>
T rounded_down(double x) {
  const auto near = static_cast<T>(x);
  if (!(static_cast<double>(near) > x)) return near;
  return std::nextafter(near, -std::numeric_limits<T>::infinity());
}

// A comparison with the leaves that remain for rows that go right.
template <class T, class Mask>
struct Test {
  Mask remain;
  T threshold;
  std::int32_t feature;
  std::int32_t kind;  // 0: the missing go left, 1: right, 2: by code, the node being `threshold`
};

template <class T, class Mask>
struct MaskTree {
  std::vector<Test<T, Mask>> tests;
  double values[sizeof(Mask) * 8];
};

// The leaves of a tree if they are at most `most`, else 0.
index_t leaves_of(const Forest& forest, std::size_t t, index_t most) {
  index_t leaves = 0;
  for (index_t v = forest.roots[t]; v < forest.end(t) && leaves <= most; ++v) {
    leaves += forest.nodes[v].feature < 0;
  }
  return leaves <= most ? leaves : 0;
}

template <class T, class Mask>
MaskTree<T, Mask> masks_of(const Forest& forest, std::size_t t) {
  MaskTree<T, Mask> made;
  const index_t begin = forest.roots[t], count = forest.end(t) - begin;
  const Node* const tree = forest.nodes + begin;
  // Nodes come depth first, so leaves are numbered from left to right, and those of the left child
  // stand between a node and its right child.
  std::vector<index_t> before(static_cast<std::size_t>(count + 1), 0);
  for (index_t v = 0; v < count; ++v) {
    const auto at = static_cast<std::size_t>(v);
    before[at + 1] = before[at] + (tree[v].feature < 0);
    if (tree[v].feature < 0) made.values[before[at]] = tree[v].threshold;
  }
  for (index_t v = 0; v < count; ++v) {
    const Node& node = tree[v];
    if (node.feature < 0) continue;
    const index_t first = before[static_cast<std::size_t>(v)];
    const index_t last = before[static_cast<std::size_t>(node.right)];
    const Mask left = static_cast<Mask>(((Mask{1} << (last - first)) - 1) << first);
    const bool code = (node.feature & kCategory) != 0;
    made.tests.push_back({static_cast<Mask>(~left),
                          code ? static_cast<T>(v) : rounded_down<T>(node.threshold),
                          node.feature & kFeature,
                          code                             ? 2
                          : (node.feature & kMissing) != 0 ? 0
                                                           : 1});
  }
  return made;
}

// Whether children follow the rule of depth first, which the numbering of leaves needs.
bool in_order(const Forest& forest, std::size_t t) {
  const index_t begin = forest.roots[t], count = forest.end(t) - begin;
  const Node* const tree = forest.nodes + begin;
  std::vector<index_t> due{0};
  for (index_t v = 0; v < count; ++v) {
    if (due.empty() || due.back() != v) return false;
    due.pop_back();
    if (tree[v].feature < 0) continue;
    due.push_back(tree[v].right);
    due.push_back(v + 1);
  }
  return due.empty();
}

// 64 bytes: one register at the highest level, several below.
template <class T>
struct Vector {
  typedef T type __attribute__((vector_size(64), may_alias));
  static void fill(type& all, T x) {
    for (std::size_t i = 0; i < 64 / sizeof(T); ++i) all[i] = x;
  }
};

template <class T, class Mask>
void score(const Forest& forest, index_t root, const MaskTree<T, Mask>& tree, const T* columns,
           double* sums) {
  constexpr index_t lanes = 64 / static_cast<index_t>(sizeof(T)), parts = kMaskRows / lanes;
  using Values = typename Vector<T>::type;
  using Masks = typename Vector<Mask>::type;
  Masks left[parts];
  for (Masks& own : left) Vector<Mask>::fill(own, static_cast<Mask>(~Mask{0}));
  for (const Test<T, Mask>& test : tree.tests) {
    const Values* const x = reinterpret_cast<const Values*>(columns + test.feature * kMaskRows);
    Values threshold;
    Masks remain;
    Vector<T>::fill(threshold, test.threshold);
    Vector<Mask>::fill(remain, test.remain);
    if (test.kind == 0) {
      for (index_t p = 0; p < parts; ++p) {
        left[p] &= remain | ~reinterpret_cast<Masks>(x[p] > threshold);
      }
    } else if (test.kind == 1) {
      for (index_t p = 0; p < parts; ++p) {
        left[p] &= remain | reinterpret_cast<Masks>(x[p] <= threshold);
      }
    } else {
      const Node& node = forest.nodes[root + static_cast<index_t>(test.threshold)];
      const T* const codes = columns + test.feature * kMaskRows;
      for (index_t i = 0; i < kMaskRows; ++i) {
        if (!forest.goes_left(node, static_cast<double>(codes[i]))) {
          left[i / lanes][i % lanes] &= test.remain;
        }
      }
    }
  }
  Mask own[kMaskRows];
  std::memcpy(own, left, sizeof(own));
  for (index_t i = 0; i < kMaskRows; ++i) sums[i] += tree.values[std::countr_zero(own[i])];
}

// Scores of blocks of rows from masks; trees with too many leaves are walked.
template <class T, class Mask>
void predict_blocks(const Forest& forest, const MatrixView<const T>& X,
                    std::span<const double> start, MatrixView<double> raw) {
  using Value = std::conditional_t<sizeof(Mask) == 4, float, double>;
  const std::size_t trees = forest.roots.size(), k = start.size();
  std::vector<MaskTree<Value, Mask>> masks(trees);
  for (std::size_t t = 0; t < trees; ++t) {
    if (leaves_of(forest, t, sizeof(Mask) * 8) > 0 && in_order(forest, t)) {
      masks[t] = masks_of<Value, Mask>(forest, t);
    }
  }
  const index_t grain = kMaskRows * std::max<index_t>(1, 256 / static_cast<index_t>(trees + 1));
  parallel_for(X.rows, grain, [&](index_t, index_t first, index_t last) {
    Workspace<Value> memory(static_cast<std::size_t>(X.cols * kMaskRows));
    Workspace<double> totals(k * static_cast<std::size_t>(kMaskRows));
    Value* const columns = memory.data();
    for (index_t begin = first; begin < last; begin += kMaskRows) {
      const index_t rows = std::min(kMaskRows, last - begin);
      for (index_t i = 0; i < kMaskRows; ++i) {
        const index_t row = begin + std::min(i, rows - 1);
        for (index_t f = 0; f < X.cols; ++f) {
          columns[f * kMaskRows + i] = static_cast<Value>(X(row, f));
        }
      }
      for (std::size_t c = 0; c < k; ++c) {
        std::fill_n(totals.data() + static_cast<index_t>(c) * kMaskRows, kMaskRows, start[c]);
      }
      for (std::size_t t = 0; t < trees; ++t) {
        double* const sums = totals.data() + static_cast<index_t>(t % k) * kMaskRows;
        const index_t root = forest.roots[t];
        if (!masks[t].tests.empty()) {
          score(forest, root, masks[t], columns, sums);
          continue;
        }
        for (index_t i = 0; i < rows; ++i) sums[i] += down(forest, root, X, begin + i);
      }
      for (index_t i = 0; i < rows; ++i) {
        for (std::size_t c = 0; c < k; ++c) {
          raw(begin + i, static_cast<index_t>(c)) =
              totals.data()[static_cast<index_t>(c) * kMaskRows + i];
        }
      }
    }
  });
}

}  // namespace

Forest checked(const char* op, std::span<const index_t> words, std::span<const index_t> roots,
               MatrixView<const std::uint8_t> sides, index_t d, std::size_t scores) {
  const Forest forest{reinterpret_cast<const Node*>(words.data()), std::ssize(words) / 2, roots,
                      sides};
  bool fits = scores > 0;
  for (std::size_t t = 0; t < roots.size() && fits; ++t) {
    const index_t begin = roots[t], end = forest.end(t);
    fits = 0 <= begin && begin < end && end <= forest.count;
    for (index_t v = begin; fits && v < end; ++v) {
      fits = tree::node_fits(forest.nodes[v], v - begin, end - begin, d, sides.rows, -1);
    }
  }
  if (!fits) tree::refuse_nodes(op, false);
  return forest;
}

template <class T>
void predict(MatrixView<const T> X, std::span<const index_t> nodes, std::span<const index_t> roots,
             MatrixView<const std::uint8_t> sides, std::span<const double> start,
             MatrixView<double> raw) {
  const Forest forest = checked("histogram.predict", nodes, roots, sides, X.cols, start.size());
  if (X.rows >= kFewRows) {
    index_t most = 0;
    for (std::size_t t = 0; t < roots.size(); ++t) most = std::max(most, leaves_of(forest, t, 64));
    if (sizeof(T) == 4 && most <= 32) {
      predict_blocks<T, std::uint32_t>(forest, X, start, raw);
    } else {
      predict_blocks<T, std::uint64_t>(forest, X, start, raw);
    }
    return;
  }
  for (index_t i = 0; i < X.rows; ++i) {
    std::copy(start.begin(), start.end(), raw.row(i));
    for (std::size_t t = 0; t < roots.size(); ++t) {
      raw(i, static_cast<index_t>(t % start.size())) += down(forest, roots[t], X, i);
    }
  }
}

void walk(const Codes& codes, MatrixView<const std::int32_t> split,
          MatrixView<const std::uint8_t> sides, std::span<std::int32_t> leaves) {
  check_split(codes, split);
  struct Step {
    const std::uint8_t* code;
    std::int32_t left, right;
    std::uint8_t sides[32];
  };
  std::vector<Step> steps(static_cast<std::size_t>(split.rows));
  for (index_t v = 0; v < split.rows; ++v) {
    Step& step = steps[static_cast<std::size_t>(v)];
    step = {split(v, 0) < 0 ? nullptr : codes.feature(split(v, 0)), split(v, 3), split(v, 4), {}};
    for (index_t c = 0; c < 32; ++c) step.sides[c] = sides(v, c);
  }
  parallel_for(codes.n, 4096, [&](index_t, index_t begin, index_t end) {
    const auto next = [&](std::int32_t at, index_t row) {
      const Step& step = steps[static_cast<std::size_t>(at)];
      const std::uint8_t code = step.code[row * codes.width];
      return (step.sides[code / 8] >> (code % 8)) & 1 ? step.left : step.right;
    };
    index_t row = begin;
    // Several rows abreast: the loads of one hide behind those of the others.
    for (; row + kAbreast <= end; row += kAbreast) {
      std::int32_t at[kAbreast] = {};
      for (bool inner = true; inner;) {
        inner = false;
        for (index_t l = 0; l < kAbreast; ++l) {
          if (steps[static_cast<std::size_t>(at[l])].code == nullptr) continue;
          at[l] = next(at[l], row + l);
          inner = true;
        }
      }
      std::copy_n(at, kAbreast, leaves.data() + row);
    }
    for (; row < end; ++row) {
      std::int32_t at = 0;
      while (steps[static_cast<std::size_t>(at)].code != nullptr) at = next(at, row);
      leaves[static_cast<std::size_t>(row)] = at;
    }
  });
}

template void predict<float>(MatrixView<const float>, std::span<const index_t>,
                             std::span<const index_t>, MatrixView<const std::uint8_t>,
                             std::span<const double>, MatrixView<double>);
template void predict<double>(MatrixView<const double>, std::span<const index_t>,
                              std::span<const index_t>, MatrixView<const std::uint8_t>,
                              std::span<const double>, MatrixView<double>);

}  // namespace kernelmill::histogram
