// Numbers that are stored in 16 bits and computed in 32: IEEE 754's binary16, and bfloat16, which
// is the upper half of a float32. Widening is exact; narrowing rounds to nearest, ties to even, is
// infinite beyond the largest number, and keeps NaN. Kernels read and write a storage type T and
// compute in Acc<T>.
#pragma once

#include <cstdint>  // std::uint16_t
#include <cstring>  // std::memcpy

#if defined(__CUDACC__)
#define KERNELMILL_ANYWHERE __host__ __device__
#else
#define KERNELMILL_ANYWHERE
#endif

// Compiles a function template for each storage type.
#define KERNELMILL_FOR_HALVES(function)                   \
  template decltype(function<Float16>) function<Float16>; \
  template decltype(function<BFloat16>) function<BFloat16>;
#define KERNELMILL_FOR_STORED(function) \
  KERNELMILL_FOR_FLOATS(function)       \
  KERNELMILL_FOR_HALVES(function)

namespace kernelmill {

namespace half {

template <class To, class From>
KERNELMILL_ANYWHERE To bits_as(From from) {
  static_assert(sizeof(To) == sizeof(From));
  To to;
  memcpy(&to, &from, sizeof to);
  return to;
}

// Rounds away the lowest `dropped` bits, to nearest, ties to even; a carry may reach the exponent.
KERNELMILL_ANYWHERE inline std::uint32_t rounded(std::uint32_t bits, int dropped) {
  return (bits + (1U << (dropped - 1)) - 1 + (bits >> dropped & 1U)) >> dropped;
}

KERNELMILL_ANYWHERE inline float from_binary16(std::uint16_t stored) {
#if defined(__CUDA_ARCH__)
  float x;
  asm("cvt.f32.f16 %0, %1;" : "=f"(x) : "h"(stored));
  return x;
#else
  // As float32 with the same exponent field, which is then 112 too small: a product mends that, and
  // normalises subnormal numbers. Infinity and NaN have the largest exponents in both formats.
  const std::uint32_t sign = static_cast<std::uint32_t>(stored & 0x8000U) << 16;
  const std::uint32_t rest = static_cast<std::uint32_t>(stored & 0x7FFFU) << 13;
  const std::uint32_t bits = rest >= 0x0F800000U
                                 ? rest | 0x7F800000U
                                 : bits_as<std::uint32_t>(bits_as<float>(rest) * 0x1p112F);
  return bits_as<float>(sign | bits);
#endif
}

KERNELMILL_ANYWHERE inline std::uint16_t to_binary16(float x) {
#if defined(__CUDA_ARCH__)
  std::uint16_t stored;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(stored) : "f"(x));
  return stored;
#else
  const std::uint32_t all = bits_as<std::uint32_t>(x), size = all & 0x7FFFFFFFU;
  const std::uint32_t sign = (all >> 16) & 0x8000U;
  std::uint32_t bits;
  if (size > 0x7F800000U) {
    bits = 0x7E00U;  // NaN
  } else if (size >= 0x477FF000U) {
    bits = 0x7C00U;  // from 65520 on
  } else if (size >= 0x38800000U) {
    bits = rounded(size - 0x38000000U, 13);
  } else {
    // Below 2^-14 the spacing is 2^-24, which is that of float32 from 1/2 to 1.
    bits = bits_as<std::uint32_t>(bits_as<float>(size) + 0.5F) - 0x3F000000U;
  }
  return static_cast<std::uint16_t>(sign | bits);
#endif
}

KERNELMILL_ANYWHERE inline float from_brain(std::uint16_t stored) {
  return bits_as<float>(static_cast<std::uint32_t>(stored) << 16);
}

KERNELMILL_ANYWHERE inline std::uint16_t to_brain(float x) {
#if defined(__CUDA_ARCH__)
  std::uint16_t stored;
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(stored) : "f"(x));
  return stored;
#else
  const std::uint32_t all = bits_as<std::uint32_t>(x);
  if ((all & 0x7FFFFFFFU) > 0x7F800000U) return 0x7FC0U;
  return static_cast<std::uint16_t>(rounded(all, 16));
#endif
}

}  // namespace half

struct Float16 {
  std::uint16_t bits;

  Float16() = default;
  KERNELMILL_ANYWHERE explicit Float16(float x) : bits(half::to_binary16(x)) {}
  KERNELMILL_ANYWHERE operator float() const { return half::from_binary16(bits); }
};

struct BFloat16 {
  std::uint16_t bits;

  BFloat16() = default;
  KERNELMILL_ANYWHERE explicit BFloat16(float x) : bits(half::to_brain(x)) {}
  KERNELMILL_ANYWHERE operator float() const { return half::from_brain(bits); }
};

template <class T>
struct Arithmetic {
  using type = T;
};
template <>
struct Arithmetic<Float16> {
  using type = float;
};
template <>
struct Arithmetic<BFloat16> {
  using type = float;
};
// What numbers stored as T are computed in.
template <class T>
using Acc = typename Arithmetic<T>::type;

}  // namespace kernelmill
