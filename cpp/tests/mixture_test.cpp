// What the Python agreement tests cannot see: that no twin reads or writes beyond its arrays. Every
// array is exactly as long as it must be, so that the address sanitizer guards both of its ends.
#include "ops/mixture.hpp"

#include <gtest/gtest.h>

#include <algorithm>  // std::max_element
#include <cmath>      // std::exp, std::log
#include <numbers>    // pi
#include <vector>     // arrays

namespace kernelmill {
namespace {

std::size_t size_of(index_t count) { return static_cast<std::size_t>(count); }

template <class T>
class Mixture : public testing::Test {};
using Types = testing::Types<float, double>;
TYPED_TEST_SUITE(Mixture, Types);

// Numbers between -1 and 1 that look random and are the same everywhere.
template <class T>
std::vector<T> values(index_t count, std::uint64_t seed) {
  std::vector<T> made(static_cast<std::size_t>(count));
  std::uint64_t state = seed * 0x9E3779B97F4A7C15u + 1;
  for (T& value : made) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    value = static_cast<T>(static_cast<double>(state >> 40) / double(1 << 23) - 1.0);
  }
  return made;
}

struct Model {
  index_t k, d;
  bool diagonal, shared;
  std::vector<double> means = values<double>(k * d, 1);
  std::vector<double> factors = made_factors();
  std::vector<double> offsets = values<double>(k, 3);

  index_t count() const { return shared ? 1 : k; }
  std::vector<double> made_factors() const {
    std::vector<double> made = values<double>(count() * (diagonal ? d : d * d), 2);
    for (index_t f = 0; f < count(); ++f) {
      for (index_t p = 0; p < d; ++p) {
        made[size_of(diagonal ? f * d + p : (f * d + p) * d + p)] = 1.0 + 0.1 * double(p % 3);
      }
    }
    return made;
  }
  GaussiansView view() const {
    return {dense(means.data(), k, d), factors.data(), count(), diagonal, offsets};
  }
  template <class T>
  double log_joint(const T* x, index_t j) const {
    const double* const P = factors.data() + (shared ? 0 : j) * (diagonal ? d : d * d);
    double sum = offsets[size_of(j)] - 0.5 * double(d) * std::log(2 * std::numbers::pi);
    for (index_t q = 0; q < d; ++q) {
      double y = 0;
      for (index_t p = diagonal ? q : 0; p <= q; ++p) {
        y += (double(x[p]) - means[size_of(j * d + p)]) * P[diagonal ? q : p * d + q];
      }
      sum += std::log(P[diagonal ? q : q * d + q]) - 0.5 * y * y;
    }
    return sum;
  }
};

template <class T>
void check(index_t n, index_t d, index_t k, bool diagonal, bool shared) {
  SCOPED_TRACE("n=" + std::to_string(n) + " d=" + std::to_string(d) + " k=" + std::to_string(k) +
               (diagonal ? " diagonal"
                : shared ? " shared"
                         : " full"));
  const Model model{k, d, diagonal, shared};
  const std::vector<T> x = values<T>(n * d, 4);
  const MatrixView<const T> view = dense(x.data(), n, d);
  std::vector<T> joint(size_of(n * k)), share(size_of(n * k)), log_prob(size_of(n));
  log_joint<T>(view, model.view(), joint.data());
  responsibilities<T>(dense(std::as_const(joint).data(), n, k), log_prob.data(), share.data());
  const bool pooled = shared && k > 1;
  std::vector<double> weights(size_of(k)), sums(size_of(k * d));
  std::vector<double> squares(size_of(diagonal ? k * d : pooled ? d * d : k * d * d));
  const double total =
      mixture_step<T>(view, model.view(), {}, {weights.data(), sums.data(), squares.data()});

  const double tolerance = sizeof(T) == 4 ? 1e-4 : 1e-11;
  double want_total = 0;
  std::vector<double> want_weights(size_of(k)), want_sums(size_of(k * d));
  double trace = 0, want_trace = 0;
  std::vector<double> want(size_of(k));
  for (index_t i = 0; i < n; ++i) {
    for (index_t j = 0; j < k; ++j) {
      want[size_of(j)] = model.log_joint(x.data() + i * d, j);
      EXPECT_NEAR(joint[size_of(i * k + j)], want[size_of(j)],
                  tolerance * (1 + std::abs(want[size_of(j)])));
    }
    const double largest = *std::max_element(want.begin(), want.end());
    double sum = 0;
    for (const double l : want) sum += std::exp(l - largest);
    want_total += largest + std::log(sum);
    for (index_t j = 0; j < k; ++j) {
      const double r = std::exp(want[size_of(j)] - largest) / sum;
      want_weights[size_of(j)] += r;
      for (index_t p = 0; p < d; ++p) {
        const double away = double(x[size_of(i * d + p)]) - model.means[size_of(j * d + p)];
        want_sums[size_of(j * d + p)] += r * away;
        want_trace += r * away * away;
      }
    }
  }
  const double scale = tolerance * double(n + 1);
  EXPECT_NEAR(total, want_total, scale * double(d + 4));
  for (index_t j = 0; j < k; ++j) {
    EXPECT_NEAR(weights[size_of(j)], want_weights[size_of(j)], scale);
  }
  for (std::size_t i = 0; i < sums.size(); ++i) EXPECT_NEAR(sums[i], want_sums[i], 4 * scale);
  for (index_t f = 0; f < (diagonal || !pooled ? k : 1); ++f) {
    for (index_t p = 0; p < d; ++p) {
      trace += squares[size_of(diagonal ? f * d + p : (f * d + p) * d + p)];
    }
  }
  EXPECT_NEAR(trace, want_trace, 8 * scale * double(d));
}

TYPED_TEST(Mixture, TailsOfEveryKind) {
  for (index_t n : {1, 2, 7, 31, 127, 128, 129, 130}) {
    for (auto [d, k] : {std::pair<index_t, index_t>{1, 1}, {2, 3}, {3, 15}, {8, 7}, {17, 2}}) {
      check<TypeParam>(n, d, k, false, false);
      check<TypeParam>(n, d, k, false, true);
      check<TypeParam>(n, d, k, true, false);
    }
  }
  check<TypeParam>(9, 300, 2, false, false);  // more than one chunk of depth
  check<TypeParam>(9, 300, 2, false, true);
  check<TypeParam>(9, 300, 2, true, false);
}

TYPED_TEST(Mixture, NoRows) {
  check<TypeParam>(0, 3, 2, false, false);
  check<TypeParam>(0, 3, 2, false, true);
  check<TypeParam>(0, 3, 2, true, false);
}

}  // namespace
}  // namespace kernelmill
