// All rows of a small matrix packed as the panels [d][NR] that the tile product reads, once for
// many passes.
#pragma once

#include <algorithm>  // std::min

#include "core/matrix.hpp"     // MatrixView
#include "core/tile_pack.hpp"  // Strided
#include "core/workspace.hpp"  // memory

namespace kernelmill {

// Largest packed copy that is worth keeping: a quarter of a common L2 cache.
constexpr index_t packed_rows_bytes = index_t{256} << 10;

// Whether ranges of rows that begin at multiples of `block`, or at 0 alone if there are no more
// rows than that, begin at panels: not on Arm, where NR does not divide powers of two.
template <class T>
constexpr bool begins_at_panels(index_t rows, index_t block) {
  return block % tile::Params<T>::NR == 0 || rows <= block;
}

// Row i is at i * d, rounded down to whole panels; rows beyond the last hold 0.
template <class T>
Workspace<T> pack_rows_once(MatrixView<const T> x) {
  constexpr index_t NR = tile::Params<T>::NR;
  const index_t panels = (x.rows + NR - 1) / NR;
  Workspace<T> packed(static_cast<std::size_t>(panels * NR * x.cols));
  const tile::Strided<T> rows{x.data, x.row_stride, x.col_stride};
  for (index_t i = 0; i < x.rows; i += NR) {
    rows.pack(i, std::min(NR, x.rows - i), 0, x.cols, packed.data() + i * x.cols, NR);
  }
  return packed;
}

}  // namespace kernelmill
