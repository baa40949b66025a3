#include "ops/matmul_tiles.hpp"

#if defined(__x86_64__) && defined(__AVX512F__)

#include <cpuid.h>      // __get_cpuid_count
#include <immintrin.h>  // tiles, AVX-512
#if defined(__linux__)
#include <sys/syscall.h>  // SYS_arch_prctl
#include <unistd.h>       // syscall
#endif

#include <algorithm>  // std::min, std::max
#include <bit>        // std::bit_cast
#include <cstdlib>    // std::getenv

#include "core/tile_pack.hpp"  // transpose

// These instructions are not part of any level: the functions that use them say so themselves.
#define KERNELMILL_TILES __attribute__((target("amx-tile,amx-bf16")))

namespace kernelmill::bf16 {
namespace {

bool allowed() {
  unsigned a, b, c, d;
  constexpr unsigned bf16_bit = 1u << 22, tile_bit = 1u << 24;  // of edx of leaf 7
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || (d & bf16_bit) == 0 || (d & tile_bit) == 0) {
    return false;
  }
  const char* const off = std::getenv("KERNELMILL_TILES");
  if (off != nullptr && off[0] == '0') return false;
#if defined(__linux__)
  // The kernel keeps 8 KiB of registers for a thread only if the process asks.
  constexpr int request = 0x1023, tile_data = 18;
  return syscall(SYS_arch_prctl, request, tile_data) == 0;
#else
  return false;
#endif
}

constexpr index_t half = side / 2;            // rows or columns of a tile
constexpr index_t tile_size = half * step;    // values of a tile
constexpr index_t part_size = 2 * tile_size;  // of one part of a strip's step
constexpr index_t step_size = 3 * part_size;
constexpr int lanes = tile::Params<float>::lanes;
static_assert(lanes == half);

using Vec = tile::Params<float>::Vec;
using Bits [[gnu::vector_size(64)]] = std::uint32_t;

// Values of two vectors side by side as parts of 16 bits: those of `first` lie lower.
struct Parts {
  Bits high, middle, low;
};

[[gnu::always_inline]] inline Parts split_pair(Vec first, Vec second) {
  // The nearest bfloat16, ties away from zero: the carry is right also where it reaches the
  // exponent.
  const auto nearest = [](Vec x) { return (std::bit_cast<Bits>(x) + 0x8000u) & 0xffff0000u; };
  const auto less = [](Vec x, Bits part) { return x - std::bit_cast<Vec>(part); };
  // What is left of tiny values may need more bits than a part has: they must not meet its
  // neighbour.
  const auto pair = [](Bits lower, Bits upper) { return (lower >> 16) | (upper & 0xffff0000u); };
  const Bits h0 = nearest(first), h1 = nearest(second);
  const Vec left0 = less(first, h0), left1 = less(second, h1);
  const Bits m0 = nearest(left0), m1 = nearest(left1);
  // At most 7 bits are left, unless these are below 2^-126.
  const Bits l0 = std::bit_cast<Bits>(less(left0, m0)), l1 = std::bit_cast<Bits>(less(left1, m1));
  return {pair(h0, h1), pair(m0, m1), pair(l0, l1)};
}

[[gnu::always_inline]] inline Vec larger(Vec a, Vec b) {
  // The greater absolute value, without its sign.
  return std::bit_cast<Vec>(
      _mm512_range_ps(std::bit_cast<__m512>(a), std::bit_cast<__m512>(b), 0b1011));
}

// Row t of a tile of each part, from 16 values of depth, or of columns, and the 16 that lie beside.
[[gnu::always_inline]] inline void put(Vec first, Vec second, std::uint16_t* out, int t,
                                       Vec& most) {
  const Parts parts = split_pair(first, second);
  tile::store(out + t * step, parts.high);
  tile::store(out + part_size + t * step, parts.middle);
  tile::store(out + 2 * part_size + t * step, parts.low);
  most = larger(most, larger(first, second));
}

// One tile: 16 lines of 16 values from `first`, and 16 from `second`. Lines are rows of the tile,
// or with Across what runs across them.
template <bool Across, Operand O>
[[gnu::always_inline]] inline void split_tile(const float* first, const float* second,
                                              index_t stride, std::uint16_t* out, Vec* most) {
  if constexpr (Across) {
    const float *lines[half], *further[half];
    for (int t = 0; t < half; ++t) lines[t] = first + t * stride, further[t] = second + t * stride;
    Vec u[half], v[half];
    tile::detail::transpose<float, half>(lines, 0, u);
    tile::detail::transpose<float, half>(further, 0, v);
    KERNELMILL_UNROLL
    for (int t = 0; t < half; ++t) put(u[t], v[t], out, t, most[O == Operand::rows ? t : 0]);
  } else {
    for (int t = 0; t < half; ++t) {
      put(tile::load<Vec>(first + t * stride), tile::load<Vec>(second + t * stride), out, t,
          most[O == Operand::rows ? t : 0]);
    }
  }
}

// The largest lane.
template <int... I>
float largest_lane(Vec v, std::integer_sequence<int, I...>) {
  v = v > __builtin_shufflevector(v, v, (I ^ 8)...) ? v : __builtin_shufflevector(v, v, (I ^ 8)...);
  v = v > __builtin_shufflevector(v, v, (I ^ 4)...) ? v : __builtin_shufflevector(v, v, (I ^ 4)...);
  v = v > __builtin_shufflevector(v, v, (I ^ 2)...) ? v : __builtin_shufflevector(v, v, (I ^ 2)...);
  return std::max(v[0], v[1]);
}
float largest_lane(Vec v) { return largest_lane(v, std::make_integer_sequence<int, lanes>{}); }

// Rows of A whose depth is contiguous, one after the other.
void split_lines(const float* data, index_t stride, index_t count, index_t depth,
                 std::uint16_t* strips, float* largest) {
  const index_t whole = depth / step, left = depth % step;
  for (index_t o = 0; o < (count + half - 1) / half * half; ++o) {
    std::uint16_t* out = strips + o / side * strip_size(depth) + o % side / half * tile_size;
    const int t = static_cast<int>(o % half);
    Vec most{};
    if (o >= count) {  // zeros up to a whole tile
      for (index_t s = 0; s < steps(depth); ++s) put(Vec{}, Vec{}, out + s * step_size, t, most);
      continue;
    }
    const float* at = data + o * stride;
    for (index_t s = 0; s < whole; ++s, at += step, out += step_size) {
      __builtin_prefetch(at + 2 * stride);
      __builtin_prefetch(at + 2 * stride + half);
      put(tile::load<Vec>(at), tile::load<Vec>(at + half), out, t, most);
    }
    if (left > 0) {
      float values[step] = {};
      std::copy_n(at, left, values);
      put(tile::load<Vec>(values), tile::load<Vec>(values + half), out, t, most);
    }
    largest[o] = std::max(largest[o], largest_lane(most));
  }
}

template <Operand O>
void split_operand(const float* data, index_t outer_stride, index_t depth_stride, index_t count,
                   index_t depth, std::uint16_t* strips, float* largest) {
  constexpr bool rows = O == Operand::rows;
  if (rows && depth_stride == 1) {
    return split_lines(data, outer_stride, count, depth, strips, largest);
  }
  const index_t all_steps = steps(depth), tiles = (count + half - 1) / half;
  const bool along = outer_stride == 1 && depth_stride != 1;  // lines run along the outer index
  const bool whole_lines = along || depth_stride == 1;

  const index_t stride = along ? depth_stride : outer_stride;
  const index_t second = half * depth_stride;
  const auto one = [&](index_t tile, index_t s, Vec* most) {
    std::uint16_t* const out =
        strips + tile / 2 * strip_size(depth) + s * step_size + tile % 2 * tile_size;
    const float* const at = data + tile * half * outer_stride + s * step * depth_stride;
    if (whole_lines && !along) {
      // The lines of the next tile: a line that ends within two cache lines has no pattern.
      for (index_t t = 0; t < half; ++t) {
        __builtin_prefetch(at + (half + t) * stride);
        __builtin_prefetch(at + (half + t) * stride + half);
      }
    }
    if (whole_lines && (tile + 1) * half <= count && (s + 1) * step <= depth) {
      along == rows ? split_tile<true, O>(at, at + second, stride, out, most)
                    : split_tile<false, O>(at, at + second, stride, out, most);
      return;
    }
    alignas(64) float values[2 * half * half] = {};
    const index_t outer = std::min(half, count - tile * half),
                  deep = std::min(step, depth - s * step);
    for (index_t p = 0; p < deep; ++p) {
      float* const to = values + p / half * half * half;
      for (index_t o = 0; o < outer; ++o) {
        // As rows of the tile: rows of A are lines of depth, and depths of B lines of columns.
        (rows ? to[o * half + p % half] : to[p % half * half + o]) =
            at[o * outer_stride + p * depth_stride];
      }
    }
    split_tile<false, O>(values, values + half * half, half, out, most);
  };
  const auto keep = [&](index_t tile, const Vec* most) {
    const index_t outer = std::min(half, count - tile * half);
    alignas(64) float values[half] = {};
    for (index_t o = 0; rows && o < outer; ++o) values[o] = largest_lane(most[o]);
    if (!rows) tile::store(values, most[0]);
    for (index_t o = 0; o < outer; ++o) {
      float& known = largest[tile * half + o];
      known = std::max(known, values[o]);
    }
  };
  // Lines along the outer index are read through, all tiles at once, for the sake of pages.
  constexpr index_t together = 64;
  Vec most[(rows ? half : together)];
  if (along && !rows) {
    for (index_t first = 0; first < tiles; first += together) {
      const index_t last = std::min(tiles, first + together);
      std::fill_n(most, together, Vec{});
      for (index_t s = 0; s < all_steps; ++s) {
        for (index_t t = first; t < last; ++t) one(t, s, most + (t - first));
      }
      for (index_t t = first; t < last; ++t) keep(t, most + (t - first));
    }
    return;
  }
  for (index_t t = 0; t < tiles; ++t) {
    std::fill_n(most, rows ? half : 1, Vec{});
    for (index_t s = 0; s < all_steps; ++s) one(t, s, most);
    keep(t, most);
  }
}

// Registers 0 to 3 hold sums, 4 and 5 parts of A, 6 and 7 of B. In this order each part but one is
// loaded once a step; the small products come first.
template <bool Tall, bool Wide>
KERNELMILL_TILES void multiply_tiles(const Strip& a_strip, const Strip& b_strip,
                                     index_t depth_steps, bool more, float* sums) {
  constexpr int row_bytes = side * sizeof(float), item = sizeof(std::uint16_t);
  if (more) {
    _tile_loadd(0, sums, row_bytes);
    if constexpr (Wide) _tile_loadd(1, sums + half, row_bytes);
    if constexpr (Tall) _tile_loadd(2, sums + half * side, row_bytes);
    if constexpr (Tall && Wide) _tile_loadd(3, sums + half * side + half, row_bytes);
  } else {
    _tile_zero(0);
    if constexpr (Wide) _tile_zero(1);
    if constexpr (Tall) _tile_zero(2);
    if constexpr (Tall && Wide) _tile_zero(3);
  }
  const index_t a_line = a_strip.line * item, a_part = a_strip.part, a_half = a_strip.half;
  const index_t b_line = b_strip.line * item, b_part = b_strip.part, b_half = b_strip.half;
  const auto place = [](const Strip& strip, index_t s) {
    return strip.data + (strip.offsets == nullptr ? s * strip.step : strip.offsets[s]);
  };
#define KERNELMILL_LOAD_A(number)                \
  _tile_loadd(4, a + (number) * a_part, a_line); \
  if constexpr (Tall) _tile_loadd(5, a + (number) * a_part + a_half, a_line)
#define KERNELMILL_LOAD_B(number)                \
  _tile_loadd(6, b + (number) * b_part, b_line); \
  if constexpr (Wide) _tile_loadd(7, b + (number) * b_part + b_half, b_line)
#define KERNELMILL_MULTIPLY                    \
  _tile_dpbf16ps(0, 4, 6);                     \
  if constexpr (Wide) _tile_dpbf16ps(1, 4, 7); \
  if constexpr (Tall) _tile_dpbf16ps(2, 5, 6); \
  if constexpr (Tall && Wide) _tile_dpbf16ps(3, 5, 7)
  for (index_t s = 0; s < depth_steps; ++s) {
    const std::uint16_t *const a = place(a_strip, s), *const b = place(b_strip, s);
    KERNELMILL_LOAD_A(2);
    KERNELMILL_LOAD_B(0);
    KERNELMILL_MULTIPLY;
    KERNELMILL_LOAD_A(1);
    KERNELMILL_MULTIPLY;
    KERNELMILL_LOAD_B(1);
    KERNELMILL_MULTIPLY;
    KERNELMILL_LOAD_A(0);
    KERNELMILL_MULTIPLY;
    KERNELMILL_LOAD_B(2);
    KERNELMILL_MULTIPLY;
    KERNELMILL_LOAD_B(0);
    KERNELMILL_MULTIPLY;
  }
#undef KERNELMILL_LOAD_A
#undef KERNELMILL_LOAD_B
#undef KERNELMILL_MULTIPLY
  _tile_stored(0, sums, row_bytes);
  if constexpr (Wide) _tile_stored(1, sums + half, row_bytes);
  if constexpr (Tall) _tile_stored(2, sums + half * side, row_bytes);
  if constexpr (Tall && Wide) _tile_stored(3, sums + half * side + half, row_bytes);
}

}  // namespace

