// Shapley values of features along the paths of trees.
//
// On the way to a leaf each feature i that is split has a share z of the cover that goes the leaf's
// way at its splits, and an indicator o of whether the row does. The worth of a set S of features
// is the sum over leaves of their value times prod_{i in S} o_i prod_{i not in S} z_i, so with m
// features on the path, phi_i gains value (o_i - z_i) sum_k k! (m - 1 - k)! / m! q_k, where q_k are
// the coefficients of prod_{j != i} (z_j + o_j t). As
//
//   k! (m - 1 - k)! / m! = integral over t in [0, 1] of t^k (1 - t)^(m - 1 - k),
//
// the sum is the integral of prod_{j != i} f_j(t) with f_j(t) = z_j (1 - t) + o_j t. This is a
// polynomial of degree m - 1, so Gauss's rule of ceil(m / 2) points t_q gives it exactly, and all
// of its terms are positive: nothing cancels. At each point P = prod f_j is carried down a path,
// and V = sum over leaves of value P is carried up, so that an edge of feature i adds
//
//   sum_q w_q V(t_q) (o_i - z_i) / f_i(t_q)
//
// to phi_i for all leaves below it at once, and takes back what the edge of i above it has added
// for them. O(nodes depth / 2) a row and tree, where a path at a time needs O(leaves depth^2).
// (Sums carried up as in Yu et al., 2022, "Linear TreeShap".)
#include <algorithm>  // std::max, std::fill_n
#include <cmath>      // std::cos
#include <numbers>    // pi
#include <vector>     // std::vector

#include "core/parallel.hpp"   // parallel_for, check_interrupt
#include "core/workspace.hpp"  // Workspace
#include "ops/tree.hpp"
#include "ops/tree_forest.hpp"

namespace kernelmill::tree {
namespace {

constexpr index_t kLanes = 8;         // rows at a time
constexpr double kLeast = 0x1p-1000;  // shares are above 0

// Points and weights of Gauss and Legendre in [0, 1], by Newton's method.
void gauss(index_t n, double* points, double* weights) {
  for (index_t i = 0; i < n; ++i) {
    double x = std::cos(std::numbers::pi * (static_cast<double>(i) + 0.75) /
                        (static_cast<double>(n) + 0.5));
    double slope = 1;
    for (int step = 0; step < 8; ++step) {
      double before = 0, own = 1;  // Legendre polynomials at x
      for (index_t k = 0; k < n; ++k) {
        const auto j = static_cast<double>(k);
        const double next = ((2 * j + 1) * x * own - j * before) / (j + 1);
        before = own;
        own = next;
      }
      slope = static_cast<double>(n) * (x * own - before) / (x * x - 1);
      x -= own / slope;
    }
    points[i] = (1 - x) / 2;
    weights[i] = 1 / ((1 - x * x) * slope * slope);
  }
}

// What the edge to a node, from its parent, adds.
struct Edge {
  std::int32_t parent = 0, feature = -1, depth = 0;
  std::int32_t above = 0;  // depth of the edge of the same feature above it; 0: none
  double share = 1;        // of all edges of the feature so far
  bool second = false;     // to the right child
};

// A tree with its rule of integration.
struct Plan {
  const Node* nodes;
  index_t size, depth = 0, points = 0;
  std::vector<Edge> edges{};           // by node
  std::vector<std::int32_t> steps{};   // down to node v, or up from node ~v
  std::vector<double> at{}, weight{};  // of points
  std::vector<double> off{}, on{};     // 1 / f by node and point, with o = 0 and with o = 1
  std::vector<double> base{};          // expected values
};

Plan plan_of(const char* op, const Forest& forest, index_t t, const double* cover,
             const double* values, index_t width) {
  Plan plan{forest.tree(t), forest.size(t)};
  plan.edges.resize(static_cast<std::size_t>(plan.size));
  plan.base.assign(static_cast<std::size_t>(width), 0.0);
  struct Due {
    index_t node, features;
    double mass;
    bool up;
  };
  std::vector<Due> due{{0, 0, 1.0, false}};
  std::vector<index_t> path;  // nodes from the root on
  index_t most = 1;
  while (!due.empty()) {
    const Due own = due.back();
    due.pop_back();
    const auto number = static_cast<std::int32_t>(own.node);
    if (own.up) {
      plan.steps.push_back(~number);
      continue;
    }
    const Node& node = plan.nodes[own.node];
    const auto depth = static_cast<index_t>(plan.edges[static_cast<std::size_t>(own.node)].depth);
    // A node that two parents share would be passed more than once.
    if (std::ssize(plan.steps) > 2 * plan.size || !forest.fits(node, own.node, plan.size)) {
      refuse_nodes(op);
    }
    if (depth > 0) {
      plan.steps.push_back(number);
      due.push_back({own.node, 0, 0, true});
    }
    path.resize(static_cast<std::size_t>(depth));
    path.push_back(own.node);
    plan.depth = std::max(plan.depth, depth);
    most = std::max(most, own.features);
    if (node.feature < 0) {
      for (index_t s = 0; s < width; ++s) {
        plan.base[static_cast<std::size_t>(s)] += own.mass * values[node.right * width + s];
      }
      continue;
    }
    Edge edge{number, node.feature & kFeature, static_cast<std::int32_t>(depth + 1)};
    double share = 1;
    for (auto at = static_cast<std::size_t>(depth); at > 0 && edge.above == 0; --at) {
      const Edge& other = plan.edges[static_cast<std::size_t>(path[at])];
      if (other.feature != edge.feature) continue;
      edge.above = static_cast<std::int32_t>(at);
      share = other.share;
    }
    const double left = cover[own.node + 1], all = left + cover[node.right];
    for (const bool second : {true, false}) {
      const index_t child = second ? node.right : own.node + 1;
      const double part = (second ? cover[child] : left) / all;
      edge.second = second;
      edge.share = std::max(kLeast, share * part);
      plan.edges[static_cast<std::size_t>(child)] = edge;
      due.push_back({child, own.features + (edge.above == 0), own.mass * part, false});
    }
  }
  plan.points = (most + 1) / 2;
  plan.at.resize(static_cast<std::size_t>(plan.points));
  plan.weight = plan.at;
  gauss(plan.points, plan.at.data(), plan.weight.data());
  for (const Edge& edge : plan.edges) {
    for (const double point : plan.at) {
      plan.off.push_back(1 / (edge.share * (1 - point)));
      plan.on.push_back(1 / (edge.share * (1 - point) + point));
    }
  }
  return plan;
}

// Some rows, at most kLanes, through a tree.
class Walk {
 public:
  Walk(const Plan& plan, const Forest& forest, const double* values, index_t width, index_t d)
      : p_(plan),
        sides_(forest.sides),
        values_(values),
        width_(width),
        d_(d),
        size_(plan.points * kLanes),
        room_(static_cast<std::size_t>((plan.depth + 1) * level())),
        path_(static_cast<std::size_t>(plan.depth + 1)) {}

