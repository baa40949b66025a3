// What every CUDA op is handed: who asks, on which stream, with which memory.
//
// Ops never allocate. Each states its temporary memory as a struct whose constructor takes from an
// Arena; the binding runs that constructor once to measure, allocates, and once more to carve.
#pragma once

#include <cuda_runtime_api.h>  // cudaStream_t, cudaError_t

#include <cstddef>    // std::size_t
#include <stdexcept>  // std::runtime_error
#include <string>     // messages

#include "core/half.hpp"    // Float16, BFloat16, Acc
#include "core/matrix.hpp"  // index_t

namespace kernelmill {

struct Call {
  const char* op;  // "family.op", for messages
  cudaStream_t stream;
};

// Throws RuntimeError in Python, e.g. "kmeans.assign: CUDA launch failed: invalid argument".
inline void check(const Call& call, const char* what, cudaError_t error) {
  if (error == cudaSuccess) return;
  cudaGetLastError();  // the next op must not find this error
  throw std::runtime_error(std::string(call.op) + ": CUDA " + what +
                           " failed: " + cudaGetErrorString(error));
}

// Copies a small result to the host and waits for it: the only synchronisation in an op.
template <class T>
void download(const Call& call, T* host, const T* device, index_t count) {
  const std::size_t bytes = sizeof(T) * static_cast<std::size_t>(count);
  check(call, "copy", cudaMemcpyAsync(host, device, bytes, cudaMemcpyDeviceToHost, call.stream));
  check(call, "execution", cudaStreamSynchronize(call.stream));
}

// Copies a small argument to the device; `host` may go once this returns.
template <class T>
void upload(const Call& call, T* device, const T* host, index_t count) {
  const std::size_t bytes = sizeof(T) * static_cast<std::size_t>(count);
  if (bytes == 0) return;
  check(call, "copy", cudaMemcpyAsync(device, host, bytes, cudaMemcpyHostToDevice, call.stream));
}

inline void zero(const Call& call, void* device, std::size_t bytes) {
  if (bytes > 0) check(call, "fill", cudaMemsetAsync(device, 0, bytes, call.stream));
}

// Hands out 256-byte aligned pieces of one allocation; without memory it only measures.
class Arena {
 public:
  explicit Arena(void* base = nullptr) : base_(static_cast<char*>(base)) {}
  template <class T>
  T* take(index_t count) {
    used_ = (used_ + 255) / 256 * 256;
    T* piece = base_ == nullptr ? nullptr : reinterpret_cast<T*>(base_ + used_);
    used_ += sizeof(T) * static_cast<std::size_t>(count);
    return piece;
  }
  std::size_t bytes() const { return used_; }

 private:
  char* base_;
  std::size_t used_ = 0;
};

// n rows of d elements in device memory. Columns are adjacent; with `order`, row i is order[i] of
// the stored rows.
template <class T>
struct DeviceRows {
  const T* data = nullptr;
  index_t n = 0;
  index_t d = 0;
  index_t stride = 0;
  const index_t* order = nullptr;
};

constexpr index_t div_up(index_t a, index_t b) { return (a + b - 1) / b; }

// Smallest power of two that is at least x, for 1 <= x.
constexpr int power_of_two(index_t x) {
  int p = 1;
  while (p < x) p *= 2;
  return p;
}

}  // namespace kernelmill
