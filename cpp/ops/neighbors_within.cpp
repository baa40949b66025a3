// All rows within a radius: counted, or listed.
#include "ops/neighbors_within.hpp"

#include <vector>  // rows found

#include "ops/neighbors_blocks.hpp"
#include "ops/neighbors_tiles.hpp"

namespace kernelmill::neighbors {
namespace {

template <class M, class T>
void by_tree(const M& metric, MatrixView<const T> x, const Tree<T>& tree, double limit,
             std::span<const index_t> own, const Visitor& visitor) {
  const index_t d = x.cols;
  const bool each = visitor.whole == nullptr;
  parallel_for(x.rows, 64, [&](index_t, index_t begin, index_t end) {
    const Workspace<double> q(static_cast<std::size_t>(d));
    struct Item {
      int level;
      index_t group;
    };
    std::array<Item, 24 * kFan> stack;
    for (index_t i = begin; i < end; ++i) {
      copy_row(x, i, q.data());
      const index_t skip = own.empty() ? -1 : own[static_cast<std::size_t>(i)];
      std::size_t waiting = 0;
      stack[waiting++] = {tree.levels.count() - 1, 0};
      while (waiting > 0) {
        const auto [level, group] = stack[--waiting];
        alignas(64) double near[kFan], far[kFan];
        const double* const boxes = tree.group(level, group);
        near_bounds(metric, q.data(), q.data(), boxes, d, near);
        if (!each) far_bounds(metric, q.data(), q.data(), boxes, d, far);
        const index_t first = group * kFan;
        const index_t count = std::min(kFan, tree.levels.items(level) - first);
        for (index_t l = 0; l < count; ++l) {
          const index_t item = first + l;
          if (!(near[l] <= limit)) continue;
          // The query itself must be left out one by one.
          if (!each && skip < 0 && far[l] <= limit) {
            visitor.whole(visitor.self, i,
                          tree.item_begin(level, item + 1) - tree.item_begin(level, item));
          } else if (level > 0) {
            stack[waiting++] = {level - 1, item};
          } else {
            const index_t at = tree.begin(item), size = tree.size(item);
            alignas(64) double distance[kWidth];
            block_distances(metric, q.data(), tree.leaf(item), d, size, distance);
            for (index_t r = 0; r < size; ++r) {
              if (!(distance[r] <= limit)) continue;
              const index_t row = tree.order[at + r];
              if (row != skip) visitor.found(visitor.self, i, row, distance[r]);
            }
          }
        }
      }
    }
  });
}

template <class M, class T>
void by_scan(const M& metric, MatrixView<const T> x, MatrixView<const T> y, double limit,
             std::span<const index_t> own, const Visitor& visitor) {
  parallel_for(x.rows, scan_grain(x.rows), [&](index_t, index_t begin, index_t end) {
    scan(metric, x, begin, end - begin, y,
         [&](index_t i, index_t from, const double* distance, index_t count) {
           const index_t skip = own.empty() ? -1 : own[static_cast<std::size_t>(begin + i)];
           for (index_t l = 0; l < count; ++l) {
             if (distance[l] <= limit && from + l != skip) {
               visitor.found(visitor.self, begin + i, from + l, distance[l]);
             }
           }
         });
  });
}

template <class T>
bool by_tiles(MatrixView<const T> x, MatrixView<const T> y, double limit,
              std::span<const index_t> own, const Visitor& visitor) {
  Candidates<T> candidates(y, x);
  if (!candidates.in_range()) return false;
  constexpr index_t grain = 256;
  struct Task {
    MatrixView<const T> x, y;
    double limit;
    index_t begin;
    std::span<const index_t> own;
    const Visitor& visitor;
  };
  const auto hit = [](void* self, index_t j, index_t row, T) {
    const Task& task = *static_cast<Task*>(self);
    const index_t i = task.begin + j;
    if (!task.own.empty() && task.own[static_cast<std::size_t>(i)] == row) return;
    double distance;
    squared_distances(task.x, i, task.y, &row, 1, &distance);
    if (distance <= task.limit) task.visitor.found(task.visitor.self, i, row, distance);
  };
  for (index_t part = 0; part < candidates.parts(); ++part) {
    candidates.pack(part);
    parallel_for(x.rows, grain, [&](index_t, index_t begin, index_t end) {
      const index_t n = end - begin;
      const Workspace<T> limits(static_cast<std::size_t>(n + Candidates<T>::kPadding));
      for (index_t j = 0; j < n; ++j) {
        const double norm = candidates.norm(x, begin + j);
        limits.data()[j] =
            static_cast<T>(limit - norm + 2 * candidates.error(norm + std::max(0.0, limit)));
      }
      Task task{x, y, limit, begin, own, visitor};
      candidates.search(x, begin, end, limits.data(), {&task, hit});
    });
  }
  return true;
}

}  // namespace

template <class T>
void visit(MatrixView<const T> x, MatrixView<const T> y, double radius, Measure measure,
           std::span<const index_t> own, const TreeArrays<T>& tree, const char* op,
           const Visitor& visitor) {
  if (!tree.empty()) {
    const Tree<T> grown(tree, y.rows, y.cols);
    with_tree_metric(measure, op, [&](const auto& metric) {
      by_tree(metric, x, grown, reduced_limit(metric, radius, x.cols), own, visitor);
    });
    return;
  }
  if (is_euclidean(measure) && x.cols > kFewFeatures && y.rows > 64 && radius < kInfinity &&
      by_tiles(x, y, reduced_limit(Euclidean{{}, measure.metric}, radius, x.cols), own, visitor)) {
    return;
  }
  with_metric(measure, op, [&](const auto& metric) {
    by_scan(metric, x, y, reduced_limit(metric, radius, x.cols), own, visitor);
  });
}

template <class T>
void within(MatrixView<const T> x, MatrixView<const T> y, double radius, Measure measure,
            std::span<const index_t> own, const TreeArrays<T>& tree, std::span<index_t> counts) {
  std::fill(counts.begin(), counts.end(), 0);
  const Visitor visitor{
      counts.data(),
      [](void* count, index_t i, index_t, double) { ++static_cast<index_t*>(count)[i]; },
      [](void* count, index_t i, index_t more) { static_cast<index_t*>(count)[i] += more; }};
  visit(x, y, radius, measure, own, tree, "neighbors.within", visitor);
}

template <class T>
void lists(MatrixView<const T> x, MatrixView<const T> y, double radius, Measure measure,
           std::span<const index_t> offsets, std::span<const index_t> own,
           const TreeArrays<T>& tree, std::span<index_t> indices, std::span<double> distances) {
  const index_t n = x.rows, total = static_cast<index_t>(indices.size());
  bool rise = offsets[0] == 0 && offsets[static_cast<std::size_t>(n)] == total;
  for (std::size_t i = 0; rise && i + 1 < offsets.size(); ++i) rise = offsets[i] <= offsets[i + 1];
  const auto refuse = [] {
    invalid("neighbors.lists", "offsets must be the sums of what within counts, got others");
  };
  if (!rise) refuse();
  struct Lists {
    index_t *next, *index;
    double* distance;
    const index_t* offset;
  };
  std::vector<index_t> at(offsets.begin(), offsets.end() - 1);
  Lists all{at.data(), indices.data(), distances.data(), offsets.data()};
  const Visitor visitor{&all,
                        [](void* self, index_t i, index_t row, double reduced) {
                          const Lists& to = *static_cast<Lists*>(self);
                          if (to.next[i] < to.offset[i + 1]) {
                            to.index[to.next[i]] = row;
                            to.distance[to.next[i]] = reduced;
                          }
                          ++to.next[i];
                        },
                        nullptr};
  visit(x, y, radius, measure, own, tree, "neighbors.lists", visitor);
  const index_t *const next = all.next, *const offset = all.offset;
  index_t* const index = all.index;
  double* const distance = all.distance;
  for (index_t i = 0; i < n; ++i) {
    if (next[i] != offset[i + 1]) refuse();
  }
  // A tree finds rows in the order of its leaves.
  with_metric(measure, "neighbors.lists", [&](const auto& metric) {
    parallel_for(n, 256, [&](index_t, index_t begin, index_t end) {
      std::vector<std::pair<index_t, double>> own_list;
      for (index_t i = begin; i < end; ++i) {
        const index_t from = offset[i], to = offset[i + 1];
        own_list.clear();
        for (index_t r = from; r < to; ++r) own_list.emplace_back(index[r], distance[r]);
        std::sort(own_list.begin(), own_list.end());
        for (index_t r = from; r < to; ++r) {
          const auto& [row, reduced] = own_list[static_cast<std::size_t>(r - from)];
          index[r] = row;
          distance[r] = metric.finish(reduced, x.cols);
        }
      }
    });
  });
}

KERNELMILL_FOR_FLOATS(visit)
KERNELMILL_FOR_FLOATS(within)
KERNELMILL_FOR_FLOATS(lists)

}  // namespace kernelmill::neighbors
