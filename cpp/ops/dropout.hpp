// Twin of python/kernelmill/ops/dropout.py.
#pragma once

#include <cstdint>  // std::uint64_t

#include "core/matrix.hpp"  // MatrixView

namespace kernelmill::dropout {

struct Mask {
  double p;
  std::uint64_t seed, stream;
  bool rows;
};

// y = kept ? scale x + shift : dropped; y is dense.
template <class T>
void dropout(MatrixView<const T> x, const Mask& mask, T scale, T shift, T dropped, MatrixView<T> y);

extern template void dropout<float>(MatrixView<const float>, const Mask&, float, float, float,
                                    MatrixView<float>);
extern template void dropout<double>(MatrixView<const double>, const Mask&, double, double, double,
                                     MatrixView<double>);

}  // namespace kernelmill::dropout
