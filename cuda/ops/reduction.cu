// Every thread merges its elements into a state, and states are merged in an order that depends on
// shapes alone: threads of a block by a tree, parts of a result one after another. Where results
// lie side by side in memory a thread takes one of them, so that a warp reads adjacent elements;
// else a block takes one.

#include "ops/reduction.cuh"

#include <algorithm>  // std::min, std::max
#include <utility>    // std::index_sequence

#include "core/error.hpp"   // invalid
#include "core/launch.cuh"  // launch

namespace kernelmill::reduction {
namespace {

__device__ index_t offset_of(const Axes& axes, index_t index) {
  index_t offset = 0;
  for (int axis = axes.rank - 1; axis >= 0; --axis) {
    const index_t next = axis > 0 ? index / axes.sizes[axis] : 0;
    offset += (index - next * axes.sizes[axis]) * axes.strides[axis];
    index = next;
  }
  return offset;
}

template <Kind kind, class T>
struct Input {
  const char* x;
  Axes kept, reduced;
  index_t results, length;

  __device__ State element(index_t base, index_t i) const {
    const T value = *reinterpret_cast<const T*>(x + base + offset_of(reduced, i));
    // About the first element of the result, so that means keep their digits far from zero.
    double origin = 0;
    if (kind == Kind::variance) origin = static_cast<double>(*reinterpret_cast<const T*>(x + base));
    return lift<kind>(static_cast<double>(value) - origin, i);
  }
};

// states[part * results + o], a thread each.
template <Kind kind, class T>
__global__ void __launch_bounds__(kThreads)
    thread_kernel(const Input<kind, T> in, index_t parts, State* states) {
  for (index_t i = global_thread(); i < parts * in.results; i += global_threads()) {
    const index_t part = i / in.results, base = offset_of(in.kept, i - part * in.results);
    const index_t begin = part * in.length, end = min(begin + in.length, in.reduced.count);
    State state;
    for (index_t k = begin; k < end; ++k) merge<kind>(state, in.element(base, k));
    states[i] = state;
  }
}

// The same, a block each.
template <Kind kind, class T>
__global__ void __launch_bounds__(kThreads)
    block_kernel(const Input<kind, T> in, index_t parts, State* states) {
  __shared__ double a[kThreads], b[kThreads];
  __shared__ index_t n[kThreads];
  const int thread = static_cast<int>(threadIdx.x);
  for (index_t i = blockIdx.x; i < parts * in.results; i += gridDim.x) {
    const index_t part = i / in.results, base = offset_of(in.kept, i - part * in.results);
    const index_t begin = part * in.length, end = min(begin + in.length, in.reduced.count);
    State state;
    for (index_t k = begin + thread; k < end; k += kThreads) {
      merge<kind>(state, in.element(base, k));
    }
    for (int step = kThreads / 2; step > 0; step /= 2) {
      a[thread] = state.a;
      b[thread] = state.b;
      n[thread] = state.n;
      __syncthreads();
      if (thread < step) {
        merge<kind>(state, State{a[thread + step], b[thread + step], n[thread + step]});
      }
      __syncthreads();
    }
    if (thread == 0) states[i] = state;
  }
}

template <Kind kind, class T>
__global__ void finish_kernel(const State* states, index_t parts, index_t results, double ddof,
                              void* out) {
  for (index_t o = global_thread(); o < results; o += global_threads()) {
    State state;
    for (index_t part = 0; part < parts; ++part) merge<kind>(state, states[part * results + o]);
    const double value = finish<kind>(state, ddof);
    if constexpr (is_index(kind)) {
      static_cast<std::int64_t*>(out)[o] = static_cast<std::int64_t>(value);
    } else {
      static_cast<T*>(out)[o] = static_cast<T>(value);
    }
  }
}

template <Kind kind, class T>
void run_one(const Call& call, const T* x, const Axes& kept, const Axes& reduced, double ddof,
             const Cut& cut, const Space& space, void* out) {
  const Input<kind, T> in{reinterpret_cast<const char*>(x), kept, reduced, kept.count, cut.length};
  const index_t work = cut.parts * kept.count;
  if (cut.blocks) {
    launch(call, block_kernel<kind, T>, grid_for(work * kThreads, kThreads), kThreads, in,
           cut.parts, space.states);
  } else {
    launch(call, thread_kernel<kind, T>, grid_for(work, kThreads), kThreads, in, cut.parts,
           space.states);
  }
  launch(call, finish_kernel<kind, T>, grid_for(kept.count, kThreads), kThreads, space.states,
         cut.parts, kept.count, ddof, out);
}

}  // namespace

void Axes::add(index_t size, index_t stride) {
  count *= size;
  if (size == 1) return;
  if (rank > 0 && strides[rank - 1] == size * stride) {
    sizes[rank - 1] *= size;
    strides[rank - 1] = stride;
    return;
  }
  if (rank == kMostAxes) {
    invalid("reduction", "x must have at most ", kMostAxes,
            " axes that cannot be merged on the GPU");
  }
  sizes[rank] = size;
  strides[rank++] = stride;
}

Cut::Cut(const Axes& kept, const Axes& reduced) {
  const auto last = [](const Axes& axes) {
    return axes.rank == 0 ? INT64_MAX
                          : std::max(axes.strides[axes.rank - 1], -axes.strides[axes.rank - 1]);
  };
  // Short rows waste most of a block.
  blocks = last(reduced) < last(kept) ? reduced.count >= 64 : kept.count < 32;
  // Parts until about 2^17 threads are busy, of at least 16 elements a thread.
  constexpr index_t kBusy = 1 << 17;
  const index_t threads = blocks ? kThreads : 1;
  const index_t wanted = std::max<index_t>(1, kBusy / std::max<index_t>(1, kept.count * threads));
  length = std::max(16 * threads, div_up(reduced.count, wanted));
  parts = std::max<index_t>(1, div_up(reduced.count, length));
}

template <class T>
void run(const Call& call, Kind kind, const T* x, const Axes& kept, const Axes& reduced,
         double ddof, const Cut& cut, const Space& space, void* out) {
  if (kept.count == 0) return;
  const auto one = [&]<Kind k>(std::integral_constant<Kind, k>) {
    if (kind == k) run_one<k, T>(call, x, kept, reduced, ddof, cut, space, out);
  };
  [&]<std::size_t... i>(std::index_sequence<i...>) {
    (one(std::integral_constant<Kind, kKinds[i]>()), ...);
  }(std::make_index_sequence<std::size(kKinds)>());
}

KERNELMILL_FOR_STORED(run)

}  // namespace kernelmill::reduction
