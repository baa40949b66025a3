#include "ops/coordinate.hpp"

#include "bindings/family.hpp"

namespace kernelmill {

void bind_coordinate(Family family) {
  family.op<coordinate::descent>("descent");
  family.op<coordinate::lassos>("lassos");
  family.op<coordinate::pursuits>("pursuits");
}

}  // namespace kernelmill
