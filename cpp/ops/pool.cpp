#include "ops/pool.hpp"

#include <algorithm>    // std::fill_n, std::max
#include <cstring>      // std::memcpy
#include <limits>       // infinity
#include <stdexcept>    // std::out_of_range
#include <string>       // its message
#include <type_traits>  // std::conditional_t
#include <utility>      // std::integer_sequence

#include "core/parallel.hpp"   // parallel_for
#include "core/tile_pack.hpp"  // vectors
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
// equals the first in C order is kept. A place is that of a row plus a column; it is as wide as T,
// so that both fill vectors of as many lanes.
template <class T, class Place>
struct Largest {
  T* value;
  Place *row, *column;

  void begin(const T* from, index_t width, Place place) const {
    std::copy_n(from, width, value);
    std::fill_n(row, width, place);
  }

  // A row below those seen.
  void add_below(const T* from, index_t width, Place place) const {
#pragma omp simd
    for (index_t r = 0; r < width; ++r) {
      const bool better = from[r] > value[r] || (from[r] != from[r] && value[r] == value[r]);
      row[r] = better ? place : row[r];
      value[r] = better ? from[r] : value[r];
    }
  }

  // Columns to the right of those seen: element k meets column at + k * stride.
  template <int fixed>
  void add_right(const Largest& columns, index_t at, index_t stride, index_t count) const {
    const index_t step = fixed == 0 ? stride : fixed;
    const T* const others = columns.value + at;
    const Place* const rows = columns.row + at;
#pragma omp simd
    for (index_t k = 0; k < count; ++k) {
      const T other = others[k * step], best = value[k];
      const Place place = rows[k * step];
      const bool equal = other == best || (other != other && best != best);
      const bool better =
          other > best || (other != other && best == best) || (equal && place < row[k]);
      column[k] = better ? static_cast<Place>(at + k * step) : column[k];
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
      column[k] = static_cast<Place>(at + k * stride);
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
  index_t last, stride = 1;

  Regular(const Axis& axis, index_t first, index_t count) : last(first + 1) {
    const auto length = [&](index_t k) { return axis.end[k] - axis.begin[k]; };
    if (last < count) stride = axis.begin[last] - axis.begin[first];
    while (last < count && length(last) == length(first) &&
           axis.begin[last] - axis.begin[last - 1] == stride) {
      ++last;
    }
  }
};

// The largest value of a whole plane: as of rows of a vector each.
template <class T, class Place>
void global_maximum(index_t planes, index_t size, const T* x, T* y, std::int64_t* indices) {
  constexpr index_t lanes = 64 / sizeof(T);
  each_plane(planes, size, [&](index_t plane) {
    T values[lanes] = {}, best;
    Place rows[lanes] = {}, row, column;
    const T* const from = x + plane * size;
    const index_t width = std::min(lanes, size);
    const Largest<T, Place> columns{values, rows, nullptr};
    columns.begin(from, width, Place{0});
    index_t at = lanes;
    for (; at + lanes <= size; at += lanes) {
      columns.add_below(from + at, lanes, static_cast<Place>(at));
    }
    if (at < size) columns.add_below(from + at, size - at, static_cast<Place>(at));
    Largest<T, Place>{&best, &row, &column}.take(columns, 0, 1, 1, width, 1);
    y[plane] = best;
    indices[plane] = std::int64_t{row} + column;
  });
}

// Whether windows are pairs of neighbours of the last two axes, and every element is in one.
bool paired(const Windows& w) {
  bool result = w.step == Triple{1, 1, 1};
  for (std::size_t i = 0; i < 3; ++i) {
    const Axis ranges = axis(w, i);
    const index_t length = i == 0 ? 1 : 2;
    result = result && w.in[i] == length * w.out[i];
    for (index_t k = 0; result && k < w.out[i]; ++k) {
      result = ranges.begin[k] == length * k && ranges.end[k] == length * (k + 1);
    }
  }
  return result;
}

template <class V, int... I>
[[gnu::always_inline]] inline V every_second(const V& a, const V& b, int first,
                                             std::integer_sequence<int, I...>) {
  return first == 0 ? __builtin_shufflevector(a, b, (2 * I)...)
                    : __builtin_shufflevector(a, b, (2 * I + 1)...);
}

// Windows of 2 x 2, which networks pool by: those of a line in vectors, without a pass of its own
// for rows. A batch of 64 x 32 images of 28 x 28 took 1.9 ms by ranges.
template <class T, class Place>
void paired_maximum(const Windows& w, index_t planes, const T* x, T* y, std::int64_t* indices) {
  using Vec = typename tile::Params<T>::Vec;
  using Places [[gnu::vector_size(sizeof(Vec))]] = Place;
  constexpr int lanes = tile::Params<T>::lanes;
  using Wide [[gnu::vector_size(lanes * sizeof(std::int64_t))]] = std::int64_t;
  constexpr std::make_integer_sequence<int, lanes> all{};
  const index_t in = product(w.in), out = product(w.out), width = w.in[2], windows = w.out[2];
  Places ramp;
  for (int l = 0; l < lanes; ++l) ramp[l] = static_cast<Place>(2 * l);
  const auto better = [](auto other, auto best) {
    return other > best || (other != other && best == best);
  };
  each_plane(planes, in, [&](index_t plane) {
    const T* const from = x + plane * in;
    T* const to = y + plane * out;
    std::int64_t* const found = indices + plane * out;
    for (index_t line = 0; line * windows < out; ++line) {
      const index_t row = 2 * line * width;
      for (index_t k = 0; k < windows; k += lanes) {
        const index_t at = line * windows + k, first = row + 2 * k;
        // What lies beyond the line is written again by the next one.
        if (at + lanes <= out && first + width + 2 * lanes <= in) {
          const T* const u = from + first;
          const Vec a = tile::load<Vec>(u), b = tile::load<Vec>(u + lanes);
          const Vec c = tile::load<Vec>(u + width), d = tile::load<Vec>(u + width + lanes);
          Vec best = every_second(a, b, 0, all);
          Places place{};
          const auto add = [&](const Vec& other, index_t shift) {
            const auto taken = (other > best) | ((other != other) & (best == best));
            best = taken ? other : best;
            place = taken ? Places{} + static_cast<Place>(shift) : place;
          };
          add(every_second(a, b, 1, all), 1);
          add(every_second(c, d, 0, all), width);
          add(every_second(c, d, 1, all), width + 1);
          tile::store(to + at, best);
          const Wide places = __builtin_convertvector(place + ramp, Wide) + first;
          std::memcpy(found + at, &places, sizeof places);
          continue;
        }
        for (index_t l = 0; l < std::min<index_t>(lanes, windows - k); ++l) {
          index_t place = first + 2 * l;
          for (const index_t other : {place + 1, place + width, place + width + 1}) {
            if (better(from[other], from[place])) place = other;
          }
          to[at + l] = from[place];
          found[at + l] = place;
        }
      }
    }
  });
}

template <class T, class Place>
void maximum_by(const Windows& w, index_t planes, const T* x, T* y, std::int64_t* indices) {
  const index_t in = product(w.in), out = product(w.out), width = w.in[2], windows = w.out[2];
  const Axis a = axis(w, 0), b = axis(w, 1), c = axis(w, 2);
  if (out == 0) return;
  if (global(w) && w.step == Triple{1, 1, 1} && in > 0) {
    global_maximum<T, Place>(planes, in, x, y, indices);
    return;
  }
  if constexpr (sizeof(Place) == sizeof(T)) {
    if (paired(w)) return paired_maximum<T, Place>(w, planes, x, y, indices);
  }
  // Rows of windows side by side where those of one row follow those of the row before. Columns
  // then do so too: their places are relative to the first of them.
  const auto filled = [](const Axis& axis, index_t count) {
    bool result = true;
    for (index_t i = 0; i < count; ++i) result = result && axis.begin[i] < axis.end[i];
    return result;
  };
  const Regular all(c, 0, windows);
  const bool joined = all.last == windows && c.begin[0] == 0 && c.end[0] <= all.stride &&
                      all.stride * windows == width && filled(a, w.out[0]) && filled(b, w.out[1]) &&
                      filled(c, windows);
  constexpr index_t lanes = 64 / sizeof(T);
  const index_t rounded = (width + lanes - 1) / lanes * lanes;
  const index_t lines = w.out[0] * w.out[1];
  const index_t some = joined ? std::min(lines, std::max<index_t>(1, 2048 / width)) : 1;
  const T* const x_end = x + planes * in;
  each_plane(planes, std::max(in, out), [&](index_t plane) {
    const index_t room = some * width + lanes;
    const Workspace<T> values(static_cast<std::size_t>(room));
    const Workspace<Place> places(static_cast<std::size_t>(room + 2 * some * windows));
    Place *const rows = places.data() + room, *const found = rows + some * windows;
    for (index_t line = 0; line < lines; line += some) {
      const index_t count = std::min(some, lines - line), at = plane * out + line * windows;
      bool empty = false;
      for (index_t l = 0; l < count; ++l) {
        const index_t i = (line + l) / w.out[1], j = (line + l) % w.out[1], shift = l * width;
        const Largest<T, Place> columns{values.data() + shift, places.data() + shift, nullptr};
        bool first = true;
        for (index_t p = a.begin[i]; p < a.end[i]; p += w.step[0]) {
          for (index_t q = b.begin[j]; q < b.end[j]; q += w.step[1]) {
            const index_t row = (p * w.in[1] + q) * width;
            const T* const from = x + plane * in + row;
            // Whole vectors: what they write behind the row is written again by the next one.
            const index_t length = x_end - from >= rounded ? rounded : width;
            const auto place = static_cast<Place>(row - shift);
            if (first) {
              columns.begin(from, length, place);
            } else {
              columns.add_below(from, length, place);
            }
            first = false;
          }
        }
        empty = empty || first;
      }
      const Largest<T, Place> columns{values.data(), places.data(), nullptr};
      for (index_t k = 0; k < count * windows;) {
        const Regular same(c, joined ? 0 : k, windows);
        const index_t number = joined ? count * windows : same.last - k;
        const index_t first = joined ? 0 : k, length = c.end[first] - c.begin[first];
        const Largest<T, Place> best{y + at + k, rows + k, found + k};
        if (empty || length <= 0) {
          std::fill_n(best.value, number, -std::numeric_limits<T>::infinity());
          std::fill_n(best.row, number, Place{0});
          std::fill_n(best.column, number, Place{0});
        } else {
          best.take(columns, c.begin[first], same.stride, number, length, w.step[2]);
        }
        k += number;
      }
      for (index_t k = 0; k < count * windows; ++k) {
        indices[at + k] = std::int64_t{rows[k]} + found[k];
      }
    }
  });
}

}  // namespace

template <class T>
void maximum(const Windows& w, index_t planes, const T* x, T* y, std::int64_t* indices) {
  using Place = std::conditional_t<sizeof(T) == 4, std::int32_t, std::int64_t>;
  if (product(w.in) <= std::numeric_limits<Place>::max()) {
    maximum_by<T, Place>(w, planes, x, y, indices);
  } else {
    maximum_by<T, std::int64_t>(w, planes, x, y, indices);
  }
}

namespace {

// Refuses the indices of a plane that lie elsewhere.
void check_indices(const char* op, const std::int64_t* indices, index_t count, index_t size) {
  bool inside = true;
  for (index_t i = 0; i < count; ++i) inside &= indices[i] >= 0 && indices[i] < size;
  for (index_t i = 0; !inside && i < count; ++i) {
    if (indices[i] >= 0 && indices[i] < size) continue;
    throw std::out_of_range(std::string(op) + ": indices must lie in [0, " + std::to_string(size) +
                            "), got " + std::to_string(indices[i]));
  }
}

}  // namespace

template <class T>
void scatter(index_t planes, index_t values, index_t size, const T* x, const std::int64_t* indices,
             T* y) {
  each_plane(planes, std::max(values, size), [&](index_t plane) {
    T* const to = y + plane * size;
    check_indices("pool.scatter", indices + plane * values, values, size);
    std::fill_n(to, size, T{0});
    for (index_t i = plane * values; i < (plane + 1) * values; ++i) to[indices[i]] += x[i];
  });
}

template <class T>
void gather(index_t planes, index_t values, index_t size, const T* x, const std::int64_t* indices,
            T* y) {
  each_plane(planes, values, [&](index_t plane) {
    check_indices("pool.gather", indices + plane * values, values, size);
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
