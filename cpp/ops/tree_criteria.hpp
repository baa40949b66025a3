// Criteria: what a walk along the entries of a feature keeps of the rows that it has put left.
//
//   begin(node)   a node; each walk over one of its features then starts with clear()
//   add(p)        position p goes left
//   gain()        decrease of weighted impurity, times outputs, of left against the rest
//   side(right)   the value of a side, for monotonic constraints (one output)
//   left_mass()   weight on the left
//
// With W = wl + wr the weight of a node, sums s of what goes left, and T of the node:
//
//   squared error   sum_l w (y - mean_l)^2 + ... = Q - s^2 / wl - (T - s)^2 / wr, so the gain is
//                   s^2 / wl + (T - s)^2 / wr - T^2 / W = (s W - T wl)^2 / (W wl wr),
//                   which has no cancellation where y is taken about the node's mean (T = 0)
//   Gini            sum_k s_k^2 / wl + (T_k - s_k)^2 / wr - T_k^2 / W over the weights s_k of
//                   classes; of two classes twice the gain of squared error. Sums of rows without
//                   weights are whole numbers, so that equal splits have equal gains
//   entropy         with h(x) = x log x: sum_k h(s_k) + h(T_k - s_k) - h(T_k), minus the same of
//                   the weights
//   Poisson         half the deviance is sum w (y log y - y) - s log(s / wl) + ..., so the gain is
//                   s log(s / wl) + (T - s) log((T - s) / wr) - T log(T / W); a child's mean is
//                   1 + x times the node's, and h(x) = (1 + x) log(1 + x) - x >= 0, so this is
//                   T / W (wl h(xl) + wr h(xr)), whose terms do not cancel
//   quantile        pinball losses about the quantile of each side, which come from running sums in
//                   a Fenwick tree over the ranks of y; a walk asks for costs computed beforehand
#pragma once

#include <algorithm>    // std::sort, std::fill_n
#include <cmath>        // std::log
#include <limits>       // infinity
#include <type_traits>  // std::conditional_t
#include <vector>       // sums

#include "core/workspace.hpp"  // Workspace
#include "ops/tree_measure.hpp"

namespace kernelmill::tree {

constexpr double kNoGain = -std::numeric_limits<double>::infinity();
constexpr double kLog2 = 0.6931471805599453;

// Sums of one or several outputs: squared error, Poisson deviance, and Gini of two classes, whose y
// is the number of the class.
template <bool One, bool Weighted>
class Sums {
 public:
  explicit Sums(const Targets& targets)
      : t_(targets),
        y_(targets.y.data),
        w_(targets.weight.data()),
        outputs_(One ? 1 : targets.y.cols) {
    poisson_ = targets.criterion == kPoisson;
    classes_ = !targets.classes.empty();
    center_.resize(static_cast<std::size_t>(outputs_));
    total_ = sum_ = center_;
    if (poisson_) positive_.resize(center_.size());
    all_positive_ = positive_;
  }
  void begin(const NodeView& node) {
    mass_ = node.mass;
    for (index_t k = 0; k < outputs_; ++k) {
      const auto at = static_cast<std::size_t>(k);
      // The value of two classes is their weights. The sum about a mean is 0 but for rounding of
      // the mean, which would make gains of one partition differ by feature.
      center_[at] = classes_ ? 0.0 : node.value[k];
      total_[at] = classes_ ? node.value[1] : 0.0;
      for (index_t p = node.start; p < node.stop && !classes_; ++p) {
        total_[at] += t_.w(p) * (t_.y(p, k) - center_[at]);
      }
      if (!poisson_) continue;
      all_positive_[at] = 0;
      for (index_t p = node.start; p < node.stop; ++p) all_positive_[at] += t_.y(p, k) > 0;
    }
    one_center_ = center_[0];
    one_total_ = total_[0];
  }
  void clear() {
    left_ = one_sum_ = 0;
    if constexpr (!One) std::fill_n(sum_.data(), outputs_, 0.0);
    std::fill(positive_.begin(), positive_.end(), 0);
  }
  void add(index_t p) {
    const double w = One ? (Weighted ? w_[p] : 1.0) : t_.w(p);
    left_ += w;
    if constexpr (One) {
      one_sum_ += Weighted ? w * (y_[p] - one_center_) : y_[p] - one_center_;
    } else {
      for (index_t k = 0; k < outputs_; ++k) {
        const auto at = static_cast<std::size_t>(k);
        sum_[at] += w * (y_[p * outputs_ + k] - center_[at]);
      }
    }
    for (std::size_t k = 0; k < positive_.size(); ++k) {
      positive_[k] += y_[p * outputs_ + static_cast<index_t>(k)] > 0;
    }
  }
  double left_mass() const { return left_; }
  double mass() const { return mass_; }
  double gain() const {
    const double right = mass_ - left_;
    const double scale = (classes_ ? 2.0 : 1.0) / (mass_ * left_ * right);
    double total = 0;
    for (index_t k = 0; k < outputs_; ++k) {
      const double s = sum(k), t = One ? one_total_ : total_[static_cast<std::size_t>(k)];
      const double d = s * mass_ - t * left_;
      if (poisson_) {
        const auto at = static_cast<std::size_t>(k);
        if (positive_[at] == 0 || positive_[at] == all_positive_[at]) return kNoGain;
        const double whole = t + center_[at] * mass_;
        total += whole / mass_ *
                 (left_ * excess(d / (whole * left_)) + right * excess(-d / (whole * right)));
      } else {
        total += d * d * scale;
      }
    }
    return total;
  }
  double side(bool right) const {
    const double s = right ? one_total_ - sum(0) : sum(0);
    return one_center_ + s / (right ? mass_ - left_ : left_);
  }

