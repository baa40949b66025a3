#include "ops/tree.cuh"

#include "bindings/device.hpp"

namespace kernelmill {

namespace {

using Words = std::span<const index_t>;

template <class T>
void apply(const Call& call, Scratch* scratch, MatrixView<const T> X, Words nodes, Words roots,
           tree::Sides sides, std::int32_t* leaves) {
  tree::apply<T>(call, X, {nodes, roots, sides}, leaves, scratch->make<tree::CheckSpace>());
}

template <class T>
void predict(const Call& call, Scratch* scratch, MatrixView<const T> X, Words nodes, Words roots,
             tree::Sides sides, DenseView<double> values, double* sums) {
  tree::predict<T>(call, X, {nodes, roots, sides}, values.data, values.shape[0], values.shape[1],
                   sums, scratch->make<tree::CheckSpace>());
}

}  // namespace

void bind_tree(Family family) {
  family.op<apply<float>, apply<double>>("apply");
  family.op<predict<float>, predict<double>>("predict");
}

}  // namespace kernelmill
