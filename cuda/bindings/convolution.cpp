// Patches are packed, cuBLAS multiplies, and a last pass puts results in place. Arguments are
// checked by the specification's own functions.
#include "ops/convolution.cuh"

#include "bindings/common.hpp"

#include <algorithm>  // std::copy, std::max, std::min

namespace kernelmill {

namespace {

using convolution::Columns;
using convolution::Geometry;
using convolution::product;
using convolution::Triple;
using Sizes = std::vector<index_t>;

// Most elements of patches at a time: 512 MiB of float64.
constexpr index_t kMostPatches = index_t{1} << 26;

Triple triple(const Sizes& sizes, index_t missing) {
  Triple axes{missing, missing, missing};
  std::copy(sizes.begin(), sizes.end(), axes.end() - static_cast<index_t>(sizes.size()));
  return axes;
}

Sizes spatial(const DeviceArray& a) { return {a.shape.begin() + 2, a.shape.end()}; }

// What the check of an op returns: the extents of the output.
template <class... Arguments>
Sizes checked(const char* check, const Arguments&... arguments) {
  return py::module_::import("kernelmill.ops.convolution")
      .attr(check)(arguments...)
      .template cast<Sizes>();
}

struct Sliding {
  const Sizes &stride, &padding, &dilation;
};

Geometry geometry(const DeviceArray& weight, index_t images, index_t groups, const Sizes& in,
                  const Sizes& out, const Sliding& s) {
  return {images,
          weight.shape[1] * groups,
          weight.shape[0],
          groups,
          triple(in, 1),
          triple(spatial(weight), 1),
          triple(out, 1),
          triple(s.stride, 1),
          triple(s.padding, 0),
          triple(s.dilation, 1)};
}

// Matrices of the products: one a group.
template <class T>
struct Matrices {
  const Geometry& g;
  index_t terms = g.group_channels() * product(g.kernel);

