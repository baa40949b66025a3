// A position is an outer index and an inner one; each has c classes. A panel of at most kLanes
// values a step is walked step by step, lane by lane, by loops that vectorise over lanes, in one of
// two forms:
//
//   rows     one position; a step is kLanes neighbouring classes, and lanes are combined at the end
//   columns  kLanes neighbouring positions; a step is one class
//
// Columns need no combination and no tail, so they are also the form of few classes, whose memory
// they do not suit: then, as wherever neither side is adjacent, a panel is copied to a buffer that
// stays in the cache, and results are copied back.
#include "ops/softmax.hpp"

#include <algorithm>    // std::min, std::max
#include <array>        // operands
#include <cmath>        // std::fabs
#include <limits>       // infinity
#include <type_traits>  // std::integral_constant

#include "core/error.hpp"      // invalid
#include "core/math.hpp"       // exp, log
#include "core/parallel.hpp"   // parallel_for
#include "core/workspace.hpp"  // Workspace

namespace kernelmill::softmax {
namespace {

constexpr index_t kLanes = 32;
// With fewer classes rows would be mostly tail.
constexpr index_t kFewClasses = 4 * kLanes;
// Entries of a task: 20 to 60 us.
constexpr index_t kTask = 1 << 15;

template <class T>
constexpr T kInfinity = std::numeric_limits<T>::infinity();

struct Panel {
  bool row;
  index_t steps, width, rest;  // `steps` of `width` lanes, then one of `rest` lanes if not 0
  index_t classes, position;   // number of classes; number of the first position

