// Responsibilities, and the E-step: block by block of rows, log joints, responsibilities and
// moments, of which the two first stay in a bounded buffer.

#include "ops/mixture.cuh"

#include <algorithm>  // std::min, std::clamp

#include "core/launch.cuh"  // launch, sums in order
#include "ops/mixture_parts.cuh"

namespace kernelmill {
namespace {

constexpr index_t kBlockRows = 256;

__device__ inline double larger(double a, double b) { return a > b || a != a ? a : b; }

// Teams of kLanes lanes take a row each; a block takes kBlockRows rows. Share is T for what the
// caller keeps, float64 for what goes on to the moments.
template <class T, class Share, int kLanes>
__global__ void __launch_bounds__(kThreads)
    share_kernel(const T* joint, index_t n, index_t k, const T* weight, T* log_prob, Share* share,
                 double* likelihood) {
  __shared__ double shared[kThreads];
  const int lane = static_cast<int>(threadIdx.x) % kLanes;
  const int team = static_cast<int>(threadIdx.x) / kLanes;
  constexpr double kNone = -std::numeric_limits<double>::infinity();
  const index_t begin = static_cast<index_t>(blockIdx.x) * kBlockRows;
  double sum = 0;
  for (index_t i = begin + team; i < begin + kBlockRows; i += kThreads / kLanes) {
    const bool inside = i < n;
    const T* const row = joint + i * k;
    double most = kNone;
    for (index_t j = lane; inside && j < k; j += kLanes) {
      most = larger(most, static_cast<double>(row[j]));
    }
#pragma unroll
    for (int step = kLanes / 2; step > 0; step /= 2) {
      most = larger(most, __shfl_xor_sync(0xffffffffu, most, step));
    }
    const bool none = most == kNone;
    const T largest = none ? T(0) : static_cast<T>(most);
    double total = 0, own = 0;  // own: the first of this lane, often its only one
    for (index_t j = lane; inside && j < k; j += kLanes) {
      const auto e = static_cast<double>(static_cast<T>(exp(row[j] - largest)));
      if (j == lane) own = e;
      total += e;
    }
    total = lane_sum<kLanes>(total);
    const double log_p = most + log(total);
    const double w = weight == nullptr ? 1.0 : inside ? static_cast<double>(weight[i]) : 0.0;
    const bool counts = inside && w != 0;
    const double scale = none ? 0.0 : w / total;
    for (index_t j = lane; inside && j < k; j += kLanes) {
      const double e = j == lane ? own : static_cast<double>(static_cast<T>(exp(row[j] - largest)));
      share[i * k + j] = counts ? static_cast<Share>(e * scale) : Share(0);
    }
    if (lane != 0 || !counts) continue;
    if (log_prob != nullptr) log_prob[i] = static_cast<T>(log_p);
    sum += w * log_p;
  }
  if (likelihood == nullptr) return;
  sum = block_sum<kThreads>(sum, shared);
  if (threadIdx.x == 0) likelihood[blockIdx.x] = sum;
}

template <class T, class Share>
void launch_shares(const Call& call, const T* joint, index_t n, index_t k, const T* weight,
                   T* log_prob, Share* share, double* likelihood) {
  if (n == 0) return;
  const auto kernel = k <= 1    ? share_kernel<T, Share, 1>
                      : k <= 4  ? share_kernel<T, Share, 4>
                      : k <= 16 ? share_kernel<T, Share, 16>
                                : share_kernel<T, Share, 32>;
  launch(call, kernel, dim3(static_cast<unsigned>(share_blocks(n))), kThreads, joint, n, k, weight,
         log_prob, share, likelihood);
}

}  // namespace

index_t share_blocks(index_t n) { return div_up(n, kBlockRows); }

template <class T>
void share_rows(const Call& call, const T* joint, index_t n, index_t k, const T* weight,
                double* share, double* likelihood) {
  launch_shares<T, double>(call, joint, n, k, weight, nullptr, share, likelihood);
}

template <class T>
void responsibilities(const Call& call, const T* joint, index_t n, index_t k, T* log_prob,
                      T* share) {
  launch_shares<T, T>(call, joint, n, k, nullptr, log_prob, share, nullptr);
}

index_t step_rows(index_t n, index_t k) {
  constexpr index_t kNumbers = index_t{1} << 23;  // log joints at once
  return std::min(n, std::clamp<index_t>(kNumbers / k / kBlockRows * kBlockRows, 1024, 1 << 20));
}

template <class T>
StepSpace<T>::StepSpace(Arena& arena, index_t n, index_t d, index_t k, Covariance covariance)
    : joint(arena, step_rows(n, k), d, k, covariance),
      moments(arena, step_rows(n, k), d, k, covariance != Covariance::diag,
              covariance == Covariance::tied),
      log_joint(arena.take<T>(step_rows(n, k) * k)),
      share(arena.take<double>(step_rows(n, k) * k)),
      likelihood(arena.take<double>(share_blocks(n) + 1)) {}

template <class T>
double step(const Call& call, const DeviceRows<T>& x, const Mixture& mixture, const T* weight,
            const Moments& to, const StepSpace<T>& space) {
  const index_t k = mixture.k, d = mixture.d, rows = step_rows(x.n, k);
  start_moments(call, mixture.means, k, d, mixture.covariance, to, space.moments);
  if (x.n == 0) return 0;
  prepare_joint(call, mixture, space.joint);
  for (index_t first = 0; first < x.n; first += rows) {
    DeviceRows<T> part = x;
    part.data = x.data + first * x.stride;
    part.n = std::min(rows, x.n - first);
    const T* const own_weight = weight == nullptr ? nullptr : weight + first;
    joint_rows(call, part, mixture, space.log_joint, space.joint);
    share_rows(call, space.log_joint, part.n, k, own_weight, space.share,
               space.likelihood + 1 + first / kBlockRows);
    add_moments(call, part, own_weight, space.share, mixture.means, k, mixture.covariance,
                first == 0, to, space.moments);
  }
  finish_moments(call, mixture.means, k, d, mixture.covariance, to, space.moments);
  sum_in_order(call, space.likelihood + 1, share_blocks(x.n), space.likelihood);
  double log_likelihood = 0;
  download(call, &log_likelihood, space.likelihood, 1);
  return log_likelihood;
}

KERNELMILL_FOR_FLOATS(share_rows)
KERNELMILL_FOR_FLOATS(responsibilities)
template struct StepSpace<float>;
template struct StepSpace<double>;
KERNELMILL_FOR_FLOATS(step)

}  // namespace kernelmill
