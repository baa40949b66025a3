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
  const Acc<T>* slopes;   // of each head, or null
  bool causal;
  index_t window, offset;
  Acc<T> scale;
  float least;    // what is drawn is kept from here on; 0 without dropout
  Acc<T> factor;  // of what is kept
  std::uint64_t seed, stream;
};

// A gradient of out, and what the forward pass returned.
template <class T>
struct Results {
  View<const T> dout, out;  // (b, t, h, f); adjacent features
  const Acc<T>* lse;        // (b, h, t)
};

template <class T>
struct BackwardSpace {
  BackwardSpace(Arena& arena, index_t rows) : delta(arena.take<Acc<T>>(rows)) {}
  Acc<T>* delta;  // (b, h, t)
};

template <class T>
void forward(const Call& call, const Inputs<T>& in, View<T> out, Acc<T>* lse);
// The same, a block for each query, of which there is at least one.
template <class T>
void forward_few(const Call& call, const Inputs<T>& in, View<T> out, Acc<T>* lse);
template <class T>
void backward(const Call& call, const Inputs<T>& in, const Results<T>& results, View<T> dq,
              View<T> dk, View<T> dv, const BackwardSpace<T>& space);
template <class T>
void bias_backward(const Call& call, const Inputs<T>& in, const Results<T>& results, View<T> dbias,
                   const BackwardSpace<T>& space);

// A tile of 64 queries computes them all.
constexpr index_t kFew = 8;

// The same on tensor cores, float32 as tf32; for at most `kMostFeatures` of each kind.
template <class T>
constexpr index_t kMostFeatures = sizeof(T) == 4 ? 64 : 128;
template <class T>
void tensor_forward(const Call& call, const Inputs<T>& in, View<T> out, Acc<T>* lse);
template <class T>
void tensor_backward(const Call& call, const Inputs<T>& in, const Results<T>& results, View<T> dq,
                     View<T> dk, View<T> dv, const BackwardSpace<T>& space);

// to = from, of equal shapes.
template <class From, class To>
void convert(const Call& call, const View<const From>& from, const View<To>& to);

}  // namespace kernelmill::attention
