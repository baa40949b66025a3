#include "ops/coordinate.hpp"

#include <algorithm>  // std::fill, std::find, std::max, std::min
#include <cmath>      // std::fabs, std::sqrt
#include <limits>     // eps
#include <stdexcept>  // std::out_of_range
#include <string>     // messages
#include <vector>     // one row of coefficients

#include "core/parallel.hpp"  // check_interrupt, ordered_reduce, parallel_for

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

// Sweeps until the gap is at most tol.
std::tuple<index_t, double> run(Descent& state, double tol, index_t sweeps) {
  index_t taken = 0;
  for (;;) {
    const double gap = state.gap();
    if (gap <= tol || taken >= sweeps) return {taken, gap};
    const double first = state.sweep(false);
    ++taken;
    if (first > 0.0 && state.gap() <= tol) continue;
    for (index_t s = 0; s < kActiveSweeps; ++s) {
      if (state.sweep(true) <= 0.01 * first) break;
    }
  }
}

// Orthogonal matching pursuit of one target, by a growing Cholesky factor.
class Pursuit {
 public:
  explicit Pursuit(MatrixView<const double> gram, index_t most)
      : d_(gram.rows),
        most_(most),
        gram_(gram),
        lengths_(std::size_t(d_)),
        factor_(std::size_t(most * most)),
        slope_(std::size_t(d_)),
        right_(std::size_t(most)),
        found_(std::size_t(most)) {
    for (index_t j = 0; j < d_; ++j) {
      lengths_[std::size_t(j)] = std::sqrt(std::max(gram(j, j), 0.0));
    }
  }

  // Coefficients (zeroed before); returns how many were chosen.
  index_t run(const double* target, index_t stride, double square, double tol, double* coef) {
    const double eps = std::numeric_limits<double>::epsilon() * double(d_);
    chosen_.clear();
    for (index_t j = 0; j < d_; ++j) slope_[std::size_t(j)] = target[j * stride];
    while (index_t(chosen_.size()) < most_) {
      const index_t k = index_t(chosen_.size());
      const index_t j = steepest();
      if (j < 0 || !(std::fabs(slope_[std::size_t(j)]) >
                     eps * lengths_[std::size_t(j)] * std::sqrt(square))) {
        break;
      }
      if (!grow(j, k, eps)) break;
      chosen_.push_back(j);
      solve(target, stride, k + 1);
      for (index_t i = 0; i < d_; ++i) {
        double sum = target[i * stride];
        for (index_t c = 0; c <= k; ++c) {
          sum -= gram_(chosen_[std::size_t(c)], i) * found_[std::size_t(c)];
        }
        slope_[std::size_t(i)] = sum;
      }
      double explained = 0;
      for (index_t c = 0; c <= k; ++c) {
        explained += target[chosen_[std::size_t(c)] * stride] * found_[std::size_t(c)];
      }
      if (tol >= 0.0 && square - explained <= tol) break;
    }
    for (std::size_t c = 0; c < chosen_.size(); ++c) coef[chosen_[c]] = found_[c];
    return index_t(chosen_.size());
  }

 private:
  index_t steepest() const {
    index_t best = -1;
    double size = -1;
    for (index_t j = 0; j < d_; ++j) {
      const double value = std::fabs(slope_[std::size_t(j)]);
      if (value > size && std::find(chosen_.begin(), chosen_.end(), j) == chosen_.end()) {
        best = j;
        size = value;
      }
    }
    return best;
  }

  // Row k of L, for atom j; false if the atom depends on those before.
  bool grow(index_t j, index_t k, double eps) {
    double* const row = factor_.data() + k * most_;
    double rest = gram_(j, j);
    for (index_t c = 0; c < k; ++c) {
      const double* const other = factor_.data() + c * most_;
      double sum = gram_(chosen_[std::size_t(c)], j);
      for (index_t p = 0; p < c; ++p) sum -= other[p] * row[p];
      row[c] = sum / other[c];
      rest -= row[c] * row[c];
    }
    if (!(rest > eps * gram_(j, j))) return false;
    row[k] = std::sqrt(rest);
    return true;
  }