 private:
  // (1 + x) log(1 + x) - x, the deviance of a mean that is 1 + x times another: no term cancels.
  static double excess(double x) {
    if (x <= -1) return 1;  // a mean that is nothing beside the other
    if (std::fabs(x) > 0x1p-6) return (1 + x) * std::log1p(x) - x;
    double series = 0;
    for (int k = 9; k >= 2; --k) series = 1.0 / (k * (k - 1)) - x * series;
    return x * x * series;
  }
  double sum(index_t k) const { return One ? one_sum_ : sum_[static_cast<std::size_t>(k)]; }

  Targets t_;
  const double *y_, *w_;
  index_t outputs_;
  std::vector<index_t> positive_, all_positive_;  // rows of positive y, on the left and in all
  bool poisson_, classes_;
  double mass_ = 0, left_ = 0, one_center_ = 0, one_total_ = 0, one_sum_ = 0;
  std::vector<double> center_, total_, sum_;
};

// Weights of classes: Gini and entropy of any number of classes and outputs.
class Classes {
 public:
  explicit Classes(const Targets& targets) : t_(targets) {
    for (const index_t c : targets.classes) width_ += c;
    left_of_.resize(static_cast<std::size_t>(width_));
  }
  void begin(const NodeView& node) {
    total_ = node.value;
    mass_ = node.mass;
    index_t first = 0;
    whole_ = 0;
    for (const index_t c : t_.classes) {
      whole_ += purity(mass_, first, c, [](double, double of_node) { return of_node; });
      first += c;
    }
  }
  void clear() {
    left_ = 0;
    std::fill(left_of_.begin(), left_of_.end(), 0.0);
  }
  void add(index_t p) {
    const double w = t_.w(p);
    left_ += w;
    index_t first = 0;
    for (index_t k = 0; k < t_.y.cols; ++k) {
      left_of_[static_cast<std::size_t>(first + static_cast<index_t>(t_.y(p, k)))] += w;
      first += t_.classes[static_cast<std::size_t>(k)];
    }
  }
  double left_mass() const { return left_; }
  double mass() const { return mass_; }
  double gain() const {
    double total = -whole_;
    index_t first = 0;
    for (const index_t c : t_.classes) {
      total += purity(left_, first, c, [](double left, double) { return left; }) +
               purity(mass_ - left_, first, c, [](double left, double all) { return all - left; });
      first += c;
    }
    return total;
  }
  double side(bool right) const {
    return right ? (total_[1] - left_of_[1]) / (mass_ - left_) : left_of_[1] / left_;
  }

