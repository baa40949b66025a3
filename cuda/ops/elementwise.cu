// One pass over memory, four elements a thread where all operands are adjacent. Numbers of 16 bits
// are read as float32 and rounded on the way back; which of the two formats they have is asked at
// run time, since kernels of their own would be a third of what this file costs to compile.

#include "ops/elementwise.cuh"

#include <algorithm>  // std::copy_n
#include <cstring>    // std::memcpy

#include "core/error.hpp"                 // invalid
#include "core/launch.cuh"                // launch
#include "ops/elementwise_functions.cuh"  // the rows

namespace kernelmill::elementwise {
namespace {

constexpr std::size_t kAxes = 16;  // after merging; what a kernel's arguments hold with ease
constexpr int kPack = 4;

template <class T>
struct alignas(kPack * sizeof(T)) Four {
  T at[kPack];
};

// How values of a row's type T lie in memory.
struct AsTheyAre {
  template <class T>
  using Stored = T;
  template <class T>
  __device__ static T load(T x, bool) {
    return x;
  }
  template <class T>
  __device__ static T store(T x, bool) {
    return x;
  }
};
struct InHalf {
  template <class T>
  using Stored = std::conditional_t<std::is_same_v<T, float>, std::uint16_t, T>;
  __device__ static float load(std::uint16_t x, bool brain) {
    return brain ? half::from_brain(x) : half::from_binary16(x);
  }
  __device__ static bool load(bool x, bool) { return x; }
  template <class T>
  __device__ static Stored<T> store(T x, bool brain) {
    if constexpr (std::is_same_v<T, float>) {
      return brain ? half::to_brain(x) : half::to_binary16(x);
    } else {
      return x;
    }
  }
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
  template <class Form, class T>
  __device__ T at(index_t offset, bool brain) const {
    using Stored = typename Form::template Stored<T>;
    return data == nullptr ? number<T>()
                           : Form::load(*reinterpret_cast<const Stored*>(data + offset), brain);
  }
  template <class Form, class T>
  __device__ Four<T> four(index_t pack, bool brain) const {
    using Stored = typename Form::template Stored<T>;
    Four<T> x;
    if (data == nullptr) {
      x.at[0] = x.at[1] = x.at[2] = x.at[3] = number<T>();
      return x;
    }
    const auto stored = reinterpret_cast<const Four<Stored>*>(data)[pack];
#pragma unroll
    for (int e = 0; e < kPack; ++e) x.at[e] = Form::load(stored.at[e], brain);
    return x;
  }
};

template <int kInputs>
struct Arguments {
  index_t count;
  int rank;
  bool adjacent, brain;  // brain: numbers of 16 bits are bfloat16
  index_t shape[kAxes];
  Access out, in[kInputs];
};

template <class Form, class F, class R, class... A, std::size_t... i>
__device__ void apply(const Arguments<sizeof...(A)>& a, std::index_sequence<i...>) {
  constexpr F f{};
  using Result = typename Form::template Stored<R>;
  const index_t packs = a.adjacent ? a.count / kPack : 0;
  for (index_t p = global_thread(); p < packs; p += global_threads()) {
    [&](const Four<A>&... x) {
      Four<Result> y;
#pragma unroll
      for (int e = 0; e < kPack; ++e) y.at[e] = Form::store(f(x.at[e]...), a.brain);
      reinterpret_cast<Four<Result>*>(a.out.data)[p] = y;
    }(a.in[i].template four<Form, A>(p, a.brain)...);
  }
  for (index_t k = packs * kPack + global_thread(); k < a.count; k += global_threads()) {
    index_t rest = k, to = 0, from[sizeof...(A)] = {};
    for (int axis = a.rank - 1; axis >= 0; --axis) {
      const index_t next = axis > 0 ? rest / a.shape[axis] : 0, index = rest - next * a.shape[axis];
      to += index * a.out.strides[axis];
      ((from[i] += index * a.in[i].strides[axis]), ...);
      rest = next;
    }
    *reinterpret_cast<Result*>(a.out.data + to) =
        Form::store(f(a.in[i].template at<Form, A>(from[i], a.brain)...), a.brain);
  }
}

template <class Form, class F, class R, class... A>
__global__ void __launch_bounds__(kThreads) apply_kernel(const Arguments<sizeof...(A)> a) {
  apply<Form, F, R, A...>(a, std::index_sequence_for<A...>{});
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
  for (const Operand& operand : plan.at) a.brain |= operand.type == Dtype::bfloat16;
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

template <class F, class Form = AsTheyAre, class Function = decltype(&F::operator())>
struct Make;
template <class F, class Form, class R, class... A>
struct Make<F, Form, R (F::*)(A...) const> {
  static void launch(const Call& call, std::span<const index_t> shape, std::span<const Operand> in,
                     const std::uint64_t* values, const Operand& out) {
    launch_kernel<sizeof...(A)>(call, shape, in, values, out, &apply_kernel<Form, F, R, A...>);
  }
};

#define KERNELMILL_LOOPS_float(f)  \
  {{},                             \
   {},                             \
   {},                             \
   Make<f<float>>::launch,         \
   Make<f<double>>::launch,        \
   Make<f<float>, InHalf>::launch, \
   Make<f<float>, InHalf>::launch}
#define KERNELMILL_LOOPS_bool(f) {Make<f<bool>>::launch}
#define KERNELMILL_LOOPS_number(f) \
  {{},                             \
   Make<f<std::int32_t>>::launch,  \
   Make<f<std::int64_t>>::launch,  \
   Make<f<float>>::launch,         \
   Make<f<double>>::launch,        \
   Make<f<float>, InHalf>::launch, \
   Make<f<float>, InHalf>::launch}

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
