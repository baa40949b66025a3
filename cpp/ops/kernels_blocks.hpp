// The Gram matrix block by block, whatever rows are: a Source prepares some rows of X (packed, or
// scattered by feature) and multiplies them with ranges of the rows of Y.
//
//   source.count()                      rows of Y
//   source.group                        most rows of X prepared at a time
//   auto some = source.prepare(left, i, rows)
//   source.block(some, begin, end, out) out[r][j - begin] = k(x_{i + r}, y_j)
#pragma once

#include <algorithm>  // std::clamp, std::fill, std::min
#include <vector>     // rows of a block

#include "core/matrix.hpp"     // MatrixView
#include "core/parallel.hpp"   // parallel_for
#include "core/workspace.hpp"  // blocks of K

namespace kernelmill::kernels {

// Entries of a row of K that are used while they are in the near cache.
constexpr index_t columns_at_once = 1024;

template <class T, class Source, class Left>
void matrix_of(const Source& source, const Left& left, MatrixView<T> out) {
  const index_t across = chunk_count(out.cols, 4 * columns_at_once);
  const index_t groups = chunk_count(out.rows, source.group);
  parallel_for(groups * across, 1, [&](index_t task, index_t, index_t) {
    const index_t i = task / across * source.group, rows = std::min(source.group, out.rows - i);
    const index_t j = task % across * 4 * columns_at_once;
    const auto some = source.prepare(left, i, rows);
    std::vector<T*> at;
    for (index_t r = 0; r < rows; ++r) at.push_back(out.row(i + r) + j);
    source.block(some, j, std::min(out.cols, j + 4 * columns_at_once), at.data());
  });
}

// coef is (columns, k); out(i, c) is summed in ascending order of blocks.
template <class T, class Source, class Left>
void apply_of(const Source& source, const Left& left, MatrixView<const double> coef,
              MatrixView<double> out) {
  const index_t n = source.count(), k = coef.cols;
  std::vector<double> transposed(static_cast<std::size_t>(n * k));
  for (index_t j = 0; j < n; ++j) {
    for (index_t c = 0; c < k; ++c) transposed[static_cast<std::size_t>(c * n + j)] = coef(j, c);
  }
  // Half of the group, so that the block of K stays near.
  const index_t group = std::min<index_t>(source.group, 64);
  parallel_for(out.rows, group, [&](index_t, index_t i, index_t i_end) {
    const index_t rows = i_end - i;
    const auto some = source.prepare(left, i, rows);
    Workspace<T> memory(static_cast<std::size_t>(rows * columns_at_once));
    std::vector<T*> at;
    for (index_t r = 0; r < rows; ++r) {
      at.push_back(memory.data() + r * columns_at_once);
      std::fill(out.row(i + r), out.row(i + r) + k, 0.0);
    }
    for (index_t j = 0; j < n; j += columns_at_once) {
      const index_t cols = std::min(columns_at_once, n - j);
      source.block(some, j, j + cols, at.data());
      for (index_t r = 0; r < rows; ++r) {
        const T* const values = at[static_cast<std::size_t>(r)];
        for (index_t c = 0; c < k; ++c) {
          const double* const weight = transposed.data() + c * n + j;
          double sum = 0;
#pragma omp simd reduction(+ : sum)
          for (index_t l = 0; l < cols; ++l) sum += static_cast<double>(values[l]) * weight[l];
          out(i + r, c) += sum;
        }
      }
    }
  });
}

}  // namespace kernelmill::kernels
