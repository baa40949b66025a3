// More than 32 states: a block of threads takes one sequence at a time. Threads side by side take
// targets j, so that rows of A are read whole; where K leaves threads over they share the sum over
// i. A comes from the caches: 100 states are 80 KB, which the first level of a multiprocessor
// holds.

#include <algorithm>  // std::min

#include "ops/hmm_passes.cuh"

namespace kernelmill {
namespace {

constexpr int kChainThreads = 512;
constexpr index_t kNearStates = 512;  // most states whose vectors stay in shared memory

struct Shared {
  double vectors[kVectors][kNearStates];
  double reduce[kChainThreads];
};

// Over all threads, first within warps; two barriers, and a step of the recursion has many of
// these.
template <class Lanes, class Both>
__device__ double over_block(double x, double* shared, Lanes&& lanes, Both&& both) {
  const int thread = static_cast<int>(threadIdx.x);
  x = lanes(x);
  if (thread % kWarp == 0) shared[thread / kWarp] = x;
  __syncthreads();
  double all = shared[0];
#pragma unroll
  for (int warp = 1; warp < kChainThreads / kWarp; ++warp) all = both(all, shared[warp]);
  __syncthreads();
  return all;
}

__device__ double block_larger(double x, double* shared) {
  return over_block(
      x, shared, [](double y) { return lane_larger<kWarp>(y); },
      [](double y, double z) { return larger(y, z); });
}

__device__ double block_total(double x, double* shared) {
  return over_block(
      x, shared, [](double y) { return lane_sum<kWarp>(y); },
      [](double y, double z) { return y + z; });
}

// One thread's part of a block's work on vectors of K numbers. A thread owns j = thread,
// thread + kChainThreads, ... and alone reads and writes what nobody else needs of them.
class Block {
 public:
  __device__ Block(Shared& shared, const Chains& c, int across)
      : K(c.K), across_(across), shared_(shared) {
    double* const far = K <= kNearStates ? nullptr : c.vectors + blockIdx.x * kVectors * K;
    double** const all[kVectors] = {&v, &e, &x, &gamma, &p};
#pragma unroll
    for (int q = 0; q < kVectors; ++q) *all[q] = far ? far + q * K : shared.vectors[q];
  }

  template <class Body>
  __device__ void own(Body&& body) {
    for (index_t j = threadIdx.x; j < K; j += kChainThreads) body(j);
  }
  // body(j) for targets j and body(i) for the sources that fall to this thread.
  template <class Targets, class Sources, class Done>
  __device__ void grid(Targets&& target, Sources&& source, Done&& done) {
    const int thread = static_cast<int>(threadIdx.x), part = thread / across_;
    for (index_t first = 0; first < K; first += across_) {
      const index_t j = first + thread % across_;
      if (j < K) {
        target(j);
        for (index_t i = part; i < K; i += kChainThreads / across_) source(i, j);
      }
      done(j, part);
    }
  }
  // x[j] = log sum_i e[i] matrix(i, j), and p[j] that sum. Others may still read e and v.
  __device__ void product(const double* matrix, const double* log_matrix) {
    double sum = 0;
    grid([&](index_t) { sum = 0; }, [&](index_t i, index_t j) { sum += e[i] * matrix[i * K + j]; },
         [&](index_t j, int part) {
           if (across_ < kChainThreads) {
             const int thread = static_cast<int>(threadIdx.x);
             shared_.reduce[thread] = sum;
             __syncthreads();
             for (int t = thread + across_; part == 0 && t < kChainThreads; t += across_) {
               sum += shared_.reduce[t];
             }
             __syncthreads();
           }
           if (part != 0 || j >= K) return;
           p[j] = sum;
           x[j] = sum >= kSafe ? log(sum) : log_sum(v, log_matrix + j, K, K);
         });
  }
  // v = x less its largest, e = exp(v), for all to read; returns the sum of e.
  __device__ double send(double& largest) {
    double most = minus_infinity(), sum = 0;
    own([&](index_t j) { most = larger(most, x[j]); });
    largest = block_larger(most, shared_.reduce);
    own([&](index_t j) {
      v[j] = relative(x[j], largest);
      e[j] = exp(v[j]);
      sum += e[j];
    });
    return block_total(sum, shared_.reduce);
  }
  // gamma proportional to exp(x + log_alpha); 0 when there are none.
  __device__ void share(const double* log_alpha) {
    double most = minus_infinity(), sum = 0;
    own([&](index_t j) {
      gamma[j] = log_alpha == nullptr ? x[j] : x[j] + log_alpha[j];
      most = larger(most, gamma[j]);
    });
    most = block_larger(most, shared_.reduce);
    own([&](index_t j) {
      gamma[j] = exp(relative(gamma[j], most));
      sum += gamma[j];
    });
    sum = block_total(sum, shared_.reduce);
    own([&](index_t j) { gamma[j] = sum == 0 ? 0.0 : gamma[j] / sum; });
  }

