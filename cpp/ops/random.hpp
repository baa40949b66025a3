// Twins of python/kernelmill/ops/random.py: item i of the result is a function of
// (seed, stream, start + i). The mapping from Philox words to items is in core/random.hpp.
#pragma once

#include <cstdint>  // std::int64_t, std::uint64_t
#include <span>     // std::span

#include "core/matrix.hpp"  // MatrixView

namespace kernelmill::random {

// All throw std::invalid_argument when start + out.size() passes 2^63.

// Uniform on [0, 1): 24 random bits for float, 53 for double. T is float or double.
template <class T>
void uniform(std::uint64_t seed, std::uint64_t stream, std::uint64_t start, std::span<T> out);

// Standard normal by the Box-Muller transform. T is float or double.
template <class T>
void normal(std::uint64_t seed, std::uint64_t stream, std::uint64_t start, std::span<T> out);

// Integers in [0, high), 1 <= high <= 2^63.
void integers(std::uint64_t seed, std::uint64_t stream, std::uint64_t start, std::uint64_t high,
              std::span<std::int64_t> out);

// Rows are random orders of 0, ..., columns - 1; throws when (start + rows) columns passes 2^63.
void permutations(std::uint64_t seed, std::uint64_t stream, std::uint64_t start,
                  MatrixView<std::int64_t> out);

}  // namespace kernelmill::random
