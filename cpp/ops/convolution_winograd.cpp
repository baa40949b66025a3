// The method of Toom, Cook and Winograd (A. Lavin and S. Gray, "Fast Algorithms for Convolutional
// Neural Networks", CVPR 2016). A tile of m x m outputs, m = 7 - kernel, is made from the 6 x 6
// inputs d under it,
//
//     y = A' [sum over channels of (G w G') (B' d B)] A      (the middle product by elements),
//
// so 36 multiplications replace 9 * 16 or 25 * 4: 36 matrix products, outputs x channels by
// channels x tiles.
#include "ops/convolution_winograd.hpp"

#include <atomic>   // whether all values are finite
#include <cstdint>  // std::int32_t

#include "core/parallel.hpp"           // parallel_for, thread_limit
#include "ops/convolution_planes.hpp"  // copy_run, ceil_div, tile.hpp
#include "ops/convolution_points.hpp"  // A, B, G
#include "ops/linear_activations.hpp"  // activation_at

namespace kernelmill::convolution {
namespace {

using namespace winograd;
using Lanes [[gnu::vector_size(sizeof(Vec))]] = std::int32_t;
using tile::load;
using tile::store;

// Every second element of two vectors.
template <int first, int... I>
[[gnu::always_inline]] inline Vec half(const Vec& a, const Vec& b,
                                       std::integer_sequence<int, I...>) {
  return __builtin_shufflevector(a, b, (2 * I + first)...);
}
// Elements of two vectors in turn: the lower or the upper half of them.
template <int upper, int... I>
[[gnu::always_inline]] inline Vec turns(const Vec& a, const Vec& b,
                                        std::integer_sequence<int, I...>) {
  constexpr int n = sizeof...(I);
  return __builtin_shufflevector(a, b, (I / 2 + upper * n / 2 + I % 2 * n)...);
}
constexpr std::make_integer_sequence<int, static_cast<int>(lanes)> each{};

// Elements 0, m, 2 m, ..., then 1, m + 1, ..., of m vectors.
template <int m>
[[gnu::always_inline]] inline void deal(Vec (&v)[m]) {
  if constexpr (m == 2) {
    const Vec a = v[0];
    v[0] = half<0>(a, v[1], each);
    v[1] = half<1>(a, v[1], each);
  } else {
    const Vec even0 = half<0>(v[0], v[1], each), odd0 = half<1>(v[0], v[1], each);
    const Vec even1 = half<0>(v[2], v[3], each), odd1 = half<1>(v[2], v[3], each);
    v[0] = half<0>(even0, even1, each);
    v[1] = half<0>(odd0, odd1, each);
    v[2] = half<1>(even0, even1, each);
    v[3] = half<1>(odd0, odd1, each);
  }
}

// The inverse.
template <int m>
[[gnu::always_inline]] inline void collect(Vec (&v)[m]) {
  if constexpr (m == 2) {
    const Vec a = v[0];
    v[0] = turns<0>(a, v[1], each);
    v[1] = turns<1>(a, v[1], each);
  } else {
    const Vec even0 = turns<0>(v[0], v[2], each), odd0 = turns<0>(v[1], v[3], each);
    const Vec even1 = turns<1>(v[0], v[2], each), odd1 = turns<1>(v[1], v[3], each);
    v[0] = turns<0>(even0, odd0, each);
    v[1] = turns<1>(even0, odd0, each);
    v[2] = turns<0>(even1, odd1, each);
    v[3] = turns<1>(even1, odd1, each);
  }
}

// Elements `by`, by + 1, ... of a vector and the next one.
template <int by, int... I>
[[gnu::always_inline]] inline Vec shifted(const Vec& a, const Vec& next,
                                          std::integer_sequence<int, I...>) {
  return __builtin_shufflevector(a, next, (I + by)...);
}

// Stores tiles of one product below each other.
struct Keep {
  static constexpr tile::Hooks hooks{};
  float* out;
  index_t pitch, first;

