// The search for the best split of a node: over its features, by several threads.
#pragma once

#include <algorithm>  // std::min, std::max, std::copy_n
#include <memory>     // std::unique_ptr
#include <mutex>      // std::mutex
#include <utility>    // std::move
#include <vector>     // searchers

#include "core/parallel.hpp"  // parallel_for
#include "ops/tree_feature.hpp"

namespace kernelmill::tree {

// A node with more rows times features is searched by several threads, a feature each. So many
// features start from the best gain of those before, at any number of threads.
constexpr index_t kManyEntries = index_t{1} << 17, kTogether = 8;
// Fewer rows are looked at feature by feature.
constexpr index_t kPanelRows = 512;

// What is known of a node whose split is sought.
struct Sought {
  SumNode sums{};
  double slack = 0, most = 0;     // gains this close are equal; none is larger
  const double* value = nullptr;  // what `measure` gave
  Pair* pairs = nullptr;          // its rows, where nothing smaller holds them
};

class NodeSearch {
 public:
  // For nodes of at most so many rows; `in_order` says that all features are looked at in order.
  NodeSearch(const Field& field, const Plot& plot, index_t most, bool in_order)
      : f_(field),
        p_(plot),
        most_rows_(most),
        panelled_(plot.by_sums && field.by_values() && !field.gaps && in_order &&
                  field.categorical.empty() && field.X_single.col_stride == 1) {
    idle_.push_back(searcher());
  }

  // Room for a rank of each row and two more, between two searches.
  std::int32_t* scratch_ranks() const { return idle_.front()->search.scratch_ranks(); }

  // The best of some features, the first of equals; whether one of them varies.
  bool look(Open& node, const Sought& sought, const index_t* features, index_t count) {
    sought_ = &sought;
    const index_t n = node.stop - node.start;
    bool varies = false;
    const auto take = [&](const FeatureSearch::Found& found) {
      varies = varies || found.varies;
      if (found.split.gain > node.split.gain + sought_->slack) {
        node.split = found.split;
      }
    };
    if (panelled_ && n >= kPanelRows) return look_in_panels(node, take);
    if (n * count <= kManyEntries) {
      for (index_t i = 0; i < count; ++i) {
        take(find_in(*idle_.front(), node, features[i], node.split.gain));
        // No other can be better by more than rounding.
        if (node.split.gain + sought_->slack / 2 >= sought_->most) break;
      }
      return varies;
    }
    for (index_t first = 0; first < count; first += kTogether) {
      const double floor = node.split.gain;
      FeatureSearch::Found found[kTogether];
      const index_t together = std::min(kTogether, count - first);
      parallel_for(together, 1, [&](index_t, index_t begin, index_t end) {
        std::unique_ptr<Searcher> own = borrow();
        for (index_t i = begin; i < end; ++i) {
          found[i] = find_in(*own, node, features[first + i], floor);
        }
        const std::lock_guard lock(lending_);
        idle_.push_back(std::move(own));
      });
      for (index_t i = 0; i < together; ++i) take(found[i]);
      if (node.split.gain + sought_->slack / 2 >= sought_->most) break;
    }
    return varies;
  }

 private:
  // All features of a node, several in one pass over its rows: only those that may hold the best
  // cut are looked at for themselves.
  template <class Take>
  bool look_in_panels(const Open& node, const Take& take) {
    const index_t d = f_.ranks.features;
    const std::vector<Range> ranges = ranges_of(node);
    outlooks_.resize(static_cast<std::size_t>(d));
    const auto with_one = [&](const auto& work) {
      return [&, work](index_t, index_t begin, index_t end) {
        std::unique_ptr<Searcher> own = borrow();
        work(*own, begin, end);
        const std::lock_guard lock(lending_);
        idle_.push_back(std::move(own));
      };
    };
    parallel_for(d, SumSearch<double>::kPanel,
                 with_one([&](Searcher& own, index_t begin, index_t end) {
                   with_rows(node, [&](const auto* rows) {
                     own.search.outlook(node, begin, end - begin, sought_->sums, rows,
                                        ranges.data() + begin, outlooks_.data() + begin);
                   });
                 }));
    double floor = node.split.gain;
    for (const Outlook& own : outlooks_) floor = std::max(floor, own.top);
    chosen_.clear();
    for (index_t j = 0; j < d; ++j) {
      const Outlook& own = outlooks_[static_cast<std::size_t>(j)];
      // Rounding may cost a bound some units of the last place.
      if (own.most >= 0 && own.most * (1 + kEqual) >= floor - sought_->slack) chosen_.push_back(j);
    }
    std::vector<FeatureSearch::Found> found(chosen_.size());
    parallel_for(std::ssize(chosen_), 1, with_one([&](Searcher& own, index_t begin, index_t end) {
                   for (auto i = static_cast<std::size_t>(begin); i < static_cast<std::size_t>(end);
                        ++i) {
                     found[i] = find_in(own, node, chosen_[i], floor);
                   }
                 }));
    for (const auto& own : found) take(own);
    return true;
  }

