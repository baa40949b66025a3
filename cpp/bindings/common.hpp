// NumPy arrays in C++, for the binder and for the ops that have no signature.
#pragma once

#include <pybind11/numpy.h>     // py::array
#include <pybind11/pybind11.h>  // py::module_

#include <cstdint>      // std::uintptr_t
#include <string>       // std::string
#include <string_view>  // std::string_view
#include <vector>       // shapes

#include "bindings/binder.hpp"  // Family, new_array
#include "core/error.hpp"       // invalid

namespace kernelmill {

// Finds NumPy's functions; before the first call of an op.
void load_numpy();

inline std::string shape_text(const py::array& a) {
  std::string text = "(";
  for (py::ssize_t i = 0; i < a.ndim(); ++i) {
    text += (i ? ", " : "") + std::to_string(a.shape(i));
  }
  return text + (a.ndim() == 1 ? ",)" : ")");
}

inline std::string dtype_text(const py::array& a) { return py::str(a.dtype()); }

// Whether the memory of `a` can be read as elements of T: native byte order, aligned, and strides
// that are whole elements.
template <class T>
bool readable_as(const py::array& a) {
  if (!py::isinstance<py::array_t<T>>(a)) return false;
  if (reinterpret_cast<std::uintptr_t>(a.data()) % alignof(T) != 0) return false;
  for (py::ssize_t i = 0; i < a.ndim(); ++i) {
    if (a.strides(i) % static_cast<py::ssize_t>(sizeof(T)) != 0) return false;
  }
  return true;
}

// A new C-contiguous array.
template <class T>
py::array_t<T> result(const std::vector<py::ssize_t>& shape) {
  const std::vector<index_t> sizes(shape.begin(), shape.end());
  void* data = nullptr;
  return new_array(code_of<T>(), static_cast<int>(sizes.size()), sizes.data(), data);
}

// Calls body.operator()<float>() or <double>() by the dtype of `a`.
template <class Body>
auto by_dtype(std::string_view op, std::string_view name, const py::array& a, Body&& body) {
  if (a.dtype().kind() == 'f' && a.itemsize() == 4) return body.template operator()<float>();
  if (a.dtype().kind() == 'f' && a.itemsize() == 8) return body.template operator()<double>();
  invalid(op, name, " must be float32 or float64, got ", dtype_text(a),
          " (convert it with astype)");
}

}  // namespace kernelmill
