// A thread takes one element of the result and gathers what belongs to it, so nothing needs
// atomics.

#include "ops/pool.cuh"

#include <algorithm>  // std::max, std::min
#include <bit>        // std::bit_width
#include <limits>     // infinity
#include <stdexcept>  // std::out_of_range
#include <string>     // messages

#include "core/error.hpp"   // invalid
#include "core/launch.cuh"  // launch
#include "core/sort.hpp"    // sort_pairs

namespace kernelmill::pool {
namespace {

constexpr index_t kMost = (index_t{1} << 31) - 1;  // sorted at once

struct Place {
  index_t plane, a, b, c;
  __device__ Place(index_t e, const Extents& size) {
    index_t rest = e / size.c;
    c = e - rest * size.c;
    index_t next = rest / size.b;
    b = rest - next * size.b;
    plane = next / size.a;
    a = next - plane * size.a;
  }
};

// Calls body(offset in the plane) for the elements of a window, in order.
template <class Body>
__device__ void each_element(const Windows& w, const Place& at, Body body) {
  const index_t tb = w.out.a + at.b, tc = w.out.a + w.out.b + at.c;
  for (index_t i = w.begin[at.a]; i < w.end[at.a]; i += w.step.a) {
    for (index_t j = w.begin[tb]; j < w.end[tb]; j += w.step.b) {
      for (index_t k = w.begin[tc]; k < w.end[tc]; k += w.step.c) {
        body((i * w.in.b + j) * w.in.c + k);
      }
    }
  }
}

__device__ double divisor(const Windows& w, index_t a, index_t b, index_t c) {
  return w.count[a] * w.count[w.out.a + b] * w.count[w.out.a + w.out.b + c] * w.divisor;
}

template <class T>
__global__ void maximum_kernel(const Windows w, index_t planes, const T* x, T* y,
                               std::int64_t* indices) {
  for (index_t e = global_thread(); e < planes * w.out.product(); e += global_threads()) {
    const Place at(e, w.out);
    const T* const from = x + at.plane * w.in.product();
    Acc<T> best = -std::numeric_limits<Acc<T>>::infinity();
    index_t place = -1;
    each_element(w, at, [&](index_t offset) {
      const Acc<T> v = from[offset];
      if (place >= 0 && !(v > best || (v != v && best == best))) return;
      best = v;
      place = offset;
    });
    y[e] = static_cast<T>(best);
    indices[e] = place < 0 ? 0 : place;
  }
}

template <class T>
__global__ void average_kernel(const Windows w, index_t planes, const T* x, T* y) {
  for (index_t e = global_thread(); e < planes * w.out.product(); e += global_threads()) {
    const Place at(e, w.out);
    const T* const from = x + at.plane * w.in.product();
    double sum = 0;
    each_element(w, at, [&](index_t offset) { sum += static_cast<double>(from[offset]); });
    y[e] = static_cast<T>(sum / divisor(w, at.a, at.b, at.c));
  }
}

// covers[2 i] and covers[2 i + 1] for the places of one axis after the other.
__global__ void covers_kernel(const Windows w, index_t* covers) {
  for (index_t i = global_thread(); i < w.in.sum(); i += global_threads()) {
    const bool first = i < w.in.a, second = !first && i < w.in.a + w.in.b;
    const index_t place = i - (first ? 0 : second ? w.in.a : w.in.a + w.in.b);
    const index_t from = first ? 0 : second ? w.out.a : w.out.a + w.out.b;
    const index_t windows = first ? w.out.a : second ? w.out.b : w.out.c;
    index_t begin = windows, end = 0;
    for (index_t o = 0; o < windows; ++o) {
      if (w.begin[from + o] > place || w.end[from + o] <= place) continue;
      begin = min(begin, o);
      end = o + 1;
    }
    covers[2 * i] = begin;
    covers[2 * i + 1] = end;
  }
}

template <class T>
__global__ void average_gradient_kernel(const Windows w, const index_t* covers, index_t planes,
                                        const T* dout, T* dx) {
  const auto covered = [&](index_t window, index_t place) {
    return w.begin[window] <= place && place < w.end[window];
  };
  for (index_t e = global_thread(); e < planes * w.in.product(); e += global_threads()) {
    const Place at(e, w.in);
    const T* const from = dout + at.plane * w.out.product();
    const index_t* const on_a = covers + 2 * at.a;
    const index_t* const on_b = covers + 2 * (w.in.a + at.b);
    const index_t* const on_c = covers + 2 * (w.in.a + w.in.b + at.c);
    double sum = 0;
    for (index_t i = on_a[0]; i < on_a[1]; ++i) {
      if (!covered(i, at.a)) continue;
      for (index_t j = on_b[0]; j < on_b[1]; ++j) {
        if (!covered(w.out.a + j, at.b)) continue;
        for (index_t k = on_c[0]; k < on_c[1]; ++k) {
          if (!covered(w.out.a + w.out.b + k, at.c)) continue;
          sum += static_cast<double>(from[(i * w.out.b + j) * w.out.c + k]) / divisor(w, i, j, k);
        }
      }
    }
    dx[e] = static_cast<T>(sum);
  }
}

template <class T>
__global__ void gather_kernel(index_t planes, index_t values, index_t size, const T* x,
                              const std::int64_t* indices, T* y) {
  for (index_t e = global_thread(); e < planes * values; e += global_threads()) {
    y[e] = x[e / values * size + indices[e]];
  }
}

__global__ void keys_kernel(index_t count, index_t values, index_t size,
                            const std::int64_t* indices, std::uint32_t* keys,
                            std::int32_t* numbers) {
  for (index_t e = global_thread(); e < count; e += global_threads()) {
    keys[e] = static_cast<std::uint32_t>(e / values * size + indices[e]);
    numbers[e] = static_cast<std::int32_t>(e);
  }
}

// The first of equal keys adds the values of all of them.
template <class T>
__global__ void scatter_kernel(index_t count, const std::uint32_t* keys,
                               const std::int32_t* numbers, const T* x, T* y) {
  for (index_t e = global_thread(); e < count; e += global_threads()) {
    if (e > 0 && keys[e - 1] == keys[e]) continue;
    double sum = 0;
    for (index_t i = e; i < count && keys[i] == keys[e]; ++i) {
      sum += static_cast<double>(x[numbers[i]]);
    }
    y[keys[e]] = static_cast<T>(sum);
  }
}

void check_indices(const Call& call, const std::int64_t* indices, index_t count, index_t size,
                   const RangeSpace& space) {
  if (const auto wrong = outside(call, indices, count, size, space)) {
    throw std::out_of_range(std::string(call.op) + ": indices must lie in [0, " +
                            std::to_string(size) + "), got " + std::to_string(*wrong));
  }
}

}  // namespace

SortSpace::SortSpace(Arena& arena, const Call& call, index_t indices) : range(arena) {
  const index_t most = std::min(indices, kMost);
  keys = arena.take<std::uint32_t>(most);
  sorted = arena.take<std::uint32_t>(most);
  numbers = arena.take<std::int32_t>(most);
  by_place = arena.take<std::int32_t>(most);
  sort_bytes = most == 0 ? 0 : kernelmill::sort_bytes<std::uint32_t, std::int32_t>(call, most);
  sort = arena.take<char>(static_cast<index_t>(sort_bytes));
}

template <class T>
void maximum(const Call& call, const Windows& windows, index_t planes, const T* x, T* y,
             std::int64_t* indices) {
  launch(call, maximum_kernel<T>, grid_for(planes * windows.out.product(), kThreads), kThreads,
         windows, planes, x, y, indices);
}

template <class T>
void scatter(const Call& call, index_t planes, index_t values, index_t size, const T* x,
             const std::int64_t* indices, T* y, const SortSpace& space) {
  check_indices(call, indices, planes * values, size, space.range);
  zero(call, y, sizeof(T) * static_cast<std::size_t>(planes * size));
  if (planes * values == 0) return;
  // As many planes at a time as 32-bit keys tell apart.
  if (std::max(size, values) > kMost) {
    invalid(call.op, "planes must have less than 2**31 elements on the GPU, got ",
            std::max(size, values));
  }
  const index_t step = std::min(planes, std::max<index_t>(1, kMost / std::max(size, values)));
  for (index_t first = 0; first < planes; first += step) {
    const index_t now = std::min(step, planes - first), count = now * values;
    launch(call, keys_kernel, grid_for(count, kThreads), kThreads, count, values, size,
           indices + first * values, space.keys, space.numbers);
    const int bits =
        std::max(1, static_cast<int>(std::bit_width(static_cast<std::uint64_t>(now * size - 1))));
    sort_pairs(call, space.sort, space.sort_bytes, space.keys, space.sorted, space.numbers,
               space.by_place, count, bits);
    launch(call, scatter_kernel<T>, grid_for(count, kThreads), kThreads, count, space.sorted,
           space.by_place, x + first * values, y + first * size);
  }
}

template <class T>
void gather(const Call& call, index_t planes, index_t values, index_t size, const T* x,
            const std::int64_t* indices, T* y, const RangeSpace& space) {
  check_indices(call, indices, planes * values, size, space);
  launch(call, gather_kernel<T>, grid_for(planes * values, kThreads), kThreads, planes, values,
         size, x, indices, y);
}

template <class T>
void average(const Call& call, const Windows& windows, index_t planes, const T* x, T* y) {
  launch(call, average_kernel<T>, grid_for(planes * windows.out.product(), kThreads), kThreads,
         windows, planes, x, y);
}

template <class T>
void average_gradient(const Call& call, const Windows& windows, index_t planes, const T* dout,
                      T* dx, const TableSpace& space) {
  launch(call, covers_kernel, grid_for(windows.in.sum(), kThreads), kThreads, windows,
         space.covers);
  launch(call, average_gradient_kernel<T>, grid_for(planes * windows.in.product(), kThreads),
         kThreads, windows, space.covers, planes, dout, dx);
}

KERNELMILL_FOR_STORED(maximum)
KERNELMILL_FOR_STORED(scatter)
KERNELMILL_FOR_STORED(gather)
KERNELMILL_FOR_STORED(average)
KERNELMILL_FOR_STORED(average_gradient)

}  // namespace kernelmill::pool