  template <int Rows>
  void tile(const Vec (&acc)[Rows][Params::NV], index_t i0, index_t j0, index_t) {
    for (index_t r = 0; r < Rows; ++r) {
      for (int v = 0; v < Params::NV; ++v) {
        store(out + (i0 - first + r) * pitch + j0 + v * lanes, acc[r][v]);
      }
    }
  }
};

template <int kernel>
class Convolution {
 public:
  static constexpr int m = points + 1 - kernel;

  Convolution(const Square& s, const float* x, const Ending<float>& ending, float* y)
      : s_(s),
        x_(x),
        x_end_(x + s.images * s.groups * s.channels * s.in[0] * s.in[1]),
        ending_(ending),
        y_(y),
        lines_(ceil_div(s.out[0], m)),
        tiles_(ceil_div(s.out[1], m)),
        places_(ceil_div(tiles_ + (points - 1) / m, lanes) * lanes) {}

  bool run(const float* weight) {
    const index_t all = s_.images * lines_;
    const index_t per = block_lines(), blocks = ceil_div(all, per);
    for (group_ = 0; group_ < s_.groups; ++group_) {
      const float* const from = weight + group_ * s_.group_step;
      const auto lines_of = [&](index_t i) {
        return std::pair(all * i / blocks, all * (i + 1) / blocks);
      };
      if (blocks < thread_limit()) {
        std::vector<Block> some;
        for (index_t i = 0; i < blocks; ++i) some.emplace_back(*this, lines_of(i));
        make_together(from, some);
        continue;
      }
      Weights weights(0, s_.outputs, s_.channels);
      parallel_for(weights.by_point[0].tiles(), 1,
                   [&](index_t t, index_t, index_t) { transform_weights(from, t, weights); });
      parallel_for(blocks, 1, [&](index_t i, index_t, index_t) {
        const Block block(*this, lines_of(i));
        const Workspace<float> memory(scratch_size(block.columns));
        const Scratch scratch = scratch_of(memory.data(), block.columns);
        transform_inputs(block, 0, s_.channels, scratch);
        multiply(block, weights, scratch);
      });
    }
    return finite_.load(std::memory_order_relaxed);
  }

 private:
  // Rows of tiles in a block: 64 to 256 columns took the same time, 32 up to a fifth more, as all
  // weights are read for each block.
  index_t block_lines() const {
    const index_t all = s_.images * lines_;
    const index_t shared = ceil_div(all, 2 * thread_limit());
    const index_t limit =
        std::max<index_t>(1, std::min(4 * NR, std::max(shared * tiles_, NR)) / tiles_);
    index_t best = 1;  // fewest unused columns
    const auto share = [&](index_t n) {
      return static_cast<double>(n * tiles_) / static_cast<double>(ceil_div(n * tiles_, lanes));
    };
    for (index_t n = 2; n <= limit; ++n) best = share(n) >= share(best) ? n : best;
    return best;
  }

  // Outputs [row, row + rows) by points, packed.
  struct Weights {
    index_t row, step;  // between points
    Workspace<float> memory;
    std::vector<tile::PackedA<float>> by_point;

    Weights(index_t first, index_t rows, index_t channels)
        : row(first), step(rows * channels), memory(static_cast<std::size_t>(both * step)) {
      for (int f = 0; f < both; ++f)
        by_point.emplace_back(rows, channels, memory.data() + f * step);
    }
  };

