// One packed, register-tiled matrix product, P(i, j) = sum_p A(i, p) * B(p, j), templated on how
// operands are read (packing policies, core/tile_pack.hpp) and on what is done to a finished
// micro-tile while it is still in registers (an epilogue). New fusions are new epilogues.
//
//   packing      A is packed once (PackedA), shared read-only by threads and calls, or read where
//   it
//                is (RowsA); B panel by panel into memory that the thread keeps.
//   micro-tile   Rows x NV vectors of accumulators, Rows <= MR (multiply below).
//   epilogue     one call per finished tile; see product.
//   blocking     constants per instruction set in core/tile_params.hpp.
//
// Every P(i, j) is accumulated in ascending p into one accumulator (fused multiply-adds where the
// machine has them). A depth k > KC is cut into equal chunks that depend on k alone, and the
// chunks' sums are added in order. So the bits of P(i, j) do not depend on m, n, the tile that
// computes it, or the thread.
//
// The structure is that of K. Goto and R. van de Geijn, "Anatomy of High-Performance Matrix
// Multiplication", ACM TOMS 34(3), 2008, with the roles of A and B as in BLIS.
#pragma once

#include <algorithm>    // std::min, std::clamp
#include <type_traits>  // std::is_same_v, std::is_arithmetic_v
#include <utility>      // std::integer_sequence

#include "core/matrix.hpp"       // index_t
#include "core/tile_pack.hpp"    // policies, load, store
#include "core/tile_params.hpp"  // Params
#include "core/workspace.hpp"    // memory kept by the thread

namespace kernelmill::tile {

// How a depth k is cut: `count` chunks of `size` (the last may be shorter), count >= 1.
template <class T>
struct DepthChunks {
  explicit DepthChunks(index_t k)
      : count(std::max<index_t>(1, (k + Params<T>::KC - 1) / Params<T>::KC)),
        // Whole 16-byte pieces, so that packing starts each chunk aligned to its own steps.
        size(std::min<index_t>(Params<T>::KC, ((k + count - 1) / count + 3) / 4 * 4)) {}
  index_t count, size;
};

// How m rows are cut into tiles of at most MR. Heights are balanced: ceil(m / MR) tiles whose
// heights differ by at most one, so that m = 100 costs 8 tiles of 12 or 13 rows and not 7 of 14 and
// one of 2.
template <class T>
class Heights {
 public:
  explicit Heights(index_t m) : m_(m), tiles_((m + Params<T>::MR - 1) / Params<T>::MR) {}
  index_t rows() const { return m_; }
  index_t tiles() const { return tiles_; }

  // The first `tall_tiles` tiles have `short_height` + 1 rows, the others `short_height`.
  index_t tall_tiles() const { return tiles_ == 0 ? 0 : m_ % tiles_; }
  index_t short_height() const { return tiles_ == 0 ? 0 : m_ / tiles_; }
  index_t tile_row(index_t t) const { return t * short_height() + std::min(t, tall_tiles()); }

 private:
  index_t m_, tiles_;
};

// The m x k operand that is broadcast, packed for reuse.
template <class T>
class PackedA : public Heights<T> {
 public:
  template <class Policy>
  PackedA(const Policy& policy, index_t m, index_t k) : PackedA(m, k) {
    pack(policy, 0, this->tiles());
  }

  // Reserves memory only; pack() must then cover every tile. Lets threads share the packing.
  PackedA(index_t m, index_t k)
      : Heights<T>(m), k_(k), chunks_(k), memory_(static_cast<std::size_t>(m * k)) {}

  template <class Policy>
  void pack(const Policy& policy, index_t tile_begin, index_t tile_end) {
    for (index_t p = 0; p < k_; p += chunks_.size) {
      const index_t depth = std::min(chunks_.size, k_ - p);
      for (index_t t = tile_begin; t < tile_end; ++t) {
        const index_t i = this->tile_row(t), rows = this->tile_row(t + 1) - i;
        policy.pack(i, rows, p, depth, memory_.data() + this->rows() * p + i * depth, rows);
      }
    }
  }

  index_t depth() const { return k_; }
  const DepthChunks<T>& chunks() const { return chunks_; }

  // Tile of Rows rows from row i, in the depth chunk that starts at p and is `depth` long:
  // operator()(q, r) is element (i + r, p + q).
  template <int Rows>
  struct Tile {
    const T* at;
    T operator()(index_t q, int r) const { return at[q * Rows + r]; }
  };
  template <int Rows>
  Tile<Rows> tile(index_t i, index_t p, index_t depth) const {
    return {memory_.data() + this->rows() * p + i * depth};
  }

