#include "ops/reduction.cuh"

#include "bindings/common.hpp"
#include "bindings/reduction_axes.hpp"  // chosen_axes, define_reductions

namespace kernelmill {

namespace {

using reduction::Axes;
using reduction::Kind;

py::object reduce(Kind kind, const char* op, const py::object& x, const py::object& axis,
                  double ddof, bool keepdims, const py::object& out) {
  const DeviceArray source(op, "x", x);
  return by_stored(op, "x", source, [&]<class T>() -> py::object {
    const std::size_t rank = source.shape.size();
    const std::vector<bool> chosen = chosen_axes(op, axis, static_cast<py::ssize_t>(rank));
    Axes kept, reduced;
    std::vector<index_t> shape;
    for (std::size_t i = 0; i < rank; ++i) {
      (chosen[i] ? reduced : kept).add(source.shape[i], source.strides[i]);
      if (!chosen[i] || keepdims) shape.push_back(chosen[i] ? 1 : source.shape[i]);
    }
    if (reduction::needs_elements(kind) && reduced.count == 0 && kept.count > 0) {
      const std::string text = source.text();
      invalid(op, "x must have elements along the reduced axes, got shape ",
              text.substr(text.find('(')));
    }
    const char* const dtype = reduction::is_index(kind) ? "int64" : dtype_name(code_of<T>());
    const py::object y = cupy().attr("empty")(py::tuple(py::cast(shape)), dtype);
    const DeviceArray to(op, "out", y);
    const reduction::Cut cut(kept, reduced);
    Scratch scratch;
    const auto& space = scratch.make<reduction::Space>(cut, kept.count);
    const Call call = current(op);
    {
      py::gil_scoped_release release;
      reduction::run<T>(call, kind, static_cast<const T*>(source.data), kept, reduced, ddof, cut,
                        space, to.data);
    }
    if (out.is_none()) return y;
    const DeviceArray target(op, "out", out);
    if (target.dtype != dtype || target.shape != shape) {
      invalid(op, "out must be a writeable ", to.text(), ", got ", target.text());
    }
    out[py::ellipsis()] = y;
    return out;
  });
}

}  // namespace

void bind_reduction(py::module_& m) { define_reductions<py::object>(m, &reduce); }

}  // namespace kernelmill
