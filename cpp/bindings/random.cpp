#include "ops/random.hpp"

#include "bindings/common.hpp"

namespace kernelmill {

namespace {

// An integer in [least, most], e.g. a seed in [0, 2^64): a Python int or anything that can stand
// for one as an index, such as a NumPy integer.
std::uint64_t whole(const char* op, const char* name, const py::object& value, std::uint64_t least,
                    std::uint64_t most) {
  const auto index = py::reinterpret_steal<py::object>(PyNumber_Index(value.ptr()));
  if (!index) throw py::error_already_set();
  const unsigned long long number = PyLong_AsUnsignedLongLong(index.ptr());
  const bool outside = PyErr_Occurred() != nullptr;
  if (outside) PyErr_Clear();
  if (outside || number < least || number > most) {
    invalid(op, name, " must be in [", least, ", ", most, "], got ",
            static_cast<std::string>(py::str(value)));
  }
  return number;
}

constexpr std::uint64_t kAll = ~std::uint64_t{0}, kHalf = std::uint64_t{1} << 63;

struct Range {
  Range(const char* op, const py::object& seed_, const py::object& stream_,
        const py::object& start_, const py::object& n_)
      : seed(whole(op, "seed", seed_, 0, kAll)),
        stream(whole(op, "stream", stream_, 0, kAll)),
        start(whole(op, "start", start_, 0, kHalf - 1)),
        n(whole(op, "n", n_, 0, kHalf - 1)) {
    if (start + n > kHalf) {
      invalid(op, "start + n must be at most 2^63, got start ", start, " and n ", n);
    }
  }
  std::uint64_t seed, stream, start, n;
};

template <class T, class Fill>
py::array filled(const Range& range, Fill&& fill) {
  py::array_t<T> out = result<T>({static_cast<py::ssize_t>(range.n)});
  const std::span<T> to(out.mutable_data(), static_cast<std::size_t>(range.n));
  {
    py::gil_scoped_release release;
    fill(to);
  }
  return out;
}

template <class Fill>
py::array floats(const char* op, const Range& range, const py::object& dtype, Fill&& fill) {
  const py::dtype type = py::dtype::from_args(dtype);
  if (type.kind() == 'f' && type.itemsize() == 4) return filled<float>(range, fill);
  if (type.kind() == 'f' && type.itemsize() == 8) return filled<double>(range, fill);
  invalid(op, "dtype must be float32 or float64, got ", static_cast<std::string>(py::str(type)));
}

using Int = py::object;

py::array uniform_binding(const Int& seed, const Int& stream, const Int& start, const Int& n,
                          const py::object& dtype) {
  const Range r("random.uniform", seed, stream, start, n);
  return floats("random.uniform", r, dtype, [&]<class T>(std::span<T> out) {
    random::uniform<T>(r.seed, r.stream, r.start, out);
  });
}

py::array normal_binding(const Int& seed, const Int& stream, const Int& start, const Int& n,
                         const py::object& dtype) {
  const Range r("random.normal", seed, stream, start, n);
  return floats("random.normal", r, dtype, [&]<class T>(std::span<T> out) {
    random::normal<T>(r.seed, r.stream, r.start, out);
  });
}

py::array integers_binding(const Int& seed, const Int& stream, const Int& start, const Int& n,
                           const Int& high) {
  const Range r("random.integers", seed, stream, start, n);
  const std::uint64_t top = whole("random.integers", "high", high, 1, kHalf);
  return filled<std::int64_t>(r, [&](std::span<std::int64_t> out) {
    random::integers(r.seed, r.stream, r.start, top, out);
  });
}

}  // namespace

void bind_random(py::module_& m) {
  using py::arg;
  auto family = m.def_submodule("random");
  const py::object float64 = py::dtype::of<double>();
  family.def("uniform", &uniform_binding, arg("seed"), arg("stream"), arg("start"), arg("n"),
             arg("dtype") = float64);
  family.def("normal", &normal_binding, arg("seed"), arg("stream"), arg("start"), arg("n"),
             arg("dtype") = float64);
  family.def("integers", &integers_binding, arg("seed"), arg("stream"), arg("start"), arg("n"),
             arg("high"));
}

}  // namespace kernelmill
