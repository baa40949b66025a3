// What a result's memory costs: writing every byte of a block that is fresh from the system, fresh
// with huge pages, or kept by the pool. The last byte written is read back.
//
//   ./memory_bench --benchmark_repetitions=5 --benchmark_report_aggregates_only=true
#include <benchmark/benchmark.h>

#include <sys/mman.h>  // mmap, madvise

#include <cstring>  // std::memset
#include <new>      // aligned operator new

#include "core/memory.hpp"

namespace {

void write_all(benchmark::State& state, void* memory, std::size_t bytes) {
  std::memset(memory, 1, bytes);
  benchmark::ClobberMemory();
  if (static_cast<const char*>(memory)[bytes - 1] != 1) state.SkipWithError("not written");
}

void finish(benchmark::State& state, std::size_t bytes) {
  state.SetBytesProcessed(static_cast<std::int64_t>(bytes) * state.iterations());
}

void fresh(benchmark::State& state, bool huge) {
  const auto bytes = static_cast<std::size_t>(state.range(0)) << 10;
  for (auto _ : state) {
    const std::align_val_t alignment{huge ? std::size_t{1} << 21 : std::size_t{4096}};
    void* memory = ::operator new(bytes, alignment);
#if defined(__linux__)
    if (huge) madvise(memory, bytes, MADV_HUGEPAGE);
#endif
    write_all(state, memory, bytes);
    ::operator delete(memory, alignment);
  }
  finish(state, bytes);
}

void pooled(benchmark::State& state) {
  const auto bytes = static_cast<std::size_t>(state.range(0)) << 10;
  kernelmill::set_pool_capacity(std::size_t{1} << 30);
  for (auto _ : state) {
    void* memory = kernelmill::pool_allocate(bytes);
    write_all(state, memory, bytes);
    kernelmill::pool_release(memory);
  }
  finish(state, bytes);
  kernelmill::pool_trim();
}

void Fresh(benchmark::State& state) { fresh(state, false); }
void FreshHuge(benchmark::State& state) { fresh(state, true); }
void Pooled(benchmark::State& state) { pooled(state); }

// The pool's own cost: one allocation and one release, nothing written.
void PoolOverhead(benchmark::State& state) {
  kernelmill::set_pool_capacity(std::size_t{1} << 30);
  for (auto _ : state) kernelmill::pool_release(kernelmill::pool_allocate(1 << 20));
}

}  // namespace

BENCHMARK(Fresh)->ArgName("KiB")->Arg(256)->Arg(4096)->Arg(65536)->UseRealTime();
BENCHMARK(FreshHuge)->ArgName("KiB")->Arg(4096)->Arg(65536)->UseRealTime();
BENCHMARK(Pooled)->ArgName("KiB")->Arg(256)->Arg(4096)->Arg(65536)->UseRealTime();
BENCHMARK(PoolOverhead)->UseRealTime();
BENCHMARK_MAIN();