bool available() {
  static const bool found = allowed();
  return found;
}

void split(Operand operand, const float* data, index_t outer_stride, index_t depth_stride,
           index_t count, index_t depth, std::uint16_t* strips, float* largest) {
  (operand == Operand::rows ? split_operand<Operand::rows>
                            : split_operand<Operand::columns>)(data, outer_stride, depth_stride,
                                                               count, depth, strips, largest);
}

float split_pair(const float* first, const float* second, index_t count, std::uint16_t* out,
                 index_t part) {
  Vec most{};
  const auto put_vector = [&](Vec u, Vec v, std::uint16_t* to) {
    const Parts parts = split_pair(u, v);
    tile::store(to, parts.high);
    tile::store(to + part, parts.middle);
    tile::store(to + 2 * part, parts.low);
    most = larger(most, larger(u, v));
  };
  index_t i = 0;
  for (; i + lanes <= count; i += lanes) {
    put_vector(tile::load<Vec>(first + i), tile::load<Vec>(second + i), out + 2 * i);
  }
  if (i < count && count >= lanes) {  // the last vector overlaps the one before
    i = count - lanes;
    put_vector(tile::load<Vec>(first + i), tile::load<Vec>(second + i), out + 2 * i);
  } else if (i < count) {
    float u[lanes] = {}, v[lanes] = {};
    std::uint16_t parts[3 * 2 * lanes];
    std::copy_n(first, count, u);
    std::copy_n(second, count, v);
    const index_t given = part;
    part = 2 * lanes;
    put_vector(tile::load<Vec>(u), tile::load<Vec>(v), parts);
    for (int p = 0; p < 3; ++p) std::copy_n(parts + p * 2 * lanes, 2 * count, out + p * given);
  }
  return largest_lane(most);
}

