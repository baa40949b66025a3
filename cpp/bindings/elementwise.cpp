#include "ops/elementwise.hpp"

#include "bindings/common.hpp"

namespace kernelmill {

namespace {

// Binds one function of core/math.hpp: f(contiguous, out) and f(strided, out).
template <class Contiguous, class Strided>
py::array apply(const char* op, const py::array& x, Contiguous&& contiguous, Strided&& strided) {
  return by_dtype(op, "x", x, [&]<class T>() -> py::array {
    constexpr auto size = static_cast<py::ssize_t>(sizeof(T));
    py::array source = x;
    if (!readable_as<T>(x)) source = py::array_t<T, py::array::c_style | py::array::forcecast>(x);
    const std::vector<py::ssize_t> shape(source.shape(), source.shape() + source.ndim());
    const std::vector<index_t> extents(shape.begin(), shape.end());
    std::vector<index_t> steps;
    for (py::ssize_t i = 0; i < source.ndim(); ++i) steps.push_back(source.strides(i) / size);
    py::array_t<T> y = result<T>(shape);
    const std::span<T> out(y.mutable_data(), static_cast<std::size_t>(y.size()));
    const T* data = static_cast<const T*>(source.data());
    const bool dense = (source.flags() & py::array::c_style) != 0;
    {
      py::gil_scoped_release release;
      if (dense) {
        contiguous(std::span<const T>(data, out.size()), out);
      } else {
        strided(elementwise::StridedArray<T>{data, extents, steps}, out);
      }
    }
    return y;
  });
}

}  // namespace

#define KERNELMILL_BIND(name)                                                       \
  family.def(                                                                       \
      #name,                                                                        \
      [](const py::array& x) {                                                      \
        return apply(                                                               \
            "elementwise." #name, x,                                                \
            []<class T>(std::span<const T> in, std::span<T> out) {                  \
              elementwise::name<T>(in, out);                                        \
            },                                                                      \
            []<class T>(const elementwise::StridedArray<T>& in, std::span<T> out) { \
              elementwise::name<T>(in, out);                                        \
            });                                                                     \
      },                                                                            \
      py::arg("x"))

void bind_elementwise(py::module_& m) {
  auto family = m.def_submodule("elementwise");
  KERNELMILL_BIND(exp);
  KERNELMILL_BIND(log);
  KERNELMILL_BIND(log1p);
  KERNELMILL_BIND(tanh);
  KERNELMILL_BIND(erf);
  KERNELMILL_BIND(logistic);
}

}  // namespace kernelmill
