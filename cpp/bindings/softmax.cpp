#include "ops/softmax.hpp"

#include "bindings/family.hpp"

namespace kernelmill {

void bind_softmax(Family family) {
  using namespace softmax;
  family.op<softmax::softmax<float>, softmax::softmax<double>>("softmax");
  family.op<log_softmax<float>, log_softmax<double>>("log_softmax");
  family.op<softmax_backward<float>, softmax_backward<double>>("softmax_backward");
  family.op<log_softmax_backward<float>, log_softmax_backward<double>>("log_softmax_backward");
  family.op<cross_entropy<float>, cross_entropy<double>>("cross_entropy");
  family.op<cross_entropy_backward<float>, cross_entropy_backward<double>>(
      "cross_entropy_backward");
}

}  // namespace kernelmill
