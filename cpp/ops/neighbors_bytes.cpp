#include "ops/neighbors_bytes.hpp"

#include <algorithm>  // std::max, std::min
#include <cmath>      // std::sqrt

#include "core/parallel.hpp"  // parallel_for, check_interrupt

#if defined(__x86_64__) && defined(__AVX512F__) && defined(__AVX512BW__)
#include <immintrin.h>

#if !defined(__clang__)
// GCC 12's own header reads a variable before it is set, for lanes that nothing reads.
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif

namespace kernelmill::neighbors {
namespace {

constexpr int kQueries = 8, kVectors = 3;  // of a tile: 24 sums, 3 rows, 1 query in 32 registers
constexpr float kEpsilon = std::numeric_limits<float>::epsilon();
static_assert(kVectors * 16 == ByteSieve::kPanel);

index_t quads(index_t d) { return (d + 3) / 4; }
__mmask16 lanes_of(index_t count) {
  return count >= 16 ? __mmask16(0xffff) : static_cast<__mmask16>((1u << count) - 1);
}

// `from` - origin; its largest magnitude, NaN or infinite where an entry is.
float center(const float* from, index_t stride, const float* origin, index_t d, float* to) {
  float most = 0, spoiled = 0;
#pragma omp simd reduction(max : most) reduction(+ : spoiled)
  for (index_t p = 0; p < d; ++p) {
    to[p] = from[p * stride] - origin[p];
    const float t = std::abs(to[p]);
    most = t > most ? t : most;
    spoiled += to[p] * 0;
  }
  return most + spoiled;
}

// The unit of numbers of at most this magnitude; 0, which makes all of them residuals, where its
// inverse leaves float32.
float unit(float most) { return most > 1e-30f ? most / 127 : 0.0f; }

struct Parts {
  double whole = 0, residual = 0;  // squared norms of a q and of g
};

// Four bytes, at most, of each `stride`-th word of `out`. A lane beyond d is 0.
Parts quantise(const float* row, index_t d, float scale, std::uint32_t flip, std::uint32_t* out,
               index_t stride) {
  const __m512 inverse = _mm512_set1_ps(scale > 0 ? 1 / scale : 0.0f), a = _mm512_set1_ps(scale);
  const __m512i most = _mm512_set1_epi32(127), least = _mm512_set1_epi32(-127);
  __m512d whole = _mm512_setzero_pd(), residual = _mm512_setzero_pd();
  const auto add = [](__m512d& sum, __m512 t) {
    const __m512d low = _mm512_cvtps_pd(_mm512_castps512_ps256(t));
    const __m512d high =
        _mm512_cvtps_pd(_mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(t), 1)));
    sum = _mm512_fmadd_pd(high, high, _mm512_fmadd_pd(low, low, sum));
  };
  for (index_t p = 0; p < d; p += 16) {
    const __m512 t = _mm512_maskz_loadu_ps(lanes_of(d - p), row + p);
    __m512i q = _mm512_cvtps_epi32(_mm512_mul_ps(t, inverse));
    q = _mm512_max_epi32(_mm512_min_epi32(q, most), least);
    const __m512 part = _mm512_mul_ps(_mm512_cvtepi32_ps(q), a);
    add(whole, part);
    add(residual, _mm512_sub_ps(t, part));
    alignas(16) std::uint32_t word[4];
    _mm_store_si128(reinterpret_cast<__m128i*>(word), _mm512_cvtepi32_epi8(q));
    const index_t count = std::min<index_t>(4, quads(d) - p / 4);
    for (index_t w = 0; w < count; ++w) out[(p / 4 + w) * stride] = word[w] ^ flip;
  }
  return {_mm512_reduce_add_pd(whole), _mm512_reduce_add_pd(residual)};
}

struct Tile {
  const std::uint32_t* queries;  // [quad][query]
  const std::uint8_t* rows;      // [quad][row][4], 128 added
  const std::int32_t* start;     // of the sums: less what the 128 add
  const float *unit, *limit;     // 2 a b, and what low may be, of each query
  const float* low_norm;         // of each row
};

// Which of 8 x 48 pairs pass, 16 rows to a mask; false where none does. The instruction is written
// out, since GCC copies each sum before it if asked for by the intrinsic: half the speed.
__attribute__((target("avx512f,avx512bw,avx512vnni"), noinline)) bool sift(
    const Tile& t, index_t quads, std::uint16_t (&mask)[kQueries][kVectors]) {
  __m512i sum[kQueries][kVectors];
#pragma GCC unroll 8
  for (int j = 0; j < kQueries; ++j) {
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) sum[j][v] = _mm512_set1_epi32(t.start[j]);
  }
  const std::uint32_t* query = t.queries;
  const std::uint8_t* row = t.rows;
  for (index_t p = 0; p < quads; ++p, query += kQueries, row += kVectors * 64) {
    __m512i r[kVectors];
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) r[v] = _mm512_loadu_si512(row + v * 64);
#pragma GCC unroll 8
    for (int j = 0; j < kQueries; ++j) {
      const __m512i q = _mm512_set1_epi32(static_cast<int>(query[j]));
#pragma GCC unroll 8
      for (int v = 0; v < kVectors; ++v) {
        asm("vpdpbusd %2, %1, %0" : "+v"(sum[j][v]) : "v"(r[v]), "v"(q));
      }
    }
  }
  std::uint32_t any = 0;
