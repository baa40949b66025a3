// The backward pass.
//
// With p_ij = exp(s_ij - lse_i), out_i = sum_j p_ij v_j, and do_i the gradient of out_i,
//
//   dv_j = sum_i p_ij do_i        dp_ij = do_i . v_j        ds_ij = p_ij (dp_ij - sum_l p_il dp_il)
//
// by the derivative of the softmax, dp_ij / ds_il = p_ij (delta_jl - p_il). The inner sum needs no
// row of scores: sum_l p_il dp_il = do_i . sum_l p_il v_l = do_i . out_i = D_i (Dao et al. 2022).
// With s_ij = scale q_i . k_j + bias_ij,
//
//   dq_i = scale sum_j ds_ij k_j      dk_j = scale sum_i ds_ij q_i      dbias_ij = ds_ij
//
// Dropout multiplies p_ij in out by r_ij, 0 or 1 / (1 - p): then dv_j = sum_i r_ij p_ij do_i,
// dp_ij = r_ij do_i . v_j, and D_i is unchanged.
//
// A task owns the keys of one head of k and v, or a range of them, so that dk and dv have one
// writer. Blocks of scores are computed again, keys down and 2 NR queries along lanes: P' is then
// read by rows in dV += P' dO, dS' by rows in dK += dS' Q and by columns in dQ += dS K. Keys that
// only the later NR queries see, near the diagonal of a causal mask, meet only these. Where heads
// are few, their keys are cut into ranges, a number that depends on sizes alone, whose parts of dq
// are added in order.
#include <algorithm>  // std::clamp, std::max, std::min
#include <limits>     // std::numeric_limits

#include "core/parallel.hpp"  // parallel_for
#include "ops/attention_block.hpp"

namespace kernelmill::attention {
namespace {

// ds = p (r tile - D), and 0 where p is 0.
template <class T>
struct FlowTile {
  static constexpr tile::Hooks hooks{};
  using Vec = typename Params<T>::Vec;
  static constexpr int NV = Params<T>::NV, lanes = Params<T>::lanes;
  const T *p, *kept;  // kept may be null
  const T* delta;
  T* ds;
  index_t stride;
  template <int Rows>
  void tile(const Vec (&acc)[Rows][NV], index_t i0, index_t j0, index_t) {
    const index_t at = i0 * stride + j0;
    Vec d[NV];
    KERNELMILL_UNROLL
    for (int v = 0; v < NV; ++v) d[v] = load<Vec>(delta + j0 + v * lanes);
    KERNELMILL_UNROLL
    for (int r = 0; r < Rows; ++r) {
      KERNELMILL_UNROLL
      for (int v = 0; v < NV; ++v) {
        const index_t place = at + r * stride + v * lanes;
        const Vec share = load<Vec>(p + place);
        Vec dp = acc[r][v];
        if (kept != nullptr) dp = dp * load<Vec>(kept + place);
        store(ds + place, share == Vec{} ? Vec{} : share * (dp - d[v]));
      }
    }
  }
};

// One thread's memory for 2 NR queries at a time against blocks of keys.
template <class T>
class Flow {
 public:
  static constexpr index_t NR = Params<T>::NR, W = 2 * NR;

  Flow(const Inputs<T>& in, const Results<T>& results)
      : in_(in),
        results_(results),
        e_(in.q.shape[3]),
        f_(in.v.shape[3]),
        pieces_(Pieces<T>::padded(e_ * W) + Pieces<T>::padded(f_ * W) + 3 * kKeys * W + kKeys * NR),
        queries_(pieces_.take(e_ * W)),
        gradients_(pieces_.take(f_ * W)),
        p_(pieces_.take(kKeys * W)),
        ds_(pieces_.take(kKeys * W)),
        kept_factors_(pieces_.take(kKeys * W)),
        scratch_(pieces_.take(kKeys * NR)),
        kept_(in, W) {}

