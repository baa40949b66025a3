#include "ops/elementwise.cuh"

#include "bindings/common.hpp"

namespace kernelmill {

static py::object apply_binding(const char* op, Function function, const py::object& x) {
  return by_dtype(op, "x", x, [&]<class T>() -> py::object {
    const DeviceArray from = contiguous(op, "x", DeviceArray(op, "x", x));
    const Result<T> y(from.shape);
    index_t count = 1;
    for (index_t size : from.shape) count *= size;
    const Call call = current(op);
    {
      py::gil_scoped_release release;
      apply<T>(call, function, static_cast<const T*>(from.data), count, y.data);
    }
    return y.array;
  });
}

template <Function function>
static auto twin(const char* op) {
  return [op](const py::object& x) { return apply_binding(op, function, x); };
}

void bind_elementwise(py::module_& m) {
  auto family = m.def_submodule("elementwise");
  family.def("exp", twin<Function::exp>("elementwise.exp"), py::arg("x"));
  family.def("log", twin<Function::log>("elementwise.log"), py::arg("x"));
  family.def("log1p", twin<Function::log1p>("elementwise.log1p"), py::arg("x"));
  family.def("tanh", twin<Function::tanh>("elementwise.tanh"), py::arg("x"));
  family.def("erf", twin<Function::erf>("elementwise.erf"), py::arg("x"));
  family.def("logistic", twin<Function::logistic>("elementwise.logistic"), py::arg("x"));
}

}  // namespace kernelmill
