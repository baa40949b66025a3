// One pass over memory, four elements a thread where all operands are adjacent.

#include "ops/elementwise.cuh"

#include <algorithm>  // std::copy_n
#include <cstring>    // std::memcpy

#include "core/error.hpp"                 // invalid
#include "core/launch.cuh"                // launch
#include "ops/elementwise_functions.cuh"  // the rows

namespace kernelmill::elementwise {
namespace {

constexpr int kThreads = 256;
constexpr std::size_t kAxes = 16;  // after merging; what a kernel's arguments hold with ease
constexpr int kPack = 4;

template <class T>
struct alignas(kPack * sizeof(T)) Four {
  T at[kPack];
};

struct Access {
  char* data;  // null: a number
  std::uint64_t value;
  index_t strides[kAxes];

  template <class T>
  __device__ T number() const {
    T x;
    memcpy(&x, &value, sizeof x);
    return x;
  }
  template <class T>
  __device__ T at(index_t offset) const {
    return data == nullptr ? number<T>() : *reinterpret_cast<const T*>(data + offset);
  }
  template <class T>
  __device__ Four<T> four(index_t pack) const {
    if (data != nullptr) return reinterpret_cast<const Four<T>*>(data)[pack];
    const T x = number<T>();
    return {{x, x, x, x}};
  }
};

template <int kInputs>
struct Arguments {
  index_t count;
  int rank;
  bool adjacent;
  index_t shape[kAxes];
  Access out, in[kInputs];
};

template <class F, class R, class... A, std::size_t... i>
__device__ void apply(const Arguments<sizeof...(A)>& a, std::index_sequence<i...>) {
  constexpr F f{};
  const index_t packs = a.adjacent ? a.count / kPack : 0;
  for (index_t p = global_thread(); p < packs; p += global_threads()) {
    [&](const Four<A>&... x) {
      Four<R> y;
#pragma unroll
      for (int e = 0; e < kPack; ++e) y.at[e] = f(x.at[e]...);
      reinterpret_cast<Four<R>*>(a.out.data)[p] = y;
    }(a.in[i].template four<A>(p)...);
  }
  for (index_t k = packs * kPack + global_thread(); k < a.count; k += global_threads()) {
    index_t rest = k, to = 0, from[sizeof...(A)] = {};
    for (int axis = a.rank - 1; axis >= 0; --axis) {
      const index_t next = axis > 0 ? rest / a.shape[axis] : 0, index = rest - next * a.shape[axis];
      to += index * a.out.strides[axis];
      ((from[i] += index * a.in[i].strides[axis]), ...);
      rest = next;
    }
    *reinterpret_cast<R*>(a.out.data + to) = f(a.in[i].template at<A>(from[i])...);
  }
}

template <class F, class R, class... A>
__global__ void __launch_bounds__(kThreads) apply_kernel(const Arguments<sizeof...(A)> a) {
  apply<F, R, A...>(a, std::index_sequence_for<A...>{});
}

// Compiled once for all functions of as many arguments: that is half of what this file costs.
template <int kInputs>
void launch_kernel(const Call& call, std::span<const index_t> shape, std::span<const Operand> in,
                   const std::uint64_t* values, const Operand& out,
                   void (*kernel)(Arguments<kInputs>)) {
  const Plan plan(shape, in, out);
  if (plan.count == 0) return;
  if (plan.rank > kAxes) {
    invalid(call.op, "arguments must have at most ", kAxes,
            " axes that cannot be merged on the GPU, got ", plan.rank);
  }
  Arguments<kInputs> a{};
  a.count = plan.count;
  a.rank = static_cast<int>(plan.rank);
  a.adjacent = true;
  std::copy_n(plan.shape.begin(), plan.rank, a.shape);
  for (std::size_t o = 0; o < plan.operands; ++o) {
    Access& to = o == 0 ? a.out : a.in[o - 1];
    to.data = static_cast<char*>(plan.at[o].data);
    if (to.data == nullptr) {
      to.value = values[o - 1];
      continue;
    }
    std::copy_n(plan.strides[o].begin(), plan.rank, to.strides);
    a.adjacent &= plan.flat(o) && reinterpret_cast<std::uintptr_t>(to.data) %
                                          static_cast<std::uintptr_t>(kPack * plan.at[o].item()) ==
                                      0;
  }
  const index_t threads = a.adjacent ? div_up(a.count, kPack) : a.count;
  launch(call, kernel, grid_for(threads, kThreads), kThreads, a);
}

template <class F, class Function = decltype(&F::operator())>
struct Make;
template <class F, class R, class... A>
struct Make<F, R (F::*)(A...) const> {
  static void launch(const Call& call, std::span<const index_t> shape, std::span<const Operand> in,
                     const std::uint64_t* values, const Operand& out) {
    launch_kernel<sizeof...(A)>(call, shape, in, values, out, &apply_kernel<F, R, A...>);
  }
};

#define KERNELMILL_LOOPS_float(f) {{}, {}, {}, Make<f<float>>::launch, Make<f<double>>::launch}
#define KERNELMILL_LOOPS_bool(f)          \
  {                                       \
    Make<f<bool>>::launch, {}, {}, {}, {} \
  }
#define KERNELMILL_LOOPS_number(f) \
  {{},                             \
   Make<f<std::int32_t>>::launch,  \
   Make<f<std::int64_t>>::launch,  \
   Make<f<float>>::launch,         \
   Make<f<double>>::launch}

constexpr Row kRows[] = {
#define KERNELMILL_ROW(name, names, kinds, types, result, parameters, expression) \
  {#name, "elementwise." #name, names,                                            \
   kinds, #result[0] == 'b',    KERNELMILL_LOOPS_##types(row_##name)},
#include "elementwise_rows.inc"
#undef KERNELMILL_ROW
};

}  // namespace

std::span<const Row> rows() { return kRows; }

}  // namespace kernelmill::elementwise
