// A step is a product of all states with the recurrent weights, which are packed once for all
// steps, and then the gates of each row while its products are in the near caches.
//
// Sequences do not meet, so each thread takes some of them through all steps and waits for nobody.
// Where there are too few sequences for that, or the weights outgrow the cache of a core, threads
// share the columns of each product instead. Sums of a product do not depend on how it is cut
// (core/tile.hpp), so either way gives the same bits.
#include "ops/recurrent.hpp"

#include <algorithm>    // std::clamp, std::copy_n, std::fill_n
#include <type_traits>  // std::is_invocable_v
#include <vector>       // shares

#include "core/math.hpp"       // logistic, tanh
#include "core/parallel.hpp"   // parallel_for, thread_limit
#include "core/tile.hpp"       // PackedA, PackedB, product
#include "core/workspace.hpp"  // scratch memory
#include "ops/matmul.hpp"      // single steps

namespace kernelmill::recurrent {
namespace {

// Multiply-adds that are worth a task of their own, in a loop whose helpers are awake.
constexpr index_t task_work = index_t{1} << 18;
// Weights that a core reads from its own cache in each step.
constexpr index_t near_bytes = index_t{1} << 20;
// A thread takes as many sequences at a time through all steps: four tiles or so, whose products
// still fit its cache, and no fewer than keep the multipliers busy.
constexpr index_t most_sequences = 56, least_sequences = 4;
// Rows of up to so many bytes are read where they are: with longer ones, lines of several rows
// would share a set of the first-level cache. A step back of 32 sequences and 128 units took 3.4
// instead of 3.5 ms.
constexpr index_t near_stride = 2048;
// With fewer steps packing the weights would take longer than the products.
constexpr index_t packed_steps = 3;

// Stores whole vectors, so that rows of the result are padded.
template <class T>
struct Padded {
  static constexpr tile::Hooks hooks{};
  using Vec = typename tile::Params<T>::Vec;
  static constexpr int NV = tile::Params<T>::NV, lanes = tile::Params<T>::lanes;
  T* out;
  index_t width;

  template <int Rows>
  void tile(const Vec (&acc)[Rows][NV], index_t i0, index_t j0, index_t) {
    KERNELMILL_UNROLL
    for (int r = 0; r < Rows; ++r) {
      for (int v = 0; v < NV; ++v) {
        tile::store(out + (i0 + r) * width + j0 + v * lanes, acc[r][v]);
      }
    }
  }
};

// The (k x n) operand of the product of each step.
template <class T>
class Weights {
 public:
  Weights(MatrixView<const T> weight, Steps steps)
      : weight_(weight),
        packed_(std::ssize(steps.sizes) < packed_steps ? 0 : weight.cols, weight.rows) {
    if (std::ssize(steps.sizes) < packed_steps) return;
    is_packed_ = true;
    packed_.pack(tile::Strided<T>{weight.data, weight.col_stride, weight.row_stride}, 0, 0,
                 weight.cols);
  }

  bool is_packed() const { return is_packed_; }
  index_t work() const { return weight_.rows * weight_.cols; }  // for each row
  // Distance of the rows of a result.
  index_t width() const {
    return (weight_.cols + tile::Params<T>::NR - 1) / tile::Params<T>::NR * tile::Params<T>::NR;
  }

  // out = rows weight, for m dense rows. With `together` threads share the work.
  void multiply(const T* rows, index_t m, T* out, bool together) const {
    const index_t k = weight_.rows, n = weight_.cols;
    if (!is_packed_) {
      return matmul<T>({rows, m, k, k, 1}, weight_, MatrixView<T>{out, m, n, width(), 1});
    }
    if (k * index_t{sizeof(T)} <= near_stride) {
      multiply_by(tile::RowsA<T>(rows, k, m, k), m, out, together);
    } else {
      multiply_by(tile::PackedA<T>(tile::Strided<T>{rows, k, 1}, m, k), m, out, together);
    }
  }

