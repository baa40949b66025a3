// The CUDA implementations of python/kernelmill/ops/softmax.py. Views have shape (n, c, k).
#pragma once

#include "core/call.hpp"   // Call, Arena, CubeView
#include "core/range.hpp"  // RangeSpace

namespace kernelmill::softmax {

// y = softmax(x) over c, or its logarithm.
template <class T>
void forward(const Call& call, CubeView<const T> x, bool logarithm, CubeView<T> y);
// dx from the gradient and the result of `forward`.
template <class T>
void backward(const Call& call, CubeView<const T> dout, CubeView<const T> y, bool logarithm,
              CubeView<T> dx);

// Without a weight, null stands for ones.
template <class T>
struct Loss {
  const index_t* target;
  const Acc<T>* weight;
  index_t ignore_index;
  double label_smoothing;
};

struct LossSpace {
  LossSpace(Arena& arena, index_t positions)
      : range(arena), weights(arena.take<double>(positions)), total(arena.take<double>(1)) {}
  RangeSpace range;
  double* weights;  // of the targets that count
  double* total;
};

// Both throw for a target that is no class. Returns the sum of the weights of the targets that
// count.
template <class T>
double cross_entropy(const Call& call, CubeView<const T> logits, const Loss<T>& loss,
                     Acc<T>* losses, double* lse, const LossSpace& space);
template <class T>
void cross_entropy_backward(const Call& call, const Acc<T>* dout, CubeView<const T> logits,
                            const double* lse, const Loss<T>& loss, CubeView<T> dlogits,
                            const RangeSpace& space);

}  // namespace kernelmill::softmax
