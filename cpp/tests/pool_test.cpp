// Tails and ends of arrays: every buffer has exactly the size that is allowed to be touched.
#include "ops/pool.hpp"

#include <gtest/gtest.h>

#include <algorithm>  // std::min, std::max
#include <cmath>      // NAN
#include <vector>

namespace kernelmill::pool {
namespace {

template <class T>
class Pool : public testing::Test {};
using Types = testing::Types<float, double>;
TYPED_TEST_SUITE(Pool, Types);

TYPED_TEST(Pool, TheFirstOfTheLargestAtAllWidths) {
  using T = TypeParam;
  constexpr index_t planes = 3, height = 5;
  for (index_t width = 1; width < 70; width += width < 20 ? 1 : 7) {
    for (const index_t kernel : {1, 2, 3}) {
      for (index_t stride = 1; stride <= 4; ++stride) {
        const index_t high = (height + 1 - kernel) / stride + 1;
        const index_t wide = (width + 1 - kernel) / stride + 1;
        if (width + 1 < kernel) continue;
        // One column of padding on the left and a row above, cut off.
        std::vector<std::int64_t> begin{0}, end{1};
        for (const auto& [size, count] : {std::pair{height, high}, std::pair{width, wide}}) {
          for (index_t i = 0; i < count; ++i) {
            begin.push_back(std::max<index_t>(0, i * stride - 1));
            end.push_back(std::min(size, i * stride - 1 + kernel));
          }
        }
        std::vector<T> x(static_cast<std::size_t>(planes * height * width));
        for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<T>(i * 7919 % 11);
        x[x.size() / 2] = static_cast<T>(NAN);
        const auto size = static_cast<std::size_t>(planes * high * wide);
        std::vector<T> y(size);
        std::vector<std::int64_t> indices(size);
        const Windows w{{1, height, width}, {1, high, wide}, {1, 1, 1}, begin.data(), end.data()};
        maximum<T>(w, planes, x.data(), y.data(), indices.data());
        std::size_t at = 0;
        for (index_t n = 0; n < planes; ++n) {
          const T* const plane = x.data() + n * height * width;
          for (index_t i = 1; i <= high; ++i) {
            for (index_t j = high + 1; j <= high + wide; ++j, ++at) {
              index_t best = -1;
              for (index_t p = begin[i]; p < end[i]; ++p) {
                for (index_t q = begin[j]; q < end[j]; ++q) {
                  const T value = plane[p * width + q];
                  const T held = best < 0 ? T{0} : plane[best];
                  if (best < 0 || value > held || (value != value && held == held)) {
                    best = p * width + q;
                  }
                }
              }
              ASSERT_EQ(indices[at], std::max<index_t>(best, 0))
                  << width << ' ' << kernel << ' ' << stride << ' ' << i << ' ' << j;
              if (best < 0) {
                ASSERT_EQ(y[at], -INFINITY);
              } else if (plane[best] == plane[best]) {
                ASSERT_EQ(y[at], plane[best]);
              } else {
                ASSERT_TRUE(std::isnan(y[at]));
              }
            }
          }
        }
      }
    }
  }
}

}  // namespace
}  // namespace kernelmill::pool
