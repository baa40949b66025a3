// One-pass k-means ops: assign, the Lloyd pass, the mini-batch step. See kmeans_nearest.hpp for the
// product they share, kmeans_lloyd.cpp for the bounded slice, kmeans_seeding.cpp for seeding.

#include "ops/kmeans.hpp"

#include "ops/kmeans_nearest.hpp"  // find, Statistics

namespace kernelmill {

using nearest::Centers;
using nearest::Rows;
using nearest::Statistics;

template <class T>
void assign(MatrixView<const T> x, MatrixView<const double> centers, std::span<std::int32_t> labels,
            std::span<T> squared_distances) {
  const index_t d = x.cols;
  const Workspace<double> copy(static_cast<std::size_t>(centers.rows * d));
  for (index_t j = 0; j < centers.rows; ++j) {
    for (index_t p = 0; p < d; ++p) copy.data()[j * d + p] = centers(j, p);
  }
  const Centers<T> ready(copy.data(), centers.rows, d);
  const index_t grain = nearest::row_grain(x.rows, centers.rows, d);
  parallel_for(x.rows, grain, [&](index_t, index_t begin, index_t end) {
    const auto receive = [&](const nearest::Found<T>& found) {
      for (index_t r = 0; r < found.rows; ++r) {
        const index_t i = found.j0 + r, j = found.index[r];
        labels[static_cast<std::size_t>(i)] = static_cast<std::int32_t>(j);
        squared_distances[static_cast<std::size_t>(i)] = static_cast<T>(
            nearest::squared_distance(x.row(i), x.col_stride, copy.data() + j * d, d));
      }
    };
    nearest::find<T>(Rows<T>{x}, begin, end, ready, false, receive);
  });
}

// Statistics of rows 0..n of `rows` at dense centers c (k, d); weight is indexed by row number.
template <class T>
static Statistics pass(const Rows<T>& rows, index_t n, const double* c, index_t k,
                       std::span<const T> weight) {
  const index_t d = rows.x.cols, stride = rows.x.col_stride;
  const Centers<T> ready(c, k, d);
  return ordered_reduce<Statistics>(
      n, nearest::row_grain(n, k, d), [&] { return Statistics(k, d); },
      [&](Statistics& total, index_t, index_t begin, index_t end) {
        const auto receive = [&](const nearest::Found<T>& found) {
          for (index_t r = 0; r < found.rows; ++r) {
            const index_t i = found.j0 + r, j = found.index[r];
            const T* const row = rows.at(i);
            const auto number =
                static_cast<std::size_t>(rows.number == nullptr ? i : rows.number[i]);
            const double w = weight.empty() ? 1.0 : static_cast<double>(weight[number]);
            total.add(row, stride, j, w);
            total.inertia += w * nearest::squared_distance(row, stride, c + j * d, d);
          }
        };
        nearest::find<T>(rows, begin, end, ready, false, receive);
      },
      [](Statistics& into, Statistics&& from) { into.merge(from); });
}

template <class T>
double lloyd_step(MatrixView<const T> x, MatrixView<const double> centers,
                  std::span<const T> weight, double* sums, double* weights) {
  const index_t k = centers.rows, d = x.cols;
  const Workspace<double> c(static_cast<std::size_t>(k * d));
  for (index_t j = 0; j < k; ++j) {
    for (index_t p = 0; p < d; ++p) c.data()[j * d + p] = centers(j, p);
  }
  const Statistics total = pass(Rows<T>{x}, x.rows, c.data(), k, weight);
  std::copy_n(total.sums(), k * d, sums);
  std::copy_n(total.weights(), k, weights);
  return total.inertia;
}

template <class T>
double minibatch_step(MatrixView<const T> x, std::span<const std::int64_t> rows, double* centers,
                      double* weight_sums, index_t k, std::span<const T> weight) {
  const index_t d = x.cols;
  const Statistics batch =
      pass(Rows<T>{x, rows.data()}, static_cast<index_t>(rows.size()), centers, k, weight);
  for (index_t j = 0; j < k; ++j) {
    const double added = batch.weights()[j];
    if (!(added > 0)) continue;
    const double total = weight_sums[j] + added;
    for (index_t p = 0; p < d; ++p) {
      double& c = centers[j * d + p];
      c = (weight_sums[j] * c + batch.sums()[j * d + p]) / total;
    }
    weight_sums[j] = total;
  }
  return batch.inertia;
}

KERNELMILL_FOR_FLOATS(assign)
KERNELMILL_FOR_FLOATS(lloyd_step)
KERNELMILL_FOR_FLOATS(minibatch_step)

}  // namespace kernelmill
