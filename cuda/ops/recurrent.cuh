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

// Operands of the products, padded to whole tiles and stages (core/tile.cuh), and what is carried
// from step to step: of numbers that are stored in 16 bits, in float32, so that only results are
// rounded.
template <class T>
struct ForwardSpace {
  ForwardSpace(Arena& arena, const Sizes& s);
  Acc<T>*weight, *projection;
  Acc<T>* states[2];  // of this step and of the next
  Acc<T>* hidden;     // before the projection
  Acc<T>* c;          // for LSTM in 16 bits: cells
};

template <class T>
struct BackwardSpace {
  BackwardSpace(Arena& arena, const Sizes& s);
  Acc<T>*weight, *projection;  // transposed
  // For GRU and in 16 bits: gradients of a step's products, of this step and of the last.
  Acc<T>* flows[2];
  Acc<T>* totals;  // of projected states
  Acc<T>*dh, *dc;  // in 16 bits
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
