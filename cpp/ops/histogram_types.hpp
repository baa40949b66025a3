// What the ops of histograms take, on the CPU and on a GPU.
#pragma once

#include <cstdint>  // std::uint8_t
#include <span>     // std::span

#include "core/matrix.hpp"  // MatrixView
#include "ops/tree_node.hpp"

namespace kernelmill::histogram {

using tree::kCategory, tree::kCodes, tree::kFeature, tree::kMissing, tree::Node;

// Rows in blocks of features: codes[(block * n + row) * width + feature in block].
struct Codes {
  const std::uint8_t* data = nullptr;
  index_t blocks = 0, n = 0, width = 0;

  KERNELMILL_BOTH const std::uint8_t* block(index_t b) const { return data + b * n * width; }
  // The code of feature f of row 0; that of the next row is `width` further.
  KERNELMILL_BOTH const std::uint8_t* feature(index_t f) const {
    return block(f / width) + f % width;
  }
};

enum class Loss { squared, absolute, quantile, huber, log_cosh, poisson, gamma, log, multinomial };

// What governs growth, in the order of `rule`.
struct Rule {
  double rate, l2, l1, min_leaf, min_hessian, max_depth, share, min_gain, coarse;
};

struct Features {
  std::span<const std::int32_t> counts;
  std::span<const bool> categorical;
  std::span<const std::int32_t> monotonic;  // may be empty
  MatrixView<const bool> groups;            // may have no rows
};

struct Tree {
  MatrixView<std::int32_t> split;
  MatrixView<double> stats;
  MatrixView<std::uint8_t> sides;
};

}  // namespace kernelmill::histogram
