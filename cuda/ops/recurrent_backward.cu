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
  Acc<T>* dh;
  MatrixView<const T> dy;  // null for zeros
  Step at;
  index_t width;
  // False where the row is not in the step: its gradient has arrived.
  __device__ bool take(index_t row, index_t unit, Acc<T> product, Acc<T>& total) const {
    Acc<T>& waiting = dh[row * width + unit];
    total = product + waiting;
    if (row >= at.rows) {
      waiting = total;
      return false;
    }
    waiting = Acc<T>(0);
    if (dy.data != nullptr) {
      total += dy.data[(at.first + row) * dy.row_stride + unit * dy.col_stride];
    }
    return true;
  }
};

// Gradients of the arguments of gates, from the step's first row on; in 16 bits also where the next
// product reads them before they are rounded.
template <class T>
struct Flow {
  T* dgates;
  index_t width;
  Acc<T>* rows;  // null for none
  index_t stride;
  __device__ void put(index_t row, index_t at, Acc<T> value) const {
    dgates[row * width + at] = static_cast<T>(value);
    if constexpr (!kIsWide<T>) rows[row * stride + at] = value;
  }
};

template <class T>
struct ElmanBack {
  static constexpr int kGates = 1;
  using A = Acc<T>;
  Carry<T> carry;
  const T* y;  // from the step's first row on
  Flow<T> flow;
  bool relu;
  __device__ void operator()(index_t row, index_t unit, A product) const {
    A total;
    if (!carry.take(row, unit, product, total)) return;
    const A y_e = y[row * carry.width + unit];
    flow.put(row, unit, relu ? (y_e > A(0) ? total : A(0)) : total * (A(1) - y_e * y_e));
  }
};

// Of a projected state, whose gradient then goes through the projection.
template <class T>
struct Receive {
  static constexpr int kGates = 1;
  Carry<T> carry;
  Acc<T>* totals;
  T* dstates;
  index_t stride;
  __device__ void operator()(index_t row, index_t unit, Acc<T> product) const {
    Acc<T> total;
    if (!carry.take(row, unit, product, total)) return;
    totals[row * stride + unit] = total;
    if (dstates != nullptr) dstates[row * carry.width + unit] = static_cast<T>(total);
  }
};

template <class T>
struct LstmBack {
  static constexpr int kGates = 1;
  using A = Acc<T>;
  Carry<T> carry;
  bool projected;          // then products are the gradients of m
  const T *gates, *cells;  // all below but dc from the step's first row on
  A* dc;
  Flow<T> flow;
  T *dstates, *m;
  index_t u;
  __device__ void operator()(index_t row, index_t unit, A product) const {
    A dm = product;
    if (!projected && !carry.take(row, unit, product, dm)) return;
    const T* const at = gates + row * 4 * u + unit;
    const index_t e = row * u + unit;
    const A i = at[0], f = at[u], g = at[2 * u], o = at[3 * u], before = cells[e];
    const A tanh_c = elementwise::tanh(f * before + i * g);
    const A d = dc[e] + dm * o * (A(1) - tanh_c * tanh_c);
    flow.put(row, unit, d * g * i * (A(1) - i));
    flow.put(row, u + unit, d * before * f * (A(1) - f));
    flow.put(row, 2 * u + unit, d * i * (A(1) - g * g));
    flow.put(row, 3 * u + unit, dm * tanh_c * o * (A(1) - o));
    dc[e] = d * f;
    if (dstates != nullptr && !projected) dstates[e] = static_cast<T>(dm);
    if (m != nullptr) m[e] = static_cast<T>(o * tanh_c);
  }
};

