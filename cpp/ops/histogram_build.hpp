// Histograms of the rows of a node.
#pragma once

#include <cstdint>  // std::int32_t

#include "ops/histogram.hpp"
#include "ops/histogram_steps.hpp"

namespace kernelmill::histogram {

// The histogram of a node: for each feature the sums of gradients, of hessians, and the number of
// rows of each code, all of them whole numbers.
struct Shape {
  index_t features, stride;  // codes of a feature, rounded up

  index_t feature_size() const { return 3 * stride; }
  index_t size() const { return features * feature_size(); }
};

// Writes the histograms of the features of one block over `n` rows. `counts` are those of the
// features of the block, at most `width` of them.
void build(const Codes& codes, index_t block, const Steps& steps, const std::int32_t* rows,
           index_t n, std::span<const std::int32_t> counts, const Shape& shape, double* out);

}  // namespace kernelmill::histogram
