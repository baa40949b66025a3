// Launching kernels, and the few device functions that several ops share.
#pragma once

#include <cuda_runtime.h>  // kernels, cudaLaunchKernelEx

#include <limits>  // infinity

#include "core/call.hpp"  // Call, check

namespace kernelmill {

// Largest first grid dimension.
constexpr index_t kMaxBlocks = 2147483647;

// Threads of a block of a kernel that asks for no other number.
constexpr int kThreads = 256;

// Queues kernel(arguments...) and reports a refusal under the op's name.
template <class... Parameters, class... Arguments>
void launch(const Call& call, void (*kernel)(Parameters...), dim3 grid, dim3 block,
            Arguments... arguments) {
  cudaLaunchConfig_t config{};
  config.gridDim = grid;
  config.blockDim = block;
  config.stream = call.stream;
  check(call, "launch", cudaLaunchKernelEx(&config, kernel, static_cast<Parameters>(arguments)...));
}

// Blocks for one thread per item in a grid-stride loop: enough to fill any device, never too many.
inline dim3 grid_for(index_t items, int threads) {
  constexpr index_t kEnough = 32768;
  const index_t blocks = div_up(items, threads);
  return dim3(static_cast<unsigned>(blocks < 1 ? 1 : blocks < kEnough ? blocks : kEnough));
}

__device__ inline index_t global_thread() {
  return static_cast<index_t>(blockIdx.x) * blockDim.x + threadIdx.x;
}
__device__ inline index_t global_threads() { return static_cast<index_t>(gridDim.x) * blockDim.x; }

// Sum over aligned groups of kLanes lanes; every lane gets it. The order is fixed by lane numbers.
template <int kLanes>
__device__ inline double lane_sum(double x) {
#pragma unroll
  for (int step = kLanes / 2; step > 0; step /= 2) x += __shfl_xor_sync(0xffffffffu, x, step);
  return x;
}

// What kThreads threads of a block (a power of two) bring, joined in an order fixed by thread
// numbers. Every thread gets it; `shared` holds kThreads values and may be reused once all threads
// return.
template <int kThreads, class Rule>
__device__ inline double block_join(double x, double* shared, Rule rule) {
  const int thread = static_cast<int>(threadIdx.x);
  shared[thread] = x;
  __syncthreads();
#pragma unroll
  for (int step = kThreads / 2; step > 0; step /= 2) {
    if (thread < step) shared[thread] = rule(shared[thread], shared[thread + step]);
    __syncthreads();
  }
  const double joined = shared[0];
  __syncthreads();
  return joined;
}
template <int kThreads>
__device__ inline double block_sum(double x, double* shared) {
  return block_join<kThreads>(x, shared, [](double a, double b) { return a + b; });
}

// What the threads up to this one bring, added up; as block_sum. `shared` holds it for all threads.
template <int kThreads, class T>
__device__ inline T block_scan(T x, T* shared) {
  const int thread = static_cast<int>(threadIdx.x);
  T sum = x;
  shared[thread] = sum;
  __syncthreads();
#pragma unroll
  for (int step = 1; step < kThreads; step *= 2) {
    const T before = thread >= step ? shared[thread - step] : T{0};
    __syncthreads();
    shared[thread] = sum += before;
    __syncthreads();
  }
  return sum;
}

// out = sum of count values, by one block in a fixed order.
void sum_in_order(const Call& call, const double* values, index_t count, double* out);

// out[i] = value.
template <class T>
__global__ void fill_kernel(T* out, index_t count, T value) {
  for (index_t i = global_thread(); i < count; i += global_threads()) out[i] = value;
}

template <class T>
void fill(const Call& call, T* out, index_t count, T value) {
  if (count > 0)
    launch(call, fill_kernel<T>, grid_for(count, kThreads), kThreads, out, count, value);
}

// out[i] = i.
template <class T>
__global__ void number_kernel(T* out, index_t count) {
  for (index_t i = global_thread(); i < count; i += global_threads()) out[i] = static_cast<T>(i);
}

template <class T>
void number(const Call& call, T* out, index_t count) {
  if (count > 0) launch(call, number_kernel<T>, grid_for(count, kThreads), kThreads, out, count);
}

}  // namespace kernelmill
