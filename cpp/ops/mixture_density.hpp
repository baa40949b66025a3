// Log joint densities of a block of rows as the tile product with an epilogue.
//
// With the origin moved to o (a median of the means), x' = x - o and m' = m - o, the whitened row
// of component j is
//
//   y = (x - m_j) P_j = x' P_j - m'_j P_j,     log joint = C_j - 1/2 ||y||^2,
//   C_j = c_j + log|P_j| - d/2 log(2 pi).
//
// Full covariances: P_j' is the operand A, rows of X run along the lanes, and the epilogue takes
// (acc - m'_j P_j)^2 of each tile and adds it up over the panel. A is triangular: tile rows up to q
// need depth q only, which halves the flops. Subtracting before squaring keeps the error of y
// linear in the distance to the origin; expanding the square would make it quadratic.
//
// Diagonal covariances: one element of A is the pair (P_jp, m'_jp P_jp), and what it does to a sum
// is (x'_p P_jp - m'_jp P_jp)^2: two fused multiply-adds, as many as the expanded square takes.
//
// Tied covariance: rows are whitened once, then treated as diagonal ones with P = 1.
#pragma once

#include <cmath>    // std::log
#include <numbers>  // pi
#include <vector>   // constants

#include "core/matrix.hpp"     // MatrixView
#include "core/tile.hpp"       // product, PackedA, PackedB
#include "core/workspace.hpp"  // scratch
#include "ops/centered.hpp"    // Centered, origin_of
#include "ops/mixture.hpp"     // GaussiansView

namespace kernelmill::mixture {

// Rows whose log joints, responsibilities and features are in the near caches at a time: 128
// float64 rows are one depth chunk of the product that adds up their moments.
constexpr index_t block_rows = 128;

// Rows from one component to the next in a block: whole panels, so that whole vectors are stored.
template <class T>
constexpr index_t block_stride =
    (block_rows + tile::Params<T>::NR - 1) / tile::Params<T>::NR * tile::Params<T>::NR;

template <class T>
struct Affine {
  T scale, shift;
};

// sum += (scale b - shift)^2
template <class T, class Vec>
[[gnu::always_inline]] inline void accumulate(Vec& sum, const Affine<T>& a, const Vec& b) {
  const Vec y = a.scale * b - a.shift;
  sum += y * y;
}

// y = acc - shift; stores y where `white` is given, and log joints C - 1/2 ||y||^2 otherwise.
template <class T>
struct WhitenedEpilogue {
  static constexpr tile::Hooks hooks{.panels = true};
  using Vec = typename tile::Params<T>::Vec;
  static constexpr int NV = tile::Params<T>::NV, lanes = tile::Params<T>::lanes;

  const T* shift;  // (d)
  T constant;      // C
  T* log_joint;    // [block_stride]
  T* white;        // [d][block_stride] or null
  Vec sum[NV];

  void begin_panel(index_t, index_t) {
    for (int v = 0; v < NV; ++v) sum[v] = Vec{};
  }
  void end_panel(index_t j0, index_t) {
    if (white != nullptr) return;
    for (int v = 0; v < NV; ++v) {
      tile::store(log_joint + j0 + v * lanes, constant - T(0.5) * sum[v]);
    }
  }
  template <int Rows>
  void tile(const Vec (&acc)[Rows][NV], index_t i0, index_t j0, index_t) {
    KERNELMILL_UNROLL
    for (int r = 0; r < Rows; ++r) {
      KERNELMILL_UNROLL
      for (int v = 0; v < NV; ++v) {
        const Vec y = acc[r][v] - shift[i0 + r];
        if (white != nullptr) {
          tile::store(white + (i0 + r) * block_stride<T> + j0 + v * lanes, y);
        } else {
          sum[v] += y * y;
        }
      }
    }
  }
};

// log_joint[j][row] = C_j - 1/2 acc
template <class T>
struct DiagonalEpilogue {
  static constexpr tile::Hooks hooks{};
  using Vec = typename tile::Params<T>::Vec;
  static constexpr int NV = tile::Params<T>::NV, lanes = tile::Params<T>::lanes;

  const T* constant;  // (k)
  T* log_joint;       // [k][block_stride]

  template <int Rows>
  void tile(const Vec (&acc)[Rows][NV], index_t i0, index_t j0, index_t) {
    KERNELMILL_UNROLL
    for (int r = 0; r < Rows; ++r) {
      KERNELMILL_UNROLL
      for (int v = 0; v < NV; ++v) {
        tile::store(log_joint + (i0 + r) * block_stride<T> + j0 + v * lanes,
                    constant[i0 + r] - T(0.5) * acc[r][v]);
      }
    }
  }
};

// k Gaussians made ready for the product; shared read-only by threads.
template <class T>
class Density {
 public:
  explicit Density(const GaussiansView& g)
      : k_(g.means.rows),
        d_(g.means.cols),
        origin_(origin_of<T, 64>(d_, g.means)),
        constants_(static_cast<std::size_t>(k_)),
        shifts_(static_cast<std::size_t>(k_ * d_)),
        affine_(g.diagonal || shared(g) ? k_ : 0, d_) {
    if (g.diagonal) {
      prepare_diagonal(g);
    } else {
      prepare_matrices(g);
    }
  }

