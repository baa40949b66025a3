// Viterbi: v_t(j) = r_t(j) + log b_t(j) with r_0 = log pi, r_{t+1}(j) = max_i (v_t(i) + log A(i,
// j)).
//
// The rows r are kept instead of back pointers. Going back from state s at t + 1, the predecessor
// is the first i with v_t(i) + log A(i, s) equal to r_{t+1}(s): the same sum of the same numbers,
// so equality is exact and nothing has to be compared by size. That costs K additions a row on the
// path only, and the chain from one state to the next is a load, an addition, a comparison and the
// search for the lowest bit. In the way forth, the chain is a permute, an addition and the maxima.
//
// Up to 16 states, only the first row of each block of a long sequence is kept, and a block is run
// forth again before the way back through it: as quick as writing and reading all rows when they do
// not fit the caches, in a hundredth of the memory. More states cost more to run again than to
// keep: T x K numbers for r; v is made row by row.
//
// K = 8, AVX2, Zen 3: 25 cycles a row forth (the chain alone: 14), 50 back (the chain: about 30).
#include "ops/hmm.hpp"

#include <algorithm>  // std::fill_n
#include <bit>        // std::countr_zero
#include <cmath>      // INFINITY, NAN
#include <limits>     // std::numeric_limits

#include "core/parallel.hpp"   // parallel_for, check_interrupt
#include "core/workspace.hpp"  // rows
#include "ops/hmm_chain.hpp"   // vectors
#include "ops/hmm_plan.hpp"    // make_plan
#include "ops/hmm_rows.hpp"    // pack_rows

namespace kernelmill::hmm {
namespace {

// Rows r of a block are 256 KiB, so that they stay in the L2 cache; with more than 16 states,
// running forth again costs more than memory.
index_t block_of(index_t width) {
  return width > 16 ? std::numeric_limits<index_t>::max() : (index_t{1} << 15) / width;
}

// log A as the two passes read it. The way forth pads with -inf, which is never the best; the way
// back with NaN, which equals nothing, so that no state beyond K is found even where rows hold NaN.
struct LogTransition {
  explicit LogTransition(MatrixView<const double> a)
      : k(a.rows), width(padded(k)), forth(size()), back(size()) {
    std::fill_n(forth.data(), width * width, -INFINITY);
    std::fill_n(back.data(), width * width, NAN);
    for (index_t j = 0; j < k; ++j) {
      for (index_t i = 0; i < k; ++i) {
        forth.data()[place(i, j, width)] = a(i, j);
        back.data()[j * width + i] = a(i, j);
      }
    }
  }
  index_t k, width;
  Workspace<double> forth;  // as place() says
  Workspace<double> back;   // (j, i)

