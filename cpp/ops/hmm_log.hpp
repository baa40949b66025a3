// The recursions in log space, for the sequences whose scaled ones lost too much. Slow and plain:
// K^2 exponentials a row.
#pragma once

#include <mutex>   // std::once_flag
#include <span>    // std::span
#include <vector>  // logarithms

#include "core/matrix.hpp"  // MatrixView

namespace kernelmill::hmm {

class LogModel {
 public:
  // Both are kept by reference.
  LogModel(std::span<const double> start, MatrixView<const double> transmat)
      : start_(start), transmat_(transmat), k_(transmat.rows) {}

  // One sequence of at least one row each. filtered is (T, K).
  double forward(MatrixView<const double> density, double* filtered) const;
  // Returns log p(x). Writes gamma (T, K) and, unless the sequence is impossible, adds `weight`
  // times its statistics to starts (K) and transitions (K, K).
  double posteriors(MatrixView<const double> density, double weight, double* gamma, double* starts,
                    double* transitions) const;

 private:
  void prepare() const;
  double alpha(MatrixView<const double> density, double* out) const;
  void beta(MatrixView<const double> density, double* out) const;

  std::span<const double> start_;
  MatrixView<const double> transmat_;
  index_t k_;
  mutable std::once_flag once_;
  mutable std::vector<double> log_start_, log_a_, log_at_;  // (K), (K, K), its transpose
};

}  // namespace kernelmill::hmm
