// Rows of the bins that are looked into.
#pragma once

#include <algorithm>  // std::min, std::max, std::fill_n
#include <cstdint>    // std::int32_t
#include <vector>     // marks of bins

#include "core/workspace.hpp"  // Workspace
#include "ops/tree_sort.hpp"   // Bins

namespace kernelmill::tree {

// Puts the rows of open bins side by side, bin after bin: of as many bins at once as have an eighth
// of all rows, so that they take little memory even where every bin is open.
template <class Row>
class OpenBins {
 public:
  // The marks of so many bins, to be set.
  std::uint8_t* marks(index_t bins) {
    if (std::ssize(open_) < bins) {
      const auto size = static_cast<std::size_t>(bins);
      open_.resize(size);
      now_.resize(size);
      place_.resize(size);
      first_.resize(size);
    }
    return open_.data();
  }

  // Before the first bin is looked into; `distinct` says that the rows of a bin may well all have
  // one rank.
  void begin(const Bins& bins, const std::int32_t* ranks, const Row* rows, index_t n,
             bool distinct) {
    bins_ = &bins;
    from_ranks_ = ranks;
    from_ = rows;
    n_ = n;
    distinct_ = distinct;
    end_ = 0;
  }

  struct Span {
    const std::int32_t* ranks;
    const Row* rows;
    index_t n;
    std::int32_t lo, hi;
  };
  // The rows of open bin b; bins come in rising order. `count_of` gives the number of rows of a
  // bin.
  template <class Count>
  Span of(index_t b, const Count& count_of) {
    if (b >= end_) gather(b, count_of);
    const index_t n = count_of(b), begin = place_[static_cast<std::size_t>(b)] - n;
    if (!now_[static_cast<std::size_t>(b)]) return {nullptr, nullptr, 0, 0, 0};  // of one rank
    const std::int32_t* const own = ranks_.data() + begin;
    Span span{own, rows_.data() + begin, n, own[0], own[0]};
    for (index_t i = 1; i < n; ++i) {
      span.lo = std::min(span.lo, own[i]);
      span.hi = std::max(span.hi, own[i]);
    }
    return span;
  }

 private:
  static constexpr index_t kFewRows = 4096;  // are gathered at once

  template <class Count>
  void gather(index_t b, const Count& count_of) {
    const index_t most = std::max(kFewRows, n_ / 8), bins = bins_->count;
    std::fill_n(now_.data(), b, std::uint8_t{0});
    index_t rows = 0;
    for (end_ = b; end_ < bins; ++end_) {
      const auto at = static_cast<std::size_t>(end_);
      const index_t own = open_[at] != 0 ? count_of(end_) : 0;
      if (rows > 0 && rows + own > most) break;
      now_[at] = open_[at];
      place_[at] = static_cast<std::int32_t>(rows);
      rows += own;
    }
    std::fill_n(now_.data() + end_, bins - end_, std::uint8_t{0});
    if (room_ <= rows) {  // one more: a row is written before it is known to belong
      room_ = rows + 1;
      const auto room = static_cast<std::size_t>(room_);
      rows_ = Workspace<Row>(room);
      ranks_ = Workspace<std::int32_t>(room);
      chosen_ = Workspace<std::int32_t>(room);
    }
    std::int32_t* const chosen = chosen_.data();
    index_t count = 0;
    bins_->each(from_ranks_, n_, [&](index_t i, std::int32_t own) {
      chosen[count] = static_cast<std::int32_t>(i);
      count += now_[static_cast<std::size_t>(own)];
    });
    if (distinct_) count = keep_distinct(chosen, count);
    for (index_t c = 0; c < count; ++c) {
      const std::int32_t i = chosen[c], rank = from_ranks_[i];
      const std::int32_t to = place_[static_cast<std::size_t>(bins_->of(rank))]++;
      rows_.data()[to] = from_[i];
      ranks_.data()[to] = rank;
    }
  }

  // Leaves out bins whose rows all have one rank.
  index_t keep_distinct(std::int32_t* chosen, index_t count) {
    constexpr std::uint8_t kOne = 1, kSeveral = 2;
    for (index_t c = count; c-- > 0;) {  // the first comes last
      const std::int32_t rank = from_ranks_[chosen[c]];
      first_[static_cast<std::size_t>(bins_->of(rank))] = rank;
    }
    for (index_t c = 0; c < count; ++c) {
      const std::int32_t rank = from_ranks_[chosen[c]];
      const auto at = static_cast<std::size_t>(bins_->of(rank));
      now_[at] |= static_cast<std::uint8_t>(rank != first_[at] ? kSeveral : kOne);
    }
    for (std::uint8_t& mark : now_) mark = mark >= kSeveral ? kOne : std::uint8_t{0};
    index_t kept = 0;
    for (index_t c = 0; c < count; ++c) {
      const std::int32_t i = chosen[c];
      chosen[kept] = i;
      kept += now_[static_cast<std::size_t>(bins_->of(from_ranks_[i]))];
    }
    return kept;
  }

  const Bins* bins_ = nullptr;
  const std::int32_t* from_ranks_ = nullptr;
  const Row* from_ = nullptr;
  index_t n_ = 0, end_ = 0, room_ = 0;
  bool distinct_ = false;
  std::vector<std::uint8_t> open_, now_;
  std::vector<std::int32_t> place_, first_;
  Workspace<Row> rows_{0};
  Workspace<std::int32_t> ranks_{0}, chosen_{0};
};

}  // namespace kernelmill::tree
