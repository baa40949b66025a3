// Sampling paths and counting symbols.
#include "ops/hmm.hpp"

#include <algorithm>  // std::upper_bound, std::lower_bound, std::min, std::max
#include <vector>     // running sums

#include "core/parallel.hpp"  // parallel_for, ordered_reduce
#include "ops/hmm_plan.hpp"   // make_plan

namespace kernelmill::hmm {
namespace {

// The first state whose running sum passes u * total, held back to the last with a probability.
index_t pick(const double* running, index_t k, double u, index_t held) {
  const double total = running[k - 1];
  if (!(total > 0)) return held;
  const index_t found = std::upper_bound(running, running + k, u * total) - running;
  // Rounding of u * total up to the total, or a NaN in u, must not pick a state without any.
  if (found < k) [[likely]]
    return found;
  return std::min<index_t>(std::lower_bound(running, running + k, total) - running, k - 1);
}

}  // namespace

void sample_states(std::span<const double> startprob, MatrixView<const double> transmat,
                   std::span<const double> uniforms, Lengths lengths, std::int32_t* states) {
  const auto k = static_cast<index_t>(startprob.size());
  std::vector<double> sums(static_cast<std::size_t>((k + 1) * k));
  double* const first = sums.data();
  double* const rows = first + k;
  double sum = 0;
  for (index_t j = 0; j < k; ++j) first[j] = sum += startprob[static_cast<std::size_t>(j)];
  for (index_t i = 0; i < k; ++i) {
    sum = 0;
    for (index_t j = 0; j < k; ++j) rows[i * k + j] = sum += transmat(i, j);
  }
  const Plan plan = make_plan(lengths, 20);
  const auto split = static_cast<index_t>(plan.split.size());
  parallel_for(split + plan.chunks(), 1, [&](index_t task, index_t, index_t) {
    const auto path = [&](const Span& span) {
      index_t state = 0;
      for (index_t t = 0; t < span.length; ++t) {
        if (t % 1024 == 0) check_interrupt();
        const double u = uniforms[static_cast<std::size_t>(span.begin + t)];
        state = pick(t == 0 ? first : rows + state * k, k, u, state);
        states[span.begin + t] = static_cast<std::int32_t>(state);
      }
    };
    if (task < split) {
      path(plan.split[static_cast<std::size_t>(task)]);
      return;
    }
    const auto c = static_cast<std::size_t>(task - split);
    for (std::size_t s = plan.cut[c]; s < plan.cut[c + 1]; ++s) path(plan.whole[s]);
  });
}

void symbol_counts(std::span<const std::int64_t> symbols, MatrixView<const double> gamma,
                   index_t n_symbols, double* counts) {
  const index_t k = gamma.cols, n = gamma.rows;
  using Table = std::vector<double>;  // (n_symbols, k)
  const auto size = static_cast<std::size_t>(n_symbols * k);
  // About 50 us of additions, at least as many as there are counts to add up, at most 64 tables.
  const index_t grain = bounded_grain(n, std::max(50'000 / (2 + k / 2), n_symbols), 64);
  const auto add_rows = [&](Table& table, index_t, index_t begin, index_t end) {
    for (index_t t = begin; t < end; ++t) {
      const std::int64_t symbol = symbols[static_cast<std::size_t>(t)];
      if (symbol < 0) continue;
      double* const row = table.data() + symbol * k;
      const double* const from = gamma.row(t);
      if (gamma.col_stride == 1) {
        for (index_t j = 0; j < k; ++j) row[j] += from[j];
      } else {
        for (index_t j = 0; j < k; ++j) row[j] += gamma(t, j);
      }
    }
  };
  const auto total = ordered_reduce<Table>(
      n, grain, [&] { return Table(size); }, add_rows,
      [](Table& into, Table&& from) {
        for (std::size_t e = 0; e < into.size(); ++e) into[e] += from[e];
      });
  for (index_t m = 0; m < n_symbols; ++m) {
    for (index_t j = 0; j < k; ++j) {
      counts[j * n_symbols + m] = total[static_cast<std::size_t>(m * k + j)];
    }
  }
}

}  // namespace kernelmill::hmm
