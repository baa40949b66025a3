// The gradient of the weights by the transposed method of Toom, Cook and Winograd: for
//
//     y = A' [sum over channels of (G w G') (B' d B)] A      (convolution_winograd.cpp)
//
// it is
//
//     dw = G' [sum over tiles of (A dy A') (B' d B)] G,
//
// 36 products, outputs x tiles by tiles x channels, in place of 9 * 16 or 25 * 4 multiplications
// for each tile. Both operands are transformed with channels along the lanes: rows are transposed
// once, tiles then need no shuffles, and vectors are stored where the product reads them.
#include <atomic>  // whether all values are finite

#include "core/parallel.hpp"             // parallel_for
#include "ops/convolution_planes.hpp"    // ceil_div, tile.hpp
#include "ops/convolution_points.hpp"    // A, B, G
#include "ops/convolution_winograd.hpp"  // Square

namespace kernelmill::convolution {
namespace {

using namespace winograd;
using tile::load;
using tile::store;

constexpr index_t NV = Params::NV, KC = Params::KC;
// Floats between the elements of two tiles of the operand that is broadcast: its rows, in whole
// vectors.
constexpr index_t pitch = (Params::MR + lanes - 1) / lanes * lanes;

// The operand that is broadcast: `pitch` floats for each column (a tile of the image) of each tile
// of rows.
class Gradients : public tile::TiledRows<float> {
 public:
  Gradients(const float* data, index_t rows, index_t columns)
      : TiledRows(rows, columns), data_(data) {}

  template <int Rows>
  struct Tile {
    const float* at;
    float operator()(index_t q, int r) const { return at[q * pitch + r]; }
  };
  template <int Rows>
  Tile<Rows> tile(index_t i, index_t p, index_t) const {
    const index_t tall = tall_tiles() * (short_height() + 1);
    const index_t t = i < tall ? i / (short_height() + 1)
                               : tall_tiles() + (i - tall) / std::max<index_t>(1, short_height());
    return {data_ + (t * depth() + p) * pitch};
  }

 private:
  const float* data_;
};

// Stores whole panels, or adds them to what is there.
struct Sum {
  static constexpr tile::Hooks hooks{.prefetch = true};
  float* out;
  index_t step;
  bool first;

  void prefetch(index_t i0, index_t rows, index_t j0) const {
    for (index_t i = i0; i < i0 + rows; ++i) {
      for (index_t v = 0; v < NV; ++v) __builtin_prefetch(out + i * step + j0 + v * lanes, 1);
    }
  }
  template <int Rows>
  void tile(const Vec (&acc)[Rows][Params::NV], index_t i0, index_t j0, index_t) const {
    float* row = out + i0 * step + j0;
    KERNELMILL_UNROLL
    for (int r = 0; r < Rows; ++r, row += step) {
      for (int v = 0; v < Params::NV; ++v) {
        float* const at = row + v * lanes;
        store(at, first ? acc[r][v] : load<Vec>(at) + acc[r][v]);
      }
    }
  }
};

template <int kernel>
class WeightGradient {
 public:
  static constexpr int m = points + 1 - kernel;

  WeightGradient(const Square& s, const float* x, const float* dout)
      : s_(s),
        x_(x),
        dout_(dout),
        lines_(ceil_div(s.out[0], m)),
        tiles_(ceil_div(s.out[1], m)),
        width_(tiles_ * m + kernel - 1),
        panels_(ceil_div(s.channels, NR)),
        row_tiles_(tile::TiledRows<float>(s.outputs, 1).tiles()),
        sums_(static_cast<std::size_t>(both * s.outputs * panels_ * NR)) {}

  bool run(float* dweight) {
    // Rows of tiles whose operands fit the caches that cores share, at most a chunk of the depth.
    // Of sizes alone: bits must not depend on the threads.
    const index_t column = both * (panels_ * NR + row_tiles_ * pitch);
    const index_t wanted = std::clamp<index_t>((index_t{1} << 20) / column, 64, KC);
    const index_t all = s_.images * lines_, per = std::max<index_t>(1, wanted / tiles_);
    const index_t blocks = ceil_div(all, per);
    for (group_ = 0; group_ < s_.groups; ++group_) {
      for (index_t b = 0; b < blocks; ++b) block(all * b / blocks, all * (b + 1) / blocks, b == 0);
      float* const to = dweight + group_ * s_.group_step;
      parallel_for(s_.outputs, std::max<index_t>(1, 256 / s_.channels),
                   [&](index_t, index_t o, index_t end) {
                     for (; o < end; ++o) finish(o, to + o * s_.output_step);
                   });
    }
    return finite_.load(std::memory_order_relaxed);
  }

