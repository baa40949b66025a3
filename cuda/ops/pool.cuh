// The CUDA implementations of python/kernelmill/ops/pool.py. A plane is (a, b, c), its output
// (oa, ob, oc).
#pragma once

#include <cstdint>  // fixed-width integers

#include "core/call.hpp"   // Call, Arena
#include "core/range.hpp"  // RangeSpace

namespace kernelmill::pool {

struct Extents {
  index_t a, b, c;

  constexpr index_t product() const { return a * b * c; }
  constexpr index_t sum() const { return a + b + c; }
};

// Ranges of the windows, axis after axis; all within the planes. begin, end and count are in device
// memory.
struct Windows {
  Extents in, out, step;
  const std::int64_t *begin, *end;
  const double* count;
  double divisor;
};

// Device copies of the tables of windows, and for each place of an axis of the planes the first
// window that covers it and the one after the last.
struct TableSpace {
  TableSpace(Arena& arena, index_t windows, index_t places)
      : begin(arena.take<std::int64_t>(windows)),
        end(arena.take<std::int64_t>(windows)),
        count(arena.take<double>(windows)),
        covers(arena.take<index_t>(2 * places)) {}
  std::int64_t *begin, *end;
  double* count;
  index_t* covers;
};

// Places of all planes at once are sorted: their number is that of indices.
struct SortSpace {
  SortSpace(Arena& arena, const Call& call, index_t indices);
  RangeSpace range;
  std::uint32_t *keys, *sorted;
  std::int32_t *numbers, *by_place;
  std::size_t sort_bytes;
  char* sort;
};

template <class T>
void maximum(const Call& call, const Windows& windows, index_t planes, const T* x, T* y,
             std::int64_t* indices);
// y (planes, size) from x and indices (planes, values); values of one place are added in order.
// These two throw std::out_of_range for an index that is not of the plane.
template <class T>
void scatter(const Call& call, index_t planes, index_t values, index_t size, const T* x,
             const std::int64_t* indices, T* y, const SortSpace& space);
template <class T>
void gather(const Call& call, index_t planes, index_t values, index_t size, const T* x,
            const std::int64_t* indices, T* y, const RangeSpace& space);
template <class T>
void average(const Call& call, const Windows& windows, index_t planes, const T* x, T* y);
template <class T>
void average_gradient(const Call& call, const Windows& windows, index_t planes, const T* dout,
                      T* dx, const TableSpace& space);

}  // namespace kernelmill::pool
