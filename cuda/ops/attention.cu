// The forward pass: cpp/ops/attention.cpp derives it. A block takes 64 queries of one head through
// their keys; its sums stay in registers and are put on the new scale where a maximum moves.

#include "ops/attention_tiles.cuh"

namespace kernelmill::attention {
namespace {

template <class T>
__global__ void __launch_bounds__(kThreads, sizeof(T) == 4 ? 3 : 2)
    forward_kernel(const Problem<T> p, index_t tiles, View<T> out, Acc<T>* lse) {
  using Tile = Scores<T>;
  __shared__ Memory<T> memory;
  const index_t pair = static_cast<index_t>(blockIdx.x) / tiles;
  const Pair at{pair / p.heads(), pair % p.heads()};
  // The longest ranges of a causal pass first.
  const index_t i0 = (tiles - 1 - static_cast<index_t>(blockIdx.x) % tiles) * kOwned;
  const index_t column = static_cast<index_t>(blockIdx.y) * kChunk, group = p.group(at.h);
  const Rows<T> queries = p.q.rows(at.b, at.h), keys = p.k.rows(at.b, group);
  const Rows<T> values = p.v.rows(at.b, group);
  const Adjust<T> adjust(p, at);
  const bool drops = p.drops();

  Chunk<T> sums = {};
  T top[Tile::kPerA], total[Tile::kPerA];  // total: of the thread's own columns
#pragma unroll
  for (int i = 0; i < Tile::kPerA; ++i) {
    top[i] = minus_infinity<T>();
    total[i] = T(0);
  }
  const Range range = p.keys_of(i0, kOwned);
  for (index_t j0 = range.begin / kOthers<T> * kOthers<T>; j0 < range.end; j0 += kOthers<T>) {
    if (drops) {
      draw(p, at, i0, kOwned, j0, kOthers<T>, memory.kept);
      __syncthreads();
    }
    Tiled<T> scores;
    multiply_features(queries, i0, keys, j0, memory, scores);
    bring_rows(values, j0, column, memory);
    to_scores<false>(adjust, i0, j0, scores);
#pragma unroll
    for (int i = 0; i < Tile::kPerA; ++i) {
      const int row = Tile::place_a() + Tile::kAcrossA * i;
      T most = top[i];  // NaN is passed over, and found by the exponential
#pragma unroll
      for (const T score : scores[i]) most = score > most ? score : most;
      most = join_row(most, [](T a, T b) { return a > b ? a : b; });
      const T shift = most == minus_infinity<T>() ? T(0) : most;
      const T factor = ::exp(top[i] - shift);
      top[i] = most;
      total[i] *= factor;
#pragma unroll
      for (T& sum : sums[i]) sum *= factor;
#pragma unroll
      for (int j = 0; j < Tile::kPerB; ++j) {
        T share = ::exp(scores[i][j] - shift);
        total[i] += share;
        if (drops) {
          const int key = Tile::place_b() + Tile::kAcrossB * j;
          share *= memory.kept[row * kOthers<T> + key] ? p.in.factor : T(0);
        }
        scores[i][j] = share;
      }
    }
    put_tile(scores, memory);
    multiply_rows(memory, sums);
  }
#pragma unroll
  for (int i = 0; i < Tile::kPerA; ++i) {
    total[i] = join_row(total[i], [](T a, T b) { return a + b; });
    const index_t row = i0 + Tile::place_a() + Tile::kAcrossA * i;
    if (row < p.queries() && Tile::place_b() == 0 && blockIdx.y == 0) {
      // log(0) = -inf, and so is the top of a row without keys.
      lse[pair * p.queries() + row] = top[i] + ::log(total[i]);
    }
    total[i] = total[i] == T(0) ? T(0) : T(1) / total[i];
  }
  store_rows(sums, out, at, i0, column, [&](int i) { return total[i]; });
}

}  // namespace

template <class T>
void forward(const Call& call, const Inputs<T>& in, View<T> out, Acc<T>* lse) {
  const Problem<T> p(in);
  const index_t tiles = div_up(p.queries(), kOwned), blocks = p.batch() * p.heads() * tiles;
  if (blocks == 0) return;
  if (p.queries() <= kFew) return forward_few<T>(call, in, out, lse);
  const index_t chunks = std::max<index_t>(1, div_up(in.v.shape[3], kChunk));
  launch(call, forward_kernel<T>,
         dim3(static_cast<unsigned>(blocks), static_cast<unsigned>(chunks)), kThreads, p, tiles,
         out, lse);
}

KERNELMILL_FOR_FLOATS(forward)

}  // namespace kernelmill::attention