  // Outputs run along the lanes, as the product reads them.
  void transform_weights(const float* weight, index_t t, Weights& to) const {
    const tile::PackedA<float>& packed = to.by_point[0];
    const index_t i = packed.tile_row(t), rows = packed.tile_row(t + 1) - i, row = to.row + i;
    const index_t chunk = packed.chunks().size, vectors = ceil_div(rows, lanes);
    constexpr index_t taps = kernel * kernel, most = 32;  // channels in the first cache
    const index_t pitch = vectors * lanes;
    const Workspace<float> memory(static_cast<std::size_t>(most * taps * pitch));
    const bool adjacent = s_.channel_step == taps;
    for (index_t c = 0; c < s_.channels; c += most) {
      const index_t count = std::min(most, s_.channels - c);
      for (index_t l = 0; l < count; l += adjacent ? count : 1) {
        const float* from[2 * NR];
        for (index_t r = 0; r < rows; ++r) {
          from[r] = weight + (row + r) * s_.output_step + (c + l) * s_.channel_step;
        }
        tile::pack_rows(from, rows, adjacent ? count * taps : taps,
                        memory.data() + l * taps * pitch, pitch);
      }
      for (index_t l = 0; l < count; ++l) {
        const index_t p = (c + l) / chunk * chunk, q = c + l - p;
        const index_t depth = std::min(chunk, s_.channels - p);
        // Where PackedA has element (i, c + l). What a vector spills is written over by the
        // channels that follow, where there are enough of them.
        float* const at = to.memory.data() + packed.rows() * p + i * depth + q * rows;
        for (index_t v = 0; v < vectors; ++v) {
          const float* const w = memory.data() + l * taps * pitch + v * lanes;
          const bool room = q * rows + (v + 1) * lanes <= depth * rows;
          const index_t valid = room ? lanes : std::min(lanes, rows - v * lanes);
          transform_weight(w, pitch, at + v * lanes, to.step, valid);
        }
      }
    }
  }

  // G w G' of a vector of outputs, whose taps are `pitch` apart.
  void transform_weight(const float* from, index_t pitch, float* to, index_t step,
                        index_t valid) const {
    constexpr index_t taps = kernel * kernel;
    Vec half_way[kernel][points];
    KERNELMILL_UNROLL
    for (int k = 0; k < kernel; ++k) {
      Vec w[kernel];
      KERNELMILL_UNROLL
      for (int l = 0; l < kernel; ++l) {
        const index_t tap = k * kernel + l;
        w[l] = load<Vec>(from + (s_.flipped ? taps - 1 - tap : tap) * pitch);
      }
      weight_points<kernel>(w, half_way[k]);
    }
    for (int j = 0; j < points; ++j) {
      Vec w[kernel], u[points];
      KERNELMILL_UNROLL
      for (int k = 0; k < kernel; ++k) w[k] = half_way[k][j];
      weight_points<kernel>(w, u);
      KERNELMILL_UNROLL
      for (int i = 0; i < points; ++i) {
        float* const at = to + (i * points + j) * step;
        if (valid == lanes) {
          store(at, u[i]);
        } else {
          for (index_t e = 0; e < valid; ++e) at[e] = u[i][e];
        }
      }
    }
  }

  // Rows [line, line_end) of tiles, counted through all images, and their inputs by points.
  struct Block {
    index_t line, line_end, columns, padded, step;
    Workspace<float> inputs;
    std::vector<tile::PackedB<float>> b;

    // 16 floats apart: rows of different points must not fall into the same sets of the L1 cache.
    Block(const Convolution& of, std::pair<index_t, index_t> lines)
        : line(lines.first),
          line_end(lines.second),
          columns((line_end - line) * of.tiles_),
          padded(ceil_div(columns, NR) * NR),
          step(padded * of.s_.channels + 16),
          inputs(static_cast<std::size_t>(both * step)) {
      for (int f = 0; f < both; ++f) {
        b.emplace_back(inputs.data() + f * step, columns, of.s_.channels);
      }
    }
  };

