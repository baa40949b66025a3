// What is summed or chosen over all rows: kernel densities, and donors of missing values.
#include <vector>  // runs of entries

#include "core/math.hpp"  // exp
#include "ops/neighbors_blocks.hpp"

namespace kernelmill::neighbors {
namespace {

enum Kernel { kGaussian, kTophat, kEpanechnikov, kExponential, kLinear, kCosine };

// log sum_j w_j K_j, block by block. Kernels without an end are kept as the logarithm of their
// largest term and the sum of the others relative to it, so that far queries stay finite.
class LogSum {
 public:
  LogSum(index_t kernel, double bandwidth) : kernel_(kernel), scale_(1 / bandwidth) {}

  // `distance` is overwritten; w is null for ones.
  void add(double* distance, const double* w, index_t count) {
    alignas(64) double term[kWidth];
    for (index_t l = count; l < kWidth; ++l) distance[l] = kInfinity;
    if (kernel_ == kGaussian || kernel_ == kExponential) {
      double top = -kInfinity;
      for (index_t l = 0; l < kWidth; ++l) {
        const double z = distance[l] * scale_;
        distance[l] = kernel_ == kGaussian ? -0.5 * z * z : -z;
        if (l < count && (w == nullptr || w[l] > 0)) top = std::max(top, distance[l]);
      }
      if (top > top_) {
        sum_ *= exp(top_ - top);
        top_ = top;
      }
      if (!(top_ > -kInfinity)) return;
#pragma omp simd
      for (index_t l = 0; l < kWidth; ++l) term[l] = exp(distance[l] - top_);
    } else {
      for (index_t l = 0; l < kWidth; ++l) {
        const double z = distance[l] * scale_;
        term[l] = z < 1 ? bounded(z) : 0;
      }
    }
    double sum = 0;
    for (index_t l = 0; l < count; ++l) sum += w == nullptr ? term[l] : w[l] * term[l];
    sum_ += sum;
  }
  double value() const {
    const bool endless = kernel_ == kGaussian || kernel_ == kExponential;
    return sum_ > 0 ? std::log(sum_) + (endless ? top_ : 0.0) : -kInfinity;
  }

 private:
  double bounded(double z) const {
    switch (kernel_) {
      case kTophat:
        return 1;
      case kEpanechnikov:
        return 1 - z * z;
      case kLinear:
        return 1 - z;
      default:
        return std::cos(1.5707963267948966 * z);
    }
  }
  index_t kernel_;
  double scale_, top_ = -kInfinity, sum_ = 0;
};

template <class M, class T>
void densities(const M& metric, MatrixView<const T> x, MatrixView<const T> y, const double* weight,
               index_t kernel, double bandwidth, double* out) {
  parallel_for(x.rows, scan_grain(x.rows), [&](index_t, index_t begin, index_t end) {
    const index_t n = end - begin;
    std::vector<LogSum> sums(static_cast<std::size_t>(n), LogSum(kernel, bandwidth));
    scan(metric, x, begin, n, y, [&](index_t i, index_t from, double* distance, index_t count) {
      for (index_t l = 0; l < count; ++l) distance[l] = metric.finish(distance[l], x.cols);
      sums[static_cast<std::size_t>(i)].add(distance, weight == nullptr ? nullptr : weight + from,
                                            count);
    });
    for (index_t i = 0; i < n; ++i) out[begin + i] = sums[static_cast<std::size_t>(i)].value();
  });
}

}  // namespace

template <class T>
void log_density(MatrixView<const T> x, MatrixView<const T> y, std::span<const double> weight,
                 index_t kernel, double bandwidth, Measure measure, std::span<double> out) {
  with_metric(measure, "neighbors.log_density", [&](const auto& metric) {
    densities(metric, x, y, weight.empty() ? nullptr : weight.data(), kernel, bandwidth,
              out.data());
  });
}

template <class T>
void donors(MatrixView<const T> x, MatrixView<const T> y, std::span<const index_t> rows,
            std::span<const index_t> cols, MatrixView<index_t> indices,
            MatrixView<double> distances) {
  const index_t entries = static_cast<index_t>(rows.size()), k = indices.cols, d = x.cols;
  const index_t m = y.rows;
  std::vector<index_t> runs;  // where the entries of a row begin
  for (index_t e = 0; e < entries; ++e) {
    const index_t row = rows[static_cast<std::size_t>(e)], col = cols[static_cast<std::size_t>(e)];
    if (row < 0 || row >= x.rows || col < 0 || col >= d) {
      invalid("neighbors.donors", "rows and cols must be entries of X, got row ", row,
              " and column ", col, " for ", x.rows, " rows of ", d);
    }
    if (e == 0 || row != rows[static_cast<std::size_t>(e) - 1]) runs.push_back(e);
  }
  const index_t n = static_cast<index_t>(runs.size());
  runs.push_back(entries);
  constexpr index_t grain = 16;
  parallel_for(n, grain, [&](index_t, index_t begin, index_t end) {
    const index_t count = end - begin;
    const Workspace<double> q(static_cast<std::size_t>(count * d));
    const Workspace<double> distance(static_cast<std::size_t>(count * (m + kWidth)));
    const Workspace<T> block(static_cast<std::size_t>(d * kWidth));
    const Workspace<Found> found(static_cast<std::size_t>(k));
    for (index_t i = 0; i < count; ++i) {
      const index_t first = runs[static_cast<std::size_t>(begin + i)];
      copy_row(x, rows[static_cast<std::size_t>(first)], q.data() + i * d);
    }
    for (index_t from = 0; from < m; from += kWidth) {
      if (from % (64 * kWidth) == 0) check_interrupt();
      const index_t size = std::min(kWidth, m - from);
      pack_block(y, from, size, block.data());
      for (index_t i = 0; i < count; ++i) {
        block_distances(NanEuclidean{}, q.data() + i * d, block.data(), d, size,
                        distance.data() + i * (m + kWidth) + from);
      }
    }
    for (index_t i = 0; i < count; ++i) {
      const double* const own = distance.data() + i * (m + kWidth);
      const auto run = static_cast<std::size_t>(begin + i);
      for (index_t e = runs[run]; e < runs[run + 1]; ++e) {
        const index_t col = cols[static_cast<std::size_t>(e)];
        Nearest nearest(found.data(), k);
        for (index_t j = 0; j < m; ++j) {
          if (own[j] <= nearest.worst() && y(j, col) == y(j, col)) nearest.add(own[j], j);
        }
        nearest.finish();
        for (index_t r = 0; r < k; ++r) {
          indices(e, r) = found.data()[r].index;
          distances(e, r) = std::sqrt(found.data()[r].distance);
        }
      }
    }
  });
}

KERNELMILL_FOR_FLOATS(log_density)
KERNELMILL_FOR_FLOATS(donors)

}  // namespace kernelmill::neighbors
