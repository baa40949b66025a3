// Gradients of the table are sums of rows by label (core/label_sums.hpp): positions in order,
// without atomics.

#include "ops/embedding.cuh"

#include <algorithm>  // std::min
#include <string>     // messages
#include <stdexcept>  // std::out_of_range
#include <vector>     // offsets

#include "core/error.hpp"   // invalid
#include "core/launch.cuh"  // launch

namespace kernelmill::embedding {
namespace {

template <class T>
__device__ T element(const MatrixView<const T>& x, index_t i, index_t j) {
  return x.data[i * x.row_stride + j * x.col_stride];
}

template <class T>
__global__ void forward_kernel(const MatrixView<const T> weight, const index_t* index,
                               index_t positions, T* y) {
  const index_t d = weight.cols;
  for (index_t e = global_thread(); e < positions * d; e += global_threads()) {
    const index_t p = e / d;
    y[e] = element(weight, index[p], e - p * d);
  }
}

__global__ void labels_kernel(const index_t* index, index_t positions, index_t rows,
                              index_t padding, std::int32_t* labels) {
  for (index_t p = global_thread(); p < positions; p += global_threads()) {
    labels[p] = static_cast<std::int32_t>(index[p] == padding ? rows : index[p]);
  }
}

template <class T>
__global__ void round_kernel(const double* from, index_t count, T* to) {
  for (index_t e = global_thread(); e < count; e += global_threads()) {
    to[e] = static_cast<T>(from[e]);
  }
}

// One entry of the result of a bag, or, with `dout`, of the terms of its positions.
template <class T>
__global__ void bag_kernel(const MatrixView<const T> weight, const Bags<T> bags,
                           const MatrixView<const T> dout, T* y, double* terms) {
  const index_t d = weight.cols;
  for (index_t e = global_thread(); e < bags.count * d; e += global_threads()) {
    const index_t b = e / d, j = e - b * d;
    const index_t begin = bags.offsets[b];
    const index_t end = b + 1 < bags.count ? bags.offsets[b + 1] : bags.positions;
    double sum = 0;
    T best(0);
    index_t count = 0, at = -1;
    for (index_t p = begin; p < end; ++p) {
      const index_t row = bags.index[p];
      if (row == bags.padding) continue;
      ++count;
      const T v = element(weight, row, j);
      if (bags.mode == Mode::max) {
        if (at >= 0 && !(v > best || (v != v && best == best))) continue;
        at = p;
        best = v;
      } else {
        sum += static_cast<double>(v) *
               (bags.sample_weight == nullptr ? 1.0 : static_cast<double>(bags.sample_weight[p]));
      }
    }
    const double size = bags.mode == Mode::mean && count > 1 ? static_cast<double>(count) : 1.0;
    if (terms == nullptr) {
      y[e] = bags.mode == Mode::max ? best : static_cast<T>(sum / size);
      continue;
    }
    const double share = static_cast<double>(element(dout, b, j)) / size;
    for (index_t p = begin; p < end; ++p) {
      const bool flows = bags.mode != Mode::max || p == at;
      const double w =
          bags.sample_weight == nullptr ? 1.0 : static_cast<double>(bags.sample_weight[p]);
      terms[p * d + j] = flows ? w * share : 0.0;
    }
  }
}

// A position a thread: its bag is found by halving.
template <class T>
__global__ void sample_weight_kernel(const MatrixView<const T> dout,
                                     const MatrixView<const T> weight, const Bags<T> bags,
                                     Acc<T>* dsample_weight) {
  for (index_t p = global_thread(); p < bags.positions; p += global_threads()) {
    index_t low = 0, high = bags.count;  // offsets[low] <= p < offsets[high]
    while (high - low > 1) {
      const index_t middle = low + (high - low) / 2;
      (bags.offsets[middle] <= p ? low : high) = middle;
    }
    double sum = 0;
    const index_t row = bags.index[p];
    if (bags.sample_weight != nullptr && row != bags.padding) {
      for (index_t j = 0; j < weight.cols; ++j) {
        sum += static_cast<double>(element(dout, low, j)) *
               static_cast<double>(element(weight, row, j));
      }
    }
    dsample_weight[p] = static_cast<Acc<T>>(sum);
  }
}

void check_index(const Call& call, const index_t* index, index_t positions, index_t rows,
                 const RangeSpace& space) {
  if (const auto wrong = outside(call, index, positions, rows, space)) {
    throw std::out_of_range(std::string(call.op) + ": index must be in [0, " +
                            std::to_string(rows) + "), got " + std::to_string(*wrong));
  }
}

template <class T>
void check_bags(const Call& call, const Bags<T>& bags, index_t rows, const RangeSpace& space) {
  check_index(call, bags.index, bags.positions, rows, space);
  std::vector<index_t> offsets(static_cast<std::size_t>(bags.count));
  download(call, offsets.data(), bags.offsets, bags.count);
  offsets.push_back(bags.positions);
  bool good = offsets[0] == 0;
  for (std::size_t b = 1; b < offsets.size(); ++b) good &= offsets[b - 1] <= offsets[b];
  if (!good) {
    std::string given;
    for (std::size_t b = 0; b + 1 < std::min<std::size_t>(9, offsets.size()); ++b) {
      given += (b > 0 ? ", " : "") + std::to_string(offsets[b]);
    }
    invalid(call.op, "offsets must begin with 0 and never fall or pass the ", bags.positions,
            " indices, got [", given, "]");
  }
  if (bags.sample_weight != nullptr && bags.mode != Mode::sum) {
    invalid(call.op, "sample_weight must be None unless mode is 0 (sum), got mode ",
            static_cast<int>(bags.mode));
  }
}

template <class T>
void sum_rows(const Call& call, const DeviceRows<T>& terms, const index_t* index, index_t rows,
              index_t padding, const SumsSpace& space) {
  if (terms.n >= index_t{1} << 31 || rows >= index_t{1} << 31) {
    invalid(call.op, "index and the table must have less than 2**31 entries on the GPU, got ",
            terms.n, " and ", rows);
  }
  launch(call, labels_kernel, grid_for(terms.n, kThreads), kThreads, index, terms.n, rows, padding,
         space.labels);
  label_sums<T>(call, terms, nullptr, space.labels, rows + 1, space.sums, space.weights,
                space.by_label);
}

}  // namespace

template <class T>
void forward(const Call& call, MatrixView<const T> weight, const index_t* index, index_t positions,
             T* y, const RangeSpace& space) {
  check_index(call, index, positions, weight.rows, space);
  launch(call, forward_kernel<T>, grid_for(positions * weight.cols, kThreads), kThreads, weight,
         index, positions, y);
}

template <class T>
void backward(const Call& call, const DeviceRows<T>& dout, const index_t* index, index_t rows,
              index_t padding, Acc<T>* dweight, const SumsSpace& space) {
  check_index(call, index, dout.n, rows, space.range);
  sum_rows<T>(call, dout, index, rows, padding, space);
  launch(call, round_kernel<Acc<T>>, grid_for(rows * dout.d, kThreads), kThreads, space.sums,
         rows * dout.d, dweight);
}

template <class T>
void bag(const Call& call, MatrixView<const T> weight, const Bags<T>& bags, T* y,
         const RangeSpace& space) {
  check_bags(call, bags, weight.rows, space);
  launch(call, bag_kernel<T>, grid_for(bags.count * weight.cols, kThreads), kThreads, weight, bags,
         MatrixView<const T>{}, y, nullptr);
}

template <class T>
void bag_backward(const Call& call, MatrixView<const T> dout, MatrixView<const T> weight,
                  const Bags<T>& bags, Acc<T>* dweight, Acc<T>* dsample_weight,
                  const BagSpace& space) {
  check_bags(call, bags, weight.rows, space.sums.range);
  const index_t rows = weight.rows, d = weight.cols, n = bags.positions;
  launch(call, bag_kernel<T>, grid_for(bags.count * d, kThreads), kThreads, weight, bags, dout,
         nullptr, space.terms);
  sum_rows<double>(call, {space.terms, n, d, d, nullptr}, bags.index, rows, bags.padding,
                   space.sums);
  launch(call, round_kernel<Acc<T>>, grid_for(rows * d, kThreads), kThreads, space.sums.sums,
         rows * d, dweight);
  launch(call, sample_weight_kernel<T>, grid_for(n, kThreads), kThreads, dout, weight, bags,
         dsample_weight);
}

KERNELMILL_FOR_STORED(forward)
KERNELMILL_FOR_STORED(backward)
KERNELMILL_FOR_STORED(bag)
KERNELMILL_FOR_STORED(bag_backward)

}  // namespace kernelmill::embedding
