// Views of memory that somebody else owns: pointer, sizes and element strides, nothing more.
#pragma once

#include <array>        // axes
#include <cstdint>      // std::int64_t
#include <type_traits>  // std::is_const_v, std::remove_const_t

// Compiles a function template for float and for double.
#define KERNELMILL_FOR_FLOATS(function)               \
  template decltype(function<float>) function<float>; \
  template decltype(function<double>) function<double>;

namespace kernelmill {

// Sizes and offsets are 64-bit everywhere: n * d passes 2^31 on ordinary data.
using index_t = std::int64_t;

// A rows x cols matrix. Strides count elements and may be zero or negative, so any NumPy slice,
// transpose or broadcast is a view without a copy.
template <class T>
struct MatrixView {
  using value_type = std::remove_const_t<T>;
  T* data = nullptr;
  index_t rows = 0;
  index_t cols = 0;
  index_t row_stride = 0;
  index_t col_stride = 1;

  T& operator()(index_t i, index_t j) const { return data[i * row_stride + j * col_stride]; }
  T* row(index_t i) const { return data + i * row_stride; }
  bool rows_contiguous() const { return col_stride == 1 || cols <= 1; }
  MatrixView row_range(index_t begin, index_t end) const {
    return {data + begin * row_stride, end - begin, cols, row_stride, col_stride};
  }
  MatrixView transposed() const { return {data, cols, rows, col_stride, row_stride}; }
  operator MatrixView<const T>() const
    requires(!std::is_const_v<T>)
  {
    return {data, rows, cols, row_stride, col_stride};
  }
};

// A row-major, densely packed matrix.
template <class T>
MatrixView<T> dense(T* data, index_t rows, index_t cols) {
  return {data, rows, cols, cols, 1};
}

// An array of N axes, any strides.
template <class T, int N>
struct StridedView {
  T* data = nullptr;
  std::array<index_t, N> shape{}, strides{};

  operator StridedView<const T, N>() const
    requires(!std::is_const_v<T>)
  {
    return {data, shape, strides};
  }
};
template <class T>
using CubeView = StridedView<T, 3>;

}  // namespace kernelmill