 private:
  index_t k_;
  DepthChunks<T> chunks_;
  Workspace<T> memory_;
};

// The same operand read where it is: for contiguous rows that few panels use, packing costs more
// than it saves.
template <class T>
class RowsA : public Heights<T> {
 public:
  RowsA(const T* data, index_t row_stride, index_t m, index_t k)
      : Heights<T>(m), data_(data), row_stride_(row_stride), k_(k), chunks_(k) {}
  index_t depth() const { return k_; }
  const DepthChunks<T>& chunks() const { return chunks_; }

  template <int Rows>
  struct Tile {
    const T* at;
    index_t row_stride;
    T operator()(index_t q, int r) const { return at[r * row_stride + q]; }
  };
  template <int Rows>
  Tile<Rows> tile(index_t i, index_t p, index_t depth) const {
    const T* const at = data_ + i * row_stride_ + p;
    // The rows of the next tile: the loop over p reads Rows lines at a time, which the hardware's
    // own prefetching does not follow.
    for (int r = Rows; r < 2 * Rows; ++r) {
      for (index_t q = 0; q < depth; q += line) __builtin_prefetch(at + r * row_stride_ + q);
    }
    return {at, row_stride_};
  }

 private:
  static constexpr index_t line = 64 / sizeof(T);
  const T* data_;
  index_t row_stride_, k_;
  DepthChunks<T> chunks_;
};

// The k x n operand that runs along lanes, packed whole: panels of NR columns, the last one padded
// with zeros. product packs B by itself, panel group by panel group; packing it before pays where
// several calls share it, as the blocks of a large matrix product do.
template <class T>
class PackedB {
 public:
  // Reserves memory only; pack() must then cover every column.
  PackedB(index_t n, index_t k)
      : padded_((n + Params<T>::NR - 1) / Params<T>::NR * Params<T>::NR),
        k_(k),
        chunks_(k),
        memory_(static_cast<std::size_t>(padded_ * k)) {}

  // Columns [j_begin, j_end) become the policy's outer indices from `outer` on. j_begin must be a
  // multiple of NR, j_end too unless it is the last column. Lets threads share the packing.
  template <class Policy>
  void pack(const Policy& policy, index_t outer, index_t j_begin, index_t j_end) {
    constexpr int NR = Params<T>::NR;
    for (index_t p = 0; p < k_; p += chunks_.size) {
      const index_t depth = std::min(chunks_.size, k_ - p);
      for (index_t j = j_begin; j < j_end; j += NR) {
        policy.pack(outer + j - j_begin, std::min<index_t>(NR, j_end - j), p, depth,
                    memory_.data() + padded_ * p + j * depth, NR);
      }
    }
  }

  // Column j (the first of its panel) of the depth chunk that starts at p and is `depth` long.
  const T* panel(index_t j, index_t p, index_t depth) const {
    return memory_.data() + padded_ * p + j * depth;
  }

