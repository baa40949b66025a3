// Histograms of the rows of a node.
#pragma once

#include <cstdint>  // std::int32_t
#include <span>     // std::span

#include "core/workspace.hpp"  // Workspace
#include "ops/histogram_growth.hpp"
#include "ops/histogram_steps.hpp"

namespace kernelmill::histogram {

// A coarse entry is one word: 26 bits of gradient, 26 of hessian, 12 that count rows. Words of up
// to kWordRows rows add up without a carry between fields, in one addition each: 4095 x 8191 <
// 2^25, and a sign; 4095 x 16383 < 2^26.
constexpr int kFieldBits = 26;
constexpr index_t kWordRows = 4095;

struct Steps : StepSizes {
  Workspace<std::uint64_t> words;  // coarse: one a row
  Workspace<double> pairs;         // otherwise: gradient and hessian of each row
};

Steps steps_of(std::span<const double> gradient, std::span<const double> hessian, double coarse,
               std::uint64_t seed);

// Writes the histograms of the features of one block over `n` rows. `counts` are those of the
// features of the block, at most `width` of them.
void build(const Codes& codes, index_t block, const Steps& steps, const std::int32_t* rows,
           index_t n, std::span<const std::int32_t> counts, const Shape& shape, double* out);

}  // namespace kernelmill::histogram
