// Up to 32 states: kLanes lanes of a warp, the power of two that holds K, take one segment; lane j
// is state j. Its column of A stays in registers; the vector goes round through shared memory.
// The lanes of a warp step together until the longest of their segments is done.

#include "ops/hmm_passes.cuh"

namespace kernelmill {
namespace {

// One lane's part of a step. All lanes of the warp call all of it.
template <int kLanes>
class Team {
 public:
  static constexpr int kTeams = kWarp / kLanes;  // in a warp

  struct Shared {
    double e[kWarp], v[kWarp];
  };

  __device__ Team(Shared& shared, const double* matrix, const double* log_matrix, index_t K)
      : e_(shared.e + team() * kLanes), v_(shared.v + team() * kLanes), K_(K), log_(log_matrix) {
#pragma unroll
    for (int i = 0; i < kLanes; ++i) a[i] = holds() && i < K ? matrix[i * K + lane()] : 0.0;
  }

  static __device__ int lane() { return static_cast<int>(threadIdx.x) % kLanes; }
  static __device__ int team() { return static_cast<int>(threadIdx.x) / kLanes; }
  __device__ bool holds() const { return lane() < K_; }

  // Takes the vector round: returns p of this lane's state for v, with e = exp(v), and log p.
  __device__ double send(double v, double e, double& log_p) {
    v_[lane()] = v;
    e_[lane()] = e;
    __syncwarp();
    double p = 0;
#pragma unroll
    for (int i = 0; i < kLanes; ++i) p += e_[i] * a[i];
    if (p >= kSafe) {
      log_p = log(p);
    } else {
      log_p = holds() ? log_sum(v_, log_ + lane(), K_, K_) : minus_infinity();
    }
    return p;
  }
  __device__ double sent_e(int i) const { return e_[i]; }
  __device__ double sent_v(int i) const { return v_[i]; }
  // Every send is followed by this, once what was sent is no longer read.
  __device__ void received() { __syncwarp(); }

  double a[kLanes];  // matrix(i, lane)

