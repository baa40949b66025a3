// Forward and posteriors.
//
// Let m_t = max_j log_density(t, j) and b_t(j) = exp(log_density(t, j) - m_t), at most 1. With
//
//   alpha_0 = pi o b_0,   alpha_{t+1} = f_{t+1} (alpha_t A) o b_{t+1},   f_{t+1} = 2^-e_t,
//
// e_t = floor(log2 sum_j alpha_t(j)), every alpha_t is the true one times an exact power of two and
// exp(-sum m), so the sum over j of the last one gives
//
//   log p(x) = log sum alpha_{T-1} + ln 2 sum_{t < T-1} e_t + sum_t m_t.
//
// Backward, beta_{T-1} = 1 and beta_t = A w_{t+1} with w_t = b_t o beta_t times a power of two of
// its own: the same recursion with A transposed, which keeps the product before b instead of after
// it. Both are run_chain. From
//
//   g_t = sum_j alpha_t(j) beta_t(j) = f_t sum_ij alpha_{t-1}(i) A(i, j) b_t(j) beta_t(j)
//
// follow gamma_t = alpha_t o beta_t / g_t and
//
//   xi_{t-1}(i, j) = A(i, j) alpha_{t-1}(i) u_t(j),   u_t = b_t o beta_t f_t / g_t,
//
// so the expected transitions are A o sum_t alpha_{t-1} u_t^T: one more matrix product, whose depth
// is time. Its blocks of rows are independent of each other.
//
// What is lost. The recursions add and multiply numbers that are not negative, so every entry has a
// relative error of about 2 T K eps, except where it underflows. b below 2^-960 is raised to that
// (0 stays 0), and an entry is called lossy when it falls below 2^-880 of the mass while p and b
// are positive: where A has no positive entry below 2^-130 of the largest, products of entries that
// are not lossy cannot underflow, so other zeros are exact. Lossy entries of a row are wrong by
// K 2^-940 together at the most. Such a mistake L moves on like mass: it adds at most
// L max_i A(i, j) to entry j of the product (L sum_i A(i, j) if L bounds each entry: backward) and
// grows by f times the largest row sum of A at the most. If every entry of the product exceeds 2^80
// times what L adds to it, the mistake is from then on within 2^-80 of every entry, for good:
// proportions do not move, since sums and products keep l <= c a. Else L is kept, and the sequence
// is done again in log space as soon as L exceeds 2^-80 of the mass; for the posteriors 2^-560,
// beside g_t > 2^-450. Where A is positive and no entry is below 2^-100 of the largest, the test
// holds by itself whenever a step keeps 2^-400 of the mass, which is checked for all A.
//
// Floor. A step of a small K is a chain: product with b (3 cycles), one shuffle across the vector
// (3) and one within (1), K / 4 multiply-adds (4 each), two additions (3 each): 21 cycles for K = 8
// with AVX2 on Zen 3, 17 for K = 4; 30 and 25 are reached (9.4 and 8.0 ns at 3.1 GHz). The sum and
// the power of two take as long beside it. A large K is bound by reading A from the caches: K = 64
// takes 770 cycles, the multiply-adds alone 512; K = 256 takes 21600, reading 32 bytes a cycle from
// L2 16400.
#include "ops/hmm.hpp"

#include <algorithm>  // std::max, std::fill_n, std::copy_n
#include <cmath>      // std::log, std::ilogb, std::scalbn
#include <vector>     // per-chunk results

#include "core/parallel.hpp"   // parallel_for, ordered_reduce
#include "core/workspace.hpp"  // rows
#include "ops/hmm_chain.hpp"   // run_chain
#include "ops/hmm_log.hpp"     // LogModel
#include "ops/hmm_plan.hpp"    // make_plan
#include "ops/hmm_rows.hpp"    // densities, expected_counts

