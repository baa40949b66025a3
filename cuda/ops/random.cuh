// Random numbers: the CUDA twins of python/kernelmill/ops/random.py, whose docstrings are the
// contract. Item i is a function of (seed, stream, i), by cpp/core/random.hpp on both devices.
#pragma once

#include <cstdint>  // std::uint64_t

#include "core/call.hpp"  // Call

namespace kernelmill {

struct Sequence {
  std::uint64_t seed, stream, start;
};

// out[i] = item start + i, for 0 <= i < n.
template <class T>
void uniform(const Call& call, const Sequence& sequence, index_t n, T* out);
template <class T>
void normal(const Call& call, const Sequence& sequence, index_t n, T* out);
void integers(const Call& call, const Sequence& sequence, index_t n, std::uint64_t high,
              std::int64_t* out);

}  // namespace kernelmill
