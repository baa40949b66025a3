// Values that share statistics are walked for the mean, for squares about it, and to be written.
// They lie in adjacent segments (`Rows`), or, for a batch of vectors, in columns, which are taken
// kLanes at a time with one lane each. Arithmetic is in float64 for float32 too: memory is slower,
// a float32 mean would lose the digits of deviations, and no square overflows.
#include "ops/norm.hpp"

#include <algorithm>  // std::min, std::max, std::fill_n
#include <cmath>      // std::sqrt, std::isfinite
#include <vector>     // sums of parameters

#include "core/error.hpp"      // invalid
#include "core/math.hpp"       // KERNELMILL_INLINE
#include "core/parallel.hpp"   // parallel_for, ordered_reduce
#include "core/workspace.hpp"  // Workspace

namespace kernelmill::norm {
namespace {

constexpr index_t kLanes = 32;
// Values of a task: 20 to 60 us.
constexpr index_t kTask = 1 << 15;
// Tasks with sums of all parameters of their own.
constexpr index_t kMostSums = 64;

struct Statistics {
  double mean, variance, inverse;
};

// From the sums of n values, times scale, minus origin, and of their squares.
Statistics finish(double n, double origin, double sum, double squares, double eps, double scale) {
  const double off = sum / n;
  double variance = squares / n - off * off;
  variance = variance < 0 ? 0 : variance;  // NaN stays
  return {variance != variance ? variance : (origin + off) / scale, variance / scale / scale,
          scale / std::sqrt(variance + eps * scale * scale)};
}

// Where float64 squares leave the range, rows are scaled by this; what then underflows is
// negligible beside what overflowed.
constexpr double kScale = 0x1p-600;
template <class T>
bool overflows(const Statistics& s) {
  return sizeof(T) == 8 && !std::isfinite(s.variance);
}

// Values that share statistics: `segments` of `length` adjacent ones. Segment s has parameter
// `parameter + s * step`, or, with `each`, the values of the only segment have one each.
struct Rows {
  index_t segments, length, parameter, step;
  bool each;
  double count() const { return static_cast<double>(segments * length); }
};

// An operand of them.
template <class T>
struct Segments {
  T* data;
  index_t stride;
  T* operator[](index_t s) const { return data + s * stride; }
};

// Sums of values, and of squares, of f(value).
struct Moments {
  double sum = 0, squares = 0;
};

template <class T, class F>
KERNELMILL_INLINE Moments moments(const Rows& rows, Segments<const T> x, F f) {
  Moments total;
  for (index_t s = 0; s < rows.segments; ++s) {
    const T* const v = x[s];
    double part = 0, squares = 0;
#pragma omp simd reduction(+ : part, squares)
    for (index_t i = 0; i < rows.length; ++i) {
      const double d = f(static_cast<double>(v[i]));
      part += d;
      squares += d * d;
    }
    total.sum += part;
    total.squares += squares;
  }
  return total;
}

// float64 is summed about its mean. For float32 one pass less is needed: any of its values will do,
// as it lies within sqrt(n) deviations of the mean, which costs n of the 2^29 units that float64 is
// finer than float32.
template <class T>
Statistics statistics(const Rows& rows, Segments<const T> x, double eps, bool centered,
                      double scale = 1) {
  double origin = 0;
  if (centered && sizeof(T) == 8) {
    origin = moments(rows, x, [scale](double v) { return v * scale; }).sum / rows.count();
  } else if (centered && rows.count() > 0) {
    origin = static_cast<double>(*x.data);
  }
  Moments m = moments(rows, x, [=](double v) { return v * scale - origin; });
  if (!centered) m.sum = 0;
  Statistics found = finish(rows.count(), origin, m.sum, m.squares, eps, scale);
  if (!centered) found.mean = 0;
  return scale == 1 && overflows<T>(found) ? statistics(rows, x, eps, centered, kScale) : found;
}

template <class T>
double at(std::span<const T> parameters, index_t i, double otherwise) {
  return parameters.empty() ? otherwise : static_cast<double>(parameters[static_cast<size_t>(i)]);
}

template <class T>
void write(const Rows& rows, Segments<const T> x, double mean, double inverse,
           std::span<const T> weight, std::span<const T> bias, Segments<T> y) {
  if (rows.each && !weight.empty()) {
    const T* const w = weight.data() + rows.parameter;
    const T* const b = bias.empty() ? nullptr : bias.data() + rows.parameter;
#pragma omp simd
    for (index_t i = 0; i < rows.length; ++i) {
      const double v = (static_cast<double>(x[0][i]) - mean) * inverse * static_cast<double>(w[i]);
      y[0][i] = static_cast<T>(b == nullptr ? v : v + static_cast<double>(b[i]));
    }
    return;
  }
  for (index_t s = 0; s < rows.segments; ++s) {
    const index_t p = rows.parameter + s * rows.step;
    const double factor = inverse * (rows.each ? 1.0 : at(weight, p, 1.0));
    const double shift = rows.each ? 0.0 : at(bias, p, 0.0);
    const T* const from = x[s];
    T* const to = y[s];
#pragma omp simd
    for (index_t i = 0; i < rows.length; ++i) {
      to[i] = static_cast<T>((static_cast<double>(from[i]) - mean) * factor + shift);
    }
    if (rows.each && !bias.empty()) {
      for (index_t i = 0; i < rows.length; ++i) to[i] += bias[static_cast<size_t>(p + i)];
    }
  }
}

// Adds to the sums of the parameters and writes dx.
template <class T>
void write_gradient(const Rows& rows, Segments<const T> dout, Segments<const T> x, double mean,
                    double inverse, std::span<const T> weight, bool centered, bool constant,
                    Segments<T> dx, double* dweight, double* dbias) {
  double sum_g = 0, sum_gy = 0;
  if (rows.each) {
    const T *const d = dout.data, *const v = x.data;
    const T* const w = weight.empty() ? nullptr : weight.data() + rows.parameter;
    double *const dw = dweight + rows.parameter, *const db = dbias + rows.parameter;
#pragma omp simd reduction(+ : sum_g, sum_gy)
    for (index_t i = 0; i < rows.length; ++i) {
      const double out = static_cast<double>(d[i]);
      const double y = (static_cast<double>(v[i]) - mean) * inverse;
      const double g = w == nullptr ? out : out * static_cast<double>(w[i]);
      dw[i] += out * y;
      db[i] += out;
      sum_g += g;
      sum_gy += g * y;
    }
  } else {
    for (index_t s = 0; s < rows.segments; ++s) {
      const T *const d = dout[s], *const v = x[s];
      double part = 0, part_y = 0;
#pragma omp simd reduction(+ : part, part_y)
      for (index_t i = 0; i < rows.length; ++i) {
        part += static_cast<double>(d[i]);
        part_y += static_cast<double>(d[i]) * ((static_cast<double>(v[i]) - mean) * inverse);
      }
      const index_t p = rows.parameter + s * rows.step;
      dweight[p] += part_y;
      dbias[p] += part;
      sum_g += part * at(weight, p, 1.0);
      sum_gy += part_y * at(weight, p, 1.0);
    }
  }
  const double mean_g = centered && !constant ? sum_g / rows.count() : 0.0;
  const double mean_gy = constant ? 0.0 : sum_gy / rows.count();
  for (index_t s = 0; s < rows.segments; ++s) {
    const T *const d = dout[s], *const v = x[s];
    T* const to = dx[s];
    const index_t p = rows.parameter + s * rows.step;
    const T* const w = rows.each && !weight.empty() ? weight.data() + p : nullptr;
    const double factor = rows.each ? 1.0 : at(weight, p, 1.0);
#pragma omp simd
    for (index_t i = 0; i < rows.length; ++i) {
      const double y = (static_cast<double>(v[i]) - mean) * inverse;
      const double g = static_cast<double>(d[i]) * (w == nullptr ? factor : double(w[i]));
      to[i] = static_cast<T>(inverse * (g - mean_g - y * mean_gy));
    }
  }
}

// A view whose places, or channels where there is one place, are adjacent: x itself or a copy.
template <class T>
CubeView<const T> adjacent(CubeView<const T> x, Workspace<T>& memory) {
  const index_t n = x.shape[0], c = x.shape[1], k = x.shape[2];  // a lambda takes no binding
  if ((k == 1 ? c : k) <= 1 || x.strides[k == 1 ? 1 : 2] == 1) return x;
  memory = Workspace<T>(static_cast<std::size_t>(n * c * k));
  T* const to = memory.data();
  parallel_for(n, std::max<index_t>(1, kTask / std::max<index_t>(1, c * k)),
               [&](index_t, index_t begin, index_t end) {
                 for (index_t i = begin; i < end; ++i) {
                   for (index_t j = 0; j < c; ++j) {
                     const T* const from = x.data + i * x.strides[0] + j * x.strides[1];
                     for (index_t p = 0; p < k; ++p) {
                       to[(i * c + j) * k + p] = from[p * x.strides[2]];
                     }
                   }
                 }
               });
  return {to, x.shape, {c * k, k, 1}};
}

// Group `group` of sample i.
template <class T>
Segments<T> group_of(CubeView<T> x, index_t i, index_t first_channel) {
  return {x.data + i * x.strides[0] + first_channel * x.strides[1], x.strides[1]};
}
Rows group_rows(index_t channels, index_t k, index_t group) {
  const index_t first = group * channels;
  return k == 1 ? Rows{1, channels, first, 0, true} : Rows{channels, k, first, 1, false};
}

void check_groups(const char* op, index_t channels, index_t groups) {
  if (groups < 1 || channels % groups != 0) {
    invalid(op, "groups must divide ", channels, " channels, got ", groups);
  }
}

// --- a batch of vectors
// ---------------------------------------------------------------------------

// Sums over the rows of columns [j, j + width), lane by lane.
template <class T, class F>
KERNELMILL_INLINE void sum_columns(const CubeView<const T>& x, index_t j, index_t width, double* to,
                                   F f) {
  double s[kLanes] = {};
  for (index_t i = 0; i < x.shape[0]; ++i) {
    const T* const v = x.data + i * x.strides[0] + j;
    if (width == kLanes) {
#pragma omp simd
      for (index_t l = 0; l < kLanes; ++l) s[l] += f(static_cast<double>(v[l]), i, l);
    } else {
      for (index_t l = 0; l < width; ++l) s[l] += f(static_cast<double>(v[l]), i, l);
    }
  }
  std::copy_n(s, kLanes, to);
}

template <class T>
void column_statistics(CubeView<const T> x, index_t j, index_t width, double eps, double scale,
                       Statistics* found) {
  const double n = static_cast<double>(x.shape[0]);
  double origin[kLanes] = {}, sum[kLanes], squares[kLanes];
  if (sizeof(T) == 8) {  // as in `statistics`
    sum_columns(x, j, width, origin, [=](double v, index_t, index_t) { return v * scale; });
    for (double& o : origin) o /= n;
  } else if (x.shape[0] > 0) {
    for (index_t l = 0; l < width; ++l) origin[l] = static_cast<double>(x.data[j + l]);
  }
  sum_columns(x, j, width, sum,
              [&](double v, index_t, index_t l) { return v * scale - origin[l]; });
  sum_columns(x, j, width, squares, [&](double v, index_t, index_t l) {
    const double d = v * scale - origin[l];
    return d * d;
  });
  for (index_t l = 0; l < width; ++l) {
    const Statistics s = finish(n, origin[l], sum[l], squares[l], eps, scale);
    if (scale == 1 || overflows<T>(found[l])) found[l] = s;
  }
}

// to(i, j + l) = f(x(i, j + l), i, l).
template <class T, class F>
KERNELMILL_INLINE void write_columns(const CubeView<const T>& x, index_t j, index_t width,
                                     const CubeView<T>& to, F f) {
  for (index_t i = 0; i < x.shape[0]; ++i) {
    const T* const v = x.data + i * x.strides[0] + j;
    T* const y = to.data + i * to.strides[0] + j;
    if (width == kLanes) {
#pragma omp simd
      for (index_t l = 0; l < kLanes; ++l)
        y[l] = static_cast<T>(f(static_cast<double>(v[l]), i, l));
    } else {
      for (index_t l = 0; l < width; ++l) y[l] = static_cast<T>(f(static_cast<double>(v[l]), i, l));
    }
  }
}

// body(j, width) for panels of columns where there is one place, body(j, 0) for channels otherwise.
template <class Shape, class Body>
void each_channel(const Shape& shape, Body body) {
  const auto [n, c, k] = shape;
  const index_t width = k == 1 ? kLanes : 1;
  const index_t values = std::max<index_t>(1, n * k * width);
  parallel_for(chunk_count(c, width), std::max<index_t>(1, kTask / values),
               [&, c = c, k = k](index_t, index_t begin, index_t end) {
                 for (index_t j = begin * width; j < std::min(c, end * width); j += width) {
                   body(j, k == 1 ? std::min(width, c - j) : index_t{0});
                 }
               });
}

template <class T>
Segments<T> channel_of(CubeView<T> x, index_t j) {
  return {x.data + j * x.strides[1], x.strides[0]};
}
template <class T>
Rows channel_rows(const CubeView<T>& x, index_t j) {
  return {x.shape[0], x.shape[2], j, 0, false};
}

}  // namespace

template <class T>
void group(CubeView<const T> x, std::span<const T> weight, std::span<const T> bias, index_t groups,
           double eps, bool centered, CubeView<T> y, std::span<double> mean,
           std::span<double> inverse) {
  check_groups("norm.group", x.shape[1], groups);
  Workspace<T> memory;
  x = adjacent(x, memory);
  const index_t channels = x.shape[1] / groups, k = x.shape[2];
  const index_t grain = std::max<index_t>(1, kTask / std::max<index_t>(1, channels * k));
  parallel_for(x.shape[0] * groups, grain, [&](index_t, index_t begin, index_t end) {
    for (index_t r = begin; r < end; ++r) {
      const index_t i = r / groups, g = r % groups;
      const Rows rows = group_rows(channels, k, g);
      const Segments<const T> from = group_of(x, i, rows.parameter);
      const Statistics s = statistics(rows, from, eps, centered);
      mean[static_cast<size_t>(r)] = s.mean;
      inverse[static_cast<size_t>(r)] = s.inverse;
      write(rows, from, s.mean, s.inverse, weight, bias, group_of(y, i, rows.parameter));
    }
  });
}

template <class T>
void group_backward(CubeView<const T> dout, CubeView<const T> x, MatrixView<const double> mean,
                    std::span<const double> inverse, std::span<const T> weight, bool centered,
                    CubeView<T> dx, std::span<T> dweight, std::span<T> dbias) {
  const auto [n, c, k] = x.shape;
  const index_t groups = mean.cols;
  check_groups("norm.group_backward", c, groups);
  Workspace<T> memory, dout_memory;
  x = adjacent(x, memory);
  dout = adjacent(dout, dout_memory);
  const index_t channels = c / groups, places = k;
  const auto parameters = static_cast<std::size_t>(c);
  using Sums = std::vector<double>;  // of dweight, then of dbias
  const index_t least = std::max<index_t>(1, kTask / std::max<index_t>(1, channels * k));
  const Sums sums = ordered_reduce<Sums>(
      n * groups, bounded_grain(n * groups, least, kMostSums), [&] { return Sums(2 * parameters); },
      [&](Sums& own, index_t, index_t begin, index_t end) {
        for (index_t r = begin; r < end; ++r) {
          const index_t i = r / groups, g = r % groups;
          const Rows rows = group_rows(channels, places, g);
          write_gradient(rows, group_of(dout, i, rows.parameter), group_of(x, i, rows.parameter),
                         mean(i, g), inverse[static_cast<size_t>(r)], weight, centered, false,
                         group_of(dx, i, rows.parameter), own.data(), own.data() + parameters);
        }
      },
      [](Sums& into, const Sums& from) {
        for (std::size_t j = 0; j < into.size(); ++j) into[j] += from[j];
      });
  for (std::size_t j = 0; j < parameters; ++j) {
    dweight[j] = static_cast<T>(sums[j]);
    dbias[j] = static_cast<T>(sums[parameters + j]);
  }
}

template <class T>
void batch(CubeView<const T> x, std::span<const T> weight, std::span<const T> bias, double eps,
           CubeView<T> y, std::span<double> mean, std::span<double> variance,
           std::span<double> inverse) {
  Workspace<T> memory;
  x = adjacent(x, memory);
  each_channel(x.shape, [&](index_t j, index_t width) {
    Statistics found[kLanes];
    if (width == 0) {
      const Segments<const T> from = channel_of(x, j);
      found[0] = statistics(channel_rows(x, j), from, eps, true);
      write(channel_rows(x, j), from, found[0].mean, found[0].inverse, weight, bias,
            channel_of(y, j));
    } else {
      column_statistics(x, j, width, eps, 1.0, found);
      bool any = false;
      for (index_t l = 0; l < width; ++l) any |= overflows<T>(found[l]);
      if (any) column_statistics(x, j, width, eps, kScale, found);
      double center[kLanes], factor[kLanes], shift[kLanes];
      for (index_t l = 0; l < width; ++l) {
        center[l] = found[l].mean;
        factor[l] = found[l].inverse * at(weight, j + l, 1.0);
        shift[l] = at(bias, j + l, 0.0);
      }
      write_columns(x, j, width, y, [&](double v, index_t, index_t l) {
        return (v - center[l]) * factor[l] + shift[l];
      });
    }
    for (index_t l = 0; l < std::max<index_t>(1, width); ++l) {
      const auto to = static_cast<std::size_t>(j + l);
      mean[to] = found[l].mean;
      variance[to] = found[l].variance;
      inverse[to] = found[l].inverse;
    }
  });
}

template <class T>
void batch_evaluate(CubeView<const T> x, std::span<const double> mean,
                    std::span<const double> inverse, std::span<const T> weight,
                    std::span<const T> bias, CubeView<T> y) {
  Workspace<T> memory;
  x = adjacent(x, memory);
  each_channel(x.shape, [&](index_t j, index_t width) {
    if (width == 0) {
      return write(channel_rows(x, j), channel_of(x, j), mean[j], inverse[j], weight, bias,
                   channel_of(y, j));
    }
    double factor[kLanes], shift[kLanes];
    for (index_t l = 0; l < width; ++l) {
      factor[l] = inverse[j + l] * at(weight, j + l, 1.0);
      shift[l] = at(bias, j + l, 0.0);
    }
    const double* const center = mean.data() + j;
    write_columns(x, j, width, y, [&](double v, index_t, index_t l) {
      return (v - center[l]) * factor[l] + shift[l];
    });
  });
}

template <class T>
void batch_backward(CubeView<const T> dout, CubeView<const T> x, std::span<const double> mean,
                    std::span<const double> inverse, std::span<const T> weight, bool evaluate,
                    CubeView<T> dx, std::span<T> dweight, std::span<T> dbias) {
  Workspace<T> memory, dout_memory;
  x = adjacent(x, memory);
  dout = adjacent(dout, dout_memory);
  each_channel(x.shape, [&](index_t j, index_t width) {
    double dw[kLanes] = {}, db[kLanes] = {};
    if (width == 0) {
      Rows rows = channel_rows(x, j);
      rows.parameter = 0;
      write_gradient(rows, channel_of(dout, j), channel_of(x, j), mean[j], inverse[j],
                     weight.empty() ? weight : weight.subspan(static_cast<size_t>(j), 1), true,
                     evaluate, channel_of(dx, j), dw, db);
    } else {
      const double *const center = mean.data() + j, *const scale = inverse.data() + j;
      sum_columns(dout, j, width, db, [](double d, index_t, index_t) { return d; });
      sum_columns(dout, j, width, dw, [&](double d, index_t i, index_t l) {
        const T v = x.data[i * x.strides[0] + j + l];
        return d * ((static_cast<double>(v) - center[l]) * scale[l]);
      });
      const double n = static_cast<double>(x.shape[0]);
      double factor[kLanes], mean_g[kLanes] = {}, mean_gy[kLanes] = {};
      for (index_t l = 0; l < width; ++l) {
        factor[l] = scale[l] * at(weight, j + l, 1.0);
        if (evaluate) continue;
        mean_g[l] = db[l] / n;
        mean_gy[l] = dw[l] / n;
      }
      write_columns(dout, j, width, dx, [&](double d, index_t i, index_t l) {
        const T v = x.data[i * x.strides[0] + j + l];
        const double y = (static_cast<double>(v) - center[l]) * scale[l];
        return factor[l] * (d - mean_g[l] - y * mean_gy[l]);
      });
    }
    for (index_t l = 0; l < std::max<index_t>(1, width); ++l) {
      dweight[static_cast<size_t>(j + l)] = static_cast<T>(dw[l]);
      dbias[static_cast<size_t>(j + l)] = static_cast<T>(db[l]);
    }
  });
}

#define KERNELMILL_NORM(T)                                                                         \
  template void group<T>(CubeView<const T>, std::span<const T>, std::span<const T>, index_t,       \
                         double, bool, CubeView<T>, std::span<double>, std::span<double>);         \
  template void group_backward<T>(CubeView<const T>, CubeView<const T>, MatrixView<const double>,  \
                                  std::span<const double>, std::span<const T>, bool, CubeView<T>,  \
                                  std::span<T>, std::span<T>);                                     \
  template void batch<T>(CubeView<const T>, std::span<const T>, std::span<const T>, double,        \
                         CubeView<T>, std::span<double>, std::span<double>, std::span<double>);    \
  template void batch_evaluate<T>(CubeView<const T>, std::span<const double>,                      \
                                  std::span<const double>, std::span<const T>, std::span<const T>, \
                                  CubeView<T>);                                                    \
  template void batch_backward<T>(CubeView<const T>, CubeView<const T>, std::span<const double>,   \
                                  std::span<const double>, std::span<const T>, bool, CubeView<T>,  \
                                  std::span<T>, std::span<T>);
KERNELMILL_NORM(float)
KERNELMILL_NORM(double)

}  // namespace kernelmill::norm
