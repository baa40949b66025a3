// A round on a GPU: one pass over the variables finds the violation, two stable sorts the working
// set, tiles of products the rows of K that the cache lacks, one block of threads (one a variable)
// moves pairs, and one pass over those rows brings all gradients up to date. What a round decides,
// it decides on the host, as in C++: three small copies and waits a round, some 50 us, against the
// 512 rows of n entries that the last pass reads. Largest and least values do not depend on the
// order in which they are found and ties go by numbers, so bits are the same on every run.
//
// Unlike in C++ a working set has at most 512 variables, since one block moves its pairs, and pairs
// that creep get no step of Newton's: its factorisation is serial in one block, and the outer
// rounds end such a problem by the same rules.
#include "ops/svm.cuh"

#include <algorithm>  // std::clamp, std::max, std::min
#include <cmath>      // std::isfinite
#include <limits>     // infinity, min
#include <span>       // copies on the host
#include <vector>     // copies on the host

#include "core/launch.cuh"     // launch, block_join
#include "core/sort.hpp"       // sort_pairs
#include "ops/kernels.cuh"     // kernel_rows
#include "ops/svm_rounds.hpp"  // Rules, Slots, check

namespace kernelmill {
namespace {

using svm::most_near;

constexpr int kExtremes = 5;
constexpr index_t kMostBlocks = 256;  // of partial extremes, which the host joins
constexpr double kInfinity = std::numeric_limits<double>::infinity();

// The variables of one problem.
struct Variables {
  index_t count;
  const std::int32_t* rows;
  const double *lower, *upper;
  double *b, *g;
  double w;
  bool grouped;

