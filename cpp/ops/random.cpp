#include "ops/random.hpp"

#include <algorithm>  // std::min, std::max, std::copy
#include <cstddef>    // std::size_t
#include <cstring>    // std::memcpy

#if defined(__SSE2__)
#include <immintrin.h>  // 32 x 32 -> 64 bit products
#endif

#include "core/error.hpp"     // invalid
#include "core/matrix.hpp"    // index_t
#include "core/parallel.hpp"  // parallel_for, check_interrupt
#include "core/random.hpp"    // Philox and the maps from words to items

namespace kernelmill::random {
namespace {

// Blocks are made this many at a time, words side by side, so that rounds and maps vectorise.
constexpr int kBatch = 256;

struct Batch {
  alignas(64) std::uint32_t w[4][kBatch];
};

#if defined(__SSE2__)

// Words live in the low halves of 64-bit lanes. The product instruction reads low halves only, so
// what gathers in the high halves is never cleared: two products, two shifts and four xors a round.
// Left to GCC 12 the plain loop below takes vpmullq or unpacks and packs around every product;
// this form draws float32 uniforms 2.3 times as fast at level 4, 2.2 at level 3 and 1.35 at level 2
// (8192 at a time on Zen 5), the reason for the intrinsics.
#if defined(__AVX512F__)
using Lanes [[gnu::vector_size(64)]] = std::uint64_t;
inline Lanes low_product(Lanes a, Lanes b) {
  return (Lanes)_mm512_maskz_mul_epu32(0xFF, (__m512i)a, (__m512i)b);
}
#elif defined(__AVX2__)
using Lanes [[gnu::vector_size(32)]] = std::uint64_t;
inline Lanes low_product(Lanes a, Lanes b) {
  return (Lanes)_mm256_mul_epu32((__m256i)a, (__m256i)b);
}
#else
using Lanes [[gnu::vector_size(16)]] = std::uint64_t;
inline Lanes low_product(Lanes a, Lanes b) { return (Lanes)_mm_mul_epu32((__m128i)a, (__m128i)b); }
#endif

void make_batch(const Philox& philox, std::uint64_t first, Batch& batch) {
  constexpr int lanes = sizeof(Lanes) / sizeof(std::uint64_t);
  using Narrow [[gnu::vector_size(sizeof(Lanes) / 2)]] = std::uint32_t;
  Lanes counter;
  for (int i = 0; i < lanes; ++i) counter[i] = first + static_cast<std::uint64_t>(i);
  const Lanes a = Lanes{} + Philox::kMultiplier0, b = Lanes{} + Philox::kMultiplier1;
  // The key schedule once, in memory: inside the loop its broadcasts are a quarter of the work.
  Lanes keys[10][2];
  auto key0 = static_cast<std::uint32_t>(philox.seed());
  auto key1 = static_cast<std::uint32_t>(philox.seed() >> 32);
  for (auto& key : keys) {
    key[0] = Lanes{} + key0;
    key[1] = Lanes{} + key1;
    key0 += Philox::kBump0;
    key1 += Philox::kBump1;
  }
  for (int block = 0; block < kBatch; block += lanes, counter += lanes) {
    Lanes c[4] = {counter, counter >> 32, Lanes{} + philox.stream(),
                  Lanes{} + (philox.stream() >> 32)};
    for (const auto& key : keys) {
      const Lanes p0 = low_product(a, c[0]), p1 = low_product(b, c[2]);
      c[0] = (p1 >> 32) ^ c[1] ^ key[0];
      c[1] = p1;
      c[2] = (p0 >> 32) ^ c[3] ^ key[1];
      c[3] = p0;
    }
    for (int j = 0; j < 4; ++j) {
      const Narrow words = __builtin_convertvector(c[j], Narrow);
      std::memcpy(&batch.w[j][block], &words, sizeof(words));
    }
  }
}

#else

void make_batch(const Philox& philox, std::uint64_t first, Batch& batch) {
  for (int b = 0; b < kBatch; ++b) {
    const PhiloxWords words = philox.block(first + static_cast<std::uint64_t>(b));
    for (int j = 0; j < 4; ++j) batch.w[j][b] = words.w[j];
  }
}

#endif

// Fills out with items start, start + 1, ...; map(batch, items) turns kBatch blocks into
// kBatch * PerBlock items. Batches begin at multiples of kBatch blocks whatever start is, so each
// item goes through the same instructions in every split.
template <int PerBlock, class T, class Map>
void fill(std::uint64_t seed, std::uint64_t stream, std::uint64_t start, std::span<T> out,
          Map map) {
  constexpr std::uint64_t per_batch = std::uint64_t{kBatch} * PerBlock;
  constexpr index_t grain = 1 << 15;  // about 30 us
  const Philox philox(seed, stream);
  parallel_for(static_cast<index_t>(out.size()), grain, [&](index_t, index_t begin, index_t end) {
    Batch batch;
    alignas(64) T items[per_batch];
    // Items are unsigned: the last one may be 2^63 - 1 and its batch ends one past it.
    const std::uint64_t last = start + static_cast<std::uint64_t>(end);
    for (std::uint64_t item = start + static_cast<std::uint64_t>(begin); item < last;) {
      const std::uint64_t batch_begin = item / per_batch * per_batch;
      const std::uint64_t stop = std::min(last, batch_begin + per_batch);
      make_batch(philox, batch_begin / PerBlock, batch);
      T* target = out.data() + (item - start);
      if (stop - item == per_batch) {
        map(batch, target);
      } else {
        map(batch, static_cast<T*>(items));
        std::copy(items + (item - batch_begin), items + (stop - batch_begin), target);
      }
      item = stop;
    }
  });
}

void check_range(const char* op, std::uint64_t start, std::size_t n) {
  constexpr std::uint64_t limit = std::uint64_t{1} << 63;
  if (start >= limit || n > limit - start) {
    invalid(op, "start + n must be at most 2**63, got start ", start, " and n ", n);
  }
}

}  // namespace

template <>
void uniform(std::uint64_t seed, std::uint64_t stream, std::uint64_t start, std::span<float> out) {
  check_range("random.uniform", start, out.size());
  fill<4>(seed, stream, start, out, [](const Batch& batch, float* items) {
    for (int b = 0; b < kBatch; ++b) {
      for (int j = 0; j < 4; ++j) items[4 * b + j] = uniform_float(batch.w[j][b]);
    }
  });
}

template <>
void uniform(std::uint64_t seed, std::uint64_t stream, std::uint64_t start, std::span<double> out) {
  check_range("random.uniform", start, out.size());
  fill<2>(seed, stream, start, out, [](const Batch& batch, double* items) {
    for (int b = 0; b < kBatch; ++b) {
      items[2 * b] = uniform_double(batch.w[0][b], batch.w[1][b]);
      items[2 * b + 1] = uniform_double(batch.w[2][b], batch.w[3][b]);
    }
  });
}

template <>
void normal(std::uint64_t seed, std::uint64_t stream, std::uint64_t start, std::span<float> out) {
  check_range("random.normal", start, out.size());
  fill<4>(seed, stream, start, out, [](const Batch& batch, float* items) {
    for (int b = 0; b < kBatch; ++b) {
      const auto [z0, z1] = normal_floats(batch.w[0][b], batch.w[1][b]);
      const auto [z2, z3] = normal_floats(batch.w[2][b], batch.w[3][b]);
      items[4 * b] = z0;
      items[4 * b + 1] = z1;
      items[4 * b + 2] = z2;
      items[4 * b + 3] = z3;
    }
  });
}

template <>
void normal(std::uint64_t seed, std::uint64_t stream, std::uint64_t start, std::span<double> out) {
  check_range("random.normal", start, out.size());
  fill<2>(seed, stream, start, out, [](const Batch& batch, double* items) {
    for (int b = 0; b < kBatch; ++b) {
      const auto [z0, z1] =
          normal_doubles({{batch.w[0][b], batch.w[1][b], batch.w[2][b], batch.w[3][b]}});
      items[2 * b] = z0;
      items[2 * b + 1] = z1;
    }
  });
}

void integers(std::uint64_t seed, std::uint64_t stream, std::uint64_t start, std::uint64_t high,
              std::span<std::int64_t> out) {
  if (high < 1 || high > std::uint64_t{1} << 63) {
    invalid("random.integers", "high must be in [1, 2**63], got ", high);
  }
  check_range("random.integers", start, out.size());
  fill<2>(seed, stream, start, out, [high](const Batch& batch, std::int64_t* items) {
    for (int b = 0; b < kBatch; ++b) {
      for (int j = 0; j < 2; ++j) {
        items[2 * b + j] = static_cast<std::int64_t>(
            bounded_integer(batch.w[2 * j][b], batch.w[2 * j + 1][b], high));
      }
    }
  });
}

void permutations(std::uint64_t seed, std::uint64_t stream, std::uint64_t start,
                  MatrixView<std::int64_t> out) {
  constexpr std::uint64_t limit = std::uint64_t{1} << 63;
  const auto n = static_cast<std::uint64_t>(out.cols), rows = static_cast<std::uint64_t>(out.rows);
  if (n > 0 && (start >= limit || start + rows > limit / n)) {
    invalid("random.permutations", "(start + e) n must be at most 2**63, got start ", start, ", e ",
            rows, " and n ", n);
  }
  constexpr std::uint64_t per_batch = 2 * kBatch;
  const index_t grain = std::max<index_t>(1, (1 << 14) / std::max<index_t>(1, out.cols));
  const Philox philox(seed, stream);
  parallel_for(out.rows, grain, [&](index_t, index_t begin, index_t end) {
    Batch batch;
    std::uint64_t held = ~std::uint64_t{0};  // the number of the batch
    for (index_t j = begin; j < end; ++j) {
      std::int64_t* const order = out.row(j);
      const std::uint64_t first = (start + static_cast<std::uint64_t>(j)) * n;
      for (std::uint64_t i = 0; i < n; ++i) {
        const std::uint64_t item = first + i;
        if (item / per_batch != held) {
          held = item / per_batch;
          make_batch(philox, held * kBatch, batch);
          check_interrupt();
        }
        const std::uint64_t b = item % per_batch / 2, pair = 2 * (item % 2);
        const std::uint64_t k = bounded_integer(batch.w[pair][b], batch.w[pair + 1][b], i + 1);
        order[i] = order[k];
        order[k] = static_cast<std::int64_t>(i);
      }
    }
  });
}

}  // namespace kernelmill::random
