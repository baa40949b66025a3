#include "ops/hmm.hpp"

#include "bindings/common.hpp"

namespace kernelmill {

namespace {

void check_square(const char* op, std::string_view name, MatrixView<const double> a, index_t k) {
  if (a.rows != k || a.cols != k) {
    invalid(op, name, " must be float64 of shape (", k, ", ", k, "), got float64 of shape (",
            a.rows, ", ", a.cols, ")");
  }
}

void check_vector(const char* op, std::string_view name, std::span<const double> a, index_t n) {
  if (static_cast<index_t>(a.size()) != n) {
    invalid(op, name, " must be float64 of shape (", n, ",), got float64 of shape (", a.size(),
            ",)");
  }
}

void check_lengths(const char* op, hmm::Lengths lengths, index_t rows) {
  index_t sum = 0;
  bool valid = true;
  for (const std::int64_t length : lengths) {
    valid = valid && length >= 0 && length <= rows;
    // The sum is for the message; unsigned, so that absurd lengths wrap as they do in NumPy.
    sum =
        static_cast<index_t>(static_cast<std::uint64_t>(sum) + static_cast<std::uint64_t>(length));
    valid = valid && sum <= rows;
  }
  if (!valid || sum != rows) {
    invalid(op, "lengths must be at least 0 and add up to ", rows, ", got a sum of ", sum);
  }
}

// The arguments that most ops of the family share.
struct Arguments {
  Arguments(const char* op, const py::array& log_density, std::string_view transitions_name,
            const py::array& transitions, const py::array& sequence_lengths)
      : density(op, "log_density", log_density),
        matrix(op, transitions_name, transitions),
        lengths(op, "lengths", sequence_lengths) {
    if (density.view().cols < 1) {
      invalid(op, "log_density must be a float64 matrix of shape (T, K) with K >= 1, got ",
              shape_text(log_density));
    }
    check_square(op, transitions_name, matrix.view(), k());
    check_lengths(op, lengths.view(), t());
  }
  index_t t() const { return density.view().rows; }
  index_t k() const { return density.view().cols; }
  py::ssize_t sequences() const { return static_cast<py::ssize_t>(lengths.view().size()); }

