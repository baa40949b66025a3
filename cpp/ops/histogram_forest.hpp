// Fitted trees, checked.
#pragma once

#include <span>  // std::span

#include "ops/histogram.hpp"

namespace kernelmill::histogram {

struct Forest {
  const Node* nodes;
  index_t count;
  std::span<const index_t> roots;
  MatrixView<const std::uint8_t> sides;

  index_t end(std::size_t tree) const { return tree + 1 < roots.size() ? roots[tree + 1] : count; }
  bool goes_left(const Node& node, double x) const { return tree::goes_left(node, x, sides); }
};

// Raises unless nodes name what exists; `scores` is their number.
Forest checked(const char* op, std::span<const index_t> words, std::span<const index_t> roots,
               MatrixView<const std::uint8_t> sides, index_t d, std::size_t scores);

}  // namespace kernelmill::histogram
