// Attention on tensor cores, numbers stored in 16 bits or float32 read as tf32: the passes of
// attention.cu and attention_backward.cu on the products of core/mma.cuh. A warp owns 16 queries or
// keys, whose features it keeps in registers, and walks with the other three warps of its block
// over tiles of the others in shared memory. Scores, their exponentials and all sums are float32;
// shares and gradients of scores are rounded to T where they become operands. They never leave the
// registers: the lanes that hold rows of a result hold the same rows of an operand.

#include "core/mma.cuh"
#include "ops/attention_tiles.cuh"

namespace kernelmill::attention {
namespace {

using mma::kPer;
using mma::kTerms;
using mma::kWords;
using Word = std::uint32_t;

constexpr int kRows = 16;  // of a warp
static_assert(kThreads / 32 * kRows == kOwned);

__device__ int group() { return static_cast<int>(threadIdx.x) % 32 / 4; }
__device__ int member() { return static_cast<int>(threadIdx.x) % 4; }
// The rows, from the first of the block, and columns of c[i] of the n-th product beside another.
__device__ int row_of(int i) {
  return static_cast<int>(threadIdx.x) / 32 * kRows + group() + 8 * (i / 2);
}
__device__ int column_of(int n, int i) { return 8 * n + 2 * member() + i % 2; }

// kOthers rows of up to kFeatures features in shared memory. The pitch keeps the rows of a word,
// and the columns of rows that are 2 apart, in different banks.
template <class T, int kFeatures, int kOthers>
struct Shape {
  static constexpr int features = kFeatures, others = kOthers;
  static constexpr int pitch = kFeatures + 4 * kPer<T>;
  static constexpr int steps = kFeatures / kTerms<T>;  // products along the features
  static constexpr int columns = kOthers / 8;          // products beside one another
  struct alignas(16) Stored {
    T at[kOthers * pitch];
  };
  using Operand = Word[steps][4];    // the warp's own rows
  using Scores = float[columns][4];  // own rows with the others
  using Results = float[kFeatures / 8][4];
};

template <class T>
__device__ Word word_at(const T* row, int word) {
  if constexpr (sizeof(T) == 4) {
    return mma::tf32(row[word]);
  } else {
    return reinterpret_cast<const Word*>(row)[word];
  }
}

// Queues `count` rows from `first` on; what lies beyond the matrix is zero.
template <class S, class T>
__device__ void bring(const Rows<T>& x, index_t first, int count, T* to) {
  constexpr int size = Pack<T>::size, packs = S::features / size;
#pragma unroll 1
  for (int pack = static_cast<int>(threadIdx.x); pack < count * packs; pack += kThreads) {
    const int row = pack / packs, at = pack % packs * size;
    T* const place = to + row * S::pitch + at;
    const T* const from = x.data + (first + row) * x.stride + at;
    const index_t left = first + row < x.n ? x.d - at : 0;
    if (x.aligned && left >= size) {
      __pipeline_memcpy_async(place, from, sizeof(Pack<T>));
    } else {
#pragma unroll 1
      for (int e = 0; e < size; ++e) place[e] = e < left ? from[e] : T(0);
    }
  }
  __pipeline_commit();
}

__device__ inline void arrive() {
  __pipeline_wait_prior(0);
  __syncthreads();
}

// The block's own rows as operands, through shared memory that holds kOthers rows at a time.
template <class S, class T>
__device__ void take_own(const Rows<T>& x, index_t first, T* shared, typename S::Operand& operand) {
  for (int part = 0; part < kOwned; part += S::others) {
    bring<S>(x, first + part, S::others, shared);
    arrive();
    const int begin = static_cast<int>(threadIdx.x) / 32 * kRows - part;
    if (begin >= 0 && begin < S::others) {
#pragma unroll
      for (int step = 0; step < S::steps; ++step) {
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          operand[step][i] = word_at(shared + (begin + group() + 8 * (i % 2)) * S::pitch,
                                     step * kWords + member() + 4 * (i / 2));
        }
      }
    }
    __syncthreads();
  }
}

// Products of own rows with rows in shared memory.
template <class S, class T>
__device__ void multiply_features(const typename S::Operand& own, const T* rows,
                                  typename S::Scores& products) {
#pragma unroll
  for (int n = 0; n < S::columns; ++n) {
#pragma unroll
    for (float& product : products[n]) product = 0;
    const T* const row = rows + (8 * n + group()) * S::pitch;
#pragma unroll
    for (int step = 0; step < S::steps; ++step) {
      const Word b[2] = {word_at(row, step * kWords + member()),
                         word_at(row, step * kWords + member() + 4)};
      mma::multiply_add<T>(products[n], own[step], b);
    }
  }
}

// acc += shares rows. The order of terms in a product is free, so a lane's shares are its words of
// the operand: pairs of 16 bits as they are, and for tf32 columns 2 m and 2 m + 1 as terms m and
// m + 4.
template <class S, class T>
__device__ void multiply_rows(const typename S::Scores& shares, const T* rows,
                              typename S::Results& acc) {
  constexpr int halves = kPer<T>;
#pragma unroll
  for (int step = 0; step < S::others / kTerms<T>; ++step) {
    Word a[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      if constexpr (halves == 2) {
        const float* const pair = shares[2 * step + i / 2] + 2 * (i % 2);
        a[i] = mma::word_of(T(pair[0]), T(pair[1]));
      } else {
        a[i] = mma::tf32(shares[step][2 * (i % 2) + i / 2]);
      }
    }
#pragma unroll
    for (int n = 0; n < S::features / 8; ++n) {
      Word b[2];
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        if constexpr (halves == 2) {
          const T* const at =
              rows + (step * kTerms<T> + 2 * member() + 8 * i) * S::pitch + 8 * n + group();
          b[i] = mma::word_of(at[0], at[S::pitch]);
        } else {
          b[i] =
              mma::tf32(rows[(step * kTerms<T> + 2 * member() + i) * S::pitch + 8 * n + group()]);
        }
      }
      mma::multiply_add<T>(acc[n], a, b);
    }
  }
}

