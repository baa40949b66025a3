// Weights are kept as scale * v, so that the decay of a step is one multiplication, and their mean
// as
//
//   (w_1 + ... + w_m) / m = (sums + shares v) / m,   shares = scale_1 + ... + scale_m:
//
// a step v' = v + f x leaves the sum of the weights before it as it was with
// sums' = sums - shares f x, and then adds w' by shares' = shares + scale'. So a step costs what
// the row holds, for CSR rows too.
#include "ops/sgd.hpp"

#include <algorithm>    // std::clamp, std::max, std::min
#include <cmath>        // std::copysign, std::isfinite, std::pow, std::sqrt
#include <cstring>      // std::memcpy
#include <iterator>     // std::size
#include <limits>       // infinity
#include <stdexcept>    // std::out_of_range
#include <string>       // messages
#include <type_traits>  // std::is_same_v
#include <vector>       // models of a block

#include "core/error.hpp"                 // invalid
#include "core/parallel.hpp"              // parallel_for, check_interrupt
#include "core/workspace.hpp"             // Workspace
#include "ops/elementwise_functions.hpp"  // what the table calls

namespace kernelmill::sgd {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kLargestSlope = 1e12, kLeastRate = 1e-6;
constexpr double kLeastScale = 1e-9;  // below it v would lose the range of float64

namespace table {

using elementwise::abs;
using elementwise::clip;
using elementwise::maximum;
using elementwise::where;

#define KERNELMILL_LOSS(name, value, slope)                       \
  Loss name([[maybe_unused]] double y, [[maybe_unused]] double p, \
            [[maybe_unused]] double margin) {                     \
    return {value, slope};                                        \
  }
#include "sgd_rows.inc"
#undef KERNELMILL_LOSS

}  // namespace table

#define KERNELMILL_LOSS(name, value, slope) &table::name,
constexpr LossFunction kLosses[] = {
#include "sgd_rows.inc"
};
#undef KERNELMILL_LOSS

struct Model {
  State state;
  double *v, *applied, *sums;  // the last two may be null
  double scale = 1, shares = 0;
  double squares = 0;  // |v|^2, while there is an L2 penalty
  bool running;

  double averaged(const Settings& s) const { return std::max(0.0, state.step - s.average); }

  void fold(index_t d) {
    if (sums != nullptr && shares != 0) {
      for (index_t p = 0; p < d; ++p) sums[p] += shares * v[p];
      shares = 0;
    }
    if (scale != 1) {
      for (index_t p = 0; p < d; ++p) v[p] *= scale;
      squares *= scale * scale;
      scale = 1;
    }
  }

  // The L1 penalty of one weight, up to all that was imposed so far; returns the change of |v|^2.
  KERNELMILL_INLINE double shrink(index_t p) const {
    const double before = v[p];
    const double low = std::max(0.0, before - (state.shrinkage + applied[p]) / scale);
    const double high = std::min(0.0, before + (state.shrinkage - applied[p]) / scale);
    const double after = before > 0 ? low : before < 0 ? high : before;
    v[p] = after;
    applied[p] += scale * (after - before);
    if (sums != nullptr) sums[p] -= shares * (after - before);
    return after * after - before * before;
  }
};

// In four parts where rows are long: one chain of additions would wait for itself.
KERNELMILL_INLINE double dot(const double* a, const double* b, index_t d) {
  if (d < 8) {  // each step waits for this sum: in two chains
    double even = 0, odd = 0;
    index_t p = 0;
    for (; p + 1 < d; p += 2) {
      even += a[p] * b[p];
      odd += a[p + 1] * b[p + 1];
    }
    if (p < d) even += a[p] * b[p];
    return even + odd;
  }
  double sum = 0;
  index_t p = 0;
  if (d >= 128) {
    const index_t part = d / 4;
    const double *a1 = a + part, *a2 = a1 + part, *a3 = a2 + part;
    const double *b1 = b + part, *b2 = b1 + part, *b3 = b2 + part;
    double sum1 = 0, sum2 = 0, sum3 = 0;
#pragma omp simd reduction(+ : sum, sum1, sum2, sum3)
    for (p = 0; p < part; ++p) {
      sum += a[p] * b[p];
      sum1 += a1[p] * b1[p];
      sum2 += a2[p] * b2[p];
      sum3 += a3[p] * b3[p];
    }
    sum += sum1 + (sum2 + sum3);
    p = 4 * part;
  }
  double rest = 0;
#pragma omp simd reduction(+ : rest)
  for (index_t q = p; q < d; ++q) rest += a[q] * b[q];
  return sum + rest;
}

struct DenseRow {
  const double* x;
  index_t d;
  static constexpr bool sparse = false;

