// Codes of rows, and walks down trees over codes and over rows.
#include "core/launch.cuh"  // launch
#include "ops/histogram.cuh"
#include "ops/histogram_checks.hpp"
#include "ops/tree_forest.hpp"  // refuse_nodes
#include "ops/tree_walk.cuh"

namespace kernelmill::histogram {
namespace {

constexpr int kWalkThreads = 256;

// How many of the first `count` entries are below x.
__device__ int place_of(const double* rising, int count, double x) {
  int low = 0, high = count;
  while (low < high) {
    const int middle = (low + high) / 2;
    if (rising[middle] < x) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

// Neighbouring threads write neighbouring codes.
template <class T>
__global__ void encode_kernel(const MatrixView<const T> X, const double* edges, index_t columns,
                              const std::int32_t* count, const bool* categorical, index_t width,
                              index_t total, std::uint8_t* codes) {
  for (index_t e = global_thread(); e < total; e += global_threads()) {
    const index_t place = e / width, block = place / X.rows, row = place - block * X.rows;
    const index_t f = block * width + (e - place * width);
    int code = 0;
    if (f < X.cols) {
      const auto x = static_cast<double>(X.data[row * X.row_stride + f * X.col_stride]);
      const double* const own = edges + f * columns;
      const int known = count[f];
      if (x == x) {
        const int at = place_of(own, known, x);
        const bool met = !categorical[f] || (at < known && own[at] == x);
        code = met ? at + 1 : known < 255 ? known + 1 : 0;
      }
    }
    codes[e] = static_cast<std::uint8_t>(code);
  }
}

__global__ void walk_kernel(const Codes codes, const std::int32_t* split, const std::uint8_t* sides,
                            std::int32_t* leaves) {
  for (index_t row = global_thread(); row < codes.n; row += global_threads()) {
    std::int32_t at = 0;
    for (std::int32_t f = split[0]; f >= 0; f = split[8 * at]) {
      const int code = codes.feature(f)[row * codes.width];
      const bool left = ((sides[32 * at + code / 8] >> (code % 8)) & 1) != 0;
      at = split[8 * at + (left ? 3 : 4)];
    }
    leaves[row] = at;
  }
}

template <class T>
__global__ void predict_kernel(const MatrixView<const T> X, const tree::DeviceForest forest,
                               const double* start, index_t k, double* raw) {
  for (index_t row = global_thread(); row < X.rows; row += global_threads()) {
    const T* const x = X.data + row * X.row_stride;
    for (index_t c = 0; c < k; ++c) {
      double sum = start[c];
      for (index_t t = c; t < forest.trees; t += k) {
        const Node* const tree = forest.nodes + forest.roots[t];
        sum += tree[tree::leaf_of(tree, x, X.col_stride, forest.sides)].threshold;
      }
      raw[row * k + c] = sum;
    }
  }
}

}  // namespace

template <class T>
void encode(const Call& call, MatrixView<const T> X, const double* edges, index_t columns,
            std::span<const std::int32_t> count, std::span<const bool> categorical, index_t blocks,
            index_t width, std::uint8_t* codes, const EncodeSpace& space) {
  check_edges(X.cols, blocks * width, count, categorical, columns);
  const index_t total = blocks * X.rows * width;
  if (total == 0) return;
  upload(call, space.count, count.data(), X.cols);
  upload(call, space.categorical, categorical.data(), X.cols);
  launch(call, encode_kernel<T>, grid_for(total, kWalkThreads), kWalkThreads, X, edges, columns,
         space.count, space.categorical, width, total, codes);
}

void walk(const Call& call, const Codes& codes, const std::int32_t* split,
          const std::uint8_t* sides, index_t nodes, std::int32_t* leaves, const WalkSpace& space) {
  check_split(codes, dense(split, nodes, 8));
  if (codes.n == 0) return;
  upload(call, space.split, split, 8 * nodes);
  upload(call, space.sides, sides, 32 * nodes);
  launch(call, walk_kernel, grid_for(codes.n, kWalkThreads), kWalkThreads, codes, space.split,
         space.sides, leaves);
}

template <class T>
void predict(const Call& call, MatrixView<const T> X, const tree::DeviceForest& forest,
             const double* start, index_t k, double* raw, const tree::CheckSpace& space) {
  if (k == 0 || !tree::forest_fits(call, forest, X.cols, -1, space)) {
    tree::refuse_nodes(call.op, false);
  }
  if (X.rows == 0) return;
  launch(call, predict_kernel<T>, grid_for(X.rows, kWalkThreads), kWalkThreads, X, forest, start, k,
         raw);
}

KERNELMILL_FOR_FLOATS(encode)
KERNELMILL_FOR_FLOATS(predict)

}  // namespace kernelmill::histogram
