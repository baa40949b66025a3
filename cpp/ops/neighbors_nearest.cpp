// The k nearest rows: by a tree, by comparing with all rows, or by the tile product.
#include <vector>  // buffers

#include "ops/neighbors_blocks.hpp"
#include "ops/neighbors_tiles.hpp"

namespace kernelmill::neighbors {
namespace {

// A walk down a tree, nearest boxes first.
template <class M, class T>
class Walk {
 public:
  Walk(const M& metric, const Tree<T>& tree) : metric_(metric), tree_(tree) {}

  void search(const double* q, index_t own, Nearest& nearest) {
    const int top = tree_.levels.count() - 1;
    waiting_ = 0;
    open(q, top, 0, nearest);
    while (waiting_ > 0) {
      const Item item = stack_[static_cast<std::size_t>(--waiting_)];
      if (item.bound > nearest.worst()) continue;
      if (item.level > 0) {
        open(q, item.level - 1, item.number, nearest);
        continue;
      }
      const index_t begin = tree_.begin(item.number), count = tree_.size(item.number);
      alignas(64) double distance[kWidth];
      block_distances(metric_, q, tree_.leaf(item.number), tree_.d, count, distance);
      for (index_t l = 0; l < count; ++l) {
        if (!(distance[l] <= nearest.worst())) continue;
        const index_t row = tree_.order[begin + l];
        if (row != own) nearest.add(distance[l], row);
      }
    }
  }

 private:
  struct Item {
    double bound;
    int level;
    index_t number;
  };

  // Puts the items of a group that may hold a neighbour on the stack, the nearest on top.
  void open(const double* q, int level, index_t group, const Nearest& nearest) {
    alignas(64) double bound[kFan];
    near_bounds(metric_, q, q, tree_.group(level, group), tree_.d, bound);
    const index_t first = group * kFan;
    const index_t count = std::min(kFan, tree_.levels.items(level) - first);
    const index_t bottom = waiting_;
    for (index_t l = 0; l < count; ++l) {
      if (bound[l] > nearest.worst()) continue;
      index_t at = waiting_++;
      for (; at > bottom && stack_[static_cast<std::size_t>(at - 1)].bound < bound[l]; --at) {
        stack_[static_cast<std::size_t>(at)] = stack_[static_cast<std::size_t>(at - 1)];
      }
      stack_[static_cast<std::size_t>(at)] = {bound[l], level, first + l};
    }
  }

