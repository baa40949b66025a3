#include "ops/linear.hpp"

#include <gtest/gtest.h>

#include <cmath>   // std::fabs
#include <limits>  // std::numeric_limits

#include "core/parallel.hpp"  // set_thread_limit
#include "tests/guarded.hpp"

namespace kernelmill {
namespace {

template <class T>
class Linear : public testing::Test {};
using Types = testing::Types<float, double>;
TYPED_TEST_SUITE(Linear, Types);

template <class T>
void expect_product(index_t n, index_t in, index_t out) {
  auto x = Guarded<T>::normal(n * in, 1), w = Guarded<T>::normal(out * in, 2);
  auto bias = Guarded<T>::normal(out, 3), g = Guarded<T>::normal(n * out, 4);
  Guarded<T> y(n * out, T(NAN)), z(n * out, T(NAN)), dx(n * in, T(NAN)), dw(out * in, T(NAN)),
      db(out, T(NAN));
  const MatrixView<const T> X = x.matrix(n, in), W = w.matrix(out, in), G = g.matrix(n, out);
  linear::forward<T>(X, W, bias.span(), 1, T(0), y.matrix(n, out), z.matrix(n, out));  // ReLU
  linear::backward<T>(G, X, W, dx.matrix(n, in), dw.matrix(out, in), db.data());
  const double unit = std::numeric_limits<T>::epsilon();
  const auto check = [&](T got, double want, double size) {
    EXPECT_LE(std::fabs(static_cast<double>(got) - want), unit * (size + 1) * 16)
        << n << ' ' << in << ' ' << out;
  };
  for (index_t i = 0; i < n; ++i) {
    for (index_t j = 0; j < out; ++j) {
      double sum = bias[j], size = std::fabs(sum);
      for (index_t p = 0; p < in; ++p) {
        sum += double(X(i, p)) * double(W(j, p));
        size += std::fabs(double(X(i, p)) * double(W(j, p)));
      }
      check(z[i * out + j], sum, size);
      EXPECT_EQ(y[i * out + j], z[i * out + j] > 0 ? z[i * out + j] : T(0));
    }
    for (index_t p = 0; p < in; ++p) {
      double sum = 0, size = 0;
      for (index_t j = 0; j < out; ++j) {
        sum += double(G(i, j)) * double(W(j, p));
        size += std::fabs(double(G(i, j)) * double(W(j, p)));
      }
      check(dx[i * in + p], sum, size);
    }
  }
  for (index_t j = 0; j < out; ++j) {
    double column = 0;
    for (index_t i = 0; i < n; ++i) column += double(G(i, j));
    check(db[j], column, double(n));
    for (index_t p = 0; p < in; ++p) {
      double sum = 0, size = 0;
      for (index_t i = 0; i < n; ++i) {
        sum += double(G(i, j)) * double(X(i, p));
        size += std::fabs(double(G(i, j)) * double(X(i, p)));
      }
      check(dw[j * in + p], sum, size);
    }
  }
  for (const auto* one : {&y, &z, &dx, &dw, &db}) EXPECT_TRUE(one->intact());
}

TYPED_TEST(Linear, TailsOffTheVectorGrid) {
  for (const index_t size : kSizes) {
    expect_product<TypeParam>(size, 5, 3);
    expect_product<TypeParam>(3, size, 6);
    expect_product<TypeParam>(6, 3, size);
  }
}

TYPED_TEST(Linear, EmptySides) {
  for (const auto& [n, in, out] : {std::array<index_t, 3>{0, 3, 2}, {3, 0, 2}, {3, 2, 0}}) {
    expect_product<TypeParam>(n, in, out);
  }
}

TYPED_TEST(Linear, NothingIsWrittenThatIsNotWanted) {
  auto x = Guarded<TypeParam>::normal(6, 1), g = Guarded<TypeParam>::normal(4, 2);
  Guarded<TypeParam> dw(6, TypeParam(0));
  linear::backward<TypeParam>(g.matrix(2, 2), x.matrix(2, 3), x.matrix(2, 3), {}, dw.matrix(2, 3),
                              nullptr);
  EXPECT_NE(dw[0], TypeParam(0));
  EXPECT_TRUE(dw.intact());
}

}  // namespace
}  // namespace kernelmill
