// What the passes of attention share. A block owns kOwned queries or keys of one head and walks
// over tiles of the others. A tile of scores is the tile product of core/tile.cuh over features; a
// thread keeps kPer x kPerOther of them in registers, and the 8 threads that share its rows lie in
// its own warp, so maxima and sums of a row need no shared memory. Rows of scores then go through
// shared memory, each warp's own, to be multiplied with rows of values.
#pragma once

#include <algorithm>  // std::max
#include <limits>     // infinity

#include "core/random.hpp"  // Philox, the same text as on the CPU
#include "core/tile.cuh"    // Tile, loaders
#include "ops/attention.cuh"

namespace kernelmill::attention {

constexpr int kOwned = 64, kThreads = 128;
constexpr int kChunk = 64;  // features of a result that a block computes

template <class T>
constexpr int kOthers = sizeof(T) == 4 ? 64 : 32;

template <class T>
using Scores = Tile<T, kOwned, kOthers<T>, 4, kOthers<T> / 8>;
template <class T>
constexpr int kPerOther = Scores<T>::kPerB;

// Lanes that share the rows of a thread are 1 to 7 steps of this apart.
constexpr int kStep = 2;

template <class T>
constexpr int kPitch = kOthers<T> + Pack<T>::size;
template <class T>
constexpr int kChunkPitch = kChunk + Pack<T>::size;

template <class T>
struct alignas(16) Memory {
  union {
    typename Scores<T>::Shared stages;
    T rows[kOthers<T> * kChunkPitch<T>];  // of values, keys or queries
  };
  T shares[kOwned * kPitch<T>];
  unsigned char kept[kOwned * kOthers<T>];  // (queries, keys)
};

template <class T>
__device__ T minus_infinity() {
  return -std::numeric_limits<T>::infinity();
}

// Whether rows of all heads start on 16 bytes.
template <class T>
bool packs_aligned(const View<T>& x) {
  bool aligned = reinterpret_cast<std::uintptr_t>(x.data) % 16 == 0;
  for (int a = 0; a < 3; ++a) aligned = aligned && x.strides[a] % Pack<T>::size == 0;
  return aligned;
}

// Rows of one head, and whether they are aligned.
template <class T>
struct Rows : DeviceRows<T> {
  bool aligned;
};

template <class T>
struct Heads {
  View<const T> x;
  bool aligned;

  explicit Heads(const View<const T>& x_) : x(x_), aligned(attention::packs_aligned(x_)) {}
  __device__ Rows<T> rows(index_t b, index_t h) const {
    return {{x.data + b * x.strides[0] + h * x.strides[2], x.shape[1], x.shape[3], x.strides[1],
             nullptr},
            aligned};
  }
};

// Keys that query i sees, or tiles of them, are those in [begin, end).
struct Range {
  index_t begin, end;
};

template <class T>
struct Problem {
  Inputs<T> in;
  Heads<T> q, k, v;

  explicit Problem(const Inputs<T>& in_) : in(in_), q(in_.q), k(in_.k), v(in_.v) {}
  __host__ __device__ index_t batch() const { return in.q.shape[0]; }
  __host__ __device__ index_t queries() const { return in.q.shape[1]; }
  __host__ __device__ index_t heads() const { return in.q.shape[2]; }
  __host__ __device__ index_t keys() const { return in.k.shape[1]; }
  __host__ __device__ index_t groups() const { return in.k.shape[2]; }
  __device__ index_t group(index_t h) const { return h / (heads() / groups()); }
  __device__ bool drops() const { return in.factor != Acc<T>(1) || in.least > 0; }

  __device__ bool sees(index_t i, index_t j) const {
    const index_t distance = i + in.offset - j;
    return i < queries() && j < keys() && (!in.causal || distance >= 0) &&
           (in.window < 0 || (distance <= in.window && -distance <= in.window));
  }
  // Whether all of these queries see all of these keys.
  __device__ bool all_seen(index_t i0, int count, index_t j0, int keys_count) const {
    const index_t first = i0 + in.offset - j0, last = first + count - 1;
    return i0 + count <= queries() && j0 + keys_count <= keys() &&
           (!in.causal || first >= keys_count - 1) &&
           (in.window < 0 || (last <= in.window && keys_count - 1 - first <= in.window));
  }
  // Keys that some of `count` queries from i0 see, and queries that see some of `count` keys.
  __device__ Range keys_of(index_t i0, int count) const {
    const index_t first = i0 + in.offset, last = first + count - 1;
    Range r{0, keys()};
    if (in.window >= 0) r = {first - in.window, last + in.window + 1};
    if (in.causal) r.end = min(r.end, last + 1);
    return {max(r.begin, index_t{0}), min(r.end, keys())};
  }
  __device__ Range queries_of(index_t j0, int count) const {
    const index_t first = j0 - in.offset, last = first + count - 1;
    Range r{0, queries()};
    if (in.window >= 0) r = {first - in.window, last + in.window + 1};
    if (in.causal) r.begin = max(r.begin, first);
    return {max(r.begin, index_t{0}), min(r.end, queries())};
  }
};

// One head of one sample.
struct Pair {
  index_t b, h;
};

template <class T>
struct Adjust {
  using A = Acc<T>;
  const Problem<T>& p;
  const T* bias;
  const bool* mask;
  A slope;

