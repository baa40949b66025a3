// The CUDA implementations of python/kernelmill/ops/tree.py: walks down fitted trees.
#pragma once

#include <span>  // std::span

#include "core/call.hpp"  // Call, Arena
#include "ops/tree_node.hpp"

namespace kernelmill::tree {

// Trees one after another, in device memory.
struct DeviceForest {
  const Node* nodes;
  index_t count;
  const index_t* roots;
  index_t trees;
  Sides sides;

  DeviceForest(std::span<const index_t> words, std::span<const index_t> begins, Sides codes)
      : nodes(reinterpret_cast<const Node*>(words.data())),
        count(std::ssize(words) / 2),
        roots(begins.data()),
        trees(std::ssize(begins)),
        sides(codes) {}
};

struct CheckSpace {
  explicit CheckSpace(Arena& arena) : first(arena.take<std::int64_t>(1)) {}
  std::int64_t* first;  // tree that does not fit
};

// Whether nodes name what exists, as node_fits says. Waits for the device.
bool forest_fits(const Call& call, const DeviceForest& forest, index_t d, index_t values,
                 const CheckSpace& space);

// Both refuse a forest that does not fit. A thread walks one row down all trees in their order, so
// sums have the bits of the CPU.
template <class T>
void apply(const Call& call, MatrixView<const T> X, const DeviceForest& forest,
           std::int32_t* leaves, const CheckSpace& space);
template <class T>
void predict(const Call& call, MatrixView<const T> X, const DeviceForest& forest,
             const double* values, index_t count, index_t width, double* sums,
             const CheckSpace& space);

}  // namespace kernelmill::tree
