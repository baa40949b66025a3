#include "ops/moments_left_out.hpp"

#include <algorithm>  // std::copy, std::fill_n, std::min
#include <vector>     // sums

#include "core/parallel.hpp"      // ordered_reduce
#include "core/tile.hpp"          // product
#include "core/workspace.hpp"     // Workspace
#include "ops/moments_block.hpp"  // fill_rows

namespace kernelmill::moments {
namespace {

using Vec = tile::Params<double>::Vec;
constexpr int NV = tile::Params<double>::NV, lanes = tile::Params<double>::lanes;
constexpr index_t NR = tile::Params<double>::NR;
// Rows whose z, and sums, are in the near caches at a time.
constexpr index_t kRows = (128 + NR - 1) / NR * NR;
constexpr index_t kGrainRows = 8 * kRows;

// fitted[b][row] += sum_q right[b][q] z_q, leverage[a][row] += sum_q scale[a][q] z_q^2.
struct Scores {
  static constexpr tile::Hooks hooks{};
  index_t r, fits, penalties;
  const double *right, *scale;  // [fits][r], [penalties][r]
  double *fitted, *leverage;    // [fits][kRows], [penalties][kRows]

  template <int Rows>
  void tile(const Vec (&acc)[Rows][NV], index_t i0, index_t j0, index_t) {
    add(acc, right + i0, fits, fitted + j0);
    Vec squares[Rows][NV];
    KERNELMILL_UNROLL
    for (int q = 0; q < Rows; ++q) {
      KERNELMILL_UNROLL
      for (int v = 0; v < NV; ++v) squares[q][v] = acc[q][v] * acc[q][v];
    }
    add(squares, scale + i0, penalties, leverage + j0);
  }

 private:
  template <int Rows>
  [[gnu::always_inline]] void add(const Vec (&z)[Rows][NV], const double* factor, index_t count,
                                  double* to) const {
    for (index_t b = 0; b < count; ++b, factor += r, to += kRows) {
      Vec sums[NV];
      KERNELMILL_UNROLL
      for (int v = 0; v < NV; ++v) sums[v] = tile::load<Vec>(to + v * lanes);
      KERNELMILL_UNROLL
      for (int q = 0; q < Rows; ++q) {
        KERNELMILL_UNROLL
        for (int v = 0; v < NV; ++v) sums[v] += factor[q] * z[q][v];
      }
      KERNELMILL_UNROLL
      for (int v = 0; v < NV; ++v) tile::store(to + v * lanes, sums[v]);
    }
  }
};

// Compiled once, for all types of rows.
void score(const tile::PackedA<double>& vectors, const double* z, index_t stride, index_t rows,
           Scores scores) {
  tile::product<double>(vectors, tile::Strided<double>{z, stride, 1}, 0, rows, scores);
}

template <class X, class T>
void run(const X& x, MatrixView<const double> y, const Penalties& given, std::span<const T> weight,
         MatrixView<double> errors, double* residuals) {
  const index_t n = x.rows, d = x.cols, m = y.cols, r = given.vectors.cols, a = given.scales.rows;
  const index_t fits = a * m, stride = padded(d);
  std::vector<double> right(static_cast<std::size_t>(fits * r));  // s t, a penalty and target a row
  for (index_t k = 0; k < a; ++k) {
    for (index_t j = 0; j < m; ++j) {
      for (index_t q = 0; q < r; ++q) {
        right[std::size_t((k * m + j) * r + q)] = given.scales(k, q) * given.right(q, j);
      }
    }
  }
  const tile::PackedA<double> vectors(tile::Strided<double>{given.vectors.data, 1, r}, r, d);
  using Sums = std::vector<double>;
  const auto block = [&](index_t begin, index_t rows, double* memory, Sums& sums) {
    double *const z = memory, *const fitted = z + kRows * stride;
    double *const leverage = fitted + fits * kRows, *const w = leverage + a * kRows;
    fill_rows(x, begin, rows, given.origin.data(), z, stride);
    for (index_t i = 0; i < rows; ++i) {
      w[i] = weight.empty() ? 1.0 : static_cast<double>(weight[std::size_t(begin + i)]);
    }
    std::fill_n(fitted, fits * kRows, 0.0);
    std::fill_n(leverage, a * kRows, given.share);
    score(vectors, z, stride, rows,
          {r, fits, a, right.data(), given.scales.data, fitted, leverage});
    for (index_t k = 0; k < a; ++k) {
      double* const inverse = leverage + k * kRows;
#pragma omp simd
      for (index_t i = 0; i < rows; ++i) inverse[i] = 1.0 / (1.0 - w[i] * inverse[i]);
      for (index_t j = 0; j < m; ++j) {
        double* const e = fitted + (k * m + j) * kRows;
        const double origin = given.origin[std::size_t(d + j)];
        double sum = 0;
#pragma omp simd reduction(+ : sum)
        for (index_t i = 0; i < rows; ++i) {
          e[i] = (y(begin + i, j) - origin - e[i]) * inverse[i];
          sum += w[i] * e[i] * e[i];
        }
        sums[std::size_t(k * m + j)] += sum;
        if (residuals == nullptr) continue;
        double* const to = residuals + (k * n + begin) * m + j;
        for (index_t i = 0; i < rows; ++i) to[i * m] = e[i];
      }
    }
  };
  const Sums sums = ordered_reduce<Sums>(
      n, kGrainRows, [&] { return Sums(static_cast<std::size_t>(fits)); },
      [&](Sums& state, index_t, index_t begin, index_t end) {
        Workspace<double> memory(static_cast<std::size_t>(kRows * (stride + fits + a + 1)));
        for (index_t i = begin; i < end; i += kRows) {
          block(i, std::min(kRows, end - i), memory.data(), state);
        }
      },
      [](Sums& into, Sums&& from) {
        for (std::size_t i = 0; i < into.size(); ++i) into[i] += from[i];
      });
  std::copy(sums.begin(), sums.end(), errors.data);
}

}  // namespace

template <class T>
void left_out(MatrixView<const T> x, MatrixView<const double> y, const Penalties& given,
              std::span<const T> sample_weight, MatrixView<double> errors, double* residuals) {
  run(x, y, given, sample_weight, errors, residuals);
}
template <class T>
void csr_left_out(CsrView<T> x, MatrixView<const double> y, const Penalties& given,
                  std::span<const T> sample_weight, MatrixView<double> errors, double* residuals) {
  run(x, y, given, sample_weight, errors, residuals);
}

KERNELMILL_FOR_FLOATS(left_out)
KERNELMILL_FOR_FLOATS(csr_left_out)

}  // namespace kernelmill::moments
