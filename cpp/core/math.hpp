// exp, expm1, log, log1p, tanh, erf, logistic and sincos_turns for float and double, written so
// that a plain loop over them vectorises: no branches, no calls, no tables, no wide-integer shifts
// that older instruction sets lack. Each is the same source at every level; the compiler picks the
// width.
//
// Why not libmvec: its expf and logf date from glibc 2.22, but tanh, erf and log1p carry the symbol
// version GLIBC_2.35 (objdump -T libmvec.so.1) and would lift the wheel's manylinux floor to 2.35;
// its 4 ulp bound is also wider than what is reached here, and other C libraries have no libmvec.
//
// Every function follows IEEE 754 at the edges (NaN in, NaN out; signed zeros, infinities, denormal
// arguments and results), assumes round-to-nearest and needs no fast-math. Largest errors in units
// of the last place, speeds and how both were measured: docs/vector-math.md. Results may differ in
// the last place between levels with and without fused multiply-add, never between thread counts.
//
// Polynomials and rationals are minimax (Remez) fits made for this file; each notes its largest
// relative error before rounding. Cody-Waite constants end in enough zero bits that n * hi is exact
// without fused multiply-add (level 2), so the same lines serve both.
#pragma once

#include <bit>       // std::bit_cast
#include <concepts>  // std::floating_point
#include <cmath>     // std::copysign, std::fabs
#include <cstdint>   // std::uint32_t, std::uint64_t
#include <limits>    // std::numeric_limits

