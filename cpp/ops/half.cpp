#include "ops/half.hpp"

#include <bit>      // std::bit_cast
#include <cstring>  // std::memcpy

#include "core/parallel.hpp"  // parallel_for

namespace kernelmill::half {
namespace {

constexpr index_t kTask = 1 << 17;   // numbers: 768 KiB of traffic, 30 us and more
constexpr index_t kBlock = 1 << 10;  // converted at a time, so that bytes may lie unaligned

// A float16 has 5 bits of exponent, biased by 15, and 10 of mantissa. Its magnitude, shifted to the
// places of float32, is the number times 2^-112, subnormal numbers included.
float widened(std::uint16_t h) {
  const std::uint32_t sign = static_cast<std::uint32_t>(h & 0x8000u) << 16;
  const std::uint32_t magnitude = static_cast<std::uint32_t>(h & 0x7fffu) << 13;
  const float scaled = std::bit_cast<float>(magnitude) * 0x1p112f;
  const std::uint32_t finite = std::bit_cast<std::uint32_t>(scaled);
  const std::uint32_t bits = magnitude >= 0x0f800000u ? magnitude | 0x7f800000u : finite;
  return std::bit_cast<float>(bits | sign);
}

std::uint16_t narrowed(float x) {
  const std::uint32_t whole = std::bit_cast<std::uint32_t>(x);
  const std::uint32_t sign = whole & 0x80000000u, u = whole ^ sign;
  // Below 2^-14 the last place is 2^-24: adding 1/2 rounds to it and leaves it in the last bits.
  const std::uint32_t small = std::bit_cast<std::uint32_t>(std::bit_cast<float>(u) + 0.5f) -
                              std::bit_cast<std::uint32_t>(0.5f);
  // Half a unit less one, and one more where the mantissa is odd; a carry raises the exponent.
  const std::uint32_t usual = (u - (112u << 23) + 0xfffu + ((u >> 13) & 1u)) >> 13;
  const std::uint32_t large = u > 0x7f800000u ? 0x7e00u | ((u >> 13) & 0x3ffu) : 0x7c00u;
  const std::uint32_t h = u >= (143u << 23) ? large : u < (113u << 23) ? small : usual;
  return static_cast<std::uint16_t>(h | (sign >> 16));
}

}  // namespace

void widen(std::span<const std::uint8_t> bits, std::span<float> to) {
  float* const x = to.data();
  parallel_for(static_cast<index_t>(to.size()), kTask, [=](index_t, index_t begin, index_t end) {
    std::uint16_t block[kBlock];
    for (index_t at = begin; at < end; at += kBlock) {
      const index_t count = at + kBlock < end ? kBlock : end - at;
      std::memcpy(block, bits.data() + 2 * at, 2 * static_cast<std::size_t>(count));
#pragma omp simd
      for (index_t i = 0; i < count; ++i) x[at + i] = widened(block[i]);
    }
  });
}

void narrow(std::span<const float> from, std::span<std::uint8_t> bits) {
  const float* const x = from.data();
  parallel_for(static_cast<index_t>(from.size()), kTask, [=](index_t, index_t begin, index_t end) {
    std::uint16_t block[kBlock];
    for (index_t at = begin; at < end; at += kBlock) {
      const index_t count = at + kBlock < end ? kBlock : end - at;
#pragma omp simd
      for (index_t i = 0; i < count; ++i) block[i] = narrowed(x[at + i]);
      std::memcpy(bits.data() + 2 * at, block, 2 * static_cast<std::size_t>(count));
    }
  });
}

}  // namespace kernelmill::half
