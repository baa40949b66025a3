// Forward pass and gradient of the input: products of the weights with patches that are packed
// straight from padded planes.
#include "ops/convolution.hpp"

#include <numeric>      // std::iota
#include <optional>     // std::optional
#include <type_traits>  // std::is_same_v
#include <utility>      // std::move

#include "core/parallel.hpp"             // parallel_for, thread_limit
#include "ops/convolution_bf16.hpp"      // tiles of bfloat16
#include "ops/convolution_planes.hpp"    // Source, Columns, Patches
#include "ops/convolution_winograd.hpp"  // tiled
#include "ops/linear_activations.hpp"    // activation_at
#include "ops/matmul.hpp"                // images times kernels of one element

namespace kernelmill::convolution {
namespace {

using tile::load;
using tile::Params;
using tile::store;

// Bytes of packed patches that stay in the L2 cache beside weights of up to kLarge bytes.
constexpr index_t kNear = index_t{192} << 10, kLarge = index_t{512} << 10;

// What `slide` may read beyond the last element.
template <class T>
constexpr index_t kSpare = 4 * Params<T>::lanes;

// Stores tiles at the places of their columns.
template <class T>
struct Store {
  static constexpr tile::Hooks hooks{.prefetch = true};
  using Vec = typename Params<T>::Vec;
  static constexpr int NV = Params<T>::NV, lanes = Params<T>::lanes, NR = Params<T>::NR;

  T* out;
  index_t row_stride;
  const index_t* to;
  const T* bias;
  linear::Activate<T> activate;
  T parameter;

  // Rows are planes apart: no hardware sees what comes next.
  void prefetch(index_t i0, index_t rows, index_t j0) const {
    const T* row = out + i0 * row_stride + to[j0];
    for (index_t r = 0; r < rows; ++r, row += row_stride) {
      for (int v = 0; v < NV; ++v) __builtin_prefetch(row + v * lanes, 1);
    }
  }

  template <int Rows>
  void tile(const Vec (&acc)[Rows][NV], index_t i0, index_t j0, index_t cols) {
    const bool adjacent = to[j0 + cols - 1] - to[j0] == cols - 1;
    T* const first = out + i0 * row_stride;
    const auto shift = [&](int r) { return bias == nullptr ? T{0} : bias[i0 + r]; };
    if (adjacent && cols == NR && activate == nullptr) {
      KERNELMILL_UNROLL
      for (int r = 0; r < Rows; ++r) {
        for (int v = 0; v < NV; ++v) {
          store(first + r * row_stride + to[j0] + v * lanes, acc[r][v] + shift(r));
        }
      }
      return;
    }
    T values[Rows][NR];
    KERNELMILL_UNROLL
    for (int r = 0; r < Rows; ++r) {
      for (int v = 0; v < NV; ++v) store(&values[r][v * lanes], acc[r][v] + shift(r));
    }
    if (activate != nullptr) activate(values[0], Rows * NR, parameter);
    write(values[0], Rows, first, j0, cols);
  }

  // Not inlined: one loop for all heights of tiles. Adjacent columns go together.
  [[gnu::noinline]] void write(const T* values, int rows, T* first, index_t j0,
                               index_t cols) const {
    for (index_t c = 0; c < cols;) {
      index_t end = c + 1;
      while (end < cols && to[j0 + end] == to[j0 + end - 1] + 1) ++end;
      for (index_t r = 0; r < rows; ++r) {
        copy_run(values + r * NR + c, end - c, first + r * row_stride + to[j0 + c]);
      }
      c = end;
    }
  }
};

// Few rows: each element is a sum over the taps, a vector of adjacent positions at a time. Rows of
// planes are read beyond their ends.
template <class T>
void slide(const T* x, const std::vector<index_t>& taps, const std::vector<Run>& runs,
           const T* weights, index_t rows, const Store<T>& out) {
  using Vec = typename Params<T>::Vec;
  constexpr int lanes = Params<T>::lanes, most = 4;
  const std::size_t depth = taps.size();
  for (index_t i = 0; i < rows; ++i, weights += depth) {
    const T shift = out.bias == nullptr ? T{0} : out.bias[i];
    for (const Run& run : runs) {
      for (index_t j = 0; j < run.length; j += most * lanes) {
        const index_t left = run.length - j;
        T* const row = out.out + i * out.row_stride + run.to + j * run.step;
        const auto sums_of = [&]<int vectors>() {
          Vec sums[vectors] = {};
          for (std::size_t p = 0; p < depth; ++p) {
            const T* const at = x + taps[p] + run.from + j;
            KERNELMILL_UNROLL
            for (int v = 0; v < vectors; ++v) sums[v] += weights[p] * load<Vec>(at + v * lanes);
          }
          T values[vectors * lanes];
          const index_t count = std::min<index_t>(left, vectors * lanes);
          T* const target = count == vectors * lanes && run.step == 1 ? row : values;
          for (int v = 0; v < vectors; ++v) store(target + v * lanes, sums[v] + shift);
          if (out.activate != nullptr) out.activate(target, vectors * lanes, out.parameter);
          if (target == row) return;
          for (index_t e = 0; e < count; ++e) row[e * run.step] = values[e];
        };
        if (left <= lanes) {
          sums_of.template operator()<1>();
        } else if (left <= 2 * lanes) {
          sums_of.template operator()<2>();
        } else {
          sums_of.template operator()<most>();
        }
      }
    }
  }
}

// The weights of one group: element (i, p) is data[i * row_stride + offsets[p]]. Packed, or as they
// are where there are few rows.
template <class T>
struct Weights {
  const T* data;
  index_t row_stride;
  std::vector<index_t> offsets;
  tile::PackedA<T> a;
  bool few;
  std::vector<T> values;

