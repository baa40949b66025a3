// Sizes come as sequences, which no signature describes: arguments are checked here.
#include "ops/convolution.hpp"

#include <pybind11/stl.h>  // std::vector, std::optional

#include "bindings/common.hpp"

namespace kernelmill {

namespace {

using convolution::Ending;
using convolution::Geometry;
using convolution::Triple;
using Sizes = std::vector<index_t>;

// Missing axes have size `missing`: two axes are the outer and the inner one, one is the inner one.
Triple triple(const Sizes& sizes, index_t missing) {
  switch (sizes.size()) {
    case 1:
      return {missing, missing, sizes[0]};
    case 2:
      return {sizes[0], missing, sizes[1]};
    default:
      return {sizes[0], sizes[1], sizes[2]};
  }
}

// Extents of the spatial axes.
Sizes spatial(const py::array& a) { return {a.shape() + 2, a.shape() + a.ndim()}; }

struct Layer {
  const char* op;
  Sizes stride, padding, dilation;
  index_t groups;

  // One value for each of `axes` axes.
  void check(std::size_t axes) const {
    const auto each = [&](const char* name, const Sizes& values, index_t least) {
      if (values.size() != axes) {
        invalid(op, name, " must have ", axes, " values, got ", values.size());
      }
      for (const index_t value : values) {
        if (value < least) invalid(op, name, " must be at least ", least, ", got ", value);
      }
    };
    each("stride", stride, 1);
    each("padding", padding, 0);
    each("dilation", dilation, 1);
    if (groups < 1) invalid(op, "groups must be at least 1, got ", groups);
  }
};

void check_rank(const char* op, const char* name, const py::array& a, py::ssize_t rank) {
  const bool known = rank == 0 ? a.ndim() >= 3 && a.ndim() <= 5 : a.ndim() == rank;
  if (!known) {
    invalid(op, name, " must have ", rank == 0 ? "3 to 5" : std::to_string(rank),
            " axes, got shape ", shape_text(a));
  }
}

template <class T>
py::array dense_of(const char* op, const char* name, const py::array& a) {
  if (!(a.dtype().kind() == 'f' && a.itemsize() == sizeof(T))) {
    invalid(op, name, " must be ", sizeof(T) == 4 ? "float32" : "float64",
            " like the other arrays, got ", dtype_text(a));
  }
  if (readable_as<T>(a) && (a.flags() & py::array::c_style) != 0) return a;
  return py::array(py::array_t<T, py::array::c_style | py::array::forcecast>(a));
}

// x (images, channels, ...), weight (outputs, channels / groups, ...).
Geometry geometry(const Layer& layer, index_t images, const Sizes& in, const Sizes& out,
                  const py::array& weight) {
  return {images,
          weight.shape(1) * layer.groups,
          weight.shape(0),
          layer.groups,
          triple(in, 1),
          triple(spatial(weight), 1),
          triple(out, 1),
          triple(layer.stride, 1),
          triple(layer.padding, 0),
          triple(layer.dilation, 1)};
}

index_t out_size(const Layer& layer, std::size_t a, index_t in, index_t kernel) {
  const index_t room = in + 2 * layer.padding[a] - layer.dilation[a] * (kernel - 1) - 1;
  return room < 0 ? 0 : room / layer.stride[a] + 1;
}

// Extents of the output, each at least 1.
Sizes out_sizes(const Layer& layer, const Sizes& in, const Sizes& kernel) {
  Sizes out;
  for (std::size_t a = 0; a < in.size(); ++a) {
    out.push_back(kernel[a] < 1 ? 0 : out_size(layer, a, in[a], kernel[a]));
    if (out[a] < 1) {
      invalid(layer.op, "kernels must fit the padded input, got ", kernel[a], " with dilation ",
              layer.dilation[a], " for an axis of ", in[a], " with padding ", layer.padding[a]);
    }
  }
  return out;
}

void check_channels(const Layer& layer, const char* name, index_t channels,
                    const py::array& weight) {
  if (weight.shape(0) % layer.groups != 0) {
    invalid(layer.op, "weight must have a multiple of ", layer.groups,
            " (groups) on its first axis, got shape ", shape_text(weight));
  }
  if (channels != weight.shape(1) * layer.groups) {
    invalid(layer.op, name, " must have ", weight.shape(1) * layer.groups,
            " channels as weight and groups say, got ", channels);
  }
}

std::vector<py::ssize_t> shape_of(index_t images, index_t channels, const Sizes& sizes) {
  std::vector<py::ssize_t> shape{images, channels};
  shape.insert(shape.end(), sizes.begin(), sizes.end());
  return shape;
}

template <class T>
Ending<T> ending(const char* op, const std::optional<py::array>& bias, index_t channels,
                 index_t activation, double parameter, py::array& kept) {
  if (activation < 0 || activation >= 12) {
    invalid(op, "activation must be in [0, 12), got ", activation);
  }
  if (!bias) return {nullptr, activation, static_cast<T>(parameter)};
  if (bias->ndim() != 1 || bias->shape(0) != channels) {
    invalid(op, "bias must have shape (", channels, ",), got ", shape_text(*bias));
  }
  kept = dense_of<T>(op, "bias", *bias);
  return {static_cast<const T*>(kept.data()), activation, static_cast<T>(parameter)};
}

py::array forward(const py::array& x, const py::array& weight, const std::optional<py::array>& bias,
                  const Sizes& stride, const Sizes& padding, const Sizes& dilation, index_t groups,
                  index_t activation, double parameter) {
  const Layer layer{"convolution.forward", stride, padding, dilation, groups};
  check_rank(layer.op, "x", x, 0);
  check_rank(layer.op, "weight", weight, x.ndim());
  layer.check(static_cast<std::size_t>(x.ndim() - 2));
  check_channels(layer, "x", x.shape(1), weight);
  return by_dtype(layer.op, "x", x, [&]<class T>() -> py::array {
    const py::array input = dense_of<T>(layer.op, "x", x);
    const py::array weights = dense_of<T>(layer.op, "weight", weight);
    const Sizes out = out_sizes(layer, spatial(x), spatial(weight));
    py::array kept;
    const Ending<T> end = ending<T>(layer.op, bias, weight.shape(0), activation, parameter, kept);
    py::array y = result<T>(shape_of(x.shape(0), weight.shape(0), out));
    const Geometry g = geometry(layer, x.shape(0), spatial(x), out, weight);
    auto* const to = static_cast<T*>(y.mutable_data());
    const py::gil_scoped_release release;
    convolution::forward<T>(g, static_cast<const T*>(input.data()),
                            static_cast<const T*>(weights.data()), end, to);
    return y;
  });
}

py::array input_gradient(const py::array& dout, const py::array& weight,
                         const std::optional<py::array>& bias, const Sizes& size,
                         const Sizes& stride, const Sizes& padding, const Sizes& dilation,
                         index_t groups, index_t activation, double parameter) {
  const Layer layer{"convolution.input_gradient", stride, padding, dilation, groups};
  check_rank(layer.op, "dout", dout, 0);
  check_rank(layer.op, "weight", weight, dout.ndim());
  layer.check(static_cast<std::size_t>(dout.ndim() - 2));
  if (dout.shape(1) != weight.shape(0) || weight.shape(0) % groups != 0) {
    invalid(layer.op, "dout must have ", weight.shape(0),
            " channels as weight says, a multiple of groups, got ", dout.shape(1), " and groups ",
            groups);
  }
  if (size.size() != stride.size()) {
    invalid(layer.op, "size must have ", stride.size(), " values, got ", size.size());
  }
  const Sizes out = spatial(dout), want = out_sizes(layer, size, spatial(weight));
  if (out != want) {
    invalid(layer.op, "size must be one whose output has the extents of dout, got ",
            py::str(py::cast(size)).cast<std::string>(), " for shape ", shape_text(dout));
  }
  return by_dtype(layer.op, "dout", dout, [&]<class T>() -> py::array {
    const py::array gradients = dense_of<T>(layer.op, "dout", dout);
    const py::array weights = dense_of<T>(layer.op, "weight", weight);
    const index_t channels = weight.shape(1) * groups;
    py::array kept;
    const Ending<T> end = ending<T>(layer.op, bias, channels, activation, parameter, kept);
    py::array dx = result<T>(shape_of(dout.shape(0), channels, size));
    const Geometry g = geometry(layer, dout.shape(0), size, out, weight);
    auto* const to = static_cast<T*>(dx.mutable_data());
    const py::gil_scoped_release release;
    convolution::input_gradient<T>(g, static_cast<const T*>(gradients.data()),
                                   static_cast<const T*>(weights.data()), end, to);
    return dx;
  });
}

py::array weight_gradient(const py::array& x, const py::array& dout, const Sizes& kernel,
                          const Sizes& stride, const Sizes& padding, const Sizes& dilation,
                          index_t groups) {
  const Layer layer{"convolution.weight_gradient", stride, padding, dilation, groups};
  check_rank(layer.op, "x", x, 0);
  check_rank(layer.op, "dout", dout, x.ndim());
  layer.check(static_cast<std::size_t>(x.ndim() - 2));
  if (kernel.size() != stride.size()) {
    invalid(layer.op, "kernel must have ", stride.size(), " values, got ", kernel.size());
  }
  const Sizes out = spatial(dout);
  if (out != out_sizes(layer, spatial(x), kernel) || dout.shape(0) != x.shape(0) ||
      x.shape(1) % groups != 0 || dout.shape(1) % groups != 0) {
    invalid(layer.op, "dout must be a gradient of the output for x, got shapes ", shape_text(x),
            " and ", shape_text(dout), " with groups ", groups);
  }
  return by_dtype(layer.op, "x", x, [&]<class T>() -> py::array {
    const py::array input = dense_of<T>(layer.op, "x", x);
    const py::array gradients = dense_of<T>(layer.op, "dout", dout);
    py::array dweight = result<T>(shape_of(dout.shape(1), x.shape(1) / groups, kernel));
    const Geometry g = geometry(layer, x.shape(0), spatial(x), out, dweight);
    auto* const to = static_cast<T*>(dweight.mutable_data());
    const py::gil_scoped_release release;
    convolution::weight_gradient<T>(g, static_cast<const T*>(input.data()),
                                    static_cast<const T*>(gradients.data()), to);
    return dweight;
  });
}

}  // namespace

void bind_convolution(py::module_& m) {
  auto family = m.def_submodule("convolution");
  const auto bias = py::arg("bias") = py::none();
  const auto activation = py::arg("activation") = 0, parameter = py::arg("parameter") = 0.0;
  family.def("forward", &forward, py::arg("x"), py::arg("weight"), bias, py::arg("stride"),
             py::arg("padding"), py::arg("dilation"), py::arg("groups") = 1, activation, parameter);
  family.def("input_gradient", &input_gradient, py::arg("dout"), py::arg("weight"), bias,
             py::arg("size"), py::arg("stride"), py::arg("padding"), py::arg("dilation"),
             py::arg("groups") = 1, activation, parameter);
  family.def("weight_gradient", &weight_gradient, py::arg("x"), py::arg("dout"), py::arg("kernel"),
             py::arg("stride"), py::arg("padding"), py::arg("dilation"), py::arg("groups") = 1);
}

}  // namespace kernelmill
