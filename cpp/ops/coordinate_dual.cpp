// Dual coordinate descent of linear support vector machines.
//
// Eight problems that see the same rows are one block: their weights lie side by side, so that a
// stored value of a row meets all eight in one vector, and its column is looked up once.
#include <algorithm>  // std::clamp, std::max, std::min
#include <cmath>      // std::copysign, std::fabs
#include <limits>     // infinity
#include <memory>     // std::unique_ptr
#include <stdexcept>  // std::out_of_range
#include <string>     // messages

#include "core/error.hpp"      // invalid
#include "core/parallel.hpp"   // parallel_for, check_interrupt
#include "core/workspace.hpp"  // rows to visit
#include "ops/coordinate.hpp"
#include "ops/coordinate_products.hpp"

namespace kernelmill::coordinate {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// The columns STATE of one problem.
struct State {
  double intercept, offset, positive, violation, kept, gap, objective, finished, epochs;
};

// The values of SETTINGS.
struct Given {
  bool squared, classes;
  double epsilon, constant, tol;
  bool several, shrinking;

  explicit Given(std::span<const double> values)
      : squared(values[0] == 1 || values[0] == 3),
        classes(values[0] < 2),
        epsilon(classes ? 0.0 : values[1]),
        constant(values[2]),
        tol(values[3]),
        several(values[4] != 0),
        shrinking(values[5] != 0) {}
};

// What one row is to one problem.
struct Term {
  double target, curvature, low, high;

  Term(double y, double price, const Given& given)
      : target(y), curvature(given.squared ? 0.5 / price : 0.0) {
    const double most = given.squared ? kInfinity : price;
    low = given.classes && y > 0 ? 0.0 : -most;
    high = given.classes && !(y > 0) ? 0.0 : most;
  }
  double loss(double price, double p, const Given& given) const {
    const double over = given.classes ? 1 - target * p : std::fabs(p - target) - given.epsilon;
    const double beyond = over > 0.0 ? over : 0.0;
    return price * (given.squared ? beyond * beyond : beyond);
  }
  double gap(double value, double p, double b, const Given& given) const {
    return b * p - target * b + given.epsilon * std::fabs(b) + curvature / 2 * b * b + value;
  }
};

template <int W>
class Block {
 public:
  Block(const Products& rows, const Duals& problem, const Given& given, index_t block)
      : rows_(rows),
        n_(static_cast<index_t>(problem.y.size())),
        d_(problem.d),
        first_(static_cast<double>(block * W)),
        problem_(problem),
        given_(given),
        weights_(problem.weights + block * problem.d * W),
        beta_(problem.beta + block * n_ * W),
        settled_(problem.settled + block * n_),
        state_(reinterpret_cast<State*>(problem.state) + block * W) {}

  index_t run(MatrixView<const std::int64_t> order) {
    index_t taken = 0;
    for (; taken < order.rows && running() > 0; ++taken) {
      epoch(order, taken);
      judge();
    }
    return taken;
  }

 private:
  int running() {
    int count = 0;
    for (int j = 0; j < W; ++j) {
      runs_[j] = state_[j].finished == 0;
      count += runs_[j];
    }
    return count;
  }

  double target(double y, int j) const {
    if (!given_.several) return y;
    return y == first_ + j ? 1.0 : -1.0;
  }

  void predict(index_t i, double* p) const {
    for (int j = 0; j < W; ++j) {
      p[j] = given_.constant * state_[j].intercept + state_[j].offset;
    }
    rows_.times(i, weights_, p);
  }

  void announce([[maybe_unused]] index_t i) const {
#if defined(__GNUC__)
    const auto place = static_cast<std::size_t>(i);
    __builtin_prefetch(&problem_.y[place]);
    __builtin_prefetch(&problem_.price[place]);
    __builtin_prefetch(&problem_.squares[place]);
    __builtin_prefetch(beta_ + i * W);
#endif
    rows_.announce(i);
  }