  const M& metric_;
  const Tree<T>& tree_;
  std::array<Item, 24 * kFan> stack_;
  index_t waiting_ = 0;
};

template <class M>
void write(const M& metric, index_t d, Nearest& nearest, const Found* found, index_t k,
           index_t* indices, double* distances) {
  nearest.finish();
  for (index_t r = 0; r < k; ++r) {
    indices[r] = found[r].index;
    distances[r] = metric.finish(found[r].distance, d);
  }
}

template <class M, class T>
void by_tree(const M& metric, MatrixView<const T> x, const Tree<T>& tree, index_t k,
             std::span<const index_t> own, MatrixView<index_t> indices,
             MatrixView<double> distances) {
  const index_t d = x.cols;
  parallel_for(x.rows, 64, [&](index_t, index_t begin, index_t end) {
    const Workspace<double> q(static_cast<std::size_t>(d));
    const Workspace<Found> found(static_cast<std::size_t>(k));
    Walk<M, T> walk(metric, tree);
    for (index_t i = begin; i < end; ++i) {
      copy_row(x, i, q.data());
      Nearest nearest(found.data(), k);
      walk.search(q.data(), own.empty() ? -1 : own[static_cast<std::size_t>(i)], nearest);
      write(metric, d, nearest, found.data(), k, indices.row(i), distances.row(i));
    }
  });
}

template <class M, class T>
void by_scan(const M& metric, MatrixView<const T> x, MatrixView<const T> y, index_t k,
             std::span<const index_t> own, MatrixView<index_t> indices,
             MatrixView<double> distances) {
  parallel_for(x.rows, scan_grain(x.rows), [&](index_t, index_t begin, index_t end) {
    const index_t n = end - begin;
    const Workspace<Found> found(static_cast<std::size_t>(n * k));
    std::vector<Nearest> nearest;
    for (index_t i = 0; i < n; ++i) nearest.emplace_back(found.data() + i * k, k);
    scan(metric, x, begin, n, y,
         [&](index_t i, index_t from, const double* distance, index_t count) {
           Nearest& mine = nearest[static_cast<std::size_t>(i)];
           const index_t skip = own.empty() ? -1 : own[static_cast<std::size_t>(begin + i)];
           for (index_t l = 0; l < count; ++l) {
             if (distance[l] <= mine.worst() && from + l != skip) mine.add(distance[l], from + l);
           }
         });
    for (index_t i = 0; i < n; ++i) {
      write(metric, x.cols, nearest[static_cast<std::size_t>(i)], found.data() + i * k, k,
            indices.row(begin + i), distances.row(begin + i));
    }
  });
}

// What the hits of a query leave behind: rows that may be among its k nearest.
template <class T>
class Shortlists {
 public:
  Shortlists(MatrixView<const T> x, MatrixView<const T> y, const Candidates<T>& candidates,
             index_t begin, index_t end, index_t k, std::span<const index_t> own)
      : x_(x),
        y_(y),
        candidates_(candidates),
        begin_(begin),
        k_(k),
        room_(2 * k + 24),
        own_(own),
        limit_(static_cast<std::size_t>(end - begin + Candidates<T>::kPadding)),
        low_(static_cast<std::size_t>((end - begin) * room_)),
        row_(static_cast<std::size_t>((end - begin) * room_)),
        count_(static_cast<std::size_t>(end - begin)),
        upper_(static_cast<std::size_t>(room_)),
        exact_(static_cast<std::size_t>(room_)),
        found_(static_cast<std::size_t>(room_)) {
    for (index_t j = 0; j < end - begin; ++j) {
      limit_.data()[j] = std::numeric_limits<T>::infinity();
      count_.data()[j] = 0;
    }
  }

  T* limit() { return limit_.data(); }
  static void hit(void* self, index_t j, index_t i, T low) {
    static_cast<Shortlists*>(self)->add(j, i, low);
  }

  void finish(const Euclidean& metric, index_t j, index_t* indices, double* distances) {
    const index_t n = settle(j, count_.data()[j]);
    for (index_t r = 0; r < k_; ++r) {
      const Found& one = found_.data()[r];
      indices[r] = r < n ? one.index : -1;
      distances[r] =
          r < n ? metric.finish(one.distance, x_.cols) : std::numeric_limits<double>::quiet_NaN();
    }
  }

 private:
  void add(index_t j, index_t i, T low) {
    if (!own_.empty() && own_[static_cast<std::size_t>(begin_ + j)] == i) return;
    index_t& count = count_.data()[j];
    low_.data()[j * room_ + count] = low;
    row_.data()[j * room_ + count] = i;
    if (++count == room_) shorten(j);
  }

  // Drops what cannot be among the k nearest.
  void shorten(index_t j) {
    T *const low = low_.data() + j * room_, *const upper = upper_.data();
    index_t* const row = row_.data() + j * room_;
    index_t& count = count_.data()[j];
    for (index_t c = 0; c < count; ++c) upper[c] = low[c] + candidates_.twice_error(row[c]);
    std::nth_element(upper, upper + k_ - 1, upper + count);
    const double f = candidates_.error(candidates_.norm(x_, begin_ + j));
    T& limit = limit_.data()[j];
    limit = std::min(limit, static_cast<T>(static_cast<double>(upper[k_ - 1]) + 2 * f));
    index_t kept = 0;
    for (index_t c = 0; c < count; ++c) {
      low[kept] = low[c];
      row[kept] = row[c];
      kept += low[c] <= limit;
    }
    count = kept;
    if (kept <= k_ + (room_ - k_) / 2) return;
    // Many rows at about the same distance: only true distances tell them apart.
    settle(j, kept);
    const double norm = candidates_.norm(x_, begin_ + j);
    const double worst = found_.data()[k_ - 1].distance;
    limit = std::min(limit, static_cast<T>(worst - norm + 2 * candidates_.error(norm + worst)));
    for (index_t c = 0; c < k_; ++c) {
      row[c] = found_.data()[c].index;
      low[c] =
          static_cast<T>(found_.data()[c].distance - norm - f) - candidates_.twice_error(row[c]);
    }
    count = k_;
  }