  // Calls f(step, lanes), lanes being a constant wherever it is kLanes.
  template <class F>
  KERNELMILL_INLINE void each(F f) const {
    if (width == kLanes) {
      for (index_t s = 0; s < steps; ++s) f(s, std::integral_constant<index_t, kLanes>{});
    } else {
      for (index_t s = 0; s < steps; ++s) f(s, width);
    }
    if (rest != 0) f(steps, rest);
  }
  index_t positions() const { return row ? 1 : width; }
  // Lane values of one position are combined into the first lane and given to all.
  template <class V, class F>
  void combine(V (&lanes)[kLanes], F f) const {
    if (!row) return;
    for (index_t l = 1; l < kLanes; ++l) lanes[0] = f(lanes[0], lanes[l]);
    for (index_t l = 1; l < kLanes; ++l) lanes[l] = lanes[0];
  }
  // Class of lane l of step s.
  index_t at(index_t s, index_t l) const { return row ? s * kLanes + l : s; }
};

// One operand of a panel: lane l of step s is data[s * step + l].
template <class T>
struct Steps {
  T* data;
  index_t step;
  T* operator[](index_t s) const { return data + s * step; }
};

// Strides of outer index, class and position.
template <class T>
struct Operand {
  T* data;
  index_t outer, cls, position;
};

// All panels of `in` and `out`, arrays of one shape: kernel(panel, steps of in, steps of out).
template <class T, std::size_t N, std::size_t M, class Kernel>
void each_panel(const std::array<CubeView<const T>, N>& in, const std::array<CubeView<T>, M>& out,
                Kernel kernel) {
  auto [n, c, k] = in[0].shape;
  const bool matrix = k == 1;
  const bool row = c >= kFewClasses && (matrix || in[0].strides[1] == 1);
  // The rows of a matrix are its positions.
  const auto operand = [&]<class E>(const CubeView<E>& v) {
    return matrix ? Operand<E>{v.data, 0, v.strides[1], v.strides[0]}
                  : Operand<E>{v.data, v.strides[0], v.strides[1], v.strides[2]};
  };
  const index_t outers = matrix ? 1 : n, positions = matrix ? n : k, classes = c;
  if (n * c * k == 0) return;
  const index_t height = row ? 1 : kLanes;
  const index_t panels = chunk_count(positions, height);
  const index_t grain = std::max<index_t>(1, kTask / (classes * std::min(height, positions)));
  parallel_for(outers * panels, grain, [&](index_t, index_t begin, index_t end) {
    const index_t size = row ? classes : classes * kLanes;
    Workspace<T> buffers(static_cast<std::size_t>((N + M) * size));
    // Moves the panel of `width` positions between an operand and a buffer.
    const auto move = [&](const auto& o, index_t outer, index_t first, index_t width, T* buffer,
                          auto each) {
      auto* const from = o.data + outer * o.outer + first * o.position;
      for (index_t l = 0; l < width; ++l) {
        for (index_t j = 0; j < classes; ++j) {
          each(from[l * o.position + j * o.cls], buffer[row ? j : j * kLanes + l]);
        }
      }
    };
    for (index_t unit = begin; unit < end; ++unit) {
      const index_t outer = unit / panels, first = unit % panels * height;
      const index_t width = std::min(height, positions - first);
      const Panel panel{row,
                        row ? classes / kLanes : classes,
                        row ? kLanes : width,
                        row ? classes % kLanes : 0,
                        classes,
                        outer * positions + first};
      std::array<bool, N + M> copied{};
      const auto place = [&]<class E>(const Operand<E>& o, std::size_t i) -> Steps<E> {
        E* const at = o.data + outer * o.outer + first * o.position;
        if (row && o.cls == 1) return {at, kLanes};
        if (!row && (o.position == 1 || width == 1)) return {at, o.cls};
        copied[i] = true;
        return {buffers.data() + static_cast<index_t>(i) * size, kLanes};
      };
      std::array<Steps<const T>, N> sources;
      std::array<Steps<T>, M> targets;
      for (std::size_t i = 0; i < N; ++i) {
        sources[i] = place(operand(in[i]), i);
        T* const buffer = buffers.data() + static_cast<index_t>(i) * size;
        if (copied[i]) {
          move(operand(in[i]), outer, first, width, buffer, [](const T& v, T& b) { b = v; });
        }
      }
      for (std::size_t i = 0; i < M; ++i) targets[i] = place(operand(out[i]), N + i);
      kernel(panel, sources, targets);
      for (std::size_t i = 0; i < M; ++i) {
        if (copied[N + i]) {
          move(operand(out[i]), outer, first, width, targets[i].data,
               [](T& v, const T& b) { v = b; });
        }
      }
    }
  });
}

// Sums of exponentials about the largest entry, which is 0 where all are -inf.
template <class T>
struct Sums {
  T shift[kLanes];
  double sum[kLanes];
};

// With kStore the exponentials go to `to`.
template <bool kStore, class T>
void sum_exp(const Panel& panel, Steps<const T> x, Steps<T> to, Sums<T>& sums) {
  T largest[kLanes];
  std::fill_n(largest, kLanes, -kInfinity<T>);
  // A NaN is passed over here and makes the sum NaN.
  panel.each([&](index_t s, auto lanes) {
    const T* const v = x[s];
#pragma omp simd
    for (index_t l = 0; l < lanes; ++l) largest[l] = v[l] > largest[l] ? v[l] : largest[l];
  });
  panel.combine(largest, [](T a, T b) { return a > b ? a : b; });
  for (index_t l = 0; l < kLanes; ++l) {
    sums.shift[l] = largest[l] == -kInfinity<T> ? T{0} : largest[l];
  }
  double sum[kLanes] = {};
  T shift[kLanes];
  std::copy_n(sums.shift, kLanes, shift);
  panel.each([&](index_t s, auto lanes) {
    const T* const v = x[s];
    T* const e = kStore ? to[s] : nullptr;
#pragma omp simd
    for (index_t l = 0; l < lanes; ++l) {
      const T power = kernelmill::exp(v[l] - shift[l]);
      sum[l] += static_cast<double>(power);
      if constexpr (kStore) e[l] = power;
    }
  });
  panel.combine(sum, [](double a, double b) { return a + b; });
  std::copy_n(sum, kLanes, sums.sum);
}

template <class T>
void log_sums(const Panel& panel, const Sums<T>& sums, double (&logs)[kLanes]) {
#pragma omp simd
  for (index_t l = 0; l < panel.positions(); ++l) logs[l] = kernelmill::log(sums.sum[l]);
  std::fill(logs + panel.positions(), logs + kLanes, logs[0]);
}

// target[i] is a class or ignored, for all positions.
void check_targets(const char* op, std::span<const index_t> target, index_t classes,
                   index_t ignore_index) {
  for (const index_t t : target) {
    if (t != ignore_index && (t < 0 || t >= classes)) {
      invalid(op, "target must be in [0, ", classes, ") or ", ignore_index, " (ignore_index), got ",
              t);
    }
  }
}

// The factors of the loss (1 - s) w_t q_t + s / c sum_j w_j q_j.
template <class T>
struct Weights {
  Weights(std::span<const T> weight, index_t classes, double smoothing)
      : own(weight), each(smoothing / static_cast<double>(std::max<index_t>(1, classes))) {
    for (const T w : weight) total += static_cast<double>(w);
    if (weight.empty()) total = static_cast<double>(classes);
  }
  double of(index_t j) const { return own.empty() ? 1.0 : static_cast<double>(own[j]); }

