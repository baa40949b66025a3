// Convolutions: the C++ implementations of python/kernelmill/ops/convolution.py.
//
// Spatial axes are always three: the outermost one, along which work is cut, a middle one and the
// innermost one, whose elements are adjacent. Missing axes have size 1.
#pragma once

#include <array>  // axes

#include "core/matrix.hpp"  // index_t

namespace kernelmill::convolution {

using Triple = std::array<index_t, 3>;

inline index_t product(const Triple& t) { return t[0] * t[1] * t[2]; }

// x is (images, channels, in), y (images, outputs, out), weight (outputs, channels / groups,
// kernel), all dense.
struct Geometry {
  index_t images, channels, outputs, groups;
  Triple in, kernel, out, stride, padding, dilation;

  index_t group_channels() const { return channels / groups; }
  index_t group_outputs() const { return outputs / groups; }
};

// What is done to a finished element: activate(element + bias of its channel).
template <class T>
struct Ending {
  const T* bias = nullptr;
  index_t activation = 0;  // as in ops/linear.hpp
  T parameter{};
};

// y from x.
template <class T>
void forward(const Geometry& g, const T* x, const T* weight, const Ending<T>& ending, T* y);

// The gradient with respect to x from that of y, which is a transposed convolution.
template <class T>
void input_gradient(const Geometry& g, const T* dout, const T* weight, const Ending<T>& ending,
                    T* dx);

// The gradient with respect to weight.
template <class T>
void weight_gradient(const Geometry& g, const T* x, const T* dout, T* dweight);

}  // namespace kernelmill::convolution
