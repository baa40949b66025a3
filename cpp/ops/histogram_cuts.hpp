// The best cut of one feature in a node, from its histogram.
#pragma once

#include <array>    // std::array
#include <cmath>    // infinity
#include <cstdint>  // std::int32_t
#include <limits>   // infinity

#include "ops/histogram.hpp"

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

  double shrunk(double G) const {
    const double size = std::fabs(G) - l1;
    return size > 0 ? std::copysign(size, G) : 0;
  }
  double value(double G, double H, double low, double high) const {
    const double best = H + l2 > 0 ? -shrunk(G) / (H + l2) : 0;
    return best < low ? low : best > high ? high : best;
  }
  // Twice what a leaf of this value lowers the objective.
  double lowers(double G, double H, double value) const {
    return -(2 * G * value + (H + l2) * value * value + 2 * l1 * std::fabs(value));
  }
};

// Values that a node and its children may have, in steps.
struct Bounds {
  double low = -std::numeric_limits<double>::infinity();
  double high = std::numeric_limits<double>::infinity();
  bool none() const { return std::isinf(low) && std::isinf(high); }
};

struct Cut {
  double gain = 0;  // twice, in steps
  std::int32_t feature = -1, code = 0;
  bool missing_left = false;
  Sums left;
  double left_value = 0, right_value = 0;
  std::array<std::uint64_t, 4> sides{};  // codes that go left

  bool goes_left(index_t c) const {
    return ((sides[static_cast<std::size_t>(c / 64)] >> (c % 64)) & 1) != 0;
  }
};

// Replaces `best` where a cut of feature f gains more. `histogram` is that of the feature.
void look(const Measures& measures, const double* histogram, index_t stride, index_t count,
          bool categorical, int sign, const Sums& node, const Bounds& bounds, std::int32_t f,
          Cut& best);

}  // namespace kernelmill::histogram
