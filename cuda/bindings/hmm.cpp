#include "ops/hmm.cuh"

#include "bindings/common.hpp"

namespace kernelmill {

namespace {

// A dense (rows, cols) float64 matrix.
class Dense {
 public:
  Dense(std::string_view op, std::string_view name, const py::object& array)
      : array_(contiguous(op, name, MatrixArgument<double>(op, name, array).array())) {}
  Dense(std::string_view op, std::string_view name, const py::object& array, index_t size)
      : Dense(op, name, array) {
    if (rows() != size || cols() != size) {
      invalid(op, name, " must be float64 of shape (", size, ", ", size, "), got ", array_.text());
    }
  }
  index_t rows() const { return array_.shape[0]; }
  index_t cols() const { return array_.shape[1]; }
  const double* data() const { return static_cast<const double*>(array_.data); }
  const DeviceArray& array() const { return array_; }

 private:
  DeviceArray array_;
};

Dense densities(const char* op, const py::object& log_density) {
  Dense given(op, "log_density", log_density);
  if (given.cols() < 1) {
    invalid(op, "log_density must be a float64 matrix of shape (T, K) with K >= 1, got ",
            given.array().text());
  }
  return given;
}

// A vector that may not be left out.
template <class T = double>
VectorArgument<T> vector(const char* op, const char* name, const py::object& array) {
  return VectorArgument<T>(op, name, DeviceArray(op, name, array).owner);
}

VectorArgument<double> vector(const char* op, const char* name, const py::object& array,
                              index_t size) {
  VectorArgument<double> given = vector(op, name, array);
  given.expect(op, name, size);
  return given;
}

// lengths decide what is read and how the work is divided, so they come to the host.
std::vector<index_t> on_host(const Call& call, const py::object& lengths, index_t T) {
  const VectorArgument<index_t> given = vector<index_t>(call.op, "lengths", lengths);
  std::vector<index_t> host(static_cast<std::size_t>(given.size()));
  if (!host.empty()) download(call, host.data(), given.data(), given.size());
  std::uint64_t sum = 0;  // unsigned: wild lengths go round
  bool good = true;
  for (index_t length : host) {
    good = good && length >= 0 && length <= T;
    sum += static_cast<std::uint64_t>(length);
  }
  if (!good || sum != static_cast<std::uint64_t>(T)) {
    invalid(call.op, "lengths must be at least 0 and add up to ", T, ", got a sum of ",
            static_cast<index_t>(sum));
  }
  return host;
}

py::tuple forward_binding(const py::object& log_density, const py::object& startprob,
                          const py::object& transmat, const py::object& lengths) {
  constexpr const char* op = "hmm.forward";
  const Dense b = densities(op, log_density);
  const index_t T = b.rows(), K = b.cols();
  const Dense A(op, "transmat", transmat, K);
  const VectorArgument<double> pi = vector(op, "startprob", startprob, K);
  const Call call = current(op);
  const Schedule schedule(on_host(call, lengths, T), K, true);
  const Result<double> filtered({T, K}), log_prob({schedule.sequences});
  const Temporary<HmmSpace> space(schedule, K, false);
  {
    py::gil_scoped_release release;
    forward(call, b.data(), K, pi.data(), A.data(), schedule, filtered.data, log_prob.data, *space);
  }
  return py::make_tuple(filtered.array, log_prob.array);
}

py::object backward_binding(const py::object& log_density, const py::object& transmat,
                            const py::object& lengths) {
  constexpr const char* op = "hmm.backward";
  const Dense b = densities(op, log_density);
  const index_t T = b.rows(), K = b.cols();
  const Dense A(op, "transmat", transmat, K);
  const Call call = current(op);
  const Schedule schedule(on_host(call, lengths, T), K, true);
  const Result<double> future({T, K});
  const Temporary<HmmSpace> space(schedule, K, false);
  {
    py::gil_scoped_release release;
    backward(call, b.data(), K, A.data(), schedule, future.data, *space);
  }
  return future.array;
}

py::tuple posteriors_binding(const py::object& log_density, const py::object& startprob,
                             const py::object& transmat, const py::object& lengths,
                             const py::object& sequence_weight) {
  constexpr const char* op = "hmm.posteriors";
  const Dense b = densities(op, log_density);
  const index_t T = b.rows(), K = b.cols();
  const Dense A(op, "transmat", transmat, K);
  const VectorArgument<double> pi = vector(op, "startprob", startprob, K);
  const Call call = current(op);
  const Schedule schedule(on_host(call, lengths, T), K, true);
  const VectorArgument<double> v(op, "sequence_weight", sequence_weight);
  v.expect(op, "sequence_weight", schedule.sequences);
  const Result<double> gamma({T, K}), log_prob({schedule.sequences}), starts({K});
  const Result<double> transitions({K, K});
  const Temporary<HmmSpace> space(schedule, K, true);
  {
    py::gil_scoped_release release;
    posteriors(call, b.data(), K, pi.data(), A.data(), schedule, v.data(), gamma.data,
               log_prob.data, starts.data, transitions.data, *space);
  }
  return py::make_tuple(gamma.array, log_prob.array, starts.array, transitions.array);
}

py::tuple viterbi_binding(const py::object& log_density, const py::object& log_startprob,
                          const py::object& log_transmat, const py::object& lengths) {
  constexpr const char* op = "hmm.viterbi";
  const Dense b = densities(op, log_density);
  const index_t T = b.rows(), K = b.cols();
  const Dense log_A(op, "log_transmat", log_transmat, K);
  const VectorArgument<double> log_pi = vector(op, "log_startprob", log_startprob, K);
  const Call call = current(op);
  const Schedule schedule(on_host(call, lengths, T), K, false);
  const Result<std::int32_t> states({T});
  const Result<double> log_prob({schedule.sequences});
  const Temporary<ViterbiSpace> space(schedule, T, K);
  {
    py::gil_scoped_release release;
    viterbi(call, b.data(), K, log_pi.data(), log_A.data(), schedule, states.data, log_prob.data,
            *space);
  }
  return py::make_tuple(states.array, log_prob.array);
}

py::object sample_states_binding(const py::object& startprob, const py::object& transmat,
                                 const py::object& uniforms, const py::object& lengths) {
  constexpr const char* op = "hmm.sample_states";
  const VectorArgument<double> pi = vector(op, "startprob", startprob);
  const VectorArgument<double> u = vector(op, "uniforms", uniforms);
  const index_t K = pi.size();
  if (K < 1) invalid(op, "startprob must have at least one state, got none");
  const Dense A(op, "transmat", transmat, K);
  const Call call = current(op);
  const Schedule schedule(on_host(call, lengths, u.size()), K, false);
  const Result<std::int32_t> states({u.size()});
  const Temporary<SampleSpace> space(schedule, K);
  {
    py::gil_scoped_release release;
    sample_states(call, pi.data(), A.data(), K, u.data(), schedule, states.data, *space);
  }
  return states.array;
}

py::object symbol_counts_binding(const py::object& symbols, const py::object& gamma,
                                 index_t n_symbols) {
  constexpr const char* op = "hmm.symbol_counts";
  const auto x = vector<std::int64_t>(op, "symbols", symbols);
  const MatrixArgument<double> shares(op, "gamma", gamma);
  if (shares.rows() != x.size() || shares.cols() < 1) {
    invalid(op, "gamma must be float64 of shape (", x.size(), ", K) with K >= 1, got ",
            shares.array().text());
  }
  constexpr index_t kMost = (index_t{1} << 31) - 2;  // labels are 32-bit numbers
  if (n_symbols < 1 || n_symbols > kMost) {
    invalid(op, "symbols must be below n_symbols, at least 1 and at most ", kMost,
            ", got n_symbols = ", n_symbols);
  }
  const Call call = current(op);
  const Result<double> counts({shares.cols(), n_symbols});
  const Temporary<SymbolSpace> space(call, x.size(), shares.cols(), n_symbols);
  {
    py::gil_scoped_release release;
    symbol_counts(call, x.data(), shares.view(), n_symbols, counts.data, *space);
  }
  return counts.array;
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
