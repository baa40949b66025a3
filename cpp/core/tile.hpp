// One packed, register-tiled matrix product, P(i, j) = sum_p A(i, p) * B(p, j), templated on the
// type it computes in (Acc), on how operands are stored and read (a Packing of elements In,
// core/tile_pack.hpp) and on what is done to a finished micro-tile while it is still in registers
// (an Epilogue). New fusions are new epilogues, new storage types are new packings.
//
//   packing      A is packed once (PackedA), shared read-only by threads and calls, or read where
//                it is (RowsA); B panel by panel into memory that the thread keeps.
//   micro-tile   Rows x NV vectors of accumulators, Rows <= MR (multiply below).
//   epilogue     one call per finished tile; see Epilogue.
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
#include <concepts>     // std::same_as
#include <type_traits>  // std::is_same_v, std::is_arithmetic_v
#include <utility>      // std::integer_sequence

#include "core/matrix.hpp"       // index_t
#include "core/tile_pack.hpp"    // packings, load, store
#include "core/tile_params.hpp"  // Params
#include "core/workspace.hpp"    // memory kept by the thread

namespace kernelmill::tile {

// How a depth k is cut: `count` chunks of `size` (the last may be shorter), count >= 1.
template <class Acc>
struct DepthChunks {
  explicit DepthChunks(index_t k)
      : count(std::max<index_t>(1, (k + Params<Acc>::KC - 1) / Params<Acc>::KC)),
        // Whole 16-byte pieces, so that packing starts each chunk aligned to its own steps.
        size(std::min<index_t>(Params<Acc>::KC, ((k + count - 1) / count + 3) / 4 * 4)) {}
  index_t count, size;
};

// The calls that an epilogue takes besides tile(): declared, so that a misspelt one does not
// compile.
struct Hooks {
  bool panels = false;    // begin_panel(j0, cols) and end_panel(j0, cols) around tiles in order
  bool prefetch = false;  // prefetch(i0, rows, j0) one tile ahead, which may lie past the last one
};

// What is done with a finished micro-tile, `Rows` rows from i0 and `cols` <= NR columns from j0:
//
//   static constexpr Hooks hooks{...};
//   template <int Rows> void tile(const Vec (&acc)[Rows][NV], index_t i0, index_t j0, index_t
//   cols);
//
// acc[r][v][l] is P(i0 + r, j0 + v * lanes + l), and what zeros of B give, or 0, in lanes beyond
// cols. With hooks.panels, panels of NR columns come in ascending order, each between begin_panel
// and end_panel, and within a panel tiles come with ascending i0. So an argmin over i with strict <
// keeps the lowest i, and state per panel can live in the epilogue. Without, tiles come in whatever
// order suits the caches.
template <class E, class Acc>
concept Epilogue =
    std::same_as<decltype(E::hooks), const Hooks> &&
    requires(E& e, const typename Params<Acc>::Vec (&acc)[1][Params<Acc>::NV], index_t i) {
      e.template tile<1>(acc, i, i, i);
    } && (requires(E& e, index_t i) { e.begin_panel(i, i); } == E::hooks.panels) &&
    (requires(E& e, index_t i) { e.end_panel(i, i); } == E::hooks.panels) &&
    (requires(E& e, index_t i) { e.prefetch(i, i, i); } == E::hooks.prefetch);

// An m x k operand cut into tiles of at most MR rows. Heights are balanced: ceil(m / MR) tiles
// whose heights differ by at most one, so that m = 100 costs 8 tiles of 12 or 13 rows and not 7 of
// 14 and one of 2.
template <class Acc>
class TiledRows {
 public:
  static constexpr bool triangular = false;

  TiledRows(index_t m, index_t k)
      : m_(m),
        k_(k),
        tiles_((m + Params<Acc>::MR - 1) / Params<Acc>::MR),
        short_height_(m / std::max<index_t>(1, tiles_)),
        tall_tiles_(m - short_height_ * tiles_),
        chunks_(k) {}
  index_t rows() const { return m_; }
  index_t depth() const { return k_; }
  index_t tiles() const { return tiles_; }
  const DepthChunks<Acc>& chunks() const { return chunks_; }

  // The first `tall_tiles` tiles have `short_height` + 1 rows, the others `short_height`.
  index_t tall_tiles() const { return tall_tiles_; }
  index_t short_height() const { return short_height_; }
  index_t tile_row(index_t t) const { return t * short_height_ + std::min(t, tall_tiles_); }

