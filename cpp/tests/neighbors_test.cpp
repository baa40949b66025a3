#include "ops/neighbors.hpp"

#include <gtest/gtest.h>

#include <cmath>  // std::isnan

#include "core/parallel.hpp"  // set_thread_limit
#include "ops/linkage.hpp"
#include "tests/distance_cases.hpp"
#include "tests/guarded.hpp"

namespace kernelmill::neighbors {
namespace {

template <class T>
class Neighbors : public testing::Test {};
using Types = testing::Types<float, double>;
TYPED_TEST_SUITE(Neighbors, Types);

constexpr Measure kEuclidean{Metric::euclidean, 2};

template <class T>
struct Grown {
  Grown(MatrixView<const T> x)
      : leaves((x.rows + kWidth - 1) / kWidth),
        groups(groups_of(leaves)),
        order(x.rows, 0),
        points(leaves * x.cols * kWidth, T(0)),
        boxes(groups * 2 * x.cols * kFan, 0) {
    grow<T>(x, leaves, groups, order.span(), points.data(), boxes.data());
    arrays = {order.span(), points.data(), boxes.data(), leaves, groups};
  }
  static index_t groups_of(index_t items) {
    index_t groups = 0;
    do groups += items = (items + kFan - 1) / kFan;
    while (items > 1);
    return groups;
  }
  bool intact() const { return order.intact() && points.intact() && boxes.intact(); }
  index_t leaves, groups;
  Guarded<index_t> order;
  Guarded<T> points;
  Guarded<double> boxes;
  TreeArrays<T> arrays{};
};

TYPED_TEST(Neighbors, FindTheNearestInRowsWithGaps) {
  using T = TypeParam;
  for (const index_t m : {1, 31, 33, 65, 300}) {
    for (const index_t d : {1, 2, 7, 9, 40}) {
      const GappedRows<T> y(m, d, 3, 1, 1), x(37, d, 3, 1, 2);
      Grown<T> tree(y.view);
      EXPECT_TRUE(tree.intact());
      for (const index_t k : {index_t{1}, std::min<index_t>(m, 5), m}) {
        for (const bool grown : {false, true}) {
          Guarded<index_t> indices(37 * k, -7);
          Guarded<double> distances(37 * k, -7);
          nearest<T>(x.view, y.view, k, kEuclidean, {}, grown ? tree.arrays : TreeArrays<T>{},
                     indices.matrix(37, k), distances.matrix(37, k));
          EXPECT_TRUE(indices.intact() && distances.intact());
          for (index_t i = 0; i < 37; ++i) {
            double before = 0;
            for (index_t r = 0; r < k; ++r) {
              const double got = distances[i * k + r];
              EXPECT_NEAR(got, true_distance(x.view, i, y.view, indices[i * k + r]), 1e-12);
              EXPECT_GE(got, before);
              before = got;
            }
            index_t nearer = 0;
            for (index_t j = 0; j < m; ++j) {
              nearer += true_distance(x.view, i, y.view, j) < before * (1 - 1e-12);
            }
            EXPECT_LT(nearer, k);
          }
        }
      }
    }
  }
}

// Shapes with a tail each: of panels of rows, of tiles of queries, of words and vectors of bytes.
TEST(NeighborsByBytes, SiftByBytesWithinTheirMemory) {
  for (const index_t d : {33, 50}) {
    const GappedRows<float> y(1003, d, 3, 1, 1), x(131, d, 3, 1, 2);
    Guarded<index_t> indices(131 * 4, -7);
    Guarded<double> distances(131 * 4, -7);
    nearest<float>(x.view, y.view, 4, kEuclidean, {}, {}, indices.matrix(131, 4),
                   distances.matrix(131, 4));
    EXPECT_TRUE(indices.intact() && distances.intact());
    for (index_t i = 0; i < 131; ++i) {
      const double worst = distances[i * 4 + 3];
      EXPECT_NEAR(worst, true_distance(x.view, i, y.view, indices[i * 4 + 3]), 1e-12);
      index_t nearer = 0;
      for (index_t j = 0; j < 1003; ++j)
        nearer += true_distance(x.view, i, y.view, j) < worst * (1 - 1e-12);
      EXPECT_EQ(nearer, 3);
    }
  }
}

TYPED_TEST(Neighbors, CountAndListAlike) {
  using T = TypeParam;
  for (const index_t d : {2, 20}) {
    const GappedRows<T> y(200, d, 0, 1, 1), x(50, d, 0, 1, 2);
    Grown<T> tree(y.view);
    const double radius = 0.8 * std::sqrt(static_cast<double>(d));
    for (const bool grown : {false, true}) {
      const TreeArrays<T> arrays = grown ? tree.arrays : TreeArrays<T>{};
      Guarded<index_t> counts(50, -1), offsets(51, 0);
      within<T>(x.view, y.view, radius, kEuclidean, {}, arrays, counts.span());
      for (index_t i = 0; i < 50; ++i) offsets[i + 1] = offsets[i] + counts[i];
      Guarded<index_t> indices(offsets[50], -1);
      Guarded<double> distances(offsets[50], -1);
      lists<T>(x.view, y.view, radius, kEuclidean, offsets.span(), {}, arrays, indices.span(),
               distances.span());
      EXPECT_TRUE(counts.intact() && indices.intact() && distances.intact());
      for (index_t i = 0; i < 50; ++i) {
        index_t near = 0;
        for (index_t j = 0; j < 200; ++j) near += true_distance(x.view, i, y.view, j) <= radius;
        EXPECT_EQ(counts[i], near);
      }
    }
  }
}

TYPED_TEST(Neighbors, ClusterAlikeWithAndWithoutATree) {
  using T = TypeParam;
  for (const index_t d : {2, 9}) {
    const GappedRows<T> x(700, d, 0, 1, 3);
    Grown<T> tree(x.view);
    const double eps = 0.25 * std::sqrt(static_cast<double>(d));
    Guarded<index_t> first(700, -9), second(700, -9);
    Guarded<double> weight(700, 1);
    std::vector<char> core(1400);
    const auto flags = [&](int i) {
      return std::span<bool>(reinterpret_cast<bool*>(core.data()) + 700 * i, 700);
    };
    dbscan<T>(x.view, eps, 4, {}, kEuclidean, {}, first.span(), flags(0));
    dbscan<T>(x.view, eps, 4, weight.span(), kEuclidean, tree.arrays, second.span(), flags(1));
    EXPECT_TRUE(first.intact() && second.intact());
    for (index_t i = 0; i < 700; ++i) EXPECT_EQ(first[i], second[i]);
  }
}

TYPED_TEST(Neighbors, GiveAndSumWithinTheirMemory) {
  using T = TypeParam;
  for (const index_t m : kSizes) {
    GappedRows<T> y(m, 5, 0, 1, 1), x(9, 5, 0, 1, 2);
    x.view(2, 1) = x.view(2, 4) = x.view(7, 0) = T(NAN);
    y.view(0, 3) = T(NAN);
    Guarded<index_t> rows(3, 2), cols(3, 1), indices(9, -9);
    cols[1] = 4;
    rows[2] = 7;
    cols[2] = 0;
    Guarded<double> distances(9, -9), logs(9, -9), weight(m, 0.5);
    donors<T>(x.view, y.view, rows.span(), cols.span(), indices.matrix(3, 3),
              distances.matrix(3, 3));
    const GappedRows<T> z(9, 5, 0, 1, 3);
    y.view(0, 3) = T(0);
    log_density<T>(z.view, y.view, weight.span(), 0, 0.7, kEuclidean, logs.span());
    EXPECT_TRUE(indices.intact() && distances.intact() && logs.intact());
    for (index_t e = 0; e < 9; ++e) {
      EXPECT_EQ(indices[e] < 0, std::isnan(distances[e]));
      EXPECT_LT(indices[e], m);
      EXPECT_TRUE(std::isfinite(logs[e]));
    }
  }
}

TYPED_TEST(Neighbors, HierarchiesHoldEveryRow) {
  using T = TypeParam;
  for (const index_t n : kSizes) {
    const GappedRows<T> x(n, 3, 5, 1, 4);
    const index_t m = n - 1;
    for (const int method : {0, 1, 2}) {
      Guarded<index_t> children(2 * m, -1), sizes(m, -1);
      Guarded<double> heights(m, -1), floors(n, 0.5), pairs(n * m / 2, 0);
      const linkage::Merges merges{children.matrix(m, 2), heights.span(), sizes.span()};
      if (method == 0) linkage::single<T>(x.view, kEuclidean, floors.span(), merges);
      if (method == 1) linkage::ward<T>(x.view, merges);
      if (method == 2) {
        index_t at = 0;
        for (index_t i = 0; i < n; ++i) {
          for (index_t j = i + 1; j < n; ++j) pairs[at++] = true_distance(x.view, i, x.view, j);
        }
        linkage::chain(n, linkage::kAverage, pairs.span(), merges);
      }
      EXPECT_TRUE(children.intact() && sizes.intact() && heights.intact() && pairs.intact());
      if (m > 0) {
        EXPECT_EQ(sizes[m - 1], n);
      }
      for (index_t i = 1; i < m; ++i) EXPECT_GE(heights[i], heights[i - 1]);
    }
  }
}

TEST(NeighborsThreads, HaveTheSameBits) {
  const GappedRows<float> x(900, 12, 0, 1, 1);
  std::vector<double> first;
  for (const int threads : {1, 2, 7}) {
    set_thread_limit(threads);
    Guarded<index_t> indices(900 * 4, 0);
    Guarded<double> distances(900 * 4, 0);
    nearest<float>(x.view, x.view, 4, kEuclidean, {}, {}, indices.matrix(900, 4),
                   distances.matrix(900, 4));
    std::vector<double> now(distances.data(), distances.data() + 3600);
    if (first.empty()) first = now;
    EXPECT_EQ(first, now);
  }
  set_thread_limit(0);
}

}  // namespace
}  // namespace kernelmill::neighbors
