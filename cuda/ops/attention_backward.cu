// The backward pass: cpp/ops/attention_backward.cpp derives it. Scores are computed again, twice:
// for dq by blocks that own queries, for dk and dv by blocks that own keys. So every sum has one
// writer and a fixed order, at the price of 7 products instead of the 5 that sums by atomic
// operations, in no order, would take.

#include "ops/attention_tiles.cuh"

namespace kernelmill::attention {
namespace {

// delta = dout . out; 8 lanes a row.
template <class T>
__global__ void __launch_bounds__(kThreads)
    delta_kernel(const View<const T> dout, const View<const T> out, index_t rows, Acc<T>* delta) {
  constexpr int lanes = 8;
  const index_t t = out.shape[1], h = out.shape[2];
  const int lane = static_cast<int>(threadIdx.x) % lanes;
  for (index_t first = static_cast<index_t>(blockIdx.x) * (kThreads / lanes); first < rows;
       first += static_cast<index_t>(gridDim.x) * (kThreads / lanes)) {
    const index_t row = first + static_cast<index_t>(threadIdx.x) / lanes;
    double sum = 0;
    if (row < rows) {
      const index_t pair = row / t, i = row - pair * t, b = pair / h, head = pair - b * h;
      const auto begin = [&](const View<const T>& x) {
        return x.data + b * x.strides[0] + i * x.strides[1] + head * x.strides[2];
      };
      const T *const g = begin(dout), *const o = begin(out);
      for (index_t c = lane; c < out.shape[3]; c += lanes) {
        sum += static_cast<double>(g[c]) * static_cast<double>(o[c]);
      }
    }
    sum = lane_sum<lanes>(sum);
    if (row < rows && lane == 0) delta[row] = static_cast<Acc<T>>(sum);
  }
}

// Probabilities after dropout and gradients of scores, for owned queries or keys from `own` and the
// others from `other`.
template <bool kOwnKeys, class T>
__device__ void flows(const Gradients<T>& g, const Pair& at, const Adjust<T>& adjust, index_t own,
                      index_t other, Memory<T>& memory, Tiled<T>& shares, Tiled<T>& ds) {
  using Tile = Scores<T>;
  const Problem<T>& p = g.p;
  const index_t group = p.group(at.h), i0 = kOwnKeys ? other : own, j0 = kOwnKeys ? own : other;
  constexpr int queries = kOwnKeys ? kOthers<T> : kOwned, keys = kOwnKeys ? kOwned : kOthers<T>;
  if (p.drops()) {
    draw(p, at, i0, queries, j0, keys, memory.kept);
    __syncthreads();
  }
  const Rows<T> q = p.q.rows(at.b, at.h), k = p.k.rows(at.b, group), v = p.v.rows(at.b, group);
  const Rows<T> dout = g.dout.rows(at.b, at.h);
  multiply_features(kOwnKeys ? k : q, own, kOwnKeys ? q : k, other, memory, shares);
  to_scores<kOwnKeys>(adjust, own, other, shares);
  multiply_features(kOwnKeys ? v : dout, own, kOwnKeys ? dout : v, other, memory, ds);

  // Of the queries of this thread: its rows, or its columns.
  constexpr int count = kOwnKeys ? Tile::kPerB : Tile::kPerA;
  T shift[count], delta[count];
  const index_t first = (at.b * p.heads() + at.h) * p.queries();
#pragma unroll
  for (int n = 0; n < count; ++n) {
    const index_t i = i0 + (kOwnKeys ? Tile::place_b() + Tile::kAcrossB * n
                                     : Tile::place_a() + Tile::kAcrossA * n);
    const bool exists = i < p.queries();
    shift[n] = exists ? g.lse[first + i] : T(0);
    delta[n] = exists ? g.delta[first + i] : T(0);
    if (shift[n] == minus_infinity<T>()) shift[n] = -shift[n];  // no key is seen: shares of 0
  }
#pragma unroll
  for (int a = 0; a < Tile::kPerA; ++a) {
#pragma unroll
    for (int b = 0; b < Tile::kPerB; ++b) {
      const int row = Tile::place_a() + Tile::kAcrossA * a;
      const int column = Tile::place_b() + Tile::kAcrossB * b, n = kOwnKeys ? b : a;
      const int query = kOwnKeys ? column : row, key = kOwnKeys ? row : column;
      const T share = ::exp(shares[a][b] - shift[n]);
      T kept = T(1);
      if (p.drops()) kept = memory.kept[query * keys + key] ? p.in.factor : T(0);
      ds[a][b] = share == T(0) ? T(0) : share * (kept * ds[a][b] - delta[n]);
      shares[a][b] = share * kept;
    }
  }
}

// A block owns 64 queries of one head, and kChunk features of their gradient.
template <class T>
__global__ void __launch_bounds__(kThreads)
    queries_kernel(const Gradients<T> g, index_t tiles, View<T> dq) {
  __shared__ Memory<T> memory;
  const Problem<T>& p = g.p;
  const index_t pair = static_cast<index_t>(blockIdx.x) / tiles;
  const Pair at{pair / p.heads(), pair % p.heads()};
  const index_t i0 = (tiles - 1 - static_cast<index_t>(blockIdx.x) % tiles) * kOwned;
  const index_t column = static_cast<index_t>(blockIdx.y) * kChunk;
  const Rows<T> keys = p.k.rows(at.b, p.group(at.h));
  const Adjust<T> adjust(p, at);
  Chunk<T> sums = {};
  const Range range = p.keys_of(i0, kOwned);
  for (index_t j0 = range.begin / kOthers<T> * kOthers<T>; j0 < range.end; j0 += kOthers<T>) {
    Tiled<T> shares, ds;
    flows<false>(g, at, adjust, i0, j0, memory, shares, ds);
    bring_rows(keys, j0, column, memory);
    put_tile(ds, memory);
    multiply_rows(memory, sums);
  }
  store_rows(sums, dq, at, i0, column, [&](int) { return p.in.scale; });
}

// A block owns 64 keys of one head of keys and values, and kChunk features of both gradients.
template <class T>
__global__ void __launch_bounds__(kThreads)
    keys_kernel(const Gradients<T> g, index_t tiles, View<T> dk, View<T> dv) {
  __shared__ Memory<T> memory;
  const Problem<T>& p = g.p;
  const index_t pair = static_cast<index_t>(blockIdx.x) / tiles;
  const Pair own{pair / p.groups(), pair % p.groups()};
  const index_t j0 = static_cast<index_t>(blockIdx.x) % tiles * kOwned;
  const index_t column = static_cast<index_t>(blockIdx.y) * kChunk;
  const index_t per_group = p.heads() / p.groups();
  const Range range = p.queries_of(j0, kOwned);
  Chunk<T> of_keys = {}, of_values = {};
  for (index_t h = own.h * per_group; h < (own.h + 1) * per_group; ++h) {
    const Pair at{own.b, h};
    const Adjust<T> adjust(p, at);
    const Rows<T> queries = p.q.rows(at.b, h), dout = g.dout.rows(at.b, h);
    for (index_t i0 = range.begin / kOthers<T> * kOthers<T>; i0 < range.end; i0 += kOthers<T>) {
      Tiled<T> shares, ds;
      flows<true>(g, at, adjust, j0, i0, memory, shares, ds);
      if (column < dout.d) {
        bring_rows(dout, i0, column, memory);
        put_tile(shares, memory);
        multiply_rows(memory, of_values);
      }
      if (column < queries.d) {
        bring_rows(queries, i0, column, memory);
        put_tile(ds, memory);
        multiply_rows(memory, of_keys);
      }
    }
  }
  store_rows(of_keys, dk, own, j0, column, [&](int) { return p.in.scale; });
  store_rows(of_values, dv, own, j0, column, [](int) { return T(1); });
}

// A block owns a tile of the gradient of the bias, and adds up the heads, queries and keys along
// which it repeats.
template <class T>
__global__ void __launch_bounds__(kThreads)
    bias_kernel(const Gradients<T> g, index_t tiles, index_t across, View<T> dbias) {
  using Tile = Scores<T>;
  __shared__ Memory<T> memory;
  const Problem<T>& p = g.p;
  const index_t pair = static_cast<index_t>(blockIdx.x) / tiles;
  const index_t tile = static_cast<index_t>(blockIdx.x) % tiles;
  const index_t i0 = tile / across * kOwned, j0 = tile % across * kOthers<T>;
  const index_t b = pair / dbias.shape[1], h = pair % dbias.shape[1];
  const bool all_queries = dbias.shape[2] == 1, all_keys = dbias.shape[3] == 1;
  const auto until = [](bool all, index_t from, index_t most) { return all ? most : from + 1; };
  Tiled<T> sums = {};
  for (index_t sample = b; sample < until(dbias.shape[0] == 1, b, p.batch()); ++sample) {
    for (index_t head = h; head < until(dbias.shape[1] == 1, h, p.heads()); ++head) {
      const Pair at{sample, head};
      const Adjust<T> adjust(p, at);
      for (index_t i = i0; i < until(all_queries, i0, p.queries()); i += kOwned) {
        const Range seen = p.keys_of(i, kOwned);
        for (index_t j = j0; j < until(all_keys, j0, p.keys()); j += kOthers<T>) {
          if (j >= seen.end || j + kOthers<T> <= seen.begin) continue;
          Tiled<T> shares, ds;
          flows<false>(g, at, adjust, i, j, memory, shares, ds);
          __syncthreads();  // what was kept is no longer read
#pragma unroll
          for (int r = 0; r < Tile::kPerA; ++r) {
#pragma unroll
            for (int c = 0; c < Tile::kPerB; ++c) sums[r][c] += ds[r][c];
          }
        }
      }
    }
  }
  // Rows are added up by their lanes, then columns by threads.
  put_tile(sums, memory);
  if (all_keys) {
    if (threadIdx.x < kOwned) {
      T sum = T(0);
      for (int c = 0; c < kOthers<T>; ++c) sum += memory.shares[threadIdx.x * kPitch<T> + c];
      memory.shares[threadIdx.x * kPitch<T>] = sum;
    }
    __syncthreads();
  }
  if (all_queries) {
    if (threadIdx.x < kOthers<T>) {
      T sum = T(0);
      for (int r = 0; r < kOwned; ++r) sum += memory.shares[r * kPitch<T> + threadIdx.x];
      memory.shares[threadIdx.x] = sum;
    }
    __syncthreads();
  }
  const index_t rows = min(dbias.shape[2] - i0, static_cast<index_t>(kOwned));
  const index_t columns = min(dbias.shape[3] - j0, static_cast<index_t>(kOthers<T>));
  for (index_t e = threadIdx.x; e < rows * columns; e += kThreads) {
    const index_t r = e / columns, c = e - r * columns;
    dbias.data[b * dbias.strides[0] + h * dbias.strides[1] + (i0 + r) * dbias.strides[2] +
               (j0 + c) * dbias.strides[3]] = memory.shares[r * kPitch<T> + c];
  }
}

dim3 grid(index_t blocks, index_t features) {
  const index_t chunks = std::max<index_t>(1, div_up(features, kChunk));
  return dim3(static_cast<unsigned>(blocks), static_cast<unsigned>(chunks));
}

}  // namespace

template <class T>
Gradients<T> gradients(const Call& call, const Inputs<T>& in, const Results<T>& results,
                       const BackwardSpace<T>& space) {
  const Problem<T> p(in);
  const index_t rows = p.batch() * p.heads() * p.queries();
  if (rows > 0) {
    launch(call, delta_kernel<T>, grid_for(rows * 8, kThreads), kThreads, results.dout, results.out,
           rows, space.delta);
  }
  return {p, Heads<T>(results.dout), results.lse, space.delta};
}

template <class T>
void backward(const Call& call, const Inputs<T>& in, const Results<T>& results, View<T> dq,
              View<T> dk, View<T> dv, const BackwardSpace<T>& space) {
  const Gradients<T> g = gradients(call, in, results, space);
  const Problem<T>& p = g.p;
  const index_t e = dq.shape[3], f = dv.shape[3];
  const index_t tiles = div_up(p.queries(), kOwned), blocks = p.batch() * p.heads() * tiles;
  if (blocks > 0) launch(call, queries_kernel<T>, grid(blocks, e), kThreads, g, tiles, dq);
  const index_t key_tiles = div_up(p.keys(), kOwned);
  const index_t key_blocks = p.batch() * p.groups() * key_tiles;
  if (key_blocks > 0) {
    launch(call, keys_kernel<T>, grid(key_blocks, std::max(e, f)), kThreads, g, key_tiles, dk, dv);
  }
}

template <class T>
void bias_backward(const Call& call, const Inputs<T>& in, const Results<T>& results, View<T> dbias,
                   const BackwardSpace<T>& space) {
  const Gradients<T> g = gradients(call, in, results, space);
  const index_t across = div_up(dbias.shape[3], kOthers<T>);
  const index_t tiles = div_up(dbias.shape[2], kOwned) * across;
  const index_t blocks = dbias.shape[0] * dbias.shape[1] * tiles;
  if (blocks == 0) return;
  launch(call, bias_kernel<T>, dim3(static_cast<unsigned>(blocks)), kThreads, g, tiles, across,
         dbias);
}

KERNELMILL_FOR_STORED(gradients)
KERNELMILL_FOR_FLOATS(backward)
KERNELMILL_FOR_FLOATS(bias_backward)

}  // namespace kernelmill::attention
