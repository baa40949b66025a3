#include "ops/coordinate.hpp"

#include <algorithm>  // std::copy_n, std::fill, std::find, std::max, std::min, std::swap
#include <cmath>      // std::fabs, std::sqrt
#include <limits>     // eps
#include <stdexcept>  // std::out_of_range
#include <string>     // messages
#include <vector>     // one row of coefficients

#include "core/parallel.hpp"           // ordered_reduce, parallel_for
#include "ops/coordinate_descent.hpp"  // Descent

namespace kernelmill::coordinate {
namespace {

// Steps of a path that go farther than twice the step before say little.
constexpr double kFarthest = 2;

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

void check_order(const char* op, std::span<const std::int64_t> order, index_t d) {
  for (const std::int64_t j : order) {
    if (j >= 0 && j < d) continue;
    throw std::out_of_range(std::string("coordinate.") + op + ": order must be in [0, " +
                            std::to_string(d) + "), got " + std::to_string(j));
  }
}

}  // namespace

std::tuple<index_t, double> descent(MatrixView<const double> gram, const double* target,
                                    std::span<const std::int64_t> order, MatrixView<double> coef,
                                    double* gradient, std::span<const double> l1,
                                    std::span<const double> l2, double square, double tol,
                                    index_t sweeps, bool positive) {
  check_order("descent", order, gram.rows);
  Descent state(gram, order, coef.cols, positive);
  state.begin(target, square, l1.data(), l2.data(), coef.data, gradient);
  return state.run(tol, sweeps);
}

void path(MatrixView<const double> gram, const double* target, std::span<const std::int64_t> order,
          MatrixView<double> coef, double* gradient, std::span<const double> l1,
          std::span<const double> l2, double square, double tol, index_t sweeps, bool positive,
          double* coefs, std::span<double> gaps, std::span<std::int64_t> taken) {
  check_order("path", order, gram.rows);
  const index_t size = coef.rows * coef.cols;
  const auto d = static_cast<std::size_t>(gram.rows);
  Descent state(gram, order, coef.cols, positive);
  std::vector<double> first(d), second(d), before(static_cast<std::size_t>(size)), last(before);
  for (std::size_t k = 0; k < l1.size(); ++k) {
    std::fill(first.begin(), first.end(), l1[k]);
    std::fill(second.begin(), second.end(), l2[k]);
    state.begin(target, square, first.data(), second.data(), coef.data, gradient);
    std::swap(before, last);  // the gradient two penalties before
    std::copy_n(gradient, size, last.data());
    if (k >= 2) {
      const double step = l1[k - 1] + l2[k - 1] - (l1[k - 2] + l2[k - 2]);
      const double t = (l1[k] + l2[k] - (l1[k - 1] + l2[k - 1])) / step;
      if (t > 0.0 && t <= kFarthest) {
        state.predict(coefs + index_t(k - 2) * size, before.data(), t);
      }
    }
    const auto [sweeps_of, gap] = state.run(tol, sweeps);
    std::copy_n(coef.data, size, coefs + index_t(k) * size);
    gaps[k] = gap;
    taken[k] = sweeps_of;
  }
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
        Descent state(gram, order, 1, positive);
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
          state.begin(target.data(), square, first.data(), second.data(), b, slope.data());
          const auto [taken, gap] = state.run(tol * square, sweeps);
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
