// What a convolution reads: padded copies of parts of its input, in which every tap of the kernel
// is one constant offset from the position of the output.
//
// With a stride s, elements at 0, s, 2 s, ... are adjacent in the copy, those at 1, s + 1, ...
// follow (phases), so neighbouring outputs read neighbouring elements whatever the stride.
#pragma once

#include <algorithm>  // std::max, std::min, std::fill_n, std::copy_n
#include <utility>    // std::integer_sequence
#include <vector>     // offsets

#include "core/tile.hpp"        // Packing, Params
#include "core/workspace.hpp"   // Workspace
#include "ops/convolution.hpp"  // Geometry

namespace kernelmill::convolution {

inline index_t floor_div(index_t a, index_t b) { return a >= 0 ? a / b : -((b - 1 - a) / b); }
inline index_t ceil_div(index_t a, index_t b) { return -floor_div(-a, b); }

// Images [image, image + images), and of each the positions [begin, begin + count) of all axes.
struct Box {
  index_t image, images;
  Triple begin, count;
  index_t columns() const { return images * product(count); }
};

// Cuts the positions of all images into boxes of about `wanted` positions: whole images, or ranges
// of the outermost axis, or of the innermost one where that is long.
class Boxes {
 public:
  Boxes(index_t images, const Triple& size, index_t wanted) : images_(images), size_(size) {
    const index_t image = product(size), row = size[1] * size[2];
    if (image <= wanted) {
      per_ = {std::max<index_t>(1, wanted / std::max<index_t>(1, image)), size[0], size[2]};
    } else if (row <= 2 * wanted) {
      per_ = {1, std::max<index_t>(1, wanted / row), size[2]};
    } else {
      per_ = {1, 1, std::max<index_t>(1, wanted / size[1])};
    }
    // Equal parts.
    for (int a = 0; a < 3; ++a) {
      const index_t whole = extent(a);
      parts_[at(a)] = whole == 0 ? 0 : ceil_div(whole, std::min(whole, per_[at(a)]));
    }
  }
  index_t count() const { return size_[1] == 0 ? 0 : product(parts_); }
  Box operator[](index_t i) const {
    const index_t w = i % parts_[2], a = i / parts_[2] % parts_[1], n = i / parts_[2] / parts_[1];
    const auto range = [&](int axis, index_t part) {
      const index_t begin = extent(axis) * part / parts_[at(axis)];
      return std::pair(begin, extent(axis) * (part + 1) / parts_[at(axis)] - begin);
    };
    const auto [image, images] = range(0, n);
    const auto [row, rows] = range(1, a);
    const auto [column, columns] = range(2, w);
    return {image, images, {row, 0, column}, {rows, size_[1], columns}};
  }

 private:
  static std::size_t at(int a) { return static_cast<std::size_t>(a); }
  // Images, outermost and innermost axis.
  index_t extent(int a) const { return a == 0 ? images_ : a == 1 ? size_[0] : size_[2]; }

  index_t images_;
  Triple size_, per_, parts_;
};

// Where elements of a channel lie: `stride` phases of each axis, with `size` elements each.
struct Planes {
  Triple stride, size;