 private:
  template <class A>
  void multiply_by(const A& a, index_t m, T* out, bool together) const {
    const index_t k = weight_.rows, n = weight_.cols;
    constexpr index_t NR = tile::Params<T>::NR;
    // Together: panels of columns that are worth a task.
    const index_t panels = std::max<index_t>(1, task_work / 2 / std::max<index_t>(1, m * k * NR));
    parallel_for(width() / NR, together ? panels : width() / NR,
                 [&](index_t, index_t begin, index_t end) {
                   Padded<T> epilogue{out, width()};
                   tile::product<T>(a, packed_, begin * NR, std::min(n, end * NR), epilogue);
                 });
  }

  MatrixView<const T> weight_;
  tile::PackedB<T> packed_;
  bool is_packed_ = false;
};

// A bias of `count` values, or zeros.
template <class T>
class OrZeros {
 public:
  OrZeros(const T* values, index_t count)
      : zeros_(values == nullptr ? static_cast<std::size_t>(count) : 0),
        values_(values == nullptr ? zeros_.data() : values) {
    if (values == nullptr) std::fill_n(zeros_.data(), count, T{0});
  }
  const T* data() const { return values_; }

 private:
  Workspace<T> zeros_;
  const T* values_;
};

// Rows of a gradient that may be missing, or have any strides.
template <class T>
class Gradient {
 public:
  // `rows` is how many a step has at most.
  Gradient(MatrixView<const T> values, index_t rows, index_t cols)
      : values_(values),
        cols_(cols),
        copies_(static_cast<std::size_t>(values.rows_contiguous() ? 0 : rows * cols)),
        zeros_(nullptr, values.data == nullptr ? cols : 0) {}
  // Row `row`, which is row i of a step, with its values adjacent.
  const T* row(index_t row, index_t i) const {
    if (values_.data == nullptr) return zeros_.data();
    if (values_.rows_contiguous()) return values_.row(row);
    T* const copy = copies_.data() + i * cols_;
    for (index_t j = 0; j < cols_; ++j) copy[j] = values_(row, j);
    return copy;
  }

 private:
  MatrixView<const T> values_;
  index_t cols_;
  Workspace<T> copies_;
  OrZeros<T> zeros_;
};

// Sequences that one thread takes through all steps, or all of them together.
struct Share {
  index_t begin, end;
  bool together;
  index_t size() const { return end - begin; }

