// The heart of every k-means op: nearest centers as an epilogue of the tile product.
//
// With the origin moved to o (a median of the centers), x' = x - o and c' = c - o,
//
//   argmin_j ||x - c_j||^2 = argmin_j s_j,   s_j = ||c'_j||^2 - 2 x'.c'_j,
//
// because ||x'||^2 is the same for all j. Centers are the short side A of the product (packed once,
// as -2 c'), rows of X run along the lanes, so the running minimum is one compare and two blends
// per accumulator and needs no step across lanes. Ties keep the lowest j: tiles come with ascending
// j.
//
// Rounding. With unit roundoff u = eps / 2 and M = max(||x'||, max_j ||c'_j||), the computed score
// differs from the exact one by at most (2 d + 12) u M^2 <= (d + 6) eps M^2: 2 d u ||x'|| ||c'||
// for the sum of d products, the rest for rounding x', c' and the norm.
#pragma once

#include <algorithm>    // std::max
#include <cmath>        // std::sqrt
#include <cstdint>      // std::int32_t
#include <limits>       // infinity
#include <memory>       // std::addressof
#include <type_traits>  // std::conditional_t
#include <vector>       // center copies

#include "core/matrix.hpp"     // MatrixView
#include "core/parallel.hpp"   // bounded_grain
#include "core/tile.hpp"       // product, PackedA
#include "core/workspace.hpp"  // scratch
#include "ops/centered.hpp"    // Centered

namespace kernelmill::nearest {

// Rows of a data set, all of them in order or some by number.
template <class T>
struct Rows {
  MatrixView<const T> x;
  const index_t* number = nullptr;
  const T* panels = nullptr;  // all rows in order as core/packed_rows.hpp packs them, if known

  const T* at(index_t i) const { return x.row(number == nullptr ? i : number[i]); }

  // Asks for rows [begin, end) ahead of use. The hardware's own prefetching ends at each 4 KiB
  // page, which is one panel of 32 rows of 32 floats: without this, packing waits for memory.
  void prefetch(index_t begin, index_t end) const {
    if (x.col_stride != 1 || panels != nullptr) return;
    constexpr index_t line = 64 / static_cast<index_t>(sizeof(T));
    const index_t width = std::min<index_t>(x.cols, 16 * line);
    for (index_t i = begin; i < end; ++i) {
      const T* const row = at(i);
      for (index_t p = 0; p < width; p += line) __builtin_prefetch(row + p);
    }
  }
};

// Centers made ready for the product: origin, packed -2 c', squared norms.
template <class T>
class Centers {
 public:
  Centers(const double* c, index_t k_, index_t d_)
      : k(k_),
        d(d_),
        offset(origin_of<T, 32>(d, MatrixView<const double>{c, k, d, d, 1})),
        norms(static_cast<std::size_t>(k)),
        packed(k, d) {
    const Workspace<T> scaled(static_cast<std::size_t>(k * d));
    const T* const shift = offset.data();
    for (index_t j = 0; j < k; ++j, c += d) {
      T* const row = scaled.data() + j * d;
      for (index_t p = 0; p < d; ++p) {
        row[p] = T{-2} * static_cast<T>(c[p] - static_cast<double>(shift[p]));
      }
      double norm = 0;  // the sums of several rows overlap, so vectors would gain nothing
      for (index_t p = 0; p < d; ++p) {
        norm += static_cast<double>(row[p]) * static_cast<double>(row[p]);
      }
      norm *= 0.25;
      norms[static_cast<std::size_t>(j)] = static_cast<T>(norm);
      radius = std::max(radius, norm);
    }
    radius = std::sqrt(radius);
    packed.pack(tile::Strided<T>{scaled.data(), d, 1}, 0, packed.tiles());
  }

  // Twice the error bound of a score for a row at distance `distance` of some center: a gap of
  // squared distances above this is a gap of computed scores too. Doubled once more, so that the
  // few roundings of the comparison itself are covered.
  T score_gap(T distance) const {
    const T m = distance + static_cast<T>(radius);
    return static_cast<T>(4 * (d + 8)) * std::numeric_limits<T>::epsilon() * m * m;
  }

