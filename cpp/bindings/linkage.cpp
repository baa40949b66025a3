#include "ops/linkage.hpp"

#include "bindings/family.hpp"

namespace kernelmill {

namespace {

template <class T>
void single(MatrixView<const T> X, index_t, index_t metric, double p, std::span<const double> least,
            MatrixView<index_t> children, std::span<double> heights, std::span<index_t> sizes) {
  linkage::single(X, {static_cast<neighbors::Metric>(metric), p}, least,
                  {children, heights, sizes});
}

template <class T>
void ward(MatrixView<const T> X, index_t, MatrixView<index_t> children, std::span<double> heights,
          std::span<index_t> sizes) {
  linkage::ward(X, {children, heights, sizes});
}

void chain(std::span<double> distances, index_t m, index_t linkage, MatrixView<index_t> children,
           std::span<double> heights, std::span<index_t> sizes) {
  linkage::chain(m + 1, static_cast<linkage::Linkage>(linkage), distances,
                 {children, heights, sizes});
}

void connected(std::span<const double> distances, std::span<const index_t> lower,
               std::span<const index_t> upper, index_t, index_t linkage,
               MatrixView<index_t> children, std::span<double> heights, std::span<index_t> sizes) {
  linkage::connected(distances, lower, upper, static_cast<linkage::Linkage>(linkage),
                     {children, heights, sizes});
}

template <class T>
void connected_ward(MatrixView<const T> X, std::span<const index_t> lower,
                    std::span<const index_t> upper, index_t, MatrixView<index_t> children,
                    std::span<double> heights, std::span<index_t> sizes) {
  linkage::connected_ward(X, lower, upper, {children, heights, sizes});
}

}  // namespace

void bind_linkage(Family family) {
  family.op<single<float>, single<double>>("single");
  family.op<ward<float>, ward<double>>("ward");
  family.op<chain>("chain");
  family.op<connected>("connected");
  family.op<connected_ward<float>, connected_ward<double>>("connected_ward");
}

}  // namespace kernelmill
