// Rows in compressed sparse row (CSR) form, another kind of X beside MatrixView.
#pragma once

#include <cstdint>      // std::int32_t, std::int64_t
#include <exception>    // std::exception
#include <type_traits>  // std::make_unsigned_t

#include "core/matrix.hpp"  // index_t

namespace kernelmill {

// Row i holds data[indptr[i] .. indptr[i + 1]) in columns indices[...]; repeated columns add up.
template <class T, class Index>
struct CsrRows {
  index_t rows, cols, stored;
  const T* data;
  const Index* indices;
  const Index* indptr;
};

// The same with indices of either width, as SciPy makes them: loops are written for CsrRows, and
// `visit` calls them. So ops have one type of sparse rows, and indices are never copied.
template <class T>
struct CsrView {
  index_t rows, cols, stored;
  const T* data;
  const void* indices;
  const void* indptr;
  bool wide;  // int64 indices, else int32

  template <class Body>
  auto visit(Body&& body) const {
    return wide ? body(typed<std::int64_t>()) : body(typed<std::int32_t>());
  }

 private:
  template <class Index>
  CsrRows<T, Index> typed() const {
    return {rows,
            cols,
            stored,
            data,
            static_cast<const Index*>(indices),
            static_cast<const Index*>(indptr)};
  }
};

// Thrown by an op that reads rows once, and so looks at their columns itself (`checks_columns` of
// its binding): a column is not one of the matrix.
struct ForeignColumn : std::exception {
  const char* what() const noexcept override { return "a column is not in the matrix"; }
};

// Whether all of some columns are below `cols`: negative ones are the largest unsigned numbers.
template <class Index>
bool columns_below(const Index* columns, index_t count, index_t cols) {
  using Unsigned = std::make_unsigned_t<Index>;
  Unsigned top = 0;
#pragma omp simd reduction(max : top)
  for (index_t e = 0; e < count; ++e) {
    const auto column = static_cast<Unsigned>(columns[e]);
    top = column > top ? column : top;
  }
  return count == 0 || static_cast<std::uint64_t>(top) < static_cast<std::uint64_t>(cols);
}

}  // namespace kernelmill
