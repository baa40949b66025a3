// The product itself is cuBLAS, called through CuPy: nothing is done to its tiles here.

#include "bindings/common.hpp"

namespace kernelmill {

namespace {

// A CuPy array as Python knows it, null when it was left out.
template <class T>
struct Factor {
  py::handle array;
  index_t cols;
};

template <class T>
struct Product {
  py::handle array;
};

}  // namespace

template <class T>
struct Read<Factor<T>> {
  static std::string codes() { return {'m', code_of<T>()}; }
  static Factor<T> from(Reader& reader) {
    const Value& value = reader.next();
    return {value.object, value.shape[1]};
  }
};

template <class T>
struct Read<Product<T>> {
  static std::string codes() { return {'o', code_of<T>()}; }
  static Product<T> from(Reader& reader) { return {reader.target().object}; }
};

template <class T>
static void scaled_product(Factor<T> a, Factor<T> b, Factor<T> c, double alpha, double beta,
                           Product<T> out) {
  const py::gil_scoped_acquire gil;
  if (beta != 0 && !c.array) {
    invalid("matmul.matmul", "C must be given when beta is not 0, got None");
  }
  if (a.cols == 0) {
    out.array.attr("fill")(0);
  } else {
    cupy().attr("matmul")(a.array, b.array, py::arg("out") = out.array);
  }
  if (alpha != 1) out.array.attr("__imul__")(alpha);
  if (beta != 0) out.array.attr("__iadd__")(c.array.attr("__mul__")(beta));
}

void bind_matmul(Family family) {
  family.op<scaled_product<float>, scaled_product<double>>("matmul");
}

}  // namespace kernelmill
