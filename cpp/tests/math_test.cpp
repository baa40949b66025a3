// core/math.hpp against the C library at the next wider precision: the largest error in units of
// the last place over a dense set of bit patterns, and IEEE 754 behaviour at every edge.
// KERNELMILL_EXHAUSTIVE=1 visits all 2^32 floats and 64 times the doubles (minutes).
#include <gtest/gtest.h>

#include <algorithm>    // std::find_if, std::max
#include <cmath>        // references, std::ilogb, std::ldexp
#include <cstdlib>      // std::getenv
#include <cstdio>       // the errors found
#include <limits>       // std::numeric_limits
#include <span>         // std::span
#include <string>       // names in messages
#include <string_view>  // names of rows
#include <vector>       // blocks, so that the loops under test are the vectorised ones

#include "core/math.hpp"
#include "core/parallel.hpp"    // set_thread_limit
#include "ops/elementwise.hpp"  // the ops over arrays

namespace kernelmill {
namespace {

bool exhaustive() { return std::getenv("KERNELMILL_EXHAUSTIVE") != nullptr; }

// The precision of the references: 29 more bits for float, 11 more for double.
template <class T>
struct Wider;
template <>
struct Wider<float> {
  using Type = double;
};
template <>
struct Wider<double> {
  using Type = long double;
};
template <class T>
using WiderOf = typename Wider<T>::Type;

// |got - want| in units of the last place of T at want (denormals share the smallest normal's).
template <class T>
double ulps(T got, WiderOf<T> want) {
  using W = WiderOf<T>;
  using Limits = std::numeric_limits<T>;
  if (std::isnan(want) || std::isnan(got)) {
    return std::isnan(want) == std::isnan(got) ? 0.0 : HUGE_VAL;
  }
  const W rounded = static_cast<T>(want);
  if (std::isinf(rounded) || std::isinf(got))
    return static_cast<W>(got) == rounded ? 0.0 : HUGE_VAL;
  const int exponent =
      want == 0 ? Limits::min_exponent - 1 : std::max(std::ilogb(want), Limits::min_exponent - 1);
  const W unit = std::ldexp(W(1), exponent - (Limits::digits - 1));
  return static_cast<double>(std::fabs(static_cast<W>(got) - want) / unit);
}

struct Worst {
  double error = 0;
  long double at = 0;
};

// Evaluates f in blocks (so that it vectorises as in an op) at next(), count times.
template <class T, class F, class G, class Next>
Worst worst_error(F f, G reference, long long count, Next next) {
  constexpr int block = 4096;
  std::vector<T> x(block), y(block);
  Worst worst;
  for (long long done = 0; done < count; done += block) {
    for (T& v : x) v = next();
    for (int i = 0; i < block; ++i) y[i] = f(x[i]);
    for (int i = 0; i < block; ++i) {
      const double error = ulps<T>(y[i], reference(static_cast<WiderOf<T>>(x[i])));
      if (!(error <= worst.error)) worst = {error, x[i]};
    }
  }
  return worst;
}

// A stride coprime to 2^32 walks every pattern class: both signs, denormals, infinities and NaN.
template <class F, class G>
Worst worst_float(F f, G reference) {
  const std::uint32_t stride = exhaustive() ? 1 : 1009;
  const long long count = (1LL << 32) / stride;
  std::uint32_t bits = 0;
  return worst_error<float>(f, reference, count, [&] {
    bits += stride;
    return std::bit_cast<float>(bits);
  });
}

// Random patterns over all doubles, then uniform points where the function is neither 0, 1 nor inf.
template <class F, class G>
Worst worst_double(F f, G reference, double low, double high) {
  const long long count = (exhaustive() ? 64LL : 1LL) << 18;
  std::uint64_t state = 1;
  const auto step = [&] { return state = state * 6364136223846793005u + 1442695040888963407u; };
  const auto mixed = [&] { return step() ^ (state >> 29); };
  const Worst patterns =
      worst_error<double>(f, reference, count / 2, [&] { return std::bit_cast<double>(mixed()); });
  const Worst dense = worst_error<double>(f, reference, count, [&] {
    return low + (high - low) * (static_cast<double>(mixed() >> 11) * 0x1p-53);
  });
  const Worst small = worst_error<double>(f, reference, count / 2, [&] {
    return std::ldexp(static_cast<double>(mixed() >> 11) * 0x1p-52 - 1.0,
                      static_cast<int>(step() >> 58) - 60);
  });
  Worst worst = patterns;
  if (!(dense.error <= worst.error)) worst = dense;
  if (!(small.error <= worst.error)) worst = small;
  return worst;
}

template <class W>
W logistic_reference(W x) {
  return x < 0 ? std::exp(x) / (1 + std::exp(x)) : 1 / (1 + std::exp(-x));
}

void expect_within(const char* name, Worst worst, double bound) {
  std::printf("%-10s %.3f ulp at %.17Lg\n", name, worst.error, worst.at);
  EXPECT_LE(worst.error, bound) << name << " at " << worst.at;
}

#define OURS(f) [](auto x) { return kernelmill::f(x); }
// std:: overloads on long double reach expl, logl, ...: 64 bits of significand on x86.
#define REFERENCE(f) [](auto x) { return std::f(x); }

// The bounds are those of docs/vector-math.md, which gives what exhaustive runs found.
TEST(MathFloat, Exp) { expect_within("exp", worst_float(OURS(exp), REFERENCE(exp)), 1.05); }
TEST(MathFloat, Expm1) { expect_within("expm1", worst_float(OURS(expm1), REFERENCE(expm1)), 2.0); }
TEST(MathFloat, Log) { expect_within("log", worst_float(OURS(log), REFERENCE(log)), 1.0); }
TEST(MathFloat, Log1p) { expect_within("log1p", worst_float(OURS(log1p), REFERENCE(log1p)), 1.5); }
TEST(MathFloat, Tanh) { expect_within("tanh", worst_float(OURS(tanh), REFERENCE(tanh)), 2.5); }
TEST(MathFloat, Erf) { expect_within("erf", worst_float(OURS(erf), REFERENCE(erf)), 1.5); }
TEST(MathFloat, Logistic) {
  expect_within("logistic", worst_float(OURS(logistic), logistic_reference<double>), 2.5);
}
TEST(MathDouble, Exp) {
  expect_within("exp", worst_double(OURS(exp), REFERENCE(exp), -750, 715), 1.1);
}
TEST(MathDouble, Expm1) {
  expect_within("expm1", worst_double(OURS(expm1), REFERENCE(expm1), -50, 715), 2.5);
  expect_within("expm1", worst_double(OURS(expm1), REFERENCE(expm1), -3, 3), 2.5);
}
TEST(MathDouble, Log) { expect_within("log", worst_double(OURS(log), REFERENCE(log), 0, 3), 1.0); }
TEST(MathDouble, Log1p) {
  expect_within("log1p", worst_double(OURS(log1p), REFERENCE(log1p), -1, 3), 1.5);
}
TEST(MathDouble, Tanh) {
  expect_within("tanh", worst_double(OURS(tanh), REFERENCE(tanh), -3, 3), 3.0);
}
TEST(MathDouble, Erf) { expect_within("erf", worst_double(OURS(erf), REFERENCE(erf), -6, 6), 1.5); }
TEST(MathDouble, Logistic) {
  expect_within("logistic", worst_double(OURS(logistic), logistic_reference<long double>, -750, 40),
                2.5);
}

// The oracle itself: each of these wrong answers must be seen.
TEST(MathOracle, SeesWrongAnswers) {
  EXPECT_EQ(ulps(1.0f, 1.0), 0);
  EXPECT_EQ(ulps(std::nextafter(1.0f, 2.0f), 1.0), 1);
  EXPECT_EQ(ulps(0.0f, 1.0), std::ldexp(1.0, 23));
  EXPECT_EQ(ulps(NAN, 1.0), HUGE_VAL) << "a NaN must not compare its way past the maximum";
  EXPECT_EQ(ulps(1.0f, std::nan("")), HUGE_VAL);
  EXPECT_EQ(ulps(INFINITY, 1e38), HUGE_VAL);
  EXPECT_EQ(ulps(3e38f, HUGE_VAL), HUGE_VAL);
  EXPECT_EQ(ulps(-INFINITY, HUGE_VAL), HUGE_VAL);
  EXPECT_EQ(ulps(std::numeric_limits<float>::denorm_min(), 0.0), 1) << "denormals count whole";
  const auto flushed = [](float x) { return x < -87.0f ? 0.0f : kernelmill::exp(x); };
  EXPECT_GT(worst_float(flushed, REFERENCE(exp)).error, 1000) << "a flush to zero";
  const auto naive = [](double x) { return kernelmill::log(1.0 + x); };
  EXPECT_GT(worst_double(naive, REFERENCE(log1p), -1, 3).error, 1000) << "log(1 + x) near zero";
  const auto cancelling = [](double x) { return 1.0 - 2.0 / (kernelmill::exp(2.0 * x) + 1.0); };
  EXPECT_GT(worst_double(cancelling, REFERENCE(tanh), -3, 3).error, 1000);
}

template <class T>
class MathEdges : public ::testing::Test {};
using Formats = ::testing::Types<float, double>;
TYPED_TEST_SUITE(MathEdges, Formats);

// Equal, with the sign of zero; any NaN equals any NaN.
template <class T>
void expect_same(T got, T want, const char* what) {
  if (std::isnan(want)) {
    EXPECT_TRUE(std::isnan(got)) << what << " gave " << got;
  } else {
    EXPECT_EQ(got, want) << what;
    EXPECT_EQ(std::signbit(got), std::signbit(want)) << what;
  }
}

TYPED_TEST(MathEdges, SpecialValues) {
  using T = TypeParam;
  using L = std::numeric_limits<T>;
  const T inf = L::infinity(), nan = L::quiet_NaN(), tiny = L::denorm_min(), big = L::max();
  const T zero = 0, one = 1;
#define SAME(call, want) expect_same<T>(kernelmill::call, want, #call)
  for (T bad : {nan, -nan}) {
    SAME(exp(bad), nan);
    SAME(log(bad), nan);
    SAME(expm1(bad), nan);
    SAME(log1p(bad), nan);
    SAME(tanh(bad), nan);
    SAME(erf(bad), nan);
    SAME(logistic(bad), nan);
  }
  SAME(exp(zero), one);
  SAME(exp(-zero), one);
  SAME(exp(tiny), one);
  SAME(exp(inf), inf);
  SAME(exp(-inf), zero);
  SAME(exp(big), inf);
  SAME(exp(-big), zero);
  SAME(expm1(zero), zero);
  SAME(expm1(-zero), -zero);
  SAME(expm1(tiny), tiny);
  SAME(expm1(-tiny), -tiny);
  SAME(expm1(inf), inf);
  SAME(expm1(big), inf);
  SAME(expm1(-inf), -one);
  SAME(expm1(-big), -one);
  SAME(log(zero), -inf);
  SAME(log(-zero), -inf);
  SAME(log(one), zero);
  SAME(log(-tiny), nan);
  SAME(log(-one), nan);
  SAME(log(inf), inf);
  SAME(log(-inf), nan);
  SAME(log(tiny), T(std::log(static_cast<long double>(tiny))));
  SAME(log1p(zero), zero);
  SAME(log1p(-zero), -zero);
  SAME(log1p(tiny), tiny);
  SAME(log1p(-tiny), -tiny);
  SAME(log1p(-one), -inf);
  SAME(log1p(std::nextafter(-one, T(-2))), nan);
  SAME(log1p(inf), inf);
  SAME(log1p(-inf), nan);
  SAME(log1p(big), T(std::log(static_cast<long double>(big))));
  SAME(tanh(zero), zero);
  SAME(tanh(-zero), -zero);
  SAME(tanh(tiny), tiny);
  SAME(tanh(-tiny), -tiny);
  SAME(tanh(inf), one);
  SAME(tanh(-inf), -one);
  SAME(tanh(big), one);
  SAME(erf(zero), zero);
  SAME(erf(-zero), -zero);
  SAME(erf(tiny), tiny);
  SAME(erf(inf), one);
  SAME(erf(-inf), -one);
  SAME(erf(-big), -one);
  SAME(logistic(zero), T(0.5));
  SAME(logistic(-zero), T(0.5));
  SAME(logistic(inf), one);
  SAME(logistic(-inf), zero);
#undef SAME
}

// Nothing leaves [-1, 1] or [0, 1], the odd functions are odd in every bit.
TYPED_TEST(MathEdges, RangeAndSymmetry) {
  using T = TypeParam;
  for (int i = 0; i <= 1 << 18; ++i) {
    const T x = T(i) * T(0x1p-13);  // 0 ... 32
    ASSERT_LE(kernelmill::tanh(x), T(1)) << x;
    ASSERT_LE(kernelmill::erf(x), T(1)) << x;
    ASSERT_LE(kernelmill::logistic(x), T(1)) << x;
    ASSERT_GT(kernelmill::logistic(-x), T(0)) << x;
    ASSERT_EQ(kernelmill::tanh(-x), -kernelmill::tanh(x));
    ASSERT_EQ(kernelmill::erf(-x), -kernelmill::erf(x));
  }
}

TYPED_TEST(MathEdges, SinCosOfTurns) {
  using T = TypeParam;
  const long double pi = 3.14159265358979323846264338327950288L;
  double worst = 0;
  for (int i = -(1 << 18); i <= 1 << 18; ++i) {
    const T t = T(i) * T(0x1.01p-17);
    const long double quarter = std::nearbyint(4 * static_cast<long double>(t));
    const long double d = 2 * pi * (t - quarter / 4);
    const long double sine[] = {std::sin(d), std::cos(d), -std::sin(d), -std::cos(d)};
    const int q = static_cast<int>(quarter) & 3;
    const auto [s, c] = sincos_turns(t);
    const auto error = [](T got, long double want) {
      if (want == 0) return got == 0 ? 0.0 : HUGE_VAL;
      const int digits = std::numeric_limits<T>::digits;
      return static_cast<double>(std::fabs(got - want) /
                                 std::ldexp(1.0L, std::ilogb(want) - (digits - 1)));
    };
    worst = std::max({worst, error(s, sine[q]), error(c, sine[(q + 1) & 3])});
  }
  std::printf("sincos_turns %.3f ulp\n", worst);
  EXPECT_LE(worst, 2.0);
  EXPECT_EQ(sincos_turns(T(0.25)).cos, T(0));
  EXPECT_EQ(sincos_turns(T(1000.5)).sin, T(0));
  EXPECT_EQ(sincos_turns(T(1000.5)).cos, T(-1));
}

// An element's bits depend on its value alone: not on its place in the vector, the length, the
// alignment, the strides or the threads.
template <class T, class Scalar>
void expect_bits_by_value(const char* name, Scalar scalar) {
  const auto all = elementwise::rows();
  const auto row = std::find_if(all.begin(), all.end(),
                                [&](const auto& r) { return std::string_view(r.name) == name; });
  ASSERT_NE(row, all.end());
  constexpr Dtype type = sizeof(T) == 4 ? Dtype::float32 : Dtype::float64;
  // `steps` in elements.
  const auto strided = [&](const T* from, std::vector<index_t> shape, std::vector<index_t> steps,
                           std::span<T> to) {
    std::vector<index_t> out(shape.size());
    index_t step = sizeof(T);
    for (std::size_t axis = shape.size(); axis-- > 0; step *= shape[axis]) out[axis] = step;
    for (index_t& s : steps) s *= static_cast<index_t>(sizeof(T));
    const Operand in[] = {{const_cast<T*>(from), steps.data(), type}};
    elementwise::run(*row, type, shape, in, {to.data(), out.data(), type});
  };
  const auto contiguous = [&](std::span<const T> from, std::span<T> to) {
    strided(from.data(), {static_cast<index_t>(from.size())}, {1}, to);
  };
  const index_t n = 3 * 16384 + 29;
  std::vector<T> x(static_cast<std::size_t>(2 * n) + 1);
  for (std::size_t i = 0; i < x.size(); ++i) {
    x[i] = T(i % 7001) * T(0.0043) - T(5) + T(i) * T(1e-5);
  }
  std::vector<T> want(x.size());
  for (std::size_t i = 0; i < x.size(); ++i) {
    const volatile T v = x[i];  // one at a time
    want[i] = scalar(v);
  }
  const auto same = [](T a, T b) { return a == b || (std::isnan(a) && std::isnan(b)); };
  for (int threads : {1, 2, 7}) {
    set_thread_limit(threads);
    for (std::size_t offset : {0, 1, 3}) {
      for (std::size_t size : {std::size_t{0}, std::size_t{1}, std::size_t{7}, std::size_t{8},
                               std::size_t{17}, std::size_t{63}, static_cast<std::size_t>(n)}) {
        std::vector<T> out(size);
        contiguous(std::span<const T>(x).subspan(offset, size), std::span<T>(out));
        for (std::size_t i = 0; i < size; ++i) {
          ASSERT_TRUE(same(out[i], want[offset + i]))
              << x[offset + i] << " at " << i << "/" << size;
        }
      }
    }
    // 2 x (n / 2) x 2, the middle axis backwards, the last one doubled
    const index_t half = n / 2;
    std::vector<T> out(static_cast<std::size_t>(4 * half));
    strided(x.data() + 4 * (half - 1), {2, half, 2}, {1, -4, 2}, std::span<T>(out));
    std::size_t k = 0;
    for (index_t a = 0; a < 2; ++a) {
      for (index_t b = 0; b < half; ++b) {
        for (index_t c = 0; c < 2; ++c, ++k) {
          ASSERT_TRUE(
              same(out[k], want[static_cast<std::size_t>(4 * (half - 1) + a - 4 * b + 2 * c)]));
        }
      }
    }
  }
  set_thread_limit(0);
  std::vector<T> in_place(x);
  contiguous(std::span<const T>(in_place), std::span<T>(in_place));
  for (std::size_t i = 0; i < x.size(); ++i) ASSERT_TRUE(same(in_place[i], want[i]));
  T single = 0;
  strided(x.data(), {}, {}, std::span<T>(&single, 1));
  EXPECT_TRUE(same(single, want[0]));
  strided(x.data(), {3, 0}, {1, 1}, std::span<T>());
}

#define BITS_BY_VALUE(f) \
  expect_bits_by_value<TypeParam>(#f, [](TypeParam x) { return kernelmill::f(x); })
TYPED_TEST(MathEdges, ExpBits) { BITS_BY_VALUE(exp); }
TYPED_TEST(MathEdges, Expm1Bits) { BITS_BY_VALUE(expm1); }
TYPED_TEST(MathEdges, LogBits) { BITS_BY_VALUE(log); }
TYPED_TEST(MathEdges, Log1pBits) { BITS_BY_VALUE(log1p); }
TYPED_TEST(MathEdges, TanhBits) { BITS_BY_VALUE(tanh); }
TYPED_TEST(MathEdges, ErfBits) { BITS_BY_VALUE(erf); }
TYPED_TEST(MathEdges, LogisticBits) { BITS_BY_VALUE(logistic); }

}  // namespace
}  // namespace kernelmill
