#include "ops/tree.cuh"

#include "ops/tree_forest.hpp"  // refuse_nodes
#include "ops/tree_walk.cuh"

namespace kernelmill::tree {
namespace {

constexpr int kThreads = 256;

// A block looks at the nodes of one tree.
__global__ void check_kernel(DeviceForest forest, index_t d, index_t values, std::int64_t* first) {
  for (index_t t = blockIdx.x; t < forest.trees; t += gridDim.x) {
    const index_t begin = forest.roots[t];
    const index_t end = t + 1 < forest.trees ? forest.roots[t + 1] : forest.count;
    bool fits = 0 <= begin && begin < end && end <= forest.count;
    for (index_t v = begin + threadIdx.x; fits && v < end; v += blockDim.x) {
      fits = node_fits(forest.nodes[v], v - begin, end - begin, d, forest.sides.rows, values);
    }
    if (!fits) atomicMin(reinterpret_cast<long long*>(first), static_cast<long long>(t));
  }
}

template <class T>
__global__ void apply_kernel(const MatrixView<const T> X, const DeviceForest forest,
                             std::int32_t* leaves) {
  for (index_t row = global_thread(); row < X.rows; row += global_threads()) {
    const T* const x = X.data + row * X.row_stride;
    for (index_t t = 0; t < forest.trees; ++t) {
      const Node* const tree = forest.nodes + forest.roots[t];
      leaves[row * forest.trees + t] =
          static_cast<std::int32_t>(leaf_of(tree, x, X.col_stride, forest.sides));
    }
  }
}

template <class T>
__global__ void predict_kernel(const MatrixView<const T> X, const DeviceForest forest,
                               const double* values, index_t width, double* sums) {
  for (index_t row = global_thread(); row < X.rows; row += global_threads()) {
    const T* const x = X.data + row * X.row_stride;
    double* const own = sums + row * width;
    for (index_t s = 0; s < width; ++s) own[s] = 0;
    for (index_t t = 0; t < forest.trees; ++t) {
      const Node* const tree = forest.nodes + forest.roots[t];
      const index_t leaf = leaf_of(tree, x, X.col_stride, forest.sides);
      const double* const value = values + tree[leaf].right * width;
      for (index_t s = 0; s < width; ++s) own[s] += value[s];
    }
  }
}

}  // namespace

bool forest_fits(const Call& call, const DeviceForest& forest, index_t d, index_t values,
                 const CheckSpace& space) {
  if (forest.trees == 0) return true;
  fill(call, space.first, 1, static_cast<std::int64_t>(forest.trees));
  launch(call, check_kernel, grid_for(forest.trees, 1), kThreads, forest, d, values, space.first);
  index_t first = 0;
  download(call, &first, space.first, 1);
  return first == forest.trees;
}

template <class T>
void apply(const Call& call, MatrixView<const T> X, const DeviceForest& forest,
           std::int32_t* leaves, const CheckSpace& space) {
  if (!forest_fits(call, forest, X.cols, INT32_MAX, space)) refuse_nodes(call.op);
  if (X.rows == 0) return;
  launch(call, apply_kernel<T>, grid_for(X.rows, kThreads), kThreads, X, forest, leaves);
}

template <class T>
void predict(const Call& call, MatrixView<const T> X, const DeviceForest& forest,
             const double* values, index_t count, index_t width, double* sums,
             const CheckSpace& space) {
  if (!forest_fits(call, forest, X.cols, count, space)) refuse_nodes(call.op);
  if (X.rows == 0 || width == 0) return;
  launch(call, predict_kernel<T>, grid_for(X.rows, kThreads), kThreads, X, forest, values, width,
         sums);
}

KERNELMILL_FOR_FLOATS(apply)
KERNELMILL_FOR_FLOATS(predict)

}  // namespace kernelmill::tree
