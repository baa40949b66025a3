#include "ops/mixture.hpp"

#include "bindings/family.hpp"

namespace kernelmill {

// means, precisions_cholesky and offsets; factors of two axes are those of diagonal covariances.
template <>
struct Read<GaussiansView> {
  static std::string codes() { return "mddddd"; }
  static GaussiansView from(Reader& reader) {
    const auto means = Read<MatrixView<const double>>::from(reader);
    const auto factors = Read<DenseView<double>>::from(reader);
    return {means, factors.data, factors.shape[0], factors.ndim == 2,
            Read<std::span<const double>>::from(reader)};
  }
};

template <>
struct Read<MomentsOut> {
  static std::string codes() { return "ododod"; }
  static MomentsOut from(Reader& reader) {
    using To = Read<double*>;
    return {To::from(reader), To::from(reader), To::from(reader)};  // in this order
  }
};

namespace {

using Doubles = MatrixView<const double>;

template <class T>
void full_moments(MatrixView<const T> x, Doubles share, Doubles means, bool pooled,
                  const MomentsOut& out) {
  mixture_moments<T>(x, share, means, pooled ? Second::pooled : Second::full, out);
}

template <class T>
void diag_moments(MatrixView<const T> x, Doubles share, Doubles means, const MomentsOut& out) {
  mixture_moments<T>(x, share, means, Second::diag, out);
}

}  // namespace

void bind_mixture(Family family) {
  family.op<log_joint<float>, log_joint<double>>("full_log_joint");
  family.op<log_joint<float>, log_joint<double>>("diag_log_joint");
  family.op<responsibilities<float>, responsibilities<double>>("responsibilities");
  family.op<full_moments<float>, full_moments<double>>("full_moments");
  family.op<diag_moments<float>, diag_moments<double>>("diag_moments");
  family.op<mixture_step<float>, mixture_step<double>>("full_step");
  family.op<mixture_step<float>, mixture_step<double>>("diag_step");
}

}  // namespace kernelmill
