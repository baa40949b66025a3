// Twins of python/kernelmill/ops/tree.py, where ranks, rules and nodes are described.
#pragma once

#include <bit>      // std::bit_cast
#include <cstdint>  // std::int32_t
#include <cstring>  // std::memcpy
#include <limits>   // numeric_limits
#include <span>     // std::span
#include <vector>   // features

#include "core/matrix.hpp"  // MatrixView, index_t
#include "ops/tree_node.hpp"

namespace kernelmill::tree {

enum Criterion { kGini, kEntropy, kSquared, kPoisson, kQuantile };

// The rank of a missing value while a tree grows, above all others.
constexpr std::int32_t kNoRank = std::numeric_limits<std::int32_t>::max();

// Whole numbers in the order of float32 numbers, which may stand for ranks: the bits of magnitudes,
// turned over below 0. Both zeros are one.
inline std::int32_t turned(std::int32_t bits) { return bits ^ (bits >> 31 & kNoRank); }
inline std::int32_t rank_of_value(float x) {
  return x != x ? kNoRank : turned(std::bit_cast<std::int32_t>(x + 0.0f));
}
inline float value_of_rank(std::int32_t rank) { return std::bit_cast<float>(turned(rank)); }

// Ranks of features, [features, rows], in 2 or 3 bytes where these hold them, else in 4: columns
// then stay in the cache. In 1 byte they number bins. Without data values stand for their ranks.
struct Ranks {
  const std::uint8_t* data;
  index_t features, rows, bytes;

  bool binned() const { return bytes == 1; }
  // The rank of a missing value, above those of all rows.
  static constexpr std::int32_t missing(index_t bytes) {
    return bytes == 4 ? kMissing : (std::int32_t{1} << (8 * bytes)) - 1;
  }
  // Bytes may lie anywhere, and come in the order of the machine; three of them lowest first.
  template <int bytes>
  static std::int32_t at(const std::uint8_t* column, index_t row) {
    const std::uint8_t* const own = column + row * bytes;
    std::int32_t rank;
    if constexpr (bytes == 4) {
      std::memcpy(&rank, own, 4);
    } else if constexpr (bytes == 3) {
      rank = own[0] | own[1] << 8 | own[2] << 16;
    } else if constexpr (bytes == 2) {
      std::uint16_t narrow;
      std::memcpy(&narrow, own, 2);
      rank = narrow;
    } else {
      rank = *own;
    }
    return rank == missing(bytes) ? kNoRank : rank;
  }
};

template <class T>
void rank_columns(MatrixView<const T> X, index_t bytes, CubeView<std::uint8_t> ranks);

struct Rule {
  Criterion criterion;
  double alpha, min_leaf, min_weight, min_split, max_depth, max_leaf_nodes, min_gain;
  index_t max_features;
  bool random;
  bool levels_once;  // levels are put in order by the rows of the tree, not of each node
  bool bagged;       // weights count draws: the larger of two sides is that of more rows
};

// What is learnt. One of the two views of X is empty; drawn cuts need no ranks, and float32 values
// may stand for them.
struct Field {
  MatrixView<const float> X_single;
  MatrixView<const double> X_double;
  Ranks ranks;
  MatrixView<const double> y;
  MatrixView<const double> weight;  // without rows: ones
  std::span<const index_t> classes;
  Rule rule;
  std::span<const std::int32_t> monotonic;  // empty: none
  std::span<const bool> categorical;        // empty: none
  std::span<const index_t> seeds;           // one per tree

  bool gaps = true;                 // whether values may be missing
  std::vector<std::uint8_t> whole;  // features whose values are whole numbers and stand for ranks

  // Whether rows may be held as class and weight: the Gini index of several classes of numbers
  // without gaps, and every cut.
  bool markable() const {
    return rule.criterion == kGini && classes.size() == 1 && classes[0] > 2 &&
           classes[0] <= 0xFFFF && categorical.empty() && !gaps && !rule.random &&
           rule.min_weight == 0;
  }
  // Whether values stand for their ranks.
  bool by_values() const { return ranks.data == nullptr; }
  // Calls `loop` with the function from a row to its rank by feature f.
  template <class Loop>
  void with_ranks(index_t f, const Loop& loop) const {
    const std::uint8_t* const own = ranks.data + f * ranks.rows * ranks.bytes;
    if (by_values()) {
      loop([this, f](index_t row) { return rank_of_value(X_single(row, f)); });
    } else if (ranks.binned()) {
      loop([own](index_t row) { return Ranks::at<1>(own, row); });
    } else if (ranks.bytes == 2) {
      loop([own](index_t row) { return Ranks::at<2>(own, row); });
    } else if (ranks.bytes == 3) {
      loop([own](index_t row) { return Ranks::at<3>(own, row); });
    } else {
      loop([own](index_t row) { return Ranks::at<4>(own, row); });
    }
  }
  double value(index_t f, index_t row) const {
    return X_single.data != nullptr ? static_cast<double>(X_single(row, f)) : X_double(row, f);
  }
  // Calls `loop` with the function from a row to its value of feature f.
  template <class Loop>
  void with_values(index_t f, const Loop& loop) const {
    if (X_single.data != nullptr) {
      loop([this, f](index_t row) { return X_single(row, f); });
    } else {
      loop([this, f](index_t row) { return X_double(row, f); });
    }
  }
  bool of_levels(index_t f) const {
    return !categorical.empty() && categorical[static_cast<std::size_t>(f)];
  }
  // The code of a row of a categorical feature.
  std::int32_t code(index_t f, index_t row) const {
    const double x = value(f, row);
    return x != x ? 0 : static_cast<std::int32_t>(x);
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
