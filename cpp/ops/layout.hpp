// Twins of python/kernelmill/ops/layout.py.
#pragma once

#include <cstdint>  // std::int32_t, std::uint64_t
#include <span>     // std::span

#include "core/matrix.hpp"  // MatrixView

namespace kernelmill::layout {

// force_i = sum_j w_ij^2 (y_i - y_j) and weight_i = sum_{j != i} w_ij with w = 1 / (1 + |y_i -
// y_j|^2); theta is the largest share of its distance that a box of points may be wide to count as
// one point. 0 is the sum itself.
void repulsion(MatrixView<const double> y, double theta, MatrixView<double> force,
               std::span<double> weight);

// The graph of points: edges of point i are [offsets[i], offsets[i + 1]).
struct Graph {
  std::span<const index_t> offsets;
  std::span<const std::int32_t> indices;
};

// force_i = sum_j p_ij w_ij (y_i - y_j) and, if asked, cross_i = sum_j p_ij log(1 + |y_i - y_j|^2).
void attraction(MatrixView<const double> y, const Graph& graph, std::span<const double> values,
                bool divergence, MatrixView<double> force, std::span<double> cross);

struct Epochs {
  index_t first, count, total;
  double a, b, gamma, alpha;
  index_t negatives;
  std::uint64_t seed;
};

// z has no rows where the points are y itself.
void umap(MatrixView<float> y, MatrixView<const float> z, const Graph& graph,
          std::span<const float> rates, const Epochs& epochs);

// Lengths of the shortest paths from each point to each; infinity where there is none.
void paths(const Graph& graph, std::span<const double> lengths, MatrixView<double> distances);

}  // namespace kernelmill::layout