  // x: [d, kLanes]; phi: [width, d + 1, kLanes].
  void run(const double* x, double* phi) {
    std::fill_n(product(0), size_, 1.0);
    for (const std::int32_t step : p_.steps) {
      if (step >= 0) {
        down(step, x);
      } else {
        up(~step, phi);
      }
    }
  }

 private:
  index_t level() const { return kLanes + size_ * (1 + width_); }
  double* follows(index_t depth) { return room_.data() + depth * level(); }  // o
  double* product(index_t depth) { return follows(depth) + kLanes; }
  double* sums(index_t depth) { return product(depth) + size_; }
  const double* off(index_t v) const { return p_.off.data() + v * p_.points; }
  const double* on(index_t v) const { return p_.on.data() + v * p_.points; }
  const Edge& edge(index_t v) const { return p_.edges[static_cast<std::size_t>(v)]; }

  void down(index_t v, const double* x) {
    const Edge& own = edge(v);
    const Node& parent = p_.nodes[own.parent];
    double *const o = follows(own.depth), *const to = product(own.depth);
    const double *const from = product(own.depth - 1), *const before = follows(own.above);
    path_[static_cast<std::size_t>(own.depth)] = v;
    for (index_t l = 0; l < kLanes; ++l) {
      const bool left = goes_left(parent, x[own.feature * kLanes + l], sides_);
      o[l] = left != own.second ? (own.above == 0 ? 1.0 : before[l]) : 0.0;
    }
    for (index_t q = 0; q < p_.points; ++q) {
      const double t = p_.at[static_cast<std::size_t>(q)], z = own.share * (1 - t);
      for (index_t l = 0; l < kLanes; ++l) {
        to[q * kLanes + l] = from[q * kLanes + l] * (z + o[l] * t);
      }
    }
    if (own.above != 0) {  // in place of the factor of the feature so far
      const index_t u = path_[static_cast<std::size_t>(own.above)];
      for (index_t q = 0; q < p_.points; ++q) {
        for (index_t l = 0; l < kLanes; ++l) {
          to[q * kLanes + l] *= before[l] > 0 ? on(u)[q] : off(u)[q];
        }
      }
    }
    const Node& node = p_.nodes[v];
    for (index_t s = 0; node.feature < 0 && s < width_; ++s) {
      const double value = values_[node.right * width_ + s];
      for (index_t i = 0; i < size_; ++i) sums(own.depth)[s * size_ + i] = value * to[i];
    }
  }

