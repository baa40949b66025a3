// Pooling: the C++ implementations of python/kernelmill/ops/pool.py, whose docstrings are the
// contract. A plane is (a, b, c), its output (oa, ob, oc).
#pragma once

#include <array>    // extents
#include <cstdint>  // std::int64_t

#include "core/matrix.hpp"  // index_t

namespace kernelmill::pool {

using Triple = std::array<index_t, 3>;

// Ranges of the windows, axis after axis; all within the planes.
struct Windows {
  Triple in, out, step;
  const std::int64_t *begin, *end;
  const double* count = nullptr;
  double divisor = 1;
};

template <class T>
void maximum(const Windows& windows, index_t planes, const T* x, T* y, std::int64_t* indices);

// y (planes, size) from x and indices (planes, values); y[index] adds up.
template <class T>
void scatter(index_t planes, index_t values, index_t size, const T* x, const std::int64_t* indices,
             T* y);
template <class T>
void gather(index_t planes, index_t values, index_t size, const T* x, const std::int64_t* indices,
            T* y);

template <class T>
void average(const Windows& windows, index_t planes, const T* x, T* y);
template <class T>
void average_gradient(const Windows& windows, index_t planes, const T* dout, T* dx);

#define KERNELMILL_POOL(linkage, T)                                                               \
  linkage template void maximum<T>(const Windows&, index_t, const T*, T*, std::int64_t*);         \
  linkage template void scatter<T>(index_t, index_t, index_t, const T*, const std::int64_t*, T*); \
  linkage template void gather<T>(index_t, index_t, index_t, const T*, const std::int64_t*, T*);  \
  linkage template void average<T>(const Windows&, index_t, const T*, T*);                        \
  linkage template void average_gradient<T>(const Windows&, index_t, const T*, T*);
KERNELMILL_POOL(extern, float)
KERNELMILL_POOL(extern, double)

}  // namespace kernelmill::pool
