#include "ops/svm.hpp"

#include <algorithm>  // std::fill, std::max, std::min, std::nth_element, std::sort
#include <array>      // the state of a large working set
#include <cmath>      // std::isfinite
#include <limits>     // infinity
#include <memory>     // std::unique_ptr
#include <numeric>    // std::iota
#include <vector>     // working sets

#include "core/parallel.hpp"  // parallel_for
#include "ops/kernels.hpp"    // Columns
#include "ops/svm_block.hpp"
#include "ops/svm_rounds.hpp"

namespace kernelmill::svm {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr index_t most_inner = 4096;

// Rows of K, from the cache or from X itself.
template <class T>
class KernelRows {
 public:
  KernelRows(const kernels::Columns<T>* columns, MatrixView<const T> given, const Solving<T>& s,
             index_t n)
      : columns_(columns), given_(given), cache_(s.cache), slots_(s.slots, columns ? n : 0) {}

  // Pointers to the rows of these numbers, which stay valid until the next call.
  void take(const std::vector<std::int32_t>& numbers, std::vector<const T*>& out) {
    out.resize(numbers.size());
    if (columns_ == nullptr) {
      for (std::size_t a = 0; a < numbers.size(); ++a) out[a] = given_.row(numbers[a]);
      return;
    }
    std::vector<std::int32_t> missing;
    std::vector<index_t> places;
    slots_.take(numbers, missing, places);
    std::vector<T*> targets;
    for (const index_t place : places) targets.push_back(cache_.row(place));
    if (!missing.empty()) {
      columns_->rows(missing.data(), static_cast<index_t>(missing.size()), targets.data());
    }
    for (std::size_t a = 0; a < numbers.size(); ++a) {
      out[a] = cache_.row(slots_.place(numbers[a]));
    }
  }

 private:
  const kernels::Columns<T>* columns_;
  MatrixView<const T> given_;
  MatrixView<T> cache_;
  Slots slots_;
};

// A stretch of variables whose rows follow one another.
struct Run {
  index_t begin, end;
  std::int32_t row;
};

std::vector<Run> runs_of(const std::int32_t* rows, index_t begin, index_t end) {
  std::vector<Run> runs;
  for (index_t t = begin; t < end; ++t) {
    if (t == begin || rows[t] != rows[t - 1] + 1) runs.push_back({t, t, rows[t]});
    runs.back().end = t + 1;
  }
  return runs;
}

// g[l] += sum over rows of by * row[column + l].
template <class T>
[[gnu::noinline]] void add(const std::vector<const T*>& rows, const std::vector<double>& by,
                           index_t column, double* g, index_t count) {
  std::size_t a = 0;
  for (; a + 4 <= rows.size(); a += 4) {
    const T *const r0 = rows[a] + column, *const r1 = rows[a + 1] + column;
    const T *const r2 = rows[a + 2] + column, *const r3 = rows[a + 3] + column;
    const double b0 = by[a], b1 = by[a + 1], b2 = by[a + 2], b3 = by[a + 3];
#pragma omp simd
    for (index_t l = 0; l < count; ++l) {
      g[l] += (b0 * static_cast<double>(r0[l]) + b1 * static_cast<double>(r1[l])) +
              (b2 * static_cast<double>(r2[l]) + b3 * static_cast<double>(r3[l]));
    }
  }
  for (; a < rows.size(); ++a) {
    const T* const r = rows[a] + column;
    const double b = by[a];
#pragma omp simd
    for (index_t l = 0; l < count; ++l) g[l] += b * static_cast<double>(r[l]);
  }
}

template <class T>
class Problem {
 public:
  Problem(const Solving<T>& s, index_t p)
      : begin_(s.spans[static_cast<std::size_t>(p)]),
        m_(s.spans[static_cast<std::size_t>(p) + 1] - begin_),
        rows_(s.rows.data() + begin_),
        l_(s.lower.data() + begin_),
        u_(s.upper.data() + begin_),
        b_(s.beta.data() + begin_),
        g_(s.gradient.data() + begin_),
        working_(s.working.row(p)),
        largest_(s.working.cols),
        rules_{m_, s.settings, s.state.row(p)},
        w_(s.settings[width]),
        tol_(rules_.tolerance()),
        grouped_(s.settings[grouped] != 0),
        runs_(runs_of(rows_, 0, m_)) {}

  bool running() const { return rules_.running(); }

