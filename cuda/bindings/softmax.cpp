#include "ops/softmax.cuh"

#include "bindings/device.hpp"

namespace kernelmill {

namespace {

template <class T, bool logarithm>
void forward(const Call& call, CubeView<const T> x, CubeView<T> y) {
  softmax::forward<T>(call, x, logarithm, y);
}

template <class T, bool logarithm>
void backward(const Call& call, CubeView<const T> dout, CubeView<const T> y, CubeView<T> dx) {
  softmax::backward<T>(call, dout, y, logarithm, dx);
}

template <class T>
double loss(const Call& call, Scratch* scratch, CubeView<const T> logits, const index_t* target,
            const Acc<T>* weight, index_t ignore_index, double label_smoothing, Acc<T>* losses,
            double* lse) {
  const auto& space = scratch->make<softmax::LossSpace>(logits.shape[0] * logits.shape[2]);
  return softmax::cross_entropy<T>(call, logits, {target, weight, ignore_index, label_smoothing},
                                   losses, lse, space);
}

template <class T>
void loss_backward(const Call& call, Scratch* scratch, const Acc<T>* dout, CubeView<const T> logits,
                   const double* lse, const index_t* target, const Acc<T>* weight,
                   index_t ignore_index, double label_smoothing, CubeView<T> dlogits) {
  softmax::cross_entropy_backward<T>(call, dout, logits, lse,
                                     {target, weight, ignore_index, label_smoothing}, dlogits,
                                     scratch->make<RangeSpace>());
}

}  // namespace

void bind_softmax(Family family) {
  family.op<KERNELMILL_STORED(forward, false)>("softmax");
  family.op<KERNELMILL_STORED(forward, true)>("log_softmax");
  family.op<KERNELMILL_STORED(backward, false)>("softmax_backward");
  family.op<KERNELMILL_STORED(backward, true)>("log_softmax_backward");
  family.op<KERNELMILL_STORED(loss)>("cross_entropy");
  family.op<KERNELMILL_STORED(loss_backward)>("cross_entropy_backward");
}

}  // namespace kernelmill
