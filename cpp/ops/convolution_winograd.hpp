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

// Whether a convolution is one of these, and which.
inline bool flat(const Geometry& g) {
  return g.stride == Triple{1, 1, 1} && g.dilation == Triple{1, 1, 1} && g.in[1] == 1 &&
         g.kernel[1] == 1 && g.padding[1] == 0 && g.kernel[0] == g.kernel[2];
}
inline Square square(const Geometry& g) {
  const index_t channels = g.group_channels(), outputs = g.group_outputs();
  const index_t taps = g.kernel[0] * g.kernel[2], depth = channels * taps;
  return {g.images,
          channels,
          outputs,
          g.groups,
          {g.in[0], g.in[2]},
          {g.out[0], g.out[2]},
          {g.padding[0], g.padding[2]},
          g.kernel[0],
          depth,
          taps,
          outputs * depth,
          false};
}

// Whether tiles cost less than the taps one by one.
bool tiles_pay(const Square& s);

// The convolution, or false if a value of it was not finite: one such input spoils all outputs of
// its tiles, so y must then be computed in another way.
bool tiled(const Square& s, const float* x, const float* weight, const Ending<float>& ending,
           float* y);

// The same for the gradient of the weights.
bool gradient_tiles_pay(const Square& s);
bool tiled_weight_gradient(const Square& s, const float* x, const float* dout, float* dweight);

}  // namespace kernelmill::convolution
