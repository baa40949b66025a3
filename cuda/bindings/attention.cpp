#include "ops/attention.cuh"

#include <algorithm>  // std::clamp, std::max
#include <atomic>     // std::atomic

#include "bindings/device.hpp"
#include "core/error.hpp"   // invalid
#include "core/random.hpp"  // least_kept

namespace kernelmill {

namespace {

using attention::BackwardSpace;
using attention::Inputs;
using attention::Results;
using attention::View;

template <class T>
using Features = AdjacentView<const T, 4>;

// Axes of size 1 repeat.
template <class T>
View<T> repeating(View<T> x) {
  for (std::size_t a = 0; a < 4; ++a) {
    if (x.shape[a] == 1) x.strides[a] = 0;
  }
  return x;
}

template <class T>
Inputs<T> inputs(const Call& call, View<const T> q, View<const T> k, View<const T> v,
                 View<const T> bias, View<const bool> mask, const Acc<T>* slopes, bool causal,
                 index_t window, index_t offset, double scale, double p, std::uint64_t seed,
                 std::uint64_t stream) {
  const index_t h = q.shape[2], g = k.shape[2];
  if (h != 0 && (g == 0 || h % g != 0)) {
    invalid(call.op, "the heads of q must be a multiple of those of k and v, got ", h, " and ", g);
  }
  if (!(p >= 0 && p <= 1)) invalid(call.op, "p must be in [0, 1], got ", p);
  constexpr index_t far = index_t{1} << 40;  // so that places do not overflow
  return {q,
          k,
          v,
          repeating(bias),
          repeating(mask),
          slopes,
          causal,
          std::min(window, far),
          std::clamp(offset, -far, far),
          static_cast<Acc<T>>(scale),
          p > 0 ? least_kept(p) : 0.0F,
          p < 1 ? static_cast<Acc<T>>(1 / (1 - p)) : Acc<T>{0},
          seed,
          stream};
}

// --- which kernels ------------------------------------------------------------------------------

// Whether products of float32 may be read as tf32: `allow_tf32` of this module.
std::atomic<bool> tf32_allowed{false};

template <class T>
bool on_tensor_cores(index_t e, index_t f) {
  if (sizeof(T) == 8 || (sizeof(T) == 4 && !tf32_allowed)) return false;
  return std::max(e, f) <= attention::kMostFeatures<T>;
}

struct Floats {
  Floats(Arena& arena, index_t count) : data(arena.take<float>(count)) {}
  float* data;
};

// Numbers of 16 bits for kernels of float32, which take many features: as dense copies.
class Widening {
 public:
  Widening(const Call& call, Scratch* scratch) : call_(call), scratch_(scratch) {}

  // As x, with memory of its own; null where x is.
  template <class T>
  View<float> room(const View<T>& x) {
    View<float> dense{nullptr, x.shape, {}};
    if (x.data == nullptr) return dense;
    index_t count = 1;
    for (std::size_t a = 4; a-- > 0; count *= x.shape[a]) dense.strides[a] = count;
    dense.data = scratch_->make<Floats>(count).data;
    return dense;
  }
  template <class T>
  View<const float> operator()(const View<const T>& x) {
    const View<float> dense = room(x);
    if (dense.data != nullptr) attention::convert<T, float>(call_, x, dense);
    return dense;
  }
  template <class T>
  Inputs<float> operator()(const Inputs<T>& in) {
    return {(*this)(in.q), (*this)(in.k), (*this)(in.v), repeating((*this)(in.bias)),
            in.mask,       in.slopes,     in.causal,     in.window,
            in.offset,     in.scale,      in.least,      in.factor,
            in.seed,       in.stream};
  }