  // Few blocks, which all threads work at: each transforms some of the channels, then makes some of
  // the outputs. Weights are multiplied where they were transformed, in the second cache: through
  // memory, one image of 14 x 14 with 256 channels and outputs took 1.10 instead of 0.87 ms.
  void make_together(const float* weight, const std::vector<Block>& blocks) {
    const auto share = [&](index_t n, auto&& body) {
      parallel_for(n, ceil_div(n, 8 * thread_limit()), [&](index_t, index_t begin, index_t end) {
        const index_t columns = blocks[0].columns;  // the others have one row of tiles more at most
        const Workspace<float> memory(scratch_size(columns + tiles_));
        body(begin, end, scratch_of(memory.data(), columns + tiles_));
      });
    };
    share(s_.channels, [&](index_t begin, index_t end, const Scratch& scratch) {
      for (const Block& block : blocks) transform_inputs(block, begin, end, scratch);
    });
    const tile::TiledRows<float> tiles(s_.outputs, 1);
    share(tiles.tiles(), [&](index_t begin, index_t end, const Scratch& scratch) {
      for (; begin < end; ++begin) {
        const index_t row = tiles.tile_row(begin);
        Weights weights(row, tiles.tile_row(begin + 1) - row, s_.channels);
        transform_weights(weight, 0, weights);
        for (const Block& block : blocks) multiply(block, weights, scratch);
      }
    });
  }

  struct Scratch;
  void transform_inputs(const Block& block, index_t begin, index_t end,
                        const Scratch& scratch) const {
    for (index_t c = begin; c < end; ++c) {
      for (index_t n = block.line; n < block.line_end; ++n) {
        transform_columns(c, n, (n - block.line) * tiles_, scratch);
      }
      transform_rows(c, block.columns, block.b[0], block.step, scratch);
    }
  }

  void multiply(const Block& block, const Weights& weights, const Scratch& scratch) {
    const tile::PackedA<float>& first = weights.by_point[0];
    const index_t rows_at_once =
        std::max<index_t>(Params::MR, (index_t{128} << 10) / (both * block.padded * 4));
    const index_t step = std::clamp<index_t>(rows_at_once / Params::MR, 1, first.tiles());
    const index_t output_step = step * Params::MR * block.padded + 16;
    const Workspace<float> outputs(static_cast<std::size_t>(both * output_step + lanes));
    for (index_t t = 0; t < first.tiles(); t += step) {
      const index_t end = std::min(first.tiles(), t + step), row = first.tile_row(t);
      for (std::size_t f = 0; f < both; ++f) {
        Keep keep{outputs.data() + static_cast<index_t>(f) * output_step, block.padded, row};
        tile::product_tiles<float>(weights.by_point[f], t, end, block.b[f], 0, block.columns, keep);
      }
      for (index_t i = row; i < first.tile_row(end); ++i) {
        finish(weights.row + i, block.line, block.line_end,
               outputs.data() + (i - row) * block.padded, output_step, scratch);
      }
    }
  }

  // Memory of a thread, for one channel at a time.
  struct Scratch {
    float* rows;     // 6 rows of the input, transformed along the first axis
    float* copies;   // 6 rows of the input, and zeros
    float* dealt;    // elements (i, j) of all tiles of the block, next to each other
    float* outputs;  // m rows of the result for each row of tiles
    index_t dealt_step, output_step;
  };
  index_t margin() const { return s_.padding[1] + 2 * lanes; }
  index_t copy_step() const { return s_.in[1] + 2 * margin(); }
  index_t spread(index_t columns) const { return ceil_div(columns, lanes) * lanes + lanes; }
  std::size_t scratch_size(index_t columns) const {
    return static_cast<std::size_t>(points * places_ * m + 7 * copy_step() +
                                    (both + m * m) * spread(columns));
  }
  Scratch scratch_of(float* memory, index_t columns) const {
    Scratch s{};
    s.rows = memory;
    s.copies = s.rows + points * places_ * m;
    s.dealt = s.copies + 7 * copy_step();
    s.dealt_step = spread(columns);
    s.outputs = s.dealt + both * s.dealt_step;
    s.output_step = m * s.dealt_step;
    std::fill(memory, s.dealt, 0.0F);
    return s;
  }

