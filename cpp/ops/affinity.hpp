// Twin of python/kernelmill/ops/affinity.py.
#pragma once

#include "core/matrix.hpp"  // MatrixView

namespace kernelmill::affinity {

// One exchange of messages for each row of evidence, which gets r(j, j) + a(j, j) after it.
void exchange(MatrixView<const double> s, MatrixView<double> r, MatrixView<double> a,
              double damping, MatrixView<double> evidence);

}  // namespace kernelmill::affinity
