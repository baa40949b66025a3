// How work on many nodes is cut into tasks.
#pragma once

#include <vector>  // std::vector

#include "ops/tree.hpp"  // Spans

namespace kernelmill::tree {

// Entries of a task: 20 to 100 us.
constexpr index_t kTaskEntries = 1 << 14;

// Neighbouring nodes whose rows times features are few share a task; a node with many is a task of
// its own, or one for each feature.
struct Task {
  index_t first, last;  // nodes
  index_t feature;      // -1: all of them
};

inline std::vector<Task> tasks_of(Spans spans, index_t features, bool by_feature) {
  std::vector<Task> tasks;
  index_t entries = 0;
  for (index_t i = 0; i < spans.rows; ++i) {
    const index_t own = (spans(i, 1) - spans(i, 0)) * features;
    if (by_feature && own > kTaskEntries) {
      for (index_t f = 0; f < features; ++f) tasks.push_back({i, i + 1, f});
      entries = kTaskEntries + 1;  // the next node begins a task
    } else if (tasks.empty() || entries + own > kTaskEntries) {
      tasks.push_back({i, i + 1, -1});
      entries = own;
    } else {
      tasks.back().last = i + 1;
      entries += own;
    }
  }
  return tasks;
}

// f(node, feature) for all of a task, feature by feature within a node.
template <class F>
void each_feature(const Task& task, index_t features, F f) {
  for (index_t i = task.first; i < task.last; ++i) {
    if (task.feature >= 0) {
      f(i, task.feature);
    } else {
      for (index_t j = 0; j < features; ++j) f(i, j);
    }
  }
}

}  // namespace kernelmill::tree
