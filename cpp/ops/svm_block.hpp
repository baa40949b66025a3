// SMO on a small block of variables whose kernel matrix stays in the near caches; symbols are those
// of ops/svm.hpp.
#pragma once

#include <algorithm>  // std::max, std::min
#include <cmath>      // std::abs
#include <limits>     // infinity, epsilon

#include "core/matrix.hpp"     // index_t
#include "core/tile_pack.hpp"  // load, load_as, store
#include "core/workspace.hpp"  // memory

namespace kernelmill::svm {

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
        diagonal_(down_ + size) {
    std::fill(g, g + 7 * size, 0.0);
    for (index_t k = 0; k < 2; ++k) {  // variables that cannot move have rows of their own
      for (index_t i = starts_[k] + (k == 0 ? first : second); i < starts_[k + 1]; ++i) {
        std::fill(row(i), row(i) + size, T{0});
      }
    }
  }

  T* row(index_t i) { return kernel_.data() + i * size; }

  struct Outcome {
    double steps = 0, gain = 0;   // pairs moved, decrease of the objective
    double curvature = infinity;  // least a_ij / (|K_ii| + |K_jj| + 2 |K_ij|) of a pair moved
  };

  // Until the violation is at most `tol` or `most` pairs have moved.
  Outcome solve(double tol, double most) {
    Outcome outcome;
    for (index_t i = 0; i < size; ++i) {
      diagonal_[i] = static_cast<double>(row(i)[i]);
      refresh(i);
    }
    double moved = 0;
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

  static double least_curvature(double size) {
    return std::max(size * 1e-12, std::numeric_limits<double>::min());
  }

 private:
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
  [[gnu::noinline]] index_t partner(index_t k, index_t i, double up) const {
    const T* const row_i = kernel_.data() + i * size;
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
};

}  // namespace kernelmill::svm