  double times(const double* v) const { return dot(x, v, d); }
  double squares() const { return dot(x, x, d); }
  void add(double* to, double factor) const {
    for (index_t p = 0; p < d; ++p) to[p] += factor * x[p];
  }
  // The same; returns the change of |to|^2.
  double grow(double* to, double factor) const {
    double change = 0;
    if (d < 8) {  // the next dot reads entry by entry, and would wait for a vector
      for (index_t p = 0; p < d; ++p) {
        const double step = factor * x[p];
        change += step * (2 * to[p] + step);
        to[p] += step;
      }
      return change;
    }
#pragma omp simd reduction(+ : change)
    for (index_t p = 0; p < d; ++p) {
      const double step = factor * x[p];
      change += step * (2 * to[p] + step);
      to[p] += step;
    }
    return change;
  }
  double shrink(const Model& m) const {
    double change = 0;
#pragma omp simd reduction(+ : change)
    for (index_t p = 0; p < d; ++p) change += m.shrink(p);
    return change;
  }
};

// Rows of a dense matrix as contiguous doubles.
template <class T>
class DenseRows {
 public:
  explicit DenseRows(MatrixView<const T> x)
      : x_(x), buffer_(direct() ? 0 : static_cast<std::size_t>(x.cols)) {}
  DenseRow at(index_t i) const {
    if constexpr (std::is_same_v<T, double>) {
      if (direct()) return {x_.row(i), x_.cols};
    }
    const T* const from = x_.row(i);
    double* const to = buffer_.data();
    if (x_.rows_contiguous()) {
      for (index_t p = 0; p < x_.cols; ++p) to[p] = static_cast<double>(from[p]);
    } else {
      for (index_t p = 0; p < x_.cols; ++p) to[p] = static_cast<double>(from[p * x_.col_stride]);
    }
    return {to, x_.cols};
  }
  // Random rows are beyond what the processor foresees.
  void prefetch(index_t i) const {
#if defined(__GNUC__)
    const char* const row = reinterpret_cast<const char*>(x_.row(i));
    const index_t bytes = std::min<index_t>(x_.cols * static_cast<index_t>(sizeof(T)), 512);
    for (index_t b = 0; b < bytes; b += 64) __builtin_prefetch(row + b);
#endif
  }

 private:
  bool direct() const { return std::is_same_v<T, double> && x_.rows_contiguous(); }
  MatrixView<const T> x_;
  Workspace<double> buffer_;
};

template <class T, class Index>
struct SparseRow {
  const T* x;
  const Index* columns;
  index_t stored;
  double* scratch;  // (d), all zero between calls
  static constexpr bool sparse = true;

