// The best cut of one feature for the Gini index of more than two classes and whole weights.
//
// With s_k the weight of class k on the left, T_k in the node, w and W their sums, the gain is
//
//   sum_k s_k^2 / w + sum_k (T_k - s_k)^2 / (W - w) - sum_k T_k^2 / W,
//
// and sum_k (T_k - s_k)^2 = sum T_k^2 - 2 sum T_k s_k + sum s_k^2. All sums are whole numbers, so
// that gains do not depend on the order in which rows are added up.
//
// As in tree_sums.hpp, rows are added up by bins of adjacent ranks, and the gain is convex in what
// goes left. A cut inside a bin takes some of each class of it, so that what goes left lies in a
// box, and no gain is above that of the best corner. Times w (W - w), a gain is above g where
//
//   E = W sum s_k^2 - 2 w sum T_k s_k + w^2 sum T_k^2 / W - g w (W - w) > 0.
//
// Up to five classes all corners are looked at. Of more, s and w are let loose from each other: for
// a given w the terms of E are convex in each s_k alone, and their best sum is convex in w, so the
// ends of w are enough. Only bins that may hold a better cut are looked into, in the same way, down
// to few rows, which are put in order.
#pragma once

#include <memory>   // std::unique_ptr
#include <utility>  // std::integer_sequence
#include <vector>   // sums

#include "core/workspace.hpp"  // Workspace
#include "ops/tree_open.hpp"   // OpenBins
#include "ops/tree_sort.hpp"   // Keyed
#include "ops/tree_sums.hpp"   // SumNode, SumCut

namespace kernelmill::tree {

// Class and whole weight of a row in half the memory of one number.
struct Mark {
  static constexpr int kBits = 16;
  static constexpr std::uint32_t kMost = (1u << kBits) - 1;  // of both

  std::uint32_t bits;

  static Mark of(std::uint32_t label, std::uint32_t weight) { return {label | weight << kBits}; }
  std::uint32_t label() const { return bits & kMost; }
  std::uint32_t weight() const { return bits >> kBits; }
};

class TallySearch {
 public:
  // The best cut between different ranks of n rows with ranks in [lo, hi], none of them missing.
  // Cuts whose gain is not above `floor` may be passed over.
  void run(const SumNode& node, const std::int32_t* ranks, const Mark* rows, index_t n,
           std::int32_t lo, std::int32_t hi, double floor, SumCut& best);

 private:
  // What goes left before the rows that are looked at: weights of classes, each `stride` behind
  // the one before, and rows.
  struct Base {
    const double* tallies;
    index_t stride;
    double n;
  };
  // Scratch of one depth of recursion.
  struct Level {
    index_t room = 0;
    Workspace<std::uint64_t> bins{0};  // [classes, bins]: rows above, weight below
    Workspace<double> s{0};            // [classes, bins + 1]
    Workspace<double> w{0}, own{0}, cross{0}, n{0}, gains{0};
    OpenBins<Mark> open;
  };

  void search(std::size_t depth, const std::int32_t* ranks, const Mark* rows, index_t n, Base base,
              std::int32_t lo, std::int32_t hi);
  void in_order(const std::int32_t* ranks, const Mark* rows, index_t n, Base base, std::int32_t lo,
                std::int32_t hi);
  template <int classes>
  void few(const std::int32_t* ranks, const Mark* rows, index_t n, Base base);
  using Few = void (TallySearch::*)(const std::int32_t*, const Mark*, index_t, Base);
  template <int... more>
  Few few_of(std::integer_sequence<int, more...>) const;
  void choose(Level& level, index_t bins, double least, std::uint8_t* open) const;

  const SumNode* node_ = nullptr;
  double floor_ = 0, whole_ = 0;
  SumCut* best_ = nullptr;
  Few few_ = nullptr;
  std::vector<std::unique_ptr<Level>> levels_;
  index_t room_ = 0;  // rows
  Workspace<Keyed<std::int32_t>> sorted_{0};
  Workspace<double> own_{0}, cross_{0}, left_{0}, gains_{0};
  std::vector<double> tally_;
  std::vector<std::uint32_t> places_;
};

}  // namespace kernelmill::tree
