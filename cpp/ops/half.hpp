// Twins of python/kernelmill/ops/half.py.
#pragma once

#include <cstdint>  // std::uint8_t
#include <span>     // std::span

namespace kernelmill::half {

// `bits` are rows of two bytes, twice as many as x has numbers.
void widen(std::span<const std::uint8_t> bits, std::span<float> x);
void narrow(std::span<const float> x, std::span<std::uint8_t> bits);

}  // namespace kernelmill::half
