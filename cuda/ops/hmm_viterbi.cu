// Viterbi, one sequence to a team of lanes (K <= 32) or a block. A long sequence is not cut:
// chained max-plus matrices would add (segment) + (state before it), in another order than the
// specification's sums, and could then break ties otherwise; the path must be the same to the bit.
//
// Each step keeps the best predecessor of every state, found with the sums of the specification, so
// going back is a walk over them.

#include <algorithm>  // std::min
#include <cstdint>    // std::uint8_t

#include "ops/hmm_passes.cuh"

namespace kernelmill {
namespace {

constexpr index_t kInShared = 1024;  // most states whose vectors stay in shared memory
constexpr index_t kByte = 256;       // most states that a byte names
constexpr int kAtOnce = 32;          // rows of predecessors fetched at once on the way back

// The better of two ends of a path: the greater, then the lower state. A NaN is never better.
__device__ bool better(double v, int state, double than_v, int than_state) {
  return v > than_v || (v == than_v && state < than_state);
}

template <int kLanes>
__global__ void __launch_bounds__(kWarp)
    lanes_kernel(const double* log_density, index_t K, const double* log_start,
                 const double* log_transmat, const Segment* segments, index_t n_segments,
                 std::uint8_t* origins, std::int32_t* states, double* log_prob) {
  constexpr int kTeams = kWarp / kLanes;
  __shared__ double shared[kWarp];
  __shared__ std::uint8_t fetched[kTeams][kAtOnce * kLanes];
  const int j = static_cast<int>(threadIdx.x) % kLanes;
  const int team = static_cast<int>(threadIdx.x) / kLanes;
  const bool holds = j < K;
  double a[kLanes];  // log A(i, j)
#pragma unroll
  for (int i = 0; i < kLanes; ++i) {
    a[i] = holds && i < K ? log_transmat[i * K + j] : minus_infinity();
  }
  double* const sent = shared + team * kLanes;
  for (index_t base = static_cast<index_t>(blockIdx.x) * kTeams; base < n_segments;
       base += static_cast<index_t>(gridDim.x) * kTeams) {
    const Segment s = base + team < n_segments ? segments[base + team] : Segment{};
    const index_t length = s.end - s.begin, steps = warp_longest(length);
    double v = minus_infinity();
    for (index_t t = 0; t < steps; ++t) {
      sent[j] = v;
      __syncwarp();
      const bool active = t < length && holds;
      const double log_b = active ? log_density[(s.begin + t) * K + j] : 0.0;
      double most = sent[0] + a[0];
      int origin = 0;
#pragma unroll
      for (int i = 1; i < kLanes; ++i) {  // rising i, strict comparison: the lowest of ties
        const double sum = sent[i] + a[i];
        if (sum > most) {
          most = sum;
          origin = i;
        }
      }
      __syncwarp();
      if (!active) continue;
      v = t == 0 ? log_start[j] + log_b : most + log_b;
      if (t > 0) origins[(s.begin + t) * K + j] = static_cast<std::uint8_t>(origin);
    }

    int state = j;
    double end = holds ? v : minus_infinity();
    const double best = lane_larger<kLanes>(end);
#pragma unroll
    for (int step = kLanes / 2; step > 0; step /= 2) {
      const double other = __shfl_xor_sync(0xffffffffu, end, step);
      const int its = __shfl_xor_sync(0xffffffffu, state, step);
      if (better(other, its, end, state)) {
        end = other;
        state = its;
      }
    }
    // Lanes may disagree where NaN stands; all walk with the first one's state.
    sent[j] = state;
    __syncwarp();
    state = static_cast<int>(sent[0]);
    __syncwarp();
    if (state >= K) state = 0;
    if (j == 0 && length > 0) {
      states[s.end - 1] = state;
      log_prob[s.sequence] = best;
    }
    // Row t of origins leads from row t to row t - 1.
    for (index_t done = 0; done < steps; done += kAtOnce) {
      const index_t high = length - done;  // rows [low, high) of the sequence, none below 1
      const index_t low = max(high - kAtOnce, static_cast<index_t>(1));
      for (index_t q = low * K + j; q < high * K; q += kLanes) {
        fetched[team][q - low * K] = origins[s.begin * K + q];
      }
      __syncwarp();
      for (index_t t = high - 1; t >= low; --t) {
        state = fetched[team][(t - low) * K + state];
        if (j == 0) states[s.begin + t - 1] = state;
      }
      __syncwarp();
    }
  }
}

template <class Origin>
__global__ void __launch_bounds__(kThreads)
    block_kernel(const double* log_density, index_t K, const double* log_start,
                 const double* log_transmat, const Segment* segments, index_t n_segments,
                 double* best, Origin* origins, std::int32_t* states, double* log_prob) {
  __shared__ double near[2][kInShared];
  __shared__ double end[kThreads], with_nan[kThreads];
  __shared__ int end_state[kThreads];
  const int thread = static_cast<int>(threadIdx.x);
  double* now = K <= kInShared ? near[0] : best + blockIdx.x * 2 * K;
  double* next = K <= kInShared ? near[1] : now + K;
  for (index_t own = blockIdx.x; own < n_segments; own += gridDim.x) {
    const Segment s = segments[own];
    for (index_t j = thread; j < K; j += kThreads) {
      now[j] = log_start[j] + log_density[s.begin * K + j];
    }
    __syncthreads();
    for (index_t t = s.begin + 1; t < s.end; ++t) {
      for (index_t j = thread; j < K; j += kThreads) {
        double most = now[0] + log_transmat[j];
        index_t origin = 0;
#pragma unroll 8
        for (index_t i = 1; i < K; ++i) {
          const double sum = now[i] + log_transmat[i * K + j];
          if (sum > most) {
            most = sum;
            origin = i;
          }
        }
        next[j] = most + log_density[t * K + j];
        origins[t * K + j] = static_cast<Origin>(origin);
      }
      __syncthreads();
      double* const swap = now;
      now = next;
      next = swap;
    }
    double most = minus_infinity(), value = most;
    int state = static_cast<int>(K) - 1;
    for (index_t j = thread; j < K; j += kThreads) {
      value = larger(value, now[j]);
      if (better(now[j], static_cast<int>(j), most, state)) {
        most = now[j];
        state = static_cast<int>(j);
      }
    }
    end[thread] = most;
    with_nan[thread] = value;
    end_state[thread] = state;
    __syncthreads();
    if (thread == 0) {
      for (int other = 1; other < kThreads; ++other) {
        value = larger(value, with_nan[other]);
        if (better(end[other], end_state[other], most, state)) {
          most = end[other];
          state = end_state[other];
        }
      }
      log_prob[s.sequence] = value;
      states[s.end - 1] = state;
      for (index_t t = s.end - 1; t > s.begin; --t) {
        state = static_cast<int>(origins[t * K + state]);
        states[t - 1] = state;
      }
    }
    __syncthreads();
  }
}

template <int kLanes>
void run_lanes(const Call& call, const double* log_density, index_t K, const double* log_start,
               const double* log_transmat, const Segment* segments, index_t n_segments,
               void* origins, std::int32_t* states, double* log_prob, index_t workers) {
  launch(call, lanes_kernel<kLanes>, dim3(static_cast<unsigned>(div_up(workers, kWarp / kLanes))),
         kWarp, log_density, K, log_start, log_transmat, segments, n_segments,
         static_cast<std::uint8_t*>(origins), states, log_prob);
}

}  // namespace

ViterbiSpace::ViterbiSpace(Arena& arena, const Schedule& schedule, index_t T, index_t K) {
  const auto count = static_cast<index_t>(schedule.segments.size());
  workers = std::min(count, index_t{1} << (K <= kLaneStates ? 16 : 11));
  segments = arena.take<Segment>(count);
  const index_t width = K <= kByte ? 1 : static_cast<index_t>(sizeof(std::int32_t));
  origins = arena.take<char>(T * K * width);
  best = arena.take<double>(K <= kInShared ? 0 : workers * 2 * K);
}

void viterbi(const Call& call, const double* log_density, index_t K, const double* log_start,
             const double* log_transmat, const Schedule& schedule, std::int32_t* states,
             double* log_prob, const ViterbiSpace& space) {
  const auto count = static_cast<index_t>(schedule.segments.size());
  zero(call, log_prob, sizeof(double) * static_cast<std::size_t>(schedule.sequences));
  if (count == 0) return;
  upload(call, space.segments, schedule.segments.data(), count);
  if (K > kLaneStates) {
    const dim3 blocks(static_cast<unsigned>(space.workers));
    if (K <= kByte) {
      launch(call, block_kernel<std::uint8_t>, blocks, kThreads, log_density, K, log_start,
             log_transmat, space.segments, count, space.best,
             static_cast<std::uint8_t*>(space.origins), states, log_prob);
    } else {
      launch(call, block_kernel<std::int32_t>, blocks, kThreads, log_density, K, log_start,
             log_transmat, space.segments, count, space.best,
             static_cast<std::int32_t*>(space.origins), states, log_prob);
    }
    return;
  }
  by_lanes(K, [&]<int kLanes>() {
    run_lanes<kLanes>(call, log_density, K, log_start, log_transmat, space.segments, count,
                      space.origins, states, log_prob, space.workers);
  });
}

}  // namespace kernelmill
