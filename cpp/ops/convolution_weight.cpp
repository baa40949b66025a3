// Gradient of the weights: the product of the gradients of all positions with their patches.
//
// The operand of one tap is that of the next one shifted, so inputs are packed once for all taps:
// for each tile of channels, the channels of one element after those of the other. Packing patches
// took a tenth to a fifth of the time.
#include <algorithm>    // std::max_element
#include <atomic>       // what the threads found
#include <type_traits>  // std::is_same_v

#include "core/parallel.hpp"  // ordered_reduce
#include "ops/convolution.hpp"
#include "ops/convolution_bf16.hpp"      // tiles of bfloat16
#include "ops/convolution_planes.hpp"    // Source, Taps
#include "ops/convolution_winograd.hpp"  // Square

namespace kernelmill::convolution {
namespace {

using tile::Params;

// Adds tiles to a dense matrix.
template <class T>
struct Add {
  static constexpr tile::Hooks hooks{};
  using Vec = typename Params<T>::Vec;
  static constexpr int NV = Params<T>::NV, lanes = Params<T>::lanes;

  MatrixView<T> out;

  template <int Rows>
  void tile(const Vec (&acc)[Rows][NV], index_t i0, index_t j0, index_t cols) {
    for (index_t r = 0; r < Rows; ++r) {
      T* const row = &out(i0 + r, j0);
      if (cols == Params<T>::NR) {
        for (int v = 0; v < NV; ++v) {
          tile::store(row + v * lanes, tile::load<Vec>(row + v * lanes) + acc[r][v]);
        }
      } else {
        for (index_t c = 0; c < cols; ++c) row[c] += acc[r][c / lanes][c % lanes];
      }
    }
  }
};

// Channels of the elements of all planes, packed tile by tile: element (i, p) is channel i at
// places[p] + shift.
template <class T>
class ShiftedA : public tile::TiledRows<T> {
 public:
  // `length` elements of each channel and image are packed, those of the images one after the
  // other.
  ShiftedA(const Source<T>& source, index_t channels, index_t images, index_t length,
           const std::vector<index_t>& places)
      : tile::TiledRows<T>(channels, static_cast<index_t>(places.size())),
        places_(places.data()),
        all_(images * length),
        memory_(static_cast<std::size_t>(channels * all_)) {
    const T* rows[2 * Params<T>::NR];
    for (index_t t = 0; t < this->tiles(); ++t) {
      const index_t i = this->tile_row(t), height = this->tile_row(t + 1) - i;
      T* to = memory_.data() + i * all_;
      for (index_t n = 0; n < images; ++n, to += length * height) {
        for (index_t r = 0; r < height; ++r) {
          rows[r] = source.data() + n * source.image_stride() + (i + r) * source.planes().plane();
        }
        tile::pack_rows(rows, height, length, to, height);
      }
    }
  }
  void shift(index_t by) { shift_ = by; }

  template <int Rows>
  struct Tile {
    const T* at;
    const index_t* places;
    T operator()(index_t q, int r) const { return at[places[q] * Rows + r]; }
  };
  template <int Rows>
  Tile<Rows> tile(index_t i, index_t p, index_t) const {
    return {memory_.data() + i * all_ + shift_ * Rows, places_ + p};
  }