  // The least and the largest value of each feature in the rows of a node.
  std::vector<Range> ranges_of(const Open& node) const {
    const index_t d = f_.ranks.features, n = node.stop - node.start;
    const index_t grain = bounded_grain(n, 2048, 16), chunks = chunk_count(n, grain);
    std::vector<float> found(static_cast<std::size_t>(chunks * 2 * d));
    parallel_for(n, grain, [&](index_t chunk, index_t begin, index_t end) {
      const std::int32_t* const rows = p_.rows.data() + node.start;
      float* __restrict const low = found.data() + chunk * 2 * d;
      float* __restrict const high = low + d;
      std::copy_n(f_.X_single.row(rows[begin]), d, low);
      std::copy_n(low, d, high);
      // Three rows at once: each row waits for what the one before it stored.
      for (index_t i = begin; i < end; i += 3) {
        const float *const x = f_.X_single.row(rows[i]),
                           *const y = f_.X_single.row(rows[std::min(i + 1, end - 1)]),
                           *const z = f_.X_single.row(rows[std::min(i + 2, end - 1)]);
        for (index_t j = 0; j < d; ++j) {
          const float a = x[j] < y[j] ? x[j] : y[j], b = x[j] < y[j] ? y[j] : x[j];
          const float c = z[j] < low[j] ? z[j] : low[j], e = z[j] > high[j] ? z[j] : high[j];
          low[j] = a < c ? a : c;
          high[j] = b > e ? b : e;
        }
      }
    });
    std::vector<Range> ranges(static_cast<std::size_t>(d));
    for (index_t j = 0; j < d; ++j) {
      Range& own = ranges[static_cast<std::size_t>(j)] = {found[j], found[d + j]};
      for (index_t c = 1; c < chunks; ++c) {
        own.low = std::min(own.low, found[c * 2 * d + j]);
        own.high = std::max(own.high, found[(c * 2 + 1) * d + j]);
      }
    }
    return ranges;
  }

  // What one thread searches with.
  struct Searcher {
    Searcher(const Field& field, const Plot& plot, index_t most) : search(field, plot, most) {}

    FeatureSearch search;
    std::unique_ptr<Walker> walker{};
    std::int32_t begun = -1;  // the node that the walker knows
  };

  std::unique_ptr<Searcher> borrow() {
    std::unique_ptr<Searcher> own;
    {
      const std::lock_guard lock(lending_);
      if (!idle_.empty()) {
        own = std::move(idle_.back());
        idle_.pop_back();
      }
    }
    return own != nullptr ? std::move(own) : searcher();
  }

  std::unique_ptr<Searcher> searcher() const {
    auto own = std::make_unique<Searcher>(f_, p_, most_rows_);
    if (!p_.by_sums && !p_.by_marks) own->walker = walker_of(p_.targets);
    return own;
  }

  FeatureSearch::Found find_in(Searcher& own, const Open& node, index_t feature,
                               double floor) const {
    Walker* const walker = own.walker.get();
    if (walker != nullptr && own.begun != node.node) {
      own.begun = node.node;
      walker->begin({node.start, node.stop, sought_->value, sought_->sums.W});
    }
    FeatureSearch::Found found;
    with_rows(node, [&](const auto* rows) {
      found = own.search.find(node, feature, sought_->sums, rows, walker, floor, sought_->slack);
    });
    return found;
  }

  // Calls `use` with what is kept of the rows of a node.
  template <class Use>
  void with_rows(const Open& node, const Use& use) const {
    if (p_.by_marks) {
      use(static_cast<const Mark*>(p_.marks.data() + node.start));
    } else if (p_.by_units) {
      use(static_cast<const Units*>(p_.units.data() + node.start));
    } else if (p_.by_numbers) {
      use(static_cast<const double*>(p_.y.data() + node.start));
    } else {
      use(static_cast<const Pair*>(sought_->pairs));
    }
  }

  const Field& f_;
  const Plot& p_;
  index_t most_rows_;
  bool panelled_;
  const Sought* sought_ = nullptr;
  std::vector<std::unique_ptr<Searcher>> idle_;  // between nodes all of them
  std::mutex lending_;
  std::vector<Outlook> outlooks_;
  std::vector<index_t> chosen_;
};

}  // namespace kernelmill::tree
