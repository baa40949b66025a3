// Hidden Markov models: the C++ twins of python/kernelmill/ops/hmm.py, whose docstrings are the
// contract.
//
// Symbols: log_density (T, K), startprob pi (K), transmat A (K, K); lengths adds up to T.
#pragma once

#include <cstdint>  // std::int32_t, std::int64_t
#include <span>     // std::span

#include "core/matrix.hpp"  // MatrixView, index_t

namespace kernelmill {

namespace hmm {

using Lengths = std::span<const std::int64_t>;

// filtered (T, K) and log_prob (S).
void forward(MatrixView<const double> log_density, std::span<const double> startprob,
             MatrixView<const double> transmat, Lengths lengths, double* filtered,
             double* log_prob);

// weight (S) or empty for all ones; gamma (T, K), log_prob (S), starts (K), transitions (K, K).
void posteriors(MatrixView<const double> log_density, std::span<const double> startprob,
                MatrixView<const double> transmat, Lengths lengths, std::span<const double> weight,
                double* gamma, double* log_prob, double* starts, double* transitions);

// states (T), log_prob (S).
void viterbi(MatrixView<const double> log_density, std::span<const double> log_startprob,
             MatrixView<const double> log_transmat, Lengths lengths, std::int32_t* states,
             double* log_prob);

// states (T).
void sample_states(std::span<const double> startprob, MatrixView<const double> transmat,
                   std::span<const double> uniforms, Lengths lengths, std::int32_t* states);

// counts (K, n_symbols).
void symbol_counts(std::span<const std::int64_t> symbols, MatrixView<const double> gamma,
                   index_t n_symbols, double* counts);

}  // namespace hmm

}  // namespace kernelmill
