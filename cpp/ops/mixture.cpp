// The passes over rows: blocks of log joints, responsibilities and moments, in parallel over
// chunks.
//
// A block of 128 rows goes through all stages while it is in the near caches:
//
//   log joints   [k][rows]  ops/mixture_density.hpp
//   shares       [k][rows]  r = exp(l - max) / sum, rows along the lanes
//   moments      ops/mixture_moments.hpp
//
// Floor of full_step: 2 n k d^2 flops, half of them in the dtype of X and half in float64. Measured
// against it: benchmarks/mixture.py.
#include "ops/mixture.hpp"

#include <algorithm>  // std::fill_n, std::min
#include <limits>     // infinity
#include <vector>     // origins

#include "core/math.hpp"      // exp, log
#include "core/parallel.hpp"  // parallel_for, ordered_reduce, check_interrupt
#include "ops/mixture_density.hpp"
#include "ops/mixture_moments.hpp"

namespace kernelmill {

namespace mixture {

namespace {

// Packing policy: element(feature, row) of a block of rows z, made while it is packed.
struct Features {
  const FeaturePlan& plan;
  const double* z;  // [rows][padded]

  void pack(index_t outer, index_t count, index_t depth, index_t depth_count, double* panel,
            index_t width) const {
    using Vec = tile::Params<double>::Vec;
    constexpr index_t lanes = FeaturePlan::lanes;
    const index_t stride = plan.padded();
    for (index_t r = 0; r < width; r += lanes) {
      if (r >= count) {
        for (index_t p = 0; p < depth_count; ++p) tile::store(panel + p * width + r, Vec{});
        continue;
      }
      const auto [row, from] = plan[(outer + r) / lanes];
      const double* x = z + depth * stride;
      if (row == FeatureVector::square) {
        for (index_t p = 0; p < depth_count; ++p, x += stride) {
          const Vec value = tile::load<Vec>(x + from);
          tile::store(panel + p * width + r, value * value);
        }
      } else {
        for (index_t p = 0; p < depth_count; ++p, x += stride) {
          tile::store(panel + p * width + r, x[row] * tile::load<Vec>(x + from));
        }
      }
    }
  }
};

// to[i][j] += P(i, j); rows of `to` are whole panels.
struct AddEpilogue {
  static constexpr tile::Hooks hooks{.panels = true};
  using Vec = tile::Params<double>::Vec;
  static constexpr int NV = tile::Params<double>::NV, lanes = tile::Params<double>::lanes;

  double* to;
  index_t stride;

