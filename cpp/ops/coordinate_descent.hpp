// One problem of penalised least squares in Gram form, and its descent. Symbols as in the
// specification, python/kernelmill/ops/coordinate.py.
#pragma once

#include <cstdint>  // std::int64_t
#include <span>     // penalties
#include <tuple>    // results
#include <vector>   // state

#include "core/matrix.hpp"  // MatrixView, index_t

namespace kernelmill::coordinate {

class Descent {
 public:
  // May take any number of problems with the same G and order, one after the other.
  Descent(MatrixView<const double> gram, std::span<const std::int64_t> order, index_t targets,
          bool positive);

  // What is minimised from now on, where it stands, and what is known to be best left at zero.
  void begin(const double* target, double square, const double* l1, const double* l2, double* coef,
             double* gradient);

  // Sweeps until the gap is at most tol.
  std::tuple<index_t, double> run(double tol, index_t sweeps);

  // Goes on from the last position in the direction in which it was reached, t times as far, if the
  // objective falls: solutions of a path are on lines between the penalties where features join.
  void predict(const double* coef, const double* gradient, double t);

 private:
  double longest() const;
  double called() const;
  double sweep(bool active);
  double sweep_one(bool active);
  void move(index_t j, double* gradient);
  void flush(double* to);
  void slopes(const double* coef, double* gradient);
  double best_gap();
  double gap(const double* dual, const double* slope) const;
  double gap_one(const double* dual, const double* slope) const;
  double scale(const double* slope) const;
  double norm(const double* slope, index_t j) const;
  double residual() const;
  double gain(const double* from, const double* slope, const double* coef,
              const double* gradient) const;
  bool adopt(double* coef, double* gradient, double least);
  void screen(double gap);
  void remember();
  void extrapolate();
  bool weigh(double* weights) const;
  bool zero(const double* b) const;

  index_t d_, m_;
  MatrixView<const double> gram_;
  std::vector<std::int64_t> order_, live_;  // coordinates, and those that may still move
  bool positive_, whole_, simple_;
  bool penalised_ = false, bounded_ = false;  // every feature; and a dual point is kept
  std::vector<double> diagonal_, lengths_;
  std::vector<double> steps_, inverse_l1_, half_l2_;  // of one target
  std::vector<double> rho_, change_, memory_;
  const double *target_ = nullptr, *l1_ = nullptr, *l2_ = nullptr;
  double *coef_ = nullptr, *gradient_ = nullptr;
  double square_ = 0;
  std::vector<const double*> pending_;  // rows of G of changes that the gradient lacks
  std::vector<double> pending_change_;
  std::size_t most_pending_;
  index_t moved_ = 0;
  int remembered_ = 0;
};

}  // namespace kernelmill::coordinate
