// Sums of rows by label without atomics: the same bits on every run.
//
// Rows are put in order of their labels by a stable sort, cut into windows of fixed length and
// summed in float64 one window and label at a time; the pieces of a label are added in window
// order.
#pragma once

#include <cstdint>  // std::int32_t

#include "core/call.hpp"  // Arena, Call, DeviceRows

namespace kernelmill {

struct LabelSumsSpace {
  LabelSumsSpace(Arena& arena, const Call& call, index_t n, index_t d, index_t k);

  std::int32_t* rows;       // (n)
  std::int32_t* by_label;   // (n) rows in order of their labels
  std::uint32_t* sorted;    // (n) their labels
  std::int32_t* offsets;    // (k + 1) where each label begins
  double* partial_sums;     // (windows + k, d)
  double* partial_weights;  // (windows + k)
  std::size_t sort_bytes;
  char* sort;
};

// sums[j] = sum of w x and weights[j] = sum of w over the rows with label j; both are replaced.
// weight is null for all ones and is indexed like the stored rows. labels lie in [0, k).
template <class T>
void label_sums(const Call& call, const DeviceRows<T>& x, const T* weight,
                const std::int32_t* labels, index_t k, double* sums, double* weights,
                const LabelSumsSpace& space);

}  // namespace kernelmill