// x(first + own row, columns) = factor(row) acc, at (b, h).
template <class S, class T, class Factor>
__device__ void store_rows(const typename S::Results& acc, const View<T>& x, const Pair& at,
                           index_t first, Factor factor) {
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const index_t row = first + row_of(i);
    if (row >= x.shape[1]) continue;
    T* const to = x.data + at.b * x.strides[0] + row * x.strides[1] + at.h * x.strides[2];
#pragma unroll
    for (int n = 0; n < S::features / 8; ++n) {
      if (column_of(n, i) < x.shape[3]) to[column_of(n, i)] = T(factor(i / 2) * acc[n][i]);
    }
  }
}

// Over the four lanes that share a row.
template <class Join>
__device__ float join_lanes(float x, Join rule) {
#pragma unroll
  for (int step = 1; step < 4; step *= 2) x = rule(x, __shfl_xor_sync(0xffffffffu, x, step));
  return x;
}

// Products of owned queries or keys from `own` with the others from `other` become scores.
template <class S, bool kOwnKeys, class T>
__device__ void to_scores(const Adjust<T>& adjust, index_t own, index_t other,
                          typename S::Scores& scores) {
  const Problem<T>& p = adjust.p;
  const bool plain = adjust.bias == nullptr && adjust.mask == nullptr && p.in.slopes == nullptr &&
                     (kOwnKeys ? p.all_seen(other, S::others, own, kOwned)
                               : p.all_seen(own, kOwned, other, S::others));
#pragma unroll
  for (int n = 0; n < S::columns; ++n) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      if (plain) {
        scores[n][i] *= p.in.scale;
      } else {
        const index_t row = own + row_of(i), column = other + column_of(n, i);
        scores[n][i] = adjust(scores[n][i], kOwnKeys ? column : row, kOwnKeys ? row : column);
      }
    }
  }
}

