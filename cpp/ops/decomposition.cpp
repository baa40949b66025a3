#include "ops/decomposition.hpp"

#include <algorithm>  // std::copy, std::fill, std::max, std::min
#include <array>      // tiles of all heights
#include <cmath>      // std::fabs, std::sqrt
#include <limits>     // eps
#include <utility>    // std::integer_sequence
#include <vector>     // sums

#include "core/math.hpp"         // exp, log, tanh
#include "core/parallel.hpp"     // ordered_reduce, parallel_for
#include "core/tile.hpp"         // multiply, product
#include "ops/matmul_store.hpp"  // Store

namespace kernelmill::decomposition {
namespace {

index_t rounded(index_t n, index_t step) { return (n + step - 1) / step * step; }
std::size_t size(index_t n) { return static_cast<std::size_t>(n); }

// A factor of which rows are broadcast: element (p, r) of a tile, rows `stride` apart.
template <class T>
struct Across {
  const T* at;
  index_t stride;
  T operator()(index_t p, int r) const { return at[r * stride + p]; }
};

// The same of the transpose.
template <class T>
struct Down {
  const T* at;
  index_t stride;
  T operator()(index_t p, int r) const { return at[p * stride + r]; }
};

// g(u) in place of u, and g'(u) added to slopes.
template <class T>
void contrast_of(index_t contrast, T alpha, T* u, T* slopes, index_t width) {
  if (contrast == 0) {
    for (index_t c = 0; c < width; ++c) {
      const T g = kernelmill::tanh(alpha * u[c]);
      u[c] = g;
      slopes[c] += alpha * (T(1) - g * g);
    }
  } else if (contrast == 1) {
    for (index_t c = 0; c < width; ++c) {
      const T square = u[c] * u[c], e = kernelmill::exp(T(-0.5) * square);
      u[c] *= e;
      slopes[c] += (T(1) - square) * e;
    }
  } else {
    for (index_t c = 0; c < width; ++c) {
      const T square = u[c] * u[c];
      u[c] *= square;
      slopes[c] += T(3) * square;
    }
  }
}

// The pass of FastICA. For a block of rows, U = Z W' has the directions along lanes, so that g(U)
// is the packed operand of the second product, g(U)' Z read as (Z' g(U))', as it stands. Tiles of
// that product have equal heights, and a panel of few columns costs one vector, so that 20
// directions are multiplied as 24 by 20 and not as 32 by 28 (60,000 rows: 1.9 ms, not 3.1).
template <class T>
class ContrastPass {
  using P = tile::Params<T>;
  using Vec = typename P::Vec;
  static constexpr index_t kRows = 8 * P::MR, kGrain = 16 * kRows;

 public:
  ContrastPass(MatrixView<const T> z, MatrixView<const double> w, index_t contrast, double alpha)
      : z_(z),
        m_(w.rows),
        k_(w.cols),
        height_(equal_heights(std::max<index_t>(1, k_))),
        padded_(rounded(k_, height_)),
        width_(rounded(m_, P::NR)),
        contrast_(contrast),
        alpha_(static_cast<T>(alpha)),
        panels_(size(width_ * k_)) {
    for (index_t j = 0; j < m_; ++j) {
      T* const panel = panels_.data() + j / P::NR * P::NR * k_ + j % P::NR;
      for (index_t p = 0; p < k_; ++p) panel[p * P::NR] = static_cast<T>(w(j, p));
    }
  }

  void run(MatrixView<double> products, std::span<double> slopes) const {
    const State total = ordered_reduce<State>(
        z_.rows, kGrain, [&] { return State(padded_ * width_, width_); },
        [&](State& state, index_t, index_t begin, index_t end) { pass(state, begin, end); },
        [](State& to, State&& from) { to.add(from); });
    for (index_t j = 0; j < m_; ++j) {
      for (index_t p = 0; p < k_; ++p) products(j, p) = total.products[size(p * width_ + j)];
      slopes[size(j)] = total.slopes[size(j)];
    }
  }

 private:
  struct State {
    State(index_t n, index_t m) : products(size(n)), slopes(size(m)) {}
    void add(const State& from) {
      for (std::size_t i = 0; i < products.size(); ++i) products[i] += from.products[i];
      for (std::size_t i = 0; i < slopes.size(); ++i) slopes[i] += from.slopes[i];
    }
    std::vector<double> products, slopes;  // [p][j]
  };

  // Rows of the fewest tiles of equal height that hold k.
  static index_t equal_heights(index_t k) {
    const index_t tiles = rounded(k, P::MR) / P::MR;
    return rounded(k, tiles) / tiles;
  }

