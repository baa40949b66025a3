// What matrix products do with finished tiles.
#pragma once

#if defined(__AVX512F__)
#include <immintrin.h>  // masked stores
#endif

#include <cstdint>  // std::uintptr_t

#include "core/tile_pack.hpp"  // load, store
#include "core/tile.hpp"       // Hooks
#include "ops/matmul.hpp"      // Finish

namespace kernelmill::matmul_detail {

using tile::load;
using tile::Params;
using tile::store;

#if defined(__AVX512F__) && defined(__AVX512VL__)
// Stores the first count values of a vector, of which there may be more or fewer than lanes.
inline void store_first(float* target, Params<float>::Vec v, index_t count) {
  const auto mask = static_cast<__mmask16>(_bzhi_u32(0xffff, static_cast<unsigned>(count)));
  if (count > 0) _mm512_mask_storeu_ps(target, mask, reinterpret_cast<__m512>(v));
}
inline void store_first(double* target, Params<double>::Vec v, index_t count) {
  const auto mask = static_cast<__mmask8>(_bzhi_u32(0xff, static_cast<unsigned>(count)));
  if (count > 0) _mm512_mask_storeu_pd(target, mask, reinterpret_cast<__m512d>(v));
}
#endif

// Copies count contiguous values: by vectors, then by 16 bytes, then singly.
template <class T>
void store_some(T* target, const T* source, index_t count) {
  using Vec = typename Params<T>::Vec;
  using Piece = typename tile::detail::Piece<T>::Vec;
  constexpr int lanes = Params<T>::lanes, piece = tile::detail::Piece<T>::size;
  index_t c = 0;
  for (; c + lanes <= count; c += lanes) store(target + c, load<Vec>(source + c));
  for (; c + piece <= count; c += piece) store(target + c, load<Piece>(source + c));
  for (; c < count; ++c) target[c] = source[c];
}

// out = alpha * acc + beta * out, or finish(alpha * acc).
template <class T>
struct Store {
  static constexpr tile::Hooks hooks{.prefetch = true};
  using Vec = typename Params<T>::Vec;
  static constexpr int NV = Params<T>::NV, lanes = Params<T>::lanes;

  MatrixView<T> out;
  T alpha, beta;
  Finish<T> finish{};

  // What a layer keeps for the way back goes past the caches where it is large: they have the
  // result, which the next layer reads, and memory need not be read to be written.
  static constexpr index_t past_bytes = index_t{2} << 20;
  bool passes(const T* to) const {
    return streams && finish.before.rows * finish.before.cols * index_t{sizeof(T)} >= past_bytes &&
           reinterpret_cast<std::uintptr_t>(to) % sizeof(Vec) == 0;
  }
#if defined(__AVX512F__)
  static constexpr bool streams = true;
  static void store_past(T* to, const Vec& v) {
    _mm512_stream_si512(reinterpret_cast<__m512i*>(to), reinterpret_cast<__m512i>(v));
  }
  ~Store() { _mm_sfence(); }  // on the thread that stored, before others are told
#else
  static constexpr bool streams = false;
  static void store_past(T* to, const Vec& v) { store(to, v); }
#endif

  void prefetch(index_t i0, index_t rows, index_t j0) const {
    if (out.col_stride != 1) return;
    const bool before = finish.before.data != nullptr && finish.before.col_stride == 1 &&
                        !passes(finish.before.data);
    for (index_t i = i0; i < i0 + rows; ++i) {
      for (int v = 0; v < NV; ++v) __builtin_prefetch(&out(i, j0) + v * lanes, 1);
      for (int v = 0; v < NV && before; ++v) {
        __builtin_prefetch(&finish.before(i, j0) + v * lanes, 1);
      }
    }
  }

