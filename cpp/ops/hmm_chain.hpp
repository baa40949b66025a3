// The scaled recursion that forward and backward passes share; hmm.cpp derives it.
//
//   a_n = (p_n o b_n) f_n,   p_{n+1} = a_n M,   f_{n+1} = 2^-floor(log2 sum a_n)
//
// A row of K states is padded with zeros to whole vectors. What limits a small K is the latency
// of one step, so the sum and the power of two run beside the product, not before it.
#pragma once

#include <algorithm>    // std::min
#include <bit>          // std::bit_cast
#include <cstdint>      // std::int64_t
#include <type_traits>  // std::integral_constant
#include <utility>      // std::integer_sequence

#if defined(__AVX2__)
#include <immintrin.h>  // _mm256_permute2f128_pd
#endif

#include "core/matrix.hpp"       // index_t, MatrixView
#include "core/tile_pack.hpp"    // load, store
#include "core/tile_params.hpp"  // vectors of the level
#include "core/workspace.hpp"    // matrices

namespace kernelmill::hmm {

using Vec = tile::Params<double>::Vec;
using Mask [[gnu::vector_size(sizeof(Vec))]] = std::int64_t;
inline constexpr int lanes = tile::Params<double>::lanes;

// Rows of up to this many vectors have a loop of their own, all of it in registers.
inline constexpr int most_vectors = 4;
// Columns of a panel of a larger matrix: two chains of additions for each hide their latency.
inline constexpr int panel_vectors = 4;

inline index_t vectors_of(index_t k) { return (k + lanes - 1) / lanes; }
inline index_t padded(index_t k) { return vectors_of(k) * lanes; }

// Calls body.operator()<NV>() with the number of vectors of a row, 0 where it is above the most.
template <class Body>
auto by_vectors(index_t vectors, Body&& body) {
  static_assert(most_vectors == 4);
  switch (vectors) {
    case 1:
      return body.template operator()<1>();
    case 2:
      return body.template operator()<2>();
    case 3:
      return body.template operator()<3>();
    case 4:
      return body.template operator()<4>();
    default:
      return body.template operator()<0>();
  }
}

namespace detail {

template <int Step, class V, int... I>
[[gnu::always_inline]] inline V shuffled(const V& x, std::integer_sequence<int, I...>) {
  return __builtin_shufflevector(x, x, (I ^ Step)...);
}

}  // namespace detail

// Lane l of the result is lane l ^ Step of x.
template <int Step, class V>
[[gnu::always_inline]] inline V swapped(const V& x) {
  constexpr std::make_integer_sequence<int, lanes> each{};
#if KERNELMILL_LEVEL == 3
  // GCC makes vpermpd of this shuffle, which takes 6 cycles on Zen 3; vperm2f128 takes 3, and the
  // chain of a recursion has one of them in a step.
  if constexpr (Step == 2 || Step == 3) {
    const auto halves = std::bit_cast<__m256d>(x);
    const V turned = std::bit_cast<V>(_mm256_permute2f128_pd(halves, halves, 1));
    if constexpr (Step == 2) return turned;
    return detail::shuffled<1>(turned, each);
  }
#endif
  return detail::shuffled<Step>(x, each);
}

// Folds all lanes by `join`; every lane of the result holds it.
template <class V, class Join>
[[gnu::always_inline]] inline V all_lanes(V x, Join&& join) {
  if constexpr (lanes > 4) x = join(x, swapped<4>(x));
  if constexpr (lanes > 2) x = join(x, swapped<2>(x));
  return join(x, swapped<1>(x));
}

// Calls body(step, swapped<step>(x)) for all steps, step an integral constant.
template <class Body>
[[gnu::always_inline]] inline void each_swap(const Vec& x, Body&& body) {
  [&]<int... S>(std::integer_sequence<int, S...>) {
    (body(std::integral_constant<int, S>{}, swapped<S>(x)), ...);
  }(std::make_integer_sequence<int, lanes>{});
}

// Subtracting 0 changes nothing, so that the compiler leaves it out; adding 0 would turn -0 to 0.
[[gnu::always_inline]] inline Vec broadcast(double x) { return x - Vec{}; }
[[gnu::always_inline]] inline Vec vector_max(const Vec& a, const Vec& b) { return a > b ? a : b; }
[[gnu::always_inline]] inline Vec all_sum(const Vec& x) {
  return all_lanes(x, [](const Vec& a, const Vec& b) { return a + b; });
}
[[gnu::always_inline]] inline Vec all_max(const Vec& x) {
  return all_lanes(x, [](const Vec& a, const Vec& b) { return vector_max(a, b); });
}
[[gnu::always_inline]] inline Mask all_bits(const Mask& x) {
  return all_lanes(x, [](const Mask& a, const Mask& b) { return a | b; });
}
[[gnu::always_inline]] inline bool any(const Mask& x) { return all_bits(x)[0] != 0; }

// Where a matrix of `width` rows and columns holds entry (i, j).
//
// Up to most_vectors: diagonals. The product p = a M then is a sum over steps s of
// swapped<s>(a) o d_s with d_s(l) = M(l ^ s, l) for each pair of vectors, which needs one long
// shuffle of a instead of a broadcast for each entry. Above: panels of columns, row by row.
inline index_t place(index_t i, index_t j, index_t width) {
  const index_t vectors = width / lanes, l = j % lanes;
  if (vectors <= most_vectors) {
    const index_t s = (i % lanes) ^ l;
    return ((i / lanes * lanes + s) * vectors + j / lanes) * lanes + l;
  }
  constexpr index_t panel = panel_vectors * lanes;
  const index_t first = j / panel * panel, columns = std::min(panel, width - first);
  return first * width + i * columns + (j - first);
}

// Thresholds of the recursion; hmm.cpp derives them.
inline constexpr double least_kept = 0x1p-400;     // of the mass in one step
inline constexpr double least_density = 0x1p-960;  // smallest b but 0
inline constexpr double tiny_entry = 0x1p-880;     // entries below may have lost digits
inline constexpr double lost_per_entry = 0x1p-930;
inline constexpr double dominated = 0x1p80;

// p = a M with M made ready. `matrix` holds M times 2^-exponent, whose largest entry lies in
// [1, 2), as place() says.
class Transition {
 public:
  // norm_of_sums: how the loss bound measures lost mass, by its sum or by its largest entry.
  Transition(MatrixView<const double> m, bool norm_of_sums);

