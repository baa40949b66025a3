// Packings of the tile product (core/tile.hpp): how operand elements are read from memory.
//
// An operand has an *outer* index (rows of A, columns of B) and a *depth* index that the product
// sums over. Its elements are stored as `In` and packed as `Acc`, the type that the tile computes
// in: the conversion is part of the load, so that a float32 matrix in float64 arithmetic needs no
// copy of its own. Convolution adds its own packing that reads patches.
#pragma once

#include <algorithm>    // std::min, std::fill
#include <cstring>      // std::memcpy: unaligned vector loads and stores
#include <type_traits>  // std::is_same_v
#include <utility>      // std::index_sequence
#if defined(__AVX512F__)
#include <immintrin.h>  // masked copies
#endif

#include "core/matrix.hpp"       // index_t
#include "core/tile_params.hpp"  // vector type and sizes

namespace kernelmill::tile {

template <class V>
[[gnu::always_inline]] inline V load(const void* source) {
  V value;
  std::memcpy(&value, source, sizeof value);
  return value;
}

template <class V>
[[gnu::always_inline]] inline void store(void* target, const V& value) {
  std::memcpy(target, &value, sizeof value);
}

// Writes panel[p * width + r] = element(outer + r, depth + p) for r < count, 0 up to width.
template <class P, class Acc>
concept Packing = requires(const P& packing, index_t i, Acc* panel) {
  packing.pack(i, i, i, i, panel, i);  // outer, count, depth, depth_count, panel, width
};

// How many values of depth a panel takes before the next one: all of them, unless the packing says
// that its operand lies across the depth. Then panels walk memory together, row by row: one after
// the other, each would visit a page for every value or two of depth.
template <class P>
index_t depth_block(const P& packing, index_t depth) {
  if constexpr (requires { packing.across(); }) {
    if (packing.across()) return 16;
  }
  return depth;
}

// As many elements of `In` as V has lanes, converted to those of V.
template <class V, class In>
[[gnu::always_inline]] inline V load_as(const In* source) {
  using Acc = std::remove_cvref_t<decltype(V{}[0])>;
  if constexpr (std::is_same_v<In, Acc>) {
    return load<V>(source);
  } else {
    using Stored [[gnu::vector_size(sizeof(V) / sizeof(Acc) * sizeof(In))]] = In;
    return __builtin_convertvector(load<Stored>(source), V);
  }
}

namespace detail {

// 16 bytes of one row: the unit in which rows are gathered into vectors before the transpose.
template <class Acc>
struct Piece {
  static constexpr int size = 16 / static_cast<int>(sizeof(Acc));
  using Vec [[gnu::vector_size(16)]] = Acc;
};

template <class V, int... I>
[[gnu::always_inline]] inline auto concatenate(const V& low, const V& high,
                                               std::integer_sequence<int, I...>) {
  return __builtin_shufflevector(low, high, I...);
}

#if defined(__AVX512F__) && defined(__AVX512DQ__)
// Four pieces side by side. Insertions from memory run on two ports; the shuffles that gcc 12 makes
// of `concatenate` on one, where they wait for those of the transpose.
[[gnu::always_inline]] inline auto four_pieces(const float* a, const float* b, const float* c,
                                               const float* d) {
  __m512 v = _mm512_castps128_ps512(_mm_loadu_ps(a));
  v = _mm512_insertf32x4(v, _mm_loadu_ps(b), 1);
  v = _mm512_insertf32x4(v, _mm_loadu_ps(c), 2);
  return reinterpret_cast<Params<float>::Vec>(_mm512_insertf32x4(v, _mm_loadu_ps(d), 3));
}
[[gnu::always_inline]] inline auto four_pieces(const double* a, const double* b, const double* c,
                                               const double* d) {
  __m512d v = _mm512_castpd128_pd512(_mm_loadu_pd(a));
  v = _mm512_insertf64x2(v, _mm_loadu_pd(b), 1);
  v = _mm512_insertf64x2(v, _mm_loadu_pd(c), 2);
  return reinterpret_cast<Params<double>::Vec>(_mm512_insertf64x2(v, _mm_loadu_pd(d), 3));
}
constexpr bool inserts_pieces = true;
#else
constexpr bool inserts_pieces = false;
#endif

// The pieces of rows[0], rows[size], rows[2 * size], ... side by side in one vector.
template <class Acc, int Count, class In>
[[gnu::always_inline]] inline auto load_pieces(const In* const* rows, index_t offset) {
  constexpr int size = Piece<Acc>::size;
  if constexpr (Count == 1) {
    return load_as<typename Piece<Acc>::Vec>(rows[0] + offset);
  } else {
#if defined(__AVX512F__) && defined(__AVX512DQ__)
    if constexpr (Count == 4 && std::is_same_v<In, Acc>) {
      return four_pieces(rows[0] + offset, rows[size] + offset, rows[2 * size] + offset,
                         rows[3 * size] + offset);
    } else
#endif
      return concatenate(load_pieces<Acc, Count / 2>(rows, offset),
                         load_pieces<Acc, Count / 2>(rows + Count / 2 * size, offset),
                         std::make_integer_sequence<int, Count * size>{});
  }
}

// Within each 16-byte lane: the low (High = 0) or high halves of a and b, interleaved in units of
// Unit elements. Unit = 1 is "unpack", Unit = 2 of floats moves 8-byte halves.
template <class Acc, int Unit, int High, class V, int... I>
[[gnu::always_inline]] inline V interleave(const V& a, const V& b,
                                           std::integer_sequence<int, I...>) {
  constexpr int piece = Piece<Acc>::size;
  constexpr int lanes = sizeof...(I);
  return __builtin_shufflevector(
      a, b,
      (I / piece * piece + High * piece / 2 + I % piece / (2 * Unit) * Unit + I % Unit +
       (I % piece / Unit % 2 != 0 ? lanes : 0))...);
}

// Transposes within 16-byte lanes: out[e] holds, in each lane, element e of that lane of in[0],
// in[1],
// ... One piece of depth of as many rows.
template <class Acc, class V>
[[gnu::always_inline]] inline void transpose_lanes(const V* in, V* out) {
  constexpr std::make_integer_sequence<int, Params<Acc>::lanes> all{};
  if constexpr (Piece<Acc>::size == 2) {
    out[0] = interleave<Acc, 1, 0>(in[0], in[1], all);
    out[1] = interleave<Acc, 1, 1>(in[0], in[1], all);
  } else {
    static_assert(Piece<Acc>::size == 4, "float or double");
    const V low01 = interleave<Acc, 1, 0>(in[0], in[1], all);
    const V high01 = interleave<Acc, 1, 1>(in[0], in[1], all);
    const V low23 = interleave<Acc, 1, 0>(in[2], in[3], all);
    const V high23 = interleave<Acc, 1, 1>(in[2], in[3], all);
    out[0] = interleave<Acc, 2, 0>(low01, low23, all);
    out[1] = interleave<Acc, 2, 1>(low01, low23, all);
    out[2] = interleave<Acc, 2, 0>(high01, high23, all);
    out[3] = interleave<Acc, 2, 1>(high01, high23, all);
  }
}

// 16-byte lanes First, First + Step, ... of a, then of b: half of each.
template <class Acc, int First, int Step, class V, int... I>
[[gnu::always_inline]] inline V take_lanes(const V& a, const V& b,
                                           std::integer_sequence<int, I...>) {
  constexpr int piece = Piece<Acc>::size;
  constexpr int lanes = sizeof...(I);
  constexpr int half = lanes / 2;
  return __builtin_shufflevector(
      a, b, ((First + I % half / piece * Step) * piece + I % piece + (I >= half ? lanes : 0))...);
}

// Transposes `lanes` rows by Depth: out[e] holds depth offset + e of all rows. Depth is one piece,
// or `lanes`, which reads whole cache lines and, without insertions, takes fewer instructions per
// element.
template <class Acc, int Depth, class In, class V = typename Params<Acc>::Vec>
[[gnu::always_inline]] inline void transpose(const In* const* rows, index_t offset,
                                             V (&out)[Depth]) {
  constexpr int piece = Piece<Acc>::size;
  constexpr int lanes = Params<Acc>::lanes;
  constexpr int pieces = lanes / piece;
  constexpr std::make_integer_sequence<int, lanes> all{};
  if constexpr (Depth == piece || (inserts_pieces && std::is_same_v<In, Acc>)) {
    V in[Depth];  // in[e + r]: the pieces at depth e of rows r, r + piece, ...
    KERNELMILL_UNROLL
    for (int r = 0; r < piece; ++r) {
      KERNELMILL_UNROLL
      for (int e = 0; e < Depth; e += piece) {
        in[e + r] = load_pieces<Acc, pieces>(rows + r, offset + e);
      }
    }
    KERNELMILL_UNROLL
    for (int e = 0; e < Depth; e += piece) transpose_lanes<Acc>(in + e, out + e);
  } else {
    static_assert(Depth == lanes && (pieces == 2 || pieces == 4));
    V in[lanes], part[lanes];
    KERNELMILL_UNROLL
    for (int r = 0; r < lanes; ++r) in[r] = load_as<V>(rows[r] + offset);
    // part[q * piece + e], lane l: depth l * piece + e of rows q * piece, ...
    KERNELMILL_UNROLL
    for (int q = 0; q < pieces; ++q) transpose_lanes<Acc>(in + q * piece, part + q * piece);
    KERNELMILL_UNROLL
    for (int e = 0; e < piece; ++e) {
      if constexpr (pieces == 2) {
        out[e] = take_lanes<Acc, 0, 1>(part[e], part[piece + e], all);
        out[piece + e] = take_lanes<Acc, 1, 1>(part[e], part[piece + e], all);
      } else {
        const V low01 = take_lanes<Acc, 0, 1>(part[e], part[piece + e], all);
        const V high01 = take_lanes<Acc, 2, 1>(part[e], part[piece + e], all);
        const V low23 = take_lanes<Acc, 0, 1>(part[2 * piece + e], part[3 * piece + e], all);
        const V high23 = take_lanes<Acc, 2, 1>(part[2 * piece + e], part[3 * piece + e], all);
        out[e] = take_lanes<Acc, 0, 2>(low01, low23, all);
        out[piece + e] = take_lanes<Acc, 1, 2>(low01, low23, all);
        out[2 * piece + e] = take_lanes<Acc, 0, 2>(high01, high23, all);
        out[3 * piece + e] = take_lanes<Acc, 1, 2>(high01, high23, all);
      }
    }
  }
}

// pack_rows in steps of Depth, which is at most depth; the last step overlaps the one before.
template <int Depth, class In, class Acc>
void pack_rows_by(const In* const* rows, index_t vectors, index_t depth, Acc* panel, index_t width,
                  index_t next) {
  constexpr int lanes = Params<Acc>::lanes;
  const index_t end = depth * width;
  const index_t ahead = std::min<index_t>(depth, 256 / sizeof(In));
  for (index_t p = 0; p < depth; p += Depth) {
    p = std::min(p, depth - Depth);
    if constexpr (Depth == lanes) {
      // Rows are too many streams for the hardware's own prefetching. At the end of the rows, those
      // of the next panel are fetched, to arrive while this panel is multiplied.
      const index_t from = p + ahead < depth ? p + ahead : next + p + ahead - depth;
      for (index_t r = 0; r < vectors * lanes; ++r) __builtin_prefetch(rows[r] + from);
    }
    // A vector that is wider than what is left of its panel row spills into the next row, which is
    // written later: vectors go from last to first, depth from first to last.
    for (index_t v = vectors - 1; v >= 0; --v) {
      typename Params<Acc>::Vec column[Depth];
      transpose<Acc, Depth>(rows + v * lanes, p, column);
      Acc* const target = panel + p * width + v * lanes;
      if (target + (Depth - 1) * width + lanes <= panel + end) {
        KERNELMILL_UNROLL
        for (int e = 0; e < Depth; ++e) store(target + e * width, column[e]);
      } else {
        Acc values[Depth][lanes];
        KERNELMILL_UNROLL
        for (int e = 0; e < Depth; ++e) store(values[e], column[e]);
        const index_t valid = std::min<index_t>(lanes, width - v * lanes);
        for (index_t e = 0; e < Depth; ++e) {
          for (index_t l = 0; l < valid; ++l) target[e * width + l] = values[e][l];
        }
      }
    }
  }
}

template <class Acc>
void zero_columns(Acc* panel, index_t count, index_t width, index_t depth) {
  if (count == width) return;
  for (index_t p = 0; p < depth; ++p) {
    std::fill(panel + p * width + count, panel + (p + 1) * width, Acc{0});
  }
}

}  // namespace detail

// Packs rows whose depth is contiguous: panel[p * width + r] = rows[r][p] for r < count <= width.
// rows must have room for width rounded up to whole vectors. rows[r] + next, if next is not 0, is
// where row r of the panel after this one begins: a hint.
template <class In, class Acc>
void pack_rows(const In** rows, index_t count, index_t depth, Acc* panel, index_t width,
               index_t next = 0) {
  constexpr int piece = detail::Piece<Acc>::size;
  constexpr int lanes = Params<Acc>::lanes;
  const index_t vectors = (count + lanes - 1) / lanes;
  for (index_t r = count; r < vectors * lanes; ++r) rows[r] = rows[count - 1];
  if (depth >= lanes) {
    detail::pack_rows_by<lanes>(rows, vectors, depth, panel, width, next);
  } else if (depth >= piece) {
    detail::pack_rows_by<piece>(rows, vectors, depth, panel, width, next);
  } else {
    for (index_t p = 0; p < depth; ++p) {
      for (index_t r = 0; r < count; ++r) panel[p * width + r] = static_cast<Acc>(rows[r][p]);
    }
  }
  detail::zero_columns(panel, count, width, depth);
}

#if defined(__AVX512F__) && defined(__AVX512VL__)
// Copies fewer values than a vector has.
inline void copy_first(float* target, const float* source, index_t count) {
  const auto mask = static_cast<__mmask16>(_bzhi_u32(0xffff, static_cast<unsigned>(count)));
  _mm512_mask_storeu_ps(target, mask, _mm512_maskz_loadu_ps(mask, source));
}
inline void copy_first(double* target, const double* source, index_t count) {
  const auto mask = static_cast<__mmask8>(_bzhi_u32(0xff, static_cast<unsigned>(count)));
  _mm512_mask_storeu_pd(target, mask, _mm512_maskz_loadu_pd(mask, source));
}
#endif

// Packs an operand whose outer index is contiguous: panel[p * width + r] = source[p * stride + r].
template <class In, class Acc>
void pack_columns(const In* source, index_t stride, index_t count, index_t depth, Acc* panel,
                  index_t width) {
  using Vec = typename Params<Acc>::Vec;
  using Piece = typename detail::Piece<Acc>::Vec;
  constexpr int piece = detail::Piece<Acc>::size;
  constexpr int lanes = Params<Acc>::lanes;
  for (index_t p = 0; p < depth; ++p, source += stride, panel += width) {
    // The columns that the next panel will read: row by row they are too far apart for the
    // hardware to see a pattern, and here their page is already mapped.
    __builtin_prefetch(source + width);
    __builtin_prefetch(source + width + 64 / sizeof(In));
    index_t r = 0;
    for (; r + lanes <= count; r += lanes) store(panel + r, load_as<Vec>(source + r));
#if defined(__AVX512F__) && defined(__AVX512VL__)
    // Tiles have 13 or 14 rows: in pieces, the weight gradient of 2048 rows, 128 inputs and 512
    // outputs took 3.10 instead of 2.99 ms.
    if constexpr (std::is_same_v<In, Acc>) {
      copy_first(panel + r, source + r, count - r);
      r = count;
    }
#endif
    for (; r + piece <= count; r += piece) store(panel + r, load_as<Piece>(source + r));
    for (; r < count; ++r) panel[r] = static_cast<Acc>(source[r]);
    for (; r < width; ++r) panel[r] = Acc{0};
  }
}

// element(o, p) = data[o * outer_stride + p * depth_stride]; any strides.
template <class In>
struct Strided {
  const In* data;
  index_t outer_stride, depth_stride;