namespace kernelmill::hmm {
namespace {

constexpr double ln2 = 0.693147180559945309417;
constexpr double allowed_alone = 0x1p-80, allowed_together = 0x1p-560;

index_t row_work(index_t k) { return 16 + 2 * k + k * k / 4; }
constexpr index_t min_rows = 64;  // of a chunk, beside K x K sums

// pi times a power of two, padded.
struct Start {
  explicit Start(std::span<const double> pi) {
    const auto k = static_cast<index_t>(pi.size());
    values = Workspace<double>(static_cast<std::size_t>(padded(k)));
    double largest = 0;
    bool valid = true;
    for (const double x : pi) {
      valid = valid && x >= 0;
      largest = std::max(largest, x);
    }
    usable = valid && largest > 0 && std::isfinite(largest);
    if (!usable) return;
    exponent = std::ilogb(largest);
    std::fill_n(values.data(), padded(k), 0.0);
    for (index_t j = 0; j < k; ++j) {
      values.data()[j] = std::scalbn(pi[static_cast<std::size_t>(j)], -static_cast<int>(exponent));
    }
  }
  Workspace<double> values;
  std::int64_t exponent = 0;
  bool usable = false;
};

// alpha and sum of logarithms of one sequence of n rows, whose densities b are there.
bool run_forward(const Transition& a, const Start& start, const double* b, index_t n,
                 double allowed, double* alpha, double* factors, double& log_prob) {
  if (!start.usable || !a.usable()) return false;
  const index_t width = a.width();
  Carry carry(width);
  std::copy_n(start.values.data(), width, carry.p.data());
  if (!run_chain<false>(a, carry, {b, width, alpha, width, factors, allowed}, n)) return false;
  const std::int64_t exponent = carry.exponent + start.exponent + (n - 1) * a.exponent();
  log_prob = std::log(carry.kept) + ln2 * static_cast<double>(exponent);
  return true;
}

bool run_backward(const Transition& at, const double* b, index_t n, double allowed, double* beta) {
  if (!at.usable()) return false;
  const index_t width = at.width(), last = (n - 1) * width;
  Carry carry(width);
  std::fill_n(carry.p.data(), at.k(), 1.0);
  std::fill(carry.p.data() + at.k(), carry.p.data() + width, 0.0);
  return run_chain<true>(at, carry, {b + last, -width, beta + last, -width, nullptr, allowed}, n);
}

// densities() of a split sequence, block by block.
double parallel_densities(MatrixView<const double> x, index_t block, double* b) {
  const index_t width = padded(x.cols);
  std::vector<double> shifts(static_cast<std::size_t>(chunk_count(x.rows, block)));
  parallel_for(x.rows, block, [&](index_t chunk, index_t begin, index_t end) {
    shifts[static_cast<std::size_t>(chunk)] = densities(x.row_range(begin, end), b + begin * width);
  });
  double total = 0;
  for (const double shift : shifts) total += shift;
  return total;
}

Workspace<double> rows_of(index_t n, index_t width) {
  return Workspace<double>(static_cast<std::size_t>(n * width));
}

index_t longest(const Plan& plan, index_t chunk) {
  index_t most = 0;
  for (std::size_t s = plan.cut[static_cast<std::size_t>(chunk)];
       s < plan.cut[static_cast<std::size_t>(chunk) + 1]; ++s) {
    most = std::max(most, plan.whole[s].length);
  }
  return most;
}

// Calls body(span) for the sequences of a chunk.
template <class Body>
void each_whole(const Plan& plan, index_t chunk, Body&& body) {
  for (std::size_t s = plan.cut[static_cast<std::size_t>(chunk)];
       s < plan.cut[static_cast<std::size_t>(chunk) + 1]; ++s) {
    body(plan.whole[s]);
  }
}

// Forward alone: densities, one chain, probabilities. Chain is
// bool(span, b, shift, rows), Again redoes a sequence in log space.
template <class Chain, class Again>
void filter(MatrixView<const double> x, Lengths lengths, double* out, Chain&& chain,
            Again&& again) {
  const index_t k = x.cols, width = padded(k);
  const Plan plan = make_plan(lengths, row_work(k));
  // Rows of whole vectors are written where they belong.
  const auto rows_at = [&](const Workspace<double>& room, const Span& span) {
    return k == width ? out + span.begin * k : room.data();
  };
  for (const Span& span : plan.split) {
    const auto of = x.row_range(span.begin, span.begin + span.length);
    const Workspace<double> b = rows_of(span.length, width);
    const Workspace<double> room = rows_of(k == width ? 0 : span.length, width);
    const double shift = parallel_densities(of, plan.block, b.data());
    double* const rows = rows_at(room, span);
    if (!chain(span, b.data(), shift, rows)) {
      again(span, of, out + span.begin * k);
      continue;
    }
    parallel_for(span.length, plan.block, [&](index_t, index_t begin, index_t end) {
      normalise_rows(rows + begin * width, end - begin, k, out + (span.begin + begin) * k);
    });
  }
  parallel_for(plan.chunks(), 1, [&](index_t chunk, index_t, index_t) {
    const index_t most = longest(plan, chunk);
    const Workspace<double> b = rows_of(most, width);
    const Workspace<double> room = rows_of(k == width ? 0 : most, width);
    each_whole(plan, chunk, [&](const Span& span) {
      check_interrupt();
      const auto of = x.row_range(span.begin, span.begin + span.length);
      const double shift = densities(of, b.data());
      double* const rows = rows_at(room, span);
      if (chain(span, b.data(), shift, rows)) {
        normalise_rows(rows, span.length, k, out + span.begin * k);
      } else {
        again(span, of, out + span.begin * k);
      }
    });
  });
}

// Sums of a chunk of sequences, or of a block of rows of one.
struct Sums {
  explicit Sums(index_t k)
      : starts(static_cast<std::size_t>(k)),
        outer(static_cast<std::size_t>(padded(k) * padded(k))) {}