 private:
  const index_t* places_;
  index_t all_, shift_ = 0;
  Workspace<T> memory_;
};

// Adds the sums over all positions of x times dout, for a few outputs and taps at once.
template <int outputs, int taps, class T>
void add_products(const T* x, const index_t* offsets, const T* dout, index_t dout_step,
                  const std::vector<Run>& runs, T* sums, index_t row, index_t step) {
  using Vec = typename Params<T>::Vec;
  constexpr int lanes = Params<T>::lanes;
  Vec acc[outputs][taps] = {};
  for (const Run& run : runs) {
    const T *d = dout + run.to, *at = x + run.from;
    for (index_t left = run.length; left > 0; left -= lanes, d += lanes, at += lanes) {
      const auto some = [&](const T* from) {
        if (left >= lanes) return tile::load<Vec>(from);
        T values[lanes] = {};  // what follows may be NaN
        for (index_t i = 0; i < left; ++i) values[i] = from[i];
        return tile::load<Vec>(values);
      };
      Vec gradients[outputs];
      KERNELMILL_UNROLL
      for (int o = 0; o < outputs; ++o) gradients[o] = some(d + o * dout_step);
      KERNELMILL_UNROLL
      for (int t = 0; t < taps; ++t) {
        const Vec input = some(at + offsets[t]);
        KERNELMILL_UNROLL
        for (int o = 0; o < outputs; ++o) acc[o][t] += gradients[o] * input;
      }
    }
  }
  for (int o = 0; o < outputs; ++o) {
    for (int t = 0; t < taps; ++t) {
      T sum = acc[o][t][0];
      for (int l = 1; l < lanes; ++l) sum += acc[o][t][l];
      sums[o * row + t * step] += sum;
    }
  }
}

// The same for all outputs and taps of a group. For each place in a row of taps the input is copied
// so that rows of outputs read one long run.
template <class T>
void add_long_runs(const Geometry& g, const Box& box, const T* x, const T* dout, T* sums) {
  const index_t outputs = g.group_outputs(), step = g.kernel[2], places = product(g.out);
  const index_t row = g.group_channels() * product(g.kernel);
  Geometry one = g;
  one.kernel[2] = 1;
  for (index_t k = 0; k < g.kernel[2]; ++k) {
    one.padding[2] = g.padding[2] - k * g.dilation[2];
    const Window window(one, box);
    const Source<T> source(x, box.images, g.channels * product(g.in), g.group_channels(), g.in,
                           window.first, window.length, g.stride, 0);
    const std::vector<Run> runs = Window::runs(one, box, source.planes(), source.image_stride());
    const std::vector<index_t> offsets = Window::taps(one, source.planes());
    const auto n = static_cast<index_t>(offsets.size());
    const auto add = [&]<int some, int taps>(index_t o, index_t t) {
      add_products<some, taps>(source.data(), &offsets[t], dout + o * places, places, runs,
                               sums + o * row + t * step + k, row, step);
    };
    constexpr index_t rows = 4, columns = 3;
    for (index_t o = 0; o < outputs;) {
      const bool wide = o + rows <= outputs;
      for (index_t t = 0; t < n;) {
        const bool several = t + columns <= n;
        if (wide && several) {
          add.template operator()<rows, columns>(o, t);
        } else if (wide) {
          add.template operator()<rows, 1>(o, t);
        } else if (several) {
          add.template operator()<1, columns>(o, t);
        } else {
          add.template operator()<1, 1>(o, t);
        }
        t += several ? columns : 1;
      }
      o += wide ? rows : 1;
    }
  }
}

// False if tiles of bfloat16 cannot hold what was found: dweight must then be made without them.
template <class T>
bool make_weight_gradient(const Geometry& g, const T* x, const T* dout, bool tiles, T* dweight) {
  const index_t channels = g.group_channels(), outputs = g.group_outputs();
  const index_t taps = product(g.kernel), depth = channels * taps, size = outputs * depth;
  if (g.groups * size == 0) return true;
  std::atomic<bool> held{true};
  // Boxes depend on sizes alone, and their sums are added in order. Positions run through whole
  // rows of the innermost axis, so that they are adjacent in dout.
  const bool few = outputs <= 2 || depth <= 32;
  // Otherwise tiles would be low, or the sums would take longer to be put in order than to be made.
  const bool by_taps =
      tiles || (!few && taps > 1 && channels >= 8 && g.images * product(g.out) >= index_t{1} << 12);
  const index_t values = channels * product(g.stride) + (few ? outputs : 0);
  // With tiles, sums are added once for each box, which must not take longer than to make them.
  const index_t wanted =
      tiles ? std::max<index_t>(1024, (index_t{1} << 20) / (12 * channels + 6 * outputs))
            : std::max<index_t>(2 * Params<T>::KC,
                                (index_t{256} << 10) / (values * index_t{sizeof(T)}));
  const Boxes boxes(g.images, g.out, wanted);
  constexpr index_t most = 16;  // partial sums
  const index_t grain =
      g.groups > 1 ? std::max<index_t>(1, boxes.count()) : bounded_grain(boxes.count(), 1, most);
  const auto add_boxes = [&](index_t group, index_t begin, index_t end, T* sums) {
    for (index_t b = begin; b < end; ++b) {
      const Box box = boxes[b];
      const index_t image = g.channels * product(g.in), out_image = g.outputs * product(g.out);
      const T* const inputs = x + box.image * image + group * channels * product(g.in);
      const T* const gradients = dout + box.image * out_image + group * outputs * product(g.out);
      if constexpr (std::is_same_v<T, float> && bf16::compiled) {
        if (tiles) {
          if (!add_weight_gradient_bf16(g, box, inputs, gradients, sums)) {
            held.store(false, std::memory_order_relaxed);
          }
          continue;
        }
      }
      if (few) {
        add_long_runs(g, box, inputs, gradients, sums);
        continue;
      }
      const Window window(g, box);
      const Source<T> source(inputs, box.images, image, channels, g.in, window.first, window.length,
                             g.stride, 0);
      const std::vector<index_t> offsets = Window::taps(g, source.planes());
      std::vector<index_t> rows;
      for (index_t o = 0; o < outputs; ++o) rows.push_back(o * product(g.out));
      if (by_taps) {
        // From the first element that is read to behind the last one.
        const Columns one(Window::runs(g, {0, 1, box.begin, box.count}, source.planes(), 0));
        const index_t length = *std::max_element(one.from.begin(), one.from.end()) +
                               *std::max_element(offsets.begin(), offsets.begin() + taps) + 1;
        const Columns columns(Window::runs(g, box, source.planes(), length));
        ShiftedA<T> a(source, channels, box.images, length, columns.from);
        tile::PackedB<T> packed(outputs, columns.size());
        packed.pack(Taps<T>{gradients, columns.to.data(), rows.data()}, 0, 0, outputs);
        for (index_t t = 0; t < taps; ++t) {
          a.shift(offsets[static_cast<std::size_t>(t)]);
          Add<T> out{dense(sums + t * channels * outputs, channels, outputs)};
          tile::product<T>(a, packed, 0, outputs, out);
        }
        continue;
      }
      const Columns columns(Window::runs(g, box, source.planes(), source.image_stride()));
      // dout is the operand that is broadcast: rows are channels, the depth are positions.
      const tile::PackedA<T> a(Taps<T>{gradients, columns.to.data(), rows.data()}, outputs,
                               columns.size());
      Add<T> out{dense(sums, outputs, depth)};
      tile::product<T>(a, Taps<T>{source.data(), columns.from.data(), offsets.data()}, 0, depth,
                       out);
    }
  };
  const auto make = [&] {
    Workspace<T> sums(static_cast<std::size_t>(size));
    std::fill_n(sums.data(), size, T{0});
    return sums;
  };
  // By taps, sums are (taps, channels, outputs).
  const auto write = [&](const T* sums, T* to) {
    if (!by_taps) {
      std::copy_n(sums, size, to);
      return;
    }
    // A line of sums at a time, so that it is read once.
    constexpr index_t line = 64 / sizeof(T);
    parallel_for(ceil_div(outputs, line), std::max<index_t>(1, (1 << 10) / depth),
                 [&](index_t, index_t begin, index_t end) {
                   for (index_t o = begin * line; o < std::min(outputs, end * line); o += line) {
                     const index_t count = std::min(line, outputs - o);
                     for (index_t p = 0; p < depth; ++p) {
                       const T* const from = sums + (p % taps * channels + p / taps) * outputs + o;
                       for (index_t l = 0; l < count; ++l) to[(o + l) * depth + p] = from[l];
                     }
                   }
                 });
  };
  if (g.groups > 1) {
    parallel_for(g.groups, 1, [&](index_t group, index_t, index_t) {
      const Workspace<T> sums = make();
      add_boxes(group, 0, boxes.count(), sums.data());
      write(sums.data(), dweight + group * size);
    });
    return true;
  }
  const Workspace<T> total = ordered_reduce<Workspace<T>>(
      boxes.count(), grain, make,
      [&](Workspace<T>& sums, index_t, index_t begin, index_t end) {
        add_boxes(0, begin, end, sums.data());
      },
      [&](Workspace<T>& into, Workspace<T>&& from) {
        for (index_t i = 0; i < size; ++i) into.data()[i] += from.data()[i];
      });
  write(total.data(), dweight);
  return held;
}

}  // namespace

template <class T>
void weight_gradient(const Geometry& g, const T* x, const T* dout, T* dweight) {
  if constexpr (std::is_same_v<T, float>) {
    if (flat(g)) {
      const Square s = square(g);
      if (gradient_tiles_pay(s) && tiled_weight_gradient(s, x, dout, dweight)) return;
    }
  }
  if constexpr (std::is_same_v<T, float> && bf16::compiled) {
    if (tiles_of_bf16_pay(g) && make_weight_gradient(g, x, dout, true, dweight)) return;
  }
  make_weight_gradient(g, x, dout, false, dweight);
}

template void weight_gradient<float>(const Geometry&, const float*, const float*, float*);
template void weight_gradient<double>(const Geometry&, const double*, const double*, double*);

}  // namespace kernelmill::convolution
