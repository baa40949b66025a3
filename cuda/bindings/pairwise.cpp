#include "ops/pairwise.cuh"

#include "bindings/common.hpp"

namespace kernelmill {

static py::object euclidean_binding(const py::object& X, const py::object& Y, bool squared) {
  constexpr const char* op = "pairwise.euclidean";
  return by_dtype(op, "X", X, [&]<class T>() -> py::object {
    const MatrixArgument<T> x(op, "X", X), y(op, "Y", Y);
    if (x.cols() != y.cols()) {
      invalid(op, "X and Y must have one width, got ", x.array().text(), " and ", y.array().text());
    }
    const Result<T> out({x.rows(), y.rows()});
    const Call call = current(op);
    {
      py::gil_scoped_release release;
      euclidean<T>(call, x.view(), y.view(), squared, out.data);
    }
    return out.array;
  });
}

void bind_pairwise(py::module_& m) {
  auto family = m.def_submodule("pairwise");
  family.def("euclidean", &euclidean_binding, py::arg("X"), py::arg("Y"),
             py::arg("squared") = false);
}

}  // namespace kernelmill
