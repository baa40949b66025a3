// What the passes of attention share: which keys a query sees, and blocks of scores.
//
// A block of scores lies with keys down and queries along lanes, S' = K Q', so that maxima, sums
// and everything that depends on the query are one vector operation for a whole lane row, and so
// that a finished block is at once a packed operand of the next product.
#pragma once

#include <algorithm>    // std::clamp, std::min, std::max
#include <cmath>        // std::fabs
#include <cstdint>      // std::int32_t
#include <limits>       // std::numeric_limits
#include <span>         // std::span
#include <type_traits>  // std::conditional_t

#include "core/math.hpp"    // exp, horner
#include "core/random.hpp"  // least_kept
#include "core/tile.hpp"    // product, packings
#include "ops/attention.hpp"
#include "ops/random.hpp"  // uniform

namespace kernelmill::attention {

using tile::load;
using tile::Params;
using tile::store;
using tile::Strided;

// Keys of a block: one depth chunk at every level, and a block of 64 queries stays in 32 KiB.
constexpr index_t kKeys = 128;

template <class T>
constexpr index_t rounded(index_t n) {
  return (n + Params<T>::NR - 1) / Params<T>::NR * Params<T>::NR;
}

// Keys that query i sees are those in [begin, end); none if end <= begin. Both rise with i.
struct Range {
  index_t begin, end;
};

template <class T>
Range seen(const Inputs<T>& in, index_t i) {
  const index_t s = in.k.shape[1], x = i + in.offset;
  index_t begin = 0, end = s;
  if (in.causal) end = x + 1;
  if (in.window >= 0) {
    begin = x - in.window;
    end = std::min(end, x + in.window + 1);
  }
  return {std::clamp<index_t>(begin, 0, s), std::clamp<index_t>(end, 0, s)};
}

// exp of a score less the largest of its row or less its lse: of numbers that are at most 0, but
// for rounding.
template <class T>
KERNELMILL_INLINE T weight(T x) {
  return kernelmill::exp(x);
}

// 2^(x log2 e), and 0 below e^-87, where it leaves the normal numbers. Without exp's care for both
// ends, and with log2 e in one piece, a vector of 16 takes 11 cycles of an AMD Zen 4, not 17. That
// costs 1.3e-8 |x| of e^x, without fused multiply-add 7.3e-8 |x|: 5e-9 or 2.7e-8 of the largest
// weight at most, less than half a unit of its last place. The minimax fit, made for this file, has
// an error of 3e-9.
template <>
KERNELMILL_INLINE float weight<float>(float x) {
  using F = detail::Format<float>;
  constexpr float log2_e = 1.44269504088896340736f;
  constexpr float shifter = F::shifter + static_cast<float>(F::bias);  // leaves n + bias below
  const float shifted = x * log2_e + shifter;
  const float r = x * log2_e - (shifted - shifter);
  const float y = detail::horner(r, 1.0f, 0.6931471825f, 0.2402264774f, 0.05550359935f,
                                 0.009618505836f, 0.001339080627f, 0.0001532646129f);
  const float p = y * detail::from_bits<float>(detail::to_bits(shifted) << F::mantissa);
  return x < -87.0f ? 0.0f : p;  // a NaN fails the comparison and stays
}

// Rows of one head, numbered from `first`.
template <class T>
struct Rows {
  const T* data;
  index_t stride, first;
  const T* row(index_t j) const { return data + (j - first) * stride; }
};

// Rows [begin, end) of a head, copied to `to` unless they are adjacent. Rows of a joint projection
// are whole pages apart and would share a few sets of the first cache.
template <class T>
Rows<T> adjacent_rows(const View<const T>& x, index_t b, index_t h, index_t begin, index_t end,
                      T* to) {
  const index_t d = x.shape[3];
  const T* from = x.data + b * x.strides[0] + begin * x.strides[1] + h * x.strides[2];
  if (x.strides[1] == d && (x.strides[3] == 1 || d == 1)) return {from, d, begin};
  for (index_t j = begin; j < end; ++j, from += x.strides[1]) {
    T* const row = to + (j - begin) * d;
    if (x.strides[3] == 1) {
      std::copy_n(from, d, row);
    } else {
      for (index_t c = 0; c < d; ++c) row[c] = from[c * x.strides[3]];
    }
  }
  return {to, d, begin};
}

// Memory handed out piece by piece, each at a vector's border.
template <class T>
class Pieces {
 public:
  explicit Pieces(index_t count) : memory_(static_cast<std::size_t>(count)), at_(memory_.data()) {}
  static index_t padded(index_t count) { return (count + 15) / 16 * 16; }
  T* take(index_t count) {
    T* const taken = at_;
    at_ += padded(count);
    return taken;
  }

