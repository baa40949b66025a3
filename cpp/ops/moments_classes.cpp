#include "ops/moments_classes.hpp"

#include <algorithm>    // std::clamp, std::fill_n, std::max, std::min
#include <limits>       // infinity
#include <type_traits>  // std::is_same_v
#include <vector>       // rows by class

#include "core/parallel.hpp"   // check_interrupt, ordered_reduce
#include "core/workspace.hpp"  // Workspace
#include "ops/moments_block.hpp"

namespace kernelmill::moments {
namespace {

template <class T>
double weight_of(std::span<const T> weight, index_t row) {
  return weight.empty() ? 1.0 : static_cast<double>(weight[static_cast<std::size_t>(row)]);
}

index_t label_of(Labels labels, index_t row) { return labels[static_cast<std::size_t>(row)]; }

// Where sums are large, all rows are one chunk: Ctrl-C must be seen inside it.
void poll(index_t row) {
  if (row % 1024 == 0) check_interrupt();
}

// Sums of one chunk of rows, and the least entry where it is asked for.
struct Sums {
  explicit Sums(index_t count) : size(count), memory(static_cast<std::size_t>(count)) {
    std::fill_n(memory.data(), size, 0.0);
  }
  double* at(index_t i) { return memory.data() + i; }
  index_t size;
  Workspace<double> memory;
  double least = std::numeric_limits<double>::infinity();
};

template <class Body>
Sums reduce(index_t n, index_t grain, index_t size, const Body& body) {
  return ordered_reduce<Sums>(
      n, grain, [&] { return Sums(size); },
      [&](Sums& sums, index_t, index_t begin, index_t end) { body(sums, begin, end); },
      [](Sums& into, Sums&& from) {
        double* const to = into.memory.data();
        const double* const add = from.memory.data();
        const index_t count = into.size;
#pragma omp simd
        for (index_t i = 0; i < count; ++i) to[i] += add[i];
        into.least = std::min(into.least, from.least);
      });
}

// Some rows, by their numbers, about the origins of their classes as rows z.
template <class T>
void fill(MatrixView<const T> x, const index_t* rows, index_t count, Labels labels,
          MatrixView<const double> origins, double* z, index_t stride) {
  const index_t d = x.cols;
  if (x.col_stride == 1) {
    for (index_t r = 0; r < count; ++r, z += stride) {
      const T* const row = x.row(rows[r]);
      const double* const o = origins.row(label_of(labels, rows[r]));
#pragma omp simd
      for (index_t p = 0; p < d; ++p) z[p] = static_cast<double>(row[p]) - o[p];
    }
    return;
  }
  for (index_t p = 0; p < d; ++p) {
    const T* const column = x.data + p * x.col_stride;
    for (index_t r = 0; r < count; ++r) {
      z[r * stride + p] = static_cast<double>(column[rows[r] * x.row_stride]) -
                          origins.row(label_of(labels, rows[r]))[p];
    }
  }
}

// A row of any strides as adjacent elements.
template <class T>
const T* adjacent(MatrixView<const T> x, index_t i, T* copy) {
  if (x.col_stride == 1) return x.row(i);
  for (index_t p = 0; p < x.cols; ++p) copy[p] = x(i, p);
  return copy;
}

// Numbers of the rows of a chunk, class by class: those of class c from starts[c] on.
void by_class(Labels labels, index_t begin, index_t end, index_t k, std::vector<index_t>& starts,
              std::vector<index_t>& rows) {
  starts.assign(static_cast<std::size_t>(k + 1), 0);
  rows.resize(static_cast<std::size_t>(end - begin));
  for (index_t i = begin; i < end; ++i) {
    ++starts[static_cast<std::size_t>(label_of(labels, i) + 1)];
  }
  for (std::size_t c = 1; c < starts.size(); ++c) starts[c] += starts[c - 1];
  std::vector<index_t> next(starts.begin(), starts.end() - 1);
  for (index_t i = begin; i < end; ++i) {
    rows[static_cast<std::size_t>(next[static_cast<std::size_t>(label_of(labels, i))]++)] = i;
  }
}

// z = (x - o_c, 1) of a run of rows, and their products.
template <class T>
class Products {
 public:
  Products(MatrixView<const T> x, Labels labels, MatrixView<const double> origins,
           std::span<const T> weight)
      : x_(x),
        labels_(labels),
        origins_(origins),
        weight_(weight),
        columns_(x.cols + 1),
        stride_(padded(columns_)),
        memory_(static_cast<std::size_t>(kBlockRows * (stride_ + 1))) {}

