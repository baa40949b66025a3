// What parallel_for itself costs: the empty loop, the wake-up of a sleeping helper, and loops of
// the 10-50 us that one op of a small fit takes.
//
//   parallel_bench --benchmark_repetitions=5 --benchmark_report_aggregates_only=true
//
// "gap" is serial time on the caller between two loops, as Python code between two ops makes it:
// below the helpers' spinning time they are found awake, above it a futex has to wake them.
#include <benchmark/benchmark.h>

#include <atomic>   // std::atomic
#include <chrono>   // std::chrono::steady_clock
#include <cstdint>  // std::int64_t

#include "core/parallel.hpp"  // what is measured

namespace {

using Clock = std::chrono::steady_clock;

void busy(std::int64_t nanoseconds) {
  const auto until = Clock::now() + std::chrono::nanoseconds(nanoseconds);
  while (Clock::now() < until) {
  }
}

// Two chunks of `work` nanoseconds each, `gap` nanoseconds after the loop before (not counted).
void two_chunks(benchmark::State& state) {
  const std::int64_t work = state.range(0);
  const std::int64_t gap = state.range(1);
  const int threads = static_cast<int>(state.range(2));
  kernelmill::set_thread_limit(threads);
  for (auto _ : state) {
    busy(gap);
    const auto begin = Clock::now();
    kernelmill::parallel_for(2, 1,
                             [&](kernelmill::index_t, kernelmill::index_t, kernelmill::index_t) {
                               if (work > 0) busy(work);
                             });
    const std::chrono::duration<double> elapsed = Clock::now() - begin;
    state.SetIterationTime(elapsed.count());
  }
  kernelmill::set_thread_limit(0);
}
BENCHMARK(two_chunks)
    ->ArgNames({"work_ns", "gap_ns", "threads"})
    ->ArgsProduct({{0, 2'000, 10'000, 25'000, 100'000}, {0, 10'000, 200'000}, {1, 2}})
    ->Iterations(2000)  // not by time: the gaps would take minutes
    ->UseManualTime();

// The cost of claiming a chunk.
void many_chunks(benchmark::State& state) {
  kernelmill::set_thread_limit(static_cast<int>(state.range(0)));
  for (auto _ : state) {
    kernelmill::parallel_for(1000, 1,
                             [](kernelmill::index_t c, kernelmill::index_t, kernelmill::index_t) {
                               benchmark::DoNotOptimize(c);
                             });
  }
  kernelmill::set_thread_limit(0);
}
BENCHMARK(many_chunks)->ArgName("threads")->Arg(1)->Arg(2)->UseRealTime();

void one_chunk(benchmark::State& state) {
  for (auto _ : state) {
    kernelmill::parallel_for(1, 1,
                             [](kernelmill::index_t c, kernelmill::index_t, kernelmill::index_t) {
                               benchmark::DoNotOptimize(c);
                             });
  }
}
BENCHMARK(one_chunk);

}  // namespace
