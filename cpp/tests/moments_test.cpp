// Products of rows at every width around the lanes and panels of a level, against plain loops.
#include "ops/moments.hpp"

#include <gtest/gtest.h>

#include <cmath>   // std::fabs, std::sin
#include <vector>  // data

namespace kernelmill {
namespace {

class Moments : public ::testing::TestWithParam<index_t> {};

TEST_P(Moments, AgreeWithPlainLoops) {
  const index_t d = GetParam(), m = 2, columns = d + m + 1;
  for (const index_t n : {index_t{1}, index_t{7}, index_t{131}, index_t{2500}}) {
    if (d > 100 && n > 1000) continue;  // the plain loops are slow
    std::vector<double> x(static_cast<std::size_t>(n * d));
    std::vector<double> y(static_cast<std::size_t>(n * m)), w(static_cast<std::size_t>(n));
    std::vector<double> origin(static_cast<std::size_t>(d + m));
    for (std::size_t i = 0; i < x.size(); ++i) x[i] = std::sin(double(i));
    for (std::size_t i = 0; i < y.size(); ++i) y[i] = std::sin(3.0 * double(i));
    for (std::size_t i = 0; i < w.size(); ++i) w[i] = 1.0 + std::sin(0.1 * double(i));
    for (std::size_t i = 0; i < origin.size(); ++i) origin[i] = 0.001 * double(i);
    for (const bool weighted : {false, true}) {
      std::vector<double> got(static_cast<std::size_t>(columns * columns), -1.0);
      std::vector<double> want(got.size(), 0.0);
      const std::span<const double> weight =
          weighted ? std::span<const double>(w) : std::span<const double>();
      moments::products<double>(dense<const double>(x.data(), n, d),
                                dense<const double>(y.data(), n, m), origin, weight,
                                dense(got.data(), columns, columns));
      for (index_t i = 0; i < n; ++i) {
        std::vector<double> z(static_cast<std::size_t>(columns), 1.0);
        for (index_t p = 0; p < d + m; ++p) {
          z[std::size_t(p)] = (p < d ? x[std::size_t(i * d + p)] : y[std::size_t(i * m + p - d)]) -
                              origin[std::size_t(p)];
        }
        for (index_t p = 0; p < columns; ++p) {
          for (index_t q = 0; q < columns; ++q) {
            want[std::size_t(p * columns + q)] +=
                (weighted ? w[std::size_t(i)] : 1.0) * z[std::size_t(p)] * z[std::size_t(q)];
          }
        }
      }
      for (std::size_t i = 0; i < got.size(); ++i) {
        ASSERT_LE(std::fabs(got[i] - want[i]), 1e-13 * double(n + 8)) << "d " << d << " n " << n;
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Widths, Moments,
                         ::testing::Values(0, 1, 2, 3, 4, 5, 7, 8, 12, 13, 15, 16, 29, 45, 61,
                                           600));

}  // namespace
}  // namespace kernelmill
