#include "ops/dropout.cuh"

#include "core/launch.cuh"  // launch
#include "core/random.hpp"  // Philox, the same text as on the CPU

namespace kernelmill::dropout {
namespace {

// A thread takes the four entries that one block of words decides, or one where rows are dropped.
template <class T>
__global__ void __launch_bounds__(kThreads)
    dropout_kernel(const MatrixView<const T> x, const Mask mask, Acc<T> scale, Acc<T> shift,
                   Acc<T> dropped, T* y) {
  const Philox philox(mask.seed, mask.stream);
  const index_t count = x.rows * x.cols, step = mask.rows ? 1 : 4;
  const bool dense = x.col_stride == 1 && x.row_stride == x.cols;
  for (index_t first = step * global_thread(); first < count; first += step * global_threads()) {
    const index_t item = mask.rows ? first / x.cols : first;
    const PhiloxWords words = philox.block(static_cast<std::uint64_t>(item) / 4);
    for (index_t e = first; e < first + step && e < count; ++e) {
      const float drawn = uniform_float(words.w[(item + e - first) % 4]);
      const index_t row = dense ? 0 : e / x.cols;
      const Acc<T> value =
          x.data[dense ? e : row * x.row_stride + (e - row * x.cols) * x.col_stride];
      y[e] = static_cast<T>(static_cast<double>(drawn) >= mask.p ? scale * value + shift : dropped);
    }
  }
}

}  // namespace

template <class T>
void dropout(const Call& call, MatrixView<const T> x, const Mask& mask, Acc<T> scale, Acc<T> shift,
             Acc<T> dropped, T* y) {
  launch(call, dropout_kernel<T>, grid_for(x.rows * x.cols / (mask.rows ? 1 : 4) + 1, kThreads),
         kThreads, x, mask, scale, shift, dropped, y);
}

KERNELMILL_FOR_STORED(dropout)

}  // namespace kernelmill::dropout
