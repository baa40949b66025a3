// A thread keeps one column, or one place of an image, for all rows of its blocks: coordinates are
// divided out once.

#include "ops/convolution.cuh"

#include <algorithm>  // std::clamp

#include "core/launch.cuh"        // launch
#include "ops/linear_ending.cuh"  // activate

namespace kernelmill::convolution {
namespace {

struct Extents {
  index_t a, b, c;
  Extents(const Triple& t) : a(t[0]), b(t[1]), c(t[2]) {}
  __host__ __device__ index_t product() const { return a * b * c; }
  __device__ Extents(index_t a_, index_t b_, index_t c_) : a(a_), b(b_), c(c_) {}
  __device__ Extents at(index_t place) const {
    const index_t rest = place / c;
    return {rest / b, rest % b, place - rest * c};
  }
};

// Geometry as kernels read it.
struct Shape {
  index_t channels, outputs;
  Extents in, kernel, out, stride, padding, dilation;
  Shape(const Geometry& g)
      : channels(g.channels),
        outputs(g.outputs),
        in(g.in),
        kernel(g.kernel),
        out(g.out),
        stride(g.stride),
        padding(g.padding),
        dilation(g.dilation) {}
};

template <class T>
__global__ void __launch_bounds__(kThreads)
    pack_kernel(const Shape s, const Columns columns, const T* x, T* patches) {
  const index_t size = s.out.product(), count = columns.images * size;
  const index_t taps = s.kernel.product(), plane = s.in.product();
  for (index_t column = global_thread(); column < count; column += global_threads()) {
    const index_t image = column / size;
    const Extents at = s.out.at(column - image * size);
    const index_t a = at.a * s.stride.a - s.padding.a, b = at.b * s.stride.b - s.padding.b;
    const index_t c = at.c * s.stride.c - s.padding.c;
    const T* const from = x + (columns.first + image) * s.channels * plane;
    for (index_t row = blockIdx.y; row < s.channels * taps; row += gridDim.y) {
      const index_t channel = row / taps;
      const Extents tap = s.kernel.at(row - channel * taps);
      const index_t i = a + tap.a * s.dilation.a, j = b + tap.b * s.dilation.b;
      const index_t k = c + tap.c * s.dilation.c;
      const bool inside = i >= 0 && i < s.in.a && j >= 0 && j < s.in.b && k >= 0 && k < s.in.c;
      patches[row * count + column] =
          inside ? from[channel * plane + (i * s.in.b + j) * s.in.c + k] : T(0);
    }
  }
}

// The output whose patch has place `at` of x under tap `tap`, -1 where there is none.
__device__ index_t output_at(index_t at, index_t tap, index_t stride, index_t out) {
  const index_t shifted = at - tap;
  if (shifted < 0 || shifted % stride != 0) return -1;
  return shifted / stride < out ? shifted / stride : -1;
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    unpack_kernel(const Shape s, const Columns columns, const T* patches,
                  const linear::Ending<Acc<T>> ending, T* x) {
  const index_t size = s.out.product(), count = columns.images * size;
  const index_t taps = s.kernel.product(), plane = s.in.product();
  for (index_t e = global_thread(); e < columns.images * plane; e += global_threads()) {
    const index_t image = e / plane, place = e - image * plane;
    const Extents at = s.in.at(place);
    for (index_t channel = blockIdx.y; channel < s.channels; channel += gridDim.y) {
      Acc<T> sum = 0;
      for (index_t i = 0; i < s.kernel.a; ++i) {
        const index_t oa = output_at(at.a + s.padding.a, i * s.dilation.a, s.stride.a, s.out.a);
        if (oa < 0) continue;
        for (index_t j = 0; j < s.kernel.b; ++j) {
          const index_t ob = output_at(at.b + s.padding.b, j * s.dilation.b, s.stride.b, s.out.b);
          if (ob < 0) continue;
          for (index_t k = 0; k < s.kernel.c; ++k) {
            const index_t oc = output_at(at.c + s.padding.c, k * s.dilation.c, s.stride.c, s.out.c);
            if (oc < 0) continue;
            const index_t row = channel * taps + (i * s.kernel.b + j) * s.kernel.c + k;
            sum += patches[row * count + image * size + (oa * s.out.b + ob) * s.out.c + oc];
          }
        }
      }
      x[((columns.first + image) * s.channels + channel) * plane + place] =
          static_cast<T>(linear::activate(ending, linear::add_bias(ending, sum, channel)));
    }
  }
}

// Between products (outputs, columns) and y (images, outputs, out), either way.
template <class T, class Move>
__device__ void each_output(const Shape& s, const Columns& columns, T* y, Move move) {
  const index_t size = s.out.product(), count = columns.images * size;
  for (index_t column = global_thread(); column < count; column += global_threads()) {
    const index_t image = column / size;
    T* const at = y + (columns.first + image) * s.outputs * size + (column - image * size);
    for (index_t o = blockIdx.y; o < s.outputs; o += gridDim.y) {
      move(o * count + column, o, at[o * size]);
    }
  }
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    finish_kernel(const Shape s, const Columns columns, const T* products,
                  const linear::Ending<Acc<T>> ending, T* y) {
  each_output(s, columns, y, [&](index_t from, index_t o, T& to) {
    to = static_cast<T>(
        linear::activate(ending, linear::add_bias<Acc<T>>(ending, products[from], o)));
  });
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    pack_outputs_kernel(const Shape s, const Columns columns, const T* y, T* packed) {
  each_output(s, columns, y, [&](index_t to, index_t, const T& from) { packed[to] = from; });
}

dim3 grid(index_t columns, index_t rows) {
  dim3 blocks = grid_for(columns, kThreads);
  // Few columns leave the device idle unless rows are spread over blocks as well.
  const index_t wanted = div_up(4096, static_cast<index_t>(blocks.x));
  blocks.y = static_cast<unsigned>(std::clamp<index_t>(wanted, 1, std::max<index_t>(1, rows)));
  return blocks;
}

}  // namespace

template <class T>
void pack(const Call& call, const Geometry& g, const Columns& columns, const T* x, T* patches) {
  launch(call, pack_kernel<T>,
         grid(columns.images * product(g.out), g.channels * product(g.kernel)), kThreads, Shape(g),
         columns, x, patches);
}

template <class T>
void unpack(const Call& call, const Geometry& g, const Columns& columns, const T* patches,
            const linear::Ending<Acc<T>>& ending, T* x) {
  launch(call, unpack_kernel<T>, grid(columns.images * product(g.in), g.channels), kThreads,
         Shape(g), columns, patches, ending, x);
}

template <class T>
void finish(const Call& call, const Geometry& g, const Columns& columns, const T* products,
            const linear::Ending<Acc<T>>& ending, T* y) {
  launch(call, finish_kernel<T>, grid(columns.images * product(g.out), g.outputs), kThreads,
         Shape(g), columns, products, ending, y);
}

template <class T>
void pack_outputs(const Call& call, const Geometry& g, const Columns& columns, const T* y,
                  T* packed) {
  launch(call, pack_outputs_kernel<T>, grid(columns.images * product(g.out), g.outputs), kThreads,
         Shape(g), columns, y, packed);
}

KERNELMILL_FOR_STORED(pack)
KERNELMILL_FOR_STORED(unpack)
KERNELMILL_FOR_STORED(finish)
KERNELMILL_FOR_STORED(pack_outputs)

}  // namespace kernelmill::convolution