  Weights(const T* from, index_t rows, index_t stride, std::vector<index_t> at)
      : data(from),
        row_stride(stride),
        offsets(std::move(at)),
        a(rows, static_cast<index_t>(offsets.size())),
        few(rows <= 2) {
    for (index_t i = 0; few && i < rows; ++i) {
      for (const index_t offset : offsets) values.push_back(data[i * row_stride + offset]);
    }
  }
  void pack(index_t tile, index_t tile_end) {
    const index_t depth = a.depth();
    if (depth > 0 && offsets.back() - offsets.front() == depth - 1) {  // adjacent
      const tile::Strided<T> rows{data + offsets.front(), row_stride, 1};
      a.pack(rows, tile, tile_end);
    } else {
      const auto of = [this](index_t i, index_t p) {
        return data[i * row_stride + offsets[static_cast<std::size_t>(p)]];
      };
      a.pack(tile::Elements<decltype(of)>{of}, tile, tile_end);
    }
  }
};

// All tiles of all weights, shared out.
template <class T>
void pack(std::vector<Weights<T>>& weights) {
  if (weights.empty() || weights[0].few) return;
  const index_t tiles = weights[0].a.tiles(), n = static_cast<index_t>(weights.size());
  const index_t tile_size =
      weights[0].a.rows() * weights[0].a.depth() / std::max<index_t>(1, tiles);
  const index_t grain = std::max<index_t>(1, (1 << 14) / std::max<index_t>(1, tile_size));
  parallel_for(n * tiles, grain, [&](index_t, index_t begin, index_t end) {
    for (; begin < end; ++begin) {
      weights[static_cast<std::size_t>(begin / tiles)].pack(begin % tiles, begin % tiles + 1);
    }
  });
}

// Positions that read and are stored in one way, for all groups.
struct Part {
  std::vector<Run> runs;
  Columns columns;  // empty where there are few rows
  std::vector<index_t> taps;

