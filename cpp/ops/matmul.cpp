// out = alpha * a b + beta * out as the tile product with a storing epilogue.
#include "ops/matmul.hpp"

#include <algorithm>    // std::clamp, std::copy_n, std::min, std::max
#include <type_traits>  // std::integral_constant, std::is_same_v

#include "core/error.hpp"        // invalid
#include "core/parallel.hpp"     // parallel_for, thread_limit
#include "core/tile.hpp"         // PackedA, PackedB, product_tiles
#include "ops/matmul_bf16.hpp"   // large products on tiles of bfloat16
#include "ops/matmul_store.hpp"  // Store

namespace kernelmill {
namespace {

using matmul_detail::Store;
using tile::load;
using tile::Params;
using tile::store;
using tile::Strided;

// Multiply-adds that are worth a task of their own: about 10 us on one core of a current machine.
// Below, a helper that sleeps joins too late to help; a product of 100 us must not stay on one
// core.
constexpr index_t task_work = index_t{1} << 19;
// The same where there are few rows: memory takes longer than the sums.
constexpr index_t few_work = index_t{1} << 15;
// Packed copies of either operand are limited to this, unless fewer than min_rows rows would fit.
constexpr index_t packed_bytes = index_t{64} << 20;
constexpr index_t min_rows = 512;

index_t ceil_div(index_t a, index_t b) { return (a + b - 1) / b; }

// The number of tasks worth starting: bits do not depend on it, so it may depend on the threads. A
// multiple of the threads where there are more: three equal tasks take two threads as long as four.
index_t task_count(index_t m, index_t n, index_t k) {
  const index_t work = m * n * std::max<index_t>(k, 1), threads = thread_limit();
  const index_t wanted = std::clamp<index_t>(work / task_work, 1, 4 * threads);
  return wanted <= threads ? wanted : ceil_div(wanted, threads) * threads;
}

// An operand is read where it is when this few panels of the other one use it and it is this short:
// a product of (65536, 32) and (32, 100) spent a sixth of its time in packing, one of (2048, 784)
// and (784, 128) a thirtieth.
constexpr index_t unpacked_panels = 4;
constexpr index_t unpacked_depth = 1024;

// Whether what lies `stride` apart shares sets of the first cache: (2048, 1024) times (1024, 128)
// took 3.04 instead of 2.65 ms with such rows unpacked.
template <class T>
bool pages_apart(index_t stride) {
  return stride * index_t{sizeof(T)} % 4096 == 0;
}

// One range of rows for each thread, which packs the columns for itself, and the rows block by
// block, to multiply them while they are hot: for tall a and narrow b, where packing all rows first
// would send them through memory.
template <class T>
void multiply_rows(MatrixView<const T> a, MatrixView<const T> b, index_t wanted,
                   Store<T> epilogue) {
  // As many blocks for each thread: 13 of 2048 rows in pairs made one thread wait for a quarter of
  // the time.
  const index_t n = b.cols, threads = std::min<index_t>(thread_limit(), wanted);
  const index_t blocks = ceil_div(ceil_div(a.rows, Params<T>::MC), threads) * threads;
  const bool unpacked = a.col_stride == 1 && a.cols <= unpacked_depth &&
                        n <= unpacked_panels * Params<T>::NR && !pages_apart<T>(a.row_stride);
  parallel_for(threads, 1, [&](index_t thread, index_t, index_t) {
    tile::PackedB<T> packed_b(n, a.cols);
    packed_b.pack(Strided<T>{b.data, b.col_stride, b.row_stride}, 0, 0, n);
    const index_t begin = blocks * thread / threads, end = blocks * (thread + 1) / threads;
    for (index_t block = begin; block < end; ++block) {
      const index_t i = a.rows * block / blocks, i_end = a.rows * (block + 1) / blocks;
      const Strided<T> rows{a.row(i), a.row_stride, a.col_stride};
      Store<T> part{epilogue.out.row_range(i, i_end), epilogue.alpha, epilogue.beta,
                    epilogue.finish.from(i, 0)};
      if (unpacked) {
        tile::product<T>(tile::RowsA<T>(rows.data, a.row_stride, i_end - i, a.cols), packed_b, 0, n,
                         part);
      } else {
        tile::product<T>(tile::PackedA<T>(rows, i_end - i, a.cols), packed_b, 0, n, part);
      }
    }
  });
}

// What a part keeps in the second cache of a core.
constexpr index_t part_bytes = index_t{640} << 10;

// A thread packs one operand for itself where that is so many bytes at most, and it uses each value
// for so many vectors of the other one at least: what another core has packed comes slowly. On two
// cores a layer of 256 rows, 784 inputs and 1024 outputs took 1.94 instead of 2.57 ms; squares of
// 1024 took 2 % longer.
constexpr index_t own_bytes = index_t{2} << 20;
constexpr index_t own_uses = 16;
// The same where there are many rows for each thread.
constexpr index_t tall_bytes = index_t{8} << 20;

// Whether each thread has enough of the longer side, and a packed copy of the shorter one.
template <class T>
bool suits_own(index_t m, index_t n, index_t k, index_t wanted) {
  const index_t threads = thread_limit();
  return wanted >= threads && std::min(m, n) * k * index_t{sizeof(T)} <= own_bytes &&
         std::max(m, n) >= threads * own_uses * Params<T>::lanes;
}

// One range of columns for each thread, which packs all rows for itself.
template <class T>
void multiply_columns(MatrixView<const T> a, MatrixView<const T> b, const Store<T>& epilogue) {
  const index_t threads = thread_limit(), n = b.cols, panels = ceil_div(n, Params<T>::NR);
  parallel_for(threads, 1, [&](index_t thread, index_t, index_t) {
    const index_t j = panels * thread / threads * Params<T>::NR;
    const index_t j_end = std::min(n, panels * (thread + 1) / threads * Params<T>::NR);
    const tile::PackedA<T> packed_a(Strided<T>{a.data, a.row_stride, a.col_stride}, a.rows, a.cols);
    Store<T> part = epilogue;
    tile::product<T>(packed_a, Strided<T>{b.data, b.col_stride, b.row_stride}, j, j_end, part);
  });
}

// How an output is cut into parts that one thread makes alone.
struct Parts {
  index_t tiles, panels, row_parts, column_parts;