 private:
  double *e_, *v_;
  index_t K_;
  const double* log_;
};

// Probabilities proportional to exp(x); 0 when there are none.
template <int kLanes>
__device__ double normalised(double x) {
  const double e = exp(relative(x, lane_larger<kLanes>(x)));
  const double sum = lane_sum<kLanes>(e);
  return sum == 0 ? 0.0 : e / sum;
}

template <int kLanes>
__global__ void __launch_bounds__(kWarp)
    forward_kernel(Chains c, bool logs, double* rows, double* log_prob) {
  using Team = Team<kLanes>;
  __shared__ typename Team::Shared shared;
  Team team(shared, c.by_target, c.log_target, c.K);
  const int j = Team::lane();
  for (index_t base = static_cast<index_t>(blockIdx.x) * Team::kTeams; base < c.n_segments;
       base += c.workers) {
    const index_t own = base + Team::team();
    const Segment s = own < c.n_segments ? c.segments[own] : Segment{};
    const index_t length = s.end - s.begin, steps = warp_longest(length);
    const bool follows = length > 0 && !s.first;
    double v = follows && team.holds() ? c.before[own * c.K + j] : 0.0;
    double total = follows ? c.scale[own] : 0.0;
    double e = exp(v);
    const auto log_b = [&](index_t t) {
      return t < length && team.holds() ? c.log_density[(s.begin + t) * c.K + j] : 0.0;
    };
    double next = log_b(0);
    for (index_t t = 0; t < steps; ++t) {
      double x;
      const double now = next;
      next = log_b(t + 1);
      team.send(v, e, x);
      team.received();
      if (t == 0 && s.first) x = team.holds() ? c.log_start[j] : minus_infinity();
      x += now;
      const double largest = lane_larger<kLanes>(x);
      total += largest;
      v = relative(x, largest);
      e = exp(v);
      const double sum = lane_sum<kLanes>(e);
      if (t >= length) continue;  // only others of the warp go on
      if (team.holds()) rows[(s.begin + t) * c.K + j] = logs ? v : sum == 0 ? 0.0 : e / sum;
      if (t == length - 1 && s.last && j == 0) log_prob[s.sequence] = total + log(sum);
    }
  }
}

// Team q makes row q % K of the matrix of segment q / K: log probability of the segment's rows and
// of ending in each state, given the state before it (for the first segment: in row 0, from pi).
template <int kLanes>
__global__ void __launch_bounds__(kWarp) product_kernel(Chains c, double* products) {
  using Team = Team<kLanes>;
  __shared__ typename Team::Shared shared;
  Team team(shared, c.by_target, c.log_target, c.K);
  const int j = Team::lane();
  for (index_t base = static_cast<index_t>(blockIdx.x) * Team::kTeams; base < c.n_segments * c.K;
       base += static_cast<index_t>(gridDim.x) * Team::kTeams) {
    const index_t own = base + Team::team();
    Segment s{};
    if (own < c.n_segments * c.K) s = c.segments[own / c.K];
    if ((s.first && s.last) || (s.first && own % c.K != 0)) s.end = s.begin;
    const index_t length = s.end - s.begin, steps = warp_longest(length);
    double v = j == own % c.K ? 0.0 : minus_infinity(), e = exp(v), total = 0;
    const auto log_b = [&](index_t t) {
      return t < length && team.holds() ? c.log_density[(s.begin + t) * c.K + j] : 0.0;
    };
    double next = log_b(0);
    for (index_t t = 0; t < steps; ++t) {
      double x;
      const double now = next;
      next = log_b(t + 1);
      team.send(v, e, x);
      team.received();
      if (t == 0 && s.first) x = team.holds() ? c.log_start[j] : minus_infinity();
      x += now;
      const double largest = lane_larger<kLanes>(x);
      total += largest;
      v = relative(x, largest);
      e = exp(v);
      if (t == length - 1 && team.holds()) products[own * c.K + j] = v + total;
    }
  }
}

// One warp chains the segments of a sequence, forward (blockIdx.y 0) or backward.
__global__ void __launch_bounds__(kWarp)
    chain_kernel(Chains c, const Cut* cuts, const double* products, double* before, double* scale,
                 double* after) {
  __shared__ double shared[kWarp];
  const index_t K = c.K, j = threadIdx.x;
  const Cut cut = cuts[blockIdx.x];
  const bool holds = j < K;
  if (blockIdx.y == 0) {
    double x = holds ? products[cut.first * K * K + j] : minus_infinity(), total = 0;
    for (index_t s = cut.first + 1; s < cut.past; ++s) {
      const double largest = lane_larger<kWarp>(x);
      total += largest;
      const double v = relative(x, largest);
      if (holds) before[s * K + j] = v;
      if (j == 0) scale[s] = total;
      shared[j] = v;
      __syncwarp();
      if (holds && s + 1 < cut.past) x = log_sum(shared, products + s * K * K + j, K, K);
      __syncwarp();
    }
  } else {
    double x = holds ? 0.0 : minus_infinity();
    for (index_t s = cut.past - 1; s >= cut.first; --s) {
      const double v = relative(x, lane_larger<kWarp>(x));
      if (holds) after[s * K + j] = v;
      shared[j] = v;
      __syncwarp();
      if (holds && s > cut.first) x = log_sum(shared, products + (s * K + j) * K, 1, K);
      __syncwarp();
    }
  }
}

// Going back, with x = log beta: gamma of the row before needs log alpha there, which stands in
// gamma until then, or in `before` at the start of a segment.
template <int kLanes>
__global__ void __launch_bounds__(kWarp)
    posterior_kernel(Chains c, const double* weight, double* gamma, double* sums) {
  using Team = Team<kLanes>;
  __shared__ typename Team::Shared shared;
  Team team(shared, c.by_source, c.log_source, c.K);
  const int i = Team::lane();
  double add[kLanes] = {};  // sum of w xi(i, j) / A(i, j)
  for (index_t base = static_cast<index_t>(blockIdx.x) * Team::kTeams; base < c.n_segments;
       base += c.workers) {
    const index_t own = base + Team::team();
    const Segment s = own < c.n_segments ? c.segments[own] : Segment{};
    const index_t length = s.end - s.begin, steps = warp_longest(length);
    const double w = length == 0 || weight == nullptr ? 1.0 : weight[s.sequence];
    double x = 0;
    if (length > 0 && !s.last && team.holds()) x = c.after[own * c.K + i];
    if (!team.holds()) x = minus_infinity();
    const auto log_b = [&](index_t t) {
      return t < length && team.holds() ? c.log_density[(s.end - 1 - t) * c.K + i] : 0.0;
    };
    const auto log_alpha = [&](index_t t) {
      if (t > length || !team.holds()) return 0.0;
      if (t < length) return gamma[(s.end - 1 - t) * c.K + i];
      return s.first ? 0.0 : c.before[own * c.K + i];
    };
    double next = log_b(0), share = normalised<kLanes>(x + log_alpha(0)), alpha = log_alpha(1);
    for (index_t t = 0; t < steps; ++t) {
      const double now = next;
      next = log_b(t + 1);
      if (t < length && team.holds()) gamma[(s.end - 1 - t) * c.K + i] = share;
      x += now;
      const double v = relative(x, lane_larger<kLanes>(x));
      const double p = team.send(v, exp(v), x);
      share = normalised<kLanes>(x + alpha);
      alpha = log_alpha(t + 2);
      if (t + 1 < length || (t + 1 == length && !s.first)) {
        const double weighted = w * share;
        if (p >= kSafe) {
          const double r = weighted / p;
#pragma unroll
          for (int j = 0; j < kLanes; ++j) add[j] += r * team.sent_e(j);
        } else {
#pragma unroll
          for (int j = 0; j < kLanes; ++j) {
            add[j] += rare_transition(weighted, team.sent_v(j), x, team.a[j]);
          }
        }
      }
      team.received();
    }
  }
  const index_t worker = static_cast<index_t>(blockIdx.x) * Team::kTeams + Team::team();
#pragma unroll
  for (int j = 0; j < kLanes; ++j) {
    if (team.holds() && j < c.K) sums[(worker * c.K + j) * c.K + i] = add[j];
  }
}

template <int kLanes>
dim3 warps(index_t teams) {
  return dim3(static_cast<unsigned>(div_up(teams, Team<kLanes>::kTeams)));
}

}  // namespace

void forward_lanes(const Call& call, const Chains& chains, bool logs, double* rows,
                   double* log_prob) {
  by_lanes(chains.K, [&]<int kLanes>() {
    launch(call, forward_kernel<kLanes>, warps<kLanes>(chains.workers), kWarp, chains, logs, rows,
           log_prob);
  });
}

void posterior_lanes(const Call& call, const Chains& chains, const double* weight, double* gamma,
                     double* sums) {
  by_lanes(chains.K, [&]<int kLanes>() {
    launch(call, posterior_kernel<kLanes>, warps<kLanes>(chains.workers), kWarp, chains, weight,
           gamma, sums);
  });
}

void chain_lanes(const Call& call, const Chains& chains, const Cut* cuts, index_t n_cuts,
                 double* products, double* before, double* scale, double* after) {
  by_lanes(chains.K, [&]<int kLanes>() {
    constexpr index_t kEnough = 1 << 16;  // teams in one launch
    const index_t teams = min(chains.n_segments * chains.K, kEnough);
    launch(call, product_kernel<kLanes>, warps<kLanes>(teams), kWarp, chains, products);
  });
  launch(call, chain_kernel, dim3(static_cast<unsigned>(n_cuts), 2), kWarp, chains, cuts, products,
         before, scale, after);
}

}  // namespace kernelmill
