// Packing of rows with the origin moved: element(o, p) = data[o, p] - offset[p].
//
// ||x - y||^2 = ||x||^2 + ||y||^2 - 2 x.y loses ||x||^2 / ||x - y||^2 of its precision to
// cancellation, so ops that expand the square first move the origin close to the data. The shift
// itself costs one rounding relative to the shifted value, provided that the offset is a number of
// the arithmetic type.
#pragma once

#include <algorithm>    // std::fill, std::max, std::nth_element
#include <array>        // a column
#include <cmath>        // std::isfinite
#include <type_traits>  // std::common_type_t
#include <limits>       // std::numeric_limits
#include <vector>       // origins

#include "core/matrix.hpp"     // MatrixView, index_t
#include "core/tile_pack.hpp"  // Strided

namespace kernelmill {

// Any packing with an offset per depth index, a number of the type that is packed, taken off.
template <class Rows, class Acc>
struct Centered {
  Rows rows;
  const Acc* offset;

  void pack(index_t outer, index_t count, index_t depth, index_t depth_count, Acc* panel,
            index_t width) const {
    rows.pack(outer, count, depth, depth_count, panel, width);
    // A second pass over a panel that is still in the L1 cache; lanes beyond count stay 0.
    using Vec = typename tile::Params<Acc>::Vec;
    constexpr int lanes = tile::Params<Acc>::lanes;
    for (index_t p = 0; p < depth_count; ++p, panel += width) {
      const Acc shift = offset[depth + p];
      for (index_t r = 0; r < width; r += lanes) {  // unrolled where width is a constant
        if (r + lanes <= count) {
          tile::store(panel + r, tile::load<Vec>(panel + r) - shift);
        } else {
          for (index_t q = r; q < count; ++q) panel[q] -= shift;
        }
      }
    }
  }
};

// Rows of a matrix with the origin moved.
template <class In, class Acc>
Centered<tile::Strided<In>, Acc> centered(MatrixView<const In> x, const std::vector<Acc>& origin) {
  return {{x.data, x.row_stride, x.col_stride}, origin.data()};
}

// The same, and the squared norm of every packed row: norms[o - first] for the rows o of the call,
// `width` of them, so that lanes beyond count get 0. A norm that is so large that sums of norms
// might overflow becomes infinite: the sums then are too, whatever the other norm.
template <class In, class Acc>
struct CenteredWithNorms {
  Centered<tile::Strided<In>, Acc> rows;
  Acc* norms;
  index_t first, depth_end;

  void pack(index_t outer, index_t count, index_t depth, index_t depth_count, Acc* panel,
            index_t width) const {
    rows.pack(outer, count, depth, depth_count, panel, width);
    Acc* const norm = norms + (outer - first);
    if (depth == 0) std::fill(norm, norm + width, Acc{0});
    for (index_t p = 0; p < depth_count; ++p) {
      for (index_t r = 0; r < width; ++r) norm[r] += panel[p * width + r] * panel[p * width + r];
    }
    if (depth + depth_count < depth_end) return;
    constexpr Acc largest = std::numeric_limits<Acc>::max() / 8;
    for (index_t r = 0; r < width; ++r) {
      norm[r] = norm[r] <= largest ? norm[r] : std::numeric_limits<Acc>::infinity();
    }
  }
};
template <class In, class Acc>  // for clang 15, as beside tile::Elements
CenteredWithNorms(Centered<tile::Strided<In>, Acc>, Acc*, index_t, index_t)
    -> CenteredWithNorms<In, Acc>;

// Writes the finite elements of column p of at most `most` rows, evenly spaced; where they end.
template <class T>
T* sample_column(MatrixView<const T> rows, index_t p, index_t most, T* column) {
  const index_t step = std::max<index_t>(1, (rows.rows + most - 1) / most);
  for (index_t i = 0; i < rows.rows; i += step) {
    *column = rows(i, p);
    column += std::isfinite(*column);
  }
  return column;
}

// The origin for distances between rows of the given matrices: the lower median of each column of a
// sample of `most` rows of each. A median, because one far row must not move the origin away from
// the others; the lower one, because it is an element itself, so that subtracting it keeps small
// integers, and their ties, exact. Always finite.
template <class T, int most, class... Matrices>
std::vector<T> origin_of(index_t cols, const Matrices&... rows) {
  std::vector<T> origin(static_cast<std::size_t>(cols), T{0});
  using Element = std::common_type_t<typename Matrices::value_type...>;
  // One more than a sample, for an element that is not finite and written over.
  std::array<Element, most * sizeof...(rows) + 1> column;
  for (index_t p = 0; p < cols; ++p) {
    Element *const begin = column.data(), *end = begin;
    ((end = sample_column(rows, p, most, end)), ...);
    if (end == begin) continue;
    Element* const middle = begin + (end - begin - 1) / 2;
    std::nth_element(begin, middle, end);
    const T median = static_cast<T>(*middle);
    if (std::isfinite(median)) origin[static_cast<std::size_t>(p)] = median;
  }
  return origin;
}

}  // namespace kernelmill
