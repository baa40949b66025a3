// Hidden Markov models: the CUDA twins of python/kernelmill/ops/hmm.py, whose docstrings are the
// contract.
//
// Symbols: log_density is (T, K) dense, start (K), transmat (K, K) dense. Every pointer is device
// memory unless said; each op works on the stream of its Call.
//
// The recursions keep logarithms, and yet add products: with log alpha less its largest entry,
//
//     p(j) = sum_i exp(log alpha(i)) A(i, j),
//
// K^2 multiply-adds and K exponentials a step. What underflows in it is below 1e-300 K, so where
// p(j) is at least kSafe = 1e-250 it counts for nothing; elsewhere, be it that the states that lead
// to j have died out or that none leads there, that entry alone is a log-sum-exp over i. So there
// is nothing to flag and nothing to do again: every entry is that of log space to rounding, and as
// the largest is taken out at each step, rounding does not grow with the length of a sequence.
#pragma once

#include <cstdint>  // std::int32_t
#include <vector>   // lengths on the host

#include "core/call.hpp"        // Call, Arena, DeviceRows
#include "core/label_sums.hpp"  // LabelSumsSpace

namespace kernelmill {

// Rows begin to end of a sequence.
struct Segment {
  index_t begin, end, sequence;
  std::int32_t first, last;  // whether the sequence begins, ends here
};

// A sequence that was cut: its segments [first, past).
struct Cut {
  index_t first, past;
};

// How the time of the sequences is divided, by their lengths and K alone; on the host. Many
// sequences are one segment each. A few long ones are cut: each segment then finds, for each state
// before it and all at once, what the segment makes of it, a K x K matrix; these are chained one
// sequence at a time; and every segment starts from its own row of the chain.
struct Schedule {
  Schedule(const std::vector<index_t>& lengths, index_t K, bool may_cut);

  index_t sequences;
  std::vector<Segment> segments;
  std::vector<Cut> cuts;
};

struct HmmSpace {
  // `sums`: room for expected transitions.
  HmmSpace(Arena& arena, const Schedule& schedule, index_t K, bool sums);

  index_t workers;     // teams of threads that take segments in turn
  Segment* segments;   // (segments)
  Cut* cuts;           // (cuts)
  double* by_target;   // (K, K) A
  double* by_source;   // (K, K) its transpose
  double* log_target;  // (K, K) logarithms of both
  double* log_source;
  double* log_start;  // (K)
  double* products;   // (segments, K, K) log of what a segment makes of each state; when cut
  double* before;     // (segments, K) log alpha in the row before a segment, largest taken out
  double* scale;      // (segments) and what was taken out
  double* after;      // (segments, K) log beta in the last row of a segment
  double* vectors;    // (workers, 5, K) for many states
  double* sums;       // (workers, K, K) expected transitions over A, transposed
};

// filtered (T, K), log_prob (S).
void forward(const Call& call, const double* log_density, index_t K, const double* startprob,
             const double* transmat, const Schedule& schedule, double* filtered, double* log_prob,
             const HmmSpace& space);

// gamma (T, K), log_prob (S), starts (K), transitions (K, K); weight (S) or null for all ones.
void posteriors(const Call& call, const double* log_density, index_t K, const double* startprob,
                const double* transmat, const Schedule& schedule, const double* weight,
                double* gamma, double* log_prob, double* starts, double* transitions,
                const HmmSpace& space);

struct ViterbiSpace {
  ViterbiSpace(Arena& arena, const Schedule& schedule, index_t T, index_t K);

  index_t workers;
  Segment* segments;
  void* origins;  // (T, K) the best predecessor of each state: bytes up to 256 states, else int32
  double* best;   // (workers, 2, K) for many states
};

// states (T), log_prob (S). The schedule must not be cut.
void viterbi(const Call& call, const double* log_density, index_t K, const double* log_start,
             const double* log_transmat, const Schedule& schedule, std::int32_t* states,
             double* log_prob, const ViterbiSpace& space);

struct SymbolSpace {
  SymbolSpace(Arena& arena, const Call& call, index_t T, index_t K, index_t n_symbols);

  std::int64_t* largest;  // (1)
  std::int32_t* labels;   // (T)
  double* sums;           // (n_symbols + 1, K)
  double* weights;        // (n_symbols + 1)
  LabelSumsSpace label_sums;
};

// counts (K, n_symbols). Throws where a symbol is not below n_symbols.
void symbol_counts(const Call& call, const std::int64_t* symbols, const DeviceRows<double>& gamma,
                   index_t n_symbols, double* counts, const SymbolSpace& space);

}  // namespace kernelmill
