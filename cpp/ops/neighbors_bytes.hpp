// Rows that may be near, from products of bytes: a sieve before the product of floats.
//
// With x' and y' as in neighbors_tiles.hpp, let x' = a q + g and y' = b r + h, q and r of whole
// numbers in [-127, 127], a of a query, b of a panel of kPanel rows, g and h what rounding left.
// P = q.r is exact in 32 bits, and by Cauchy-Schwarz
//
//   |x'.y' - a b P| = |a q.h + g.y'| <= ||a q|| ||h|| + ||g|| ||y'||.
//
// So a row whose exact s = ||y'||^2 - 2 x'.y' is at most t satisfies
//
//   (||y'||^2 - e) - 2 a b P <= t + 2 (||a q|| H + ||g|| Y) + rounding
//
// with H and Y the largest ||h|| and ||y'|| of the panel, both from the numbers as they are, not
// from what rounding may do at most. Whoever passes is given its `low` in float32, as the epilogue
// of the float product would, and is a hit if that is at most the limit: so what is found, and
// each result, are the same.
//
// An instruction multiplies 64 bytes where one multiplies 16 floats (AVX512-VNNI).
#pragma once

#include <vector>  // origin, panels

#include "ops/neighbors_tiles.hpp"

namespace kernelmill::neighbors {

class ByteSieve {
 public:
  static constexpr index_t kPanel = 48;  // rows

  // Whether this processor has the instruction and the shape is worth packing for.
  static bool fits(MatrixView<const float> y, MatrixView<const float> queries);

  // Packs rows of y, in parallel. The origin has y.cols entries and outlives what follows.
  void pack(MatrixView<const float> y, const float* origin);

  // As Candidates::search, for rows numbered from `first_row`; low_norm has kPanel entries more
  // than rows. Returns how many rows it has done: all, or fewer where too many pass for nothing.
  index_t search(MatrixView<const float> x, index_t begin, index_t end, float* limit,
                 const float* low_norm, index_t first_row, Hits<float> hits) const;

 private:
  struct Panel {
    float scale, residual, norm;  // b, H, Y
  };
  MatrixView<const float> y_;
  [[maybe_unused]] const float* origin_ = nullptr;  // not without the instruction
  Workspace<std::uint8_t> packed_;
  std::vector<Panel> panels_;
};

}  // namespace kernelmill::neighbors
