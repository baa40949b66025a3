// The forward pass of a few queries, as in decoding step by step, where a tile of 64 queries would
// be empty. A block takes one query through its keys, 128 at a time: eight lanes to a product with
// a key, then a thread to an exponential, then a thread to a feature of the values and, where these
// are few, a part of the keys.

#include "ops/attention_tiles.cuh"

namespace kernelmill::attention {
namespace {

constexpr int kKeys = kThreads, kLanes = 8, kGroups = kThreads / kLanes;

template <class T>
__global__ void __launch_bounds__(kThreads)
    few_kernel(const Problem<T> p, int width, View<T> out, Acc<T>* lse) {
  using A = Acc<T>;
  __shared__ A scores[kKeys];
  const int thread = static_cast<int>(threadIdx.x), lane = thread % 32;
  const index_t pair = static_cast<index_t>(blockIdx.x) / p.queries();
  const index_t i = static_cast<index_t>(blockIdx.x) - pair * p.queries();
  const Pair at{pair / p.heads(), pair % p.heads()};
  const Rows<T> keys = p.k.rows(at.b, p.group(at.h)), values = p.v.rows(at.b, p.group(at.h));
  const Rows<T> queries = p.q.rows(at.b, at.h);
  const T* const query = queries.data + i * queries.stride;
  const Adjust<T> adjust(p, at);
  const Philox philox(p.in.seed, p.in.stream);
  const index_t column = static_cast<index_t>(blockIdx.y) * width + thread % width;
  const int part = thread / width, parts = kThreads / width;

  A top = minus_infinity<A>(), total = A(0), sum = A(0);  // total: of the thread's own keys
  const Range range = p.keys_of(i, 1);
  for (index_t j0 = range.begin; j0 < range.end; j0 += kKeys) {
    for (int k = thread / kLanes; k < kKeys; k += kGroups) {
      A product = A(0);
      if (j0 + k < range.end) {
        const T* const key = keys.data + (j0 + k) * keys.stride;
        for (index_t c = thread % kLanes; c < keys.d; c += kLanes)
          product += A(query[c]) * A(key[c]);
      }
#pragma unroll
      for (int step = 1; step < kLanes; step *= 2) {
        product += __shfl_xor_sync(0xffffffffu, product, step);
      }
      if (thread % kLanes == 0) scores[k] = adjust(product, i, j0 + k);
    }
    __syncthreads();
    A most = top;  // NaN is passed over, and found by the exponential
#pragma unroll
    for (int k = lane; k < kKeys; k += 32) most = scores[k] > most ? scores[k] : most;
#pragma unroll
    for (int step = 16; step > 0; step /= 2) {
      const A other = __shfl_xor_sync(0xffffffffu, most, step);
      most = other > most ? other : most;
    }
    const A shift = most == minus_infinity<A>() ? A(0) : most;
    const A factor = ::exp(top - shift);
    A share = ::exp(scores[thread] - shift);
    top = most;
    total = factor * total + share;
    if (p.drops()) {
      const auto item =
          static_cast<std::uint64_t>((pair * p.queries() + i) * p.keys() + j0 + thread);
      const bool kept = uniform_float(philox.block(item / 4).w[item % 4]) >= p.in.least;
      share *= kept ? p.in.factor : A(0);
    }
    __syncthreads();
    scores[thread] = share;
    __syncthreads();
    sum *= factor;
    if (column < values.d) {
      const T* const from = values.data + j0 * values.stride + column;
      const int count = static_cast<int>(min(range.end - j0, static_cast<index_t>(kKeys)));
      for (int k = part; k < count; k += parts) {
        sum += scores[k] * A(from[k * values.stride]);
      }
    }
    __syncthreads();
  }
  const auto add_up = [&](int step) {  // over threads that are multiples of it apart, in order
    A all = A(0);
    for (int t = thread % step; t < kThreads; t += step) all += scores[t];
    __syncthreads();
    return all;
  };
  scores[thread] = total;
  __syncthreads();
  total = add_up(1);
  scores[thread] = sum;
  __syncthreads();
  sum = add_up(width);
  if (thread == 0 && blockIdx.y == 0) {
    lse[pair * p.queries() + i] = top + ::log(total);  // log(0) = -inf, as top without keys
  }
  if (part == 0 && column < out.shape[3]) {
    out.data[at.b * out.strides[0] + i * out.strides[1] + at.h * out.strides[2] + column] =
        T(total == A(0) ? A(0) : sum / total);
  }
}

}  // namespace

template <class T>
void forward_few(const Call& call, const Inputs<T>& in, View<T> out, Acc<T>* lse) {
  const Problem<T> p(in);
  const index_t f = out.shape[3], blocks = p.batch() * p.heads() * p.queries();
  const int width = f <= 32 ? 32 : f <= 64 ? 64 : kThreads;
  const index_t chunks = std::max<index_t>(1, div_up(f, width));
  launch(call, few_kernel<T>, dim3(static_cast<unsigned>(blocks), static_cast<unsigned>(chunks)),
         kThreads, p, width, out, lse);
}

KERNELMILL_FOR_STORED(forward_few)

}  // namespace kernelmill::attention
