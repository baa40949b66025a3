// The CUDA implementations of python/kernelmill/ops/attention.py.
#pragma once

#include <cstdint>  // std::uint64_t

#include "core/call.hpp"  // Call, Arena, StridedView

namespace kernelmill::attention {

template <class T>
using View = StridedView<T, 4>;

template <class T>
struct Inputs {
  View<const T> q, k, v;  // (b, t, h, e), (b, s, g, e), (b, s, g, f); adjacent features
  View<const T> bias;     // (b, h, t, s) with strides of 0 where it repeats, or null
  View<const bool> mask;  // the same
  const T* slopes;        // of each head, or null
  bool causal;
  index_t window, offset;
  T scale;
  float least;  // what is drawn is kept from here on; 0 without dropout
  T factor;     // of what is kept
  std::uint64_t seed, stream;
};

// A gradient of out, and what the forward pass returned.
template <class T>
struct Results {
  View<const T> dout, out;  // (b, t, h, f); adjacent features
  const T* lse;             // (b, h, t)
};

template <class T>
struct BackwardSpace {
  BackwardSpace(Arena& arena, index_t rows) : delta(arena.take<T>(rows)) {}
  T* delta;  // (b, h, t)
};

template <class T>
void forward(const Call& call, const Inputs<T>& in, View<T> out, T* lse);
template <class T>
void backward(const Call& call, const Inputs<T>& in, const Results<T>& results, View<T> dq,
              View<T> dk, View<T> dv, const BackwardSpace<T>& space);
template <class T>
void bias_backward(const Call& call, const Inputs<T>& in, const Results<T>& results, View<T> dbias,
                   const BackwardSpace<T>& space);

}  // namespace kernelmill::attention
