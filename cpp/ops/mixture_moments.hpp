// Moments of rows under responsibilities r, accumulated in float64.
//
// With z = (x - o, 1), the second moments of all components are one product,
//
//   S_jf = sum_i r_ij F_if,     F_i = the entries of z_i z_i' on and below the diagonal,
//
// whose features F are made panel by panel while they are packed: the n x k x d^2 products of the
// definition never exist, and components share the features. First moments and weights come from
// the last row of z z'. Diagonal covariances take z_p^2 and z instead; for a pooled second moment z
// alone is taken per component, and Z' diag(sum_j r_j) Z is a product of its own.
//
// Moments about o become moments about m_j at the end, with e = m_j - o and s = sum_i r x':
//
//   sum r (x - m)(x - m)' = sum r x' x'' - s e' - e s' + n e e'.
//
// o lies among the means, so this loses (distance of means / spread)^2 of float64's digits only.
#pragma once

#include <algorithm>  // std::copy, std::fill_n
#include <vector>     // feature table

#include "core/matrix.hpp"     // MatrixView
#include "core/tile.hpp"       // product, PackedA
#include "core/workspace.hpp"  // scratch
#include "ops/mixture.hpp"     // Second, MomentsOut

namespace kernelmill::mixture {

// Which products of z make a vector of features: z[row] (or the entry itself for `square`) times
// `lanes` entries from `from` on.
struct FeatureVector {
  static constexpr index_t square = -1;
  index_t row, from;
};

class FeaturePlan {
 public:
  static constexpr index_t lanes = tile::Params<double>::lanes;

  FeaturePlan(index_t d, Second second) : d_(d), second_(second) {
    const index_t last = d;  // z[d] = 1
    if (second == Second::diag) {
      for (index_t b = 0; b < d; b += lanes) vectors_.push_back({FeatureVector::square, b});
    }
    for (index_t b = 0; b <= d; b += lanes) {
      first_.push_back(count());
      for (index_t a = second == Second::full ? b : last; a <= last; ++a) {
        vectors_.push_back({a, b});
      }
    }
  }

  index_t d() const { return d_; }
  Second second() const { return second_; }
  index_t count() const { return static_cast<index_t>(vectors_.size()); }
  const FeatureVector& operator[](index_t v) const { return vectors_[static_cast<std::size_t>(v)]; }
  // Length of z, with zeros after its d + 1 entries.
  index_t padded() const { return (d_ + lanes) / lanes * lanes; }
  // An origin as `fill_rows` takes it.
  template <class T>
  std::vector<double> padded_origin(const std::vector<T>& origin) const {
    std::vector<double> to(static_cast<std::size_t>(padded()), 0.0);
    std::copy(origin.begin(), origin.end(), to.begin());
    return to;
  }
  // Features, whole panels.
  index_t width() const {
    constexpr index_t NR = tile::Params<double>::NR;
    return (count() * lanes + NR - 1) / NR * NR;
  }

  // Where z_p z_q, p >= q, is; p = d gives first moments, p = q = d the weight.
  index_t place(index_t p, index_t q) const {
    const index_t chunk = q / lanes, b = chunk * lanes;
    const index_t v = first_[static_cast<std::size_t>(chunk)];
    return (v + (second_ == Second::full ? p - b : 0)) * lanes + q - b;
  }
  index_t square_place(index_t p) const { return p; }

 private:
  index_t d_;
  Second second_;
  std::vector<FeatureVector> vectors_;
  std::vector<index_t> first_;  // first vector of each chunk of columns of z
};

// Sums over a chunk of rows: a state of ordered_reduce.
class MomentSums {
 public:
  MomentSums(index_t k, const FeaturePlan& plan)
      : k_(k),
        plan_(&plan),
        size_(k * plan.width() +
              (plan.second() == Second::pooled ? (plan.d() + 1) * pooled_stride() : 0)),
        memory_(static_cast<std::size_t>(size_)) {
    std::fill_n(memory_.data(), size_, 0.0);
  }

  // Adds a block of rows z [rows][padded] with shares r of shape (rows, k). Defined in mixture.cpp.
  void add(const double* z, MatrixView<const double> share);

