#include "ops/mixture.hpp"

#include "bindings/common.hpp"

namespace kernelmill {

namespace {

void check_means(const char* op, index_t d, MatrixView<const double> means) {
  if (means.cols != d || means.rows < 1) {
    invalid(op, "means must have shape (k, ", d, ") with k >= 1, got (", means.rows, ", ",
            means.cols, ")");
  }
}

// The parameters of k Gaussians, checked; keeps their memory alive.
class GaussiansArgument {
 public:
  GaussiansArgument(const char* op, index_t d, const py::array& means, const py::array& factors,
                    const py::array& offsets, bool diagonal)
      : means_(op, "means", means), diagonal_(diagonal) {
    check_means(op, d, means_.view());
    const index_t k = means_.view().rows;
    using Shapes = std::vector<std::vector<index_t>>;
    factors_.emplace(op, "precisions_cholesky", factors,
                     diagonal ? Shapes{{k, d}} : Shapes{{k, d, d}, {1, d, d}});
    offsets_.emplace(op, "offsets", offsets, Shapes{{k}});
  }
  GaussiansView view() const {
    return {means_.view(), factors_->data(), factors_->rows(), diagonal_, offsets_->view()};
  }
  bool pooled() const { return !diagonal_ && factors_->rows() < means_.view().rows; }

 private:
  MatrixArgument<double> means_;
  std::optional<DenseArgument> factors_, offsets_;
  bool diagonal_;
};

// Arrays for moments, and where the op writes them.
struct MomentArrays {
  MomentArrays(index_t k, index_t d, Second second)
      : weights(result<double>({k})),
        sums(result<double>({k, d})),
        squares(second == Second::diag ? result<double>({k, d})
                                       : result<double>({second == Second::pooled ? 1 : k, d, d})) {
  }
  MomentsOut out() { return {weights.mutable_data(), sums.mutable_data(), squares.mutable_data()}; }
  py::array_t<double> weights, sums, squares;
};

template <bool Diagonal>
py::array log_joint_binding(const py::array& X, const py::array& means, const py::array& factors,
                            const py::array& offsets) {
  constexpr const char* op = Diagonal ? "mixture.diag_log_joint" : "mixture.full_log_joint";
  return by_dtype(op, "X", X, [&]<class T>() -> py::array {
    const MatrixArgument<T> x(op, "X", X);
    const GaussiansArgument g(op, x.view().cols, means, factors, offsets, Diagonal);
    auto out = result<T>({x.view().rows, g.view().means.rows});
    T* const to = out.mutable_data();
    {
      py::gil_scoped_release release;
      log_joint<T>(x.view(), g.view(), to);
    }
    return out;
  });
}

py::tuple responsibilities_binding(const py::array& joints) {
  constexpr const char* op = "mixture.responsibilities";
  return by_dtype(op, "log_joint", joints, [&]<class T>() -> py::tuple {
    const MatrixArgument<T> l(op, "log_joint", joints);
    if (l.view().cols < 1) invalid(op, "log_joint must have columns, got ", shape_text(joints));
    auto log_prob = result<T>({l.view().rows});
    auto share = result<T>({l.view().rows, l.view().cols});
    T *log_prob_to = log_prob.mutable_data(), *share_to = share.mutable_data();
    {
      py::gil_scoped_release release;
      responsibilities<T>(l.view(), log_prob_to, share_to);
    }
    return py::make_tuple(log_prob, share);
  });
}

py::tuple moments(const char* op, const py::array& X, const py::array& share,
                  const py::array& means, Second second) {
  return by_dtype(op, "X", X, [&]<class T>() -> py::tuple {
    const MatrixArgument<T> x(op, "X", X);
    const MatrixArgument<double> m(op, "means", means);
    const MatrixArgument<double> r(op, "responsibilities", share);
    check_means(op, x.view().cols, m.view());
    const index_t k = m.view().rows;
    if (r.view().rows != x.view().rows || r.view().cols != k) {
      invalid(op, "responsibilities must have shape (", x.view().rows, ", ", k, "), got ",
              shape_text(share));
    }
    MomentArrays arrays(k, x.view().cols, second);
    const MomentsOut out = arrays.out();
    {
      py::gil_scoped_release release;
      mixture_moments<T>(x.view(), r.view(), m.view(), second, out);
    }
    return py::make_tuple(arrays.weights, arrays.sums, arrays.squares);
  });
}

template <bool Diagonal>
py::tuple step_binding(const py::array& X, const py::array& means, const py::array& factors,
                       const py::array& offsets, const std::optional<py::array>& sample_weight) {
  constexpr const char* op = Diagonal ? "mixture.diag_step" : "mixture.full_step";
  return by_dtype(op, "X", X, [&]<class T>() -> py::tuple {
    const MatrixArgument<T> x(op, "X", X);
    const VectorArgument<T> w(op, "sample_weight", sample_weight);
    const GaussiansArgument g(op, x.view().cols, means, factors, offsets, Diagonal);
    if (sample_weight && static_cast<index_t>(w.view().size()) != x.view().rows) {
      invalid(op, "sample_weight must have shape (", x.view().rows, ",), got (", w.view().size(),
              ",)");
    }
    const Second second = Diagonal ? Second::diag : g.pooled() ? Second::pooled : Second::full;
    MomentArrays arrays(g.view().means.rows, x.view().cols, second);
    const MomentsOut out = arrays.out();
    double log_likelihood = 0;
    {
      py::gil_scoped_release release;
      log_likelihood = mixture_step<T>(x.view(), g.view(), w.view(), out);
    }
    return py::make_tuple(arrays.weights, arrays.sums, arrays.squares, log_likelihood);
  });
}

}  // namespace

void bind_mixture(py::module_& m) {
  using py::arg;
  auto family = m.def_submodule("mixture");
  const auto no_weight = arg("sample_weight") = py::none();
  family.def("full_log_joint", &log_joint_binding<false>, arg("X"), arg("means"),
             arg("precisions_cholesky"), arg("offsets"));
  family.def("diag_log_joint", &log_joint_binding<true>, arg("X"), arg("means"),
             arg("precisions_cholesky"), arg("offsets"));
  family.def("responsibilities", &responsibilities_binding, arg("log_joint"));
  family.def(
      "full_moments",
      [](const py::array& X, const py::array& r, const py::array& means, bool pooled) {
        return moments("mixture.full_moments", X, r, means, pooled ? Second::pooled : Second::full);
      },
      arg("X"), arg("responsibilities"), arg("means"), arg("pooled") = false);
  family.def(
      "diag_moments",
      [](const py::array& X, const py::array& r, const py::array& means) {
        return moments("mixture.diag_moments", X, r, means, Second::diag);
      },
      arg("X"), arg("responsibilities"), arg("means"));
  family.def("full_step", &step_binding<false>, arg("X"), arg("means"), arg("precisions_cholesky"),
             arg("offsets"), no_weight);
  family.def("diag_step", &step_binding<true>, arg("X"), arg("means"), arg("precisions_cholesky"),
             arg("offsets"), no_weight);
}

}  // namespace kernelmill
