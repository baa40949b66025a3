// Dual coordinate descent of a joint machine of several classes: a row moves all of its multipliers.
#include <algorithm>  // std::max, std::min, std::sort
#include <limits>     // infinity
#include <stdexcept>  // std::out_of_range
#include <string>     // messages
#include <vector>     // values of one row for all classes

#include "core/error.hpp"     // invalid
#include "core/parallel.hpp"  // check_interrupt
#include "ops/coordinate.hpp"
#include "ops/coordinate_products.hpp"

namespace kernelmill::coordinate {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// The columns JOINT_STATE.
struct State {
  double violation, gap, objective, finished, epochs;
};

class Descent {
 public:
  Descent(const Products& rows, const Joint& problem)
      : rows_(rows),
        problem_(problem),
        n_(static_cast<index_t>(problem.y.size())),
        k_(static_cast<index_t>(problem.intercepts.size())),
        state_(*reinterpret_cast<State*>(problem.state)),
        scores_(static_cast<std::size_t>(problem.blocks * kWide)),
        change_(scores_.size()),
        slack_(static_cast<std::size_t>(k_)),
        sorted_(slack_.size()) {}

  index_t run() {
    index_t taken = 0;
    for (; taken < problem_.order.rows && state_.finished == 0; ++taken) {
      epoch(taken);
      judge();
    }
    return taken;
  }

 private:
  // slack_[m] = w_m.x + (0 for the row's own class, else 1), and what the row costs.
  double examine(index_t i, index_t own) {
    std::fill(scores_.begin(), scores_.end(), 0.0);
    for (index_t b = 0; b < problem_.blocks; ++b) {
      rows_.times(i, problem_.weights + b * problem_.d * kWide, scores_.data() + b * kWide);
    }
    double most = -kInfinity;
    for (index_t m = 0; m < k_; ++m) {
      const auto at = static_cast<std::size_t>(m);
      const double score = scores_[at] + problem_.constant * problem_.intercepts[at];
      slack_[at] = score + (m == own ? 0.0 : 1.0);
      most = std::max(most, slack_[at]);
    }
    return price(i) * (most - slack_[static_cast<std::size_t>(own)]);
  }

  double price(index_t i) const { return problem_.price[static_cast<std::size_t>(i)]; }
  index_t label(index_t i) const {
    return static_cast<index_t>(problem_.y[static_cast<std::size_t>(i)]);
  }

  double gap(index_t i, double loss) const {
    double sum = loss;
    for (index_t m = 0; m < k_; ++m) {
      sum += problem_.beta[i * k_ + m] * slack_[static_cast<std::size_t>(m)];
    }
    return sum;
  }

  void epoch(index_t number) {
    double largest = 0, gaps = 0, objective = 0;
    const double square = problem_.constant * problem_.constant;
    for (index_t at = 0; at < problem_.order.cols; ++at) {
      const index_t i = problem_.order(number, at);
      if (at % 256 == 255) check_interrupt();
      if (at + 1 < problem_.order.cols) rows_.prefetch(problem_.order(number, at + 1));
      if (problem_.settled[i] || !(price(i) > 0)) continue;
      const index_t own = label(i);
      const double loss = examine(i, own), cost = price(i);
      double* const b = problem_.beta + i * k_;
      gaps += gap(i, loss);
      objective += loss;
      double low = kInfinity, high = -kInfinity, rest = -kInfinity;
      bool zero = true;
      for (index_t m = 0; m < k_; ++m) {
        const double g = slack_[static_cast<std::size_t>(m)];
        low = std::min(low, b[m] < (m == own ? cost : 0.0) ? g : kInfinity);
        high = std::max(high, g);
        rest = std::max(rest, m == own ? -kInfinity : g);
        zero = zero && b[m] == 0;
      }
      const double violation = std::max(0.0, high - low);
      largest = std::max(largest, violation);
      const double margin = slack_[static_cast<std::size_t>(own)] - rest;
      if (problem_.shrinking && zero && margin > state_.violation) {
        problem_.settled[i] = 1;
        continue;
      }
      const double h = problem_.squares[static_cast<std::size_t>(i)] + square;
      if (!(h > 0) || !(violation > 0)) continue;
      move(i, own, cost, h, b);
    }
    state_.violation = largest;
    state_.gap = gaps;
    state_.objective = objective;
  }

