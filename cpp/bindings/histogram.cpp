#include "ops/histogram.hpp"

#include "bindings/family.hpp"

namespace kernelmill {

namespace {

template <class T>
using In = std::span<const T>;

histogram::Codes codes_of(const DenseView<std::uint8_t>& codes) {
  return {codes.data, codes.shape[0], codes.shape[1], codes.shape[2]};
}

index_t grow(DenseView<std::uint8_t> codes, In<std::int32_t> counts, In<bool> categorical,
             In<double> gradient, In<double> hessian, In<double> rule, In<std::int32_t> monotonic,
             MatrixView<const bool> groups, std::uint64_t seed, std::span<std::int32_t> rows,
             index_t, MatrixView<std::int32_t> split, MatrixView<double> stats,
             MatrixView<std::uint8_t> sides) {
  const double* const r = rule.data();
  return histogram::grow(codes_of(codes), {counts, categorical, monotonic, groups}, gradient,
                         hessian, {r[0], r[1], r[2], r[3], r[4], r[5], r[6], r[7], r[8]}, seed,
                         rows, {split, stats, sides});
}

void walk(DenseView<std::uint8_t> codes, MatrixView<const std::int32_t> split,
          MatrixView<const std::uint8_t> sides, std::span<std::int32_t> leaves) {
  histogram::walk(codes_of(codes), split, sides, leaves);
}

}  // namespace

void bind_histogram(Family family) {
  namespace own = histogram;
  family.op<own::edges<float>, own::edges<double>>("edges");
  family.op<own::encode<float>, own::encode<double>>("encode");
  family.op<own::slopes>("slopes");
  family.op<own::deviance>("deviance");
  family.op<grow>("grow");
  family.op<own::quantiles>("quantiles");
  family.op<own::add>("add");
  family.op<walk>("walk");
  family.op<own::predict<float>, own::predict<double>>("predict");
}

}  // namespace kernelmill
