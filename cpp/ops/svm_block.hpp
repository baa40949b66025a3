// SMO on a small block of variables whose kernel matrix stays in the near caches; symbols are those
// of ops/svm.hpp.
#pragma once

#include <algorithm>  // std::max, std::min
#include <cmath>      // std::abs
#include <limits>     // infinity, epsilon
#include <vector>     // factors

#include "core/matrix.hpp"     // index_t
#include "core/tile_pack.hpp"  // load, load_as, store
#include "core/workspace.hpp"  // memory

namespace kernelmill::svm {

// to[c] = from[columns[c]].
template <class T>
[[gnu::noinline]] void gather(const T* from, const std::int32_t* columns, T* to, index_t count) {
#pragma omp simd
  for (index_t c = 0; c < count; ++c) to[c] = from[columns[c]];
}

// Variables of the first group, then those of the second; each group is padded to whole vectors by
// variables that cannot move.
template <class T>
class Block {
 public:
  static constexpr int lanes = tile::Params<double>::lanes;
  static constexpr double infinity = std::numeric_limits<double>::infinity();
  using Vec = typename tile::Params<double>::Vec;

  static index_t padded(index_t count) { return (count + lanes - 1) / lanes * lanes; }

  // `first` and `second` variables; `size` places in all.
  Block(index_t first, index_t second, double w)
      : starts_{0, padded(first), padded(first) + padded(second)},
        size(starts_[2]),
        w_(w),
        numbers_(static_cast<std::size_t>(7 * size)),
        kernel_(static_cast<std::size_t>(size * size)),
        g(numbers_.data()),
        b(g + size),
        lower(b + size),
        upper(lower + size),
        up_(upper + size),
        down_(up_ + size),
        diagonal_(down_ + size),
        gathered_(static_cast<std::size_t>(size), 0),
        columns(static_cast<std::size_t>(size), 0),
        sources(static_cast<std::size_t>(size), nullptr) {
    std::fill(g, g + 7 * size, 0.0);
  }

  struct Outcome {
    double steps = 0, gain = 0;   // pairs moved, decrease of the objective
    double curvature = infinity;  // least a_ij / (|K_ii| + |K_jj| + 2 |K_ij|) of a pair moved
  };

  // Until the violation is at most `tol` or `most` pairs have moved.
  Outcome solve(double tol, double most) {
    Outcome outcome;
    for (index_t i = 0; i < size; ++i) {
      const auto place = static_cast<std::size_t>(i);
      const T* const own = sources[place];
      diagonal_[i] = own == nullptr ? 0.0 : static_cast<double>(own[columns[place]]);
      refresh(i);
    }
    double moved = 0, next = 20 * static_cast<double>(size);
    index_t from = 0, to = 0;
    while (true) {
      index_t i = 0, group = 0;
      double best = -infinity, worst = -infinity;  // up_i, violation
      for (index_t k = 0; k < 2; ++k) {
        if (starts_[k] == starts_[k + 1]) continue;
        const Extremes found = advance(k, moved, from, to);
        if (found.up - found.down > worst) {
          worst = found.up - found.down;
          i = found.place;
          best = found.up;
          group = k;
        }
      }
      if (!(worst > tol) || outcome.steps >= most) return outcome;
      if (outcome.steps >= next) {
        next = outcome.steps + 20 * static_cast<double>(size);
        if (straighten(outcome)) {
          moved = 0;
          continue;
        }
      }
      const index_t j = partner(group, i, best);
      const double difference = best + (g[j] + down_[j]);
      const double k_ij = static_cast<double>(row(i)[j]);
      const double a = diagonal_[i] + diagonal_[j] - 2 * k_ij;
      const double size_of_a = std::abs(diagonal_[i]) + std::abs(diagonal_[j]) + 2 * std::abs(k_ij);
      const double old_i = b[i], old_j = b[j];
      const double end_i = old_i < 0 && w_ > 0 ? 0 : upper[i];
      const double end_j = old_j > 0 && w_ > 0 ? 0 : lower[j];
      const double room_i = end_i - old_i, room_j = old_j - end_j;
      double step = difference / std::max(a, least_curvature(size_of_a));
      step = std::min(step, std::min(room_i, room_j));
      b[i] = step == room_i ? end_i : std::min(old_i + step, end_i);
      b[j] = step == room_j ? end_j : std::max(old_j - step, end_j);
      if (b[i] == old_i && b[j] == old_j) return outcome;  // below the resolution of b
      outcome.steps += 1;
      outcome.gain += step * (difference - step * a / 2);
      if (size_of_a > 0) outcome.curvature = std::min(outcome.curvature, a / size_of_a);
      refresh(i);
      refresh(j);
      moved = step;
      from = j;
      to = i;
    }
  }

