#include "ops/mixture.cuh"

#include "bindings/device.hpp"

namespace kernelmill {

// means, precisions_cholesky and offsets; factors of two axes are those of diagonal covariances.
template <>
struct Read<Mixture> {
  static std::string codes() { return "dddddd"; }
  static Mixture from(Reader& reader) {
    using Dense = Read<DenseView<double>>;
    const DenseView<double> means = Dense::from(reader), factors = Dense::from(reader);
    const index_t k = means.shape[0];
    const Covariance covariance = factors.ndim == 2                ? Covariance::diag
                                  : factors.shape[0] == 1 && k > 1 ? Covariance::tied
                                                                   : Covariance::full;
    return {means.data, factors.data, Dense::from(reader).data, k, means.shape[1], covariance};
  }
};

template <>
struct Read<Moments> {
  static std::string codes() { return "ododod"; }
  static Moments from(Reader& reader) {
    using To = Read<double*>;
    return {To::from(reader), To::from(reader), To::from(reader)};  // in this order
  }
};

namespace {

template <class T>
void joint_of(const Call& call, Scratch* scratch, DeviceRows<T> x, const Mixture& m, T* out) {
  log_joint<T>(call, x, m, out, scratch->make<JointSpace<T>>(x.n, m.d, m.k, m.covariance));
}

template <class T>
void shares_of(const Call& call, DenseView<T> joint, T* log_prob, T* share) {
  responsibilities<T>(call, joint.data, joint.shape[0], joint.shape[1], log_prob, share);
}

template <class T>
void moments_of(const Call& call, Scratch* scratch, DeviceRows<T> x, const double* share,
                DenseView<double> means, Covariance covariance, const Moments& to) {
  const index_t k = means.shape[0];
  const bool squares = covariance != Covariance::diag, pooled = covariance == Covariance::tied;
  moments<T>(call, x, share, means.data, k, covariance, to,
             scratch->make<MomentSpace>(x.n, x.d, k, squares, pooled));
}

template <class T>
void full_moments(const Call& call, Scratch* scratch, DeviceRows<T> x, const double* share,
                  DenseView<double> means, bool pooled, const Moments& to) {
  const Covariance covariance = pooled ? Covariance::tied : Covariance::full;
  moments_of<T>(call, scratch, x, share, means, covariance, to);
}

template <class T>
void diag_moments(const Call& call, Scratch* scratch, DeviceRows<T> x, const double* share,
                  DenseView<double> means, const Moments& to) {
  moments_of<T>(call, scratch, x, share, means, Covariance::diag, to);
}

template <class T>
double step_of(const Call& call, Scratch* scratch, DeviceRows<T> x, const Mixture& m,
               const T* weight, const Moments& to) {
  return step<T>(call, x, m, weight, to, scratch->make<StepSpace<T>>(x.n, m.d, m.k, m.covariance));
}

}  // namespace

void bind_mixture(Family family) {
  family.op<joint_of<float>, joint_of<double>>("full_log_joint");
  family.op<joint_of<float>, joint_of<double>>("diag_log_joint");
  family.op<shares_of<float>, shares_of<double>>("responsibilities");
  family.op<full_moments<float>, full_moments<double>>("full_moments");
  family.op<diag_moments<float>, diag_moments<double>>("diag_moments");
  family.op<step_of<float>, step_of<double>>("full_step");
  family.op<step_of<float>, step_of<double>>("diag_step");
}

}  // namespace kernelmill