  Part(std::vector<Run> all, std::vector<index_t> offsets, bool few)
      : runs(std::move(all)), columns(few ? std::vector<Run>{} : runs), taps(std::move(offsets)) {}
};

// Shares out boxes, groups and, where these are too few for the threads, tiles of the weights.
// body(box, group, group_end, multiply), where multiply(weights, x, part, out) makes its share.
template <class T, class Body>
void run(const Boxes& boxes, index_t groups, const std::vector<Weights<T>>& weights, Body body) {
  const index_t count = boxes.count(), threads = thread_limit();
  if (count == 0 || weights.empty()) return;
  const index_t group_step = std::clamp<index_t>(groups * count / (4 * threads), 1, groups);
  const index_t parts = ceil_div(groups, group_step);
  const index_t tiles = weights[0].few ? 1 : std::max<index_t>(1, weights[0].a.tiles());
  const index_t shares = std::clamp<index_t>(ceil_div(2 * threads, parts * count), 1, tiles);
  parallel_for(parts * count * shares, 1, [&](index_t task, index_t, index_t) {
    const index_t share = task % shares, box = task / shares % count;
    const index_t group = task / shares / count * group_step;
    const auto multiply = [&](const Weights<T>& used, const T* x, const Part& part, Store<T> out) {
      if (used.few) {
        slide(x, part.taps, part.runs, used.values.data(), used.a.rows(), out);
        return;
      }
      const index_t begin = used.a.tiles() * share / shares;
      const index_t end = used.a.tiles() * (share + 1) / shares;
      const Patches<T> patches{x, part.columns.from.data(), part.taps.data()};
      out.to = part.columns.to.data();
      // Packed patches of a block stay in the L2 cache, unless the weights themselves leave it:
      // then every block of columns costs a pass over them.
      const index_t depth = std::max<index_t>(1, used.a.depth()), item = sizeof(T);
      const index_t fitting = kNear / (depth * item) / Params<T>::NR * Params<T>::NR;
      index_t step = std::clamp<index_t>(fitting, 2 * Params<T>::NR, Params<T>::NC);
      if (used.a.rows() * depth * item > kLarge) step = Params<T>::NC;
      for (index_t j = 0; j < part.columns.size(); j += step) {
        tile::product_tiles<T>(used.a, begin, end, patches, j,
                               std::min(part.columns.size(), j + step), out);
      }
    };
    body(boxes[box], group, std::min(groups, group + group_step), multiply);
  });
}

// Positions of a box: so many that its part of the input (`channels` values for each) stays in an
// eighth of an L2 cache, beside packed weights and patches, and that there is work for all threads.
// Where the weights of a group leave the cache (`weights` values), boxes are as wide as the product
// likes its blocks, since each reads them all.
template <class T>
index_t positions(const Geometry& g, const Triple& size, index_t channels, index_t weights) {
  index_t fitting = (index_t{128} << 10) / (channels * index_t{sizeof(T)});
  if (weights * index_t{sizeof(T)} > kLarge) fitting = std::max<index_t>(fitting, Params<T>::NC);
  const index_t all = g.images * product(size) * g.groups;
  return std::max<index_t>(std::min(fitting, ceil_div(all, 4 * thread_limit())), 4 * Params<T>::NR);
}

template <class T>
Store<T> storing(T* out, index_t row_stride, const Ending<T>& ending, index_t channel) {
  return {out,
          row_stride,
          nullptr,
          ending.bias == nullptr ? nullptr : ending.bias + channel,
          linear::activation_at<T>(ending.activation),
          ending.parameter};
}

// Whether each position is read by itself: a product of the weights with each image.
bool pointwise(const Geometry& g) {
  constexpr Triple one{1, 1, 1}, none{0, 0, 0};
  return g.kernel == one && g.stride == one && g.padding == none;
}

// to = ending(weight from) for each image and group, where a row is a channel.
template <class T>
void multiply_images(const Geometry& g, MatrixView<const T> weight, const T* from,
                     const Ending<T>& ending, T* to) {
  const index_t places = product(g.out), count = g.images * g.groups;
  const auto one = [&](index_t i) {
    const index_t group = i % g.groups, channel = group * weight.rows;
    const MatrixView<const T> used{weight.data + group * weight.rows * weight.cols, weight.rows,
                                   weight.cols, weight.row_stride, weight.col_stride};
    Finish<T> finish{{}, linear::activation_at<T>(ending.activation), ending.parameter, {}};
    if (ending.bias != nullptr) {
      finish.bias = {ending.bias + channel, weight.rows, places, 1, 0};
    }
    matmul<T>(used, {from + i * weight.cols * places, weight.cols, places, places, 1},
              dense(to + i * weight.rows * places, weight.rows, places), T{1}, T{0}, finish);
  };
  if (count < thread_limit()) {
    for (index_t i = 0; i < count; ++i) one(i);
    return;
  }
  parallel_for(count, 1, [&](index_t i, index_t, index_t) { one(i); });
}

}  // namespace

template <class T>
void forward(const Geometry& g, const T* x, const T* weight, const Ending<T>& ending, T* y) {
  const index_t channels = g.group_channels(), outputs = g.group_outputs();
  const index_t depth = channels * product(g.kernel);
  if (pointwise(g)) {
    return multiply_images<T>(g, {weight, outputs, channels, channels, 1}, x, ending, y);
  }
  if constexpr (std::is_same_v<T, float>) {
    if (flat(g)) {
      const Square s = square(g);
      if (tiles_pay(s) && tiled(s, x, weight, ending, y)) return;
    }
  }
  if constexpr (std::is_same_v<T, float> && bf16::compiled) {
    const index_t taps = product(g.kernel);
    if (tiles_of_bf16_pay(g) && convolve_bf16({g, depth, taps, false}, x, weight, ending, y))
      return;
  }
  std::vector<Weights<T>> weights;
  for (index_t group = 0; group < g.groups; ++group) {
    std::vector<index_t> offsets(static_cast<std::size_t>(depth));
    std::iota(offsets.begin(), offsets.end(), index_t{0});
    weights.emplace_back(weight + group * outputs * depth, outputs, depth, std::move(offsets));
  }
  pack(weights);
  const index_t image = g.channels * product(g.in), out_image = g.outputs * product(g.out);
  const Boxes boxes(g.images, g.out,
                    positions<T>(g, g.out, channels * product(g.stride), outputs * depth));
  run<T>(boxes, g.groups, weights,
         [&](const Box& box, index_t group, index_t group_end, auto multiply) {
           const Window window(g, box);
           std::optional<Part> part;
           for (; group < group_end; ++group) {
             const Weights<T>& used = weights[static_cast<std::size_t>(group)];
             const Source<T> source(x + box.image * image + group * channels * product(g.in),
                                    box.images, image, channels, g.in, window.first, window.length,
                                    g.stride, used.few ? kSpare<T> : 0);
             if (!part) {
               part.emplace(Window::runs(g, box, source.planes(), source.image_stride()),
                            Window::taps(g, source.planes()), used.few);
             }
             T* const out = y + box.image * out_image + group * outputs * product(g.out);
             multiply(used, source.data(), *part,
                      storing(out, product(g.out), ending, group * outputs));
           }
         });
}

namespace {

// Elements of x whose distance from a multiple of the stride is the same, a phase, are reached by
// the same taps, from neighbouring elements of y.
struct Phase {
  Triple at;
  std::vector<index_t> numbers;  // of the taps
  std::vector<Triple> shifts;    // how many strides a tap reaches back