  void pass(State& state, index_t begin, index_t end) const {
    Workspace<T> memory(size(kRows * (padded_ + width_) + width_));
    T* const z = memory.data();
    T* const g = z + kRows * padded_;
    T* const slopes = g + kRows * width_;
    std::fill(z, z + kRows * padded_, T(0));
    for (index_t from = begin; from < end; from += kRows) {
      const index_t rows = std::min(kRows, end - from), tall = rounded(rows, P::MR);
      std::fill(slopes, slopes + width_, T(0));
      for (index_t r = 0; r < rows; ++r) {
        const T* const row = z_.row(from + r);
        if (z_.col_stride == 1) {
          std::copy(row, row + k_, z + r * padded_);
        } else {
          for (index_t p = 0; p < k_; ++p) z[r * padded_ + p] = row[p * z_.col_stride];
        }
      }
      std::fill(z + rows * padded_, z + tall * padded_, T(0));
      for (index_t j = 0; j < width_; j += P::NR) {
        const bool narrow = P::NV > 1 && m_ - j <= P::lanes;
        narrow ? multiply_panel<1>(z, g + kRows * j, j, rows, slopes, state)
               : multiply_panel<P::NV>(z, g + kRows * j, j, rows, slopes, state);
      }
      for (index_t j = 0; j < width_; ++j) state.slopes[size(j)] += double(slopes[j]);
    }
  }

  // The directions from j on: the first `Active` vectors of a panel.
  template <int Active>
  void multiply_panel(const T* z, T* panel, index_t j, index_t rows, T* slopes,
                      State& state) const {
    constexpr index_t lanes = Active * P::lanes;
    const index_t tall = rounded(rows, P::MR);
    for (index_t r = 0; r < tall; r += P::MR) {
      Vec acc[P::MR][P::NV];
      tile::multiply<T, P::MR, Active>(Across<T>{z + r * padded_, padded_}, panels_.data() + j * k_,
                                       k_, acc);
      KERNELMILL_UNROLL
      for (int i = 0; i < P::MR; ++i) {
        KERNELMILL_UNROLL
        for (int v = 0; v < Active; ++v) {
          tile::store(panel + (r + i) * P::NR + v * P::lanes, acc[i][v]);
        }
      }
    }
    for (index_t r = 0; r < rows; ++r) {
      contrast_of(contrast_, alpha_, panel + r * P::NR, slopes + j, lanes);
    }
    static constexpr auto heights = []<int... At>(std::integer_sequence<int, At...>) {
      return std::array<Height, sizeof...(At)>{&add_height<At + 1, Active>...};
    }(std::make_integer_sequence<int, P::MR>{});
    for (index_t p = 0; p < padded_; p += height_) {
      heights[size(height_ - 1)](z + p, padded_, panel, tall,
                                 state.products.data() + p * width_ + j, width_);
    }
  }

  using Height = void (*)(const T* z, index_t padded, const T* panel, index_t rows, double* to,
                          index_t width);

  template <int Rows, int Active>
  [[gnu::noinline]] static void add_height(const T* z, index_t padded, const T* panel, index_t rows,
                                           double* to, index_t width) {
    Vec acc[Rows][P::NV];
    tile::multiply<T, Rows, Active>(Down<T>{z, padded}, panel, rows, acc);
    T row[Active * P::lanes];
    KERNELMILL_UNROLL
    for (int r = 0; r < Rows; ++r, to += width) {
      KERNELMILL_UNROLL
      for (int v = 0; v < Active; ++v) tile::store(row + v * P::lanes, acc[r][v]);
      for (int c = 0; c < Active * P::lanes; ++c) to[c] += double(row[c]);
    }
  }

