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
#include "ops/linear_activations.hpp"  // activation_at

namespace kernelmill::convolution {
namespace {

using bf16::side;
using bf16::step;

constexpr index_t half = side / 2;
// Values of a row of parts: whole lines, an odd number of them, so that neighbouring rows do not
// meet in the same sets of a cache.
index_t row_values(index_t positions) { return (2 * positions / 32 / 2 * 2 + 3) * 32; }

// The least positive number that was seen, 1 at most.
class Least {
 public:
  void see(float value) {
    float known = value_.load(std::memory_order_relaxed);
    while (value > 0 && value < known &&
           !value_.compare_exchange_weak(known, value, std::memory_order_relaxed)) {
    }
  }
  float get() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<float> value_{1};
};

index_t rounded(index_t n) { return ceil_div(n, side) * side; }

}  // namespace

bool tiles_of_bf16_pay(const Geometry& g) {
  if (!bf16::available() || g.groups != 1 || g.channels < half || g.outputs < half) return false;
  const index_t taps = product(g.kernel), all = g.images * product(g.out);
  // Below, in what vectors make in 40 us, splitting and planes would take most of the time.
  if (taps == 1 || all * g.outputs * g.channels * taps < index_t{1} << 22) return false;
  // Positions between rows and images are computed, too: 7 of 9 positions in 7 of 9 rows are 0.6.
  const Window window(g, {0, 1, {0, 0, 0}, g.out});
  index_t plane = 1;
  for (std::size_t a = 0; a < 3; ++a) plane *= ceil_div(window.length[a], g.stride[a]);
  return 10 * product(g.out) >= 7 * plane;
}

namespace {

// The parts of the inputs of a box: rows of positions for each pair of channels.
struct Inputs {
  std::vector<Run> runs;
  std::vector<index_t> places;  // of the steps
  index_t end, row, part;
  std::vector<float> largest;  // |x| of each image
  Workspace<std::uint16_t> parts;

  Inputs(const Geometry& g, const Box& box, const float* x) {
    const index_t taps = product(g.kernel), blocks = ceil_div(g.channels, side);
    const index_t image = g.channels * product(g.in);
    const Window window(g, box);
    const Source<float> source(x + box.image * image, box.images, image, g.channels, g.in,
                               window.first, window.length, g.stride, 1);
    const index_t plane = source.planes().plane(), all = box.images * plane;
    runs = Window::runs(g, box, source.planes(), plane);
    const std::vector<index_t> offsets = Window::taps(g, source.planes());
    const index_t furthest = *std::max_element(offsets.begin(), offsets.begin() + taps);
    end = rounded(runs.back().from + runs.back().length);
    row = row_values(std::max(end + furthest, all));
    part = half * row;
    const index_t block = 3 * part;
    largest.resize(static_cast<std::size_t>(box.images), 0.0f);
    parts = Workspace<std::uint16_t>(static_cast<std::size_t>(blocks * block));
    Workspace<float> none(static_cast<std::size_t>(plane));
    std::fill_n(none.data(), plane, 0.0f);
    for (index_t pair = 0; pair < blocks * half; ++pair) {
      const index_t first = pair / half * side + pair % half;
      std::uint16_t* const to = parts.data() + pair / half * block + pair % half * row;
      for (index_t n = 0; n < box.images; ++n) {
        const auto channel = [&](index_t i) {
          return i < g.channels ? source.data() + n * source.image_stride() + i * plane
                                : none.data();
        };
        float& most = largest[static_cast<std::size_t>(n)];
        most = std::max(most, bf16::split_pair(channel(first), channel(first + half), plane,
                                               to + 2 * n * plane, part));
      }
      for (index_t e = 0; e < 3; ++e) {
        std::fill(to + e * part + 2 * all, to + e * part + row, std::uint16_t{0});
      }
    }
    for (index_t t = 0; t < taps; ++t) {
      for (index_t k = 0; k < blocks; ++k) {
        places.push_back(k * block + 2 * offsets[static_cast<std::size_t>(t)]);
      }
    }
  }
};

class Convolution {
 public:
  Convolution(const Taps32& c, const float* weight, const Ending<float>& ending, float* y)
      : c_(c),
        g_(c.g),
        ending_(ending),
        activate_(linear::activation_at<float>(ending.activation)),
        weight_(weight),
        y_(y),
        blocks_(ceil_div(g_.channels, side)),
        steps_(product(g_.kernel) * blocks_),
        strips_(ceil_div(g_.outputs, side)),
        strip_size_(bf16::strip_size(steps_ * step)),
        weights_(static_cast<std::size_t>(strips_ * strip_size_)),
        weight_largest_(static_cast<std::size_t>(rounded(g_.outputs)), 0.0f) {}