  void up(index_t v, double* phi) {
    const Edge& own = edge(v);
    const double *const o = follows(own.depth), *const before = follows(own.above);
    for (index_t s = 0; s < width_; ++s) {
      double* const to = phi + (s * (d_ + 1) + own.feature) * kLanes;
      const double* const sum = sums(own.depth) + s * size_;
      add(sum, v, o, 1.0, to);
      if (own.above != 0) add(sum, path_[static_cast<std::size_t>(own.above)], before, -1.0, to);
    }
    double* const above = sums(own.depth - 1);
    const double* const mine = sums(own.depth);
    // The left child comes first.
    for (index_t i = 0; i < width_ * size_; ++i)
      above[i] = own.second ? above[i] + mine[i] : mine[i];
  }

  // phi += sign (o - z) integral of sum / f for the edge to node v.
  void add(const double* sum, index_t v, const double* o, double sign, double* phi) const {
    double total[kLanes] = {};
    for (index_t q = 0; q < p_.points; ++q) {
      const double w = p_.weight[static_cast<std::size_t>(q)];
      const double with = w * on(v)[q], without = w * off(v)[q];
      for (index_t l = 0; l < kLanes; ++l) {
        total[l] += sum[q * kLanes + l] * (o[l] > 0 ? with : without);
      }
    }
    for (index_t l = 0; l < kLanes; ++l) phi[l] += sign * (o[l] - edge(v).share) * total[l];
  }

  const Plan& p_;
  Sides sides_;
  const double* values_;
  index_t width_, d_, size_;
  Workspace<double> room_;
  std::vector<index_t> path_;  // the node at each depth
};

}  // namespace

template <class T>
void contributions(MatrixView<const T> X, std::span<const index_t> nodes,
                   std::span<const index_t> roots, Sides sides, std::span<const double> cover,
                   MatrixView<const double> values, std::span<const double> start,
                   CubeView<double> phi) {
  const char* const op = "tree.contributions";
  const index_t d = X.cols, k = std::ssize(start), width = values.cols;
  const Forest forest(op, nodes, roots, sides, d, values.rows);
  if (width == 0 || k % width != 0 || k == 0) {
    invalid(op, "start must have a multiple of the columns of values, got ", k, " and ", width);
  }
  const index_t groups = k / width, stride = k * (d + 1);
  std::vector<double> base(start.begin(), start.end());
  std::fill_n(phi.data, X.rows * stride, 0.0);
  // Trees one after another: the tables of one are enough to keep.
  for (index_t t = 0; t < forest.trees(); ++t) {
    const Plan plan = plan_of(op, forest, t, cover.data() + roots[static_cast<std::size_t>(t)],
                              values.data, width);
    const index_t first = t % groups * width;  // scores
    for (index_t s = 0; s < width; ++s) {
      base[static_cast<std::size_t>(first + s)] += plan.base[static_cast<std::size_t>(s)];
    }
    check_interrupt();
    parallel_for((X.rows + kLanes - 1) / kLanes, 4, [&](index_t, index_t begin, index_t end) {
      Walk walk(plan, forest, values.data, width, d);
      Workspace<double> memory(static_cast<std::size_t>((d + width * (d + 1)) * kLanes));
      double *const x = memory.data(), *const sums = x + d * kLanes;
      for (index_t block = begin; block < end; ++block) {
        const index_t row = block * kLanes, rows = std::min(kLanes, X.rows - row);
        for (index_t l = 0; l < kLanes; ++l) {
          for (index_t f = 0; f < d; ++f) {
            x[f * kLanes + l] = static_cast<double>(X(row + std::min(l, rows - 1), f));
          }
        }
        std::fill_n(sums, width * (d + 1) * kLanes, 0.0);
        walk.run(x, sums);
        for (index_t l = 0; l < rows; ++l) {
          double* const to = phi.data + (row + l) * stride + first * (d + 1);
          for (index_t i = 0; i < width * (d + 1); ++i) to[i] += sums[i * kLanes + l];
        }
      }
    });
  }
  for (index_t i = 0; i < X.rows; ++i) {
    for (index_t c = 0; c < k; ++c) {
      phi.data[i * stride + c * (d + 1) + d] = base[static_cast<std::size_t>(c)];
    }
  }
}

#define KERNELMILL_CONTRIBUTIONS(T)                                                        \
  template void contributions<T>(MatrixView<const T>, std::span<const index_t>,            \
                                 std::span<const index_t>, Sides, std::span<const double>, \
                                 MatrixView<const double>, std::span<const double>,        \
                                 CubeView<double>);
KERNELMILL_CONTRIBUTIONS(float)
KERNELMILL_CONTRIBUTIONS(double)

}  // namespace kernelmill::tree
