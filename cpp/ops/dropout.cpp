#include "ops/dropout.hpp"

#include <algorithm>  // std::min, std::max
#include <span>       // std::span

#include "core/error.hpp"     // invalid
#include "core/parallel.hpp"  // parallel_for
#include "core/random.hpp"    // least_kept
#include "ops/random.hpp"     // uniform

namespace kernelmill::dropout {
namespace {

// Items drawn at a time: 16 KiB, which stays in the cache until it is used.
constexpr index_t kBlock = 4096;
constexpr index_t kTask = 4 * kBlock;

}  // namespace

template <class T>
void dropout(MatrixView<const T> x, const Mask& mask, T scale, T shift, T dropped,
             MatrixView<T> y) {
  if (!(mask.p >= 0 && mask.p <= 1)) {
    invalid("dropout.dropout", "p must be in [0, 1], got ", mask.p);
  }
  if (x.rows == 0 || x.cols == 0) return;
  const float least = least_kept(mask.p);
  const index_t width = mask.rows ? 1 : x.cols, per_item = mask.rows ? x.cols : 1;
  const index_t grain = std::max<index_t>(1, kTask / per_item);
  parallel_for(x.rows * width, grain, [&](index_t, index_t begin, index_t end) {
    alignas(64) float u[kBlock];
    for (index_t block = begin; block < end; block += kBlock) {
      const index_t stop = std::min(end, block + kBlock);
      random::uniform<float>(mask.seed, mask.stream, static_cast<std::uint64_t>(block),
                             std::span(u, static_cast<std::size_t>(stop - block)));
      for (index_t item = block; item < stop;) {
        const index_t i = item / width, j = item % width;
        const index_t run = std::min(width - j, stop - item);
        const float* const drawn = u + (item - block);
        T* const to = &y(i, j);
        const T* const from = &x(i, j);
        if (mask.rows) {
          const bool kept = *drawn >= least;
          for (index_t c = 0; c < x.cols; ++c) {
            to[c] = kept ? scale * from[c * x.col_stride] + shift : dropped;
          }
        } else if (x.col_stride == 1) {
#pragma omp simd
          for (index_t c = 0; c < run; ++c) {
            const T value = scale * from[c] + shift;
            to[c] = drawn[c] >= least ? value : dropped;
          }
        } else {
          for (index_t c = 0; c < run; ++c) {
            to[c] = drawn[c] >= least ? scale * from[c * x.col_stride] + shift : dropped;
          }
        }
        item += run;
      }
    }
  });
}

template void dropout<float>(MatrixView<const float>, const Mask&, float, float, float,
                             MatrixView<float>);
template void dropout<double>(MatrixView<const double>, const Mask&, double, double, double,
                              MatrixView<double>);

}  // namespace kernelmill::dropout