  bool run(const float* x) {
    // Boxes whose parts take half of a second-level cache, and several of them for the threads;
    // they do not depend on these, as a box says what parts can hold.
    const index_t fitting = (index_t{512} << 10) / (6 * blocks_ * side);
    const index_t all = g_.images * product(g_.out);
    const Boxes boxes(g_.images, g_.out, std::max<index_t>(256, std::min(fitting, all / 8)));
    if (boxes.count() < 2 * thread_limit() && strips_ > 1) {
      // Few positions: weights are used as soon as they are split.
      for (index_t b = 0; b < boxes.count(); ++b) {
        const Inputs inputs(g_, boxes[b], x);
        for (const float value : inputs.largest) input_least_.see(value);
        parallel_for(strips_, 1, [&](index_t s, index_t, index_t) {
          if (b == 0) split_weights(s);
          multiply(boxes[b], inputs, s, s + 1);
        });
      }
    } else {
      parallel_for(strips_, 1, [&](index_t s, index_t, index_t) { split_weights(s); });
      parallel_for(boxes.count(), 1, [&](index_t b, index_t, index_t) {
        const Inputs inputs(g_, boxes[b], x);
        for (const float value : inputs.largest) input_least_.see(value);
        multiply(boxes[b], inputs, 0, strips_);
      });
    }
    Least weight_least;
    for (const float value : weight_largest_) weight_least.see(value);
    return finite_ && bf16::is_held(weight_least.get(), input_least_.get());
  }

 private:
  void split_weights(index_t s) {
    const index_t taps = product(g_.kernel), depth = steps_ * step;
    const index_t o = s * side, rows = std::min(side, g_.outputs - o);
    Workspace<float> values(static_cast<std::size_t>(rows * depth));
    std::fill_n(values.data(), rows * depth, 0.0f);
    for (index_t r = 0; r < rows; ++r) {
      float* const to = values.data() + r * depth;
      for (index_t channel = 0; channel < g_.channels; ++channel) {
        const float* const from = weight_ + (o + r) * c_.output_step + channel * c_.channel_step;
        for (index_t t = 0; t < taps; ++t) {
          to[t * blocks_ * side + channel] = from[c_.flipped ? taps - 1 - t : t];
        }
      }
    }
    bf16::split(bf16::Operand::rows, values.data(), depth, 1, rows, depth,
                weights_.data() + s * strip_size_, weight_largest_.data() + o);
  }

  // Strips [begin, end) of outputs.
  void multiply(const Box& box, const Inputs& in, index_t begin, index_t end) {
    // Where the weights leave the cache, each strip of them meets several strips of positions.
    const index_t group = strips_ * strip_size_ * 2 > index_t{1} << 20 ? 8 : 1;
    const index_t places = product(g_.out);
    float* const out = y_ + box.image * g_.outputs * places;
    alignas(64) float sums[side * side] = {};
    std::size_t first = 0;
    const bf16::Tiles tiles;
    for (index_t p = 0; p < in.end; p += group * side) {
      std::size_t run = first;
      for (index_t s = begin; s < end; ++s) {
        run = first;
        for (index_t q = p; q < std::min(in.end, p + group * side); q += side) {
          while (run < in.runs.size() && in.runs[run].from + in.runs[run].length <= q) ++run;
          if (run == in.runs.size() || in.runs[run].from >= q + side) continue;  // gaps alone
          const index_t rows = std::min(side, g_.outputs - s * side);
          // Rows of outputs lie far apart: their lines are fetched while tiles are multiplied.
          const float* const to = out + s * side * places + in.runs[run].to +
                                  std::max<index_t>(0, q - in.runs[run].from);
          for (index_t r = 0; r < rows; ++r) {
            __builtin_prefetch(to + r * places, 1);
            __builtin_prefetch(to + r * places + half, 1);
          }
          bf16::multiply_deep(
              {weights_.data() + s * strip_size_},
              {in.parts.data() + 2 * q, in.places.data(), 0, in.part, 2 * half, in.row}, steps_,
              rows, side, sums);
          finish(in.runs, run, q, s * side, rows, sums, out);
        }
      }
      first = run;
    }
  }

  // Stores what lies in the runs from `run` on that meet positions [p, p + side).
  void finish(const std::vector<Run>& runs, std::size_t run, index_t p, index_t o, index_t rows,
              float* sums, float* out) {
    const index_t places = product(g_.out);
    struct Piece {
      index_t from, count;
      float* to;
    };
    const auto pieces = [&](auto&& body) {
      for (std::size_t i = run; i < runs.size() && runs[i].from < p + side; ++i) {
        const index_t from = std::max(p, runs[i].from);
        const index_t count = std::min(p + side, runs[i].from + runs[i].length) - from;
        body(Piece{from - p, count, out + o * places + runs[i].to + from - runs[i].from});
      }
    };
    bool odd = false;  // what lies between the runs does not count
    pieces([&](const Piece& piece) {
      for (index_t r = 0; r < rows; ++r) {
        const float* const values = sums + r * side + piece.from;
        for (index_t i = 0; i < piece.count; ++i) odd |= values[i] - values[i] != 0;
      }
    });
    if (odd) finite_.store(false, std::memory_order_relaxed);
    for (index_t r = 0; r < rows; ++r) {
      float* const values = sums + r * side;
      if (ending_.bias != nullptr) {
        for (index_t i = 0; i < side; ++i) values[i] += ending_.bias[o + r];
      }
      if (activate_ != nullptr) activate_(values, side, ending_.parameter);
    }
    pieces([&](const Piece& piece) {
      for (index_t r = 0; r < rows; ++r) {
        copy_run(sums + r * side + piece.from, piece.count, piece.to + r * places);
      }
    });
  }

