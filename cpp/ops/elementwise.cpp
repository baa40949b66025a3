#include "ops/elementwise.hpp"

#include <algorithm>    // std::fill_n, std::min
#include <cstdint>      // elements of 1, 4 and 8 bytes
#include <type_traits>  // std::conditional_t
#include <utility>      // std::index_sequence

#include "core/parallel.hpp"              // parallel_for
#include "ops/elementwise_functions.hpp"  // row_<name>

namespace kernelmill::elementwise {
namespace {

template <auto F>
struct Make;
template <class R, class... A, R (*F)(A...)>
struct Make<F> {
  // GCC 12 vectorises no loop that reads bool.
  template <class E>
  using Stored = std::conditional_t<std::is_same_v<E, bool>, std::uint8_t, E>;

  static void loop(const void* const* in, void* out, index_t n) {
    [=]<std::size_t... i>(std::index_sequence<i...>) {
      over(static_cast<R*>(out), n, static_cast<const Stored<A>*>(in[i])...);
    }(std::index_sequence_for<A...>{});
  }
  // Each element depends on its own arguments alone, so out may be one of them.
  static void over(R* out, index_t n, const Stored<A>*... in) {
#pragma omp simd
    for (index_t i = 0; i < n; ++i) out[i] = F(static_cast<A>(in[i])...);
  }
};

#define KERNELMILL_LOOPS_float(f) {{}, {}, {}, Make<&f<float>>::loop, Make<&f<double>>::loop}
#define KERNELMILL_LOOPS_bool(f)         \
  {                                      \
    Make<&f<bool>>::loop, {}, {}, {}, {} \
  }
#define KERNELMILL_LOOPS_number(f) \
  {{},                             \
   Make<&f<std::int32_t>>::loop,   \
   Make<&f<std::int64_t>>::loop,   \
   Make<&f<float>>::loop,          \
   Make<&f<double>>::loop}

constexpr Row kRows[] = {
#define KERNELMILL_ROW(name, names, kinds, types, result, parameters, expression) \
  {#name, "elementwise." #name, names,                                            \
   kinds, #result[0] == 'b',    KERNELMILL_LOOPS_##types(row_##name)},
#include "elementwise_rows.inc"
#undef KERNELMILL_ROW
};

// --- operands in blocks
// ---------------------------------------------------------------------------

// 16k elements take 5 to 30 us: enough to pay for waking a thread, small enough to balance.
constexpr index_t kGrain = 1 << 14;
// An operand that is not adjacent in memory is copied to a buffer in the first-level cache: 4 KiB.
constexpr index_t kBlock = 512;

// Copies elements [begin, end) between an operand and adjacent memory.
template <class E, bool kGather>
void transfer(const Plan& plan, std::size_t operand, index_t begin, index_t end, void* buffer) {
  const auto& strides = plan.strides[operand];
  const std::size_t last = plan.rank - 1;
  E* flat = static_cast<E*>(buffer);
  while (begin < end) {
    index_t rest = begin;
    char* at = static_cast<char*>(plan.at[operand].data);
    index_t column = 0;
    for (std::size_t axis = plan.rank; axis-- > 0; rest /= plan.shape[axis]) {
      const index_t index = axis == 0 ? rest : rest % plan.shape[axis];
      if (axis == last) column = index;
      at += index * strides[axis];
    }
    // Run by run of the last axis; the axis before it is stepped through without divisions.
    const index_t width = plan.shape[last], step = strides[last];
    const index_t above = last > 0 ? plan.shape[last - 1] : 1;
    const index_t down = last > 0 ? strides[last - 1] : 0;
    index_t row = last > 0 ? begin / width % above : 0;
    for (; begin < end && row < above; ++row) {
      const index_t run = std::min(width - column, end - begin);
      if (kGather && step == 0) {
        std::fill_n(flat, run, *reinterpret_cast<const E*>(at));
      } else {
        for (index_t i = 0; i < run; ++i) {
          E* element = reinterpret_cast<E*>(at + i * step);
          (kGather ? flat[i] : *element) = kGather ? *element : flat[i];
        }
      }
      flat += run;
      begin += run;
      at += down - column * step;
      column = 0;
    }
  }
}

template <bool kGather>
void transfer(const Plan& plan, std::size_t operand, index_t begin, index_t end, void* buffer) {
  switch (plan.at[operand].item()) {
    case 1:
      return transfer<std::uint8_t, kGather>(plan, operand, begin, end, buffer);
    case 4:
      return transfer<std::uint32_t, kGather>(plan, operand, begin, end, buffer);
    default:
      return transfer<std::uint64_t, kGather>(plan, operand, begin, end, buffer);
  }
}

struct Buffer {
  alignas(64) std::uint64_t elements[kBlock];
};

void run_chunk(const Plan& plan, const bool* flat, Loop loop, index_t begin, index_t end) {
  Buffer buffers[kMostInputs + 1];
  void* at[kMostInputs + 1];
  bool filled[kMostInputs + 1] = {};
  const index_t width = plan.shape[plan.rank - 1];
  while (begin < end) {
    index_t size = std::min(kBlock, end - begin);
    // Long rows are taken one by one: then operands with adjacent columns need no copy.
    const index_t column = begin % width;
    const bool one_row = width >= kBlock || size <= width - column;
    if (width >= kBlock) size = std::min(size, width - column);
    for (std::size_t o = 0; o < plan.operands; ++o) {
      const index_t item = plan.at[o].item();
      char* const data = static_cast<char*>(plan.at[o].data);
      if (flat[o]) {
        at[o] = data + begin * item;
      } else if (one_row && plan.strides[o][plan.rank - 1] == item) {
        index_t rest = begin / width, offset = column * item;
        for (std::size_t axis = plan.rank - 1; axis-- > 0; rest /= plan.shape[axis]) {
          offset += rest % plan.shape[axis] * plan.strides[o][axis];
        }
        at[o] = data + offset;
      } else {
        at[o] = buffers[o].elements;
        if (o == 0 || filled[o]) continue;
        filled[o] = plan.constant(o);
        transfer<true>(plan, o, begin,
                       filled[o] ? begin + std::min(kBlock, end - begin) : begin + size, at[o]);
      }
    }
    loop(at + 1, at[0], size);
    if (at[0] == buffers[0].elements) transfer<false>(plan, 0, begin, begin + size, at[0]);
    begin += size;
  }
}

}  // namespace

std::span<const Row> rows() { return kRows; }

void run(const Row& row, Dtype type, std::span<const index_t> shape, std::span<const Operand> in,
         const Operand& out) {
  const Plan plan(shape, in, out);
  const Loop loop = row.loops[static_cast<std::size_t>(type)];
  bool flat[kMostInputs + 1];
  bool all_flat = true;
  for (std::size_t o = 0; o < plan.operands; ++o) all_flat &= flat[o] = plan.flat(o);
  parallel_for(plan.count, kGrain, [&](index_t, index_t begin, index_t end) {
    if (!all_flat) return run_chunk(plan, flat, loop, begin, end);
    const void* at[kMostInputs];
    for (std::size_t o = 1; o < plan.operands; ++o) {
      at[o - 1] = static_cast<const char*>(plan.at[o].data) + begin * plan.at[o].item();
    }
    loop(at, static_cast<char*>(plan.at[0].data) + begin * plan.at[0].item(), end - begin);
  });
}

}  // namespace kernelmill::elementwise
