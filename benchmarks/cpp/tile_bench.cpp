// The tile product against the machine's own ceiling. Every row reports GFLOP/s, and `peak` is the
// rate of a register-only fused multiply-add loop, to be read beside it from the same run.
#include <benchmark/benchmark.h>  // the harness

#include <array>    // shapes
#include <cstdint>  // std::int32_t
#include <limits>   // infinity
#include <vector>   // storage

#include "core/parallel.hpp"  // set_thread_limit
#include "core/tile.hpp"      // product, PackedA
#include "ops/matmul.hpp"     // matmul

namespace {

using kernelmill::dense;
using kernelmill::index_t;
namespace tile = kernelmill::tile;

benchmark::Counter rate(double flops) {
  return {flops * 1e-9, benchmark::Counter::kIsIterationInvariantRate};
}

template <class T>
std::vector<T> values(index_t count) {
  std::vector<T> result(static_cast<std::size_t>(count));
  for (index_t i = 0; i < count; ++i) result[i] = static_cast<T>((i * 7919 % 31) - 15) / 16;
  return result;
}

// One core, 12 independent chains: latency 4 times 2 per cycle needs 8.
template <class T>
void peak(benchmark::State& state) {
  using Vec = typename tile::Params<T>::Vec;
  constexpr int chains = 12;
  Vec acc[chains] = {}, x = Vec{} + T{0.5}, y = Vec{} + T{0.25};
  for (auto _ : state) {
    for (int i = 0; i < 1000; ++i) {
      KERNELMILL_UNROLL
      for (int c = 0; c < chains; ++c) acc[c] += x * y;
      // Keeps the loop: the compiler may not know x after it. Plain SSE and AVX names fit all
      // levels.
#if defined(__x86_64__)
      asm volatile("" : "+v"(x));
#else
      asm volatile("" : "+w"(x));
#endif
    }
  }
  for (Vec& chain : acc) benchmark::DoNotOptimize(chain);
  state.counters["GFLOP/s"] = rate(2.0 * 1000 * chains * tile::Params<T>::lanes);
}

// out = a b; args m, n, k, threads (0: all).
template <class T>
void matmul(benchmark::State& state) {
  const index_t m = state.range(0), n = state.range(1), k = state.range(2);
  kernelmill::set_thread_limit(static_cast<int>(state.range(3)));
  const auto a = values<T>(m * k), b = values<T>(k * n);
  std::vector<T> out(m * n);
  for (auto _ : state) {
    kernelmill::matmul<T>(dense(a.data(), m, k), dense(b.data(), k, n), dense(out.data(), m, n),
                          T{1}, T{0});
    benchmark::ClobberMemory();
  }
  kernelmill::set_thread_limit(0);
  state.counters["GFLOP/s"] = rate(2.0 * static_cast<double>(m * n * k));
}

// The fused shape of k-means assignment: the argmin over rows of A of -2 A x + |a|^2, with nothing
// stored but one label per column. args n, d, k, on one core.
template <class T>
struct Nearest {
  using Vec = typename tile::Params<T>::Vec;
  static constexpr int NV = tile::Params<T>::NV, lanes = tile::Params<T>::lanes;
  using Index = std::conditional_t<sizeof(T) == 4, std::int32_t, std::int64_t>;
  using Indices [[gnu::vector_size(sizeof(Vec))]] = Index;

  static constexpr tile::Hooks hooks{.panels = true};

  const T* norms;
  std::int32_t* labels;
  Vec best[NV];
  Indices where[NV];

  void begin_panel(index_t, index_t) {
    for (int v = 0; v < NV; ++v) {
      best[v] = Vec{} + std::numeric_limits<T>::infinity();
      where[v] = Indices{};
    }
  }
  template <int Rows>
  void tile(const Vec (&acc)[Rows][NV], index_t i0, index_t, index_t) {
    KERNELMILL_UNROLL
    for (int r = 0; r < Rows; ++r) {
      const Indices row = Indices{} + static_cast<Index>(i0 + r);
      KERNELMILL_UNROLL
      for (int v = 0; v < NV; ++v) {
        const Vec distance = norms[i0 + r] - 2 * acc[r][v];
        const auto closer = distance < best[v];
        best[v] = closer ? distance : best[v];
        where[v] = closer ? row : where[v];
      }
    }
  }
  void end_panel(index_t j0, index_t cols) {
    for (index_t c = 0; c < cols; ++c) {
      labels[j0 + c] = static_cast<std::int32_t>(where[c / lanes][c % lanes]);
    }
  }
};

template <class T>
void nearest(benchmark::State& state) {
  const index_t n = state.range(0), d = state.range(1), k = state.range(2);
  const auto x = values<T>(n * d), centers = values<T>(k * d), norms = values<T>(k);
  std::vector<std::int32_t> labels(n);
  for (auto _ : state) {
    const tile::PackedA<T> packed(tile::Strided<T>{centers.data(), d, 1}, k, d);
    Nearest<T> epilogue{norms.data(), labels.data(), {}, {}};
    tile::product<T>(packed, tile::Strided<T>{x.data(), d, 1}, 0, n, epilogue);
    benchmark::ClobberMemory();
  }
  state.counters["GFLOP/s"] = rate(2.0 * static_cast<double>(n * d * k));
}

void shapes(benchmark::internal::Benchmark* b) {
  for (int threads : {1, 0}) {
    for (auto [m, n, k] : {std::array{256, 256, 256},
                           {1024, 1024, 1024},
                           {2048, 2048, 2048},
                           {65536, 100, 32},
                           {256, 1024, 1024},
                           {64, 128, 784},
                           {32, 32, 65536}}) {
      b->Args({m, n, k, threads});
    }
  }
  b->ArgNames({"m", "n", "k", "threads"})->UseRealTime();
}

void clusters(benchmark::internal::Benchmark* b) {
  for (auto [n, d, k] : {std::array{200000, 32, 100},
                         {600, 5, 6},
                         {20000, 784, 10},
                         {20000, 784, 1000},
                         {100000, 64, 1000},
                         {300000, 20, 50}}) {
    b->Args({n, d, k});
  }
  b->ArgNames({"n", "d", "k"});
}

BENCHMARK(peak<float>);
BENCHMARK(peak<double>);
BENCHMARK(matmul<float>)->Apply(shapes);
BENCHMARK(matmul<double>)->Apply(shapes);
BENCHMARK(nearest<float>)->Apply(clusters);
BENCHMARK(nearest<double>)->Apply(clusters);

}  // namespace
