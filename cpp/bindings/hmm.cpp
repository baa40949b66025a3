#include "ops/hmm.hpp"

#include <algorithm>  // std::max

#include "bindings/family.hpp"
#include "core/error.hpp"  // invalid

namespace kernelmill {

namespace {

using Matrix = MatrixView<const double>;
using Vector = std::span<const double>;
using hmm::Lengths;

void check_lengths(const char* op, Lengths lengths, index_t rows) {
  index_t sum = 0;
  bool valid = true;
  for (const std::int64_t length : lengths) {
    valid = valid && length >= 0 && length <= rows;
    // The sum is for the message; unsigned, so that absurd lengths wrap as they do in NumPy.
    sum =
        static_cast<index_t>(static_cast<std::uint64_t>(sum) + static_cast<std::uint64_t>(length));
    valid = valid && sum <= rows;
  }
  if (!valid || sum != rows) {
    invalid(op, "lengths must be at least 0 and add up to ", rows, ", got a sum of ", sum);
  }
}

void forward(Matrix density, Vector start, Matrix transmat, Lengths lengths, double* filtered,
             double* log_prob) {
  check_lengths("hmm.forward", lengths, density.rows);
  hmm::forward(density, start, transmat, lengths, filtered, log_prob);
}

void posteriors(Matrix density, Vector start, Matrix transmat, Lengths lengths, Vector weight,
                double* gamma, double* log_prob, double* starts, double* transitions) {
  check_lengths("hmm.posteriors", lengths, density.rows);
  hmm::posteriors(density, start, transmat, lengths, weight, gamma, log_prob, starts, transitions);
}

void viterbi(Matrix density, Vector start, Matrix transmat, Lengths lengths, std::int32_t* states,
             double* log_prob) {
  check_lengths("hmm.viterbi", lengths, density.rows);
  hmm::viterbi(density, start, transmat, lengths, states, log_prob);
}

void sample_states(Vector start, Matrix transmat, Vector uniforms, Lengths lengths,
                   std::int32_t* states) {
  check_lengths("hmm.sample_states", lengths, static_cast<index_t>(uniforms.size()));
  hmm::sample_states(start, transmat, uniforms, lengths, states);
}

void symbol_counts(std::span<const std::int64_t> symbols, Matrix gamma, index_t n_symbols,
                   double* counts) {
  std::int64_t largest = -1;
  for (const std::int64_t symbol : symbols) largest = std::max(largest, symbol);
  if (largest >= n_symbols) {
    invalid("hmm.symbol_counts", "symbols must be below n_symbols = ", n_symbols, ", got ",
            largest);
  }
  hmm::symbol_counts(symbols, gamma, n_symbols, counts);
}

}  // namespace

void bind_hmm(Family family) {
  family.op<forward>("forward");
  family.op<posteriors>("posteriors");
  family.op<viterbi>("viterbi");
  family.op<sample_states>("sample_states");
  family.op<symbol_counts>("symbol_counts");
}

}  // namespace kernelmill
