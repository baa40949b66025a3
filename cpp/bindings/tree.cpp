#include "ops/tree.hpp"

#include "bindings/family.hpp"

namespace kernelmill {

namespace {

template <class T>
using In = std::span<const T>;

template <class T>
void grow(MatrixView<const T> X, DenseView<std::uint8_t> ranks, DenseView<double> y,
          DenseView<double> weight, In<index_t> classes, In<double> rule,
          In<std::int32_t> monotonic, In<bool> categorical, In<index_t> seeds,
          CubeView<index_t> nodes, CubeView<double> stats, CubeView<double> value,
          CubeView<std::uint8_t> sides, std::span<index_t> sizes) {
  tree::Field field{};
  field.ranks = {ranks.data, X.cols, X.rows, ranks.shape[2]};
  if constexpr (sizeof(T) == 4) {
    field.X_single = X;
  } else {
    field.X_double = X;
  }
  field.y = dense(y.data, y.shape[0], y.shape[1]);
  if (weight.data != nullptr) field.weight = dense(weight.data, weight.shape[0], weight.shape[1]);
  field.classes = classes;
  field.rule = {static_cast<tree::Criterion>(static_cast<int>(rule[0])),
                rule[1],
                rule[2],
                rule[3],
                rule[4],
                rule[5],
                rule[6],
                rule[7],
                static_cast<index_t>(rule[8]),
                rule[9] != 0,
                rule[10] != 0,
                rule[11] != 0};
  field.monotonic = monotonic;
  field.categorical = categorical;
  field.seeds = seeds;
  tree::grow(field, {nodes.shape[1], value.shape[2], reinterpret_cast<tree::Node*>(nodes.data),
                     stats.data, value.data, sides.shape[1], sides.data, sizes});
}

template <class T>
void contributions(MatrixView<const T> X, In<index_t> nodes, In<index_t> roots, tree::Sides sides,
                   In<double> cover, DenseView<double> values, In<double> start,
                   CubeView<double> phi) {
  tree::contributions(X, nodes, roots, sides, cover,
                      dense(values.data, values.shape[0], values.shape[1]), start, phi);
}

}  // namespace

void bind_tree(Family family) {
  family.op<tree::rank_columns<float>, tree::rank_columns<double>>("rank_columns");
  family.op<grow<float>, grow<double>>("grow");
  family.op<tree::apply<float>, tree::apply<double>>("apply");
  family.op<tree::predict<float>, tree::predict<double>>("predict");
  family.op<contributions<float>, contributions<double>>("contributions");
}

}  // namespace kernelmill
