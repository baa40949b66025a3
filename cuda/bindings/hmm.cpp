#include "ops/hmm.cuh"

#include "bindings/device.hpp"
#include "core/error.hpp"  // invalid

namespace kernelmill {

namespace {

using Dense = DenseView<double>;
using Lengths = DenseView<std::int64_t>;

// lengths decide what is read and how the work is divided, so they come to the host.
Schedule schedule_of(const Call& call, const Lengths& lengths, const Dense& density, bool may_cut) {
  const index_t T = density.shape[0];
  std::vector<index_t> host(static_cast<std::size_t>(lengths.shape[0]));
  if (!host.empty()) download(call, host.data(), lengths.data, lengths.shape[0]);
  std::uint64_t sum = 0;  // unsigned: wild lengths go round
  bool good = true;
  for (index_t length : host) {
    good = good && length >= 0 && length <= T;
    sum += static_cast<std::uint64_t>(length);
  }
  if (!good || sum != static_cast<std::uint64_t>(T)) {
    invalid(call.op, "lengths must be at least 0 and add up to ", T, ", got a sum of ",
            static_cast<index_t>(sum));
  }
  return Schedule(host, density.shape[1], may_cut);
}

void forward_pass(const Call& call, Scratch* scratch, Dense density, const double* startprob,
                  const double* transmat, Lengths lengths, double* filtered, double* log_prob) {
  const Schedule schedule = schedule_of(call, lengths, density, true);
  const index_t K = density.shape[1];
  forward(call, density.data, K, startprob, transmat, schedule, filtered, log_prob,
          scratch->make<HmmSpace>(schedule, K, false));
}

void posterior_pass(const Call& call, Scratch* scratch, Dense density, const double* startprob,
                    const double* transmat, Lengths lengths, const double* weight, double* gamma,
                    double* log_prob, double* starts, double* transitions) {
  const Schedule schedule = schedule_of(call, lengths, density, true);
  const index_t K = density.shape[1];
  posteriors(call, density.data, K, startprob, transmat, schedule, weight, gamma, log_prob, starts,
             transitions, scratch->make<HmmSpace>(schedule, K, true));
}

void best_paths(const Call& call, Scratch* scratch, Dense density, const double* log_start,
                const double* log_transmat, Lengths lengths, std::int32_t* states,
                double* log_prob) {
  const Schedule schedule = schedule_of(call, lengths, density, false);
  const index_t T = density.shape[0], K = density.shape[1];
  viterbi(call, density.data, K, log_start, log_transmat, schedule, states, log_prob,
          scratch->make<ViterbiSpace>(schedule, T, K));
}

void counts_of_symbols(const Call& call, Scratch* scratch, const std::int64_t* symbols,
                       DeviceRows<double> gamma, index_t n_symbols, double* counts) {
  constexpr index_t kMost = (index_t{1} << 31) - 2;  // labels are 32-bit numbers
  if (n_symbols > kMost) {
    invalid(call.op, "n_symbols must be at most ", kMost, " on a GPU, got ", n_symbols);
  }
  symbol_counts(call, symbols, gamma, n_symbols, counts,
                scratch->make<SymbolSpace>(call, gamma.n, gamma.d, n_symbols));
}

}  // namespace

void bind_hmm(Family family) {
  family.op<forward_pass>("forward");
  family.op<posterior_pass>("posteriors");
  family.op<best_paths>("viterbi");
  family.op<counts_of_symbols>("symbol_counts");
}

}  // namespace kernelmill