  __device__ int group(index_t t) const { return grouped && !(upper[t] > 0) ? 1 : 0; }
  __device__ double up(index_t t) const {
    return b[t] < upper[t] ? -(g[t] + (b[t] >= 0 ? w : -w)) : -kInfinity;
  }
  __device__ double down(index_t t) const {
    return b[t] > lower[t] ? -(g[t] + (b[t] > 0 ? w : -w)) : kInfinity;
  }
};

// Rows of K: row p is base + p stride.
template <class T>
struct StoredRows {
  const T* base;
  index_t stride;
};

// Each block writes the largest up and the least down of both groups, and 0 where a gradient is not
// finite.
__global__ void extremes_kernel(Variables v, double* found) {
  __shared__ double shared[kThreads];
  double most[2] = {-kInfinity, -kInfinity}, least[2] = {kInfinity, kInfinity}, finite = 1;
  for (index_t t = global_thread(); t < v.count; t += global_threads()) {
    const int k = v.group(t);
    const double up = v.up(t), down = v.down(t);
    if (!isfinite(v.g[t])) finite = 0;
    if (up > most[k]) most[k] = up;
    if (down < least[k]) least[k] = down;
  }
  const auto larger = [](double a, double b) { return a > b ? a : b; };
  const auto smaller = [](double a, double b) { return a < b ? a : b; };
  double joined[kExtremes];
  for (int k = 0; k < 2; ++k) {
    joined[k] = block_join<kThreads>(most[k], shared, larger);
    joined[2 + k] = block_join<kThreads>(least[k], shared, smaller);
  }
  joined[4] = block_join<kThreads>(finite, shared, smaller);
  if (threadIdx.x == 0) {
    for (int e = 0; e < kExtremes; ++e) found[blockIdx.x * kExtremes + e] = joined[e];
  }
}

struct Extremes {
  double most[2], least[2];
  bool finite;
};

// Keys that rise as scores fall. The bits of numbers above 0 rise with them; what violates by no
// more than the tolerance comes last.
__global__ void scores_kernel(Variables v, Extremes e, bool rising, double tolerance,
                              std::uint64_t* keys, double* numbers) {
  for (index_t t = global_thread(); t < v.count; t += global_threads()) {
    const int k = v.group(t);
    const double score = rising ? v.up(t) - e.least[k] : e.most[k] - v.down(t);
    std::uint64_t bits = 0;
    if (score > tolerance) memcpy(&bits, &score, sizeof bits);
    keys[t] = ~bits;
    numbers[t] = static_cast<double>(t);
  }
}

template <class T>
__global__ void gather_kernel(Variables v, StoredRows<T> rows, const index_t* places,
                              const std::int32_t* chosen, index_t q, T* block) {
  for (index_t i = global_thread(); i < q * q; i += global_threads()) {
    block[i] = rows.base[places[i / q] * rows.stride + v.rows[chosen[i % q]]];
  }
}

// The first of the largest `up`, and the least `down`, over a block of whole warps of which the
// threads are places. `shared` holds 32 of each and may be used again at once.
struct Extremum {
  double up, down;
  int place;
};

__device__ inline Extremum join(const Extremum& a, const Extremum& b) {
  const bool second = b.up > a.up || (b.up == a.up && b.place < a.place);
  return {second ? b.up : a.up, b.down < a.down ? b.down : a.down, second ? b.place : a.place};
}

__device__ inline Extremum over_warp(Extremum x) {
#pragma unroll
  for (int step = 16; step > 0; step /= 2) {
    const Extremum other{__shfl_xor_sync(0xffffffffu, x.up, step),
                         __shfl_xor_sync(0xffffffffu, x.down, step),
                         __shfl_xor_sync(0xffffffffu, x.place, step)};
    x = join(x, other);
  }
  return x;
}

__device__ inline Extremum over_block(Extremum x, Extremum* shared) {
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
  x = over_warp(x);
  if (lane == 0) shared[warp] = x;
  __syncthreads();
  x = lane < static_cast<int>(blockDim.x) / 32 ? shared[lane]
                                               : Extremum{-kInfinity, kInfinity, 1 << 30};
  x = over_warp(x);
  __syncthreads();
  return x;
}

// SMO on the working set, a thread a variable, until its violation is at most `tolerance` or `most`
// pairs have moved. Writes b of the variables, how it changed, and the outcome.
template <class T>
__global__ void __launch_bounds__(most_near)
    smo_kernel(Variables v, const std::int32_t* chosen, int q, const T* kernel, double tolerance,
               double most, double* changes, double* outcome) {
  __shared__ Extremum shared[32];
  // The variables that move: b and the end of their way, and what the second knows of the pair.
  __shared__ double pair[7];
  const int own = static_cast<int>(threadIdx.x);
  const bool real = own < q;
  const index_t t = real ? chosen[own] : 0;
  double g = real ? v.g[t] : 0, b = real ? v.b[t] : 0;
  const double lower = real ? v.lower[t] : 0, upper = real ? v.upper[t] : 0, old = b;
  const int group = real ? v.group(t) : 0;
  const double diagonal = real ? static_cast<double>(kernel[own * q + own]) : 0;
  double steps = 0, gain = 0, least_curvature = kInfinity;
  while (true) {
    const double up = real && b < upper ? -(g + (b >= 0 ? v.w : -v.w)) : -kInfinity;
    const double down = real && b > lower ? -(g + (b > 0 ? v.w : -v.w)) : kInfinity;
    double worst = -kInfinity, best = 0;
    int i = 0, moving = 0;
    for (int k = 0; k < (v.grouped ? 2 : 1); ++k) {
      const bool in = group == k;
      const Extremum found = over_block({in ? up : -kInfinity, in ? down : kInfinity, own}, shared);
      if (found.up - found.down > worst) {
        worst = found.up - found.down;
        best = found.up;
        i = found.place;
        moving = k;
      }
    }
    if (!(worst > tolerance) || steps >= most) break;
    const double k_ii = static_cast<double>(kernel[i * q + i]);
    const double k_ij = real ? static_cast<double>(kernel[i * q + own]) : 0;
    const double a = k_ii + diagonal - 2 * k_ij;
    const double size = fabs(k_ii) + fabs(diagonal) + 2 * fabs(k_ij);
    const double floor = fmax(size * 1e-12, std::numeric_limits<double>::min());
    const double curve = a > floor ? a : floor;
    const double difference = best - down > 0 ? best - down : 0;
    double score = real && group == moving ? difference * difference / curve : -1;
    if (!(score >= 0)) score = -1;
    const int j = over_block({score, kInfinity, own}, shared).place;
    if (own == i) {
      pair[0] = b;
      pair[1] = b < 0 && v.w > 0 ? 0 : upper;
    }
    if (own == j) {
      pair[2] = b;
      pair[3] = b > 0 && v.w > 0 ? 0 : lower;
      pair[4] = difference;
      pair[5] = a;
      pair[6] = size;
    }
    __syncthreads();
    const double old_i = pair[0], end_i = pair[1], old_j = pair[2], end_j = pair[3];
    const double lead = pair[4], bend = pair[5], terms = pair[6];
    const double least = fmax(terms * 1e-12, std::numeric_limits<double>::min());
    const double room_i = end_i - old_i, room_j = old_j - end_j;
    const double step = fmin(lead / (bend > least ? bend : least), fmin(room_i, room_j));
    const double new_i = step == room_i ? end_i : fmin(old_i + step, end_i);
    const double new_j = step == room_j ? end_j : fmax(old_j - step, end_j);
    if (new_i == old_i && new_j == old_j) break;  // below the resolution of b
    steps += 1;
    gain += step * (lead - step * bend / 2);
    if (terms > 0) least_curvature = fmin(least_curvature, bend / terms);
    if (own == i) b = new_i;
    if (own == j) b = new_j;
    if (real) g += step * (k_ij - static_cast<double>(kernel[j * q + own]));
  }
  if (real) {
    v.b[t] = b;
    changes[own] = b - old;
  }
  if (own == 0) {
    outcome[0] = steps;
    outcome[1] = gain;
    outcome[2] = least_curvature;
  }
}

// g += K' (change of b), in the order of the working set.
template <class T>
__global__ void update_kernel(Variables v, StoredRows<T> rows, const index_t* places, int q,
                              const double* changes) {
  for (index_t t = global_thread(); t < v.count; t += global_threads()) {
    const T* const column = rows.base + v.rows[t];
    double g = v.g[t];
#pragma unroll 4
    for (int a = 0; a < q; ++a) {
      const double by = changes[a];
      if (by != 0) g += by * static_cast<double>(column[places[a] * rows.stride]);
    }
    v.g[t] = g;
  }
}

// Copies of what rounds decide from, on the host.
template <class T>
std::vector<T> copied(const Call& call, const T* device, index_t count) {
  std::vector<T> host(static_cast<std::size_t>(count));
  if (count > 0) download(call, host.data(), device, count);
  return host;
}

template <class T>
class Solver {
 public:
  Solver(const Call& call, const DeviceRows<T>& x, const svm::Solving<T>& s,
         const SvmSpace<T>& space)
      : call_(call),
        x_(x),
        device_(s),
        space_(space),
        rows_(copied(call, s.rows.data(), size(s.rows))),
        spans_(copied(call, s.spans.data(), size(s.spans))),
        settings_(copied(call, s.settings.data(), size(s.settings))),
        slots_(copied(call, s.slots.data, 2 * s.slots.rows)),
        working_(copied(call, s.working.data, s.working.rows * s.working.cols)),
        state_(copied(call, s.state.data, s.state.rows * s.state.cols)),
        host_{rows_,
              spans_,
              s.lower,
              s.upper,
              settings_,
              s.most_rounds,
              s.beta,
              s.gradient,
              s.cache,
              dense(slots_.data(), s.slots.rows, index_t{2}),
              dense(working_.data(), s.working.rows, s.working.cols),
              dense(state_.data(), s.state.rows, s.state.cols)},
        given_(settings_[svm::kind] < 0) {
    svm::check(host_, x.n, x.d);
  }