 private:
  Workspace<T> memory_;
  T* at_;
};

// Up to `width` queries of one head.
struct Queries {
  index_t b, h, i, count;
};

// Rows of x as the packed operand of a product over features.
template <class T>
void pack_features(const View<const T>& x, const Queries& at, T factor, T* to) {
  const index_t d = x.shape[3];
  const Strided<T> rows{x.data + at.b * x.strides[0] + at.h * x.strides[2], x.strides[1],
                        x.strides[3]};
  tile::PackedB<T>(to, at.count, d).pack(rows, at.i, 0, at.count);
  if (factor != T{1}) {
    for (index_t e = 0; e < rounded<T>(at.count) * d; ++e) to[e] *= factor;
  }
}

// Panels [features / NR][rows][NR]: the operand of a product over rows, 0 beyond the last query.
template <class T>
void pack_rows_of(const View<const T>& x, const Queries& at, T factor, T* to) {
  constexpr index_t NR = Params<T>::NR;
  const index_t d = x.shape[3], width = rounded<T>(at.count);
  const Strided<T> columns{x.data + at.b * x.strides[0] + at.h * x.strides[2], x.strides[3],
                           x.strides[1]};
  for (index_t c = 0; c < d; c += NR) {
    T* const panel = to + c * width;
    columns.pack(c, std::min(NR, d - c), at.i, at.count, panel, NR);
    std::fill(panel + at.count * NR, panel + width * NR, T{0});
  }
  if (factor != T{1}) {
    for (index_t e = 0; e < rounded<T>(d) * width; ++e) to[e] *= factor;
  }
}

// Adds tiles at to[i * stride + j], the first `Vectors` of each row of a panel.
template <class T, int Vectors = Params<T>::NV>
struct AddTile {
  static constexpr tile::Hooks hooks{};
  using Vec = typename Params<T>::Vec;
  static constexpr int NV = Params<T>::NV, lanes = Params<T>::lanes;
  T* to;
  index_t stride;
  template <int Rows>
  void tile(const Vec (&acc)[Rows][NV], index_t i0, index_t j0, index_t) {
    T* row = to + i0 * stride + j0;
    KERNELMILL_UNROLL
    for (int r = 0; r < Rows; ++r, row += stride) {
      KERNELMILL_UNROLL
      for (int v = 0; v < Vectors; ++v) {
        store(row + v * lanes, load<Vec>(row + v * lanes) + acc[r][v]);
      }
    }
  }
};

// Which probabilities of some queries are kept. Items are drawn a thousand keys at a time, as many
// as random::uniform makes at once.
template <class T>
class Kept {
 public:
  Kept(const Inputs<T>& in, index_t width)
      : in_(in),
        chunk_(std::min<index_t>(in.k.shape[1], 1024)),
        least_(least_kept(in.p)),
        scale_(in.p < 1 ? static_cast<T>(1 / (1 - in.p)) : T{0}),
        drawn_(in.p > 0 ? static_cast<std::size_t>(width * chunk_) : 0) {}

  void begin(const Queries& at) {
    at_ = at;
    now_ = -1;
  }

  // to[(j - j0) * stride + c] is 0 or 1 / (1 - p), for n keys from j0, a multiple of kKeys.
  void factors(index_t j0, index_t n, T* to, index_t stride) {
    if (j0 / chunk_ != now_) draw(j0 / chunk_);
    for (index_t c = 0; c < at_.count; ++c) {
      const float* const u = drawn_.data() + c * length_ + (j0 - now_ * chunk_);
      for (index_t j = 0; j < n; ++j) to[j * stride + c] = u[j] >= least_ ? scale_ : T{0};
    }
    for (index_t c = at_.count; c < rounded<T>(at_.count); ++c) {
      for (index_t j = 0; j < n; ++j) to[j * stride + c] = T{0};
    }
  }

 private:
  void draw(index_t chunk) {
    now_ = chunk;
    const index_t s = in_.k.shape[1], first = chunk * chunk_;
    length_ = std::min(chunk_, s - first);
    const index_t rows = (at_.b * in_.q.shape[2] + at_.h) * in_.q.shape[1] + at_.i;
    const index_t calls = length_ == s ? 1 : at_.count,
                  count = length_ == s ? at_.count * s : length_;
    for (index_t c = 0; c < calls; ++c) {
      random::uniform<float>(
          in_.seed, in_.stream, static_cast<std::uint64_t>((rows + c) * s + first),
          std::span(drawn_.data() + c * length_, static_cast<std::size_t>(count)));
    }
  }

  const Inputs<T>& in_;
  index_t chunk_, now_ = -1, length_ = 0;
  float least_;
  T scale_;
  Queries at_{};
  Workspace<float> drawn_;
};

// Scores of n keys from j0, from queries that pack_features has packed and scaled, with bias and
// distance added and keys hidden; s[(j - j0) * stride + c], for c from `from` on, a multiple of NR.
// `scratch` has room for kKeys * NR values. Defined in attention.cpp.
template <class T>
void score_block(const Inputs<T>& in, const Queries& at, T* packed, const Rows<T>& keys, index_t j0,
                 index_t n, T* s, index_t stride, T* scratch, index_t from = 0);

}  // namespace kernelmill::attention
