#include "ops/pairwise.hpp"

#include <gtest/gtest.h>

#include <limits>     // std::numeric_limits
#include <stdexcept>  // std::invalid_argument

#include "core/parallel.hpp"     // set_thread_limit
#include "core/tile_params.hpp"  // NR
#include "tests/distance_cases.hpp"

namespace kernelmill {
namespace {

template <class T>
class Pairwise : public testing::Test {};
using Types = testing::Types<float, double>;
TYPED_TEST_SUITE(Pairwise, Types);

// The largest error of out in units of eps * (d + 4) * truth.
template <class T>
double worst_error(MatrixView<T> x, MatrixView<T> y, MatrixView<T> out, bool squared) {
  double worst = 0;
  for (index_t i = 0; i < x.rows; ++i) {
    for (index_t j = 0; j < y.rows; ++j) {
      const double distance = true_distance(x, i, y, j);
      const double want = squared ? distance * distance : distance;
      const double error = std::fabs(static_cast<double>(out(i, j)) - want);
      if (!(error <= 0)) {
        worst = std::max(worst, error / want / static_cast<double>(x.cols + 4));
        if (!(error / want >= 0)) return INFINITY;
      }
    }
  }
  return worst / static_cast<double>(std::numeric_limits<T>::epsilon());
}

TYPED_TEST(Pairwise, TailsOffsetsAndDuplicates) {
  constexpr index_t NR = tile::Params<TypeParam>::NR;
  for (const index_t d : {1, 2, 4, 5, 16, 33, 1100}) {
    for (const index_t m : {index_t{1}, NR - 1, NR, NR + 1, 4 * NR + 2}) {
      for (const double mean : {0.0, 1e4}) {
        const GappedRows<TypeParam> x(37, d, mean, 1, 1), y(m, d, mean, 1, 2);
        for (index_t p = 0; p < d; ++p) y.view(m - 1, p) = x.view(20, p);
        for (const bool squared : {false, true}) {
          const GappedRows<TypeParam> out(37, m, NAN, 0, 3);
          euclidean<TypeParam>(x.view, y.view, out.view, squared);
          EXPECT_LT(worst_error(x.view, y.view, out.view, squared), 16) << d << ' ' << m;
          EXPECT_EQ(out.view(20, m - 1), 0);
          for (index_t i = 0; i < 37; ++i) EXPECT_TRUE(std::isnan(out.view.row(i)[m]));
        }
      }
    }
  }
}

TYPED_TEST(Pairwise, EveryLayoutGivesTheSameNumbers) {
  const GappedRows<TypeParam> x(50, 7, 0, 1, 1), y(70, 7, 0, 1, 2);
  std::vector<TypeParam> plain(50 * 70), swapped(50 * 70);
  euclidean<TypeParam>(x.view, y.view, dense(plain.data(), 50, 70), false);
  const MatrixView<const TypeParam> backwards{y.view.row(69), 70, 7, -y.view.row_stride, 1};
  euclidean<TypeParam>(x.view, backwards, dense(swapped.data(), 70, 50).transposed(), false);
  for (std::size_t i = 0; i < 50; ++i) {
    for (std::size_t j = 0; j < 70; ++j) {
      EXPECT_NEAR(swapped[(69 - j) * 50 + i], plain[i * 70 + j],
                  16 * 11 * std::numeric_limits<TypeParam>::epsilon() * plain[i * 70 + j]);
    }
  }
}

TYPED_TEST(Pairwise, RangesThatSquaresDoNotFit) {
  for (const double scale : {1e-25, 1e25}) {
    const double spread = sizeof(TypeParam) == 4 ? scale : std::pow(scale, 8);
    const GappedRows<TypeParam> x(20, 9, 0, spread, 1), y(40, 9, 0, spread, 2);
    std::vector<TypeParam> out(20 * 40);
    euclidean<TypeParam>(x.view, y.view, dense(out.data(), 20, 40), false);
    if (sizeof(TypeParam) == 4) {
      EXPECT_LT(worst_error(x.view, y.view, dense(out.data(), 20, 40), false), 16) << scale;
    } else {
      for (const TypeParam value : out) EXPECT_FALSE(std::isnan(value));
    }
  }
}

TYPED_TEST(Pairwise, NanAndInfinityStayWhereTheyAre) {
  const GappedRows<TypeParam> x(20, 9, 0, 1, 1), y(40, 9, 0, 1, 2);
  x.view(3, 4) = NAN;
  y.view(7, 0) = INFINITY;
  std::vector<TypeParam> memory(20 * 40);
  const auto out = dense(memory.data(), 20, 40);
  euclidean<TypeParam>(x.view, y.view, out, false);
  for (index_t i = 0; i < 20; ++i) {
    for (index_t j = 0; j < 40; ++j) {
      EXPECT_EQ(std::isnan(out(i, j)), i == 3) << i << ' ' << j;
      EXPECT_EQ(std::isinf(out(i, j)), i != 3 && j == 7) << i << ' ' << j;
    }
  }
}

TYPED_TEST(Pairwise, SameBitsAtAnyThreadCount) {
  const GappedRows<TypeParam> x(700, 20, 3, 1, 1), y(900, 20, 3, 1, 2);
  std::vector<TypeParam> first(700 * 900), other(first.size());
  set_thread_limit(1);
  euclidean<TypeParam>(x.view, y.view, dense(first.data(), 700, 900), false);
  for (const int threads : {2, 7}) {
    set_thread_limit(threads);
    euclidean<TypeParam>(x.view, y.view, dense(other.data(), 700, 900), false);
    EXPECT_EQ(first, other);
  }
  set_thread_limit(0);
}

TYPED_TEST(Pairwise, EmptyAndWrongShapes) {
  const GappedRows<TypeParam> x(3, 2, 0, 1, 1), y(4, 3, 0, 1, 2);
  std::vector<TypeParam> out(12, TypeParam{7});
  EXPECT_THROW(euclidean<TypeParam>(x.view, y.view, dense(out.data(), 3, 4), false),
               std::invalid_argument);
  EXPECT_THROW(euclidean<TypeParam>(x.view, x.view, dense(out.data(), 3, 4), false),
               std::invalid_argument);
  euclidean<TypeParam>(x.view, x.view.row_range(0, 0), dense(out.data(), 3, 0), false);
  EXPECT_EQ(out[0], 7);
  const MatrixView<const TypeParam> none{x.view.data, 3, 0, 5, 1};
  euclidean<TypeParam>(none, none, dense(out.data(), 3, 3), false);
  EXPECT_EQ(out[8], 0);
}

}  // namespace
}  // namespace kernelmill