  // The first k of the shortlist by true distance, then by row, in found_; how many there are.
  index_t settle(index_t j, index_t count) {
    const index_t* const row = row_.data() + j * room_;
    squared_distances(x_, begin_ + j, y_, row, count, exact_.data());
    for (index_t c = 0; c < count; ++c) found_.data()[c] = {exact_.data()[c], row[c]};
    const index_t n = std::min(k_, count);
    std::partial_sort(found_.data(), found_.data() + n, found_.data() + count);
    return n;
  }

  MatrixView<const T> x_, y_;
  const Candidates<T>& candidates_;
  index_t begin_, k_, room_;
  std::span<const index_t> own_;
  Workspace<T> limit_, low_;
  Workspace<index_t> row_, count_;
  Workspace<T> upper_;
  Workspace<double> exact_;
  Workspace<Found> found_;
};

// Queries of a task, and those whose shortlists are kept while the parts of y pass by.
constexpr index_t task_queries = 512, most_queries = 16384;

template <class T>
bool by_tiles(const Euclidean& metric, MatrixView<const T> x, MatrixView<const T> y, index_t k,
              std::span<const index_t> own, MatrixView<index_t> indices,
              MatrixView<double> distances) {
  Candidates<T> candidates(y, x);
  if (!candidates.in_range()) return false;
  const index_t grain =
      std::clamp<index_t>((chunk_count(x.rows, 8) + 31) / 32 * 32, 32, task_queries);
  for (index_t base = 0; base < x.rows; base += most_queries) {
    const index_t n = std::min(most_queries, x.rows - base);
    std::vector<Shortlists<T>> lists;
    lists.reserve(static_cast<std::size_t>(chunk_count(n, grain)));
    for (index_t i = 0; i < n; i += grain) {
      lists.emplace_back(x, y, candidates, base + i, base + std::min(n, i + grain), k, own);
    }
    for (index_t part = 0; part < candidates.parts(); ++part) {
      candidates.pack(part);
      parallel_for(n, grain, [&](index_t task, index_t begin, index_t end) {
        Shortlists<T>& mine = lists[static_cast<std::size_t>(task)];
        candidates.search(x, base + begin, base + end, mine.limit(), {&mine, &mine.hit});
      });
    }
    parallel_for(n, grain, [&](index_t task, index_t begin, index_t end) {
      for (index_t i = begin; i < end; ++i) {
        lists[static_cast<std::size_t>(task)].finish(metric, i - begin, indices.row(base + i),
                                                     distances.row(base + i));
      }
    });
  }
  return true;
}

}  // namespace

template <class T>
void nearest(MatrixView<const T> x, MatrixView<const T> y, index_t k, Measure measure,
             std::span<const index_t> own, const TreeArrays<T>& tree, MatrixView<index_t> indices,
             MatrixView<double> distances) {
  if (x.rows == 0 || k == 0) return;
  if (!tree.empty()) {
    const Tree<T> grown(tree, y.rows, y.cols);
    with_tree_metric(measure, "neighbors.nearest", [&](const auto& metric) {
      by_tree(metric, x, grown, k, own, indices, distances);
    });
    return;
  }
  if (is_euclidean(measure) && x.cols > kFewFeatures && y.rows > 64 &&
      by_tiles({{}, measure.metric}, x, y, k, own, indices, distances)) {
    return;
  }
  with_metric(measure, "neighbors.nearest",
              [&](const auto& metric) { by_scan(metric, x, y, k, own, indices, distances); });
}

KERNELMILL_FOR_FLOATS(nearest)

}  // namespace kernelmill::neighbors
