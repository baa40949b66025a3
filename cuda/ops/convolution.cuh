// Convolutions on CUDA: patches are packed as columns, products are cuBLAS, and their results are
// put in place with bias and activation.
#pragma once

#include "ops/convolution.hpp"  // Geometry
#include "ops/linear.cuh"       // Ending

namespace kernelmill::convolution {

// Columns stand for the outputs of `images` images from `first` on, image after image.
struct Columns {
  index_t first, images;
};

// patches (channels kernel, columns) of x.
template <class T>
void pack(const Call& call, const Geometry& g, const Columns& columns, const T* x, T* patches);
// The inverse: each element of x is the sum over the patches that hold it, then the ending.
template <class T>
void unpack(const Call& call, const Geometry& g, const Columns& columns, const T* patches,
            const linear::Ending<Acc<T>>& ending, T* x);
// y (images, outputs, out) from columns (outputs, columns), with the ending; or columns from y.
template <class T>
void finish(const Call& call, const Geometry& g, const Columns& columns, const T* products,
            const linear::Ending<Acc<T>>& ending, T* y);
template <class T>
void pack_outputs(const Call& call, const Geometry& g, const Columns& columns, const T* y,
                  T* packed);

}  // namespace kernelmill::convolution
