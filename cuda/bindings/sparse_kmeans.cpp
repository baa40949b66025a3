#include "ops/sparse_kmeans.cuh"

#include "bindings/common.hpp"

namespace kernelmill {

namespace {

// The arrays of a CSR matrix, kept alive, and the centers as a dense matrix.
template <class T, class Index>
struct CsrArgument {
  CsrArgument(const char* op, const py::object& data_, const py::object& indices_,
              const py::object& indptr_, const py::object& centers_)
      : data(op, "data", data_),
        indices(op, "indices", indices_),
        indptr(op, "indptr", indptr_),
        given(op, "centers", centers_),
        centers(contiguous(op, "centers", given.array())) {
    indices.expect(op, "indices", data.size());
    if (indptr.size() < 1) invalid(op, "indptr must have an entry per row and one, got none");
    if (given.rows() < 1) {
      invalid(op, "centers must have at least one row, got ", given.array().text());
    }
  }
  CsrRows<T, Index> view() const {
    return {data.data(), indices.data(), indptr.data(), indptr.size() - 1, data.size()};
  }
  index_t k() const { return given.rows(); }
  index_t d() const { return given.cols(); }
  const double* center() const { return static_cast<const double*>(centers.data); }

  VectorArgument<T> data;
  VectorArgument<Index> indices, indptr;
  MatrixArgument<double> given;
  DeviceArray centers;
};

// Calls body.operator()<T, Index>() by the dtypes of data and indices.
template <class Body>
py::tuple by_dtypes(const char* op, const py::object& data, const py::object& indices,
                    Body&& body) {
  return by_dtype(op, "data", data, [&]<class T>() -> py::tuple {
    const DeviceArray columns(op, "indices", indices);
    if (columns.dtype == "int32") return body.template operator()<T, std::int32_t>();
    if (columns.dtype == "int64") return body.template operator()<T, std::int64_t>();
    invalid(op, "indices must be int32 or int64, got ", columns.dtype);
  });
}

py::tuple assign_binding(const py::object& data, const py::object& indices,
                         const py::object& indptr, const py::object& centers) {
  constexpr const char* op = "sparse_kmeans.assign";
  return by_dtypes(op, data, indices, [&]<class T, class Index>() -> py::tuple {
    const CsrArgument<T, Index> x(op, data, indices, indptr, centers);
    const CsrRows<T, Index> rows = x.view();
    const Result<std::int32_t> labels({rows.n});
    const Result<T> squared({rows.n});
    const Call call = current(op);
    const Temporary<SparseSpace> space(call, rows.n, rows.stored, x.d(), x.k(), false);
    {
      py::gil_scoped_release release;
      check_csr(call, rows, x.d(), *space);
      sparse_assign(call, rows, x.center(), x.k(), x.d(), labels.data, squared.data, *space);
    }
    return py::make_tuple(labels.array, squared.array);
  });
}

py::tuple lloyd_step_binding(const py::object& data, const py::object& indices,
                             const py::object& indptr, const py::object& centers,
                             const py::object& sample_weight) {
  constexpr const char* op = "sparse_kmeans.lloyd_step";
  return by_dtypes(op, data, indices, [&]<class T, class Index>() -> py::tuple {
    const CsrArgument<T, Index> x(op, data, indices, indptr, centers);
    const CsrRows<T, Index> rows = x.view();
    const VectorArgument<T> w(op, "sample_weight", sample_weight);
    w.expect(op, "sample_weight", rows.n);
    const Result<double> sums({x.k(), x.d()}), weights({x.k()});
    const Result<std::int32_t> labels({rows.n});
    const Call call = current(op);
    const Temporary<SparseSpace> space(call, rows.n, rows.stored, x.d(), x.k(), true);
    double inertia = 0;
    {
      py::gil_scoped_release release;
      check_csr(call, rows, x.d(), *space);
      inertia = sparse_lloyd_step(call, rows, x.center(), x.k(), x.d(), w.data(), sums.data,
                                  weights.data, labels.data, *space);
    }
    return py::make_tuple(sums.array, weights.array, inertia, labels.array);
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
