#include "ops/glm.hpp"

#include <algorithm>    // std::any_of, std::clamp, std::copy_n, std::fill_n, std::max, std::min
#include <cmath>        // std::fabs
#include <iterator>     // std::size
#include <type_traits>  // std::is_same_v

#include "core/math.hpp"                  // exp, log
#include "core/parallel.hpp"              // ordered_reduce
#include "core/tile.hpp"                  // products of several outputs
#include "core/workspace.hpp"             // Workspace
#include "ops/elementwise_functions.hpp"  // what the table calls
#include "ops/mixture_moments.hpp"        // MomentSums: weighted products of many weights
#include "ops/moments_block.hpp"          // rows z and their products

namespace kernelmill::glm {
namespace {

using moments::kBlockRows;
constexpr index_t kNearBytes = index_t{256} << 10;

// Losses, slopes and curvatures of a block of rows; curvatures may be null.
using BlockLoss = void (*)(index_t rows, const double* y, const double* p, double a, double* value,
                           double* slope, double* curvature);

namespace table {

using elementwise::abs;
using elementwise::clip;
using elementwise::maximum;
using elementwise::where;

#define KERNELMILL_GLM(name, value_text, slope_text, curvature_text)                      \
  void name(index_t rows, const double* targets, const double* predictors,                \
            [[maybe_unused]] double a, double* value, double* slope, double* curvature) { \
    _Pragma("omp simd") for (index_t r = 0; r < rows; ++r) {                              \
      [[maybe_unused]] const double y = targets[r], p = predictors[r];                    \
      value[r] = value_text;                                                              \
      slope[r] = slope_text;                                                              \
    }                                                                                     \
    if (curvature == nullptr) return;                                                     \
    _Pragma("omp simd") for (index_t r = 0; r < rows; ++r) {                              \
      [[maybe_unused]] const double y = targets[r], p = predictors[r];                    \
      curvature[r] = curvature_text;                                                      \
    }                                                                                     \
  }
#include "glm_rows.inc"
#undef KERNELMILL_GLM

}  // namespace table

#define KERNELMILL_GLM(name, value, slope, curvature) &table::name,
constexpr BlockLoss kLosses[] = {
#include "glm_rows.inc"
};
#undef KERNELMILL_GLM

// Sums over a chunk of rows.
struct Sums {
  Sums(index_t k, index_t columns, bool second, const mixture::FeaturePlan& plan)
      : gradients(k * columns),
        squares(second && k == 1 ? columns * columns : 0),
        memory(static_cast<std::size_t>(gradients + squares)),
        pairs(second && k > 1 ? k * (k + 1) / 2 : 0, plan) {
    std::fill_n(memory.data(), gradients + squares, 0.0);
  }
  double* gradient() const { return memory.data(); }
  double* square() const { return memory.data() + gradients; }
  void merge(const Sums& from) {
    value += from.value;
    for (index_t i = 0; i < gradients + squares; ++i) memory.data()[i] += from.memory.data()[i];
    pairs.merge(from.pairs);
  }

