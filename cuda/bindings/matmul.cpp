// The product itself is cuBLAS, called through CuPy: nothing is done to its tiles here.

#include "bindings/common.hpp"

namespace kernelmill {

static py::object matmul_binding(const py::object& A, const py::object& B, const py::object& C,
                                 double alpha, double beta) {
  constexpr const char* op = "matmul.matmul";
  return by_dtype(op, "A", A, [&]<class T>() -> py::object {
    const DeviceArray a(op, "A", A), b(op, "B", B);
    require<T>(op, "A", a, 2);
    require<T>(op, "B", b, 2);
    if (a.shape[1] != b.shape[0]) {
      invalid(op, "A and B must fit, got ", a.text(), " and ", b.text());
    }
    const py::tuple shape = py::make_tuple(a.shape[0], b.shape[1]);
    const py::object out = a.shape[1] == 0 ? cupy().attr("zeros")(shape, dtype_name<T>())
                                           : cupy().attr("matmul")(A, B);
    if (alpha != 1) out.attr("__imul__")(alpha);
    if (beta == 0) return out;
    if (C.is_none()) invalid(op, "C must be given when beta is not 0, got None");
    const DeviceArray c(op, "C", C);
    require<T>(op, "C", c, 2);
    if (c.shape[0] != a.shape[0] || c.shape[1] != b.shape[1]) {
      invalid(op, "C must have shape (", a.shape[0], ", ", b.shape[1], "), got ", c.text());
    }
    out.attr("__iadd__")(C.attr("__mul__")(beta));
    return out;
  });
}

void bind_matmul(py::module_& m) {
  auto family = m.def_submodule("matmul");
  family.def("matmul", &matmul_binding, py::arg("A"), py::arg("B"), py::arg("C") = py::none(),
             py::arg("alpha") = 1.0, py::arg("beta") = 0.0);
}

}  // namespace kernelmill
