// Blocks of rows z, and their products: what ops share that sum w z z' beside something else.
#pragma once

#include "core/csr.hpp"          // CsrView
#include "core/matrix.hpp"       // MatrixView, index_t
#include "core/tile_params.hpp"  // Params

namespace kernelmill::moments {

// Rows that are made and multiplied at a time: one depth chunk of the product.
constexpr index_t kBlockRows = tile::Params<double>::KC;

// Length of z as it is stored: whole panels and one vector, so that the same column of
// consecutive rows falls into different sets of the cache.
inline index_t padded(index_t columns) {
  constexpr index_t NR = tile::Params<double>::NR;
  return (columns + NR - 1) / NR * NR + tile::Params<double>::lanes;
}

// to (columns x columns, rows `stride` apart) += sum_r w_r z_r z_r' on and below the diagonal, for
// at most kBlockRows rows z of `padded(columns)` entries, zeros at their ends. Null w is 1.
void add_products(const double* z, index_t rows, index_t columns, const double* w, double* to,
                  index_t stride);

// Copies the lower half to the upper one.
void mirror(double* products, index_t columns);

// Rows [begin, begin + rows) of x about `origin` (null for 0) as the first entries of z.
template <class T>
void fill_rows(MatrixView<const T> x, index_t begin, index_t rows, const double* origin, double* z,
               index_t stride) {
  const index_t d = x.cols;
  if (x.row_stride == 1 && x.col_stride != 1) {  // columns are adjacent
    for (index_t p = 0; p < d; ++p) {
      const T* const column = x.data + begin + p * x.col_stride;
      const double o = origin == nullptr ? 0.0 : origin[p];
      for (index_t r = 0; r < rows; ++r) z[r * stride + p] = static_cast<double>(column[r]) - o;
    }
    return;
  }
  for (index_t r = 0; r < rows; ++r, z += stride) {
    const T* const row = x.row(begin + r);
    if (x.col_stride != 1) {
      for (index_t p = 0; p < d; ++p) {
        z[p] = static_cast<double>(row[p * x.col_stride]) - (origin == nullptr ? 0.0 : origin[p]);
      }
    } else if (origin == nullptr) {
#pragma omp simd
      for (index_t p = 0; p < d; ++p) z[p] = static_cast<double>(row[p]);
    } else {
#pragma omp simd
      for (index_t p = 0; p < d; ++p) z[p] = static_cast<double>(row[p]) - origin[p];
    }
  }
}
template <class T>
void fill_rows(const CsrView<T>& x, index_t begin, index_t rows, const double* origin, double* z,
               index_t stride) {
  x.visit([&](const auto& csr) {
    for (index_t r = 0; r < rows; ++r) {
      double* const row = z + r * stride;
      for (index_t p = 0; p < x.cols; ++p) row[p] = origin == nullptr ? 0.0 : -origin[p];
      for (auto at = csr.indptr[begin + r]; at < csr.indptr[begin + r + 1]; ++at) {
        row[csr.indices[at]] += static_cast<double>(csr.data[at]);
      }
    }
  });
}

}  // namespace kernelmill::moments
