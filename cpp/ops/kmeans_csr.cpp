// k-means on CSR rows. ||x - c||^2 = ||c||^2 + sum over stored (p, v) of v (v - 2 c_p) when columns
// are distinct; centers are kept transposed, (d, k), so that each stored value is one multiply-add
// over k contiguous lanes. Everything runs in float64: with so few values per row the products are
// not the bottleneck, and the expanded square keeps its digits.

#include "ops/kmeans.hpp"

#include <algorithm>  // std::max
#include <vector>     // transposed centers

#include "core/parallel.hpp"       // ordered_reduce
#include "core/workspace.hpp"      // scores
#include "ops/kmeans_nearest.hpp"  // Statistics

namespace kernelmill {

namespace {

using nearest::Statistics;

class TransposedCenters {
 public:
  explicit TransposedCenters(MatrixView<const double> c)
      : k(c.rows),
        d(c.cols),
        columns(static_cast<std::size_t>(k * d)),
        norms(static_cast<std::size_t>(k), 0.0) {
    for (index_t j = 0; j < k; ++j) {
      for (index_t p = 0; p < d; ++p) {
        columns[static_cast<std::size_t>(p * k + j)] = c(j, p);
        norms[static_cast<std::size_t>(j)] += c(j, p) * c(j, p);
      }
    }
  }
  index_t k, d;
  std::vector<double> columns;  // (d, k)
  std::vector<double> norms;    // (k)
};

struct Nearest {
  index_t label;
  double squared_distance;
};

// scores (k) and dense (d, all zero between calls) are scratch.
template <class T, class Index>
Nearest nearest_center(const CsrRows<T, Index>& x, index_t i, const TransposedCenters& c,
                       double* scores, double* dense) {
  const index_t k = c.k;
  const auto begin = static_cast<index_t>(x.indptr[i]);
  const auto end = static_cast<index_t>(x.indptr[i + 1]);
  std::copy(c.norms.begin(), c.norms.end(), scores);
  for (index_t e = begin; e < end; ++e) {
    const auto p = static_cast<index_t>(x.indices[e]);
    const double v = static_cast<double>(x.data[e]);
    const double* const column = c.columns.data() + p * k;
    for (index_t j = 0; j < k; ++j) scores[j] -= 2 * v * column[j];
    dense[p] += v;
  }
  double norm = 0;  // of the row with repeated columns added up
  for (index_t e = begin; e < end; ++e) {
    const auto p = static_cast<index_t>(x.indices[e]);
    norm += dense[p] * dense[p];
    dense[p] = 0;
  }
  index_t best = 0;
  for (index_t j = 1; j < k; ++j) {
    if (scores[j] < scores[best]) best = j;
  }
  // NaN must survive: std::max(0, NaN) would hide it.
  const double squared = scores[best] + norm;
  return {best, squared < 0 ? 0 : squared};
}

template <class T, class Index>
index_t sparse_grain(const CsrRows<T, Index>& x, const TransposedCenters& c) {
  const index_t n = x.rows;
  const index_t stored = x.stored / std::max<index_t>(n, 1) + 4;
  return bounded_grain(n, 200'000 / (stored * c.k) + 1, 256);
}

template <class T, class Index>
void assign_rows(const CsrRows<T, Index>& x, MatrixView<const double> centers,
                 std::span<std::int32_t> labels, std::span<T> squared_distances) {
  const TransposedCenters c(centers);
  parallel_for(x.rows, sparse_grain(x, c), [&](index_t, index_t begin, index_t end) {
    const Workspace<double> scores(static_cast<std::size_t>(c.k));
    const Workspace<double> dense(static_cast<std::size_t>(c.d));
    std::fill_n(dense.data(), c.d, 0.0);
    for (index_t i = begin; i < end; ++i) {
      const Nearest found = nearest_center(x, i, c, scores.data(), dense.data());
      labels[static_cast<std::size_t>(i)] = static_cast<std::int32_t>(found.label);
      squared_distances[static_cast<std::size_t>(i)] = static_cast<T>(found.squared_distance);
    }
  });
}

template <class T, class Index>
double step_over_rows(const CsrRows<T, Index>& x, MatrixView<const double> centers,
                      std::span<const T> weight, double* sums, double* weights) {
  const TransposedCenters c(centers);
  const Statistics total = ordered_reduce<Statistics>(
      x.rows, sparse_grain(x, c), [&] { return Statistics(c.k, c.d); },
      [&](Statistics& into, index_t, index_t begin, index_t end) {
        const Workspace<double> scores(static_cast<std::size_t>(c.k));
        const Workspace<double> dense(static_cast<std::size_t>(c.d));
        std::fill_n(dense.data(), c.d, 0.0);
        for (index_t i = begin; i < end; ++i) {
          const Nearest found = nearest_center(x, i, c, scores.data(), dense.data());
          const double w =
              weight.empty() ? 1.0 : static_cast<double>(weight[static_cast<std::size_t>(i)]);
          double* const sum = into.sums() + found.label * c.d;
          for (Index e = x.indptr[i]; e < x.indptr[i + 1]; ++e) {
            sum[x.indices[e]] += w * static_cast<double>(x.data[e]);
          }
          into.weights()[found.label] += w;
          into.inertia += w * found.squared_distance;
        }
      },
      [](Statistics& into, Statistics&& from) { into.merge(from); });
  std::copy_n(total.sums(), c.k * c.d, sums);
  std::copy_n(total.weights(), c.k, weights);
  return total.inertia;
}

}  // namespace

template <class T>
void csr_assign(const CsrView<T>& x, MatrixView<const double> centers,
                std::span<std::int32_t> labels, std::span<T> squared_distances) {
  x.visit([&](const auto& rows) { assign_rows(rows, centers, labels, squared_distances); });
}

template <class T>
double csr_lloyd_step(const CsrView<T>& x, MatrixView<const double> centers,
                      std::span<const T> weight, double* sums, double* weights) {
  return x.visit(
      [&](const auto& rows) { return step_over_rows(rows, centers, weight, sums, weights); });
}

KERNELMILL_FOR_FLOATS(csr_assign)
KERNELMILL_FOR_FLOATS(csr_lloyd_step)

}  // namespace kernelmill
