#include "ops/mixture.cuh"

#include "bindings/common.hpp"

namespace kernelmill {

namespace {

std::string text(const std::vector<index_t>& shape) {
  std::string text = "(";
  for (std::size_t i = 0; i < shape.size(); ++i) {
    text += (i > 0 ? ", " : "") + std::to_string(shape[i]);
  }
  return text + (shape.size() == 1 ? ",)" : ")");
}

// A dense argument of a known dtype and of one of two shapes.
template <class T = double>
DeviceArray fixed(const char* op, const char* name, const py::object& array,
                  const std::vector<index_t>& shape, const std::vector<index_t>& or_shape) {
  const DeviceArray given(op, name, array);
  if (given.dtype != dtype_name<T>() || (given.shape != shape && given.shape != or_shape)) {
    const std::string other = shape == or_shape ? "" : " or " + text(or_shape);
    invalid(op, name, " must be ", dtype_name<T>(), " of shape ", text(shape), other, ", got ",
            given.text());
  }
  return contiguous(op, name, given);
}

template <class T = double>
DeviceArray fixed(const char* op, const char* name, const py::object& array,
                  const std::vector<index_t>& shape) {
  return fixed<T>(op, name, array, shape, shape);
}

const double* numbers(const DeviceArray& array) { return static_cast<const double*>(array.data); }

DeviceArray means_of(const char* op, const py::object& means, index_t d) {
  const DeviceArray given(op, "means", means);
  if (given.dtype != "float64" || given.shape.size() != 2 || given.shape[1] != d ||
      given.shape[0] < 1) {
    invalid(op, "means must be float64 of shape (k, ", d, ") with k >= 1, got ", given.text());
  }
  return contiguous(op, "means", given);
}

// The parameters, checked, and what keeps them alive.
struct Parameters {
  Parameters(const char* op, index_t d, const py::object& means_, const py::object& precisions,
             const py::object& offsets_, bool diag)
      : means(means_of(op, means_, d)) {
    const index_t k = means.shape[0];
    const char* const name = "precisions_cholesky";
    factors = diag ? fixed(op, name, precisions, {k, d})
                   : fixed(op, name, precisions, {k, d, d}, {1, d, d});
    offsets = fixed(op, "offsets", offsets_, {k});
    const bool tied = !diag && factors.shape[0] == 1 && k > 1;
    mixture = {numbers(means),
               numbers(factors),
               numbers(offsets),
               k,
               d,
               diag   ? Covariance::diag
               : tied ? Covariance::tied
                      : Covariance::full};
  }
  DeviceArray means, factors, offsets;
  Mixture mixture;
};

// Results of the moments: (k), (k, d), and second moments by the kind of covariance.
struct MomentResults {
  MomentResults(index_t k, index_t d, Covariance covariance)
      : weights({k}),
        sums({k, d}),
        squares(covariance == Covariance::diag
                    ? std::vector<index_t>{k, d}
                    : std::vector<index_t>{covariance == Covariance::tied ? 1 : k, d, d}) {}
  Moments view() const { return {weights.data, sums.data, squares.data}; }
  Result<double> weights, sums, squares;
};

py::object log_joint_binding(const char* op, bool diag, const py::object& X,
                             const py::object& means, const py::object& precisions,
                             const py::object& offsets) {
  return by_dtype(op, "X", X, [&]<class T>() -> py::object {
    const MatrixArgument<T> x(op, "X", X);
    const Parameters given(op, x.cols(), means, precisions, offsets, diag);
    const Mixture& m = given.mixture;
    const Result<T> out({x.rows(), m.k});
    const Temporary<JointSpace<T>> space(x.rows(), m.d, m.k, m.covariance);
    const Call call = current(op);
    {
      py::gil_scoped_release release;
      log_joint<T>(call, x.view(), m, out.data, *space);
    }
    return out.array;
  });
}

py::tuple responsibilities_binding(const py::object& log_joint) {
  constexpr const char* op = "mixture.responsibilities";
  return by_dtype(op, "log_joint", log_joint, [&]<class T>() -> py::tuple {
    const MatrixArgument<T> given(op, "log_joint", log_joint);
    const index_t n = given.rows(), k = given.cols();
    if (k < 1) invalid(op, "log_joint must have columns, got ", given.array().text());
    const DeviceArray joint = contiguous(op, "log_joint", given.array());
    const Result<T> log_prob({n}), share({n, k});
    const Call call = current(op);
    {
      py::gil_scoped_release release;
      responsibilities<T>(call, static_cast<const T*>(joint.data), n, k, log_prob.data, share.data);
    }
    return py::make_tuple(log_prob.array, share.array);
  });
}

py::tuple moments_binding(const char* op, Covariance covariance, const py::object& X,
                          const py::object& responsibilities, const py::object& means) {
  return by_dtype(op, "X", X, [&]<class T>() -> py::tuple {
    const MatrixArgument<T> x(op, "X", X);
    const index_t n = x.rows(), d = x.cols();
    const DeviceArray m = means_of(op, means, d);
    const index_t k = m.shape[0];
    const DeviceArray share = fixed(op, "responsibilities", responsibilities, {n, k});
    const MomentResults to(k, d, covariance);
    const Temporary<MomentSpace> space(n, d, k, covariance != Covariance::diag,
                                       covariance == Covariance::tied);
    const Call call = current(op);
    {
      py::gil_scoped_release release;
      moments<T>(call, x.view(), numbers(share), numbers(m), k, covariance, to.view(), *space);
    }
    return py::make_tuple(to.weights.array, to.sums.array, to.squares.array);
  });
}

py::tuple step_binding(const char* op, bool diag, const py::object& X, const py::object& means,
                       const py::object& precisions, const py::object& offsets,
                       const py::object& sample_weight) {
  return by_dtype(op, "X", X, [&]<class T>() -> py::tuple {
    const MatrixArgument<T> x(op, "X", X);
    const Parameters given(op, x.cols(), means, precisions, offsets, diag);
    const Mixture& m = given.mixture;
    const VectorArgument<T> w(op, "sample_weight", sample_weight);
    w.expect(op, "sample_weight", x.rows());
    const MomentResults to(m.k, m.d, m.covariance);
    const Temporary<StepSpace<T>> space(x.rows(), m.d, m.k, m.covariance);
    const Call call = current(op);
    double log_likelihood = 0;
    {
      py::gil_scoped_release release;
      log_likelihood = step<T>(call, x.view(), m, w.data(), to.view(), *space);
    }
    return py::make_tuple(to.weights.array, to.sums.array, to.squares.array, log_likelihood);
  });
}

}  // namespace

void bind_mixture(py::module_& m) {
  using py::arg, py::object;
  auto family = m.def_submodule("mixture");
  const auto no_weight = arg("sample_weight") = py::none();
  family.def(
      "full_log_joint",
      [](const object& X, const object& means, const object& P, const object& offsets) {
        return log_joint_binding("mixture.full_log_joint", false, X, means, P, offsets);
      },
      arg("X"), arg("means"), arg("precisions_cholesky"), arg("offsets"));
  family.def(
      "diag_log_joint",
      [](const object& X, const object& means, const object& P, const object& offsets) {
        return log_joint_binding("mixture.diag_log_joint", true, X, means, P, offsets);
      },
      arg("X"), arg("means"), arg("precisions_cholesky"), arg("offsets"));
  family.def("responsibilities", &responsibilities_binding, arg("log_joint"));
  family.def(
      "full_moments",
      [](const object& X, const object& share, const object& means, bool pooled) {
        return moments_binding("mixture.full_moments", pooled ? Covariance::tied : Covariance::full,
                               X, share, means);
      },
      arg("X"), arg("responsibilities"), arg("means"), arg("pooled") = false);
  family.def(
      "diag_moments",
      [](const object& X, const object& share, const object& means) {
        return moments_binding("mixture.diag_moments", Covariance::diag, X, share, means);
      },
      arg("X"), arg("responsibilities"), arg("means"));
  family.def(
      "full_step",
      [](const object& X, const object& means, const object& P, const object& offsets,
         const object& weight) {
        return step_binding("mixture.full_step", false, X, means, P, offsets, weight);
      },
      arg("X"), arg("means"), arg("precisions_cholesky"), arg("offsets"), no_weight);
  family.def(
      "diag_step",
      [](const object& X, const object& means, const object& P, const object& offsets,
         const object& weight) {
        return step_binding("mixture.diag_step", true, X, means, P, offsets, weight);
      },
      arg("X"), arg("means"), arg("precisions_cholesky"), arg("offsets"), no_weight);
}

}  // namespace kernelmill
