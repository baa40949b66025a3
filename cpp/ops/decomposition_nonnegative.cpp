// Nonnegative factors, X ~ W H: sweeps of coordinate descent and multiplicative updates.
//
// A multiplicative update of W is the ratio of the negative and the positive part of the slope of
// the divergence, sums over the features of x_j Y_j^(beta - 2) H_tj and of Y_j^(beta - 1) H_tj for
// Y = W H. Y is made tile by tile and never stored whole. That of H is the same of X', H' and W'.
#include <algorithm>  // std::copy_n, std::fill_n, std::max, std::min
#include <cmath>      // std::fabs
#include <limits>     // eps, least number
#include <stdexcept>  // std::out_of_range
#include <string>     // messages
#include <vector>     // copies of small matrices

#include "core/math.hpp"       // exp, log
#include "core/parallel.hpp"   // ordered_reduce
#include "core/workspace.hpp"  // Workspace
#include "ops/decomposition.hpp"
#include "ops/matmul.hpp"  // matmul

namespace kernelmill::decomposition {
namespace {

index_t rounded(index_t n, index_t step) { return (n + step - 1) / step * step; }
std::size_t size(index_t n) { return static_cast<std::size_t>(n); }

template <class T>
MatrixView<const T> read(MatrixView<T> a) {
  return {a.data, a.rows, a.cols, a.row_stride, a.col_stride};
}

// A dense matrix of our own.
template <class T>
struct Matrix {
  Matrix(index_t rows, index_t cols)
      : memory(size(rows * cols)), view(dense(memory.data(), rows, cols)) {}
  Workspace<T> memory;
  MatrixView<T> view;
};

// Products of so few terms are made here: most of a tile would be empty, and filling it takes ten
// times as long (200 rows, 5 features, 2 components).
constexpr index_t kSmall = 8192;

// Rows that are adjacent, copied if they are not.
template <class T>
MatrixView<const T> adjacent(MatrixView<const T> a, Workspace<T>& memory) {
  if (a.col_stride == 1) return a;
  memory = Workspace<T>(size(a.rows * a.cols));
  const MatrixView<T> copy = dense(memory.data(), a.rows, a.cols);
  for (index_t j = 0; j < a.cols; ++j) {
    for (index_t i = 0; i < a.rows; ++i) copy(i, j) = a(i, j);
  }
  return read(copy);
}

template <class T>
T dot(const T* a, const T* b, index_t count) {
  T sum = 0;
#pragma omp simd reduction(+ : sum)
  for (index_t p = 0; p < count; ++p) sum += a[p] * b[p];
  return sum;
}

// out = a b. Of few terms by the longest side: as products of rows of a with columns of b, or as
// sums of rows of b, or of columns of a.
template <class T>
void multiply(MatrixView<const T> a, MatrixView<const T> b, MatrixView<T> out) {
  if (out.rows * out.cols * a.cols > kSmall) return matmul<T>(a, b, out);
  Workspace<T> of_a, of_b;
  if (a.cols >= std::max(out.rows, out.cols)) {
    const MatrixView<const T> rows = adjacent(a, of_a), columns = adjacent(b.transposed(), of_b);
    for (index_t i = 0; i < out.rows; ++i) {
      for (index_t j = 0; j < out.cols; ++j) out(i, j) = dot(rows.row(i), columns.row(j), a.cols);
    }
    return;
  }
  if (out.rows > out.cols) return multiply<T>(b.transposed(), a.transposed(), out.transposed());
  const MatrixView<const T> rows = adjacent(b, of_b);
  Workspace<T> memory(size(out.cols));
  T* const sums = memory.data();
  for (index_t i = 0; i < out.rows; ++i) {
    std::fill_n(sums, out.cols, T(0));
    for (index_t p = 0; p < a.cols; ++p) {
      const T value = a(i, p), *const from = rows.row(p);
      for (index_t j = 0; j < out.cols; ++j) sums[j] += value * from[j];
    }
    for (index_t j = 0; j < out.cols; ++j) out(i, j) = sums[j];
  }
}

// Rows of W side by side, so that a coordinate of all of them moves at once.
constexpr index_t kTogether = 64;

template <class T>
double sweep(const std::vector<T>& G, MatrixView<const T> Q, std::span<const std::int64_t> order,
             MatrixView<T> W, index_t begin, index_t rows) {
  const index_t k = W.cols;
  Workspace<T> memory(size((k + 1) * kTogether));
  T* const w = memory.data();
  T* const slope = w + k * kTogether;
  std::fill(w, w + k * kTogether, T(0));
  for (index_t r = 0; r < rows; ++r) {
    for (index_t p = 0; p < k; ++p) w[p * kTogether + r] = W(begin + r, p);
  }
  double violation = 0;
  for (const index_t t : order) {
    const T* const g = G.data() + t * k;
    std::fill(slope, slope + kTogether, T(0));
    for (index_t r = 0; r < rows; ++r) slope[r] = -Q(begin + r, t);
    index_t p = 0;
    for (; p + 4 <= k; p += 4) {
      const T* const from = w + p * kTogether;
      for (index_t l = 0; l < kTogether; ++l) {
        slope[l] += g[p] * from[l] + g[p + 1] * from[kTogether + l] +
                    (g[p + 2] * from[2 * kTogether + l] + g[p + 3] * from[3 * kTogether + l]);
      }
    }
    for (; p < k; ++p) {
      for (index_t l = 0; l < kTogether; ++l) slope[l] += g[p] * w[p * kTogether + l];
    }
    T* const own = w + t * kTogether;
    T sum = 0;
    for (index_t l = 0; l < kTogether; ++l) {
      sum += own[l] == T(0) ? std::fabs(std::min(slope[l], T(0))) : std::fabs(slope[l]);
    }
    violation += double(sum);
    if (!(g[t] > T(0))) continue;
    const T size = g[t];
    for (index_t l = 0; l < kTogether; ++l) own[l] = std::max(own[l] - slope[l] / size, T(0));
  }
  for (index_t r = 0; r < rows; ++r) {
    for (index_t p = 0; p < k; ++p) W(begin + r, p) = w[p * kTogether + r];
  }
  return violation;
}

void check_order(std::span<const std::int64_t> order, index_t k, const char* name) {
  for (const std::int64_t t : order) {
    if (t < 0 || t >= k) {
      throw std::out_of_range(std::string("decomposition.") + name + " must be in [0, " +
                              std::to_string(k) + "), got " + std::to_string(t));
    }
  }
}

// What an update of W adds up for some rows, and the divergence.
template <class T>
class Ratio {
  static constexpr index_t kRows = 32, kColumns = 512;  // of a tile: 128 KiB of doubles

