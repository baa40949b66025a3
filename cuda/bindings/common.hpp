// What every CUDA binding shares: CuPy arrays as views, results and temporaries from CuPy's pool.
//
// CuPy has no C++ interface that is stable between versions, so arrays are read through the CUDA
// array interface and made by calling cupy.empty. Everything runs on CuPy's current stream, on
// which its pool also reuses memory: temporaries may be let go as soon as the work is queued. Rows
// must have adjacent columns; an array with other column strides is made contiguous on the device.
#pragma once

#include <pybind11/pybind11.h>  // py::module_
#include <pybind11/stl.h>       // std::optional arguments

#include <cstdint>      // std::uintptr_t
#include <optional>     // optional arrays
#include <string>       // messages
#include <string_view>  // std::string_view
#include <type_traits>  // std::is_same_v
#include <vector>       // shapes

#include "core/call.hpp"   // Call, Arena, DeviceRows
#include "core/error.hpp"  // invalid

namespace kernelmill {

namespace py = pybind11;

inline py::module_ cupy() { return py::module_::import("cupy"); }

template <class T>
constexpr const char* dtype_name() {
  if constexpr (std::is_same_v<T, float>) return "float32";
  if constexpr (std::is_same_v<T, double>) return "float64";
  if constexpr (std::is_same_v<T, std::int32_t>) return "int32";
  if constexpr (std::is_same_v<T, std::int64_t>) return "int64";
  if constexpr (std::is_same_v<T, char>) return "int8";
}

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

template <class T>
void require(std::string_view op, std::string_view name, const DeviceArray& a, std::size_t ndim) {
  if (a.shape.size() == ndim && a.dtype == dtype_name<T>()) return;
  invalid(op, name, " must be a ", dtype_name<T>(), ndim == 2 ? " matrix" : " vector", ", got ",
          a.text());
}

// A matrix argument; keeps its memory alive.
template <class T>
class MatrixArgument {
 public:
  MatrixArgument(std::string_view op, std::string_view name, const py::object& array)
      : array_(op, name, array) {
    require<T>(op, name, array_, 2);
    constexpr auto size = static_cast<index_t>(sizeof(T));
    if ((cols() > 1 && array_.strides[1] != size) || array_.strides[0] % size != 0) {
      array_ = contiguous(op, name, array_);
    }
  }
  index_t rows() const { return array_.shape[0]; }
  index_t cols() const { return array_.shape[1]; }
  DeviceRows<T> view() const {
    return {static_cast<const T*>(array_.data), rows(), cols(),
            array_.strides[0] / static_cast<index_t>(sizeof(T)), nullptr};
  }
  const DeviceArray& array() const { return array_; }

 private:
  DeviceArray array_;
};

// A vector argument, contiguous; null when it is left out.
template <class T>
class VectorArgument {
 public:
  VectorArgument(std::string_view op, std::string_view name, const py::object& array) {
    if (array.is_none()) return;
    array_ = DeviceArray(op, name, array);
    require<T>(op, name, array_, 1);
    array_ = contiguous(op, name, array_);
  }
  index_t size() const { return array_.shape.empty() ? 0 : array_.shape[0]; }
  const T* data() const { return static_cast<const T*>(array_.data); }
  // Refuses a vector that is given with another length.
  void expect(std::string_view op, std::string_view name, index_t size) const {
    if (!array_.shape.empty() && array_.shape[0] != size) {
      invalid(op, name, " must have shape (", size, ",), got ", array_.text());
    }
  }

 private:
  DeviceArray array_;
};

// An array that the op updates in place: exact dtype and shape, C-contiguous; never a copy.
template <class T>
T* updated(std::string_view op, std::string_view name, const py::object& array,
           const std::vector<index_t>& shape) {
  const DeviceArray a(op, name, array);
  if (a.dtype != dtype_name<T>() || a.shape != shape || !a.contiguous()) {
    std::string want;
    for (index_t size : shape) want += std::to_string(size) + ",";
    invalid(op, name, " must be a C-contiguous ", dtype_name<T>(), " array of shape (", want,
            "), got ", a.text());
  }
  return static_cast<T*>(a.data);
}

// A new C-contiguous array from CuPy's pool.
template <class T>
struct Result {
  explicit Result(const std::vector<index_t>& shape)
      : array(cupy().attr("empty")(py::tuple(py::cast(shape)), dtype_name<T>())),
        data(reinterpret_cast<T*>(array.attr("data").attr("ptr").template cast<std::uintptr_t>())) {
  }
  py::object array;
  T* data;
};

// CuPy's current stream, under the name of the op.
inline Call current(const char* op) {
  const py::object stream = cupy().attr("cuda").attr("get_current_stream")();
  const auto handle = stream.attr("ptr").cast<std::uintptr_t>();
  return {op, reinterpret_cast<cudaStream_t>(handle)};
}

// Memory for a Space(arena, arguments...): measured, allocated from CuPy's pool, and laid out.
template <class Space>
class Temporary {
 public:
  template <class... Arguments>
  explicit Temporary(const Arguments&... arguments) {
    Arena measure;
    Space(measure, arguments...);
    memory_.emplace(std::vector<index_t>{static_cast<index_t>(measure.bytes())});
    Arena arena(memory_->data);
    space_.emplace(arena, arguments...);
  }
  const Space& operator*() const { return *space_; }

 private:
  std::optional<Result<char>> memory_;
  std::optional<Space> space_;
};

// Calls body.operator()<float>() or <double>() by the dtype of `a`.
template <class Body>
auto by_dtype(std::string_view op, std::string_view name, const DeviceArray& a, Body&& body) {
  if (a.dtype == "float32") return body.template operator()<float>();
  if (a.dtype == "float64") return body.template operator()<double>();
  invalid(op, name, " must be float32 or float64, got ", a.dtype, " (convert it with astype)");
}

template <class Body>
auto by_dtype(std::string_view op, std::string_view name, const py::object& array, Body&& body) {
  return by_dtype(op, name, DeviceArray(op, name, array), std::forward<Body>(body));
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
