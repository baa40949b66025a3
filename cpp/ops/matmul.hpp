// Matrix product of float or double matrices with any strides.
#pragma once

#include "core/matrix.hpp"  // MatrixView

namespace kernelmill {

// What is done to the entries of a product before they are stored: activate(entry + bias).
template <class T>
struct Finish {
  MatrixView<const T> bias{};  // of the shape of out, or null; strides of 0 repeat it
  // Applies a function to adjacent values; null for none.
  void (*activate)(T* values, index_t count, T parameter) = nullptr;
  T parameter{};
  MatrixView<T> before{};  // receives the entries before the activation, unless null

  bool any() const { return bias.data != nullptr || activate != nullptr; }
  // Nothing but one row of biases for all rows.
  bool only_repeated_bias() const {
    return bias.data != nullptr && bias.row_stride == 0 && bias.col_stride == 1 &&
           activate == nullptr && before.data == nullptr;
  }
  // The same for the entries from (i, j) on.
  Finish from(index_t i, index_t j) const {
    Finish part = *this;
    if (bias.data != nullptr) part.bias.data = &bias(i, j);
    if (before.data != nullptr) part.before.data = &before(i, j);
    return part;
  }
  Finish transposed() const {
    return {bias.transposed(), activate, parameter, before.transposed()};
  }
};

// out = alpha * a b + beta * out, for a (m x k), b (k x n) and out (m x n), none empty-checked:
// k = 0 gives beta * out, m = 0 or n = 0 nothing. beta = 0 never reads out, so it may hold
// anything; any other alpha or beta is plain arithmetic (alpha = 0 still spreads NaN and inf).
// Any strides, also negative or zero ones of a and b, so transposes are views. out must not overlap
// a or b. Parallel; the bits of out(i, j) depend on row i of a, column j of b, k, alpha and beta
// alone, not on the other sizes or the thread count; but large float products on tiles of bfloat16
// (ops/matmul_bf16.hpp) have bits of their own, and the product of a matrix with its transpose is
// then symmetric but for rounding. With a finish, beta must be 0. Throws
// std::invalid_argument where shapes clash. 2 m n k operations; needs room for a packed copy of a
// block of one operand.
template <class T>
void matmul(MatrixView<const T> a, MatrixView<const T> b, MatrixView<T> out, T alpha = T{1},
            T beta = T{0}, const Finish<T>& finish = {});

// sums[i] = sum_p a(i, p): in float64, some hundred values of p after each other, and then these
// parts in order.
template <class T>
void sum_rows(MatrixView<const T> a, T* sums);

// out = a b, and the sums of the rows of a while the product reads them, with the same bits: a
// dense layer's gradients of weights and biases.
template <class T>
void matmul_with_sums(MatrixView<const T> a, MatrixView<const T> b, MatrixView<T> out, T* sums);

extern template void sum_rows<float>(MatrixView<const float>, float*);
extern template void sum_rows<double>(MatrixView<const double>, double*);
extern template void matmul_with_sums<float>(MatrixView<const float>, MatrixView<const float>,
                                             MatrixView<float>, float*);
extern template void matmul_with_sums<double>(MatrixView<const double>, MatrixView<const double>,
                                              MatrixView<double>, double*);
extern template void matmul<float>(MatrixView<const float>, MatrixView<const float>,
                                   MatrixView<float>, float, float, const Finish<float>&);
extern template void matmul<double>(MatrixView<const double>, MatrixView<const double>,
                                    MatrixView<double>, double, double, const Finish<double>&);

}  // namespace kernelmill
