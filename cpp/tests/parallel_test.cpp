// parallel_for under attack: cover, exceptions, nesting, several callers, forks, interrupts,
// changing limits, and equal bits at any thread count. Meant for ThreadSanitizer as well as for
// plain builds.
#include "core/parallel.hpp"

#include <gtest/gtest.h>

#include <pthread.h>       // pthread_sigmask
#include <signal.h>        // sigset_t, kill
#include <sys/resource.h>  // getrusage
#include <sys/wait.h>      // waitpid
#include <unistd.h>        // fork, _exit, getpid

#include <atomic>              // std::atomic
#include <chrono>              // std::chrono
#include <condition_variable>  // std::condition_variable
#include <cstdint>             // std::uint64_t
#include <functional>          // std::function
#include <set>                 // std::set
#include <stdexcept>           // std::runtime_error
#include <string>              // std::string
#include <thread>              // std::thread
#include <vector>              // std::vector

#if defined(__SSE2__)
#include <immintrin.h>  // _mm_getcsr, _mm_setcsr
#endif

#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define KERNELMILL_TSAN 1
#endif
#endif
#if defined(__SANITIZE_THREAD__)
#define KERNELMILL_TSAN 1
#endif
#if defined(KERNELMILL_TSAN)
// A child of a process with threads may start threads: exactly what the fork tests do.
extern "C" __attribute__((visibility("default"))) const char* __tsan_default_options() {
  return "die_after_fork=0";
}
#endif