  // Whether the recursion can run: the largest entry is positive and finite.
  bool usable() const { return usable_; }
  index_t k() const { return k_; }
  index_t vectors() const { return vectors_; }
  index_t width() const { return vectors_ * lanes; }
  const double* matrix() const { return matrix_.data(); }
  // M(i, j) 2^-exponent.
  double entry(index_t i, index_t j) const { return matrix_.data()[place(i, j, width())]; }
  std::int64_t exponent() const { return exponent_; }
  bool guarded() const { return guarded_; }
  // What one unit of lost mass adds to entry j at the most, and how much the unit grows by a step.
  const double* reach() const { return reach_.data(); }
  double growth() const { return growth_; }
  bool smooth() const { return smooth_; }

 private:
  index_t k_, vectors_;
  Workspace<double> matrix_, reach_;
  std::int64_t exponent_ = 0;
  double growth_ = 0;
  bool usable_ = false, guarded_ = true, smooth_ = false;
};

// Where a recursion stands between two slices of its rows.
struct Carry {
  explicit Carry(index_t width) : p(static_cast<std::size_t>(2 * width)) {}
  Workspace<double> p;        // (2, width): p of the next row, and room for a
  double f = 1;               // its factor
  double lost = 0;            // bound of what a has lost
  double kept = 0;            // sum a_n f_{n+1} of the last row, in [1, 2)
  std::int64_t exponent = 0;  // all factors so far are 2^-exponent together
};

// What is kept of each row.
struct Rows {
  const double* b;   // densities of the first row
  index_t b_step;    // to the next one, negative going back
  double* out;       // a_n or p_n of the first row
  index_t out_step;  //
  double* factors;   // f_n, or null
  double allowed;    // lost / kept above this ends the recursion
};

// Runs n rows. False when what was lost might matter (or an argument was NaN): nothing more is
// true then.
template <bool Before>
bool run_chain(const Transition& m, Carry& carry, Rows rows, index_t n);

}  // namespace kernelmill::hmm