  double value = 0;
  index_t gradients, squares;
  Workspace<double> memory;
  mixture::MomentSums pairs;  // of the Hessian of several outputs, a pair of outputs a row
};

// Room for the predictors, slopes and curvatures of a block.
struct Block {
  Block(index_t k, index_t d, index_t stride, index_t shares)
      : memory(static_cast<std::size_t>(kBlockRows * (stride + 2 * k + 4 + shares))),
        z(memory.data()),
        p(z + kBlockRows * stride),
        slope(p + kBlockRows * k),
        value(slope + kBlockRows * k),
        w(value + kBlockRows),
        curvature(w + kBlockRows),
        spare(curvature + kBlockRows),
        share(spare + kBlockRows) {
    // What follows the features of a row stays as it is from block to block.
    for (index_t r = 0; r < (stride > 0 ? kBlockRows : 0); ++r) {
      std::fill(z + r * stride + d, z + (r + 1) * stride, 0.0);
      z[r * stride + d] = 1.0;
    }
  }
  Workspace<double> memory;
  double *z, *p, *slope;      // [rows][stride], [k][rows], [k][rows]
  double *value, *w;          // [rows]
  double *curvature, *spare;  // [rows]
  double* share;              // [rows][pairs]
};

using Vec = tile::Params<double>::Vec;
constexpr index_t lanes = tile::Params<double>::lanes;

// Coefficients and intercept of each output as one row, zeros at its end: what multiplies z.
struct Weights {
  explicit Weights(const Model& model)
      : k(model.coef.rows),
        columns(model.coef.cols + 1),
        length((columns + lanes - 1) / lanes * lanes),
        memory(static_cast<std::size_t>(k * length)),
        panels(k > 1 ? k : 0, columns) {
    std::fill_n(memory.data(), k * length, 0.0);
    for (index_t j = 0; j < k; ++j) {
      std::copy_n(model.coef.row(j), columns - 1, memory.data() + j * length);
      memory.data()[j * length + columns - 1] = model.intercept[static_cast<std::size_t>(j)];
    }
    if (k > 1) panels.pack(tile::Strided<double>{memory.data(), length, 1}, 0, 0, k);
  }
  index_t k, columns, length;
  Workspace<double> memory;
  tile::PackedB<double> panels;
};

// Memory that the next block will read, fetched little by little: rows that are read in bursts
// would keep memory waiting between them.
struct Ahead {
  const char* at;
  index_t bytes;
  void fetch(index_t share) {
    for (const char* const end = at + std::min(bytes, share); at < end; at += 64, bytes -= 64) {
      __builtin_prefetch(at, 0, 2);
    }
  }
};

// The predictors of one output, four rows at a time.
void predict(const double* z, index_t rows, index_t stride, const Weights& weights, Ahead& ahead,
             double* p) {
  const double* const coef = weights.memory.data();
  const index_t share = ahead.bytes / (rows / 4 + 1) + 64;
  index_t r = 0;
  for (; r + 4 <= rows; r += 4, z += 4 * stride) {
    ahead.fetch(share);
    Vec sums[4] = {};
    for (index_t q = 0; q < weights.length; q += lanes) {
      const Vec c = tile::load<Vec>(coef + q);
      KERNELMILL_UNROLL
      for (int i = 0; i < 4; ++i) sums[i] += c * tile::load<Vec>(z + i * stride + q);
    }
    KERNELMILL_UNROLL
    for (int i = 0; i < 4; ++i) {
      double sum = 0;
      for (int l = 0; l < lanes; ++l) sum += sums[i][l];
      p[r + i] = sum;
    }
  }
  for (; r < rows; ++r, z += stride) {
    Vec sums{};
    for (index_t q = 0; q < weights.length; q += lanes) {
      sums += tile::load<Vec>(coef + q) * tile::load<Vec>(z + q);
    }
    double sum = 0;
    for (int l = 0; l < lanes; ++l) sum += sums[l];
    p[r] = sum;
  }
}

// to[j][i] = P(i, j), rows of `stride`.
struct Transposed {
  static constexpr tile::Hooks hooks{};
  double* to;
  index_t stride;

  template <int Rows, class V, int NV>
  void tile(const V (&acc)[Rows][NV], index_t i0, index_t j0, index_t cols) {
    double row[tile::Params<double>::NR];
    KERNELMILL_UNROLL
    for (int r = 0; r < Rows; ++r) {
      KERNELMILL_UNROLL
      for (int v = 0; v < NV; ++v) tile::store(row + v * lanes, acc[r][v]);
      for (index_t c = 0; c < cols; ++c) to[(j0 + c) * stride + i0 + r] = row[c];
    }
  }
};

// to[i][j] += P(i, j).
struct Added {
  static constexpr tile::Hooks hooks{};
  double* to;
  index_t stride;