  MatrixView<const T> z_;
  index_t m_, k_, height_, padded_, width_, contrast_;
  T alpha_;
  std::vector<T> panels_;  // W' as [panel][k][NR]
};

// psi(x) for x > 0: psi(x + 8) less eight reciprocals, and the asymptotic series, whose first
// neglected term is below 1e-15 at 8.
KERNELMILL_INLINE double digamma(double x) {
  double shift = 0;
  for (int i = 0; i < 8; ++i) shift += 1.0 / (x + i);
  const double y = x + 8.0, z = 1.0 / (y * y);
  const double series =
      z *
      (1.0 / 12 -
       z * (1.0 / 120 -
            z * (1.0 / 252 - z * (1.0 / 240 - z * (1.0 / 132 - z * (691.0 / 32760 - z / 12.0))))));
  return kernelmill::log(y) - 0.5 / y - series - shift;
}

// theta = exp(psi(gamma) - psi(sum gamma)).
void expectations(const double* gamma, index_t k, double* theta) {
  double sum = 0;
  for (index_t c = 0; c < k; ++c) sum += gamma[c];
  const double whole = digamma(sum);
  for (index_t c = 0; c < k; ++c) theta[c] = kernelmill::exp(digamma(gamma[c]) - whole);
}

double dot(const double* a, const double* b, index_t k) {
  double sum[8] = {};
  index_t c = 0;
  for (; c + 8 <= k; c += 8) {
    for (int l = 0; l < 8; ++l) sum[l] += a[c + l] * b[c + l];
  }
  for (; c < k; ++c) sum[0] += a[c] * b[c];
  return ((sum[0] + sum[4]) + (sum[1] + sum[5])) + ((sum[2] + sum[6]) + (sum[3] + sum[7]));
}

// The counts of one row: numbers of words, and how often.
struct Counts {
  std::vector<index_t> words;
  std::vector<double> often;
  void clear() {
    words.clear();
    often.clear();
  }
  void add(index_t word, double count) {
    if (count == 0.0) return;
    words.push_back(word);
    often.push_back(count);
  }
};

class TopicPass {
 public:
  TopicPass(MatrixView<const double> topics, std::span<const double> prior,
            MatrixView<double> gamma, double tol, index_t most)
      : k_(topics.cols),
        words_(topics.rows),
        prior_(prior),
        gamma_(gamma),
        tol_(tol),
        most_(most),
        topics_(size(words_ * k_)) {
    for (index_t j = 0; j < words_; ++j) {
      for (index_t c = 0; c < k_; ++c) topics_[size(j * k_ + c)] = topics(j, c);
    }
  }

  // fill(i, counts) gives the counts of row i.
  template <class Fill>
  void run(index_t n, const Fill& fill, MatrixView<double> out) const {
    using Sums = std::vector<double>;
    // Sums of all words are large: few chunks, whose number depends on n alone.
    const Sums total = ordered_reduce<Sums>(
        n, bounded_grain(n, 16, 32), [&] { return Sums(size(words_ * k_)); },
        [&](Sums& sums, index_t, index_t begin, index_t end) {
          Counts counts;
          Sums theta(size(k_)), next(size(k_));
          for (index_t i = begin; i < end; ++i) {
            counts.clear();
            fill(i, counts);
            row(counts, gamma_.row(i), theta.data(), next.data(), sums.data());
          }
        },
        [](Sums& to, Sums&& from) {
          for (std::size_t i = 0; i < to.size(); ++i) to[i] += from[i];
        });
    for (index_t j = 0; j < words_; ++j) {
      for (index_t c = 0; c < k_; ++c) out(j, c) = total[size(j * k_ + c)];
    }
  }

 private:
  void row(const Counts& counts, double* gamma, double* theta, double* next, double* sums) const {
    constexpr double eps = std::numeric_limits<double>::epsilon();
    const std::size_t count = counts.words.size();
    for (index_t step = 0; step < most_; ++step) {
      expectations(gamma, k_, theta);
      std::fill(next, next + k_, 0.0);
      for (std::size_t e = 0; e < count; ++e) {
        const double* const b = topics_.data() + counts.words[e] * k_;
        const double share = counts.often[e] / (dot(theta, b, k_) + eps);
        for (index_t c = 0; c < k_; ++c) next[c] += share * b[c];
      }
      double change = 0;
      for (index_t c = 0; c < k_; ++c) {
        const double value = prior_[size(c)] + theta[c] * next[c];
        change += std::fabs(value - gamma[c]);
        gamma[c] = value;
      }
      if (k_ == 0 || change / double(k_) < tol_) break;
    }
    expectations(gamma, k_, theta);
    for (std::size_t e = 0; e < count; ++e) {
      const double* const b = topics_.data() + counts.words[e] * k_;
      double* const to = sums + counts.words[e] * k_;
      const double share = counts.often[e] / (dot(theta, b, k_) + eps);
      for (index_t c = 0; c < k_; ++c) to[c] += share * theta[c];
    }
  }

