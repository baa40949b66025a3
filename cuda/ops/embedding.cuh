// The CUDA implementations of python/kernelmill/ops/embedding.py.
#pragma once

#include "core/call.hpp"        // Call, Arena, MatrixView
#include "core/label_sums.hpp"  // LabelSumsSpace
#include "core/range.hpp"       // RangeSpace

namespace kernelmill::embedding {

enum class Mode { sum, mean, max };

// Bags of positions: bag b is those from offsets[b] to the next one.
template <class T>
struct Bags {
  const index_t *index, *offsets;
  index_t positions, count;
  const Acc<T>* sample_weight;  // null for ones
  Mode mode;
  index_t padding;
};

// Rows are summed by label, padding under the label `rows`.
struct SumsSpace {
  SumsSpace(Arena& arena, const Call& call, index_t positions, index_t d, index_t rows)
      : range(arena),
        labels(arena.take<std::int32_t>(positions)),
        sums(arena.take<double>((rows + 1) * d)),
        weights(arena.take<double>(rows + 1)),
        by_label(arena, call, positions, d, rows + 1) {}
  RangeSpace range;
  std::int32_t* labels;
  double *sums, *weights;
  LabelSumsSpace by_label;
};

struct BagSpace {
  BagSpace(Arena& arena, const Call& call, index_t positions, index_t d, index_t rows)
      : terms(arena.take<double>(positions * d)), sums(arena, call, positions, d, rows) {}
  double* terms;  // of the positions
  SumsSpace sums;
};

// All throw std::out_of_range for an index that is no row of the table.
template <class T>
void forward(const Call& call, MatrixView<const T> weight, const index_t* index, index_t positions,
             T* y, const RangeSpace& space);
template <class T>
void backward(const Call& call, const DeviceRows<T>& dout, const index_t* index, index_t rows,
              index_t padding, Acc<T>* dweight, const SumsSpace& space);
template <class T>
void bag(const Call& call, MatrixView<const T> weight, const Bags<T>& bags, T* y,
         const RangeSpace& space);
template <class T>
void bag_backward(const Call& call, MatrixView<const T> dout, MatrixView<const T> weight,
                  const Bags<T>& bags, Acc<T>* dweight, Acc<T>* dsample_weight,
                  const BagSpace& space);

}  // namespace kernelmill::embedding
