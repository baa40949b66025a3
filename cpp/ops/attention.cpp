// The forward pass.
//
// For one query let m be the largest score so far, l the sum of exp(s_j - m) and o the sum of
// exp(s_j - m) v_j over the keys so far. A block of further keys with largest score m' moves m to
// M = max(m, m'), and both sums are put on the new scale (Milakov and Gimelshein 2018):
//
//   a = exp(m - M)      l <- a l + sum_j exp(s_j - M)      o <- a o + sum_j exp(s_j - M) v_j
//
// In the end out = o / l and lse = M + log l. A query without keys keeps m = -inf and l = 0; where
// M is -inf, 0 is subtracted instead, so that all terms are exp(-inf) = 0.
//
// NR queries go through the keys together, one to a lane. A block of scores S' = K Q' becomes P' in
// place and is then the packed operand of O' += V' P', whose other operand is V where it lies.
#include "ops/attention.hpp"

#include <algorithm>  // std::max, std::min
#include <limits>     // std::numeric_limits

#include "core/math.hpp"      // exp, log
#include "core/parallel.hpp"  // parallel_for, thread_limit
#include "ops/attention_block.hpp"

namespace kernelmill::attention {
namespace {

// O' <- a O' + tile, a of each lane.
template <class T>
struct RescaleTile {
  static constexpr tile::Hooks hooks{};
  using Vec = typename Params<T>::Vec;
  static constexpr int NV = Params<T>::NV, lanes = Params<T>::lanes;
  T* to;
  const T* factor;
  template <int Rows>
  void tile(const Vec (&acc)[Rows][NV], index_t i0, index_t, index_t) {
    T* row = to + i0 * Params<T>::NR;
    Vec a[NV];
    KERNELMILL_UNROLL
    for (int v = 0; v < NV; ++v) a[v] = load<Vec>(factor + v * lanes);
    KERNELMILL_UNROLL
    for (int r = 0; r < Rows; ++r, row += Params<T>::NR) {
      KERNELMILL_UNROLL
      for (int v = 0; v < NV; ++v) {
        store(row + v * lanes, a[v] * load<Vec>(row + v * lanes) + acc[r][v]);
      }
    }
  }
};

// Stores tiles at to[i * stride + j], the first `Vectors` of each row of a panel.
template <class T, int Vectors = Params<T>::NV>
struct StoreTile {
  static constexpr tile::Hooks hooks{};
  using Vec = typename Params<T>::Vec;
  static constexpr int NV = Params<T>::NV, lanes = Params<T>::lanes;
  T* to;
  index_t stride;
  template <int Rows>
  void tile(const Vec (&acc)[Rows][NV], index_t i0, index_t j0, index_t) {
    T* row = to + i0 * stride + j0;
    KERNELMILL_UNROLL
    for (int r = 0; r < Rows; ++r, row += stride) {
      KERNELMILL_UNROLL
      for (int v = 0; v < Vectors; ++v) store(row + v * lanes, acc[r][v]);
    }
  }
};

// The same to rows of NR, and the largest of each lane, `top` at first, in registers.
template <class T>
struct TopTile {
  static constexpr tile::Hooks hooks{};
  using Vec = typename Params<T>::Vec;
  static constexpr int NV = Params<T>::NV, lanes = Params<T>::lanes;
  T *to, *top;
  template <int Rows>
  void tile(const Vec (&acc)[Rows][NV], index_t i0, index_t j0, index_t cols) {
    StoreTile<T>{to, Params<T>::NR}.template tile<Rows>(acc, i0, j0, cols);
    KERNELMILL_UNROLL
    for (int v = 0; v < NV; ++v) {
      Vec most = load<Vec>(top + v * lanes);
      KERNELMILL_UNROLL
      for (int r = 0; r < Rows; ++r) most = acc[r][v] > most ? acc[r][v] : most;
      store(top + v * lanes, most);
    }
  }
};

template <class T, class E>
void score_product(const Queries& at, T* packed, const Rows<T>& keys, index_t j0, index_t n,
                   index_t e, index_t from, E& to) {
  tile::product<T>(tile::RowsA<T, T, true>(keys.row(j0), keys.stride, n, e),
                   tile::PackedB<T>(packed, at.count, e), from, at.count, to);
}

template <class T>
bool all_seen(const Inputs<T>& in, const Queries& at, index_t j0, index_t n) {
  return seen(in, at.i + at.count - 1).begin <= j0 && seen(in, at.i).end >= j0 + n;
}

// Adds bias and distance to the scores s[(j - j0) * stride + c] of n keys from j0, and hides keys.
// `scratch` has room for kKeys * NR values.
template <class T>
void adjust(const Inputs<T>& in, const Queries& at, index_t j0, index_t n, T* s, index_t stride,
            T* scratch, index_t from) {
  constexpr index_t NR = Params<T>::NR;
  constexpr T hidden = -std::numeric_limits<T>::infinity();
  using Place = std::conditional_t<sizeof(T) == 4, std::int32_t, std::int64_t>;
  const auto begin_of = [&](const auto& x) {
    return x.data + at.b * x.strides[0] + at.h * x.strides[1];
  };
  for (index_t c0 = from; c0 < at.count; c0 += NR) {
    const index_t i = at.i + c0, cols = std::min(NR, at.count - c0);
    T* const scores = s + c0;
    if (in.bias.data != nullptr) {
      Strided<T>{begin_of(in.bias), in.bias.strides[2], in.bias.strides[3]}.pack(i, cols, j0, n,
                                                                                 scratch, NR);
      for (index_t j = 0; j < n; ++j) {
        for (index_t c = 0; c < NR; ++c) scores[j * stride + c] += scratch[j * NR + c];
      }
    }
    if (in.slopes != nullptr) {
      const T slope = in.slopes[at.h];
      for (index_t j = 0; j < n; ++j) {
        const T first = static_cast<T>(i + in.offset - j0 - j);
        for (index_t c = 0; c < NR; ++c) {
          scores[j * stride + c] -= slope * std::fabs(first + static_cast<T>(c));
        }
      }
    }
    if (in.mask.data != nullptr) {
      // A bool is one byte, 0 or 1.
      const auto* const bytes = reinterpret_cast<const unsigned char*>(begin_of(in.mask));
      Strided<unsigned char>{bytes, in.mask.strides[2], in.mask.strides[3]}.pack(i, cols, j0, n,
                                                                                 scratch, NR);
      for (index_t j = 0; j < n; ++j) {
        for (index_t c = 0; c < NR; ++c) {
          T& score = scores[j * stride + c];
          score = scratch[j * NR + c] != T{0} ? score : hidden;
        }
      }
    }
    if (!all_seen(in, {at.b, at.h, i, cols}, j0, n)) {
      Place begin[NR], end[NR];
      for (index_t c = 0; c < NR; ++c) {
        const Range range = seen(in, i + std::min(c, cols - 1));
        begin[c] = static_cast<Place>(std::clamp<index_t>(range.begin - j0, 0, n));
        end[c] = static_cast<Place>(std::clamp<index_t>(range.end - j0, 0, n));
      }
      for (index_t j = 0; j < n; ++j) {
        const auto place = static_cast<Place>(j);
        for (index_t c = 0; c < NR; ++c) {
          T& score = scores[j * stride + c];
          const bool visible = (begin[c] <= place) & (place < end[c]);
          score = visible ? score : hidden;
        }
      }
    }
  }
}

// One thread's memory for NR queries at a time.
template <class T>
class Forward {
  static constexpr index_t NR = Params<T>::NR, lanes = Params<T>::lanes;
  static constexpr int rest = Params<T>::NV - 1;  // vectors of the later queries

