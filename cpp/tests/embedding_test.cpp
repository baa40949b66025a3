#include "ops/embedding.hpp"

#include <gtest/gtest.h>

#include <algorithm>  // std::max
#include <limits>     // std::numeric_limits
#include <stdexcept>  // std::out_of_range

#include "tests/guarded.hpp"

namespace kernelmill {
namespace {

template <class T>
class Embedding : public testing::Test {};
using Types = testing::Types<float, double>;
TYPED_TEST_SUITE(Embedding, Types);

TYPED_TEST(Embedding, RowsAndTheirGradientInEachTail) {
  using T = TypeParam;
  for (const index_t d : kSizes) {
    const std::vector<index_t> index{4, 0, 2, 2, 2, 4};
    auto weight = Guarded<T>::normal(5 * d, 1), g = Guarded<T>::normal(6 * d, 2);
    Guarded<T> y(6 * d, T(NAN)), dw(5 * d, T(NAN));
    embedding::forward<T>(weight.matrix(5, d), index, y.matrix(6, d));
    embedding::backward<T>(g.matrix(6, d), index, 0, dw.matrix(5, d));
    for (index_t p = 0; p < d; ++p) {
      for (index_t i = 0; i < 6; ++i) {
        EXPECT_EQ(y[i * d + p], weight[index[static_cast<std::size_t>(i)] * d + p]);
      }
      EXPECT_EQ(dw[p], T(0)) << "padding";
      EXPECT_EQ(dw[d + p], T(0)) << "unused";
      const double sum = double(g[2 * d + p]) + double(g[3 * d + p]) + double(g[4 * d + p]);
      EXPECT_NEAR(double(dw[2 * d + p]), sum, 8 * std::numeric_limits<T>::epsilon());
    }
    EXPECT_TRUE(y.intact() && dw.intact());
  }
}

TYPED_TEST(Embedding, BagsOfEachKind) {
  using T = TypeParam;
  for (const index_t d : kSizes) {
    const std::vector<index_t> index{1, 2, 0, 1, 1}, offsets{0, 2, 2, 3};
    auto weight = Guarded<T>::normal(3 * d, 1), g = Guarded<T>::normal(4 * d, 2);
    for (const auto mode : {embedding::Mode::sum, embedding::Mode::mean, embedding::Mode::max}) {
      const embedding::Bags<T> bags{index, offsets, {}, mode, -1};
      Guarded<T> y(4 * d, T(NAN)), dw(3 * d, T(NAN)), df(5, T(NAN));
      embedding::bag<T>(weight.matrix(3, d), bags, y.matrix(4, d));
      embedding::bag_backward<T>(g.matrix(4, d), weight.matrix(3, d), bags, dw.matrix(3, d),
                                 df.span());
      for (index_t p = 0; p < d; ++p) {
        const T a = weight[d + p], b = weight[2 * d + p];
        const double want = mode == embedding::Mode::sum    ? double(a) + double(b)
                            : mode == embedding::Mode::mean ? (double(a) + double(b)) / 2
                                                            : double(std::max(a, b));
        EXPECT_NEAR(double(y[p]), want, 8 * std::numeric_limits<T>::epsilon());
        EXPECT_EQ(y[d + p], T(0)) << "an empty bag";
        EXPECT_EQ(dw[p], g[2 * d + p]) << "the one row of the third bag";
      }
      EXPECT_TRUE(y.intact() && dw.intact() && df.intact());
    }
  }
}

TYPED_TEST(Embedding, EmptyAndWrong) {
  using T = TypeParam;
  auto weight = Guarded<T>::normal(6, 1);
  Guarded<T> y(6, T(3));
  embedding::forward<T>(weight.matrix(3, 2), {}, y.matrix(0, 2));
  embedding::backward<T>(weight.matrix(0, 2), {}, -1, y.matrix(3, 2));
  for (index_t i = 0; i < 6; ++i) EXPECT_EQ(y[i], T(0));
  for (const index_t wrong : {index_t{3}, index_t{-1}}) {
    const std::vector<index_t> index{0, wrong};
    EXPECT_THROW(embedding::forward<T>(weight.matrix(3, 2), index, y.matrix(2, 2)),
                 std::out_of_range);
  }
}

}  // namespace
}  // namespace kernelmill