 public:
  Ratio(MatrixView<const T> x, MatrixView<const T> w, MatrixView<const T> h, double beta,
        bool costs)
      : x_(x), w_(w), h_(h), beta_(beta), costs_(costs) {
    if (beta == 2) return;  // nothing is divided
    const auto largest = [](MatrixView<const T> a) {
      T top = 0;
      for (index_t i = 0; i < a.rows; ++i) {
        for (index_t j = 0; j < a.cols; ++j) top = std::max(top, a(i, j));
      }
      return double(top);
    };
    constexpr double eps = std::numeric_limits<T>::epsilon();
    tiny_ = static_cast<T>(eps * eps * largest(w) * largest(h));
    if (!(tiny_ > T(0))) tiny_ = std::numeric_limits<T>::min();
  }

  double run(MatrixView<T> above, MatrixView<T> below) const {
    if (beta_ == 2) {
      multiply<T>(h_, x_.transposed(), above.transposed());
      Matrix<T> G(h_.rows, h_.rows);
      multiply<T>(h_, h_.transposed(), G.view);
      multiply<T>(w_, read(G.view), below);
      if (!costs_) return 0;
    } else if (beta_ == 1) {
      std::vector<double> sums(size(h_.rows));
      for (index_t t = 0; t < h_.rows; ++t) {
        for (index_t j = 0; j < h_.cols; ++j) sums[size(t)] += double(h_(t, j));
      }
      for (index_t i = 0; i < below.rows; ++i) {
        for (index_t t = 0; t < below.cols; ++t) below(i, t) = static_cast<T>(sums[size(t)]);
      }
    }
    if (x_.cols == 0) {
      for (const MatrixView<T>& sums : {above, below})
        std::fill_n(sums.data, sums.rows * sums.cols, T(0));
    }
    // About 32,768 entries of X in a task.
    const index_t grain = rounded(std::max<index_t>(1, 32768 / (x_.cols + 1)), kRows);
    return ordered_reduce<double>(
        x_.rows, grain, [] { return 0.0; },
        [&](double& sum, index_t, index_t begin, index_t end) {
          for (index_t i = begin; i < end; i += kRows) {
            sum += rows(i, std::min(end, i + kRows), above, below);
          }
        },
        [](double& to, double&& from) { to += from; });
  }