  // B' along the first axis for a row of tiles, whose elements are then dealt out to the tiles,
  // from column q on.
  void transform_columns(index_t c, index_t line, index_t q, const Scratch& scratch) const {
    const index_t height = s_.in[0], width = s_.in[1], left = s_.padding[1];
    const index_t plane = (line / lines_ * s_.groups + group_) * s_.channels + c;
    const float* from[points];
    for (index_t i = 0; i < points; ++i) {
      const index_t y = line % lines_ * m - s_.padding[0] + i;
      from[i] = scratch.copies + points * copy_step() + margin();  // zeros
      if (y < 0 || y >= height) continue;
      from[i] = x_ + (plane * height + y) * width;
      if (from[i] - x_ >= left && x_end_ - from[i] >= width + lanes) continue;
      float* const copy = scratch.copies + i * copy_step() + margin();
      std::copy_n(from[i], width, copy);  // vectors would reach beyond the ends of x
      from[i] = copy;
    }
    const index_t pitch = places_ * m;
    for (index_t w = left / lanes * lanes; w < std::min(pitch, width + left); w += lanes) {
      Vec d[points], v[points];
      KERNELMILL_UNROLL
      for (int i = 0; i < points; ++i) d[i] = load<Vec>(from[i] + w - left);
      to_points(d, v);
      if (w < left || w + lanes > width + left) {  // zeros outside
        Lanes place;
        for (index_t l = 0; l < lanes; ++l) place[l] = static_cast<std::int32_t>(w - left + l);
        const auto inside = (place >= 0) & (place < static_cast<std::int32_t>(width));
        for (int i = 0; i < points; ++i) v[i] = inside ? v[i] : Vec{};
      }
      KERNELMILL_UNROLL
      for (int i = 0; i < points; ++i) store(scratch.rows + i * pitch + w, v[i]);
    }
    for (index_t i = 0; i < points; ++i) {
      const auto take = [&](index_t t, Vec(&v)[m]) {
        const float* const row = scratch.rows + i * pitch + t * m;
        KERNELMILL_UNROLL
        for (int k = 0; k < m; ++k) v[k] = load<Vec>(row + k * lanes);
        deal<m>(v);
      };
      float* const to = scratch.dealt + i * points * scratch.dealt_step + q;
      Vec now[m], next[m];
      take(0, now);
      for (index_t t = 0; t < tiles_; t += lanes) {
        take(std::min(t + lanes, places_ - lanes), next);
        KERNELMILL_UNROLL
        for (int j = 0; j < m; ++j) store(to + j * scratch.dealt_step + t, now[j]);
        store(to + m * scratch.dealt_step + t, shifted<1>(now[0], next[0], each));
        store(to + (m + 1) * scratch.dealt_step + t, shifted<1>(now[1], next[1], each));
        if constexpr (m == 2) {
          store(to + 4 * scratch.dealt_step + t, shifted<2>(now[0], next[0], each));
          store(to + 5 * scratch.dealt_step + t, shifted<2>(now[1], next[1], each));
        }
        KERNELMILL_UNROLL
        for (int k = 0; k < m; ++k) now[k] = next[k];
      }
    }
  }

  // B' along the other axis, for all tiles of the block.
  void transform_rows(index_t c, index_t columns, const tile::PackedB<float>& b, index_t step,
                      const Scratch& scratch) const {
    const index_t chunk = b.chunks().size, p = c / chunk * chunk;
    const index_t depth = std::min(chunk, s_.channels - p);
    for (index_t q = 0; q < columns; q += lanes) {
      float* const to = b.panel(q / NR * NR, p, depth) + (c - p) * NR + q % NR;
      KERNELMILL_UNROLL
      for (index_t i = 0; i < points; ++i) {
        Vec d[points], v[points];
        KERNELMILL_UNROLL
        for (int j = 0; j < points; ++j) {
          d[j] = load<Vec>(scratch.dealt + (i * points + j) * scratch.dealt_step + q);
        }
        to_points(d, v);
        KERNELMILL_UNROLL
        for (int j = 0; j < points; ++j) store(to + (i * points + j) * step, v[j]);
      }
    }
  }