  index_t k, d;
  std::vector<T> offset;    // (d)
  std::vector<T> norms;     // (k): ||c'||^2
  tile::PackedA<T> packed;  // (k, d): -2 c'
  double radius = 0;        // max_j ||c'_j||
};

// What a search found for rows [j0, j0 + rows): index[r] is the nearest center, best[r] its score
// and second[r] the score of the runner-up (only when that was asked for).
template <class T>
struct Found {
  using Number = std::conditional_t<sizeof(T) == 4, std::int32_t, std::int64_t>;
  index_t j0, rows;
  const Number* index;
  const T* best;
  const T* second;
};

// A function that takes what was found, one panel of rows at a time. The indirect call costs a
// nanosecond or two per panel, and the product is compiled once instead of once per caller.
template <class T>
class Receiver {
 public:
  template <class Body>
    requires(!std::is_same_v<std::remove_cvref_t<Body>, Receiver>)
  Receiver(Body&& body)  // NOLINT: meant to convert
      : body_(const_cast<void*>(static_cast<const void*>(std::addressof(body)))),
        call_([](void* b, const Found<T>& found) {
          (*static_cast<std::remove_reference_t<Body>*>(b))(found);
        }) {}
  void operator()(const Found<T>& found) const { call_(body_, found); }

 private:
  void* body_;
  void (*call_)(void*, const Found<T>&);
};

// Finds the nearest center of rows [begin, end), panel after panel; with `runner_up` also the score
// of the second nearest. Defined in kmeans_nearest.cpp.
template <class T>
void find(const Rows<T>& rows, index_t begin, index_t end, const Centers<T>& centers,
          bool runner_up, Receiver<T> receive);

// ||x - c||^2 in float64, by differences: no cancellation wherever the origin is.
template <class T>
double squared_distance(const T* x, index_t stride, const double* c, index_t d) {
  double sum = 0;
  if (stride == 1) {
#pragma omp simd reduction(+ : sum)
    for (index_t p = 0; p < d; ++p) {
      const double difference = static_cast<double>(x[p]) - c[p];
      sum += difference * difference;
    }
  } else {
    for (index_t p = 0; p < d; ++p) {
      const double difference = static_cast<double>(x[p * stride]) - c[p];
      sum += difference * difference;
    }
  }
  return sum;
}

// Sufficient statistics of a chunk of rows: sums (k, d) then weights (k), in one block.
class Statistics {
 public:
  Statistics(index_t k, index_t d) : k_(k), d_(d), block_(static_cast<std::size_t>(k * d + k)) {
    std::fill_n(block_.data(), k * d + k, 0.0);
  }

  double* sums() const { return block_.data(); }
  double* weights() const { return block_.data() + k_ * d_; }

  template <class T>
  void add(const T* x, index_t stride, index_t j, double w) {
    double* const sum = sums() + j * d_;
    if (stride != 1) {
      for (index_t p = 0; p < d_; ++p) sum[p] += w * static_cast<double>(x[p * stride]);
    } else if (w == 1.0) {
      for (index_t p = 0; p < d_; ++p) sum[p] += static_cast<double>(x[p]);
    } else {
      for (index_t p = 0; p < d_; ++p) sum[p] += w * static_cast<double>(x[p]);
    }
    weights()[j] += w;
  }

  void merge(const Statistics& other) {
    const index_t size = k_ * d_ + k_;
    for (index_t i = 0; i < size; ++i) block_.data()[i] += other.block_.data()[i];
    inertia += other.inertia;
    changed += other.changed;
  }

  double inertia = 0;
  index_t changed = 0;

 private:
  index_t k_, d_;
  Workspace<double> block_;
};

// Rows per chunk: about 20 us of product, and at most 256 chunks so that merging their statistics
// stays small beside finding them.
inline index_t row_grain(index_t n, index_t k, index_t d) {
  const index_t rows = 4'000'000 / (2 * k * d + 64) + 1;
  return bounded_grain(n, (rows + 63) / 64 * 64, 256);
}

// Rows whose data stay in the L2 cache between finding their centers and adding them up.
template <class T>
index_t block_rows(index_t d) {
  const index_t rows = (index_t{128} << 10) / (static_cast<index_t>(sizeof(T)) * d + 1);
  return std::max<index_t>(64, rows / 64 * 64);
}

}  // namespace kernelmill::nearest