template <class T, int kFeatures>
__global__ void __launch_bounds__(kThreads)
    forward_kernel(const Problem<T> p, index_t tiles, View<T> out, float* lse) {
  using S = Shape<T, kFeatures, 64>;
  __shared__ typename S::Stored keys, values;
  __shared__ unsigned char kept[kOwned * S::others];
  const index_t pair = static_cast<index_t>(blockIdx.x) / tiles;
  const Pair at{pair / p.heads(), pair % p.heads()};
  // The longest ranges of a causal pass first.
  const index_t i0 = (tiles - 1 - static_cast<index_t>(blockIdx.x) % tiles) * kOwned;
  const Rows<T> key_rows = p.k.rows(at.b, p.group(at.h));
  const Rows<T> value_rows = p.v.rows(at.b, p.group(at.h));
  const Adjust<T> adjust(p, at);
  const bool drops = p.drops();

  typename S::Operand queries;
  take_own<S>(p.q.rows(at.b, at.h), i0, keys.at, queries);
  typename S::Results sums = {};
  float top[2], total[2] = {0, 0};  // of rows g and g + 8; total: of the lane's own columns
  top[0] = top[1] = minus_infinity<float>();
  const Range range = p.keys_of(i0, kOwned);
  for (index_t j0 = range.begin / S::others * S::others; j0 < range.end; j0 += S::others) {
    bring<S>(key_rows, j0, S::others, keys.at);
    bring<S>(value_rows, j0, S::others, values.at);
    if (drops) draw(p, at, i0, kOwned, j0, S::others, kept);
    arrive();
    typename S::Scores scores;
    multiply_features<S>(queries, keys.at, scores);
    to_scores<S, false>(adjust, i0, j0, scores);
    float shift[2];
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      float most = top[r];  // NaN is passed over, and found by the exponential
#pragma unroll
      for (int n = 0; n < S::columns; ++n) {
        most = scores[n][2 * r] > most ? scores[n][2 * r] : most;
        most = scores[n][2 * r + 1] > most ? scores[n][2 * r + 1] : most;
      }
      most = join_lanes(most, [](float a, float b) { return a > b ? a : b; });
      shift[r] = most == minus_infinity<float>() ? 0.0F : most;
      const float factor = ::exp(top[r] - shift[r]);
      top[r] = most;
      total[r] *= factor;
#pragma unroll
      for (int n = 0; n < S::features / 8; ++n) {
        sums[n][2 * r] *= factor;
        sums[n][2 * r + 1] *= factor;
      }
    }
#pragma unroll
    for (int n = 0; n < S::columns; ++n) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        float share = ::exp(scores[n][i] - shift[i / 2]);
        total[i / 2] += share;
        if (drops) {
          share *= kept[row_of(i) * S::others + column_of(n, i)] ? p.in.factor : 0.0F;
        }
        scores[n][i] = share;
      }
    }
    multiply_rows<S>(scores, values.at, sums);
    __syncthreads();
  }
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    total[r] = join_lanes(total[r], [](float a, float b) { return a + b; });
    const index_t row = i0 + row_of(2 * r);
    if (row < p.queries() && member() == 0) {
      // log(0) = -inf, and so is the top of a row without keys.
      lse[pair * p.queries() + row] = top[r] + ::log(total[r]);
    }
    total[r] = total[r] == 0 ? 0.0F : 1 / total[r];
  }
  store_rows<S>(sums, out, at, i0, [&](int r) { return total[r]; });
}

// Shares after dropout and gradients of scores, for the block's own queries or keys from `own` and
// the others from `other`, whose rows are in shared memory. `first` and `second` are queries and
// gradients of the results, or keys and values.
template <class S, bool kOwnKeys, class T>
__device__ void flows(const Gradients<T>& g, const Pair& at, const Adjust<T>& adjust, index_t own,
                      index_t other, const typename S::Operand& first,
                      const typename S::Operand& second, const T* others_first,
                      const T* others_second, const unsigned char* kept, typename S::Scores& shares,
                      typename S::Scores& ds) {
  const Problem<T>& p = g.p;
  constexpr int keys = kOwnKeys ? kOwned : S::others;
  multiply_features<S>(first, others_first, shares);
  to_scores<S, kOwnKeys>(adjust, own, other, shares);
  multiply_features<S>(second, others_second, ds);
  const index_t begin = (at.b * p.heads() + at.h) * p.queries();
#pragma unroll
  for (int n = 0; n < S::columns; ++n) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int row = row_of(i), column = column_of(n, i);
      const int query = kOwnKeys ? column : row, key = kOwnKeys ? row : column;
      const index_t place = (kOwnKeys ? other : own) + query;
      const bool exists = place < p.queries();
      float shift = exists ? g.lse[begin + place] : 0.0F;
      const float delta = exists ? g.delta[begin + place] : 0.0F;
      if (shift == minus_infinity<float>()) shift = -shift;  // no key is seen: shares of 0
      const float share = ::exp(shares[n][i] - shift);
      float factor = 1;
      if (p.drops()) factor = kept[query * keys + key] ? p.in.factor : 0.0F;
      ds[n][i] = share == 0 ? 0.0F : share * (factor * ds[n][i] - delta);
      shares[n][i] = share * factor;
    }
  }
}

