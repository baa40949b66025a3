// The backward passes. The gradient of the states before a step is a product with the weights,
// whose epilogue is the backward cell of the step before; so there is one kernel a step, and one
// at the end. What reaches a state by another way waits in dh, which is zero after it was used.

#include "ops/elementwise_functions.cuh"  // tanh
#include "ops/recurrent_step.cuh"

namespace kernelmill::recurrent {
namespace {

// The gradient of a state of the step, or where the sequence has none any more, of the first one.
template <class T>
struct Carry {
  T* dh;
  MatrixView<const T> dy;  // null for zeros
  Step at;
  index_t width;
  // False where the row is not in the step: its gradient has arrived.
  __device__ bool take(index_t row, index_t unit, T product, T& total) const {
    T& waiting = dh[row * width + unit];
    total = product + waiting;
    if (row >= at.rows) {
      waiting = total;
      return false;
    }
    waiting = T(0);
    if (dy.data != nullptr) {
      total += dy.data[(at.first + row) * dy.row_stride + unit * dy.col_stride];
    }
    return true;
  }
};

template <class T>
struct ElmanBack {
  static constexpr int kGates = 1;
  Carry<T> carry;
  const T* y;  // this and all below from the step's first row on
  T* dgates;
  bool relu;
  __device__ void operator()(index_t row, index_t unit, T product) const {
    T total;
    if (!carry.take(row, unit, product, total)) return;
    const index_t e = row * carry.width + unit;
    dgates[e] = relu ? (y[e] > T(0) ? total : T(0)) : total * (T(1) - y[e] * y[e]);
  }
};

// Of a projected state, whose gradient then goes through the projection.
template <class T>
struct Receive {
  static constexpr int kGates = 1;
  Carry<T> carry;
  T *totals, *dstates;
  index_t stride;
  __device__ void operator()(index_t row, index_t unit, T product) const {
    T total;
    if (!carry.take(row, unit, product, total)) return;
    totals[row * stride + unit] = total;
    if (dstates != nullptr) dstates[row * carry.width + unit] = total;
  }
};

template <class T>
struct LstmBack {
  static constexpr int kGates = 1;
  Carry<T> carry;
  bool projected;  // then products are the gradients of m
  const T *gates, *cells;
  T *dc, *dgates, *dstates, *m;
  index_t u;
  __device__ void operator()(index_t row, index_t unit, T product) const {
    T dm = product;
    if (!projected && !carry.take(row, unit, product, dm)) return;
    const T* const at = gates + row * 4 * u + unit;
    T* const da = dgates + row * 4 * u + unit;
    const index_t e = row * u + unit;
    const T i = at[0], f = at[u], g = at[2 * u], o = at[3 * u], before = cells[e];
    const T tanh_c = elementwise::tanh(f * before + i * g);
    const T d = dc[e] + dm * o * (T(1) - tanh_c * tanh_c);
    da[0] = d * g * i * (T(1) - i);
    da[u] = d * before * f * (T(1) - f);
    da[2 * u] = d * i * (T(1) - g * g);
    da[3 * u] = dm * tanh_c * o * (T(1) - o);
    dc[e] = d * f;
    if (dstates != nullptr && !projected) dstates[e] = dm;
    if (m != nullptr) m[e] = o * tanh_c;
  }
};

template <class T>
struct GruBack {
  static constexpr int kGates = 1;
  Carry<T> carry;
  const T *gates, *q;
  const T *before, *h0;  // states before the step: of so many sequences, and of the others
  index_t before_rows;
  T *dgates, *dq, *flows;
  index_t stride;
  __device__ void operator()(index_t row, index_t unit, T product) const {
    T total;
    if (!carry.take(row, unit, product, total)) return;
    const index_t u = carry.width, e = row * u + unit;
    const T* const at = gates + 3 * row * u + unit;
    T *const da = dgates + 3 * row * u + unit, *const db = flows + row * stride + unit;
    const T r = at[0], z = at[u], v = at[2 * u];
    const T old = row < before_rows ? before[e] : h0[e];
    const T dv = total * (T(1) - z) * (T(1) - v * v);
    da[2 * u] = dv;
    da[0] = db[0] = dv * q[e] * r * (T(1) - r);
    da[u] = db[u] = total * (old - v) * z * (T(1) - z);
    dq[e] = db[2 * u] = dv * r;
    carry.dh[e] = total * z;
  }
};

// run(step, the step before it in the forward pass, rows that the products came from) for all steps
// from the last to the first, and once more without one.
template <class Run>
void each_step_back(const Steps& steps, Run run) {
  index_t arrived = 0;
  for (auto s = steps.size(); s-- > 0;) {
    run(steps[s], s > 0 ? steps[s - 1] : Step{}, arrived);
    arrived = steps[s].rows;
  }
  if (arrived > 0) run(Step{}, Step{}, arrived);
}

}  // namespace

template <class T>
BackwardSpace<T>::BackwardSpace(Arena& arena, const Sizes& s)
    : weight(arena.take<T>(operand_size<T>(1, s.width, s.gates * s.units))),
      projection(arena.take<T>(s.projected ? operand_size<T>(1, s.units, s.width) : 0)),
      flows{},
      totals(arena.take<T>(s.projected ? s.sequences * padded<T>(s.width) : 0)) {
  if (s.gates == 3) {
    for (T*& flow : flows) flow = arena.take<T>(s.sequences * padded<T>(3 * s.units));
  }
}

template struct BackwardSpace<float>;
template struct BackwardSpace<double>;

// The transposed weights of all gates.
template <class T>
static void pack_transposed(const Call& call, const Sizes& s, const T* weight, T* to) {
  pack_weights(call, Source<T>{weight, 1, s.width, s.gates * s.units, 0, 1, s.width}, to);
}

template <class T>
void elman_backward(const Call& call, const Steps& steps, const Sizes& s, const T* y,
                    MatrixView<const T> dy, const T* weight, bool relu, T* dh, T* dgates,
                    const BackwardSpace<T>& space) {
  const index_t u = s.units;
  pack_transposed(call, s, weight, space.weight);
  const T* last = dgates;
  each_step_back(steps, [&](const Step& at, const Step&, index_t arrived) {
    T* const now = dgates + at.first * u;
    step(call, DeviceRows<T>{last, arrived, u, u}, space.weight, std::max(arrived, at.rows), u,
         ElmanBack<T>{{dh, dy, at, u}, y + at.first * u, now, relu});
    last = now;
  });
}

template <class T>
void lstm_backward(const Call& call, const Steps& steps, const Sizes& s, const T* gates,
                   const T* cells, MatrixView<const T> dy, const T* weight,
                   MatrixView<const T> projection, const LstmGradients<T>& to,
                   const BackwardSpace<T>& space) {
  const index_t u = s.units, p = s.width, stride = padded<T>(p);
  pack_transposed(call, s, weight, space.weight);
  if (s.projected) {
    pack_weights(
        call, Source<T>{projection.data, 1, u, p, 0, projection.col_stride, projection.row_stride},
        space.projection);
    zero(call, space.totals, sizeof(T) * static_cast<std::size_t>(s.sequences * stride));
  }
  const T* last = to.dgates;
  each_step_back(steps, [&](const Step& at, const Step&, index_t arrived) {
    const Carry<T> carry{to.dh, dy, at, p};
    T* const now = to.dgates + at.first * 4 * u;
    T* const dstates = to.dstates == nullptr ? nullptr : to.dstates + at.first * p;
    const LstmBack<T> cell{carry,
                           s.projected,
                           gates + at.first * 4 * u,
                           cells + at.first * u,
                           to.dc,
                           now,
                           dstates,
                           to.m == nullptr ? nullptr : to.m + at.first * u,
                           u};
    const DeviceRows<T> flows{last, arrived, 4 * u, 4 * u};
    const index_t count = std::max(arrived, at.rows);
    if (s.projected) {
      step(call, flows, space.weight, count, p, Receive<T>{carry, space.totals, dstates, stride});
      if (at.rows > 0) {
        step(call, DeviceRows<T>{space.totals, at.rows, stride, stride}, space.projection, at.rows,
             u, cell);
      }
    } else {
      step(call, flows, space.weight, count, u, cell);
    }
    last = now;
  });
}

template <class T>
void gru_backward(const Call& call, const Steps& steps, const Sizes& s, const Gru<T>& from,
                  MatrixView<const T> dy, const T* weight, T* dh, T* dgates, T* dq,
                  const BackwardSpace<T>& space) {
  const index_t u = s.units, stride = padded<T>(3 * u);
  pack_transposed(call, s, weight, space.weight);
  for (T* flows : space.flows) {
    zero(call, flows, sizeof(T) * static_cast<std::size_t>(s.sequences * stride));
  }
  bool second = false;
  each_step_back(steps, [&](const Step& at, const Step& before, index_t arrived) {
    const DeviceRows<T> last{space.flows[second], arrived, stride, stride};
    second = !second;
    step(call, last, space.weight, std::max(arrived, at.rows), u,
         GruBack<T>{{dh, dy, at, u},
                    from.gates + at.first * 3 * u,
                    from.q + at.first * u,
                    from.y + before.first * u,
                    from.h0,
                    before.rows,
                    dgates + at.first * 3 * u,
                    dq + at.first * u,
                    space.flows[second],
                    stride});
  });
}

KERNELMILL_FOR_FLOATS(elman_backward)
KERNELMILL_FOR_FLOATS(lstm_backward)
KERNELMILL_FOR_FLOATS(gru_backward)

}  // namespace kernelmill::recurrent
