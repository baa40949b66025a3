#include "ops/softmax.hpp"

#include <gtest/gtest.h>

#include <cmath>      // std::exp, std::fabs, std::log
#include <limits>     // std::numeric_limits
#include <stdexcept>  // std::invalid_argument

#include "tests/guarded.hpp"

namespace kernelmill {
namespace {

template <class T>
class Softmax : public testing::Test {};
using Types = testing::Types<float, double>;
TYPED_TEST_SUITE(Softmax, Types);

template <class T>
void expect_softmax(index_t n, index_t c, index_t k) {
  auto x = Guarded<T>::normal(n * c * k, 1, 3), g = Guarded<T>::normal(n * c * k, 2);
  Guarded<T> y(n * c * k, T(NAN)), l(n * c * k, T(NAN)), dy(n * c * k, T(NAN)),
      dl(n * c * k, T(NAN));
  softmax::softmax<T>(x.cube(n, c, k), y.cube(n, c, k));
  softmax::log_softmax<T>(x.cube(n, c, k), l.cube(n, c, k));
  softmax::softmax_backward<T>(g.cube(n, c, k), y.cube(n, c, k), dy.cube(n, c, k));
  softmax::log_softmax_backward<T>(g.cube(n, c, k), l.cube(n, c, k), dl.cube(n, c, k));
  const double unit = 60 * std::numeric_limits<T>::epsilon();
  for (index_t i = 0; i < n; ++i) {
    for (index_t q = 0; q < k; ++q) {
      const auto at = [&](index_t j) { return (i * c + j) * k + q; };
      double total = 0, sum = 0, inner = 0, size = 0;
      for (index_t j = 0; j < c; ++j) total += std::exp(double(x[at(j)]));
      for (index_t j = 0; j < c; ++j) {
        sum += double(g[at(j)]);
        size += std::fabs(double(g[at(j)]));
        inner += double(g[at(j)]) * std::exp(double(x[at(j)])) / total;
      }
      for (index_t j = 0; j < c; ++j) {
        const double p = std::exp(double(x[at(j)])) / total;
        EXPECT_NEAR(double(y[at(j)]), p, unit) << n << ' ' << c << ' ' << k;
        EXPECT_NEAR(double(l[at(j)]), std::log(p), unit * (1 + std::fabs(std::log(p))));
        EXPECT_NEAR(double(dy[at(j)]), p * (double(g[at(j)]) - inner), unit * (1 + size));
        EXPECT_NEAR(double(dl[at(j)]), double(g[at(j)]) - p * sum, unit * (1 + size));
      }
    }
  }
  for (const auto* one : {&y, &l, &dy, &dl}) EXPECT_TRUE(one->intact());
}

TYPED_TEST(Softmax, TailsOffTheVectorGrid) {
  for (const index_t size : kSizes) {
    expect_softmax<TypeParam>(3, size, 1);
    expect_softmax<TypeParam>(2, 3, size);
    expect_softmax<TypeParam>(size, 2, 1);
  }
}

TYPED_TEST(Softmax, EmptyAxes) {
  expect_softmax<TypeParam>(0, 3, 2);
  expect_softmax<TypeParam>(2, 3, 0);
  expect_softmax<TypeParam>(2, 0, 3);
}

TYPED_TEST(Softmax, CrossEntropyOfEachTail) {
  for (const index_t c : kSizes) {
    const index_t n = 5;
    auto x = Guarded<TypeParam>::normal(n * c, 1);
    std::vector<index_t> target{0, c - 1, c / 2, -100, 0};
    Guarded<TypeParam> losses(n, TypeParam(NAN)), ones(n, TypeParam(1)), dx(n * c, TypeParam(NAN));
    Guarded<double> lse(n, NAN);
    const double total = softmax::cross_entropy<TypeParam>(x.cube(n, c, 1), target, {}, -100, 0.0,
                                                           losses.span(), lse.span());
    softmax::cross_entropy_backward<TypeParam>(ones.span(), x.cube(n, c, 1), lse.span(), target, {},
                                               -100, 0.0, dx.cube(n, c, 1));
    EXPECT_EQ(total, 4);
    const double unit = 60 * std::numeric_limits<TypeParam>::epsilon();
    for (index_t i = 0; i < n; ++i) {
      double sum = 0;
      for (index_t j = 0; j < c; ++j) sum += std::exp(double(x[i * c + j]));
      const bool counts = target[static_cast<std::size_t>(i)] >= 0;
      for (index_t j = 0; j < c; ++j) {
        const double p = std::exp(double(x[i * c + j])) / sum;
        const double want = counts ? p - (j == target[static_cast<std::size_t>(i)]) : 0.0;
        EXPECT_NEAR(double(dx[i * c + j]), want, unit) << c;
      }
      EXPECT_EQ(losses[i] == 0, !counts || c == 1);
    }
    EXPECT_TRUE(losses.intact() && lse.intact() && dx.intact());
  }
}

TYPED_TEST(Softmax, ATargetThatIsNoClassIsRefused) {
  auto x = Guarded<TypeParam>::normal(6, 1);
  Guarded<TypeParam> losses(2, TypeParam(0));
  Guarded<double> lse(2, 0.0);
  const std::vector<index_t> target{0, 3};
  EXPECT_THROW(softmax::cross_entropy<TypeParam>(x.cube(2, 3, 1), target, {}, -100, 0.0,
                                                 losses.span(), lse.span()),
               std::invalid_argument);
}

}  // namespace
}  // namespace kernelmill