  __device__ Adjust(const Problem<T>& p_, const Pair& at) : p(p_) {
    const auto& in = p.in;
    bias = in.bias.data == nullptr
               ? nullptr
               : in.bias.data + at.b * in.bias.strides[0] + at.h * in.bias.strides[1];
    mask = in.mask.data == nullptr
               ? nullptr
               : in.mask.data + at.b * in.mask.strides[0] + at.h * in.mask.strides[1];
    slope = in.slopes == nullptr ? A(0) : in.slopes[at.h];
  }

  // The score of a product; -inf where the key is hidden.
  __device__ A operator()(A product, index_t i, index_t j) const {
    const auto& in = p.in;
    if (!p.sees(i, j)) return minus_infinity<A>();
    if (mask != nullptr && !mask[i * in.mask.strides[2] + j * in.mask.strides[3]]) {
      return minus_infinity<A>();
    }
    A score = in.scale * product;
    if (bias != nullptr) score += A(bias[i * in.bias.strides[2] + j * in.bias.strides[3]]);
    if (in.slopes != nullptr) score -= slope * ::fabs(static_cast<A>(i + in.offset - j));
    return score;
  }
};

template <class T>
using Tiled = T[Scores<T>::kPerA][Scores<T>::kPerB];
template <class T>
using Chunk = T[Scores<T>::kPerA][kChunk / 8];

// Products of owned queries or keys from `own` with the others become scores.
template <bool kOwnKeys, class T>
__device__ void to_scores(const Adjust<T>& adjust, index_t own, index_t other, Tiled<T>& tile) {
  using Tile = Scores<T>;
  const Problem<T>& p = adjust.p;
  const bool plain = adjust.bias == nullptr && adjust.mask == nullptr && p.in.slopes == nullptr &&
                     (kOwnKeys ? p.all_seen(other, kOthers<T>, own, kOwned)
                               : p.all_seen(own, kOwned, other, kOthers<T>));
#pragma unroll
  for (int a = 0; a < Tile::kPerA; ++a) {
#pragma unroll
    for (int b = 0; b < Tile::kPerB; ++b) {
      if (plain) {
        tile[a][b] *= p.in.scale;
      } else {
        const index_t row = own + Tile::place_a() + Tile::kAcrossA * a;
        const index_t column = other + Tile::place_b() + Tile::kAcrossB * b;
        tile[a][b] = adjust(tile[a][b], kOwnKeys ? column : row, kOwnKeys ? row : column);
      }
    }
  }
}

// kept[(i - i0) keys + j - j0]: whether each probability of a tile of queries and keys is kept. All
// threads of the block call it, and meet before it is read.
template <class T>
__device__ void draw(const Problem<T>& p, const Pair& at, index_t i0, int queries, index_t j0,
                     int keys, unsigned char* kept) {
  const Philox philox(p.in.seed, p.in.stream);
  const int calls = keys / 4 + 1;  // of four items, from any item on
  for (int c = static_cast<int>(threadIdx.x); c < queries * calls; c += kThreads) {
    const int row = c / calls;
    const auto first = static_cast<std::uint64_t>(
        ((at.b * p.heads() + at.h) * p.queries() + i0 + row) * p.keys() + j0);
    const std::uint64_t block = first / 4 + static_cast<std::uint64_t>(c - row * calls);
    const PhiloxWords words = philox.block(block);
#pragma unroll
    for (int w = 0; w < 4; ++w) {
      const auto place = static_cast<std::int64_t>(4 * block + w - first);
      if (place >= 0 && place < keys) {
        kept[row * keys + place] = uniform_float(words.w[w]) >= p.in.least;
      }
    }
  }
}

// Products of the owned rows from i0 with the others from j0.
template <class T>
__device__ void multiply_features(const Rows<T>& owned, index_t i0, const Rows<T>& others,
                                  index_t j0, Memory<T>& memory, Tiled<T>& products) {
#pragma unroll
  for (auto& row : products) {
#pragma unroll
    for (T& product : row) product = T(0);
  }
  RowLoader<T, kOwned, kThreads> load_a(owned, i0, owned.aligned, nullptr);
  RowLoader<T, kOthers<T>, kThreads> load_b(others, j0, others.aligned, nullptr);
  Scores<T>::template accumulate<Product>(memory.stages, load_a, load_b, owned.d, products);
}

// Queues kOthers rows from `first`, kChunk columns from `column` on, where the stages were.
template <class T>
__device__ void bring_rows(const Rows<T>& x, index_t first, index_t column, Memory<T>& memory) {
  constexpr int size = Pack<T>::size, packs = kChunk / size;
#pragma unroll 1
  for (int pack = static_cast<int>(threadIdx.x); pack < kOthers<T> * packs; pack += kThreads) {
    const int row = pack / packs, at = pack % packs * size;
    T* const to = memory.rows + row * kChunkPitch<T> + at;
    const T* const from = x.data + (first + row) * x.stride + column + at;
    const index_t left = first + row < x.n ? x.d - column - at : 0;
    if (x.aligned && left >= size) {
      __pipeline_memcpy_async(to, from, sizeof(Pack<T>));
    } else {
      for (int e = 0; e < size; ++e) {
        if (e < left) {
          __pipeline_memcpy_async(to + e, from + e, sizeof(T));
        } else {
          to[e] = T(0);
        }
      }
    }
  }
  __pipeline_commit();
}

// Puts a tile where multiply_rows reads it; meets the rows that were queued.
template <class T>
__device__ void put_tile(const Tiled<T>& tile, Memory<T>& memory) {
  using Tile = Scores<T>;
#pragma unroll
  for (int i = 0; i < Tile::kPerA; ++i) {
#pragma unroll
    for (int j = 0; j < Tile::kPerB; ++j) {
      memory.shares[(Tile::place_a() + Tile::kAcrossA * i) * kPitch<T> + Tile::place_b() +
                    Tile::kAcrossB * j] = tile[i][j];
    }
  }
  __pipeline_wait_prior(0);
  __syncthreads();
}

// acc += shares rows. A thread has its own rows of both, and packs of columns 8 packs apart. On
// return no thread reads the rows any more.
template <class T>
__device__ void multiply_rows(const Memory<T>& memory, Chunk<T>& acc) {
  using Tile = Scores<T>;
  constexpr int size = Pack<T>::size, packs = kChunk / 8 / size;
  const T* const own_a = memory.shares + Tile::place_a() * kPitch<T>;
  const T* const own_b = memory.rows + Tile::place_b() * size;
#pragma unroll 2
  for (int q = 0; q < kOthers<T>; q += size) {
    Pack<T> a[Tile::kPerA];
#pragma unroll
    for (int i = 0; i < Tile::kPerA; ++i) {
      a[i] = *reinterpret_cast<const Pack<T>*>(own_a + Tile::kAcrossA * i * kPitch<T> + q);
    }
#pragma unroll
    for (int k = 0; k < size; ++k) {
#pragma unroll
      for (int c = 0; c < packs; ++c) {
        const Pack<T> b =
            *reinterpret_cast<const Pack<T>*>(own_b + (q + k) * kChunkPitch<T> + 8 * size * c);
#pragma unroll
        for (int e = 0; e < size; ++e) {
#pragma unroll
          for (int i = 0; i < Tile::kPerA; ++i) acc[i][c * size + e] += a[i].at[k] * b.at[e];
        }
      }
    }
  }
  __syncthreads();
}

// x(first + own row, column + own columns) = factor(row) acc, at (b, h).
template <class T, class Factor>
__device__ void store_rows(const Chunk<T>& acc, const View<T>& x, const Pair& at, index_t first,
                           index_t column, Factor factor) {
  using Tile = Scores<T>;
  constexpr int size = Pack<T>::size;
#pragma unroll
  for (int i = 0; i < Tile::kPerA; ++i) {
    const index_t row = first + Tile::place_a() + Tile::kAcrossA * i;
    if (row >= x.shape[1]) continue;
    T* const to = x.data + at.b * x.strides[0] + row * x.strides[1] + at.h * x.strides[2];
#pragma unroll
    for (int c = 0; c < kChunk / 8; ++c) {
      const index_t place = column + (Tile::place_b() + 8 * (c / size)) * size + c % size;
      if (place < x.shape[3]) to[place] = factor(i) * acc[i][c];
    }
  }
}

// What the gradients of scores are computed from.
template <class T>
struct Gradients {
  Problem<T> p;
  Heads<T> dout;
  const Acc<T>*lse, *delta;  // (b, h, t)
};
// Those of a backward pass; queues delta = dout . out.
template <class T>
Gradients<T> gradients(const Call& call, const Inputs<T>& in, const Results<T>& results,
                       const BackwardSpace<T>& space);

template <class T, class Join>
__device__ T join_row(T x, Join rule) {
#pragma unroll
  for (int step = kStep; step < 8 * kStep; step *= 2) {
    x = rule(x, __shfl_xor_sync(0xffffffffu, x, step));
  }
  return x;
}

}  // namespace kernelmill::attention
