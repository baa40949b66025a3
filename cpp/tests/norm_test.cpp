#include "ops/norm.hpp"

#include <gtest/gtest.h>

#include <cmath>   // std::fabs, std::sqrt
#include <limits>  // std::numeric_limits

#include "tests/guarded.hpp"

namespace kernelmill {
namespace {

template <class T>
class Norm : public testing::Test {};
using Types = testing::Types<float, double>;
TYPED_TEST_SUITE(Norm, Types);

// The largest difference of a normalised set of values from mean 0 and variance 1.
template <class T, class At>
double unnormalised(index_t n, At at) {
  double sum = 0, squares = 0;
  for (index_t i = 0; i < n; ++i) {
    sum += static_cast<double>(at(i));
    squares += static_cast<double>(at(i)) * static_cast<double>(at(i));
  }
  const double mean = sum / static_cast<double>(n);
  return std::max(std::fabs(mean), std::fabs(squares / static_cast<double>(n) - 1));
}

template <class T>
void expect_normalised(index_t n, index_t c, index_t k) {
  auto x = Guarded<T>::normal(n * c * k, 1, 2), g = Guarded<T>::normal(n * c * k, 2);
  Guarded<T> y(n * c * k, T(NAN)), dx(n * c * k, T(NAN)), dw(c, T(NAN)), db(c, T(NAN));
  Guarded<double> mean(n, NAN), inverse(n, NAN);
  norm::group<T>(x.cube(n, c, k), {}, {}, 1, 0.0, true, y.cube(n, c, k), mean.span(),
                 inverse.span());
  norm::group_backward<T>(g.cube(n, c, k), x.cube(n, c, k), mean.matrix(n, 1), inverse.span(), {},
                          true, dx.cube(n, c, k), dw.span(), db.span());
  const double unit = std::numeric_limits<T>::epsilon();
  const index_t d = c * k;
  for (index_t i = 0; i < n && d > 3; ++i) {
    EXPECT_LT(unnormalised<T>(d, [&](index_t p) { return y[i * d + p]; }), 30 * unit) << c << k;
    // The gradient is orthogonal to ones and to the result.
    double sum = 0, along = 0, size = 0;
    for (index_t p = 0; p < d; ++p) {
      sum += static_cast<double>(dx[i * d + p]);
      along += static_cast<double>(dx[i * d + p]) * static_cast<double>(y[i * d + p]);
      size += std::fabs(static_cast<double>(dx[i * d + p]));
    }
    EXPECT_LT(std::fabs(sum), 60 * unit * (size + 1));
    EXPECT_LT(std::fabs(along), 120 * unit * (size + 1));
  }
  for (const auto* one : {&y, &dx, &dw, &db}) EXPECT_TRUE(one->intact());
  EXPECT_TRUE(mean.intact() && inverse.intact());

  Guarded<double> means(c, NAN), variances(c, NAN), inverses(c, NAN);
  norm::batch<T>(x.cube(n, c, k), {}, {}, 0.0, y.cube(n, c, k), means.span(), variances.span(),
                 inverses.span());
  for (index_t j = 0; j < c && n * k > 3; ++j) {
    const auto at = [&](index_t e) { return y[(e / k * c + j) * k + e % k]; };
    EXPECT_LT(unnormalised<T>(n * k, at), 30 * unit) << n << ' ' << k;
  }
  norm::batch_backward<T>(g.cube(n, c, k), x.cube(n, c, k), means.span(), inverses.span(), {},
                          false, dx.cube(n, c, k), dw.span(), db.span());
  for (index_t j = 0; j < c; ++j) {
    double sum = 0;
    for (index_t e = 0; e < n * k; ++e) {
      sum += static_cast<double>(g[(e / k * c + j) * k + e % k]);
    }
    EXPECT_NEAR(static_cast<double>(db[j]), sum, unit * static_cast<double>(n * k + 1) * 8);
  }
  for (const auto* one : {&y, &dx, &dw, &db}) EXPECT_TRUE(one->intact());
  EXPECT_TRUE(means.intact() && variances.intact() && inverses.intact());
}

TYPED_TEST(Norm, TailsOffTheVectorGrid) {
  for (const index_t size : kSizes) {
    expect_normalised<TypeParam>(4, size, 1);
    expect_normalised<TypeParam>(2, 3, size);
    expect_normalised<TypeParam>(size + 1, 2, 2);
  }
}

TYPED_TEST(Norm, NoSamplesAndNoPlaces) {
  expect_normalised<TypeParam>(0, 3, 2);
  expect_normalised<TypeParam>(2, 3, 0);
}

}  // namespace
}  // namespace kernelmill
