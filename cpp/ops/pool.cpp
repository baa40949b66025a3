#include "ops/pool.hpp"

#include <algorithm>  // std::fill_n, std::max
#include <limits>     // infinity

#include "core/parallel.hpp"   // parallel_for
#include "core/workspace.hpp"  // Workspace

namespace kernelmill::pool {
namespace {

index_t product(const Triple& t) { return t[0] * t[1] * t[2]; }

// Planes that are worth a task: about 20 us at a nanosecond for each element touched.
index_t grain(index_t plane) {
  return std::max<index_t>(1, (1 << 14) / std::max<index_t>(1, plane));
}

template <class Body>
void each_plane(index_t planes, index_t size, Body body) {
  parallel_for(planes, grain(size), [&](index_t, index_t begin, index_t end) {
    for (index_t i = begin; i < end; ++i) body(i);
  });
}

// The ranges of one axis.
struct Axis {
  const std::int64_t *begin, *end;
};
Axis axis(const Windows& w, std::size_t a) {
  index_t first = 0;
  for (std::size_t i = 0; i < a; ++i) first += w.out[i];
  return {w.begin + first, w.end + first};
}

}  // namespace

template <class T>
void maximum(const Windows& w, index_t planes, const T* x, T* y, std::int64_t* indices) {
  const index_t in = product(w.in), out = product(w.out);
  const Axis a = axis(w, 0), b = axis(w, 1), c = axis(w, 2);
  each_plane(planes, std::max(in, out), [&](index_t plane) {
    const T* const from = x + plane * in;
    T* to = y + plane * out;
    std::int64_t* at = indices + plane * out;
    for (index_t i = 0; i < w.out[0]; ++i) {
      for (index_t j = 0; j < w.out[1]; ++j) {
        for (index_t k = 0; k < w.out[2]; ++k) {
          T best = -std::numeric_limits<T>::infinity();
          std::int64_t where = -1;
          for (index_t p = a.begin[i]; p < a.end[i]; p += w.step[0]) {
            for (index_t q = b.begin[j]; q < b.end[j]; q += w.step[1]) {
              const std::int64_t row = (p * w.in[1] + q) * w.in[2];
              for (index_t r = c.begin[k]; r < c.end[k]; r += w.step[2]) {
                const T value = from[row + r];
                // The first element also where it is -inf, and the first NaN, which then stays.
                const bool better = value > best || where < 0 || (value != value && best == best);
                best = better ? value : best;
                where = better ? row + r : where;
              }
            }
          }
          *to++ = best;
          *at++ = std::max<std::int64_t>(where, 0);
        }
      }
    }
  });
}

template <class T>
void scatter(index_t planes, index_t values, index_t size, const T* x, const std::int64_t* indices,
             T* y) {
  each_plane(planes, std::max(values, size), [&](index_t plane) {
    T* const to = y + plane * size;
    std::fill_n(to, size, T{0});
    for (index_t i = plane * values; i < (plane + 1) * values; ++i) to[indices[i]] += x[i];
  });
}

template <class T>
void gather(index_t planes, index_t values, index_t size, const T* x, const std::int64_t* indices,
            T* y) {
  each_plane(planes, values, [&](index_t plane) {
    for (index_t i = plane * values; i < (plane + 1) * values; ++i) {
      y[i] = x[plane * size + indices[i]];
    }
  });
}

template <class T>
void average(const Windows& w, index_t planes, const T* x, T* y) {
  const index_t in = product(w.in), out = product(w.out), width = w.in[2];
  const Axis a = axis(w, 0), b = axis(w, 1), c = axis(w, 2);
  const double *const ca = w.count, *const cb = ca + w.out[0], *const cc = cb + w.out[1];
  each_plane(planes, std::max(in, out), [&](index_t plane) {
    const T* const from = x + plane * in;
    T* to = y + plane * out;
    const Workspace<double> memory(static_cast<std::size_t>(width));
    double* const sums = memory.data();
    for (index_t i = 0; i < w.out[0]; ++i) {
      for (index_t j = 0; j < w.out[1]; ++j) {
        std::fill_n(sums, width, 0.0);  // of the rows, then of ranges of their sum
        for (index_t p = a.begin[i]; p < a.end[i]; ++p) {
          for (index_t q = b.begin[j]; q < b.end[j]; ++q) {
            const T* const row = from + (p * w.in[1] + q) * width;
            for (index_t r = 0; r < width; ++r) sums[r] += static_cast<double>(row[r]);
          }
        }
        for (index_t k = 0; k < w.out[2]; ++k) {
          double sum = 0;
          for (index_t r = c.begin[k]; r < c.end[k]; ++r) sum += sums[r];
          *to++ = static_cast<T>(sum / (ca[i] * cb[j] * cc[k] * w.divisor));
        }
      }
    }
  });
}

template <class T>
void average_gradient(const Windows& w, index_t planes, const T* dout, T* dx) {
  const index_t in = product(w.in), out = product(w.out), width = w.in[2];
  const Axis a = axis(w, 0), b = axis(w, 1), c = axis(w, 2);
  const double *const ca = w.count, *const cb = ca + w.out[0], *const cc = cb + w.out[1];
  each_plane(planes, std::max(in, out), [&](index_t plane) {
    const T* from = dout + plane * out;
    T* const to = dx + plane * in;
    const Workspace<double> memory(static_cast<std::size_t>(in + width));
    double *const sums = memory.data(), *const shares = sums + in;
    std::fill_n(sums, in, 0.0);
    for (index_t i = 0; i < w.out[0]; ++i) {
      for (index_t j = 0; j < w.out[1]; ++j) {
        std::fill_n(shares, width, 0.0);
        for (index_t k = 0; k < w.out[2]; ++k) {
          const double share = static_cast<double>(*from++) / (ca[i] * cb[j] * cc[k] * w.divisor);
          for (index_t r = c.begin[k]; r < c.end[k]; ++r) shares[r] += share;
        }
        for (index_t p = a.begin[i]; p < a.end[i]; ++p) {
          for (index_t q = b.begin[j]; q < b.end[j]; ++q) {
            double* const row = sums + (p * w.in[1] + q) * width;
            for (index_t r = 0; r < width; ++r) row[r] += shares[r];
          }
        }
      }
    }
    for (index_t e = 0; e < in; ++e) to[e] = static_cast<T>(sums[e]);
  });
}

KERNELMILL_POOL(, float)
KERNELMILL_POOL(, double)

}  // namespace kernelmill::pool