  void begin(const Queries& at) {
    at_ = at;
    width_ = rounded<T>(at.count);
    pack_features(in_.q, at, in_.scale, queries_);
    pack_features(results_.dout, at, T{1}, gradients_);
    kept_.begin(at);
    const T* const lse = results_.lse + (at.b * in_.q.shape[2] + at.h) * in_.q.shape[1] + at.i;
    constexpr T all = std::numeric_limits<T>::infinity();
    for (index_t c = 0; c < width_; ++c) {
      lse_[c] = c < at.count && lse[c] != -all ? lse[c] : all;
      delta_[c] = c < at.count ? dot(at.i + c) : T{0};
    }
  }

  // P' of n keys from j0; for queries before first_column(j) none of it is formed.
  void probabilities(const Rows<T>& keys, index_t j0, index_t n) {
    j0_ = j0;
    n_ = n;
    early_ = at_.count > NR ? std::clamp<index_t>(seen(in_, at_.i + NR - 1).end - j0, 0, n) : n;
    each_part([&](index_t first, index_t count, index_t from) {
      score_block(in_, at_, queries_, keys, j0 + first, count, p_ + first * W, W, scratch_, from);
    });
    for (index_t j = 0; j < n; ++j) {
#pragma omp simd
      for (index_t c = first_column(j); c < width_; ++c) {
        p_[j * W + c] = weight(p_[j * W + c] - lse_[c]);
      }
    }
    if (in_.p > 0) kept_.factors(j0, n, kept_factors_, W);
  }
  // P' after dropout; it is overwritten by the next call.
  const T* dropped() {
    if (in_.p == 0) return p_;
    for (index_t j = 0; j < n_; ++j) {
      for (index_t c = first_column(j); c < width_; ++c)
        ds_[j * W + c] = p_[j * W + c] * kept_factors_[j * W + c];
    }
    return ds_;
  }
  // dS'.
  const T* scores(const Rows<T>& values) {
    each_part([&](index_t first, index_t count, index_t from) {
      const index_t at = first * W;
      FlowTile<T> to{p_ + at, in_.p > 0 ? kept_factors_ + at : nullptr, delta_, ds_ + at, W};
      tile::product<T>(tile::RowsA<T, T, true>(values.row(j0_ + first), values.stride, count, f_),
                       tile::PackedB<T>(gradients_, at_.count, f_), from, at_.count, to);
    });
    return ds_;
  }
  // Calls f(first key of the block, keys, first query) for what is formed of a block: the keys that
  // the first NR queries may see, and those that only later ones do.
  void each_part(auto f) const {
    if (early_ > 0) f(index_t{0}, early_, index_t{0});
    if (early_ < n_) f(early_, n_ - early_, NR);
  }
  index_t early() const { return early_; }
  index_t first_column(index_t j) const { return j < early_ ? 0 : NR; }

  index_t width() const { return width_; }
  const Queries& at() const { return at_; }

 private:
  T dot(index_t i) const {
    const auto row = [&](const View<const T>& x) {
      return x.data + at_.b * x.strides[0] + i * x.strides[1] + at_.h * x.strides[2];
    };
    const T *const a = row(results_.dout), *const b = row(results_.out);
    const index_t step_a = results_.dout.strides[3], step_b = results_.out.strides[3];
    double sum = 0;
    for (index_t c = 0; c < f_; ++c) {
      sum += static_cast<double>(a[c * step_a]) * static_cast<double>(b[c * step_b]);
    }
    return static_cast<T>(sum);
  }

  const Inputs<T>& in_;
  const Results<T>& results_;
  index_t e_, f_, width_ = 0, j0_ = 0, n_ = 0, early_ = 0;
  Queries at_{};
  Pieces<T> pieces_;
  T *queries_, *gradients_, *p_, *ds_, *kept_factors_, *scratch_;
  Kept<T> kept_;
  alignas(64) T lse_[W], delta_[W];
};

// Rows of a head, and the sums that become its gradient.
template <class T>
void write_rows(const T* from, index_t pitch, index_t begin, index_t end, T factor,
                const View<T>& to, index_t b, index_t h) {
  const index_t d = to.shape[3];
  for (index_t j = begin; j < end; ++j) {
    T* const row = to.data + b * to.strides[0] + j * to.strides[1] + h * to.strides[2];
    for (index_t c = 0; c < d; ++c) row[c] = factor * from[(j - begin) * pitch + c];
  }
}

// One thread's memory for a range of the keys of a head.
template <class T>
class Backward {
  static constexpr index_t NR = Params<T>::NR, W = 2 * NR;

