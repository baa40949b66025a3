#include "ops/pool.hpp"

#include <algorithm>    // std::fill_n, std::max
#include <limits>       // infinity
#include <type_traits>  // std::conditional_t

#include "core/parallel.hpp"   // parallel_for
#include "core/workspace.hpp"  // Workspace

namespace kernelmill::pool {
namespace {

index_t product(const Triple& t) { return t[0] * t[1] * t[2]; }

// Planes that are worth a task: about 20 us at a nanosecond for each element touched.
index_t grain(index_t plane) {
  return std::max<index_t>(1, (1 << 14) / std::max<index_t>(1, plane));
}

template <class Body>
void each_plane(index_t planes, index_t size, Body body) {
  parallel_for(planes, grain(size), [&](index_t, index_t begin, index_t end) {
    for (index_t i = begin; i < end; ++i) body(i);
  });
}

// The ranges of one axis.
struct Axis {
  const std::int64_t *begin, *end;
};
Axis axis(const Windows& w, std::size_t a) {
  index_t first = 0;
  for (std::size_t i = 0; i < a; ++i) first += w.out[i];
  return {w.begin + first, w.end + first};
}

// Whether the only window is the whole plane.
bool global(const Windows& w) {
  bool whole = w.out == Triple{1, 1, 1};
  for (std::size_t i = 0; whole && i < 3; ++i) whole = w.begin[i] == 0 && w.end[i] == w.in[i];
  return whole;
}

// The largest values seen so far, and where they are: NaN counts as larger than any number, and of
// equals the first in C order is kept. Row is an integer as wide as T, so that both fill vectors of
// as many lanes.
template <class T, class Row>
struct Largest {
  T* value;
  Row *row, *column;

  // A row below those seen.
  void add_below(const T* from, index_t width, Row number) const {
#pragma omp simd
    for (index_t r = 0; r < width; ++r) {
      const bool better = from[r] > value[r] || (from[r] != from[r] && value[r] == value[r]);
      row[r] = better ? number : row[r];
      value[r] = better ? from[r] : value[r];
    }
  }

  // Columns to the right of those seen: element k meets column at + k * stride.
  template <int fixed>
  void add_right(const Largest& columns, index_t at, index_t stride, index_t count) const {
    const index_t step = fixed == 0 ? stride : fixed;
    const T* const others = columns.value + at;
    const Row* const rows = columns.row + at;
#pragma omp simd
    for (index_t k = 0; k < count; ++k) {
      const T other = others[k * step], best = value[k];
      const Row place = rows[k * step];
      const bool equal = other == best || (other != other && best != best);
      const bool better =
          other > best || (other != other && best == best) || (equal && place < row[k]);
      column[k] = better ? static_cast<Row>(at + k * step) : column[k];
      row[k] = better ? place : row[k];
      value[k] = better ? other : best;
    }
  }

  // Windows of columns: `count` of `length` columns each, `step` apart, from `at` on.
  void take(const Largest& columns, index_t at, index_t stride, index_t count, index_t length,
            index_t step) const {
    for (index_t k = 0; k < count; ++k) {
      value[k] = columns.value[at + k * stride];
      row[k] = columns.row[at + k * stride];
      column[k] = static_cast<Row>(at + k * stride);
    }
    for (index_t r = step; r < length; r += step) {
      if (stride == 1) {
        add_right<1>(columns, at + r, stride, count);
      } else if (stride == 2) {
        add_right<2>(columns, at + r, stride, count);
      } else {
        add_right<0>(columns, at + r, stride, count);
      }
    }
  }
};

// Windows first, ..., last - 1 of an axis that have one length and lie at equal distances.
struct Regular {
  index_t last, stride;

