#include "ops/kmeans.cuh"

#include "bindings/common.hpp"

namespace kernelmill {

namespace {

// Checks that centers and weights fit X.
template <class T>
void check_shapes(const char* op, const MatrixArgument<T>& x, const MatrixArgument<double>& centers,
                  const VectorArgument<T>& weight) {
  if (centers.cols() != x.cols() || centers.rows() < 1) {
    invalid(op, "centers must be float64 of shape (k, ", x.cols(), ") with k >= 1, got ",
            centers.array().text());
  }
  weight.expect(op, "sample_weight", x.rows());
}

// A dense copy of centers, to be updated.
py::object dense_copy(const py::object& array) { return array.attr("copy")("C"); }

double* pointer(const py::object& array) {
  return reinterpret_cast<double*>(array.attr("data").attr("ptr").cast<std::uintptr_t>());
}

py::tuple assign_binding(const py::object& X, const py::object& centers) {
  constexpr const char* op = "kmeans.assign";
  return by_dtype(op, "X", X, [&]<class T>() -> py::tuple {
    const MatrixArgument<T> x(op, "X", X);
    const MatrixArgument<double> c(op, "centers", centers);
    check_shapes(op, x, c, VectorArgument<T>(op, "sample_weight", py::none()));
    const Result<std::int32_t> labels({x.rows()});
    const Result<T> squared({x.rows()});
    const Temporary<PreparedCenters<T>> space(x.cols(), c.rows());
    const Call call = current(op);
    {
      py::gil_scoped_release release;
      assign<T>(call, x.view(), c.view(), nullptr, {labels.data, nullptr, squared.data, nullptr},
                *space);
    }
    return py::make_tuple(labels.array, squared.array);
  });
}

py::tuple lloyd_step_binding(const py::object& X, const py::object& centers,
                             const py::object& sample_weight) {
  constexpr const char* op = "kmeans.lloyd_step";
  return by_dtype(op, "X", X, [&]<class T>() -> py::tuple {
    const MatrixArgument<T> x(op, "X", X);
    const MatrixArgument<double> c(op, "centers", centers);
    const VectorArgument<T> w(op, "sample_weight", sample_weight);
    check_shapes(op, x, c, w);
    const Result<double> sums({c.rows(), c.cols()}), weights({c.rows()});
    const Call call = current(op);
    const Temporary<LloydSpace<T>> space(call, x.rows(), x.cols(), c.rows());
    double inertia = 0;
    {
      py::gil_scoped_release release;
      inertia = lloyd_step<T>(call, x.view(), c.view(), w.data(), sums.data, weights.data, *space);
    }
    return py::make_tuple(sums.array, weights.array, inertia);
  });
}

py::tuple lloyd_binding(const py::object& X, const py::object& centers, const py::object& labels,
                        const py::object& bounds, const py::object& sample_weight, index_t n_steps,
                        double tol) {
  constexpr const char* op = "kmeans.lloyd";
  return by_dtype(op, "X", X, [&]<class T>() -> py::tuple {
    const MatrixArgument<T> x(op, "X", X);
    const MatrixArgument<double> c(op, "centers", centers);
    const VectorArgument<T> w(op, "sample_weight", sample_weight);
    check_shapes(op, x, c, w);
    const index_t n = x.rows(), k = c.rows();
    auto* const label = updated<std::int32_t>(op, "labels", labels, {n});
    const DeviceArray given(op, "bounds", bounds);
    const bool bounded = given.shape.empty() || given.shape[0] > 0;
    T* const bound = updated<T>(op, "bounds", bounds, {bounded ? n : 0, 2});
    const py::object moved = dense_copy(centers), weights = cupy().attr("zeros")(k);
    double *center = pointer(moved), *weight = pointer(weights);
    const Call call = current(op);
    const Temporary<LloydSpace<T>> space(call, n, x.cols(), k);
    LloydSlice slice{};
    {
      py::gil_scoped_release release;
      slice = lloyd<T>(call, x.view(), center, weight, k, label, bounded ? bound : nullptr,
                       w.data(), n_steps, tol, *space);
    }
    return py::make_tuple(moved, weights, slice.steps, slice.shift, slice.status);
  });
}

py::tuple restarts_binding(const py::object& X, const py::object& starts,
                           const py::object& sample_weight, index_t max_steps, double tol) {
  constexpr const char* op = "kmeans.restarts";
  return by_dtype(op, "X", X, [&]<class T>() -> py::tuple {
    const MatrixArgument<T> x(op, "X", X);
    const MatrixArgument<std::int64_t> given(op, "starts", starts);
    const DeviceArray rows = contiguous(op, "starts", given.array());
    const VectorArgument<T> w(op, "sample_weight", sample_weight);
    const index_t n = x.rows(), d = x.cols(), r = given.rows(), k = given.cols();
    if (k < 1) {
      invalid(op, "starts must have shape (r, k) with k >= 1, got ", given.array().text());
    }
    w.expect(op, "sample_weight", n);
    const Result<double> centers({r, k, d}), weights({k});
    const Result<std::int32_t> labels({r, n});
    const Result<T> squared({r, n});
    const Result<std::int64_t> steps({r});
    const Result<std::int32_t> status({r});
    std::vector<std::int64_t> taken(static_cast<std::size_t>(r));
    std::vector<std::int32_t> ended(static_cast<std::size_t>(r));
    const Call call = current(op);
    const Temporary<LloydSpace<T>> space(call, n, d, k);
    const auto* const first = static_cast<const std::int64_t*>(rows.data);
    if (r > 0) {
      py::gil_scoped_release release;
      start_runs<T>(call, x.view(), first, r, k, centers.data, labels.data, *space);
    }
    for (index_t i = 0; i < r; ++i) {
      if (PyErr_CheckSignals() != 0) throw py::error_already_set();
      py::gil_scoped_release release;
      const auto at = static_cast<std::size_t>(i);
      finish_run<T>(call, x.view(), centers.data + i * k * d, weights.data, k, labels.data + i * n,
                    squared.data + i * n, w.data(), max_steps, tol, taken[at], ended[at], *space);
    }
    upload(call, steps.data, taken.data(), r);
    upload(call, status.data, ended.data(), r);
    return py::make_tuple(centers.array, labels.array, squared.array, steps.array, status.array);
  });
}

py::tuple plus_plus_binding(const py::object& X, const py::object& uniforms,
                            const py::object& sample_weight) {
  constexpr const char* op = "kmeans.plus_plus";
  return by_dtype(op, "X", X, [&]<class T>() -> py::tuple {
    const MatrixArgument<T> x(op, "X", X);
    const DeviceArray given(op, "uniforms", uniforms);
    const bool several = given.shape.size() == 3;
    if (given.dtype != dtype_name<double>() || (given.shape.size() != 2 && !several) ||
        given.shape.back() < 1) {
      invalid(op, "uniforms must be float64 of shape (k, t) or (r, k, t) with t >= 1, got ",
              given.text());
    }
    const DeviceArray u = contiguous(op, "uniforms", given);
    const VectorArgument<T> w(op, "sample_weight", sample_weight);
    const index_t n = x.rows(), t = given.shape.back();
    const index_t r = several ? given.shape[0] : 1, k = given.shape[several ? 1 : 0];
    if (n < 1) invalid(op, "X must have rows, got ", x.array().text());
    w.expect(op, "sample_weight", n);
    using Shape = std::vector<index_t>;
    const Result<std::int64_t> indices(several ? Shape{r, k} : Shape{k});
    const Result<T> squared(several ? Shape{r, n} : Shape{n});
    const Temporary<SeedingSpace<T>> space(n, t);
    const Call call = current(op);
    {
      py::gil_scoped_release release;
      for (index_t i = 0; i < r; ++i) {
        plus_plus<T>(call, x.view(), static_cast<const double*>(u.data) + i * k * t, k, t, w.data(),
                     indices.data + i * k, squared.data + i * n, *space);
      }
    }
    return py::make_tuple(indices.array, squared.array);
  });
}

py::tuple minibatch_step_binding(const py::object& X, const py::object& rows,
                                 const py::object& centers, const py::object& weight_sums,
                                 const py::object& sample_weight) {
  constexpr const char* op = "kmeans.minibatch_step";
  return by_dtype(op, "X", X, [&]<class T>() -> py::tuple {
    const MatrixArgument<T> x(op, "X", X);
    const MatrixArgument<double> c(op, "centers", centers);
    const VectorArgument<T> w(op, "sample_weight", sample_weight);
    const VectorArgument<std::int64_t> batch(op, "rows", rows);
    const VectorArgument<double> seen(op, "weight_sums", weight_sums);
    check_shapes(op, x, c, w);
    seen.expect(op, "weight_sums", c.rows());
    const py::object moved = dense_copy(centers), total = dense_copy(weight_sums);
    double *center = pointer(moved), *sums = pointer(total), inertia = 0;
    DeviceRows<T> chosen = x.view();
    chosen.n = batch.size();
    chosen.order = batch.data();
    const Call call = current(op);
    const Temporary<LloydSpace<T>> space(call, chosen.n, chosen.d, c.rows());
    {
      py::gil_scoped_release release;
      inertia = minibatch_step<T>(call, chosen, x.rows(), center, sums, c.rows(), w.data(), *space);
    }
    return py::make_tuple(moved, total, inertia);
  });
}

}  // namespace

void bind_kmeans(py::module_& m) {
  using py::arg;
  auto family = m.def_submodule("kmeans");
  const auto no_weight = arg("sample_weight") = py::none();
  family.def("assign", &assign_binding, arg("X"), arg("centers"));
  family.def("lloyd_step", &lloyd_step_binding, arg("X"), arg("centers"), no_weight);
  family.def("lloyd", &lloyd_binding, arg("X"), arg("centers"), arg("labels"), arg("bounds"),
             no_weight, arg("n_steps") = 1, arg("tol") = 0.0);
  family.def("restarts", &restarts_binding, arg("X"), arg("starts"), no_weight,
             arg("max_steps") = 300, arg("tol") = 0.0);
  family.def("plus_plus", &plus_plus_binding, arg("X"), arg("uniforms"), no_weight);
  family.def("minibatch_step", &minibatch_step_binding, arg("X"), arg("rows"), arg("centers"),
             arg("weight_sums"), no_weight);
}

}  // namespace kernelmill
