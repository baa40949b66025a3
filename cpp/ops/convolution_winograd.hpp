// Convolutions with few multiplications: square kernels of 3 or 5 taps at stride 1, in float32.
#pragma once

#include "ops/convolution.hpp"  // Geometry, Ending

namespace kernelmill::convolution {

// Two spatial axes; weight (o, c) lies at o * output_step + c * channel_step.
struct Square {
  index_t images, channels, outputs, groups;  // channels and outputs of one group
  std::array<index_t, 2> in, out, padding;
  index_t kernel, output_step, channel_step, group_step;
  bool flipped;  // taps from last to first
};

// Whether tiles cost less than the taps one by one.
bool tiles_pay(const Square& s);

// The convolution, or false if a value of it was not finite: one such input spoils all outputs of
// its tiles, so y must then be computed in another way.
bool tiled(const Square& s, const float* x, const float* weight, const Ending<float>& ending,
           float* y);

}  // namespace kernelmill::convolution