 private:
  double rows(index_t begin, index_t end, MatrixView<T> above, MatrixView<T> below) const {
    const index_t n = end - begin, width = std::min(kColumns, x_.cols);
    Workspace<T> memory(size(3 * n * width));
    T* const x = memory.data();
    T* const y = x + n * width;
    T* const z = y + n * width;
    const MatrixView<const T> w = w_.row_range(begin, end);
    double cost = 0;
    for (index_t j = 0; j < x_.cols; j += width) {
      const index_t d = std::min(width, x_.cols - j);
      const MatrixView<const T> h = columns(h_, j, d);
      const MatrixView<T> Y = dense(y, n, d);
      fetch(begin, n, j, d, x);
      matmul<T>(w, h, Y);
      if (costs_) cost += divergence(x, y, n * d);
      if (beta_ == 2) continue;
      powers(x, y, z, n * d);
      const T keep = j > 0 ? T(1) : T(0);
      matmul<T>(read(Y), h.transposed(), above.row_range(begin, end), T(1), keep);
      if (beta_ == 1) continue;
      matmul<T>(read(dense(z, n, d)), h.transposed(), below.row_range(begin, end), T(1), keep);
    }
    return cost;
  }

  static MatrixView<const T> columns(MatrixView<const T> a, index_t j, index_t count) {
    return {a.data + j * a.col_stride, a.rows, count, a.row_stride, a.col_stride};
  }

  void fetch(index_t begin, index_t n, index_t j, index_t d, T* to) const {
    if (x_.col_stride == 1) {
      for (index_t i = 0; i < n; ++i) std::copy_n(x_.row(begin + i) + j, d, to + i * d);
      return;
    }
    for (index_t c = 0; c < d; ++c) {
      for (index_t i = 0; i < n; ++i) to[i * d + c] = x_(begin + i, j + c);
    }
  }

  // y becomes x y^(beta - 2), and z y^(beta - 1) unless that is 1.
  void powers(const T* x, T* y, T* z, index_t count) const {
    const T least = tiny_;
    if (beta_ == 1) {
      for (index_t c = 0; c < count; ++c) y[c] = x[c] / std::max(y[c], least);
    } else if (beta_ == 0) {
      for (index_t c = 0; c < count; ++c) {
        z[c] = T(1) / std::max(y[c], least);
        y[c] = x[c] * z[c] * z[c];
      }
    } else {
      const T power = static_cast<T>(beta_ - 2);
      for (index_t c = 0; c < count; ++c) {
        const T value = std::max(y[c], least), p = kernelmill::exp(power * kernelmill::log(value));
        y[c] = x[c] * p;
        z[c] = value * p;
      }
    }
  }

  double divergence(const T* x, const T* y, index_t count) const {
    const double least = double(tiny_), b = beta_;
    double sum = 0;
    const auto add = [&](const auto& term) {
#pragma omp simd reduction(+ : sum)
      for (index_t c = 0; c < count; ++c) sum += term(double(x[c]), double(y[c]));
    };
    if (b == 2) {
      add([](double v, double u) { return 0.5 * (v - u) * (v - u); });
    } else if (b == 1) {
      add([least](double v, double u) {
        u = std::max(u, least);
        return (v > 0 ? v * kernelmill::log(v / u) : 0.0) - v + u;
      });
    } else if (b == 0) {
      add([least](double v, double u) {
        const double ratio = v / std::max(u, least);
        return ratio - kernelmill::log(ratio) - 1;
      });
    } else {
      const double scale = 1 / (b * (b - 1));
      add([least, b, scale](double v, double u) {
        const double l = kernelmill::log(std::max(u, least));
        return scale * (kernelmill::exp(b * kernelmill::log(v)) + (b - 1) * kernelmill::exp(b * l) -
                        b * v * kernelmill::exp((b - 1) * l));
      });
    }
    return sum;
  }

