#include "core/launch.cuh"

namespace kernelmill {
namespace {

constexpr int kSumThreads = 1024;

__global__ void sum_kernel(const double* values, index_t count, double* out) {
  __shared__ double shared[kSumThreads];
  double sum = 0;
  for (index_t i = threadIdx.x; i < count; i += kSumThreads) sum += values[i];
  const double total = block_sum<kSumThreads>(sum, shared);
  if (threadIdx.x == 0) *out = total;
}

}  // namespace

void sum_in_order(const Call& call, const double* values, index_t count, double* out) {
  launch(call, sum_kernel, 1, kSumThreads, values, count, out);
}

}  // namespace kernelmill
