// What every binding shares: NumPy arrays as views, the dtype switch, pooled results.
//
// A binding checks shapes, releases the GIL and calls; it holds no maths. Docstrings live in
// Python.
#pragma once

#include <pybind11/numpy.h>     // py::array
#include <pybind11/pybind11.h>  // py::module_
#include <pybind11/stl.h>       // std::optional arguments

#include <cstdint>      // std::uintptr_t
#include <optional>     // optional arrays
#include <span>         // std::span
#include <string>       // std::string
#include <string_view>  // std::string_view
#include <vector>       // shapes

#include "core/error.hpp"   // invalid
#include "core/matrix.hpp"  // MatrixView, index_t
#include "core/memory.hpp"  // pool_allocate

namespace kernelmill {

namespace py = pybind11;

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

// An argument that keeps its array alive. Odd memory (byte-swapped, unaligned) is copied once;
// every other layout, read-only and negative strides included, is viewed in place.
template <class T>
class MatrixArgument {
 public:
  MatrixArgument(std::string_view op, std::string_view name, const py::array& a) : array_(a) {
    if (a.ndim() != 2)
      invalid(op, name, " must be a matrix, got an array of shape ", shape_text(a));
    if (!readable_as<T>(a)) {
      if (a.dtype().kind() != py::dtype::of<T>().kind() || a.itemsize() != sizeof(T)) {
        invalid(op, name, " must be ", dtype_text(py::array_t<T>()), ", got ", dtype_text(a),
                " (convert it with astype)");
      }
      array_ = py::array_t<T, py::array::c_style | py::array::forcecast>(a);
    }
  }
  MatrixView<const T> view() const {
    constexpr auto size = static_cast<py::ssize_t>(sizeof(T));
    return {static_cast<const T*>(array_.data()), array_.shape(0), array_.shape(1),
            array_.strides(0) / size, array_.strides(1) / size};
  }

 private:
  py::array array_;
};

// A vector argument, contiguous (copied when it is not).
template <class T>
class VectorArgument {
 public:
  VectorArgument() = default;
  VectorArgument(std::string_view op, std::string_view name, const py::array& a) {
    if (a.ndim() != 1)
      invalid(op, name, " must be a vector, got an array of shape ", shape_text(a));
    const char kind = py::dtype::of<T>().kind();
    if (a.dtype().kind() != kind || a.itemsize() != sizeof(T)) {
      invalid(op, name, " must be ", dtype_text(py::array_t<T>()), ", got ", dtype_text(a),
              " (convert it with astype)");
    }
    array_ = py::array_t<T, py::array::c_style | py::array::forcecast>(a);
  }
  VectorArgument(std::string_view op, std::string_view name, const std::optional<py::array>& a) {
    if (a) *this = VectorArgument(op, name, *a);
  }
  std::span<const T> view() const {
    return {array_ ? array_.data() : nullptr, array_ ? static_cast<std::size_t>(array_.size()) : 0};
  }

 private:
  py::array_t<T, py::array::c_style | py::array::forcecast> array_{};
};

// A float64 array of any dimension, dense (copied when it is not).
class DenseArgument {
 public:
  DenseArgument(std::string_view op, std::string_view name, const py::array& a,
                const std::vector<std::vector<index_t>>& shapes) {
    bool fits = false;
    std::string want;
    for (const auto& shape : shapes) {
      bool same = a.ndim() == static_cast<py::ssize_t>(shape.size());
      want += want.empty() ? "(" : " or (";
      for (std::size_t i = 0; i < shape.size(); ++i) {
        same = same && a.shape(static_cast<py::ssize_t>(i)) == shape[i];
        want += (i ? ", " : "") + std::to_string(shape[i]);
      }
      want += shape.size() == 1 ? ",)" : ")";
      fits = fits || same;
    }
    if (!fits || a.dtype().kind() != 'f' || a.itemsize() != sizeof(double)) {
      invalid(op, name, " must be float64 of shape ", want, ", got ", dtype_text(a), " of shape ",
              shape_text(a));
    }
    array_ = py::array_t<double, py::array::c_style | py::array::forcecast>(a);
  }
  const double* data() const { return array_.data(); }
  std::span<const double> view() const {
    return {array_.data(), static_cast<std::size_t>(array_.size())};
  }
  index_t rows() const { return array_.shape(0); }

 private:
  py::array_t<double, py::array::c_style | py::array::forcecast> array_;
};

// An array that the op updates in place: exact dtype, C-contiguous, writeable; never a copy.
template <class T>
T* updated(std::string_view op, std::string_view name, py::array& a, std::vector<index_t> shape) {
  bool fits = py::isinstance<py::array_t<T, py::array::c_style>>(a) && a.writeable() &&
              a.ndim() == static_cast<py::ssize_t>(shape.size());
  for (std::size_t i = 0; fits && i < shape.size(); ++i) {
    fits = a.shape(static_cast<py::ssize_t>(i)) == shape[i];
  }
  if (!fits) {
    std::string want;
    for (index_t size : shape) want += std::to_string(size) + ",";
    invalid(op, name, " must be a writeable C-contiguous ", dtype_text(py::array_t<T>()),
            " array of shape (", want, "), got ", dtype_text(a), " of shape ", shape_text(a));
  }
  return static_cast<T*>(a.mutable_data());
}

// A new C-contiguous array. Large ones come from the pool: fresh pages cost more than the
// arithmetic of an elementwise op. Small ones come from NumPy, whose own cache is quicker.
template <class T>
py::array_t<T> result(std::vector<py::ssize_t> shape) {
  std::size_t bytes = sizeof(T);
  for (py::ssize_t size : shape) bytes *= static_cast<std::size_t>(size);
  constexpr std::size_t kPooled = std::size_t{1} << 18;
  if (bytes < kPooled) return py::array_t<T>(std::move(shape));
  void* memory = pool_allocate(bytes);
  if (memory == nullptr) throw std::bad_alloc();
  return py::array_t<T>(std::move(shape), static_cast<T*>(memory),
                        py::capsule(memory, [](void* p) { pool_release(p); }));
}

// Calls body.operator()<float>() or <double>() by the dtype of `a`.
template <class Body>
auto by_dtype(std::string_view op, std::string_view name, const py::array& a, Body&& body) {
  if (a.dtype().kind() == 'f' && a.itemsize() == 4) return body.template operator()<float>();
  if (a.dtype().kind() == 'f' && a.itemsize() == 8) return body.template operator()<double>();
  invalid(op, name, " must be float32 or float64, got ", dtype_text(a),
          " (convert it with astype)");
}

// Each family adds its submodule; one line per family in module.cpp.
void bind_elementwise(py::module_& m);
void bind_hmm(py::module_& m);
void bind_kmeans(py::module_& m);
void bind_matmul(py::module_& m);
void bind_mixture(py::module_& m);
void bind_pairwise(py::module_& m);
void bind_random(py::module_& m);
void bind_reduction(py::module_& m);
void bind_silhouette(py::module_& m);
void bind_sparse_kmeans(py::module_& m);

}  // namespace kernelmill
