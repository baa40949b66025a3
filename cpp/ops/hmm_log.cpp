#include "ops/hmm_log.hpp"

#include <algorithm>  // std::fill_n
#include <cmath>      // INFINITY

#include "core/math.hpp"       // exp, log
#include "core/parallel.hpp"   // check_interrupt
#include "core/workspace.hpp"  // rows

namespace kernelmill::hmm {
namespace {

// What to take out before exp: nothing where all is -inf, so that -inf stays -inf. A NaN in the
// data is found by the sums.
double shift_of(double largest) { return largest == -INFINITY ? 0.0 : largest; }

double log_sum_exp(const double* x, index_t n) {
  double largest = -INFINITY, sum = 0;
  for (index_t j = 0; j < n; ++j) largest = x[j] > largest ? x[j] : largest;
  const double shift = shift_of(largest);
#pragma omp simd reduction(+ : sum)
  for (index_t j = 0; j < n; ++j) sum += kernelmill::exp(x[j] - shift);
  return kernelmill::log(sum) + shift;
}

// out(j) = log sum_i exp(x(i) + m(i, j)); largest is room for K numbers.
void log_product(const double* x, const double* m, index_t k, double* largest, double* out) {
  std::fill_n(largest, k, -INFINITY);
  for (index_t i = 0; i < k; ++i) {
    const double *row = m + i * k, xi = x[i];
#pragma omp simd
    for (index_t j = 0; j < k; ++j) {
      const double term = xi + row[j];
      largest[j] = term > largest[j] ? term : largest[j];
    }
  }
#pragma omp simd
  for (index_t j = 0; j < k; ++j) largest[j] = largest[j] == -INFINITY ? 0.0 : largest[j];
  std::fill_n(out, k, 0.0);
  for (index_t i = 0; i < k; ++i) {
    const double *row = m + i * k, xi = x[i];
#pragma omp simd
    for (index_t j = 0; j < k; ++j) out[j] += kernelmill::exp(xi + row[j] - largest[j]);
  }
#pragma omp simd
  for (index_t j = 0; j < k; ++j) out[j] = kernelmill::log(out[j]) + largest[j];
}

// A row as probabilities; 0 where it is -inf throughout.
void normalise(const double* x, index_t k, double* out) {
  const double shift = shift_of(log_sum_exp(x, k));
#pragma omp simd
  for (index_t j = 0; j < k; ++j) out[j] = kernelmill::exp(x[j] - shift);
}

}  // namespace

void LogModel::prepare() const {
  std::call_once(once_, [&] {
    const auto size = static_cast<std::size_t>(k_ * k_);
    log_a_.resize(size);
    log_at_.resize(size);
    for (index_t i = 0; i < k_; ++i) {
      for (index_t j = 0; j < k_; ++j) {
        const double log_a = kernelmill::log(transmat_(i, j));
        log_a_[static_cast<std::size_t>(i * k_ + j)] = log_a;
        log_at_[static_cast<std::size_t>(j * k_ + i)] = log_a;
      }
    }
    for (const double pi : start_) log_start_.push_back(kernelmill::log(pi));
  });
}

double LogModel::alpha(MatrixView<const double> density, double* out) const {
  Workspace<double> largest(static_cast<std::size_t>(k_));
  for (index_t t = 0; t < density.rows; ++t) {
    check_interrupt();
    double* const row = out + t * k_;
    if (t == 0) {
      std::copy(log_start_.begin(), log_start_.end(), row);
    } else {
      log_product(row - k_, log_a_.data(), k_, largest.data(), row);
    }
    for (index_t j = 0; j < k_; ++j) row[j] += density(t, j);
  }
  return log_sum_exp(out + (density.rows - 1) * k_, k_);
}

void LogModel::beta(MatrixView<const double> density, double* out) const {
  Workspace<double> room(static_cast<std::size_t>(2 * k_));
  double *largest = room.data(), *w = room.data() + k_;
  std::fill_n(out + (density.rows - 1) * k_, k_, 0.0);
  for (index_t t = density.rows - 2; t >= 0; --t) {
    check_interrupt();
    double* const row = out + t * k_;
    for (index_t j = 0; j < k_; ++j) w[j] = density(t + 1, j) + row[k_ + j];
    log_product(w, log_at_.data(), k_, largest, row);
  }
}

double LogModel::forward(MatrixView<const double> density, double* filtered) const {
  prepare();
  const double log_prob = alpha(density, filtered);
  for (index_t t = 0; t < density.rows; ++t) {
    normalise(filtered + t * k_, k_, filtered + t * k_);
  }
  return log_prob;
}

double LogModel::posteriors(MatrixView<const double> density, double weight, double* gamma,
                            double* starts, double* transitions) const {
  prepare();
  const index_t n = density.rows;
  Workspace<double> log_alpha(static_cast<std::size_t>(n * k_)),
      log_beta(static_cast<std::size_t>(n * k_));
  Workspace<double> room(static_cast<std::size_t>(k_ * k_ + k_));
  double *xi = room.data(), *w = room.data() + k_ * k_;
  const double log_prob = alpha(density, log_alpha.data());
  if (log_prob == -INFINITY) {
    std::fill_n(gamma, n * k_, 0.0);
    return log_prob;
  }
  beta(density, log_beta.data());
  for (index_t t = 0; t < n; ++t) {
    check_interrupt();
    const double *a = log_alpha.data() + t * k_, *b = log_beta.data() + t * k_;
    for (index_t j = 0; j < k_; ++j) w[j] = a[j] + b[j];
    normalise(w, k_, gamma + t * k_);
    if (t + 1 == n) break;
    for (index_t j = 0; j < k_; ++j) w[j] = density(t + 1, j) + b[k_ + j];
    for (index_t i = 0; i < k_; ++i) {
      for (index_t j = 0; j < k_; ++j) {
        xi[i * k_ + j] = a[i] + log_a_[static_cast<std::size_t>(i * k_ + j)] + w[j];
      }
    }
    const double total = log_sum_exp(xi, k_ * k_);
#pragma omp simd
    for (index_t e = 0; e < k_ * k_; ++e) {
      transitions[e] += weight * kernelmill::exp(xi[e] - total);
    }
  }
  for (index_t j = 0; j < k_; ++j) starts[j] += weight * gamma[j];
  return log_prob;
}

}  // namespace kernelmill::hmm
