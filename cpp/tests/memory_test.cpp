// core/memory.hpp: size classes, reuse, the capacity, threads, fork and a bad environment; and what
// core/workspace.hpp keeps.
#include <gtest/gtest.h>

#include <algorithm>  // std::max
#include <atomic>     // stop flag
#include <cstdint>    // std::uintptr_t
#include <cstring>    // std::memset
#include <set>        // distinct addresses
#include <stdexcept>  // std::invalid_argument
#include <string>     // messages
#include <thread>     // concurrent use
#include <vector>     // blocks

#if defined(__unix__) || defined(__APPLE__)
#include <sys/wait.h>  // waitpid
#include <unistd.h>    // fork
#endif

#include "core/memory.hpp"
#include "core/workspace.hpp"

namespace kernelmill {
namespace {

class Memory : public ::testing::Test {
 protected:
  void SetUp() override {
    set_pool_capacity(std::size_t{1} << 28);
    pool_trim();
    live_before_ = pool_stats().live_bytes;
  }
  std::size_t live_before_ = 0;
};

TEST_F(Memory, ClassesWasteAtMostAnEighth) {
  std::size_t previous = 0;
  for (std::size_t bytes = 1; bytes < (std::size_t{1} << 50); bytes += bytes / 61 + 1) {
    const std::size_t size = pool_class_bytes(bytes);
    ASSERT_GE(size, bytes);
    ASSERT_LE(size - bytes, std::max<std::size_t>(bytes / 8, 63)) << bytes;
    ASSERT_GE(size, previous) << "classes must not fall";
    ASSERT_EQ(pool_class_bytes(size), size) << "a class holds itself";
    previous = size;
  }
  EXPECT_EQ(pool_class_bytes(0), 64u);
  EXPECT_EQ(pool_class_bytes(std::size_t{1} << 26), std::size_t{1} << 26);
  EXPECT_EQ(pool_class_bytes((std::size_t{1} << 26) + 1), std::size_t{9} << 23);
}

TEST_F(Memory, AlignedWritableDistinct) {
  std::set<void*> seen;
  std::vector<void*> blocks;
  for (std::size_t bytes :
       {std::size_t{0}, std::size_t{1}, std::size_t{64}, std::size_t{65}, std::size_t{100000},
        std::size_t{4} << 20, (std::size_t{5} << 20) + 7}) {
    void* p = pool_allocate(bytes);
    ASSERT_NE(p, nullptr);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(p) % 64, 0u);
    if (bytes >= (std::size_t{4} << 20)) {
      EXPECT_EQ(reinterpret_cast<std::uintptr_t>(p) % (1u << 21), 0u);
    }
    std::memset(p, 0xa5, bytes);
    EXPECT_TRUE(seen.insert(p).second);
    blocks.push_back(p);
  }
  for (void* p : blocks) pool_release(p);
  EXPECT_EQ(pool_stats().live_bytes, live_before_);
}

TEST_F(Memory, ReusesTheNewestOfTheClass) {
  void* a = pool_allocate(100000);
  void* b = pool_allocate(100000);
  pool_release(a);
  pool_release(b);
  const auto hits = pool_stats().hits;
  EXPECT_EQ(pool_allocate(99999), b);  // newest first: its lines may still be in the cache
  EXPECT_EQ(pool_allocate(100001), a);
  EXPECT_EQ(pool_stats().hits, hits + 2);
  EXPECT_EQ(pool_stats().cached_bytes, 0u);
  pool_release(a);
  pool_release(b);
}

TEST_F(Memory, CapacityEvictsTheOldest) {
  const std::size_t size = std::size_t{1} << 20;
  set_pool_capacity(3 * size);
  std::vector<void*> blocks;
  for (int i = 0; i < 4; ++i) blocks.push_back(pool_allocate(size));
  for (void* p : blocks) pool_release(p);
  EXPECT_EQ(pool_stats().cached_bytes, 3 * size);
  std::vector<void*> again;
  const auto misses = pool_stats().misses;
  for (int i = 0; i < 3; ++i) again.push_back(pool_allocate(size));
  EXPECT_EQ(pool_stats().misses, misses);
  EXPECT_EQ(again[0], blocks[3]);
  EXPECT_EQ(again[2], blocks[1]) << "block 0 was kept longest and had to go";
  for (void* p : again) pool_release(p);
  void* large = pool_allocate(2 * size);
  pool_release(large);  // makes room across classes
  EXPECT_EQ(pool_stats().cached_bytes, 3 * size);
  void* larger = pool_allocate(4 * size);
  pool_release(larger);  // never fits, so nothing is thrown out for it
  EXPECT_EQ(pool_stats().cached_bytes, 3 * size);
  set_pool_capacity(size);
  EXPECT_LE(pool_stats().cached_bytes, size);
}

TEST_F(Memory, ZeroCapacityKeepsNothing) {
  set_pool_capacity(0);
  pool_release(pool_allocate(1 << 20));
  EXPECT_EQ(pool_stats().cached_bytes, 0u);
}

TEST_F(Memory, TrimReturnsEverything) {
  pool_release(pool_allocate(1 << 20));
  pool_release(pool_allocate(1 << 16));
  EXPECT_EQ(pool_trim(), std::size_t{(1 << 20) + (1 << 16)});
  EXPECT_EQ(pool_stats().cached_bytes, 0u);
  EXPECT_EQ(pool_trim(), 0u);
}

TEST_F(Memory, IgnoresNullStrangersAndSecondReleases) {
  int local = 0;
  pool_release(nullptr);
  pool_release(&local);
  void* p = pool_allocate(1000);
  pool_release(p);
  const std::size_t cached = pool_stats().cached_bytes;
  pool_release(p);
  EXPECT_EQ(pool_stats().cached_bytes, cached);
  void* a = pool_allocate(1000);
  void* b = pool_allocate(1000);
  EXPECT_NE(a, b) << "a block released twice must not be handed out twice";
  pool_release(a);
  pool_release(b);
}

TEST_F(Memory, HugeRequestThrowsBadAlloc) {
  EXPECT_THROW(static_cast<void>(pool_allocate(~std::size_t{0})), std::bad_alloc);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)  // these abort by themselves
  EXPECT_THROW(static_cast<void>(pool_allocate(std::size_t{1} << 61)), std::bad_alloc);
#endif
}