  index_t plane() const { return product(stride) * product(size); }
  // Of the element that is `at` after the first one. Offsets of multiples of the strides and of
  // anything add up.
  index_t offset(const Triple& at) const {
    index_t phase = 0, place = 0;
    for (std::size_t a = 0; a < 3; ++a) {
      phase = phase * stride[a] + at[a] % stride[a];
      place = place * size[a] + at[a] / stride[a];
    }
    return phase * product(size) + place;
  }
};

// Adjacent elements by vectors: a call of memmove for each row took 5 % of a convolution.
template <class T>
void copy_run(const T* from, index_t count, T* to) {
  using Vec = typename tile::Params<T>::Vec;
  constexpr index_t lanes = tile::Params<T>::lanes;
  if (count < lanes) {
    for (index_t i = 0; i < count; ++i) to[i] = from[i];
    return;
  }
  for (index_t i = 0; i < count; i += lanes) {
    const index_t at = std::min(i, count - lanes);
    tile::store(to + at, tile::load<Vec>(from + at));
  }
}

// Elements 0, 2, 4, ... of `from` to one place, those behind them to another, by pairs of vectors:
// `count` each, in 2 * count adjacent elements.
template <class T>
void copy_in_turn(const T* from, index_t count, T* to, T* behind) {
  using Vec = typename tile::Params<T>::Vec;
  constexpr index_t lanes = tile::Params<T>::lanes;
  const auto pair = [&]<int... I>(index_t i, std::integer_sequence<int, I...>) {
    const Vec low = tile::load<Vec>(from + 2 * i), high = tile::load<Vec>(from + 2 * i + lanes);
    tile::store(to + i, __builtin_shufflevector(low, high, (2 * I)...));
    tile::store(behind + i, __builtin_shufflevector(low, high, (2 * I + 1)...));
  };
  if (count < lanes) {
    for (index_t i = 0; i < count; ++i) to[i] = from[2 * i], behind[i] = from[2 * i + 1];
    return;
  }
  for (index_t i = 0; i < count; i += lanes) {
    pair(std::min(i, count - lanes), std::make_integer_sequence<int, static_cast<int>(lanes)>{});
  }
}

// The elements [first, first + length) of some channels of some images, zeros outside the tensor.
template <class T>
class Source {
 public:
  // x: the first of the channels in the first of the images, whose spatial axes are `in`.
  // `spare`: elements behind the last one that may be read.
  Source(const T* x, index_t images, index_t image_stride, index_t channels, const Triple& in,
         const Triple& first, const Triple& length, const Triple& stride, index_t spare)
      : planes_{stride, {}} {
    bool inside = spare == 0;
    for (std::size_t a = 0; a < 3; ++a) {
      planes_.size[a] = ceil_div(length[a], stride[a]);
      inside = inside && stride[a] == 1 && first[a] >= 0 && first[a] + length[a] <= in[a];
    }
    if (inside) {  // read where it is
      planes_.size = in;
      data_ = x + planes_.offset(first);
      image_stride_ = image_stride;
      return;
    }
    image_stride_ = channels * planes_.plane();
    copy_ = Workspace<T>(static_cast<std::size_t>(images * image_stride_ + spare));
    data_ = copy_.data();
    T* to = copy_.data();
    const std::vector<Part> along = parts(in, first);
    for (index_t i = 0; i < images; ++i) {
      for (index_t c = 0; c < channels; ++c, to += planes_.plane()) {
        fill(x + i * image_stride + c * product(in), in, first, along,
             c + 1 < channels ? product(in) : 0, to);
      }
    }
    std::fill_n(to, spare, T{0});
  }

  const T* data() const { return data_; }
  const Planes& planes() const { return planes_; }
  index_t image_stride() const { return image_stride_; }

 private:
  // Elements [low, high) of a row of each phase are those of the tensor, from `at` of its row on.
  struct Part {
    index_t low, high, at;
  };
  std::vector<Part> parts(const Triple& in, const Triple& first) const {
    const index_t size = planes_.size[2], stride = planes_.stride[2];
    std::vector<Part> parts;
    for (index_t phase = 0; phase < stride; ++phase) {
      const index_t w = first[2] + phase;
      const index_t low = std::clamp<index_t>(ceil_div(-w, stride), 0, size);
      const index_t high = std::clamp<index_t>(ceil_div(in[2] - w, stride), low, size);
      parts.push_back({low, high, w + low * stride});
    }
    return parts;
  }

  // Zeros beside [low, high). Of vectors where they fit, which the elements overwrite: with two
  // calls of memset a row, a convolution of stride 2 took 2 % longer.
  static void clear(index_t low, index_t high, index_t size, T* to) {
    using Vec = typename tile::Params<T>::Vec;
    constexpr index_t lanes = tile::Params<T>::lanes;
    if (size >= lanes && low <= lanes && size - high <= lanes) {
      if (low > 0) tile::store(to, Vec{});
      if (high < size) tile::store(to + size - lanes, Vec{});
    } else {
      std::fill_n(to, low, T{0});
      std::fill_n(to + high, size - high, T{0});
    }
  }

