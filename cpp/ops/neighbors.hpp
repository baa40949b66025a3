// Twins of python/kernelmill/ops/neighbors.py, where metrics, trees and ties are described.
#pragma once

#include <cstdint>  // std::int64_t
#include <span>     // std::span

#include "core/matrix.hpp"  // MatrixView, StridedView

namespace kernelmill::neighbors {

enum class Metric {
  euclidean,
  manhattan,
  chebyshev,
  minkowski,
  hamming,
  nan_euclidean,
  sqeuclidean,
  half_sqeuclidean
};

constexpr index_t kWidth = 32;  // points of a leaf
constexpr index_t kFan = 8;     // boxes of a group

// How far apart two rows are.
struct Measure {
  Metric metric;
  double p;
};

// A tree as `grow` makes it. Without order there is none.
template <class T>
struct TreeArrays {
  std::span<const index_t> order;
  const T* points;         // [leaf][dimension][kWidth]
  const double* boxes;     // [group][least or largest][dimension][kFan]
  index_t leaves, groups;  // sizes of the two

  bool empty() const { return order.empty(); }
};

template <class T>
void grow(MatrixView<const T> x, index_t leaves, index_t groups, std::span<index_t> order,
          T* points, double* boxes);

// own[i], unless own is empty, is the row of y that is no neighbour of row i of x.
template <class T>
void nearest(MatrixView<const T> x, MatrixView<const T> y, index_t k, Measure measure,
             std::span<const index_t> own, const TreeArrays<T>& tree, MatrixView<index_t> indices,
             MatrixView<double> distances);

template <class T>
void within(MatrixView<const T> x, MatrixView<const T> y, double radius, Measure measure,
            std::span<const index_t> own, const TreeArrays<T>& tree, std::span<index_t> counts);

template <class T>
void lists(MatrixView<const T> x, MatrixView<const T> y, double radius, Measure measure,
           std::span<const index_t> offsets, std::span<const index_t> own,
           const TreeArrays<T>& tree, std::span<index_t> indices, std::span<double> distances);

template <class T>
void dbscan(MatrixView<const T> x, double eps, double min_samples, std::span<const double> weight,
            Measure measure, const TreeArrays<T>& tree, std::span<index_t> labels,
            std::span<bool> core);

template <class T>
void donors(MatrixView<const T> x, MatrixView<const T> y, std::span<const index_t> rows,
            std::span<const index_t> cols, MatrixView<index_t> indices,
            MatrixView<double> distances);

template <class T>
void log_density(MatrixView<const T> x, MatrixView<const T> y, std::span<const double> weight,
                 index_t kernel, double bandwidth, Measure measure, std::span<double> out);

}  // namespace kernelmill::neighbors
