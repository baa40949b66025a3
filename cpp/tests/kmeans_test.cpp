// Whether rows are packed once for all steps, read again in each, or shared by runs side by side
// must change no bit and read nothing beyond its arrays. At the constants of every level: panels of
// 12 or 6 rows, as on Arm, do not divide the blocks in which rows are walked.
#include "ops/kmeans.hpp"

#include <gtest/gtest.h>

#include <algorithm>  // std::min
#include <random>     // data
#include <span>       // std::span
#include <vector>     // arrays

namespace kernelmill {
namespace {

std::size_t size_of(index_t count) { return static_cast<std::size_t>(count); }

struct Shape {
  index_t n, d, k;
};

// Around the sizes of panels, blocks and chunks; the last ones are too large to be kept packed.
constexpr Shape shapes[] = {{1, 1, 1},     {7, 3, 2},      {65, 7, 9},   {83, 256, 3},
                            {257, 8, 4},   {520, 31, 8},   {900, 40, 3}, {1056, 15, 8},
                            {1500, 2, 33}, {1800, 5, 400}, {2113, 4, 4}, {3000, 1, 2},
                            {4600, 3, 7},  {9001, 5, 6}};

template <class T>
struct Data {
  Data(Shape s, bool weighted) : shape(s), rows(size_of(s.n * s.d)) {
    std::mt19937_64 generator(size_of(s.n * 1000 + s.d * 10 + s.k));
    std::normal_distribution<double> normal(0.0, 3.0);
    for (T& value : rows) value = static_cast<T>(normal(generator));
    for (index_t i = 0; weighted && i < s.n; ++i) weight.push_back(static_cast<T>(1 + i % 3));
    for (index_t i = 0; i < 3 * s.k * 4; ++i) {
      uniforms.push_back(std::generate_canonical<double, 53>(generator));
    }
  }
  MatrixView<const T> x() const { return dense(rows.data(), shape.n, shape.d); }

  Shape shape;
  std::vector<T> rows, weight;
  std::vector<double> uniforms;  // (3 k, 4)
};

struct Fit {
  bool operator==(const Fit&) const = default;
  std::vector<double> centers, weights;
  std::vector<std::int32_t> labels;
  index_t steps = 0;
  LloydStatus status = LloydStatus::running;
};

// From the rows in `first`, by calls of at most `together` steps.
template <class T>
Fit fit(const Data<T>& data, std::span<const std::int64_t> first, index_t together) {
  const auto [n, d, k] = data.shape;
  Fit fit{std::vector<double>(size_of(k * d)), std::vector<double>(size_of(k)),
          std::vector<std::int32_t>(size_of(n), -1)};
  for (index_t j = 0; j < k; ++j) {
    for (index_t p = 0; p < d; ++p) {
      fit.centers[size_of(j * d + p)] = static_cast<double>(data.x()(first[size_of(j)], p));
    }
  }
  constexpr index_t most = 7;
  while (fit.steps < most && fit.status == LloydStatus::running) {
    const LloydSlice slice =
        lloyd<T>(data.x(), fit.centers.data(), fit.weights.data(), k, fit.labels.data(), nullptr,
                 std::span<const T>(data.weight), std::min(together, most - fit.steps), 0.0);
    fit.steps += slice.steps;
    fit.status = slice.status;
  }
  return fit;
}

template <class T>
void check(Shape shape, bool weighted) {
  SCOPED_TRACE(testing::Message() << sizeof(T) << " bytes, " << shape.n << " x " << shape.d
                                  << ", k = " << shape.k << (weighted ? ", weighted" : ""));
  const Data<T> data(shape, weighted);
  const auto [n, d, k] = shape;
  const std::span<const T> weight(data.weight);

  std::vector<std::int64_t> starts(size_of(3 * k)), alone(size_of(k));
  std::vector<T> squared(size_of(3 * n)), squared_alone(size_of(n));
  plus_plus<T>(data.x(), dense(data.uniforms.data(), 3 * k, index_t{4}), 3, weight, starts.data(),
               squared.data());
  for (index_t run = 0; run < 3; ++run) {
    plus_plus<T>(data.x(), dense(data.uniforms.data() + run * k * 4, k, index_t{4}), 1, weight,
                 alone.data(), squared_alone.data());
    EXPECT_TRUE(std::equal(alone.begin(), alone.end(), starts.begin() + run * k));
    EXPECT_TRUE(std::equal(squared_alone.begin(), squared_alone.end(), squared.begin() + run * n));
  }

  std::vector<double> centers(size_of(3 * k * d));
  std::vector<std::int32_t> labels(size_of(3 * n)), status(3);
  std::vector<std::int64_t> steps(3);
  restarts<T>(data.x(), dense<const std::int64_t>(starts.data(), 3, k), weight, 7, 0.0,
              centers.data(), labels.data(), squared.data(), steps.data(), status.data());
  for (index_t run = 0; run < 3; ++run) {
    const std::span first(starts.data() + run * k, size_of(k));
    const Fit together = fit(data, first, 7);
    EXPECT_EQ(together, fit(data, first, 1));
    EXPECT_EQ(steps[size_of(run)], together.steps);
    EXPECT_EQ(status[size_of(run)], static_cast<int>(together.status));
    EXPECT_TRUE(std::equal(together.centers.begin(), together.centers.end(),
                           centers.begin() + run * k * d));
  }
}

TEST(KMeans, StepsTogetherAndRunsSideBySideChangeNoBit) {
  for (const Shape& shape : shapes) {
    for (bool weighted : {false, true}) {
      check<float>(shape, weighted);
      check<double>(shape, weighted);
    }
  }
}

}  // namespace
}  // namespace kernelmill