  // An output channel of the block.
  void finish(index_t o, index_t line, index_t line_end, const float* products, index_t step,
              const Scratch& scratch) {
    const index_t width = s_.out[1], channel = group_ * s_.outputs + o;
    const index_t columns = (line_end - line) * tiles_;
    const float shift = ending_.bias == nullptr ? 0.0F : ending_.bias[channel];
    for (index_t q = 0; q < columns; q += lanes) {
      Vec half_way[m][points];
      KERNELMILL_UNROLL
      for (int i = 0; i < points; ++i) {
        Vec v[points], y[m];
        KERNELMILL_UNROLL
        for (int j = 0; j < points; ++j) v[j] = load<Vec>(products + (i * points + j) * step + q);
        from_points<m>(v, y);
        KERNELMILL_UNROLL
        for (int j = 0; j < m; ++j) half_way[j][i] = y[j];
      }
      Vec y[m][m];
      KERNELMILL_UNROLL
      for (int j = 0; j < m; ++j) {
        Vec column[m];
        from_points<m>(half_way[j], column);
        KERNELMILL_UNROLL
        for (int i = 0; i < m; ++i) y[i][j] = column[i] + shift;
      }
      KERNELMILL_UNROLL
      for (int i = 0; i < m; ++i) {
        collect<m>(y[i]);
        KERNELMILL_UNROLL
        for (int j = 0; j < m; ++j) {
          store(scratch.outputs + i * scratch.output_step + q * m + j * lanes, y[i][j]);
        }
      }
    }
    const auto activate = linear::activation_at<float>(ending_.activation);
    Vec odd{};
    for (index_t i = 0; i < m; ++i) {
      float* const row = scratch.outputs + i * scratch.output_step;
      store(row + columns * m, Vec{});
      for (index_t w = 0; w < columns * m; w += lanes) odd += 0.0F * load<Vec>(row + w);
      if (activate != nullptr) activate(row, columns * m, ending_.parameter);
      for (index_t n = line; n < line_end; ++n) {
        const index_t y = n % lines_ * m + i;
        if (y >= s_.out[0]) continue;
        const index_t plane = n / lines_ * s_.groups * s_.outputs + channel;
        copy_run(row + (n - line) * tiles_ * m, width, y_ + (plane * s_.out[0] + y) * width);
      }
    }
    for (index_t l = 0; l < lanes; ++l) {
      if (!(odd[l] == 0)) finite_.store(false, std::memory_order_relaxed);
    }
  }

  const Square& s_;
  const float *x_, *x_end_;
  Ending<float> ending_;
  float* y_;
  // Rows of tiles of an image, tiles of a row, and these with what the last ones reach into.
  index_t lines_, tiles_, places_;
  index_t group_ = 0;
  std::atomic<bool> finite_{true};
};

}  // namespace

bool tiles_pay(const Square& s) {
  if (s.kernel != 3 && s.kernel != 5) return false;
  const index_t m = points + 1 - s.kernel;
  const auto number = [](index_t n) { return static_cast<double>(n); };
  const double lines = number(s.images * ceil_div(s.out[0], m));
  const double vectors = lines * number(ceil_div(s.out[1], m)) / number(lanes);
  const double outputs = 1 / number(s.outputs), channels = 1 / number(s.channels);
  // Operations on vectors for each channel and output: 36 products for a vector of tiles, about 600
  // to transform it one way or the other, more where rows are short, and about 25 for a weight.
  const double cost =
      both * vectors + 600 * vectors * (channels + outputs) + 150 * lines * outputs + 25;
  return cost * number(lanes) < number(s.kernel * s.kernel * s.images * s.out[0] * s.out[1]);
}

bool tiled(const Square& s, const float* x, const float* weight, const Ending<float>& ending,
           float* y) {
  return s.kernel == 3 ? Convolution<3>(s, x, ending, y).run(weight)
                       : Convolution<5>(s, x, ending, y).run(weight);
}

}  // namespace kernelmill::convolution