  template <int Rows, class V, int NV>
  void tile(const V (&acc)[Rows][NV], index_t i0, index_t j0, index_t cols) {
    double row[tile::Params<double>::NR];
    KERNELMILL_UNROLL
    for (int r = 0; r < Rows; ++r) {
      KERNELMILL_UNROLL
      for (int v = 0; v < NV; ++v) tile::store(row + v * lanes, acc[r][v]);
      for (index_t c = 0; c < cols; ++c) to[(i0 + r) * stride + j0 + c] += row[c];
    }
  }
};

// to += sum_r f_r z_r, four rows at a time.
void add_rows(const double* z, index_t rows, index_t stride, const double* f, double* to,
              index_t columns) {
  index_t r = 0;
  for (; r + 4 <= rows; r += 4, z += 4 * stride) {
    const double *const z1 = z + stride, *const z2 = z1 + stride, *const z3 = z2 + stride;
    const double f0 = f[r], f1 = f[r + 1], f2 = f[r + 2], f3 = f[r + 3];
#pragma omp simd
    for (index_t p = 0; p < columns; ++p) {
      to[p] += (f0 * z[p] + f1 * z1[p]) + (f2 * z2[p] + f3 * z3[p]);
    }
  }
  for (; r < rows; ++r, z += stride) {
#pragma omp simd
    for (index_t p = 0; p < columns; ++p) to[p] += f[r] * z[p];
  }
}

void weigh(index_t rows, const double* w, double* values) {
#pragma omp simd
  for (index_t r = 0; r < rows; ++r) {
    values[r] = elementwise::where(w[r] == 0.0, 0.0, w[r] * values[r]);
  }
}

// Losses and slopes of a block of predictors p[k][rows], weighted; curvatures too if asked for.
void lose(const Model& model, index_t rows, const double* y, const Block& b, bool second,
          Ahead ahead) {
  const index_t k = model.coef.rows, share = ahead.bytes / k + 64;
  if (model.loss < multinomial()) {
    kLosses[model.loss](rows, y, b.p, model.parameter, b.value, b.slope,
                        second ? b.curvature : nullptr);
    weigh(rows, b.w, b.value);
    weigh(rows, b.w, b.slope);
    if (second) weigh(rows, b.w, b.curvature);
    return;
  }
  double* const top = b.curvature;
  double* const total = b.spare;
  std::copy_n(b.p, rows, top);
  for (index_t j = 1; j < k; ++j) {
    for (index_t r = 0; r < rows; ++r) {
      top[r] = elementwise::maximum(top[r], b.p[j * kBlockRows + r]);
    }
  }
  std::fill_n(total, rows, 0.0);
  for (index_t j = 0; j < k; ++j) {
    ahead.fetch(share);
    double* const slope = b.slope + j * kBlockRows;
    const double* const p = b.p + j * kBlockRows;
#pragma omp simd
    for (index_t r = 0; r < rows; ++r) {
      slope[r] = exp(p[r] - top[r]);
      total[r] += slope[r];
    }
  }
#pragma omp simd
  for (index_t r = 0; r < rows; ++r) b.value[r] = log(total[r]) + top[r];
  for (index_t r = 0; r < rows; ++r) {
    b.value[r] -= b.p[static_cast<index_t>(y[r]) * kBlockRows + r];
  }
  for (index_t j = 0; j < k; ++j) {
    double* const slope = b.slope + j * kBlockRows;
#pragma omp simd
    for (index_t r = 0; r < rows; ++r) slope[r] /= total[r];
  }
  if (second) {
    const index_t pairs = k * (k + 1) / 2;
    index_t at = 0;
    for (index_t i = 0; i < k; ++i) {
      for (index_t j = 0; j <= i; ++j, ++at) {
        const double own = i == j ? 1.0 : 0.0;
        const double* const first = b.slope + i * kBlockRows;
        const double* const other = b.slope + j * kBlockRows;
        for (index_t r = 0; r < rows; ++r) {
          const double c = first[r] * (own - other[r]);
          b.share[r * pairs + at] = elementwise::where(b.w[r] == 0.0, 0.0, b.w[r] * c);
        }
      }
    }
  }
  for (index_t r = 0; r < rows; ++r) b.slope[static_cast<index_t>(y[r]) * kBlockRows + r] -= 1.0;
  weigh(rows, b.w, b.value);
  for (index_t j = 0; j < k; ++j) weigh(rows, b.w, b.slope + j * kBlockRows);
}

template <class T>
void weights_of(std::span<const T> weight, index_t begin, index_t rows, double* w) {
  for (index_t r = 0; r < rows; ++r) {
    w[r] = weight.empty() ? 1.0 : static_cast<double>(weight[static_cast<std::size_t>(begin + r)]);
  }
}

// A block of dense rows z.
template <class X, class T>
void dense_block(const X& x, const double* y, const Model& model, const Weights& weights,
                 std::span<const T> weight, bool moved, index_t begin, index_t rows, Ahead ahead,
                 index_t stride, const Block& b, bool second, Sums& sums) {
  const index_t d = x.cols, k = model.coef.rows;
  moments::fill_rows(x, begin, rows, moved ? model.shift.data() : nullptr, b.z, stride);
  if (k == 1) {
    predict(b.z, rows, stride, weights, ahead, b.p);
  } else {
    const tile::RowsA<double, double, true> a(b.z, stride, rows, d + 1);
    Transposed epilogue{b.p, kBlockRows};
    tile::product<double>(a, weights.panels, 0, k, epilogue);
  }
  weights_of(weight, begin, rows, b.w);
  lose(model, rows, y + begin, b, second, ahead);
  for (index_t r = 0; r < rows; ++r) sums.value += b.value[r];
  if (k == 1) {
    add_rows(b.z, rows, stride, b.slope, sums.gradient(), d + 1);
    if (second) moments::add_products(b.z, rows, d + 1, b.curvature, sums.square(), d + 1);
    return;
  }
  const tile::RowsA<double, double, true> a(b.slope, kBlockRows, k, rows);
  Added epilogue{sums.gradient(), d + 1};
  tile::product<double>(a, tile::Strided<double>{b.z, 1, stride}, 0, d + 1, epilogue);
  if (second) sums.pairs.add(b.z, dense<const double>(b.share, rows, k * (k + 1) / 2));
}

// The gradient of a block of CSR rows, entry by entry.
template <class Rows, class T>
void sparse_block(const Rows& csr, const double* y, const Model& model, std::span<const T> weight,
                  index_t begin, index_t rows, const Block& b, Sums& sums) {
  const index_t d = csr.cols, k = model.coef.rows;
  for (index_t r = 0; r < rows; ++r) {
    for (index_t j = 0; j < k; ++j) {
      const double* const coef = model.coef.row(j);
      double sum = 0;
      for (auto at = csr.indptr[begin + r]; at < csr.indptr[begin + r + 1]; ++at) {
        sum += coef[csr.indices[at]] * static_cast<double>(csr.data[at]);
      }
      b.p[j * kBlockRows + r] = sum + model.intercept[static_cast<std::size_t>(j)];
    }
  }
  weights_of(weight, begin, rows, b.w);
  lose(model, rows, y + begin, b, false, {});
  for (index_t r = 0; r < rows; ++r) {
    sums.value += b.value[r];
    for (index_t j = 0; j < k; ++j) {
      const double slope = b.slope[j * kBlockRows + r];
      double* const g = sums.gradient() + j * (d + 1);
      for (auto at = csr.indptr[begin + r]; at < csr.indptr[begin + r + 1]; ++at) {
        g[csr.indices[at]] += slope * static_cast<double>(csr.data[at]);
      }
      g[d] += slope;
    }
  }
}

void finish(const Sums& sums, index_t k, index_t columns, const mixture::FeaturePlan& plan,
            double* hessian) {
  if (k == 1) {
    std::copy_n(sums.square(), columns * columns, hessian);
    moments::mirror(hessian, columns);
    return;
  }
  const index_t square = columns * columns;
  index_t at = 0;
  for (index_t i = 0; i < k; ++i) {
    for (index_t j = 0; j <= i; ++j, ++at) {
      const double* const sum = sums.pairs.row(at);
      double* const block = hessian + (i * k + j) * square;
      for (index_t p = 0; p < columns; ++p) {
        for (index_t q = 0; q <= p; ++q) {
          block[p * columns + q] = block[q * columns + p] = sum[plan.place(p, q)];
        }
      }
      if (i != j) std::copy_n(block, square, hessian + (j * k + i) * square);
    }
  }
}

template <class X, class T>
double run(const X& x, std::span<const double> y, const Model& model, std::span<const T> weight,
           MatrixView<double> gradient, double* hessian) {
  const index_t d = x.cols, k = model.coef.rows, columns = d + 1;
  const bool second = hessian != nullptr;
  const mixture::FeaturePlan plan(k > 1 ? d : 0, Second::full);
  const index_t stride = k > 1 && second ? plan.padded() : moments::padded(columns);
  const bool moved =
      std::any_of(model.shift.begin(), model.shift.end(), [](double s) { return s != 0.0; });
  constexpr bool csr = std::is_same_v<X, CsrView<T>>;
  const bool sparse = csr && !moved && !second;
  const Weights weights(model);

  // Sums of a chunk cost less than its rows.
  index_t least = std::max<index_t>(2048, second ? 2 * columns : 0);
  if constexpr (csr) {
    const index_t stored = std::max<index_t>(1, x.stored / std::max<index_t>(1, x.rows));
    if (sparse) least = std::max(least, 4 * d / stored);
  }
  const index_t grain = (least + kBlockRows - 1) / kBlockRows * kBlockRows;
  const Sums sums = ordered_reduce<Sums>(
      x.rows, grain, [&] { return Sums(k, columns, second, plan); },
      [&](Sums& state, index_t, index_t begin, index_t end) {
        // A block of wide rows, which is read twice, stays near; products need whole blocks.
        const index_t near = kNearBytes / static_cast<index_t>(sizeof(double)) / stride;
        const index_t height = second ? kBlockRows : std::clamp<index_t>(near, 8, kBlockRows);
        const Block block(k, d, sparse ? 0 : stride, second && k > 1 ? k * (k + 1) / 2 : 0);
        for (index_t i = begin; i < end; i += height) {
          const index_t rows = std::min(height, end - i);
          if constexpr (csr) {
            if (sparse) {
              x.visit([&](const auto& typed) {
                sparse_block(typed, y.data(), model, weight, i, rows, block, state);
              });
              continue;
            }
          }
          Ahead ahead{};
          if constexpr (!csr) {
            const index_t more = std::min(height, end - i - rows);
            if (x.col_stride == 1 && x.row_stride > 0 && more > 0) {
              ahead = {reinterpret_cast<const char*>(x.row(i + rows)),
                       more * x.row_stride * static_cast<index_t>(sizeof(T))};
            }
          }
          dense_block(x, y.data(), model, weights, weight, moved, i, rows, ahead, stride, block,
                      second, state);
        }
      },
      [](Sums& into, Sums&& from) { into.merge(from); });
  std::copy_n(sums.gradient(), k * columns, gradient.data);
  if (second) finish(sums, k, columns, plan, hessian);
  return sums.value;
}

}  // namespace

index_t multinomial() { return static_cast<index_t>(std::size(kLosses)); }

template <class T>
double pass(MatrixView<const T> x, std::span<const double> y, const Model& model,
            std::span<const T> sample_weight, MatrixView<double> gradient, double* hessian) {
  return run(x, y, model, sample_weight, gradient, hessian);
}
template <class T>
double csr_pass(CsrView<T> x, std::span<const double> y, const Model& model,
                std::span<const T> sample_weight, MatrixView<double> gradient, double* hessian) {
  return run(x, y, model, sample_weight, gradient, hessian);
}

KERNELMILL_FOR_FLOATS(pass)
KERNELMILL_FOR_FLOATS(csr_pass)

}  // namespace kernelmill::glm
