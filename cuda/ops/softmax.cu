// A position is a set of c classes; its passes after the first find it in the cache.

#include "ops/softmax.cuh"

#include <limits>  // infinity

#include "core/error.hpp"  // invalid
#include "core/team.cuh"   // Team

namespace kernelmill::softmax {
namespace {

constexpr int kThreads = Team::kThreads;

__device__ double infinity() { return std::numeric_limits<double>::infinity(); }

template <class T>
Team team_for(const CubeView<const T>& x) {
  const index_t sets = x.shape[2] > 1 ? x.strides[2] : x.strides[0];
  return Team(x.shape[1],
              (sets < 0 ? -sets : sets) < (x.strides[1] < 0 ? -x.strides[1] : x.strides[1]));
}

// The position of a thread; the last ones of a grid may have none.
struct Position {
  index_t number, i, j;
  bool there;
  template <class T>
  __device__ Position(const CubeView<T>& x, const Team& team, index_t first)
      : number(first + team.place()), there(number < x.shape[0] * x.shape[2]) {
    if (!there) number = 0;
    i = number / x.shape[2];
    j = number - i * x.shape[2];
  }
};

// Calls body(position, first class of the thread) for all positions, by all threads of a block.
template <class T, class Body>
__device__ void each_position(const CubeView<T>& x, const Team& team, Body body) {
  const index_t positions = x.shape[0] * x.shape[2];
  for (index_t first = static_cast<index_t>(blockIdx.x) * team.side; first < positions;
       first += static_cast<index_t>(gridDim.x) * team.side) {
    const Position at(x, team, first);
    body(at, at.there ? team.lane() : x.shape[1]);
  }
}

struct Sums {
  double shift, total;  // of exp(x - shift)
};

template <class T>
__device__ Sums sum_exp(const CubeView<const T>& x, const Team& team, const Position& at,
                        index_t begin, double* shared) {
  double largest = -infinity();
  for (index_t c = begin; c < x.shape[1]; c += team.lanes()) {
    largest = ::fmax(largest, static_cast<double>(x.data[offset_of(x, at.i, c, at.j)]));
  }
  largest = team.largest(largest, shared);
  const auto shift = static_cast<Acc<T>>(largest == -infinity() ? 0.0 : largest);
  double sum = 0;
  for (index_t c = begin; c < x.shape[1]; c += team.lanes()) {
    sum += static_cast<double>(
        ::exp(static_cast<Acc<T>>(x.data[offset_of(x, at.i, c, at.j)]) - shift));
  }
  return {static_cast<double>(shift), team.sum(sum, shared)};
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    forward_kernel(const CubeView<const T> x, const Team team, bool logarithm, CubeView<T> y) {
  __shared__ double shared[kThreads];
  each_position(x, team, [&](const Position& at, index_t begin) {
    const Sums sums = sum_exp(x, team, at, begin, shared);
    const auto shift = static_cast<Acc<T>>(sums.shift);
    const double log_total = ::log(sums.total);
    for (index_t c = begin; c < x.shape[1]; c += team.lanes()) {
      const Acc<T> below = static_cast<Acc<T>>(x.data[offset_of(x, at.i, c, at.j)]) - shift;
      double value = logarithm ? -infinity() : 0.0;
      if (sums.total != 0) {
        value = logarithm ? static_cast<double>(below) - log_total
                          : static_cast<double>(::exp(below)) / sums.total;
      }
      y.data[offset_of(y, at.i, c, at.j)] = static_cast<T>(value);
    }
  });
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    backward_kernel(const CubeView<const T> dout, const CubeView<const T> y, const Team team,
                    bool logarithm, CubeView<T> dx) {
  __shared__ double shared[kThreads];
  each_position(y, team, [&](const Position& at, index_t begin) {
    const auto product = [&](index_t c, double& share) {
      const auto d = static_cast<double>(dout.data[offset_of(dout, at.i, c, at.j)]);
      const Acc<T> result = y.data[offset_of(y, at.i, c, at.j)];
      share = logarithm ? 0.0 : static_cast<double>(result);
      return d;
    };
    double sum = 0, share = 0;
    for (index_t c = begin; c < y.shape[1]; c += team.lanes()) {
      const double d = product(c, share);
      sum += logarithm ? d : d * share;
    }
    sum = team.sum(sum, shared);
    for (index_t c = begin; c < y.shape[1]; c += team.lanes()) {
      const double d = product(c, share);
      double value = share * (d - sum);
      if (logarithm) {
        const Acc<T> result = y.data[offset_of(y, at.i, c, at.j)];
        value = d - static_cast<double>(::exp(result)) * sum;
      }
      dx.data[offset_of(dx, at.i, c, at.j)] = static_cast<T>(value);
    }
  });
}

template <class T>
__device__ double weight_of(const Loss<T>& loss, index_t c) {
  return loss.weight == nullptr ? 1.0 : static_cast<double>(loss.weight[c]);
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    loss_kernel(const CubeView<const T> x, const Team team, const Loss<T> loss, Acc<T>* losses,
                double* lse, double* weights) {
  __shared__ double shared[kThreads];
  each_position(x, team, [&](const Position& at, index_t begin) {
    const Sums sums = sum_exp(x, team, at, begin, shared);
    const double log_total = ::log(sums.total);
    const auto term = [&](index_t c) {
      const double w = weight_of(loss, c);
      if (w == 0) return 0.0;
      const auto below = static_cast<double>(x.data[offset_of(x, at.i, c, at.j)]) - sums.shift;
      return w * (sums.total == 0 ? infinity() : log_total - below);
    };
    double spread = 0;
    if (loss.label_smoothing != 0) {
      for (index_t c = begin; c < x.shape[1]; c += team.lanes()) spread += term(c);
      spread = team.sum(spread, shared) * loss.label_smoothing / static_cast<double>(x.shape[1]);
    }
    if (!at.there || team.lane() > 0) return;
    const index_t t = loss.target[at.number];
    const bool counts = t != loss.ignore_index;
    losses[at.number] =
        static_cast<Acc<T>>(counts ? (1 - loss.label_smoothing) * term(t) + spread : 0.0);
    lse[at.number] = sums.shift + log_total;
    weights[at.number] = counts ? weight_of(loss, t) : 0.0;
  });
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    loss_backward_kernel(const Acc<T>* dout, const CubeView<const T> x, const double* lse,
                         const Team team, const Loss<T> loss, CubeView<T> dx) {
  __shared__ double shared[kThreads];
  const double b = loss.label_smoothing / static_cast<double>(x.shape[1] > 0 ? x.shape[1] : 1);
  each_position(x, team, [&](const Position& at, index_t begin) {
    double all = 0;
    if (b != 0) {
      for (index_t c = begin; c < x.shape[1]; c += team.lanes()) all += weight_of(loss, c);
      all = team.sum(all, shared);
    }
    if (!at.there) return;
    const index_t t = loss.target[at.number];
    const auto d = static_cast<double>(dout[at.number]);
    const bool flows = t != loss.ignore_index && d != 0;
    const double a = flows ? (1 - loss.label_smoothing) * weight_of(loss, t) : 0.0;
    const double shift = lse[at.number] == -infinity() ? 0.0 : lse[at.number];
    for (index_t c = begin; c < x.shape[1]; c += team.lanes()) {
      double value = 0;
      if (flows) {
        const auto below = static_cast<double>(x.data[offset_of(x, at.i, c, at.j)]) - shift;
        const auto p = static_cast<double>(::exp(static_cast<Acc<T>>(below)));
        value = d * ((a + b * all) * p - (c == t ? a : 0.0) - b * weight_of(loss, c));
      }
      dx.data[offset_of(dx, at.i, c, at.j)] = static_cast<T>(value);
    }
  });
}

template <class T>
void check_targets(const Call& call, const CubeView<const T>& x, const Loss<T>& loss,
                   const RangeSpace& space) {
  const index_t positions = x.shape[0] * x.shape[2];
  if (const auto wrong =
          outside(call, loss.target, positions, x.shape[1], space, loss.ignore_index)) {
    invalid(call.op, "target must be in [0, ", x.shape[1], ") or ", loss.ignore_index,
            " (ignore_index), got ", *wrong);
  }
}

template <class T>
dim3 grid_of(const CubeView<T>& x, const Team& team) {
  return team.grid(x.shape[0] * x.shape[2]);
}

}  // namespace

template <class T>
void forward(const Call& call, CubeView<const T> x, bool logarithm, CubeView<T> y) {
  const Team team = team_for(x);
  launch(call, forward_kernel<T>, grid_of(x, team), kThreads, x, team, logarithm, y);
}

template <class T>
void backward(const Call& call, CubeView<const T> dout, CubeView<const T> y, bool logarithm,
              CubeView<T> dx) {
  const Team team = team_for(y);
  launch(call, backward_kernel<T>, grid_of(y, team), kThreads, dout, y, team, logarithm, dx);
}

template <class T>
double cross_entropy(const Call& call, CubeView<const T> logits, const Loss<T>& loss,
                     Acc<T>* losses, double* lse, const LossSpace& space) {
  check_targets(call, logits, loss, space.range);
  const Team team = team_for(logits);
  launch(call, loss_kernel<T>, grid_of(logits, team), kThreads, logits, team, loss, losses, lse,
         space.weights);
  sum_in_order(call, space.weights, logits.shape[0] * logits.shape[2], space.total);
  double total = 0;
  download(call, &total, space.total, 1);
  return total;
}

template <class T>
void cross_entropy_backward(const Call& call, const Acc<T>* dout, CubeView<const T> logits,
                            const double* lse, const Loss<T>& loss, CubeView<T> dlogits,
                            const RangeSpace& space) {
  check_targets(call, logits, loss, space);
  const Team team = team_for(logits);
  launch(call, loss_backward_kernel<T>, grid_of(logits, team), kThreads, dout, logits, lse, team,
         loss, dlogits);
}

KERNELMILL_FOR_STORED(forward)
KERNELMILL_FOR_STORED(backward)
KERNELMILL_FOR_STORED(cross_entropy)
KERNELMILL_FOR_STORED(cross_entropy_backward)

}  // namespace kernelmill::softmax
