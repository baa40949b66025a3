#include "ops/kmeans.hpp"

#include "bindings/common.hpp"

namespace kernelmill {

namespace {

template <class T>
void check_shapes(const char* op, MatrixView<const T> x, MatrixView<const double> centers,
                  std::span<const T> weight, bool weighted) {
  if (centers.cols != x.cols || centers.rows < 1) {
    invalid(op, "centers must have shape (k, ", x.cols, ") with k >= 1, got (", centers.rows, ", ",
            centers.cols, ")");
  }
  if (weighted && static_cast<index_t>(weight.size()) != x.rows) {
    invalid(op, "sample_weight must have shape (", x.rows, ",), got (", weight.size(), ",)");
  }
}

// A dense float64 copy of centers, to be updated.
py::array_t<double> dense_copy(MatrixView<const double> c) {
  py::array_t<double> copy = result<double>({c.rows, c.cols});
  double* to = copy.mutable_data();
  for (index_t j = 0; j < c.rows; ++j) {
    for (index_t p = 0; p < c.cols; ++p) *to++ = c(j, p);
  }
  return copy;
}

py::tuple assign_binding(const py::array& X, const py::array& centers) {
  constexpr const char* op = "kmeans.assign";
  return by_dtype(op, "X", X, [&]<class T>() -> py::tuple {
    const MatrixArgument<T> x(op, "X", X);
    const MatrixArgument<double> c(op, "centers", centers);
    check_shapes<T>(op, x.view(), c.view(), {}, false);
    auto labels = result<std::int32_t>({x.view().rows});
    auto squared = result<T>({x.view().rows});
    const std::span label_span(labels.mutable_data(), static_cast<std::size_t>(labels.size()));
    const std::span squared_span(squared.mutable_data(), static_cast<std::size_t>(squared.size()));
    {
      py::gil_scoped_release release;
      assign<T>(x.view(), c.view(), label_span, squared_span);
    }
    return py::make_tuple(labels, squared);
  });
}

py::tuple lloyd_step_binding(const py::array& X, const py::array& centers,
                             const std::optional<py::array>& sample_weight) {
  constexpr const char* op = "kmeans.lloyd_step";
  return by_dtype(op, "X", X, [&]<class T>() -> py::tuple {
    const MatrixArgument<T> x(op, "X", X);
    const MatrixArgument<double> c(op, "centers", centers);
    const VectorArgument<T> w(op, "sample_weight", sample_weight);
    check_shapes<T>(op, x.view(), c.view(), w.view(), sample_weight.has_value());
    auto sums = result<double>({c.view().rows, c.view().cols});
    auto weights = result<double>({c.view().rows});
    double *sums_to = sums.mutable_data(), *weights_to = weights.mutable_data(), inertia = 0;
    {
      py::gil_scoped_release release;
      inertia = lloyd_step<T>(x.view(), c.view(), w.view(), sums_to, weights_to);
    }
    return py::make_tuple(sums, weights, inertia);
  });
}

py::tuple lloyd_binding(const py::array& X, const py::array& centers, py::array labels,
                        py::array bounds, const std::optional<py::array>& sample_weight,
                        index_t n_steps, double tol) {
  constexpr const char* op = "kmeans.lloyd";
  return by_dtype(op, "X", X, [&]<class T>() -> py::tuple {
    const MatrixArgument<T> x(op, "X", X);
    const MatrixArgument<double> c(op, "centers", centers);
    const VectorArgument<T> w(op, "sample_weight", sample_weight);
    check_shapes<T>(op, x.view(), c.view(), w.view(), sample_weight.has_value());
    const index_t n = x.view().rows, k = c.view().rows;
    std::int32_t* const label = updated<std::int32_t>(op, "labels", labels, {n});
    const bool bounded = bounds.ndim() < 1 || bounds.shape(0) > 0;
    T* const bound = updated<T>(op, "bounds", bounds, {bounded ? n : 0, 2});
    py::array_t<double> moved = dense_copy(c.view());
    auto weights = result<double>({k});
    double *center = moved.mutable_data(), *weight = weights.mutable_data();
    std::fill_n(weight, k, 0.0);
    for (index_t i = 0; i < n; ++i) {
      if (label[i] < -1 || label[i] >= k) {
        invalid(op, "labels must lie in [-1, ", k, "), got ", label[i], " at row ", i);
      }
    }
    LloydSlice slice;
    {
      py::gil_scoped_release release;
      slice = lloyd<T>(x.view(), center, weight, k, label, bounded ? bound : nullptr, w.view(),
                       n_steps, tol);
    }
    return py::make_tuple(moved, weights, slice.steps, slice.shift, static_cast<int>(slice.status));
  });
}

py::tuple restarts_binding(const py::array& X, const py::array& starts,
                           const std::optional<py::array>& sample_weight, index_t max_steps,
                           double tol) {
  constexpr const char* op = "kmeans.restarts";
  return by_dtype(op, "X", X, [&]<class T>() -> py::tuple {
    const MatrixArgument<T> x(op, "X", X);
    const MatrixArgument<std::int64_t> rows(op, "starts", starts);
    const VectorArgument<T> w(op, "sample_weight", sample_weight);
    const index_t n = x.view().rows, r = rows.view().rows, k = rows.view().cols;
    if (k < 1) invalid(op, "starts must have shape (r, k) with k >= 1, got ", shape_text(starts));
    if (sample_weight && static_cast<index_t>(w.view().size()) != n) {
      invalid(op, "sample_weight must have shape (", n, ",), got (", w.view().size(), ",)");
    }
    for (index_t i = 0; i < r; ++i) {
      for (index_t j = 0; j < k; ++j) {
        const std::int64_t row = rows.view()(i, j);
        if (row < 0 || row >= n) {
          throw py::index_error(std::string(op) + ": starts must lie in [0, " + std::to_string(n) +
                                "), got " + std::to_string(row));
        }
      }
    }
    auto centers = result<double>({r, k, x.view().cols});
    auto labels = result<std::int32_t>({r, n});
    auto squared = result<T>({r, n});
    auto steps = result<std::int64_t>({r});
    auto status = result<std::int32_t>({r});
    double* const center = centers.mutable_data();
    std::int32_t* const label = labels.mutable_data();
    T* const distance = squared.mutable_data();
    std::int64_t* const taken = steps.mutable_data();
    std::int32_t* const ended = status.mutable_data();
    {
      py::gil_scoped_release release;
      restarts<T>(x.view(), rows.view(), w.view(), max_steps, tol, center, label, distance, taken,
                  ended);
    }
    return py::make_tuple(centers, labels, squared, steps, status);
  });
}

py::tuple plus_plus_binding(const py::array& X, const py::array& uniforms,
                            const std::optional<py::array>& sample_weight) {
  constexpr const char* op = "kmeans.plus_plus";
  return by_dtype(op, "X", X, [&]<class T>() -> py::tuple {
    const MatrixArgument<T> x(op, "X", X);
    const bool several = uniforms.ndim() == 3;
    if ((uniforms.ndim() != 2 && !several) || uniforms.shape(uniforms.ndim() - 1) < 1) {
      invalid(op, "uniforms must have shape (k, t) or (r, k, t) with t >= 1, got ",
              shape_text(uniforms));
    }
    const index_t r = several ? uniforms.shape(0) : 1;
    py::array flat = uniforms;  // (r * k, t)
    if (several) flat = flat.reshape({r * uniforms.shape(1), index_t{uniforms.shape(2)}});
    const MatrixArgument<double> u(op, "uniforms", flat);
    const VectorArgument<T> w(op, "sample_weight", sample_weight);
    if (x.view().rows < 1) invalid(op, "X must have rows, got shape ", shape_text(X));
    if (sample_weight && static_cast<index_t>(w.view().size()) != x.view().rows) {
      invalid(op, "sample_weight must have shape (", x.view().rows, ",), got (", w.view().size(),
              ",)");
    }
    const index_t n = x.view().rows, k = uniforms.shape(several ? 1 : 0);
    auto indices = several ? result<std::int64_t>({r, k}) : result<std::int64_t>({k});
    auto squared = several ? result<T>({r, n}) : result<T>({n});
    std::int64_t* const index = indices.mutable_data();
    T* const distance = squared.mutable_data();
    {
      py::gil_scoped_release release;
      plus_plus<T>(x.view(), u.view(), r, w.view(), index, distance);
    }
    return py::make_tuple(indices, squared);
  });
}

py::tuple minibatch_step_binding(const py::array& X, const py::array& rows,
                                 const py::array& centers, const py::array& weight_sums,
                                 const std::optional<py::array>& sample_weight) {
  constexpr const char* op = "kmeans.minibatch_step";
  return by_dtype(op, "X", X, [&]<class T>() -> py::tuple {
    const MatrixArgument<T> x(op, "X", X);
    const MatrixArgument<double> c(op, "centers", centers);
    const VectorArgument<T> w(op, "sample_weight", sample_weight);
    const VectorArgument<std::int64_t> batch(op, "rows", rows);
    const VectorArgument<double> seen(op, "weight_sums", weight_sums);
    check_shapes<T>(op, x.view(), c.view(), w.view(), sample_weight.has_value());
    const index_t k = c.view().rows, n = x.view().rows;
    if (static_cast<index_t>(seen.view().size()) != k) {
      invalid(op, "weight_sums must have shape (", k, ",), got ", shape_text(weight_sums));
    }
    for (std::int64_t row : batch.view()) {
      if (row < 0 || row >= n) {
        throw py::index_error(std::string(op) + ": rows must lie in [0, " + std::to_string(n) +
                              "), got " + std::to_string(row));
      }
    }
    py::array_t<double> moved = dense_copy(c.view());
    auto total = result<double>({k});
    double *center = moved.mutable_data(), *sums = total.mutable_data(), inertia = 0;
    std::copy(seen.view().begin(), seen.view().end(), sums);
    {
      py::gil_scoped_release release;
      inertia = minibatch_step<T>(x.view(), batch.view(), center, sums, k, w.view());
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
