// The product itself is cuBLAS, called through CuPy: nothing is done to its tiles here.

#include "bindings/common.hpp"

namespace kernelmill {

template <class T>
static void scaled_product(Factor<T> a, Factor<T> b, Factor<T> c, double alpha, double beta,
                           Product<T> out) {
  const py::gil_scoped_acquire gil;
  if (beta != 0 && !c.array) {
    invalid("matmul.matmul", "C must be given when beta is not 0, got None");
  }
  multiply(a.array, b.array, out.array);
  if (alpha != 1) out.array.attr("__imul__")(alpha);
  if (beta != 0) out.array.attr("__iadd__")(c.array.attr("__mul__")(beta));
}

void bind_matmul(Family family) { family.op<KERNELMILL_STORED(scaled_product)>("matmul"); }

}  // namespace kernelmill
