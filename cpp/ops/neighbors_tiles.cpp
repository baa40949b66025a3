#include "ops/neighbors_tiles.hpp"

#include <algorithm>    // std::clamp, std::min
#include <cmath>        // std::isfinite
#include <type_traits>  // std::is_same_v

#include "core/parallel.hpp"   // parallel_for
#include "core/tile.hpp"       // product_tiles
#include "core/workspace.hpp"  // packed queries
#include "ops/centered.hpp"    // centered, origin_of
#include "ops/neighbors_blocks.hpp"
#include "ops/neighbors_bytes.hpp"

#if defined(__AVX2__)
#include <immintrin.h>  // masks of comparisons
#endif

namespace kernelmill::neighbors {
namespace {

// A bit for each lane where value <= limit. Without a mask register compilers write the comparison
// to memory and read it lane by lane.
template <class V>
[[gnu::always_inline]] inline std::uint32_t at_most(const V& value, const V& limit) {
#if defined(__AVX512F__)
  if constexpr (sizeof(value[0]) == 4) {
    return _mm512_cmp_ps_mask(reinterpret_cast<__m512>(value), reinterpret_cast<__m512>(limit),
                              _CMP_LE_OQ);
  } else {
    return _mm512_cmp_pd_mask(reinterpret_cast<__m512d>(value), reinterpret_cast<__m512d>(limit),
                              _CMP_LE_OQ);
  }
#elif defined(__AVX2__)
  const auto mask = value <= limit;
  if constexpr (sizeof(value[0]) == 4) {
    return static_cast<std::uint32_t>(_mm256_movemask_ps(reinterpret_cast<__m256>(mask)));
  } else {
    return static_cast<std::uint32_t>(_mm256_movemask_pd(reinterpret_cast<__m256d>(mask)));
  }
#else
  std::uint32_t bits = 0;
  constexpr int lanes = static_cast<int>(sizeof(V) / sizeof(value[0]));
  for (int l = 0; l < lanes; ++l) bits |= static_cast<std::uint32_t>(value[l] <= limit[l]) << l;
  return bits;
#endif
}

template <class T>
struct Epilogue {
  static constexpr tile::Hooks hooks{};
  using P = tile::Params<T>;
  using Vec = typename P::Vec;

  const T* low_norm;
  const T* limit;
  index_t first_row;
  Hits<T> hits;
  index_t from;  // rows before it have been looked at

  template <int Rows>
  void tile(const Vec (&acc)[Rows][P::NV], index_t i0, index_t j0, index_t) {
    // Most tiles have no hit: the least of each column is compared, not every element.
    std::uint32_t any = 0;
    KERNELMILL_UNROLL
    for (int v = 0; v < P::NV; ++v) {
      Vec least = acc[0][v] + low_norm[i0];
      KERNELMILL_UNROLL
      for (int r = 1; r < Rows; ++r) {
        const Vec low = acc[r][v] + low_norm[i0 + r];
        least = low < least ? low : least;
      }
      any |= at_most(least, tile::load<Vec>(limit + j0 + v * P::lanes));
    }
    if (any == 0) [[likely]]
      return;
    Vec rows[Rows][P::NV];  // a copy, so that the sums themselves stay in registers
    for (int r = 0; r < Rows; ++r) {
      for (int v = 0; v < P::NV; ++v) rows[r][v] = acc[r][v] + low_norm[i0 + r];
    }
    report(&rows[0][0], Rows, i0, j0);
  }

  [[gnu::noinline]] void report(const Vec* low, int rows, index_t i0, index_t j0) const {
    for (int r = i0 < from ? static_cast<int>(from - i0) : 0; r < rows; ++r) {
      for (int v = 0; v < P::NV; ++v) {
        const index_t j = j0 + v * P::lanes;
        // Read again for each row: a hit may lower it.
        std::uint32_t bits = at_most(low[r * P::NV + v], tile::load<Vec>(limit + j));
        for (; bits != 0; bits &= bits - 1) {
          const int l = __builtin_ctz(bits);
          T value[P::lanes];
          tile::store(value, low[r * P::NV + v]);
          hits.hit(hits.self, j + l, first_row + i0 + r, value[l]);
        }
      }
    }
  }
};

// Packed rows alive at a time, and packed queries beside a block of them in the L2 cache.
constexpr index_t packed_bytes = index_t{64} << 20;
constexpr int origin_rows = 64;

}  // namespace

template <class T>
Candidates<T>::Candidates(MatrixView<const T> y, MatrixView<const T> queries)
    : y_(y),
      origin_(origin_of<T, origin_rows>(y.cols, y, queries)),
      low_norm_(static_cast<std::size_t>(y.rows + ByteSieve::kPanel)),
      twice_error_(static_cast<std::size_t>(y.rows)),
      relative_(static_cast<double>(y.cols + 12) *
                static_cast<double>(std::numeric_limits<T>::epsilon())),
      // What the products of numbers whose squares underflow may lose.
      absolute_(static_cast<double>(y.cols + 12) *
                static_cast<double>(std::numeric_limits<T>::min())) {
  const index_t d = y.cols, bytes = std::max<index_t>(d, 1) * static_cast<index_t>(sizeof(T));
  chunk_rows_ = std::clamp<index_t>(packed_bytes / bytes, 1, std::max<index_t>(y.rows, 1));
  const auto merge = [](bool& all, bool part) { all = all && part; };
  in_range_ = ordered_reduce<bool>(
      y.rows, std::max<index_t>(1, 65536 / (d + 1)), [] { return true; },
      [&](bool& fine, index_t, index_t begin, index_t end) {
        for (index_t i = begin; i < end; ++i) {
          const double square = norm(y, i), slack = error(square);
          // Rounded to T, and by the additions of the epilogue: covered by the 12 above.
          low_norm_[static_cast<std::size_t>(i)] = static_cast<T>(square - slack);
          twice_error_[static_cast<std::size_t>(i)] = static_cast<T>(2 * slack);
          fine = fine && square < static_cast<double>(std::numeric_limits<T>::max()) / 8;
        }
      },
      merge);
  if constexpr (std::is_same_v<T, float>) {
    if (in_range_ && ByteSieve::fits(y, queries)) sieve_ = std::make_shared<ByteSieve>();
  }
}

template <class T>
double Candidates<T>::norm(MatrixView<const T> x, index_t j) const {
  double sum = 0;
  const T *const row = x.row(j), *const origin = origin_.data();
  const index_t stride = x.col_stride;
#pragma omp simd reduction(+ : sum)
  for (index_t p = 0; p < x.cols; ++p) {
    const double t = static_cast<double>(row[p * stride]) - static_cast<double>(origin[p]);
    sum += t * t;
  }
  return sum;
}

namespace {

// -2 (y - o).
template <class T>
struct Doubled {
  Centered<tile::Strided<T>, T> rows;

