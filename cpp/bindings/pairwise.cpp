#include "ops/pairwise.hpp"

#include "bindings/common.hpp"

namespace kernelmill {

static py::array euclidean_binding(const py::array& X, const py::array& Y, bool squared) {
  constexpr const char* op = "pairwise.euclidean";
  return by_dtype(op, "X", X, [&]<class T>() -> py::array {
    const MatrixArgument<T> x(op, "X", X), y(op, "Y", Y);
    const index_t n = x.view().rows, m = y.view().rows;
    py::array_t<T> out = result<T>({n, m});
    const MatrixView<T> to = dense(out.mutable_data(), n, m);
    {
      py::gil_scoped_release release;
      euclidean<T>(x.view(), y.view(), to, squared);
    }
    return out;
  });
}

void bind_pairwise(py::module_& m) {
  auto family = m.def_submodule("pairwise");
  family.def("euclidean", &euclidean_binding, py::arg("X"), py::arg("Y"),
             py::arg("squared") = false);
}

}  // namespace kernelmill
