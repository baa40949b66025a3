#include "ops/pairwise.hpp"

#include "bindings/family.hpp"

namespace kernelmill {

void bind_pairwise(Family family) { family.op<euclidean<float>, euclidean<double>>("euclidean"); }

}  // namespace kernelmill
