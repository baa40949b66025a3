#include "ops/silhouette.hpp"

#include <algorithm>  // std::max

#include "bindings/common.hpp"

namespace kernelmill {

static py::array cluster_distance_sums_binding(const py::array& X, const py::array& Y,
                                               const py::array& offsets) {
  constexpr const char* op = "silhouette.cluster_distance_sums";
  return by_dtype(op, "X", X, [&]<class T>() -> py::array {
    const MatrixArgument<T> x(op, "X", X), y(op, "Y", Y);
    const VectorArgument<std::int64_t> bounds(op, "offsets", offsets);
    const index_t n = x.view().rows;
    const index_t k = std::max<index_t>(static_cast<index_t>(bounds.view().size()) - 1, 0);
    py::array_t<double> out = result<double>({n, k});
    const MatrixView<double> to = dense(out.mutable_data(), n, k);
    {
      py::gil_scoped_release release;
      cluster_distance_sums<T>(x.view(), y.view(), bounds.view(), to);
    }
    return out;
  });
}

void bind_silhouette(py::module_& m) {
  auto family = m.def_submodule("silhouette");
  family.def("cluster_distance_sums", &cluster_distance_sums_binding, py::arg("X"), py::arg("Y"),
             py::arg("offsets"));
}

}  // namespace kernelmill
