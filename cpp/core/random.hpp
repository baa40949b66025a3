// Random numbers without state: Philox4x32-10, a function of (seed, stream, item) alone.
//
// Philox is a 10-round keyed bijection of 128-bit counters (Salmon, Moraes, Dror and Shaw,
// "Parallel random numbers: as easy as 1, 2, 3", SC 2011; it passes BigCrush). The key is the seed;
// the counter is (block number, stream). So item i has its number at once, whichever thread, chunk
// or device asks, and results never depend on how work was split.
//
// A block gives four 32-bit words. Items take them in order:
//   float uniform, float normal   4 items a block: item i has word i mod 4 of block i / 4
//   double, 64-bit integer        2 items a block: words 2 (i mod 2) and 2 (i mod 2) + 1 of block i
//   / 2
// Everything here also compiles for the device (nvcc), from this same text.
#pragma once

#include <cmath>    // std::sqrt, std::log, std::ceil
#include <cstdint>  // std::uint32_t, std::uint64_t

#include "core/math.hpp"  // log, sincos_turns

#if defined(__CUDACC__)
#define KERNELMILL_HOST_DEVICE __host__ __device__
#else
#define KERNELMILL_HOST_DEVICE
#endif

namespace kernelmill {

struct PhiloxWords {
  std::uint32_t w[4];
};

class Philox {
 public:
  static constexpr std::uint32_t kMultiplier0 = 0xD2511F53, kMultiplier1 = 0xCD9E8D57;
  static constexpr std::uint32_t kBump0 = 0x9E3779B9;  // golden ratio
  static constexpr std::uint32_t kBump1 = 0xBB67AE85;  // sqrt(3) - 1

  KERNELMILL_HOST_DEVICE constexpr Philox(std::uint64_t seed, std::uint64_t stream)
      : seed_(seed), stream_(stream) {}

  KERNELMILL_HOST_DEVICE constexpr std::uint64_t seed() const { return seed_; }
  KERNELMILL_HOST_DEVICE constexpr std::uint64_t stream() const { return stream_; }

  KERNELMILL_HOST_DEVICE constexpr PhiloxWords block(std::uint64_t counter) const {
    return bijection({{low(counter), high(counter), low(stream_), high(stream_)}}, low(seed_),
                     high(seed_));
  }

  // philox4x32-10 itself, as in the paper and the Random123 library.
  KERNELMILL_HOST_DEVICE static constexpr PhiloxWords bijection(PhiloxWords c, std::uint32_t key0,
                                                                std::uint32_t key1) {
    for (int round = 0; round < 10; ++round) {
      const std::uint64_t p0 = std::uint64_t{kMultiplier0} * c.w[0];
      const std::uint64_t p1 = std::uint64_t{kMultiplier1} * c.w[2];
      c = {{high(p1) ^ c.w[1] ^ key0, low(p1), high(p0) ^ c.w[3] ^ key1, low(p0)}};
      key0 += kBump0;
      key1 += kBump1;
    }
    return c;
  }

 private:
  KERNELMILL_HOST_DEVICE static constexpr std::uint32_t low(std::uint64_t x) {
    return static_cast<std::uint32_t>(x);
  }
  KERNELMILL_HOST_DEVICE static constexpr std::uint32_t high(std::uint64_t x) {
    return static_cast<std::uint32_t>(x >> 32);
  }

  std::uint64_t seed_, stream_;
};

// Uniform on {0, 1, ..., 2^24 - 1} / 2^24.
KERNELMILL_HOST_DEVICE inline float uniform_float(std::uint32_t word) {
  return static_cast<float>(static_cast<std::int32_t>(word >> 8)) * 0x1p-24f;
}

// Uniform floats from this on are at least p: they are multiples of 2^-24, so none lies between.
inline float least_kept(double p) { return static_cast<float>(std::ceil(p * 0x1p24) * 0x1p-24); }

// Uniform on {0, 1, ..., 2^53 - 1} / 2^53: 27 and 26 bits, each exact as a double. (64-bit integers
// convert in no vector register before AVX-512DQ; 32-bit ones do everywhere.)
KERNELMILL_HOST_DEVICE inline double uniform_double(std::uint32_t first, std::uint32_t second) {
  const double upper = static_cast<double>(static_cast<std::int32_t>(first >> 5));
  const double lower = static_cast<double>(static_cast<std::int32_t>(second >> 6));
  return (upper * 0x1p26 + lower) * 0x1p-53;
}

// floor(v high / 2^64) for a uniform 64-bit v: uniform on {0, ..., high - 1} with every probability
// within 2^-64 of 1 / high. In 32-bit limbs, which vectorise and which every compiler has.
KERNELMILL_HOST_DEVICE inline std::uint64_t bounded_integer(std::uint32_t first,
                                                            std::uint32_t second,
                                                            std::uint64_t high) {
  const std::uint64_t v1 = first, v0 = second;
  const std::uint64_t h1 = high >> 32, h0 = high & 0xFFFFFFFFu;
  const std::uint64_t a = v1 * h0 + ((v0 * h0) >> 32);
  const std::uint64_t b = v0 * h1 + (a & 0xFFFFFFFFu);
  return v1 * h1 + (a >> 32) + (b >> 32);
}

template <class T>
struct NormalPair {
  T first, second;
};

// Box and Muller (1958): sqrt(-2 log u) (cos 2 pi t, sin 2 pi t) for u in (0, 1] and t in [0, 1).
template <class T>
KERNELMILL_HOST_DEVICE inline NormalPair<T> box_muller(T u, T t) {
#if defined(__CUDA_ARCH__)
  T sine, cosine;
  ::sincospi(T(2) * t, &sine, &cosine);
  const T radius = ::sqrt(T(-2) * ::log(u));
  return {radius * cosine, radius * sine};
#elif defined(__CUDACC__)
  // nvcc also compiles device functions for the host, where nothing calls them.
  const T angle = T(6.28318530717958647693) * t;
  const T radius = std::sqrt(T(-2) * std::log(u));
  return {radius * std::cos(angle), radius * std::sin(angle)};
#else
  const T radius = std::sqrt(T(-2) * kernelmill::log(u));
  const SinCos<T> turn = sincos_turns(t);
  return {radius * turn.cos, radius * turn.sin};
#endif
}

// Two float normals from two words. u = (w rounded to 24 bits) / 2^32 + 2^-33 keeps all the small
// values that make the tail: |z| reaches 6.76, where 24 bits would end at 5.77.
KERNELMILL_HOST_DEVICE inline NormalPair<float> normal_floats(std::uint32_t first,
                                                              std::uint32_t second) {
  return box_muller(static_cast<float>(first) * 0x1p-32f + 0x1p-33f, uniform_float(second));
}

// Two double normals from one block; |z| reaches 8.57.
KERNELMILL_HOST_DEVICE inline NormalPair<double> normal_doubles(PhiloxWords words) {
  return box_muller(1.0 - uniform_double(words.w[0], words.w[1]),
                    uniform_double(words.w[2], words.w[3]));
}

}  // namespace kernelmill