  void solve(const double* target, index_t stride, index_t k) {
    for (index_t c = 0; c < k; ++c) {
      const double* const row = factor_.data() + c * most_;
      double sum = target[chosen_[std::size_t(c)] * stride];
      for (index_t p = 0; p < c; ++p) sum -= row[p] * right_[std::size_t(p)];
      right_[std::size_t(c)] = sum / row[c];
    }
    for (index_t c = k - 1; c >= 0; --c) {
      double sum = right_[std::size_t(c)];
      for (index_t p = c + 1; p < k; ++p) {
        sum -= factor_[std::size_t(p * most_ + c)] * found_[std::size_t(p)];
      }
      found_[std::size_t(c)] = sum / factor_[std::size_t(c * most_ + c)];
    }
  }

  index_t d_, most_;
  MatrixView<const double> gram_;
  std::vector<double> lengths_, factor_, slope_, right_, found_;
  std::vector<index_t> chosen_;
};

// Targets of a chunk: some 20 microseconds or more.
index_t grain_of(index_t d) { return std::max<index_t>(1, 16384 / (d * d + 64)); }

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
  return run(state, tol, order.empty() ? 0 : sweeps);
}

std::tuple<index_t, double> lassos(MatrixView<const double> gram, MatrixView<const double> targets,
                                   std::span<const double> squares, MatrixView<double> coef,
                                   double l1, double tol, index_t sweeps, bool positive) {
  const index_t d = gram.rows;
  const std::vector<double> first(std::size_t(d), l1), second(std::size_t(d), 0.0);
  std::vector<std::int64_t> order(static_cast<std::size_t>(d));
  for (index_t j = 0; j < d; ++j) order[std::size_t(j)] = j;
  using Worst = std::tuple<index_t, double>;
  return ordered_reduce<Worst>(
      coef.rows, grain_of(d), [] { return Worst{0, 0.0}; },
      [&](Worst& worst, index_t, index_t begin, index_t end) {
        std::vector<double> slope(static_cast<std::size_t>(d)), target(slope.size());
        for (index_t i = begin; i < end; ++i) {
          double* const b = coef.row(i);
          for (index_t j = 0; j < d; ++j) {
            target[std::size_t(j)] = slope[std::size_t(j)] = targets(i, j);
          }
          for (index_t p = 0; p < d; ++p) {
            if (b[p] == 0.0) continue;
            for (index_t j = 0; j < d; ++j) slope[std::size_t(j)] -= gram(p, j) * b[p];
          }
          const double square = squares[std::size_t(i)];
          Descent state(gram, {target.data(), d, 1, 1, 1}, order, {b, d, 1, 1, 1},
                        {slope.data(), d, 1, 1, 1}, first, second, square, positive);
          const auto [taken, gap] = run(state, tol * square, d == 0 ? 0 : sweeps);
          std::get<0>(worst) = std::max(std::get<0>(worst), taken);
          if (square > 0.0) std::get<1>(worst) = std::max(std::get<1>(worst), gap / square);
        }
      },
      [](Worst& to, Worst&& from) {
        std::get<0>(to) = std::max(std::get<0>(to), std::get<0>(from));
        std::get<1>(to) = std::max(std::get<1>(to), std::get<1>(from));
      });
}

void pursuits(MatrixView<const double> gram, MatrixView<const double> targets,
              std::span<const double> squares, index_t most, double tol, MatrixView<double> coef,
              std::span<std::int64_t> counts) {
  most = std::min(most, gram.rows);
  parallel_for(coef.rows, grain_of(gram.rows), [&](index_t, index_t begin, index_t end) {
    Pursuit pursuit(gram, most);
    for (index_t i = begin; i < end; ++i) {
      double* const b = coef.row(i);
      std::fill(b, b + gram.rows, 0.0);
      counts[std::size_t(i)] =
          pursuit.run(targets.row(i), targets.col_stride, squares[std::size_t(i)], tol, b);
    }
  });
}

}  // namespace kernelmill::coordinate