#pragma GCC unroll 8
  for (int j = 0; j < kQueries; ++j) {
    const __m512 scale = _mm512_set1_ps(t.unit[j]), limit = _mm512_set1_ps(t.limit[j]);
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) {
      const __m512 low = _mm512_fnmadd_ps(scale, _mm512_cvtepi32_ps(sum[j][v]),
                                          _mm512_loadu_ps(t.low_norm + v * 16));
      mask[j][v] = _mm512_cmp_ps_mask(low, limit, _CMP_LE_OQ);
      any |= mask[j][v];
    }
  }
  return any != 0;
}

// -2 x'.y', in float32, y' rounded as in the float product.
float product(const float* centered, const float* y, const float* origin, index_t d) {
  __m512 sum[2] = {_mm512_setzero_ps(), _mm512_setzero_ps()};
  for (index_t p = 0; p < d; p += 16) {
    const __mmask16 some = lanes_of(d - p);
    const __m512 t =
        _mm512_sub_ps(_mm512_maskz_loadu_ps(some, y + p), _mm512_maskz_loadu_ps(some, origin + p));
    __m512& to = sum[p / 16 % 2];
    to = _mm512_fmadd_ps(t, _mm512_maskz_loadu_ps(some, centered + p), to);
  }
  return -2 * _mm512_reduce_add_ps(_mm512_add_ps(sum[0], sum[1]));
}

}  // namespace

bool ByteSieve::fits(MatrixView<const float> y, MatrixView<const float> queries) {
  // Below these sizes packing, or the comparison of sums, takes what the products save; beyond the
  // largest depth a sum might leave 32 bits.
  return y.cols >= 32 && y.cols <= 32768 && y.rows >= 1000 && queries.rows >= 128 &&
         y.col_stride == 1 && __builtin_cpu_supports("avx512vnni");
}

void ByteSieve::pack(MatrixView<const float> y, const float* origin) {
  y_ = y;
  origin_ = origin;
  const index_t d = y.cols, count = (y.rows + kPanel - 1) / kPanel, size = quads(d) * 4 * kPanel;
  packed_ = Workspace<std::uint8_t>(static_cast<std::size_t>(count * size));
  panels_.resize(static_cast<std::size_t>(count));
  parallel_for(count, 16, [&](index_t, index_t begin, index_t end) {
    const Workspace<float> centered(static_cast<std::size_t>(kPanel * d));
    for (index_t i = begin; i < end; ++i) {
      const index_t first = i * kPanel, rows = std::min(kPanel, y.rows - first);
      auto* const out = reinterpret_cast<std::uint32_t*>(packed_.data() + i * size);
      float most = 0;
      for (index_t r = 0; r < rows; ++r) {
        most = std::max(most, center(y.row(first + r), 1, origin, d, centered.data() + r * d));
      }
      Panel& panel = panels_[static_cast<std::size_t>(i)];
      panel.scale = unit(most);
      double residual = 0, norm = 0;
      for (index_t r = 0; r < rows; ++r) {
        const Parts parts =
            quantise(centered.data() + r * d, d, panel.scale, 0x80808080u, out + r, kPanel);
        residual = std::max(residual, std::sqrt(parts.residual));
        norm = std::max(norm, std::sqrt(parts.whole) + std::sqrt(parts.residual));
      }
      for (index_t r = rows; r < kPanel; ++r) {
        for (index_t p = 0; p < quads(d); ++p) out[p * kPanel + r] = 0;
      }
      // Whatever y', b r and h lost to rounding is relative to y'.
      panel.norm = static_cast<float>(norm * (1 + 8 * kEpsilon));
      panel.residual = static_cast<float>(residual * (1 + 8 * kEpsilon) + 4 * kEpsilon * norm);
    }
  });
}