  void round(KernelRows<T>& kernel) {
    find_extremes();
    if (rules_.ends(std::max(most_[0] - least_[0], most_[1] - least_[1]), finite_)) return;
    choose();
    std::vector<std::int32_t> numbers;
    for (const std::int32_t t : chosen_) numbers.push_back(rows_[t]);
    kernel.take(numbers, rows_of_);
    const bool large = static_cast<index_t>(chosen_.size()) > most_near;
    const Outcome outcome = large ? solve_problem() : solve_block();
    rules_.record(outcome.steps, outcome.gain, outcome.curvature);
    update();
  }

 private:
  using Outcome = typename Block<T>::Outcome;

  index_t group(index_t t) const { return grouped_ && !(u_[t] > 0) ? 1 : 0; }
  // The terms of all variables, and the extremes of each group.
  [[gnu::noinline]] void find_extremes() {
    up_.resize(static_cast<std::size_t>(m_));
    down_.resize(static_cast<std::size_t>(m_));
    const double *const b = b_, *const g = g_, *const l = l_, *const u = u_, w = w_;
    double *const up = up_.data(), *const down = down_.data();
    int finite = 1;
#pragma omp simd reduction(& : finite)
    for (index_t t = 0; t < m_; ++t) {
      const double rising = -(g[t] + (b[t] >= 0 ? w : -w));
      const double falling = -(g[t] + (b[t] > 0 ? w : -w));
      up[t] = b[t] < u[t] ? rising : -infinity;
      down[t] = b[t] > l[t] ? falling : infinity;
      finite &= std::abs(g[t]) < infinity ? 1 : 0;
    }
    finite_ = finite != 0;
    most_[0] = most_[1] = -infinity;
    least_[0] = least_[1] = infinity;
    if (!grouped_) {
      double most = -infinity, least = infinity;
#pragma omp simd reduction(max : most) reduction(min : least)
      for (index_t t = 0; t < m_; ++t) {
        most = most > up[t] ? most : up[t];
        least = least < down[t] ? least : down[t];
      }
      most_[0] = most;
      least_[0] = least;
      return;
    }
    for (index_t t = 0; t < m_; ++t) {
      const index_t k = group(t);
      most_[k] = std::max(most_[k], up[t]);
      least_[k] = std::min(least_[k], down[t]);
    }
  }

  // The working set, in chosen_.
  [[gnu::noinline]] void choose() {
    chosen_.clear();
    if (rules_.takes_all(largest_)) {
      for (index_t t = 0; t < m_; ++t) chosen_.push_back(static_cast<std::int32_t>(t));
      return;
    }
    std::vector<char> taken(static_cast<std::size_t>(m_), 0);
    const index_t size = rules_.size(largest_), fresh = rules_.fresh(size);
    worst([this](index_t t) { return up_[static_cast<std::size_t>(t)] - least_[group(t)]; },
          fresh / 2, taken);
    worst([this](index_t t) { return most_[group(t)] - down_[static_cast<std::size_t>(t)]; },
          fresh - fresh / 2, taken);
    rules_.complete(size, working_, largest_, taken, chosen_);
  }

  // Adds the `count` variables of the largest positive score, in descending order.
  template <class Score>
  void worst(Score&& score, index_t count, std::vector<char>& taken) {
    candidates_.resize(static_cast<std::size_t>(m_));
    const auto begin = candidates_.begin();
    auto last = begin;
    for (index_t t = 0; t < m_; ++t) {  // no branch: half of them would be foreseen wrongly
      const double value = score(t);
      *last = {value, static_cast<std::int32_t>(t)};
      last += value > tol_ && taken[static_cast<std::size_t>(t)] == 0 ? 1 : 0;
    }
    const auto end = begin + std::min<index_t>(count, last - begin);
    if (end != last) std::nth_element(begin, end, last);
    std::sort(begin, end);
    for (auto at = begin; at != end; ++at) {
      chosen_.push_back(at->variable);
      taken[static_cast<std::size_t>(at->variable)] = 1;
    }
  }