namespace kernelmill {

// A function that is not inlined into its loop stops the loop from vectorising, and erf in double
// is past GCC's own size limit for inlining.
#if defined(__GNUC__)
#define KERNELMILL_INLINE [[gnu::always_inline]] inline
#else
#define KERNELMILL_INLINE inline
#endif

namespace detail {

template <class T>
struct Format;

template <>
struct Format<float> {
  using Bits = std::uint32_t;
  static constexpr int mantissa = 23;            // stored bits of the significand
  static constexpr Bits bias = 127;              // of the exponent
  static constexpr float shifter = 0x1.8p23f;    // x + shifter rounds x to an integer
  static constexpr float ln2_hi = 0x1.62e4p-1f;  // 14 bits: n * ln2_hi is exact for |n| < 2^10
  static constexpr float ln2_lo = 0x1.7f7d1cp-20f;
  static constexpr float exp_max = 89.0f;    // exp(89) overflows, from 88.73 on
  static constexpr float exp_min = -104.0f;  // exp(-104) rounds to zero, from -103.98 down
};

template <>
struct Format<double> {
  using Bits = std::uint64_t;
  static constexpr int mantissa = 52;
  static constexpr Bits bias = 1023;
  static constexpr double shifter = 0x1.8p52;
  static constexpr double ln2_hi = 0x1.62e42fefa38p-1;  // 42 bits: exact for |n| < 2^11
  static constexpr double ln2_lo = 0x1.ef35793c7673p-45;
  static constexpr double exp_max = 710.0;
  static constexpr double exp_min = -746.0;
};

template <class T>
using BitsOf = typename Format<T>::Bits;

template <class T>
KERNELMILL_INLINE BitsOf<T> to_bits(T x) {
  return std::bit_cast<BitsOf<T>>(x);
}

template <class T>
KERNELMILL_INLINE T from_bits(BitsOf<T> bits) {
  return std::bit_cast<T>(bits);
}

// c[0] + c[1] x + ... by Horner's rule: the loop's independent elements hide its latency.
template <class T, class... Rest>
KERNELMILL_INLINE T horner(T x, T c, Rest... rest) {
  if constexpr (sizeof...(rest) == 0) {
    return c;
  } else {
    return c + x * horner(x, rest...);
  }
}

// x = n ln 2 + r with |r| <= ln 2 / 2. `bits` holds n in its low bits (the shifter's stay on top).
template <class T>
struct Reduced {
  T r;
  BitsOf<T> bits;
};

template <class T>
KERNELMILL_INLINE Reduced<T> reduce_exp(T x) {
  using F = Format<T>;
  constexpr T log2_e = T(1.44269504088896340736);
  const T shifted = x * log2_e + F::shifter;
  const T n = shifted - F::shifter;
  return {(x - n * F::ln2_hi) - n * F::ln2_lo, to_bits(shifted)};
}

// exp(r) for |r| <= ln 2 / 2, relative error 3.1e-9.
KERNELMILL_INLINE float exp_reduced(float r) {
  const float p =
      horner(r, 0.4999999347f, 0.1666652071f, 0.04166838298f, 0.008368709841f, 0.001381484152f);
  return 1.0f + (r + r * r * p);
}

// exp(r) - 1 on the same range. Relative to itself, zero included, the error is 2.4e-10.
KERNELMILL_INLINE float expm1_reduced(float r) {
  const float p = horner(r, 0.5000000046f, 0.1666666682f, 0.04166635529f, 0.008333273127f,
                         0.001394097078f, 0.0001991412697f);
  return r + r * r * p;
}

// As above, error 1.8e-17.
KERNELMILL_INLINE double expm1_reduced(double r) {
  const double p = horner(r, 0.500000000000000549, 0.166666666666666856, 0.0416666666665740901,
                          0.0083333333333148154, 0.00138888889322593286, 0.000198412699025570136,
                          0.0000248015045658865492, 2.75572283653378312e-6, 2.76262852070483095e-7,
                          2.51143468263905406e-8);
  return r + r * r * p;
}

KERNELMILL_INLINE double exp_reduced(double r) { return 1.0 + expm1_reduced(r); }

// 2^n for the n of reduce_exp, where it is a normal number.
template <class T>
KERNELMILL_INLINE T pow2(BitsOf<T> bits) {
  using F = Format<T>;
  return from_bits<T>((bits + F::bias) << F::mantissa);
}

// A positive normal u as m 2^e with m in [sqrt(1/2), sqrt(2)): m itself and e + bias.
template <class T>
struct Split {
  T m;
  BitsOf<T> biased;
};

template <class T>
KERNELMILL_INLINE Split<T> split_exponent(T u) {
  using F = Format<T>;
  constexpr BitsOf<T> one = F::bias << F::mantissa;
  constexpr BitsOf<T> root = std::bit_cast<BitsOf<T>>(T(0.70710678118654752440));
  constexpr BitsOf<T> field = (BitsOf<T>(1) << F::mantissa) - 1;
  const BitsOf<T> moved = to_bits(u) + (one - root);
  return {from_bits<T>((moved & field) + root), moved >> F::mantissa};
}

// A small non-negative integer to floating point by putting it in the significand of 2^mantissa:
// conversion from 64-bit integers is no vector instruction before AVX-512DQ.
template <class T>
KERNELMILL_INLINE T exponent_value(BitsOf<T> biased, T bias) {
  using F = Format<T>;
  constexpr T anchor = T(BitsOf<T>(1) << F::mantissa);
  return from_bits<T>(biased | std::bit_cast<BitsOf<T>>(anchor)) - (anchor + bias);
}

// log(1 + f) + e ln 2 for 1 + f in [sqrt(1/2), sqrt(2)): f - f^2/2 + f^3 P(f), error 6.1e-9.
KERNELMILL_INLINE float log_reduced(float f, float e) {
  using F = Format<float>;
  const float z = f * f;
  const float p = horner(f, 0.333333168f, -0.2500079656f, 0.2000228149f, -0.1662496962f,
                         0.1418143814f, -0.1312531178f, 0.1287910025f, -0.07865297995f);
  float tail = f * z * p;
  tail += e * F::ln2_lo;
  tail -= 0.5f * z;
  return e * F::ln2_hi + (f + tail);
}

// With s = f / (2 + f): log(1 + f) = 2 atanh(s) = f - (f^2/2 - s (f^2/2 + R(s^2))), error 2.6e-18
// (the arrangement of fdlibm's e_log.c: f enters last and unrounded).
KERNELMILL_INLINE double log_reduced(double f, double e) {
  using F = Format<double>;
  const double s = f / (2.0 + f);
  const double z = s * s;
  const double r = z * horner(z, 0.666666666666673022, 0.399999999994369011, 0.285714287381657462,
                              0.222221989573709254, 0.181835461961209989, 0.15314478626462228,
                              0.147919500669758307);
  const double half_square = 0.5 * f * f;
  return e * F::ln2_hi - ((half_square - (s * (half_square + r) + e * F::ln2_lo)) - f);
}

}  // namespace detail

// e^x. Overflows to inf, underflows gradually to 0.
template <std::floating_point T>
KERNELMILL_INLINE T exp(T x) {
  using F = detail::Format<T>;
  using Bits = detail::BitsOf<T>;
  x = x > F::exp_max ? F::exp_max : x;  // a NaN fails both comparisons and stays
  x = x < F::exp_min ? F::exp_min : x;
  const auto [r, bits] = detail::reduce_exp(x);
  const T y = detail::exp_reduced(r);
  // 2^n in two factors, since n reaches beyond the normal exponents at both ends: the first product
  // is exact and the second rounds once. Offset by 2 (bias + 1) the halving is a logical shift.
  const Bits n = bits - detail::to_bits(F::shifter) + 2 * (F::bias + 1);
  const Bits lower = n >> 1;
  const Bits upper = n - lower;
  return y * detail::from_bits<T>((lower - 1) << F::mantissa) *
         detail::from_bits<T>((upper - 1) << F::mantissa);
}

// e^x - 1, accurate where x is small: 2 (2^(n-1) (exp(r) - 1) + (2^(n-1) - 1/2)), in halves because
// 2^n itself may be past the largest number. Below -40 the result is -1 in both types.
template <std::floating_point T>
KERNELMILL_INLINE T expm1(T x) {
  using F = detail::Format<T>;
  T a = x > F::exp_max ? F::exp_max : x;  // a NaN fails both comparisons and stays
  a = a < T(-40) ? T(-40) : a;
  const auto [r, bits] = detail::reduce_exp(a);
  const T half = detail::pow2<T>(bits - 1);
  const T e = detail::expm1_reduced(r);
  T y = T(2) * (half * e + (half - T(0.5)));
  y = std::fabs(x) < T(0.25) ? e : y;  // n = 0; half a denormal would not be exact
  return x == T(0) ? x : y;            // the sign of zero
}

// Natural logarithm. log(+-0) = -inf, log(x < 0) = NaN.
template <std::floating_point T>
KERNELMILL_INLINE T log(T x) {
  using F = detail::Format<T>;
  using Limits = std::numeric_limits<T>;
  constexpr T lift = T(detail::BitsOf<T>(1) << F::mantissa);  // makes denormals normal
  const bool tiny = x < Limits::min();
  const T normal = tiny ? x * lift : x;
  const T bias = tiny ? T(F::bias + F::mantissa) : T(F::bias);
  const auto [m, biased] = detail::split_exponent(normal);
  T y = detail::log_reduced(m - T(1), detail::exponent_value<T>(biased, bias));
  y = x < Limits::infinity() ? y : x;  // inf and NaN as they came
  const T edge = x == T(0) ? -Limits::infinity() : Limits::quiet_NaN();
  return x > T(0) ? y : edge;
}

// log(1 + x), accurate where x is small. log1p(-1) = -inf, log1p(x < -1) = NaN, log1p(-0) = -0.
template <std::floating_point T>
KERNELMILL_INLINE T log1p(T x) {
  using F = detail::Format<T>;
  using Bits = detail::BitsOf<T>;
  using Limits = std::numeric_limits<T>;
  constexpr T large = T(Bits(1) << (F::mantissa + 2));
  const T u = T(1) + x;
  const auto [m, biased] = detail::split_exponent(u);
  // 1 + x = 2^e (1 + f). Below `large` f comes from x itself, so that the rounding of u is not in
  // it: x 2^-e and 2^-e - 1 are exact. Above, the lost 1 is under half a unit of the last place.
  const T scale = detail::from_bits<T>((2 * F::bias - biased) << F::mantissa);
  const T f = x < large ? x * scale + (scale - T(1)) : m - T(1);
  T y = detail::log_reduced(f, detail::exponent_value<T>(biased, T(F::bias)));
  y = std::copysign(y, x);
  y = x < Limits::infinity() ? y : x;
  const T edge = x == T(-1) ? -Limits::infinity() : Limits::quiet_NaN();
  return x > T(-1) ? y : edge;
}

// Hyperbolic tangent: t / (t + 2) with t = exp(2 |x|) - 1 = 2^n (exp(r) - 1) + (2^n - 1), which
// cancels nowhere.
template <std::floating_point T>
KERNELMILL_INLINE T tanh(T x) {
  T a = std::fabs(x);
  a = a > T(20) ? T(20) : a;  // tanh(19.07) rounds to 1 in double
  const auto [r, bits] = detail::reduce_exp(a + a);
  const T scale = detail::pow2<T>(bits);
  const T t = scale * detail::expm1_reduced(r) + (scale - T(1));
  return std::copysign(t / (t + T(2)), x);
}

// Error function. |x| < 1: x + x P(x^2), error 1.3e-9. Else 1 - exp(R(|x|)), error 1.1e-9 of erf.
KERNELMILL_INLINE float erf(float x) {
  float a = std::fabs(x);
  a = a > 4.0f ? 4.0f : a;  // erf(3.92) rounds to 1
  const float p =
      detail::horner(a * a, 0.1283791657f, -0.3761262582f, 0.1128358506f, -0.02685380753f,
                     0.005188318341f, -0.0008010103009f, 7.853534132e-5f);
  const float log_erfc =
      detail::horner(a, -0.0003415273461f, -1.127089171f, -0.6381448685f, -0.1031067204f,
                     0.02183804606f, -0.002947653411f, 0.0001863786524f);
  const auto [r, bits] = detail::reduce_exp(log_erfc);
  const float erfc = detail::pow2<float>(bits) * detail::exp_reduced(r);
  return std::copysign(a < 1.0f ? a + a * p : 1.0f - erfc, x);
}

// |x| < 1: x + x P(x^2) / Q(x^2), error 7.0e-19. Else 1 - exp(-x^2) N(|x|) / D(|x|), error 1.3e-18
// of erf. One division serves both.
KERNELMILL_INLINE double erf(double x) {
  double a = std::fabs(x);
  a = a > 6.0 ? 6.0 : a;  // erf(5.93) rounds to 1
  const double z = a * a;
  const double p =
      detail::horner(z, 0.128379167095512575, -0.317006023926469694, -0.0483297406983730924,
                     -0.00881571303509424927, -0.000495620406697591758, -0.0000207328578426668991);
  const double q =
      detail::horner(z, 1.0, 0.460513698935148757, 0.0938134866015996251, 0.0106931614772890338,
                     0.000692506542094607098, 0.0000208106334884396237);
  const double n =
      detail::horner(a, 0.999999889077922545, 1.39010349534011534, 0.948931829894225943,
                     0.373247663403091975, 0.0842368999313586871, 0.00891349221454571227);
  const double d =
      detail::horner(a, 1.0, 2.51848149221853112, 2.79073976525113818, 1.75601269180615544,
                     0.669523456970082104, 0.149302088530783969, 0.01579887694570658);
  const auto [r, bits] = detail::reduce_exp(-z);
  const double gauss = detail::pow2<double>(bits) * detail::exp_reduced(r);
  const bool small = a < 1.0;
  const double correction = (small ? a * p : -gauss * n) / (small ? q : d);
  return std::copysign((small ? a : 1.0) + correction, x);
}

// 1 / (1 + e^-x), with the relative accuracy kept where x is very negative: e^x / (1 + e^x) there.
template <std::floating_point T>
KERNELMILL_INLINE T logistic(T x) {
  const T z = kernelmill::exp(-std::fabs(x));
  return (x < T(0) ? z : T(1)) / (T(1) + z);
}

template <class T>
struct SinCos {
  T sin, cos;
};

// sin(2 pi t) and cos(2 pi t) for |t| < 2^20 (float) or 2^48 (double). Turns make the reduction to
// an eighth exact, so both keep their relative accuracy at every zero.
template <std::floating_point T>
KERNELMILL_INLINE SinCos<T> sincos_turns(T t) {
  using F = detail::Format<T>;
  using Bits = detail::BitsOf<T>;
  const T shifted = T(4) * t + F::shifter;
  const T d = t - T(0.25) * (shifted - F::shifter);
  const T z = d * d;
  T s, c;
  if constexpr (sizeof(T) == sizeof(float)) {  // errors 3.3e-9 and 5.6e-11
    s = d * detail::horner(z, T(6.283185287), T(-41.34166143), T(81.59234838), T(-75.39330074));
    c = T(1) +
        z * detail::horner(z, T(-19.7392087), T(64.93932774), T(-85.44386734), T(59.24983889));
  } else {  // errors 3.4e-18 and 3.5e-20
    s = d * detail::horner(z, 6.28318530717958646, -41.3417022403996313, 81.6052492759443808,
                           -76.7058597032756941, 42.0586848966680763, -15.093797169408112,
                           3.78071838105038498);
    c = 1.0 + z * detail::horner(z, -19.7392088021787171, 64.9393940226680327, -85.4568172065469637,
                                 60.244641332793938, -26.4262512452275646, 7.90310628369234265,
                                 -1.69710154660268309);
  }
  const Bits quadrant = detail::to_bits(shifted);  // low two bits
  constexpr int to_sign = std::numeric_limits<Bits>::digits - 2;
  const bool odd = (quadrant & 1) != 0;
  const Bits flip_sin = (quadrant & 2) << to_sign;
  const Bits flip_cos = ((quadrant + 1) & 2) << to_sign;
  return {detail::from_bits<T>(detail::to_bits(odd ? c : s) ^ flip_sin),
          detail::from_bits<T>(detail::to_bits(odd ? s : c) ^ flip_cos)};
}

}  // namespace kernelmill
