// Rows in compressed sparse row (CSR) form, another kind of X beside MatrixView.
#pragma once

#include <cstdint>  // std::int32_t, std::int64_t

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

}  // namespace kernelmill
