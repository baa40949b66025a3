#include "ops/histogram.hpp"

#include <gtest/gtest.h>

#include <array>   // rows of a table
#include <cmath>   // NAN
#include <vector>  // memory

#include "tests/guarded.hpp"

namespace kernelmill::histogram {
namespace {

// A tree of one cut at 0 on feature 0: -1 on the left, 1 on the right.
std::vector<index_t> stump() {
  const Node nodes[3] = {{0.0, kMissing, 2}, {-1.0, -1, 0}, {1.0, -1, 0}};
  std::vector<index_t> words(6);
  static_assert(sizeof(nodes) == 6 * sizeof(index_t));
  std::copy_n(reinterpret_cast<const index_t*>(nodes), 6, words.data());
  return words;
}

template <class T>
class Histogram : public testing::Test {};
using Types = testing::Types<float, double>;
TYPED_TEST_SUITE(Histogram, Types);

TYPED_TEST(Histogram, TailsOfBlocksArePredictedAndNothingElseIsWritten) {
  using T = TypeParam;
  const std::vector<index_t> words = stump();
  const index_t root = 0;
  const double start = 0.5;
  for (const index_t n : kSizes) {
    Guarded<T> X = Guarded<T>::normal(n * 3, 1);
    X[0] = T(NAN);
    Guarded<double> raw(n, 0.0);
    predict<T>(X.matrix(n, 3), words, {&root, 1}, {}, {&start, 1}, raw.matrix(n, 1));
    for (index_t i = 0; i < n; ++i) EXPECT_EQ(raw[i], X[3 * i] > 0 ? 1.5 : -0.5) << n << ' ' << i;
    EXPECT_TRUE(raw.intact());
  }
}

TYPED_TEST(Histogram, CodesOfEachTail) {
  using T = TypeParam;
  const double edge = 0;
  const std::int32_t one = 1;
  const bool number = false;
  for (const index_t n : kSizes) {
    Guarded<T> X = Guarded<T>::normal(n, 2);
    Guarded<std::uint8_t> codes(n * 2, 9);
    encode<T>(X.matrix(n, 1), dense(&edge, 1, 1), {&one, 1}, {&number, 1}, 1, 2, codes.data());
    for (index_t i = 0; i < n; ++i) {
      EXPECT_EQ(codes[2 * i], X[i] <= 0 ? 1 : 2);
      EXPECT_EQ(codes[2 * i + 1], 0);
    }
    EXPECT_TRUE(codes.intact());
  }
}

index_t grown(index_t n, std::uint8_t code, double coarse, bool& intact) {
  const index_t width = 3;
  std::vector<std::uint8_t> codes(static_cast<std::size_t>(n * width));
  for (index_t i = 0; i < n * width; ++i) {
    codes[static_cast<std::size_t>(i)] = static_cast<std::uint8_t>(i % 5 == 0 ? code : i % 4);
  }
  const std::array<std::int32_t, 3> counts{4, 4, 4};
  const std::array<bool, 3> categorical{};
  Guarded<double> gradient = Guarded<double>::normal(n, 3);
  const double hessian = 1;
  Guarded<std::int32_t> rows(n, 0), split(9 * 8, 0);
  Guarded<double> stats(9 * 4, 0.0);
  Guarded<std::uint8_t> sides(9 * 32, 0);
  const Rule rule{1, 0, 0, 1, 0, 0, 1, 0, coarse};
  const index_t count = grow({codes.data(), 1, n, width}, {counts, categorical, {}, {}},
                             gradient.span(), {&hessian, 1}, rule, 1, rows.span(),
                             {split.matrix(9, 8), stats.matrix(9, 4), sides.matrix(9, 32)});
  intact = rows.intact() && split.intact() && stats.intact() && sides.intact();
  return count;
}

// Codes above those that were counted give a useless tree, and write nowhere else.
TEST(HistogramGrow, CodesOutOfRangeStayInside) {
  for (const double coarse : {0.0, 1e9}) {
    for (const std::uint8_t code : {std::uint8_t{3}, std::uint8_t{255}}) {
      for (const index_t n : {1, 2, 100, 5000, 40'000}) {
        bool intact = false;
        EXPECT_LE(grown(n, code, coarse, intact), 9);
        EXPECT_TRUE(intact) << n;
      }
    }
  }
}

TEST(HistogramPredict, ManyLeavesAndNoTree) {
  const double start = 2;
  Guarded<double> X = Guarded<double>::normal(70, 4), raw(70, 0.0);
  predict<double>(X.matrix(70, 1), {}, {}, {}, {&start, 1}, raw.matrix(70, 1));
  for (index_t i = 0; i < 70; ++i) EXPECT_EQ(raw[i], 2);
  // A chain to the right of 100 leaves: leaf i for values from i - 0.5.
  std::vector<Node> nodes;
  for (int i = 0; i < 99; ++i) {
    nodes.push_back({i + 0.5, 0, 2 * i + 2});
    nodes.push_back({static_cast<double>(i), -1, 0});
  }
  nodes.push_back({99.0, -1, 0});
  std::vector<index_t> words(2 * nodes.size());
  std::copy_n(reinterpret_cast<const index_t*>(nodes.data()), words.size(), words.data());
  const index_t root = 0;
  for (index_t i = 0; i < 70; ++i) X[i] = static_cast<double>(i);
  predict<double>(X.matrix(70, 1), words, {&root, 1}, {}, {&start, 1}, raw.matrix(70, 1));
  for (index_t i = 0; i < 70; ++i) EXPECT_EQ(raw[i], 2 + static_cast<double>(i));
}

}  // namespace
}  // namespace kernelmill::histogram
