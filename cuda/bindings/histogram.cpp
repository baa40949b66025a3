#include "ops/histogram.cuh"

#include "bindings/device.hpp"
#include "ops/histogram_checks.hpp"
#include "ops/histogram_grow.cuh"

namespace kernelmill {

namespace {

template <class T>
using In = std::span<const T>;

histogram::Codes codes_of(const DenseView<std::uint8_t>& codes) {
  return {codes.data, codes.shape[0], codes.shape[1], codes.shape[2]};
}

template <class T>
void encode(const Call& call, Scratch* scratch, MatrixView<const T> X, DenseView<double> edges,
            In<std::int32_t> count, In<bool> categorical, index_t blocks, index_t width,
            std::uint8_t* codes) {
  histogram::encode<T>(call, X, edges.data, edges.shape[1], count, categorical, blocks, width,
                       codes, scratch->make<histogram::EncodeSpace>(X.cols));
}

histogram::Labelled labelled(In<double> y, MatrixView<const double> raw, In<double> weight) {
  return {y.data(), weight.empty() ? nullptr : weight.data(), raw};
}

void slopes(const Call& call, Scratch* scratch, In<double> y, MatrixView<const double> raw,
            In<double> weight, index_t loss, double parameter, bool unit, double* gradient,
            double* hessian) {
  histogram::slopes(call, labelled(y, raw, weight), static_cast<histogram::Loss>(loss), parameter,
                    unit, gradient, hessian, scratch->make<histogram::LossSpace>());
}

double deviance(const Call& call, Scratch* scratch, In<double> y, MatrixView<const double> raw,
                In<double> weight, index_t loss, double parameter) {
  return histogram::deviance(call, labelled(y, raw, weight), static_cast<histogram::Loss>(loss),
                             parameter, scratch->make<histogram::LossSpace>());
}

void quantiles(const Call& call, Scratch* scratch, In<double> residual, In<double> weight,
               In<std::int32_t> rows, DenseView<std::int32_t> spans, double level, double* value) {
  const index_t m = spans.shape[0];
  histogram::quantiles(
      call, residual, weight.empty() ? nullptr : weight.data(), rows, spans.data, m, level, value,
      scratch->make<histogram::QuantileSpace>(call, spans.data, m, std::ssize(rows)));
}

void add(const Call& call, Scratch* scratch, In<std::int32_t> rows, DenseView<std::int32_t> spans,
         In<double> value, std::span<double> raw) {
  histogram::add(call, rows, spans.data, spans.shape[0], value.data(), raw,
                 scratch->make<histogram::AddSpace>(spans.shape[0]));
}

index_t grow(const Call& call, Scratch* scratch, DenseView<std::uint8_t> codes,
             In<std::int32_t> counts, In<bool> categorical, In<double> gradient, In<double> hessian,
             In<double> rule, In<std::int32_t> monotonic, MatrixView<const bool> groups,
             std::uint64_t seed, std::span<std::int32_t> rows, index_t nodes, std::int32_t* split,
             double* stats, std::uint8_t* sides) {
  const histogram::GrowRows given{codes_of(codes), gradient, hessian, rows};
  const histogram::Features features{counts, categorical, monotonic, groups};
  histogram::check_codes(given.codes, counts);
  const auto& space = scratch->make<histogram::GrowSpace>(features, std::ssize(rows), nodes);
  std::vector<std::int32_t> own_split(static_cast<std::size_t>(8 * nodes));
  std::vector<double> own_stats(static_cast<std::size_t>(4 * nodes));
  std::vector<std::uint8_t> own_sides(static_cast<std::size_t>(32 * nodes));
  const histogram::Tree tree{dense(own_split.data(), nodes, 8), dense(own_stats.data(), nodes, 4),
                             dense(own_sides.data(), nodes, 32)};
  const double* const r = rule.data();
  const index_t count =
      histogram::grow(call, given, features, {r[0], r[1], r[2], r[3], r[4], r[5], r[6], r[7], r[8]},
                      seed, tree, space);
  upload(call, split, own_split.data(), 8 * nodes);
  upload(call, stats, own_stats.data(), 4 * nodes);
  upload(call, sides, own_sides.data(), 32 * nodes);
  return count;
}

void walk(const Call& call, Scratch* scratch, DenseView<std::uint8_t> codes,
          DenseView<std::int32_t> split, const std::uint8_t* sides, std::int32_t* leaves) {
  histogram::walk(call, codes_of(codes), split.data, sides, split.shape[0], leaves,
                  scratch->make<histogram::WalkSpace>(split.shape[0]));
}

template <class T>
void predict(const Call& call, Scratch* scratch, MatrixView<const T> X, In<index_t> nodes,
             In<index_t> roots, tree::Sides sides, In<double> start, double* raw) {
  histogram::predict<T>(call, X, {nodes, roots, sides}, start.data(), std::ssize(start), raw,
                        scratch->make<tree::CheckSpace>());
}

}  // namespace

void bind_histogram(Family family) {
  family.op<encode<float>, encode<double>>("encode");
  family.op<slopes>("slopes");
  family.op<deviance>("deviance");
  family.op<grow>("grow");
  family.op<quantiles>("quantiles");
  family.op<add>("add");
  family.op<walk>("walk");
  family.op<predict<float>, predict<double>>("predict");
}

}  // namespace kernelmill
