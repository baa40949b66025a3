// The forward passes. States are kept twice, since the blocks of a step read all of the last one.

#include "ops/elementwise_functions.cuh"  // logistic, tanh
#include "ops/recurrent_step.cuh"

namespace kernelmill::recurrent {
namespace {

using elementwise::logistic;

template <class T>
__device__ Acc<T> or_zero(const T* bias, index_t at) {
  return bias == nullptr ? Acc<T>(0) : wide(bias[at]);
}

// Where the state after a step goes.
template <class T>
struct States {
  T *y, *h;  // y from the step's first row on
  Acc<T>* next;
  index_t width, stride;
  __device__ void put(index_t row, index_t unit, Acc<T> value) const {
    y[row * width + unit] = h[row * width + unit] = static_cast<T>(value);
    next[row * stride + unit] = value;
  }
};

template <class T>
struct Elman {
  static constexpr int kGates = 1;
  States<T> to;
  const T* bias;
  bool relu;
  __device__ void operator()(index_t row, index_t unit, Acc<T> product) const {
    const Acc<T> a = to.y[row * to.width + unit] + (product + or_zero(bias, unit));
    to.put(row, unit, relu ? (a < Acc<T>(0) ? Acc<T>(0) : a) : elementwise::tanh(a));
  }
};

template <class T>
struct LstmCell {
  static constexpr int kGates = 4;
  using A = Acc<T>;
  States<T> to;
  A* hidden;  // null without a projection
  index_t hidden_stride;
  const T* bias;
  T* gates;  // this and cells from the step's first row on
  A* c;
  T* cells;
  index_t u;
  __device__ void operator()(index_t row, index_t unit, const A (&products)[kGates]) const {
    T* const at = gates + row * kGates * u + unit;
    A a[kGates];
#pragma unroll
    for (int k = 0; k < kGates; ++k) a[k] = at[k * u] + (products[k] + or_zero(bias, k * u + unit));
    const A i = logistic(a[0]), f = logistic(a[1]), g = elementwise::tanh(a[2]), o = logistic(a[3]);
    at[0] = static_cast<T>(i);
    at[u] = static_cast<T>(f);
    at[2 * u] = static_cast<T>(g);
    at[3 * u] = static_cast<T>(o);
    const A old = c[row * u + unit], cell = f * old + i * g, m = o * elementwise::tanh(cell);
    cells[row * u + unit] = static_cast<T>(old);
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
  __device__ void operator()(index_t row, index_t unit, Acc<T> product) const {
    to.put(row, unit, product);
  }
};

template <class T>
struct GruCell {
  static constexpr int kGates = 3;
  using A = Acc<T>;
  States<T> to;
  const T* bias;
  const A* now;
  T *gates, *q;  // from the step's first row on
  __device__ void operator()(index_t row, index_t unit, const A (&products)[kGates]) const {
    const index_t u = to.width;
    T* const at = gates + row * kGates * u + unit;
    A b[kGates];
#pragma unroll
    for (int k = 0; k < kGates; ++k) b[k] = products[k] + or_zero(bias, k * u + unit);
    const A r = logistic(at[0] + b[0]), z = logistic(at[u] + b[1]);
    const A v = elementwise::tanh(at[2 * u] + r * b[2]);
    at[0] = static_cast<T>(r);
    at[u] = static_cast<T>(z);
    at[2 * u] = static_cast<T>(v);
    q[row * u + unit] = static_cast<T>(b[2]);
    to.put(row, unit, v + z * (now[row * to.stride + unit] - v));
  }
};

// run(step, states of this step as the operand of a product, where the next ones go)
template <class T, class Run>
void each_step(const Call& call, const Steps& steps, const Sizes& s, T* y, T* h,
               const ForwardSpace<T>& space, Run run) {
  const index_t p = s.width, stride = padded<Acc<T>>(p);
  for (Acc<T>* copy : space.states)
    pack(call, Source<T>{h, 1, s.sequences, p, 0, p, 1}, s.sequences, copy);
  bool second = false;
  for (const Step& at : steps) {
    const DeviceRows<Acc<T>> now{space.states[second], at.rows, stride, stride};
    second = !second;
    run(at, now, States<T>{y + at.first * p, h, space.states[second], p, stride});
  }
}

}  // namespace

template <class T>
ForwardSpace<T>::ForwardSpace(Arena& arena, const Sizes& s)
    : weight(arena.take<Acc<T>>(operand_size<Acc<T>>(s.gates, s.units, s.width))),
      projection(arena.take<Acc<T>>(s.projected ? operand_size<Acc<T>>(1, s.width, s.units) : 0)),
      states{arena.take<Acc<T>>(s.sequences * padded<Acc<T>>(s.width)),
             arena.take<Acc<T>>(s.sequences * padded<Acc<T>>(s.width))},
      hidden(arena.take<Acc<T>>(s.projected ? s.sequences * padded<Acc<T>>(s.units) : 0)),
      c(arena.take<Acc<T>>(kIsWide<T> || s.gates != 4 ? 0 : s.sequences * s.units)) {}

template struct ForwardSpace<float>;
template struct ForwardSpace<double>;
template struct ForwardSpace<Float16>;
template struct ForwardSpace<BFloat16>;

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
  using A = Acc<T>;
  const index_t u = s.units, p = s.width, hidden_stride = padded<A>(u);
  A* const hidden = s.projected ? space.hidden : nullptr;
  A* const c = carried(call, to.c, s.sequences * u, space.c);
  pack_weights(call, Source<T>{weight, 4, u, p, u * p, p, 1}, space.weight);
  if (s.projected) {
    pack_weights(
        call, Source<T>{projection.data, 1, p, u, 0, projection.row_stride, projection.col_stride},
        space.projection);
    zero(call, hidden, sizeof(A) * static_cast<std::size_t>(s.sequences * hidden_stride));
  }
  each_step(call, steps, s, to.y, to.h, space,
            [&](const Step& at, const auto& now, const auto& states) {
              const LstmCell<T> cell{states,
                                     hidden,
                                     hidden_stride,
                                     bias,
                                     to.gates + at.first * 4 * u,
                                     c,
                                     to.cells + at.first * u,
                                     u};
              step(call, now, space.weight, at.rows, u, cell);
              if (!s.projected) return;
              const DeviceRows<A> rows{hidden, at.rows, hidden_stride, hidden_stride};
              step(call, rows, space.projection, at.rows, p, Store<T>{states});
            });
  settle(call, c, s.sequences * u, to.c);
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

KERNELMILL_FOR_STORED(elman_forward)
KERNELMILL_FOR_STORED(lstm_forward)
KERNELMILL_FOR_STORED(gru_forward)

}  // namespace kernelmill::recurrent
