// Map and reduce over chunks: the same bits at any thread count, merges in chunk order, one at a
// time.

#include <gtest/gtest.h>

#include <algorithm>  // std::min
#include <atomic>     // std::atomic
#include <chrono>     // std::chrono
#include <cmath>      // std::sin
#include <numeric>    // std::iota
#include <stdexcept>  // std::runtime_error
#include <thread>     // std::this_thread
#include <vector>     // std::vector

#include "core/parallel.hpp"

namespace kernelmill {
namespace {

using namespace std::chrono_literals;

class OrderedReduce : public ::testing::Test {
 protected:
  void TearDown() override { set_thread_limit(0); }
};

float rough_sum(index_t n, index_t grain) {
  return ordered_reduce<float>(
      n, grain, [] { return 0.0f; },
      [](float& sum, index_t, index_t begin, index_t end) {
        for (index_t i = begin; i < end; ++i) sum += std::sin(static_cast<float>(i)) * 1e3f;
      },
      [](float& into, float&& from) { into += from; });
}

TEST_F(OrderedReduce, HasTheSameBitsAtAnyThreadCount) {
  for (const index_t n : {0, 1, 99, 100, 101, 10007}) {
    set_thread_limit(1);
    const float alone = rough_sum(n, 100);
    float by_hand = 0;  // the definition: chunk sums folded in chunk order
    for (index_t c = 0; c < chunk_count(n, 100); ++c) {
      float sum = 0;
      for (index_t i = c * 100; i < std::min(n, (c + 1) * 100); ++i) {
        sum += std::sin(static_cast<float>(i)) * 1e3f;
      }
      by_hand = c == 0 ? sum : by_hand + sum;
    }
    EXPECT_FLOAT_EQ(alone, by_hand);
    for (const int limit : {2, 7}) {
      set_thread_limit(limit);
      for (int round = 0; round < 50; ++round) ASSERT_EQ(rough_sum(n, 100), alone) << "n = " << n;
    }
  }
}

TEST_F(OrderedReduce, MergesInChunkOrder) {
  using List = std::vector<index_t>;
  std::vector<index_t> expected(200);
  std::iota(expected.begin(), expected.end(), 0);
  for (const int limit : {1, 2, 7}) {
    set_thread_limit(limit);
    for (int round = 0; round < 20; ++round) {
      const List order = ordered_reduce<List>(
          200, 1, [] { return List(); },
          [&](List& list, index_t c, index_t, index_t) {
            if ((c + round) % 17 == 0) std::this_thread::sleep_for(100us);
            list.push_back(c);
          },
          [](List& into, List&& from) { into.insert(into.end(), from.begin(), from.end()); });
      ASSERT_EQ(order, expected);
    }
  }
}

TEST_F(OrderedReduce, NeverMergesTwiceAtATime) {
  set_thread_limit(7);
  std::atomic<int> merging{0};
  const index_t sum = ordered_reduce<index_t>(
      200, 1, [] { return index_t{0}; },
      [](index_t& state, index_t c, index_t, index_t) {
        std::this_thread::sleep_for(20us);
        state = c;
      },
      [&](index_t& into, index_t&& from) {
        EXPECT_EQ(merging.fetch_add(1), 0);
        std::this_thread::sleep_for(50us);
        into += from;
        --merging;
      });
  EXPECT_EQ(sum, 199 * 200 / 2);
}

TEST_F(OrderedReduce, PassesErrorsOfBodyAndMerge) {
  set_thread_limit(7);
  const auto reduce = [](bool in_body) {
    return ordered_reduce<int>(
        50, 1, [] { return 0; },
        [&](int&, index_t c, index_t, index_t) {
          if (in_body && c == 20) throw std::runtime_error("body");
        },
        [&](int&, int&&) {
          if (!in_body) throw std::runtime_error("merge");
        });
  };
  EXPECT_THROW(reduce(true), std::runtime_error);
  EXPECT_THROW(reduce(false), std::runtime_error);
}

}  // namespace
}  // namespace kernelmill
