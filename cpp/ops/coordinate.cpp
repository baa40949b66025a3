#include "ops/coordinate.hpp"

#include <algorithm>  // std::max
#include <cmath>      // std::sqrt
#include <stdexcept>  // std::out_of_range
#include <string>     // messages
#include <vector>     // one row of coefficients

#include "core/parallel.hpp"  // check_interrupt

namespace kernelmill::coordinate {
namespace {

// Sweeps over what moved, between two over all coordinates, which see what joins.
constexpr index_t kActiveSweeps = 9;

class Descent {
 public:
  Descent(MatrixView<const double> gram, MatrixView<const double> target,
          std::span<const std::int64_t> order, MatrixView<double> coef, MatrixView<double> gradient,
          std::span<const double> l1, std::span<const double> l2, double square, bool positive)
      : d_(gram.rows),
        m_(coef.cols),
        gram_(gram),
        target_(target),
        order_(order),
        coef_(coef),
        gradient_(gradient),
        l1_(l1.data()),
        l2_(l2.data()),
        square_(square),
        positive_(positive),
        rho_(static_cast<std::size_t>(m_)),
        change_(static_cast<std::size_t>(m_)) {}

  // The largest G_jj |change|^2 of a sweep.
  double sweep(bool active) {
    double largest = 0;
    for (const index_t j : order_) {
      double* const b = coef_.row(j);
      if (active && zero(b)) continue;
      const double square = gram_(j, j), curvature = square + l2_[j];
      const double* const a = gradient_.row(j);
      double norm = 0;
      for (index_t t = 0; t < m_; ++t) {
        double rho = a[t] + square * b[t];
        if (positive_) rho = rho < 0.0 ? 0.0 : rho;
        rho_[std::size_t(t)] = rho;
        norm += rho * rho;
      }
      norm = std::sqrt(norm);
      const bool moves = curvature > 0.0 && !(norm <= l1_[j]);
      const double factor = moves ? (1.0 - l1_[j] / norm) / curvature : 0.0;
      double size = 0;
      bool changed = false;
      for (index_t t = 0; t < m_; ++t) {
        const double after = moves ? rho_[std::size_t(t)] * factor : 0.0;
        const double change = after - b[t];
        change_[std::size_t(t)] = change;
        changed = changed || !(change == 0.0);
        size += change * change;
        b[t] = after;
      }
      if (!changed) continue;
      move(j);
      largest = std::max(largest, square * size);
      if ((++moved_ & 255) == 0) check_interrupt();
    }
    return largest;
  }

  double gap() const {
    double scale = 1, explained = 0;
    for (index_t j = 0; j < d_; ++j) {
      if (l2_[j] == 0.0 && l1_[j] > 0.0) {
        const double norm = slope(j);
        if (norm * scale > l1_[j]) scale = l1_[j] / norm;
      }
      for (index_t t = 0; t < m_; ++t) {
        explained += (target_(j, t) + gradient_(j, t)) * coef_(j, t);
      }
    }
    const double left = square_ - explained, residual = left < 0.0 ? 0.0 : left;
    double gap = 0.5 * (1 - scale) * (1 - scale) * residual;
    for (index_t j = 0; j < d_; ++j) {
      const double norm = slope(j);
      if (l1_[j] == 0.0 && l2_[j] == 0.0) {
        if (gram_(j, j) > 0.0) gap += norm * norm / (2 * gram_(j, j));
        continue;
      }
      double b = 0, product = 0;
      for (index_t t = 0; t < m_; ++t) {
        b += coef_(j, t) * coef_(j, t);
        product += gradient_(j, t) * coef_(j, t);
      }
      b = std::sqrt(b);
      const double past = scale * norm - l1_[j], beyond = past < 0.0 ? 0.0 : past;
      gap += l1_[j] * b + l2_[j] / 2 * b * b - scale * product;
      if (l2_[j] > 0.0) gap += beyond * beyond / (2 * l2_[j]);
    }
    return gap;
  }

 private:
  bool zero(const double* b) const {
    for (index_t t = 0; t < m_; ++t) {
      if (b[t] != 0.0) return false;
    }
    return true;
  }

  // The norm of the gradient of a feature, of its positive part where that is what counts.
  double slope(index_t j) const {
    double norm = 0;
    for (index_t t = 0; t < m_; ++t) {
      double a = gradient_(j, t);
      if (positive_) a = a < 0.0 ? 0.0 : a;
      norm += a * a;
    }
    return std::sqrt(norm);
  }

  // gradient -= G_j change'.
  void move(index_t j) {
    double* const to = gradient_.data;
    if (m_ == 1 && gram_.col_stride == 1) {
      const double* const g = gram_.row(j);
      const double change = change_[0];
#pragma omp simd
      for (index_t p = 0; p < d_; ++p) to[p] -= g[p] * change;
      return;
    }
    for (index_t p = 0; p < d_; ++p) {
      const double g = gram_(j, p);
      for (index_t t = 0; t < m_; ++t) to[p * m_ + t] -= g * change_[std::size_t(t)];
    }
  }

  index_t d_, m_;
  MatrixView<const double> gram_, target_;
  std::span<const std::int64_t> order_;
  MatrixView<double> coef_, gradient_;
  const double *l1_, *l2_;
  double square_;
  bool positive_;
  std::vector<double> rho_, change_;
  index_t moved_ = 0;
};

}  // namespace

std::tuple<index_t, double> descent(MatrixView<const double> gram, MatrixView<const double> target,
                                    std::span<const std::int64_t> order, MatrixView<double> coef,
                                    MatrixView<double> gradient, std::span<const double> l1,
                                    std::span<const double> l2, double square, double tol,
                                    index_t sweeps, bool positive) {
  for (const std::int64_t j : order) {
    if (j < 0 || j >= gram.rows) {
      throw std::out_of_range("coordinate.descent: order must be in [0, " +
                              std::to_string(gram.rows) + "), got " + std::to_string(j));
    }
  }
  Descent state(gram, target, order, coef, gradient, l1, l2, square, positive);
  index_t taken = 0;
  for (;;) {
    const double gap = state.gap();
    if (gap <= tol || taken >= sweeps || order.empty()) return {taken, gap};
    const double first = state.sweep(false);
    ++taken;
    if (first > 0.0 && state.gap() <= tol) continue;
    for (index_t s = 0; s < kActiveSweeps; ++s) {
      if (state.sweep(true) <= 0.01 * first) break;
    }
  }
}

}  // namespace kernelmill::coordinate