  double times(const double* v) const {
    double sum = 0;
    for (index_t e = 0; e < stored; ++e) sum += static_cast<double>(x[e]) * v[columns[e]];
    return sum;
  }
  double squares() const {  // repeated columns add up
    for (index_t e = 0; e < stored; ++e) scratch[columns[e]] += static_cast<double>(x[e]);
    double sum = 0;
    for (index_t e = 0; e < stored; ++e) {
      sum += scratch[columns[e]] * scratch[columns[e]];
      scratch[columns[e]] = 0;
    }
    return sum;
  }
  void add(double* to, double factor) const {
    for (index_t e = 0; e < stored; ++e) to[columns[e]] += factor * static_cast<double>(x[e]);
  }
  double grow(double* to, double factor) const {
    double change = 0;
    for (index_t e = 0; e < stored; ++e) {
      const double step = factor * static_cast<double>(x[e]);
      change += step * (2 * to[columns[e]] + step);
      to[columns[e]] += step;
    }
    return change;
  }
  double shrink(const Model& m) const {
    double change = 0;
    for (index_t e = 0; e < stored; ++e) change += m.shrink(static_cast<index_t>(columns[e]));
    return change;
  }
};

template <class T, class Index>
class SparseRows {
 public:
  explicit SparseRows(const CsrRows<T, Index>& x)
      : x_(x), scratch_(static_cast<std::size_t>(x.cols)) {
    std::fill_n(scratch_.data(), x.cols, 0.0);
  }
  SparseRow<T, Index> at(index_t i) const {
    const auto begin = static_cast<index_t>(x_.indptr[i]);
    const auto end = static_cast<index_t>(x_.indptr[i + 1]);
    return {x_.data + begin, x_.indices + begin, end - begin, scratch_.data()};
  }
  void prefetch(index_t) const {}