  index_t solve() {
    svm::Slots slots(host_.slots, given_ ? 0 : x_.n);
    index_t going = 0;
    for (index_t p = 0; p < host_.state.rows; ++p) {
      const index_t begin = spans_[static_cast<std::size_t>(p)];
      const Variables v{spans_[static_cast<std::size_t>(p) + 1] - begin,
                        device_.rows.data() + begin,
                        device_.lower.data() + begin,
                        device_.upper.data() + begin,
                        device_.beta.data() + begin,
                        device_.gradient.data() + begin,
                        settings_[svm::width],
                        settings_[svm::grouped] != 0};
      const svm::Rules rules{v.count, settings_, host_.state.row(p)};
      taken_.assign(static_cast<std::size_t>(v.count), 0);
      for (index_t r = 0; r < host_.most_rounds && rules.running(); ++r) {
        round(v, rules, rows_.data() + begin, host_.working.row(p), slots);
      }
      going += rules.running() ? 1 : 0;
    }
    upload(call_, device_.slots.data, slots_.data(), size(slots_));
    upload(call_, device_.working.data, working_.data(), size(working_));
    upload(call_, device_.state.data, state_.data(), size(state_));
    return going;
  }

 private:
  template <class Values>
  static index_t size(const Values& values) {
    return static_cast<index_t>(values.size());
  }

