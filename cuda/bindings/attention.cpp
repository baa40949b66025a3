#include "ops/attention.cuh"

#include <algorithm>  // std::clamp

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
                 View<const T> bias, View<const bool> mask, const T* slopes, bool causal,
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
          static_cast<T>(scale),
          p > 0 ? least_kept(p) : 0.0F,
          p < 1 ? static_cast<T>(1 / (1 - p)) : T{0},
          seed,
          stream};
}

template <class T>
void forward(const Call& call, Features<T> q, Features<T> k, Features<T> v, View<const T> bias,
             View<const bool> mask, const T* slopes, bool causal, index_t window, index_t offset,
             double scale, double p, std::uint64_t seed, std::uint64_t stream, View<T> out,
             T* lse) {
  attention::forward<T>(call,
                        inputs<T>(call, q.view, k.view, v.view, bias, mask, slopes, causal, window,
                                  offset, scale, p, seed, stream),
                        out, lse);
}

template <class T>
const BackwardSpace<T>& space(Scratch* scratch, const View<const T>& dout) {
  return scratch->make<BackwardSpace<T>>(dout.shape[0] * dout.shape[1] * dout.shape[2]);
}

template <class T>
void backward(const Call& call, Scratch* scratch, Features<T> dout, Features<T> q, Features<T> k,
              Features<T> v, Features<T> out, const T* lse, View<const T> bias,
              View<const bool> mask, const T* slopes, bool causal, index_t window, index_t offset,
              double scale, double p, std::uint64_t seed, std::uint64_t stream, View<T> dq,
              View<T> dk, View<T> dv) {
  attention::backward<T>(call,
                         inputs<T>(call, q.view, k.view, v.view, bias, mask, slopes, causal, window,
                                   offset, scale, p, seed, stream),
                         Results<T>{dout.view, out.view, lse}, dq, dk, dv,
                         space(scratch, dout.view));
}

template <class T>
void bias_backward(const Call& call, Scratch* scratch, Features<T> dout, Features<T> q,
                   Features<T> k, Features<T> v, Features<T> out, const T* lse, View<const T> bias,
                   View<const bool> mask, const T* slopes, bool causal, index_t window,
                   index_t offset, double scale, double p, std::uint64_t seed, std::uint64_t stream,
                   View<T> dbias) {
  attention::bias_backward<T>(call,
                              inputs<T>(call, q.view, k.view, v.view, bias, mask, slopes, causal,
                                        window, offset, scale, p, seed, stream),
                              Results<T>{dout.view, out.view, lse}, dbias,
                              space(scratch, dout.view));
}

}  // namespace

void bind_attention(Family family) {
  family.op<forward<float>, forward<double>>("forward");
  family.op<backward<float>, backward<double>>("backward");
  family.op<bias_backward<float>, bias_backward<double>>("bias_backward");
}

}  // namespace kernelmill
