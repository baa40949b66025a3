// Every pair of rows within a radius.
#pragma once

#include "ops/neighbors.hpp"

namespace kernelmill::neighbors {

// What is told of the pairs. Queries are visited in parallel, each by one thread at a time.
struct Visitor {
  void* self;
  // Row `row` of y is within the radius of query i, at this reduced distance.
  void (*found)(void* self, index_t i, index_t row, double reduced);
  // Instead of each of them: `count` rows more are. Null where each is wanted.
  void (*whole)(void* self, index_t i, index_t count);
};

template <class T>
void visit(MatrixView<const T> x, MatrixView<const T> y, double radius, Measure measure,
           std::span<const index_t> own, const TreeArrays<T>& tree, const char* op,
           const Visitor& visitor);

}  // namespace kernelmill::neighbors
