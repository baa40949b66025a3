#include "ops/values.hpp"

#include <gtest/gtest.h>

#include <cmath>  // NAN, INFINITY

#include "tests/distance_cases.hpp"
#include "tests/guarded.hpp"

namespace kernelmill {
namespace {

template <class T>
class Values : public testing::Test {};
using Types = testing::Types<float, double>;
TYPED_TEST_SUITE(Values, Types);

TYPED_TEST(Values, EveryPlaceOfEachTailCounts) {
  using T = TypeParam;
  for (const index_t n : kSizes) {
    for (const index_t at : {index_t{0}, n / 2, n - 1}) {
      Guarded<T> x(n, T(1));
      x[at] = T(-9);
      EXPECT_EQ(extent<T>(x.matrix(1, n)), std::tuple(9.0, index_t{0})) << n << ' ' << at;
      x[at] = T(NAN);
      EXPECT_EQ(extent<T>(x.matrix(n, 1)), std::tuple(n > 1 ? 1.0 : 0.0, index_t{1}));
      x[at] = T(-INFINITY);
      EXPECT_EQ(std::get<0>(extent<T>(x.matrix(n, 1))), INFINITY);
    }
  }
}

TYPED_TEST(Values, GapsBetweenRowsAreNotRead) {
  using T = TypeParam;
  for (const index_t d : kSizes) {
    const GappedRows<T> x(70, d, 0, 1, 1);  // NaN behind each row
    EXPECT_EQ(std::get<1>(extent<T>(x.view)), 0) << d;
    EXPECT_EQ(std::get<1>(extent<T>(x.view.transposed())), 0) << d;
    EXPECT_EQ(extent<T>(x.view), extent<T>(x.view.transposed()));
  }
}

TYPED_TEST(Values, ManyTasksAndEmpty) {
  using T = TypeParam;
  const index_t n = 300'000;
  Guarded<T> x(n, T(0));
  x[n - 1] = T(5);
  x[n / 2] = T(NAN);
  EXPECT_EQ(extent<T>(x.matrix(1000, 300)), std::tuple(5.0, index_t{1}));
  EXPECT_EQ(extent<T>(x.matrix(0, 3)), std::tuple(0.0, index_t{0}));
  EXPECT_EQ(extent<T>(x.matrix(3, 0)), std::tuple(0.0, index_t{0}));
}

}  // namespace
}  // namespace kernelmill