 private:
  std::size_t size() const { return static_cast<std::size_t>(width * width); }
};

// Rows [begin, end) of x as whole vectors: in place, or copied to `room`.
struct Padded {
  const double* rows;
  index_t step;
};
Padded whole_vectors(MatrixView<const double> x, index_t begin, index_t end, index_t width,
                     double* room) {
  if (x.col_stride == 1 && x.cols == width) return {x.row(begin), x.row_stride};
  pack_rows(x, begin, end, 0.0, room);
  return {room, width};
}

// Row r of the next step from v, columns [0, NV * lanes) of a panel.
template <int NV, int Chains>
[[gnu::always_inline]] inline void best_into(const double* v, const double* panel, index_t k,
                                             Vec (&best)[NV]) {
  Vec most[Chains][NV];
  KERNELMILL_UNROLL
  for (int c = 0; c < Chains; ++c) {
    KERNELMILL_UNROLL
    for (int n = 0; n < NV; ++n) most[c][n] = broadcast(-INFINITY);
  }
  for (index_t i = 0; i < k; i += Chains) {
    KERNELMILL_UNROLL
    for (int c = 0; c < Chains; ++c) {
      const Vec vi = broadcast(v[i + c]);
      KERNELMILL_UNROLL
      for (int n = 0; n < NV; ++n) {
        const Vec sum = vi + tile::load<Vec>(panel + ((i + c) * NV + n) * lanes);
        most[c][n] = vector_max(sum, most[c][n]);
      }
    }
  }
  KERNELMILL_UNROLL
  for (int n = 0; n < NV; ++n) {
    best[n] = most[0][n];
    KERNELMILL_UNROLL
    for (int c = 1; c < Chains; ++c) best[n] = vector_max(most[c][n], best[n]);
  }
}

// Rows r of `n` steps: r[0] is given, r[1] .. r[n] are written.
template <int NV>
void forth_small(const LogTransition& a, Padded x, index_t n, double* r) {
  constexpr int K = NV * lanes, chains = NV <= 2 && lanes > 2 ? 4 : 2;
  const double* const matrix = a.forth.data();
  Vec best[NV];
  KERNELMILL_UNROLL
  for (int v = 0; v < NV; ++v) best[v] = tile::load<Vec>(r + v * lanes);
  for (index_t t = 0; t < n; ++t) {
    Vec now[NV], most[chains][NV];
    KERNELMILL_UNROLL
    for (int v = 0; v < NV; ++v) now[v] = best[v] + tile::load<Vec>(x.rows + v * lanes);
    KERNELMILL_UNROLL
    for (int u = 0; u < NV; ++u) {
      each_swap(now[u], [&](auto step, const Vec& turned) {
        constexpr int s = step, chain = s % chains;
        KERNELMILL_UNROLL
        for (int v = 0; v < NV; ++v) {
          const Vec sum = turned + tile::load<Vec>(matrix + ((u * lanes + s) * NV + v) * lanes);
          most[chain][v] = u == 0 && s == chain ? sum : vector_max(sum, most[chain][v]);
        }
      });
    }
    r += K;
    x.rows += x.step;
    KERNELMILL_UNROLL
    for (int v = 0; v < NV; ++v) {
      best[v] = vector_max(most[1][v], most[0][v]);
      if constexpr (chains == 4) {
        best[v] = vector_max(vector_max(most[3][v], most[2][v]), best[v]);
      }
      tile::store(r + v * lanes, best[v]);
    }
  }
}

// v of one row: r plus row t of x, padded as r is.
void add_row(MatrixView<const double> x, index_t t, const double* r, index_t width, double* v) {
  for (index_t j = 0; j < x.cols; ++j) v[j] = r[j] + x(t, j);
  for (index_t j = x.cols; j < width; ++j) v[j] = r[j];
}

void forth_large(const LogTransition& a, MatrixView<const double> x, index_t n, double* r,
                 double* now) {
  for (index_t t = 0; t < n; ++t) {
    check_interrupt();
    add_row(x, t, r, a.width, now);
    r += a.width;
    for (index_t j = 0; j < a.width; j += panel_vectors * lanes) {
      const index_t left = std::min<index_t>(panel_vectors, (a.width - j) / lanes);
      by_vectors(left, [&]<int NV>() {
        if constexpr (NV > 0) {
          Vec best[NV];
          best_into<NV, 2>(now, a.forth.data() + j * a.width, a.width, best);
          KERNELMILL_UNROLL
          for (int v = 0; v < NV; ++v) tile::store(r + j + v * lanes, best[v]);
        }
      });
    }
  }
}

// Goes back over n rows: r[0] .. r[n] belong to rows 0 .. n, and state is that of row n. Writes n
// states, returns the first. There is room for n rows of v.
template <int NV>
index_t back_small(const LogTransition& a, Padded x, const double* r, double* v, index_t n,
                   index_t state, std::int32_t* states) {
  constexpr int K = NV * lanes;
  static_assert(K < 64);
  Mask bit[NV];  // 2^i in lane i
  for (int i = 0; i < K; ++i) bit[i / lanes][i % lanes] = std::int64_t{1} << i;
  for (index_t t = 0; t < n; ++t) {
    for (index_t j = 0; j < K; ++j) v[t * K + j] = r[t * K + j] + x.rows[t * x.step + j];
  }
  for (index_t t = n - 1; t >= 0; --t) {
    const Vec target = broadcast(r[(t + 1) * K + state]);
    Mask found{};
    KERNELMILL_UNROLL
    for (int m = 0; m < NV; ++m) {
      const Vec sum = tile::load<Vec>(v + t * K + m * lanes) +
                      tile::load<Vec>(a.back.data() + state * K + m * lanes);
      found |= (sum == target) & bit[m];
    }
    const auto bits = static_cast<std::uint64_t>(all_bits(found)[0]);
    state = bits == 0 ? 0 : std::countr_zero(bits);  // none is equal to a NaN
    states[t] = static_cast<std::int32_t>(state);
  }
  return state;
}

// The same with room for one row of v.
index_t back_large(const LogTransition& a, MatrixView<const double> x, const double* r, double* v,
                   index_t n, index_t state, std::int32_t* states) {
  for (index_t t = n - 1; t >= 0; --t) {
    add_row(x, t, r + t * a.width, a.width, v);
    const double* const log_a = a.back.data() + state * a.width;
    const Vec wanted = broadcast(r[(t + 1) * a.width + state]);
    state = 0;  // none is equal to a NaN
    for (index_t j = 0; j < a.width; j += lanes) {
      const Mask equal = tile::load<Vec>(v + j) + tile::load<Vec>(log_a + j) == wanted;
      if (!any(equal)) continue;
      index_t l = 0;
      while (equal[static_cast<int>(l)] == 0) ++l;
      state = j + l;
      break;
    }
    states[t] = static_cast<std::int32_t>(state);
  }
  return state;
}

// Room for sequences of up to `longest` rows.
struct Room {
  Room(index_t longest, index_t width)
      : block(std::min(block_of(width), longest)),
        first(static_cast<std::size_t>((longest / block + 1) * width)),
        r(static_cast<std::size_t>((block + 1) * width)),
        v(static_cast<std::size_t>((width > most_vectors * lanes ? 1 : block + 1) * width)) {}
  index_t block;
  Workspace<double> first;  // r of the first row of each block
  Workspace<double> r;      // rows of a block
  Workspace<double> v;      // of a block, or of one row where forth_large runs
};

// Rows r of the block that starts at row `begin`, and of the row after it, from their first one.
void run_forth(MatrixView<const double> x, const LogTransition& a, index_t begin, index_t count,
               const Room& room) {
  check_interrupt();
  const index_t vectors = a.width / lanes;
  std::copy_n(room.first.data() + begin / room.block * a.width, a.width, room.r.data());
  by_vectors(vectors, [&]<int NV>() {
    if constexpr (NV > 0) {
      const Padded rows = whole_vectors(x, begin, begin + count, a.width, room.v.data());
      forth_small<NV>(a, rows, count, room.r.data());
    } else {
      forth_large(a, x.row_range(begin, begin + count), count, room.r.data(), room.v.data());
    }
  });
}

double decode(MatrixView<const double> x, std::span<const double> log_start, const LogTransition& a,
              const Room& room, std::int32_t* states) {
  const index_t n = x.rows, steps = n - 1, width = a.width, vectors = width / lanes;
  double* const first = room.first.data();
  std::copy(log_start.begin(), log_start.end(), first);
  std::fill(first + a.k, first + width, -INFINITY);
  const double* last = first;
  for (index_t t = 0; t < steps; t += room.block) {
    const index_t count = std::min(room.block, steps - t);
    run_forth(x, a, t, count, room);
    last = room.r.data() + count * width;
    if (t + count < steps) std::copy_n(last, width, first + (t / room.block + 1) * width);
  }
  double log_prob = last[0] + x(steps, 0);
  index_t state = 0;
  for (index_t j = 1; j < a.k; ++j) {
    const double v = last[j] + x(steps, j);
    if (v > log_prob) {
      log_prob = v;
      state = j;
    }
  }
  states[steps] = static_cast<std::int32_t>(state);
  for (index_t end = steps; end > 0;) {
    const index_t begin = (end - 1) / room.block * room.block, count = end - begin;
    if (end < steps) run_forth(x, a, begin, count, room);  // those of the last block are there
    const double* const r = room.r.data();
    double* const v = room.v.data();
    state = by_vectors(vectors, [&]<int NV>() {
      if constexpr (NV > 0) {
        const Padded rows = whole_vectors(x, begin, end, width, v);
        return back_small<NV>(a, rows, r, v, count, state, states + begin);
      } else {
        return back_large(a, x.row_range(begin, end), r, v, count, state, states + begin);
      }
    });
    end = begin;
  }
  return log_prob;
}

}  // namespace

void viterbi(MatrixView<const double> log_density, std::span<const double> log_startprob,
             MatrixView<const double> log_transmat, Lengths lengths, std::int32_t* states,
             double* log_prob) {
  const LogTransition a(log_transmat);
  const Plan plan = make_plan(lengths, 10 + a.k + a.k * a.k / 6);
  std::fill_n(log_prob, lengths.size(), 0.0);
  const auto split = static_cast<index_t>(plan.split.size());
  parallel_for(split + plan.chunks(), 1, [&](index_t task, index_t, index_t) {
    std::span<const Span> spans;
    if (task < split) {
      spans = std::span(plan.split).subspan(static_cast<std::size_t>(task), 1);
    } else {
      const auto c = static_cast<std::size_t>(task - split);
      spans = std::span(plan.whole).subspan(plan.cut[c], plan.cut[c + 1] - plan.cut[c]);
    }
    index_t longest = 0;
    for (const Span& span : spans) longest = std::max(longest, span.length);
    const Room room(longest, a.width);
    for (const Span& span : spans) {
      log_prob[span.number] = decode(log_density.row_range(span.begin, span.begin + span.length),
                                     log_startprob, a, room, states + span.begin);
    }
  });
}

}  // namespace kernelmill::hmm