namespace kernelmill {
namespace {

using namespace std::chrono_literals;

class Parallel : public ::testing::Test {
 protected:
  void TearDown() override {
    set_interrupt_poll(nullptr);
    set_thread_limit(0);
  }
};

struct Chunk {
  index_t chunk, begin, end;
  bool operator==(const Chunk&) const = default;
};

std::vector<Chunk> chunks_of(index_t n, index_t grain) {
  std::vector<Chunk> seen(static_cast<std::size_t>(chunk_count(n, grain)), Chunk{-1, -1, -1});
  parallel_for(n, grain, [&](index_t c, index_t b, index_t e) {
    seen[static_cast<std::size_t>(c)] = {c, b, e};
  });
  return seen;
}

TEST_F(Parallel, ChunksCoverTheRangeAndDependOnDataOnly) {
  for (const index_t n : {0, 1, 2, 15, 16, 17, 1000}) {
    for (const index_t grain : {1, 3, 16, 2000}) {
      for (const int limit : {1, 2, 7}) {
        set_thread_limit(limit);
        const std::vector<Chunk> seen = chunks_of(n, grain);
        index_t expected = 0;
        for (std::size_t c = 0; c < seen.size(); ++c) {
          const index_t end = std::min(n, expected + grain);
          EXPECT_EQ(seen[c], (Chunk{static_cast<index_t>(c), expected, end}));
          expected = end;
        }
        EXPECT_EQ(expected, n);
      }
    }
  }
}

TEST_F(Parallel, EveryChunkRunsOnce) {
  set_thread_limit(7);
  for (int round = 0; round < 300; ++round) {
    std::vector<std::atomic<int>> runs(97);
    parallel_for(97, 1, [&](index_t c, index_t, index_t) { ++runs[static_cast<std::size_t>(c)]; });
    for (const auto& count : runs) ASSERT_EQ(count.load(), 1);
  }
}

TEST_F(Parallel, SizesBeyond32Bits) {
  set_thread_limit(2);
  const index_t n = (index_t{1} << 40) + 5;
  const index_t grain = index_t{1} << 38;
  EXPECT_EQ(chunk_count(n, grain), 5);
  EXPECT_EQ(chunks_of(n, grain).back(), (Chunk{4, 4 * grain, n}));
}

TEST_F(Parallel, RefusesAGrainBelowOne) {
  EXPECT_THROW(parallel_for(10, 0, [](index_t, index_t, index_t) {}), std::invalid_argument);
  EXPECT_THROW(set_thread_limit(-1), std::invalid_argument);
}

// Waits until `count` threads have arrived, or gives up; true when they all did.
class Meeting {
 public:
  explicit Meeting(int count) : missing_(count) {}
  bool arrive(std::chrono::milliseconds patience) {
    std::unique_lock lock(mutex_);
    if (--missing_ <= 0) all_.notify_all();
    return all_.wait_for(lock, patience, [&] { return missing_ <= 0; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable all_;
  int missing_;
};

TEST_F(Parallel, ThreadsReallyRunAtTheSameTime) {
  for (const int limit : {2, 7}) {
    set_thread_limit(limit);
    Meeting meeting(limit);
    std::atomic<int> met{0};
    parallel_for(limit, 1, [&](index_t, index_t, index_t) { met += meeting.arrive(20s); });
    EXPECT_EQ(met.load(), limit);
  }
}

TEST_F(Parallel, NeverMoreThreadsThanTheLimit) {
  set_thread_limit(7);
  parallel_for(7, 1, [](index_t, index_t, index_t) { std::this_thread::sleep_for(1ms); });
  for (const int limit : {1, 2, 3}) {
    set_thread_limit(limit);
    for (int round = 0; round < 20; ++round) {
      std::atomic<int> inside{0};
      std::atomic<int> most{0};
      parallel_for(12, 1, [&](index_t, index_t, index_t) {
        const int now = ++inside;
        int seen = most.load();
        while (seen < now && !most.compare_exchange_weak(seen, now)) {
        }
        std::this_thread::sleep_for(100us);
        --inside;
      });
      EXPECT_LE(most.load(), limit);
    }
  }
}

TEST_F(Parallel, OneChunkOrALimitOfOneStaysOnTheCaller) {
  const auto me = std::this_thread::get_id();
  set_thread_limit(7);
  parallel_for(10, 10,
               [&](index_t, index_t, index_t) { EXPECT_EQ(std::this_thread::get_id(), me); });
  set_thread_limit(1);
  parallel_for(10, 1,
               [&](index_t, index_t, index_t) { EXPECT_EQ(std::this_thread::get_id(), me); });
}

TEST_F(Parallel, TheLowestThrowingChunkWins) {
  for (const int limit : {1, 2, 7}) {
    set_thread_limit(limit);
    for (int round = 0; round < 100; ++round) {
      std::atomic<int> runs{0};
      try {
        parallel_for(1000, 1, [&](index_t c, index_t, index_t) {
          ++runs;
          // Even rounds: higher chunks throw before chunk 5; odd rounds: after it.
          if ((c == 5) == (round % 2 == 0)) std::this_thread::sleep_for(50us);
          if (c >= 5) throw std::runtime_error(std::to_string(c));
        });
        FAIL() << "nothing was thrown";
      } catch (const std::runtime_error& error) {
        ASSERT_STREQ(error.what(), "5");
      }
      EXPECT_LT(runs.load(), 1000);  // the rest was skipped
    }
    EXPECT_EQ(chunks_of(100, 7).size(), 15u);  // and the pool is as good as new
  }
}

TEST_F(Parallel, TheLowestThrowingChunkWinsWhicheverThrowsFirst) {
  set_thread_limit(2);
  for (const index_t late : {0, 1}) {
    Meeting meeting(2);
    try {
      parallel_for(2, 1, [&](index_t c, index_t, index_t) {
        meeting.arrive(20s);  // both chunks are running now
        if (c == late) std::this_thread::sleep_for(20ms);
        throw std::runtime_error(std::to_string(c));
      });
      FAIL() << "nothing was thrown";
    } catch (const std::runtime_error& error) {
      EXPECT_STREQ(error.what(), "0") << "chunk " << late << " threw last";
    }
  }
}

TEST_F(Parallel, NestedLoopsRunInlineAndTheirErrorsTravel) {
  set_thread_limit(7);
  std::vector<std::atomic<int>> runs(8 * 9);
  parallel_for(8, 1, [&](index_t outer, index_t, index_t) {
    const auto me = std::this_thread::get_id();
    parallel_for(9, 1, [&](index_t inner, index_t, index_t) {
      EXPECT_EQ(std::this_thread::get_id(), me);
      ++runs[static_cast<std::size_t>(outer * 9 + inner)];
    });
  });
  for (const auto& count : runs) EXPECT_EQ(count.load(), 1);
  EXPECT_THROW(parallel_for(8, 1,
                            [](index_t outer, index_t, index_t) {
                              parallel_for(9, 1, [&](index_t inner, index_t, index_t) {
                                if (outer == 3 && inner == 4) throw std::runtime_error("inner");
                              });
                            }),
               std::runtime_error);
}

TEST_F(Parallel, SeveralCallersAtOnce) {
  set_thread_limit(3);
  std::vector<std::thread> callers;
  std::vector<index_t> sums(6, 0);
  for (std::size_t k = 0; k < sums.size(); ++k) {
    callers.emplace_back([&sums, k] {
      for (int round = 0; round < 300; ++round) {
        std::atomic<index_t> sum{0};
        parallel_for(1000, 50, [&](index_t, index_t b, index_t e) { sum += e - b; });
        sums[k] += sum.load();
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
  for (const index_t sum : sums) EXPECT_EQ(sum, 300 * 1000);
}

// Two callers with a limit of two: helpers stand aside, so that no third thread computes.
TEST_F(Parallel, CallersAndHelpersTogetherStayWithinTheLimit) {
  set_thread_limit(2);
  std::atomic<int> inside{0};
  std::atomic<int> most{0};
  Meeting all(3);
  const auto run = [&] {
    parallel_for(40, 1, [&](index_t c, index_t, index_t) {
      if (c == 0) all.arrive(20s);  // from here on every loop is under way
      std::this_thread::sleep_for(1ms);
      if (c < 10) return;  // a helper that came early leaves after the chunk in hand
      const int now = ++inside;
      int seen = most.load();
      while (seen < now && !most.compare_exchange_weak(seen, now)) {
      }
      std::this_thread::sleep_for(500us);
      --inside;
    });
  };
  std::atomic<bool> done{false};
  std::thread other(run);
  std::thread noise([&] {  // whose small loops keep calling the helpers back
    all.arrive(20s);
    while (!done.load()) parallel_for(4, 1, [](index_t, index_t, index_t) {});
  });
  run();
  other.join();
  done = true;
  noise.join();
  EXPECT_LE(most.load(), 2);
}

// The first loop takes the pool; the second must get the helpers once the first is done.
TEST_F(Parallel, ALoneCallerTakesOverFreedHelpers) {
  set_thread_limit(2);
  Meeting started(3);
  std::thread first([&] {
    parallel_for(2, 1, [&](index_t, index_t, index_t) {
      started.arrive(20s);
      std::this_thread::sleep_for(20ms);
    });
  });
  std::mutex mutex;
  std::set<std::thread::id> workers;
  EXPECT_TRUE(started.arrive(20s));  // the helper is inside the first loop
  parallel_for(100, 1, [&](index_t, index_t, index_t) {
    std::this_thread::sleep_for(2ms);
    std::lock_guard lock(mutex);
    workers.insert(std::this_thread::get_id());
  });
  first.join();
  EXPECT_EQ(workers.size(), 2u);
}

TEST_F(Parallel, TheLimitMayChangeWhileLoopsRun) {
  std::atomic<bool> done{false};
  std::thread changer([&] {
    for (int limit = 1; !done.load(); limit = limit % 9 + 1) {
      set_thread_limit(limit);
      std::this_thread::sleep_for(50us);
    }
  });
  for (int round = 0; round < 1000; ++round) {
    std::atomic<index_t> sum{0};
    parallel_for(500, 10, [&](index_t, index_t b, index_t e) { sum += e - b; });
    ASSERT_EQ(sum.load(), 500);
  }
  done = true;
  changer.join();
}

TEST_F(Parallel, LimitsAsSeenFromC) {
  EXPECT_EQ(kernelmill_get_num_threads(), available_threads());
  kernelmill_set_num_threads(3);
  EXPECT_EQ(thread_limit(), 3);
  kernelmill_set_num_threads(0);
  EXPECT_EQ(thread_limit(), available_threads());
  set_thread_limit(1 << 30);
  EXPECT_LE(thread_limit(), 4095);  // what the pool can count
}

TEST_F(Parallel, HelpersBlockSignals) {
  set_thread_limit(2);
  Meeting meeting(2);
  const auto caller = std::this_thread::get_id();
  std::atomic<int> blocked{-1};
  parallel_for(2, 1, [&](index_t, index_t, index_t) {
    meeting.arrive(20s);
    if (std::this_thread::get_id() == caller) return;
    sigset_t mask;
    pthread_sigmask(SIG_SETMASK, nullptr, &mask);
    blocked = sigismember(&mask, SIGINT);
  });
  EXPECT_EQ(blocked.load(), 1);
}

#if defined(__SSE2__)
// A library linked with -ffast-math sets flush-to-zero in one thread only; all chunks must agree.
TEST_F(Parallel, HelpersTakeTheFloatingPointModeOfTheCaller) {
  set_thread_limit(2);
  const unsigned before = _mm_getcsr();
  for (const unsigned flush : {0x8000u, 0u}) {
    _mm_setcsr((before & ~0x8000u) | flush);
    Meeting meeting(2);
    float products[2] = {-1, -1};
    parallel_for(2, 1, [&](index_t c, index_t, index_t) {
      meeting.arrive(20s);
      volatile float tiny = 1e-30f;
      products[c] = tiny * 1e-10f;
    });
    EXPECT_EQ(products[0] == 0, flush != 0);
    EXPECT_EQ(products[1], products[0]);
  }
  _mm_setcsr(before);
}
#endif

TEST_F(Parallel, BoundedGrain) {
  EXPECT_EQ(bounded_grain(0, 16, 8), 16);
  EXPECT_EQ(bounded_grain(1000, 16, 1 << 20), 16);
  for (const index_t n : {1, 127, 128, 129, 1000, 12345}) {
    const index_t grain = bounded_grain(n, 16, 8);
    EXPECT_EQ(grain % 16, 0);
    EXPECT_LE(chunk_count(n, grain), 8);
    EXPECT_TRUE(grain == 16 || chunk_count(n, grain - 16) > 8) << "not the smallest for " << n;
  }
}

std::atomic<int> polls{0};
std::atomic<int> stop_at{1 << 30};
std::thread::id poll_thread;
bool fake_poll() {
  EXPECT_EQ(std::this_thread::get_id(), poll_thread);
  return ++polls >= stop_at.load();
}

void prepare_poll(int stop) {
  polls = 0;
  stop_at = stop;
  poll_thread = std::this_thread::get_id();
  std::this_thread::sleep_for(25ms);  // the poll of the test before is over 20 ms ago
  set_interrupt_poll(&fake_poll);
}

TEST_F(Parallel, AnInterruptStopsTheLoop) {
  for (const int limit : {1, 2, 7}) {
    set_thread_limit(limit);
    prepare_poll(2);
    std::atomic<int> runs{0};
    EXPECT_THROW(parallel_for(100000, 1,
                              [&](index_t, index_t, index_t) {
                                ++runs;
                                std::this_thread::sleep_for(1ms);
                              }),
                 Interrupted);
    EXPECT_LT(runs.load(), 2000);
    set_interrupt_poll(nullptr);
    EXPECT_EQ(chunks_of(100, 7).size(), 15u);
  }
}

// The caller has nothing left to do and only waits for a long chunk on a helper.
TEST_F(Parallel, AnInterruptIsHeardWhileWaiting) {
  set_thread_limit(2);
  prepare_poll(3);
  Meeting meeting(2);
  const auto caller = std::this_thread::get_id();
  std::atomic<bool> heard{false};
  EXPECT_THROW(parallel_for(2, 1,
                            [&](index_t, index_t, index_t) {
                              meeting.arrive(20s);
                              if (std::this_thread::get_id() == caller) return;
                              for (int i = 0; i < 20000; ++i) {
                                std::this_thread::sleep_for(1ms);
                                try {
                                  check_interrupt();  // a helper learns it from the caller
                                } catch (const Interrupted&) {
                                  heard = true;
                                  throw;
                                }
                              }
                            }),
               Interrupted);
  EXPECT_TRUE(heard.load());
}

TEST_F(Parallel, PollsAreRare) {
  set_thread_limit(2);
  prepare_poll(1 << 30);
  const auto begin = std::chrono::steady_clock::now();
  while (std::chrono::steady_clock::now() - begin < 100ms) {
    parallel_for(10, 1, [](index_t, index_t, index_t) {});
    check_interrupt();
  }
  const auto spent = std::chrono::steady_clock::now() - begin;
  EXPECT_GE(polls.load(), 1);
  EXPECT_LE(polls.load(), spent / 20ms + 1);
}

TEST_F(Parallel, SerialLoopsAreInterruptedToo) {
  prepare_poll(1);
  EXPECT_THROW(check_interrupt(), Interrupted);
  check_interrupt();  // asked a moment ago: silent
}

// Runs `child` after fork; fails unless it returns true within 20 s.
void expect_in_child(const std::function<bool()>& child) {
  const pid_t pid = fork();
  ASSERT_GE(pid, 0);
  if (pid == 0) _exit(child() ? 0 : 1);
  int status = -1;
  for (int i = 0; i < 2000; ++i) {
    if (waitpid(pid, &status, WNOHANG) == pid) {
      EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << "status " << status;
      return;
    }
    std::this_thread::sleep_for(10ms);
  }
  kill(pid, SIGKILL);
  waitpid(pid, &status, 0);
  FAIL() << "the child hangs";
}

bool two_threads_meet() {
  Meeting meeting(2);
  std::atomic<int> met{0};
  parallel_for(2, 1, [&](index_t, index_t, index_t) { met += meeting.arrive(10s); });
  return met.load() == 2;
}

TEST_F(Parallel, ForkedChildrenHaveAPoolOfTheirOwn) {
  set_thread_limit(2);
  ASSERT_TRUE(two_threads_meet());
  expect_in_child([] {
    if (!two_threads_meet()) return false;
    const pid_t grandchild = fork();
    if (grandchild == 0) _exit(two_threads_meet() ? 0 : 1);
    int status = -1;
    return waitpid(grandchild, &status, 0) == grandchild && status == 0 && two_threads_meet();
  });
  EXPECT_TRUE(two_threads_meet());
}

TEST_F(Parallel, ForkWhileAnotherThreadKeepsThePoolBusy) {
#if defined(KERNELMILL_TSAN)
  GTEST_SKIP() << "ThreadSanitizer's runtime dies where a child reuses the handles of lost threads";
#endif
  set_thread_limit(3);
  std::atomic<bool> done{false};
  std::thread busy([&] {
    while (!done.load()) parallel_for(64, 1, [](index_t, index_t, index_t) {});
  });
  for (int round = 0; round < 10; ++round) {
    expect_in_child([] { return two_threads_meet() && chunks_of(100, 7).size() == 15; });
  }
  done = true;
  busy.join();
  EXPECT_TRUE(two_threads_meet());
}

// A signal handler (run by the poll) forks: the child has lost the chunks its helpers held.
pid_t forked_in_poll = -1;
bool forking_poll() {
  if (forked_in_poll < 0) forked_in_poll = fork();
  return false;
}

TEST_F(Parallel, AForkInsideALoopEndsItInTheChildOnly) {
  set_thread_limit(2);
  forked_in_poll = -1;
  std::this_thread::sleep_for(25ms);
  set_interrupt_poll(&forking_poll);
  bool refused = false;
  try {
    parallel_for(100, 1, [](index_t, index_t, index_t) { std::this_thread::sleep_for(1ms); });
  } catch (const std::runtime_error&) {
    refused = true;
  }
  set_interrupt_poll(nullptr);
  ASSERT_GE(forked_in_poll, 0);
  if (forked_in_poll == 0) _exit(refused && two_threads_meet() ? 0 : 1);
  EXPECT_FALSE(refused);
  int status = -1;
  ASSERT_EQ(waitpid(forked_in_poll, &status, 0), forked_in_poll);
  EXPECT_EQ(status, 0);
}

// Returns at once from a process whose helpers sleep, and from one whose helpers work.
TEST_F(Parallel, ProcessesExitWithHelpersAlive) {
  set_thread_limit(2);
  for (const bool working : {false, true}) {
    const pid_t pid = fork();
    ASSERT_GE(pid, 0);
    if (pid == 0) {
      two_threads_meet();
      if (working) {
        Meeting* const meeting = new Meeting(2);
        std::thread([meeting] {
          parallel_for(1000, 1, [=](index_t c, index_t, index_t) {
            if (c == 0) meeting->arrive(20s);
            std::this_thread::sleep_for(10ms);
          });
        }).detach();
        meeting->arrive(20s);
      }
      std::exit(0);  // with destructors, unlike _exit
    }
    int status = -1;
    ASSERT_EQ(waitpid(pid, &status, 0), pid);
#if !defined(KERNELMILL_TSAN)  // which reports threads left at exit through the status
    EXPECT_EQ(status, 0);
#endif
  }
}

// Idle helpers sleep: a process that has finished its loops uses no processor time.
TEST_F(Parallel, IdleHelpersUseNoProcessorTime) {
  set_thread_limit(7);
  parallel_for(7, 1, [](index_t, index_t, index_t) { std::this_thread::sleep_for(1ms); });
  std::this_thread::sleep_for(50ms);
  const auto used = [] {
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
    return static_cast<double>(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           1e-6 * static_cast<double>(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
  };
  const double before = used();
  std::this_thread::sleep_for(300ms);
  EXPECT_LT(used() - before, 0.1);
}

}  // namespace
}  // namespace kernelmill
