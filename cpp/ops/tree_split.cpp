// What nodes predict, and the search for splits: criteria are in tree_criteria.hpp.
#include <algorithm>    // std::max
#include <type_traits>  // std::is_same_v

#include "core/error.hpp"     // invalid
#include "core/parallel.hpp"  // parallel_for
#include "ops/tree_criteria.hpp"
#include "ops/tree_tasks.hpp"

namespace kernelmill::tree {
namespace {

// EQUAL of the specification.
constexpr double kEqual = 0x1p-40;

struct Best {
  double gain = kNoGain;
  index_t feature = -1, cut = 0;
  bool missing_left = false;
};

// What one walk needs to know besides the criterion.
struct Walk {
  const Targets& targets;
  const Constraints& constraints;
  const std::int32_t* entries;
  index_t n, present, feature, node, only;  // `only`: the cut to try, 0 for all
  double slack;                             // gains this close are equal
};

template <class C>
bool allowed(const C& criterion, const Walk& walk) {
  const Constraints& c = walk.constraints;
  if (c.monotonic.empty()) return true;
  const int sign = c.monotonic[static_cast<std::size_t>(walk.feature)];
  if (sign == 0) return true;
  const double left = criterion.side(false), right = criterion.side(true);
  if ((right - left) * sign < 0) return false;
  if (c.bounds.rows == 0) return true;
  return c.bounds(walk.node, 0) <= std::min(left, right) &&
         std::max(left, right) <= c.bounds(walk.node, 1);
}

// All cuts of a feature, the missing on one side.
template <class C>
void walk_along(C& criterion, const Walk& walk, bool missing_left, Best& best) {
  const Targets& t = walk.targets;
  const std::int32_t* const entries = walk.entries;
  const index_t n = walk.n, missing = n - walk.present;
  const index_t ahead = missing_left ? missing : 0;
  if constexpr (std::is_same_v<C, Quantiles>) {
    criterion.prepare(n, [&](index_t i) {
      const index_t at = i < ahead ? walk.present + i : i - ahead;
      return static_cast<index_t>(entries[at] & kPosition);
    });
  }
  criterion.clear();
  for (index_t i = 0; i < ahead; ++i) criterion.add(entries[walk.present + i] & kPosition);
  const auto least = static_cast<index_t>(std::max(1.0, t.min_leaf));
  // The last cut: before the last present entry, or, with the missing on the right, after it.
  const index_t last = missing_left || missing == 0 ? walk.present - 1 : walk.present;
  for (index_t cut = 1; cut <= last; ++cut) {
    criterion.add(entries[cut - 1] & kPosition);
    if (walk.only != 0 ? cut != walk.only : entries[cut] >= 0) continue;
    const index_t left = cut + ahead;
    if (left < least) continue;
    if (n - left < least) break;
    if (t.min_weight > 0 && (criterion.left_mass() < t.min_weight ||
                             criterion.mass() - criterion.left_mass() < t.min_weight)) {
      continue;
    }
    const double gain = criterion.gain();
    if (gain > best.gain + walk.slack && allowed(criterion, walk)) {
      const bool goes_left = missing == 0 ? 2 * left > n : missing_left;
      best = {gain, walk.feature, cut, goes_left};
    }
    if (walk.only != 0) break;
  }
}

template <class C>
void search(const Targets& targets, Entries order, Spans spans, MatrixView<const double> value,
            std::span<const double> total, const Constraints& constraints, const Splits& splits) {
  const index_t d = order.rows;
  std::vector<double> mass(static_cast<std::size_t>(spans.rows));
  for (index_t i = 0; i < spans.rows; ++i) {
    double& sum = mass[static_cast<std::size_t>(i)];
    if (targets.weight.empty()) sum = static_cast<double>(spans(i, 1) - spans(i, 0));
    for (index_t p = spans(i, 0); p < spans(i, 1) && !targets.weight.empty(); ++p) {
      sum += targets.w(p);
    }
  }
  const std::vector<Task> tasks = tasks_of(spans, d, true);
  std::vector<Best> found(tasks.size());  // of tasks of one feature
  const double outputs = static_cast<double>(std::max<index_t>(1, targets.y.cols));
  const auto slack_of = [&](index_t i) {
    return kEqual * outputs * total[static_cast<std::size_t>(i)];
  };
  const auto store = [&](index_t i, const Best& best) {
    const auto at = static_cast<std::size_t>(i);
    splits.feature[at] = static_cast<std::int32_t>(best.feature);
    splits.cut[at] = static_cast<std::int32_t>(best.cut);
    splits.missing_left[at] = best.missing_left;
    splits.gain[at] = best.gain / outputs;
  };
  parallel_for(std::ssize(tasks), 1, [&](index_t, index_t begin, index_t end) {
    C criterion(targets);
    for (auto t = static_cast<std::size_t>(begin); t < static_cast<std::size_t>(end); ++t) {
      index_t node = -1;
      Best best;
      each_feature(tasks[t], d, [&](index_t i, index_t f) {
        const index_t start = spans(i, 0), n = spans(i, 1) - start;
        if (i != node) {
          if (node >= 0) store(node, best);
          node = i;
          best = {};
          if (n >= 2) {
            criterion.begin({start, spans(i, 1), value.row(i), mass[static_cast<std::size_t>(i)]});
          }
        }
        if (n < 2 || (constraints.allowed.rows != 0 && !constraints.allowed(i, f))) return;
        const index_t only = constraints.cuts.rows == 0 ? 0 : constraints.cuts(i, f);
        if (constraints.cuts.rows != 0 && only == 0) return;
        const std::int32_t* const entries = order.row(f) + start;
        index_t present = n;
        while (present > 0 && (entries[present - 1] & kMissing) != 0) --present;
        const double slack = slack_of(i);
        const Walk walk{targets, constraints, entries, n, present, f, i, only, slack};
        // Both walks see each cut; with equal gains the lower cut wins, then missing right.
        Best own;
        walk_along(criterion, walk, false, own);
        if (present < n) {
          Best other;
          walk_along(criterion, walk, true, other);
          const bool close = other.gain >= own.gain - slack && other.cut < own.cut;
          if (other.gain > own.gain + slack || close) own = other;
        }
        if (own.gain > best.gain + slack) best = own;
      });
      if (tasks[t].feature >= 0) {
        found[t] = best;
      } else if (node >= 0) {
        store(node, best);
      }
    }
  });
  for (std::size_t t = 0; t < tasks.size(); ++t) {
    if (tasks[t].feature < 0) continue;
    if (tasks[t].feature != 0 && found[t - 1].gain + slack_of(tasks[t].first) >= found[t].gain) {
      found[t] = found[t - 1];
    }
    if (tasks[t].feature == d - 1) store(tasks[t].first, found[t]);
  }
}

}  // namespace

void measure(const Targets& t, Spans spans, MatrixView<double> value, std::span<double> impurity,
             std::span<double> mass, std::span<bool> pure) {
  const index_t outputs = t.y.cols;
  const std::vector<Task> tasks = tasks_of(spans, std::max<index_t>(1, outputs), false);
  parallel_for(std::ssize(tasks), 1, [&](index_t, index_t begin, index_t end) {
    Ranked ranked;
    Fenwick tree;
    for (auto task = static_cast<std::size_t>(begin); task < static_cast<std::size_t>(end);
         ++task) {
      for (index_t i = tasks[task].first; i < tasks[task].last; ++i) {
        const index_t start = spans(i, 0), stop = spans(i, 1);
        double total = 0, sum_w = 0;
        bool equal = true;
        for (index_t p = start; p < stop; ++p) sum_w += t.w(p);
        index_t first = 0;
        for (index_t k = 0; k < outputs; ++k) {
          for (index_t p = start; p < stop; ++p) equal = equal && t.y(p, k) == t.y(start, k);
          double* const to = value.row(i) + first;
          if (!t.classes.empty()) {
            const index_t classes = t.classes[static_cast<std::size_t>(k)];
            std::fill_n(to, classes, 0.0);
            for (index_t p = start; p < stop; ++p) to[static_cast<index_t>(t.y(p, k))] += t.w(p);
            double sum = 0;
            for (index_t c = 0; c < classes; ++c) {
              sum += t.criterion == kGini ? to[c] * to[c] : to[c] > 0 ? to[c] * std::log(to[c]) : 0;
            }
            total += t.criterion == kGini ? sum_w - sum / sum_w
                                          : (sum_w * std::log(sum_w) - sum) / kLog2;
            first += classes;
            continue;
          }
          ++first;
          if (t.criterion == kQuantile) {
            ranked.make(t, k, {start, stop, nullptr, 0});
            tree.reset(static_cast<index_t>(ranked.y.size()));
            for (index_t p = start; p < stop; ++p) {
              const auto rank = ranked.rank[static_cast<std::size_t>(p - start)];
              tree.add(rank, t.w(p), t.w(p) * ranked.y[static_cast<std::size_t>(rank)]);
            }
            *to = quantile_of(tree, ranked, t.alpha).value;
            for (index_t p = start; p < stop; ++p) {
              const double over = t.y(p, k) - *to;
              total += t.w(p) * (over > 0 ? t.alpha * over : (t.alpha - 1) * over);
            }
            continue;
          }
          // About the first target, so that a large offset costs no digits.
          const double origin = start < stop ? t.y(start, k) : 0.0;
          double sum = 0;
          for (index_t p = start; p < stop; ++p) sum += t.w(p) * (t.y(p, k) - origin);
          *to = origin + sum / sum_w;
          for (index_t p = start; p < stop; ++p) {
            const double y = t.y(p, k), off = y - *to;
            total += t.w(p) * (t.criterion == kPoisson ? (y > 0 ? y * std::log(y / *to) : 0) - off
                                                       : off * off);
          }
        }
        const auto at = static_cast<std::size_t>(i);
        mass[at] = sum_w;
        impurity[at] = equal ? 0.0
                             : std::max(0.0, total) / sum_w /
                                   static_cast<double>(std::max<index_t>(1, outputs));
        pure[at] = equal;
      }
    }
  });
}

void split(const Targets& t, Entries order, Spans spans, MatrixView<const double> value,
           std::span<const double> total, const Constraints& constraints, const Splits& splits) {
  const auto run = [&]<class C>() {
    search<C>(t, order, spans, value, total, constraints, splits);
  };
  const bool binary = t.criterion == kGini && t.classes.size() == 1 && t.classes[0] == 2;
  if (t.criterion == kQuantile) {
    run.template operator()<Quantiles>();
  } else if (!t.classes.empty() && !binary) {
    run.template operator()<Classes>();
  } else if (t.y.cols != 1) {
    run.template operator()<Sums<false, true>>();
  } else if (t.weight.empty()) {
    run.template operator()<Sums<true, false>>();
  } else {
    run.template operator()<Sums<true, true>>();
  }
}

}  // namespace kernelmill::tree