  void round(const Variables& v, const svm::Rules& rules, const std::int32_t* rows,
             std::int32_t* working, svm::Slots& slots) {
    const Extremes e = extremes(v);
    const double worst = std::max(e.most[0] - e.least[0], e.most[1] - e.least[1]);
    if (rules.ends(worst, e.finite)) return;
    choose(v, rules, e, working);
    const index_t q = size(chosen_);
    const StoredRows<T> stored = kernel_of(rows, slots);
    upload(call_, space_.chosen, chosen_.data(), q);
    launch(call_, gather_kernel<T>, grid_for(q * q, kThreads), kThreads, v, stored, space_.places,
           space_.chosen, q, space_.block);
    launch(call_, smo_kernel<T>, 1, static_cast<unsigned>(div_up(q, 32) * 32), v, space_.chosen,
           static_cast<int>(q), space_.block, rules.fine(q), rules.most_moves(q), space_.changes,
           space_.outcome);
    launch(call_, update_kernel<T>, grid_for(v.count, kThreads), kThreads, v, stored, space_.places,
           static_cast<int>(q), space_.changes);
    double outcome[3];
    download(call_, outcome, space_.outcome, 3);
    rules.record(outcome[0], outcome[1], outcome[2]);
  }

  Extremes extremes(const Variables& v) const {
    Extremes e{{-kInfinity, -kInfinity}, {kInfinity, kInfinity}, true};
    if (v.count == 0) return e;
    const index_t blocks = std::clamp<index_t>(div_up(v.count, 8 * kThreads), 1, kMostBlocks);
    launch(call_, extremes_kernel, dim3(static_cast<unsigned>(blocks)), kThreads, v,
           space_.extremes);
    double found[kMostBlocks * kExtremes];
    download(call_, found, space_.extremes, blocks * kExtremes);
    for (index_t at = 0; at < blocks; ++at) {
      const double* const part = found + at * kExtremes;
      for (int k = 0; k < 2; ++k) {
        e.most[k] = std::max(e.most[k], part[k]);
        e.least[k] = std::min(e.least[k], part[2 + k]);
      }
      e.finite = e.finite && part[4] != 0;
    }
    return e;
  }

  // The working set, in chosen_.
  void choose(const Variables& v, const svm::Rules& rules, const Extremes& e,
              std::int32_t* working) {
    chosen_.clear();
    const index_t width = host_.working.cols;
    if (rules.takes_all(width)) {
      for (index_t t = 0; t < v.count; ++t) chosen_.push_back(static_cast<std::int32_t>(t));
      return;
    }
    const index_t size = std::min(most_near, rules.size(width)), fresh = rules.fresh(size);
    worst(v, e, true, rules.tolerance(), fresh / 2);
    worst(v, e, false, rules.tolerance(), fresh - fresh / 2);
    rules.complete(size, working, width, taken_, chosen_);
    for (const std::int32_t t : chosen_) taken_[static_cast<std::size_t>(t)] = 0;
  }