  // row(i) for i < m: the gates, about `cost` values each.
  template <class Row>
  void each_row(index_t m, index_t cost, const Row& row) const {
    if (!together) {
      for (index_t i = 0; i < m; ++i) row(i);
      return;
    }
    const index_t grain = std::max<index_t>(1, (index_t{1} << 14) / std::max<index_t>(1, cost));
    parallel_for(m, grain, [&](index_t, index_t from, index_t to) {
      for (index_t i = from; i < to; ++i) row(i);
    });
  }
};

// Shares about equal in rows, of which sequence s has as many as there are steps with more than s.
std::vector<index_t> share_bounds(Steps steps, index_t sequences, index_t shares) {
  std::vector<index_t> bounds{0};
  index_t rows = 0, done = 0;
  for (const index_t size : steps.sizes) rows += size;
  auto length = std::ssize(steps.sizes);
  for (index_t s = 0; s < sequences; ++s) {
    while (length > 0 && steps.sizes[static_cast<std::size_t>(length - 1)] <= s) --length;
    done += length;
    if (done * shares >= rows * std::ssize(bounds) && std::ssize(bounds) < shares) {
      bounds.push_back(s + 1);
    }
  }
  bounds.push_back(sequences);
  return bounds;
}

// body(share) for shares of the sequences.
template <class T, class Body>
void for_shares(Steps steps, index_t sequences, const Weights<T>& weights, const Body& body) {
  const index_t threads = thread_limit(), work = sequences * weights.work();
  const bool distant = weights.work() * index_t{sizeof(T)} > near_bytes;
  const bool few = sequences < least_sequences * threads;
  if (!weights.is_packed() || (threads > 1 && work >= task_work && (distant || few))) {
    return body(Share{0, sequences, true});
  }
  index_t shares = (sequences + most_sequences - 1) / most_sequences;
  if (work * std::ssize(steps.sizes) >= 2 * task_work) {
    const index_t most = std::max<index_t>(1, sequences / least_sequences);
    shares = std::clamp((shares + threads - 1) / threads * threads, index_t{1}, most);
  }
  const std::vector<index_t> bounds = share_bounds(steps, sequences, std::max<index_t>(1, shares));
  parallel_for(std::ssize(bounds) - 1, 1, [&](index_t s, index_t, index_t) {
    const auto at = static_cast<std::size_t>(s);
    body(Share{bounds[at], bounds[at + 1], false});
  });
}

// Rows of a share in the step that the states of another one come from; the other rows are initial.
struct Before {
  index_t row, rows;
};

// step(row, m, before) for each step in order: m rows of the share, the first of which is row
// `row`.
template <class Step>
void for_steps(Steps steps, const Share& share, bool backward, const Step& step) {
  const bool descending = steps.reverse != backward;
  const index_t count = std::ssize(steps.sizes);
  const auto size_of = [&](index_t t) {
    return t < 0 || t == count ? index_t{0} : steps.sizes[static_cast<std::size_t>(t)];
  };
  index_t row = 0;
  if (descending) {
    for (const index_t size : steps.sizes) row += size;
  }
  for (index_t s = 0; s < count; ++s) {
    const index_t t = descending ? count - 1 - s : s, size = size_of(t);
    if (descending) row -= size;
    const index_t m = std::min(size, share.end) - share.begin;
    if (m > 0) {
      const index_t other = size_of(steps.reverse ? t + 1 : t - 1);
      const index_t at = (steps.reverse ? row + size : row - other) + share.begin;
      const Before before{at, std::min(other, share.end) - share.begin};
      if constexpr (std::is_invocable_v<Step, index_t, index_t, Before>) {
        step(row + share.begin, m, before);
      } else {
        step(row + share.begin, m);
      }
    }
    if (!descending) row += size;
  }
}

template <class T>
Workspace<T> scratch(index_t count) {
  return Workspace<T>(static_cast<std::size_t>(count));
}

// Rows of `from` into padded ones, or back.
template <class T>
void copy_rows(const T* from, index_t from_width, T* to, index_t to_width, index_t rows,
               index_t cols) {
  for (index_t i = 0; i < rows; ++i) std::copy_n(from + i * from_width, cols, to + i * to_width);
}

template <class T>
MatrixView<const T> turned(const T* weight, index_t rows, index_t cols) {
  return MatrixView<const T>{weight, rows, cols, cols, 1}.transposed();
}

// --- rows: p are products of this step, b biases ---

template <class T>
void elman_row(index_t u, const T* __restrict p, const T* __restrict b, bool relu, T* __restrict y,
               T* __restrict h) {
  if (relu) {
#pragma omp simd
    for (index_t j = 0; j < u; ++j) {
      const T a = y[j] + (p[j] + b[j]);
      h[j] = y[j] = a < T{0} ? T{0} : a;
    }
  } else {
#pragma omp simd
    for (index_t j = 0; j < u; ++j) h[j] = y[j] = tanh(y[j] + (p[j] + b[j]));
  }
}

template <class T>
void elman_back(index_t u, const T* __restrict y, const T* __restrict dy, const T* __restrict dh,
                bool relu, T* __restrict da) {
  if (relu) {
#pragma omp simd
    for (index_t j = 0; j < u; ++j) da[j] = y[j] > T{0} ? dh[j] + dy[j] : T{0};
  } else {
#pragma omp simd
    for (index_t j = 0; j < u; ++j) da[j] = (dh[j] + dy[j]) * (T{1} - y[j] * y[j]);
  }
}

// Gates apart: in one loop their functions have more constants than there are registers.
template <class T>
KERNELMILL_INLINE void logistic_gates(index_t count, const T* __restrict p, const T* __restrict b,
                                      T* __restrict gates) {
#pragma omp simd
  for (index_t j = 0; j < count; ++j) gates[j] = logistic(gates[j] + (p[j] + b[j]));
}

template <class T>
void lstm_row(index_t u, const T* __restrict p, const T* __restrict b, T* __restrict gates,
              T* __restrict c, T* __restrict before, T* __restrict m) {
  T *const f = gates + u, *const g = gates + 2 * u, *const o = gates + 3 * u;
  logistic_gates(2 * u, p, b, gates);
  logistic_gates(u, p + 3 * u, b + 3 * u, o);
#pragma omp simd
  for (index_t j = 0; j < u; ++j) {
    const T candidate = tanh(g[j] + (p[j + 2 * u] + b[j + 2 * u])), old = c[j];
    const T cell = f[j] * old + gates[j] * candidate;
    g[j] = candidate;
    before[j] = old;
    c[j] = cell;
    m[j] = o[j] * tanh(cell);
  }
}

template <class T>
void lstm_back(index_t u, const T* __restrict gates, const T* __restrict before,
               const T* __restrict dm, T* __restrict dc, T* __restrict da, T* __restrict m) {
  const T *const i = gates, *const f = gates + u, *const g = gates + 2 * u,
                 *const o = gates + 3 * u;
#pragma omp simd
  for (index_t j = 0; j < u; ++j) {
    const T tanh_c = tanh(f[j] * before[j] + i[j] * g[j]);
    const T d = dc[j] + dm[j] * o[j] * (T{1} - tanh_c * tanh_c);
    da[j] = d * g[j] * i[j] * (T{1} - i[j]);
    da[j + u] = d * before[j] * f[j] * (T{1} - f[j]);
    da[j + 2 * u] = d * i[j] * (T{1} - g[j] * g[j]);
    da[j + 3 * u] = dm[j] * tanh_c * o[j] * (T{1} - o[j]);
    dc[j] = d * f[j];
    m[j] = o[j] * tanh_c;
  }
}

template <class T>
void gru_row(index_t u, const T* __restrict p, const T* __restrict b, T* __restrict gates,
             T* __restrict h, T* __restrict y, T* __restrict q) {
  T *const z = gates + u, *const v = gates + 2 * u;
  logistic_gates(2 * u, p, b, gates);
#pragma omp simd
  for (index_t j = 0; j < u; ++j) {
    const T inner = p[j + 2 * u] + b[j + 2 * u], value = tanh(v[j] + gates[j] * inner);
    q[j] = inner;
    v[j] = value;
    h[j] = y[j] = value + z[j] * (h[j] - value);
  }
}

// What reaches the state before is `direct` and the product of db.
template <class T>
void gru_back(index_t u, const T* __restrict gates, const T* __restrict q,
              const T* __restrict before, const T* __restrict dy, const T* __restrict dh,
              T* __restrict direct, T* __restrict da, T* __restrict dq, T* __restrict db) {
  const T *const r = gates, *const z = gates + u, *const v = gates + 2 * u;
#pragma omp simd
  for (index_t j = 0; j < u; ++j) {
    const T total = dh[j] + direct[j] + dy[j];
    const T dv = total * (T{1} - z[j]) * (T{1} - v[j] * v[j]);
    da[j + 2 * u] = dv;
    da[j] = db[j] = dv * q[j] * r[j] * (T{1} - r[j]);
    da[j + u] = db[j + u] = total * (before[j] - v[j]) * z[j] * (T{1} - z[j]);
    dq[j] = db[j + 2 * u] = dv * r[j];
    direct[j] = total * z[j];
  }
}

}  // namespace

template <class T>
void elman_forward(Steps steps, const T* weight, const T* bias, bool relu, T* y, MatrixView<T> h) {
  const index_t u = h.cols;
  const Weights<T> weights(turned(weight, u, u), steps);
  const OrZeros<T> b(bias, u);
  for_shares(steps, h.rows, weights, [&](const Share& share) {
    const Workspace<T> products = scratch<T>(share.size() * weights.width());
    for_steps(steps, share, false, [&](index_t row, index_t m) {
      T* const state = h.row(share.begin);
      weights.multiply(state, m, products.data(), share.together);
      share.each_row(m, 4 * u, [&](index_t i) {
        elman_row(u, products.data() + i * weights.width(), b.data(), relu, y + (row + i) * u,
                  state + i * u);
      });
    });
  });
}

template <class T>
void elman_backward(Steps steps, const T* y, MatrixView<const T> dy, const T* weight, bool relu,
                    MatrixView<T> dh, T* dgates) {
  const index_t u = dh.cols;
  const Weights<T> weights({weight, u, u, u, 1}, steps);
  const index_t width = weights.width();
  for_shares(steps, dh.rows, weights, [&](const Share& share) {
    const Workspace<T> carry = scratch<T>(share.size() * width);
    const Gradient<T> outer(dy, share.size(), u);
    T* const state = dh.row(share.begin);
    copy_rows(state, u, carry.data(), width, share.size(), u);
    for_steps(steps, share, true, [&](index_t row, index_t m) {
      share.each_row(m, 2 * u, [&](index_t i) {
        const index_t at = (row + i) * u;
        elman_back(u, y + at, outer.row(row + i, i), carry.data() + i * width, relu, dgates + at);
      });
      weights.multiply(dgates + row * u, m, carry.data(), share.together);
    });
    copy_rows(carry.data(), width, state, u, share.size(), u);
  });
}

template <class T>
void lstm_forward(Steps steps, const T* weight, const T* bias, MatrixView<const T> projection,
                  T* gates, MatrixView<T> h, MatrixView<T> c, T* y, T* cells) {
  const index_t u = c.cols, p = h.cols;
  const bool projected = projection.data != nullptr;
  const Weights<T> weights(turned(weight, 4 * u, p), steps);
  const Weights<T> second(projected ? projection.transposed() : MatrixView<const T>{}, steps);
  const OrZeros<T> b(bias, 4 * u);
  for_shares(steps, h.rows, weights, [&](const Share& share) {
    const Workspace<T> products = scratch<T>(share.size() * weights.width());
    const Workspace<T> hidden = scratch<T>(projected ? share.size() * u : 0);
    for_steps(steps, share, false, [&](index_t row, index_t m) {
      T* const state = h.row(share.begin);
      weights.multiply(state, m, products.data(), share.together);
      share.each_row(m, 16 * u, [&](index_t i) {
        lstm_row(u, products.data() + i * weights.width(), b.data(), gates + (row + i) * 4 * u,
                 c.row(share.begin + i), cells + (row + i) * u,
                 (projected ? hidden.data() : state) + i * u);
      });
      if (projected) {
        second.multiply(hidden.data(), m, products.data(), share.together);
        copy_rows(products.data(), second.width(), state, p, m, p);
      }
      std::copy_n(state, m * p, y + row * p);
    });
  });
}

template <class T>
void lstm_backward(Steps steps, const T* gates, const T* cells, MatrixView<const T> dy,
                   const T* weight, MatrixView<const T> projection, MatrixView<T> dh,
                   MatrixView<T> dc, T* dgates, T* dstates, T* m_out) {
  const index_t u = dc.cols, p = dh.cols;
  const bool projected = projection.data != nullptr;
  const Weights<T> weights({weight, 4 * u, p, p, 1}, steps);
  const Weights<T> second(projected ? projection : MatrixView<const T>{}, steps);
  const index_t width = weights.width(), inner = projected ? second.width() : p;
  for_shares(steps, dh.rows, weights, [&](const Share& share) {
    const Workspace<T> carry = scratch<T>(share.size() * width);
    const Workspace<T> totals = scratch<T>(share.size() * p);
    const Workspace<T> products = scratch<T>(projected ? share.size() * inner : 0);
    const Workspace<T> unused = scratch<T>(m_out == nullptr ? share.size() * u : 0);
    const Gradient<T> outer(dy, share.size(), p);
    T* const state = dh.row(share.begin);
    copy_rows(state, p, carry.data(), width, share.size(), p);
    for_steps(steps, share, true, [&](index_t row, index_t m) {
      for (index_t i = 0; i < m; ++i) {
        T* __restrict total = totals.data() + i * p;
        const T* __restrict from = carry.data() + i * width;
        const T* __restrict more = outer.row(row + i, i);
        for (index_t j = 0; j < p; ++j) total[j] = from[j] + more[j];
      }
      if (dstates != nullptr) std::copy_n(totals.data(), m * p, dstates + row * p);
      if (projected) second.multiply(totals.data(), m, products.data(), share.together);
      const T* const dm = projected ? products.data() : totals.data();
      share.each_row(m, 8 * u, [&](index_t i) {
        lstm_back(u, gates + (row + i) * 4 * u, cells + (row + i) * u, dm + i * inner,
                  dc.row(share.begin + i), dgates + (row + i) * 4 * u,
                  m_out == nullptr ? unused.data() + i * u : m_out + (row + i) * u);
      });
      weights.multiply(dgates + row * 4 * u, m, carry.data(), share.together);
    });
    copy_rows(carry.data(), width, state, p, share.size(), p);
  });
}

template <class T>
void gru_forward(Steps steps, const T* weight, const T* bias, T* gates, MatrixView<T> h, T* y,
                 T* q) {
  const index_t u = h.cols;
  const Weights<T> weights(turned(weight, 3 * u, u), steps);
  const OrZeros<T> b(bias, 3 * u);
  for_shares(steps, h.rows, weights, [&](const Share& share) {
    const Workspace<T> products = scratch<T>(share.size() * weights.width());
    for_steps(steps, share, false, [&](index_t row, index_t m) {
      T* const state = h.row(share.begin);
      weights.multiply(state, m, products.data(), share.together);
      share.each_row(m, 12 * u, [&](index_t i) {
        gru_row(u, products.data() + i * weights.width(), b.data(), gates + (row + i) * 3 * u,
                state + i * u, y + (row + i) * u, q + (row + i) * u);
      });
    });
  });
}

template <class T>
void gru_backward(Steps steps, const T* gates, const T* q, const T* y, const T* h0,
                  MatrixView<const T> dy, const T* weight, MatrixView<T> dh, T* dgates, T* dq) {
  const index_t u = dh.cols;
  const Weights<T> weights({weight, 3 * u, u, u, 1}, steps);
  const index_t width = weights.width();
  for_shares(steps, dh.rows, weights, [&](const Share& share) {
    const Workspace<T> carry = scratch<T>(share.size() * width);
    const Workspace<T> direct = scratch<T>(share.size() * u);
    const Workspace<T> db = scratch<T>(share.size() * 3 * u);
    const Gradient<T> outer(dy, share.size(), u);
    T* const state = dh.row(share.begin);
    copy_rows(state, u, carry.data(), width, share.size(), u);
    std::fill_n(direct.data(), share.size() * u, T{0});
    for_steps(steps, share, true, [&](index_t row, index_t m, const Before& before) {
      share.each_row(m, 8 * u, [&](index_t i) {
        const index_t at = (row + i) * u;
        const T* const from =
            i < before.rows ? y + (before.row + i) * u : h0 + (share.begin + i) * u;
        gru_back(u, gates + 3 * at, q + at, from, outer.row(row + i, i), carry.data() + i * width,
                 direct.data() + i * u, dgates + 3 * at, dq + at, db.data() + i * 3 * u);
      });
      weights.multiply(db.data(), m, carry.data(), share.together);
    });
    for (index_t i = 0; i < share.size(); ++i) {
      for (index_t j = 0; j < u; ++j) {
        state[i * u + j] = carry.data()[i * width + j] + direct.data()[i * u + j];
      }
    }
  });
}

KERNELMILL_FOR_FLOATS(elman_forward)
KERNELMILL_FOR_FLOATS(elman_backward)
KERNELMILL_FOR_FLOATS(lstm_forward)
KERNELMILL_FOR_FLOATS(lstm_backward)
KERNELMILL_FOR_FLOATS(gru_forward)
KERNELMILL_FOR_FLOATS(gru_backward)

}  // namespace kernelmill::recurrent
