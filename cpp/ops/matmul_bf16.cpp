#include "ops/matmul_bf16.hpp"

#if defined(__x86_64__) && defined(__AVX512F__)

#include <algorithm>  // std::min, std::max
#include <cmath>      // std::isfinite

#include "core/parallel.hpp"  // parallel_for, thread_limit
#include "core/tile.hpp"      // the product of vectors, for what parts cannot hold

namespace kernelmill {
namespace {

using bf16::Operand;
using bf16::side;
using matmul_detail::Store;

index_t ceil_div(index_t a, index_t b) { return (a + b - 1) / b; }

// One block of a product as vectors make it.
void multiply_vectors(MatrixView<const float> a, MatrixView<const float> b, float* block) {
  const tile::Strided<float> rows{a.data, a.row_stride, a.col_stride};
  const tile::Strided<float> columns{b.data, b.col_stride, b.row_stride};
  Store<float> store{{block, a.rows, b.cols, side, 1}, 1.0f, 0.0f};
  tile::product<float>(tile::PackedA<float>(rows, a.rows, a.cols), columns, 0, b.cols, store);
}

// The least positive value, or 1 if there is none.
float least_positive(const float* values, index_t count) {
  float smallest = 1;
  for (index_t i = 0; i < count; ++i) {
    if (values[i] > 0) smallest = std::min(smallest, values[i]);
  }
  return smallest;
}

// Replaces elements of a block that parts cannot hold.
void repair(MatrixView<const float> a, MatrixView<const float> b, const float* row_largest,
            const float* column_largest, float* block) {
  alignas(64) float exact[side * side];
  multiply_vectors(a, b, exact);
  for (index_t r = 0; r < a.rows; ++r) {
    for (index_t c = 0; c < b.cols; ++c) {
      float& value = block[r * side + c];
      if (!std::isfinite(value) || !bf16::is_held(row_largest[r], column_largest[c])) {
        value = exact[r * side + c];
      }
    }
  }
}

// Rows [r, r + Rows) of a finished block to the epilogue.
template <int Rows>
void finish_rows(const float* block, index_t r, index_t i, index_t j, index_t cols,
                 Store<float>& epilogue) {
  using P = tile::Params<float>;
  typename P::Vec acc[Rows][P::NV];
  for (index_t c = 0; c < cols; c += P::NR) {
    for (int e = 0; e < Rows; ++e) {
      for (int v = 0; v < P::NV; ++v) {
        acc[e][v] = tile::load<typename P::Vec>(block + (r + e) * side + c + v * P::lanes);
      }
    }
    epilogue.template tile<Rows>(acc, i + r, j + c, std::min<index_t>(P::NR, cols - c));
  }
}

// Depth that is split at once: a strip of 128 takes 24 KiB, half of a first-level cache, and the
// strips of the columns of a part with their sums 1.4 MB, the most of a second-level cache.
constexpr index_t chunk = 128;
constexpr index_t group = bf16::restart * bf16::step;
static_assert(group % chunk == 0);
constexpr index_t part_strips = 16;  // at most so many strips of columns a part
// And of rows: their sums wait only if there are several chunks.
constexpr index_t part_rows(index_t k) { return k <= chunk ? 256 : k <= group ? 16 : 8; }

// One part of the output, on this thread.
void multiply_part(MatrixView<const float> a, MatrixView<const float> b, Store<float> epilogue) {
  const index_t m = a.rows, n = b.cols, k = a.cols;
  const index_t row_strips = ceil_div(m, side), column_strips = ceil_div(n, side);
  const index_t most = bf16::strip_size(std::min(k, chunk));
  // A strip of rows meets all columns at once: the next one takes its place in the near cache.
  Workspace<std::uint16_t> packed_a(static_cast<std::size_t>(most));
  Workspace<std::uint16_t> packed_b(static_cast<std::size_t>(column_strips * most));
  // Sums wait for the chunks to come; those of the last one are finished while they are near, but
  // one block late: the tiles of the next one are multiplied meanwhile.
  constexpr index_t block_size = side * side;
  const index_t blocks = row_strips * column_strips;
  const bool single = k <= chunk;
  Workspace<float> sums(static_cast<std::size_t>((single ? 2 : blocks) * block_size));
  // Sums that began anew, to be added.
  Workspace<float> anew(static_cast<std::size_t>(k > group ? blocks * block_size : 0));
  const auto sums_of = [&](index_t t) { return sums.data() + (single ? t % 2 : t) * block_size; };
  Workspace<float> largest(static_cast<std::size_t>(m + n + row_strips + column_strips));
  float *const row_largest = largest.data(), *const column_largest = row_largest + m;
  float *const row_least = column_largest + n, *const column_least = row_least + row_strips;
  std::fill_n(row_largest, m + n, 0.0f);
  const auto finish = [&](index_t t) {
    const index_t r = t / column_strips, s = t % column_strips;
    const index_t i = r * side, rows = std::min(side, m - i);
    const index_t j = s * side, cols = std::min(side, n - j);
    float* const block = sums_of(t);
    for (index_t r0 = 0; cols <= side / 2 && r0 < rows; ++r0) {  // what no tile has written
      std::fill_n(block + r0 * side + side / 2, side / 2, 0.0f);
    }
    if (!bf16::is_held(row_least[r], column_least[s]) || !bf16::all_finite(block, rows, cols)) {
      const MatrixView<const float> columns{&b(0, j), k, cols, b.row_stride, b.col_stride};
      repair(a.row_range(i, i + rows), columns, row_largest + i, column_largest + j, block);
    }
    index_t done = 0;
    for (; done + 8 <= rows; done += 8) finish_rows<8>(block, done, i, j, cols, epilogue);
    for (; done < rows; ++done) finish_rows<1>(block, done, i, j, cols, epilogue);
  };
  for (index_t p = 0; p < k; p += chunk) {
    const index_t depth = std::min(chunk, k - p), size = bf16::strip_size(depth);
    const bool last = p + depth == k;
    bf16::split(Operand::columns, &b(p, 0), b.col_stride, b.row_stride, n, depth, packed_b.data(),
                column_largest);
    for (index_t s = 0; s < column_strips; ++s) {
      column_least[s] = least_positive(column_largest + s * side, std::min(side, n - s * side));
    }
    const bool begins = p % group == 0, settles = last || (p + depth) % group == 0;
    const auto settle = [&](index_t t) {
      if (p >= group) {
        bf16::add(anew.data() + t * block_size, std::min(side, m - t / column_strips * side),
                  std::min(side, n - t % column_strips * side), sums_of(t));
      }
      if (last) finish(t);
    };
    const bf16::Tiles tiles;
    for (index_t t = 0; t < blocks; ++t) {
      const index_t r = t / column_strips, s = t % column_strips;
      const index_t rows = std::min(side, m - r * side), cols = std::min(side, n - s * side);
      if (s == 0) {
        bf16::split(Operand::rows, &a(r * side, p), a.row_stride, a.col_stride, rows, depth,
                    packed_a.data(), row_largest + r * side);
        row_least[r] = least_positive(row_largest + r * side, rows);
      }
      if (last) epilogue.prefetch(r * side, rows, s * side);
      bf16::multiply({packed_a.data()}, {packed_b.data() + s * size}, bf16::steps(depth), rows,
                     cols, !begins, p < group ? sums_of(t) : anew.data() + t * block_size);
      if (settles && t > 0) settle(t - 1);
    }
    if (settles) settle(blocks - 1);
  }
}

}  // namespace

void multiply_bf16(MatrixView<const float> a, MatrixView<const float> b,
                   const Store<float>& epilogue) {
  const index_t m = a.rows, n = b.cols, k = a.cols;
  const index_t rows = ceil_div(m, side), columns = ceil_div(n, side);
  // About square parts, as each splits its own rows and columns: as many for each thread.
  index_t row_parts = ceil_div(rows, part_rows(k)), column_parts = ceil_div(columns, part_strips);
  const index_t work = std::max<index_t>(1, m * n * k >> 20);
  const index_t threads = std::min({thread_limit() + index_t{0}, rows * columns, work});
  while (row_parts * column_parts % threads != 0 && row_parts * column_parts < rows * columns) {
    const bool taller = rows * column_parts > columns * row_parts;
    index_t& parts =
        (taller && row_parts < rows) || column_parts == columns ? row_parts : column_parts;
    ++parts;
  }
  parallel_for(row_parts * column_parts, 1, [&](index_t task, index_t, index_t) {
    const auto cut = [](index_t part, index_t count, index_t strips, index_t end) {
      return std::min(end, part * strips / count * side);
    };
    const index_t row = task % row_parts, column = task / row_parts;
    const index_t i = cut(row, row_parts, rows, m), i_end = cut(row + 1, row_parts, rows, m);
    const index_t j = cut(column, column_parts, columns, n);
    const index_t j_end = cut(column + 1, column_parts, columns, n);
    if (i == i_end || j == j_end) return;
    const MatrixView<const float> b_part{&b(0, j), k, j_end - j, b.row_stride, b.col_stride};
    Store<float> part{{&epilogue.out(i, j), i_end - i, j_end - j, epilogue.out.row_stride,
                       epilogue.out.col_stride},
                      epilogue.alpha,
                      epilogue.beta,
                      epilogue.finish.from(i, j)};
    multiply_part(a.row_range(i, i_end), b_part, part);
  });
}

}  // namespace kernelmill

#endif
