// Repulsion by groups: 16 points that lie together on Morton's curve share one list of what acts on
// them, so the sums run over 16 points at a time.
//
// The tree is an array in depth-first order. A node is a range of the sorted points with its mass,
// mean and the widest side of their box; `next` is the node after its descendants. A walk goes to
// next where the node counts as one point, else to what follows it.
#include "ops/layout.hpp"

#include <algorithm>  // std::max, std::min, std::upper_bound
#include <array>      // std::array
#include <bit>        // std::countl_zero
#include <cmath>      // std::floor
#include <limits>     // std::numeric_limits
#include <vector>     // std::vector

#include "core/error.hpp"     // invalid
#include "core/math.hpp"      // log1p
#include "core/parallel.hpp"  // parallel_for

namespace kernelmill::layout {

namespace {

constexpr int kLevels = 21;      // of the tree: 63 bits for three dimensions
constexpr index_t kLeaf = 8;     // most points of a leaf above the last level
constexpr int kGroup = 16;       // points that share a list
constexpr int kMostAxes = 3;     // of a tree
constexpr index_t kGrain = 16;   // groups a chunk
constexpr double kWidest = 256;  // widest box of a group

using Key = std::uint64_t;
using Point = std::array<double, kMostAxes>;

struct Node {
  Point mean;
  double side2;  // square of the widest side
  index_t begin, end;
  index_t next;
};

struct Tree {
  std::vector<Point> points;   // in the order of the curve
  std::vector<index_t> order;  // their rows
  std::vector<Node> nodes;
};

// Sorts by 11 bits at a time; equal keys keep their order.
void sort_by_key(std::vector<Key>& keys, std::vector<index_t>& order, int bits) {
  constexpr int kDigit = 11;
  std::vector<Key> other_keys(keys.size());
  std::vector<index_t> other(order.size());
  for (int shift = 0; shift < bits; shift += kDigit) {
    std::array<index_t, (1 << kDigit) + 1> starts{};
    constexpr Key mask = (Key{1} << kDigit) - 1;
    for (const Key key : keys) ++starts[((key >> shift) & mask) + 1];
    for (std::size_t digit = 1; digit < starts.size(); ++digit) starts[digit] += starts[digit - 1];
    for (std::size_t i = 0; i < keys.size(); ++i) {
      const auto to = static_cast<std::size_t>(starts[(keys[i] >> shift) & mask]++);
      other_keys[to] = keys[i];
      other[to] = order[i];
    }
    keys.swap(other_keys);
    order.swap(other);
  }
}

class Builder {
 public:
  Builder(Tree& tree, const std::vector<Key>& keys, int axes)
      : tree_(tree), keys_(keys), axes_(axes) {}

  // Adds the node of a range and its descendants; gives the box of its points.
  struct Box {
    Point low, high;
  };
  Box add(index_t begin, index_t end) {
    const auto at = tree_.nodes.size();
    tree_.nodes.push_back({{}, 0.0, begin, end, 0});
    const Key first = keys_[static_cast<std::size_t>(begin)];
    const Key last = keys_[static_cast<std::size_t>(end - 1)];
    Box box;
    Point sum{};
    if (end - begin <= kLeaf || first == last) {
      box.low.fill(std::numeric_limits<double>::infinity());
      box.high.fill(-std::numeric_limits<double>::infinity());
      for (index_t i = begin; i < end; ++i) {
        const Point& y = tree_.points[static_cast<std::size_t>(i)];
        for (std::size_t c = 0; c < kMostAxes; ++c) {
          sum[c] += y[c];
          box.low[c] = std::min(box.low[c], y[c]);
          box.high[c] = std::max(box.high[c], y[c]);
        }
      }
    } else {
      // The level at which the first and the last key part: all above it is common.
      const int bit = 63 - std::countl_zero(first ^ last);
      const int shift = bit / axes_ * axes_;
      bool any = false;
      for (index_t from = begin; from < end;) {
        const Key cell = keys_[static_cast<std::size_t>(from)] >> shift;
        const auto stop = std::upper_bound(keys_.begin() + from, keys_.begin() + end, cell,
                                           [&](Key c, Key key) { return c < (key >> shift); });
        const index_t to = stop - keys_.begin();
        const auto child = tree_.nodes.size();
        const Box part = add(from, to);
        for (std::size_t c = 0; c < kMostAxes; ++c) {
          sum[c] += tree_.nodes[child].mean[c] * static_cast<double>(to - from);
          box.low[c] = any ? std::min(box.low[c], part.low[c]) : part.low[c];
          box.high[c] = any ? std::max(box.high[c], part.high[c]) : part.high[c];
        }
        any = true;
        from = to;
      }
    }
    Node& node = tree_.nodes[at];
    double side = 0;
    for (std::size_t c = 0; c < kMostAxes; ++c) {
      node.mean[c] = sum[c] / static_cast<double>(end - begin);
      side = std::max(side, box.high[c] - box.low[c]);
    }
    node.side2 = side * side;
    node.next = static_cast<index_t>(tree_.nodes.size());
    return box;
  }