 public:
  Backward(const Inputs<T>& in, const Results<T>& results, index_t most)
      : in_(in),
        results_(results),
        e_(in.q.shape[3]),
        f_(in.v.shape[3]),
        e_pitch_(rounded<T>(e_)),
        f_pitch_(rounded<T>(f_)),
        flow_(in, results),
        pieces_(most * 2 * (e_pitch_ + f_pitch_) + most * e_pitch_ + W * (2 * e_pitch_ + f_pitch_) +
                8 * 16),
        k_(pieces_.take(most * e_)),
        v_(pieces_.take(most * f_)),
        panels_(pieces_.take(most * e_pitch_)),
        dk_(pieces_.take(most * e_pitch_)),
        dv_(pieces_.take(most * f_pitch_)),
        query_rows_(pieces_.take(W * e_pitch_)),
        gradient_rows_(pieces_.take(W * f_pitch_)),
        dq_(pieces_.take(W * e_pitch_)) {}

  // Keys [begin, end) of head `group` of k and v; `part` receives what they add to dq.
  void run(index_t b, index_t group, index_t begin, index_t end, const View<T>& part,
           const View<T>& dk, const View<T>& dv) {
    const Rows<T> keys = adjacent_rows(in_.k, b, group, begin, end, k_);
    const Rows<T> values = adjacent_rows(in_.v, b, group, begin, end, v_);
    for (index_t j = begin; j < end; j += kKeys) {
      const index_t n = std::min(kKeys, end - j);
      tile::PackedB<T>(panels_ + (j - begin) * e_pitch_, e_, n)
          .pack(Strided<T>{keys.row(j), 1, keys.stride}, 0, 0, e_);
    }
    std::fill_n(dk_, (end - begin) * e_pitch_, T{0});
    std::fill_n(dv_, (end - begin) * f_pitch_, T{0});
    const index_t per_head = in_.q.shape[2] / in_.k.shape[2], t = in_.q.shape[1];
    for (index_t h = group * per_head; h < (group + 1) * per_head; ++h) {
      for (index_t i = 0; i < t; i += W) {
        queries({b, h, i, std::min(W, t - i)}, keys, values, begin, end, part);
      }
    }
    write_rows(dk_, e_pitch_, begin, end, T{1}, dk, b, group);
    write_rows(dv_, f_pitch_, begin, end, T{1}, dv, b, group);
  }

 private:
  void queries(const Queries& at, const Rows<T>& keys, const Rows<T>& values, index_t begin,
               index_t end, const View<T>& part) {
    std::fill_n(dq_, at.count * e_pitch_, T{0});
    const index_t from = std::max(begin, seen(in_, at.i).begin);
    const index_t last = std::min(end, seen(in_, at.i + at.count - 1).end);
    const index_t to = from < last ? last : begin;  // nothing is seen: no block at all
    if (from < last) {
      flow_.begin(at);
      pack_rows_of(in_.q, at, in_.scale, query_rows_);
      pack_rows_of(results_.dout, at, T{1}, gradient_rows_);
    }
    // Blocks begin where those of the packed panels do.
    for (index_t j = begin + (from - begin) / kKeys * kKeys; j < to; j += kKeys) {
      const index_t n = std::min(kKeys, to - j), width = flow_.width();
      flow_.probabilities(keys, j, n);
      add_keys(flow_.dropped(), gradient_rows_, f_, width, dv_ + (j - begin) * f_pitch_, f_pitch_);
      const T* const ds = flow_.scores(values);
      add_keys(ds, query_rows_, e_, width, dk_ + (j - begin) * e_pitch_, e_pitch_);
      const index_t packed = std::min(kKeys, end - j);  // rows of a panel, n of them needed
      const index_t early = flow_.early(), split = early < n ? NR : 0;
      for (index_t c = 0; c < e_; c += NR) {
        T* const panel = panels_ + (j - begin) * e_pitch_ + c * packed;
        const index_t cols = std::min(NR, e_ - c);
        if (split > 0 && early > 0) {
          add(tile::ColumnsA<T>(ds, W, split, early), panel, cols, early, dq_ + c, e_pitch_);
        }
        add(tile::ColumnsA<T>(ds + split, W, at.count - split, n), panel, cols, n,
            dq_ + split * e_pitch_ + c, e_pitch_);
      }
    }
    write_rows(dq_, e_pitch_, at.i, at.i + at.count, in_.scale, part, at.b, at.h);
  }