 private:
  static double xlogx(double x) { return x > 0 ? x * std::log(x) : 0.0; }
  // Minus the weighted impurity of the classes of one output, up to what all sides share.
  template <class Of>
  double purity(double mass, index_t first, index_t classes, Of of) const {
    double sum = 0;
    for (index_t c = first; c < first + classes; ++c) {
      const double x = of(left_of_[static_cast<std::size_t>(c)], total_[c]);
      sum += t_.criterion == kGini ? x * x : xlogx(x);
    }
    return t_.criterion == kGini ? sum / mass : (sum - xlogx(mass)) / kLog2;
  }

  Targets t_;
  index_t width_ = 0;
  const double* total_ = nullptr;
  double mass_ = 0, left_ = 0, whole_ = 0;
  std::vector<double> left_of_;
};

// One output and weights that are whole numbers: a row changes the sums over classes by a few
// operations, however many classes there are, and without rounding for Gini.
template <bool gini>
class Tallies {
 public:
  explicit Tallies(const Targets& targets)
      : y_(targets.y.data),
        w_(targets.weight.empty() ? nullptr : targets.weight.data()),
        h_(targets.xlogx),
        bagged_(targets.bagged),
        all_(static_cast<std::size_t>(targets.classes[0])),
        left_of_(all_.size()) {}
  void begin(const NodeView& node) {
    mass_ = static_cast<index_t>(node.mass);
    whole_ = 0;
    for (std::size_t c = 0; c < all_.size(); ++c) {
      all_[c] = static_cast<index_t>(node.value[c]);
      whole_ += of(all_[c]);
    }
  }
  void clear() {
    left_ = 0;
    sum_left_ = 0;
    sum_right_ = whole_;
    std::fill(left_of_.begin(), left_of_.end(), index_t{0});
  }
  void add(index_t p) {
    const auto c = static_cast<std::size_t>(y_[p]);
    const index_t w = w_ == nullptr ? 1 : static_cast<index_t>(w_[p]);
    const index_t l = left_of_[c], r = all_[c] - l;
    sum_left_ += of(l + w) - of(l);
    sum_right_ += of(r - w) - of(r);
    left_of_[c] = l + w;
    left_ += w;
  }
  double left_mass() const { return static_cast<double>(left_); }
  double mass() const { return static_cast<double>(mass_); }
  double gain() const {
    const index_t right = mass_ - left_;
    if constexpr (gini) {
      return static_cast<double>(sum_left_) / static_cast<double>(left_) +
             static_cast<double>(sum_right_) / static_cast<double>(right) -
             static_cast<double>(whole_) / static_cast<double>(mass_);
    } else {
      return (sum_left_ - of(left_) + sum_right_ - of(right) - whole_ + of(mass_)) / kLog2;
    }
  }
  double side(bool right) const {
    return right ? static_cast<double>(all_[1] - left_of_[1]) / static_cast<double>(mass_ - left_)
                 : static_cast<double>(left_of_[1]) / static_cast<double>(left_);
  }

