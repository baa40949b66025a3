// What nodes predict, and walks: criteria are in tree_criteria.hpp.
#include "ops/tree_measure.hpp"

#include <algorithm>    // std::max
#include <type_traits>  // std::is_same_v

#include "ops/tree_criteria.hpp"

namespace kernelmill::tree {
namespace {

template <class C>
bool allowed(const C& criterion, const Sequence& q) {
  if (q.sign == 0) return true;
  const double left = criterion.side(false), right = criterion.side(true);
  return (right - left) * q.sign >= 0 && q.low <= std::min(left, right) &&
         std::max(left, right) <= q.high;
}

// All cuts of a feature, the missing on one side.
template <class C>
void walk_along(C& criterion, const Targets& t, const Sequence& q, bool missing_left, Cut& best) {
  const std::int32_t* const entries = q.entries;
  const index_t n = q.n, missing = n - q.present;
  const index_t ahead = missing_left ? missing : 0;
  if constexpr (std::is_same_v<C, Quantiles>) {
    criterion.prepare(n, [&](index_t i) {
      const index_t at = i < ahead ? q.present + i : i - ahead;
      return static_cast<index_t>(entries[at] & kPosition);
    });
  }
  const auto least = static_cast<index_t>(std::max(1.0, t.min_leaf));
  if constexpr (std::is_same_v<C, Tallies<true>>) {
    if (missing == 0 && q.only == 0 && q.sign == 0 && t.min_weight == 0) {
      criterion.all_cuts(q, least, best);
      return;
    }
  }
  criterion.clear();
  for (index_t i = 0; i < ahead; ++i) criterion.add(entries[q.present + i] & kPosition);
  // The last cut: before the last present entry, or, with the missing on the right, after it.
  const index_t last = missing_left || missing == 0 ? q.present - 1 : q.present;
  for (index_t cut = 1; cut <= last; ++cut) {
    criterion.add(entries[cut - 1] & kPosition);
    if (q.only != 0 ? cut != q.only : cut < n && entries[cut] >= 0) continue;
    const index_t left = cut + ahead;
    if (left < least) continue;
    if (n - left < least) break;
    if (t.min_weight > 0 && (criterion.left_mass() < t.min_weight ||
                             criterion.mass() - criterion.left_mass() < t.min_weight)) {
      continue;
    }
    const double gain = criterion.gain();
    if (gain > best.gain + q.slack && allowed(criterion, q)) {
      best = {gain, cut,
              missing == 0 ? larger(t.bagged, static_cast<double>(left), static_cast<double>(n),
                                    criterion.left_mass(), criterion.mass())
                           : missing_left};
    }
    if (q.only != 0) break;
  }
}

template <class C>
class WalkerOf final : public Walker {
 public:
  explicit WalkerOf(const Targets& targets) : t_(targets), criterion_(targets) {
    outputs_ = static_cast<double>(std::max<index_t>(1, targets.y.cols));
  }
  void begin(const NodeView& node) override { criterion_.begin(node); }
  Cut walk(const Sequence& given) override {
    // Criteria add up gains over outputs.
    Sequence q = given;
    q.slack *= outputs_;
    // Both walks see each cut; with equal gains the lower cut wins, then missing right.
    Cut own{kNoGain}, other{kNoGain};
    walk_along(criterion_, t_, q, false, own);
    if (q.present < q.n) {
      walk_along(criterion_, t_, q, true, other);
      const bool close = other.gain >= own.gain - q.slack && other.left < own.left;
      if (other.gain > own.gain + q.slack || close) own = other;
    }
    own.gain /= outputs_;
    return own;
  }

 private:
  Targets t_;
  C criterion_;
  double outputs_;
};

}  // namespace

Measure measure(const Targets& t, index_t start, index_t stop, double* value) {
  const index_t outputs = t.y.cols;
  double total = 0, sum_w = static_cast<double>(stop - start);
  bool equal = true;
  if (!t.weight.empty()) {
    sum_w = 0;
    for (index_t p = start; p < stop; ++p) sum_w += t.w(p);
  }
  for (index_t k = 0; k < outputs; ++k) {
    bool same = true;
    for (index_t p = start; p < stop; ++p) same &= t.y(p, k) == t.y(start, k);
    equal = equal && same;
    if (!t.classes.empty()) {
      const index_t classes = t.classes[static_cast<std::size_t>(k)];
      std::fill_n(value, classes, 0.0);
      if (same) {
        value[static_cast<index_t>(t.y(start, k))] = sum_w;
      } else {
        for (index_t p = start; p < stop; ++p) value[static_cast<index_t>(t.y(p, k))] += t.w(p);
      }
      double sum = 0;
      for (index_t c = 0; c < classes && !same; ++c) {
        const double x = value[c];
        sum += t.criterion == kGini ? x * x : x > 0 ? x * std::log(x) : 0;
      }
      if (!same) {
        total +=
            t.criterion == kGini ? sum_w - sum / sum_w : (sum_w * std::log(sum_w) - sum) / kLog2;
      }
      value += classes;
      continue;
    }
    if (t.criterion == kQuantile) {
      Ranked ranked;
      Fenwick tree;
      ranked.make(t, k, {start, stop, nullptr, 0});
      tree.reset(static_cast<index_t>(ranked.y.size()));
      for (index_t p = start; p < stop; ++p) {
        const auto rank = ranked.rank[static_cast<std::size_t>(p - start)];
        tree.add(rank, t.w(p), t.w(p) * ranked.y[static_cast<std::size_t>(rank)]);
      }
      *value = quantile_of(tree, ranked, t.alpha).value;
      for (index_t p = start; p < stop; ++p) {
        const double over = t.y(p, k) - *value;
        total += t.w(p) * (over > 0 ? t.alpha * over : (t.alpha - 1) * over);
      }
      ++value;
      continue;
    }
    // About the first target, so that a large offset costs no digits.
    const double origin = start < stop ? t.y(start, k) : 0.0;
    double sum = 0;
    for (index_t p = start; p < stop && !same; ++p) sum += t.w(p) * (t.y(p, k) - origin);
    *value = origin + sum / sum_w;
    for (index_t p = start; p < stop && !same; ++p) {
      const double y = t.y(p, k), off = y - *value;
      total += t.w(p) *
               (t.criterion == kPoisson ? (y > 0 ? y * std::log(y / *value) : 0) - off : off * off);
    }
    ++value;
  }
  const double each = static_cast<double>(std::max<index_t>(1, outputs));
  return {equal ? 0.0 : std::max(0.0, total) / sum_w / each, sum_w, equal};
}

std::unique_ptr<Walker> walker_of(const Targets& t) {
  const bool binary = t.criterion == kGini && t.classes.size() == 1 && t.classes[0] == 2;
  if (t.criterion == kQuantile) return std::make_unique<WalkerOf<Quantiles>>(t);
  if (t.classes.size() == 1 && t.whole && t.criterion == kGini) {
    return std::make_unique<WalkerOf<Tallies<true>>>(t);
  }
  if (t.classes.size() == 1 && t.xlogx != nullptr) {
    return std::make_unique<WalkerOf<Tallies<false>>>(t);
  }
  if (!t.classes.empty() && !binary) return std::make_unique<WalkerOf<Classes>>(t);
  if (t.y.cols != 1) return std::make_unique<WalkerOf<Sums<false, true>>>(t);
  if (t.weight.empty()) return std::make_unique<WalkerOf<Sums<true, false>>>(t);
  return std::make_unique<WalkerOf<Sums<true, true>>>(t);
}

}  // namespace kernelmill::tree
