// Distances as the tile product with a distance epilogue (ops/distances.hpp) that stores.
#include "ops/pairwise.hpp"

#include <algorithm>  // std::clamp, std::max, std::min

#include "core/error.hpp"      // invalid
#include "core/parallel.hpp"   // parallel_for
#include "core/tile.hpp"       // PackedA, product
#include "core/workspace.hpp"  // norms
#include "ops/distances.hpp"   // DistanceEpilogue

namespace kernelmill {
namespace {

template <class T>
struct StoreTile {
  static constexpr tile::Hooks hooks{};
  using Vec = typename tile::Params<T>::Vec;
  static constexpr int NV = tile::Params<T>::NV, lanes = tile::Params<T>::lanes;

  MatrixView<T> out;

  template <int Rows>
  void tile(const Vec (&value)[Rows][NV], index_t i0, index_t j0, index_t cols) {
    if (cols == NV * lanes && out.col_stride == 1) {
      KERNELMILL_UNROLL
      for (int r = 0; r < Rows; ++r) {
        KERNELMILL_UNROLL
        for (int v = 0; v < NV; ++v) tile::store(&out(i0 + r, j0 + v * lanes), value[r][v]);
      }
      return;
    }
    T rows[Rows * NV * lanes];
    KERNELMILL_UNROLL
    for (int r = 0; r < Rows; ++r) {
      KERNELMILL_UNROLL
      for (int v = 0; v < NV; ++v) tile::store(rows + (r * NV + v) * lanes, value[r][v]);
    }
    store_part(rows, i0, i0 + Rows, j0, cols);
  }

 private:
  // Out of line and for any height: unrolled in each, it was half of the code.
  [[gnu::noinline]] void store_part(const T* row, index_t i, index_t i_end, index_t j0,
                                    index_t cols) const {
    for (; i < i_end; ++i, row += NV * lanes) {
      for (index_t c = 0; c < cols; ++c) out(i, j0 + c) = row[c];
    }
  }
};

// Rows of x in one task: their packed copy stays in the L2 cache beside a panel of y.
constexpr index_t block_bytes = index_t{256} << 10;
// Entries of out in one task: at least about 50 us of stores and square roots.
constexpr index_t task_entries = index_t{1} << 18;
// Rows of each matrix that the origin is estimated from: a median of 128 lies within a tenth of the
// spread of that of all. With 1024, finding it took half the time of (1000, 1003) x (1003, 1001).
constexpr int origin_rows = 64;

template <class T>
void distances(MatrixView<const T> x, MatrixView<const T> y, MatrixView<T> out, bool squared) {
  using P = tile::Params<T>;
  const index_t d = x.cols;
  const std::vector<T> origin = origin_of<T, origin_rows>(d, x, y);
  const index_t bytes = std::max<index_t>(d, 1) * static_cast<index_t>(sizeof(T));
  const index_t height =
      std::min(x.rows, std::clamp<index_t>(block_bytes / bytes, 8 * P::MR, 2048));
  const index_t width =
      std::min(chunk_count(y.rows, P::NR) * P::NR,
               std::max<index_t>(1, chunk_count(task_entries / height, P::NR)) * P::NR);
  const index_t across = chunk_count(y.rows, width);
  parallel_for(chunk_count(x.rows, height) * across, 1, [&](index_t task, index_t, index_t) {
    const index_t i = task / across * height, rows = std::min(height, x.rows - i);
    const index_t j = task % across * width, j_end = std::min(y.rows, j + width);
    Workspace<T> norms(static_cast<std::size_t>(rows + width));
    T* const x_norms = norms.data();
    T* const y_norms = x_norms + rows;
    const MatrixView<const T> block = x.row_range(i, i + rows);
    const tile::PackedA<T> packed(CenteredWithNorms{centered(block, origin), x_norms, 0, d}, rows,
                                  d);
    const CenteredWithNorms columns{centered(y, origin), y_norms, j, d};
    StoreTile<T> finish{out.row_range(i, i + rows)};
    DistanceEpilogue<T, StoreTile<T>> epilogue(block, x_norms, y, y_norms, j, squared, finish);
    tile::product<T>(packed, columns, j, j_end, epilogue);
  });
}

}  // namespace

template <class T>
void euclidean(MatrixView<const T> x, MatrixView<const T> y, MatrixView<T> out, bool squared) {
  if (x.cols != y.cols || out.rows != x.rows || out.cols != y.rows) {
    invalid("pairwise.euclidean", "shapes must be (n, d), (m, d) -> (n, m), got (", x.rows, ", ",
            x.cols, "), (", y.rows, ", ", y.cols, ") -> (", out.rows, ", ", out.cols, ")");
  }
  if (out.rows == 0 || out.cols == 0) return;
  if (x.cols == 0) {
    for (index_t i = 0; i < out.rows; ++i) {
      for (index_t j = 0; j < out.cols; ++j) out(i, j) = T{0};
    }
    return;
  }
  // Lanes run along the contiguous side of out.
  if (out.row_stride == 1 && out.col_stride != 1) {
    euclidean(y, x, out.transposed(), squared);
  } else {
    distances(x, y, out, squared);
  }
}

KERNELMILL_FOR_FLOATS(euclidean)

}  // namespace kernelmill
