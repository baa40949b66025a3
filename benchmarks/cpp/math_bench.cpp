// Elements per second of core/math.hpp in a loop over data in the first-level cache, of the C
// library's functions in the same loop, of the ops over 64 MiB, and of the random ops, 8192 numbers
// at a time. Results of functions are checked against long double in the same run.
//
//   ./math_bench --benchmark_repetitions=5 --benchmark_report_aggregates_only=true
#include <benchmark/benchmark.h>

#include <algorithm>    // std::find_if
#include <cmath>        // the C library's functions
#include <cstdint>      // std::int64_t
#include <string>       // benchmark names
#include <string_view>  // names of rows
#include <vector>       // data

#include "core/math.hpp"
#include "core/parallel.hpp"    // thread_limit
#include "ops/elementwise.hpp"  // the ops
#include "ops/random.hpp"       // the ops

namespace {

constexpr int kInCache = 2048;  // 8 or 16 KiB in, as much out

template <class T>
std::vector<T> arguments(std::size_t n, double low, double high) {
  std::vector<T> x(n);
  for (std::size_t i = 0; i < n; ++i) {
    x[i] = static_cast<T>(low + (high - low) * static_cast<double>(i * 7919 % n) /
                                    static_cast<double>(n));
  }
  return x;
}

void rate(benchmark::State& state, std::size_t n) {
  state.counters["elements/ns"] =
      benchmark::Counter(1e-9 * static_cast<double>(n) * static_cast<double>(state.iterations()),
                         benchmark::Counter::kIsRate);
}

template <class T, class F, class Exact>
void in_cache(benchmark::State& state, F f, Exact exact, double low, double high) {
  const auto x = arguments<T>(kInCache, low, high);
  std::vector<T> y(kInCache);
  for (auto _ : state) {
    const T* from = x.data();
    T* to = y.data();
#pragma omp simd
    for (int i = 0; i < kInCache; ++i) to[i] = f(from[i]);
    benchmark::DoNotOptimize(to);
    benchmark::ClobberMemory();
  }
  for (int i = 0; i < kInCache; ++i) {
    const auto want =
        static_cast<double>(exact(static_cast<long double>(x[static_cast<std::size_t>(i)])));
    const double got = static_cast<double>(y[static_cast<std::size_t>(i)]);
    if (!(std::fabs(got - want) <= 4 * std::numeric_limits<T>::epsilon() * std::fabs(want))) {
      state.SkipWithError("wrong result");
      return;
    }
  }
  rate(state, kInCache);
}

template <class T>
void over_memory(benchmark::State& state, std::string_view name, double low, double high) {
  using namespace kernelmill;
  const auto all = elementwise::rows();
  const auto row = std::find_if(all.begin(), all.end(), [&](auto& r) { return r.name == name; });
  constexpr Dtype type = sizeof(T) == 4 ? Dtype::float32 : Dtype::float64;
  const std::size_t n = (std::size_t{64} << 20) / sizeof(T);
  const auto x = arguments<T>(n, low, high);
  std::vector<T> y(n);
  const index_t shape[] = {static_cast<index_t>(n)}, step[] = {sizeof(T)};
  const Operand in[] = {{const_cast<T*>(x.data()), step, type}};
  for (auto _ : state) elementwise::run(*row, type, shape, in, {y.data(), step, type});
  rate(state, n);
  state.counters["GB/s"] = benchmark::Counter(
      2e-9 * static_cast<double>(n * sizeof(T)) * static_cast<double>(state.iterations()),
      benchmark::Counter::kIsRate);
}

template <class T, class Op>
void draw(benchmark::State& state, Op op) {
  std::vector<T> y(8192);
  for (auto _ : state) op(std::span<T>(y));
  rate(state, y.size());
}

template <class T>
T libm_logistic(T x) {
  return 1 / (1 + std::exp(-x));
}

template <class T>
void add(const std::string& type) {
  using benchmark::RegisterBenchmark;
#define ADD(f, exact, low, high)                                                  \
  RegisterBenchmark((#f "/" + type + "/cache").c_str(), [](benchmark::State& s) { \
    in_cache<T>(s, [](T x) { return kernelmill::f(x); }, exact, low, high);       \
  });                                                                             \
  RegisterBenchmark((#f "/" + type + "/libm").c_str(), [](benchmark::State& s) {  \
    in_cache<T>(s, [](T x) { return exact(x); }, exact, low, high);               \
  });                                                                             \
  RegisterBenchmark((#f "/" + type + "/64MiB").c_str(), [](benchmark::State& s) { \
    over_memory<T>(s, #f, low, high);                                             \
  })->UseRealTime();
#define LIBM(f) [](auto v) { return std::f(v); }
  ADD(exp, LIBM(exp), -20.0, 20.0)
  ADD(expm1, LIBM(expm1), -20.0, 20.0)
  ADD(log, LIBM(log), 1e-3, 1e3)
  ADD(log1p, LIBM(log1p), -0.9, 10.0)
  ADD(tanh, LIBM(tanh), -5.0, 5.0)
  ADD(erf, LIBM(erf), -3.0, 3.0)
  ADD(logistic, [](auto v) { return libm_logistic(v); }, -20.0, 20.0)
#undef ADD
#undef LIBM
  RegisterBenchmark(("uniform/" + type).c_str(), [](benchmark::State& s) {
    draw<T>(s, [](std::span<T> y) { kernelmill::random::uniform<T>(1, 2, 0, y); });
  })->UseRealTime();
  RegisterBenchmark(("normal/" + type).c_str(), [](benchmark::State& s) {
    draw<T>(s, [](std::span<T> y) { kernelmill::random::normal<T>(1, 2, 0, y); });
  })->UseRealTime();
}

}  // namespace

int main(int argc, char** argv) {
  benchmark::AddCustomContext("level", std::to_string(KERNELMILL_LEVEL));
  benchmark::AddCustomContext("threads", std::to_string(kernelmill::thread_limit()));
  add<float>("float32");
  add<double>("float64");
  benchmark::RegisterBenchmark("integers/int64", [](benchmark::State& s) {
    draw<std::int64_t>(
        s, [](std::span<std::int64_t> y) { kernelmill::random::integers(1, 2, 0, 1000003, y); });
  })->UseRealTime();
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
}