  void epoch(MatrixView<const std::int64_t> order, index_t number) {
    double violation[W], largest[W] = {}, gap[W] = {}, objective[W] = {};
    for (int j = 0; j < W; ++j) violation[j] = state_[j].violation;
    const double eps = given_.epsilon, square = given_.constant * given_.constant;
    const Workspace<index_t> room(static_cast<std::size_t>(order.cols));
    index_t* const visited = room.data();
    index_t count = 0;
    for (index_t at = 0; at < order.cols; ++at) {
      const index_t i = order(number, at);
      visited[count] = i;
      count += !settled_[i] && problem_.price[static_cast<std::size_t>(i)] > 0;
    }
    for (index_t at = 0; at < count; ++at) {
      const index_t i = visited[at];
      if (at % 256 == 255) check_interrupt();
      if (at + kFar < count) announce(visited[at + kFar]);
      if (at + kNear < count) rows_.prefetch(visited[at + kNear]);
      if (settled_[i]) continue;  // since, where it stands twice in the order
      const auto place = static_cast<std::size_t>(i);
      const double whole = problem_.price[place];
      double p[W], change[W] = {}, losses[W] = {};
      predict(i, p);
      double* const beta = beta_ + i * W;
      bool rests = given_.shrinking, moves = false;
      for (int j = 0; j < W; ++j) {
        if (!runs_[j]) continue;
        const double y = target(problem_.y[place], j);
        const double price = y > 0 ? whole * state_[j].positive : whole;
        const Term term(y, price, given_);
        const double b = beta[j], value = term.loss(price, p[j], given_);
        losses[j] = value;
        gap[j] += term.gap(value, p[j], b, given_);
        objective[j] += value;
        const double g = p[j] - y + term.curvature * b;
        const double up = b < term.high ? g + (b >= 0 ? eps : -eps) : kInfinity;
        const double down = b > term.low ? g + (b > 0 ? eps : -eps) : -kInfinity;
        largest[j] = std::max({largest[j], -up, down});
        rests = rests && up > violation[j] && down < -violation[j];
        const double h = problem_.squares[place] + square + term.curvature;
        double after = b;
        if (h > 0) {
          const double z = b - g / h, size = std::max(std::fabs(z) - eps / h, 0.0);
          after = std::min(std::max(std::copysign(size, z), term.low), term.high);
        } else if (up < 0 || down > 0) {
          after = up < 0 ? term.high : term.low;
        }
        change[j] = after - b;
        moves |= change[j] != 0;
      }
      if (rests) {
        settled_[i] = 1;
        for (int j = 0; j < W; ++j) {
          state_[j].kept += losses[j];
          objective[j] -= losses[j];
        }
      } else if (moves) {
        rows_.add(i, weights_, change);
        for (int j = 0; j < W; ++j) {
          beta[j] += change[j];
          state_[j].intercept += change[j] * given_.constant;
        }
      }
    }
    for (int j = 0; j < W; ++j) {
      if (!runs_[j]) continue;
      state_[j].violation = largest[j];
      state_[j].gap = gap[j];
      state_[j].objective = objective[j];
    }
  }

