#include "ops/affinity.hpp"

#include "bindings/family.hpp"
#include "core/error.hpp"

namespace kernelmill {

namespace {

void exchange(MatrixView<const double> s, MatrixView<double> r, MatrixView<double> a,
              double damping, index_t, MatrixView<double> evidence) {
  if (!(damping >= 0 && damping < 1)) {
    invalid("affinity.exchange", "damping must be in [0, 1), got ", damping);
  }
  affinity::exchange(s, r, a, damping, evidence);
}

}  // namespace

void bind_affinity(Family family) { family.op<exchange>("exchange"); }

}  // namespace kernelmill