  Regular(const Axis& axis, index_t first, index_t count) : last(first + 1), stride(1) {
    const auto length = [&](index_t k) { return axis.end[k] - axis.begin[k]; };
    if (last < count) stride = axis.begin[last] - axis.begin[first];
    while (last < count && length(last) == length(first) &&
           axis.begin[last] - axis.begin[last - 1] == stride) {
      ++last;
    }
  }
};

// The largest value of a whole plane: as of rows of a vector each.
template <class T, class Row>
void global_maximum(index_t planes, index_t size, const T* x, T* y, std::int64_t* indices) {
  constexpr index_t lanes = 64 / sizeof(T);
  each_plane(planes, size, [&](index_t plane) {
    T values[lanes] = {}, best;
    Row rows[lanes] = {}, row, column;
    const T* const from = x + plane * size;
    const index_t width = std::min(lanes, size);
    const Largest<T, Row> columns{values, rows, nullptr};
    std::copy_n(from, width, values);
    index_t number = 1;
    for (; (number + 1) * lanes <= size; ++number) {
      columns.add_below(from + number * lanes, lanes, static_cast<Row>(number));
    }
    if (number * lanes < size) {
      columns.add_below(from + number * lanes, size - number * lanes, static_cast<Row>(number));
    }
    Largest<T, Row>{&best, &row, &column}.take(columns, 0, 1, 1, width, 1);
    y[plane] = best;
    indices[plane] = std::int64_t{row} * lanes + column;
  });
}

template <class T, class Row>
void maximum_by(const Windows& w, index_t planes, const T* x, T* y, std::int64_t* indices) {
  const index_t in = product(w.in), out = product(w.out), width = w.in[2], windows = w.out[2];
  const Axis a = axis(w, 0), b = axis(w, 1), c = axis(w, 2);
  if (global(w) && w.step == Triple{1, 1, 1} && in > 0) {
    global_maximum<T, Row>(planes, in, x, y, indices);
    return;
  }
  each_plane(planes, std::max(in, out), [&](index_t plane) {
    const Workspace<T> values(static_cast<std::size_t>(width));
    const Workspace<Row> places(static_cast<std::size_t>(width + 2 * windows));
    const Largest<T, Row> columns{values.data(), places.data(), nullptr};
    Row* const rows = places.data() + width;
    for (index_t line = 0; line < w.out[0] * w.out[1]; ++line) {
      const index_t i = line / w.out[1], j = line % w.out[1];
      bool empty = true;
      for (index_t p = a.begin[i]; p < a.end[i]; p += w.step[0]) {
        for (index_t q = b.begin[j]; q < b.end[j]; q += w.step[1]) {
          const index_t number = p * w.in[1] + q;
          const T* const row = x + plane * in + number * width;
          if (empty) {
            std::copy_n(row, width, columns.value);
            std::fill_n(columns.row, width, static_cast<Row>(number));
            empty = false;
          } else {
            columns.add_below(row, width, static_cast<Row>(number));
          }
        }
      }
      const index_t at = plane * out + line * windows;
      for (index_t k = 0; k < windows;) {
        const Regular some(c, k, windows);
        const index_t count = some.last - k, length = c.end[k] - c.begin[k];
        const Largest<T, Row> best{y + at + k, rows + k, rows + windows + k};
        if (empty || length <= 0) {
          std::fill_n(best.value, count, -std::numeric_limits<T>::infinity());
          std::fill_n(best.row, count, Row{0});
          std::fill_n(best.column, count, Row{0});
        } else {
          best.take(columns, c.begin[k], some.stride, count, length, w.step[2]);
        }
        k = some.last;
      }
      for (index_t k = 0; k < windows; ++k) {
        indices[at + k] = std::int64_t{rows[k]} * width + rows[windows + k];
      }
    }
  });
}

}  // namespace

template <class T>
void maximum(const Windows& w, index_t planes, const T* x, T* y, std::int64_t* indices) {
  using Row = std::conditional_t<sizeof(T) == 4, std::int32_t, std::int64_t>;
  if (std::max(w.in[0] * w.in[1], w.in[2]) <= std::numeric_limits<Row>::max()) {
    maximum_by<T, Row>(w, planes, x, y, indices);
  } else {
    maximum_by<T, std::int64_t>(w, planes, x, y, indices);
  }
}

template <class T>
void scatter(index_t planes, index_t values, index_t size, const T* x, const std::int64_t* indices,
             T* y) {
  each_plane(planes, std::max(values, size), [&](index_t plane) {
    T* const to = y + plane * size;
    std::fill_n(to, size, T{0});
    for (index_t i = plane * values; i < (plane + 1) * values; ++i) to[indices[i]] += x[i];
  });
}

template <class T>
void gather(index_t planes, index_t values, index_t size, const T* x, const std::int64_t* indices,
            T* y) {
  each_plane(planes, values, [&](index_t plane) {
    for (index_t i = plane * values; i < (plane + 1) * values; ++i) {
      y[i] = x[plane * size + indices[i]];
    }
  });
}

template <class T>
void average(const Windows& w, index_t planes, const T* x, T* y) {
  const index_t in = product(w.in), out = product(w.out), width = w.in[2];
  const Axis a = axis(w, 0), b = axis(w, 1), c = axis(w, 2);
  const double *const ca = w.count, *const cb = ca + w.out[0], *const cc = cb + w.out[1];
  if (global(w)) {
    each_plane(planes, in, [&](index_t plane) {
      const T* const from = x + plane * in;
      double sum = 0;
#pragma omp simd reduction(+ : sum)
      for (index_t e = 0; e < in; ++e) sum += static_cast<double>(from[e]);
      y[plane] = static_cast<T>(sum / (ca[0] * cb[0] * cc[0] * w.divisor));
    });
    return;
  }
  each_plane(planes, std::max(in, out), [&](index_t plane) {
    const T* const from = x + plane * in;
    T* to = y + plane * out;
    const Workspace<double> memory(static_cast<std::size_t>(width));
    double* const sums = memory.data();
    for (index_t i = 0; i < w.out[0]; ++i) {
      for (index_t j = 0; j < w.out[1]; ++j) {
        std::fill_n(sums, width, 0.0);  // of the rows, then of ranges of their sum
        for (index_t p = a.begin[i]; p < a.end[i]; ++p) {
          for (index_t q = b.begin[j]; q < b.end[j]; ++q) {
            const T* const row = from + (p * w.in[1] + q) * width;
            for (index_t r = 0; r < width; ++r) sums[r] += static_cast<double>(row[r]);
          }
        }
        for (index_t k = 0; k < w.out[2]; ++k) {
          double sum = 0;
          for (index_t r = c.begin[k]; r < c.end[k]; ++r) sum += sums[r];
          *to++ = static_cast<T>(sum / (ca[i] * cb[j] * cc[k] * w.divisor));
        }
      }
    }
  });
}

template <class T>
void average_gradient(const Windows& w, index_t planes, const T* dout, T* dx) {
  const index_t in = product(w.in), out = product(w.out), width = w.in[2];
  const Axis a = axis(w, 0), b = axis(w, 1), c = axis(w, 2);
  const double *const ca = w.count, *const cb = ca + w.out[0], *const cc = cb + w.out[1];
  each_plane(planes, std::max(in, out), [&](index_t plane) {
    const T* from = dout + plane * out;
    T* const to = dx + plane * in;
    const Workspace<double> memory(static_cast<std::size_t>(in + width));
    double *const sums = memory.data(), *const shares = sums + in;
    std::fill_n(sums, in, 0.0);
    for (index_t i = 0; i < w.out[0]; ++i) {
      for (index_t j = 0; j < w.out[1]; ++j) {
        std::fill_n(shares, width, 0.0);
        for (index_t k = 0; k < w.out[2]; ++k) {
          const double share = static_cast<double>(*from++) / (ca[i] * cb[j] * cc[k] * w.divisor);
          for (index_t r = c.begin[k]; r < c.end[k]; ++r) shares[r] += share;
        }
        for (index_t p = a.begin[i]; p < a.end[i]; ++p) {
          for (index_t q = b.begin[j]; q < b.end[j]; ++q) {
            double* const row = sums + (p * w.in[1] + q) * width;
            for (index_t r = 0; r < width; ++r) row[r] += shares[r];
          }
        }
      }
    }
    for (index_t e = 0; e < in; ++e) to[e] = static_cast<T>(sums[e]);
  });
}

KERNELMILL_POOL(, float)
KERNELMILL_POOL(, double)

}  // namespace kernelmill::pool
