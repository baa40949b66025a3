// The best cut of one feature in a node, from its histogram.
#pragma once

#include <array>    // std::array
#include <cmath>    // infinity
#include <cstdint>  // std::int32_t
#include <limits>   // infinity

#include "ops/histogram_types.hpp"

namespace kernelmill::histogram {

// Sums of rows: gradients and hessians in steps, and their number.
struct Sums {
  double G = 0, H = 0, rows = 0;
};

// A rule in steps.
struct Measures {
  double l2 = 0, l1 = 0, min_leaf = 1, min_hessian = 0, min_gain = 0;
  double unit = 1;  // half a gain in steps times this is a gain
  bool coarse = false;

  KERNELMILL_BOTH double shrunk(double G) const {
    const double size = fabs(G) - l1;
    return size > 0 ? copysign(size, G) : 0;
  }
  KERNELMILL_BOTH double value(double G, double H, double low, double high) const {
    const double best = H + l2 > 0 ? -shrunk(G) / (H + l2) : 0;
    return best < low ? low : best > high ? high : best;
  }
  // Twice what a leaf of this value lowers the objective.
  KERNELMILL_BOTH double lowers(double G, double H, double value) const {
    return -(2 * G * value + (H + l2) * value * value + 2 * l1 * fabs(value));
  }
};

// Values that a node and its children may have, in steps.
struct Bounds {
  static constexpr double kNoBound = std::numeric_limits<double>::infinity();
  double low = -kNoBound, high = kNoBound;
  KERNELMILL_BOTH bool none() const { return low == -kNoBound && high == kNoBound; }
};

struct Cut {
  double gain = 0;  // twice, in steps
  std::int32_t feature = -1, code = 0;
  bool missing_left = false;
  Sums left;
  double left_value = 0, right_value = 0;
  std::array<std::uint64_t, 4> sides{};  // codes that go left

  KERNELMILL_BOTH bool goes_left(index_t c) const {
    return ((sides[static_cast<std::size_t>(c / 64)] >> (c % 64)) & 1) != 0;
  }
};

inline void set(Cut& cut, index_t code, bool left) {
  const std::uint64_t bit = std::uint64_t{1} << (code % 64);
  std::uint64_t& word = cut.sides[static_cast<std::size_t>(code / 64)];
  word = left ? word | bit : word & ~bit;
}

// Sets the sides of a cut of numbers; `look` leaves this to the best of all features.
inline void fill_sides(Cut& cut) {
  if (cut.code < 0) return;
  for (index_t w = 0; w < 4; ++w) {
    const index_t own = cut.code + 1 - 64 * w;  // codes of this word that go left
    cut.sides[static_cast<std::size_t>(w)] = own >= 64 ? ~std::uint64_t{0}
                                             : own > 0 ? (std::uint64_t{1} << own) - 1
                                                       : 0;
  }
  set(cut, 0, cut.missing_left);
}

// A gain below this share of the score of the leaf is rounding: sums are exact, their squares by
// their weights are not.
constexpr double kEqual = 0x1p-40;

// Scores of the cuts of a node. Sums of hessians are whole, so half a step is above none and below
// one.
struct Search {
  Measures m;
  Sums node;
  Bounds bounds;
  int sign = 0;

  KERNELMILL_BOTH double least_rows() const { return m.min_leaf > 1 ? m.min_leaf : 1.0; }
  KERNELMILL_BOTH double least_hessian() const { return m.min_hessian > 0.5 ? m.min_hessian : 0.5; }
  KERNELMILL_BOTH bool plain() const { return m.l1 == 0 && sign == 0 && bounds.none(); }

  // The same with another penalty of levels: their order is chosen from the same rows as the cut,
  // so gains of noise are larger.
  KERNELMILL_BOTH Search of_levels() const {
    Search soft = *this;
    soft.m.l2 += (m.min_leaf - 1) * node.H / node.rows;
    return soft;
  }

  // What both sides lower the objective; -1 where a side is too small.
  KERNELMILL_BOTH double score(const Sums& left) const {
    return plain() ? plain_score(left) : constrained(left);
  }
  KERNELMILL_BOTH double plain_score(const Sums& left) const {
    const double G = node.G - left.G, H = node.H - left.H, rows = node.rows - left.rows;
    const double s = left.G * left.G / (left.H + m.l2) + G * G / (H + m.l2);
    const double fewer = left.rows < rows ? left.rows : rows;
    const double lighter = left.H < H ? left.H : H;
    const bool fits =
        static_cast<int>(fewer >= least_rows()) & static_cast<int>(lighter >= least_hessian());
    return fits ? s : -1.0;
  }
  KERNELMILL_BOTH double constrained(const Sums& left) const {
    const Sums right{node.G - left.G, node.H - left.H, node.rows - left.rows};
    const double rows = left.rows < right.rows ? left.rows : right.rows;
    if (rows < least_rows() || (left.H < right.H ? left.H : right.H) < least_hessian()) return -1;
    const double a = m.value(left.G, left.H, bounds.low, bounds.high);
    const double b = m.value(right.G, right.H, bounds.low, bounds.high);
    if (sign * a > sign * b) return -1;
    // Clipped values may raise the objective; -1 stands for what does not fit.
    const double lowered = m.lowers(left.G, left.H, a) + m.lowers(right.G, right.H, b);
    return lowered > 0 ? lowered : 0;
  }

  // Whether this score gains, and more than `best`; then it is the new one.
  KERNELMILL_BOTH bool take(double score, const Sums& left, Cut& best) const {
    if (score < 0) return false;
    const double own = m.lowers(node.G, node.H, m.value(node.G, node.H, bounds.low, bounds.high));
    const double gain = score - own;
    double feigned = 0;
    if (m.coarse) {
      const double H = node.H > 1 ? node.H : 1.0, ratio = node.G / H;
      feigned = 8 * (1 + ratio * ratio) * node.rows / H;
    }
    const double rounding = kEqual * score;
    if (!(gain > (feigned > rounding ? feigned : rounding)) || !(gain > best.gain)) return false;
    // The unit of a gain may underflow.
    if (m.min_gain > 0 && !(gain * m.unit > m.min_gain)) return false;
    best.gain = gain;
    best.left = left;
    best.left_value = m.value(left.G, left.H, bounds.low, bounds.high);
    best.right_value = m.value(node.G - left.G, node.H - left.H, bounds.low, bounds.high);
    return true;
  }
};

// Replaces `best` where a cut of feature f gains more. `histogram` is that of the feature.
void look(const Search& search, const double* histogram, index_t stride, index_t count,
          bool categorical, std::int32_t f, Cut& best);

}  // namespace kernelmill::histogram
