#include "ops/half.hpp"

#include "bindings/family.hpp"

namespace kernelmill {

void bind_half(Family family) {
  family.op<half::widen>("widen");
  family.op<half::narrow>("narrow");
}

}  // namespace kernelmill