 private:
  // Rows [line, line_end) of tiles, counted through all images.
  void block(index_t line, index_t line_end, bool first) {
    const index_t columns = (line_end - line) * tiles_, n = line_end - line;
    // 16 floats apart: the same places of different points must not fall into the same sets of the
    // first cache.
    const index_t input_step = panels_ * NR * columns + 16;
    const index_t gradient_step = row_tiles_ * pitch * columns + 16;
    const Workspace<float> inputs(static_cast<std::size_t>(both * input_step));
    const Workspace<float> gradients(static_cast<std::size_t>(both * gradient_step));
    const index_t vectors = ceil_div(s_.channels, lanes);
    parallel_for(n * (vectors + row_tiles_), 1, [&](index_t, index_t begin, index_t end) {
      const Workspace<float> memory(
          static_cast<std::size_t>(points * width_ * std::max(lanes, pitch)));
      for (; begin < end; ++begin) {
        const index_t at = begin % n, part = begin / n;
        if (part < vectors) {
          transform_inputs(part, line + at, memory.data(), columns, at * tiles_, inputs.data(),
                           input_step);
        } else {
          transform_gradients(part - vectors, line + at, memory.data(), columns, at * tiles_,
                              gradients.data(), gradient_step);
        }
      }
    });
    // Few tiles of rows at once, where they are many, so that all threads have work.
    const index_t share = std::max<index_t>(1, Params::MC / Params::MR);
    const index_t shares = ceil_div(row_tiles_, share);
    parallel_for(both * shares, 1, [&](index_t task, index_t, index_t) {
      const index_t f = task / shares, begin = task % shares;
      const tile::PackedB<float> b(inputs.data() + f * input_step, s_.channels, columns);
      Sum sum{sums_.data() + f * sum_step(), panels_ * NR, first};
      tile::product_tiles<float>(
          Gradients(gradients.data() + f * gradient_step, s_.outputs, columns),
          row_tiles_ * begin / shares, row_tiles_ * (begin + 1) / shares, b, 0, s_.channels, sum);
    });
  }
  index_t sum_step() const { return s_.outputs * panels_ * NR; }

  // Rows of some channels, channels along `lanes`: element (q, r) is that of channel r at q - left,
  // zeros outside.
  static void transpose(const float* row, index_t channel_step, index_t channels, index_t length,
                        index_t left, index_t width, float* to, index_t lanes_of_row) {
    const float* rows[2 * Params::NR];
    for (index_t r = 0; r < channels; ++r) rows[r] = row + r * channel_step;
    const index_t count = std::clamp<index_t>(width - left, 0, length);
    std::fill_n(to, left * lanes_of_row, 0.0F);
    tile::pack_rows(rows, channels, count, to + left * lanes_of_row, lanes_of_row);
    std::fill(to + (left + count) * lanes_of_row, to + width * lanes_of_row, 0.0F);
  }

  // B' d B of a vector of channels for the tiles of a line, which become columns from `column` on.
  void transform_inputs(index_t vector, index_t line, float* memory, index_t columns,
                        index_t column, float* inputs, index_t step) const {
    const index_t channel = vector * lanes, count = std::min(lanes, s_.channels - channel);
    const index_t plane = s_.in[0] * s_.in[1], left = std::min(s_.padding[1], width_);
    const index_t first = (line / lines_ * s_.groups + group_) * s_.channels + channel;
    for (index_t i = 0; i < points; ++i) {
      const index_t y = line % lines_ * m - s_.padding[0] + i;
      float* const to = memory + i * width_ * lanes;
      if (y < 0 || y >= s_.in[0]) {
        std::fill_n(to, width_ * lanes, 0.0F);
      } else {
        transpose(x_ + first * plane + y * s_.in[1], plane, count, s_.in[1], left, width_, to,
                  lanes);
      }
    }
    transform_columns<points, to_points>(memory, width_ * lanes);
    float* const to = inputs + vector / NV * NR * columns + vector % NV * lanes + column * NR;
    transform_rows<points, to_points>(memory, width_ * lanes, lanes, to, NR, step);
  }

  // A dy A' of a tile of rows.
  void transform_gradients(index_t t, index_t line, float* memory, index_t columns, index_t column,
                           float* gradients, index_t step) const {
    const tile::TiledRows<float> rows(s_.outputs, 1);
    const index_t channel = rows.tile_row(t), count = rows.tile_row(t + 1) - channel;
    const index_t plane = s_.out[0] * s_.out[1], width = tiles_ * m;
    const index_t first = (line / lines_ * s_.groups + group_) * s_.outputs + channel;
    for (index_t i = 0; i < m; ++i) {
      const index_t y = line % lines_ * m + i;
      float* const to = memory + i * width * pitch;
      if (y >= s_.out[0]) {
        std::fill_n(to, width * pitch, 0.0F);
      } else {
        transpose(dout_ + first * plane + y * s_.out[1], plane, count, s_.out[1], 0, width, to,
                  pitch);
      }
    }
    transform_columns<m, output_points<m>>(memory, width * pitch);
    for (index_t v = 0; v < pitch; v += lanes) {
      float* const to = gradients + (t * columns + column) * pitch + v;
      transform_rows<m, output_points<m>>(memory + v, width * pitch, pitch, to, pitch, step);
    }
  }