 private:
  index_t m_, k_, tiles_, short_height_, tall_tiles_;
  DepthChunks<Acc> chunks_;
};

// The m x k operand that is broadcast, packed for reuse. An `Element` that is not a number brings
// an overload of `accumulate` (below).
template <class Acc, class Element = Acc>
class PackedA : public TiledRows<Acc> {
 public:
  PackedA(const Packing<Element> auto& packing, index_t m, index_t k) : PackedA(m, k) {
    pack(packing, 0, this->tiles());
  }

  // Reserves memory only; pack() must then cover every tile. Lets threads share the packing.
  PackedA(index_t m, index_t k)
      : TiledRows<Acc>(m, k), memory_(static_cast<std::size_t>(m * k)), data_(memory_.data()) {}

  // The same in memory of the caller, m * k elements.
  PackedA(index_t m, index_t k, Element* memory) : TiledRows<Acc>(m, k), data_(memory) {}

  void pack(const Packing<Element> auto& packing, index_t tile_begin, index_t tile_end) {
    const index_t size = this->chunks().size;
    for (index_t p = 0; p < this->depth(); p += size) {
      const index_t depth = std::min(size, this->depth() - p);
      const index_t step = std::max<index_t>(1, depth_block(packing, depth));
      for (index_t q = 0; q < depth; q += step) {
        for (index_t t = tile_begin; t < tile_end; ++t) {
          const index_t i = this->tile_row(t), rows = this->tile_row(t + 1) - i;
          packing.pack(i, rows, p + q, std::min(step, depth - q),
                       data_ + this->rows() * p + i * depth + q * rows, rows);
        }
      }
    }
  }

  // Tile of Rows rows from row i, in the depth chunk that starts at p and is `depth` long:
  // operator()(q, r) is element (i + r, p + q).
  template <int Rows>
  struct Tile {
    const Element* at;
    const Element& operator()(index_t q, int r) const { return at[q * Rows + r]; }
  };
  template <int Rows>
  Tile<Rows> tile(index_t i, index_t p, index_t depth) const {
    return {data_ + this->rows() * p + i * depth};
  }

 private:
  Workspace<Element> memory_;
  Element* data_;
};

// Row i is zero from depth i + 1 on: half of the multiply-adds are left out.
template <class Acc>
class TriangularA : public PackedA<Acc> {
 public:
  static constexpr bool triangular = true;
  using PackedA<Acc>::PackedA;
};

// The same operand read where it is: for contiguous rows that few panels use, packing costs more
// than it saves. `Near` says that they are in the first caches anyway.
template <class In, class Acc = In, bool Near = false>
class RowsA : public TiledRows<Acc> {
 public:
  RowsA(const In* data, index_t row_stride, index_t m, index_t k)
      : TiledRows<Acc>(m, k), data_(data), row_stride_(row_stride) {}

  template <int Rows>
  struct Tile {
    const In* at;
    index_t row_stride;
    Acc operator()(index_t q, int r) const { return static_cast<Acc>(at[r * row_stride + q]); }
  };
  template <int Rows>
  Tile<Rows> tile(index_t i, index_t p, index_t depth) const {
    const In* const at = data_ + i * row_stride_ + p;
    if constexpr (Near) return {at, row_stride_};
    // The rows of the next tile: the loop over p reads Rows lines at a time, which the hardware's
    // own prefetching does not follow.
    for (int r = Rows; r < 2 * Rows; ++r) {
      for (index_t q = 0; q < depth; q += line) __builtin_prefetch(at + r * row_stride_ + q);
    }
    return {at, row_stride_};
  }

 private:
  static constexpr index_t line = 64 / sizeof(In);
  const In* data_;
  index_t row_stride_;
};

// The same for an operand whose columns are adjacent: element (i, p) is data[p * stride + i].
template <class In, class Acc = In>
class ColumnsA : public TiledRows<Acc> {
 public:
  ColumnsA(const In* data, index_t stride, index_t m, index_t k)
      : TiledRows<Acc>(m, k), data_(data), stride_(stride) {}

  template <int Rows>
  struct Tile {
    const In* at;
    index_t stride;
    Acc operator()(index_t q, int r) const { return static_cast<Acc>(at[q * stride + r]); }
  };
  template <int Rows>
  Tile<Rows> tile(index_t i, index_t p, index_t) const {
    return {data_ + p * stride_ + i, stride_};
  }

