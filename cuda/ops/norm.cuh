// The CUDA implementations of python/kernelmill/ops/norm.py. Views have shape (n, c, k).
#pragma once

#include "core/call.hpp"  // Call, CubeView

namespace kernelmill::norm {

// Parameters of c channels, null for none.
template <class T>
struct Scale {
  const Acc<T>*weight, *bias;
};
// Of n groups, or of c channels; variance may be null.
struct Statistics {
  double *mean, *variance, *inverse;
};

// With groups = 0 statistics are those of channels in the batch, else of groups in a sample.
template <class T>
void forward(const Call& call, CubeView<const T> x, index_t groups, double eps, bool centered,
             const Scale<T>& scale, const Statistics& to, CubeView<T> y);
// y from statistics of channels.
template <class T>
void evaluate(const Call& call, CubeView<const T> x, const double* mean, const double* inverse,
              const Scale<T>& scale, CubeView<T> y);

enum class Gradient { centered, uncentered, given };  // given: statistics are not those of x

template <class T>
void backward(const Call& call, CubeView<const T> dout, CubeView<const T> x, index_t groups,
              const double* mean, const double* inverse, const Acc<T>* weight, Gradient kind,
              CubeView<T> dx, Acc<T>* dweight, Acc<T>* dbias);

}  // namespace kernelmill::norm