  // Pairs creep where K is badly conditioned: then Newton's step in the free variables, from where
  // they are towards the least of D with the sums as they are, until the first bound, and again
  // without the variable that met it. Whether b has changed.
  bool straighten(Outcome& outcome) {
    bool changed = false;
    for (index_t repeat = 0; repeat < most_free; ++repeat) {
      std::vector<index_t> free;
      for (index_t i = 0; i < size; ++i) {
        if (b[i] > lower[i] && b[i] < upper[i] && (w_ == 0 || b[i] != 0)) free.push_back(i);
      }
      if (free.size() < 2 || static_cast<index_t>(free.size()) > most_free) return changed;
      std::vector<double> d = direction(free);
      if (d.empty()) return changed;
      std::vector<double> change(static_cast<std::size_t>(size), 0.0);  // K d
      double slope = 0, bend = 0, t = infinity;
      for (std::size_t f = 0; f < free.size(); ++f) {
        const T* const from = row(free[f]);
        for (index_t i = 0; i < size; ++i) {
          change[static_cast<std::size_t>(i)] += d[f] * static_cast<double>(from[i]);
        }
      }
      std::size_t first = free.size();
      for (std::size_t f = 0; f < free.size(); ++f) {
        const index_t i = free[f];
        slope += d[f] * slope_of(i);
        bend += d[f] * change[static_cast<std::size_t>(i)];
        const double end =
            d[f] > 0 ? (b[i] < 0 && w_ > 0 ? 0 : upper[i]) : (b[i] > 0 && w_ > 0 ? 0 : lower[i]);
        const double room = d[f] == 0 ? infinity : (end - b[i]) / d[f];
        if (room < t) {
          t = room;
          first = f;
        }
      }
      if (!(slope < 0)) return changed;
      if (bend > 0 && -slope / bend < t) {
        t = -slope / bend;
        first = free.size();
      }
      const double gain = -t * (slope + t * bend / 2);
      if (!std::isfinite(t) || !(gain > 0)) return changed;
      for (std::size_t f = 0; f < free.size(); ++f) {
        const index_t i = free[f];
        const double moved = std::clamp(b[i] + t * d[f], lower[i], upper[i]);
        b[i] = f != first ? moved
               : d[f] > 0 ? (b[i] < 0 && w_ > 0 ? 0 : upper[i])
                          : (b[i] > 0 && w_ > 0 ? 0 : lower[i]);
        refresh(i);
      }
      for (index_t i = 0; i < size; ++i) g[i] += t * change[static_cast<std::size_t>(i)];
      outcome.gain += gain;
      changed = true;
      if (first == free.size()) return changed;
    }
    return changed;
  }

  static double least_curvature(double size) {
    return std::max(size * 1e-12, std::numeric_limits<double>::min());
  }

 private:
  static constexpr index_t most_free =
      256;  // a factorisation costs about as much as the pairs before

  // Row i of the block's kernel, gathered when it is first asked for: most blocks are left before
  // half of their variables have moved.
  const T* row(index_t i) {
    T* const to = kernel_.data() + i * size;
    char& known = gathered_[static_cast<std::size_t>(i)];
    if (known == 0) gather(sources[static_cast<std::size_t>(i)], columns.data(), to, size);
    known = 1;
    return to;
  }

  double slope_of(index_t i) const { return g[i] + (w_ == 0 ? 0.0 : b[i] > 0 ? w_ : -w_); }