  index_t components() const { return k_; }
  const std::vector<T>& origin() const { return origin_; }

  // Log joints of rows [begin, begin + rows) of x, at most block_rows: out[j * block_stride + r].
  // Lanes beyond rows are written too.
  void block(MatrixView<const T> x, index_t begin, index_t rows, T* out) const {
    tile::PackedB<T> packed(rows, d_);
    packed.pack(centered(x, origin_), begin, 0, rows);
    if (whitening_.empty()) {
      diagonal(packed, rows, out);
    } else if (affine_.rows() > 0) {
      Workspace<T> white(static_cast<std::size_t>(d_ * block_stride<T>));
      WhitenedEpilogue<T> epilogue{zeros_.data(), T{0}, nullptr, white.data(), {}};
      tile::product<T>(whitening_[0], packed, 0, rows, epilogue);
      packed.pack(tile::Strided<T>{white.data(), 1, block_stride<T>}, 0, 0, rows);
      diagonal(packed, rows, out);
    } else {
      for (index_t j = 0; j < k_; ++j) {
        WhitenedEpilogue<T> epilogue{shifts_.data() + j * d_,
                                     constants_[std::size_t(j)],
                                     out + j * block_stride<T>,
                                     nullptr,
                                     {}};
        tile::product<T>(whitening_[std::size_t(j)], packed, 0, rows, epilogue);
      }
    }
  }

 private:
  static bool shared(const GaussiansView& g) { return g.factor_count < g.means.rows; }

  double moved(const GaussiansView& g, index_t j, index_t p) const {
    return g.means(j, p) - static_cast<double>(origin_[static_cast<std::size_t>(p)]);
  }

  void set_constant(const GaussiansView& g, index_t j, double log_det) {
    const double log_2pi = std::log(2 * std::numbers::pi);
    constants_[static_cast<std::size_t>(j)] = static_cast<T>(
        g.offsets[static_cast<std::size_t>(j)] + log_det - 0.5 * static_cast<double>(d_) * log_2pi);
  }

  void prepare_diagonal(const GaussiansView& g) {
    for (index_t j = 0; j < k_; ++j) {
      double log_det = 0;
      for (index_t p = 0; p < d_; ++p) log_det += std::log(g.factors[j * d_ + p]);
      set_constant(g, j, log_det);
    }
    pack_affine([&](index_t j, index_t p) {
      const double scale = g.factors[j * d_ + p];
      return Affine<T>{static_cast<T>(scale), static_cast<T>(scale * moved(g, j, p))};
    });
  }

  void prepare_matrices(const GaussiansView& g) {
    zeros_.assign(static_cast<std::size_t>(d_), T{0});
    for (index_t f = 0; f < g.factor_count; ++f) {
      const double* const P = g.factors + f * d_ * d_;
      double log_det = 0;
      for (index_t q = 0; q < d_; ++q) log_det += std::log(P[q * d_ + q]);
      whitening_.emplace_back(
          tile::Elements{[&](index_t q, index_t p) { return p <= q ? P[p * d_ + q] : 0.0; }}, d_,
          d_);
      for (index_t j = f; j < (shared(g) ? k_ : f + 1); ++j) {
        set_constant(g, j, log_det);
        for (index_t q = 0; q < d_; ++q) {
          double sum = 0;
          for (index_t p = 0; p <= q; ++p) sum += moved(g, j, p) * P[p * d_ + q];
          shifts_[static_cast<std::size_t>(j * d_ + q)] = static_cast<T>(sum);
        }
      }
    }
    if (!shared(g)) return;
    pack_affine([&](index_t j, index_t q) {
      return Affine<T>{T{1}, shifts_[static_cast<std::size_t>(j * d_ + q)]};
    });
  }

  void pack_affine(const auto& element) {
    affine_.pack(tile::Elements{element}, 0, affine_.tiles());
  }

  void diagonal(const tile::PackedB<T>& packed, index_t rows, T* out) const {
    DiagonalEpilogue<T> epilogue{constants_.data(), out};
    tile::product<T>(affine_, packed, 0, rows, epilogue);
  }

  index_t k_, d_;
  std::vector<T> origin_;                        // (d)
  std::vector<T> constants_;                     // (k): C_j
  std::vector<T> shifts_;                        // (k, d): m'_j P_j
  std::vector<T> zeros_;                         // (d)
  std::vector<tile::TriangularA<T>> whitening_;  // k or 1, none when diagonal
  tile::PackedA<T, Affine<T>> affine_;           // diagonal or tied
};

}  // namespace kernelmill::mixture
