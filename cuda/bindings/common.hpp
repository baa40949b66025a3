// CuPy arrays in C++, for the binder and for the ops that have no signature.
//
// CuPy has no C++ interface that is stable between versions, so arrays are read through the CUDA
// array interface and made by calling cupy.empty. Everything runs on CuPy's current stream, on
// which its pool also reuses memory: temporaries may be let go as soon as the work is queued. Rows
// must have adjacent columns; an array with other column strides is made contiguous on the device.
#pragma once

#include <pybind11/pybind11.h>  // py::module_
#include <pybind11/stl.h>       // shapes

#include <cstdint>      // std::uintptr_t
#include <string>       // messages
#include <string_view>  // std::string_view
#include <vector>       // shapes

#include "bindings/binder.hpp"  // new_array
#include "bindings/device.hpp"  // Call
#include "core/error.hpp"       // invalid

namespace kernelmill {

inline py::module_ cupy() { return py::module_::import("cupy"); }

const char* dtype_name(char code);

// A CuPy array and what is needed to read it.
struct DeviceArray {
  DeviceArray() = default;
  DeviceArray(std::string_view op, std::string_view name, const py::object& array);

  py::object owner;
  void* data = nullptr;
  std::vector<index_t> shape, strides;  // strides in bytes
  std::string dtype;

  std::string text() const;  // "float32 of shape (3, 2)"
  bool contiguous() const;
};

// The same, made C-contiguous on the device where it is not.
DeviceArray contiguous(std::string_view op, std::string_view name, const DeviceArray& array);

// A new C-contiguous array from CuPy's pool.
template <class T>
struct Result {
  explicit Result(const std::vector<index_t>& shape) {
    void* memory = nullptr;
    array = new_array(code_of<T>(), static_cast<int>(shape.size()), shape.data(), memory);
    data = static_cast<T*>(memory);
  }
  py::object array;
  T* data;
};

// out = a b by cuBLAS, through CuPy; factors of any strides, and without terms 0.
void multiply(const py::handle& a, const py::handle& b, const py::handle& out);

// A matrix that goes to such a product, and to kernels; without an array where it was left out.
template <class T>
struct Factor {
  py::handle array;
  MatrixView<const T> view;
};

template <class T>
struct Read<Factor<T>> {
  static std::string codes() { return {'m', code_of<T>()}; }
  static Factor<T> from(Reader& reader) {
    const Value& v = reader.next();
    return {v.object,
            {static_cast<const T*>(v.data), v.shape[0], v.shape[1], v.strides[0], v.strides[1]}};
  }
};

// A result of such a product; dense.
template <class T>
struct Product {
  py::handle array;
  T* data;
  index_t size;
};

template <class T>
struct Read<Product<T>> {
  static std::string codes() { return {'o', code_of<T>()}; }
  static Product<T> from(Reader& reader) {
    const Value& value = reader.target();
    return {value.object, static_cast<T*>(value.data), value.shape[0] * value.shape[1]};
  }
};

// CuPy's current stream, under the name of the op.
Call current(const char* op);

// Calls body.operator()<float>() or <double>() by the dtype of `a`.
template <class Body>
auto by_dtype(std::string_view op, std::string_view name, const DeviceArray& a, Body&& body) {
  if (a.dtype == "float32") return body.template operator()<float>();
  if (a.dtype == "float64") return body.template operator()<double>();
  invalid(op, name, " must be float32 or float64, got ", a.dtype, " (convert it with astype)");
}

// The same, and for Float16 and BFloat16.
template <class Body>
auto by_stored(std::string_view op, std::string_view name, const DeviceArray& a, Body&& body) {
  if (a.dtype == "float16") return body.template operator()<Float16>();
  if (a.dtype == "bfloat16") return body.template operator()<BFloat16>();
  return by_dtype(op, name, a, std::forward<Body>(body));
}

}  // namespace kernelmill
