#include "ops/values.hpp"

#include "bindings/family.hpp"

namespace kernelmill {

void bind_values(Family family) { family.op<extent<float>, extent<double>>("extent"); }

}  // namespace kernelmill