  void merge(const MomentSums& other) {
    for (index_t i = 0; i < size_; ++i) memory_.data()[i] += other.memory_.data()[i];
    log_likelihood += other.log_likelihood;
  }

  // Products of component j with all features.
  const double* row(index_t j) const { return memory_.data() + j * plan_->width(); }

  // Moments about the means from those about the origin.
  template <class T>
  void finish(MatrixView<const double> means, const std::vector<T>& origin,
              const MomentsOut& out) const {
    const index_t d = plan_->d();
    std::vector<double> e(static_cast<std::size_t>(d));
    if (plan_->second() == Second::pooled) fill_pooled(out.squares);
    for (index_t j = 0; j < k_; ++j) {
      const double* const sum = memory_.data() + j * plan_->width();
      const double n = sum[plan_->place(d, d)];
      out.weights[j] = n;
      for (index_t p = 0; p < d; ++p) {
        const auto at = static_cast<std::size_t>(p);
        e[at] = means(j, p) - static_cast<double>(origin[at]);
        out.sums[j * d + p] = sum[plan_->place(d, p)] - n * e[at];
      }
      if (plan_->second() == Second::diag) {
        for (index_t p = 0; p < d; ++p) {
          const double s = sum[plan_->place(d, p)], f = e[static_cast<std::size_t>(p)];
          out.squares[j * d + p] = sum[plan_->square_place(p)] - 2 * s * f + n * f * f;
        }
        continue;
      }
      const bool pooled = plan_->second() == Second::pooled;
      double* const square = out.squares + (pooled ? 0 : j * d * d);
      for (index_t p = 0; p < d; ++p) {
        const double s = sum[plan_->place(d, p)], f = e[static_cast<std::size_t>(p)];
        for (index_t q = 0; q <= p; ++q) {
          const double t = sum[plan_->place(d, q)], g = e[static_cast<std::size_t>(q)];
          const double about_origin = pooled ? square[p * d + q] : sum[plan_->place(p, q)];
          square[p * d + q] = about_origin - s * g - f * t + n * f * g;
          square[q * d + p] = square[p * d + q];
        }
      }
    }
  }

  double log_likelihood = 0;

 private:
  index_t pooled_stride() const {
    constexpr index_t NR = tile::Params<double>::NR;
    return (plan_->padded() + NR - 1) / NR * NR;
  }
  double* pooled() const { return memory_.data() + k_ * plan_->width(); }

  void add_pooled(const double* z, MatrixView<const double> share);

  void fill_pooled(double* squares) const {
    const index_t d = plan_->d();
    for (index_t p = 0; p < d; ++p) {
      for (index_t q = 0; q <= p; ++q) {
        squares[p * d + q] = squares[q * d + p] = pooled()[p * pooled_stride() + q];
      }
    }
  }

  index_t k_;
  const FeaturePlan* plan_;
  index_t size_;
  Workspace<double> memory_;  // [k][width], then [d + 1][pooled_stride] when pooled
};

// z of rows [begin, begin + rows) of x, in float64; rows that `keep` refuses become zeros. `origin`
// has z's padded length, zeros at its end.
template <class T, class Keep>
void fill_rows(MatrixView<const T> x, index_t begin, index_t rows,
               const std::vector<double>& origin, double* z, const Keep& keep) {
  const index_t d = x.cols, padded = static_cast<index_t>(origin.size());
  for (index_t r = 0; r < rows; ++r, z += padded) {
    if (!keep(r)) {
      std::fill_n(z, padded, 0.0);
      continue;
    }
    const T* const row = x.row(begin + r);
    if (x.col_stride == 1) {
#pragma omp simd
      for (index_t p = 0; p < d; ++p) z[p] = static_cast<double>(row[p]) - origin[std::size_t(p)];
    } else {
      for (index_t p = 0; p < d; ++p) {
        z[p] = static_cast<double>(row[p * x.col_stride]) - origin[std::size_t(p)];
      }
    }
    z[d] = 1.0;
    for (index_t p = d + 1; p < padded; ++p) z[p] = 0.0;
  }
}

}  // namespace kernelmill::mixture
