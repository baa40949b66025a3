// What both devices decide on the host in a round of block SMO: whether a problem has ended, how
// large its working set is and which of the last one's variables it keeps, how far SMO goes on it,
// and where rows of K stand in the cache. Symbols are those of ops/svm.hpp.
#pragma once

#include <algorithm>  // std::fill, std::max, std::min, std::nth_element, std::sort
#include <cmath>      // std::abs
#include <numeric>    // std::iota
#include <vector>     // numbers of variables and rows

#include "core/error.hpp"   // invalid
#include "ops/kernels.hpp"  // Function
#include "ops/svm.hpp"

namespace kernelmill::svm {

// Variables that SMO takes at a time: their kernel matrix (1 MiB of float) stays in the near
// caches, and on a GPU each has a thread of one block.
constexpr index_t most_near = 512;

// The rules of one problem, over a row of the state.
struct Rules {
  index_t variables;
  std::span<const double> settings;
  double* state;

  double tolerance() const { return settings[tol] * state[scale]; }
  bool running() const { return state[status] == 0; }

  // Whether this is the end, from the largest violation and whether all gradients are finite.
  bool ends(double most_violating, bool finite) const {
    state[violation] = std::max(most_violating, 0.0);
    if (!(state[violation] > tolerance())) {
      state[status] = converged;
    } else if (state[steps] >= settings[most_steps] || !finite) {
      state[status] = stalled;
    }
    return !running();
  }

  // Whether the working set is all variables, for sets of at most `width`.
  bool takes_all(index_t width) const { return variables <= std::min(width, most_near); }
  // A few at first: an easy problem needs no more.
  index_t size(index_t width) const {
    const auto before = static_cast<index_t>(state[rounds]);
    return std::min(width, most_near * std::max<index_t>(1, before / 4));
  }
  // How many of them are those that violate most: more where their rows of K cost nothing.
  index_t fresh(index_t size) const {
    if (state[rounds] == 0) return size;
    return std::max<index_t>(2, settings[kind] < 0 ? size * 3 / 4 : size / 2);
  }
  // Fills a set of `size` with the newest of the last one, which it replaces, and sorts it: near
  // in memory. `taken` marks the variables that are chosen, before and after.
  void complete(index_t size, std::int32_t* last, index_t width, std::vector<char>& taken,
                std::vector<std::int32_t>& chosen) const {
    for (index_t a = 0; a < width && last[a] >= 0; ++a) {
      if (static_cast<index_t>(chosen.size()) == size) break;
      char& known = taken[static_cast<std::size_t>(last[a])];
      if (known == 0) chosen.push_back(last[a]);
      known = 1;
    }
    std::fill(last, last + width, -1);
    std::copy(chosen.begin(), chosen.end(), last);
    if (variables > 16 * size) {
      std::sort(chosen.begin(), chosen.end());
      return;
    }
    std::size_t a = 0;  // the same, where a walk over all marks is short
    for (std::size_t t = 0; a < chosen.size(); ++t) {
      chosen[a] = static_cast<std::int32_t>(t);
      a += taken[t] != 0 ? 1 : 0;
    }
  }

  // The violation at which a working set is left, and the pairs that may move before.
  double fine(index_t chosen) const {
    const double share = variables <= 64 ? 1e-9 : 0.5;
    if (chosen == variables) return share * tolerance();
    return std::max(share * tolerance(), 0.2 * state[violation]);
  }
  double most_moves(index_t chosen) const {
    return std::min(100.0 * static_cast<double>(chosen) + 1000,
                    settings[most_steps] - state[steps]);
  }

  // After a round: it ends a problem where nothing moved, or where what is gained is below the
  // rounding of the objective, again and again.
  void record(double moved, double gained, double curved) const {
    state[rounds] += 1;
    state[steps] += moved;
    state[gain] += gained;
    state[curvature] = std::min(state[curvature], curved);
    state[idle] = gained > 1e-15 * state[gain] ? 0 : state[idle] + 1;
    if (moved == 0 || state[idle] >= 20) state[status] = stalled;
  }
};

// Which rows of K stand where in the cache; the least recently used make room.
class Slots {
 public:
  Slots(MatrixView<index_t> slots, index_t n)
      : slots_(slots), places_(static_cast<std::size_t>(n), -1) {
    for (index_t p = 0; p < slots_.rows; ++p) {
      const index_t row = slots_(p, 0);
      if (row >= 0 && row < n) places_[static_cast<std::size_t>(row)] = p;
      clock_ = std::max(clock_, slots_(p, 1));
    }
  }