 private:
  index_t padded_, k_;
  DepthChunks<T> chunks_;
  Workspace<T> memory_;
};

// What an element of A does to a sum. For a number it is the product; an operand whose elements are
// something else brings its own overload, as Affine (ops/mixture_density.hpp) does.
template <class T, class Vec>
[[gnu::always_inline]] inline void accumulate(Vec& sum, T a, const Vec& b)
  requires std::is_arithmetic_v<T>
{
  sum += a * b;
}

// acc[r][v] = sum over depth of a(p, r) * b[p][v], b packed as [depth][NR]. Only the first Active
// vectors are computed, the others are 0.
template <class T, int Rows, int Active = Params<T>::NV, class A,
          class Vec = typename Params<T>::Vec>
[[gnu::always_inline]] inline void multiply(const A& a, const T* b, index_t depth,
                                            Vec (&acc)[Rows][Params<T>::NV]) {
  constexpr int NV = Params<T>::NV, lanes = Params<T>::lanes;
  KERNELMILL_UNROLL
  for (int r = 0; r < Rows; ++r) {
    KERNELMILL_UNROLL
    for (int v = 0; v < NV; ++v) acc[r][v] = Vec{};
  }
  for (index_t p = 0; p < depth; ++p, b += NV * lanes) {
    Vec column[Active];
    KERNELMILL_UNROLL
    for (int v = 0; v < Active; ++v) column[v] = load<Vec>(b + v * lanes);
    KERNELMILL_UNROLL
    for (int r = 0; r < Rows; ++r) {
      KERNELMILL_UNROLL
      for (int v = 0; v < Active; ++v) accumulate(acc[r][v], a(p, r), column[v]);
    }
  }
}

namespace detail {

// An epilogue that does not need the order guarantee says `static constexpr bool any_order = true`
// and lets the product choose the order of tiles that reuses its caches best.
template <class Epilogue>
constexpr bool any_order() {
  if constexpr (requires { Epilogue::any_order; }) {
    return Epilogue::any_order;
  } else {
    return false;
  }
}

// One depth chunk of one panel of B against a run of tiles of A.
template <class T, class A>
struct Pass {
  const A* a;
  const T* b;               // [depth][NR]
  index_t chunk, depth;     // first p, number of p
  index_t column, columns;  // the panel
  T* partial;           // [rows][NR] sums of the chunks before; unused if this is the only chunk
  index_t partial_row;  // row of A that partial[0] belongs to
  bool first, last;
};

template <class T, int Rows, class A, class Epilogue>
[[gnu::noinline]] void run_height(const Pass<T, A>& pass, index_t row, index_t tiles,
                                  Epilogue& epilogue) {
  using Vec = typename Params<T>::Vec;
  constexpr int NV = Params<T>::NV, lanes = Params<T>::lanes;
  for (index_t t = 0; t < tiles; ++t, row += Rows) {
    const index_t at = (row - pass.partial_row) * NV * lanes;
    // What comes after the tile is fetched while it is multiplied.
    if (!pass.first) {
      for (int byte = 0; byte < Rows * NV * static_cast<int>(sizeof(Vec)); byte += 64) {
        __builtin_prefetch(reinterpret_cast<const char*>(pass.partial + at) + byte);
      }
    }
    if constexpr (requires { epilogue.prefetch(row, row, row); }) {
      if (pass.last) epilogue.prefetch(row + Rows, Rows, pass.column);
    }
    // An operand whose rows are zero from some depth on, as a triangular one, says so.
    index_t depth = pass.depth;
    if constexpr (requires { pass.a->depth_end(row); }) {
      depth = std::clamp<index_t>(pass.a->depth_end(row + Rows) - pass.chunk, 0, depth);
    }
    Vec acc[Rows][NV];
    const auto a = pass.a->template tile<Rows>(row, pass.chunk, pass.depth);
    if (NV > 1 && pass.columns <= lanes) {  // a narrow last panel costs one vector per row
      multiply<T, Rows, 1>(a, pass.b, depth, acc);
    } else {
      multiply<T, Rows>(a, pass.b, depth, acc);
    }
    if (!pass.first) {
      KERNELMILL_UNROLL
      for (int r = 0; r < Rows; ++r) {
        KERNELMILL_UNROLL
        for (int v = 0; v < NV; ++v)
          acc[r][v] += load<Vec>(pass.partial + at + (r * NV + v) * lanes);
      }
    }
    if (pass.last) {
      epilogue.template tile<Rows>(acc, row, pass.column, pass.columns);
    } else {
      KERNELMILL_UNROLL
      for (int r = 0; r < Rows; ++r) {
        KERNELMILL_UNROLL
        for (int v = 0; v < NV; ++v) store(pass.partial + at + (r * NV + v) * lanes, acc[r][v]);
      }
    }
  }
}

template <class T, class A, class Epilogue, int... R>
[[gnu::always_inline]] inline void dispatch_height(const Pass<T, A>& pass, index_t height,
                                                   index_t row, index_t tiles, Epilogue& epilogue,
                                                   std::integer_sequence<int, R...>) {
  if (tiles <= 0) return;
  (void)((height == R + 1 && (run_height<T, R + 1>(pass, row, tiles, epilogue), true)) || ...);
}

// Tiles [begin, end) of A: first those of the greater height, then the others.
template <class T, class A, class Epilogue>
void run_tiles(const Pass<T, A>& pass, index_t begin, index_t end, Epilogue& epilogue) {
  constexpr std::make_integer_sequence<int, Params<T>::MR> heights{};
  const A& a = *pass.a;
  const index_t middle = std::clamp(a.tall_tiles(), begin, end);
  const index_t height = a.short_height();
  dispatch_height<T>(pass, height + 1, a.tile_row(begin), middle - begin, epilogue, heights);
  dispatch_height<T>(pass, height, a.tile_row(middle), end - middle, epilogue, heights);
}

// How product_tiles walks one group of columns: all panels against the tiles of `a` block by block,
// so that a block of A, its part of the partial sums and one panel of B share the near caches.
template <class T, class A, class Epilogue>
class Group {
 public:
  static constexpr bool ordered = !any_order<Epilogue>();

