#include "ops/random.cuh"

#include "core/launch.cuh"  // launch
#include "core/random.hpp"  // Philox, the same text as on the CPU

namespace kernelmill {
namespace {

// What a block of four words becomes: `size` items in order.
template <class T>
struct Uniform;
template <>
struct Uniform<float> {
  using Item = float;
  static constexpr int size = 4;
  __device__ void operator()(const PhiloxWords& words, float* items) const {
    for (int e = 0; e < 4; ++e) items[e] = uniform_float(words.w[e]);
  }
};
template <>
struct Uniform<double> {
  using Item = double;
  static constexpr int size = 2;
  __device__ void operator()(const PhiloxWords& words, double* items) const {
    for (int e = 0; e < 2; ++e) items[e] = uniform_double(words.w[2 * e], words.w[2 * e + 1]);
  }
};
template <class T>
struct Normal;
template <>
struct Normal<float> {
  using Item = float;
  static constexpr int size = 4;
  __device__ void operator()(const PhiloxWords& words, float* items) const {
    for (int e = 0; e < 4; e += 2) {
      const NormalPair<float> pair = normal_floats(words.w[e], words.w[e + 1]);
      items[e] = pair.first;
      items[e + 1] = pair.second;
    }
  }
};
template <>
struct Normal<double> {
  using Item = double;
  static constexpr int size = 2;
  __device__ void operator()(const PhiloxWords& words, double* items) const {
    const NormalPair<double> pair = normal_doubles(words);
    items[0] = pair.first;
    items[1] = pair.second;
  }
};
struct Bounded {
  using Item = std::int64_t;
  static constexpr int size = 2;
  std::uint64_t high;
  __device__ void operator()(const PhiloxWords& words, std::int64_t* items) const {
    for (int e = 0; e < 2; ++e) {
      items[e] =
          static_cast<std::int64_t>(bounded_integer(words.w[2 * e], words.w[2 * e + 1], high));
    }
  }
};

// One thread per block of words. The first and last block may be cut by the ends of the slice.
template <class Make>
__global__ void __launch_bounds__(kThreads)
    generate_kernel(Make make, Sequence sequence, index_t n, typename Make::Item* out) {
  constexpr int kSize = Make::size;
  const Philox philox(sequence.seed, sequence.stream);
  const std::uint64_t first_block = sequence.start / kSize;
  const auto skipped = static_cast<index_t>(sequence.start % kSize);
  const index_t blocks = (skipped + n + kSize - 1) / kSize;
  for (index_t b = global_thread(); b < blocks; b += global_threads()) {
    typename Make::Item items[kSize];
    make(philox.block(first_block + static_cast<std::uint64_t>(b)), items);
#pragma unroll
    for (int e = 0; e < kSize; ++e) {
      const index_t i = b * kSize + e - skipped;
      if (i >= 0 && i < n) out[i] = items[e];
    }
  }
}

template <class Make>
void generate(const Call& call, Make make, const Sequence& sequence, index_t n,
              typename Make::Item* out) {
  if (n == 0) return;
  launch(call, generate_kernel<Make>, grid_for(n / Make::size + 2, kThreads), kThreads, make,
         sequence, n, out);
}

}  // namespace

template <class T>
void uniform(const Call& call, const Sequence& sequence, index_t n, T* out) {
  generate(call, Uniform<T>{}, sequence, n, out);
}

template <class T>
void normal(const Call& call, const Sequence& sequence, index_t n, T* out) {
  generate(call, Normal<T>{}, sequence, n, out);
}

void integers(const Call& call, const Sequence& sequence, index_t n, std::uint64_t high,
              std::int64_t* out) {
  generate(call, Bounded{high}, sequence, n, out);
}

KERNELMILL_FOR_FLOATS(uniform)
KERNELMILL_FOR_FLOATS(normal)

}  // namespace kernelmill
