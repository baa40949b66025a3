// Recurrences over sequences: the C++ implementations of python/kernelmill/ops/recurrent.py, in its
// symbols. Arrays without a view are dense; bias may be null, and dy have no data.
#pragma once

#include <span>  // batch sizes

#include "core/matrix.hpp"  // MatrixView

namespace kernelmill::recurrent {

// Step t has sizes[t] rows, one for each sequence that is longer; sizes never rise.
struct Steps {
  std::span<const index_t> sizes;
  bool reverse;  // from the last to the first
};

template <class T>
void elman_forward(Steps steps, const T* weight, const T* bias, bool relu, T* y, MatrixView<T> h);

template <class T>
void elman_backward(Steps steps, const T* y, MatrixView<const T> dy, const T* weight, bool relu,
                    MatrixView<T> dh, T* dgates);

// A projection has no data where there is none.
template <class T>
void lstm_forward(Steps steps, const T* weight, const T* bias, MatrixView<const T> projection,
                  T* gates, MatrixView<T> h, MatrixView<T> c, T* y, T* cells);

// dstates and m may be null.
template <class T>
void lstm_backward(Steps steps, const T* gates, const T* cells, MatrixView<const T> dy,
                   const T* weight, MatrixView<const T> projection, MatrixView<T> dh,
                   MatrixView<T> dc, T* dgates, T* dstates, T* m);

template <class T>
void gru_forward(Steps steps, const T* weight, const T* bias, T* gates, MatrixView<T> h, T* y,
                 T* q);

// h0 are the initial states.
template <class T>
void gru_backward(Steps steps, const T* gates, const T* q, const T* y, const T* h0,
                  MatrixView<const T> dy, const T* weight, MatrixView<T> dh, T* dgates, T* dq);

}  // namespace kernelmill::recurrent
