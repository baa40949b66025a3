#include "ops/decomposition.hpp"

#include "bindings/family.hpp"

namespace kernelmill {

void bind_decomposition(Family family) {
  using namespace decomposition;
  family.op<contrasts<float>, contrasts<double>>("contrasts");
  family.op<deflation<float>, deflation<double>>("deflation");
  family.op<nonnegative<float>, nonnegative<double>>("nonnegative");
  family.op<alternations<float>, alternations<double>>("alternations");
  family.op<multiplicative<float>, multiplicative<double>>("multiplicative");
  family.op<scores<float>, scores<double>>("scores");
  family.op<leading>("leading");
  family.op<topics<float>, topics<double>>("topics")
      .with_csr<csr_topics<float>, csr_topics<double>>();
}

}  // namespace kernelmill
