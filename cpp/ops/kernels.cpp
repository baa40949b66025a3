#include "ops/kernels.hpp"

#include <algorithm>  // std::clamp, std::copy, std::max, std::min
#include <limits>     // std::numeric_limits

#include "core/parallel.hpp"   // parallel_for
#include "core/tile.hpp"       // PackedA, product
#include "core/workspace.hpp"  // panels
#include "ops/centered.hpp"    // Centered, origin_of
#include "ops/kernels_blocks.hpp"
#include "ops/kernels_function.hpp"

namespace kernelmill::kernels {
namespace {

template <class T>
using Vec = typename tile::Params<T>::Vec;

// Some rows of a matrix: those from `first` on, or by number.
template <class T>
struct Left {
  MatrixView<const T> x;
  const T* norms = nullptr;  // of all rows of x, for rbf
  const std::int32_t* numbers = nullptr;
  index_t first = 0;

  index_t number(index_t r) const { return numbers == nullptr ? first + r : numbers[r]; }
  const T* row(index_t r) const { return x.row(number(r)); }
  void pack(index_t outer, index_t count, index_t depth, index_t depth_count, T* panel,
            index_t width) const {
    if (numbers == nullptr) {
      tile::Strided<T>{x.data, x.row_stride, x.col_stride}.pack(first + outer, count, depth,
                                                                depth_count, panel, width);
    } else {
      tile::Gathered<T>{x.data, x.row_stride, x.col_stride, numbers}.pack(
          outer, count, depth, depth_count, panel, width);
    }
  }
};

template <class T>
struct Prepared {
  Left<T> left;
  index_t rows;
  tile::PackedA<T> packed;
};

// The epilogue: products of a tile become values of k, which go to out[i][j - begin].
template <class T>
class KernelTile {
 public:
  static constexpr tile::Hooks hooks{};
  static constexpr int NV = tile::Params<T>::NV, lanes = tile::Params<T>::lanes, NR = NV * lanes;

  // norms are those of all columns and padded to whole panels; for rbf alone.
  KernelTile(const Function& f, const Left<T>& left, MatrixView<const T> y, const T* norms,
             T* const* out, index_t begin)
      : f_(f), left_(left), y_(y), norms_(norms), out_(out), begin_(begin) {}

  template <int Rows>
  void tile(const Vec<T> (&acc)[Rows][NV], index_t i0, index_t j0, index_t cols) {
    alignas(64) T values[Rows * NR];
    KERNELMILL_UNROLL
    for (int r = 0; r < Rows; ++r) {
      KERNELMILL_UNROLL
      for (int v = 0; v < NV; ++v) tile::store(values + r * NR + v * lanes, acc[r][v]);
    }
    finish_rows(values, Rows, i0, j0, cols);
  }

 private:
  static constexpr T tau = T{1} / T{64};
  static constexpr T tiny = sizeof(T) == 4 ? T(1e-30) : T(1e-280);

  // One function for tiles of all heights.
  [[gnu::noinline]] void finish_rows(T* values, index_t rows, index_t i0, index_t j0,
                                     index_t cols) {
    if (f_.kind == Kind::rbf) {
      for (index_t r = 0; r < rows; ++r) square(values + r * NR, i0 + r, j0, cols);
    }
    finish(f_, values, rows * NR);
    for (index_t r = 0; r < rows; ++r) {
      std::copy(values + r * NR, values + r * NR + cols, out_[i0 + r] + (j0 - begin_));
    }
  }

  // |x - y|^2 from x.y.
  void square(T* value, index_t i, index_t j0, index_t cols) {
    const T norm = left_.norms[left_.number(i)];
    const T* const norms = norms_ + j0;
    int good = 1;
#pragma omp simd reduction(& : good)
    for (int l = 0; l < NR; ++l) {
      const T sum = norm + norms[l];
      value[l] = sum - T{2} * value[l];
      good &= value[l] > tau * sum + tiny ? 1 : 0;  // false for NaN, and where norms are infinite
    }
    if (good != 0) [[likely]]
      return;
    const T* const x = left_.row(i);
    for (index_t l = 0; l < cols; ++l) {
      if (value[l] > tau * (norm + norms[l]) + tiny) continue;
      const T* const y = y_.row(j0 + l);
      double sum = 0;
      for (index_t p = 0; p < y_.cols; ++p) {
        const double t = static_cast<double>(x[p * left_.x.col_stride]) -
                         static_cast<double>(y[p * y_.col_stride]);
        sum += t * t;
      }
      value[l] = static_cast<T>(sum);
    }
  }

  const Function& f_;
  const Left<T>& left_;
  MatrixView<const T> y_;
  const T* norms_;
  T* const* out_;
  index_t begin_;
};

// A Source of ops/kernels_blocks.hpp.
template <class T>
class DenseColumns final : public Columns<T> {
 public:
  static constexpr index_t group = 256;

  // The origin lies near the rows of `more`, too.
  DenseColumns(MatrixView<const T> y, MatrixView<const T> more, const Function& f)
      : y_(y), f_(f), origin_(static_cast<std::size_t>(y.cols), T{0}) {
    if (f.kind != Kind::rbf) return;
    origin_ = origin_of<T, 64>(y.cols, y, more);
    norms_ = norms_of(y);
  }

  index_t count() const override { return y_.rows; }