  std::span<const T> own;
  double each, total = 0;
};

}  // namespace

template <class T>
void softmax(CubeView<const T> x, CubeView<T> y) {
  each_panel<T, 1, 1>({x}, {y}, [](const Panel& panel, const auto& in, const auto& out) {
    Sums<T> sums;
    const Steps<T> to = out[0];
    sum_exp<true>(panel, in[0], to, sums);
    T scale[kLanes];
    for (index_t l = 0; l < kLanes; ++l) {
      scale[l] = static_cast<T>(sums.sum[l] == 0 ? 0.0 : 1 / sums.sum[l]);
    }
    panel.each([&](index_t s, auto lanes) {
      T* const v = to[s];
#pragma omp simd
      for (index_t l = 0; l < lanes; ++l) v[l] *= scale[l];
    });
  });
}

template <class T>
void log_softmax(CubeView<const T> x, CubeView<T> y) {
  each_panel<T, 1, 1>({x}, {y}, [](const Panel& panel, const auto& in, const auto& out) {
    Sums<T> sums;
    sum_exp<false, T>(panel, in[0], {}, sums);
    double logs[kLanes];
    log_sums(panel, sums, logs);
    T log_sum[kLanes];
    for (index_t l = 0; l < kLanes; ++l) {
      // -inf - 0 is -inf where all entries are.
      log_sum[l] = sums.sum[l] == 0 ? T{0} : static_cast<T>(logs[l]);
    }
    const Steps<const T> from = in[0];
    const Steps<T> to = out[0];
    panel.each([&](index_t s, auto lanes) {
      const T* const v = from[s];
      T* const w = to[s];
#pragma omp simd
      for (index_t l = 0; l < lanes; ++l) w[l] = (v[l] - sums.shift[l]) - log_sum[l];
    });
  });
}

template <class T>
void softmax_backward(CubeView<const T> dout, CubeView<const T> y, CubeView<T> dx) {
  each_panel<T, 2, 1>({dout, y}, {dx}, [](const Panel& panel, const auto& in, const auto& out) {
    double sum[kLanes] = {};
    panel.each([&](index_t s, auto lanes) {
      const T *const d = in[0][s], *const p = in[1][s];
#pragma omp simd
      for (index_t l = 0; l < lanes; ++l) {
        sum[l] += static_cast<double>(d[l]) * static_cast<double>(p[l]);
      }
    });
    panel.combine(sum, [](double a, double b) { return a + b; });
    T mean[kLanes];
    for (index_t l = 0; l < kLanes; ++l) mean[l] = static_cast<T>(sum[l]);
    panel.each([&](index_t s, auto lanes) {
      const T *const d = in[0][s], *const p = in[1][s];
      T* const to = out[0][s];
#pragma omp simd
      for (index_t l = 0; l < lanes; ++l) to[l] = p[l] * (d[l] - mean[l]);
    });
  });
}

template <class T>
void log_softmax_backward(CubeView<const T> dout, CubeView<const T> y, CubeView<T> dx) {
  each_panel<T, 2, 1>({dout, y}, {dx}, [](const Panel& panel, const auto& in, const auto& out) {
    double sum[kLanes] = {};
    panel.each([&](index_t s, auto lanes) {
      const T* const d = in[0][s];
#pragma omp simd
      for (index_t l = 0; l < lanes; ++l) sum[l] += static_cast<double>(d[l]);
    });
    panel.combine(sum, [](double a, double b) { return a + b; });
    T total[kLanes];
    for (index_t l = 0; l < kLanes; ++l) total[l] = static_cast<T>(sum[l]);
    panel.each([&](index_t s, auto lanes) {
      const T *const d = in[0][s], *const q = in[1][s];
      T* const to = out[0][s];
#pragma omp simd
      for (index_t l = 0; l < lanes; ++l) to[l] = d[l] - kernelmill::exp(q[l]) * total[l];
    });
  });
}

template <class T>
double cross_entropy(CubeView<const T> logits, std::span<const index_t> target,
                     std::span<const T> weight, index_t ignore_index, double label_smoothing,
                     std::span<T> losses, std::span<double> lse) {
  const index_t classes = logits.shape[1];
  check_targets("softmax.cross_entropy", target, classes, ignore_index);
  const Weights<T> weights(weight, classes, label_smoothing);
  if (classes == 0) {  // then all are ignored
    std::fill(losses.begin(), losses.end(), T{0});
    std::fill(lse.begin(), lse.end(), -kInfinity<double>);
  }
  each_panel<T, 1, 0>({logits}, {}, [&](const Panel& panel, const auto& in, const auto&) {
    Sums<T> sums;
    const Steps<const T> x = in[0];
    sum_exp<false, T>(panel, x, {}, sums);
    double spread[kLanes] = {};  // sum_j w_j (x_j - shift)
    if (label_smoothing != 0) {
      panel.each([&](index_t s, auto lanes) {
        for (index_t l = 0; l < lanes; ++l) {
          const double w = weights.of(panel.at(s, l));
          if (w != 0) spread[l] += w * static_cast<double>(x[s][l] - sums.shift[l]);
        }
      });
      panel.combine(spread, [](double a, double b) { return a + b; });
    }
    double logs[kLanes];
    log_sums(panel, sums, logs);
    for (index_t l = 0; l < panel.positions(); ++l) {
      const auto i = static_cast<std::size_t>(panel.position + l);
      const double log_sum = logs[l];
      lse[i] = static_cast<double>(sums.shift[l]) + log_sum;
      const index_t t = target[i];
      losses[i] = T{0};
      if (t == ignore_index) continue;
      const double w = weights.of(t);
      const T own = panel.row ? x[0][t] : x[t][l];
      const bool none = sums.sum[l] == 0;  // no class has any mass
      double loss = 0;
      if (w != 0) {
        const double q =
            none ? kInfinity<double> : log_sum - static_cast<double>(own - sums.shift[l]);
        loss = (1 - label_smoothing) * w * q;
      }
      if (label_smoothing != 0) {
        loss += weights.each * (none ? kInfinity<double> : weights.total * log_sum - spread[l]);
      }
      losses[i] = static_cast<T>(loss);
    }
  });
  double total = 0;
  for (const index_t t : target) total += t == ignore_index ? 0.0 : weights.of(t);
  return total;
}

template <class T>
void cross_entropy_backward(std::span<const T> dout, CubeView<const T> logits,
                            std::span<const double> lse, std::span<const index_t> target,
                            std::span<const T> weight, index_t ignore_index, double label_smoothing,
                            CubeView<T> dlogits) {
  const index_t classes = logits.shape[1];
  check_targets("softmax.cross_entropy_backward", target, classes, ignore_index);
  const Weights<T> weights(weight, classes, label_smoothing);
  each_panel<T, 1, 1>(
      {logits}, {dlogits}, [&](const Panel& panel, const auto& in, const auto& out) {
        // The log-sum-exp in two parts: x - high is exact near it, where the softmax is large.
        T high[kLanes] = {}, low[kLanes] = {}, scale[kLanes] = {};
        T flows[kLanes] = {};  // 0 or 1; beside bool the loop over lanes would not vectorise
        for (index_t l = 0; l < panel.positions(); ++l) {
          const auto i = static_cast<std::size_t>(panel.position + l);
          flows[l] = target[i] != ignore_index && dout[i] != T{0};
          if (flows[l] == 0) continue;
          high[l] = lse[i] == -kInfinity<double> ? T{0} : static_cast<T>(lse[i]);
          low[l] = std::fabs(lse[i]) < kInfinity<double>
                       ? static_cast<T>(lse[i] - static_cast<double>(high[l]))
                       : T{0};
          const double a = (1 - label_smoothing) * weights.of(target[i]);
          scale[l] =
              static_cast<T>(static_cast<double>(dout[i]) * (a + weights.each * weights.total));
        }
        if (panel.row) {  // all lanes are of one position
          std::fill_n(high, kLanes, high[0]);
          std::fill_n(low, kLanes, low[0]);
          std::fill_n(scale, kLanes, scale[0]);
          std::fill_n(flows, kLanes, flows[0]);
        }
        panel.each([&](index_t s, auto lanes) {
          const T* const x = in[0][s];
          T* const to = out[0][s];
#pragma omp simd
          for (index_t l = 0; l < lanes; ++l) {
            const T g = scale[l] * kernelmill::exp((x[l] - high[l]) - low[l]);
            to[l] = flows[l] != 0 ? g : T{0};
          }
          if (label_smoothing == 0) return;
          for (index_t l = 0; l < lanes; ++l) {
            if (flows[l] == 0) continue;
            const auto i = static_cast<std::size_t>(panel.position + (panel.row ? 0 : l));
            to[l] -= static_cast<T>(static_cast<double>(dout[i]) * weights.each *
                                    weights.of(panel.at(s, l)));
          }
        });
        for (index_t l = 0; l < panel.positions(); ++l) {
          if (flows[l] == 0) continue;
          const auto i = static_cast<std::size_t>(panel.position + l);
          const index_t t = target[i];
          T& own = panel.row ? out[0][0][t] : out[0][t][l];
          own -=
              static_cast<T>(static_cast<double>(dout[i]) * (1 - label_smoothing) * weights.of(t));
        }
      });
}

#define KERNELMILL_SOFTMAX(T)                                                                \
  template void softmax<T>(CubeView<const T>, CubeView<T>);                                  \
  template void log_softmax<T>(CubeView<const T>, CubeView<T>);                              \
  template void softmax_backward<T>(CubeView<const T>, CubeView<const T>, CubeView<T>);      \
  template void log_softmax_backward<T>(CubeView<const T>, CubeView<const T>, CubeView<T>);  \
  template double cross_entropy<T>(CubeView<const T>, std::span<const index_t>,              \
                                   std::span<const T>, index_t, double, std::span<T>,        \
                                   std::span<double>);                                       \
  template void cross_entropy_backward<T>(std::span<const T>, CubeView<const T>,             \
                                          std::span<const double>, std::span<const index_t>, \
                                          std::span<const T>, index_t, double, CubeView<T>);
KERNELMILL_SOFTMAX(float)
KERNELMILL_SOFTMAX(double)

}  // namespace kernelmill::softmax
