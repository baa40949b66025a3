#include "ops/attention.hpp"

#include "bindings/family.hpp"
#include "core/error.hpp"  // invalid

namespace kernelmill {

namespace {

using attention::Inputs;
using attention::Results;
using attention::View;

// Axes of size 1 repeat.
template <class T>
View<T> repeating(View<T> x) {
  for (std::size_t a = 0; a < 4; ++a) {
    if (x.shape[a] == 1) x.strides[a] = 0;
  }
  return x;
}

template <class T>
Inputs<T> inputs(const char* op, View<const T> q, View<const T> k, View<const T> v,
                 View<const T> bias, View<const bool> mask, std::span<const T> slopes, bool causal,
                 index_t window, index_t offset, double scale, double p, std::uint64_t seed,
                 std::uint64_t stream) {
  const index_t h = q.shape[2], g = k.shape[2];
  if (h != 0 && (g == 0 || h % g != 0)) {
    invalid(op, "the heads of q must be a multiple of those of k and v, got ", h, " and ", g);
  }
  if (!(p >= 0 && p <= 1)) invalid(op, "p must be in [0, 1], got ", p);
  constexpr index_t far = index_t{1} << 40;  // so that places do not overflow
  return {q,
          k,
          v,
          repeating(bias),
          repeating(mask),
          slopes.data(),
          causal,
          window < far ? window : far,
          offset < far ? offset : far,
          static_cast<T>(scale),
          p,
          seed,
          stream};
}

template <class T>
void forward(View<const T> q, View<const T> k, View<const T> v, View<const T> bias,
             View<const bool> mask, std::span<const T> slopes, bool causal, index_t window,
             index_t offset, double scale, double p, std::uint64_t seed, std::uint64_t stream,
             View<T> out, T* lse) {
  attention::forward<T>(inputs<T>("attention.forward", q, k, v, bias, mask, slopes, causal, window,
                                  offset, scale, p, seed, stream),
                        out, lse);
}

template <class T>
void backward(View<const T> dout, View<const T> q, View<const T> k, View<const T> v,
              View<const T> out, const T* lse, View<const T> bias, View<const bool> mask,
              std::span<const T> slopes, bool causal, index_t window, index_t offset, double scale,
              double p, std::uint64_t seed, std::uint64_t stream, View<T> dq, View<T> dk,
              View<T> dv) {
  attention::backward<T>(inputs<T>("attention.backward", q, k, v, bias, mask, slopes, causal,
                                   window, offset, scale, p, seed, stream),
                         Results<T>{dout, out, lse}, dq, dk, dv);
}

// Queries, keys or values of a projection (b, t, 3 h, e).
template <class T>
View<T> part_of(View<T> joint, index_t which) {
  joint.shape[2] /= 3;
  joint.data += which * joint.shape[2] * joint.strides[2];
  return joint;
}

template <class T>
void joint_backward(View<const T> dout, View<const T> qkv, View<const T> out, const T* lse,
                    View<const T> bias, View<const bool> mask, std::span<const T> slopes,
                    bool causal, index_t window, index_t offset, double scale, double p,
                    std::uint64_t seed, std::uint64_t stream, View<T> dqkv) {
  const char* const op = "attention.joint_backward";
  if (qkv.shape[2] != 3 * dout.shape[2]) {
    invalid(op, "qkv must have three times the heads of dout, got ", qkv.shape[2], " and ",
            dout.shape[2]);
  }
  attention::backward<T>(inputs<T>(op, part_of(qkv, 0), part_of(qkv, 1), part_of(qkv, 2), bias,
                                   mask, slopes, causal, window, offset, scale, p, seed, stream),
                         Results<T>{dout, out, lse}, part_of(dqkv, 0), part_of(dqkv, 1),
                         part_of(dqkv, 2));
}

template <class T>
void bias_backward(View<const T> dout, View<const T> q, View<const T> k, View<const T> v,
                   View<const T> out, const T* lse, View<const T> bias, View<const bool> mask,
                   std::span<const T> slopes, bool causal, index_t window, index_t offset,
                   double scale, double p, std::uint64_t seed, std::uint64_t stream,
                   View<T> dbias) {
  attention::bias_backward<T>(inputs<T>("attention.bias_backward", q, k, v, bias, mask, slopes,
                                        causal, window, offset, scale, p, seed, stream),
                              Results<T>{dout, out, lse}, dbias);
}

}  // namespace

void bind_attention(Family family) {
  family.op<forward<float>, forward<double>>("forward");
  family.op<backward<float>, backward<double>>("backward");
  family.op<joint_backward<float>, joint_backward<double>>("joint_backward");
  family.op<bias_backward<float>, bias_backward<double>>("bias_backward");
}

}  // namespace kernelmill