  void rows(const std::int32_t* numbers, index_t rows, T* const* out) const override {
    const Prepared<T> some = packed({y_, norms_.data(), numbers, 0}, rows);
    const index_t most = (index_t{1} << 17) / std::max<index_t>(1, rows) / NR;
    parallel_for(y_.rows, std::clamp<index_t>(most, 1, 128) * NR,
                 [&](index_t, index_t begin, index_t end) {
                   std::vector<T*> at(out, out + rows);
                   for (T*& row : at) row += begin;
                   block(some, begin, end, at.data());
                 });
  }

  // Squared norms about the origin, then zeros to a whole panel.
  std::vector<T> norms_of(MatrixView<const T> x) const {
    std::vector<T> norms(static_cast<std::size_t>(x.rows + NR), T{0});
    if (f_.kind != Kind::rbf) return norms;
    parallel_for(x.rows, 4096, [&](index_t, index_t begin, index_t end) {
      constexpr T largest = std::numeric_limits<T>::max() / 8;
      for (index_t i = begin; i < end; ++i) {
        const T norm = norm_of(x.row(i), x.col_stride);
        norms[static_cast<std::size_t>(i)] =
            norm <= largest ? norm : std::numeric_limits<T>::infinity();
      }
    });
    return norms;
  }

  Prepared<T> prepare(const Left<T>& left, index_t i, index_t rows) const {
    return packed({left.x, left.norms, nullptr, i}, rows);
  }

  void block(const Prepared<T>& some, index_t begin, index_t end, T* const* out) const {
    if (of_sums(f_.kind)) return sums(some, begin, end, out);
    KernelTile<T> epilogue(f_, some.left, y_, norms_.data(), out, begin);
    const Centered<tile::Strided<T>, T> columns{{y_.data, y_.row_stride, y_.col_stride},
                                                origin_.data()};
    tile::product<T>(some.packed, columns, begin, end, epilogue);
  }

 private:
  static constexpr int NV = tile::Params<T>::NV, lanes = tile::Params<T>::lanes, NR = NV * lanes;

  Prepared<T> packed(const Left<T>& left, index_t rows) const {
    const bool none = of_sums(f_.kind);
    return {left, rows,
            tile::PackedA<T>(Centered<Left<T>, T>{left, origin_.data()}, none ? 0 : rows,
                             none ? 0 : y_.cols)};
  }

  void sums(const Prepared<T>& some, index_t begin, index_t end, T* const* out) const {
    const bool absolute = f_.kind == Kind::laplacian;
    const index_t d = y_.cols, stride = some.left.x.col_stride;
    Workspace<T> memory(static_cast<std::size_t>(d * NR));
    const T* const panel = memory.data();
    for (index_t j = begin; j < end; j += NR) {
      const index_t cols = std::min<index_t>(NR, end - j);
      tile::Strided<T>{y_.data, y_.row_stride, y_.col_stride}.pack(j, cols, 0, d, memory.data(),
                                                                   NR);
      for (index_t r = 0; r < some.rows; ++r) {
        Vec<T> sum[NV]{};
        const T* const x = some.left.row(r);
        for (index_t p = 0; p < d; ++p) {
          KERNELMILL_UNROLL
          for (int v = 0; v < NV; ++v) {
            const Vec<T> y = tile::load<Vec<T>>(panel + p * NR + v * lanes);
            const Vec<T> t = y - x[p * stride], total = y + x[p * stride];
            sum[v] += absolute ? (t < T{0} ? -t : t) : (total == T{0} ? Vec<T>{} : t * t / total);
          }
        }
        alignas(64) T values[NR];
        for (int v = 0; v < NV; ++v) tile::store(values + v * lanes, sum[v]);
        finish(f_, values, NR);
        std::copy(values, values + cols, out[r] + (j - begin));
      }
    }
  }

  [[gnu::noinline]] T norm_of(const T* row, index_t stride) const {
    T norm = 0;
    for (index_t p = 0; p < y_.cols; ++p) {
      const T t = row[p * stride] - origin_[static_cast<std::size_t>(p)];
      norm += t * t;
    }
    return norm;
  }

  MatrixView<const T> y_;
  Function f_;
  std::vector<T> origin_, norms_;
};

}  // namespace

template <class T>
std::unique_ptr<Columns<T>> columns_of(MatrixView<const T> y, const Function& f) {
  return std::make_unique<DenseColumns<T>>(y, y, f);
}

template <class T>
void matrix(MatrixView<const T> x, MatrixView<const T> y, const Function& f, MatrixView<T> out) {
  const DenseColumns<T> columns(y, x, f);
  const std::vector<T> norms = columns.norms_of(x);
  matrix_of(columns, Left<T>{x, norms.data()}, out);
}

template <class T>
void apply(MatrixView<const T> x, MatrixView<const T> y, MatrixView<const double> coef,
           const Function& f, MatrixView<double> out) {
  const DenseColumns<T> columns(y, x, f);
  const std::vector<T> norms = columns.norms_of(x);
  apply_of<T>(columns, Left<T>{x, norms.data()}, coef, out);
}

#define KERNELMILL_KERNELS(T)                                                                     \
  template std::unique_ptr<Columns<T>> columns_of(MatrixView<const T>, const Function&);          \
  template void matrix(MatrixView<const T>, MatrixView<const T>, const Function&, MatrixView<T>); \
  template void apply(MatrixView<const T>, MatrixView<const T>, MatrixView<const double>,         \
                      const Function&, MatrixView<double>);
KERNELMILL_KERNELS(float)
KERNELMILL_KERNELS(double)

}  // namespace kernelmill::kernels
