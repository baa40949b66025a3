// How sequences are spread over threads. The bounds depend on lengths and K alone.
#pragma once

#include <algorithm>  // std::max
#include <vector>     // spans

#include "core/matrix.hpp"  // index_t
#include "ops/hmm.hpp"      // Lengths

namespace kernelmill::hmm {

// One sequence: rows [begin, begin + length) of the data; never empty.
struct Span {
  index_t number, begin, length;
};

struct Plan {
  std::vector<Span> split;       // worth several threads each
  std::vector<Span> whole;       // the others
  std::vector<std::size_t> cut;  // chunk c holds whole[cut[c]] .. whole[cut[c + 1]]
  index_t block;                 // rows of a split sequence that are worth a task

  index_t chunks() const { return static_cast<index_t>(cut.size()) - 1; }
};

// `row_work` is the time of a row in nanoseconds, roughly. A chunk is worth 50 us and so many rows
// that adding up its (K, K) sums costs little beside them. A sequence is split when it is worth
// 200 us and is at least a 32nd of all rows: fewer of those would leave threads without work.
inline Plan make_plan(Lengths lengths, index_t row_work, index_t min_rows = 1) {
  constexpr index_t chunk_work = 50'000, split_work = 200'000, most_split = 32;
  Plan plan;
  index_t total = 0;
  for (const index_t length : lengths) total += length;
  plan.block = std::max({min_rows, chunk_work / row_work, index_t{1}});
  plan.cut.push_back(0);
  index_t begin = 0, open = 0;
  for (std::size_t s = 0; s < lengths.size(); ++s) {
    const index_t length = lengths[s];
    if (length == 0) continue;
    const Span span{static_cast<index_t>(s), begin, length};
    begin += length;
    if (length >= std::max(split_work / row_work, 2 * plan.block) && length >= total / most_split) {
      plan.split.push_back(span);
      continue;
    }
    plan.whole.push_back(span);
    open += length;
    if (open >= plan.block) {
      plan.cut.push_back(plan.whole.size());
      open = 0;
    }
  }
  if (plan.cut.back() != plan.whole.size()) plan.cut.push_back(plan.whole.size());
  return plan;
}

}  // namespace kernelmill::hmm
