#include "ops/reduction.hpp"

#include "bindings/common.hpp"
#include "bindings/reduction_axes.hpp"  // chosen_axes, define_reductions

namespace kernelmill {

namespace {

using reduction::Axes;
using reduction::Kind;

py::array reduce(Kind kind, const char* op, const py::array& x, const py::object& axis, double ddof,
                 bool keepdims, const py::object& out) {
  return by_dtype(op, "x", x, [&]<class T>() -> py::array {
    py::array source = x;
    if (!readable_as<T>(x)) source = py::array_t<T, py::array::c_style | py::array::forcecast>(x);
    const std::vector<bool> chosen = chosen_axes(op, axis, source.ndim());
    Axes kept, reduced;
    std::vector<py::ssize_t> shape;
    for (py::ssize_t i = 0; i < source.ndim(); ++i) {
      const bool reduce_it = chosen[static_cast<std::size_t>(i)];
      (reduce_it ? reduced : kept).add(source.shape(i), source.strides(i));
      if (!reduce_it || keepdims) shape.push_back(reduce_it ? 1 : source.shape(i));
    }
    if (reduction::needs_elements(kind) && reduced.count() == 0 && kept.count() > 0) {
      invalid(op, "x must have elements along the reduced axes, got shape ", shape_text(source));
    }
    const bool index = reduction::is_index(kind);
    py::array y = index ? py::array(result<std::int64_t>(shape)) : py::array(result<T>(shape));
    void* const to = y.mutable_data();
    const T* const data = static_cast<const T*>(source.data());
    {
      py::gil_scoped_release release;
      reduction::run<T>(kind, data, kept, reduced, ddof, to);
    }
    if (out.is_none()) return y;
    const bool array = py::isinstance<py::array>(out);
    const auto target = array ? py::reinterpret_borrow<py::array>(out) : y;
    const bool same_shape =
        target.ndim() == y.ndim() && std::equal(shape.begin(), shape.end(), target.shape());
    if (!array || !target.dtype().equal(y.dtype()) || !target.writeable() || !same_shape) {
      invalid(op, "out must be a writeable ", dtype_text(y), " array of shape ", shape_text(y),
              ", got ",
              array ? dtype_text(target) + " of shape " + shape_text(target)
                    : py::repr(out).cast<std::string>());
    }
    py::reinterpret_borrow<py::object>(out)[py::ellipsis()] = y;
    return target;
  });
}

}  // namespace

void bind_reduction(py::module_& m) { define_reductions<py::array>(m, &reduce); }

}  // namespace kernelmill
