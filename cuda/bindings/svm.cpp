#include "ops/svm.cuh"

#include "bindings/device.hpp"

namespace kernelmill {

namespace {

template <class T>
index_t solve(const Call& call, Scratch* scratch, DeviceRows<T> x,
              std::span<const std::int32_t> rows, std::span<const index_t> spans,
              std::span<const double> lower, std::span<const double> upper,
              std::span<const double> settings, index_t most_rounds, std::span<double> beta,
              std::span<double> gradient, MatrixView<T> cache, MatrixView<index_t> slots,
              MatrixView<std::int32_t> working, MatrixView<double> state) {
  const auto m = static_cast<index_t>(rows.size());
  return svm_solve<T>(call, x,
                      svm::Solving<T>{rows, spans, lower, upper, settings, most_rounds, beta,
                                      gradient, cache, slots, working, state},
                      scratch->make<SvmSpace<T>>(call, m));
}

}  // namespace

void bind_svm(Family family) { family.op<solve<float>, solve<double>>("solve"); }

}  // namespace kernelmill
