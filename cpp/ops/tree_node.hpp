// A node of a fitted tree, and which way a row goes: exact trees and those of histograms share it.
#pragma once

#include <cstdint>  // std::int32_t

#include "core/both.hpp"    // KERNELMILL_BOTH
#include "core/matrix.hpp"  // MatrixView, index_t

namespace kernelmill::tree {

// Bits of Node::feature: missing values go left, and the split is one of levels; the rest is the
// number of the feature. kMissing is the stored rank of a missing value, too.
constexpr std::int32_t kMissing = 1 << 30, kCategory = 1 << 29, kFeature = kCategory - 1;
constexpr index_t kCodes = 256;

// A leaf has feature -1. An inner node has its left child next to it; `right` counts from the root.
struct Node {
  double threshold;  // with the bit kCategory, a row of `sides`
  std::int32_t feature, right;
};
static_assert(sizeof(Node) == 16);

// Where a row goes at a split of numbers, without a branch: sides are hard to predict.
KERNELMILL_BOTH inline bool number_goes_left(const Node& node, double x) {
  return (x <= node.threshold) | ((x != x) & ((node.feature & kMissing) != 0));
}

// Codes that go left, a bit each.
using Sides = MatrixView<const std::uint8_t>;

KERNELMILL_BOTH inline bool goes_left(const Node& node, double x, const Sides& sides) {
  if ((node.feature & kCategory) == 0) return number_goes_left(node, x);
  const auto code = static_cast<index_t>(x >= 0 && x < 256 ? x : 0);
  const auto side = static_cast<index_t>(node.threshold);
  const std::uint8_t byte = sides.data[side * sides.row_stride + code / 8 * sides.col_stride];
  return ((byte >> (code % 8)) & 1) != 0;
}

// Whether node `at` of a tree of `size` nodes can be left; d features, `sides` rows of sides. A
// leaf can be read where its values are numbered below `values`, if this is not negative.
KERNELMILL_BOTH inline bool node_fits(const Node& node, index_t at, index_t size, index_t d,
                                      index_t sides, index_t values) {
  if (node.feature < 0) return values < 0 || (0 <= node.right && node.right < values);
  if ((node.feature & kCategory) != 0 &&
      !(node.threshold >= 0 && node.threshold < static_cast<double>(sides))) {
    return false;
  }
  return (node.feature & kFeature) < d && node.right > at + 1 && node.right < size;
}

}  // namespace kernelmill::tree
