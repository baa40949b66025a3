// The way of one row down one tree.
#pragma once

#include "core/launch.cuh"  // launch
#include "ops/tree.cuh"

namespace kernelmill::tree {

// Entries of x lie `step` apart; the leaf is counted from the root.
template <class T>
__device__ index_t leaf_of(const Node* tree, const T* x, index_t step, const Sides& sides) {
  index_t at = 0;
  for (Node node = tree[0]; node.feature >= 0; node = tree[at]) {
    const auto own = static_cast<double>(x[(node.feature & kFeature) * step]);
    at = goes_left(node, own, sides) ? at + 1 : node.right;
  }
  return at;
}

}  // namespace kernelmill::tree