 private:
  const CsrRows<T, Index>& x_;
  Workspace<double> scratch_;
};

double rate_of(const State& state, const Settings& s) {
  if (s.schedule == Schedule::optimal) {
    if (!(s.alpha > 0)) return kInfinity;
    const double typical = std::sqrt(1 / std::sqrt(s.alpha));
    return 1 / (s.alpha * (1 / (typical * s.alpha) + state.step - 1));
  }
  if (s.schedule == Schedule::invscaling) {
    // The usual powers by roots: std::pow takes as long as the rest of a step of few features.
    if (s.power_t == 0.25) return s.eta0 / std::sqrt(std::sqrt(state.step));
    if (s.power_t == 0.5) return s.eta0 / std::sqrt(state.step);
    return s.eta0 / std::pow(state.step, s.power_t);
  }
  return state.rate;
}

template <class Row>
void step(Model& m, const Row& row, double y, double factor, index_t d, const Settings& s) {
  State& state = m.state;
  if (Row::sparse && m.applied != nullptr) m.squares += row.shrink(m);
  const double p = m.scale * row.times(m.v) + state.intercept;
  const auto [value, slope] = s.loss(y, p, s.margin);
  state.total += value;
  if (!s.aggressive()) state.total += s.l2 / 2 * m.scale * m.scale * m.squares;
  state.rows += 1;
  state.rate = rate_of(state, s);
  factor *= y > 0 ? state.positive_weight : state.negative_weight;
  double update;
  if (s.aggressive()) {
    const double squares = row.squares();
    if (s.schedule == Schedule::pa1 && squares == 0) return;
    const double size = s.schedule == Schedule::pa1 ? std::min(s.eta0, value / squares)
                                                    : value / (squares + 0.5 / s.eta0);
    update = slope != 0 ? -std::copysign(size, slope) * factor : 0.0;
  } else {
    update = -(state.rate * factor) * std::clamp(slope, -kLargestSlope, kLargestSlope);
  }
  if (s.l2 != 0) {
    m.scale *= std::max(0.0, 1 - state.rate * s.l2);
    if (m.scale < kLeastScale) m.fold(d);
  }
  const double inverse = 1 / m.scale;  // while the prediction is under way, which it does not need
  if (update != 0) {
    const double growth = update * inverse;
    if (s.l2 != 0) {
      m.squares += row.grow(m.v, growth);
    } else {
      row.add(m.v, growth);
    }
    if (m.shares != 0) row.add(m.sums, -m.shares * growth);
    if (s.fit_intercept) state.intercept += update;
  }
  if (m.applied != nullptr) {
    state.shrinkage += s.l1 * state.rate;
    m.squares += row.shrink(m);
  }
  if (m.sums != nullptr && s.average > 0 && s.average <= state.step) {
    m.shares += m.scale;
    state.average_intercept +=
        (state.intercept - state.average_intercept) / (state.step - s.average + 1);
  }
  state.step += 1;
}

void judge_one(State& state, const double* w, index_t d, const Settings& s) {
  double objective = state.total / std::max(state.rows, 1.0);
  if (!s.aggressive() && s.l1 != 0) {
    double magnitudes = 0;
    for (index_t p = 0; p < d; ++p) magnitudes += std::fabs(w[p]);
    objective += s.l1 * magnitudes;
  }
  const bool gained = !(s.tol > -kInfinity && objective > state.best - s.tol);
  state.without_gain = gained ? 0 : state.without_gain + 1;
  state.best = std::min(objective, state.best);
  state.objective = objective;
  state.epochs += 1;
  state.total = state.rows = 0;
  if (!std::isfinite(objective)) {
    state.stopped = 1;
  } else if (state.without_gain >= s.patience) {
    if (s.schedule == Schedule::adaptive && state.rate > kLeastRate) {
      state.rate /= 5;
      state.without_gain = 0;
    } else {
      state.stopped = 1;
    }
  }
}

// Models [begin, end) over all epochs; returns the epochs taken.
template <class Rows, class T>
index_t run(const Rows& rows, std::span<const double> y, MatrixView<const std::int64_t> order,
            const Models& models, const Settings& s, std::span<const T> sample_weight,
            index_t begin, index_t end) {
  const index_t d = models.weights.cols;
  const bool classes = models.weights.rows > 1;
  std::vector<Model> block(static_cast<std::size_t>(end - begin));
  for (index_t j = begin; j < end; ++j) {
    Model& m = block[static_cast<std::size_t>(j - begin)];
    std::memcpy(&m.state, models.state.row(j), sizeof(State));
    m.v = models.weights.row(j);
    m.applied = models.applied.rows > 0 ? models.applied.row(j) : nullptr;
    m.sums = models.averages.rows > 0 ? models.averages.row(j) : nullptr;
    if (m.sums != nullptr) {
      const double count = m.averaged(s);
      for (index_t p = 0; p < d; ++p) m.sums[p] *= count;
    }
  }
  index_t taken = 0;
  for (index_t e = 0; e < order.rows; ++e) {
    bool any = false;
    for (Model& m : block) {
      any |= m.running = m.state.stopped == 0;
      if (s.l2 != 0) m.squares = dot(m.v, m.v, d);  // no error is carried along
    }
    if (!any) break;
    taken = e + 1;
    for (index_t at = 0; at < order.cols; ++at) {
      const index_t i = order(e, at);
      if (at % 256 == 255) check_interrupt();
      if (at + 1 < order.cols) rows.prefetch(order(e, at + 1));
      const auto row = rows.at(i);
      const auto place = static_cast<std::size_t>(i);
      const double factor = sample_weight.empty() ? 1.0 : static_cast<double>(sample_weight[place]);
      for (std::size_t j = 0; j < block.size(); ++j) {
        if (!block[j].running) continue;
        const bool own = y[place] == static_cast<double>(begin + static_cast<index_t>(j));
        step(block[j], row, classes ? (own ? 1.0 : -1.0) : y[place], factor, d, s);
      }
    }
    for (Model& m : block) {
      if (!m.running) continue;
      if (m.applied != nullptr) {
        for (index_t p = 0; p < d; ++p) m.shrink(p);
      }
      m.fold(d);
      if (s.judged) judge_one(m.state, m.v, d, s);
    }
  }
  for (Model& m : block) {
    if (m.sums != nullptr) {
      const double count = std::max(1.0, m.averaged(s));
      for (index_t p = 0; p < d; ++p) m.sums[p] /= count;
    }
    std::memcpy(models.state.row(begin + (&m - block.data())), &m.state, sizeof(State));
  }
  return taken;
}

// Models share the rows that a thread has at hand: at most eight blocks of them.
template <class Make, class T>
index_t over_blocks(const Make& make, index_t n, std::span<const double> y,
                    MatrixView<const std::int64_t> order, const Models& models, const Settings& s,
                    std::span<const T> sample_weight) {
  for (index_t e = 0; e < order.rows; ++e) {
    for (index_t at = 0; at < order.cols; ++at) {
      const std::int64_t i = order(e, at);
      if (i >= 0 && i < n) continue;
      throw std::out_of_range("sgd.epochs: order must be in [0, " + std::to_string(n) + "), got " +
                              std::to_string(i));
    }
  }
  const index_t k = models.weights.rows;
  // A step of a model takes 15 ns and more; a task at least 20 us.
  const index_t steps = order.rows * order.cols * (1 + models.weights.cols / 16);
  const index_t least = 1500 / std::max<index_t>(steps, 1) + 1;
  const index_t grain = std::max(least, chunk_count(k, 8));
  return ordered_reduce<index_t>(
      k, grain, [] { return index_t{0}; },
      [&](index_t& taken, index_t, index_t begin, index_t end) {
        taken = run(make(), y, order, models, s, sample_weight, begin, end);
      },
      [](index_t& into, index_t&& from) { into = std::max(into, from); });
}

}  // namespace

