// Euclidean distances as an epilogue of the tile product, kept accurate near zero.
//
// For rows x_i of A and y_j along the lanes, both with the origin moved to o, the product hands
// over p = (x_i - o).(y_j - o) and
//
//   D^2 = ||x_i - o||^2 + ||y_j - o||^2 - 2 p.
//
// Its rounding error is at most about 2 (d + 4) u S with S = ||x_i - o||^2 + ||y_j - o||^2 and u
// half an epsilon, so where D^2 > tau S the relative error of D is at most (d + 4) u / tau. Every
// other entry, the spoiled ones, is summed again from differences, whose error is (d + 2) u
// whatever the origin; the test is written so that NaN fails it. What leaves the normal range of T,
// or is exactly zero, is summed in double.
#pragma once

#include <cmath>    // std::sqrt
#include <cstdint>  // lane masks
#include <limits>   // std::numeric_limits
#include <vector>   // the panel of uncentered columns

#include "core/matrix.hpp"  // MatrixView, index_t
#include "core/tile.hpp"    // Params, load, store
#include "ops/centered.hpp"

namespace kernelmill {

// Rows i of x are the rows of A, rows j of y the columns of B. `Finish` gets every finished tile of
// distances (or of their squares) as an epilogue gets products. Lanes beyond cols hold anything.
template <class T, tile::Epilogue<T> Finish>
class DistanceEpilogue {
 public:
  static constexpr tile::Hooks hooks{.panels = Finish::hooks.panels};
  using Vec = typename tile::Params<T>::Vec;
  static constexpr int NV = tile::Params<T>::NV, lanes = tile::Params<T>::lanes;
  static constexpr int NR = NV * lanes;

  // y_norms[j - y_first] belongs to column j and is padded to whole panels.
  DistanceEpilogue(MatrixView<const T> x, const T* x_norms, MatrixView<const T> y, const T* y_norms,
                   index_t y_first, bool squared, Finish& finish)
      : x_(x),
        x_norms_(x_norms),
        y_(y),
        y_norms_(y_norms),
        y_first_(y_first),
        squared_(squared),
        finish_(finish) {}

  void begin_panel(index_t j0, index_t cols)
    requires(hooks.panels)
  {
    finish_.begin_panel(j0, cols);
  }
  void end_panel(index_t j0, index_t cols)
    requires(hooks.panels)
  {
    finish_.end_panel(j0, cols);
  }

  template <int Rows>
  void tile(const Vec (&acc)[Rows][NV], index_t i0, index_t j0, index_t cols) {
    Vec value[Rows][NV];
    Mask good = ~Mask{};
    if (x_.cols <= narrow) {
      pack_columns_of(j0, cols);
      KERNELMILL_UNROLL
      for (int r = 0; r < Rows; ++r) {
        differences(i0 + r, value[r]);
        KERNELMILL_UNROLL
        for (int v = 0; v < NV; ++v) good &= in_range(value[r][v]);
      }
    } else {
      const T* const x_norm = x_norms_ + i0;
      KERNELMILL_UNROLL
      for (int v = 0; v < NV; ++v) {
        const Vec norm = y_norm(j0, v);
        KERNELMILL_UNROLL
        for (int r = 0; r < Rows; ++r) {
          const Vec sum = norm + x_norm[r];
          value[r][v] = sum - T{2} * acc[r][v];
          good &= unspoiled(value[r][v], sum);
        }
      }
    }
    if (all(good)) [[likely]] {
      // On its own: after a common end of both cases, squares and roots leave the registers in one
      // burst, and (3000, 3) x (3, 3000) took 20 % longer at level 3.
      if (squared_) return finish_.template tile<Rows>(value, i0, j0, cols);
      KERNELMILL_UNROLL
      for (int r = 0; r < Rows; ++r) {
        KERNELMILL_UNROLL
        for (int v = 0; v < NV; ++v) value[r][v] = root(value[r][v]);
      }
    } else {
      Vec rows[Rows][NV];  // a copy, so that `value` itself stays in registers
      for (int r = 0; r < Rows; ++r) {
        for (int v = 0; v < NV; ++v) rows[r][v] = value[r][v];
      }
      for (int r = 0; r < Rows; ++r) repair(rows[r], i0 + r, j0, cols);
      for (int r = 0; r < Rows; ++r) {
        for (int v = 0; v < NV; ++v) value[r][v] = rows[r][v];
      }
    }
    finish_.template tile<Rows>(value, i0, j0, cols);
  }

