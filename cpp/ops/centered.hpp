// Packing of rows with the origin moved: element(o, p) = data[o, p] - offset[p].
//
// ||x - y||^2 = ||x||^2 + ||y||^2 - 2 x.y loses ||x||^2 / ||x - y||^2 of its precision to
// cancellation, so ops that expand the square first move the origin close to the data. The shift
// itself costs one rounding relative to the shifted value, provided that the offset is a number of
// type T.
#pragma once

#include <algorithm>    // std::fill, std::nth_element
#include <cmath>        // std::isfinite
#include <cstddef>      // std::ptrdiff_t
#include <type_traits>  // std::common_type_t
#include <limits>       // std::numeric_limits
#include <vector>       // origins

#include "core/matrix.hpp"     // MatrixView, index_t
#include "core/tile_pack.hpp"  // Strided

namespace kernelmill {

// Packing policy of the tile product: element(o, p) = data[...] - offset[p]; any strides. The
// origin of `data` may be any array of rows; `offset` holds one number per depth index.
template <class T>
struct Centered {
  const T* data;
  index_t outer_stride, depth_stride;
  const T* offset;

  void pack(index_t outer, index_t count, index_t depth, index_t depth_count, T* panel,
            index_t width) const {
    tile::Strided<T>{data, outer_stride, depth_stride}.pack(outer, count, depth, depth_count, panel,
                                                            width);
    // A second pass over a panel that is still in the L1 cache; lanes beyond count stay 0.
    for (index_t p = 0; p < depth_count; ++p) {
      const T shift = offset[depth + p];
      for (index_t r = 0; r < count; ++r) panel[p * width + r] -= shift;
    }
  }
};

// The same around any other policy, e.g. rows gathered by number. Lanes beyond count hold -offset.
template <class T, class Policy>
class CenteredOperand {
 public:
  CenteredOperand(const Policy& policy, const T* origin) : operand(policy), offset(origin) {}

  void pack(index_t outer, index_t count, index_t depth, index_t depth_count, T* panel,
            index_t width) const {
    operand.pack(outer, count, depth, depth_count, panel, width);
    using Vec = typename tile::Params<T>::Vec;
    constexpr int lanes = tile::Params<T>::lanes;
    const index_t size = width / lanes * lanes;  // all of it: a panel of B is NR wide
    for (index_t p = 0; p < depth_count; ++p, panel += width) {
      const T shift = offset[depth + p];
      for (index_t r = 0; r < size; r += lanes) {
        tile::store(panel + r, tile::load<Vec>(panel + r) - shift);
      }
      for (index_t r = size; r < width; ++r) panel[r] -= shift;
    }
  }

 private:
  Policy operand;
  const T* offset;
};

// Centered, and the squared norm of every packed row: norms[o - first] for the rows o of the call,
// `width` of them, so that lanes beyond count get 0. A norm that is so large that sums of norms
// might overflow becomes infinite: the sums then are too, whatever the other norm.
template <class T>
struct CenteredWithNorms {
  Centered<T> rows;
  T* norms;
  index_t first, depth_end;

  void pack(index_t outer, index_t count, index_t depth, index_t depth_count, T* panel,
            index_t width) const {
    rows.pack(outer, count, depth, depth_count, panel, width);
    T* const norm = norms + (outer - first);
    if (depth == 0) std::fill(norm, norm + width, T{0});
    for (index_t p = 0; p < depth_count; ++p) {
      for (index_t r = 0; r < width; ++r) norm[r] += panel[p * width + r] * panel[p * width + r];
    }
    if (depth + depth_count < depth_end) return;
    constexpr T largest = std::numeric_limits<T>::max() / 8;
    for (index_t r = 0; r < width; ++r) {
      norm[r] = norm[r] <= largest ? norm[r] : std::numeric_limits<T>::infinity();
    }
  }
};

// Appends the finite elements of column p of at most `most` rows, evenly spaced.
template <class T>
void sample_column(MatrixView<const T> rows, index_t p, index_t most, std::vector<T>& column) {
  const index_t step = rows.rows <= most ? 1 : rows.rows / most;
  for (index_t i = 0; i < rows.rows; i += step) {
    if (std::isfinite(rows(i, p))) column.push_back(rows(i, p));
  }
}

// The origin for distances between rows of the given matrices: the lower median of each column of a
// sample of `most` rows of each. A median, because one far row must not move the origin away from
// the others; the lower one, because it is an element itself, so that subtracting it keeps small
// integers, and their ties, exact. Always finite.
template <class T, class... Matrices>
std::vector<T> origin_of(index_t cols, index_t most, const Matrices&... rows) {
  std::vector<T> origin(static_cast<std::size_t>(cols), T{0});
  std::vector<std::common_type_t<typename Matrices::value_type...>> column;
  for (index_t p = 0; p < cols; ++p) {
    column.clear();
    (sample_column(rows, p, most, column), ...);
    if (column.empty()) continue;
    const auto middle = column.begin() + static_cast<std::ptrdiff_t>((column.size() - 1) / 2);
    std::nth_element(column.begin(), middle, column.end());
    const T median = static_cast<T>(*middle);
    if (std::isfinite(median)) origin[static_cast<std::size_t>(p)] = median;
  }
  return origin;
}

}  // namespace kernelmill