  // The end of an epoch: finishes problems whose gap is small, or looks at all rows again.
  void judge() {
    bool asks[W] = {}, any = false;
    double norms[W] = {};
    for (index_t q = 0; q < d_; ++q) {
#pragma omp simd
      for (int j = 0; j < W; ++j) norms[j] += weights_[q * W + j] * weights_[q * W + j];
    }
    for (int j = 0; j < W; ++j) {
      if (!runs_[j]) continue;
      State& one = state_[j];
      norms[j] = norms[j] / 2 + one.intercept * one.intercept / 2;
      one.objective += norms[j] + one.kept;
      one.epochs += 1;
      asks[j] = one.gap <= given_.tol * one.objective;
      any |= asks[j];
    }
    if (!any) return;
    double gap[W] = {}, objective[W] = {};
    for (index_t i = 0; i < n_; ++i) {
      if (i % 256 == 255) check_interrupt();
      const auto place = static_cast<std::size_t>(i);
      const double whole = problem_.price[place];
      if (!(whole > 0)) continue;
      double p[W];
      predict(i, p);
      for (int j = 0; j < W; ++j) {
        if (!runs_[j]) continue;
        const double y = target(problem_.y[place], j);
        const double price = y > 0 ? whole * state_[j].positive : whole;
        const Term term(y, price, given_);
        const double value = term.loss(price, p[j], given_);
        objective[j] += value;
        gap[j] += term.gap(value, p[j], beta_[i * W + j], given_);
      }
    }
    bool again = false;
    for (int j = 0; j < W; ++j) {
      if (!runs_[j]) continue;
      State& one = state_[j];
      one.gap = gap[j];
      one.objective = objective[j] + norms[j];
      one.finished = one.gap <= given_.tol * one.objective ? 1.0 : 0.0;
      again |= asks[j] && one.finished == 0;
    }
    if (!again) return;
    std::fill_n(settled_, n_, std::uint8_t{0});
    for (int j = 0; j < W; ++j) {
      if (state_[j].finished != 0) continue;
      state_[j].violation = kInfinity;
      state_[j].kept = 0;
    }
  }

  const Products& rows_;
  index_t n_, d_;
  double first_;
  const Duals& problem_;
  const Given& given_;
  double *weights_, *beta_;
  std::uint8_t* settled_;
  State* state_;
  bool runs_[W] = {};
};

// The blocks side by side; each chunk of them makes its own way to the rows x.
template <int W>
index_t over_blocks(const void* x, Maker make, const Duals& problem) {
  const Given given(problem.settings);
  return ordered_reduce<index_t>(
      problem.blocks, 1, [] { return index_t{0}; },
      [&](index_t& taken, index_t, index_t begin, index_t end) {
        const std::unique_ptr<Products> rows = make(x);
        for (index_t block = begin; block < end; ++block) {
          taken = std::max(taken, Block<W>(*rows, problem, given, block).run(problem.order));
        }
      },
      [](index_t& into, index_t&& from) { into = std::max(into, from); });
}

index_t checked(const void* x, Maker one, Maker eight, index_t n, const Duals& problem) {
  if (problem.width != 1 && problem.width != kWide) {
    invalid("coordinate.dual", "weights must have 1 or 8 problems a block, got ", problem.width);
  }
  if (!(problem.settings[0] >= 0 && problem.settings[0] < 4)) {
    invalid("coordinate.dual", "loss must be in [0, 4), got ", problem.settings[0]);
  }
  for (index_t e = 0; e < problem.order.rows; ++e) {
    for (index_t at = 0; at < problem.order.cols; ++at) {
      const std::int64_t i = problem.order(e, at);
      if (i >= 0 && i < n) continue;
      throw std::out_of_range("coordinate.dual: order must be in [0, " + std::to_string(n) +
                              "), got " + std::to_string(i));
    }
  }
  return problem.width == 1 ? over_blocks<1>(x, one, problem)
                            : over_blocks<kWide>(x, eight, problem);
}

}  // namespace

template <class T>
index_t dual(MatrixView<const T> x, const Duals& problem) {
  using View = MatrixView<const T>;
  return checked(&x, made<View, DenseProducts<T, 1>>, made<View, DenseProducts<T, kWide>>, x.rows,
                 problem);
}

template <class T>
index_t csr_dual(const CsrView<T>& x, const Duals& problem) {
  return x.visit([&]<class Index>(const CsrRows<T, Index>& rows) {
    using View = CsrRows<T, Index>;
    return checked(&rows, made<View, SparseProducts<T, Index, 1>>,
                   made<View, SparseProducts<T, Index, kWide>>, x.rows, problem);
  });
}

KERNELMILL_FOR_FLOATS(dual)
KERNELMILL_FOR_FLOATS(csr_dual)

}  // namespace kernelmill::coordinate