  // -(K_ff + lambda I)^-1 (slope - mu of each group), with mu such that the sums stay; empty where
  // there is no factor. lambda is the rounding of K.
  std::vector<double> direction(const std::vector<index_t>& free) {
    const std::size_t n = free.size();
    std::vector<double> factor(n * n);
    double largest = 0;
    for (std::size_t a = 0; a < n; ++a) {
      const T* const from = row(free[a]);
      for (std::size_t c = 0; c < n; ++c) factor[a * n + c] = static_cast<double>(from[free[c]]);
      largest = std::max(largest, std::abs(factor[a * n + a]));
    }
    const double lambda = 4 * static_cast<double>(std::numeric_limits<T>::epsilon()) * largest *
                          static_cast<double>(n);
    for (std::size_t a = 0; a < n; ++a) {  // Cholesky, row by row
      for (std::size_t c = 0; c <= a; ++c) {
        double sum = factor[a * n + c] + (a == c ? lambda : 0.0);
        const double *const left = &factor[a * n], *const right = &factor[c * n];
#pragma omp simd reduction(- : sum)
        for (std::size_t k = 0; k < c; ++k) sum -= left[k] * right[k];
        if (a == c && !(sum > 0)) return {};
        factor[a * n + c] = a == c ? std::sqrt(sum) : sum / factor[c * n + c];
      }
    }
    std::vector<double> by[3];  // solutions for the slopes, and for the ones of each group
    for (std::size_t r = 0; r < 3; ++r) {
      by[r].resize(n);
      for (std::size_t a = 0; a < n; ++a) {
        by[r][a] = r == 0 ? slope_of(free[a]) : in_group(free[a], r - 1);
      }
      for (std::size_t a = 0; a < n; ++a) {
        for (std::size_t k = 0; k < a; ++k) by[r][a] -= factor[a * n + k] * by[r][k];
        by[r][a] /= factor[a * n + a];
      }
      for (std::size_t a = n; a-- > 0;) {
        by[r][a] /= factor[a * n + a];
        for (std::size_t k = 0; k < a; ++k) by[r][k] -= factor[a * n + k] * by[r][a];
      }
    }
    double sums[2][3] = {};
    for (std::size_t a = 0; a < n; ++a) {
      for (std::size_t k = 0; k < 2; ++k) {
        for (std::size_t r = 0; r < 3; ++r) sums[k][r] += in_group(free[a], k) * by[r][a];
      }
    }
    // mu solves sums[k][0] = sum_l sums[k][l + 1] mu_l for the groups that have free variables.
    double mu[2] = {};
    const double determinant = sums[0][1] * sums[1][2] - sums[0][2] * sums[1][1];
    if (sums[1][2] == 0) {
      mu[0] = sums[0][0] / sums[0][1];
    } else if (sums[0][1] == 0) {
      mu[1] = sums[1][0] / sums[1][2];
    } else {
      mu[0] = (sums[0][0] * sums[1][2] - sums[0][2] * sums[1][0]) / determinant;
      mu[1] = (sums[0][1] * sums[1][0] - sums[1][1] * sums[0][0]) / determinant;
    }
    std::vector<double> d(n);
    for (std::size_t a = 0; a < n; ++a) {
      d[a] = mu[0] * by[1][a] + mu[1] * by[2][a] - by[0][a];
      if (!std::isfinite(d[a])) return {};
    }
    // The sums again, which a large d has lost to rounding.
    for (std::size_t k = 0; k < 2; ++k) {
      double sum = 0, count = 0;
      for (std::size_t a = 0; a < n; ++a) {
        sum += in_group(free[a], k) * d[a];
        count += in_group(free[a], k);
      }
      for (std::size_t a = 0; a < n && count > 0; ++a) d[a] -= in_group(free[a], k) * sum / count;
    }
    return d;
  }
  double in_group(index_t i, std::size_t k) const {
    return i >= starts_[k] && i < starts_[k + 1] ? 1.0 : 0.0;
  }

  struct Extremes {
    double up, down;  // max up, min down
    index_t place;    // of max up, the first
  };