  // A multiple of the threads where possible, none too large for the near caches. Where there are
  // few tiles, which use a packed panel once each, panels stay in the first of them.
  template <class T>
  static Parts of(index_t m, index_t n, index_t threads) {
    using P = Params<T>;
    const index_t tiles = ceil_div(m, P::MR), panels = ceil_div(n, P::NR);
    index_t width = std::min({panels, index_t{P::NC} / P::NR / 2, tiles});
    // Rows of a chunk and of its sums, beside the columns of a chunk.
    const index_t fitting = part_bytes / index_t{sizeof(T)} - P::KC * P::NR * width;
    const index_t held = fitting / (P::MR * (P::KC + P::NR * width));
    index_t height = std::min<index_t>(tiles, std::max<index_t>(P::MC / P::MR, held));
    while (ceil_div(tiles, height) * ceil_div(panels, width) < threads && height * width > 1) {
      const bool taller = height * P::MR > width * P::NR;
      index_t& side = width == 1 || (height > 1 && taller) ? height : width;
      side = ceil_div(side, 2);
    }
    Parts parts{tiles, panels, ceil_div(tiles, height), ceil_div(panels, width)};
    while (parts.count() % threads != 0 && parts.row_parts < tiles) ++parts.row_parts;
    while (parts.count() % threads != 0 && parts.column_parts < panels) ++parts.column_parts;
    return parts;
  }
  index_t count() const { return row_parts * column_parts; }
  // Whether the operands are packed at most twice: each part packs its rows and its columns.
  bool pay(index_t m, index_t n) const { return m * (column_parts - 2) + n * (row_parts - 2) <= 0; }
};

// Whether `cols` columns of a product read columns of a, whose values are adjacent, where they are:
// few panels, or columns of which several steps of depth fit a page. The gradient of a weight, 2048
// rows, 512 outputs and 128 inputs, took 1.22 instead of 1.30 ms.
template <class T>
bool reads_columns(MatrixView<const T> a, index_t cols) {
  return a.row_stride == 1 &&
         (a.col_stride * index_t{sizeof(T)} <= 1024 ||
          (cols <= unpacked_panels * Params<T>::NR && !pages_apart<T>(a.col_stride)));
}

// sums[r] += data[p * stride + r] for p in order: for a depth chunk of an operand whose columns are
// adjacent.
template <class T>
void add_up(const T* data, index_t stride, index_t depth, index_t rows, double* sums) {
  index_t p = 0;
  for (; p + 4 <= depth; p += 4, data += 4 * stride) {
#pragma omp simd
    for (index_t r = 0; r < rows; ++r) {
      double sum = sums[r];
      for (index_t e = 0; e < 4; ++e) sum += static_cast<double>(data[e * stride + r]);
      sums[r] = sum;
    }
  }
  for (; p < depth; ++p, data += stride) {
    for (index_t r = 0; r < rows; ++r) sums[r] += static_cast<double>(data[r]);
  }
}

// Each part is made by one thread, which packs both operands chunk by chunk: packed operands do not
// travel between the caches of cores, and nobody waits. For outputs that have few parts, as each
// part packs its rows and columns again. With `sums`, columns of a are adjacent, and each chunk is
// added up before it is multiplied: it is in the near caches then.
template <class T>
void multiply_parts(MatrixView<const T> a, MatrixView<const T> b, const Store<T>& epilogue,
                    const Parts& parts, T* sums) {
  using P = Params<T>;
  const index_t k = a.cols;
  const tile::DepthChunks<T> chunks(k);
  parallel_for(parts.count(), 1, [&](index_t task, index_t, index_t) {
    const auto cut = [](index_t part, index_t count, index_t units, index_t size, index_t end) {
      return std::min(end, part * units / count * size);
    };
    const index_t row = task % parts.row_parts, column = task / parts.row_parts;
    const index_t i = cut(row, parts.row_parts, parts.tiles, P::MR, a.rows);
    const index_t i_end = cut(row + 1, parts.row_parts, parts.tiles, P::MR, a.rows);
    const index_t j = cut(column, parts.column_parts, parts.panels, P::NR, b.cols);
    const index_t j_end = cut(column + 1, parts.column_parts, parts.panels, P::NR, b.cols);
    const index_t rows = i_end - i, cols = j_end - j;
    if (rows == 0 || cols == 0) return;
    Store<T> part{
        {&epilogue.out(i, j), rows, cols, epilogue.out.row_stride, epilogue.out.col_stride},
        epilogue.alpha,
        epilogue.beta,
        epilogue.finish.from(i, j)};
    Workspace<T> partial(
        static_cast<std::size_t>(chunks.count > 1 ? rows * ceil_div(cols, P::NR) * P::NR : 0));
    const bool adds = sums != nullptr && column == 0;
    Workspace<double> own(static_cast<std::size_t>(adds ? 2 * rows : 0));
    for (index_t c = 0; c < chunks.count; ++c) {
      const index_t p = c * chunks.size, depth = std::min(chunks.size, k - p);
      if (adds) {
        double *const total = own.data(), *const sum = c == 0 ? total : total + rows;
        std::fill_n(sum, rows, 0.0);
        add_up(&a(i, p), a.col_stride, depth, rows, sum);
        for (index_t r = 0; r < rows && c > 0; ++r) total[r] += sum[r];
      }
      tile::PackedB<T> packed_b(cols, depth);
      packed_b.pack(Strided<T>{&b(p, j), b.col_stride, b.row_stride}, 0, 0, cols);
      const auto multiply = [&](const auto& rows_of_a) {
        tile::product_chunk<T>(rows_of_a, packed_b, cols, partial.data(), c == 0,
                               c + 1 == chunks.count, part);
      };
      if (reads_columns(a, cols)) {
        multiply(tile::ColumnsA<T>(&a(i, p), a.col_stride, rows, depth));
      } else {
        multiply(tile::PackedA<T>(Strided<T>{&a(i, p), a.row_stride, a.col_stride}, rows, depth));
      }
    }
    for (index_t r = 0; r < rows && adds; ++r) sums[i + r] = static_cast<T>(own.data()[r]);
  });
}

// a's rows are broadcast, b's columns run along lanes. Whether `sums` of the rows of a, unless
// null, were made.
template <class T>
bool multiply_block(MatrixView<const T> a, MatrixView<const T> b, const Store<T>& epilogue,
                    T* sums) {
  using P = Params<T>;
  const index_t m = a.rows, n = b.cols, k = a.cols;
  const index_t wanted = task_count(m, n, k);
  const Strided<T> rows{a.data, a.row_stride, a.col_stride};
  const Strided<T> columns{b.data, b.col_stride, b.row_stride};

  if (n <= P::NC && m >= 4 * P::MC && m / P::MC >= wanted &&
      n * k * index_t{sizeof(T)} <= tall_bytes) {
    multiply_rows(a, b, wanted, epilogue);
    return false;
  }
  const Parts parts = Parts::of<T>(m, n, std::min<index_t>(wanted, thread_limit()));
  if (parts.pay(m, n)) {
    multiply_parts(a, b, epilogue, parts, a.row_stride == 1 ? sums : nullptr);
    return sums != nullptr && a.row_stride == 1;
  }
  if (wanted > 1 && suits_own<T>(m, n, k, wanted)) {
    m > n ? multiply_rows(a, b, wanted, epilogue) : multiply_columns(a, b, epilogue);
    return false;
  }
  tile::PackedA<T> packed_a(m, k);
  const index_t tiles = packed_a.tiles(), panels = ceil_div(n, P::NR);
  if (wanted == 1) {
    packed_a.pack(rows, 0, tiles);
    Store<T> whole = epilogue;
    tile::product<T>(packed_a, columns, 0, n, whole);
    return false;
  }
  tile::PackedB<T> packed_b(n, k);
  parallel_for(tiles + panels, ceil_div(tiles + panels, wanted),
               [&](index_t, index_t begin, index_t end) {
                 packed_a.pack(rows, std::min(begin, tiles), std::min(end, tiles));
                 const index_t j = std::max<index_t>(begin - tiles, 0) * P::NR;
                 packed_b.pack(columns, j, j, std::min(n, (end - tiles) * P::NR));
               });

  // Blocks as large as the caches like them, halved while there are too few for the threads.
  index_t height = std::min<index_t>(tiles, P::MC / P::MR);
  index_t width = std::min<index_t>(panels, P::NC / P::NR);
  while (ceil_div(tiles, height) * ceil_div(panels, width) < wanted && height * width > 1) {
    const bool taller = height * P::MR > width * P::NR;
    (width == 1 || (height > 1 && taller) ? height : width) /= 2;
  }
  const index_t row_blocks = ceil_div(tiles, height), column_blocks = ceil_div(panels, width);
  parallel_for(row_blocks * column_blocks, 1, [&](index_t task, index_t, index_t) {
    const index_t t = task % row_blocks * tiles / row_blocks;
    const index_t t_end = (task % row_blocks + 1) * tiles / row_blocks;
    const index_t j = task / row_blocks * panels / column_blocks * P::NR;
    const index_t j_end = (task / row_blocks + 1) * panels / column_blocks * P::NR;
    Store<T> block = epilogue;
    tile::product_tiles<T>(packed_a, t, t_end, packed_b, j, std::min(j_end, n), block);
  });
  return false;
}

// A small output of a great depth, such as the Gram matrix of a tall matrix: the depth chunks of
// the tile product are computed in parallel and added in its order, so the bits are the same.
template <class T>
void multiply_deep(MatrixView<const T> a, MatrixView<const T> b, const Store<T>& epilogue) {
  const index_t m = a.rows, n = b.cols, k = a.cols;
  const tile::DepthChunks<T> chunks(k);
  Workspace<T> memory(static_cast<std::size_t>(chunks.count * m * n));
  T* const sums = memory.data();
  parallel_for(chunks.count, ceil_div(task_work, m * n * chunks.size),
               [&](index_t, index_t begin, index_t end) {
                 for (index_t c = begin; c < end; ++c) {
                   const index_t p = c * chunks.size, depth = std::min(chunks.size, k - p);
                   const Strided<T> rows{a.data + p * a.col_stride, a.row_stride, a.col_stride};
                   const Strided<T> columns{b.data + p * b.row_stride, b.col_stride, b.row_stride};
                   Store<T> part{dense(sums + c * m * n, m, n), T{1}, T{0}};
                   tile::product<T>(tile::PackedA<T>(rows, m, depth), columns, 0, n, part);
                 }
               });
  parallel_for(m, ceil_div(index_t{1} << 13, n), [&](index_t, index_t begin, index_t end) {
    T values[Params<T>::NR] = {};
    for (index_t i = begin; i < end; ++i) {
      for (index_t j = 0; j < n; j += Params<T>::NR) {
        const index_t cols = std::min<index_t>(Params<T>::NR, n - j);
        const T* const first = sums + i * n + j;
        std::copy_n(first, cols, values);
        for (index_t c = 1; c < chunks.count; ++c) {
          for (index_t e = 0; e < cols; ++e) values[e] += first[c * m * n + e];
        }
        for (index_t e = 0; e < cols; ++e) values[e] *= epilogue.alpha;
        epilogue.write(values, 1, i, j, cols);
      }
    }
  });
}

// Adds the products of `depth` values of each row, x[p * Rows + r], with a panel of columns that
// are `stride` apart and whose values are adjacent. Columns are transposed 16 bytes at a time:
// 48 instructions of two ports for 16 x 16 floats, where whole vectors took 64 of one port.
// What is `ahead` of what is read goes to the second cache: the first has too few requests under
// way to keep memory busy.
template <class T, int Rows>
void add_columns(const T* x, const T* column, index_t stride, index_t depth, index_t ahead,
                 typename Params<T>::Vec (&acc)[Rows][Params<T>::NV]) {
  using P = Params<T>;
  using Vec = typename P::Vec;
  constexpr int piece = tile::detail::Piece<T>::size, pieces = P::lanes / piece;
  // Column q * piece + r is at first[q] + offset[r]. The compiler must not know how these are
  // related: it would keep the addresses of all columns, which do not fit the registers.
  const T* first[P::NV * pieces];
  index_t offset[piece];
  for (int q = 0; q < P::NV * pieces; ++q) {
    first[q] = column + q * piece * stride;
    asm("" : "+r"(first[q]));
  }
  for (int r = 0; r < piece; ++r) offset[r] = r * stride;
  index_t p = 0, fetched = ahead;
  for (; p + piece <= depth; p += piece, x += piece * Rows) {
    KERNELMILL_UNROLL
    for (int r = 0; r < piece; ++r) asm("" : "+r"(offset[r]));
    KERNELMILL_UNROLL
    for (int q = 0; q < P::NV * pieces; ++q) __builtin_prefetch(first[q] + fetched, 0, 2);
    fetched = p / piece % piece == piece - 1 ? p + ahead : fetched + stride;
    KERNELMILL_UNROLL
    for (int v = 0; v < P::NV; ++v) {
      Vec in[piece], values[piece];
      KERNELMILL_UNROLL
      for (int r = 0; r < piece; ++r) {
        const T* rows[pieces * piece];  // every piece-th
        KERNELMILL_UNROLL
        for (int q = 0; q < pieces; ++q) rows[q * piece] = first[v * pieces + q];
        in[r] = tile::detail::load_pieces<T, pieces>(rows, offset[r]);
      }
      tile::detail::transpose_lanes<T>(in, values);
      KERNELMILL_UNROLL
      for (int e = 0; e < piece; ++e) {
        KERNELMILL_UNROLL
        for (int r = 0; r < Rows; ++r) acc[r][v] += x[e * Rows + r] * values[e];
      }
    }
    KERNELMILL_UNROLL
    for (int r = 0; r < piece; ++r) offset[r] += piece;
  }
  for (; p < depth; ++p, x += Rows) {
    for (int v = 0; v < P::NV; ++v) {
      Vec values;
      for (int l = 0; l < P::lanes; ++l) values[l] = column[(v * P::lanes + l) * stride + p];
      for (int r = 0; r < Rows; ++r) acc[r][v] += x[r] * values;
    }
  }
}

// Columns [j, j + cols) of a product with few rows, from b where it is, whose columns are adjacent
// or of which there are few: as the tiles do it. Makes `rows` <= Rows rows from `row` on, which are
// x[p * Rows + r].
template <class T, int Rows>
void multiply_panel(const T* x, index_t row, index_t rows, MatrixView<const T> b, index_t j,
                    index_t cols, Store<T>& epilogue) {
  using P = Params<T>;
  using Vec = typename P::Vec;
  constexpr index_t line = 64 / sizeof(T);
  // Columns that are whole pages apart share one set of the first-level cache: read side by side,
  // they took four times as long. They are copied first, some steps of depth at a time.
  constexpr index_t copied = 8 * line, pitch = copied + line;
  const bool direct =
      b.row_stride == 1 && cols == P::NR && b.col_stride * index_t{sizeof(T)} % 4096 != 0;
  alignas(64) T buffer[P::NR * pitch];
  const index_t k = b.rows;
  const tile::DepthChunks<T> chunks(k);
  Vec total[Rows][P::NV] = {};
  for (index_t begin = 0; begin < k; begin += chunks.size) {
    const index_t end = std::min(k, begin + chunks.size);
    Vec acc[Rows][P::NV] = {};
    if (direct) {
      // The columns of the next panel, or 1 KiB further where they are long.
      const index_t ahead = k <= 512 ? P::NR * b.col_stride : 1024 / index_t{sizeof(T)};
      add_columns<T, Rows>(x + begin * Rows, &b(begin, j), b.col_stride, end - begin, ahead, acc);
    }
    for (index_t at = begin; !direct && at < end; at += copied) {
      const index_t depth = std::min(copied, end - at);
      for (index_t l = 0; l < P::NR; ++l) {
        const T* const column = &b(at, j + std::min(l, cols - 1));
        T* const to = buffer + l * pitch;
        if (b.row_stride == 1) {
          std::copy_n(column, depth, to);
          for (index_t p = 0; p < std::min(copied, k - at - depth); p += line) {
            __builtin_prefetch(column + depth + p);
          }
        } else {
          for (index_t p = 0; p < depth; ++p) to[p] = column[p * b.row_stride];
        }
      }
      add_columns<T, Rows>(x + at * Rows, buffer, pitch, depth, 0, acc);
    }
    for (int r = 0; r < Rows; ++r) {
      for (int v = 0; v < P::NV; ++v) {
        total[r][v] = begin == 0 ? acc[r][v] : acc[r][v] + total[r][v];
      }
    }
  }
  if (rows == Rows) return epilogue.template tile<Rows>(total, row, j, cols);
  for (int r = 0; r < rows; ++r) {
    for (int v = 0; v < P::NV; ++v) total[r][v] *= epilogue.alpha;
  }
  epilogue.write(reinterpret_cast<T*>(total), static_cast<int>(rows), row, j, cols);
}

// Whole panels of columns [j, j_end) of b whose rows are adjacent: these are read through, and the
// sums wait in the first-level cache.
template <class T, int Rows>
void multiply_through(MatrixView<const T> a, MatrixView<const T> b, index_t j, index_t j_end,
                      Store<T>& epilogue) {
  using P = Params<T>;
  using Vec = typename P::Vec;
  constexpr int steps = 4;  // rows of b between a load and a store of the sums
  const index_t width = j_end - j, k = a.cols;
  const tile::DepthChunks<T> chunks(k);
  Workspace<T> memory(static_cast<std::size_t>(2 * Rows * width));
  T *const sums = memory.data(), *const totals = sums + Rows * width;
  std::fill_n(totals, Rows * width, T{0});
  for (index_t begin = 0; begin < k; begin += chunks.size) {
    const index_t end = std::min(k, begin + chunks.size);
    std::fill_n(sums, Rows * width, T{0});
    const auto add = [&]<int Steps>(index_t p, std::integral_constant<int, Steps>) {
      for (index_t c = 0; c < width; c += P::lanes) {
        Vec row[Steps];
        for (int e = 0; e < Steps; ++e) row[e] = load<Vec>(&b(p + e, j + c));
        for (int r = 0; r < Rows; ++r) {
          Vec sum = load<Vec>(sums + r * width + c);
          for (int e = 0; e < Steps; ++e) sum += a(r, p + e) * row[e];
          store(sums + r * width + c, sum);
        }
      }
    };
    index_t p = begin;
    for (; p + steps <= end; p += steps) add(p, std::integral_constant<int, steps>{});
    for (; p < end; ++p) add(p, std::integral_constant<int, 1>{});
    for (index_t e = 0; e < Rows * width; ++e) {
      totals[e] = begin == 0 ? sums[e] : sums[e] + totals[e];
    }
  }
  for (index_t c = 0; c < width; c += P::NR) {
    Vec total[Rows][P::NV];
    for (int r = 0; r < Rows; ++r) {
      for (int v = 0; v < P::NV; ++v) {
        total[r][v] = load<Vec>(totals + r * width + c + v * P::lanes);
      }
    }
    epilogue.template tile<Rows>(total, 0, j + c, P::NR);
  }
}

// Rows of b that are adjacent are read for so many rows of a at most; columns for so many.
constexpr index_t few_through = 4, few_rows = 16;

// Whether multiply_few fits: few rows, b is adjacent along one side, and there are panels for the
// threads.
template <class T>
bool suits_few(MatrixView<const T> a, MatrixView<const T> b) {
  const bool adjacent =
      b.row_stride == 1 ? a.rows <= few_rows : b.col_stride == 1 && a.rows <= few_through;
  return adjacent && a.rows <= b.cols &&
         ceil_div(b.cols, Params<T>::NR) >=
             std::min<index_t>(thread_limit(), task_count(a.rows, b.cols, a.cols));
}

template <class T>
void multiply_few(MatrixView<const T> a, MatrixView<const T> b, const Store<T>& epilogue) {
  constexpr index_t NR = Params<T>::NR;
  const index_t panels = ceil_div(b.cols, NR);
  const index_t grain = ceil_div(few_work, std::max<index_t>(1, NR * a.cols));
  const auto run = [&]<int Rows>(std::integral_constant<int, Rows>) {
    // Block by block of Rows rows, the last one filled with zeros.
    const index_t blocks = ceil_div(a.rows, Rows);
    Workspace<T> values(static_cast<std::size_t>(blocks * Rows * a.cols));
    for (index_t r = 0; r < blocks * Rows; ++r) {
      T* const to = values.data() + r / Rows * Rows * a.cols + r % Rows;
      for (index_t p = 0; p < a.cols; ++p) to[p * Rows] = r < a.rows ? a(r, p) : T{0};
    }
    parallel_for(panels, grain, [&](index_t, index_t begin, index_t end) {
      Store<T> part = epilogue;
      index_t j = begin * NR;
      const index_t j_end = std::min(end * NR, b.cols);
      if constexpr (Rows <= few_through) {
        if (b.row_stride != 1) {
          // As many columns as sums of 16 KiB.
          constexpr index_t most = std::max<index_t>(1, (16 << 10) / sizeof(T) / Rows / NR) * NR;
          for (index_t whole; (whole = std::min(most, (j_end - j) / NR * NR)) > 0; j += whole) {
            multiply_through<T, Rows>(a, b, j, j + whole, part);
          }
        }
      }
      for (; j < j_end; j += NR) {
        for (index_t row = 0; row < a.rows; row += Rows) {
          multiply_panel<T, Rows>(values.data() + row * a.cols, row,
                                  std::min<index_t>(Rows, a.rows - row), b, j,
                                  std::min(NR, j_end - j), part);
        }
      }
    });
  };
  if (a.rows == 1) return run(std::integral_constant<int, 1>{});
  if (a.rows == 2) return run(std::integral_constant<int, 2>{});
  if (a.rows == 3) return run(std::integral_constant<int, 3>{});
  if (a.rows == 4) return run(std::integral_constant<int, 4>{});
  run(std::integral_constant<int, 8>{});
}

// matmul; whether `sums` of the rows of a, unless null, were made.
template <class T>
bool multiply(MatrixView<const T> a, MatrixView<const T> b, MatrixView<T> out, T alpha, T beta,
              const Finish<T>& finish, T* sums) {
  if (a.cols != b.rows || out.rows != a.rows || out.cols != b.cols) {
    invalid("matmul", "shapes must be (m, k) x (k, n) -> (m, n), got (", a.rows, ", ", a.cols,
            ") x (", b.rows, ", ", b.cols, ") -> (", out.rows, ", ", out.cols, ")");
  }
  if (out.rows == 0 || out.cols == 0) return false;
  const index_t m = a.rows, n = b.cols, k = a.cols;
  const Store<T> epilogue{out, alpha, beta, finish};
  const Store<T> turned{out.transposed(), alpha, beta, finish.transposed()};
  if (suits_few(a, b)) {
    multiply_few(a, b, epilogue);
    return false;
  }
  if (suits_few(b.transposed(), a.transposed())) {
    multiply_few<T>(b.transposed(), a.transposed(), turned);
    return false;
  }
  // Lanes run along the contiguous side of out.
  if (out.row_stride == 1 && out.col_stride != 1) {
    return multiply<T>(b.transposed(), a.transposed(), turned.out, alpha, beta, turned.finish,
                       nullptr);
  }
  if constexpr (std::is_same_v<T, float> && bf16::compiled) {
    if (suits_bf16(m, n, k)) {
      multiply_bf16(a, b, epilogue);
      return false;
    }
  }
  // The sums of all chunks must stay small beside the operands.
  const bool small_output = m * n <= (m + n) * Params<T>::KC / 4;
  if (small_output && k > 2 * Params<T>::KC && task_count(m, n, k) > 1) {
    multiply_deep(a, b, epilogue);
    return false;
  }
  const index_t fitting = packed_bytes / (std::max<index_t>(k, 1) * index_t{sizeof(T)});
  const index_t step = std::max(min_rows, fitting);
  T* const whole = m <= step && n <= step ? sums : nullptr;
  bool made = false;
  for (index_t j = 0; j < n; j += step) {
    const index_t j_end = std::min(n, j + step);
    const MatrixView<const T> columns{&b(0, j), k, j_end - j, b.row_stride, b.col_stride};
    for (index_t i = 0; i < m; i += step) {
      const index_t i_end = std::min(m, i + step);
      const MatrixView<T> block{&out(i, j), i_end - i, j_end - j, out.row_stride, out.col_stride};
      made = multiply_block(a.row_range(i, i_end), columns,
                            Store<T>{block, alpha, beta, finish.from(i, j)}, whole);
    }
  }
  return made;
}

}  // namespace

template <class T>
void matmul(MatrixView<const T> a, MatrixView<const T> b, MatrixView<T> out, T alpha, T beta,
            const Finish<T>& finish) {
  multiply<T>(a, b, out, alpha, beta, finish, nullptr);
}

template <class T>
void sum_rows(MatrixView<const T> a, T* sums) {
  const tile::DepthChunks<T> chunks(a.cols);
  Workspace<double> memory(static_cast<std::size_t>(chunks.count * a.rows));
  const index_t work = std::max<index_t>(1, chunks.size * a.rows);
  parallel_for(chunks.count, ceil_div(index_t{1} << 16, work),
               [&](index_t, index_t begin, index_t end) {
                 for (index_t c = begin; c < end; ++c) {
                   double* const part = memory.data() + c * a.rows;
                   std::fill_n(part, a.rows, 0.0);
                   const index_t p = c * chunks.size, depth = std::min(chunks.size, a.cols - p);
                   if (a.row_stride == 1) {
                     add_up(a.data + p * a.col_stride, a.col_stride, depth, a.rows, part);
                     continue;
                   }
                   for (index_t q = p; q < p + depth; ++q) {
                     for (index_t i = 0; i < a.rows; ++i) part[i] += static_cast<double>(a(i, q));
                   }
                 }
               });
  for (index_t i = 0; i < a.rows; ++i) {
    double sum = memory.data()[i];
    for (index_t c = 1; c < chunks.count; ++c) sum += memory.data()[c * a.rows + i];
    sums[i] = static_cast<T>(sum);
  }
}

template <class T>
void matmul_with_sums(MatrixView<const T> a, MatrixView<const T> b, MatrixView<T> out, T* sums) {
  if (!multiply<T>(a, b, out, T{1}, T{0}, {}, sums)) sum_rows(a, sums);
}

KERNELMILL_STORED_TILES(, float, PackedA);
KERNELMILL_STORED_TILES(, double, PackedA);
KERNELMILL_STORED_TILES(, float, RowsA);
KERNELMILL_STORED_TILES(, double, RowsA);

KERNELMILL_FOR_FLOATS(matmul)
KERNELMILL_FOR_FLOATS(matmul_with_sums)
KERNELMILL_FOR_FLOATS(sum_rows)

}  // namespace kernelmill