 private:
  const In* data_;
  index_t stride_;
};

// The k x n operand that runs along lanes, packed whole: panels of NR columns, the last one padded
// with zeros. product packs B by itself, panel group by panel group; packing it before pays where
// several calls share it, as the blocks of a large matrix product do.
template <class Acc>
class PackedB {
 public:
  // Reserves memory only; pack() must then cover every column.
  PackedB(index_t n, index_t k)
      : padded_((n + Params<Acc>::NR - 1) / Params<Acc>::NR * Params<Acc>::NR),
        k_(k),
        chunks_(k),
        memory_(static_cast<std::size_t>(padded_ * k)),
        data_(memory_.data()) {}
  // The same in memory that somebody else owns, n rounded up to panels * k values: packed already,
  // or to be packed where `panel` says.
  PackedB(Acc* data, index_t n, index_t k)
      : padded_((n + Params<Acc>::NR - 1) / Params<Acc>::NR * Params<Acc>::NR),
        k_(k),
        chunks_(k),
        data_(data) {}
  const DepthChunks<Acc>& chunks() const { return chunks_; }

  // Columns [j_begin, j_end) become the packing's outer indices from `outer` on. j_begin must be a
  // multiple of NR, j_end too unless it is the last column. Lets threads share the packing.
  void pack(const Packing<Acc> auto& packing, index_t outer, index_t j_begin, index_t j_end) {
    constexpr int NR = Params<Acc>::NR;
    for (index_t p = 0; p < k_; p += chunks_.size) {
      const index_t depth = std::min(chunks_.size, k_ - p);
      const index_t step = std::max<index_t>(1, depth_block(packing, depth));
      for (index_t q = 0; q < depth; q += step) {
        for (index_t j = j_begin; j < j_end; j += NR) {
          packing.pack(outer + j - j_begin, std::min<index_t>(NR, j_end - j), p + q,
                       std::min(step, depth - q), data_ + padded_ * p + j * depth + q * NR, NR);
        }
      }
    }
  }

  // Column j (the first of its panel) of the depth chunk that starts at p and is `depth` long.
  Acc* panel(index_t j, index_t p, index_t depth) const { return data_ + padded_ * p + j * depth; }