  // Row by row, all phases of the innermost axis while the row is near. The same row of the next
  // channel, `ahead` elements later, is fetched meanwhile: phases go through a channel with
  // strides, in which no hardware sees a stream, and 16 images of 64 channels at stride 2 waited
  // for memory a seventh of the whole time.
  void fill(const T* x, const Triple& in, const Triple& first, const std::vector<Part>& parts,
            index_t ahead, T* to) const {
    const auto [qa, qm, qw] = planes_.size;
    const auto [sa, sm, sw] = planes_.stride;
    const index_t phase = qa * qm * qw;
    const index_t near = std::max<index_t>(0, first[2]), far = std::min(in[2], first[2] + qw * sw);
    for (index_t pa = 0; pa < sa; ++pa) {
      for (index_t pm = 0; pm < sm; ++pm, to += (sw - 1) * phase) {
        for (index_t ia = 0; ia < qa; ++ia) {
          const index_t a = first[0] + pa + ia * sa;
          for (index_t im = 0; im < qm; ++im, to += qw) {
            const index_t m = first[1] + pm + im * sm;
            const bool outside = a < 0 || a >= in[0] || m < 0 || m >= in[1];
            const T* const row = outside ? nullptr : x + (a * in[1] + m) * in[2];
            if (!outside && ahead > 0) {
              constexpr index_t line = 64 / index_t{sizeof(T)};
              for (index_t e = near; e < far; e += line) __builtin_prefetch(row + ahead + e);
            }
            fill_row(row, parts, phase, to);
          }
        }
      }
    }
  }

  // Null: zeros.
  void fill_row(const T* row, const std::vector<Part>& parts, index_t phase, T* to) const {
    const index_t qw = planes_.size[2], sw = planes_.stride[2];
    T* line = to;
    for (const Part& part : parts) {
      const index_t count = row == nullptr ? 0 : part.high - part.low;
      clear(count == 0 ? qw : part.low, count == 0 ? qw : part.high, qw, line);
      line += phase;
    }
    if (row == nullptr) return;
    if (sw == 2) {  // the phase that comes first in the row, and the other one
      const bool turned = parts[1].at < parts[0].at;
      const Part &near = parts[turned], &far = parts[!turned];
      T* const own = to + turned * phase + near.low;
      T* const other = to + !turned * phase + far.low;
      const index_t mine = near.high - near.low, both = std::min(mine, far.high - far.low);
      copy_in_turn(row + near.at, both, own, other);
      if (both < mine) own[both] = row[near.at + 2 * both];
      return;
    }
    line = to;
    for (const Part& part : parts) {
      const index_t count = part.high - part.low;
      T* const own = line + part.low;
      if (sw == 1) {
        copy_run(row + part.at, count, own);
      } else {
        for (index_t e = 0; e < count; ++e) own[e] = row[part.at + e * sw];
      }
      line += phase;
    }
  }

  Planes planes_;
  const T* data_;
  index_t image_stride_;
  Workspace<T> copy_;
};

// Positions in a row: where each reads (plus the offset of a tap) and where it is stored.
struct Run {
  index_t from, to, length, step;  // `from` goes up by 1, `to` by `step`
};

// The same for each position alone, which is what products take.
struct Columns {
  std::vector<index_t> from, to;

  explicit Columns(const std::vector<Run>& runs) {
    for (const Run& run : runs) {
      for (index_t i = 0; i < run.length; ++i) {
        from.push_back(run.from + i);
        to.push_back(run.to + i * run.step);
      }
    }
  }
  index_t size() const { return static_cast<index_t>(from.size()); }
};

// What the outputs of a box read of x (images, channels, in), and where they lie in y.
struct Window {
  Triple first, length;

