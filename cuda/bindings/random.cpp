#include "ops/random.cuh"

#include "bindings/common.hpp"

namespace kernelmill {

namespace {

// Any object that is an integer to Python, NumPy's included.
struct Integer : py::int_ {
  explicit Integer(const py::object& value)
      : py::int_(py::reinterpret_steal<py::int_>(PyNumber_Index(value.ptr()))) {
    if (!*this) throw py::error_already_set();
  }
};

// value, which must lie in [low, high]. Wider than 64 bits on the way, hence Python's integers.
py::int_ within(const char* op, const char* name, const py::int_& value, const py::int_& low,
                const py::int_& high) {
  if (value < low || high < value) {
    invalid(op, name, " must be in [", py::str(low).cast<std::string>(), ", ",
            py::str(high).cast<std::string>(), "], got ", py::str(value).cast<std::string>());
  }
  return value;
}

Sequence sequence_of(const char* op, const py::object& seed_, const py::object& stream_,
                     const py::object& start_, const py::object& n_) {
  const Integer seed(seed_), stream(stream_), start(start_), n(n_);
  const py::int_ zero(0), word(~std::uint64_t{0}), items(std::uint64_t{1} << 63);
  within(op, "n", n, zero, items);
  within(op, "start", start, zero, items);
  within(op, "start + n", py::int_(start + n), zero, items);
  return {within(op, "seed", seed, zero, word).cast<std::uint64_t>(),
          within(op, "stream", stream, zero, word).cast<std::uint64_t>(),
          start.cast<std::uint64_t>()};
}

template <class T, class Fill>
py::object filled(const char* op, const Sequence& sequence, index_t n, Fill&& fill) {
  const Result<T> out({n});
  const Call call = current(op);
  {
    py::gil_scoped_release release;
    fill(call, sequence, n, out.data);
  }
  return out.array;
}

bool is_float32(const char* op, const py::object& dtype) {
  const auto name =
      py::module_::import("numpy").attr("dtype")(dtype).attr("name").cast<std::string>();
  if (name != "float32" && name != "float64") {
    invalid(op, "dtype must be float32 or float64, got ", name);
  }
  return name == "float32";
}

py::object uniform_binding(const py::object& seed, const py::object& stream,
                           const py::object& start, const py::object& n, const py::object& dtype) {
  constexpr const char* op = "random.uniform";
  const Sequence sequence = sequence_of(op, seed, stream, start, n);
  const auto count = Integer(n).cast<index_t>();
  if (is_float32(op, dtype)) return filled<float>(op, sequence, count, &uniform<float>);
  return filled<double>(op, sequence, count, &uniform<double>);
}

py::object normal_binding(const py::object& seed, const py::object& stream, const py::object& start,
                          const py::object& n, const py::object& dtype) {
  constexpr const char* op = "random.normal";
  const Sequence sequence = sequence_of(op, seed, stream, start, n);
  const auto count = Integer(n).cast<index_t>();
  if (is_float32(op, dtype)) return filled<float>(op, sequence, count, &normal<float>);
  return filled<double>(op, sequence, count, &normal<double>);
}

py::object integers_binding(const py::object& seed, const py::object& stream,
                            const py::object& start, const py::object& n, const py::object& high) {
  constexpr const char* op = "random.integers";
  const Sequence sequence = sequence_of(op, seed, stream, start, n);
  const py::int_ one(1), most(std::uint64_t{1} << 63);
  const auto bound = within(op, "high", Integer(high), one, most).cast<std::uint64_t>();
  return filled<std::int64_t>(
      op, sequence, Integer(n).cast<index_t>(),
      [bound](const Call& call, const Sequence& from, index_t count, std::int64_t* out) {
        integers(call, from, count, bound, out);
      });
}

}  // namespace

void bind_random(py::module_& m) {
  using py::arg;
  auto family = m.def_submodule("random");
  const auto dtype = arg("dtype") = "float64";
  family.def("uniform", &uniform_binding, arg("seed"), arg("stream"), arg("start"), arg("n"),
             dtype);
  family.def("normal", &normal_binding, arg("seed"), arg("stream"), arg("start"), arg("n"), dtype);
  family.def("integers", &integers_binding, arg("seed"), arg("stream"), arg("start"), arg("n"),
             arg("high"));
}

}  // namespace kernelmill
