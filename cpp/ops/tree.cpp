// Sorting, drawing and partition: everything about spans that does not look at targets.
#include "ops/tree.hpp"

#include <algorithm>  // std::max, std::sort, std::copy_n
#include <bit>        // std::bit_cast
#include <cmath>      // std::isnan, std::isfinite
#include <cstring>    // std::memset
#include <utility>    // std::pair, std::swap

#include "core/error.hpp"      // invalid
#include "core/parallel.hpp"   // parallel_for
#include "core/random.hpp"     // Philox
#include "core/workspace.hpp"  // Workspace
#include "ops/tree_tasks.hpp"  // tasks_of

namespace kernelmill::tree {
namespace {

template <class T>
using Key = std::conditional_t<sizeof(T) == 4, std::uint32_t, std::uint64_t>;

// Integers in the order of the numbers; both zeros are one, every NaN is the largest.
template <class T>
Key<T> key_of(T x) {
  constexpr Key<T> sign = Key<T>{1} << (sizeof(T) * 8 - 1);
  if (x != x) return ~Key<T>{0};
  const Key<T> bits = std::bit_cast<Key<T>>(x == T{0} ? T{0} : x);
  return bits & sign ? ~bits : bits | sign;
}

template <class T>
struct Keyed {
  Key<T> key;
  std::uint32_t row;
};

// Least significant digit first, 11 bits a pass; digits that all rows share are passed over.
template <class T>
Keyed<T>* radix_sort(Keyed<T>* from, Keyed<T>* to, index_t n) {
  constexpr int bits = 11, digits = (sizeof(T) * 8 + bits - 1) / bits, values = 1 << bits;
  Workspace<std::uint32_t> memory(static_cast<std::size_t>(digits * values));
  std::uint32_t* const counts = memory.data();
  std::memset(counts, 0, sizeof(std::uint32_t) * digits * values);
  const auto digit = [](Key<T> key, int p) {
    return static_cast<index_t>((key >> (p * bits)) & (values - 1));
  };
  for (index_t i = 0; i < n; ++i) {
    for (int p = 0; p < digits; ++p) ++counts[p * values + digit(from[i].key, p)];
  }
  for (int p = 0; p < digits; ++p) {
    std::uint32_t* const count = counts + p * values;
    if (count[digit(from[0].key, p)] == static_cast<std::uint32_t>(n)) continue;
    std::uint32_t before = 0;
    for (int v = 0; v < values; ++v) before += std::exchange(count[v], before);
    for (index_t i = 0; i < n; ++i) to[count[digit(from[i].key, p)]++] = from[i];
    std::swap(from, to);
  }
  return from;
}

// Below this many rows a comparison sort is faster than counting 2048 digits several times.
constexpr index_t kFewRows = 1 << 9;

template <class T>
void sort_column(MatrixView<const T> X, index_t f, Keyed<T>* a, Keyed<T>* b, std::int32_t* to) {
  const index_t n = X.rows;
  for (index_t i = 0; i < n; ++i) a[i] = {key_of(X(i, f)), static_cast<std::uint32_t>(i)};
  if (n < kFewRows) {
    std::sort(a, a + n, [](const Keyed<T>& p, const Keyed<T>& q) {
      return p.key != q.key ? p.key < q.key : p.row < q.row;
    });
  } else {
    a = radix_sort(a, b, n);
  }
  for (index_t i = 0; i < n; ++i) {
    const bool first = i == 0 || a[i].key != a[i - 1].key;
    to[i] = static_cast<std::int32_t>(a[i].row) | (first ? kFirst : 0) |
            (a[i].key == ~Key<T>{0} ? kMissing : 0);
  }
}

bool varies(const std::int32_t* entries, index_t n) {
  for (index_t i = 1; i < n; ++i) {
    if (entries[i] < 0) return true;
  }
  return false;
}

index_t count_present(const std::int32_t* entries, index_t n) {
  while (n > 0 && (entries[n - 1] & kMissing) != 0) --n;
  return n;
}

// The entries of a span with new positions, those that go left first. `right` holds the others.
void partition_entries(std::int32_t* entries, index_t n, index_t start, index_t middle,
                       const std::int32_t* place, std::int32_t* right) {
  // The mark of a group goes to the first of it on each side.
  std::int32_t pending[2] = {0, 0};
  std::int32_t* left = entries;
  std::int32_t* const stored = right;
  for (index_t i = 0; i < n; ++i) {
    const std::int32_t entry = entries[i];
    const std::int32_t to = place[(entry & kPosition) - start];
    const std::int32_t mark = entry & kFirst;
    pending[0] |= mark;
    pending[1] |= mark;
    const bool goes_right = to >= middle;
    const std::int32_t made = to | (entry & kMissing) | pending[goes_right];
    pending[goes_right] = 0;
    // Both are written and one is kept: sides are hard to predict.
    *left = goes_right ? *left : made;
    *right = made;
    left += !goes_right;
    right += goes_right;
  }
  std::copy(stored, right, left);
}

template <class V>
void permute(V* values, index_t n, index_t width, index_t start, const std::int32_t* place,
             V* scratch) {
  for (index_t i = 0; i < n; ++i) {
    std::copy_n(values + i * width, width, scratch + (place[i] - start) * width);
  }
  std::copy_n(scratch, n * width, values);
}

}  // namespace

template <class T>
void sort_columns(MatrixView<const T> X, MatrixView<std::int32_t> order) {
  if (X.rows >= kMissing) {
    invalid("tree.sort_columns", "X must have fewer than 2**30 rows, got ", X.rows);
  }
  if (X.rows == 0) return;
  parallel_for(X.cols, 1 + (index_t{1} << 11) / X.rows, [&](index_t, index_t begin, index_t end) {
    Workspace<Keyed<T>> memory(static_cast<std::size_t>(2 * X.rows));
    for (index_t f = begin; f < end; ++f) {
      sort_column(X, f, memory.data(), memory.data() + X.rows, order.row(f));
    }
  });
}

void draw(Entries order, Spans spans, std::span<const index_t> keys, index_t max_features,
          std::uint64_t seed, MatrixView<bool> allowed) {
  const index_t d = order.rows;
  const index_t grain = std::max<index_t>(1, (index_t{1} << 12) / std::max<index_t>(1, d));
  parallel_for(spans.rows, grain, [&](index_t, index_t begin, index_t end) {
    Workspace<std::pair<std::uint32_t, std::uint32_t>> words(static_cast<std::size_t>(d));
    for (index_t i = begin; i < end; ++i) {
      const auto key = static_cast<std::uint64_t>(keys[static_cast<std::size_t>(i)]);
      const Philox philox(seed, 2 * key);
      for (index_t f = 0; f < d; f += 4) {
        const PhiloxWords four = philox.block(static_cast<std::uint64_t>(f / 4));
        for (index_t l = 0; l < std::min<index_t>(4, d - f); ++l) {
          words.data()[f + l] = {four.w[l], static_cast<std::uint32_t>(f + l)};
        }
      }
      std::sort(words.data(), words.data() + d);
      std::fill_n(allowed.row(i), d, false);
      const index_t start = spans(i, 0), n = spans(i, 1) - start;
      bool any = false;
      for (index_t rank = 0; rank < d && (rank < max_features || !any); ++rank) {
        const auto f = static_cast<index_t>(words.data()[rank].second);
        allowed(i, f) = true;
        any = any || varies(order.row(f) + start, n);
      }
    }
  });
}

template <class T>
void random_cuts(MatrixView<const T> X, std::span<const std::int32_t> rows, Entries order,
                 Spans spans, std::span<const index_t> keys, MatrixView<const bool> allowed,
                 std::uint64_t seed, MatrixView<std::int32_t> cuts, MatrixView<double> thresholds) {
  const index_t d = order.rows;
  const index_t grain = std::max<index_t>(1, (index_t{1} << 8) / std::max<index_t>(1, d));
  parallel_for(spans.rows, grain, [&](index_t, index_t begin, index_t end) {
    for (index_t i = begin; i < end; ++i) {
      const index_t start = spans(i, 0), n = spans(i, 1) - start;
      const Philox philox(seed, 2 * static_cast<std::uint64_t>(keys[static_cast<size_t>(i)]) + 1);
      PhiloxWords words{};
      for (index_t f = 0; f < d; ++f) {
        if (f % 2 == 0) words = philox.block(static_cast<std::uint64_t>(f / 2));
        cuts(i, f) = 0;
        thresholds(i, f) = 0;
        if (n == 0 || (allowed.rows != 0 && !allowed(i, f))) continue;
        const std::int32_t* const entries = order.row(f) + start;
        const index_t present = count_present(entries, n);
        const auto value = [&](index_t at) {
          return static_cast<double>(X(rows[static_cast<size_t>(entries[at] & kPosition)], f));
        };
        if (present == 0) continue;
        const double low = value(0), high = value(present - 1),
                     u = uniform_double(words.w[2 * (f % 2)], words.w[2 * (f % 2) + 1]);
        if (!(low < high)) continue;
        double t = std::isfinite(high - low) ? low + u * (high - low) : low / 2 + high / 2;
        if (!(low <= t && t < high)) t = low;
        index_t below = 1, above = present - 1;  // value(below - 1) <= t < value(above)
        while (below < above) {
          const index_t middle = below + (above - below) / 2;
          (value(middle) <= t ? below : above) = value(middle) <= t ? middle + 1 : middle;
        }
        thresholds(i, f) = t;
        cuts(i, f) = static_cast<std::int32_t>(below);
      }
    }
  });
}

void partition(MatrixView<std::int32_t> order, std::span<std::int32_t> rows, MatrixView<double> y,
               std::span<double> weight, Spans spans, std::span<const std::int32_t> feature,
               std::span<const std::int32_t> cut, std::span<const bool> missing_left,
               std::span<index_t> middle) {
  for (index_t i = 0; i < spans.rows; ++i) {
    const auto at = static_cast<std::size_t>(i);
    const index_t n = spans(i, 1) - spans(i, 0);
    if (feature[at] < 0 || feature[at] >= order.rows || cut[at] <= 0 || cut[at] > n) {
      invalid("tree.partition", "feature must be in [0, ", order.rows, ") and cut in (0, ", n,
              "], got ", feature[at], " and ", cut[at]);
    }
  }
  // The new position of each position.
  Workspace<std::int32_t> places(rows.size());
  const std::vector<Task> whole = tasks_of(spans, 1, false);
  parallel_for(std::ssize(whole), 1, [&](index_t, index_t begin, index_t end) {
    for (index_t t = begin; t < end; ++t) {
      for (index_t i = whole[t].first; i < whole[t].last; ++i) {
        const auto at = static_cast<std::size_t>(i);
        const index_t start = spans(i, 0), n = spans(i, 1) - start;
        const std::int32_t* const entries = order.row(feature[at]) + start;
        std::int32_t* const place = places.data() + start;
        std::fill_n(place, n, 1);
        for (index_t e = 0; e < cut[at]; ++e) place[(entries[e] & kPosition) - start] = 0;
        for (index_t e = count_present(entries, n); e < n && missing_left[at]; ++e) {
          place[(entries[e] & kPosition) - start] = 0;
        }
        index_t right = 0;
        for (index_t p = 0; p < n; ++p) right += place[p];
        middle[at] = spans(i, 1) - right;
        std::int32_t next[2] = {static_cast<std::int32_t>(start),
                                static_cast<std::int32_t>(middle[at])};
        for (index_t p = 0; p < n; ++p) place[p] = next[place[p]]++;
        Workspace<double> scratch(static_cast<std::size_t>(n * std::max<index_t>(1, y.cols)));
        permute(rows.data() + start, n, 1, start, place,
                reinterpret_cast<std::int32_t*>(scratch.data()));
        permute(y.row(start), n, y.cols, start, place, scratch.data());
        if (!weight.empty()) permute(weight.data() + start, n, 1, start, place, scratch.data());
      }
    }
  });
  const std::vector<Task> tasks = tasks_of(spans, order.rows, true);
  parallel_for(std::ssize(tasks), 1, [&](index_t, index_t begin, index_t end) {
    for (index_t t = begin; t < end; ++t) {
      each_feature(tasks[static_cast<std::size_t>(t)], order.rows, [&](index_t i, index_t f) {
        const index_t start = spans(i, 0), n = spans(i, 1) - start;
        Workspace<std::int32_t> right(static_cast<std::size_t>(n + 1));
        partition_entries(order.row(f) + start, n, start, middle[static_cast<std::size_t>(i)],
                          places.data() + start, right.data());
      });
    }
  });
}

template void sort_columns<float>(MatrixView<const float>, MatrixView<std::int32_t>);
template void sort_columns<double>(MatrixView<const double>, MatrixView<std::int32_t>);
template void random_cuts<float>(MatrixView<const float>, std::span<const std::int32_t>, Entries,
                                 Spans, std::span<const index_t>, MatrixView<const bool>,
                                 std::uint64_t, MatrixView<std::int32_t>, MatrixView<double>);
template void random_cuts<double>(MatrixView<const double>, std::span<const std::int32_t>, Entries,
                                  Spans, std::span<const index_t>, MatrixView<const bool>,
                                  std::uint64_t, MatrixView<std::int32_t>, MatrixView<double>);

}  // namespace kernelmill::tree