  // Adds the products of the keys of a block with rows of queries, in panels of `width` rows.
  void add_keys(const T* shares, T* rows, index_t features, index_t width, T* to, index_t pitch) {
    flow_.each_part([&](index_t first, index_t count, index_t from) {
      const tile::RowsA<T, T, true> a(shares + first * W + from, W, count, width - from);
      if (from == 0) return add(a, rows, features, width, to + first * pitch, pitch);
      for (index_t c = 0; c < features; c += NR) {
        add(a, rows + c * width + from * NR, std::min(NR, features - c), width - from,
            to + first * pitch + c, pitch);
      }
    });
  }

  template <class A>
  static void add(const A& a, T* packed, index_t cols, index_t depth, T* to, index_t pitch) {
    AddTile<T> sums{to, pitch};
    tile::product<T>(a, tile::PackedB<T>(packed, cols, depth), 0, cols, sums);
  }

  const Inputs<T>& in_;
  const Results<T>& results_;
  index_t e_, f_, e_pitch_, f_pitch_;
  Flow<T> flow_;
  Pieces<T> pieces_;
  T *k_, *v_, *panels_, *dk_, *dv_, *query_rows_, *gradient_rows_, *dq_;
};

}  // namespace

template <class T>
void backward(const Inputs<T>& in, const Results<T>& results, View<T> dq, View<T> dk, View<T> dv) {
  constexpr index_t wanted = 16, least = 512;  // tasks, and keys of one
  const index_t b = in.q.shape[0], t = in.q.shape[1], h = in.q.shape[2], e = in.q.shape[3];
  const index_t s = in.k.shape[1], g = in.k.shape[2];
  const index_t size = b * t * h * e;
  // Calls f with a row of dq and where its copies in `memory` begin.
  const auto each_row = [&](index_t begin, index_t end, auto f) {
    for (index_t i = begin; i < end; ++i) {
      const index_t at[] = {i / (t * h), i / h % t, i % h};
      f(dq.data + at[0] * dq.strides[0] + at[1] * dq.strides[1] + at[2] * dq.strides[2], i * e);
    }
  };
  if (b * g * s == 0) {
    each_row(0, size == 0 ? 0 : b * t * h, [&](T* row, index_t) { std::fill_n(row, e, T{0}); });
    return;
  }
  const index_t cuts = std::min((wanted + b * g - 1) / (b * g), (s + least - 1) / least);
  const index_t most = (s + cuts * kKeys - 1) / (cuts * kKeys) * kKeys;
  const index_t parts = (s + most - 1) / most;
  Workspace<T> memory(static_cast<std::size_t>((parts - 1) * size));
  const index_t work = most * t * (h / g) * std::max<index_t>(1, e + in.v.shape[3]);
  parallel_for(parts * b * g, std::max<index_t>(1, (index_t{1} << 17) / std::max<index_t>(1, work)),
               [&](index_t, index_t first, index_t last) {
                 Backward<T> pass(in, results, std::min(most, s));
                 for (index_t task = first; task < last; ++task) {
                   const index_t cut = task / (b * g), pair = task % (b * g);
                   View<T> part = dq;
                   if (cut > 0) {
                     part = {memory.data() + (cut - 1) * size, dq.shape, {t * h * e, h * e, e, 1}};
                   }
                   pass.run(pair / g, pair % g, cut * most, std::min(s, (cut + 1) * most), part, dk,
                            dv);
                 }
               });
  if (parts == 1) return;
  const index_t grain = std::max<index_t>(1, (index_t{1} << 15) / std::max<index_t>(1, e));
  parallel_for(b * t * h, grain, [&](index_t, index_t begin, index_t end) {
    for (index_t cut = 0; cut + 1 < parts; ++cut) {
      const T* const more = memory.data() + cut * size;
      each_row(begin, end, [&](T* row, index_t from) {
        for (index_t c = 0; c < e; ++c) row[c] += more[from + c];
      });
    }
  });
}

// Tasks own entries of dbias: those of some rows, or of all where rows are repeated.
template <class T>
void bias_backward(const Inputs<T>& in, const Results<T>& results, View<T> dbias) {
  constexpr index_t W = Flow<T>::W;
  const index_t bb = dbias.shape[0], bh = dbias.shape[1], bt = dbias.shape[2], bs = dbias.shape[3];
  const index_t b = in.q.shape[0], t = in.q.shape[1], h = in.q.shape[2], s = in.k.shape[1];
  const index_t per_head = h == 0 ? 1 : h / in.k.shape[2], e = in.q.shape[3], f = in.v.shape[3];
  std::fill_n(dbias.data, bb * bh * bt * bs, T{0});
  if (b * t * h * s == 0) return;
  const auto repeated = [](index_t size) { return index_t{size != 1}; };
  const index_t row = repeated(bt) * bs, column = repeated(bs);
  const index_t parts = bt == 1 ? 1 : (t + W - 1) / W;
  parallel_for(bb * bh * parts, 1, [&](index_t, index_t first, index_t last) {
    Flow<T> flow(in, results);
    Workspace<T> rows(static_cast<std::size_t>(s * (e + f)));
    for (index_t task = first; task < last; ++task) {
      const index_t part = task % parts, pair = task / parts;
      const index_t i0 = part * W, i1 = bt == 1 ? t : std::min(t, i0 + W);
      T* const to = dbias.data + pair * bt * bs;
      for (index_t x = bb == 1 ? 0 : pair / bh; x < (bb == 1 ? b : pair / bh + 1); ++x) {
        for (index_t y = bh == 1 ? 0 : pair % bh; y < (bh == 1 ? h : pair % bh + 1); ++y) {
          const Rows<T> keys = adjacent_rows(in.k, x, y / per_head, 0, s, rows.data());
          const Rows<T> values = adjacent_rows(in.v, x, y / per_head, 0, s, rows.data() + s * e);
          for (index_t i = i0; i < i1; i += W) {
            const Queries at{x, y, i, std::min(W, i1 - i)};
            flow.begin(at);
            const index_t begin = seen(in, i).begin, end = seen(in, i + at.count - 1).end;
            for (index_t j = begin / kKeys * kKeys; begin < end && j < end; j += kKeys) {
              const index_t n = std::min(kKeys, s - j);
              flow.probabilities(keys, j, n);
              const T* const ds = flow.scores(values);
              for (index_t c = 0; c < at.count; ++c) {
                T* const target = to + (i + c) * row + j * column;
                const index_t formed = c < Flow<T>::NR ? flow.early() : n;
                for (index_t l = 0; l < formed; ++l) target[l * column] += ds[l * W + c];
              }
            }
          }
        }
      }
    }
  });
}

#define KERNELMILL_ATTENTION_BACKWARD(T)                                                     \
  template void backward<T>(const Inputs<T>&, const Results<T>&, View<T>, View<T>, View<T>); \
  template void bias_backward<T>(const Inputs<T>&, const Results<T>&, View<T>);
KERNELMILL_ATTENTION_BACKWARD(float)
KERNELMILL_ATTENTION_BACKWARD(double)

}  // namespace kernelmill::attention