  index_t place(std::int32_t row) const { return places_[static_cast<std::size_t>(row)]; }

  // Gives each of the rows a place. Those that were missing, and their places, are to be filled.
  void take(const std::vector<std::int32_t>& rows, std::vector<std::int32_t>& missing,
            std::vector<index_t>& targets) {
    ++clock_;
    missing.clear();
    for (const std::int32_t row : rows) {
      index_t& place = places_[static_cast<std::size_t>(row)];
      if (place >= 0) {
        slots_(place, 1) = clock_;
      } else if (place == -1) {
        place = -2;
        missing.push_back(row);
      }
    }
    targets = oldest(static_cast<index_t>(missing.size()));
    for (std::size_t a = 0; a < missing.size(); ++a) {
      const index_t place = targets[a], before = slots_(place, 0);
      if (before >= 0) places_[static_cast<std::size_t>(before)] = -1;
      slots_(place, 0) = missing[a];
      slots_(place, 1) = clock_;
      places_[static_cast<std::size_t>(missing[a])] = place;
    }
  }

 private:
  // The places used least recently, in that order, the first of equals first.
  std::vector<index_t> oldest(index_t count) const {
    std::vector<index_t> order(static_cast<std::size_t>(slots_.rows));
    std::iota(order.begin(), order.end(), index_t{0});
    const auto older = [this](index_t a, index_t b) {
      return slots_(a, 1) != slots_(b, 1) ? slots_(a, 1) < slots_(b, 1) : a < b;
    };
    if (count < slots_.rows) {
      std::nth_element(order.begin(), order.begin() + count, order.end(), older);
    }
    std::sort(order.begin(), order.begin() + count, older);
    order.resize(static_cast<std::size_t>(count));
    return order;
  }

  MatrixView<index_t> slots_;
  std::vector<index_t> places_;  // of each row in the cache, or -1
  index_t clock_ = 0;
};

inline kernels::Function function_of(std::span<const double> settings) {
  return {static_cast<kernels::Kind>(static_cast<int>(settings[kind])), settings[gamma],
          settings[coef0], settings[degree]};
}

inline void check_spans(const char* op, const char* name, std::span<const index_t> spans,
                        index_t end) {
  index_t last = 0;
  bool good = spans.front() == 0 && spans.back() == end;
  for (const index_t span : spans) {
    good = good && span >= last && span <= end;
    last = span;
  }
  if (!good) {
    invalid(op, name, " must rise from 0 to ", end, ", got others");
  }
}

inline void check_numbers(const char* op, const char* name, std::span<const std::int32_t> numbers,
                          index_t end) {
  for (const std::int32_t number : numbers) {
    if (number < 0 || number >= end) {
      invalid(op, name, " must be in [0, ", end, "), got ", number);
    }
  }
}

// Refuses arguments that do not fit X of shape (n, d); all of `s` that is read lies on the host.
template <class T>
void check(const Solving<T>& s, index_t n, index_t d) {
  const auto variables = static_cast<index_t>(s.rows.size());
  const bool given = s.settings[kind] < 0;
  if (given ? n != d : s.cache.cols != n || s.cache.rows < std::min(s.working.cols, n)) {
    invalid("svm.solve",
            "cache must have a column for each row of X and a place for each row of a "
            "working set, or X be square if it is the kernel, got (",
            s.cache.rows, ", ", s.cache.cols, ") for X of shape (", n, ", ", d, ")");
  }
  check_spans("svm.solve", "spans", s.spans, variables);
  check_numbers("svm.solve", "rows", s.rows, n);
  for (index_t p = 0; p < s.working.rows; ++p) {
    const index_t own =
        s.spans[static_cast<std::size_t>(p) + 1] - s.spans[static_cast<std::size_t>(p)];
    for (index_t a = 0; a < s.working.cols; ++a) {
      if (s.working(p, a) >= own) {
        invalid("svm.solve", "working must hold numbers of variables, got others");
      }
    }
  }
}

}  // namespace kernelmill::svm
