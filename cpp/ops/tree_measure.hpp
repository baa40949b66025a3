// One node: what it predicts, how impure it is, and walks along its rows in the order of a feature.
#pragma once

#include <array>   // std::array
#include <memory>  // std::unique_ptr

#include "ops/tree.hpp"

namespace kernelmill::tree {

// EQUAL of the specification.
constexpr double kEqual = 0x1p-40;

// Whether the left side is the larger of two, where values that a node lacks go: by weight, and by
// more than rounding; in a bag, where weights count draws, by rows.
inline bool larger(bool bagged, double rows, double all_rows, double mass, double all_mass) {
  return bagged ? 2 * rows > all_rows : 2 * mass > all_mass * (1 + kEqual);
}

// What one tree learns, in the order of positions.
struct Targets {
  MatrixView<const double> y;
  std::span<const double> weight;  // empty: ones
  std::span<const index_t> classes;
  Criterion criterion;
  double alpha, min_leaf, min_weight;
  bool whole = false;             // weights are whole numbers
  bool bagged = false;            // as in `Rule`
  const double* xlogx = nullptr;  // x log x up to the weight of all, if it is tabled

  double w(index_t position) const {
    return weight.empty() ? 1.0 : weight[static_cast<std::size_t>(position)];
  }
};

struct Measure {
  double impurity, mass;
  bool pure;
};

// The value goes to `value`.
Measure measure(const Targets& targets, index_t start, index_t stop, double* value);

// Codes of levels that go left, a bit each.
using LevelSet = std::array<std::uint64_t, 4>;
inline bool holds(const LevelSet& set, std::int32_t code) {
  return (set[static_cast<std::size_t>(code / 64)] >> (code % 64) & 1) != 0;
}

// A split of a node: ranks of at most `rank` go left, or the levels of a set.
struct Split {
  double gain;
  double threshold = 0;  // of a drawn cut
  index_t feature = -1;
  std::int32_t rank = -1;
  bool missing_left = false;
  LevelSet levels{};
};

struct NodeView {
  index_t start, stop;
  const double* value;  // what `measure` gave
  double mass;
};

// A position, marked where the rank differs from the one before.
constexpr std::int32_t kFirst = INT32_MIN;
constexpr std::int32_t kPosition = INT32_MAX;

// Rows of a node by rising rank of one feature, the missing ones last.
struct Sequence {
  const std::int32_t* entries;
  index_t n, present;
  index_t only;      // the cut to try, 0 for all
  int sign;          // monotonic constraint
  double low, high;  // on the values of children
  double slack;      // gains this close are equal
};

struct Cut {
  double gain;
  index_t left = 0;  // present rows that go left
  bool missing_left = false;
};

// Any criterion; slower than `SumSearch`.
class Walker {
 public:
  virtual ~Walker() = default;
  virtual void begin(const NodeView& node) = 0;
  virtual Cut walk(const Sequence& sequence) = 0;
};
std::unique_ptr<Walker> walker_of(const Targets& targets);

}  // namespace kernelmill::tree