  Window(const Geometry& g, const Box& box) {
    for (std::size_t a = 0; a < 3; ++a) {
      first[a] = box.begin[a] * g.stride[a] - g.padding[a];
      length[a] = (box.count[a] - 1) * g.stride[a] + (g.kernel[a] - 1) * g.dilation[a] + 1;
    }
  }
  // Offsets of the taps of all channels of a group.
  static std::vector<index_t> taps(const Geometry& g, const Planes& planes) {
    const index_t all = product(g.kernel), channels = g.group_channels();
    std::vector<index_t> offsets;
    offsets.reserve(static_cast<std::size_t>(all * std::max<index_t>(1, channels)));
    for (index_t a = 0; a < g.kernel[0]; ++a) {
      for (index_t m = 0; m < g.kernel[1]; ++m) {
        for (index_t w = 0; w < g.kernel[2]; ++w) {
          const Triple at{a * g.dilation[0], m * g.dilation[1], w * g.dilation[2]};
          offsets.push_back(planes.offset(at));
        }
      }
    }
    offsets.resize(static_cast<std::size_t>(all * channels));
    for (index_t i = all; i < all * channels; ++i) {  // six divisions less for each
      const auto at = static_cast<std::size_t>(i);
      offsets[at] = offsets[at - static_cast<std::size_t>(all)] + planes.plane();
    }
    return offsets;
  }
  static std::vector<Run> runs(const Geometry& g, const Box& box, const Planes& planes,
                               index_t image_stride) {
    std::vector<Run> runs;
    for (index_t n = 0; n < box.images; ++n) {
      for (index_t a = 0; a < box.count[0]; ++a) {
        for (index_t m = 0; m < box.count[1]; ++m) {
          const index_t from = planes.offset({a * g.stride[0], m * g.stride[1], 0});
          const index_t row = (box.begin[0] + a) * g.out[1] + m;
          const Run run{n * image_stride + from,
                        n * g.outputs * product(g.out) + row * g.out[2] + box.begin[2],
                        box.count[2], 1};
          if (!runs.empty() && runs.back().from + runs.back().length == run.from &&
              runs.back().to + runs.back().length == run.to) {
            runs.back().length += run.length;
          } else {
            runs.push_back(run);
          }
        }
      }
    }
    return runs;
  }
};

// element(o, p) = data[columns[o] + taps[p]]: patches, packed without ever being a matrix.
template <class T>
struct Patches {
  const T* data;
  const index_t *columns, *taps;

  void pack(index_t outer, index_t count, index_t depth, index_t depth_count, T* panel,
            index_t width) const {
    using Vec = typename tile::Params<T>::Vec;
    using Piece = typename tile::detail::Piece<T>::Vec;
    constexpr int lanes = tile::Params<T>::lanes, piece = tile::detail::Piece<T>::size;
    // Runs of adjacent columns in as few moves as possible: of vectors, of 16 bytes, or of one
    // element, the last one overlapping the one before. Each move goes through many taps: loops
    // over few moves for each tap took twice the time. Not through all of them: 64 taps
    // of 3 x 3 at stride 2 read 16 KiB of the copy, which are in the L1 cache when the next move
    // comes. With the phases of a row copied by one pass, 16 x 64 x 128 x 56 took 8 % less time.
    constexpr index_t near = 64;
    struct Move {
      index_t place, size;
    } moves[2 * tile::Params<T>::NR];
    int n = 0;
    const index_t* const at = columns + outer;
    for (index_t r = 0; r < count;) {
      index_t end = r + 1;
      while (end < count && at[end] == at[end - 1] + 1) ++end;
      const index_t length = end - r, step = length >= lanes ? lanes : length >= piece ? piece : 1;
      for (index_t i = 0; i < length; i += step)
        moves[n++] = {r + std::min(i, length - step), step};
      r = end;
    }
    const auto each_tap = [&]<class V>(const T* from, index_t p, T* to, V) {
      const index_t* const tap = taps + depth;
      const index_t end = std::min(depth_count, p + near);
      for (to += p * width; p < end; ++p, to += width)
        tile::store(to, tile::load<V>(from + tap[p]));
    };
    for (index_t p = 0; p < depth_count; p += near) {
      for (int i = 0; i < n; ++i) {
        const T* const from = data + at[moves[i].place];
        T* const to = panel + moves[i].place;
        if (moves[i].size == lanes) {
          each_tap(from, p, to, Vec{});
        } else if (moves[i].size == piece) {
          each_tap(from, p, to, Piece{});
        } else {
          each_tap(from, p, to, T{});
        }
      }
    }
    tile::detail::zero_columns(panel, count, width, depth_count);
  }
};

// The same with the two exchanged: element(o, p) = data[taps[o] + columns[p]].
template <class T>
struct Taps {
  const T* data;
  const index_t *columns, *taps;

  void pack(index_t outer, index_t count, index_t depth, index_t depth_count, T* panel,
            index_t width) const {
    const T* rows[2 * tile::Params<T>::NR];
    const index_t* const at = columns + depth;
    for (index_t p = 0; p < depth_count;) {
      index_t end = p + 1;
      while (end < depth_count && at[end] == at[end - 1] + 1) ++end;
      for (index_t r = 0; r < count; ++r) rows[r] = data + taps[outer + r] + at[p];
      tile::pack_rows(rows, count, end - p, panel + p * width, width);
      p = end;
    }
  }
};

}  // namespace kernelmill::convolution
