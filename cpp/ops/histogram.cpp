// Losses and their slopes, values of leaves, and scores of training rows.
#include "ops/histogram.hpp"

#include <algorithm>  // std::sort, std::min, std::max
#include <cmath>      // std::fabs, std::copysign

#include "core/math.hpp"       // exp, log, log1p, tanh
#include "core/parallel.hpp"   // parallel_for, ordered_reduce
#include "core/workspace.hpp"  // Workspace
#include "ops/histogram_checks.hpp"
#include "ops/histogram_losses.hpp"

namespace kernelmill::histogram {
namespace {

// Rows whose scores stay in the first-level cache, and rows of a task.
constexpr index_t kRows = 1024, kGrain = 8 * kRows;
using Doubles = std::span<const double>;
using Scores = MatrixView<const double>;

void check_loss(const char* op, index_t loss, Doubles y, const Scores& raw) {
  if (static_cast<Loss>(loss) != Loss::multinomial || y.empty()) return;
  double low = y[0], high = y[0];
  for (const double one : y) {
    low = std::min(low, one);
    high = std::max(high, one);
  }
  check_classes(op, low, high, raw.rows);
}

// Scores of up to kRows rows, side by side.
void read(const Scores& raw, index_t k, index_t begin, index_t n, double* to) {
  const double* const from = raw.data + k * raw.row_stride + begin * raw.col_stride;
  for (index_t i = 0; i < n; ++i) to[i] = from[i * raw.col_stride];
}

template <Loss loss>
void slopes_of(Doubles y, const Scores& raw, Doubles weight, double a, bool unit,
               MatrixView<double> gradient, MatrixView<double> hessian) {
  parallel_for(std::ssize(y), kGrain, [&](index_t, index_t first, index_t last) {
    double x[kRows], h[kRows];
    for (index_t begin = first; begin < last; begin += kRows) {
      const index_t n = std::min(kRows, last - begin);
      read(raw, 0, begin, n, x);
      const double* const t = y.data() + begin;
      double* const g = gradient.row(0) + begin;
      for (index_t i = 0; i < n; ++i) {
        const Slope s = slope_of<loss>(x[i], t[i], a);
        g[i] = s.g;
        h[i] = s.h;
      }
      if (!weight.empty()) {
        const double* const w = weight.data() + begin;
        for (index_t i = 0; i < n; ++i) {
          g[i] *= w[i];
          h[i] *= w[i];
        }
      }
      if (!unit) std::copy_n(h, n, hessian.row(0) + begin);
    }
  });
}

// The largest score of each row, and the sum of exp(score - largest).
void normaliser(const Scores& raw, index_t begin, index_t n, double* x, double* top, double* sum) {
  std::fill_n(top, n, -INFINITY);
  std::fill_n(sum, n, 0.0);
  for (index_t k = 0; k < raw.rows; ++k) {
    read(raw, k, begin, n, x);
    for (index_t i = 0; i < n; ++i) top[i] = x[i] > top[i] ? x[i] : top[i];
  }
  for (index_t k = 0; k < raw.rows; ++k) {
    read(raw, k, begin, n, x);
    for (index_t i = 0; i < n; ++i) sum[i] += exp(x[i] - top[i]);
  }
}

void multinomial_slopes(Doubles y, const Scores& raw, Doubles weight, bool unit,
                        MatrixView<double> gradient, MatrixView<double> hessian) {
  parallel_for(std::ssize(y), kGrain, [&](index_t, index_t first, index_t last) {
    double x[kRows], top[kRows], sum[kRows];
    for (index_t begin = first; begin < last; begin += kRows) {
      const index_t n = std::min(kRows, last - begin);
      normaliser(raw, begin, n, x, top, sum);
      for (index_t k = 0; k < raw.rows; ++k) {
        read(raw, k, begin, n, x);
        const auto own = static_cast<double>(k);
        double* const g = gradient.row(k) + begin;
        double* const h = unit ? x : hessian.row(k) + begin;
        for (index_t i = 0; i < n; ++i) {
          const double w = weight.empty() ? 1.0 : weight[static_cast<std::size_t>(begin + i)];
          const double p = exp(x[i] - top[i]) / sum[i];
          const bool met = std::floor(y[static_cast<std::size_t>(begin + i)]) == own;
          g[i] = w * (p - (met ? 1.0 : 0.0));
          h[i] = w * (p * (1 - p));
        }
      }
    }
  });
}

void check_spans(const char* op, std::span<const std::int32_t> rows,
                 const MatrixView<const std::int32_t>& spans, index_t n) {
  bool inside = true;
  for (const std::int32_t row : rows) inside &= (row >= 0) & (row < n);
  if (!spans_fit(spans, std::ssize(rows)) || !inside) refuse_spans(op, std::ssize(rows), n);
}

}  // namespace

void slopes(Doubles y, MatrixView<const double> raw, Doubles weight, index_t loss, double parameter,
            bool unit, MatrixView<double> gradient, MatrixView<double> hessian) {
  check_loss("histogram.slopes", loss, y, raw);
  if (unit) {
    for (index_t k = 0; k < hessian.rows; ++k) hessian(k, 0) = 1;
  }
  if (static_cast<Loss>(loss) == Loss::multinomial) {
    return multinomial_slopes(y, raw, weight, unit, gradient, hessian);
  }
  // Each row of scores is a problem of its own.
  for (index_t k = 0; k < raw.rows; ++k) {
    for_loss(static_cast<Loss>(loss), [&](auto of) {
      slopes_of<decltype(of)::value>(y, raw.row_range(k, k + 1), weight, parameter, unit,
                                     gradient.row_range(k, k + 1), hessian.row_range(k, k + 1));
    });
  }
}

double deviance(Doubles y, MatrixView<const double> raw, Doubles weight, index_t loss,
                double parameter) {
  check_loss("histogram.deviance", loss, y, raw);
  if (y.empty() || raw.rows == 0) return 0;
  struct Total {
    double loss = 0, weight = 0;
  };
  const auto add_up = [&](Total& total, const double* each, index_t begin, index_t n) {
    constexpr index_t lanes = 8;
    double sum[lanes] = {}, mass[lanes] = {};
    for (index_t i = 0; i < n; ++i) {
      const double w = weight.empty() ? 1.0 : weight[static_cast<std::size_t>(begin + i)];
      sum[i % lanes] += each[i] * w;
      mass[i % lanes] += w;
    }
    for (index_t l = 0; l < lanes; ++l) {
      total.loss += sum[l];
      total.weight += mass[l];
    }
  };
  const Total total = ordered_reduce<Total>(
      std::ssize(y), kGrain, [] { return Total(); },
      [&](Total& own, index_t, index_t first, index_t last) {
        double x[kRows], top[kRows], sum[kRows];
        for (index_t begin = first; begin < last; begin += kRows) {
          const index_t n = std::min(kRows, last - begin);
          const double* const t = y.data() + begin;
          if (static_cast<Loss>(loss) == Loss::multinomial) {
            normaliser(raw, begin, n, x, top, sum);
            for (index_t i = 0; i < n; ++i) {
              sum[i] = top[i] + log(sum[i]) - raw(static_cast<index_t>(t[i]), begin + i);
            }
          } else {
            read(raw, 0, begin, n, x);
            for_loss(static_cast<Loss>(loss), [&](auto of) {
              for (index_t i = 0; i < n; ++i) {
                sum[i] = loss_of<decltype(of)::value>(x[i], t[i], parameter);
              }
            });
          }
          add_up(own, sum, begin, n);
        }
      },
      [](Total& into, Total&& from) {
        into.loss += from.loss;
        into.weight += from.weight;
      });
  return total.loss / total.weight;
}

void quantiles(Doubles residual, Doubles weight, std::span<const std::int32_t> rows,
               MatrixView<const std::int32_t> spans, double level, std::span<double> value) {
  check_spans("histogram.quantiles", rows, spans, std::ssize(residual));
  const index_t grain =
      std::max<index_t>(1, spans.rows * 4096 / std::max<index_t>(1, std::ssize(rows)));
  parallel_for(spans.rows, grain, [&](index_t, index_t begin, index_t end) {
    for (index_t s = begin; s < end; ++s) {
      const index_t n = spans(s, 1) - spans(s, 0);
      double& own = value[static_cast<std::size_t>(s)];
      own = 0;
      if (n == 0) continue;
      struct Entry {
        double value, weight;
        std::int32_t row;
      };
      Workspace<Entry> memory(static_cast<std::size_t>(n));
      Entry* const entries = memory.data();
      for (index_t i = 0; i < n; ++i) {
        const std::int32_t row = rows[static_cast<std::size_t>(spans(s, 0) + i)];
        const auto at = static_cast<std::size_t>(row);
        entries[i] = {residual[at], weight.empty() ? 1.0 : weight[at],
                      static_cast<std::int32_t>(i)};
      }
      std::sort(entries, entries + n, [](const Entry& a, const Entry& b) {
        return a.value != b.value ? a.value < b.value : a.row < b.row;
      });
      double total = 0;
      for (index_t i = 0; i < n; ++i) total += entries[i].weight;
      const double wanted = level * total, slack = 0x1p-40 * total;
      double below = entries[0].weight;
      index_t at = 0;
      while (at + 1 < n && below < wanted - slack) below += entries[++at].weight;
      own = entries[at].value;
      if (below <= wanted + slack && at + 1 < n) own = own / 2 + entries[at + 1].value / 2;
    }
  });
}

void add(std::span<const std::int32_t> rows, MatrixView<const std::int32_t> spans, Doubles value,
         std::span<double> raw) {
  check_spans("histogram.add", rows, spans, std::ssize(raw));
  const index_t grain =
      std::max<index_t>(1, spans.rows * 8192 / std::max<index_t>(1, std::ssize(rows)));
  parallel_for(spans.rows, grain, [&](index_t, index_t begin, index_t end) {
    for (index_t s = begin; s < end; ++s) {
      const double own = value[static_cast<std::size_t>(s)];
      for (index_t i = spans(s, 0); i < spans(s, 1); ++i) {
        raw[static_cast<std::size_t>(rows[static_cast<std::size_t>(i)])] += own;
      }
    }
  });
}

}  // namespace kernelmill::histogram