  index_t k_, words_;
  std::span<const double> prior_;
  MatrixView<double> gamma_;
  double tol_;
  index_t most_;
  std::vector<double> topics_;  // dense rows
};

}  // namespace

template <class T>
void contrasts(MatrixView<const T> Z, MatrixView<const double> W, index_t contrast, double alpha,
               MatrixView<double> products, std::span<double> slopes) {
  ContrastPass<T>(Z, W, contrast, alpha).run(products, slopes);
}

template <class T>
std::tuple<index_t, double> deflation(MatrixView<const T> Z, MatrixView<const double> found,
                                      std::span<double> w, index_t contrast, double alpha,
                                      index_t most, double tol) {
  const index_t k = Z.cols;
  std::vector<double> next(size(k)), had(size(found.rows));
  double turned = 1, slope = 0;
  index_t done = 0;
  while (done < most) {
    check_interrupt();
    ContrastPass<T>(Z, dense<const double>(w.data(), 1, k), contrast, alpha)
        .run(dense(next.data(), 1, k), {&slope, 1});
    for (index_t p = 0; p < k; ++p) {
      next[size(p)] = (next[size(p)] - slope * w[size(p)]) / double(Z.rows);
    }
    for (index_t i = 0; i < found.rows; ++i) {
      had[size(i)] = 0;
      for (index_t p = 0; p < k; ++p) had[size(i)] += found(i, p) * next[size(p)];
    }
    for (index_t i = 0; i < found.rows; ++i) {
      for (index_t p = 0; p < k; ++p) next[size(p)] -= had[size(i)] * found(i, p);
    }
    double length = std::sqrt(dot(next.data(), next.data(), k));
    if (length == 0) length = 1;
    for (double& entry : next) entry /= length;
    turned = std::fabs(std::fabs(dot(next.data(), w.data(), k)) - 1);
    std::copy(next.begin(), next.end(), w.begin());
    ++done;
    if (turned < tol) break;
  }
  return {done, turned};
}

template <class T>
void scores(MatrixView<const T> X, std::span<const double> mean, MatrixView<const T> axes,
            MatrixView<T> Z) {
  using P = tile::Params<T>;
  constexpr index_t kBlock = 32768;  // entries of centred rows, in the second cache
  constexpr index_t kPanels = 4;     // that read rows where they are; more pay for packing them
  const index_t d = X.cols, k = axes.rows;
  // Rows whole pages apart would share sets of the first cache.
  const index_t stride = d * index_t{sizeof(T)} % 4096 == 0 ? d + P::lanes : d;
  const index_t block = rounded(std::max<index_t>(1, kBlock / (d + 1)), P::MR);
  tile::PackedB<T> packed(k, d);
  packed.pack(tile::Strided<T>{axes.data, axes.row_stride, axes.col_stride}, 0, 0, k);
  parallel_for(X.rows, 4 * block, [&](index_t, index_t begin, index_t end) {
    Workspace<T> memory(size(block * stride));
    T* const centred = memory.data();
    for (index_t i = begin; i < end; i += block) {
      const index_t rows = std::min(block, end - i);
      for (index_t r = 0; r < rows; ++r) {
        const T* const x = X.row(i + r);
        T* const to = centred + r * stride;
        if (X.col_stride == 1) {
          for (index_t j = 0; j < d; ++j) to[j] = static_cast<T>(double(x[j]) - mean[size(j)]);
        } else {
          for (index_t j = 0; j < d; ++j) {
            to[j] = static_cast<T>(double(x[j * X.col_stride]) - mean[size(j)]);
          }
        }
      }
      matmul_detail::Store<T> part{Z.row_range(i, i + rows), T(1), T(0), {}};
      if (k <= kPanels * P::NR && d <= P::KC) {
        tile::product<T>(tile::RowsA<T>(centred, stride, rows, d), packed, 0, k, part);
      } else {
        const tile::Strided<T> all{centred, stride, 1};
        tile::product<T>(tile::PackedA<T>(all, rows, d), packed, 0, k, part);
      }
    }
  });
}

template <class T>
void topics(MatrixView<const T> X, MatrixView<const double> topics, std::span<const double> prior,
            MatrixView<double> gamma, double tol, index_t most, MatrixView<double> statistics) {
  const auto fill = [&](index_t i, Counts& counts) {
    for (index_t j = 0; j < X.cols; ++j) counts.add(j, double(X(i, j)));
  };
  TopicPass(topics, prior, gamma, tol, most).run(X.rows, fill, statistics);
}

template <class T>
void csr_topics(const CsrView<T>& X, MatrixView<const double> topics, std::span<const double> prior,
                MatrixView<double> gamma, double tol, index_t most, MatrixView<double> statistics) {
  X.visit([&](const auto& rows) {
    const auto fill = [&](index_t i, Counts& counts) {
      for (index_t e = rows.indptr[i]; e < rows.indptr[i + 1]; ++e) {
        counts.add(rows.indices[e], double(rows.data[e]));
      }
    };
    TopicPass(topics, prior, gamma, tol, most).run(X.rows, fill, statistics);
  });
}

KERNELMILL_FOR_FLOATS(contrasts)
KERNELMILL_FOR_FLOATS(deflation)
KERNELMILL_FOR_FLOATS(scores)
KERNELMILL_FOR_FLOATS(topics)
KERNELMILL_FOR_FLOATS(csr_topics)

}  // namespace kernelmill::decomposition
