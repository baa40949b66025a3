// Large float32 products on tiles of bfloat16, where the processor has them (ops/matmul_tiles.hpp).
#pragma once

#include "ops/matmul_tiles.hpp"  // available
#include "ops/matmul_store.hpp"  // Store

namespace kernelmill {

// Whether the product of (m, k) and (k, n) is made by multiply_bf16. Depends on the shape and the
// machine alone.
inline bool suits_bf16(index_t m, index_t n, index_t k) {
  if (!bf16::available()) return false;
  // Splitting costs as much as 40 rows of products a value; below, and in little work, vectors win.
  if (m <= 16 || n <= 16 || k < 48 || m * n * k < (index_t{1} << 21)) return false;
  // Few blocks of a great depth keep few threads busy: see multiply_deep.
  return m * n >= 8 * bf16::side * bf16::side && (k <= 8192 || m * n > (index_t{1} << 16));
}

// Each element is rounded as its row, its column and the depth say, whatever the other sizes and
// the number of threads. Rows and columns that parts of bfloat16 cannot hold, because they are
// tiny, and elements that are not finite are those of the tile product.
void multiply_bf16(MatrixView<const float> a, MatrixView<const float> b,
                   const matmul_detail::Store<float>& epilogue);

}  // namespace kernelmill
