// Twins of python/kernelmill/ops/tree.py, where spans, entries, marks and rules are described.
#pragma once

#include <cstdint>  // std::int32_t
#include <span>     // std::span

#include "core/matrix.hpp"  // MatrixView, index_t

namespace kernelmill::tree {

enum Criterion { kGini, kEntropy, kSquared, kPoisson, kQuantile };

constexpr std::int32_t kFirst = INT32_MIN;
constexpr std::int32_t kMissing = 1 << 30;
constexpr std::int32_t kPosition = kMissing - 1;

using Spans = MatrixView<const index_t>;
using Entries = MatrixView<const std::int32_t>;

template <class T>
void sort_columns(MatrixView<const T> X, MatrixView<std::int32_t> order);

void draw(Entries order, Spans spans, std::span<const index_t> keys, index_t max_features,
          std::uint64_t seed, MatrixView<bool> allowed);

// Without rows `allowed` allows all features.
template <class T>
void random_cuts(MatrixView<const T> X, std::span<const std::int32_t> rows, Entries order,
                 Spans spans, std::span<const index_t> keys, MatrixView<const bool> allowed,
                 std::uint64_t seed, MatrixView<std::int32_t> cuts, MatrixView<double> thresholds);

// What is learnt, in the order of positions.
struct Targets {
  MatrixView<const double> y;
  std::span<const double> weight;  // empty: ones
  std::span<const index_t> classes;
  Criterion criterion;
  double alpha, min_leaf, min_weight;

  double w(index_t position) const {
    return weight.empty() ? 1.0 : weight[static_cast<std::size_t>(position)];
  }
};

void measure(const Targets& targets, Spans spans, MatrixView<double> value,
             std::span<double> impurity, std::span<double> mass, std::span<bool> pure);

// Views without rows stand for what was left out.
struct Constraints {
  MatrixView<const bool> allowed;
  MatrixView<const std::int32_t> cuts;
  std::span<const std::int32_t> monotonic;
  MatrixView<const double> bounds;
};

struct Splits {
  std::span<std::int32_t> feature, cut;
  std::span<bool> missing_left;
  std::span<double> gain;
};

void split(const Targets& targets, Entries order, Spans spans, MatrixView<const double> value,
           std::span<const double> total, const Constraints& constraints, const Splits& splits);

void partition(MatrixView<std::int32_t> order, std::span<std::int32_t> rows, MatrixView<double> y,
               std::span<double> weight, Spans spans, std::span<const std::int32_t> feature,
               std::span<const std::int32_t> cut, std::span<const bool> missing_left,
               std::span<index_t> middle);

// A leaf has feature -1 and the number of its values in `right`. An inner node has its left child
// next to it; `right` counts from the root.
struct Node {
  double threshold;
  std::int32_t feature, right;
};
static_assert(sizeof(Node) == 16);

template <class T>
void apply(MatrixView<const T> X, std::span<const index_t> nodes, std::span<const index_t> roots,
           MatrixView<std::int32_t> leaves);
template <class T>
void predict(MatrixView<const T> X, std::span<const index_t> nodes, std::span<const index_t> roots,
             MatrixView<const double> values, MatrixView<double> sums);

}  // namespace kernelmill::tree
