// Products of float32 on tiles of bfloat16 (Intel AMX), as exact as fused multiply-adds.
//
// A float has 24 bits, a bfloat16 has 8: x = h + m + l, each the nearest bfloat16 to what is left
// of x, holds every bit of x. Of the nine products of parts of a and b, six are added:
//
//   a b = (ah bh + ah bm + am bh + am bm + ah bl + al bh) + (am bl + al bm + al bl)
//
// |m| <= 2^-8 |x| and |l| <= 2^-16 |x|, so what is left out is at most 2^-23 |a b| (the last three
// terms), about the rounding of the product to a float. Each instruction multiplies 16 rows, 32
// values of depth and 16 columns, sums in float32, and adds the sum to an accumulator: fewer
// roundings than one a value, where sums begin anew after some hundred of them. Six products of 16
// times the rate are 2.7 times as fast as multiply-adds of 16 floats. The split is that of G.
// Henry, P. Tang and A. Heinecke, "Leveraging the bfloat16 artificial intelligence datatype for
// higher-precision computations", ARITH 2019.
//
// Operands are cut into strips of 32 rows of A or 32 columns of B. A strip holds, for each step of
// 32 values of depth, the parts h, m and l of two tiles, 1 KiB each. In a tile, values p and p + 16
// of depth lie side by side: any order will do that both operands share, and this one needs no
// shuffles.
#pragma once

#include <cstdint>  // std::uint16_t

#include "core/matrix.hpp"  // index_t

namespace kernelmill::bf16 {

inline constexpr index_t side = 32;  // rows or columns of a strip
inline constexpr index_t step = 32;  // values of depth that one instruction takes

// Whether this level of instructions knows the tiles; what follows is defined only then.
#if defined(__x86_64__) && defined(__AVX512F__)
inline constexpr bool compiled = true;
#else
inline constexpr bool compiled = false;
#endif

// Whether this processor has the tiles and the system lets the process use them. Asked once.
bool available();

constexpr index_t steps(index_t depth) { return (depth + step - 1) / step; }
// bfloat16 values of one strip.
constexpr index_t strip_size(index_t depth) { return steps(depth) * 3 * side * step; }

// Which operand a strip belongs to.
enum class Operand { rows, columns };

// Splits `count` rows of A or columns of B, `depth` values each, into strips; element (o, p) is
// data[o * outer_stride + p * depth_stride]. Raises largest[o] to the largest |x| of row or column
// o.
void split(Operand operand, const float* data, index_t outer_stride, index_t depth_stride,
           index_t count, index_t depth, std::uint16_t* strips, float* largest);

// Where the tiles of a strip lie, in values: those of step s at offsets[s], or at s * step if
// offsets is null; each part `part` after the one before, the second tile of a part `half` after
// the first, rows of a tile `line` apart.
struct Strip {
  const std::uint16_t* data;
  const index_t* offsets = nullptr;
  index_t step = 3 * side * bf16::step, part = side * bf16::step, half = side * bf16::step / 2;
  index_t line = bf16::step;
};

// sums[r * 32 + c], or with `more` what is added to it, for the first `rows` rows and `cols`
// columns (rounded up to 16) of a strip of A times a strip of B. While Tiles live on the thread.
void multiply(const Strip& a, const Strip& b, index_t depth_steps, index_t rows, index_t cols,
              bool more, float* sums);

// Steps after which sums begin anew, so that roundings do not add up.
inline constexpr index_t restart = 16;

// The same for any depth: a sum begins anew every `restart` steps, and the sums are added in order.
void multiply_deep(const Strip& a, const Strip& b, index_t depth_steps, index_t rows, index_t cols,
                   float* sums);

// Adds sums to others.
void add(const float* sums, index_t rows, index_t cols, float* to);

// Rows of values as the three parts, those of `first` and `second` side by side, from 2 * i on for
// value i; the parts of a value are `part` apart. Returns the largest |x|.
float split_pair(const float* first, const float* second, index_t count, std::uint16_t* out,
                 index_t part);

// Whether the first `rows` rows and `cols` columns (rounded up to 16) of sums are finite.
bool all_finite(const float* sums, index_t rows = side, index_t cols = side);

// Parts below 2^-126 are lost: of rows and columns whose largest values are at least this, and
// their product too, what is lost is below 2^-26 of them. 0 loses nothing.
inline constexpr float least = 0x1p-100f;
inline bool is_held(float row, float column) {
  return row == 0 || column == 0 || (row >= least && column >= least && row * column >= least);
}

// While one of these lives, the tile registers of the thread are in use; other threads and signals
// see none of it.
class Tiles {
 public:
  Tiles();
  ~Tiles();
  Tiles(const Tiles&) = delete;
  Tiles& operator=(const Tiles&) = delete;
};

}  // namespace kernelmill::bf16