void multiply(const Strip& a, const Strip& b, index_t depth_steps, index_t rows, index_t cols,
              bool more, float* sums) {
  const bool tall = rows > half, wide = cols > half;
  // The tile instructions of gcc 12 do not tell the compiler what they read.
  asm volatile("" ::: "memory");
  (tall   ? wide ? multiply_tiles<true, true> : multiply_tiles<true, false>
   : wide ? multiply_tiles<false, true>
          : multiply_tiles<false, false>)(a, b, depth_steps, more, sums);
}

void multiply_deep(const Strip& a, const Strip& b, index_t depth_steps, index_t rows, index_t cols,
                   float* sums) {
  constexpr index_t most = restart;
  // Added one group late: tiles of the next one are multiplied meanwhile.
  alignas(64) float more[2][side * side];
  index_t group = 0;
  for (index_t s = 0; s < depth_steps; s += most, ++group) {
    const auto from = [s](const Strip& strip) {
      Strip part = strip;
      if (strip.offsets == nullptr) {
        part.data += s * strip.step;
      } else {
        part.offsets += s;
      }
      return part;
    };
    multiply(from(a), from(b), std::min(most, depth_steps - s), rows, cols, false,
             group == 0 ? sums : more[group % 2]);
    if (group > 1) add(more[(group - 1) % 2], rows, cols, sums);
  }
  if (group > 1) add(more[(group - 1) % 2], rows, cols, sums);
}