  Group(const A& a, index_t tile_begin, index_t tile_end, index_t columns)
      : a_(a),
        begin_(tile_begin),
        end_(tile_end),
        block_(std::max(1, Params<T>::MC / Params<T>::MR)),
        columns_(group_columns(columns)),
        // Ordered epilogues see a panel only when all its rows are done, so all partial sums wait.
        partial_rows_(ordered ? rows(begin_, end_) : std::min(rows(begin_, end_), block_rows())),
        partial_(split() ? static_cast<std::size_t>(columns_ * partial_rows_) : 0) {}

  // Columns of B per group, a multiple of NR.
  index_t columns() const { return columns_; }

  // Columns [j, j_end) of the product; column j of the product is column b_column of packed b.
  void run(const PackedB<T>& b, index_t b_column, index_t j, index_t j_end, Epilogue& epilogue) {
    const index_t chunks = a_.chunks().count;
    const auto block_end = [&](index_t t) { return std::min(end_, t + block_); };
    if constexpr (ordered) {
      for (index_t c = 0; c + 1 < chunks; ++c) {
        for (index_t t = begin_; t < end_; t += block_) {
          chunk(c, t, block_end(t), begin_, b, b_column, j, j_end, epilogue);
        }
      }
      chunk(chunks - 1, begin_, end_, begin_, b, b_column, j, j_end, epilogue);
    } else {
      for (index_t t = begin_; t < end_; t += block_) {
        for (index_t c = 0; c < chunks; ++c) {
          chunk(c, t, block_end(t), t, b, b_column, j, j_end, epilogue);
        }
      }
    }
  }

 private:
  bool split() const { return a_.chunks().count > 1; }
  index_t rows(index_t t, index_t t_end) const { return a_.tile_row(t_end) - a_.tile_row(t); }
  index_t block_rows() const { return block_ * (a_.short_height() + 1); }

  index_t group_columns(index_t columns) const {
    constexpr index_t NR = Params<T>::NR;
    // Most of an L2 cache of 512 KiB; 256 columns at 40 rows of depth 300, which measured best
    // there.
    constexpr index_t ordered_bytes = index_t{352} << 10;
    index_t group = Params<T>::NC;
    if (ordered) {
      // Without partial sums the smallest group is best: a panel is multiplied while it is hot.
      // With them, each column of a group keeps its sums and its packed elements near.
      const index_t bytes = (rows(begin_, end_) + a_.depth()) * index_t{sizeof(T)};
      group = split() ? std::min(group, ordered_bytes / bytes / NR * NR) : NR;
    }
    return std::clamp(group, NR, (columns + NR - 1) / NR * NR);
  }

  // Depth chunk c of tiles [t, t_end) times all panels; partial sums start at tile `origin`.
  void chunk(index_t c, index_t t, index_t t_end, index_t origin, const PackedB<T>& b,
             index_t b_column, index_t j_begin, index_t j_end, Epilogue& epilogue) {
    constexpr index_t NR = Params<T>::NR;
    const index_t p = c * a_.chunks().size;
    const index_t depth = std::min(a_.chunks().size, a_.depth() - p);
    const bool last = c + 1 == a_.chunks().count;
    for (index_t j = j_begin; j < j_end; j += NR) {
      const index_t cols = std::min(NR, j_end - j);
      const Pass<T, A> pass{&a_,
                            b.panel(b_column + j - j_begin, p, depth),
                            p,
                            depth,
                            j,
                            cols,
                            split() ? partial_.data() + (j - j_begin) * partial_rows_ : nullptr,
                            a_.tile_row(origin),
                            c == 0,
                            last};
      if constexpr (ordered) {
        if (last) epilogue.begin_panel(j, cols);
      }
      run_tiles(pass, t, t_end, epilogue);
      if constexpr (ordered) {
        if (last) epilogue.end_panel(j, cols);
      }
    }
  }