Settings::Settings(const char* op, std::span<const double> values)
    : loss(nullptr),
      margin(values[1]),
      schedule(static_cast<Schedule>(static_cast<int>(values[2]))),
      eta0(values[3]),
      power_t(values[4]),
      alpha(values[5]),
      l1(values[6]),
      l2(values[7]),
      fit_intercept(values[8] != 0),
      average(values[9]),
      tol(values[10]),
      patience(values[11]),
      judged(values[12] != 0) {
  const auto check = [&](const char* name, double value, std::size_t most) {
    if (!(value >= 0 && value < static_cast<double>(most))) {
      invalid(op, name, " must be in [0, ", most, "), got ", value);
    }
  };
  check("loss", values[0], std::size(kLosses));
  check("schedule", values[2], static_cast<std::size_t>(Schedule::pa2) + 1);
  loss = kLosses[static_cast<std::size_t>(values[0])];
}

template <class T>
index_t epochs(MatrixView<const T> x, std::span<const double> y,
               MatrixView<const std::int64_t> order, const Models& models, const Settings& settings,
               std::span<const T> sample_weight) {
  return over_blocks([&] { return DenseRows<T>(x); }, x.rows, y, order, models, settings,
                     sample_weight);
}

template <class T>
index_t csr_epochs(const CsrView<T>& x, std::span<const double> y,
                   MatrixView<const std::int64_t> order, const Models& models,
                   const Settings& settings, std::span<const T> sample_weight) {
  return x.visit([&]<class Index>(const CsrRows<T, Index>& rows) {
    return over_blocks([&] { return SparseRows<T, Index>(rows); }, x.rows, y, order, models,
                       settings, sample_weight);
  });
}

index_t judge(MatrixView<const double> weights, MatrixView<double> state,
              const Settings& settings) {
  index_t running = 0;
  for (index_t j = 0; j < state.rows; ++j) {
    State one;
    std::memcpy(&one, state.row(j), sizeof(State));
    if (one.stopped == 0) judge_one(one, weights.row(j), weights.cols, settings);
    std::memcpy(state.row(j), &one, sizeof(State));
    running += one.stopped == 0;
  }
  return running;
}

KERNELMILL_FOR_FLOATS(epochs)
KERNELMILL_FOR_FLOATS(csr_epochs)

}  // namespace kernelmill::sgd
