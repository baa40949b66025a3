// Kernel functions of CSR rows, never made dense. A group of rows of X is scattered by feature, a
// table of (features that they have) x (rows of the group); then each stored value of Y is one
// multiply-add over the rows of the group. Sums run in double.
#include <algorithm>  // std::max, std::min, std::sort
#include <array>      // sums
#include <cmath>      // std::abs
#include <numeric>    // std::iota

#include "core/parallel.hpp"  // parallel_for
#include "ops/kernels.hpp"
#include "ops/kernels_blocks.hpp"
#include "ops/kernels_function.hpp"

namespace kernelmill::kernels {
namespace {

// A CSR matrix whose columns rise within each row: a view of the given one, or a copy with repeated
// columns added up.
template <class T>
class Rows {
 public:
  explicit Rows(const CsrView<T>& given) : rows(given.rows), cols(given.cols) {
    given.visit([this](const auto& x) { take(x); });
    norms_.resize(static_cast<std::size_t>(rows));
    for (index_t i = 0; i < rows; ++i) {
      double norm = 0;
      for (index_t e = begin(i); e < end(i); ++e) norm += value(e) * value(e);
      norms_[static_cast<std::size_t>(i)] = norm;
    }
  }

  index_t begin(index_t i) const { return starts_[static_cast<std::size_t>(i)]; }
  index_t end(index_t i) const { return starts_[static_cast<std::size_t>(i) + 1]; }
  std::int32_t column(index_t e) const { return columns_[static_cast<std::size_t>(e)]; }
  double value(index_t e) const {
    return static_cast<double>(values_[static_cast<std::size_t>(e)]);
  }
  double norm(index_t i) const { return norms_[static_cast<std::size_t>(i)]; }

  const index_t rows, cols;

 private:
  template <class Index>
  void take(const CsrRows<T, Index>& x) {
    starts_.assign(1, 0);
    std::vector<index_t> order;
    for (index_t i = 0; i < rows; ++i) {
      const auto first = static_cast<index_t>(x.indptr[i]);
      order.resize(static_cast<std::size_t>(x.indptr[i + 1] - x.indptr[i]));
      std::iota(order.begin(), order.end(), first);
      std::sort(order.begin(), order.end(), [&](index_t a, index_t b) {
        return x.indices[a] != x.indices[b] ? x.indices[a] < x.indices[b] : a < b;
      });
      const std::size_t start = columns_.size();
      for (std::size_t at = 0; at < order.size();) {
        const auto column = x.indices[order[at]];
        double sum = 0;
        for (; at < order.size() && x.indices[order[at]] == column; ++at) {
          sum += static_cast<double>(x.data[order[at]]);
        }
        columns_.push_back(static_cast<std::int32_t>(column));
        values_.push_back(static_cast<T>(sum));
      }
      static_cast<void>(start);
      starts_.push_back(static_cast<index_t>(columns_.size()));
    }
  }

  std::vector<index_t> starts_;
  std::vector<std::int32_t> columns_;
  std::vector<T> values_;
  std::vector<double> norms_;
};

constexpr int width = 16;  // rows of a group

template <class T>
struct Scattered {
  const Rows<T>* x;
  std::array<index_t, width> numbers;
  index_t rows;
  std::vector<std::int32_t> place;  // of each feature in the table, or -1
  std::vector<double> table;        // (features of the group, width)
};

// sum over features of the function whose sum k is a function of; the union of stored columns.
template <class T>
double merged(Kind kind, const Rows<T>& x, index_t i, const Rows<T>& y, index_t j) {
  index_t a = x.begin(i), b = y.begin(j);
  double sum = 0;
  while (a < x.end(i) || b < y.end(j)) {
    double u = 0, v = 0;
    const bool left = b == y.end(j) || (a < x.end(i) && x.column(a) <= y.column(b));
    const bool right = a == x.end(i) || (b < y.end(j) && y.column(b) <= x.column(a));
    if (left) u = x.value(a++);
    if (right) v = y.value(b++);
    if (kind == Kind::laplacian) {
      sum += std::abs(u - v);
    } else if (kind == Kind::rbf) {
      sum += (u - v) * (u - v);
    } else if (u + v != 0) {
      sum += (u - v) * (u - v) / (u + v);
    }
  }
  return sum;
}

// A Source of ops/kernels_blocks.hpp.
template <class T>
class SparseColumns final : public Columns<T> {
 public:
  static constexpr index_t group = width;

  SparseColumns(const CsrView<T>& y, const Function& f) : y_(y), f_(f) {}

  index_t count() const override { return y_.rows; }
  const Rows<T>& y() const { return y_; }

