// What the passes over segments share, whether a few lanes or a block of threads take one.
#pragma once

#include <limits>  // infinity

#include "core/launch.cuh"  // lane_sum, index_t
#include "ops/hmm.cuh"      // Segment, Cut

namespace kernelmill {

constexpr double kSafe = 1e-250;     // no sum above it misses what underflowed
constexpr index_t kLaneStates = 32;  // most states that the lanes of a warp hold
constexpr int kWarp = 32;
constexpr index_t kVectors = 5;  // that a block works with

struct Chains {
  const double* log_density;
  index_t K;
  const Segment* segments;
  index_t n_segments;
  const double *by_target, *by_source, *log_target, *log_source, *log_start;
  const double *before, *scale, *after;  // of segments that were cut
  index_t workers;
  double* vectors;
};

// Passes for K <= kLaneStates. `rows` gets filtered probabilities, or log alpha when `logs`.
void forward_lanes(const Call& call, const Chains& chains, bool logs, double* rows,
                   double* log_prob);
// `gamma` holds log alpha and gets the posteriors.
void posterior_lanes(const Call& call, const Chains& chains, const double* weight, double* gamma,
                     double* sums);
// Fills products, before, scale and after of the sequences that were cut.
void chain_lanes(const Call& call, const Chains& chains, const Cut* cuts, index_t n_cuts,
                 double* products, double* before, double* scale, double* after);

// The same for more states; nothing is cut.
void forward_blocks(const Call& call, const Chains& chains, bool logs, double* rows,
                    double* log_prob);
void posterior_blocks(const Call& call, const Chains& chains, const double* weight, double* gamma,
                      double* sums);

__device__ inline double minus_infinity() { return -std::numeric_limits<double>::infinity(); }

// The larger one, NaN if either is.
__device__ inline double larger(double a, double b) { return a > b || a != a ? a : b; }

// Over aligned groups of kLanes lanes; every lane gets it.
template <int kLanes>
__device__ inline double lane_larger(double x) {
#pragma unroll
  for (int step = kLanes / 2; step > 0; step /= 2) {
    x = larger(x, __shfl_xor_sync(0xffffffffu, x, step));
  }
  return x;
}

__device__ inline index_t warp_longest(index_t length) {
#pragma unroll
  for (int step = kWarp / 2; step > 0; step /= 2) {
    length = max(length, __shfl_xor_sync(0xffffffffu, length, step));
  }
  return length;
}

// x - largest, where -inf stays so even when nothing is larger.
__device__ inline double relative(double x, double largest) {
  return largest == minus_infinity() ? largest : x - largest;
}

// log sum_i exp(v[i] + log_column[i * stride]) over K terms.
__device__ inline double log_sum(const double* v, const double* log_column, index_t stride,
                                 index_t K) {
  double most = minus_infinity();
  for (index_t i = 0; i < K; ++i) most = larger(most, v[i] + log_column[i * stride]);
  if (most == minus_infinity()) return most;
  double sum = 0;
  for (index_t i = 0; i < K; ++i) sum += exp(v[i] + log_column[i * stride] - most);
  return most + log(sum);
}

// What an expected transition from a state adds to the sums over A: r exp(v(j)) with
// r = weight gamma / p where p is safe; elsewhere each term on its own. There v(j) - log p is at
// most -log A(i, j), so the clamp is met by subnormal A alone.
__device__ inline double rare_transition(double weighted, double v, double log_p, double a) {
  if (weighted != weighted) return weighted;
  return weighted != 0 && a > 0 ? weighted * exp(min(v - log_p, 690.0)) : 0.0;
}

// Calls body.operator()<kLanes>() with the least power of two that holds K.
template <class Body>
void by_lanes(index_t K, Body&& body) {
  switch (power_of_two(K)) {
    case 1:
      return body.template operator()<1>();
    case 2:
      return body.template operator()<2>();
    case 4:
      return body.template operator()<4>();
    case 8:
      return body.template operator()<8>();
    case 16:
      return body.template operator()<16>();
    default:
      return body.template operator()<32>();
  }
}

}  // namespace kernelmill