  void pack(index_t outer, index_t count, index_t depth, index_t depth_count, T* panel,
            index_t width) const {
    rows.pack(outer, count, depth, depth_count, panel, width);
    for (index_t p = 0; p < depth_count * width; ++p) panel[p] *= T{-2};
  }
};

}  // namespace

template <class T>
void Candidates<T>::pack(index_t number) {
  if (packed_part_ == number) return;
  const index_t begin = number * chunk_rows_, rows = std::min(chunk_rows_, y_.rows - begin);
  if (packed_part_ < 0) packed_ = Workspace<T>(static_cast<std::size_t>(chunk_rows_ * y_.cols));
  tile::PackedA<T> a(rows, y_.cols, packed_.data());
  const Doubled<T> packing{centered(y_.row_range(begin, begin + rows), origin_)};
  parallel_for(a.tiles(), 16,
               [&](index_t, index_t t, index_t t_end) { a.pack(packing, t, t_end); });
  if constexpr (std::is_same_v<T, float>) {
    if (sieve_) sieve_->pack(y_.row_range(begin, begin + rows), origin_.data());
  }
  packed_part_ = number;
}

template <class T>
void Candidates<T>::search(MatrixView<const T> x, index_t begin, index_t end, T* limit,
                           Hits<T> hits) const {
  constexpr index_t NR = tile::Params<T>::NR;
  static_assert(NR <= kPadding);
  const index_t d = x.cols, n = end - begin, first = packed_part_ * chunk_rows_;
  std::fill(limit + n, limit + n + kPadding, -std::numeric_limits<T>::infinity());
  const index_t rows = std::min(chunk_rows_, y_.rows - first);
  index_t from = 0;
  if constexpr (std::is_same_v<T, float>) {
    if (sieve_) {
      from = sieve_->search(x, begin, end, limit, low_norm_.data() + first, first, hits);
      if (from == rows) return;
    }
  }
  const tile::PackedA<T> a(rows, d, packed_.data());
  tile::PackedB<T> b(n, d);
  b.pack(centered(x, origin_), begin, 0, n);
  Epilogue<T> epilogue{low_norm_.data() + first, limit, first, hits, from};
  // Tiles by tens of ms, so that an interrupt is seen.
  const index_t step = std::max<index_t>(64, (index_t{1} << 30) / ((n + NR) * (d + 16) * 14));
  index_t t = 0;
  while (a.tile_row(t + 1) <= from) ++t;
  for (; t < a.tiles(); t += step) {
    check_interrupt();
    tile::product_tiles<T>(a, t, std::min(a.tiles(), t + step), b, 0, n, epilogue);
  }
}

template <class T>
void squared_distances(MatrixView<const T> x, index_t query, MatrixView<const T> y,
                       const index_t* rows, index_t count, double* out) {
  const index_t d = x.cols;
  const Workspace<double> q(static_cast<std::size_t>(d));
  const Workspace<T> block(static_cast<std::size_t>(d * kWidth));
  copy_row(x, query, q.data());
  // As a block: the same sums, to the last bit, as a search by differences has.
  for (index_t c = 0; c < count; c += kWidth) {
    const index_t size = std::min(kWidth, count - c);
    pack_block(y, size, block.data(), [&](index_t l) { return rows[c + l]; });
    alignas(64) double distance[kWidth];
    block_distances(Euclidean{}, q.data(), block.data(), d, size, distance);
    std::copy_n(distance, size, out + c);
  }
}

template class Candidates<float>;
template class Candidates<double>;
KERNELMILL_FOR_FLOATS(squared_distances)

}  // namespace kernelmill::neighbors