  void begin_panel(index_t, index_t) {}
  void end_panel(index_t, index_t) {}
  template <int Rows>
  void tile(const Vec (&acc)[Rows][NV], index_t i0, index_t j0, index_t) {
    KERNELMILL_UNROLL
    for (int r = 0; r < Rows; ++r) {
      KERNELMILL_UNROLL
      for (int v = 0; v < NV; ++v) {
        double* const at = to + (i0 + r) * stride + j0 + v * lanes;
        tile::store(at, tile::load<Vec>(at) + acc[r][v]);
      }
    }
  }
};

}  // namespace

void MomentSums::add(const double* z, MatrixView<const double> share) {
  const tile::PackedA<double> a(
      tile::Strided<double>{share.data, share.col_stride, share.row_stride}, k_, share.rows);
  AddEpilogue epilogue{memory_.data(), plan_->width()};
  tile::product<double>(a, Features{*plan_, z}, 0, plan_->count() * FeaturePlan::lanes, epilogue);
  if (plan_->second() == Second::pooled) add_pooled(z, share);
}

void MomentSums::add_pooled(const double* z, MatrixView<const double> share) {
  const index_t padded = plan_->padded(), rows = share.rows;
  Workspace<double> scaled(static_cast<std::size_t>(rows * padded + rows));
  double* const total = scaled.data() + rows * padded;
  std::fill_n(total, rows, 0.0);
  for (index_t j = 0; j < k_; ++j) {
    for (index_t r = 0; r < rows; ++r) total[r] += share(r, j);
  }
  for (index_t r = 0; r < rows; ++r) {
    for (index_t p = 0; p < padded; ++p) {
      scaled.data()[r * padded + p] = total[r] * z[r * padded + p];
    }
  }
  const tile::PackedA<double> a(tile::Strided<double>{z, 1, padded}, plan_->d() + 1, rows);
  AddEpilogue epilogue{pooled(), pooled_stride()};
  tile::product<double>(a, tile::Strided<double>{scaled.data(), 1, padded}, 0, padded, epilogue);
}

}  // namespace mixture

namespace {

using mixture::block_rows;
using mixture::block_stride;
using mixture::Density;
using mixture::FeaturePlan;
using mixture::MomentSums;

// Rows per chunk: about 50 us of work at 40 GFLOP/s, whole blocks, at least `least` of them, and at
// most 256 chunks. Where chunks have moments to merge, four blocks keep that small beside finding
// them.
constexpr index_t blocks_to_merge = 4;

index_t row_grain(index_t n, double flops_per_row, index_t least) {
  const double blocks = 2e6 / (flops_per_row * static_cast<double>(block_rows) + 1);
  const auto whole = static_cast<index_t>(std::min(blocks, 512.0));
  return bounded_grain(n, std::max(least, whole) * block_rows, 256);
}

double density_flops(const GaussiansView& g) {
  const auto k = static_cast<double>(g.means.rows), d = static_cast<double>(g.means.cols);
  const double matrices = g.diagonal ? 0.0 : static_cast<double>(g.factor_count) * d * d;
  return matrices + 4 * k * d + 40 * k;
}

double moment_flops(index_t rows, index_t cols, Second second) {
  const auto k = static_cast<double>(rows), d = static_cast<double>(cols);
  if (second == Second::full) return k * d * d + 2 * k * d;
  return 4 * k * d + (second == Second::pooled ? 2 * d * d : 0.0);
}

// Takes log joints [k][block_stride] to exp(l - max), and gives their log sum and 1 / sum per row.
// A row that is -inf throughout gets -inf and 0; NaN stays NaN.
template <class T>
void normalise(index_t k, index_t rows, T* joint, T* log_prob, T* inverse) {
  constexpr T infinity = std::numeric_limits<T>::infinity();
  constexpr index_t stride = block_stride<T>;
  T largest[stride], sum[stride];
  std::fill_n(largest, rows, -infinity);
  std::fill_n(sum, rows, T{0});
  for (index_t j = 0; j < k; ++j) {
    const T* const l = joint + j * stride;
#pragma omp simd
    for (index_t r = 0; r < rows; ++r) largest[r] = l[r] > largest[r] ? l[r] : largest[r];
  }
  // Where all are -inf (or NaN), 0 stands in: exp(-inf - 0) = 0, where inf - inf would be NaN.
#pragma omp simd
  for (index_t r = 0; r < rows; ++r) largest[r] = largest[r] > -infinity ? largest[r] : T{0};
  for (index_t j = 0; j < k; ++j) {
    T* const l = joint + j * stride;
#pragma omp simd
    for (index_t r = 0; r < rows; ++r) {
      const T e = kernelmill::exp(l[r] - largest[r]);
      l[r] = e;
      sum[r] += e;
    }
  }
#pragma omp simd
  for (index_t r = 0; r < rows; ++r) {
    log_prob[r] = largest[r] + kernelmill::log(sum[r]);
    inverse[r] = sum[r] == T{0} ? T{0} : T{1} / sum[r];
  }
}

// Between rows of a dense (rows, k) matrix and a block [k][block_stride].
template <class T>
void gather(MatrixView<const T> from, index_t begin, index_t rows, T* block) {
  for (index_t r = 0; r < rows; ++r) {
    for (index_t j = 0; j < from.cols; ++j) block[j * block_stride<T> + r] = from(begin + r, j);
  }
}

template <class T>
void scatter(const T* block, index_t k, index_t rows, const T* scale, T* to) {
  for (index_t r = 0; r < rows; ++r) {
    const T s = scale == nullptr ? T{1} : scale[r];
    for (index_t j = 0; j < k; ++j) *to++ = block[j * block_stride<T> + r] * s;
  }
}

template <class Body>
void for_blocks(index_t begin, index_t end, const Body& body) {
  for (index_t b = begin; b < end; b += block_rows) {
    check_interrupt();  // a 256th of many rows may take seconds
    body(b, std::min(block_rows, end - b));
  }
}

}  // namespace

template <class T>
void log_joint(MatrixView<const T> x, const GaussiansView& gaussians, T* out) {
  const Density<T> density(gaussians);
  const index_t k = density.components();
  parallel_for(x.rows, row_grain(x.rows, density_flops(gaussians), 1),
               [&](index_t, index_t begin, index_t end) {
                 Workspace<T> joint(static_cast<std::size_t>(k * block_stride<T>));
                 for_blocks(begin, end, [&](index_t b, index_t rows) {
                   density.block(x, b, rows, joint.data());
                   scatter<T>(joint.data(), k, rows, nullptr, out + b * k);
                 });
               });
}

template <class T>
void responsibilities(MatrixView<const T> joints, T* log_prob, T* share) {
  const index_t k = joints.cols;
  parallel_for(joints.rows, row_grain(joints.rows, 40.0 * static_cast<double>(k), 1),
               [&](index_t, index_t begin, index_t end) {
                 Workspace<T> joint(static_cast<std::size_t>(k * block_stride<T>));
                 T inverse[block_stride<T>];
                 for_blocks(begin, end, [&](index_t b, index_t rows) {
                   gather(joints, b, rows, joint.data());
                   normalise(k, rows, joint.data(), log_prob + b, inverse);
                   scatter<T>(joint.data(), k, rows, inverse, share + b * k);
                 });
               });
}

template <class T>
void mixture_moments(MatrixView<const T> x, MatrixView<const double> share,
                     MatrixView<const double> means, Second second, const MomentsOut& out) {
  const index_t k = means.rows;
  const std::vector<T> origin = origin_of<T, 64>(x.cols, means);
  const FeaturePlan plan(x.cols, second);
  const std::vector<double> z_origin = plan.padded_origin(origin);
  const MomentSums total = ordered_reduce<MomentSums>(
      x.rows, row_grain(x.rows, moment_flops(k, x.cols, second), blocks_to_merge),
      [&] { return MomentSums(k, plan); },
      [&](MomentSums& sums, index_t, index_t begin, index_t end) {
        Workspace<double> z(static_cast<std::size_t>(block_rows * plan.padded()));
        for_blocks(begin, end, [&](index_t b, index_t rows) {
          mixture::fill_rows(x, b, rows, z_origin, z.data(), [](index_t) { return true; });
          sums.add(z.data(), share.row_range(b, b + rows));
        });
      },
      [](MomentSums& into, MomentSums&& from) { into.merge(from); });
  total.finish(means, origin, out);
}

template <class T>
double mixture_step(MatrixView<const T> x, const GaussiansView& gaussians,
                    std::span<const T> weight, const MomentsOut& out) {
  const Density<T> density(gaussians);
  const index_t k = density.components(), d = x.cols;
  const Second second = gaussians.diagonal            ? Second::diag
                        : gaussians.factor_count == k ? Second::full
                                                      : Second::pooled;
  const FeaturePlan plan(d, second);
  const std::vector<double> z_origin = plan.padded_origin(density.origin());
  const double flops = density_flops(gaussians) + moment_flops(k, d, second);
  const MomentSums total = ordered_reduce<MomentSums>(
      x.rows, row_grain(x.rows, flops, blocks_to_merge), [&] { return MomentSums(k, plan); },
      [&](MomentSums& sums, index_t, index_t begin, index_t end) {
        constexpr index_t stride = block_stride<T>;
        Workspace<T> joint(static_cast<std::size_t>(k * stride));
        Workspace<double> shares(static_cast<std::size_t>(k * stride));
        Workspace<double> z(static_cast<std::size_t>(block_rows * plan.padded()));
        T log_prob[stride], inverse[stride];
        double scale[stride];
        for_blocks(begin, end, [&](index_t b, index_t rows) {
          const auto weight_of = [&](index_t r) {
            return weight.empty() ? 1.0 : static_cast<double>(weight[std::size_t(b + r)]);
          };
          density.block(x, b, rows, joint.data());
          normalise(k, rows, joint.data(), log_prob, inverse);
          for (index_t r = 0; r < rows; ++r) {
            const double w = weight_of(r);
            scale[r] = w * static_cast<double>(inverse[r]);
            if (w != 0) sums.log_likelihood += w * static_cast<double>(log_prob[r]);
          }
          for (index_t j = 0; j < k; ++j) {
            const T* const e = joint.data() + j * stride;
            double* const r_j = shares.data() + j * stride;
            if (weight.empty()) {
#pragma omp simd
              for (index_t r = 0; r < rows; ++r) r_j[r] = static_cast<double>(e[r]) * scale[r];
            } else {  // 0 times NaN is not nothing
              for (index_t r = 0; r < rows; ++r) {
                r_j[r] = weight_of(r) == 0 ? 0.0 : static_cast<double>(e[r]) * scale[r];
              }
            }
          }
          mixture::fill_rows(x, b, rows, z_origin, z.data(),
                             [&](index_t r) { return weight_of(r) != 0; });
          sums.add(z.data(), {shares.data(), rows, k, 1, stride});
        });
      },
      [](MomentSums& into, MomentSums&& from) { into.merge(from); });
  total.finish(gaussians.means, density.origin(), out);
  return total.log_likelihood;
}

KERNELMILL_FOR_FLOATS(log_joint)
KERNELMILL_FOR_FLOATS(responsibilities)
KERNELMILL_FOR_FLOATS(mixture_moments)
KERNELMILL_FOR_FLOATS(mixture_step)

}  // namespace kernelmill
