#include "ops/sgd.hpp"

#include <gtest/gtest.h>

#include <array>   // settings
#include <cmath>   // std::fabs
#include <limits>  // infinity

#include "core/parallel.hpp"  // set_thread_limit
#include "tests/guarded.hpp"

namespace kernelmill {
namespace {

using sgd::State;

template <class T>
class Sgd : public testing::Test {};
using Types = testing::Types<float, double>;
TYPED_TEST_SUITE(Sgd, Types);

// Log-loss with all that costs memory: decay, an L1 penalty, averages.
sgd::Settings everything(double l1) {
  const std::array<double, 13> values{2, 0, 0, 0.1, 0, 0, l1, 0.01, 1, 1, -INFINITY, 5, 1};
  return {"test", values};
}

template <class T>
struct Problem {
  Problem(index_t samples, index_t features, index_t outputs, bool l1)
      : n(samples),
        d(features),
        k(outputs),
        rows(l1 ? k : 0),
        x(Guarded<T>::normal(n * d, 1)),
        weights(k * d, 0.0),
        applied(rows * d, 0.0),
        averages(k * d, 0.0),
        states(k * 14, 0.0) {
    for (index_t j = 0; j < k; ++j) {
      auto& s = *reinterpret_cast<State*>(states.data() + 14 * j);
      s.step = s.positive_weight = s.negative_weight = 1;
      s.rate = 0.1;
      s.best = INFINITY;
    }
    for (index_t i = 0; i < n; ++i) {
      y.push_back(static_cast<double>(k > 1 ? i % k : i % 2 * 2 - 1));
      order.push_back((i * 7) % n);
    }
  }
  sgd::Models models() {
    return {weights.matrix(k, d), states.matrix(k, 14), applied.matrix(rows, d),
            averages.matrix(k, d)};
  }
  index_t run(MatrixView<const T> rows_of_x) {
    return sgd::epochs<T>(rows_of_x, y, dense<const std::int64_t>(order.data(), 1, n), models(),
                          everything(rows ? 0.01 : 0.0), {});
  }
  bool intact() const {
    return weights.intact() && applied.intact() && averages.intact() && states.intact();
  }
  index_t n, d, k, rows;
  Guarded<T> x;
  Guarded<double> weights, applied, averages, states;
  std::vector<double> y;
  std::vector<std::int64_t> order;
};

TYPED_TEST(Sgd, TailsStridesAndSparseRowsAgree) {
  using T = TypeParam;
  for (const index_t d : kSizes) {
    for (const bool l1 : {false, true}) {
      const index_t n = 9;
      Problem<T> plain(n, d, 3, l1), strided(n, d, 3, l1), sparse(n, d, 3, l1);
      EXPECT_EQ(plain.run(plain.x.matrix(n, d)), 1);
      Guarded<T> columns(n * d, T(0));
      for (index_t i = 0; i < n; ++i) {
        for (index_t p = 0; p < d; ++p) columns[p * n + i] = plain.x[i * d + p];
      }
      strided.run(columns.matrix(d, n).transposed());
      std::vector<std::int32_t> indices, indptr{0};
      for (index_t i = 0; i < n; ++i) {
        for (index_t p = 0; p < d; ++p) indices.push_back(static_cast<std::int32_t>(p));
        indptr.push_back(static_cast<std::int32_t>(indices.size()));
      }
      const CsrView<T> csr{n, d, n * d, plain.x.data(), indices.data(), indptr.data(), false};
      sgd::csr_epochs<T>(csr, sparse.y, dense<const std::int64_t>(sparse.order.data(), 1, n),
                         sparse.models(), everything(l1 ? 0.01 : 0.0), {});
      for (index_t e = 0; e < 3 * d; ++e) {
        EXPECT_NEAR(strided.weights[e], plain.weights[e], 1e-12) << d;
        EXPECT_NEAR(sparse.weights[e], plain.weights[e], 1e-12) << d;
        EXPECT_NEAR(sparse.averages[e], plain.averages[e], 1e-12) << d;
      }
      EXPECT_TRUE(plain.intact() && strided.intact() && sparse.intact());
    }
  }
}

TYPED_TEST(Sgd, SameBitsAtAnyThreadCount) {
  using T = TypeParam;
  std::vector<double> first;
  for (const int threads : {1, 2, 7}) {
    set_thread_limit(threads);
    Problem<T> problem(200, 33, 20, true);
    problem.run(problem.x.matrix(200, 33));
    const auto got = problem.weights.span();
    if (first.empty()) first.assign(got.begin(), got.end());
    EXPECT_TRUE(std::equal(got.begin(), got.end(), first.begin())) << threads;
  }
  set_thread_limit(0);
}

TYPED_TEST(Sgd, EmptySides) {
  using T = TypeParam;
  for (const auto& [n, d, k] : {std::array<index_t, 3>{0, 3, 2}, {3, 0, 2}, {3, 2, 0}}) {
    Problem<T> problem(n, d, k, true);
    problem.run(problem.x.matrix(n, d));
    EXPECT_TRUE(problem.intact());
  }
}

}  // namespace
}  // namespace kernelmill
