#include "ops/pairwise.cuh"

#include "bindings/device.hpp"

namespace kernelmill {

void bind_pairwise(Family family) { family.op<euclidean<float>, euclidean<double>>("euclidean"); }

}  // namespace kernelmill