  // Adds sum w z z' to `to`, and w z of each row to the row of its class in `each` if there is one.
  void add(const index_t* rows, index_t count, double* to, double* each) {
    double* const z = memory_.data();
    double* const w = weight_.empty() ? nullptr : z + kBlockRows * stride_;
    const index_t d = x_.cols;
    for (index_t done = 0; done < count; done += kBlockRows) {
      const index_t some = std::min(kBlockRows, count - done);
      const index_t* const block = rows + done;
      fill(x_, block, some, labels_, origins_, z, stride_);
      for (index_t r = 0; r < some; ++r) {
        double* const row = z + r * stride_;
        row[d] = 1.0;
        std::fill(row + columns_, row + stride_, 0.0);
        const double factor = weight_of(weight_, block[r]);
        if (w != nullptr) w[r] = factor;
        if (each == nullptr) continue;
        double* const own = each + label_of(labels_, block[r]) * columns_;
#pragma omp simd
        for (index_t p = 0; p < columns_; ++p) own[p] += factor * row[p];
      }
      add_products(z, some, columns_, w, to, columns_);
    }
  }

 private:
  MatrixView<const T> x_;
  Labels labels_;
  MatrixView<const double> origins_;
  std::span<const T> weight_;
  index_t columns_, stride_;
  Workspace<double> memory_;
};

// The last row of products: sums and weight.
void take_sums(const double* last, index_t c, std::span<double> weights, MatrixView<double> sums) {
  std::copy_n(last, sums.cols, sums.data + c * sums.cols);
  weights[static_cast<std::size_t>(c)] = last[sums.cols];
}

// The upper left of products without their last row and column.
void take_squares(double* products, index_t columns, double* to) {
  mirror(products, columns);
  const index_t d = columns - 1;
  for (index_t p = 0; p < d; ++p) std::copy_n(products + p * columns, d, to + p * d);
}

// The least of n adjacent elements; NaN is passed over.
template <class T>
double least_of(const T* data, index_t n) {
  T least = std::numeric_limits<T>::infinity();
#pragma omp simd reduction(min : least)
  for (index_t i = 0; i < n; ++i) least = data[i] < least ? data[i] : least;
  return static_cast<double>(least);
}

// What an entry adds to its sum: itself, or whether it is above the threshold.
template <bool counts, class T>
double term(T entry, double threshold) {
  const double v = static_cast<double>(entry);
  if constexpr (counts) return v > threshold ? 1.0 : 0.0;
  return v;
}

template <bool counts, class T>
void add_rows(MatrixView<const T> x, Labels labels, double threshold, std::span<const T> weight,
              index_t begin, index_t end, Sums& state) {
  const index_t d = x.cols;
  Workspace<T> copy(static_cast<std::size_t>(x.col_stride == 1 ? 0 : d));
  for (index_t i = begin; i < end; ++i) {
    poll(i);
    const double w = weight_of(weight, i);
    double* const own = state.at(label_of(labels, i) * d);
    const T* const row = adjacent(x, i, copy.data());
#pragma omp simd
    for (index_t p = 0; p < d; ++p) own[p] += w * term<counts>(row[p], threshold);
    state.least = std::min(state.least, least_of(row, d));
  }
}

template <bool counts, class T>
void add_rows(const CsrView<T>& x, Labels labels, double threshold, std::span<const T> weight,
              index_t begin, index_t end, Sums& state) {
  x.visit([&](const auto& csr) {
    for (index_t i = begin; i < end; ++i) {
      poll(i);
      const double w = weight_of(weight, i);
      double* const own = state.at(label_of(labels, i) * csr.cols);
      const index_t first = csr.indptr[i], count = csr.indptr[i + 1] - first;
      const T* const data = csr.data + first;
      const auto* const column = csr.indices + first;
      if (!columns_below(column, count, csr.cols)) throw ForeignColumn();
      for (index_t e = 0; e < count; ++e) {
        own[column[e]] += w * term<counts>(data[e], threshold);
      }
      state.least = std::min(state.least, least_of(data, count));
    }
  });
}

template <class Rows, class T>
double sums_of(const Rows& x, Labels labels, index_t k, double threshold,
               std::span<const T> sample_weight, std::span<double> weights,
               MatrixView<double> sums) {
  constexpr bool sparse = std::is_same_v<Rows, CsrView<T>>;
  const index_t n = x.rows, size = k * x.cols;
  // A chunk has sums of its own, and eight times as many entries.
  const index_t entries = [&] {
    if constexpr (sparse) return x.stored;
    return n * x.cols;
  }();
  const index_t chunks = std::clamp<index_t>(entries / (8 * size + (index_t{1} << 15)), 1, 256);
  Sums total = reduce(n, (n + chunks - 1) / chunks + 1, size + k,
                      [&](Sums& state, index_t begin, index_t end) {
                        for (index_t i = begin; i < end; ++i) {
                          *state.at(size + label_of(labels, i)) += weight_of(sample_weight, i);
                        }
                        threshold == threshold
                            ? add_rows<true>(x, labels, threshold, sample_weight, begin, end, state)
                            : add_rows<false>(x, labels, 0.0, sample_weight, begin, end, state);
                      });
  std::copy_n(total.at(0), size, sums.data);
  std::copy_n(total.at(size), k, weights.data());
  return sparse ? std::min(total.least, 0.0) : total.least;
}

}  // namespace

template <class T>
void class_products(MatrixView<const T> x, Labels labels, MatrixView<const double> origins,
                    bool pooled, std::span<const T> sample_weight, std::span<double> weights,
                    MatrixView<double> sums, double* squares) {
  const index_t n = x.rows, d = x.cols, k = origins.rows, columns = d + 1;
  const index_t matrix = columns * columns;
  if (pooled) {
    const index_t grain = std::max<index_t>({2048, 8 * columns, k});
    Sums total =
        reduce(n, grain, matrix + k * columns, [&](Sums& state, index_t begin, index_t end) {
          Products<T> products(x, labels, origins, sample_weight);
          std::vector<index_t> rows(static_cast<std::size_t>(end - begin));
          for (index_t i = begin; i < end; ++i) {
            rows[static_cast<std::size_t>(i - begin)] = i;
          }
          products.add(rows.data(), end - begin, state.at(0), state.at(matrix));
        });
    for (index_t c = 0; c < k; ++c) take_sums(total.at(matrix + c * columns), c, weights, sums);
    take_squares(total.at(0), columns, squares);
    return;
  }
  // 64 rows of each class, so that sums are read and written rarely beside products.
  const index_t grain = std::max<index_t>({2048, 8 * columns, 64 * k});
  Sums total = reduce(n, grain, k * matrix, [&](Sums& state, index_t begin, index_t end) {
    Products<T> products(x, labels, origins, sample_weight);
    std::vector<index_t> starts, rows;
    by_class(labels, begin, end, k, starts, rows);
    for (index_t c = 0; c < k; ++c) {
      const index_t first = starts[static_cast<std::size_t>(c)];
      const index_t count = starts[static_cast<std::size_t>(c + 1)] - first;
      products.add(rows.data() + first, count, state.at(c * matrix), nullptr);
    }
  });
  for (index_t c = 0; c < k; ++c) {
    take_sums(total.at(c * matrix + d * columns), c, weights, sums);
    take_squares(total.at(c * matrix), columns, squares + c * d * d);
  }
}

template <class T>
void class_squares(MatrixView<const T> x, Labels labels, MatrixView<const double> origins,
                   std::span<const T> sample_weight, MatrixView<double> weights,
                   MatrixView<double> sums, MatrixView<double> squares) {
  const index_t d = x.cols, size = origins.rows * d;
  const index_t grain =
      std::max<index_t>(1 + (index_t{1} << 16) / std::max<index_t>(1, d), 16 * origins.rows);
  Sums total = reduce(x.rows, grain, 3 * size, [&](Sums& state, index_t begin, index_t end) {
    Workspace<T> copy(static_cast<std::size_t>(x.col_stride == 1 ? 0 : d));
    for (index_t i = begin; i < end; ++i) {
      const index_t c = label_of(labels, i);
      const double w = weight_of(sample_weight, i);
      const T* const row = adjacent(x, i, copy.data());
      const double* const o = origins.row(c);
      double* const count = state.at(c * d);
      double* const sum = count + size;
      double* const square = sum + size;
#pragma omp simd
      for (index_t p = 0; p < d; ++p) {
        const double v = static_cast<double>(row[p]) - o[p];
        const bool there = v == v;
        const double z = there ? v : 0.0, own = there ? w : 0.0;
        count[p] += own;
        sum[p] += own * z;
        square[p] += own * z * z;
      }
    }
  });
  std::copy_n(total.at(0), size, weights.data);
  std::copy_n(total.at(size), size, sums.data);
  std::copy_n(total.at(2 * size), size, squares.data);
}

template <class T>
double class_sums(MatrixView<const T> x, Labels labels, index_t k, double threshold,
                  std::span<const T> sample_weight, std::span<double> weights,
                  MatrixView<double> sums) {
  return sums_of(x, labels, k, threshold, sample_weight, weights, sums);
}
template <class T>
double csr_class_sums(CsrView<T> x, Labels labels, index_t k, double threshold,
                      std::span<const T> sample_weight, std::span<double> weights,
                      MatrixView<double> sums) {
  return sums_of(x, labels, k, threshold, sample_weight, weights, sums);
}

template <class T>
void class_tallies(MatrixView<const T> x, Labels labels, std::span<const std::int64_t> starts,
                   MatrixView<double> tallies, std::span<const T> sample_weight) {
  const index_t n = x.rows, d = x.cols, m = tallies.cols, size = tallies.rows * m;
  const index_t chunks = std::clamp<index_t>(n * d / (4 * size + (index_t{1} << 15)), 1, 256);
  Sums total =
      reduce(n, (n + chunks - 1) / chunks + 1, size, [&](Sums& state, index_t begin, index_t end) {
        Workspace<T> copy(static_cast<std::size_t>(x.col_stride == 1 ? 0 : d));
        for (index_t i = begin; i < end; ++i) {
          poll(i);
          const double w = weight_of(sample_weight, i);
          const T* const row = adjacent(x, i, copy.data());
          double* const own = state.at(label_of(labels, i) * m);
          for (index_t p = 0; p < d; ++p) {
            const index_t first = starts[static_cast<std::size_t>(p)];
            const T most = static_cast<T>(starts[static_cast<std::size_t>(p + 1)] - first);
            if (row[p] >= T{0} && row[p] < most) own[first + static_cast<index_t>(row[p])] += w;
          }
        }
      });
  for (index_t i = 0; i < size; ++i) tallies.data[i] += total.memory.data()[i];
}

KERNELMILL_FOR_FLOATS(class_products)
KERNELMILL_FOR_FLOATS(class_squares)
KERNELMILL_FOR_FLOATS(class_sums)
KERNELMILL_FOR_FLOATS(csr_class_sums)
KERNELMILL_FOR_FLOATS(class_tallies)

}  // namespace kernelmill::moments
