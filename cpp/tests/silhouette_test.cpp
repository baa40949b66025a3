#include "ops/silhouette.hpp"

#include <gtest/gtest.h>

#include <limits>     // std::numeric_limits
#include <stdexcept>  // std::invalid_argument

#include "core/parallel.hpp"  // set_thread_limit
#include "tests/distance_cases.hpp"

namespace kernelmill {
namespace {

template <class T>
class Silhouette : public testing::Test {};
using Types = testing::Types<float, double>;
TYPED_TEST_SUITE(Silhouette, Types);

std::vector<std::int64_t> offsets_of(const std::vector<std::int64_t>& sizes) {
  std::vector<std::int64_t> offsets{0};
  for (const std::int64_t size : sizes) offsets.push_back(offsets.back() + size);
  return offsets;
}

template <class T>
double worst_error(MatrixView<T> x, MatrixView<T> y, const std::vector<std::int64_t>& offsets) {
  const index_t k = static_cast<index_t>(offsets.size()) - 1;
  std::vector<double> sums(static_cast<std::size_t>(x.rows * k), NAN);
  const auto out = dense(sums.data(), x.rows, k);
  cluster_distance_sums<T>(x, y, offsets, out);
  double worst = 0;
  for (index_t i = 0; i < x.rows; ++i) {
    for (index_t g = 0; g < k; ++g) {
      double want = 0;
      for (index_t j = offsets[static_cast<std::size_t>(g)];
           j < offsets[static_cast<std::size_t>(g) + 1]; ++j) {
        want += true_distance(x, i, y, j);
      }
      if (want == 0) {
        EXPECT_EQ(out(i, g), 0);
        continue;
      }
      const double error = std::fabs(out(i, g) - want) / want;
      if (!(error >= 0)) return INFINITY;
      worst = std::max(worst, error / static_cast<double>(x.cols + 4));
    }
  }
  return worst / static_cast<double>(std::numeric_limits<T>::epsilon());
}

TYPED_TEST(Silhouette, SmallLargeAndEmptyClusters) {
  const std::vector<std::vector<std::int64_t>> cases{
      {1}, {0, 1, 0}, {5, 1, 1, 1, 30, 2}, {300, 2, 0, 700, 3, 255, 256}, {1, 1, 1, 1, 900, 1}};
  for (const auto& sizes : cases) {
    const auto offsets = offsets_of(sizes);
    for (const index_t d : {1, 3, 5, 20}) {
      for (const double mean : {0.0, 1e4}) {
        const GappedRows<TypeParam> x(67, d, mean, 1, 1), y(offsets.back(), d, mean, 1, 2);
        EXPECT_LT(worst_error(x.view, y.view, offsets), 8) << sizes.size() << ' ' << d;
        EXPECT_LT(worst_error(y.view.row_range(0, std::min<index_t>(offsets.back(), 40)), y.view,
                              offsets),
                  8)
            << "own rows " << sizes.size() << ' ' << d;
      }
    }
  }
}

// Clusters that are tight and far apart: about their common mean every own pair would cancel.
TYPED_TEST(Silhouette, TightClustersFarApart) {
  const auto offsets = offsets_of({300, 40, 50});
  const GappedRows<TypeParam> y(390, 6, 0, 1e-2, 1);
  for (index_t i = 0; i < 390; ++i) {
    for (index_t p = 0; p < 6; ++p) y.view(i, p) += static_cast<TypeParam>(i < 300 ? 100 : -100);
  }
  EXPECT_LT(worst_error(y.view, y.view, offsets), 8);
}

TYPED_TEST(Silhouette, SameBitsAtAnyThreadCount) {
  const auto offsets = offsets_of({700, 3, 5, 800, 0, 400});
  const GappedRows<TypeParam> y(offsets.back(), 11, 2, 1, 1);
  std::vector<double> first(static_cast<std::size_t>(offsets.back()) * 6), other(first.size());
  set_thread_limit(1);
  cluster_distance_sums<TypeParam>(y.view, y.view, offsets, dense(first.data(), offsets.back(), 6));
  for (const int threads : {2, 7}) {
    set_thread_limit(threads);
    cluster_distance_sums<TypeParam>(y.view, y.view, offsets,
                                     dense(other.data(), offsets.back(), 6));
    EXPECT_EQ(first, other);
  }
  set_thread_limit(0);
}

TYPED_TEST(Silhouette, WrongOffsetsAndShapes) {
  const GappedRows<TypeParam> x(3, 2, 0, 1, 1), y(4, 3, 0, 1, 2);
  std::vector<double> memory(6);
  const auto out = dense(memory.data(), 3, 2);
  const auto call = [&](const GappedRows<TypeParam>& to, std::vector<std::int64_t> offsets) {
    cluster_distance_sums<TypeParam>(x.view, to.view, offsets, out);
  };
  EXPECT_THROW(call(y, {0, 2, 4}), std::invalid_argument);
  EXPECT_THROW(call(x, {}), std::invalid_argument);
  EXPECT_THROW(call(x, {0, 3}), std::invalid_argument);
  EXPECT_THROW(call(x, {0, 4, 3}), std::invalid_argument);
  EXPECT_THROW(call(x, {1, 2, 3}), std::invalid_argument);
  EXPECT_THROW(call(x, {0, 2, 4}), std::invalid_argument);
  EXPECT_NO_THROW(call(x, {0, 2, 3}));
}

}  // namespace
}  // namespace kernelmill
