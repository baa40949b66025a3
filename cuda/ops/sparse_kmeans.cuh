// k-means on CSR rows: the CUDA twins of python/kernelmill/ops/sparse_kmeans.py, whose docstrings
// are the contract.
#pragma once

#include <cstdint>  // std::int32_t

#include "core/call.hpp"        // Call, Arena
#include "core/label_sums.hpp"  // LabelSumsSpace

namespace kernelmill {

// n rows; row i holds data[q] in column indices[q] for indptr[i] <= q < indptr[i + 1].
template <class T, class Index>
struct CsrRows {
  const T* data = nullptr;
  const Index* indices = nullptr;
  const Index* indptr = nullptr;
  index_t n = 0;
  index_t stored = 0;
};

struct SparseSpace {
  SparseSpace(Arena& arena, const Call& call, index_t n, index_t stored, index_t d, index_t k,
              bool with_sums);

  double* transposed;  // (d, k) centers, so that neighbours in k are neighbours in memory
  double* norms;       // (k)
  double* nearest;     // (n) squared distances, then per block of rows
  int* fault;          // (1) what is wrong with the matrix, 0 for nothing
  LabelSumsSpace label_sums;
  // Entries by (label, column), for the sums.
  std::uint64_t *keys, *sorted_keys;  // (stored)
  double *values, *sorted_values;     // (stored)
  double *head, *tail;                // (windows) pieces that cross window bounds
  std::size_t sort_bytes;
  char* sort;
};

// Throws unless the three arrays are a CSR matrix with d columns.
template <class T, class Index>
void check_csr(const Call& call, const CsrRows<T, Index>& x, index_t d, const SparseSpace& space);

// centers (k, d) dense. squared (n) may be null.
template <class T, class Index>
void sparse_assign(const Call& call, const CsrRows<T, Index>& x, const double* centers, index_t k,
                   index_t d, std::int32_t* labels, T* squared, const SparseSpace& space);

// Fills sums (k, d), weights (k) and labels (n); returns the inertia.
template <class T, class Index>
double sparse_lloyd_step(const Call& call, const CsrRows<T, Index>& x, const double* centers,
                         index_t k, index_t d, const T* weight, double* sums, double* weights,
                         std::int32_t* labels, const SparseSpace& space);

}  // namespace kernelmill