 public:
  explicit Forward(const Inputs<T>& in)
      : in_(in),
        e_(in.q.shape[3]),
        f_(in.v.shape[3]),
        bare_(in.bias.data == nullptr && in.mask.data == nullptr && in.slopes == nullptr),
        pieces_(Pieces<T>::padded(e_ * NR) + Pieces<T>::padded(f_ * NR) + 3 * kKeys * NR),
        queries_(pieces_.take(e_ * NR)),
        sums_(pieces_.take(f_ * NR)),
        block_(pieces_.take(kKeys * NR)),
        scratch_(pieces_.take(kKeys * NR)),
        factors_(pieces_.take(kKeys * NR)),
        kept_(in, NR) {}

  void run(const Queries& at, const Rows<T>& keys, const Rows<T>& values, const View<T>& out,
           T* lse) {
    pack_features(in_.q, at, in_.scale, queries_);
    std::fill_n(sums_, f_ * NR, T{0});
    std::fill_n(top_, NR, -std::numeric_limits<T>::infinity());
    std::fill_n(total_, NR, T{0});
    kept_.begin(at);
    const index_t begin = seen(in_, at.i).begin, end = seen(in_, at.i + at.count - 1).end;
    for (index_t j = begin / kKeys * kKeys; begin < end && j < end; j += kKeys) {
      // From a block's border on, so that a key's block does not depend on the query.
      const index_t j0 = std::max(j, begin), n = std::min(j + kKeys, end) - j0;
      // Keys from `early` on are hidden from the first vector of queries: a causal mask's diagonal.
      const index_t early =
          at.count > lanes ? std::clamp<index_t>(seen(in_, at.i + lanes - 1).end - j0, 0, n) : n;
      score(at, keys, j0, n, early);
      exponentiate(n);
      if (in_.p > 0) {
        kept_.factors(j0, n, factors_, NR);
        for (index_t e = 0; e < n * NR; ++e) block_[e] *= factors_[e];
      }
      RescaleTile<T> to{sums_, rescale_};
      tile::product<T>(tile::ColumnsA<T>(values.row(j0), values.stride, f_, early),
                       tile::PackedB<T>(block_, NR, early), 0, at.count, to);
      if (early == n) continue;
      AddTile<T, rest> more{sums_ + lanes, NR};
      tile::product<T>(tile::ColumnsA<T>(values.row(j0 + early), values.stride, f_, n - early),
                       tile::PackedB<T>(block_ + early * NR + lanes, at.count - lanes, n - early),
                       0, at.count - lanes, more);
    }
    write(at, out, lse + (at.b * in_.q.shape[2] + at.h) * in_.q.shape[1] + at.i);
  }

