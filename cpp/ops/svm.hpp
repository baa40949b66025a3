// Support vector machines by block SMO; contract: python/kernelmill/ops/svm.py.
//
// Every machine is one problem in signed multipliers b (for classes b_t = y_t alpha_t):
//
//   minimise  D(b) = 1/2 b'K b + q'b + w |b|_1   where  l <= b <= u, l <= 0 <= u,
//
// with the sum of b fixed, or the sums over each of two groups where `grouped` (nu machines: those
// with u > 0, and the others). With g = K b + q and a multiplier rho of the sum, b is optimal when
//
//   up_t   = -(g_t + w [b_t >= 0] - w [b_t < 0]) <= rho   for each t that may grow, b_t < u_t
//   down_t = -(g_t + w [b_t > 0] - w [b_t <= 0]) >= rho   for each t that may fall, b_t > l_t,
//
// that is when the violation max up - min down (of one group) is at most 0. Moving t from j to i,
// b_i += t, b_j -= t, changes D by  -t (up_i - down_j) + t^2 a_ij / 2,  a_ij = K_ii + K_jj - 2
// K_ij, until a bound, or 0 where w bends the objective. i is the largest up; j is the down_j <
// up_i with the largest gain (up_i - down_j)^2 / a_ij (R.-E. Fan, P.-H. Chen and C.-J. Lin,
// "Working set selection using second order information", JMLR 6, 2005). A curvature that is not
// positive means that the gain only grows until the bound, so the step goes there; that is all that
// an indefinite kernel needs to end.
//
// A round takes a working set: the variables that violate most, up and down, and beside them the
// newest of the round before (T. Joachims, "Making large-scale SVM learning practical", 1999).
// Their kernel rows come from a cache of the caller's or are computed together, one tile product.
// SMO runs on that block, in the near caches, until its violation is a fifth of the whole one's;
// then g += K_rows' (change of b), in double, is one pass over those rows. Rows may be float: they
// are then exactly those of a kernel that differs by their rounding, and nothing else is rounded to
// float.
#pragma once

#include <span>  // arguments

#include "core/csr.hpp"     // CsrView
#include "core/matrix.hpp"  // MatrixView, index_t

namespace kernelmill::svm {

// Columns of `state`, one row a problem.
enum State { status, rounds, steps, violation, curvature, gain, idle, scale, state_columns };
enum Status { running, converged, stalled };
// Entries of `settings`.
enum Settings { kind, gamma, coef0, degree, tol, width, grouped, most_steps, settings_count };

template <class T>
struct Solving {
  std::span<const std::int32_t> rows;    // of X, for each variable
  std::span<const index_t> spans;        // of the variables of each problem
  std::span<const double> lower, upper;  // bounds
  std::span<const double> settings;
  index_t most_rounds;
  std::span<double> beta, gradient;
  MatrixView<T> cache;               // rows of K, or none where X is K
  MatrixView<index_t> slots;         // the row in each place of the cache or -1, and its age
  MatrixView<std::int32_t> working;  // the last working set of each problem, then -1
  MatrixView<double> state;
};

// Takes at most most_rounds rounds of each problem; the number of problems that go on.
template <class T>
index_t solve(MatrixView<const T> x, const Solving<T>& s);
template <class T>
index_t solve(const CsrView<T>& x, const Solving<T>& s);

// Products of parts of K: of part p and vector c, for t from spans[p] and i from ends[p] on,
// sums(c, t) = sum over i of coef(c, i) K(used[i], rows[t]).
template <class T>
void products(MatrixView<const T> k, std::span<const std::int32_t> rows,
              std::span<const index_t> spans, std::span<const std::int32_t> used,
              std::span<const index_t> ends, MatrixView<const double> coef,
              MatrixView<double> sums);

}  // namespace kernelmill::svm
