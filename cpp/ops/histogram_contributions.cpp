// Shapley values of features along the paths of trees.
//
// On the way to a leaf each feature i that is split has a share z of the cover that goes the leaf's
// way at its splits, and an indicator o of whether the row does. The worth of a set S of features
// is the sum over leaves of their value times prod_{i in S} o_i prod_{i not in S} z_i, so with m
// features on the path, phi_i gains value (o_i - z_i) sum_k k! (m - 1 - k)! / m! q_k, where q_k are
// the coefficients of prod_{j != i} (z_j + o_j t). The product over all j is formed once, and one
// factor is divided out for each i.
#include <algorithm>  // std::min, std::max
#include <vector>     // std::vector

#include "core/parallel.hpp"   // parallel_for
#include "core/workspace.hpp"  // Workspace
#include "ops/histogram.hpp"
#include "ops/histogram_forest.hpp"

namespace kernelmill::histogram {
namespace {

constexpr index_t kLanes = 8;  // rows at a time

struct Visit {
  index_t node;
  bool left;
};

struct Element {
  index_t feature;
  double share = 1;
  std::vector<Visit> visits;
};

struct Path {
  double value = 0;
  std::size_t score = 0;
  std::vector<Element> elements;
};

// The paths to all leaves of a tree. Covers are above 0.
void collect(const Forest& forest, std::size_t t, std::span<const double> cover, std::size_t scores,
             std::vector<Path>& paths) {
  struct Due {
    index_t node;
    std::vector<Visit> visits;
  };
  const index_t root = forest.roots[t];
  std::vector<Due> due;
  due.push_back({0, {}});
  while (!due.empty()) {
    Due own = std::move(due.back());
    due.pop_back();
    const Node& node = forest.nodes[root + own.node];
    if (node.feature >= 0) {
      for (const bool left : {false, true}) {
        Due next{left ? own.node + 1 : node.right, own.visits};
        next.visits.push_back({root + own.node, left});
        due.push_back(std::move(next));
      }
      continue;
    }
    Path path{node.threshold, t % scores, {}};
    for (const Visit& visit : own.visits) {
      const Node& passed = forest.nodes[visit.node];
      const index_t f = passed.feature & kFeature;
      auto at = std::find_if(path.elements.begin(), path.elements.end(),
                             [&](const Element& e) { return e.feature == f; });
      if (at == path.elements.end()) {
        path.elements.push_back({f, 1, {}});
        at = path.elements.end() - 1;
      }
      const double left = cover[static_cast<std::size_t>(visit.node + 1)];
      const double right = cover[static_cast<std::size_t>(root + passed.right)];
      at->share *= (visit.left ? left : right) / (left + right);
      at->visits.push_back(visit);
    }
    paths.push_back(std::move(path));
  }
}

}  // namespace

template <class T>
void contributions(MatrixView<const T> X, std::span<const index_t> nodes,
                   std::span<const index_t> roots, MatrixView<const std::uint8_t> sides,
                   std::span<const double> cover, std::span<const double> start,
                   StridedView<double, 3> phi) {
  const Forest forest =
      checked("histogram.contributions", nodes, roots, sides, X.cols, start.size());
  std::vector<Path> paths;
  for (std::size_t t = 0; t < roots.size(); ++t) collect(forest, t, cover, start.size(), paths);
  std::size_t longest = 1;
  std::vector<double> base(start.begin(), start.end());
  for (const Path& path : paths) {
    longest = std::max(longest, path.elements.size());
    double share = path.value;
    for (const Element& e : path.elements) share *= e.share;
    base[path.score] += share;
  }
  // weights[m][k] = k! (m - 1 - k)! / m!
  std::vector<std::vector<double>> weights(longest + 1);
  for (std::size_t m = 1; m <= longest; ++m) {
    weights[m].resize(m);
    weights[m][0] = 1 / static_cast<double>(m);
    for (std::size_t k = 1; k < m; ++k) {
      weights[m][k] = weights[m][k - 1] * static_cast<double>(k) / static_cast<double>(m - k);
    }
  }
  const index_t d = X.cols, k = std::ssize(start);
  const index_t size = k * (d + 1);
  parallel_for(X.rows, kLanes, [&](index_t, index_t begin, index_t end) {
    const index_t rows = end - begin;
    Workspace<double> memory(static_cast<std::size_t>(size * kLanes + forest.count * kLanes) +
                             (3 * longest + 2) * static_cast<std::size_t>(kLanes));
    double* const sums = memory.data();
    double* const goes_left = sums + size * kLanes;
    double* const own = goes_left + forest.count * kLanes;  // indicators
    double* const product = own + longest * kLanes;
    std::fill_n(sums, size * kLanes, 0.0);
    for (index_t v = 0; v < forest.count; ++v) {
      const Node& node = forest.nodes[v];
      if (node.feature < 0) continue;
      for (index_t l = 0; l < kLanes; ++l) {
        const index_t row = begin + std::min(l, rows - 1);
        const double x = static_cast<double>(X(row, node.feature & kFeature));
        goes_left[v * kLanes + l] = forest.goes_left(node, x) ? 1.0 : 0.0;
      }
    }
    for (const Path& path : paths) {
      const auto m = static_cast<index_t>(path.elements.size());
      std::fill_n(product, (m + 1) * kLanes, 0.0);
      std::fill_n(product, kLanes, 1.0);
      for (index_t i = 0; i < m; ++i) {
        const Element& e = path.elements[static_cast<std::size_t>(i)];
        double* const o = own + i * kLanes;
        std::fill_n(o, kLanes, 1.0);
        for (const Visit& visit : e.visits) {
          const double* const left = goes_left + visit.node * kLanes;
          for (index_t l = 0; l < kLanes; ++l) o[l] *= visit.left ? left[l] : 1 - left[l];
        }
        for (index_t j = i + 1; j-- > 0;) {
          double* const at = product + j * kLanes;
          for (index_t l = 0; l < kLanes; ++l) {
            at[kLanes + l] += at[l] * o[l];
            at[l] *= e.share;
          }
        }
      }
      for (index_t i = 0; i < m; ++i) {
        const Element& e = path.elements[static_cast<std::size_t>(i)];
        const double* const o = own + i * kLanes;
        const std::vector<double>& weight = weights[static_cast<std::size_t>(m)];
        double rest[kLanes] = {}, total[kLanes] = {};
        for (index_t j = m; j-- > 0;) {
          // The quotient by z + t, from the top; by z alone where o is 0.
          const double* const at = product + j * kLanes;
          for (index_t l = 0; l < kLanes; ++l) {
            rest[l] = o[l] > 0 ? at[kLanes + l] - e.share * rest[l] : at[l] / e.share;
            total[l] += weight[static_cast<std::size_t>(j)] * rest[l];
          }
        }
        double* const to = sums + (static_cast<index_t>(path.score) * (d + 1) + e.feature) * kLanes;
        for (index_t l = 0; l < kLanes; ++l) to[l] += path.value * (o[l] - e.share) * total[l];
      }
    }
    for (index_t l = 0; l < rows; ++l) {
      double* const out = phi.data + (begin + l) * size;
      for (index_t i = 0; i < size; ++i) out[i] = sums[i * kLanes + l];
      for (index_t c = 0; c < k; ++c) out[c * (d + 1) + d] = base[static_cast<std::size_t>(c)];
    }
  });
}

#define KERNELMILL_CONTRIBUTIONS(T)                                                        \
  template void contributions<T>(MatrixView<const T>, std::span<const index_t>,            \
                                 std::span<const index_t>, MatrixView<const std::uint8_t>, \
                                 std::span<const double>, std::span<const double>,         \
                                 StridedView<double, 3>);
KERNELMILL_CONTRIBUTIONS(float)
KERNELMILL_CONTRIBUTIONS(double)

}  // namespace kernelmill::histogram