 private:
  const Call& call_;
  Scratch* scratch_;
};

template <class T>
const BackwardSpace<T>& space(Scratch* scratch, const View<const T>& dout) {
  return scratch->make<BackwardSpace<T>>(dout.shape[0] * dout.shape[1] * dout.shape[2]);
}

template <class T>
void forward_of(const Call& call, Scratch* scratch, const Inputs<T>& in, View<T> out, Acc<T>* lse) {
  if constexpr (sizeof(T) <= 4) {
    if (on_tensor_cores<T>(in.q.shape[3], out.shape[3]) && in.q.shape[1] > attention::kFew) {
      return attention::tensor_forward<T>(call, in, out, lse);
    }
  }
  if constexpr (sizeof(T) >= 4) {
    attention::forward<T>(call, in, out, lse);
  } else if (in.q.shape[1] <= attention::kFew) {
    if (out.shape[0] * out.shape[1] * out.shape[2] > 0) {
      attention::forward_few<T>(call, in, out, lse);
    }
  } else {
    Widening widen(call, scratch);
    const View<float> wide = widen.room(out);
    attention::forward<float>(call, widen(in), wide, lse);
    attention::convert<float, T>(call, wide, out);
  }
}

template <class T>
void backward_of(const Call& call, Scratch* scratch, const Inputs<T>& in, const Results<T>& results,
                 View<T> dq, View<T> dk, View<T> dv) {
  if constexpr (sizeof(T) <= 4) {
    if (on_tensor_cores<T>(dq.shape[3], dv.shape[3])) {
      return attention::tensor_backward<T>(call, in, results, dq, dk, dv,
                                           space(scratch, results.dout));
    }
  }
  if constexpr (sizeof(T) >= 4) {
    attention::backward<T>(call, in, results, dq, dk, dv, space(scratch, results.dout));
  } else {
    Widening widen(call, scratch);
    const Results<float> wide{widen(results.dout), widen(results.out), results.lse};
    const View<float> to[] = {widen.room(dq), widen.room(dk), widen.room(dv)};
    attention::backward<float>(call, widen(in), wide, to[0], to[1], to[2],
                               space(scratch, wide.dout));
    attention::convert<float, T>(call, to[0], dq);
    attention::convert<float, T>(call, to[1], dk);
    attention::convert<float, T>(call, to[2], dv);
  }
}

template <class T>
void bias_backward_of(const Call& call, Scratch* scratch, const Inputs<T>& in,
                      const Results<T>& results, View<T> dbias) {
  if constexpr (sizeof(T) >= 4) {
    attention::bias_backward<T>(call, in, results, dbias, space(scratch, results.dout));
  } else {
    Widening widen(call, scratch);
    const Results<float> wide{widen(results.dout), widen(results.out), results.lse};
    const View<float> to = widen.room(dbias);
    attention::bias_backward<float>(call, widen(in), wide, to, space(scratch, wide.dout));
    attention::convert<float, T>(call, to, dbias);
  }
}

// --- the ops ------------------------------------------------------------------------------------

template <class T>
void forward(const Call& call, Scratch* scratch, Features<T> q, Features<T> k, Features<T> v,
             View<const T> bias, View<const bool> mask, const Acc<T>* slopes, bool causal,
             index_t window, index_t offset, double scale, double p, std::uint64_t seed,
             std::uint64_t stream, View<T> out, Acc<T>* lse) {
  forward_of<T>(call, scratch,
                inputs<T>(call, q.view, k.view, v.view, bias, mask, slopes, causal, window, offset,
                          scale, p, seed, stream),
                out, lse);
}

template <class T>
void backward(const Call& call, Scratch* scratch, Features<T> dout, Features<T> q, Features<T> k,
              Features<T> v, Features<T> out, const Acc<T>* lse, View<const T> bias,
              View<const bool> mask, const Acc<T>* slopes, bool causal, index_t window,
              index_t offset, double scale, double p, std::uint64_t seed, std::uint64_t stream,
              View<T> dq, View<T> dk, View<T> dv) {
  backward_of<T>(call, scratch,
                 inputs<T>(call, q.view, k.view, v.view, bias, mask, slopes, causal, window, offset,
                           scale, p, seed, stream),
                 {dout.view, out.view, lse}, dq, dk, dv);
}

template <class T>
void bias_backward(const Call& call, Scratch* scratch, Features<T> dout, Features<T> q,
                   Features<T> k, Features<T> v, Features<T> out, const Acc<T>* lse,
                   View<const T> bias, View<const bool> mask, const Acc<T>* slopes, bool causal,
                   index_t window, index_t offset, double scale, double p, std::uint64_t seed,
                   std::uint64_t stream, View<T> dbias) {
  bias_backward_of<T>(call, scratch,
                      inputs<T>(call, q.view, k.view, v.view, bias, mask, slopes, causal, window,
                                offset, scale, p, seed, stream),
                      {dout.view, out.view, lse}, dbias);
}

}  // namespace

void allow_tf32(bool allowed) { tf32_allowed = allowed; }

void bind_attention(Family family) {
  family.op<KERNELMILL_STORED(forward)>("forward");
  family.op<KERNELMILL_STORED(backward)>("backward");
  family.op<KERNELMILL_STORED(bias_backward)>("bias_backward");
}

}  // namespace kernelmill