  const Taps32& c_;
  const Geometry& g_;
  const Ending<float>& ending_;
  linear::Activate<float> activate_;
  const float* weight_;
  float* y_;
  index_t blocks_, steps_, strips_, strip_size_;
  Workspace<std::uint16_t> weights_;
  std::vector<float> weight_largest_;
  Least input_least_;
  std::atomic<bool> finite_{true};
};

}  // namespace

bool convolve_bf16(const Taps32& c, const float* x, const float* weight,
                   const Ending<float>& ending, float* y) {
  return Convolution(c, weight, ending, y).run(x);
}

bool add_weight_gradient_bf16(const Geometry& g, const Box& box, const float* x, const float* dout,
                              float* sums) {
  const index_t taps = product(g.kernel), places = product(g.out);
  const Window window(g, box);
  const Source<float> source(x, box.images, g.channels * product(g.in), g.channels, g.in,
                             window.first, window.length, g.stride, 1);
  const index_t plane = source.planes().plane(), all = box.images * plane;
  const std::vector<Run> runs = Window::runs(g, box, source.planes(), plane);
  const std::vector<index_t> offsets = Window::taps(g, source.planes());
  const index_t furthest = *std::max_element(offsets.begin(), offsets.begin() + taps);
  const index_t end = rounded(runs.back().from + runs.back().length);
  Least input_least, gradient_least;  // of the largest values of channels, and of outputs
  std::atomic<bool> finite{true};

  // Gradients: tiles of 16 pairs of positions by 16 outputs, zeros between the runs.
  const index_t strips = ceil_div(g.outputs, side), size = bf16::strip_size(end);
  Workspace<std::uint16_t> gradients(static_cast<std::size_t>(strips * size));
  parallel_for(strips, 1, [&](index_t s, index_t, index_t) {
    const index_t o = s * side, count = std::min(side, g.outputs - o);
    Workspace<float> rows(static_cast<std::size_t>(count * end));
    std::fill_n(rows.data(), count * end, 0.0f);
    for (index_t r = 0; r < count; ++r) {
      for (const Run& run : runs) {
        copy_run(dout + (o + r) * places + run.to, run.length, rows.data() + r * end + run.from);
      }
    }
    float largest[side] = {};
    bf16::split(bf16::Operand::columns, rows.data(), end, 1, count, end,
                gradients.data() + s * size, largest);
    for (const float value : largest) gradient_least.see(value);
  });
  // Inputs: rows of positions of each channel, with zeros behind the last one.
  const index_t length = std::max(end + furthest, all) + half;
  const index_t row = row_values(length), part = side * row;
  parallel_for(ceil_div(g.channels, side), 1, [&](index_t block, index_t, index_t) {
    const index_t c = block * side, height = std::min(side, g.channels - c);
    Workspace<std::uint16_t> inputs(static_cast<std::size_t>(3 * part));
    Workspace<float> values(static_cast<std::size_t>(length));
    std::fill(values.data() + all, values.data() + length, 0.0f);
    for (index_t r = 0; r < (height <= half ? half : side); ++r) {
      std::uint16_t* const to = inputs.data() + r * row;
      for (index_t e = 0; r >= height && e < 3; ++e) {
        std::fill_n(to + e * part, row, std::uint16_t{0});
      }
      if (r >= height) continue;
      for (index_t n = 0; n < box.images; ++n) {
        copy_run(source.data() + n * source.image_stride() + (c + r) * plane, plane,
                 values.data() + n * plane);
      }
      input_least.see(
          bf16::split_pair(values.data(), values.data() + half, length - half, to, part));
    }
    alignas(64) float sum[side * side];
    bool odd = false;
    const bf16::Tiles tiles;
    for (index_t s = 0; s < strips; ++s) {
      const index_t o = s * side, width = std::min(side, g.outputs - o);
      for (index_t t = 0; t < taps; ++t) {
        bf16::multiply_deep({inputs.data() + 2 * offsets[static_cast<std::size_t>(t)], nullptr,
                             2 * step, part, half * row, row},
                            {gradients.data() + s * size}, end / step, height, width, sum);
        for (index_t r = 0; r < height; ++r) {
          float* const to = sums + (t * g.channels + c + r) * g.outputs + o;
          for (index_t e = 0; e < width; ++e) {
            const float value = sum[r * side + e];
            to[e] += value;
            odd |= value - value != 0;  // infinite or NaN
          }
        }
      }
    }
    if (odd) finite.store(false, std::memory_order_relaxed);
  });
  return finite && bf16::is_held(input_least.get(), gradient_least.get());
}

}  // namespace kernelmill::convolution

#endif
