#include "ops/neighbors.hpp"

#include "bindings/family.hpp"

namespace kernelmill {

namespace {

using neighbors::Measure;
using Indices = std::span<const index_t>;

Measure measure_of(index_t metric, double p) { return {static_cast<neighbors::Metric>(metric), p}; }

template <class T>
neighbors::TreeArrays<T> tree_of(Indices order, const DenseView<T>& points,
                                 const DenseView<double>& boxes) {
  return {order, points.data, boxes.data, points.shape[0], boxes.shape[0]};
}

template <class T>
void grow(MatrixView<const T> X, index_t leaves, index_t groups, std::span<index_t> order,
          T* points, double* boxes) {
  neighbors::grow(X, leaves, groups, order, points, boxes);
}

template <class T>
void nearest(MatrixView<const T> X, MatrixView<const T> Y, index_t k, index_t metric, double p,
             Indices own, Indices order, DenseView<T> points, DenseView<double> boxes,
             MatrixView<index_t> indices, MatrixView<double> distances) {
  neighbors::nearest(X, Y, k, measure_of(metric, p), own, tree_of(order, points, boxes), indices,
                     distances);
}

template <class T>
void within(MatrixView<const T> X, MatrixView<const T> Y, double radius, index_t metric, double p,
            Indices own, Indices order, DenseView<T> points, DenseView<double> boxes,
            std::span<index_t> counts) {
  neighbors::within(X, Y, radius, measure_of(metric, p), own, tree_of(order, points, boxes),
                    counts);
}

template <class T>
void lists(MatrixView<const T> X, MatrixView<const T> Y, double radius, Indices offsets,
           index_t metric, double p, Indices own, Indices order, DenseView<T> points,
           DenseView<double> boxes, std::span<index_t> indices, std::span<double> distances) {
  neighbors::lists(X, Y, radius, measure_of(metric, p), offsets, own, tree_of(order, points, boxes),
                   indices, distances);
}

template <class T>
void dbscan(MatrixView<const T> X, double eps, double min_samples, std::span<const double> weight,
            index_t metric, double p, Indices order, DenseView<T> points, DenseView<double> boxes,
            std::span<index_t> labels, std::span<bool> core) {
  neighbors::dbscan(X, eps, min_samples, weight, measure_of(metric, p),
                    tree_of(order, points, boxes), labels, core);
}

template <class T>
void log_density(MatrixView<const T> X, MatrixView<const T> Y, std::span<const double> weight,
                 index_t kernel, double bandwidth, index_t metric, double p,
                 std::span<double> out) {
  neighbors::log_density(X, Y, weight, kernel, bandwidth, measure_of(metric, p), out);
}

template <class T>
void donors(MatrixView<const T> X, MatrixView<const T> Y, Indices rows, Indices cols, index_t,
            MatrixView<index_t> indices, MatrixView<double> distances) {
  neighbors::donors(X, Y, rows, cols, indices, distances);
}

}  // namespace

void bind_neighbors(Family family) {
  family.op<grow<float>, grow<double>>("grow");
  family.op<nearest<float>, nearest<double>>("nearest");
  family.op<within<float>, within<double>>("within");
  family.op<lists<float>, lists<double>>("lists");
  family.op<dbscan<float>, dbscan<double>>("dbscan");
  family.op<log_density<float>, log_density<double>>("log_density");
  family.op<donors<float>, donors<double>>("donors");
}

}  // namespace kernelmill
