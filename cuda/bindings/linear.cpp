// Products by cuBLAS, then bias and activation in one pass.
#include "ops/linear.cuh"

#include "bindings/common.hpp"
#include "ops/reduction.cuh"  // column sums

namespace kernelmill {

namespace {

template <class T>
void linear_forward(const Call& call, Factor<T> x, Factor<T> weight, const Acc<T>* bias,
                    index_t activation, double parameter, bool evaluate, Product<T> y,
                    Product<T> z) {
  const py::gil_scoped_acquire gil;
  const Product<T>& product = evaluate ? y : z;
  multiply(x.array, weight.array.attr("T"), product.array);
  if (evaluate && activation == 0 && bias == nullptr) return;
  linear::finish<T>(call, x.view.rows, weight.view.rows,
                    {bias, activation, static_cast<Acc<T>>(parameter)}, product.data, y.data);
}

template <class T>
void linear_backward(const Call& call, Scratch* scratch, Factor<T> dout, Factor<T> x,
                     Factor<T> weight, bool skip_x, bool skip_weight, bool skip_bias, Product<T> dx,
                     Product<T> dweight, T* dbias) {
  {
    const py::gil_scoped_acquire gil;
    if (!skip_x) multiply(dout.array, weight.array, dx.array);
    if (!skip_weight) multiply(dout.array.attr("T"), x.array, dweight.array);
  }
  if (skip_bias) return;
  reduction::Axes kept, reduced;
  kept.add(dout.view.cols, dout.view.col_stride * static_cast<index_t>(sizeof(T)));
  reduced.add(dout.view.rows, dout.view.row_stride * static_cast<index_t>(sizeof(T)));
  const reduction::Cut cut(kept, reduced);
  reduction::run<T>(call, reduction::Kind::sum, dout.view.data, kept, reduced, 0, cut,
                    scratch->make<reduction::Space>(cut, kept.count), dbias);
}

}  // namespace

void bind_linear(Family family) {
  family.op<KERNELMILL_STORED(linear_forward)>("forward");
  family.op<KERNELMILL_STORED(linear_backward)>("backward");
}

}  // namespace kernelmill