  const A& a_;
  index_t begin_, end_, block_, columns_, partial_rows_;
  Workspace<T> partial_;
};

}  // namespace detail

// Tiles [tile_begin, tile_end) of A (a PackedA or RowsA) times columns [j_begin, j_end) of B, on
// this thread.
//
// For each finished micro-tile, `Rows` rows from i0 and `cols` <= NR columns from j0:
//
//   epilogue.template tile<Rows>(const Vec (&acc)[Rows][NV], i0, j0, cols)
//
// acc[r][v][l] is P(i0 + r, j0 + v * lanes + l), and what zeros of B give, or 0, in lanes beyond
// cols. Columns are cut into panels of NR from j_begin; panels come in ascending order, each
// bracketed by epilogue.begin_panel(j0, cols) and epilogue.end_panel(j0, cols), and within a panel
// tiles come with ascending i0. So an argmin over i with strict < keeps the lowest i, and state per
// panel can live in the epilogue. An epilogue with `static constexpr bool any_order = true` gets
// its tiles in whatever order suits the caches and no panel calls. An epilogue with a member
// prefetch(i0, rows, j0) is told of the tile to come, one tile ahead; it may lie past the last one.
// B is a packing policy, or a PackedB, in which case j_begin must be a multiple of NR. An A with a
// member depth_end(row_end) promises zeros from that depth on in all rows before row_end.
template <class T, class A, class B, class Epilogue>
void product_tiles(const A& a, index_t tile_begin, index_t tile_end, const B& b, index_t j_begin,
                   index_t j_end, Epilogue& epilogue) {
  if (j_begin >= j_end) return;
  detail::Group<T, A, Epilogue> group(a, tile_begin, tile_end, j_end - j_begin);
  const index_t step = group.columns();
  if constexpr (std::is_same_v<B, PackedB<T>>) {
    for (index_t j = j_begin; j < j_end; j += step) {
      group.run(b, j, j, std::min(j_end, j + step), epilogue);
    }
  } else {
    PackedB<T> packed(step, a.depth());
    for (index_t j = j_begin; j < j_end; j += step) {
      const index_t group_end = std::min(j_end, j + step);
      packed.pack(b, j, 0, group_end - j);
      group.run(packed, 0, j, group_end, epilogue);
    }
  }
}

// All of A times columns [j_begin, j_end) of B, on this thread; see product_tiles.
template <class T, class A, class B, class Epilogue>
void product(const A& a, const B& b, index_t j_begin, index_t j_end, Epilogue& epilogue) {
  product_tiles<T>(a, 0, a.tiles(), b, j_begin, j_end, epilogue);
}

// Up to this many rows of this depth a product is so short that walking blocks and choosing tile
// heights takes as long as its multiply-adds: without, a step of k-means on 600 rows, d = 5, k = 6
// took 5.5 instead of 4.7 us at level 3, on 2000 rows, d = 2, k = 4 13.4 instead of 9.6 us.
constexpr index_t short_rows = 32, short_depth = 32;

constexpr bool is_short(index_t m, index_t k) { return m <= short_rows && k <= short_depth; }

// product for a short dense A of shape (m, k), read where it is: the same sums in the same order,
// hence the same bits.
template <class T, class B, class Epilogue>
void short_product(const T* a, index_t m, index_t k, const B& b, index_t j_begin, index_t j_end,
                   Epilogue& epilogue) {
  using P = Params<T>;
  alignas(64) T panel[short_depth * P::NR];
  const auto some = [&]<int Rows>(index_t i, index_t j, index_t cols) {
    typename P::Vec acc[Rows][P::NV];
    multiply<T, Rows>(typename RowsA<T>::template Tile<Rows>{a + i * k, k}, panel, k, acc);
    epilogue.template tile<Rows>(acc, i, j, cols);
  };
  for (index_t j = j_begin; j < j_end; j += P::NR) {
    const index_t cols = std::min<index_t>(P::NR, j_end - j);
    epilogue.begin_panel(j, cols);
    b.pack(j, cols, 0, k, panel, P::NR);
    index_t i = 0;
    for (; i + 4 <= m; i += 4) some.template operator()<4>(i, j, cols);
    for (; i + 2 <= m; i += 2) some.template operator()<2>(i, j, cols);
    for (; i < m; ++i) some.template operator()<1>(i, j, cols);
    epilogue.end_panel(j, cols);
  }
}

}  // namespace kernelmill::tile
