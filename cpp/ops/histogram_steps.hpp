// Gradients and hessians as whole multiples of a step, so that sums are exact in any order.
#pragma once

#include <cstdint>  // std::uint64_t
#include <span>     // std::span

#include "core/workspace.hpp"  // Workspace
#include "ops/histogram.hpp"

namespace kernelmill::histogram {

// A coarse entry is one word: 26 bits of gradient, 26 of hessian, 12 that count rows. Words of up
// to kWordRows rows add up without a carry between fields, in one addition each.
constexpr int kFieldBits = 26;
constexpr index_t kWordRows = 4095;

struct Steps {
  double gradient = 1, hessian = 1;  // the steps
  bool coarse = false;
  Workspace<std::uint64_t> words;  // coarse: one a row
  Workspace<double> pairs;         // otherwise: gradient and hessian of each row
};

Steps steps_of(std::span<const double> gradient, std::span<const double> hessian, double coarse,
               std::uint64_t seed);

}  // namespace kernelmill::histogram
