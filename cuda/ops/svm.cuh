// Support vector machines by block SMO: the CUDA twin of python/kernelmill/ops/svm.py, whose
// docstrings are the contract. Symbols and the derivation: cpp/ops/svm.hpp.
#pragma once

#include "core/call.hpp"  // Call, Arena, DeviceRows
#include "ops/svm.hpp"    // Solving

namespace kernelmill {

// For problems of at most m variables.
template <class T>
struct SvmSpace {
  SvmSpace(Arena& arena, const Call& call, index_t m);

  double* extremes;  // (blocks, 5) up and down of both groups, and whether gradients are finite
  std::uint64_t *keys, *sorted_keys;  // (m) scores, so that the largest come first
  double *numbers, *sorted_numbers;   // (m) variables; exact, and sort.hpp has such pairs
  void* temporary;                    // of the sort
  std::size_t bytes;
  std::int32_t* chosen;               // (512) the working set
  index_t *places, *order, *targets;  // (512) of its rows of K; rows to compute, and their places
  T* block;                           // (512, 512) K of the working set
  double *changes, *outcome;          // (512) of b; (3) steps, gain, curvature
};

// Takes at most most_rounds rounds of each problem; the number of problems that go on. All of `s`
// is device memory but most_rounds.
template <class T>
index_t svm_solve(const Call& call, const DeviceRows<T>& x, const svm::Solving<T>& s,
                  const SvmSpace<T>& space);

}  // namespace kernelmill