  MatrixView<const T> x_, w_, h_;
  double beta_;
  bool costs_;
  T tiny_ = 0;
};

// One half of an alternation: W' for H, by X'.
template <class T>
double descend(MatrixView<const T> Xt, MatrixView<T> Wt, MatrixView<const T> H, double l1,
               double l2, std::span<const std::int64_t> order) {
  const index_t k = Wt.rows, n = Wt.cols;
  Matrix<T> G(k, k), Q(k, n);
  multiply<T>(H, H.transposed(), G.view);
  multiply<T>(H, Xt, Q.view);
  for (index_t t = 0; t < k; ++t) G.view(t, t) += static_cast<T>(l2);
  if (l1 != 0) {
    for (index_t i = 0; i < k * n; ++i) Q.view.data[i] -= static_cast<T>(l1);
  }
  return nonnegative<T>(read(G.view), read(Q.view).transposed(), order, Wt.transposed());
}

// Entries of X of which a transposed copy is made: as few are gathered as often as multiplied.
constexpr index_t kCopied = index_t{1} << 16;

}  // namespace

template <class T>
double nonnegative(MatrixView<const T> G, MatrixView<const T> Q,
                   std::span<const std::int64_t> order, MatrixView<T> W) {
  const index_t k = W.cols;
  check_order(order, k, "nonnegative: order");
  std::vector<T> dense(size(k * k));
  for (index_t i = 0; i < k; ++i) {
    for (index_t j = 0; j < k; ++j) dense[size(i * k + j)] = G(i, j);
  }
  const index_t together = rounded(std::max<index_t>(1, 65536 / (k * k + 1)), kTogether);
  return ordered_reduce<double>(
      W.rows, together, [] { return 0.0; },
      [&](double& sum, index_t, index_t begin, index_t end) {
        for (index_t i = begin; i < end; i += kTogether) {
          sum += sweep(dense, Q, order, W, i, std::min(kTogether, end - i));
        }
      },
      [](double& to, double&& from) { to += from; });
}

template <class T>
std::tuple<index_t, double, double> alternations(MatrixView<const T> X,
                                                 std::span<const double> penalties,
                                                 MatrixView<const std::int64_t> orders,
                                                 double first, double tol, MatrixView<T> W,
                                                 MatrixView<T> H) {
  const index_t k = W.cols;
  std::vector<std::int64_t> order(size(k));
  const auto row = [&](index_t i) {
    for (index_t t = 0; t < k; ++t) order[size(t)] = orders(i, t);
    return std::span<const std::int64_t>(order);
  };
  for (index_t i = 0; i < orders.rows; ++i) check_order(row(i), k, "alternations: orders");
  const index_t n = X.rows, d = X.cols;
  Workspace<T> memory;
  MatrixView<const T> Xt = X.transposed();
  if (n * d <= kCopied) Xt = adjacent(Xt, memory);
  Matrix<T> Wt(k, n);
  for (index_t i = 0; i < n; ++i) {
    for (index_t t = 0; t < k; ++t) Wt.view(t, i) = W(i, t);
  }
  double violation = 0;
  index_t done = 0;
  while (2 * done + 1 < orders.rows) {
    violation = descend<T>(Xt, Wt.view, read(H), penalties[0], penalties[1], row(2 * done));
    violation += descend<T>(Xt.transposed(), H, read(Wt.view), penalties[2], penalties[3],
                            row(2 * done + 1));
    ++done;
    if (first < 0) first = violation;
    if (violation <= tol * first) break;
  }
  for (index_t i = 0; i < n; ++i) {
    for (index_t t = 0; t < k; ++t) W(i, t) = Wt.view(t, i);
  }
  return {done, first, violation};
}

template <class T>
double multiplicative(MatrixView<const T> X, MatrixView<const T> W, MatrixView<const T> H,
                      double beta, std::span<const double> penalties, bool costs,
                      MatrixView<T> new_W, MatrixView<T> above, MatrixView<T> below) {
  const double cost = Ratio<T>(X, W, H, beta, costs).run(above, below);
  const double gamma = beta < 1 ? 1 / (2 - beta) : beta > 2 ? 1 / (beta - 1) : 1.0;
  const T l1 = static_cast<T>(penalties[0]), l2 = static_cast<T>(penalties[1]);
  T* const out = new_W.data;  // dense, as `above` and `below` are
  for (index_t i = 0; i < W.rows; ++i) {
    for (index_t t = 0; t < W.cols; ++t) out[i * W.cols + t] = W(i, t);
  }
  const index_t count = W.rows * W.cols;
  for (index_t c = 0; c < count; ++c) {
    const T size = below.data[c] + l1 + l2 * out[c];
    T ratio = size > T(0) ? above.data[c] / size : T(0);
    if (gamma != 1) ratio = kernelmill::exp(static_cast<T>(gamma) * kernelmill::log(ratio));
    out[c] *= ratio;
  }
  return cost;
}

KERNELMILL_FOR_FLOATS(nonnegative)
KERNELMILL_FOR_FLOATS(alternations)
KERNELMILL_FOR_FLOATS(multiplicative)

}  // namespace kernelmill::decomposition
