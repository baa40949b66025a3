// Inputs are split into parts once, and tiles are read from them for each tap: the operand of one
// tap is that of another one shifted, so no patches are packed, and no value is split twice.
//
// Forward, a step of depth is 32 channels of one tap: channels c and c + 16 lie side by side, and
// positions one after the other. Positions run on from row to row and from image to image; those
// between the rows, whose windows belong to two rows, are computed and left out. In the gradient of
// the weights, depth are positions: p and p + 16 lie side by side, at each p, so that a tile may
// begin anywhere, and the gradients between the rows are zeros.
#include "ops/convolution_bf16.hpp"

#if defined(__x86_64__) && defined(__AVX512F__)

#include <atomic>  // what the threads found
#include <vector>  // offsets

#include "core/parallel.hpp"           // parallel_for, thread_limit
#include "ops/linear_activations.hpp"  // kActivations

namespace kernelmill::convolution {
namespace {

using bf16::side;
using bf16::step;

constexpr index_t half = side / 2;
// Parts below 2^-126 are lost: see ops/matmul_bf16.cpp.
constexpr float least = 0x1p-100f;

// Values of a row of parts: whole lines, an odd number of them, so that neighbouring rows do not
// meet in the same sets of a cache.
index_t row_values(index_t positions) { return (2 * positions / 32 / 2 * 2 + 3) * 32; }

bool all_finite(const float* block) {
  using Bits [[gnu::vector_size(64)]] = std::uint32_t;
  Bits most[2] = {};
  for (index_t i = 0; i < side * side; i += 32) {
    for (int e = 0; e < 2; ++e) {
      const Bits bits = tile::load<Bits>(block + i + 16 * e) & 0x7fffffffu;
      most[e] = most[e] > bits ? most[e] : bits;
    }
  }
  std::uint32_t largest = 0;
  for (int l = 0; l < 16; ++l) largest = std::max({largest, most[0][l], most[1][l]});
  return largest < 0x7f800000u;
}

// A number that only grows.
class Largest {
 public:
  void raise(float value) {
    float known = value_.load(std::memory_order_relaxed);
    while (value > known &&
           !value_.compare_exchange_weak(known, value, std::memory_order_relaxed)) {
    }
  }
  float get() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<float> value_{0};
};

bool held(float a, float b) {
  return a == 0 || b == 0 || (a >= least && b >= least && a * b >= least);
}

index_t rounded(index_t n) { return ceil_div(n, side) * side; }

}  // namespace

bool tiles_of_bf16_pay(const Geometry& g) {
  if (!bf16::available() || g.groups != 1 || g.channels < half || g.outputs < half) return false;
  const index_t work = g.images * product(g.out) * g.outputs * g.channels * product(g.kernel);
  return product(g.kernel) > 1 && work >= index_t{1} << 22;
}

bool convolve_bf16(const Taps32& c, const float* x, const float* weight,
                   const Ending<float>& ending, float* y) {
  const Geometry& g = c.g;
  const index_t taps = product(g.kernel), blocks = ceil_div(g.channels, side);
  const index_t steps = taps * blocks, depth = steps * step, strips = ceil_div(g.outputs, side);
  const index_t strip_size = bf16::strip_size(depth);
  Workspace<std::uint16_t> weights(static_cast<std::size_t>(strips * strip_size));
  std::vector<float> weight_largest(static_cast<std::size_t>(rounded(g.outputs)), 0.0f);
  parallel_for(strips, 1, [&](index_t s, index_t, index_t) {
    const index_t o = s * side, rows = std::min(side, g.outputs - o);
    Workspace<float> values(static_cast<std::size_t>(rows * depth));
    std::fill_n(values.data(), rows * depth, 0.0f);
    for (index_t r = 0; r < rows; ++r) {
      float* const to = values.data() + r * depth;
      for (index_t channel = 0; channel < g.channels; ++channel) {
        const float* const from = weight + (o + r) * c.output_step + channel * c.channel_step;
        for (index_t t = 0; t < taps; ++t) {
          to[t * blocks * side + channel] = from[c.flipped ? taps - 1 - t : t];
        }
      }
    }
    bf16::split(bf16::Operand::rows, values.data(), depth, 1, rows, depth,
                weights.data() + s * strip_size, weight_largest.data() + o);
  });

  // Boxes whose parts take half of a second-level cache, and enough of them for the threads.
  const index_t fitting = (index_t{512} << 10) / (6 * blocks * side);
  const index_t all = g.images * product(g.out), threads = thread_limit();
  const Boxes boxes(g.images, g.out,
                    std::max<index_t>(64, std::min(fitting, ceil_div(all, 2 * threads))));
  // Where the weights leave that cache, each strip of them meets several strips of positions.
  const index_t group = strips * strip_size * 2 > index_t{1} << 20 ? 8 : 1;
  const index_t image = g.channels * product(g.in), out_image = g.outputs * product(g.out);
  Largest input_largest;
  std::atomic<bool> finite{true};
  parallel_for(boxes.count(), 1, [&](index_t b, index_t, index_t) {
    const Box box = boxes[b];
    const Window window(g, box);
    const Source<float> source(x + box.image * image, box.images, image, g.channels, g.in,
                               window.first, window.length, g.stride, 1);
    const Planes& planes = source.planes();
    const index_t plane = planes.plane();
    const std::vector<Run> runs = Window::runs(g, box, planes, plane);
    std::vector<index_t> offsets = Window::taps(g, planes);  // of the first channel, and of others
    const index_t furthest = *std::max_element(offsets.begin(), offsets.begin() + taps);
    const index_t end = rounded(runs.back().from + runs.back().length);
    const index_t positions = std::max(end + furthest, box.images * plane);
    const index_t row = row_values(positions), part = half * row, block = 3 * part;
    Workspace<std::uint16_t> split(static_cast<std::size_t>(blocks * block));
    Workspace<float> none(static_cast<std::size_t>(plane));
    std::fill_n(none.data(), plane, 0.0f);
    float largest = 0;
    for (index_t k = 0; k < blocks; ++k) {
      for (index_t q = 0; q < half; ++q) {
        std::uint16_t* const to = split.data() + k * block + q * row;
        for (index_t n = 0; n < box.images; ++n) {
          const auto channel = [&](index_t i) {
            return i < g.channels ? source.data() + n * source.image_stride() + i * plane
                                  : none.data();
          };
          largest = std::max(
              largest, bf16::split_pair(channel(k * side + q), channel(k * side + half + q), plane,
                                        to + 2 * n * plane, part));
        }
        for (index_t e = 0; e < 3; ++e) {
          std::fill(to + e * part + 2 * box.images * plane, to + e * part + row, std::uint16_t{0});
        }
      }
    }
    input_largest.raise(largest);
    std::vector<index_t> places;
    for (index_t t = 0; t < taps; ++t) {
      for (index_t k = 0; k < blocks; ++k) {
        places.push_back(k * block + 2 * offsets[static_cast<std::size_t>(t)]);
      }
    }
    const auto activate = linear::kActivations<float>[ending.activation];
    float* const out = y + box.image * out_image;
    alignas(64) float sums[side * side] = {};
    const auto finish = [&](index_t o, index_t rows, index_t p, std::size_t run) {
      if (!all_finite(sums)) finite.store(false, std::memory_order_relaxed);
      for (index_t r = 0; r < rows; ++r) {
        float* const values = sums + r * side;
        if (ending.bias != nullptr) {
          for (index_t i = 0; i < side; ++i) values[i] += ending.bias[o + r];
        }
        if (activate != nullptr) activate(values, side, ending.parameter);
      }
      for (; run < runs.size() && runs[run].from < p + side; ++run) {
        const index_t first = std::max(p, runs[run].from);
        const index_t count = std::min(p + side, runs[run].from + runs[run].length) - first;
        float* const to = out + o * product(g.out) + runs[run].to + first - runs[run].from;
        for (index_t r = 0; r < rows; ++r) {
          copy_run(sums + r * side + first - p, count, to + r * product(g.out));
        }
      }
    };
    bf16::begin();
    std::size_t run = 0;
    for (index_t p = 0; p < end; p += group * side) {
      for (index_t s = 0; s < strips; ++s) {
        const index_t o = s * side, rows = std::min(side, g.outputs - o);
        std::size_t at = run;
        for (index_t q = p; q < std::min(end, p + group * side); q += side) {
          while (at < runs.size() && runs[at].from + runs[at].length <= q) ++at;
          if (at == runs.size() || runs[at].from >= q + side) continue;  // nothing but gaps
          bf16::multiply({weights.data() + s * strip_size},
                         {split.data() + 2 * q, places.data(), 0, part, 2 * half, row}, steps, rows,
                         side, false, sums);
          finish(o, rows, q, at);
        }
        if (s + 1 == strips) run = at;
      }
    }
    bf16::end();
  });
  float lightest = 1, heaviest = 0;
  for (index_t o = 0; o < g.outputs; ++o) {
    const float value = weight_largest[static_cast<std::size_t>(o)];
    if (value > 0) lightest = std::min(lightest, value);
    heaviest = std::max(heaviest, value);
  }
  return finite && (heaviest == 0 || held(lightest, input_largest.get()));
}

bool add_weight_gradient_bf16(const Geometry& g, const Box& box, const float* x, const float* dout,
                              float* sums) {
  const index_t taps = product(g.kernel), places = product(g.out);
  const Window window(g, box);
  const Source<float> source(x, box.images, g.channels * product(g.in), g.channels, g.in,
                             window.first, window.length, g.stride, 1);
  const Planes& planes = source.planes();
  const index_t plane = planes.plane(), all = box.images * plane;
  const std::vector<Run> runs = Window::runs(g, box, planes, plane);
  const std::vector<index_t> offsets = Window::taps(g, planes);
  const index_t furthest = *std::max_element(offsets.begin(), offsets.begin() + taps);
  const index_t end = rounded(runs.back().from + runs.back().length);
  // Rows of positions of a channel, or an output, with zeros behind the last one.
  const index_t length = std::max(end + furthest, all) + half;
  Workspace<float> values(static_cast<std::size_t>(length));
  const index_t row = row_values(length), channels = rounded(g.channels), part = channels * row;
  Workspace<std::uint16_t> inputs(static_cast<std::size_t>(3 * part));
  float input_largest = 0, gradient_largest = 0;
  for (index_t c = 0; c < channels; ++c) {
    std::uint16_t* const to = inputs.data() + c * row;
    if (c < g.channels) {
      for (index_t n = 0; n < box.images; ++n) {
        copy_run(source.data() + n * source.image_stride() + c * plane, plane,
                 values.data() + n * plane);
      }
      std::fill(values.data() + all, values.data() + length, 0.0f);
      input_largest = std::max(input_largest, bf16::split_pair(values.data(), values.data() + half,
                                                               length - half, to, part));
    } else {
      for (index_t e = 0; e < 3; ++e) std::fill_n(to + e * part, row, std::uint16_t{0});
    }
  }
  // Gradients: tiles of 16 pairs of positions by 16 outputs.
  const index_t steps = end / step, strips = ceil_div(g.outputs, side),
                size = bf16::strip_size(end);
  Workspace<std::uint16_t> gradients(static_cast<std::size_t>(strips * size));
  Workspace<float> rows(static_cast<std::size_t>(side * end));
  std::vector<float> largest(static_cast<std::size_t>(strips * side), 0.0f);
  for (index_t s = 0; s < strips; ++s) {
    const index_t o = s * side, count = std::min(side, g.outputs - o);
    std::fill_n(rows.data(), side * end, 0.0f);
    for (index_t r = 0; r < count; ++r) {
      for (const Run& run : runs) {
        copy_run(dout + (o + r) * places + run.to, run.length, rows.data() + r * end + run.from);
      }
    }
    bf16::split(bf16::Operand::columns, rows.data(), end, 1, count, end,
                gradients.data() + s * size, largest.data() + o);
  }
  for (const float value : largest) gradient_largest = std::max(gradient_largest, value);
  alignas(64) float block[side * side];
  bool odd = false;
  bf16::begin();
  for (index_t t = 0; t < taps; ++t) {
    for (index_t c = 0; c < g.channels; c += side) {
      const index_t height = std::min(side, g.channels - c);
      for (index_t s = 0; s < strips; ++s) {
        const index_t o = s * side, width = std::min(side, g.outputs - o);
        bf16::multiply({inputs.data() + c * row + 2 * offsets[static_cast<std::size_t>(t)], nullptr,
                        2 * step, part, half * row, row},
                       {gradients.data() + s * size}, steps, height, width, false, block);
        for (index_t r = 0; r < height; ++r) {
          float* const to = sums + (t * g.channels + c + r) * g.outputs + o;
          for (index_t e = 0; e < width; ++e) {
            const float value = block[r * side + e];
            to[e] += value;
            odd |= value - value != 0;  // infinite or NaN
          }
        }
      }
    }
  }
  bf16::end();
  return !odd && held(input_largest, gradient_largest);
}

}  // namespace kernelmill::convolution

#endif
