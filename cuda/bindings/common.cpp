#include "bindings/common.hpp"

namespace kernelmill {

namespace {

// "<f4" of the array interface as NumPy names it.
std::string dtype_of(const std::string& typestr) {
  if (typestr.size() < 3 || typestr[0] == '>') return typestr;
  const std::string kind = typestr.substr(1, 1), size = typestr.substr(2);
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

}  // namespace kernelmill