  // The best cut of a sequence without missing values and monotonic constraints, for Gini: what
  // `add` and `gain` give for each, but gains are a loop of their own, which the compiler turns
  // into vectors. Sums are whole numbers below 2^53, so doubles hold them.
  void all_cuts(const Sequence& q, index_t least, Cut& best)
    requires gini
  {
    const index_t n = q.n;
    if (room_for_ < n) {
      room_ = Workspace<double>(static_cast<std::size_t>(4 * n));
      room_for_ = n;
    }
    double *const own = room_.data(), *const other = own + n, *const left = other + n,
                  *const gains = left + n;
    all_double_.assign(all_.begin(), all_.end());
    in_.assign(all_.size(), 0.0);
    const double whole = static_cast<double>(whole_), mass = static_cast<double>(mass_);
    double a = 0, b = whole, sum = 0;
    for (index_t i = 0; i < n; ++i) {
      const index_t p = q.entries[i] & kPosition;
      const auto c = static_cast<std::size_t>(y_[p]);
      const double w = w_ == nullptr ? 1.0 : w_[p], l = in_[c];
      a += w * (2 * l + w);
      b -= w * (2 * (all_double_[c] - l) - w);
      sum += w;
      in_[c] = l + w;
      own[i] = a;
      other[i] = b;
      left[i] = sum;
    }
    const double before = whole / mass;
    for (index_t i = 0; i + 1 < n; ++i) {
      const double gain = own[i] / left[i] + other[i] / (mass - left[i]) - before;
      const bool fits = (q.entries[i + 1] < 0) & (i + 1 >= least) & (n - i - 1 >= least);
      gains[i] = fits ? gain : kNoGain;
    }
    for (index_t i = 0; i + 1 < n; ++i) {
      if (gains[i] > best.gain + q.slack)
        best = {gains[i], i + 1,
                larger(bagged_, static_cast<double>(i + 1), static_cast<double>(n), left[i], mass)};
    }
  }

 private:
  using Number = std::conditional_t<gini, index_t, double>;
  Number of(index_t x) const {
    if constexpr (gini) {
      return x * x;
    } else {
      return h_[x];
    }
  }

  const double *y_, *w_, *h_;
  bool bagged_;
  index_t mass_ = 0, left_ = 0;
  Number whole_ = 0, sum_left_ = 0, sum_right_ = 0;
  std::vector<index_t> all_, left_of_;
  std::vector<double> all_double_, in_;
  Workspace<double> room_;
  index_t room_for_ = 0;
};

// Running sums by rank.
class Fenwick {
 public:
  void reset(index_t n) {
    top_ = 1;
    while (top_ * 2 <= n) top_ *= 2;
    n_ = n;
    w_.assign(static_cast<std::size_t>(n + 1), 0.0);
    s_ = w_;
    mass_ = sum_ = 0;
  }
  void add(index_t rank, double w, double wy) {
    mass_ += w;
    sum_ += wy;
    for (index_t i = rank + 1; i <= n_; i += i & -i) {
      w_[static_cast<std::size_t>(i)] += w;
      s_[static_cast<std::size_t>(i)] += wy;
    }
  }
  struct Prefix {
    index_t ranks;  // how many ranks lie below
    double w, sum;  // their sums
  };
  // The longest prefix whose weight is below `target`, or at most that with `equal`.
  Prefix below(double target, bool equal) const {
    Prefix p{0, 0, 0};
    for (index_t step = top_; step > 0; step /= 2) {
      const index_t next = p.ranks + step;
      if (next > n_) continue;
      const double w = p.w + w_[static_cast<std::size_t>(next)];
      if (equal ? w <= target : w < target)
        p = {next, w, p.sum + s_[static_cast<std::size_t>(next)]};
    }
    return p;
  }
  double mass() const { return mass_; }
  double sum() const { return sum_; }

 private:
  index_t n_ = 0, top_ = 1;
  double mass_ = 0, sum_ = 0;
  std::vector<double> w_, s_;
};

// Target equal up to this share of the weight: sums of weights are rounded.
constexpr double kTie = 0x1p-40;

// Ranks of the y of a node for one output, y about the node's value.
struct Ranked {
  std::vector<std::int32_t> rank;  // by position in the node
  std::vector<double> y;           // by rank
  double center = 0;

