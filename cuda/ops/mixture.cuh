// Gaussian mixtures: the CUDA twins of python/kernelmill/ops/mixture.py, whose docstrings are the
// contract.
//
// Symbols: x is (n, d) data, means (k, d), factors P (k or 1, d, d) or, diagonal, (k, d), offsets
// (k); float64 and dense but x. Every pointer is device memory unless said; each op works on the
// stream of its Call.
//
// Log joints compare ``x' P - m' P`` at the dtype of x, with x' and m' measured from an origin amid
// the means: a tile product with the squares summed while they are in registers. Moments are
// float64 products of weighted differences from the means themselves. Rows are divided by the
// shapes alone and the parts combined in order, so the bits are the same on every run.
#pragma once

#include "core/call.hpp"  // Call, Arena, DeviceRows

namespace kernelmill {

enum class Covariance { full, tied, diag };

struct Mixture {
  const double *means, *factors, *offsets;
  index_t k, d;
  Covariance covariance;
};

// What the tiles compare rows with.
template <class T>
struct JointSpace {
  JointSpace(Arena& arena, index_t n, index_t d, index_t k, Covariance covariance);

  index_t columns;    // d rounded up to whole stages
  index_t groups;     // of 8 columns of P that a component takes
  index_t rows;       // 8 groups of all components, rounded up to whole tiles
  index_t block;      // rows of x that are whitened at once when P is shared
  T* origin;          // (columns)
  T* factors;         // (rows, columns) columns of P; diagonal: (k, d)
  T* starts;          // (rows) -m' P
  T* shifts;          // shared P: (k in whole tiles, columns) m' P; diagonal: (k, d)
  T* white;           // (block, columns) x' P, when P is shared
  double* constants;  // (k) all of the log joint that is not the square
};

// log_joint (n, k).
template <class T>
void log_joint(const Call& call, const DeviceRows<T>& x, const Mixture& mixture, T* log_joint,
               const JointSpace<T>& space);

// log_prob (n), share (n, k), from joint (n, k) dense.
template <class T>
void responsibilities(const Call& call, const T* joint, index_t n, index_t k, T* log_prob,
                      T* share);

struct MomentSpace {
  // Of at most n rows at once. `squares`: (k, d, d) ones, pooled over k or not.
  MomentSpace(Arena& arena, index_t n, index_t d, index_t k, bool squares, bool pooled);

  double* pieces;         // partial weights, sums, squares of features
  double* square_pieces;  // partial squares
  double* totals;         // (n) responsibility of all components, when pooled
  double* origin;         // (d) what pooled squares are taken about at first
};

struct Moments {
  double *weights, *sums, *squares;  // (k), (k, d), (k or 1, d, d) or, diagonal, (k, d)
};

// share (n, k) dense. Tied covariance pools the squares.
template <class T>
void moments(const Call& call, const DeviceRows<T>& x, const double* share, const double* means,
             index_t k, Covariance covariance, const Moments& to, const MomentSpace& space);

// Rows of x that a step takes at once, so that log joints stay small.
index_t step_rows(index_t n, index_t k);

template <class T>
struct StepSpace {
  StepSpace(Arena& arena, index_t n, index_t d, index_t k, Covariance covariance);

  JointSpace<T> joint;
  MomentSpace moments;
  T* log_joint;        // (step_rows, k)
  double* share;       // (step_rows, k)
  double* likelihood;  // the sum, then its parts, one per block of rows
};

// weight (n) or null for all ones. Returns the log-likelihood.
template <class T>
double step(const Call& call, const DeviceRows<T>& x, const Mixture& mixture, const T* weight,
            const Moments& to, const StepSpace<T>& space);

}  // namespace kernelmill
