#include "ops/linear.cuh"

#include "core/launch.cuh"        // launch
#include "ops/linear_ending.cuh"  // activate

namespace kernelmill::linear {
namespace {

template <class T>
__global__ void finish_kernel(index_t count, index_t columns, const Ending<Acc<T>> ending, T* z,
                              T* y) {
  for (index_t e = global_thread(); e < count; e += global_threads()) {
    const Acc<T> value = add_bias<Acc<T>>(ending, z[e], e % columns);
    if (z != y) z[e] = static_cast<T>(value);
    y[e] = static_cast<T>(activate(ending, value));
  }
}

}  // namespace

template <class T>
void finish(const Call& call, index_t n, index_t columns, const Ending<Acc<T>>& ending, T* z,
            T* y) {
  launch(call, finish_kernel<T>, grid_for(n * columns, kThreads), kThreads, n * columns, columns,
         ending, z, y);
}

KERNELMILL_FOR_STORED(finish)

}  // namespace kernelmill::linear