  void rows(const std::int32_t* numbers, index_t rows, T* const* out) const override {
    for (index_t r = 0; r < rows; r += width) {
      std::array<index_t, width> some{};
      const index_t count = std::min<index_t>(width, rows - r);
      for (index_t q = 0; q < count; ++q) some[static_cast<std::size_t>(q)] = numbers[r + q];
      const Scattered<T> scattered = scatter(y_, some, count);
      parallel_for(y_.rows, 512, [&](index_t, index_t begin, index_t end) {
        std::array<T*, width> at{};
        for (index_t q = 0; q < count; ++q) at[static_cast<std::size_t>(q)] = out[r + q] + begin;
        block(scattered, begin, end, at.data());
      });
    }
  }

  Scattered<T> prepare(const Rows<T>& left, index_t i, index_t rows) const {
    std::array<index_t, width> numbers{};
    for (index_t r = 0; r < rows; ++r) numbers[static_cast<std::size_t>(r)] = i + r;
    return scatter(left, numbers, rows);
  }

  void block(const Scattered<T>& some, index_t begin, index_t end, T* const* out) const {
    for (index_t j = begin; j < end; ++j) {
      std::array<double, width> sum{};
      if (of_sums(f_.kind)) {
        for (index_t r = 0; r < some.rows; ++r) {
          const auto q = static_cast<std::size_t>(r);
          sum[q] = merged(f_.kind, *some.x, some.numbers[q], y_, j);
        }
      } else {
        for (index_t e = y_.begin(j); e < y_.end(j); ++e) {
          const std::int32_t place = some.place[static_cast<std::size_t>(y_.column(e))];
          if (place < 0) continue;
          const double* const row = some.table.data() + index_t{place} * width;
          const double value = y_.value(e);
          for (std::size_t q = 0; q < width; ++q) sum[q] += value * row[q];
        }
        if (f_.kind == Kind::rbf) squares(some, j, sum);
      }
      finish(f_, sum.data(), width);
      for (index_t r = 0; r < some.rows; ++r) {
        out[r][j - begin] = static_cast<T>(sum[static_cast<std::size_t>(r)]);
      }
    }
  }

 private:
  Scattered<T> scatter(const Rows<T>& x, const std::array<index_t, width>& numbers,
                       index_t rows) const {
    Scattered<T> some{&x, numbers, rows, {}, {}};
    if (of_sums(f_.kind)) return some;
    some.place.assign(static_cast<std::size_t>(y_.cols), -1);
    std::int32_t features = 0;
    for (index_t r = 0; r < rows; ++r) {
      const index_t i = numbers[static_cast<std::size_t>(r)];
      for (index_t e = x.begin(i); e < x.end(i); ++e) {
        std::int32_t& place = some.place[static_cast<std::size_t>(x.column(e))];
        if (place < 0) {
          place = features++;
          some.table.resize(some.table.size() + width, 0.0);
        }
        some.table[static_cast<std::size_t>(index_t{place} * width + r)] = x.value(e);
      }
    }
    return some;
  }

  void squares(const Scattered<T>& some, index_t j, std::array<double, width>& sum) const {
    for (index_t r = 0; r < some.rows; ++r) {
      const auto q = static_cast<std::size_t>(r);
      const double norms = some.x->norm(some.numbers[q]) + y_.norm(j);
      sum[q] = norms - 2 * sum[q];
      if (!(sum[q] > norms / 64)) sum[q] = merged(f_.kind, *some.x, some.numbers[q], y_, j);
    }
  }

  Rows<T> y_;
  Function f_;
};

}  // namespace

template <class T>
std::unique_ptr<Columns<T>> columns_of(const CsrView<T>& y, const Function& f) {
  return std::make_unique<SparseColumns<T>>(y, f);
}

template <class T>
void matrix(const CsrView<T>& x, const CsrView<T>& y, const Function& f, MatrixView<T> out) {
  matrix_of(SparseColumns<T>(y, f), Rows<T>(x), out);
}

template <class T>
void apply(const CsrView<T>& x, const CsrView<T>& y, MatrixView<const double> coef,
           const Function& f, MatrixView<double> out) {
  apply_of<T>(SparseColumns<T>(y, f), Rows<T>(x), coef, out);
}

#define KERNELMILL_KERNELS(T)                                                                 \
  template std::unique_ptr<Columns<T>> columns_of(const CsrView<T>&, const Function&);        \
  template void matrix(const CsrView<T>&, const CsrView<T>&, const Function&, MatrixView<T>); \
  template void apply(const CsrView<T>&, const CsrView<T>&, MatrixView<const double>,         \
                      const Function&, MatrixView<double>);
KERNELMILL_KERNELS(float)
KERNELMILL_KERNELS(double)

}  // namespace kernelmill::kernels