  void make(const Targets& t, index_t k, const NodeView& node) {
    const index_t n = node.stop - node.start;
    center = node.value == nullptr ? 0.0 : node.value[k];
    std::vector<std::pair<double, std::int32_t>> sorted(static_cast<std::size_t>(n));
    for (index_t i = 0; i < n; ++i) {
      sorted[static_cast<std::size_t>(i)] = {t.y(node.start + i, k) - center,
                                             static_cast<std::int32_t>(i)};
    }
    std::sort(sorted.begin(), sorted.end());
    rank.resize(sorted.size());
    y.clear();
    for (const auto& [value, i] : sorted) {
      if (y.empty() || value != y.back()) y.push_back(value);
      rank[static_cast<std::size_t>(i)] = static_cast<std::int32_t>(y.size() - 1);
    }
  }
};

struct Quantile {
  double loss, value;
};

// The pinball loss of what a tree holds about its quantile; the middle of all minimisers.
inline Quantile quantile_of(const Fenwick& tree, const Ranked& ranked, double alpha) {
  const double target = alpha * tree.mass(), slack = kTie * tree.mass();
  const auto last = static_cast<index_t>(ranked.y.size()) - 1;
  const Fenwick::Prefix lower = tree.below(target - slack, false);
  const double low = ranked.y[static_cast<std::size_t>(std::min(lower.ranks, last))];
  // Ranks without weight between the two are passed over.
  const Fenwick::Prefix upper = tree.below(target + slack, true);
  const double high = ranked.y[static_cast<std::size_t>(std::min(upper.ranks, last))];
  const double over = (tree.sum() - lower.sum) - low * (tree.mass() - lower.w);
  const double under = low * lower.w - lower.sum;
  return {alpha * over + (1 - alpha) * under,
          high > low && upper.w <= target + slack && upper.w >= target - slack
              ? low + (high - low) / 2
              : low};
}

class Quantiles {
 public:
  explicit Quantiles(const Targets& targets)
      : t_(targets), ranked_(static_cast<std::size_t>(targets.y.cols)) {}
  void begin(const NodeView& node) {
    node_ = node;
    mass_ = node.mass;
    for (index_t k = 0; k < t_.y.cols; ++k) ranked_[static_cast<std::size_t>(k)].make(t_, k, node);
  }
  // Losses and values of left and right for all prefixes of a sequence of positions.
  template <class At>
  void prepare(index_t n, At at) {
    const auto size = static_cast<std::size_t>(n + 1);
    for (int side = 0; side < 2; ++side) {
      loss_[side].assign(size, 0.0);
      values_[side].assign(size, 0.0);
      for (index_t k = 0; k < t_.y.cols; ++k) {
        const Ranked& ranked = ranked_[static_cast<std::size_t>(k)];
        tree_.reset(static_cast<index_t>(ranked.y.size()));
        for (index_t i = 0; i < n; ++i) {
          const index_t p = at(side == 0 ? i : n - 1 - i);
          const auto rank = ranked.rank[static_cast<std::size_t>(p - node_.start)];
          const double w = t_.w(p);
          tree_.add(rank, w, w * ranked.y[static_cast<std::size_t>(rank)]);
          const Quantile q = quantile_of(tree_, ranked, t_.alpha);
          const auto to = static_cast<std::size_t>(side == 0 ? i + 1 : n - 1 - i);
          loss_[side][to] += q.loss;
          values_[side][to] = q.value + ranked.center;
        }
      }
    }
    left_ = 0;
    count_ = 0;
  }
  void clear() {}
  void add(index_t p) {
    left_ += t_.w(p);
    ++count_;
  }
  double left_mass() const { return left_; }
  double mass() const { return mass_; }
  double gain() const { return loss_[0].back() - loss_[0][count_] - loss_[1][count_]; }
  double side(bool right) const { return values_[right][count_]; }

 private:
  Targets t_;
  NodeView node_{};
  std::vector<Ranked> ranked_;
  Fenwick tree_;
  std::vector<double> loss_[2], values_[2];
  double left_ = 0, mass_ = 0;
  std::size_t count_ = 0;
};

}  // namespace kernelmill::tree