  const index_t K;
  double *v, *e, *x, *gamma, *p;

 private:
  const int across_;
  Shared& shared_;
};

__global__ void __launch_bounds__(kChainThreads)
    forward_kernel(Chains c, int across, bool logs, double* rows, double* log_prob) {
  __shared__ Shared shared;
  Block block(shared, c, across);
  for (index_t own = blockIdx.x; own < c.n_segments; own += gridDim.x) {
    const Segment s = c.segments[own];
    double total = 0, sum = 0, largest = 0;
    for (index_t t = s.begin; t < s.end; ++t) {
      if (t == s.begin) {
        block.own([&](index_t j) { block.x[j] = c.log_start[j]; });
      } else {
        block.product(c.by_target, c.log_target);
      }
      block.own([&](index_t j) { block.x[j] += c.log_density[t * c.K + j]; });
      sum = block.send(largest);
      total += largest;
      block.own([&](index_t j) {
        rows[t * c.K + j] = logs ? block.v[j] : sum == 0 ? 0.0 : block.e[j] / sum;
      });
    }
    if (threadIdx.x == 0) log_prob[s.sequence] = total + log(sum);
  }
}

// Each block adds in its own (K, K) sums, each entry in one thread.
__global__ void __launch_bounds__(kChainThreads)
    posterior_kernel(Chains c, int across, const double* weight, double* gamma, double* sums) {
  __shared__ Shared shared;
  Block block(shared, c, across);
  const index_t K = c.K;
  double* const add = sums + blockIdx.x * K * K;  // (j, i): w xi(i, j) / A(i, j)
  block.grid([](index_t) {}, [&](index_t j, index_t i) { add[j * K + i] = 0; },
             [](index_t, int) {});
  for (index_t own = blockIdx.x; own < c.n_segments; own += gridDim.x) {
    const Segment s = c.segments[own];
    const double w = weight == nullptr ? 1.0 : weight[s.sequence];
    double largest = 0;
    block.own([&](index_t i) { block.x[i] = 0; });
    block.share(gamma + (s.end - 1) * K);
    for (index_t t = s.end - 1;; --t) {
      block.own([&](index_t i) { gamma[t * K + i] = block.gamma[i]; });
      if (t == s.begin) break;
      block.own([&](index_t i) { block.x[i] += c.log_density[t * K + i]; });
      block.send(largest);
      block.product(c.by_source, c.log_source);
      block.share(gamma + (t - 1) * K);
      __syncthreads();
      double weighted = 0, p = 0;
      block.grid(
          [&](index_t i) {
            weighted = w * block.gamma[i];
            p = block.p[i];
          },
          [&](index_t j, index_t i) {
            add[j * K + i] += p >= kSafe ? weighted / p * block.e[j]
                                         : rare_transition(weighted, block.v[j], block.x[i],
                                                           c.by_source[j * K + i]);
          },
          [](index_t, int) {});
      __syncthreads();  // before the vectors are written again
    }
  }
}

template <class... Parameters, class... Arguments>
void launch_blocks(const Call& call, void (*kernel)(Chains, int, Parameters...),
                   const Chains& chains, Arguments... arguments) {
  const int across = power_of_two(std::min<index_t>(chains.K, kChainThreads));
  launch(call, kernel, dim3(static_cast<unsigned>(chains.workers)), kChainThreads, chains, across,
         arguments...);
}

}  // namespace

void forward_blocks(const Call& call, const Chains& chains, bool logs, double* rows,
                    double* log_prob) {
  launch_blocks(call, forward_kernel, chains, logs, rows, log_prob);
}

void posterior_blocks(const Call& call, const Chains& chains, const double* weight, double* gamma,
                      double* sums) {
  launch_blocks(call, posterior_kernel, chains, weight, gamma, sums);
}

}  // namespace kernelmill
