#include "ops/norm.hpp"

#include "bindings/family.hpp"

namespace kernelmill {

void bind_norm(Family family) {
  using namespace norm;
  family.op<group<float>, group<double>>("group");
  family.op<group_backward<float>, group_backward<double>>("group_backward");
  family.op<batch<float>, batch<double>>("batch");
  family.op<batch_evaluate<float>, batch_evaluate<double>>("batch_evaluate");
  family.op<batch_backward<float>, batch_backward<double>>("batch_backward");
}

}  // namespace kernelmill