TEST_F(Memory, ThreadsNeverShareABlock) {
  std::vector<std::thread> threads;
  std::vector<int> clashes(4, 0);
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([t, &clashes] {
      std::uint32_t state = 17u + static_cast<std::uint32_t>(t);
      std::vector<std::pair<unsigned char*, std::size_t>> held;
      for (int i = 0; i < 3000; ++i) {
        state = state * 1664525u + 1013904223u;
        if (held.size() < 8) {
          const std::size_t bytes = 1 + (state >> 12) % 200000;
          auto* p = static_cast<unsigned char*>(pool_allocate(bytes));
          p[0] = p[bytes - 1] = static_cast<unsigned char>(t);
          held.emplace_back(p, bytes);
        } else {
          const auto [p, bytes] = held[state % 8];
          held.erase(held.begin() + state % 8);
          if (p[0] != t || p[bytes - 1] != t) ++clashes[static_cast<std::size_t>(t)];
          pool_release(p);
        }
      }
      for (auto [p, bytes] : held) pool_release(p);
    });
  }
  for (auto& thread : threads) thread.join();
  for (int c : clashes) EXPECT_EQ(c, 0);
  EXPECT_EQ(pool_stats().live_bytes, live_before_);
}

#if (defined(__unix__) || defined(__APPLE__)) && !defined(__SANITIZE_THREAD__)
// Forks again and again while another thread is inside the pool: without the fork handlers a child
// soon inherits a locked mutex and hangs (the alarm turns that into a failure).
TEST_F(Memory, UsableInAForkedChild) {
  std::atomic<bool> stop = false;
  std::thread busy([&] {
    while (!stop) pool_release(pool_allocate(4096));
  });
  int bad = 0;
  for (int i = 0; i < 50; ++i) {
    const pid_t child = fork();
    if (child == 0) {
      alarm(10);
      for (int k = 0; k < 10; ++k) pool_release(pool_allocate(1 << 16));
      _exit(0);
    }
    int status = -1;
    waitpid(child, &status, 0);
    bad += status != 0;
  }
  stop = true;
  busy.join();
  EXPECT_EQ(bad, 0);
}

// The variable is read once, at first use, so the question needs a process of its own.
TEST(MemoryEnvironment, BadCapacityIsRefused) {
  for (const char* text : {"1G", "", "-1", " 5", "99999999999999999999999"}) {
    const pid_t child = fork();
    if (child == 0) {
      setenv("KERNELMILL_POOL_BYTES", text, 1);
      execl("/proc/self/exe", "memory_test", "--gtest_filter=MemoryChild.*",
            "--gtest_also_run_disabled_tests", static_cast<char*>(nullptr));
      _exit(99);
    }
    int status = -1;
    waitpid(child, &status, 0);
    EXPECT_EQ(status, 0) << "KERNELMILL_POOL_BYTES='" << text << "'";
  }
}

TEST(MemoryChild, DISABLED_RefusesEveryTime) {
  for (int i = 0; i < 2; ++i) {  // the failed construction is not remembered as done
    try {
      pool_release(pool_allocate(10));
      FAIL() << "accepted";
    } catch (const std::invalid_argument& error) {
      EXPECT_NE(std::string(error.what()).find("KERNELMILL_POOL_BYTES must be a whole number"),
                std::string::npos)
          << error.what();
    }
  }
}
#endif

// core/workspace.hpp: what a loop takes and gives back again and again, it gets without the system.
TEST(Workspace, LargeBlocksAreNotSpentOnSmallRequests) {
  constexpr std::size_t large = std::size_t{8} << 20;
  for (int round = 0; round < 8; ++round) {
    std::vector<Workspace<char>> small;  // more blocks than a thread keeps
    for (std::size_t i = 1; i <= 8; ++i) small.emplace_back(1000 * i);
    const Workspace<char> middle(large / 10), one(large), two(large);
    for (const Workspace<char>* block : {&one, &two}) {
      char& mark = block->data()[large / 2];  // fresh pages hold zeros
      if (round > 0) {
        EXPECT_EQ(mark, 'k') << "round " << round;
      }
      mark = 'k';
    }
  }
}

TEST(Workspace, BlocksOfNearlyTheSizeAreUsedAgain) {
  const void* first = nullptr;
  {
    const Workspace<char> block(1 << 20);
    first = block.data();
  }
  const Workspace<char> block((1 << 20) - 12345);
  EXPECT_EQ(block.data(), first);
}

// Released after main(): the pool must still be there (run under ASan this is a real check).
struct Late {
  void* memory = nullptr;
  ~Late() { pool_release(memory); }
} late;

TEST(MemoryExit, ReleaseAfterMain) { late.memory = pool_allocate(12345); }

}  // namespace
}  // namespace kernelmill
