// Rows of a dual coordinate descent: their products with the weights of some problems.
#pragma once

#include <algorithm>  // std::min
#include <memory>     // std::unique_ptr

#include "core/csr.hpp"        // CsrRows
#include "core/matrix.hpp"     // MatrixView, index_t
#include "core/workspace.hpp"  // rows whose columns lie apart

namespace kernelmill::coordinate {

constexpr int kWide = 8;
constexpr index_t kFar = 12, kNear = 4;  // rows ahead of the one at work that are fetched

// The products of a row with the weights of W = width problems. Behind an interface, so that the
// loop over rows is compiled once for each width and not for each type of rows: two calls a row.
class Products {
 public:
  Products() = default;
  Products(const Products&) = delete;
  Products& operator=(const Products&) = delete;
  virtual ~Products() = default;
  virtual void times(index_t i, const double* w, double* p) const = 0;     // p += x.w
  virtual void add(index_t i, double* w, const double* change) const = 0;  // w += change x
  // Random rows are beyond what the processor foresees: where a row is, and later its values.
  virtual void announce(index_t i) const = 0;
  virtual void prefetch(index_t i) const = 0;
};

template <class T, int W>
class DenseProducts final : public Products {
 public:
  explicit DenseProducts(MatrixView<const T> x)
      : x_(x), buffer_(x.rows_contiguous() ? 0 : static_cast<std::size_t>(x.cols)) {}

  void times(index_t i, const double* w, double* p) const override {
    const T* const x = row(i);
    const index_t d = x_.cols;
    if constexpr (W == 1) {
      double sum = 0, sum1 = 0, sum2 = 0, sum3 = 0;
      const index_t part = d / 4;
      const T *x1 = x + part, *x2 = x1 + part, *x3 = x2 + part;
      const double *w1 = w + part, *w2 = w1 + part, *w3 = w2 + part;
#pragma omp simd reduction(+ : sum, sum1, sum2, sum3)
      for (index_t q = 0; q < part; ++q) {
        sum += static_cast<double>(x[q]) * w[q];
        sum1 += static_cast<double>(x1[q]) * w1[q];
        sum2 += static_cast<double>(x2[q]) * w2[q];
        sum3 += static_cast<double>(x3[q]) * w3[q];
      }
      for (index_t q = 4 * part; q < d; ++q) sum += static_cast<double>(x[q]) * w[q];
      p[0] += sum + sum1 + (sum2 + sum3);
    } else {
      double sums[W] = {};
      for (index_t q = 0; q < d; ++q) {
        const double value = static_cast<double>(x[q]);
#pragma omp simd
        for (int j = 0; j < W; ++j) sums[j] += value * w[q * W + j];
      }
      for (int j = 0; j < W; ++j) p[j] += sums[j];
    }
  }
  void add(index_t i, double* w, const double* change) const override {
    const T* const x = row(i);
    if constexpr (W == 1) {
      const double c = change[0];
#pragma omp simd
      for (index_t q = 0; q < x_.cols; ++q) w[q] += c * static_cast<double>(x[q]);
    } else {
      for (index_t q = 0; q < x_.cols; ++q) {
        const double value = static_cast<double>(x[q]);
#pragma omp simd
        for (int j = 0; j < W; ++j) w[q * W + j] += value * change[j];
      }
    }
  }
  void announce(index_t) const override {}
  void prefetch([[maybe_unused]] index_t i) const override {
#if defined(__GNUC__)
    const char* const at = reinterpret_cast<const char*>(x_.row(i));
    const index_t bytes = std::min<index_t>(x_.cols * static_cast<index_t>(sizeof(T)), 512);
    for (index_t b = 0; b < bytes; b += 64) __builtin_prefetch(at + b);
#endif
  }

 private:
  const T* row(index_t i) const {
    if (x_.rows_contiguous()) return x_.row(i);
    T* const to = buffer_.data();
    for (index_t q = 0; q < x_.cols; ++q) to[q] = x_(i, q);
    return to;
  }
  MatrixView<const T> x_;
  Workspace<T> buffer_;
};

template <class T, class Index, int W>
class SparseProducts final : public Products {
 public:
  explicit SparseProducts(const CsrRows<T, Index>& x) : x_(x) {}

  void times(index_t i, const double* w, double* p) const override {
    const index_t stored = count(i);
    const T* const x = x_.data + begin(i);
    const Index* const columns = x_.indices + begin(i);
    if constexpr (W == 1) {
      double sum = 0, sum1 = 0, sum2 = 0, sum3 = 0;
      index_t e = 0;
      for (; e + 4 <= stored; e += 4) {  // four chains: one would wait for its own additions
        sum += static_cast<double>(x[e]) * w[columns[e]];
        sum1 += static_cast<double>(x[e + 1]) * w[columns[e + 1]];
        sum2 += static_cast<double>(x[e + 2]) * w[columns[e + 2]];
        sum3 += static_cast<double>(x[e + 3]) * w[columns[e + 3]];
      }
      for (; e < stored; ++e) sum += static_cast<double>(x[e]) * w[columns[e]];
      p[0] += sum + sum1 + (sum2 + sum3);
    } else {
      double sums[W] = {};
      for (index_t e = 0; e < stored; ++e) {
        const double value = static_cast<double>(x[e]);
        const double* const own = w + static_cast<index_t>(columns[e]) * W;
#pragma omp simd
        for (int j = 0; j < W; ++j) sums[j] += value * own[j];
      }
      for (int j = 0; j < W; ++j) p[j] += sums[j];
    }
  }
  void add(index_t i, double* w, const double* change) const override {
    const index_t stored = count(i);
    const T* const x = x_.data + begin(i);
    const Index* const columns = x_.indices + begin(i);
    for (index_t e = 0; e < stored; ++e) {
      const double value = static_cast<double>(x[e]);
      double* const own = w + static_cast<index_t>(columns[e]) * W;
#pragma omp simd
      for (int j = 0; j < W; ++j) own[j] += value * change[j];
    }
  }
  void announce([[maybe_unused]] index_t i) const override {
#if defined(__GNUC__)
    __builtin_prefetch(x_.indptr + i);
#endif
  }
  void prefetch([[maybe_unused]] index_t i) const override {
#if defined(__GNUC__)
    constexpr index_t line = 64, most = 1024;  // bytes
    const index_t stored = count(i), at = begin(i);
    const index_t bytes = std::min<index_t>(stored * static_cast<index_t>(sizeof(T)), most);
    const index_t more = std::min<index_t>(stored * static_cast<index_t>(sizeof(Index)), most);
    const auto* const x = reinterpret_cast<const char*>(x_.data + at);
    const auto* const columns = reinterpret_cast<const char*>(x_.indices + at);
    for (index_t b = 0; b < bytes; b += line) __builtin_prefetch(x + b);
    for (index_t b = 0; b < more; b += line) __builtin_prefetch(columns + b);
#endif
  }

 private:
  index_t begin(index_t i) const { return static_cast<index_t>(x_.indptr[i]); }
  index_t count(index_t i) const { return static_cast<index_t>(x_.indptr[i + 1]) - begin(i); }
  const CsrRows<T, Index>& x_;
};

using Maker = std::unique_ptr<Products> (*)(const void* x);

template <class X, class Made>
std::unique_ptr<Products> made(const void* x) {
  return std::make_unique<Made>(*static_cast<const X*>(x));
}

}  // namespace kernelmill::coordinate
