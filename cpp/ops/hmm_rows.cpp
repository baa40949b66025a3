#include "ops/hmm_rows.hpp"

#include <algorithm>  // std::max, std::min, std::copy_n, std::fill
#include <cmath>      // INFINITY

#include "core/math.hpp"       // exp
#include "core/workspace.hpp"  // blocks

namespace kernelmill::hmm {
namespace {

// exp(x) for x <= 0 as densities() needs it: not below least_density, except that exp(-inf) = 0.
// The polynomial is that of core/math.hpp in pairs (Estrin): rows are short, so that few
// exponentials are in flight at a time and their latency counts.
KERNELMILL_INLINE double density_of(double x) {
  constexpr double lowest = -665.0;                 // exp(-665) > least_density
  const double in_range = x < lowest ? lowest : x;  // NaN stays
  const auto [r, bits] = kernelmill::detail::reduce_exp(in_range);
  const double r2 = r * r, r4 = r2 * r2;
  const double low = (0.500000000000000549 + 0.166666666666666856 * r) +
                     r2 * (0.0416666666665740901 + 0.0083333333333148154 * r);
  const double middle = (0.00138888889322593286 + 0.000198412699025570136 * r) +
                        r2 * (0.0000248015045658865492 + 2.75572283653378312e-6 * r);
  const double high = 2.76262852070483095e-7 + 2.51143468263905406e-8 * r;
  const double p = low + r4 * (middle + r4 * high);
  const double y = (1.0 + (r + r2 * p)) * kernelmill::detail::pow2<double>(bits);
  return x == -INFINITY ? 0.0 : y;
}

// Calls body(v) for the vectors of a row, unrolled where their number NV is known.
template <int NV, class Body>
[[gnu::always_inline]] inline void each_vector(index_t vectors, Body&& body) {
  if constexpr (NV > 0) {
    KERNELMILL_UNROLL
    for (int v = 0; v < NV; ++v) body(v * lanes);
  } else {
    for (index_t v = 0; v < vectors; ++v) body(v * lanes);
  }
}

// Rows of whole vectors; b may be `rows`.
template <int NV>
double densities_of(const double* rows, index_t step, index_t n, index_t vectors, double* b) {
  const index_t width = vectors * lanes;
  double total = 0;
  for (index_t t = 0; t < n; ++t) {
    Vec largest = broadcast(-INFINITY);
    each_vector<NV>(vectors,
                    [&](index_t j) { largest = vector_max(tile::load<Vec>(rows + j), largest); });
    largest = all_max(largest);
    each_vector<NV>(vectors, [&](index_t j) {
      const Vec moved = tile::load<Vec>(rows + j) - largest;
      double x[lanes];
      tile::store(x, moved);
#pragma omp simd
      for (int l = 0; l < lanes; ++l) x[l] = density_of(x[l]);
      tile::store(b + j, tile::load<Vec>(x));
    });
    total += largest[0];
    rows += step;
    b += width;
  }
  return total;
}

}  // namespace

void pack_rows(MatrixView<const double> x, index_t begin, index_t end, double pad, double* to) {
  const index_t k = x.cols, width = padded(k), vectors = width / lanes;
  // Whole vectors read up to lanes - 1 numbers of later rows, so not in the last rows.
  const bool packed = x.col_stride == 1 && x.row_stride >= k;
  const index_t whole = packed ? std::max(begin, std::min(end, x.rows - lanes)) : begin;
  Mask valid;  // of the last vector
  for (int l = 0; l < lanes; ++l) valid[l] = width - lanes + l < k ? -1 : 0;
  by_vectors(vectors, [&]<int NV>() {
    for (index_t t = begin; t < whole; ++t) {
      const double* const row = x.row(t);
      each_vector<NV>(vectors, [&](index_t j) {
        const Vec from = tile::load<Vec>(row + j);
        tile::store(to + j, j + lanes <= k ? from : valid ? from : broadcast(pad));
      });
      to += width;
    }
  });
  for (index_t t = whole; t < end; ++t) {
    for (index_t j = 0; j < k; ++j) to[j] = x(t, j);
    std::fill(to + k, to + width, pad);
    to += width;
  }
}

double densities(MatrixView<const double> x, double* b) {
  const index_t width = padded(x.cols), vectors = width / lanes;
  constexpr index_t block = 64;  // rows: partial sums of m, and rows packed ahead
  const bool in_place = x.col_stride == 1 && x.cols == width;
  double total = 0;
  for (index_t t = 0; t < x.rows; t += block) {
    const index_t n = std::min(block, x.rows - t);
    double* const to = b + t * width;
    const double* from = x.row(t);
    index_t step = x.row_stride;
    if (!in_place) {
      pack_rows(x, t, t + n, -INFINITY, to);
      from = to;
      step = width;
    }
    total +=
        by_vectors(vectors, [&]<int NV>() { return densities_of<NV>(from, step, n, vectors, to); });
  }
  return total;
}

void normalise_rows(const double* from, index_t n, index_t k, double* to) {
  const index_t width = padded(k), vectors = width / lanes;
  by_vectors(vectors, [&]<int NV>() {
    for (index_t t = 0; t < n; ++t) {
      const double* const row = from + t * width;
      double* const out = to + t * k;
      Vec sum{};
      each_vector<NV>(vectors, [&](index_t j) { sum += tile::load<Vec>(row + j); });
      const Vec scale = 1.0 / all_sum(sum);
      if (k == width) {
        each_vector<NV>(vectors,
                        [&](index_t j) { tile::store(out + j, tile::load<Vec>(row + j) * scale); });
      } else {
        for (index_t j = 0; j < k; ++j) out[j] = row[j] * scale[0];
      }
    }
  });
}

bool normalisers(const double* alpha, const double* beta, index_t n, index_t width,
                 double* inverse) {
  constexpr double least = 0x1p-450;
  const index_t vectors = width / lanes;
  double smallest = INFINITY;
  by_vectors(vectors, [&]<int NV>() {
    for (index_t t = 0; t < n; ++t) {
      Vec sum{};
      each_vector<NV>(vectors, [&](index_t j) {
        sum += tile::load<Vec>(alpha + t * width + j) * tile::load<Vec>(beta + t * width + j);
      });
      const double g = all_sum(sum)[0];
      smallest = g < smallest ? g : smallest;
      inverse[t] = 1.0 / g;
    }
  });
  return smallest >= least;
}

namespace {

// outer(i0 + i, j0 + j) += sum_t a(t, i0 + i) w(t, j0 + j) over n rows, IB x JV vectors at a time.
template <int IB, int JV>
void add_outer(const double* a, const double* w, index_t n, index_t width, double* outer) {
  Vec sum[IB][JV];
  KERNELMILL_UNROLL
  for (int i = 0; i < IB; ++i) {
    KERNELMILL_UNROLL
    for (int v = 0; v < JV; ++v) sum[i][v] = tile::load<Vec>(outer + i * width + v * lanes);
  }
  for (index_t t = 0; t < n; ++t) {
    Vec right[JV];
    KERNELMILL_UNROLL
    for (int v = 0; v < JV; ++v) right[v] = tile::load<Vec>(w + t * width + v * lanes);
    KERNELMILL_UNROLL
    for (int i = 0; i < IB; ++i) {
      const Vec left = broadcast(a[t * width + i]);
      KERNELMILL_UNROLL
      for (int v = 0; v < JV; ++v) sum[i][v] += left * right[v];
    }
  }
  KERNELMILL_UNROLL
  for (int i = 0; i < IB; ++i) {
    KERNELMILL_UNROLL
    for (int v = 0; v < JV; ++v) tile::store(outer + i * width + v * lanes, sum[i][v]);
  }
}

void add_outer(const double* a, const double* w, index_t n, index_t width, double* outer) {
  constexpr int IB = 4, JV = 2;
  for (index_t j = 0; j < width; j += JV * lanes) {
    const bool pair = j + JV * lanes <= width;
    index_t i = 0;
    for (; i + IB <= width; i += IB) {
      double* const at = outer + i * width + j;
      pair ? add_outer<IB, JV>(a + i, w + j, n, width, at)
           : add_outer<IB, 1>(a + i, w + j, n, width, at);
    }
    for (; i < width; i += 2) {  // two lanes at level 2
      double* const at = outer + i * width + j;
      pair ? add_outer<2, JV>(a + i, w + j, n, width, at)
           : add_outer<2, 1>(a + i, w + j, n, width, at);
    }
  }
}

}  // namespace

void expected_counts(CountRows rows, index_t n, index_t k, double* gamma, double* outer) {
  constexpr index_t block = 64;
  const index_t width = padded(k), vectors = width / lanes;
  Workspace<double> room(static_cast<std::size_t>((2 * block + 1) * width));
  double* const a = room.data();  // alpha of the row before the block, then those of the block
  double* const w = a + (block + 1) * width;
  if (rows.before != nullptr) std::copy_n(rows.before, width, a);
  index_t first = rows.before == nullptr ? 1 : 0;  // row of the block that ends a transition
  for (index_t t0 = 0; t0 < n; t0 += block) {
    const index_t count = std::min(block, n - t0);
    by_vectors(vectors, [&]<int NV>() {
      for (index_t r = 0; r < count; ++r) {
        const index_t t = t0 + r, at = t * width;
        const Vec inverse = broadcast(rows.inverse[t]);
        const Vec scale = broadcast(rows.inverse[t] * rows.factors[t] * rows.weight);
        double* const out = gamma + t * k;
        each_vector<NV>(vectors, [&](index_t j) {
          const Vec alpha = tile::load<Vec>(rows.alpha + at + j);
          const Vec beta = tile::load<Vec>(rows.beta + at + j);
          tile::store(a + (r + 1) * width + j, alpha);
          tile::store(w + r * width + j, beta * tile::load<Vec>(rows.b + at + j) * scale);
          const Vec g = alpha * beta * inverse;
          if (k == width || j + lanes <= k) {
            tile::store(out + j, g);
          } else {
            for (index_t l = 0; j + l < k; ++l) out[j + l] = g[static_cast<int>(l)];
          }
        });
      }
    });
    add_outer(a + first * width, w + first * width, count - first, width, outer);
    first = 0;
    std::copy_n(a + count * width, width, a);
  }
}

}  // namespace kernelmill::hmm