  // Rounds on a large working set; the changes of b are in changes_.
  Outcome solve_problem() {
    const std::size_t q = chosen_.size();
    std::vector<std::int32_t> columns, numbers(q), nearest(most_near, -1);
    std::vector<double> low, high, beta, slope;
    for (const std::int32_t t : chosen_) {
      columns.push_back(rows_[t]);
      low.push_back(l_[t]);
      high.push_back(u_[t]);
      beta.push_back(b_[t]);
      slope.push_back(g_[t]);
    }
    std::iota(numbers.begin(), numbers.end(), 0);
    const auto size = static_cast<index_t>(q);
    Workspace<T> memory(q * q);
    const MatrixView<T> kernel = dense(memory.data(), size, size);
    parallel_for(size, 64, [&](index_t, index_t begin, index_t end) {
      for (index_t a = begin; a < end; ++a) {
        gather(rows_of_[static_cast<std::size_t>(a)], columns.data(), kernel.row(a), size);
      }
    });
    std::array<double, state_columns> state{};
    state[curvature] = infinity;
    state[scale] = 1;
    const std::array<index_t, 2> spans{0, size};
    const std::array<double, settings_count> settings{
        -1, 1, 0, 1, rules_.fine(size), w_, grouped_ ? 1.0 : 0.0, rules_.most_moves(size)};
    const Solving<T> part{numbers,
                          spans,
                          low,
                          high,
                          settings,
                          0,
                          beta,
                          slope,
                          {},
                          {},
                          dense(nearest.data(), 1, most_near),
                          dense(state.data(), 1, index_t{state_columns})};
    KernelRows<T> rows(nullptr, kernel, part, size);
    Problem problem(part, 0);
    while (problem.running()) problem.round(rows);
    changes_.assign(q, 0.0);
    for (std::size_t a = 0; a < q; ++a) {
      changes_[a] = beta[a] - b_[chosen_[a]];
      b_[chosen_[a]] = beta[a];
    }
    return {state[steps], state[gain], state[curvature]};
  }

  // SMO on the working set; the changes of b are in changes_.
  Outcome solve_block() {
    std::vector<std::size_t> order;  // places in chosen_ by group
    for (index_t k = 0; k < 2; ++k) {
      for (std::size_t a = 0; a < chosen_.size(); ++a) {
        if (group(chosen_[a]) == k) order.push_back(a);
      }
    }
    index_t first = 0;
    for (const std::int32_t t : chosen_) first += group(t) == 0 ? 1 : 0;
    Block<T> block(first, static_cast<index_t>(chosen_.size()) - first, w_);
    const auto place = [first](index_t a) {
      return a < first ? a : Block<T>::padded(first) + a - first;
    };
    for (std::size_t a = 0; a < order.size(); ++a) {
      const index_t t = chosen_[order[a]], i = place(static_cast<index_t>(a));
      block.g[i] = g_[t];
      block.b[i] = b_[t];
      block.lower[i] = l_[t];
      block.upper[i] = u_[t];
      block.columns[static_cast<std::size_t>(i)] = rows_[t];
      block.sources[static_cast<std::size_t>(i)] = rows_of_[order[a]];
    }
    const auto q = static_cast<index_t>(chosen_.size());
    const Outcome outcome = block.solve(rules_.fine(q), rules_.most_moves(q));
    changes_.assign(chosen_.size(), 0.0);
    for (std::size_t a = 0; a < order.size(); ++a) {
      const double now = block.b[place(static_cast<index_t>(a))];
      double& b = b_[chosen_[order[a]]];
      changes_[order[a]] = now - b;
      b = now;
    }
    return outcome;
  }

  // g += K' (change of b).
  void update() {
    std::vector<const T*> rows;
    std::vector<double> by;
    for (std::size_t a = 0; a < chosen_.size(); ++a) {
      if (changes_[a] == 0) continue;
      rows.push_back(rows_of_[a]);
      by.push_back(changes_[a]);
    }
    // A problem within a working set is short beside the waking of a thread.
    parallel_for(m_, m_ <= most_inner ? most_inner : 1024,
                 [&](index_t, index_t begin, index_t end) {
                   for (const Run& run : runs_) {
                     const index_t from = std::max(begin, run.begin), to = std::min(end, run.end);
                     if (from < to)
                       add(rows, by, run.row + (from - run.begin), g_ + from, to - from);
                   }
                 });
  }

  struct Candidate {
    double score;
    std::int32_t variable;
    bool operator<(const Candidate& other) const {
      return score != other.score ? score > other.score : variable < other.variable;
    }
  };

