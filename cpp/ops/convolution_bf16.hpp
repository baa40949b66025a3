// Convolutions of float32 on tiles of bfloat16, where the processor has them
// (ops/matmul_tiles.hpp).
#pragma once

#include "ops/matmul_tiles.hpp"        // available
#include "ops/convolution_planes.hpp"  // Box, Source
#include "ops/convolution.hpp"         // Geometry, Ending

namespace kernelmill::convolution {

// A convolution without groups whose weight (o, c) lies at o * output_step + c * channel_step, its
// taps one after the other, or from last to first.
struct Taps32 {
  Geometry g;
  index_t output_step, channel_step;
  bool flipped;
};

// Whether tiles are expected to be faster than vectors.
bool tiles_of_bf16_pay(const Geometry& g);

// The convolution, or false if a value of it was not finite or parts of bfloat16 cannot hold what
// it is made of: y must then be computed in another way.
bool convolve_bf16(const Taps32& c, const float* x, const float* weight,
                   const Ending<float>& ending, float* y);

// Adds the products of a box to sums (taps, channels, outputs) of the gradient of the weights; x
// and dout are those of the first image of the box. False as above.
bool add_weight_gradient_bf16(const Geometry& g, const Box& box, const float* x, const float* dout,
                              float* sums);

}  // namespace kernelmill::convolution
