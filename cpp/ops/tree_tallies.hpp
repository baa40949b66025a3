// The best cut of one feature for the Gini index of more than two classes and whole weights.
//
// With s_k the weight of class k on the left, T_k in the node, w and W their sums, the gain is
//
//   sum_k s_k^2 / w + sum_k (T_k - s_k)^2 / (W - w) - sum_k T_k^2 / W,
//
// and sum_k (T_k - s_k)^2 = sum T_k^2 - 2 sum T_k s_k + sum s_k^2, so a row changes three sums of
// whole numbers, however many classes there are. Rows come in order by bins of about 16 adjacent
// ranks, each of which is sorted; gains are a loop of their own, which the compiler turns into
// vectors. Weights of three classes lie side by side in one number of 64 bits: one sum a row, from
// which the three sums follow in vectors, and few rows need no order but their slots.
#pragma once

#include <vector>  // sums

#include "core/workspace.hpp"  // Workspace
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
  void run(const SumNode& node, const std::int32_t* ranks, const Mark* rows, index_t n,
           std::int32_t lo, std::int32_t hi, SumCut& best);

 private:
  void three(const SumNode& node, const std::int32_t* ranks, const Mark* rows, index_t n,
             std::int32_t lo, std::int32_t hi, SumCut& best);
  const Keyed<std::uint32_t>* in_order(const std::int32_t* ranks, const Mark* rows, index_t n,
                                       std::int32_t lo, std::int32_t hi);

  index_t room_ = 0;  // rows
  Workspace<Keyed<std::uint32_t>> sorted_{0};
  Workspace<double> own_{0}, cross_{0}, left_{0}, gains_{0};
  Workspace<std::uint64_t> sums_{0};
  std::vector<double> tally_;
  std::vector<std::uint32_t> places_;
};

}  // namespace kernelmill::tree