  void refresh(index_t i) {
    up_[i] = b[i] < upper[i] ? (b[i] >= 0 ? w_ : -w_) : infinity;
    down_[i] = b[i] > lower[i] ? (b[i] > 0 ? w_ : -w_) : -infinity;
  }

  // g += moved (K_to - K_from) over group k, and its extremes.
  [[gnu::noinline]] Extremes advance(index_t k, double moved, index_t from, index_t to) {
    const T *const plus = row(to), *const minus = row(from);
    Vec best = Vec{} - infinity, least = Vec{} + infinity, at{}, place{};
    for (int l = 0; l < lanes; ++l) place[l] = static_cast<double>(starts_[k] + l);
    for (index_t i = starts_[k]; i < starts_[k + 1]; i += lanes) {
      const Vec now = tile::load<Vec>(g + i) +
                      moved * (tile::load_as<Vec>(plus + i) - tile::load_as<Vec>(minus + i));
      tile::store(g + i, now);
      const Vec up = -(now + tile::load<Vec>(up_ + i)), down = -(now + tile::load<Vec>(down_ + i));
      const auto better = up > best;
      best = better ? up : best;
      at = better ? place : at;
      least = down < least ? down : least;
      place += static_cast<double>(lanes);
    }
    Extremes found{-infinity, infinity, starts_[k]};
    for (int l = 0; l < lanes; ++l) {
      const auto where = static_cast<index_t>(at[l]);
      if (best[l] > found.up || (best[l] == found.up && where < found.place)) {
        found.up = best[l];
        found.place = where;
      }
      found.down = std::min(found.down, static_cast<double>(least[l]));
    }
    return found;
  }

  // The j of the largest gain with i, the first.
  [[gnu::noinline]] index_t partner(index_t k, index_t i, double up) {
    const T* const row_i = row(i);
    // The largest gain so far is best / best_a.
    Vec best = Vec{} - 1.0, best_a = Vec{} + 1.0, at{}, place{};
    const Vec zero{};
    for (int l = 0; l < lanes; ++l) place[l] = static_cast<double>(starts_[k] + l);
    const double k_ii = diagonal_[i], size_ii = std::abs(k_ii);
    constexpr double tiny = std::numeric_limits<double>::min();
    for (index_t j = starts_[k]; j < starts_[k + 1]; j += lanes) {
      Vec difference = up + (tile::load<Vec>(g + j) + tile::load<Vec>(down_ + j));
      difference = difference > zero ? difference : zero;
      const Vec k_jj = tile::load<Vec>(diagonal_ + j), k_ij = tile::load_as<Vec>(row_i + j);
      const Vec a = k_ii + k_jj - 2 * k_ij;
      const Vec most = (k_jj > zero ? k_jj : -k_jj) + 2 * (k_ij > zero ? k_ij : -k_ij) + size_ii;
      Vec floor = most * 1e-12;
      floor = floor > tiny ? floor : Vec{} + tiny;
      const Vec curvature = a > floor ? a : floor, gain = difference * difference;
      const auto better = gain * best_a > best * curvature;
      best = better ? gain : best;
      best_a = better ? curvature : best_a;
      at = better ? place : at;
      place += static_cast<double>(lanes);
    }
    double most = -infinity;
    index_t found = starts_[k];
    for (int l = 0; l < lanes; ++l) {
      const auto where = static_cast<index_t>(at[l]);
      const double gain = best[l] / best_a[l];
      if (gain > most || (gain == most && where < found)) {
        most = gain;
        found = where;
      }
    }
    return found;
  }

  const index_t starts_[3];

 public:
  const index_t size;

 private:
  const double w_;
  Workspace<double> numbers_;
  Workspace<T> kernel_;

 public:
  double *const g, *const b, *const lower, *const upper;

 private:
  double *const up_, *const down_, *const diagonal_;
  std::vector<char> gathered_;  // which rows of kernel_ are there

 public:
  std::vector<std::int32_t> columns;  // of the rows of K, for each place
  std::vector<const T*> sources;      // those rows; null where nothing can move
};

}  // namespace kernelmill::svm