index_t ByteSieve::search(MatrixView<const float> x, index_t begin, index_t end, float* limit,
                          const float* low_norm, index_t first_row, Hits<float> hits) const {
  const index_t d = x.cols, n = end - begin, tiles = (n + kQueries - 1) / kQueries;
  const index_t padded = tiles * kQueries, depth = quads(d);
  const auto size = static_cast<std::size_t>(padded);
  const Workspace<float> centered(static_cast<std::size_t>(n * d)), units(size), whole(size),
      residuals(size), twice(size), most(size);
  const Workspace<std::uint32_t> queries(size * static_cast<std::size_t>(depth));
  const Workspace<std::int32_t> start(size);
  std::fill_n(queries.data(), padded * depth, 0u);
  std::fill_n(start.data(), padded, 0);
  for (index_t j = 0; j < padded; ++j) units.data()[j] = whole.data()[j] = residuals.data()[j] = 0;
  for (index_t j = 0; j < n; ++j) {
    float* const row = centered.data() + j * d;
    const float largest = center(x.row(begin + j), x.col_stride, origin_, d, row);
    // Squares that overflow, and NaN, are what the float product makes of them.
    if (!(largest < 1e18f / static_cast<float>(d))) return 0;
    std::uint32_t* const to = queries.data() + j / kQueries * kQueries * depth + j % kQueries;
    units.data()[j] = unit(largest);
    const Parts parts = quantise(row, d, units.data()[j], 0, to, kQueries);
    std::int32_t sum = 0;
    for (index_t p = 0; p < depth; ++p) {
      for (int b = 0; b < 4; ++b) sum += static_cast<std::int8_t>(to[p * kQueries] >> (8 * b));
    }
    start.data()[j] = -128 * sum;
    const double norm = std::sqrt(parts.whole) * (1 + 8 * kEpsilon);
    whole.data()[j] = static_cast<float>(norm);
    residuals.data()[j] = static_cast<float>(std::sqrt(parts.residual) * (1 + 8 * kEpsilon) +
                                             4 * kEpsilon * (norm + std::sqrt(parts.residual)));
  }
  const index_t panels = static_cast<index_t>(panels_.size());
  index_t wasted = 0;
  for (index_t i = 0; i < panels; ++i) {
    if (i % 64 == 0) check_interrupt();
    // A float product of a pair takes about 1 / 30 of the time of a pair that passes.
    if (wasted > n * (16 + i * kPanel / 64)) return i * kPanel;
    const Panel panel = panels_[static_cast<std::size_t>(i)];
    const float norm = panel.norm + panel.residual;
    for (index_t j = 0; j < n; ++j) {
      const float a = whole.data()[j], g = residuals.data()[j];
      const float bound = 2 * (a * panel.residual + g * panel.norm) * (1 + 8 * kEpsilon);
      const float both = 2 * units.data()[j] * panel.scale;
      // A thread may flush small numbers to 0: then both is lost, and with it up to 127^2 d of it.
      const float lost = std::numeric_limits<float>::min() *
                         (both < std::numeric_limits<float>::min() ? 127 * 127 : 1);
      const float rounding = 8 * kEpsilon * (a * a + 2 * norm * norm + std::abs(limit[j])) +
                             static_cast<float>(d + 12) * lost;
      most.data()[j] = limit[j] + bound + rounding;
      twice.data()[j] = both;
    }
    for (index_t j = n; j < padded; ++j) {
      most.data()[j] = -std::numeric_limits<float>::infinity();
      twice.data()[j] = 0;
    }
    for (index_t t = 0; t < tiles; ++t) {
      const index_t j0 = t * kQueries;
      std::uint16_t mask[kQueries][kVectors];
      if (!sift({queries.data() + j0 * depth, packed_.data() + i * kPanel * depth * 4,
                 start.data() + j0, twice.data() + j0, most.data() + j0, low_norm + i * kPanel},
                depth, mask)) {
        continue;
      }
      for (index_t j = j0; j < std::min(n, j0 + kQueries); ++j) {
        for (int v = 0; v < kVectors; ++v) {
          for (std::uint32_t bits = mask[j - j0][v]; bits != 0; bits &= bits - 1) {
            const index_t row = i * kPanel + v * 16 + __builtin_ctz(bits);
            if (row >= y_.rows) break;
            const float low =
                low_norm[row] + product(centered.data() + j * d, y_.row(row), origin_, d);
            if (low <= limit[j]) {
              hits.hit(hits.self, j, first_row + row, low);
            } else {
              ++wasted;
            }
          }
        }
      }
    }
  }
  return y_.rows;
}

}  // namespace kernelmill::neighbors

#else

namespace kernelmill::neighbors {

bool ByteSieve::fits(MatrixView<const float>, MatrixView<const float>) { return false; }
void ByteSieve::pack(MatrixView<const float>, const float*) {}
index_t ByteSieve::search(MatrixView<const float>, index_t, index_t, float*, const float*, index_t,
                          Hits<float>) const {
  return 0;
}

}  // namespace kernelmill::neighbors

#endif
