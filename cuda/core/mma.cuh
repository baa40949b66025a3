// Products of a warp on tensor cores: c += a b with a of 16 rows and b of 8 columns, 32 bytes of
// terms at a time, which are 16 numbers of 16 bits or 8 of tf32 (float32 rounded to 11 significant
// bits). Products are exact and sums are float32.
//
// Operands are words of 32 bits along the terms. With g = lane / 4 and m = lane % 4, a lane holds
//   a[i]: word m + 4 (i / 2) of row g + 8 (i % 2)    b[i]: word m + 4 i of column g
//   c[i]: row g + 8 (i / 2), column 2 m + i % 2
// (PTX ISA, "Matrix fragments for mma.m16n8k16" and "m16n8k8"). Before compute capability 8.0, and
// in the emulation of tests/cuda_host, lanes multiply what they fetch from one another.
#pragma once

#include <cstdint>  // std::uint32_t

#include "core/launch.cuh"  // __device__

namespace kernelmill::mma {

// Numbers of a word.
template <class T>
constexpr int kPer = 4 / static_cast<int>(sizeof(T));
constexpr int kWords = 8;  // of terms
template <class T>
constexpr int kTerms = kWords * kPer<T>;

template <class T>
__device__ std::uint32_t word_of(T low, T high) {
  return static_cast<std::uint32_t>(low.bits) | static_cast<std::uint32_t>(high.bits) << 16;
}

// What tensor cores read of a float32: rounded to nearest, ties away from 0.
__device__ inline std::uint32_t tf32(float x) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  std::uint32_t word;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(word) : "f"(x));
  return word;
#else
  const auto bits = half::bits_as<std::uint32_t>(x);
  // Infinity and NaN stay.
  return (bits & 0x7F800000U) == 0x7F800000U ? bits : (bits + 0x1000U) & 0xFFFFE000U;
#endif
}

#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
#define KERNELMILL_MMA(shape_and_types)                                  \
  asm("mma.sync.aligned." shape_and_types                                \
      " {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};" \
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])                   \
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]))

template <class T>
__device__ void multiply_add(float (&c)[4], const std::uint32_t (&a)[4],
                             const std::uint32_t (&b)[2]) {
  if constexpr (std::is_same_v<T, Float16>) {
    KERNELMILL_MMA("m16n8k16.row.col.f32.f16.f16.f32");
  } else if constexpr (std::is_same_v<T, BFloat16>) {
    KERNELMILL_MMA("m16n8k16.row.col.f32.bf16.bf16.f32");
  } else {
    KERNELMILL_MMA("m16n8k8.row.col.f32.tf32.tf32.f32");
  }
}
#undef KERNELMILL_MMA
#else
template <class T>
__device__ float number_of(std::uint32_t word, int which) {
  if constexpr (sizeof(T) == 4) {
    return half::bits_as<float>(word);
  } else {
    T x;
    x.bits = static_cast<std::uint16_t>(word >> (16 * which));
    return x;
  }
}

// The words of all lanes.
template <int n>
__device__ void gather(const std::uint32_t (&own)[n], std::uint32_t (&all)[32][n]) {
#if defined(__CUDACC__)
  for (int lane = 0; lane < 32; ++lane) {
    for (int i = 0; i < n; ++i) all[lane][i] = __shfl_sync(0xffffffffu, own[i], lane);
  }
#else
  memcpy(emulator::warp_slot(emulator::lane()), own, sizeof own);
  emulator::warp_barrier();
  for (int lane = 0; lane < 32; ++lane) memcpy(all[lane], emulator::warp_slot(lane), sizeof own);
  emulator::exchanged();
#endif
}

template <class T>
__device__ void multiply_add(float (&c)[4], const std::uint32_t (&a)[4],
                             const std::uint32_t (&b)[2]) {
  const int lane = static_cast<int>(threadIdx.x) % 32, g = lane / 4, m = lane % 4;
  std::uint32_t rows[32][4], columns[32][2];
  gather(a, rows);
  gather(b, columns);
  for (int w = 0; w < kWords; ++w) {
    for (int i = 0; i < 4; ++i) {
      const std::uint32_t of_row = rows[4 * g + w % 4][i / 2 + w / 4 * 2];
      const std::uint32_t of_column = columns[4 * (2 * m + i % 2) + w % 4][w / 4];
      for (int k = 0; k < kPer<T>; ++k) {
        c[i] += number_of<T>(of_row, k) * number_of<T>(of_column, k);
      }
    }
  }
}
#endif

}  // namespace kernelmill::mma