  // From sequences done in log space, whose transitions are whole.
  double* again(index_t k) {
    transitions.resize(static_cast<std::size_t>(k * k));
    return transitions.data();
  }
  void add(const Sums& from) {
    for (std::size_t j = 0; j < starts.size(); ++j) starts[j] += from.starts[j];
    for (std::size_t e = 0; e < outer.size(); ++e) outer[e] += from.outer[e];
    if (!from.transitions.empty()) transitions.resize(from.transitions.size());
    for (std::size_t e = 0; e < from.transitions.size(); ++e) transitions[e] += from.transitions[e];
  }

  std::vector<double> starts, outer, transitions;
};

class Posteriors {
 public:
  Posteriors(MatrixView<const double> density, std::span<const double> startprob,
             MatrixView<const double> transmat, Lengths lengths, std::span<const double> weights,
             double* gamma_to, double* log_prob_to)
      : x(density),
        k(density.cols),
        width(padded(k)),
        plan(make_plan(lengths, row_work(k), min_rows)),
        weight(weights),
        gamma(gamma_to),
        log_prob(log_prob_to),
        a(transmat, true),
        at(transmat.transposed(), false),
        start(startprob),
        log_model(startprob, transmat) {}

  void run(double* starts, double* transitions) {
    Sums total(k);
    run_split(total);
    if (plan.chunks() > 0) {
      total.add(ordered_reduce<Sums>(
          plan.chunks(), 1, [&] { return Sums(k); },
          [&](Sums& sums, index_t chunk, index_t, index_t) { run_chunk(chunk, sums); },
          [](Sums& into, Sums&& from) { into.add(from); }));
    }
    std::copy(total.starts.begin(), total.starts.end(), starts);
    std::copy(total.transitions.begin(), total.transitions.end(), transitions);
    if (total.transitions.empty()) std::fill_n(transitions, k * k, 0.0);
    if (!a.usable()) return;
    for (index_t i = 0; i < k; ++i) {
      for (index_t j = 0; j < k; ++j) {
        transitions[i * k + j] +=
            a.entry(i, j) * total.outer[static_cast<std::size_t>(i * width + j)];
      }
    }
  }

 private:
  double weight_of(const Span& span) const {
    return weight.empty() ? 1.0 : weight[static_cast<std::size_t>(span.number)];
  }
  MatrixView<const double> rows_of_x(const Span& span) const {
    return x.row_range(span.begin, span.begin + span.length);
  }
  double* gamma_of(const Span& span) const { return gamma + span.begin * k; }
  void again(const Span& span, Sums& sums) {
    log_prob[span.number] = log_model.posteriors(rows_of_x(span), weight_of(span), gamma_of(span),
                                                 sums.starts.data(), sums.again(k));
  }
  void add_starts(const Span& span, Sums& sums) {
    for (index_t j = 0; j < k; ++j) {
      sums.starts[static_cast<std::size_t>(j)] += weight_of(span) * gamma_of(span)[j];
    }
  }

  // Several short sequences on one thread.
  void run_chunk(index_t chunk, Sums& sums) {
    const index_t most = longest(plan, chunk);
    const Workspace<double> b = rows_of(most, width), beta = rows_of(most, width);
    const Workspace<double> room = rows_of(k == width ? 0 : most, width);
    const Workspace<double> factors = rows_of(most, 1), inverse = rows_of(most, 1);
    each_whole(plan, chunk, [&](const Span& span) {
      check_interrupt();
      const index_t n = span.length;
      double* const alpha = k == width ? gamma_of(span) : room.data();
      const double shift = densities(rows_of_x(span), b.data());
      double& found = log_prob[span.number];
      if (!run_forward(a, start, b.data(), n, allowed_together, alpha, factors.data(), found) ||
          !run_backward(at, b.data(), n, allowed_together, beta.data()) ||
          !normalisers(alpha, beta.data(), n, width, inverse.data())) {
        again(span, sums);
        return;
      }
      found += shift;
      expected_counts(
          {alpha, nullptr, b.data(), beta.data(), factors.data(), inverse.data(), weight_of(span)},
          n, k, gamma_of(span), sums.outer.data());
      add_starts(span, sums);
    });
  }