  // Along the first axis: `inputs` rows, `length` floats apart, become six.
  template <int inputs, auto transform>
  static void transform_columns(float* memory, index_t length) {
    for (index_t q = 0; q < length; q += lanes) {
      Vec d[inputs], v[points];
      KERNELMILL_UNROLL
      for (int i = 0; i < inputs; ++i) d[i] = load<Vec>(memory + i * length + q);
      transform(d, v);
      KERNELMILL_UNROLL
      for (int i = 0; i < points; ++i) store(memory + i * length + q, v[i]);
    }
  }

  // Along the other one: for each tile, whose elements are `apart` floats apart; point f goes to
  // to + f * step, tiles `next` floats apart.
  template <int inputs, auto transform>
  void transform_rows(const float* memory, index_t length, index_t apart, float* to, index_t next,
                      index_t step) const {
    for (index_t i = 0; i < points; ++i, memory += length, to += points * step) {
      const float* from = memory;
      float* at = to;
      for (index_t t = 0; t < tiles_; ++t, from += m * apart, at += next) {
        Vec d[inputs], v[points];
        KERNELMILL_UNROLL
        for (int j = 0; j < inputs; ++j) d[j] = load<Vec>(from + j * apart);
        transform(d, v);
        KERNELMILL_UNROLL
        for (int j = 0; j < points; ++j) store(at + j * step, v[j]);
      }
    }
  }

  // G' of the sums of an output.
  void finish(index_t o, float* dweight) {
    constexpr index_t taps = kernel * kernel;
    Vec odd{};
    for (index_t c = 0; c < s_.channels; c += lanes) {
      const float* const from = sums_.data() + o * panels_ * NR + c;
      Vec half_way[points][kernel], w[kernel][kernel];
      for (int i = 0; i < points; ++i) {
        Vec u[points];
        for (int j = 0; j < points; ++j) u[j] = load<Vec>(from + (i * points + j) * sum_step());
        from_weight_points<kernel>(u, half_way[i]);
      }
      for (int k = 0; k < kernel; ++k) {
        Vec u[points];
        for (int i = 0; i < points; ++i) u[i] = half_way[i][k];
        Vec column[kernel];
        from_weight_points<kernel>(u, column);
        for (int l = 0; l < kernel; ++l) w[l][k] = column[l];
      }
      for (index_t k = 0; k < taps; ++k) {
        const Vec& values = w[k / kernel][k % kernel];
        odd += 0.0F * values;
        for (index_t l = 0; l < std::min(lanes, s_.channels - c); ++l) {
          dweight[(c + l) * s_.channel_step + k] = values[l];
        }
      }
    }
    for (index_t l = 0; l < lanes; ++l) {
      if (!(odd[l] == 0)) finite_.store(false, std::memory_order_relaxed);
    }
  }

  const Square& s_;
  const float *x_, *dout_;
  // Rows of tiles of an image, tiles of a row, elements under a row, panels of channels, tiles of
  // outputs.
  index_t lines_, tiles_, width_, panels_, row_tiles_;
  index_t group_ = 0;
  Workspace<float> sums_;
  std::atomic<bool> finite_{true};
};

}  // namespace

bool gradient_tiles_pay(const Square& s) {
  if (s.kernel != 3 && s.kernel != 5) return false;
  const index_t m = points + 1 - s.kernel, width = ceil_div(s.out[1], m);
  if (width > KC || width == 0) return false;
  if (s.channels < 8 || s.outputs < 8) return false;  // tiles of the products would be low
  const auto number = [](index_t n) { return static_cast<double>(n); };
  const double tiles = number(s.images * ceil_div(s.out[0], m) * width);
  const double vectors = number(ceil_div(s.channels, lanes));
  const double rows = number(ceil_div(s.outputs, Params::MR) * pitch / lanes);
  // Cycles: 36 products for each tile, output and vector of channels; 1000 to transform 16 channels
  // of a tile, most of which memory takes (measured for 32 to 512 channels); 300 at the end.
  const double cost = both * tiles * vectors * number(s.outputs) +
                      1000.0 / 16 * number(lanes) * tiles * (vectors + rows) +
                      300 * vectors * number(s.outputs);
  const double taps = number(s.kernel * s.kernel * s.images * s.out[0] * s.out[1]);
  return cost <
         1.25 * taps * number(s.channels * s.outputs) / number(lanes);  // at 80 % of the peak
}

bool tiled_weight_gradient(const Square& s, const float* x, const float* dout, float* dweight) {
  return s.kernel == 3 ? WeightGradient<3>(s, x, dout).run(dweight)
                       : WeightGradient<5>(s, x, dout).run(dweight);
}

}  // namespace kernelmill::convolution