  // Adds the `count` variables of the largest score that are not chosen yet.
  void worst(const Variables& v, const Extremes& e, bool rising, double tolerance, index_t count) {
    launch(call_, scores_kernel, grid_for(v.count, kThreads), kThreads, v, e, rising, tolerance,
           space_.keys, space_.numbers);
    sort_pairs(call_, space_.temporary, space_.bytes, space_.keys, space_.sorted_keys,
               space_.numbers, space_.sorted_numbers, v.count, 64);
    const index_t most = std::min(v.count, count + size(chosen_));
    const std::vector<std::uint64_t> keys = copied(call_, space_.sorted_keys, most);
    const std::vector<double> numbers = copied(call_, space_.sorted_numbers, most);
    for (std::size_t a = 0; a < keys.size() && count > 0 && ~keys[a] != 0; ++a) {
      char& known = taken_[static_cast<std::size_t>(numbers[a])];
      if (known != 0) continue;
      known = 1;
      chosen_.push_back(static_cast<std::int32_t>(numbers[a]));
      --count;
    }
  }

  // Rows of K of the working set, at space.places, after those that the cache lacks are computed.
  StoredRows<T> kernel_of(const std::int32_t* rows, svm::Slots& slots) {
    numbers_.clear();
    for (const std::int32_t t : chosen_) numbers_.push_back(rows[t]);
    std::vector<index_t> places;
    StoredRows<T> stored{x_.data, x_.stride};
    if (given_) {
      places.assign(numbers_.begin(), numbers_.end());
    } else {
      stored = {host_.cache.data, x_.n};
      std::vector<std::int32_t> missing;
      std::vector<index_t> targets;
      slots.take(numbers_, missing, targets);
      const std::vector<index_t> order(missing.begin(), missing.end());
      upload(call_, space_.order, order.data(), size(order));
      upload(call_, space_.targets, targets.data(), size(targets));
      const DeviceRows<T> some{x_.data, size(order), x_.d, x_.stride, space_.order};
      kernel_rows<T>(call_, some, x_, svm::function_of(settings_), space_.targets,
                     host_.cache.data);
      for (const std::int32_t row : numbers_) places.push_back(slots.place(row));
    }
    upload(call_, space_.places, places.data(), size(places));
    return stored;
  }

  const Call& call_;
  DeviceRows<T> x_;
  const svm::Solving<T>& device_;
  const SvmSpace<T>& space_;
  std::vector<std::int32_t> rows_;
  std::vector<index_t> spans_;
  std::vector<double> settings_;
  std::vector<index_t> slots_;
  std::vector<std::int32_t> working_;
  std::vector<double> state_;
  svm::Solving<T> host_;
  bool given_;
  std::vector<std::int32_t> chosen_, numbers_;  // variables, and their rows
  std::vector<char> taken_;                     // all 0 between rounds
};

}  // namespace

template <class T>
SvmSpace<T>::SvmSpace(Arena& arena, const Call& call, index_t m)
    : extremes(arena.take<double>(kMostBlocks * kExtremes)),
      keys(arena.take<std::uint64_t>(m)),
      sorted_keys(arena.take<std::uint64_t>(m)),
      numbers(arena.take<double>(m)),
      sorted_numbers(arena.take<double>(m)),
      bytes(sort_bytes<std::uint64_t, double>(call, m)),
      chosen(arena.take<std::int32_t>(most_near)),
      places(arena.take<index_t>(most_near)),
      order(arena.take<index_t>(most_near)),
      targets(arena.take<index_t>(most_near)),
      block(arena.take<T>(most_near * most_near)),
      changes(arena.take<double>(most_near)),
      outcome(arena.take<double>(3)) {
  temporary = arena.take<char>(static_cast<index_t>(bytes));
}

template <class T>
index_t svm_solve(const Call& call, const DeviceRows<T>& x, const svm::Solving<T>& s,
                  const SvmSpace<T>& space) {
  return Solver<T>(call, x, s, space).solve();
}

template struct SvmSpace<float>;
template struct SvmSpace<double>;
KERNELMILL_FOR_FLOATS(svm_solve)

}  // namespace kernelmill