  template <int Rows>
  void tile(const Vec (&acc)[Rows][NV], index_t i0, index_t j0, index_t cols) {
    const bool plain = beta == T{0} && out.col_stride == 1 && !finish.any();
    if (cols == Params<T>::NR && plain) {
      T* row = &out(i0, j0);
      KERNELMILL_UNROLL
      for (int r = 0; r < Rows; ++r, row += out.row_stride) {
        for (int v = 0; v < NV; ++v) store(row + v * lanes, alpha * acc[r][v]);
      }
      return;
    }
    // acc + bias, the same for all rows: what a dense layer adds. With alpha = 1 there is nothing
    // to round before the addition. Through write() it took 3.2 instead of 2.7 ms for 2048 rows,
    // 128 inputs and 512 outputs.
    if (cols == Params<T>::NR && alpha == T{1} && beta == T{0} && out.col_stride == 1 &&
        finish.activate == nullptr && finish.before.data == nullptr &&
        finish.bias.row_stride == 0 && finish.bias.col_stride == 1) {
      const T* const bias = &finish.bias(i0, j0);
      T* row = &out(i0, j0);
      KERNELMILL_UNROLL
      for (int r = 0; r < Rows; ++r, row += out.row_stride) {
        for (int v = 0; v < NV; ++v) {
          store(row + v * lanes, acc[r][v] + load<Vec>(bias + v * lanes));
        }
      }
      return;
    }
#if defined(__AVX512F__) && defined(__AVX512VL__)
    if (plain) {  // a narrow last panel
      T* row = &out(i0, j0);
      KERNELMILL_UNROLL
      for (int r = 0; r < Rows; ++r, row += out.row_stride) {
        for (int v = 0; v < NV; ++v) {
          store_first(row + v * lanes, alpha * acc[r][v], cols - v * lanes);
        }
      }
      return;
    }
#endif
    T values[Rows][Params<T>::NR];
    KERNELMILL_UNROLL
    for (int r = 0; r < Rows; ++r) {
      for (int v = 0; v < NV; ++v) store(&values[r][v * lanes], alpha * acc[r][v]);
    }
    write(values[0], Rows, i0, j0, cols);
  }

  // alpha * acc is rounded by now and beta * out is what fuses with the addition, for whole panels
  // and tails alike; else the bits of an element would depend on where its tile lies. Never
  // inlined: that would let alpha * acc fuse, and compile the same loops for every height.
  // The values are alpha * acc, NR of them a row whatever cols is.
  [[gnu::noinline]] void write(T* values, int rows, index_t i0, index_t j0, index_t cols) const {
    const bool whole = cols == Params<T>::NR && out.col_stride == 1 && beta != T{0};
    if (cols == Params<T>::NR && finish.bias.data != nullptr && finish.bias.col_stride == 1 &&
        finish.before.data != nullptr && finish.before.col_stride == 1) {
      // What a layer with an activation keeps, in one pass.
      for (int r = 0; r < rows; ++r) {
        T* const sums = values + r * Params<T>::NR;
        const T* const bias = &finish.bias(i0 + r, j0);
        T* const before = &finish.before(i0 + r, j0);
        const bool past = passes(before);
        for (int v = 0; v < NV; ++v) {
          const Vec sum = load<Vec>(sums + v * lanes) + load<Vec>(bias + v * lanes);
          store(sums + v * lanes, sum);
          past ? store_past(before + v * lanes, sum) : store(before + v * lanes, sum);
        }
      }
    } else {
      for (int r = 0; r < rows && finish.bias.data != nullptr; ++r) {
        T* const sums = values + r * Params<T>::NR;
        for (index_t c = 0; c < cols; ++c) sums[c] += finish.bias(i0 + r, j0 + c);
      }
      for (int r = 0; r < rows && finish.before.data != nullptr; ++r) {
        const T* const sums = values + r * Params<T>::NR;
        for (index_t c = 0; c < cols; ++c) finish.before(i0 + r, j0 + c) = sums[c];
      }
    }
    // Lanes beyond cols too: tails would take other instructions. All rows at once: their chains
    // of instructions overlap.
    if (finish.activate != nullptr) {
      finish.activate(values, rows * Params<T>::NR, finish.parameter);
    }
    for (index_t i = i0; i < i0 + rows; ++i, values += Params<T>::NR) {
      T* const row = &out(i, j0);
      if (whole) {
        for (int v = 0; v < NV; ++v) {
          store(row + v * lanes, load<Vec>(values + v * lanes) + beta * load<Vec>(row + v * lanes));
        }
      } else if (beta == T{0} && out.col_stride == 1) {
        store_some(row, values, cols);
      } else if (beta == T{0}) {
        for (index_t c = 0; c < cols; ++c) row[c * out.col_stride] = values[c];
      } else {
        for (index_t c = 0; c < cols; ++c) {
          row[c * out.col_stride] = values[c] + beta * row[c * out.col_stride];
        }
      }
    }
  }
};

// The loops over tiles that end in Store, of the operands that several files multiply. matmul.cpp
// alone compiles them: tiles of 14 heights take gcc a second for each operand and type.
#define KERNELMILL_STORED_TILES(prefix, T, A)                                                     \
  prefix template void tile::detail::run_tiles(const tile::detail::Pass<T, tile::A<T>>&, index_t, \
                                               index_t, matmul_detail::Store<T>&)

}  // namespace kernelmill::matmul_detail

namespace kernelmill {

KERNELMILL_STORED_TILES(extern, float, PackedA);
KERNELMILL_STORED_TILES(extern, double, PackedA);
KERNELMILL_STORED_TILES(extern, float, RowsA);
KERNELMILL_STORED_TILES(extern, double, RowsA);

}  // namespace kernelmill
