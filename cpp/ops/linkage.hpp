// Twins of python/kernelmill/ops/linkage.py.
#pragma once

#include <span>  // std::span

#include "core/matrix.hpp"    // MatrixView
#include "ops/neighbors.hpp"  // Measure

namespace kernelmill::linkage {

enum Linkage { kComplete, kAverage, kSingle, kWard };

// The merges of a hierarchy: n - 1 of them, by height.
struct Merges {
  MatrixView<index_t> children;
  std::span<double> heights;
  std::span<index_t> sizes;
};

// Distances are raised to the least of both rows, unless least is empty.
template <class T>
void single(MatrixView<const T> x, neighbors::Measure measure, std::span<const double> least,
            const Merges& merges);

template <class T>
void ward(MatrixView<const T> x, const Merges& merges);

// distances holds those of (0, 1), (0, 2), ..., (n - 2, n - 1), and then holds the heights at
// which they come together.
void chain(index_t n, Linkage linkage, std::span<double> distances, const Merges& merges);

// Merges of connected clusters alone, in their order; pairs are (lower[e], upper[e]).
void connected(std::span<const double> distances, std::span<const index_t> lower,
               std::span<const index_t> upper, Linkage linkage, const Merges& merges);

template <class T>
void connected_ward(MatrixView<const T> x, std::span<const index_t> lower,
                    std::span<const index_t> upper, const Merges& merges);

void check_merges(const char* op, index_t n, const Merges& merges);

}  // namespace kernelmill::linkage