  index_t begin_, m_;
  const std::int32_t* rows_;
  const double *l_, *u_;
  double *b_, *g_;
  std::int32_t* working_;
  index_t largest_;
  Rules rules_;
  double w_, tol_;
  bool grouped_;
  const std::vector<Run> runs_;
  std::vector<double> up_, down_;        // of each variable
  double most_[2] = {}, least_[2] = {};  // max up, min down of each group
  bool finite_ = true;
  std::vector<Candidate> candidates_;
  std::vector<std::int32_t> chosen_;
  std::vector<const T*> rows_of_;
  std::vector<double> changes_;
};

template <class T>
index_t run(const kernels::Columns<T>* columns, MatrixView<const T> given, const Solving<T>& s,
            index_t n) {
  const index_t problems = s.state.rows;
  const auto solve_one = [&](index_t p, KernelRows<T>& kernel) {
    Problem<T> problem(s, p);
    for (index_t r = 0; r < s.most_rounds && problem.running(); ++r) {
      check_interrupt();
      problem.round(kernel);
    }
  };
  if (columns == nullptr) {  // problems share what they only read
    parallel_for(problems, 1, [&](index_t p, index_t, index_t) {
      KernelRows<T> kernel(columns, given, s, n);
      solve_one(p, kernel);
    });
  } else {
    KernelRows<T> kernel(columns, given, s, n);
    for (index_t p = 0; p < problems; ++p) solve_one(p, kernel);
  }
  index_t going = 0;
  for (index_t p = 0; p < problems; ++p) going += s.state(p, status) == 0 ? 1 : 0;
  return going;
}

}  // namespace

template <class T>
index_t solve(MatrixView<const T> x, const Solving<T>& s) {
  check(s, x.rows, x.cols);
  if (s.settings[kind] < 0) return run<T>(nullptr, x, s, x.rows);
  const auto columns = kernels::columns_of(x, function_of(s.settings));
  return run(columns.get(), x, s, x.rows);
}

template <class T>
index_t solve(const CsrView<T>& x, const Solving<T>& s) {
  check(s, x.rows, s.settings[kind] < 0 ? -1 : x.cols);
  const auto columns = kernels::columns_of(x, function_of(s.settings));
  return run<T>(columns.get(), {}, s, x.rows);
}

template <class T>
void products(MatrixView<const T> k, std::span<const std::int32_t> rows,
              std::span<const index_t> spans, std::span<const std::int32_t> used,
              std::span<const index_t> ends, MatrixView<const double> coef,
              MatrixView<double> sums) {
  check_numbers("svm.products", "rows", rows, k.cols);
  check_numbers("svm.products", "used", used, k.rows);
  check_spans("svm.products", "spans", spans, static_cast<index_t>(rows.size()));
  check_spans("svm.products", "ends", ends, static_cast<index_t>(used.size()));
  constexpr index_t chunk = 1024, near = 16;  // results; rows of K that stay in the near caches
  std::vector<std::array<index_t, 3>> work;   // part, begin, end
  for (std::size_t p = 0; p + 1 < spans.size(); ++p) {
    for (index_t begin = spans[p]; begin < spans[p + 1]; begin += chunk) {
      work.push_back({static_cast<index_t>(p), begin, std::min(begin + chunk, spans[p + 1])});
    }
  }
  parallel_for(static_cast<index_t>(work.size()), 1, [&](index_t a, index_t, index_t) {
    const auto [part, begin, end] = work[static_cast<std::size_t>(a)];
    const auto at = static_cast<std::size_t>(part);
    for (index_t c = 0; c < sums.rows; ++c) std::fill(sums.row(c) + begin, sums.row(c) + end, 0.0);
    std::vector<const T*> from;
    std::vector<double> by;
    for (const Run& run : runs_of(rows.data(), begin, end)) {
      for (index_t i = ends[at]; i < ends[at + 1]; i += near) {
        const index_t stop = std::min(i + near, ends[at + 1]);
        from.clear();
        for (index_t l = i; l < stop; ++l) from.push_back(k.row(used[static_cast<std::size_t>(l)]));
        for (index_t c = 0; c < sums.rows; ++c) {
          by.assign(coef.row(c) + i, coef.row(c) + stop);
          add(from, by, run.row, sums.row(c) + run.begin, run.end - run.begin);
        }
      }
    }
  });
}

template void products(MatrixView<const float>, std::span<const std::int32_t>,
                       std::span<const index_t>, std::span<const std::int32_t>,
                       std::span<const index_t>, MatrixView<const double>, MatrixView<double>);
template void products(MatrixView<const double>, std::span<const std::int32_t>,
                       std::span<const index_t>, std::span<const std::int32_t>,
                       std::span<const index_t>, MatrixView<const double>, MatrixView<double>);
template index_t solve(MatrixView<const float>, const Solving<float>&);
template index_t solve(MatrixView<const double>, const Solving<double>&);
template index_t solve(const CsrView<float>&, const Solving<float>&);
template index_t solve(const CsrView<double>&, const Solving<double>&);

}  // namespace kernelmill::svm
