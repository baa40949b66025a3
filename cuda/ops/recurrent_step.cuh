// A step of a recurrence is one kernel: the tile product of the states with the weights, whose
// epilogue is the cell. A thread of the product owns two rows, and of each either all gates of one
// unit or four units of a product without gates.
#pragma once

#include <algorithm>    // std::max
#include <type_traits>  // std::is_same_v

#include "core/tile.cuh"  // Tile, loaders
#include "ops/recurrent.cuh"

namespace kernelmill::recurrent {

constexpr int kAcross = 8;  // units side by side in a tile

template <class T, int kGates>
using StepTile = Tile<T, 32, kAcross*(kGates == 1 ? 4 : kGates), 2, (kGates == 1 ? 4 : kGates)>;

constexpr index_t rounded(index_t n, index_t to) { return div_up(n, to) * to; }

// Columns of a padded operand.
template <class T>
index_t padded(index_t depth) {
  return rounded(depth, Stage<T>::columns);
}

// Units of a tile: its rows of weights, without gates.
constexpr index_t units_of_tile(index_t gates) { return gates == 1 ? 4 * kAcross : kAcross; }

template <class T>
index_t operand_size(index_t gates, index_t units, index_t depth) {
  return rounded(units, units_of_tile(gates)) * gates * padded<T>(depth);
}

// A matrix for each gate, read at any strides.
template <class T>
struct Source {
  const T* data;
  index_t gates, units, depth;
  index_t gate_stride, unit_stride, stride;
};

template <class T>
constexpr bool kIsWide = std::is_same_v<T, Acc<T>>;

template <class T>
__device__ Acc<T> wide(T x) {
  return static_cast<Acc<T>>(x);
}

template <class From, class To>
__global__ void convert_kernel(const From* from, index_t count, To* to) {
  for (index_t e = global_thread(); e < count; e += global_threads()) {
    to[e] = static_cast<To>(from[e]);
  }
}

// State that the caller owns, as it is carried from step to step: itself, or a copy in `space`.
template <class T>
Acc<T>* carried(const Call& call, T* state, index_t count, Acc<T>* space) {
  if constexpr (kIsWide<T>) {
    return state;
  } else {
    launch(call, convert_kernel<T, Acc<T>>, grid_for(count, 256), 256, state, count, space);
    return space;
  }
}
template <class T>
void settle(const Call& call, const Acc<T>* carried, index_t count, T* state) {
  if constexpr (!kIsWide<T>) {
    launch(call, convert_kernel<Acc<T>, T>, grid_for(count, 256), 256, carried, count, state);
  }
}

// Rows gate by gate within each tile, so that one thread meets all gates of a unit; zeros beyond.
template <class T>
__global__ void pack_kernel(const Source<T> from, index_t rows, index_t width, Acc<T>* to) {
  const index_t tile = units_of_tile(from.gates) * from.gates;
  for (index_t e = global_thread(); e < rows * width; e += global_threads()) {
    const index_t row = e / width, k = e - row * width;
    index_t gate = 0, unit = row;
    if (from.gates > 1) {
      gate = row % tile / kAcross;
      unit = row / tile * kAcross + row % kAcross;
    }
    const bool inside = unit < from.units && k < from.depth;
    const index_t at = gate * from.gate_stride + unit * from.unit_stride + k * from.stride;
    to[e] = inside ? wide(from.data[at]) : Acc<T>(0);
  }
}

template <class T>
void pack(const Call& call, const Source<T>& from, index_t rows, Acc<T>* to) {
  const index_t width = padded<Acc<T>>(from.depth);
  launch(call, pack_kernel<T>, grid_for(rows * width, 256), 256, from, rows, width, to);
}

template <class T>
void pack_weights(const Call& call, const Source<T>& from, Acc<T>* to) {
  pack(call, from, rounded(from.units, units_of_tile(from.gates)) * from.gates, to);
}

// cell(row, unit, products): of all gates, or one product where the cell has a single one. Rows
// beyond those of the product have products 0.
template <class T, class Cell>
__global__ void __launch_bounds__(StepTile<T, Cell::kGates>::kThreads)
    step_kernel(const DeviceRows<T> rows, bool aligned, const T* weights, index_t width,
                index_t count, index_t units, const Cell cell) {
  using Tile = StepTile<T, Cell::kGates>;
  __shared__ typename Tile::Shared shared;
  const index_t first = static_cast<index_t>(blockIdx.y) * Tile::kRowsA;
  T products[Tile::kPerA][Tile::kPerB] = {};
  if (first < rows.n) {
    RowLoader<T, Tile::kRowsA, Tile::kThreads> load_a(rows, first, aligned, nullptr);
    PaddedLoader<T, Tile::kRowsB, Tile::kThreads> load_b(
        weights + static_cast<index_t>(blockIdx.x) * Tile::kRowsB * width, width);
    Tile::template accumulate<Product>(shared, load_a, load_b, rows.d, products);
  }
#pragma unroll
  for (int i = 0; i < Tile::kPerA; ++i) {
    const index_t row = first + Tile::place_a() + Tile::kAcrossA * i;
    if (row >= count) continue;
    if constexpr (Cell::kGates > 1) {
      const index_t unit = static_cast<index_t>(blockIdx.x) * kAcross + Tile::place_b();
      if (unit < units) cell(row, unit, products[i]);
    } else {
#pragma unroll
      for (int j = 0; j < Tile::kPerB; ++j) {
        const index_t unit =
            static_cast<index_t>(blockIdx.x) * Tile::kRowsB + Tile::place_b() + kAcross * j;
        // Weights that are infinite make NaN of the zeros beyond the rows.
        if (unit < units) cell(row, unit, row < rows.n ? products[i][j] : T(0));
      }
    }
  }
}

// The cell for `count` rows, the first of which are those of the product.
template <class T, class Cell>
void step(const Call& call, const DeviceRows<T>& rows, const T* weights, index_t count,
          index_t units, const Cell& cell) {
  const dim3 grid(static_cast<unsigned>(div_up(units, units_of_tile(Cell::kGates))),
                  static_cast<unsigned>(div_up(count, StepTile<T, Cell::kGates>::kRowsA)));
  launch(call, step_kernel<T, Cell>, grid, StepTile<T, Cell::kGates>::kThreads, rows,
         packs_aligned(rows), weights, padded<T>(rows.d), count, units, cell);
}

}  // namespace kernelmill::recurrent
