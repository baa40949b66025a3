// What the Python agreement tests cannot see: that no twin reads or writes beyond its arrays. Every
// array is exactly as long as it must be, so that the address sanitizer guards both of its ends.
#include "ops/hmm.hpp"

#include <gtest/gtest.h>

#include <cmath>    // std::exp, std::log
#include <numeric>  // std::accumulate
#include <vector>   // arrays

namespace kernelmill {
namespace {

std::size_t size_of(index_t count) { return static_cast<std::size_t>(count); }

struct Model {
  explicit Model(index_t states) : K(states), start(size_of(K)), transmat(size_of(K * K)) {
    for (index_t i = 0; i < K; ++i) {
      start[size_of(i)] = 1.0 / double(K);
      for (index_t j = 0; j < K; ++j) {
        transmat[size_of(i * K + j)] = (1.0 + double((i * 7 + j * 3) % 5)) / double(3 * K);
      }
    }
  }
  MatrixView<const double> A() const { return dense(transmat.data(), K, K); }
  index_t K;
  std::vector<double> start, transmat;
};

std::vector<double> log_densities(index_t T, index_t K) {
  std::vector<double> made(size_of(T * K));
  for (index_t i = 0; i < T * K; ++i) made[size_of(i)] = -2.0 + std::sin(double(3 * i % 101));
  return made;
}

// log p(x) of one sequence, by the recursion on probabilities; short sequences only.
double log_likelihood(const Model& model, const double* log_b, index_t T) {
  std::vector<double> alpha(model.start), next(alpha.size());
  for (index_t j = 0; j < model.K; ++j) alpha[size_of(j)] *= std::exp(log_b[j]);
  for (index_t t = 1; t < T; ++t) {
    for (index_t j = 0; j < model.K; ++j) {
      double sum = 0;
      for (index_t i = 0; i < model.K; ++i) sum += alpha[size_of(i)] * model.A()(i, j);
      next[size_of(j)] = sum * std::exp(log_b[t * model.K + j]);
    }
    alpha.swap(next);
  }
  return std::log(std::accumulate(alpha.begin(), alpha.end(), 0.0));
}

void check(index_t K, const std::vector<std::int64_t>& lengths) {
  const index_t T = std::accumulate(lengths.begin(), lengths.end(), std::int64_t{0});
  const index_t S = index_t(lengths.size());
  SCOPED_TRACE("K=" + std::to_string(K) + " T=" + std::to_string(T) + " S=" + std::to_string(S));
  const Model model(K);
  const std::vector<double> log_b = log_densities(T, K);
  const MatrixView<const double> b = dense(log_b.data(), T, K);
  std::vector<double> filtered(size_of(T * K)), gamma(filtered);
  std::vector<double> log_prob(size_of(S)), again(log_prob), best(log_prob);
  std::vector<double> starts(size_of(K)), transitions(size_of(K * K));
  hmm::forward(b, model.start, model.A(), lengths, filtered.data(), log_prob.data());
  hmm::posteriors(b, model.start, model.A(), lengths, {}, gamma.data(), again.data(), starts.data(),
                  transitions.data());
  std::vector<double> log_start(model.start), log_A(model.transmat);
  for (double& p : log_start) p = std::log(p);
  for (double& p : log_A) p = std::log(p);
  std::vector<std::int32_t> states(size_of(T), -1), drawn(size_of(T), -1);
  hmm::viterbi(b, log_start, dense(std::as_const(log_A).data(), K, K), lengths, states.data(),
               best.data());
  const std::vector<double> uniforms(size_of(T), 0.999);
  hmm::sample_states(model.start, model.A(), uniforms, lengths, drawn.data());
  std::vector<std::int64_t> symbols(states.begin(), states.end());
  std::vector<double> counts(size_of(K * K));
  hmm::symbol_counts(symbols, dense(std::as_const(gamma).data(), T, K), K, counts.data());

  index_t first = 0, nonempty = 0;
  for (index_t s = 0; s < S; ++s) {
    const index_t length = lengths[size_of(s)];
    const double want = length == 0 ? 0.0 : log_likelihood(model, log_b.data() + first * K, length);
    EXPECT_NEAR(log_prob[size_of(s)], want, 1e-10 * (1 + std::abs(want)));
    EXPECT_NEAR(again[size_of(s)], want, 1e-10 * (1 + std::abs(want)));
    EXPECT_LE(best[size_of(s)], want + 1e-10);
    nonempty += length > 0;
    first += length;
  }
  for (const auto* rows : {&filtered, &gamma}) {
    for (index_t t = 0; t < T; ++t) {
      const auto row = rows->begin() + t * K;
      EXPECT_NEAR(std::accumulate(row, row + K, 0.0), 1.0, 1e-12);
    }
  }
  const auto total = [](const std::vector<double>& of) {
    return std::accumulate(of.begin(), of.end(), 0.0);
  };
  EXPECT_NEAR(total(starts), double(nonempty), 1e-10);
  EXPECT_NEAR(total(transitions), double(T - nonempty), 1e-10 * double(T + 1));
  EXPECT_NEAR(total(counts), double(T), 1e-10 * double(T + 1));
  for (index_t t = 0; t < T; ++t) {
    EXPECT_TRUE(states[size_of(t)] >= 0 && states[size_of(t)] < K);
    EXPECT_TRUE(drawn[size_of(t)] >= 0 && drawn[size_of(t)] < K);
  }
}

TEST(Hmm, TailsOfEveryKind) {
  for (index_t K : {1, 2, 3, 4, 5, 7, 8, 9, 12, 13, 15, 16, 17, 31, 33, 64, 65}) {
    check(K, {1});
    check(K, {2, 1, 3});
    check(K, {17, 0, 5, 8});
    check(K, {100});
  }
}

TEST(Hmm, NoRows) {
  check(3, {});
  check(3, {0, 0});
}

}  // namespace
}  // namespace kernelmill
