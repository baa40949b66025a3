#include "bindings/common.hpp"

#include <pybind11/numpy.h>  // tables on the host

#include <algorithm>  // std::min

namespace kernelmill {

namespace {

// "<f4" of the array interface as NumPy names it.
std::string dtype_of(const std::string& typestr) {
  if (typestr.size() < 3 || typestr[0] == '>') return typestr;
  const std::string kind = typestr.substr(1, 1), size = typestr.substr(2);
  if (kind == "b") return "bool";
  const std::string name = kind == "f" ? "float" : kind == "i" ? "int" : kind == "u" ? "uint" : "";
  if (name.empty()) return typestr;
  return name + std::to_string(8 * std::stoi(size));
}

}  // namespace

DeviceArray::DeviceArray(std::string_view op, std::string_view name, const py::object& array)
    : owner(array) {
  if (!py::hasattr(array, "__cuda_array_interface__")) {
    throw py::type_error(std::string(op) + ": " + std::string(name) +
                         " must be a CuPy array, got " +
                         py::str(py::type::of(array).attr("__name__")).cast<std::string>() +
                         " (move it with cupy.asarray)");
  }
  if (py::hasattr(array, "device")) {
    const int held = array.attr("device").attr("id").cast<int>();
    const int current = cupy().attr("cuda").attr("runtime").attr("getDevice")().cast<int>();
    if (held != current) {
      invalid(op, name, " must be on the current device ", current, ", got device ", held,
              " (run it under `with array.device:`)");
    }
  }
  const py::dict interface = array.attr("__cuda_array_interface__");
  shape = interface["shape"].cast<std::vector<index_t>>();
  dtype = dtype_of(interface["typestr"].cast<std::string>());
  if (dtype == "<V2") dtype = array.attr("dtype").attr("name").cast<std::string>();  // bfloat16
  data = reinterpret_cast<void*>(interface["data"].cast<py::tuple>()[0].cast<std::uintptr_t>());
  if (interface.contains("strides") && !interface["strides"].is_none()) {
    strides = interface["strides"].cast<std::vector<index_t>>();
  } else {
    strides.resize(shape.size());
    index_t step = py::cast<index_t>(array.attr("dtype").attr("itemsize"));
    for (std::size_t i = shape.size(); i-- > 0;) {
      strides[i] = step;
      step *= shape[i];
    }
  }
}

std::string DeviceArray::text() const {
  std::string text = dtype + " of shape (";
  for (std::size_t i = 0; i < shape.size(); ++i) {
    text += (i ? ", " : "") + std::to_string(shape[i]);
  }
  return text + (shape.size() == 1 ? ",)" : ")");
}

bool DeviceArray::contiguous() const {
  return owner.attr("flags").attr("c_contiguous").cast<bool>();
}

DeviceArray contiguous(std::string_view op, std::string_view name, const DeviceArray& array) {
  if (array.contiguous()) return array;
  return DeviceArray(op, name, cupy().attr("ascontiguousarray")(array.owner));
}

// --- what the binder asks -----------------------------------------------------------------------

namespace {

constexpr std::string_view kCodes = "fdiqB?eE";
constexpr const char* kNames[] = {"float32", "float64", "int32",   "int64",
                                  "uint8",   "bool",    "float16", "bfloat16"};
constexpr index_t kSizes[] = {4, 8, 4, 8, 1, 1, 2, 2};

}  // namespace

const char* dtype_name(char code) { return kNames[kCodes.find(code)]; }

bool read_array(const char* op, const char* name, PyObject* object, ArrayInfo& info) {
  if (!py::hasattr(object, "__cuda_array_interface__")) return false;
  const DeviceArray array(op, name, py::reinterpret_borrow<py::object>(object));
  for (const char code : kCodes) {
    if (array.dtype == dtype_name(code)) info.code = code;
  }
  const index_t size = info.code == 0 ? 1 : kSizes[kCodes.find(info.code)];
  info.value.data = array.data;
  info.value.ndim = static_cast<int>(array.shape.size());
  info.dense = array.contiguous();
  info.writeable = info.in_place = true;
  for (int i = 0; i < std::min(info.value.ndim, kMostAxes); ++i) {
    const auto at = static_cast<std::size_t>(i);
    info.value.shape[at] = array.shape[at];
    info.value.strides[at] = array.strides[at] / size;
    info.in_place = info.in_place && array.strides[at] % size == 0;
  }
  return true;
}

bool read_host_array(const char*, const char*, PyObject* object, ArrayInfo& info,
                     py::object& kept) {
  kept = py::reinterpret_borrow<py::object>(object);
  if (py::hasattr(kept, "__cuda_array_interface__")) kept = kept.attr("get")();
  if (!py::isinstance<py::array>(kept)) return false;
  const auto dtype = kept.attr("dtype").attr("name").cast<std::string>();
  for (const char code : kCodes) {
    if (dtype == dtype_name(code)) info.code = code;
  }
  if (info.code == 0) return false;
  const auto numpy = py::module_::import("numpy");
  const py::array array = numpy.attr("require")(kept, dtype, "CA");
  info.value.data = const_cast<void*>(array.data());
  info.value.ndim = static_cast<int>(array.ndim());
  info.dense = info.writeable = info.in_place = true;
  index_t step = 1;
  for (int i = std::min(info.value.ndim, kMostAxes) - 1; i >= 0; --i) {
    const auto at = static_cast<std::size_t>(i);
    info.value.shape[at] = array.shape(i);
    info.value.strides[at] = step;
    step *= array.shape(i);
  }
  kept = array;
  return true;
}

index_t size_of(PyObject* array) {
  return py::reinterpret_borrow<py::object>(array).attr("size").cast<index_t>();
}

bool same_shape(PyObject* a, PyObject* b) {
  return py::reinterpret_borrow<py::object>(a).attr("shape").equal(
      py::reinterpret_borrow<py::object>(b).attr("shape"));
}

py::object dense_copy(PyObject* array, char code) {
  return cupy().attr("ascontiguousarray")(py::reinterpret_borrow<py::object>(array),
                                          py::arg("dtype") = dtype_name(code));
}

py::object new_array(char code, int ndim, const index_t* shape, void*& data) {
  py::tuple sizes(ndim);
  for (int i = 0; i < ndim; ++i) sizes[static_cast<std::size_t>(i)] = shape[i];
  py::object array = cupy().attr("empty")(sizes, dtype_name(code));
  data = reinterpret_cast<void*>(array.attr("data").attr("ptr").cast<std::uintptr_t>());
  return array;
}

void multiply(const py::handle& a, const py::handle& b, const py::handle& out) {
  const auto size = [](const py::handle& array) { return size_of(array.ptr()); };
  if (size(out) == 0) return;
  if (size(a) == 0) {
    out.attr("fill")(0);
  } else {
    cupy().attr("matmul")(a, b, py::arg("out") = out);
  }
}

Call current(const char* op) {
  const py::object stream = cupy().attr("cuda").attr("get_current_stream")();
  return {op, reinterpret_cast<cudaStream_t>(stream.attr("ptr").cast<std::uintptr_t>())};
}

bool columns_within(const void*, index_t, index_t, bool) { return false; }  // no op takes CSR rows

std::shared_ptr<void> begin_call(const char* op) {
  return std::make_shared<DeviceCall>(DeviceCall{current(op), {}});
}

void* Scratch::allocate(std::size_t bytes) {
  const py::gil_scoped_acquire gil;
  void* data = nullptr;
  const auto size = static_cast<index_t>(bytes);
  // Let go with the call, when the GIL is held again.
  kept_.push_back(std::make_shared<py::object>(new_array('B', 1, &size, data)));
  return data;
}

}  // namespace kernelmill