 private:
  Tree& tree_;
  const std::vector<Key>& keys_;
  int axes_;
};

// The bits of a cell, `axes` apart.
Key spread(Key cell, int axes) {
  if (axes == 1) return cell;
  Key out = 0;
  for (int bit = 0; bit < kLevels; ++bit) out |= ((cell >> bit) & 1) << (bit * axes);
  return out;
}

void check_finite(MatrixView<const double> y) {
  for (index_t i = 0; i < y.rows; ++i) {
    for (index_t c = 0; c < y.cols; ++c) {
      if (!(std::fabs(y(i, c)) <= 1e150)) {
        invalid("layout.repulsion", "Y must be finite and below 1e150, got ", y(i, c));
      }
    }
  }
}

Tree tree_of(MatrixView<const double> y) {
  const auto n = static_cast<std::size_t>(y.rows);
  const auto axes = static_cast<int>(y.cols);
  Tree tree;
  tree.order.resize(n);
  std::vector<Key> keys(n, 0);
  std::array<double, kMostAxes> low{}, scale{};
  for (int c = 0; c < axes; ++c) {
    double least = y(0, c), most = y(0, c);
    for (index_t i = 1; i < y.rows; ++i) {
      least = std::min(least, y(i, c));
      most = std::max(most, y(i, c));
    }
    low[static_cast<std::size_t>(c)] = least;
    scale[static_cast<std::size_t>(c)] = most - least;
  }
  // Cells are squares.
  const double widest = *std::max_element(scale.begin(), scale.end());
  constexpr double cells = 1 << kLevels;
  // Spreading a cell's bits one by one is slow: by bytes of a table.
  std::array<Key, 1 << 7> table;
  for (Key byte = 0; byte < table.size(); ++byte) table[byte] = spread(byte, axes);
  for (std::size_t i = 0; i < n; ++i) {
    tree.order[i] = static_cast<index_t>(i);
    for (int c = 0; c < axes; ++c) {
      const double share =
          widest > 0
              ? (y(static_cast<index_t>(i), c) - low[static_cast<std::size_t>(c)]) / widest * cells
              : 0.0;
      const Key cell = static_cast<Key>(std::min(share, cells - 1));
      const Key bits = table[cell & 127] | table[(cell >> 7) & 127] << (7 * axes) |
                       table[cell >> 14] << (14 * axes);
      keys[i] |= bits << c;
    }
  }
  sort_by_key(keys, tree.order, kLevels * axes);
  tree.points.resize(n);
  for (std::size_t i = 0; i < n; ++i) {
    Point& point = tree.points[i];
    point.fill(0.0);
    for (int c = 0; c < axes; ++c) point[static_cast<std::size_t>(c)] = y(tree.order[i], c);
  }
  tree.nodes.reserve(n / 2 + 1);
  Builder(tree, keys, axes).add(0, y.rows);
  return tree;
}

// What acts on a group: places relative to the group, and masses.
struct List {
  std::array<std::vector<float>, kMostAxes> at;
  std::vector<float> mass;
  void clear() {
    for (auto& axis : at) axis.clear();
    mass.clear();
  }
  void add(const Point& place, const Point& middle, double m) {
    for (std::size_t c = 0; c < kMostAxes; ++c) {
      at[c].push_back(static_cast<float>(place[c] - middle[c]));
    }
    mass.push_back(static_cast<float>(m));
  }
};

// 64 bytes of numbers, whatever the width of the machine.
using Floats [[gnu::vector_size(64)]] = float;
using Doubles [[gnu::vector_size(64)]] = double;

template <int axes>
void act(const List& list, const std::array<Floats, kMostAxes>& y,
         std::array<Floats, kMostAxes>& force, Floats& weight) {
  std::array<Floats, axes> f{};
  Floats z{};
  for (std::size_t j = 0; j < list.mass.size(); ++j) {
    std::array<Floats, axes> t;
    Floats d2 = Floats{} + 1.0f;
    for (std::size_t c = 0; c < axes; ++c) {
      t[c] = y[c] - list.at[c][j];
      d2 += t[c] * t[c];
    }
    const Floats w = 1.0f / d2;
    const Floats wm = w * list.mass[j];
    z += wm;
    for (std::size_t c = 0; c < axes; ++c) f[c] += wm * w * t[c];
  }
  for (std::size_t c = 0; c < axes; ++c) force[c] = f[c];
  weight = z;
}

void by_groups(MatrixView<const double> y, double theta, MatrixView<double> force,
               std::span<double> weight) {
  const Tree tree = tree_of(y);
  const index_t n = y.rows;
  const auto axes = static_cast<std::size_t>(y.cols);
  // Below 1 / axes no box that holds a point of the group counts as one point.
  const double ratio = std::min(theta * theta, 0.999 / static_cast<double>(axes));
  const index_t groups = chunk_count(n, kGroup);
  parallel_for(groups, kGrain, [&](index_t, index_t first, index_t last) {
    List list;
    const auto move = [&](index_t begin, index_t end, const auto& alone) -> void {
      Point low = tree.points[static_cast<std::size_t>(begin)], high = low, middle{};
      for (index_t i = begin + 1; i < end; ++i) {
        const Point& p = tree.points[static_cast<std::size_t>(i)];
        for (std::size_t c = 0; c < kMostAxes; ++c) {
          low[c] = std::min(low[c], p[c]);
          high[c] = std::max(high[c], p[c]);
        }
      }
      double side = 0;
      for (std::size_t c = 0; c < kMostAxes; ++c) {
        middle[c] = low[c] + (high[c] - low[c]) / 2;
        side = std::max(side, high[c] - low[c]);
      }
      if (side > kWidest) {  // float32 would lose what is small within it
        for (index_t i = begin; i < end; ++i) alone(i, i + 1, alone);
        return;
      }
      list.clear();
      const auto count = static_cast<index_t>(tree.nodes.size());
      for (index_t at = 0; at < count;) {
        const Node& node = tree.nodes[static_cast<std::size_t>(at)];
        double gap2 = 0;
        for (std::size_t c = 0; c < kMostAxes; ++c) {
          const double gap = std::max({low[c] - node.mean[c], node.mean[c] - high[c], 0.0});
          gap2 += gap * gap;
        }
        if (node.side2 < ratio * gap2) {
          list.add(node.mean, middle, static_cast<double>(node.end - node.begin));
          at = node.next;
          continue;
        }
        if (node.next == at + 1) {  // a leaf
          for (index_t i = node.begin; i < node.end; ++i) {
            list.add(tree.points[static_cast<std::size_t>(i)], middle, 1.0);
          }
        }
        ++at;
      }
      std::array<Floats, kMostAxes> place{}, f{};
      Floats z{};
      for (index_t i = begin; i < end; ++i) {
        const Point& p = tree.points[static_cast<std::size_t>(i)];
        for (std::size_t c = 0; c < axes; ++c) {
          place[c][i - begin] = static_cast<float>(p[c] - middle[c]);
        }
      }
      if (axes == 1) {
        act<1>(list, place, f, z);
      } else if (axes == 2) {
        act<2>(list, place, f, z);
      } else {
        act<3>(list, place, f, z);
      }
      for (index_t i = begin; i < end; ++i) {
        const index_t row = tree.order[static_cast<std::size_t>(i)];
        for (std::size_t c = 0; c < axes; ++c) {
          force(row, static_cast<index_t>(c)) = static_cast<double>(f[c][i - begin]);
        }
        // The point itself has weight 1.
        weight[static_cast<std::size_t>(row)] =
            std::max(0.0, static_cast<double>(z[i - begin]) - 1.0);
      }
    };
    for (index_t g = first; g < last; ++g) {
      move(g * kGroup, std::min(n, (g + 1) * kGroup), move);
    }
  });
}

// All pairs in float64, 8 points at a time, whatever the number of axes.
void by_pairs(MatrixView<const double> y, MatrixView<double> force, std::span<double> weight) {
  constexpr index_t lanes = 8;
  const index_t n = y.rows;
  const auto axes = static_cast<std::size_t>(y.cols);
  std::vector<double> packed(static_cast<std::size_t>(n) * axes);
  for (index_t i = 0; i < n; ++i) {
    for (std::size_t c = 0; c < axes; ++c) {
      packed[static_cast<std::size_t>(i) * axes + c] = y(i, static_cast<index_t>(c));
    }
  }
  parallel_for(chunk_count(n, lanes), 4, [&](index_t, index_t first, index_t last) {
    std::vector<Doubles> at(axes), f(axes), t(axes);
    for (index_t g = first; g < last; ++g) {
      const index_t begin = g * lanes, end = std::min(n, begin + lanes);
      for (std::size_t c = 0; c < axes; ++c) {
        at[c] = f[c] = Doubles{};
        for (index_t i = begin; i < end; ++i) at[c][i - begin] = y(i, static_cast<index_t>(c));
      }
      Doubles z{};
      if (axes == 2) {  // in registers
        const Doubles y0 = at[0], y1 = at[1];
        Doubles f0{}, f1{};
        const double* p = packed.data();
        for (index_t j = 0; j < n; ++j, p += 2) {
          const Doubles t0 = y0 - p[0], t1 = y1 - p[1];
          const Doubles w = 1.0 / (1.0 + (t0 * t0 + t1 * t1));
          z += w;
          f0 += w * w * t0;
          f1 += w * w * t1;
        }
        f[0] = f0;
        f[1] = f1;
      } else {
        const double* p = packed.data();
        for (index_t j = 0; j < n; ++j, p += axes) {
          Doubles d2{};
          for (std::size_t c = 0; c < axes; ++c) {
            t[c] = at[c] - p[c];
            d2 += t[c] * t[c];
          }
          const Doubles w = 1.0 / (1.0 + d2);
          z += w;
          for (std::size_t c = 0; c < axes; ++c) f[c] += w * w * t[c];
        }
      }
      for (index_t i = begin; i < end; ++i) {
        for (std::size_t c = 0; c < axes; ++c) {
          force(i, static_cast<index_t>(c)) = f[c][i - begin];
        }
        weight[static_cast<std::size_t>(i)] = std::max(0.0, z[i - begin] - 1.0);
      }
    }
  });
}

}  // namespace

void repulsion(MatrixView<const double> y, double theta, MatrixView<double> force,
               std::span<double> weight) {
  if (!(theta >= 0 && theta <= 1)) {
    invalid("layout.repulsion", "theta must be in [0, 1], got ", theta);
  }
  if (theta > 0 && y.cols > kMostAxes) {
    invalid("layout.repulsion", "Y must have at most 3 columns if theta is above 0, got ", y.cols);
  }
  check_finite(y);
  if (y.rows == 0) return;
  if (theta > 0) {
    by_groups(y, theta, force, weight);
  } else {
    by_pairs(y, force, weight);
  }
}

void attraction(MatrixView<const double> y, const Graph& graph, std::span<const double> values,
                bool divergence, MatrixView<double> force, std::span<double> cross) {
  const index_t n = y.rows;
  const index_t axes = y.cols;
  std::vector<double> columns(static_cast<std::size_t>(n * axes));
  for (index_t c = 0; c < axes; ++c) {
    for (index_t i = 0; i < n; ++i) columns[static_cast<std::size_t>(c * n + i)] = y(i, c);
  }
  parallel_for(n, 128, [&](index_t, index_t first, index_t last) {
    std::vector<double> d2, pull;
    for (index_t i = first; i < last; ++i) {
      const index_t begin = graph.offsets[static_cast<std::size_t>(i)];
      const index_t count = graph.offsets[static_cast<std::size_t>(i) + 1] - begin;
      const std::int32_t* near = graph.indices.data() + begin;
      const double* p = values.data() + begin;
      double sum = 0;
      if (axes == 2 && !divergence) {  // the usual case in one pass
        const double *x0 = columns.data(), *x1 = x0 + n;
        const double y0 = x0[i], y1 = x1[i];
        double f0 = 0, f1 = 0;
#pragma omp simd reduction(+ : f0, f1)
        for (index_t e = 0; e < count; ++e) {
          const double t0 = y0 - x0[near[e]], t1 = y1 - x1[near[e]];
          const double g = p[e] / (1.0 + (t0 * t0 + t1 * t1));
          f0 += g * t0;
          f1 += g * t1;
        }
        force(i, 0) = f0;
        force(i, 1) = f1;
        cross[static_cast<std::size_t>(i)] = 0;
        continue;
      }
      d2.assign(static_cast<std::size_t>(count), 0.0);
      pull.resize(static_cast<std::size_t>(count));
      double *square = d2.data(), *g = pull.data();
      for (index_t c = 0; c < axes; ++c) {
        const double* x = columns.data() + c * n;
        for (index_t e = 0; e < count; ++e) {
          const double t = x[i] - x[near[e]];
          square[e] += t * t;
        }
      }
      if (divergence) {
#pragma omp simd reduction(+ : sum)
        for (index_t e = 0; e < count; ++e) sum += p[e] * kernelmill::log1p(square[e]);
      }
      cross[static_cast<std::size_t>(i)] = sum;
      for (index_t e = 0; e < count; ++e) g[e] = p[e] / (1.0 + square[e]);
      for (index_t c = 0; c < axes; ++c) {
        const double* x = columns.data() + c * n;
        double f = 0;
#pragma omp simd reduction(+ : f)
        for (index_t e = 0; e < count; ++e) f += g[e] * (x[i] - x[near[e]]);
        force(i, c) = f;
      }
    }
  });
}

}  // namespace kernelmill::layout