  Sizes shape(index_t rows, index_t cols) const {
    return g.groups == 1 ? Sizes{rows, cols} : Sizes{g.groups, rows, cols};
  }
  py::object weights(const py::object& dense) const {
    return dense.attr("reshape")(py::tuple(py::cast(shape(g.group_outputs(), terms))));
  }
  Result<T> patches(const Columns& columns) const {
    return Result<T>(shape(terms, columns.images * product(g.out)));
  }
  Result<T> outputs(const Columns& columns) const {
    return Result<T>(shape(g.group_outputs(), columns.images * product(g.out)));
  }
  static py::object transposed(const py::object& a) { return a.attr("swapaxes")(-1, -2); }
};

template <class Body>
void each_chunk(const Geometry& g, Body body) {
  const index_t image =
      std::max<index_t>(1, std::max(g.channels * product(g.kernel), g.outputs) * product(g.out));
  const index_t step = std::max<index_t>(1, kMostPatches / image);
  for (index_t first = 0; first < g.images; first += step) {
    body(Columns{first, std::min(step, g.images - first)});
  }
}

template <class T>
linear::Ending<Acc<T>> ending_of(const char* op, const py::object& bias, index_t activation,
                                 double parameter, DeviceArray& kept) {
  if (!bias.is_none()) {
    const DeviceArray given(op, "bias", bias);
    kept = DeviceArray(op, "bias", dense_copy(given.owner.ptr(), code_of<Acc<T>>()));
  }
  return {static_cast<const Acc<T>*>(kept.data), activation, static_cast<Acc<T>>(parameter)};
}

Sizes joined(index_t images, index_t channels, const Sizes& size) {
  Sizes shape{images, channels};
  shape.insert(shape.end(), size.begin(), size.end());
  return shape;
}

py::object convolve(const py::object& x, const py::object& weight, const py::object& bias,
                    const Sizes& stride, const Sizes& padding, const Sizes& dilation,
                    index_t groups, index_t activation, double parameter) {
  constexpr const char* op = "convolution.forward";
  const DeviceArray input = contiguous(op, "x", DeviceArray(op, "x", x));
  const DeviceArray kernels = contiguous(op, "weight", DeviceArray(op, "weight", weight));
  const Sizes out =
      checked("_check_forward", x, weight, bias, stride, padding, dilation, groups, activation);
  return by_stored(op, "x", input, [&]<class T>() -> py::object {
    const Geometry g =
        geometry(kernels, input.shape[0], groups, spatial(input), out, {stride, padding, dilation});
    const Matrices<T> matrices{g};
    DeviceArray kept;
    const linear::Ending<Acc<T>> ending = ending_of<T>(op, bias, activation, parameter, kept);
    const Result<T> y(joined(g.images, g.outputs, out));
    const Call call = current(op);
    each_chunk(g, [&](const Columns& columns) {
      const Result<T> patches = matrices.patches(columns), products = matrices.outputs(columns);
      convolution::pack<T>(call, g, columns, static_cast<const T*>(input.data), patches.data);
      multiply(matrices.weights(kernels.owner), patches.array, products.array);
      convolution::finish<T>(call, g, columns, products.data, ending, y.data);
    });
    return y.array;
  });
}

py::object input_gradient(const py::object& dout, const py::object& weight, const py::object& bias,
                          const Sizes& size, const Sizes& stride, const Sizes& padding,
                          const Sizes& dilation, index_t groups, index_t activation,
                          double parameter) {
  constexpr const char* op = "convolution.input_gradient";
  const DeviceArray gradients = contiguous(op, "dout", DeviceArray(op, "dout", dout));
  const DeviceArray kernels = contiguous(op, "weight", DeviceArray(op, "weight", weight));
  const Sizes out = checked("_check_input_gradient", dout, weight, bias, size, stride, padding,
                            dilation, groups, activation);
  return by_stored(op, "dout", gradients, [&]<class T>() -> py::object {
    const Geometry g =
        geometry(kernels, gradients.shape[0], groups, size, out, {stride, padding, dilation});
    const Matrices<T> matrices{g};
    DeviceArray kept;
    const linear::Ending<Acc<T>> ending = ending_of<T>(op, bias, activation, parameter, kept);
    const Result<T> dx(joined(g.images, g.channels, size));
    const Call call = current(op);
    each_chunk(g, [&](const Columns& columns) {
      const Result<T> patches = matrices.patches(columns), packed = matrices.outputs(columns);
      convolution::pack_outputs<T>(call, g, columns, static_cast<const T*>(gradients.data),
                                   packed.data);
      multiply(matrices.transposed(matrices.weights(kernels.owner)), packed.array, patches.array);
      convolution::unpack<T>(call, g, columns, patches.data, ending, dx.data);
    });
    return dx.array;
  });
}

py::object weight_gradient(const py::object& x, const py::object& dout, const Sizes& kernel,
                           const Sizes& stride, const Sizes& padding, const Sizes& dilation,
                           index_t groups) {
  constexpr const char* op = "convolution.weight_gradient";
  const DeviceArray input = contiguous(op, "x", DeviceArray(op, "x", x));
  const DeviceArray gradients = contiguous(op, "dout", DeviceArray(op, "dout", dout));
  const Sizes out =
      checked("_check_weight_gradient", x, dout, kernel, stride, padding, dilation, groups);
  return by_stored(op, "x", input, [&]<class T>() -> py::object {
    const Result<Acc<T>> dweight(joined(gradients.shape[1], input.shape[1] / groups, kernel));
    dweight.array.attr("fill")(0);
    const Geometry g = geometry(DeviceArray(op, "dweight", dweight.array), input.shape[0], groups,
                                spatial(input), out, {stride, padding, dilation});
    const Matrices<T> matrices{g};
    const py::object total = matrices.weights(dweight.array);
    const Call call = current(op);
    each_chunk(g, [&](const Columns& columns) {
      const Result<T> patches = matrices.patches(columns), packed = matrices.outputs(columns);
      convolution::pack<T>(call, g, columns, static_cast<const T*>(input.data), patches.data);
      convolution::pack_outputs<T>(call, g, columns, static_cast<const T*>(gradients.data),
                                   packed.data);
      const Result<T> part(matrices.shape(g.group_outputs(), matrices.terms));
      multiply(packed.array, matrices.transposed(patches.array), part.array);
      total.attr("__iadd__")(part.array);
    });
    return dweight.array;
  });
}

}  // namespace

void bind_convolution(py::module_& m) {
  auto family = m.def_submodule("convolution");
  const auto bias = py::arg("bias") = py::none();
  const auto activation = py::arg("activation") = 0, parameter = py::arg("parameter") = 0.0;
  family.def("forward", &convolve, py::arg("x"), py::arg("weight"), bias, py::arg("stride"),
             py::arg("padding"), py::arg("dilation"), py::arg("groups") = 1, activation, parameter);
  family.def("input_gradient", &input_gradient, py::arg("dout"), py::arg("weight"), bias,
             py::arg("size"), py::arg("stride"), py::arg("padding"), py::arg("dilation"),
             py::arg("groups") = 1, activation, parameter);
  family.def("weight_gradient", &weight_gradient, py::arg("x"), py::arg("dout"), py::arg("kernel"),
             py::arg("stride"), py::arg("padding"), py::arg("dilation"), py::arg("groups") = 1);
}

}  // namespace kernelmill