  MatrixArgument<double> density, matrix;
  VectorArgument<std::int64_t> lengths;
};

py::tuple forward_binding(const py::array& log_density, const py::array& startprob,
                          const py::array& transmat, const py::array& lengths) {
  constexpr const char* op = "hmm.forward";
  const Arguments a(op, log_density, "transmat", transmat, lengths);
  const VectorArgument<double> start(op, "startprob", startprob);
  check_vector(op, "startprob", start.view(), a.k());
  auto filtered = result<double>({a.t(), a.k()});
  auto log_prob = result<double>({a.sequences()});
  double *filtered_to = filtered.mutable_data(), *log_prob_to = log_prob.mutable_data();
  {
    py::gil_scoped_release release;
    hmm::forward(a.density.view(), start.view(), a.matrix.view(), a.lengths.view(), filtered_to,
                 log_prob_to);
  }
  return py::make_tuple(filtered, log_prob);
}

py::array backward_binding(const py::array& log_density, const py::array& transmat,
                           const py::array& lengths) {
  const Arguments a("hmm.backward", log_density, "transmat", transmat, lengths);
  auto future = result<double>({a.t(), a.k()});
  double* const future_to = future.mutable_data();
  {
    py::gil_scoped_release release;
    hmm::backward(a.density.view(), a.matrix.view(), a.lengths.view(), future_to);
  }
  return future;
}

py::tuple posteriors_binding(const py::array& log_density, const py::array& startprob,
                             const py::array& transmat, const py::array& lengths,
                             const std::optional<py::array>& sequence_weight) {
  constexpr const char* op = "hmm.posteriors";
  const Arguments a(op, log_density, "transmat", transmat, lengths);
  const VectorArgument<double> start(op, "startprob", startprob);
  const VectorArgument<double> weight(op, "sequence_weight", sequence_weight);
  check_vector(op, "startprob", start.view(), a.k());
  if (sequence_weight) check_vector(op, "sequence_weight", weight.view(), a.sequences());
  auto gamma = result<double>({a.t(), a.k()});
  auto log_prob = result<double>({a.sequences()});
  auto starts = result<double>({a.k()});
  auto transitions = result<double>({a.k(), a.k()});
  double *gamma_to = gamma.mutable_data(), *log_prob_to = log_prob.mutable_data(),
         *starts_to = starts.mutable_data(), *transitions_to = transitions.mutable_data();
  {
    py::gil_scoped_release release;
    hmm::posteriors(a.density.view(), start.view(), a.matrix.view(), a.lengths.view(),
                    weight.view(), gamma_to, log_prob_to, starts_to, transitions_to);
  }
  return py::make_tuple(gamma, log_prob, starts, transitions);
}

py::tuple viterbi_binding(const py::array& log_density, const py::array& log_startprob,
                          const py::array& log_transmat, const py::array& lengths) {
  constexpr const char* op = "hmm.viterbi";
  const Arguments a(op, log_density, "log_transmat", log_transmat, lengths);
  const VectorArgument<double> start(op, "log_startprob", log_startprob);
  check_vector(op, "log_startprob", start.view(), a.k());
  auto states = result<std::int32_t>({a.t()});
  auto log_prob = result<double>({a.sequences()});
  std::int32_t* const states_to = states.mutable_data();
  double* const log_prob_to = log_prob.mutable_data();
  {
    py::gil_scoped_release release;
    hmm::viterbi(a.density.view(), start.view(), a.matrix.view(), a.lengths.view(), states_to,
                 log_prob_to);
  }
  return py::make_tuple(states, log_prob);
}

py::array sample_states_binding(const py::array& startprob, const py::array& transmat,
                                const py::array& uniforms, const py::array& lengths) {
  constexpr const char* op = "hmm.sample_states";
  const VectorArgument<double> start(op, "startprob", startprob);
  const MatrixArgument<double> matrix(op, "transmat", transmat);
  const VectorArgument<double> u(op, "uniforms", uniforms);
  const VectorArgument<std::int64_t> spans(op, "lengths", lengths);
  const auto k = static_cast<index_t>(start.view().size());
  check_square(op, "transmat", matrix.view(), k);
  if (k < 1) invalid(op, "startprob must have at least one state, got none");
  check_lengths(op, spans.view(), static_cast<index_t>(u.view().size()));
  auto states = result<std::int32_t>({static_cast<py::ssize_t>(u.view().size())});
  std::int32_t* const states_to = states.mutable_data();
  {
    py::gil_scoped_release release;
    hmm::sample_states(start.view(), matrix.view(), u.view(), spans.view(), states_to);
  }
  return states;
}

py::array symbol_counts_binding(const py::array& symbols, const py::array& gamma,
                                index_t n_symbols) {
  constexpr const char* op = "hmm.symbol_counts";
  const VectorArgument<std::int64_t> seen(op, "symbols", symbols);
  const MatrixArgument<double> g(op, "gamma", gamma);
  const auto t = static_cast<index_t>(seen.view().size());
  if (g.view().rows != t || g.view().cols < 1) {
    invalid(op, "gamma must be float64 of shape (", t, ", K) with K >= 1, got float64 of shape ",
            shape_text(gamma));
  }
  std::int64_t largest = 0;
  {
    py::gil_scoped_release release;
    for (const std::int64_t symbol : seen.view()) largest = std::max(largest, symbol);
  }
  if (n_symbols < 1 || (t > 0 && largest >= n_symbols)) {
    invalid(op, "symbols must be below n_symbols, at least 1, got ", largest,
            " and n_symbols = ", n_symbols);
  }
  auto counts = result<double>({g.view().cols, n_symbols});
  double* const counts_to = counts.mutable_data();
  {
    py::gil_scoped_release release;
    hmm::symbol_counts(seen.view(), g.view(), n_symbols, counts_to);
  }
  return counts;
}

}  // namespace

void bind_hmm(py::module_& m) {
  using py::arg;
  auto family = m.def_submodule("hmm");
  family.def("forward", &forward_binding, arg("log_density"), arg("startprob"), arg("transmat"),
             arg("lengths"));
  family.def("backward", &backward_binding, arg("log_density"), arg("transmat"), arg("lengths"));
  family.def("posteriors", &posteriors_binding, arg("log_density"), arg("startprob"),
             arg("transmat"), arg("lengths"), arg("sequence_weight") = py::none());
  family.def("viterbi", &viterbi_binding, arg("log_density"), arg("log_startprob"),
             arg("log_transmat"), arg("lengths"));
  family.def("sample_states", &sample_states_binding, arg("startprob"), arg("transmat"),
             arg("uniforms"), arg("lengths"));
  family.def("symbol_counts", &symbol_counts_binding, arg("symbols"), arg("gamma"),
             arg("n_symbols"));
}

}  // namespace kernelmill
