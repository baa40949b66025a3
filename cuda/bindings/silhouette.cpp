#include "ops/silhouette.cuh"

#include "bindings/common.hpp"

namespace kernelmill {

// offsets are few and decide what is read, so they are checked on the host.
static void check_offsets(const Call& call, const VectorArgument<index_t>& offsets, index_t m) {
  std::vector<index_t> host(static_cast<std::size_t>(offsets.size()));
  if (!host.empty()) download(call, host.data(), offsets.data(), offsets.size());
  bool rise = !host.empty() && host.front() == 0 && host.back() == m;
  for (std::size_t g = 1; rise && g < host.size(); ++g) rise = host[g - 1] <= host[g];
  if (!rise) invalid(call.op, "offsets must rise from 0 to ", m, ", got others");
}

static py::object cluster_distance_sums_binding(const py::object& X, const py::object& Y,
                                                const py::object& offsets) {
  constexpr const char* op = "silhouette.cluster_distance_sums";
  return by_dtype(op, "X", X, [&]<class T>() -> py::object {
    const MatrixArgument<T> x(op, "X", X), y(op, "Y", Y);
    const VectorArgument<index_t> bounds(op, "offsets", offsets);
    if (x.cols() != y.cols()) {
      invalid(op, "X and Y must have one width, got ", x.array().text(), " and ", y.array().text());
    }
    const Call call = current(op);
    check_offsets(call, bounds, y.rows());
    const Result<double> sums({x.rows(), bounds.size() - 1});
    {
      py::gil_scoped_release release;
      cluster_distance_sums<T>(call, x.view(), y.view(), bounds.data(), bounds.size() - 1,
                               sums.data);
    }
    return sums.array;
  });
}

void bind_silhouette(py::module_& m) {
  auto family = m.def_submodule("silhouette");
  family.def("cluster_distance_sums", &cluster_distance_sums_binding, py::arg("X"), py::arg("Y"),
             py::arg("offsets"));
}

}  // namespace kernelmill