void add(const float* sums, index_t rows, index_t cols, float* to) {
  for (index_t i = 0; i < rows * side; i += side) {
    for (index_t c = 0; c < cols; c += lanes) {
      tile::store(to + i + c, tile::load<Vec>(to + i + c) + tile::load<Vec>(sums + i + c));
    }
  }
}

bool all_finite(const float* sums, index_t rows, index_t cols) {
  Bits most[2] = {};
  for (index_t r = 0; r < rows; ++r) {
    for (index_t c = 0; c < cols; c += lanes) {
      const Bits bits = tile::load<Bits>(sums + r * side + c) & 0x7fffffffu;
      Bits& known = most[c / lanes % 2];
      known = known > bits ? known : bits;
    }
  }
  // As bits, infinity and NaN lie above all numbers.
  std::uint32_t largest = 0;
  for (index_t l = 0; l < lanes; ++l) largest = std::max({largest, most[0][l], most[1][l]});
  return largest < 0x7f800000u;
}

namespace {

// gcc does not give attributes to constructors.
KERNELMILL_TILES void configure() {
  alignas(64) struct {
    std::uint8_t palette = 1, start_row = 0, reserved[14] = {};
    std::uint16_t row_bytes[16] = {};
    std::uint8_t rows[16] = {};
  } config;
  for (int r = 0; r < 8; ++r) config.row_bytes[r] = 64, config.rows[r] = half;
  asm volatile("" ::"m"(config) : "memory");
  _tile_loadconfig(&config);
}

KERNELMILL_TILES void release() { _tile_release(); }

}  // namespace

Tiles::Tiles() { configure(); }
Tiles::~Tiles() { release(); }

}  // namespace kernelmill::bf16

#else

bool kernelmill::bf16::available() { return false; }

#endif

// For kernelmill.info(), see cpp/bindings/module.cpp.
extern "C" bool kernelmill_tiles() { return kernelmill::bf16::available(); }