template <class T>
struct GruBack {
  static constexpr int kGates = 1;
  using A = Acc<T>;
  Carry<T> carry;
  const T *gates, *q;
  const T *before, *h0;  // states before the step: of so many sequences, and of the others
  index_t before_rows;
  T *dgates, *dq;
  A* flows;
  index_t stride;
  __device__ void operator()(index_t row, index_t unit, A product) const {
    A total;
    if (!carry.take(row, unit, product, total)) return;
    const index_t u = carry.width, e = row * u + unit;
    const T* const at = gates + 3 * row * u + unit;
    T* const da = dgates + 3 * row * u + unit;
    A* const db = flows + row * stride + unit;
    const A r = at[0], z = at[u], v = at[2 * u];
    const A old = row < before_rows ? before[e] : h0[e];
    const A dv = total * (A(1) - z) * (A(1) - v * v);
    db[0] = dv * q[e] * r * (A(1) - r);
    db[u] = total * (old - v) * z * (A(1) - z);
    db[2 * u] = dv * r;
    da[0] = static_cast<T>(db[0]);
    da[u] = static_cast<T>(db[u]);
    da[2 * u] = static_cast<T>(dv);
    dq[e] = static_cast<T>(db[2 * u]);
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
    : weight(arena.take<Acc<T>>(operand_size<Acc<T>>(1, s.width, s.gates * s.units))),
      projection(arena.take<Acc<T>>(s.projected ? operand_size<Acc<T>>(1, s.units, s.width) : 0)),
      flows{},
      totals(arena.take<Acc<T>>(s.projected ? s.sequences * padded<Acc<T>>(s.width) : 0)),
      dh(arena.take<Acc<T>>(kIsWide<T> ? 0 : s.sequences * s.width)),
      dc(arena.take<Acc<T>>(kIsWide<T> || s.gates != 4 ? 0 : s.sequences * s.units)) {
  if (s.gates != 3 && kIsWide<T>) return;
  for (Acc<T>*& flow : flows) {
    flow = arena.take<Acc<T>>(s.sequences * padded<Acc<T>>(s.gates * s.units));
  }
}

template struct BackwardSpace<float>;
template struct BackwardSpace<double>;
template struct BackwardSpace<Float16>;
template struct BackwardSpace<BFloat16>;

// The transposed weights of all gates.
template <class T>
static void pack_transposed(const Call& call, const Sizes& s, const T* weight, Acc<T>* to) {
  pack_weights(call, Source<T>{weight, 1, s.width, s.gates * s.units, 0, 1, s.width}, to);
}

// The rows of the next product, in turn: those of dgates themselves where they are not rounded.
template <class T>
class Flows {
 public:
  Flows(const Call& call, const Sizes& s, const BackwardSpace<T>& space)
      : flows_(space.flows),
        width_(s.gates * s.units),
        stride_(kIsWide<T> && s.gates != 3 ? width_ : padded<Acc<T>>(width_)) {
    if (flows_[0] == nullptr) return;
    for (int i = 0; i < 2; ++i) {
      zero(call, flows_[i], sizeof(Acc<T>) * static_cast<std::size_t>(s.sequences * stride_));
    }
  }
  // Those of the last step.
  DeviceRows<Acc<T>> last(index_t arrived) const {
    if constexpr (kIsWide<T>) {
      if (flows_[0] == nullptr) return {last_, arrived, stride_, stride_};
    }
    return {flows_[second_], arrived, stride_, stride_};
  }
  // Where those of this step go, which are then the last ones.
  Flow<T> next(T* dgates) {
    second_ = !second_;
    if constexpr (kIsWide<T>) last_ = dgates;
    return {dgates, width_, flows_[second_], stride_};
  }

 private:
  Acc<T>* const* flows_;
  index_t width_, stride_;
  const Acc<T>* last_ = nullptr;
  bool second_ = false;
};

template <class T>
void elman_backward(const Call& call, const Steps& steps, const Sizes& s, const T* y,
                    MatrixView<const T> dy, const T* weight, bool relu, T* dh, T* dgates,
                    const BackwardSpace<T>& space) {
  const index_t u = s.units;
  pack_transposed(call, s, weight, space.weight);
  Acc<T>* const waiting = carried(call, dh, s.sequences * u, space.dh);
  Flows<T> flows(call, s, space);
  each_step_back(steps, [&](const Step& at, const Step&, index_t arrived) {
    const DeviceRows<Acc<T>> last = flows.last(arrived);
    step(call, last, space.weight, std::max(arrived, at.rows), u,
         ElmanBack<T>{
             {waiting, dy, at, u}, y + at.first * u, flows.next(dgates + at.first * u), relu});
  });
  settle(call, waiting, s.sequences * u, dh);
}

template <class T>
void lstm_backward(const Call& call, const Steps& steps, const Sizes& s, const T* gates,
                   const T* cells, MatrixView<const T> dy, const T* weight,
                   MatrixView<const T> projection, const LstmGradients<T>& to,
                   const BackwardSpace<T>& space) {
  using A = Acc<T>;
  const index_t u = s.units, p = s.width, stride = padded<A>(p);
  pack_transposed(call, s, weight, space.weight);
  if (s.projected) {
    pack_weights(
        call, Source<T>{projection.data, 1, u, p, 0, projection.col_stride, projection.row_stride},
        space.projection);
    zero(call, space.totals, sizeof(A) * static_cast<std::size_t>(s.sequences * stride));
  }
  A* const waiting = carried(call, to.dh, s.sequences * p, space.dh);
  A* const dc = carried(call, to.dc, s.sequences * u, space.dc);
  Flows<T> flows(call, s, space);
  each_step_back(steps, [&](const Step& at, const Step&, index_t arrived) {
    const Carry<T> carry{waiting, dy, at, p};
    T* const dstates = to.dstates == nullptr ? nullptr : to.dstates + at.first * p;
    const DeviceRows<A> last = flows.last(arrived);
    const LstmBack<T> cell{carry,
                           s.projected,
                           gates + at.first * 4 * u,
                           cells + at.first * u,
                           dc,
                           flows.next(to.dgates + at.first * 4 * u),
                           dstates,
                           to.m == nullptr ? nullptr : to.m + at.first * u,
                           u};
    const index_t count = std::max(arrived, at.rows);
    if (s.projected) {
      step(call, last, space.weight, count, p, Receive<T>{carry, space.totals, dstates, stride});
      if (at.rows > 0) {
        step(call, DeviceRows<A>{space.totals, at.rows, stride, stride}, space.projection, at.rows,
             u, cell);
      }
    } else {
      step(call, last, space.weight, count, u, cell);
    }
  });
  settle(call, waiting, s.sequences * p, to.dh);
  settle(call, dc, s.sequences * u, to.dc);
}

template <class T>
void gru_backward(const Call& call, const Steps& steps, const Sizes& s, const Gru<T>& from,
                  MatrixView<const T> dy, const T* weight, T* dh, T* dgates, T* dq,
                  const BackwardSpace<T>& space) {
  const index_t u = s.units;
  pack_transposed(call, s, weight, space.weight);
  Acc<T>* const waiting = carried(call, dh, s.sequences * u, space.dh);
  Flows<T> flows(call, s, space);
  each_step_back(steps, [&](const Step& at, const Step& before, index_t arrived) {
    const DeviceRows<Acc<T>> last = flows.last(arrived);
    const Flow<T> next = flows.next(dgates + at.first * 3 * u);
    step(call, last, space.weight, std::max(arrived, at.rows), u,
         GruBack<T>{{waiting, dy, at, u},
                    from.gates + at.first * 3 * u,
                    from.q + at.first * u,
                    from.y + before.first * u,
                    from.h0,
                    before.rows,
                    next.dgates,
                    dq + at.first * u,
                    next.rows,
                    next.stride});
  });
  settle(call, waiting, s.sequences * u, dh);
}

KERNELMILL_FOR_STORED(elman_backward)
KERNELMILL_FOR_STORED(lstm_backward)
KERNELMILL_FOR_STORED(gru_backward)

}  // namespace kernelmill::recurrent