 private:
  index_t padded_, k_;
  DepthChunks<Acc> chunks_;
  Workspace<Acc> memory_;
  Acc* data_;
};

// What an element of A does to a sum. For a number it is the product; an operand whose elements are
// something else brings its own overload, as Affine (ops/mixture_density.hpp) does.
template <class Element, class Vec>
[[gnu::always_inline]] inline void accumulate(Vec& sum, Element a, const Vec& b)
  requires std::is_arithmetic_v<Element>
{
  sum += a * b;
}

// acc[r][v] = sum over depth of a(p, r) * b[p][v], b packed as [depth][NR]. Only the first Active
// vectors are computed, the others are 0.
template <class Acc, int Rows, int Active = Params<Acc>::NV, class A,
          class Vec = typename Params<Acc>::Vec>
[[gnu::always_inline]] inline void multiply(const A& a, const Acc* b, index_t depth,
                                            Vec (&acc)[Rows][Params<Acc>::NV]) {
  constexpr int NV = Params<Acc>::NV, lanes = Params<Acc>::lanes;
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

// One depth chunk of some panels of B against tiles of A.
template <class Acc, class A>
struct Pass {
  const A* a;
  Acc* b;                      // [panel][depth][NR]
  index_t chunk, depth;        // first p, number of p
  index_t column, column_end;  // of all panels
  Acc* partial;  // [panel][rows][NR] sums of the chunks before; unused if this is the only chunk
  index_t partial_row, partial_rows;  // rows of A that partial holds
  bool first, last;
  // If given, b is room for one panel, which this packs from `packing` before it is multiplied. One
  // indirect call per panel, so that the loop is compiled once for all packings.
  void (*pack)(const void* packing, index_t j, index_t cols, index_t depth, Acc* panel) = nullptr;
  const void* packing = nullptr;
};

// Tiles of one height, `tiles` of them from `row` on, times the panels of columns [j, j_end). They
// are the first tiles of a panel if `opens`, and the last if `closes`.
template <class Acc, int Rows, class A, class E>
[[gnu::noinline]] void run_height(const Pass<Acc, A>& pass, index_t j, index_t j_end, index_t row,
                                  index_t tiles, bool opens, bool closes, E& epilogue) {
  using Vec = typename Params<Acc>::Vec;
  constexpr int NV = Params<Acc>::NV, lanes = Params<Acc>::lanes, NR = Params<Acc>::NR;
  for (; j < j_end; j += NR) {
    const index_t cols = std::min<index_t>(NR, pass.column_end - j);
    Acc* const b = pass.b + (pass.pack == nullptr ? (j - pass.column) * pass.depth : 0);
    if (opens && pass.pack != nullptr) pass.pack(pass.packing, j, cols, pass.depth, b);
    if constexpr (E::hooks.panels) {
      if (opens && pass.last) epilogue.begin_panel(j, cols);
    }
    for (index_t i = row; i < row + tiles * Rows; i += Rows) {
      const index_t at = (j - pass.column) * pass.partial_rows + (i - pass.partial_row) * NR;
      // What comes after the tile is fetched while it is multiplied.
      if (!pass.first) {
        for (int byte = 0; byte < Rows * NV * static_cast<int>(sizeof(Vec)); byte += 64) {
          __builtin_prefetch(reinterpret_cast<const char*>(pass.partial + at) + byte);
        }
      }
      if constexpr (E::hooks.prefetch) {
        if (pass.last) epilogue.prefetch(i + Rows, Rows, j);
      }
      index_t depth = pass.depth;
      if constexpr (A::triangular) depth = std::clamp<index_t>(i + Rows - pass.chunk, 0, depth);
      Vec acc[Rows][NV];
      const auto a = pass.a->template tile<Rows>(i, pass.chunk, pass.depth);
      if (NV > 1 && cols <= lanes) {  // a narrow last panel costs one vector per row
        multiply<Acc, Rows, 1>(a, b, depth, acc);
      } else {
        multiply<Acc, Rows>(a, b, depth, acc);
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
        epilogue.template tile<Rows>(acc, i, j, cols);
      } else {
        KERNELMILL_UNROLL
        for (int r = 0; r < Rows; ++r) {
          KERNELMILL_UNROLL
          for (int v = 0; v < NV; ++v) store(pass.partial + at + (r * NV + v) * lanes, acc[r][v]);
        }
      }
    }
    if constexpr (E::hooks.panels) {
      if (closes && pass.last) epilogue.end_panel(j, cols);
    }
  }
}

// Tiles [begin, end) of A, panel by panel: first those of the greater height, then the others.
template <class Acc, class A, class E>
void run_tiles(const Pass<Acc, A>& pass, index_t begin, index_t end, E& epilogue) {
  const A& a = *pass.a;
  const index_t middle = std::clamp(a.tall_tiles(), begin, end);
  const auto dispatch = [&]<int... R>(index_t height, index_t j, index_t j_end, index_t t,
                                      index_t t_end, std::integer_sequence<int, R...>) {
    (void)((height == R + 1 && (run_height<Acc, R + 1>(pass, j, j_end, a.tile_row(t), t_end - t,
                                                       t == begin, t_end == end, epilogue),
                                true)) ||
           ...);
  };
  constexpr std::make_integer_sequence<int, Params<Acc>::MR> heights{};
  // Tiles of one height, such as a single one, take all panels in one call: with a call per panel,
  // a step of k-means on 600 rows, d = 5, k = 6 took 1285 instead of 931 ns at level 4.
  const bool mixed = begin < middle && middle < end;
  const index_t step = mixed ? Params<Acc>::NR : pass.column_end - pass.column;
  for (index_t j = pass.column; j < pass.column_end; j += step) {
    if (begin < middle) dispatch(a.short_height() + 1, j, j + step, begin, middle, heights);
    if (middle < end) dispatch(a.short_height(), j, j + step, middle, end, heights);
    if (begin == end) dispatch(1, j, j + step, begin, end, heights);  // no rows, but panels
  }
}

// How product_tiles walks one group of columns: all panels against the tiles of `a` block by block,
// so that a block of A, its part of the partial sums and one panel of B share the near caches.
template <class Acc, class A, class E>
class Group {
 public:
  static constexpr bool ordered = E::hooks.panels;

  Group(const A& a, index_t tile_begin, index_t tile_end, index_t columns)
      : a_(a),
        begin_(tile_begin),
        end_(tile_end),
        block_(std::max(1, Params<Acc>::MC / Params<Acc>::MR)),
        columns_(group_columns(columns)),
        // Ordered epilogues see a panel only when all its rows are done, so all partial sums wait.
        partial_rows_(ordered ? rows(begin_, end_) : std::min(rows(begin_, end_), block_rows())),
        partial_(split() ? static_cast<std::size_t>(columns_ * partial_rows_) : 0) {}

  // Columns of B per group, a multiple of NR.
  index_t columns() const { return columns_; }

  // Columns [j, j_end) of the product; column j of the product is column b_column of packed b.
  void run(const PackedB<Acc>& b, index_t b_column, index_t j, index_t j_end, E& epilogue) {
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

  // The same for B that is not packed, panel by panel: best where no partial sums must wait, as a
  // panel is multiplied while it is hot.
  template <Packing<Acc> B>
  void run_unpacked(const B& b, index_t j, index_t j_end, E& epilogue) {
    alignas(64) Acc panel[Params<Acc>::KC * Params<Acc>::NR];  // at most 32 KiB
    const auto pack = [](const void* packing, index_t column, index_t cols, index_t depth,
                         Acc* to) {
      static_cast<const B*>(packing)->pack(column, cols, 0, depth, to, Params<Acc>::NR);
    };
    run_tiles(
        Pass<Acc, A>{&a_, panel, 0, a_.depth(), j, j_end, nullptr, 0, 0, true, true, pack, &b},
        begin_, end_, epilogue);
  }

  bool split() const { return a_.chunks().count > 1; }

 private:
  index_t rows(index_t t, index_t t_end) const { return a_.tile_row(t_end) - a_.tile_row(t); }
  index_t block_rows() const { return block_ * (a_.short_height() + 1); }

  index_t group_columns(index_t columns) const {
    constexpr index_t NR = Params<Acc>::NR;
    // Most of an L2 cache of 512 KiB; 256 columns at 40 rows of depth 300, which measured best
    // there.
    constexpr index_t ordered_bytes = index_t{352} << 10;
    index_t group = Params<Acc>::NC;
    if (ordered && split()) {
      // Each column of a group keeps its partial sums and its packed elements near.
      const index_t bytes = (rows(begin_, end_) + a_.depth()) * index_t{sizeof(Acc)};
      group = std::min(group, ordered_bytes / bytes / NR * NR);
    }
    return std::clamp(group, NR, (columns + NR - 1) / NR * NR);
  }

  // Depth chunk c of tiles [t, t_end) times all panels; partial sums start at tile `origin`.
  void chunk(index_t c, index_t t, index_t t_end, index_t origin, const PackedB<Acc>& b,
             index_t b_column, index_t j_begin, index_t j_end, E& epilogue) {
    const index_t p = c * a_.chunks().size;
    const index_t depth = std::min(a_.chunks().size, a_.depth() - p);
    run_tiles(
        Pass<Acc, A>{&a_, b.panel(b_column, p, depth), p, depth, j_begin, j_end, partial_.data(),
                     a_.tile_row(origin), partial_rows_, c == 0, c + 1 == a_.chunks().count},
        t, t_end, epilogue);
  }

  const A& a_;
  index_t begin_, end_, block_, columns_, partial_rows_;
  Workspace<Acc> partial_;
};

}  // namespace detail

// Tiles [tile_begin, tile_end) of A (PackedA, TriangularA or RowsA) times columns [j_begin, j_end)
// of B, on this thread. B is a Packing, or a PackedB, in which case j_begin must be a multiple of
// NR.
template <class Acc, class A, class B, Epilogue<Acc> E>
void product_tiles(const A& a, index_t tile_begin, index_t tile_end, const B& b, index_t j_begin,
                   index_t j_end, E& epilogue) {
  if (j_begin >= j_end) return;
  detail::Group<Acc, A, E> group(a, tile_begin, tile_end, j_end - j_begin);
  const index_t step = group.columns();
  if constexpr (std::is_same_v<B, PackedB<Acc>>) {
    for (index_t j = j_begin; j < j_end; j += step) {
      group.run(b, j, j, std::min(j_end, j + step), epilogue);
    }
  } else if (E::hooks.panels && !group.split()) {
    group.run_unpacked(b, j_begin, j_end, epilogue);
  } else {
    PackedB<Acc> packed(step, a.depth());
    for (index_t j = j_begin; j < j_end; j += step) {
      const index_t group_end = std::min(j_end, j + step);
      packed.pack(b, j, 0, group_end - j);
      group.run(packed, 0, j, group_end, epilogue);
    }
  }
}

// One depth chunk of a product by itself, `cols` columns: sums of the chunks before wait in
// `partial`, rows of A times whole panels. For operands that are packed chunk by chunk, so that
// both are in the near caches when they are multiplied. Tiles come panel by panel.
template <class Acc, class A, Epilogue<Acc> E>
void product_chunk(const A& a, const PackedB<Acc>& b, index_t cols, Acc* partial, bool first,
                   bool last, E& epilogue) {
  detail::run_tiles(detail::Pass<Acc, A>{&a, b.panel(0, 0, a.depth()), 0, a.depth(), 0, cols,
                                         partial, 0, a.rows(), first, last},
                    0, a.tiles(), epilogue);
}

// All of A times columns [j_begin, j_end) of B, on this thread; see product_tiles.
template <class Acc, class A, class B, Epilogue<Acc> E>
void product(const A& a, const B& b, index_t j_begin, index_t j_end, E& epilogue) {
  product_tiles<Acc>(a, 0, a.tiles(), b, j_begin, j_end, epilogue);
}

}  // namespace kernelmill::tile
