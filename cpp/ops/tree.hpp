// Twins of python/kernelmill/ops/tree.py, where ranks, rules and nodes are described.
#pragma once

#include <cstdint>  // std::int32_t
#include <span>     // std::span

#include "core/matrix.hpp"  // MatrixView, index_t
#include "ops/tree_node.hpp"

namespace kernelmill::tree {

enum Criterion { kGini, kEntropy, kSquared, kPoisson, kQuantile };

constexpr std::uint16_t kNarrowMissing = 0xFFFF;

template <class T>
void rank_columns(MatrixView<const T> X, MatrixView<std::int32_t> ranks, MatrixView<T> values);

struct Rule {
  Criterion criterion;
  double alpha, min_leaf, min_weight, min_split, max_depth, max_leaf_nodes, min_gain;
  index_t max_features;
  bool random;
  bool levels_once;  // levels are put in order by the rows of the tree, not of each node
};

// What is learnt, and where trees are written. One of the two pointers to values is null.
struct Field {
  MatrixView<const std::int32_t> ranks;
  const std::uint16_t* narrow;  // the same in 16 bits, or null; kNarrowMissing for the missing
  const float* values_single;
  const double* values_double;
  MatrixView<const double> y;
  MatrixView<const double> weight;  // without rows: ones
  std::span<const index_t> classes;
  Rule rule;
  std::span<const std::int32_t> monotonic;  // empty: none
  std::span<const bool> categorical;        // empty: none
  std::span<const index_t> seeds;           // one per tree

  bool gaps = true;  // whether values may be missing

  // Whether rows may be held as class and weight: the Gini index of several classes of numbers
  // without gaps, and every cut.
  bool markable() const {
    return rule.criterion == kGini && classes.size() == 1 && classes[0] > 2 &&
           classes[0] <= 0xFFFF && categorical.empty() && !gaps && !rule.random &&
           rule.min_weight == 0;
  }
  // Value of a rank of feature f.
  double value(index_t f, index_t rank) const {
    const index_t at = f * ranks.cols + rank;
    return values_single != nullptr ? static_cast<double>(values_single[at]) : values_double[at];
  }
  bool of_levels(index_t f) const {
    return !categorical.empty() && categorical[static_cast<std::size_t>(f)];
  }
  // The code of a rank of a categorical feature.
  std::int32_t code(index_t f, std::int32_t rank) const {
    return rank == kMissing ? 0 : static_cast<std::int32_t>(value(f, rank));
  }
};

// Room for trees: `capacity` nodes each.
struct Grown {
  index_t capacity, width;
  Node* nodes;    // [trees, capacity]
  double* stats;  // [trees, capacity, 3]: impurity, weight, rows
  double* value;  // [trees, capacity, width]
  index_t most_sides;
  std::uint8_t* sides;  // [trees, most_sides, 32]
  std::span<index_t> sizes;
};

void grow(const Field& field, const Grown& grown);

template <class T>
void apply(MatrixView<const T> X, std::span<const index_t> nodes, std::span<const index_t> roots,
           Sides sides, MatrixView<std::int32_t> leaves);
template <class T>
void predict(MatrixView<const T> X, std::span<const index_t> nodes, std::span<const index_t> roots,
             Sides sides, std::span<const double> values, MatrixView<double> sums);
// values: dense, [leaves, width].
template <class T>
void contributions(MatrixView<const T> X, std::span<const index_t> nodes,
                   std::span<const index_t> roots, Sides sides, std::span<const double> cover,
                   MatrixView<const double> values, std::span<const double> start,
                   CubeView<double> phi);

}  // namespace kernelmill::tree
