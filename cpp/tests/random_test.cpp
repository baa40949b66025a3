// core/random.hpp and ops/random.hpp: the published vectors, the word-to-item map restated by hand,
// independence of split and thread count, accuracy of the normals, and the shape of distributions.
#include <gtest/gtest.h>

#include <array>      // vectors of words
#include <cmath>      // references
#include <stdexcept>  // std::invalid_argument
#include <string>     // messages
#include <vector>     // results

#include "core/parallel.hpp"  // set_thread_limit
#include "core/random.hpp"
#include "ops/random.hpp"

namespace kernelmill {
namespace {

using Words = std::array<std::uint32_t, 4>;

Words bijection(Words c, std::uint32_t key0, std::uint32_t key1) {
  const PhiloxWords r = Philox::bijection({{c[0], c[1], c[2], c[3]}}, key0, key1);
  return {r.w[0], r.w[1], r.w[2], r.w[3]};
}

// kat_vectors of the Random123 library.
TEST(Philox, KnownAnswers) {
  EXPECT_EQ(bijection({0, 0, 0, 0}, 0, 0), (Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  constexpr std::uint32_t f = 0xffffffff;
  EXPECT_EQ(bijection({f, f, f, f}, f, f), (Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(bijection({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, 0xa4093822, 0x299f31d0),
            (Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(Philox, SeedIsTheKeyAndStreamTheUpperCounter) {
  const Philox philox(0x299f31d0a4093822, 0x0370734413198a2e);
  const PhiloxWords r = philox.block(0x85a308d3243f6a88);
  EXPECT_EQ((Words{r.w[0], r.w[1], r.w[2], r.w[3]}),
            (Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
  static_assert(Philox(0, 0).block(0).w[0] == 0x6627e8d5, "usable at compile time");
}

constexpr std::uint64_t kSeed = 42, kStream = (std::uint64_t{7} << 32) + 3;

template <class T>
std::vector<T> uniforms(std::uint64_t start, std::size_t n) {
  std::vector<T> out(n);
  random::uniform<T>(kSeed, kStream, start, out);
  return out;
}

template <class T>
std::vector<T> normals(std::uint64_t start, std::size_t n) {
  std::vector<T> out(n);
  random::normal<T>(kSeed, kStream, start, out);
  return out;
}

std::vector<std::int64_t> ints(std::uint64_t start, std::size_t n, std::uint64_t high) {
  std::vector<std::int64_t> out(n);
  random::integers(kSeed, kStream, start, high, out);
  return out;
}

std::uint64_t word64(std::uint64_t item) {
  const PhiloxWords r = Philox(kSeed, kStream).block(item / 2);
  return std::uint64_t{r.w[2 * (item % 2)]} << 32 | r.w[2 * (item % 2) + 1];
}

// Each map again, the slow way, at starts inside and across blocks, batches and 2^32.
TEST(RandomOps, MapWordsToItems) {
  for (std::uint64_t start : {std::uint64_t{0}, std::uint64_t{5}, std::uint64_t{1021},
                              (std::uint64_t{1} << 34) - 3, (std::uint64_t{1} << 63) - 2000}) {
    const std::size_t n = 1999;
    const auto f = uniforms<float>(start, n);
    const auto d = uniforms<double>(start, n);
    const auto small = ints(start, n, 10);
    const auto large = ints(start, n, 0x7fffffff12345678);
    const auto full = ints(start, n, std::uint64_t{1} << 63);
    for (std::size_t i = 0; i < n; ++i) {
      const std::uint64_t item = start + i;
      const std::uint32_t word = Philox(kSeed, kStream).block(item / 4).w[item % 4];
      ASSERT_EQ(f[i], std::ldexp(static_cast<float>(word / 256), -24));
      const std::uint64_t v = word64(item);
      const std::uint64_t bits53 = (v >> 37 << 26) + ((v & 0xffffffff) >> 6);
      ASSERT_EQ(d[i], std::ldexp(static_cast<double>(bits53), -53));
#if defined(__SIZEOF_INT128__)
      __extension__ using Wide = unsigned __int128;
      ASSERT_EQ(small[i], static_cast<std::int64_t>((Wide{v} * 10) >> 64));
      ASSERT_EQ(large[i], static_cast<std::int64_t>((Wide{v} * 0x7fffffff12345678) >> 64));
#endif
      ASSERT_EQ(full[i], static_cast<std::int64_t>(v >> 1));
    }
  }
}

// Box-Muller in long double with the angle reduced exactly; relative, so zeros count too.
template <class T>
double normal_error(T got, long double u, long double t, bool sine) {
  const long double quarter = std::nearbyint(4 * t);
  const long double d = 2 * 3.14159265358979323846264338327950288L * (t - quarter / 4);
  const int q = (static_cast<int>(quarter) + (sine ? 3 : 0)) % 4;  // sin x = cos(x - pi / 2)
  const long double value[] = {std::cos(d), -std::sin(d), -std::cos(d), std::sin(d)};
  const long double want = std::sqrt(-2 * std::log(u)) * value[q];
  if (want == 0) return got == 0 ? 0 : HUGE_VAL;
  const long double unit =
      std::ldexp(1.0L, std::ilogb(want) - (std::numeric_limits<T>::digits - 1));
  return static_cast<double>(std::fabs(static_cast<long double>(got) - want) / unit);
}

TEST(RandomOps, NormalsAreWithinTheirBound) {
  const std::size_t n = 400000;
  double worst_float = 0, worst_double = 0;
  const auto f = normals<float>(0, n);
  for (std::size_t i = 0; i < n; ++i) {
    const PhiloxWords r = Philox(kSeed, kStream).block(i / 4);
    const std::uint32_t first = r.w[i % 4 / 2 * 2], second = r.w[i % 4 / 2 * 2 + 1];
    const float u = static_cast<float>(first) * 0x1p-32f + 0x1p-33f;
    const long double t = static_cast<long double>(second >> 8) * 0x1p-24L;
    worst_float = std::max(worst_float, normal_error(f[i], u, t, i % 2 != 0));
  }
  const auto d = normals<double>(0, n);
  for (std::size_t i = 0; i < n; ++i) {
    const PhiloxWords r = Philox(kSeed, kStream).block(i / 2);
    const long double u = 1.0L - static_cast<long double>(uniform_double(r.w[0], r.w[1]));
    const long double t = uniform_double(r.w[2], r.w[3]);
    worst_double = std::max(worst_double, normal_error(d[i], u, t, i % 2 != 0));
  }
  std::printf("normal f32 %.2f ulp, f64 %.2f ulp\n", worst_float, worst_double);
  EXPECT_LE(worst_float, 4.0);
  EXPECT_LE(worst_double, 4.0);
}

TEST(RandomOps, BoxMullerEdges) {
  EXPECT_EQ(box_muller(1.0f, 0.0f).first, 0.0f);
  EXPECT_EQ(box_muller(0.5, 0.25).first, 0.0) << "a quarter turn is exact";
  EXPECT_EQ(box_muller(0.5, 0.5).second, 0.0);
  EXPECT_LT(box_muller(0.5, 0.5).first, 0.0);
  EXPECT_LT(box_muller(0.5, 0.75).second, 0.0);
  EXPECT_GT(box_muller(0.5, 0.25).second, 0.0);
  EXPECT_NEAR(normal_floats(0, 0).first, 6.7637f, 1e-3f) << "the longest tail";
  EXPECT_TRUE(std::isfinite(normal_doubles({{~0u, ~0u, ~0u, ~0u}}).first));
}

// The same bits however the items are asked for, at any thread count.
TEST(RandomOps, SplitAndThreadsDoNotMatter) {
  const std::size_t n = 200001;
  const auto uf = uniforms<float>(3, n);
  const auto nf = normals<float>(3, n);
  const auto nd = normals<double>(3, n);
  const auto in = ints(3, n, 1000003);
  for (int threads : {1, 2, 7}) {
    set_thread_limit(threads);
    EXPECT_EQ(uniforms<float>(3, n), uf);
    EXPECT_EQ(normals<float>(3, n), nf);
    EXPECT_EQ(normals<double>(3, n), nd);
    EXPECT_EQ(ints(3, n, 1000003), in);
  }
  set_thread_limit(0);
  for (std::size_t begin : {std::size_t{0}, std::size_t{1}, std::size_t{2}, std::size_t{3},
                            std::size_t{511}, std::size_t{1024}, std::size_t{65533}}) {
    for (std::size_t size : {0, 1, 2, 5, 1023, 1025, 70001}) {
      const auto expect_part = [&](const auto& part, const auto& whole) {
        const auto from = whole.begin() + static_cast<std::ptrdiff_t>(begin);
        EXPECT_TRUE(std::equal(part.begin(), part.end(), from)) << begin << " " << size;
      };
      expect_part(uniforms<float>(3 + begin, size), uf);
      expect_part(normals<float>(3 + begin, size), nf);
      expect_part(normals<double>(3 + begin, size), nd);
      expect_part(ints(3 + begin, size, 1000003), in);
    }
  }
}

TEST(RandomOps, SeedsAndStreamsDiffer) {
  std::vector<double> a(1000), b(1000), c(1000);
  random::uniform<double>(1, 0, 0, a);
  random::uniform<double>(1, 1, 0, b);
  random::uniform<double>(2, 0, 0, c);
  int same = 0;
  for (std::size_t i = 0; i < a.size(); ++i) same += (a[i] == b[i]) + (a[i] == c[i]);
  EXPECT_EQ(same, 0);
}

// Moments within five standard errors of theirs (fixed seed, so this either holds or never does).
TEST(RandomOps, Moments) {
  const std::size_t n = 1 << 20;
  const auto z = normals<double>(0, n);
  const auto u = uniforms<float>(0, n);
  double sum = 0, square = 0, fourth = 0, pair = 0, uniform_sum = 0;
  for (std::size_t i = 0; i < n; ++i) {
    sum += z[i];
    square += z[i] * z[i];
    fourth += z[i] * z[i] * z[i] * z[i];
    pair += z[i] * z[i ^ 1];
    uniform_sum += u[i];
    ASSERT_GE(u[i], 0.0f);
    ASSERT_LT(u[i], 1.0f);
  }
  const double count = static_cast<double>(n), unit = 5 / std::sqrt(count);
  EXPECT_NEAR(sum / count, 0, unit);
  EXPECT_NEAR(square / count, 1, unit * std::sqrt(2.0));
  EXPECT_NEAR(fourth / count, 3, unit * std::sqrt(96.0));
  EXPECT_NEAR(pair / count, 0, unit * std::sqrt(2.0)) << "the two of a pair are independent";
  EXPECT_NEAR(uniform_sum / count, 0.5, unit * std::sqrt(1.0 / 12));
}

TEST(RandomOps, IntegersFillTheirRange) {
  std::vector<int> counts(7, 0);
  for (std::int64_t v : ints(0, 70000, 7)) {
    ASSERT_GE(v, 0);
    ASSERT_LT(v, 7);
    ++counts[static_cast<std::size_t>(v)];
  }
  double chi2 = 0;
  for (int c : counts) chi2 += (c - 10000.0) * (c - 10000.0) / 10000.0;
  EXPECT_LT(chi2, 35.0);  // 6 degrees of freedom: p = 4e-6
  for (std::int64_t v : ints(0, 100, 1)) EXPECT_EQ(v, 0);
}

template <class Call>
std::string refusal(Call call) {
  try {
    call();
  } catch (const std::invalid_argument& error) {
    return error.what();
  }
  return "accepted";
}

TEST(RandomOps, Refusals) {
  std::vector<std::int64_t> i(2);
  std::vector<float> f(2);
  EXPECT_EQ(refusal([&] { random::integers(0, 0, 0, 0, i); }),
            "random.integers: high must be in [1, 2**63], got 0");
  EXPECT_NE(refusal([&] { random::integers(0, 0, 0, (std::uint64_t{1} << 63) + 1, i); }),
            "accepted");
  EXPECT_EQ(
      refusal([&] { random::uniform<float>(0, 0, (std::uint64_t{1} << 63) - 1, f); }),
      "random.uniform: start + n must be at most 2**63, got start 9223372036854775807 and n 2");
  EXPECT_NE(refusal([&] { random::normal<float>(0, 0, ~std::uint64_t{0}, f); }), "accepted");
  EXPECT_EQ(refusal([&] { random::normal<float>(0, 0, (std::uint64_t{1} << 63) - 2, f); }),
            "accepted");
}

}  // namespace
}  // namespace kernelmill