  // b_m = min(C [m = own], (level - B_m) / h) with B_m = slack_m - h b_m, of sum 0.
  void move(index_t i, index_t own, double cost, double h, double* b) {
    for (index_t m = 0; m < k_; ++m) {
      const auto at = static_cast<std::size_t>(m);
      slack_[at] -= h * b[m];
      sorted_[at] = slack_[at] + (m == own ? h * cost : 0.0);
    }
    std::sort(sorted_.begin(), sorted_.end(), [](double a, double c) { return a > c; });
    double level = sorted_[0] - h * cost;
    index_t count = 1;
    for (; count < k_; ++count) {
      const double next = sorted_[static_cast<std::size_t>(count)];
      if (!(level < static_cast<double>(count) * next)) break;
      level += next;
    }
    level /= static_cast<double>(count);
    std::fill(change_.begin(), change_.end(), 0.0);
    double rest = 0;  // that of the own class is what makes the sum 0, and 0 where all others are
    for (index_t m = 0; m < k_; ++m) {
      const auto at = static_cast<std::size_t>(m);
      if (m != own) sorted_[at] = std::min(0.0, (level - slack_[at]) / h);
      rest += m == own ? 0.0 : sorted_[at];
    }
    const auto self = static_cast<std::size_t>(own);
    const bool bounded = (level - slack_[self]) / h >= cost;
    sorted_[self] = bounded ? cost : std::min(cost, -rest);
    for (index_t m = 0; m < k_; ++m) {
      const auto at = static_cast<std::size_t>(m);
      change_[at] = sorted_[at] - b[m];
      b[m] = sorted_[at];
      problem_.intercepts[at] += problem_.constant * change_[at];
    }
    for (index_t block = 0; block < problem_.blocks; ++block) {
      rows_.add(i, problem_.weights + block * problem_.d * kWide, change_.data() + block * kWide);
    }
  }

  void judge() {
    double norm = 0;
    for (index_t q = 0; q < problem_.blocks * problem_.d * kWide; ++q) {
      norm += problem_.weights[q] * problem_.weights[q];
    }
    for (const double v : problem_.intercepts) norm += v * v;
    norm /= 2;
    state_.epochs += 1;
    state_.objective += norm;
    if (!(state_.gap <= problem_.tol * state_.objective)) return;
    state_.gap = 0;
    state_.objective = norm;
    for (index_t i = 0; i < n_; ++i) {
      if (i % 256 == 255) check_interrupt();
      if (!(price(i) > 0)) continue;
      const double loss = examine(i, label(i));
      state_.objective += loss;
      state_.gap += gap(i, loss);
    }
    if (state_.gap <= problem_.tol * state_.objective) {
      state_.finished = 1;
      return;
    }
    std::fill_n(problem_.settled, n_, std::uint8_t{0});
    state_.violation = kInfinity;
  }

  const Products& rows_;
  const Joint& problem_;
  index_t n_, k_;
  State& state_;
  std::vector<double> scores_, change_, slack_, sorted_;
};

index_t run(const void* x, Maker make, index_t n, const Joint& problem) {
  const auto k = static_cast<double>(problem.intercepts.size());
  if (problem.width != kWide || problem.blocks != chunk_count(index_t(k), kWide)) {
    invalid("coordinate.joint", "weights must have ", chunk_count(index_t(k), kWide),
            " blocks of 8 classes, got ", problem.blocks, " of ", problem.width);
  }
  for (const double y : problem.y) {
    if (!(y >= 0 && y < k)) invalid("coordinate.joint", "y must be in [0, ", k, "), got ", y);
  }
  for (index_t e = 0; e < problem.order.rows; ++e) {
    for (index_t at = 0; at < problem.order.cols; ++at) {
      const std::int64_t i = problem.order(e, at);
      if (i >= 0 && i < n) continue;
      throw std::out_of_range("coordinate.joint: order must be in [0, " + std::to_string(n) +
                              "), got " + std::to_string(i));
    }
  }
  const std::unique_ptr<Products> rows = make(x);
  return Descent(*rows, problem).run();
}

}  // namespace

template <class T>
index_t joint(MatrixView<const T> x, const Joint& problem) {
  return run(&x, made<MatrixView<const T>, DenseProducts<T, kWide>>, x.rows, problem);
}

template <class T>
index_t csr_joint(const CsrView<T>& x, const Joint& problem) {
  return x.visit([&]<class Index>(const CsrRows<T, Index>& rows) {
    return run(&rows, made<CsrRows<T, Index>, SparseProducts<T, Index, kWide>>, x.rows, problem);
  });
}

KERNELMILL_FOR_FLOATS(joint)
KERNELMILL_FOR_FLOATS(csr_joint)

}  // namespace kernelmill::coordinate