// Fewer others than forward: two operands and two tiles of scores are in registers.
template <class T, int kFeatures>
using Back = Shape<T, kFeatures, 32>;

template <class T, int kFeatures>
__global__ void __launch_bounds__(kThreads)
    queries_kernel(const Gradients<T> g, index_t tiles, View<T> dq) {
  using S = Back<T, kFeatures>;
  __shared__ typename S::Stored keys, values;
  __shared__ unsigned char kept[kOwned * S::others];
  const Problem<T>& p = g.p;
  const index_t pair = static_cast<index_t>(blockIdx.x) / tiles;
  const Pair at{pair / p.heads(), pair % p.heads()};
  const index_t i0 = (tiles - 1 - static_cast<index_t>(blockIdx.x) % tiles) * kOwned;
  const Rows<T> key_rows = p.k.rows(at.b, p.group(at.h));
  const Rows<T> value_rows = p.v.rows(at.b, p.group(at.h));
  const Adjust<T> adjust(p, at);
  typename S::Operand queries, dout;
  take_own<S>(p.q.rows(at.b, at.h), i0, keys.at, queries);
  take_own<S>(g.dout.rows(at.b, at.h), i0, keys.at, dout);
  typename S::Results sums = {};
  const Range range = p.keys_of(i0, kOwned);
  for (index_t j0 = range.begin / S::others * S::others; j0 < range.end; j0 += S::others) {
    bring<S>(key_rows, j0, S::others, keys.at);
    bring<S>(value_rows, j0, S::others, values.at);
    if (p.drops()) draw(p, at, i0, kOwned, j0, S::others, kept);
    arrive();
    typename S::Scores shares, ds;
    flows<S, false>(g, at, adjust, i0, j0, queries, dout, keys.at, values.at, kept, shares, ds);
    multiply_rows<S>(ds, keys.at, sums);
    __syncthreads();
  }
  store_rows<S>(sums, dq, at, i0, [&](int) { return p.in.scale; });
}

template <class T, int kFeatures>
__global__ void __launch_bounds__(kThreads)
    keys_kernel(const Gradients<T> g, index_t tiles, View<T> dk, View<T> dv) {
  using S = Back<T, kFeatures>;
  __shared__ typename S::Stored queries, dout;
  __shared__ unsigned char kept[kOwned * S::others];
  const Problem<T>& p = g.p;
  const index_t pair = static_cast<index_t>(blockIdx.x) / tiles;
  const Pair own{pair / p.groups(), pair % p.groups()};
  const index_t j0 = static_cast<index_t>(blockIdx.x) % tiles * kOwned;
  const index_t per_group = p.heads() / p.groups();
  typename S::Operand keys, values;
  take_own<S>(p.k.rows(own.b, own.h), j0, queries.at, keys);
  take_own<S>(p.v.rows(own.b, own.h), j0, queries.at, values);
  typename S::Results of_keys = {}, of_values = {};
  const Range range = p.queries_of(j0, kOwned);
  for (index_t h = own.h * per_group; h < (own.h + 1) * per_group; ++h) {
    const Pair at{own.b, h};
    const Adjust<T> adjust(p, at);
    for (index_t i0 = range.begin / S::others * S::others; i0 < range.end; i0 += S::others) {
      bring<S>(p.q.rows(at.b, h), i0, S::others, queries.at);
      bring<S>(g.dout.rows(at.b, h), i0, S::others, dout.at);
      if (p.drops()) draw(p, at, i0, S::others, j0, kOwned, kept);
      arrive();
      typename S::Scores shares, ds;
      flows<S, true>(g, at, adjust, j0, i0, keys, values, queries.at, dout.at, kept, shares, ds);
      multiply_rows<S>(shares, dout.at, of_values);
      multiply_rows<S>(ds, queries.at, of_keys);
      __syncthreads();
    }
  }
  store_rows<S>(of_keys, dk, own, j0, [&](int) { return p.in.scale; });
  store_rows<S>(of_values, dv, own, j0, [](int) { return 1.0F; });
}

