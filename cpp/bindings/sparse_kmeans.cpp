#include "ops/sparse_kmeans.hpp"

#include "bindings/common.hpp"

namespace kernelmill {

namespace {

// The three arrays of a CSR matrix, checked, alive as long as this object.
template <class T, class Index>
struct CsrArgument {
  CsrArgument(const char* op, const py::array& data_array, const py::array& indices_array,
              const py::array& indptr_array, index_t d)
      : data(op, "data", data_array),
        indices(op, "indices", indices_array),
        indptr(op, "indptr", indptr_array) {
    const auto stored = static_cast<index_t>(data.view().size());
    if (static_cast<index_t>(indices.view().size()) != stored) {
      invalid(op, "indices must be as long as data, got ", indices.view().size(), " and ", stored);
    }
    const std::span<const Index> begins = indptr.view();
    if (begins.empty() || begins.front() != 0 || static_cast<index_t>(begins.back()) != stored) {
      invalid(op, "indptr must run from 0 to ", stored, ", got shape ", shape_text(indptr_array));
    }
    for (std::size_t i = 1; i < begins.size(); ++i) {
      if (begins[i] < begins[i - 1]) invalid(op, "indptr must never fall, it does at row ", i - 1);
    }
    for (const Index column : indices.view()) {
      if (column < 0 || static_cast<index_t>(column) >= d) {
        invalid(op, "indices must lie in [0, ", d, "), got ", column);
      }
    }
  }
  CsrView<T, Index> view() const { return {data.view(), indices.view(), indptr.view()}; }
  VectorArgument<T> data;
  VectorArgument<Index> indices, indptr;
};

template <class Body>
py::tuple by_index(const char* op, const py::array& indices, Body&& body) {
  if (indices.dtype().kind() == 'i' && indices.itemsize() == 4) {
    return body.template operator()<std::int32_t>();
  }
  if (indices.dtype().kind() == 'i' && indices.itemsize() == 8) {
    return body.template operator()<std::int64_t>();
  }
  invalid(op, "indices must be int32 or int64, got ", dtype_text(indices));
}

void check_centers(const char* op, const MatrixArgument<double>& c) {
  if (c.view().rows < 1) invalid(op, "centers must have at least one row, got none");
}

py::tuple assign_binding(const py::array& data, const py::array& indices, const py::array& indptr,
                         const py::array& centers) {
  constexpr const char* op = "sparse_kmeans.assign";
  return by_dtype(op, "data", data, [&]<class T>() -> py::tuple {
    return by_index(op, indices, [&]<class Index>() -> py::tuple {
      const MatrixArgument<double> c(op, "centers", centers);
      check_centers(op, c);
      const CsrArgument<T, Index> x(op, data, indices, indptr, c.view().cols);
      auto labels = result<std::int32_t>({x.view().rows()});
      auto squared = result<T>({x.view().rows()});
      const std::span label_span(labels.mutable_data(), static_cast<std::size_t>(labels.size()));
      const std::span squared_span(squared.mutable_data(),
                                   static_cast<std::size_t>(squared.size()));
      {
        py::gil_scoped_release release;
        sparse_assign<T, Index>(x.view(), c.view(), label_span, squared_span);
      }
      return py::make_tuple(labels, squared);
    });
  });
}

py::tuple lloyd_step_binding(const py::array& data, const py::array& indices,
                             const py::array& indptr, const py::array& centers,
                             const std::optional<py::array>& sample_weight) {
  constexpr const char* op = "sparse_kmeans.lloyd_step";
  return by_dtype(op, "data", data, [&]<class T>() -> py::tuple {
    return by_index(op, indices, [&]<class Index>() -> py::tuple {
      const MatrixArgument<double> c(op, "centers", centers);
      check_centers(op, c);
      const VectorArgument<T> w(op, "sample_weight", sample_weight);
      const CsrArgument<T, Index> x(op, data, indices, indptr, c.view().cols);
      const index_t n = x.view().rows();
      if (sample_weight && static_cast<index_t>(w.view().size()) != n) {
        invalid(op, "sample_weight must have shape (", n, ",), got (", w.view().size(), ",)");
      }
      auto sums = result<double>({c.view().rows, c.view().cols});
      auto weights = result<double>({c.view().rows});
      auto labels = result<std::int32_t>({n});
      double *sums_to = sums.mutable_data(), *weights_to = weights.mutable_data(), inertia = 0;
      const std::span label_span(labels.mutable_data(), static_cast<std::size_t>(n));
      {
        py::gil_scoped_release release;
        inertia = sparse_lloyd_step<T, Index>(x.view(), c.view(), w.view(), sums_to, weights_to,
                                              label_span);
      }
      return py::make_tuple(sums, weights, inertia, labels);
    });
  });
}

}  // namespace

void bind_sparse_kmeans(py::module_& m) {
  using py::arg;
  auto family = m.def_submodule("sparse_kmeans");
  family.def("assign", &assign_binding, arg("data"), arg("indices"), arg("indptr"), arg("centers"));
  family.def("lloyd_step", &lloyd_step_binding, arg("data"), arg("indices"), arg("indptr"),
             arg("centers"), arg("sample_weight") = py::none());
}

}  // namespace kernelmill
