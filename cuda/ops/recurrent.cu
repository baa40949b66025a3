// The forward passes. States are kept twice, since the blocks of a step read all of the last one.

#include "ops/elementwise_functions.cuh"  // logistic, tanh
#include "ops/recurrent_step.cuh"

namespace kernelmill::recurrent {
namespace {

using elementwise::logistic;

template <class T>
__device__ T or_zero(const T* bias, index_t at) {
  return bias == nullptr ? T(0) : bias[at];
}

// Where the state after a step goes.
template <class T>
struct States {
  T *y, *h, *next;  // y from the step's first row on
  index_t width, stride;
  __device__ void put(index_t row, index_t unit, T value) const {
    y[row * width + unit] = h[row * width + unit] = next[row * stride + unit] = value;
  }
};

template <class T>
struct Elman {
  static constexpr int kGates = 1;
  States<T> to;
  const T* bias;
  bool relu;
  __device__ void operator()(index_t row, index_t unit, T product) const {
    const T a = to.y[row * to.width + unit] + (product + or_zero(bias, unit));
    to.put(row, unit, relu ? (a < T(0) ? T(0) : a) : elementwise::tanh(a));
  }
};

template <class T>
struct LstmCell {
  static constexpr int kGates = 4;
  States<T> to;
  T* hidden;  // null without a projection
  index_t hidden_stride;
  const T* bias;
  T *gates, *c, *cells;  // gates and cells from the step's first row on
  index_t u;
  __device__ void operator()(index_t row, index_t unit, const T (&products)[kGates]) const {
    T* const at = gates + row * kGates * u + unit;
    T a[kGates];
#pragma unroll
    for (int k = 0; k < kGates; ++k) a[k] = at[k * u] + (products[k] + or_zero(bias, k * u + unit));
    const T i = logistic(a[0]), f = logistic(a[1]), g = elementwise::tanh(a[2]), o = logistic(a[3]);
    at[0] = i;
    at[u] = f;
    at[2 * u] = g;
    at[3 * u] = o;
    const T old = c[row * u + unit], cell = f * old + i * g, m = o * elementwise::tanh(cell);
    cells[row * u + unit] = old;
    c[row * u + unit] = cell;
    if (hidden == nullptr) {
      to.put(row, unit, m);
    } else {
      hidden[row * hidden_stride + unit] = m;
    }
  }
};

// The projection of an LSTM.
template <class T>
struct Store {
  static constexpr int kGates = 1;
  States<T> to;
  __device__ void operator()(index_t row, index_t unit, T product) const {
    to.put(row, unit, product);
  }
};

template <class T>
struct GruCell {
  static constexpr int kGates = 3;
  States<T> to;
  const T *bias, *now;
  T *gates, *q;  // from the step's first row on
  __device__ void operator()(index_t row, index_t unit, const T (&products)[kGates]) const {
    const index_t u = to.width;
    T* const at = gates + row * kGates * u + unit;
    T b[kGates];
#pragma unroll
    for (int k = 0; k < kGates; ++k) b[k] = products[k] + or_zero(bias, k * u + unit);
    const T r = logistic(at[0] + b[0]), z = logistic(at[u] + b[1]);
    const T v = elementwise::tanh(at[2 * u] + r * b[2]);
    at[0] = r;
    at[u] = z;
    at[2 * u] = v;
    q[row * u + unit] = b[2];
    to.put(row, unit, v + z * (now[row * to.stride + unit] - v));
  }
};

// run(step, states of this step as the operand of a product, where the next ones go)
template <class T, class Run>
void each_step(const Call& call, const Steps& steps, const Sizes& s, T* y, T* h,
               const ForwardSpace<T>& space, Run run) {
  const index_t p = s.width, stride = padded<T>(p);
  for (T* copy : space.states)
    pack(call, Source<T>{h, 1, s.sequences, p, 0, p, 1}, s.sequences, copy);
  bool second = false;
  for (const Step& at : steps) {
    const DeviceRows<T> now{space.states[second], at.rows, stride, stride};
    second = !second;
    run(at, now, States<T>{y + at.first * p, h, space.states[second], p, stride});
  }
}

}  // namespace

template <class T>
ForwardSpace<T>::ForwardSpace(Arena& arena, const Sizes& s)
    : weight(arena.take<T>(operand_size<T>(s.gates, s.units, s.width))),
      projection(arena.take<T>(s.projected ? operand_size<T>(1, s.width, s.units) : 0)),
      states{arena.take<T>(s.sequences * padded<T>(s.width)),
             arena.take<T>(s.sequences * padded<T>(s.width))},
      hidden(arena.take<T>(s.projected ? s.sequences * padded<T>(s.units) : 0)) {}

template struct ForwardSpace<float>;
template struct ForwardSpace<double>;

template <class T>
void elman_forward(const Call& call, const Steps& steps, const Sizes& s, const T* weight,
                   const T* bias, bool relu, T* y, T* h, const ForwardSpace<T>& space) {
  const index_t u = s.units;
  pack_weights(call, Source<T>{weight, 1, u, u, 0, u, 1}, space.weight);
  each_step(call, steps, s, y, h, space, [&](const Step& at, const auto& now, const auto& to) {
    step(call, now, space.weight, at.rows, u, Elman<T>{to, bias, relu});
  });
}

template <class T>
void lstm_forward(const Call& call, const Steps& steps, const Sizes& s, const T* weight,
                  const T* bias, MatrixView<const T> projection, const Lstm<T>& to,
                  const ForwardSpace<T>& space) {
  const index_t u = s.units, p = s.width, hidden_stride = padded<T>(u);
  T* const hidden = s.projected ? space.hidden : nullptr;
  pack_weights(call, Source<T>{weight, 4, u, p, u * p, p, 1}, space.weight);
  if (s.projected) {
    pack_weights(
        call, Source<T>{projection.data, 1, p, u, 0, projection.row_stride, projection.col_stride},
        space.projection);
    zero(call, hidden, sizeof(T) * static_cast<std::size_t>(s.sequences * hidden_stride));
  }
  each_step(call, steps, s, to.y, to.h, space,
            [&](const Step& at, const auto& now, const auto& states) {
              const LstmCell<T> cell{states,
                                     hidden,
                                     hidden_stride,
                                     bias,
                                     to.gates + at.first * 4 * u,
                                     to.c,
                                     to.cells + at.first * u,
                                     u};
              step(call, now, space.weight, at.rows, u, cell);
              if (!s.projected) return;
              const DeviceRows<T> rows{hidden, at.rows, hidden_stride, hidden_stride};
              step(call, rows, space.projection, at.rows, p, Store<T>{states});
            });
}

template <class T>
void gru_forward(const Call& call, const Steps& steps, const Sizes& s, const T* weight,
                 const T* bias, T* gates, T* h, T* y, T* q, const ForwardSpace<T>& space) {
  const index_t u = s.units;
  pack_weights(call, Source<T>{weight, 3, u, u, u * u, u, 1}, space.weight);
  each_step(call, steps, s, y, h, space, [&](const Step& at, const auto& now, const auto& to) {
    step(call, now, space.weight, at.rows, u,
         GruCell<T>{to, bias, now.data, gates + at.first * 3 * u, q + at.first * u});
  });
}

KERNELMILL_FOR_FLOATS(elman_forward)
KERNELMILL_FOR_FLOATS(lstm_forward)
KERNELMILL_FOR_FLOATS(gru_forward)

}  // namespace kernelmill::recurrent
