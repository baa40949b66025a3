#include "ops/tree.hpp"

#include "bindings/family.hpp"

namespace kernelmill {

namespace {

template <class T>
using In = std::span<const T>;

tree::Targets targets_of(MatrixView<const double> y, In<double> weight, In<index_t> classes,
                         In<double> rule) {
  return {y,       weight,  classes, static_cast<tree::Criterion>(static_cast<int>(rule[0])),
          rule[1], rule[2], rule[3]};
}

tree::Entries entries_of(const DenseView<std::int32_t>& order) {
  return dense(order.data, order.shape[0], order.shape[1]);
}

void measure(DenseView<double> y, In<double> weight, MatrixView<const index_t> spans,
             In<index_t> classes, In<double> rule, index_t, MatrixView<double> value,
             std::span<double> impurity, std::span<double> mass, std::span<bool> pure) {
  const MatrixView<const double> targets = dense(y.data, y.shape[0], y.shape[1]);
  tree::measure(targets_of(targets, weight, classes, rule), spans, value, impurity, mass, pure);
}

void split(DenseView<std::int32_t> order, DenseView<double> y, In<double> weight,
           MatrixView<const index_t> spans, DenseView<double> value, In<double> total,
           In<index_t> classes, In<double> rule, MatrixView<const bool> allowed,
           MatrixView<const std::int32_t> cuts, In<std::int32_t> monotonic,
           MatrixView<const double> bounds, std::span<std::int32_t> feature,
           std::span<std::int32_t> cut, std::span<bool> missing_left, std::span<double> gain) {
  const MatrixView<const double> targets = dense(y.data, y.shape[0], y.shape[1]);
  tree::split(targets_of(targets, weight, classes, rule), entries_of(order), spans,
              dense(value.data, value.shape[0], value.shape[1]), total,
              {allowed, cuts, monotonic, bounds}, {feature, cut, missing_left, gain});
}

void draw(DenseView<std::int32_t> order, MatrixView<const index_t> spans, In<index_t> keys,
          index_t max_features, std::uint64_t seed, MatrixView<bool> allowed) {
  tree::draw(entries_of(order), spans, keys, max_features, seed, allowed);
}

template <class T>
void random_cuts(MatrixView<const T> X, In<std::int32_t> rows, DenseView<std::int32_t> order,
                 MatrixView<const index_t> spans, In<index_t> keys, MatrixView<const bool> allowed,
                 std::uint64_t seed, MatrixView<std::int32_t> cuts, MatrixView<double> thresholds) {
  tree::random_cuts<T>(X, rows, entries_of(order), spans, keys, allowed, seed, cuts, thresholds);
}

}  // namespace

void bind_tree(Family family) {
  family.op<tree::sort_columns<float>, tree::sort_columns<double>>("sort_columns");
  family.op<draw>("draw");
  family.op<random_cuts<float>, random_cuts<double>>("random_cuts");
  family.op<measure>("measure");
  family.op<split>("split");
  family.op<tree::partition>("partition");
  family.op<tree::apply<float>, tree::apply<double>>("apply");
  family.op<tree::predict<float>, tree::predict<double>>("predict");
}

}  // namespace kernelmill
