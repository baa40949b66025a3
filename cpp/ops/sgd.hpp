// Twins of python/kernelmill/ops/sgd.py, whose docstrings are the contract.
#pragma once

#include <cstdint>  // std::int64_t
#include <span>     // std::span

#include "core/csr.hpp"     // CsrView
#include "core/matrix.hpp"  // MatrixView, index_t

namespace kernelmill::sgd {

// The columns STATE of one model.
struct State {
  double intercept, average_intercept, step, rate, shrinkage, positive_weight, negative_weight,
      total, rows, objective, best, without_gain, epochs, stopped;
};

enum class Schedule { constant, optimal, invscaling, adaptive, pa1, pa2 };

// A loss and its derivative by p.
struct Loss {
  double value, slope;
};
using LossFunction = Loss (*)(double y, double p, double margin);

// The values of SETTINGS.
struct Settings {
  LossFunction loss;
  double margin;
  Schedule schedule;
  double eta0, power_t, alpha, l1, l2;
  bool fit_intercept;
  double average, tol, patience;
  bool judged;

  Settings(const char* op, std::span<const double> values);
  bool aggressive() const { return schedule >= Schedule::pa1; }
};

// k models: all but the states are (k, d), or (0, d) where there is none.
struct Models {
  MatrixView<double> weights, state, applied, averages;
};

// order is (e, m); returns the number of epochs taken.
template <class T>
index_t epochs(MatrixView<const T> x, std::span<const double> y,
               MatrixView<const std::int64_t> order, const Models& models, const Settings& settings,
               std::span<const T> sample_weight);
template <class T>
index_t csr_epochs(const CsrView<T>& x, std::span<const double> y,
                   MatrixView<const std::int64_t> order, const Models& models,
                   const Settings& settings, std::span<const T> sample_weight);

index_t judge(MatrixView<const double> weights, MatrixView<double> state, const Settings& settings);

}  // namespace kernelmill::sgd