 private:
  void write(const Queries& at, const View<T>& out, T* lse) {
    using Vec = typename Params<T>::Vec;
    T inverse[NR];
    for (index_t c = 0; c < NR; ++c) {
      inverse[c] = total_[c] == T{0} ? T{0} : T{1} / total_[c];
      total_[c] = top_[c] + kernelmill::log(total_[c]);  // -inf + -inf for a row without keys
    }
    std::copy_n(total_, at.count, lse);
    T* const to = out.data + at.b * out.strides[0] + at.i * out.strides[1] + at.h * out.strides[2];
    const index_t stride = out.strides[1];
    index_t d = 0;
    for (; d + lanes <= f_; d += lanes) {
      for (index_t c0 = 0; c0 < at.count; c0 += lanes) {
        const T* rows[lanes];
        Vec columns[lanes];
        for (index_t l = 0; l < lanes; ++l) rows[l] = sums_ + (d + l) * NR + c0;
        tile::detail::transpose<T, lanes>(rows, 0, columns);
        for (index_t c = c0; c < std::min(c0 + lanes, at.count); ++c) {
          store(to + c * stride + d, columns[c - c0] * inverse[c]);
        }
      }
    }
    for (index_t c = 0; c < at.count; ++c) {
      for (index_t e = d; e < f_; ++e) to[c * stride + e] = sums_[e * NR + c] * inverse[c];
    }
  }

  // Scores of n keys from j0, and M in next_.
  void score(const Queries& at, const Rows<T>& keys, index_t j0, index_t n, index_t early) {
    std::copy_n(top_, NR, next_);
    if (bare_ && all_seen(in_, at, j0, n)) {
      TopTile<T> to{block_, next_};
      score_product(at, queries_, keys, j0, n, e_, 0, to);
      return;
    }
    StoreTile<T> to{block_, NR};
    score_product(at, queries_, keys, j0, early, e_, 0, to);
    if (early < n) {
      const Queries later{at.b, at.h, at.i + lanes, at.count - lanes};
      StoreTile<T, rest> more{block_ + early * NR + lanes, NR};
      score_product(later, queries_ + lanes, keys, j0 + early, n - early, e_, 0, more);
    }
    adjust(in_, at, j0, n, block_, NR, scratch_, 0);  // what was not formed is hidden
    T top[NR];
    std::copy_n(next_, NR, top);
    for (index_t j = 0; j < n; ++j) {
      for (index_t c = 0; c < NR; ++c) {
        const T s = block_[j * NR + c];
        top[c] = s > top[c] ? s : top[c];
      }
    }
    std::copy_n(top, NR, next_);
  }