 private:
  using Mask = decltype(Vec{} > Vec{});

  static constexpr T tau = T{1} / T{64};
  // Outside these a square has lost digits to underflow, or may have overflown on the way.
  static constexpr T tiny = sizeof(T) == 4 ? T(1e-30) : T(1e-280);
  static constexpr T huge = std::numeric_limits<T>::max() / 8;
  // Up to this depth differences are as cheap as the expansion, and are taken throughout.
  static constexpr index_t narrow = 4;

  [[gnu::always_inline]] static bool all(const Mask& mask) {
    std::uint64_t words[sizeof(Mask) / 8], both = ~std::uint64_t{0};
    tile::store(words, mask);
    for (std::uint64_t word : words) both &= word;
    return both == ~std::uint64_t{0};
  }

  [[gnu::always_inline]] static Mask in_range(const Vec& square) {
    return (square > tiny) & (square <= huge);
  }
  [[gnu::always_inline]] static Mask unspoiled(const Vec& square, const Vec& norms) {
    return square > tau * norms + tiny;  // false for NaN, and where the norms are infinite
  }

  [[gnu::always_inline]] static Vec root(const Vec& square) {
    T lane[lanes];
    tile::store(lane, square);
#pragma omp simd
    for (int l = 0; l < lanes; ++l) lane[l] = std::sqrt(lane[l]);
    return tile::load<Vec>(lane);
  }

  [[gnu::always_inline]] Vec y_norm(index_t j0, int v) const {
    return tile::load<Vec>(y_norms_ + (j0 - y_first_) + v * lanes);
  }

  // One row of a tile: squares in, distances out.
  [[gnu::noinline]] void repair(Vec (&value)[NV], index_t i, index_t j0, index_t cols) {
    Mask good[NV], done = ~Mask{};
    if (x_.cols > narrow) {
      for (int v = 0; v < NV; ++v) {
        good[v] = unspoiled(value[v], y_norm(j0, v) + x_norms_[i]);
        done &= good[v];
      }
      if (!all(done)) {
        pack_columns_of(j0, cols);
        Vec square[NV];
        differences(i, square);
        for (int v = 0; v < NV; ++v) value[v] = good[v] ? value[v] : square[v];
      }
    }
    done = ~Mask{};
    for (int v = 0; v < NV; ++v) {
      good[v] = in_range(value[v]);
      done &= good[v];
      if (!squared_) value[v] = root(value[v]);
    }
    if (all(done)) return;
    for (index_t l = 0; l < cols; ++l) {
      if (good[l / lanes][l % lanes] != 0) continue;
      double sum = 0;
      for (index_t p = 0; p < x_.cols; ++p) {
        const double t = static_cast<double>(x_(i, p)) - static_cast<double>(y_(j0 + l, p));
        sum += t * t;
      }
      value[l / lanes][l % lanes] = static_cast<T>(squared_ ? sum : std::sqrt(sum));
    }
  }

  // The panel of y as it is, packed when the first of its entries asks for it.
  [[gnu::noinline]] void pack_columns_of(index_t j0, index_t cols) {
    if (panel_ == j0) return;
    columns_.resize(static_cast<std::size_t>(x_.cols * NR));
    tile::Strided<T>{y_.data, y_.row_stride, y_.col_stride}.pack(j0, cols, 0, x_.cols,
                                                                 columns_.data(), NR);
    panel_ = j0;
  }

  // sum_p (x_ip - y_jp)^2 for the columns of the packed panel.
  [[gnu::always_inline]] void differences(index_t i, Vec (&square)[NV]) const {
    const T* x = x_.row(i);
    const T* column = columns_.data();
    KERNELMILL_UNROLL
    for (int v = 0; v < NV; ++v) square[v] = Vec{};
    for (index_t p = 0; p < x_.cols; ++p, x += x_.col_stride, column += NR) {
      KERNELMILL_UNROLL
      for (int v = 0; v < NV; ++v) {
        const Vec t = tile::load<Vec>(column + v * lanes) - *x;
        square[v] += t * t;
      }
    }
  }

  MatrixView<const T> x_;
  const T* x_norms_;
  MatrixView<const T> y_;
  const T* y_norms_;
  index_t y_first_;
  bool squared_;
  Finish& finish_;
  std::vector<T> columns_;  // [d][NR]
  index_t panel_ = -1;      // first column of columns_
};

}  // namespace kernelmill
