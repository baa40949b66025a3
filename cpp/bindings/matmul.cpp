#include "ops/matmul.hpp"

#include "bindings/common.hpp"

namespace kernelmill {

static py::array matmul_binding(const py::array& A, const py::array& B,
                                const std::optional<py::array>& C, double alpha, double beta) {
  constexpr const char* op = "matmul.matmul";
  return by_dtype(op, "A", A, [&]<class T>() -> py::array {
    const MatrixArgument<T> a(op, "A", A), b(op, "B", B);
    const index_t m = a.view().rows, n = b.view().cols;
    if (a.view().cols != b.view().rows) {
      invalid(op, "A and B must fit, got ", shape_text(A), " and ", shape_text(B));
    }
    py::array_t<T> out = result<T>({m, n});
    const MatrixView<T> to = dense(out.mutable_data(), m, n);
    if (beta != 0) {
      if (!C) invalid(op, "C must be given when beta is not 0, got None");
      const MatrixArgument<T> c(op, "C", *C);
      if (c.view().rows != m || c.view().cols != n) {
        invalid(op, "C must have shape (", m, ", ", n, "), got ", shape_text(*C));
      }
      for (index_t i = 0; i < m; ++i) {
        for (index_t j = 0; j < n; ++j) to(i, j) = c.view()(i, j);
      }
    }
    {
      py::gil_scoped_release release;
      matmul<T>(a.view(), b.view(), to, static_cast<T>(alpha), static_cast<T>(beta));
    }
    return out;
  });
}

void bind_matmul(py::module_& m) {
  auto family = m.def_submodule("matmul");
  family.def("matmul", &matmul_binding, py::arg("A"), py::arg("B"), py::arg("C") = py::none(),
             py::arg("alpha") = 1.0, py::arg("beta") = 0.0);
}

}  // namespace kernelmill
