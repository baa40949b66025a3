#include "ops/hmm.cuh"

#include <algorithm>  // std::max, std::min, std::clamp
#include <cmath>      // std::sqrt, log
#include <stdexcept>  // std::invalid_argument
#include <string>     // messages

#include "ops/hmm_passes.cuh"

namespace kernelmill {
namespace {

// Sequences at least so long are cut, where the device would be idle otherwise: while the lengths
// add up to few times the longest. Each piece costs K vectors instead of one.
constexpr index_t kLong = 512;
constexpr index_t kFewVectors = 2048;
constexpr index_t kMostWarps = 2048;  // that keep sums of their own

// A, its transpose, and the logarithms; log pi.
__global__ void prepare_kernel(const double* startprob, const double* transmat, index_t K,
                               double* by_target, double* by_source, double* log_target,
                               double* log_source, double* log_start) {
  for (index_t q = global_thread(); q < K * K; q += global_threads()) {
    const double a = transmat[q], log_a = log(a);
    const index_t back = q % K * K + q / K;
    by_target[q] = a;
    log_target[q] = log_a;
    by_source[back] = a;
    log_source[back] = log_a;
    if (q < K) log_start[q] = log(startprob[q]);
  }
}

// starts[j] = sum of weight gamma[first row] over sequences, one block to a state.
__global__ void __launch_bounds__(kThreads)
    starts_kernel(const Segment* segments, index_t n_segments, index_t K, const double* weight,
                  const double* gamma, double* starts) {
  __shared__ double shared[kThreads];
  const index_t j = blockIdx.x;
  double sum = 0;
  for (index_t q = threadIdx.x; q < n_segments; q += kThreads) {
    const Segment s = segments[q];
    if (!s.first) continue;
    sum += (weight == nullptr ? 1.0 : weight[s.sequence]) * gamma[s.begin * K + j];
  }
  sum = block_sum<kThreads>(sum, shared);
  if (threadIdx.x == 0) starts[j] = sum;
}

// transitions(i, j) = A(i, j) times the sums of all workers, in an order fixed by their number.
__global__ void __launch_bounds__(kThreads)
    transitions_kernel(const double* sums, index_t workers, index_t K, const double* transmat,
                       double* transitions) {
  constexpr int kAcross = 32;
  __shared__ double shared[kThreads];
  const int thread = static_cast<int>(threadIdx.x);
  const index_t q = static_cast<index_t>(blockIdx.x) * kAcross + thread % kAcross;  // j K + i
  double sum = 0;
  if (q < K * K) {
    for (index_t w = thread / kAcross; w < workers; w += kThreads / kAcross) {
      sum += sums[w * K * K + q];
    }
  }
  shared[thread] = sum;
  __syncthreads();
  if (thread >= kAcross || q >= K * K) return;
  for (int t = thread + kAcross; t < kThreads; t += kAcross) sum += shared[t];
  const index_t to = q % K * K + q / K;
  transitions[to] = transmat[to] * sum;
}

Chains prepare(const Call& call, const double* log_density, index_t K, const double* startprob,
               const double* transmat, const Schedule& schedule, const HmmSpace& space) {
  const auto n_segments = static_cast<index_t>(schedule.segments.size());
  const auto n_cuts = static_cast<index_t>(schedule.cuts.size());
  upload(call, space.segments, schedule.segments.data(), n_segments);
  upload(call, space.cuts, schedule.cuts.data(), n_cuts);
  launch(call, prepare_kernel, grid_for(K * K, kThreads), kThreads, startprob, transmat, K,
         space.by_target, space.by_source, space.log_target, space.log_source, space.log_start);
  const Chains chains{log_density,      K,
                      space.segments,   n_segments,
                      space.by_target,  space.by_source,
                      space.log_target, space.log_source,
                      space.log_start,  space.before,
                      space.scale,      space.after,
                      space.workers,    space.vectors};
  if (n_cuts > 0) {
    chain_lanes(call, chains, space.cuts, n_cuts, space.products, space.before, space.scale,
                space.after);
  }
  return chains;
}

// labels = symbols, those that are missing after all others; `largest` starts at the first.
__global__ void labels_kernel(const std::int64_t* symbols, index_t T, index_t n_symbols,
                              std::int32_t* labels, std::int64_t* largest) {
  long long most = symbols[0];
  for (index_t t = global_thread(); t < T; t += global_threads()) {
    const std::int64_t symbol = symbols[t];
    most = max(most, static_cast<long long>(symbol));
    const bool counts = symbol >= 0 && symbol < n_symbols;
    labels[t] = static_cast<std::int32_t>(counts ? symbol : n_symbols);
  }
  atomicMax(reinterpret_cast<long long*>(largest), most);
}

__global__ void transpose_kernel(const double* sums, index_t K, index_t M, double* counts) {
  for (index_t q = global_thread(); q < K * M; q += global_threads()) {
    counts[q] = sums[q % M * K + q / M];
  }
}

}  // namespace

Schedule::Schedule(const std::vector<index_t>& lengths, index_t K, bool may_cut)
    : sequences(static_cast<index_t>(lengths.size())) {
  index_t longest = 0, total = 0;
  for (index_t length : lengths) {
    longest = std::max(longest, length);
    total += length;
  }
  index_t piece = longest + 1;
  if (may_cut && K <= kLaneStates && longest >= kLong && total / longest * K <= kFewVectors) {
    // The pieces run at once and are then chained one by one: the square root balances the two.
    piece = power_of_two(static_cast<index_t>(std::sqrt(static_cast<double>(longest))));
  }
  index_t begin = 0;
  for (index_t sequence = 0; sequence < sequences; ++sequence) {
    const index_t length = lengths[static_cast<std::size_t>(sequence)];
    if (length == 0) continue;
    const index_t pieces = length >= 2 * piece ? div_up(length, piece) : 1;
    const auto first = static_cast<index_t>(segments.size());
    for (index_t q = 0; q < pieces; ++q) {
      segments.push_back({begin + q * length / pieces, begin + (q + 1) * length / pieces, sequence,
                          q == 0, q == pieces - 1});
    }
    if (pieces > 1) cuts.push_back({first, first + pieces});
    begin += length;
  }
}

HmmSpace::HmmSpace(Arena& arena, const Schedule& schedule, index_t K, bool with_sums) {
  const auto count = static_cast<index_t>(schedule.segments.size());
  const auto n_cuts = static_cast<index_t>(schedule.cuts.size());
  if (K <= kLaneStates) {
    const index_t teams = kWarp / power_of_two(K);  // in a warp
    workers = std::min(div_up(count, teams), with_sums ? kMostWarps : kMostWarps * 32) * teams;
  } else {
    // Blocks of many states keep sums of no more than half a gigabyte, or K^2 numbers.
    const index_t most = std::clamp<index_t>((index_t{1} << 26) / (K * K), 1, 1024);
    workers = std::min(count, with_sums ? most : 1024);
  }
  segments = arena.take<Segment>(count);
  cuts = arena.take<Cut>(n_cuts);
  by_target = arena.take<double>(K * K);
  by_source = arena.take<double>(K * K);
  log_target = arena.take<double>(K * K);
  log_source = arena.take<double>(K * K);
  log_start = arena.take<double>(K);
  const index_t chained = n_cuts > 0 ? count : 0;
  products = arena.take<double>(chained * K * K);
  before = arena.take<double>(chained * K);
  scale = arena.take<double>(chained);
  after = arena.take<double>(chained * K);
  vectors = arena.take<double>(K <= kLaneStates ? 0 : workers * kVectors * K);
  sums = arena.take<double>(with_sums ? workers * K * K : 0);
}

void forward(const Call& call, const double* log_density, index_t K, const double* startprob,
             const double* transmat, const Schedule& schedule, double* filtered, double* log_prob,
             const HmmSpace& space) {
  zero(call, log_prob, sizeof(double) * static_cast<std::size_t>(schedule.sequences));
  if (schedule.segments.empty()) return;
  const Chains chains = prepare(call, log_density, K, startprob, transmat, schedule, space);
  const auto pass = K <= kLaneStates ? forward_lanes : forward_blocks;
  pass(call, chains, false, filtered, log_prob);
}

void posteriors(const Call& call, const double* log_density, index_t K, const double* startprob,
                const double* transmat, const Schedule& schedule, const double* weight,
                double* gamma, double* log_prob, double* starts, double* transitions,
                const HmmSpace& space) {
  zero(call, log_prob, sizeof(double) * static_cast<std::size_t>(schedule.sequences));
  if (schedule.segments.empty()) {
    zero(call, starts, sizeof(double) * static_cast<std::size_t>(K));
    zero(call, transitions, sizeof(double) * static_cast<std::size_t>(K * K));
    return;
  }
  const Chains chains = prepare(call, log_density, K, startprob, transmat, schedule, space);
  const bool few = K <= kLaneStates;
  (few ? forward_lanes : forward_blocks)(call, chains, true, gamma, log_prob);
  (few ? posterior_lanes : posterior_blocks)(call, chains, weight, gamma, space.sums);
  launch(call, starts_kernel, dim3(static_cast<unsigned>(K)), kThreads, space.segments,
         chains.n_segments, K, weight, gamma, starts);
  launch(call, transitions_kernel, dim3(static_cast<unsigned>(div_up(K * K, 32))), kThreads,
         space.sums, space.workers, K, transmat, transitions);
}

SymbolSpace::SymbolSpace(Arena& arena, const Call& call, index_t T, index_t K, index_t n_symbols)
    : largest(arena.take<std::int64_t>(1)),
      labels(arena.take<std::int32_t>(T)),
      sums(arena.take<double>((n_symbols + 1) * K)),
      weights(arena.take<double>(n_symbols + 1)),
      label_sums(arena, call, T, K, n_symbols + 1) {}

void symbol_counts(const Call& call, const std::int64_t* symbols, const DeviceRows<double>& gamma,
                   index_t n_symbols, double* counts, const SymbolSpace& space) {
  if (gamma.n > 0) {
    check(call, "copy",
          cudaMemcpyAsync(space.largest, symbols, sizeof(std::int64_t), cudaMemcpyDeviceToDevice,
                          call.stream));
    launch(call, labels_kernel, grid_for(gamma.n, kThreads), kThreads, symbols, gamma.n, n_symbols,
           space.labels, space.largest);
    std::int64_t largest = 0;
    download(call, &largest, space.largest, 1);
    if (largest >= n_symbols) {
      throw std::invalid_argument(std::string(call.op) + ": symbols must be below n_symbols = " +
                                  std::to_string(n_symbols) + ", got " + std::to_string(largest));
    }
  }
  label_sums<double>(call, gamma, nullptr, space.labels, n_symbols + 1, space.sums, space.weights,
                     space.label_sums);
  launch(call, transpose_kernel, grid_for(gamma.d * n_symbols, kThreads), kThreads, space.sums,
         gamma.d, n_symbols, counts);
}

}  // namespace kernelmill
