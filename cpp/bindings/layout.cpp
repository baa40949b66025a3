#include "ops/layout.hpp"

#include "bindings/family.hpp"
#include "core/error.hpp"

namespace kernelmill {

namespace {

using Offsets = std::span<const index_t>;
using Indices = std::span<const std::int32_t>;

// Edges that lead out of the points would be read beyond the end.
layout::Graph graph_of(const char* op, Offsets offsets, Indices indices, index_t points) {
  const auto edges = static_cast<index_t>(indices.size());
  bool rising = offsets.front() == 0 && offsets.back() == edges;
  for (std::size_t i = 1; i < offsets.size(); ++i) rising &= offsets[i - 1] <= offsets[i];
  if (!rising) invalid(op, "offsets must rise from 0 to the number of indices, ", edges);
  for (const std::int32_t j : indices) {
    if (j < 0 || j >= points) invalid(op, "indices must be in [0, ", points, "), got ", j);
  }
  return {offsets, indices};
}

void attraction(MatrixView<const double> y, Offsets offsets, Indices indices,
                std::span<const double> values, bool divergence, MatrixView<double> force,
                std::span<double> cross) {
  layout::attraction(y, graph_of("layout.attraction", offsets, indices, y.rows), values, divergence,
                     force, cross);
}

void umap(MatrixView<float> y, MatrixView<const float> z, Offsets offsets, Indices indices,
          std::span<const float> rates, index_t first, index_t count, index_t total, double a,
          double b, double gamma, double alpha, index_t negatives, std::uint64_t seed) {
  const index_t points = z.data == nullptr ? y.rows : z.rows;
  layout::umap(y, z, graph_of("layout.umap", offsets, indices, points), rates,
               {first, count, total, a, b, gamma, alpha, negatives, seed});
}

void paths(Offsets offsets, Indices indices, std::span<const double> lengths,
           MatrixView<double> distances) {
  for (const double length : lengths) {
    if (!(length >= 0)) invalid("layout.paths", "lengths must be at least 0, got ", length);
  }
  layout::paths(graph_of("layout.paths", offsets, indices, distances.rows), lengths, distances);
}

}  // namespace

void bind_layout(Family family) {
  family.op<layout::repulsion>("repulsion");
  family.op<attraction>("attraction");
  family.op<umap>("umap");
  family.op<paths>("paths");
}

}  // namespace kernelmill
