// Pairs of rows that may be near in the Euclidean sense, from the tile product.
//
// With the origin moved to o (a median of the rows), x' = x - o and y' = y - o,
//
//   ||x - y||^2 - ||x'||^2 = s,   s = ||y'||^2 - 2 x'.y'.
//
// With c = (d + 12) eps the computed s differs from the exact one by at most c (||x'||^2 +
// ||y'||^2) / 2: 2 d u ||x'|| ||y'|| <= d u (||x'||^2 + ||y'||^2) for the products (u = eps / 2),
// as much for the norm, the rest for rounding x' and y'. So with e = c ||y'||^2 and f = c ||x'||^2,
// what the epilogue computes, low = s - e, satisfies
//
//   exact s >= low - f   and   exact s <= low + 2 e + f,
//
// and whoever sets `limit[j]` to t + f finds every row whose exact s is at most t among the hits of
// query j. What is a neighbour is then decided by `squared_distances`, from differences in float64.
#pragma once

#include <cstdint>  // std::uint32_t
#include <limits>   // std::numeric_limits
#include <memory>   // std::shared_ptr
#include <vector>   // norms

#include "core/matrix.hpp"     // MatrixView
#include "core/workspace.hpp"  // packed rows

namespace kernelmill::neighbors {

// What the product tells: query j (counted from the first of the task) and row i may be near.
template <class T>
struct Hits {
  void* self;
  void (*hit)(void* self, index_t j, index_t i, T low);
};

class ByteSieve;  // ops/neighbors_bytes.hpp

// The rows of y, made ready for products with queries.
template <class T>
class Candidates {
 public:
  // `queries` are used for the origin only.
  Candidates(MatrixView<const T> y, MatrixView<const T> queries);

  // Whether squares of the rows stay in the range of T. If not, nothing else may be called.
  bool in_range() const { return in_range_; }

  index_t rows() const { return y_.rows; }
  // 2 e of row i.
  T twice_error(index_t i) const { return twice_error_[static_cast<std::size_t>(i)]; }
  // ||x'||^2 of a query, and f. The second is NaN or infinite where squares overflow.
  double norm(MatrixView<const T> x, index_t j) const;
  double error(double norm) const { return relative_ * norm + absolute_; }

  // The rows are packed part by part.
  index_t parts() const { return chunk_rows_ == 0 ? 0 : (y_.rows + chunk_rows_ - 1) / chunk_rows_; }
  // Packs part `number`, in parallel, unless it is packed already.
  void pack(index_t number);
  // Hits of the packed part with queries [begin, end) of x: `limit` has one value for each of them
  // and kPadding more, which it lowers to minus infinity. Hits of a query come with ascending i.
  void search(MatrixView<const T> x, index_t begin, index_t end, T* limit, Hits<T> hits) const;

  static constexpr index_t kPadding = 128;

 private:
  MatrixView<const T> y_;
  std::vector<T> origin_, low_norm_, twice_error_;
  Workspace<T> packed_;
  std::shared_ptr<ByteSieve> sieve_;  // of the packed part; for floats, where it pays
  index_t chunk_rows_ = 0, packed_part_ = -1;
  double relative_, absolute_;
  bool in_range_ = true;
};

// Squared distances of a query to some rows of y, from differences in float64, feature by feature.
template <class T>
void squared_distances(MatrixView<const T> x, index_t query, MatrixView<const T> y,
                       const index_t* rows, index_t count, double* out);

extern template class Candidates<float>;
extern template class Candidates<double>;

}  // namespace kernelmill::neighbors
