#include "ops/elementwise.hpp"

#include <algorithm>  // std::min
#include <cstddef>    // std::size_t

#include "core/error.hpp"     // invalid
#include "core/math.hpp"      // the functions
#include "core/parallel.hpp"  // parallel_for

namespace kernelmill::elementwise {
namespace {

// 16k elements take 5 to 30 us: enough to pay for waking a thread, small enough to balance.
constexpr index_t kGrain = 1 << 14;

// Each element depends on itself alone, so x == out is fine and no other overlap is allowed.
template <class T, class F>
void apply(const T* x, T* out, index_t n, F f) {
#pragma omp simd
  for (index_t i = 0; i < n; ++i) out[i] = f(x[i]);
}

void check_size(const char* op, index_t want, std::size_t got) {
  if (want != static_cast<index_t>(got)) {
    invalid(op, "out must have ", want, " elements like x, got ", got);
  }
}

template <class T, class F>
void map(const char* op, std::span<const T> x, std::span<T> out, F f) {
  const auto n = static_cast<index_t>(x.size());
  check_size(op, n, out.size());
  parallel_for(n, kGrain, [&](index_t, index_t begin, index_t end) {
    apply(x.data() + begin, out.data() + begin, end - begin, f);
  });
}

// Copies elements [begin, end) of x in C order. The last axis is the inner loop.
template <class T>
void gather(const StridedArray<T>& x, index_t begin, index_t end, T* to) {
  const std::size_t rank = x.shape.size();
  const index_t width = x.shape[rank - 1], step = x.strides[rank - 1];
  while (begin < end) {
    index_t rest = begin / width;
    const index_t column = begin % width;
    index_t offset = column * step;
    for (std::size_t axis = rank - 1; axis-- > 0;) {
      offset += rest % x.shape[axis] * x.strides[axis];
      rest /= x.shape[axis];
    }
    const index_t run = std::min(end - begin, width - column);
    const T* from = x.data + offset;
    for (index_t i = 0; i < run; ++i) to[i] = from[i * step];
    to += run;
    begin += run;
  }
}

template <class T, class F>
void map(const char* op, const StridedArray<T>& x, std::span<T> out, F f) {
  if (x.shape.size() != x.strides.size()) {
    invalid(op, "strides must have one entry per axis of shape, got ", x.strides.size(), " for ",
            x.shape.size());
  }
  index_t n = 1;
  for (index_t size : x.shape) n *= size;
  check_size(op, n, out.size());
  if (x.shape.empty()) {
    apply(x.data, out.data(), 1, f);
    return;
  }
  parallel_for(n, kGrain, [&](index_t, index_t begin, index_t end) {
    gather(x, begin, end, out.data() + begin);
    apply(static_cast<const T*>(out.data()) + begin, out.data() + begin, end - begin, f);
  });
}

}  // namespace

#define KERNELMILL_ELEMENTWISE(name)                                            \
  template <class T>                                                            \
  void name(std::span<const T> x, std::span<T> out) {                           \
    map("elementwise." #name, x, out, [](T v) { return kernelmill::name(v); }); \
  }                                                                             \
  template <class T>                                                            \
  void name(const StridedArray<T>& x, std::span<T> out) {                       \
    map("elementwise." #name, x, out, [](T v) { return kernelmill::name(v); }); \
  }                                                                             \
  template void name<float>(std::span<const float>, std::span<float>);          \
  template void name<double>(std::span<const double>, std::span<double>);       \
  template void name<float>(const StridedArray<float>&, std::span<float>);      \
  template void name<double>(const StridedArray<double>&, std::span<double>);
KERNELMILL_ELEMENTWISE(exp)
KERNELMILL_ELEMENTWISE(log)
KERNELMILL_ELEMENTWISE(log1p)
KERNELMILL_ELEMENTWISE(tanh)
KERNELMILL_ELEMENTWISE(erf)
KERNELMILL_ELEMENTWISE(logistic)
#undef KERNELMILL_ELEMENTWISE

}  // namespace kernelmill::elementwise
