// Scaled dot-product attention: the C++ implementation of python/kernelmill/ops/attention.py, whose
// docstrings are the contract.
#pragma once

#include <cstdint>  // std::uint64_t

#include "core/matrix.hpp"  // StridedView

namespace kernelmill::attention {

template <class T>
using View = StridedView<T, 4>;

template <class T>
struct Inputs {
  View<const T> q, k, v;  // (b, t, h, e), (b, s, g, e), (b, s, g, f)
  View<const T> bias;     // (b, h, t, s) with strides of 0 where it repeats, or null
  View<const bool> mask;  // the same
  const T* slopes;        // of each head, or null
  bool causal;
  index_t window, offset;
  T scale;
  double p;
  std::uint64_t seed, stream;
};

// A gradient of out, and what the forward pass returned.
template <class T>
struct Results {
  View<const T> dout, out;  // (b, t, h, f)
  const T* lse;             // (b, h, t)
};

template <class T>
void forward(const Inputs<T>& in, View<T> out, T* lse);
// dq, dk and dv have any strides but those of their last axes, which are 1.
template <class T>
void backward(const Inputs<T>& in, const Results<T>& results, View<T> dq, View<T> dk, View<T> dv);
template <class T>
void bias_backward(const Inputs<T>& in, const Results<T>& results, View<T> dbias);

#define KERNELMILL_ATTENTION(linkage, T)                                                   \
  linkage template void forward<T>(const Inputs<T>&, View<T>, T*);                         \
  linkage template void backward<T>(const Inputs<T>&, const Results<T>&, View<T>, View<T>, \
                                    View<T>);                                              \
  linkage template void bias_backward<T>(const Inputs<T>&, const Results<T>&, View<T>);
KERNELMILL_ATTENTION(extern, float)
KERNELMILL_ATTENTION(extern, double)

}  // namespace kernelmill::attention
