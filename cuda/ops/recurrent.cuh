// The CUDA implementations of python/kernelmill/ops/recurrent.py. Arrays are dense; gradients that
// were left out, biases and projections are null.
#pragma once

#include <vector>  // steps

#include "core/call.hpp"  // Call, Arena, MatrixView

namespace kernelmill::recurrent {

// Rows [first, first + rows) of all steps' rows.
struct Step {
  index_t first, rows;
};
// Those that are not empty, in the order of the forward pass.
using Steps = std::vector<Step>;

struct Sizes {
  index_t gates, units, width, sequences;  // width: of h
  bool projected;
};

// Operands of the products, padded to whole tiles and stages (core/tile.cuh).
template <class T>
struct ForwardSpace {
  ForwardSpace(Arena& arena, const Sizes& s);
  T *weight, *projection;
  T* states[2];  // of this step and of the next
  T* hidden;     // before the projection
};

template <class T>
struct BackwardSpace {
  BackwardSpace(Arena& arena, const Sizes& s);
  T *weight, *projection;  // transposed
  T* flows[2];             // for GRU: gradients of a step's products, of this step and of the last
  T* totals;               // of projected states
};

template <class T>
void elman_forward(const Call& call, const Steps& steps, const Sizes& s, const T* weight,
                   const T* bias, bool relu, T* y, T* h, const ForwardSpace<T>& space);
template <class T>
void elman_backward(const Call& call, const Steps& steps, const Sizes& s, const T* y,
                    MatrixView<const T> dy, const T* weight, bool relu, T* dh, T* dgates,
                    const BackwardSpace<T>& space);

template <class T>
struct Lstm {
  T *gates, *h, *c, *y, *cells;
};
template <class T>
void lstm_forward(const Call& call, const Steps& steps, const Sizes& s, const T* weight,
                  const T* bias, MatrixView<const T> projection, const Lstm<T>& to,
                  const ForwardSpace<T>& space);
// dstates and m are null where they are not wanted.
template <class T>
struct LstmGradients {
  T *dh, *dc, *dgates, *dstates, *m;
};
template <class T>
void lstm_backward(const Call& call, const Steps& steps, const Sizes& s, const T* gates,
                   const T* cells, MatrixView<const T> dy, const T* weight,
                   MatrixView<const T> projection, const LstmGradients<T>& to,
                   const BackwardSpace<T>& space);

template <class T>
void gru_forward(const Call& call, const Steps& steps, const Sizes& s, const T* weight,
                 const T* bias, T* gates, T* h, T* y, T* q, const ForwardSpace<T>& space);
template <class T>
struct Gru {
  const T *gates, *q, *y, *h0;
};
template <class T>
void gru_backward(const Call& call, const Steps& steps, const Sizes& s, const Gru<T>& from,
                  MatrixView<const T> dy, const T* weight, T* dh, T* dgates, T* dq,
                  const BackwardSpace<T>& space);

}  // namespace kernelmill::recurrent