  static std::vector<Phase> all(const Geometry& g) {
    std::vector<Phase> phases;
    for (index_t i = 0; i < product(g.stride); ++i) {
      const index_t w = g.stride[2], m = g.stride[1];
      phases.push_back({{i / w / m, i / w % m, i % w}, {}, {}});
    }
    for (index_t t = 0; t < product(g.kernel); ++t) {
      const Triple k{t / g.kernel[2] / g.kernel[1], t / g.kernel[2] % g.kernel[1], t % g.kernel[2]};
      Triple shift;
      index_t number = 0;
      for (std::size_t a = 0; a < 3; ++a) {
        number = number * g.stride[a] + k[a] * g.dilation[a] % g.stride[a];
        shift[a] = k[a] * g.dilation[a] / g.stride[a];
      }
      phases[static_cast<std::size_t>(number)].numbers.push_back(t);
      phases[static_cast<std::size_t>(number)].shifts.push_back(shift);
    }
    return phases;
  }

  Part part(const Geometry& g, const Box& box, const Triple& first, const Planes& planes,
            index_t image_stride, bool few) const {
    Triple begin, end;  // in strides, from `first` on
    for (std::size_t a = 0; a < 3; ++a) {
      const index_t low = box.begin[a] + g.padding[a] - at[a];
      begin[a] = ceil_div(low, g.stride[a]) - first[a];
      end[a] = ceil_div(low + box.count[a], g.stride[a]) - first[a];
    }
    const auto place = [&](std::size_t a, index_t q) {
      return (q + first[a]) * g.stride[a] + at[a] - g.padding[a];
    };
    std::vector<Run> runs;
    for (index_t n = 0; n < box.images && begin[2] < end[2]; ++n) {
      for (index_t a = begin[0]; a < end[0]; ++a) {
        for (index_t m = begin[1]; m < end[1]; ++m) {
          const index_t row = place(0, a) * g.in[1] + place(1, m);
          runs.push_back({n * image_stride + planes.offset({a, m, begin[2]}),
                          n * g.channels * product(g.in) + row * g.in[2] + place(2, begin[2]),
                          end[2] - begin[2], g.stride[2]});
        }
      }
    }
    std::vector<index_t> taps;
    for (index_t o = 0; o < g.group_outputs(); ++o) {
      for (const Triple& shift : shifts) {
        taps.push_back(o * planes.plane() - planes.offset(shift));
      }
    }
    return {std::move(runs), std::move(taps), few};
  }
};

}  // namespace

template <class T>
void input_gradient(const Geometry& g, const T* dout, const T* weight, const Ending<T>& ending,
                    T* dx) {
  const index_t channels = g.group_channels(), outputs = g.group_outputs();
  const index_t taps = product(g.kernel);
  if (pointwise(g)) {
    return multiply_images<T>(g, {weight, channels, outputs, 1, channels}, dout, ending, dx);
  }
  if constexpr (std::is_same_v<T, float>) {
    const index_t reach = g.kernel[0] - 1;
    if (flat(g) && g.padding[0] <= reach && g.padding[2] <= reach) {
      const Square s{g.images,
                     outputs,
                     channels,
                     g.groups,
                     {g.out[0], g.out[2]},
                     {g.in[0], g.in[2]},
                     {reach - g.padding[0], reach - g.padding[2]},
                     g.kernel[0],
                     taps,
                     channels * taps,
                     outputs * channels * taps,
                     true};
      if (tiles_pay(s) && tiled(s, dout, weight, ending, dx)) return;
    }
  }
  if constexpr (std::is_same_v<T, float> && bf16::compiled) {
    // At stride 1, a convolution of dout with the taps in reverse.
    Geometry turned = g;
    std::swap(turned.channels, turned.outputs);
    std::swap(turned.in, turned.out);
    for (std::size_t a = 0; a < 3; ++a) {
      turned.padding[a] = (g.kernel[a] - 1) * g.dilation[a] - g.padding[a];
    }
    if (g.stride == Triple{1, 1, 1} && tiles_of_bf16_pay(turned) &&
        convolve_bf16({turned, taps, channels * taps, true}, dout, weight, ending, dx)) {
      return;
    }
  }
  const std::vector<Phase> phases = Phase::all(g);
  std::vector<Weights<T>> weights;
  for (index_t group = 0; group < g.groups; ++group) {
    for (const Phase& phase : phases) {
      std::vector<index_t> offsets;
      for (index_t o = 0; o < outputs; ++o) {
        for (const index_t number : phase.numbers) offsets.push_back(o * channels * taps + number);
      }
      weights.emplace_back(weight + group * outputs * channels * taps, channels, taps,
                           std::move(offsets));
    }
  }
  pack(weights);
  const index_t image = g.outputs * product(g.out), in_image = g.channels * product(g.in);
  const Boxes boxes(g.images, g.in,
                    positions<T>(g, g.in, ceil_div(outputs, product(g.stride)),
                                 channels * outputs * taps / product(g.stride)));
  run<T>(boxes, g.groups, weights,
         [&](const Box& box, index_t group, index_t group_end, auto multiply) {
           Triple first, length;
           for (std::size_t a = 0; a < 3; ++a) {
             const index_t begin = box.begin[a] + g.padding[a];
             first[a] = begin / g.stride[a] - (g.kernel[a] - 1) * g.dilation[a] / g.stride[a];
             length[a] = (begin + box.count[a] - 1) / g.stride[a] + 1 - first[a];
           }
           std::vector<Part> parts;
           for (; group < group_end; ++group) {
             const Weights<T>* used = &weights[static_cast<std::size_t>(group) * phases.size()];
             const Source<T> source(dout + box.image * image + group * outputs * product(g.out),
                                    box.images, image, outputs, g.out, first, length, {1, 1, 1},
                                    used->few ? kSpare<T> : 0);
             if (parts.empty()) {
               for (const Phase& phase : phases) {
                 parts.push_back(
                     phase.part(g, box, first, source.planes(), source.image_stride(), used->few));
               }
             }
             T* const out = dx + box.image * in_image + group * channels * product(g.in);
             for (const Part& part : parts) {
               multiply(*used++, source.data(), part,
                        storing(out, product(g.in), ending, group * channels));
             }
           }
         });
}

#define KERNELMILL_CONVOLUTION(T)                                                      \
  template void forward<T>(const Geometry&, const T*, const T*, const Ending<T>&, T*); \
  template void input_gradient<T>(const Geometry&, const T*, const T*, const Ending<T>&, T*);
KERNELMILL_CONVOLUTION(float)
KERNELMILL_CONVOLUTION(double)

}  // namespace kernelmill::convolution
