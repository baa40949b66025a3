// Tails and ends of arrays: every buffer has exactly the size that is allowed to be touched.
#include "ops/convolution.hpp"

#include <gtest/gtest.h>

#include <algorithm>  // std::fill, std::min
#include <cmath>      // std::abs, std::sqrt
#include <cstdint>    // std::uint32_t
#include <limits>     // epsilon
#include <vector>

#include "core/parallel.hpp"             // set_thread_limit
#include "ops/convolution_winograd.hpp"  // tiled

namespace kernelmill::convolution {
namespace {

template <class T>
std::vector<T> draw(index_t count, std::uint32_t seed) {
  std::vector<T> values(static_cast<std::size_t>(count));
  for (T& value : values) {
    seed = seed * 1664525U + 1013904223U;
    value = static_cast<T>(seed >> 8) / T(1 << 23) - 1;
  }
  return values;
}

// Calls visit(place in x, place in weight, place in y) for every product.
template <class Visit>
void each_product(const Geometry& g, Visit visit) {
  const index_t channels = g.group_channels(), outputs = g.group_outputs();
  for (index_t n = 0; n < g.images; ++n) {
    for (index_t o = 0; o < g.outputs; ++o) {
      for (index_t a = 0; a < g.out[0]; ++a) {
        for (index_t b = 0; b < g.out[2]; ++b) {
          const index_t y = ((n * g.outputs + o) * g.out[0] + a) * g.out[2] + b;
          for (index_t c = 0; c < channels; ++c) {
            const index_t channel = n * g.channels + o / outputs * channels + c;
            for (index_t i = 0; i < g.kernel[0]; ++i) {
              for (index_t j = 0; j < g.kernel[2]; ++j) {
                const index_t p = a * g.stride[0] - g.padding[0] + i * g.dilation[0];
                const index_t q = b * g.stride[2] - g.padding[2] + j * g.dilation[2];
                if (p < 0 || p >= g.in[0] || q < 0 || q >= g.in[2]) continue;
                visit((channel * g.in[0] + p) * g.in[2] + q,
                      ((o * channels + c) * g.kernel[0] + i) * g.kernel[2] + j, y);
              }
            }
          }
        }
      }
    }
  }
}

template <class T>
double worst(const std::vector<T>& got, const std::vector<double>& want) {
  double most = 0;
  for (std::size_t i = 0; i < got.size(); ++i) {
    const double error = std::abs(static_cast<double>(got[i]) - want[i]);
    most = error <= most ? most : error;  // NaN stays
  }
  return most;
}

Geometry planes(index_t images, index_t channels, index_t outputs, index_t groups, index_t height,
                index_t width, index_t kernel, index_t stride, index_t padding) {
  const auto out = [&](index_t n) { return (n + 2 * padding - kernel) / stride + 1; };
  return {images,
          channels,
          outputs,
          groups,
          {height, 1, width},
          {kernel, 1, kernel},
          {out(height), 1, out(width)},
          {stride, 1, stride},
          {padding, 0, padding},
          {1, 1, 1}};
}

struct Sizes {
  std::size_t x, weight, y;
  explicit Sizes(const Geometry& g)
      : x(static_cast<std::size_t>(g.images * g.channels * product(g.in))),
        weight(static_cast<std::size_t>(g.outputs * g.group_channels() * product(g.kernel))),
        y(static_cast<std::size_t>(g.images * g.outputs * product(g.out))) {}
};

template <class T>
class Convolution : public testing::Test {};
using Types = testing::Types<float, double>;
TYPED_TEST_SUITE(Convolution, Types);

TYPED_TEST(Convolution, Tails) {
  using T = TypeParam;
  for (const Geometry& g : {
           planes(2, 3, 5, 1, 9, 17, 3, 1, 1),
           planes(1, 1, 33, 1, 28, 28, 3, 1, 1),
           planes(3, 20, 18, 1, 13, 19, 3, 1, 1),
           planes(2, 6, 6, 6, 7, 65, 3, 1, 1),
           planes(1, 4, 2, 2, 11, 5, 5, 1, 2),
           planes(2, 3, 15, 1, 31, 33, 7, 2, 3),
           planes(1, 5, 1, 1, 3, 40, 1, 1, 0),
           planes(2, 2, 4, 1, 6, 6, 2, 3, 0),
       }) {
    const Sizes size(g);
    const auto x = draw<T>(static_cast<index_t>(size.x), 1);
    const auto weight = draw<T>(static_cast<index_t>(size.weight), 2);
    const auto dout = draw<T>(static_cast<index_t>(size.y), 3);
    std::vector<double> y(size.y), dx(size.x), dweight(size.weight);
    each_product(g, [&](index_t i, index_t w, index_t o) {
      const double value = static_cast<double>(x[i]), tap = static_cast<double>(weight[w]);
      const double gradient = static_cast<double>(dout[o]);
      y[o] += value * tap;
      dx[i] += gradient * tap;
      dweight[w] += value * gradient;
    });
    const double eps = 100 * static_cast<double>(std::numeric_limits<T>::epsilon());
    const double terms = static_cast<double>(product(g.kernel) * (g.channels + g.outputs));
    std::vector<T> got(size.y), back(size.x), sums(size.weight);
    forward<T>(g, x.data(), weight.data(), {}, got.data());
    EXPECT_LT(worst(got, y), eps * std::sqrt(terms)) << g.in[0] << ' ' << g.in[2];
    input_gradient<T>(g, dout.data(), weight.data(), {}, back.data());
    EXPECT_LT(worst(back, dx), eps * std::sqrt(terms)) << g.in[0] << ' ' << g.in[2];
    weight_gradient<T>(g, x.data(), dout.data(), sums.data());
    EXPECT_LT(worst(sums, dweight), eps * std::sqrt(static_cast<double>(g.images * product(g.out))))
        << g.in[0] << ' ' << g.in[2];
  }
}

TEST(Tiles, AllTails) {
  const std::array<std::array<index_t, 2>, 6> sizes{
      {{5, 6}, {7, 7}, {3, 18}, {6, 66}, {9, 33}, {1, 5}}};
  for (const index_t kernel : {3, 5}) {
    for (const auto& [height, width] : sizes) {
      for (const index_t padding : {index_t{0}, index_t{1}, kernel - 1}) {
        if (std::min(height, width) + 2 * padding < kernel) continue;
        for (const auto& [channels, outputs, groups] :
             {Triple{1, 1, 1}, Triple{3, 16, 1}, Triple{34, 4, 2}}) {
          const Geometry g =
              planes(3, channels, outputs, groups, height, width, kernel, 1, padding);
          const Sizes size(g);
          const auto x = draw<float>(static_cast<index_t>(size.x), 4);
          const auto weight = draw<float>(static_cast<index_t>(size.weight), 5);
          const auto bias = draw<float>(outputs, 6);
          std::vector<double> y(size.y);
          for (std::size_t i = 0; i < size.y; ++i) {
            y[i] = static_cast<double>(bias[static_cast<index_t>(i) / product(g.out) % outputs]);
          }
          each_product(g, [&](index_t i, index_t w, index_t o) {
            y[o] += static_cast<double>(x[i]) * static_cast<double>(weight[w]);
          });
          const auto dout = draw<float>(static_cast<index_t>(size.y), 9);
          std::vector<double> dweight(size.weight);
          each_product(g, [&](index_t i, index_t w, index_t o) {
            dweight[w] += static_cast<double>(x[i]) * static_cast<double>(dout[o]);
          });
          std::vector<float> sums(size.weight), same(size.weight);
          ASSERT_TRUE(tiled_weight_gradient(square(g), x.data(), dout.data(), sums.data()));
          const double places = static_cast<double>(g.images * product(g.out));
          EXPECT_LT(worst(sums, dweight), 6e-6 * std::sqrt(places))
              << kernel << ' ' << height << ' ' << width << ' ' << padding << ' ' << channels;
          std::vector<float> got(size.y), again(size.y);
          Ending<float> ending;
          ending.bias = bias.data();
          ASSERT_TRUE(tiled(square(g), x.data(), weight.data(), ending, got.data()));
          const double terms = static_cast<double>(g.group_channels() * kernel * kernel);
          EXPECT_LT(worst(got, y), 6e-6 * std::sqrt(terms))
              << kernel << ' ' << height << ' ' << width << ' ' << padding << ' ' << channels;
          for (const int threads : {1, 2, 7}) {
            set_thread_limit(threads);
            tiled(square(g), x.data(), weight.data(), ending, again.data());
            EXPECT_EQ(got, again);
            tiled_weight_gradient(square(g), x.data(), dout.data(), same.data());
            EXPECT_EQ(sums, same);
          }
          set_thread_limit(2);
        }
      }
    }
  }
}

TEST(Tiles, WhatIsNotFiniteIsSaid) {
  const Geometry g = planes(1, 4, 4, 1, 8, 9, 3, 1, 1);
  const Sizes size(g);
  const auto weight = draw<float>(static_cast<index_t>(size.weight), 7);
  std::vector<float> y(size.y);
  for (const index_t at : {index_t{0}, index_t{40}, static_cast<index_t>(size.x) - 1}) {
    auto x = draw<float>(static_cast<index_t>(size.x), 8);
    std::vector<float> dweight(size.weight);
    EXPECT_TRUE(tiled(square(g), x.data(), weight.data(), {}, y.data()));
    EXPECT_TRUE(tiled_weight_gradient(square(g), x.data(), y.data(), dweight.data()));
    x[static_cast<std::size_t>(at)] = NAN;
    EXPECT_FALSE(tiled(square(g), x.data(), weight.data(), {}, y.data()));
    std::fill(y.begin(), y.end(), 1.0F);
    EXPECT_FALSE(tiled_weight_gradient(square(g), x.data(), y.data(), dweight.data()));
  }
}

}  // namespace
}  // namespace kernelmill::convolution
