#include "ops/dropout.hpp"

#include <gtest/gtest.h>

#include "tests/guarded.hpp"

namespace kernelmill {
namespace {

template <class T>
class Dropout : public testing::Test {};
using Types = testing::Types<float, double>;
TYPED_TEST_SUITE(Dropout, Types);

TYPED_TEST(Dropout, AnItemDependsOnItsNumberAlone) {
  using T = TypeParam;
  const index_t n = 3000;
  auto x = Guarded<T>::normal(n, 1);
  Guarded<T> whole(n, T(NAN));
  const dropout::Mask mask{0.3, 5, 6, false};
  dropout::dropout<T>(x.matrix(1, n), mask, T(2), T(1), T(-7), whole.matrix(1, n));
  index_t dropped = 0;
  for (index_t i = 0; i < n; ++i) {
    const bool kept = whole[i] == 2 * x[i] + 1;
    EXPECT_TRUE(kept || whole[i] == -7) << i;
    dropped += !kept;
  }
  EXPECT_NEAR(static_cast<double>(dropped), 900, 100);
  for (const index_t size : kSizes) {  // the same numbers in other shapes, and fewer of them
    Guarded<T> part(2 * size, T(NAN));
    dropout::dropout<T>(x.matrix(2, size), mask, T(2), T(1), T(-7), part.matrix(2, size));
    for (index_t i = 0; i < 2 * size; ++i) EXPECT_EQ(part[i], whole[i]) << size;
    EXPECT_TRUE(part.intact());
  }
  EXPECT_TRUE(whole.intact());
}

TYPED_TEST(Dropout, RowsGoTogetherAndStridesAreFollowed) {
  using T = TypeParam;
  auto x = Guarded<T>::normal(40 * 9, 1);
  Guarded<T> y(40 * 4, T(NAN));
  const MatrixView<const T> every_second{x.data(), 40, 4, 9, 2};
  dropout::dropout<T>(every_second, {0.5, 1, 2, true}, T(1), T(0), T(0), y.matrix(40, 4));
  for (index_t i = 0; i < 40; ++i) {
    const bool kept = y[4 * i] != 0;
    for (index_t j = 0; j < 4; ++j) EXPECT_EQ(y[4 * i + j], kept ? every_second(i, j) : T(0));
  }
  EXPECT_TRUE(y.intact());
}

TYPED_TEST(Dropout, NothingAndAllAndEmpty) {
  using T = TypeParam;
  auto x = Guarded<T>::normal(7, 1);
  Guarded<T> y(7, T(NAN));
  dropout::dropout<T>(x.matrix(1, 7), {0.0, 1, 1, false}, T(1), T(0), T(9), y.matrix(1, 7));
  for (index_t i = 0; i < 7; ++i) EXPECT_EQ(y[i], x[i]);
  dropout::dropout<T>(x.matrix(1, 7), {1.0, 1, 1, false}, T(1), T(0), T(9), y.matrix(1, 7));
  for (index_t i = 0; i < 7; ++i) EXPECT_EQ(y[i], T(9));
  dropout::dropout<T>(x.matrix(0, 7), {0.5, 1, 1, false}, T(1), T(0), T(9), y.matrix(0, 7));
  dropout::dropout<T>(x.matrix(7, 0), {0.5, 1, 1, true}, T(1), T(0), T(9), y.matrix(7, 0));
  EXPECT_TRUE(y.intact());
}

}  // namespace
}  // namespace kernelmill
