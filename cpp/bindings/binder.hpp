// What the binder asks of a device, and how a module is given its ops.
#pragma once

#include <pybind11/pybind11.h>  // py::object

#include <memory>  // std::shared_ptr

#include "bindings/family.hpp"  // Value, Family

namespace kernelmill {

namespace py = pybind11;

// An array as a call finds it. Strides that are no whole elements make it not `in_place`.
struct ArrayInfo {
  Value value{};
  char code = 0;          // as in code_of; 0 for other element types
  bool in_place = false;  // aligned and of native byte order
  bool dense = false;     // C-contiguous
  bool writeable = false;
};

// Defined by each device. ---------------------------------------------------------------------

// False when the object is no array of the device.
bool read_array(const char* op, const char* name, PyObject* object, ArrayInfo& info);
// The same for a table that is read on the host, made dense there; `kept` holds it where that takes
// another array than the one given.
bool read_host_array(const char* op, const char* name, PyObject* object, ArrayInfo& info,
                     py::object& kept);
// A dense copy with elements of type `code`.
py::object dense_copy(PyObject* array, char code);
py::object new_array(char code, int ndim, const index_t* shape, void*& data);
// For ops over lists, whose arrays may have any number of axes.
index_t size_of(PyObject* array);
bool same_shape(PyObject* a, PyObject* b);
// Whether all columns of CSR rows are in [0, cols).
bool columns_within(const void* columns, index_t count, index_t cols, bool wide);
// Lives as long as a call; parameters of the device's own types are read from it.
std::shared_ptr<void> begin_call(const char* op);

// ----------------------------------------------------------------------------------------------

// The tables, and families whose arguments no signature describes.
void bind_convolution(py::module_& m);
void bind_elementwise(py::module_& m);
void bind_optim(py::module_& m);
void bind_reduction(py::module_& m);

// Adds a submodule for each family, and `describe(name, arguments, results, refuse)`, through which
// Python gives an op its signature: see Signature.encoded in python/kernelmill/ops/_signature.py.
void bind_families(py::module_& m);

}  // namespace kernelmill
