// What is done to rows beside the recursion: densities before it, probabilities and expected counts
// after it. Symbols as in hmm.cpp; rows of b, alpha and beta are padded to whole vectors.
#pragma once

#include "core/matrix.hpp"    // MatrixView, index_t
#include "ops/hmm_chain.hpp"  // vectors

namespace kernelmill::hmm {

// Rows [begin, end) of x as whole vectors, filled up with `pad`.
void pack_rows(MatrixView<const double> x, index_t begin, index_t end, double pad, double* to);

// b_t(j) = exp(log_density - m_t), at least least_density unless it is 0, for all rows; returns
// sum_t m_t.
double densities(MatrixView<const double> log_density, double* b);

// Rows divided by their sums, from padded rows to rows of k; `from` may be `to` when k is padded.
void normalise_rows(const double* from, index_t n, index_t k, double* to);

// inverse[t] = 1 / g_t with g_t = sum_j alpha_t(j) beta_t(j). False when some g_t is so small that
// what the recursions lost might matter.
bool normalisers(const double* alpha, const double* beta, index_t n, index_t width,
                 double* inverse);

// Rows of one sequence for expected_counts, all from the first row of a range.
struct CountRows {
  const double* alpha;
  const double* before;  // alpha of the row before, null at the start of the sequence
  const double* b;
  const double* beta;
  const double* factors;
  const double* inverse;  // 1 / g_t
  double weight;
};

// Writes gamma (n, k), which may be where alpha is when k is padded, and adds to outer (width,
// width): outer(i, j) A(i, j) is the expected number of transitions.
void expected_counts(CountRows rows, index_t n, index_t k, double* gamma, double* outer);

}  // namespace kernelmill::hmm