  // Long sequences one after the other, each on several threads: densities by blocks of rows, the
  // two chains side by side, counts by blocks.
  void run_split(Sums& total) {
    struct Work {
      Workspace<double> b, beta, alpha, factors, inverse;
      double shift;
      bool good[2];
    };
    std::vector<Work> works;
    for (const Span& span : plan.split) {
      const index_t n = span.length;
      works.push_back({rows_of(n, width),
                       rows_of(n, width),
                       rows_of(k == width ? 0 : n, width),
                       rows_of(n, 1),
                       rows_of(n, 1),
                       0,
                       {}});
      works.back().shift = parallel_densities(rows_of_x(span), plan.block, works.back().b.data());
    }
    const auto alpha_of = [&](std::size_t s) {
      return k == width ? gamma_of(plan.split[s]) : works[s].alpha.data();
    };
    parallel_for(2 * static_cast<index_t>(works.size()), 1, [&](index_t task, index_t, index_t) {
      const auto s = static_cast<std::size_t>(task / 2);
      const Span& span = plan.split[s];
      Work& work = works[s];
      work.good[task % 2] =
          task % 2 == 0
              ? run_forward(a, start, work.b.data(), span.length, allowed_together, alpha_of(s),
                            work.factors.data(), log_prob[span.number])
              : run_backward(at, work.b.data(), span.length, allowed_together, work.beta.data());
    });
    for (std::size_t s = 0; s < works.size(); ++s) {
      const Span& span = plan.split[s];
      Work& work = works[s];
      if (!work.good[0] || !work.good[1] || !count(span, work, alpha_of(s), total)) {
        again(span, total);
        continue;
      }
      log_prob[span.number] += work.shift;
      add_starts(span, total);
    }
  }

  template <class Work>
  bool count(const Span& span, Work& work, const double* alpha, Sums& total) {
    const index_t n = span.length, blocks = chunk_count(n, plan.block);
    // gamma takes the place of alpha, whose last row the next block needs.
    const Workspace<double> before = rows_of(blocks, width);
    for (index_t c = 1; c < blocks; ++c) {
      std::copy_n(alpha + (c * plan.block - 1) * width, width, before.data() + c * width);
    }
    std::vector<char> good(static_cast<std::size_t>(blocks));
    Sums sums = ordered_reduce<Sums>(
        n, plan.block, [&] { return Sums(k); },
        [&](Sums& part, index_t c, index_t begin, index_t end) {
          const index_t at_row = begin * width, rows = end - begin;
          double* const inverse = work.inverse.data() + begin;
          good[static_cast<std::size_t>(c)] =
              normalisers(alpha + at_row, work.beta.data() + at_row, rows, width, inverse);
          expected_counts(
              {alpha + at_row, c == 0 ? nullptr : before.data() + c * width, work.b.data() + at_row,
               work.beta.data() + at_row, work.factors.data() + begin, inverse, weight_of(span)},
              rows, k, gamma_of(span) + begin * k, part.outer.data());
        },
        [](Sums& into, Sums&& from) { into.add(from); });
    for (const char g : good) {
      if (!g) return false;
    }
    total.add(sums);
    return true;
  }

  MatrixView<const double> x;
  index_t k, width;
  Plan plan;
  std::span<const double> weight;
  double *gamma, *log_prob;
  Transition a, at;
  Start start;
  LogModel log_model;
};

}  // namespace

void forward(MatrixView<const double> log_density, std::span<const double> startprob,
             MatrixView<const double> transmat, Lengths lengths, double* filtered,
             double* log_prob) {
  const Transition a(transmat, true);
  const Start start(startprob);
  const LogModel log_model(startprob, transmat);
  std::fill_n(log_prob, lengths.size(), 0.0);
  filter(
      log_density, lengths, filtered,
      [&](const Span& span, const double* b, double shift, double* rows) {
        double& found = log_prob[span.number];
        if (!run_forward(a, start, b, span.length, allowed_alone, rows, nullptr, found)) {
          return false;
        }
        found += shift;
        return true;
      },
      [&](const Span& span, MatrixView<const double> of, double* out) {
        log_prob[span.number] = log_model.forward(of, out);
      });
}

void posteriors(MatrixView<const double> log_density, std::span<const double> startprob,
                MatrixView<const double> transmat, Lengths lengths, std::span<const double> weight,
                double* gamma, double* log_prob, double* starts, double* transitions) {
  std::fill_n(log_prob, lengths.size(), 0.0);
  Posteriors(log_density, startprob, transmat, lengths, weight, gamma, log_prob)
      .run(starts, transitions);
}

}  // namespace kernelmill::hmm
