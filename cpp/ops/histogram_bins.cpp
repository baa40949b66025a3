// Thresholds of features, and the codes of rows.
#include <algorithm>  // std::sort, std::min
#include <bit>        // std::bit_cast
#include <cmath>      // std::isnan
#include <cstring>    // std::memset
#include <limits>     // infinity
#include <utility>    // std::exchange, std::swap

#include "core/parallel.hpp"   // parallel_for
#include "core/workspace.hpp"  // Workspace
#include "ops/histogram.hpp"
#include "ops/histogram_checks.hpp"

namespace kernelmill::histogram {
namespace {

template <class T>
using Key = std::conditional_t<sizeof(T) == 4, std::uint32_t, std::uint64_t>;

// Rises with the value; both zeros are one.
template <class T>
Key<T> key_of(T x) {
  const auto bits = std::bit_cast<Key<T>>(x + T{0});
  constexpr int sign = sizeof(T) * 8 - 1;
  return (bits >> sign) != 0 ? ~bits : bits | (Key<T>{1} << sign);
}

template <class T>
T value_of(Key<T> key) {
  constexpr int sign = sizeof(T) * 8 - 1;
  return std::bit_cast<T>((key >> sign) != 0 ? key & ~(Key<T>{1} << sign) : ~key);
}

template <class T>
struct Weighted {
  Key<T> key;
  double weight;
};

template <class T>
Key<T> key_of(Key<T> entry) {
  return entry;
}
template <class T>
Key<T> key_of(const Weighted<T>& entry) {
  return entry.key;
}

// Least significant digit first, 11 bits a pass; digits that all share are passed over.
template <class T, class Entry>
Entry* radix_sort(Entry* from, Entry* to, index_t n) {
  constexpr int bits = 11, digits = (sizeof(T) * 8 + bits - 1) / bits, values = 1 << bits;
  Workspace<std::uint32_t> memory(static_cast<std::size_t>(digits * values));
  std::uint32_t* const counts = memory.data();
  std::memset(counts, 0, sizeof(std::uint32_t) * digits * values);
  const auto digit = [](const Entry& entry, int p) {
    return static_cast<index_t>((key_of<T>(entry) >> (p * bits)) & (values - 1));
  };
  for (index_t i = 0; i < n; ++i) {
    for (int p = 0; p < digits; ++p) ++counts[p * values + digit(from[i], p)];
  }
  for (int p = 0; p < digits; ++p) {
    std::uint32_t* const count = counts + p * values;
    if (count[digit(from[0], p)] == static_cast<std::uint32_t>(n)) continue;
    std::uint32_t before = 0;
    for (int v = 0; v < values; ++v) before += std::exchange(count[v], before);
    for (index_t i = 0; i < n; ++i) to[count[digit(from[i], p)]++] = from[i];
    std::swap(from, to);
  }
  return from;
}

double middle_of(double low, double high) {
  const double middle = low / 2 + high / 2;  // the sum may overflow
  return low <= middle && middle < high ? middle : low;
}

double weight_of(std::uint32_t) { return 1.0; }
double weight_of(std::uint64_t) { return 1.0; }
template <class T>
double weight_of(const Weighted<T>& entry) {
  return entry.weight;
}

// Thresholds between sorted entries.
template <class T, class Entry>
std::int32_t cut(const Entry* sorted, index_t n, index_t cuts, double* out) {
  const auto value = [&](index_t i) {
    return static_cast<double>(value_of<T>(key_of<T>(sorted[i])));
  };
  const auto ends = [&](index_t i) { return key_of<T>(sorted[i]) != key_of<T>(sorted[i + 1]); };
  constexpr bool weighted = std::is_same_v<Entry, Weighted<T>>;
  index_t different = n > 0;
  for (index_t i = 0; i + 1 < n && different <= cuts + 1; ++i) different += ends(i);
  double total = static_cast<double>(n);
  if constexpr (weighted) {
    total = 0;
    for (index_t i = 0; i < n; ++i) total += weight_of(sorted[i]);
  }
  std::int32_t count = 0;
  double below = 0;
  index_t next = 1;  // the threshold that is due
  const auto share = static_cast<double>(cuts + 1);
  const auto wanted = [&] { return total * (static_cast<double>(next) / share - 0x1p-40); };
  for (index_t i = 0; i + 1 < n; ++i) {
    if (different > cuts + 1) {
      if (next > cuts) break;
      if constexpr (!weighted) i = std::max(i, static_cast<index_t>(std::ceil(wanted())) - 1);
      if (i + 1 >= n) break;
    }
    below = weighted ? below + weight_of(sorted[i]) : static_cast<double>(i + 1);
    if (!ends(i)) continue;
    if (different > cuts + 1) {
      const index_t due = next;
      while (next <= cuts && below >= wanted()) ++next;
      if (next == due) continue;
    }
    out[count++] = middle_of(value(i), value(i + 1));
  }
  std::fill(out + count, out + cuts, std::numeric_limits<double>::infinity());
  return count;
}

template <class T, class Entry, class Make>
std::int32_t column(index_t n, index_t cuts, double* out, Make make) {
  Workspace<Entry> memory(static_cast<std::size_t>(2 * n));
  Entry *a = memory.data(), *b = a + n;
  index_t m = 0;
  for (index_t i = 0; i < n; ++i) m += make(i, a[m]);
  constexpr index_t few = 1 << 9;  // a comparison sort is faster than counting 2048 digits
  if (m < few) {
    // Weights of equal values are added in the order of rows.
    std::stable_sort(a, a + m,
                     [](const Entry& p, const Entry& q) { return key_of<T>(p) < key_of<T>(q); });
  } else {
    a = radix_sort<T>(a, b, m);
  }
  return cut<T>(a, m, cuts, out);
}

// The place of x among rising edges: how many are below it. No branches: halves of a power of two.
template <class T>
void places(const T* padded, index_t halves, const T* x, index_t n, std::int32_t* at) {
  for (index_t i = 0; i < n; ++i) at[i] = 0;
  for (index_t half = halves; half > 0; half /= 2) {
    const auto step = static_cast<std::int32_t>(half);
    for (index_t i = 0; i < n; ++i) at[i] += padded[at[i] + step - 1] < x[i] ? step : 0;
  }
}

// The largest number of type T that is not above x.
template <class T>
T rounded_down(double x) {
  const auto near = static_cast<T>(x);
  if (!(static_cast<double>(near) > x)) return near;
  return std::nextafter(near, -std::numeric_limits<T>::infinity());
}

// Rows of a task: a column of them and their places stay in the first-level cache.
constexpr index_t kChunk = 1024;

}  // namespace

template <class T>
void edges(MatrixView<const T> X, std::span<const double> weight, index_t cuts,
           MatrixView<double> edges, std::span<std::int32_t> count) {
  if (X.cols == 0) return;
  // Features are copied some at a time: each pass over rows reads whole lines of X. Four of float64
  // made this the peak of a fit: 6 MB more of 200k rows.
  constexpr index_t together = 16 / sizeof(T);
  const index_t few = 1 + (index_t{1} << 11) / std::max<index_t>(1, X.rows);
  const index_t grain = (few + together - 1) / together * together;
  const auto n = static_cast<std::size_t>(X.rows);
  parallel_for(X.cols, grain, [&](index_t, index_t begin, index_t end) {
    Workspace<T> memory(together * n);
    for (index_t first = begin; first < end; first += together) {
      const index_t some = std::min(together, end - first);
      for (index_t i = 0; i < X.rows; ++i) {
        for (index_t j = 0; j < some; ++j) memory.data()[j * X.rows + i] = X(i, first + j);
      }
      for (index_t j = 0; j < some; ++j) {
        const T* const x = memory.data() + j * X.rows;
        std::int32_t& own = count[static_cast<std::size_t>(first + j)];
        double* const out = edges.row(first + j);
        if (weight.empty()) {
          own = column<T, Key<T>>(X.rows, cuts, out, [&](index_t i, Key<T>& to) {
            to = key_of(x[i]);
            return x[i] == x[i];
          });
        } else {
          own = column<T, Weighted<T>>(X.rows, cuts, out, [&](index_t i, Weighted<T>& to) {
            to = {key_of(x[i]), weight[static_cast<std::size_t>(i)]};
            return x[i] == x[i];
          });
        }
      }
    }
  });
}

template <class T>
void encode(MatrixView<const T> X, MatrixView<const double> edges,
            std::span<const std::int32_t> count, std::span<const bool> categorical, index_t blocks,
            index_t width, std::uint8_t* codes) {
  const index_t n = X.rows, d = X.cols;
  check_edges(d, blocks * width, count, categorical, edges.cols);
  // Thresholds in the type of X: x <= t holds for a number x of that type exactly if it holds for
  // the largest such number that is not above t. Levels must be met exactly, in float64.
  Workspace<T> memory(static_cast<std::size_t>(d * kCodes));
  Workspace<double> exact(static_cast<std::size_t>(d * kCodes));
  T* const padded = memory.data();
  for (index_t f = 0; f < d; ++f) {
    for (index_t j = 0; j < count[static_cast<std::size_t>(f)]; ++j) {
      exact.data()[f * kCodes + j] = edges(f, j);
    }
    for (index_t j = 0; j < kCodes; ++j) {
      padded[f * kCodes + j] = j < count[static_cast<std::size_t>(f)]
                                   ? rounded_down<T>(edges(f, j))
                                   : std::numeric_limits<T>::infinity();
    }
  }
  parallel_for(n, kChunk, [&](index_t, index_t begin, index_t end) {
    const index_t rows = end - begin;
    T x[kChunk];
    std::int32_t at[kChunk];
    for (index_t f = 0; f < blocks * width; ++f) {
      std::uint8_t* const to = codes + ((f / width) * n + begin) * width + f % width;
      if (f >= d) {
        for (index_t i = 0; i < rows; ++i) to[i * width] = 0;
        continue;
      }
      const T* const from = X.data + begin * X.row_stride + f * X.col_stride;
      for (index_t i = 0; i < rows; ++i) x[i] = from[i * X.row_stride];
      const T* const own = padded + f * kCodes;
      const std::int32_t known = count[static_cast<std::size_t>(f)];
      index_t halves = 1;
      while (2 * halves <= known) halves *= 2;
      places(own, known == 0 ? 0 : halves, x, rows, at);
      if (categorical[static_cast<std::size_t>(f)]) {
        const std::int32_t unseen = known < 255 ? known + 1 : 0;
        for (index_t i = 0; i < rows; ++i) {
          // Levels rounded to T may be equal, so the place is looked for in float64.
          const double value = static_cast<double>(x[i]);
          const double* const levels = exact.data() + f * kCodes;
          const index_t place = std::lower_bound(levels, levels + known, value) - levels;
          const bool met = place < known && levels[place] == value;
          at[i] = met ? static_cast<std::int32_t>(place) + 1 : unseen;
        }
      } else {
        for (index_t i = 0; i < rows; ++i) ++at[i];
      }
      for (index_t i = 0; i < rows; ++i) {
        to[i * width] = x[i] == x[i] ? static_cast<std::uint8_t>(at[i]) : std::uint8_t{0};
      }
    }
  });
}

#define KERNELMILL_HISTOGRAM(T)                                                                   \
  template void edges<T>(MatrixView<const T>, std::span<const double>, index_t,                   \
                         MatrixView<double>, std::span<std::int32_t>);                            \
  template void encode<T>(MatrixView<const T>, MatrixView<const double>,                          \
                          std::span<const std::int32_t>, std::span<const bool>, index_t, index_t, \
                          std::uint8_t*);
KERNELMILL_HISTOGRAM(float)
KERNELMILL_HISTOGRAM(double)

}  // namespace kernelmill::histogram