  bool across() const { return outer_stride == 1 && depth_stride != 1; }

  template <class Acc>
  void pack(index_t outer, index_t count, index_t depth, index_t depth_count, Acc* panel,
            index_t width) const {
    const In* const first = data + outer * outer_stride + depth * depth_stride;
    if (depth_stride == 1) {
      const In* rows[2 * Params<Acc>::NR];
      for (index_t r = 0; r < count; ++r) rows[r] = first + r * outer_stride;
      pack_rows(rows, count, depth_count, panel, width, width * outer_stride);
    } else if (outer_stride == 1) {
      pack_columns(first, depth_stride, count, depth_count, panel, width);
    } else {
      for (index_t p = 0; p < depth_count; ++p) {
        for (index_t r = 0; r < count; ++r) {
          panel[p * width + r] = static_cast<Acc>(first[r * outer_stride + p * depth_stride]);
        }
      }
      detail::zero_columns(panel, count, width, depth_count);
    }
  }
};

// element(o, p) = data[rows[o] * outer_stride + p * depth_stride]: rows of a data set by number,
// as support vectors or a mini-batch are.
template <class In, class Row = std::int32_t>
struct Gathered {
  const In* data;
  index_t outer_stride, depth_stride;
  const Row* rows;

  template <class Acc>
  void pack(index_t outer, index_t count, index_t depth, index_t depth_count, Acc* panel,
            index_t width) const {
    const In* pointers[2 * Params<Acc>::NR];
    for (index_t r = 0; r < count; ++r) {
      pointers[r] =
          data + static_cast<index_t>(rows[outer + r]) * outer_stride + depth * depth_stride;
    }
    if (depth_stride == 1) {
      pack_rows(pointers, count, depth_count, panel, width);
    } else {
      for (index_t p = 0; p < depth_count; ++p) {
        for (index_t r = 0; r < count; ++r) {
          panel[p * width + r] = static_cast<Acc>(pointers[r][p * depth_stride]);
        }
      }
      detail::zero_columns(panel, count, width, depth_count);
    }
  }
};

// element(o, p) = element_of(o, p): an operand that is computed, or too small for its reading to
// matter.
template <class Function>
struct Elements {
  Function element_of;

  template <class Acc>
  void pack(index_t outer, index_t count, index_t depth, index_t depth_count, Acc* panel,
            index_t width) const {
    for (index_t p = 0; p < depth_count; ++p) {
      for (index_t r = 0; r < width; ++r) {
        panel[p * width + r] =
            r < count ? static_cast<Acc>(element_of(outer + r, depth + p)) : Acc{};
      }
    }
  }
};
// clang 15 does not deduce the arguments of aggregates by itself.
template <class Function>
Elements(Function) -> Elements<Function>;

}  // namespace kernelmill::tile