  // Scores become exp(s - M); M, l and the factor of the sums follow.
  void exponentiate(index_t n) {
    T shift[NR], sum[NR];
    for (index_t c = 0; c < NR; ++c) {
      shift[c] = next_[c] == -std::numeric_limits<T>::infinity() ? T{0} : next_[c];
      rescale_[c] = kernelmill::exp(top_[c] - shift[c]);
      top_[c] = next_[c];
      sum[c] = T{0};
    }
    for (index_t j = 0; j < n; ++j) {
#pragma omp simd
      for (index_t c = 0; c < NR; ++c) {
        const T p = weight(block_[j * NR + c] - shift[c]);
        block_[j * NR + c] = p;
        sum[c] += p;
      }
    }
    for (index_t c = 0; c < NR; ++c) total_[c] = rescale_[c] * total_[c] + sum[c];
  }

  const Inputs<T>& in_;
  index_t e_, f_;
  bool bare_;  // scores are products
  Pieces<T> pieces_;
  T *queries_, *sums_, *block_, *scratch_, *factors_;
  Kept<T> kept_;
  alignas(64) T top_[NR], next_[NR], total_[NR], rescale_[NR];
};

// Products of a query with `count` <= lanes keys, `stride` apart: a vector of sums for each key,
// then all of them added across. One key after the other, each added across by itself, took three
// times as long.
template <class T>
void multiply_keys(const T* q, const T* keys, index_t stride, index_t count, index_t e, T* to) {
  using Vec = typename Params<T>::Vec;
  constexpr int lanes = Params<T>::lanes, some = std::min(lanes, 4);
  alignas(64) T sums[lanes][lanes];
  for (index_t j = 0; j < count; j += some) {
    const T* at[some];  // the last ones again where there are fewer
    for (int k = 0; k < some; ++k) at[k] = keys + std::min(j + k, count - 1) * stride;
    Vec sum[some] = {};
    index_t c = 0;
    for (; c + lanes <= e; c += lanes) {
      const Vec x = load<Vec>(q + c);
      KERNELMILL_UNROLL
      for (int k = 0; k < some; ++k) {
        // Heads lie between the keys: no hardware sees what comes next.
        __builtin_prefetch(at[k] + lanes * stride + c);
        sum[k] += x * load<Vec>(at[k] + c);
      }
    }
    for (; c < e; ++c) {
      for (int k = 0; k < some; ++k) sum[k][0] += q[c] * at[k][c];
    }
    for (int k = 0; k < some; ++k) store(sums[j + k], sum[k]);
  }
  for (index_t j = count; j < lanes; ++j) std::fill_n(sums[j], lanes, T{0});
  const T* rows[lanes];
  for (int l = 0; l < lanes; ++l) rows[l] = sums[l];
  Vec columns[lanes], total{};
  tile::detail::transpose<T, lanes>(rows, 0, columns);
  for (int l = 0; l < lanes; ++l) total += columns[l];
  store(to, total);
}

// to = sum over j of weights[j] * values[j * stride + c], a few vectors of c at a time.
template <class T>
void add_values(const T* weights, index_t count, const T* values, index_t stride, index_t f,
                T* to) {
  using Vec = typename Params<T>::Vec;
  constexpr int lanes = Params<T>::lanes, most = 4;
  index_t c = 0;
  const auto add = [&]<int vectors>() {
    // Two sums each, as an addition takes four cycles.
    Vec even[vectors] = {}, odd[vectors] = {};
    index_t j = 0;
    for (; j + 2 <= count; j += 2) {
      const T* const at = values + j * stride + c;
      KERNELMILL_UNROLL
      for (int v = 0; v < vectors; ++v) {
        __builtin_prefetch(at + 16 * stride + v * lanes);
        __builtin_prefetch(at + 17 * stride + v * lanes);
        even[v] += weights[j] * load<Vec>(at + v * lanes);
        odd[v] += weights[j + 1] * load<Vec>(at + stride + v * lanes);
      }
    }
    if (j < count) {
      for (int v = 0; v < vectors; ++v) {
        even[v] += weights[j] * load<Vec>(values + j * stride + c + v * lanes);
      }
    }
    for (int v = 0; v < vectors; ++v) store(to + c + v * lanes, even[v] + odd[v]);
    c += vectors * lanes;
  };
  while (c + most * lanes <= f) add.template operator()<most>();
  while (c + lanes <= f) add.template operator()<1>();
  for (; c < f; ++c) {
    T sum = T{0};
    for (index_t j = 0; j < count; ++j) sum += weights[j] * values[j * stride + c];
    to[c] = sum;
  }
}

// One query by itself, keys where they lie: what a decoder does step by step.
template <class T>
void forward_one(const Inputs<T>& in, const Queries& at, T* scores, float* drawn,
                 const View<T>& out, T* lse) {
  const index_t e = in.q.shape[3], f = in.v.shape[3], s = in.k.shape[1], t = in.q.shape[1];
  const index_t group = at.h / (in.q.shape[2] / in.k.shape[2]);
  const Range range = seen(in, at.i);
  const T* const q =
      in.q.data + at.b * in.q.strides[0] + at.i * in.q.strides[1] + at.h * in.q.strides[2];
  const T* const keys = in.k.data + at.b * in.k.strides[0] + group * in.k.strides[2];
  const T* const values = in.v.data + at.b * in.v.strides[0] + group * in.v.strides[2];
  constexpr T none = -std::numeric_limits<T>::infinity();
  const bool adjacent = in.q.strides[3] == 1 && in.k.strides[3] == 1;
  constexpr index_t lanes = Params<T>::lanes;
  T top = none, total = T{0};
  for (index_t j = range.begin; adjacent && j < range.end; j += lanes) {
    multiply_keys(q, keys + j * in.k.strides[1], in.k.strides[1], std::min(lanes, range.end - j), e,
                  scores + j);
  }
  for (index_t j = range.begin; j < range.end; ++j) {
    T sum = scores[j];
    if (!adjacent) {
      const T* const k = keys + j * in.k.strides[1];
      sum = T{0};
      for (index_t c = 0; c < e; ++c) sum += q[c * in.q.strides[3]] * k[c * in.k.strides[3]];
    }
    sum *= in.scale;
    if (in.bias.data != nullptr) {
      const auto& x = in.bias.strides;
      sum += in.bias.data[at.b * x[0] + at.h * x[1] + at.i * x[2] + j * x[3]];
    }
    if (in.slopes != nullptr) {
      sum -= in.slopes[at.h] * static_cast<T>(std::abs(at.i + in.offset - j));
    }
    if (in.mask.data != nullptr) {
      const auto& x = in.mask.strides;
      if (!in.mask.data[at.b * x[0] + at.h * x[1] + at.i * x[2] + j * x[3]]) sum = none;
    }
    scores[j] = sum;
    top = sum > top ? sum : top;
  }
  const T shift = top == none ? T{0} : top;
#pragma omp simd reduction(+ : total)
  for (index_t j = range.begin; j < range.end; ++j) {
    scores[j] = kernelmill::exp(scores[j] - shift);
    total += scores[j];
  }
  const index_t row = (at.b * in.q.shape[2] + at.h) * t + at.i;
  lse[row] = top + kernelmill::log(total);
  if (in.p > 0) {
    const float least = least_kept(in.p);
    const T factor = in.p < 1 ? static_cast<T>(1 / (1 - in.p)) : T{0};
    random::uniform<float>(in.seed, in.stream, static_cast<std::uint64_t>(row * s),
                           std::span(drawn, static_cast<std::size_t>(s)));
    for (index_t j = range.begin; j < range.end; ++j) {
      scores[j] *= drawn[j] >= least ? factor : T{0};
    }
  }
  T* const to = out.data + at.b * out.strides[0] + at.i * out.strides[1] + at.h * out.strides[2];
  const T inverse = total == T{0} ? T{0} : T{1} / total;
  const index_t count = range.end - range.begin;
  for (index_t j = range.begin; j < range.end; ++j) scores[j] *= inverse;
  const T* const seen_values = values + range.begin * in.v.strides[1];
  if (in.v.strides[3] == 1 && out.strides[3] == 1) {
    add_values(scores + range.begin, count, seen_values, in.v.strides[1], f, to);
    return;
  }
  for (index_t c = 0; c < f; ++c) {
    T sum = T{0};
    for (index_t j = 0; j < count; ++j) {
      sum += scores[range.begin + j] * seen_values[j * in.v.strides[1] + c * in.v.strides[3]];
    }
    to[c * out.strides[3]] = sum;
  }
}

}  // namespace

template <class T>
void score_block(const Inputs<T>& in, const Queries& at, T* packed, const Rows<T>& keys, index_t j0,
                 index_t n, T* s, index_t stride, T* scratch, index_t from) {
  StoreTile<T> to{s, stride};
  score_product(at, packed, keys, j0, n, in.q.shape[3], from, to);
  adjust(in, at, j0, n, s, stride, scratch, from);
}

template <class T>
void forward(const Inputs<T>& in, View<T> out, T* lse) {
  constexpr index_t NR = Params<T>::NR;
  constexpr index_t few = 4;  // queries; a panel computes a whole vector of them
  constexpr index_t task_work = index_t{1} << 18;
  const index_t b = in.q.shape[0], t = in.q.shape[1], h = in.q.shape[2], e = in.q.shape[3];
  const index_t s = in.k.shape[1], f = in.v.shape[3];
  if (b * t * h == 0) return;
  const index_t per_head = h / in.k.shape[2];
  const index_t work = std::max<index_t>(1, s * (e + f));
  if (t <= few) {
    parallel_for(b * h * t, std::max<index_t>(1, task_work / 4 / work),
                 [&](index_t, index_t begin, index_t end) {
                   Workspace<T> scores(static_cast<std::size_t>(s + Params<T>::lanes));
                   Workspace<float> drawn(in.p > 0 ? static_cast<std::size_t>(s) : 0);
                   for (index_t r = begin; r < end; ++r) {
                     const Queries at{r / (h * t), r / t % h, r % t, 1};
                     forward_one(in, at, scores.data(), drawn.data(), out, lse);
                   }
                 });
    return;
  }
  // A task packs keys and values once for all its queries. Bits do not depend on the tasks.
  const index_t panels = (t + NR - 1) / NR, wanted = 4 * thread_limit();
  index_t most = panels;
  while (most > 4 && b * h * ((panels + most - 1) / most) < wanted) most = (most + 1) / 2;
  const index_t parts = (panels + most - 1) / most;
  parallel_for(
      b * h * parts, std::max<index_t>(1, task_work / (std::min(t, most * NR) * work)),
      [&](index_t, index_t first, index_t last) {
        Forward<T> pass(in);
        Workspace<T> rows(static_cast<std::size_t>(s * (e + f)));
        for (index_t task = first; task < last; ++task) {
          // The longest parts of a causal pass first.
          const index_t part = parts - 1 - task / (b * h), pair = task % (b * h);
          const index_t i0 = part * most * NR, i1 = std::min(t, i0 + most * NR);
          const index_t from = seen(in, i0).begin, to = std::max(from, seen(in, i1 - 1).end);
          Queries at{pair / h, pair % h, i0, 0};
          const index_t group = at.h / per_head;
          const Rows<T> keys = adjacent_rows(in.k, at.b, group, from, to, rows.data());
          const Rows<T> values = adjacent_rows(in.v, at.b, group, from, to, rows.data() + s * e);
          for (; at.i < i1; at.i += NR) {
            at.count = std::min(NR, i1 - at.i);
            pass.run(at, keys, values, out, lse);
          }
        }
      });
}

template void forward<float>(const Inputs<float>&, View<float>, float*);
template void forward<double>(const Inputs<double>&, View<double>, double*);

#define KERNELMILL_SCORE_BLOCK(T)                                                             \
  template void score_block<T>(const Inputs<T>&, const Queries&, T*, const Rows<T>&, index_t, \
                               index_t, T*, index_t, T*, index_t);
KERNELMILL_SCORE_BLOCK(float)
KERNELMILL_SCORE_BLOCK(double)

}  // namespace kernelmill::attention