template <class From, class To>
__global__ void convert_kernel(const View<const From> from, const View<To> to) {
  const auto& n = from.shape;
  const index_t count = n[0] * n[1] * n[2] * n[3];
  for (index_t e = global_thread(); e < count; e += global_threads()) {
    index_t rest = e, source = 0, place = 0;
    for (int axis = 3; axis >= 0; --axis) {
      const index_t next = rest / n[axis], index = rest - next * n[axis];
      source += index * from.strides[axis];
      place += index * to.strides[axis];
      rest = next;
    }
    to.data[place] = To(static_cast<float>(from.data[source]));
  }
}

// run(kFeatures as a constant) for the fewest that hold these.
template <class T, class Run>
void with_features(index_t features, Run run) {
  if constexpr (kMostFeatures<T> > 64) {
    if (features > 64) return run(std::integral_constant<int, 128>());
  }
  run(std::integral_constant<int, 64>());
}

}  // namespace

template <class T>
void tensor_forward(const Call& call, const Inputs<T>& in, View<T> out, Acc<T>* lse) {
  const Problem<T> p(in);
  const index_t tiles = div_up(p.queries(), kOwned), blocks = p.batch() * p.heads() * tiles;
  if (blocks == 0) return;
  with_features<T>(std::max(in.q.shape[3], in.v.shape[3]), [&](auto features) {
    launch(call, forward_kernel<T, features>, static_cast<unsigned>(blocks), kThreads, p, tiles,
           out, lse);
  });
}

template <class T>
void tensor_backward(const Call& call, const Inputs<T>& in, const Results<T>& results, View<T> dq,
                     View<T> dk, View<T> dv, const BackwardSpace<T>& space) {
  const Gradients<T> g = gradients(call, in, results, space);
  const Problem<T>& p = g.p;
  const index_t tiles = div_up(p.queries(), kOwned), blocks = p.batch() * p.heads() * tiles;
  const index_t key_tiles = div_up(p.keys(), kOwned);
  const index_t key_blocks = p.batch() * p.groups() * key_tiles;
  with_features<T>(std::max(dq.shape[3], dv.shape[3]), [&](auto features) {
    if (blocks > 0) {
      launch(call, queries_kernel<T, features>, static_cast<unsigned>(blocks), kThreads, g, tiles,
             dq);
    }
    if (key_blocks > 0) {
      launch(call, keys_kernel<T, features>, static_cast<unsigned>(key_blocks), kThreads, g,
             key_tiles, dk, dv);
    }
  });
}

template <class From, class To>
void convert(const Call& call, const View<const From>& from, const View<To>& to) {
  index_t count = 1;
  for (const index_t size : from.shape) count *= size;
  if (count == 0) return;
  launch(call, convert_kernel<From, To>, grid_for(count, kThreads), kThreads, from, to);
}

KERNELMILL_FOR_HALVES(tensor_forward)
KERNELMILL_FOR_HALVES(tensor_backward)
template decltype(tensor_forward<float>) tensor_forward<float>;
template decltype(tensor_backward<float>) tensor_backward<float>;
#define KERNELMILL_CONVERT(T)                                                             \
  template void convert<T, float>(const Call&, const View<const T>&, const View<float>&); \
  template void convert<float, T>(const Call&, const View<const float>&, const View<T>&);
KERNELMILL_CONVERT(Float16)
KERNELMILL_CONVERT(BFloat16)

}  // namespace kernelmill::attention
