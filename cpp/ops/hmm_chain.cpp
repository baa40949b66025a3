#include "ops/hmm_chain.hpp"

#include <algorithm>  // std::max, std::min, std::fill_n
#include <cmath>      // std::ilogb, std::scalbn, std::isfinite

#include "core/parallel.hpp"  // check_interrupt

namespace kernelmill::hmm {

Transition::Transition(MatrixView<const double> m, bool norm_of_sums)
    : k_(m.rows),
      vectors_(vectors_of(m.rows)),
      matrix_(static_cast<std::size_t>(width() * width())),
      reach_(static_cast<std::size_t>(width())) {
  double largest = 0, smallest = INFINITY;  // the smallest but 0
  bool zeros = false, valid = true;
  for (index_t i = 0; i < k_; ++i) {
    for (index_t j = 0; j < k_; ++j) {
      const double x = m(i, j);
      valid = valid && x >= 0;  // not for NaN
      largest = std::max(largest, x);
      zeros = zeros || x == 0;
      if (x > 0) smallest = std::min(smallest, x);
    }
  }
  usable_ = valid && largest > 0 && std::isfinite(largest);
  if (!usable_) return;
  exponent_ = std::ilogb(largest);
  const auto scaled = [&](double x) { return std::scalbn(x, -static_cast<int>(exponent_)); };
  const double least = scaled(smallest);
  guarded_ = zeros || least < 0x1p-100;
  smooth_ = least >= 0x1p-130;

  const index_t w = width();
  std::fill_n(matrix_.data(), w * w, 0.0);
  std::fill_n(reach_.data(), w, 0.0);
  for (index_t j = 0; j < k_; ++j) {
    double sum = 0, most = 0;
    for (index_t i = 0; i < k_; ++i) {
      const double x = scaled(m(i, j));
      matrix_.data()[place(i, j, w)] = x;
      sum += x;
      most = std::max(most, x);
    }
    reach_.data()[j] = norm_of_sums ? most : sum;
    if (!norm_of_sums) growth_ = std::max(growth_, sum);
  }
  for (index_t i = 0; norm_of_sums && i < k_; ++i) {
    double sum = 0;
    for (index_t j = 0; j < k_; ++j) sum += scaled(m(i, j));
    growth_ = std::max(growth_, sum);
  }
}

namespace {

// 2^-floor(log2 s) in every lane, for s in all lanes, normal and positive.
[[gnu::always_inline]] inline Vec inverse_power(const Vec& s) {
  const Mask bits = std::bit_cast<Mask>(s) & (std::int64_t{0x7ff} << 52);
  return std::bit_cast<Vec>((Mask{} + (std::int64_t{2046} << 52)) - bits);
}

[[gnu::always_inline]] inline std::int64_t exponent_of(double s) {
  return (std::bit_cast<std::int64_t>(s) >> 52) - 1023;
}

// Rows of NV vectors. Arrays of constant size are registers.
template <int NV, bool Guarded, bool Before>
bool run_small(const Transition& m, Carry& carry, Rows rows, index_t n) {
  const double* const matrix = m.matrix();
  const double* const reach = m.reach();
  const double per_row = lost_per_entry * static_cast<double>(m.k());
  Vec p[NV];
  KERNELMILL_UNROLL
  for (int v = 0; v < NV; ++v) p[v] = tile::load<Vec>(carry.p.data() + v * lanes);
  Vec f = broadcast(carry.f);
  double lost = carry.lost, kept = 0;
  std::int64_t exponent = carry.exponent;
  for (index_t t = 0; t < n; ++t) {
    Vec a[NV], sum{};
    KERNELMILL_UNROLL
    for (int v = 0; v < NV; ++v) {
      a[v] = p[v] * (tile::load<Vec>(rows.b + v * lanes) * f);
      tile::store(rows.out + v * lanes, Before ? p[v] : a[v]);
    }
    KERNELMILL_UNROLL
    for (int v = 0; v < NV; ++v) sum += a[v];
    sum = all_sum(sum);
    if (rows.factors != nullptr) *rows.factors++ = f[0];
    if (!(sum[0] >= least_kept)) return false;
    if constexpr (Guarded) {
      Mask loses{};
      KERNELMILL_UNROLL
      for (int v = 0; v < NV; ++v) {
        const Vec b = tile::load<Vec>(rows.b + v * lanes);
        loses |= (p[v] > 0.0) & (b > 0.0) & (a[v] < tiny_entry);
      }
      if (lost > 0) [[unlikely]] {
        // `lost` is that of the row before, so p was made from it.
        Mask thin{};
        const Vec limit = broadcast(lost * dominated);
        KERNELMILL_UNROLL
        for (int v = 0; v < NV; ++v) {
          thin |= p[v] < limit * tile::load<Vec>(reach + v * lanes);
        }
        lost = any(thin) ? lost * m.growth() * f[0] : 0;
      }
      if (!m.smooth() || any(loses)) [[unlikely]]
        lost += per_row;
      if (!(lost <= rows.allowed * sum[0])) return false;
    }
    f = inverse_power(sum);
    exponent += exponent_of(sum[0]);
    kept = sum[0] * f[0];
    // Two vectors of p at a time: four chains of additions for each, which fill the registers.
    constexpr int chains = lanes > 2 ? 4 : 2;
    KERNELMILL_UNROLL
    for (int first = 0; first < NV; first += 2) {
      const int count = first + 1 < NV ? 2 : 1;
      Vec partial[2][chains];
      KERNELMILL_UNROLL
      for (int u = 0; u < NV; ++u) {
        each_swap(a[u], [&](auto step, const Vec& turned) {
          constexpr int s = step, chain = s % chains;
          const double* const diagonal = matrix + ((u * lanes + s) * NV + first) * lanes;
          KERNELMILL_UNROLL
          for (int v = 0; v < count; ++v) {
            const Vec term = turned * tile::load<Vec>(diagonal + v * lanes);
            partial[v][chain] = u == 0 && s == chain ? term : partial[v][chain] + term;
          }
        });
      }
      KERNELMILL_UNROLL
      for (int v = 0; v < count; ++v) {
        Vec total = partial[v][0] + partial[v][1];
        if constexpr (chains == 4) total += partial[v][2] + partial[v][3];
        p[first + v] = total;
      }
    }
    rows.b += rows.b_step;
    rows.out += rows.out_step;
  }
  KERNELMILL_UNROLL
  for (int v = 0; v < NV; ++v) tile::store(carry.p.data() + v * lanes, p[v]);
  carry.f = f[0];
  carry.lost = lost;
  carry.kept = kept;
  carry.exponent = exponent;
  return true;
}

// Columns [0, NV * lanes) of a panel: p = a M.
template <int NV>
void multiply_panel(const double* a, const double* panel, index_t k, double* p) {
  Vec even[NV]{}, odd[NV]{};
  for (index_t i = 0; i < k; i += 2) {  // k is padded: even
    const Vec a0 = broadcast(a[i]), a1 = broadcast(a[i + 1]);
    KERNELMILL_UNROLL
    for (int v = 0; v < NV; ++v) {
      even[v] += a0 * tile::load<Vec>(panel + v * lanes);
      odd[v] += a1 * tile::load<Vec>(panel + (NV + v) * lanes);
    }
    panel += 2 * NV * lanes;
  }
  KERNELMILL_UNROLL
  for (int v = 0; v < NV; ++v) tile::store(p + v * lanes, even[v] + odd[v]);
}

void multiply(const Transition& m, const double* a, double* p) {
  const index_t w = m.width();
  for (index_t v = 0; v < m.vectors(); v += panel_vectors) {
    const index_t left = std::min<index_t>(panel_vectors, m.vectors() - v);
    by_vectors(left, [&]<int NV>() {
      if constexpr (NV > 0) {
        multiply_panel<NV>(a, m.matrix() + v * lanes * w, w, p + v * lanes);
      }
    });
  }
}

template <bool Guarded, bool Before>
bool run_large(const Transition& m, Carry& carry, Rows rows, index_t n) {
  const index_t w = m.width();
  const double* const reach = m.reach();
  double* const p = carry.p.data();
  double* const a = p + w;
  const double per_row = lost_per_entry * static_cast<double>(m.k());
  Vec f = broadcast(carry.f);
  for (index_t t = 0; t < n; ++t) {
    Vec sum{};
    Mask loses{}, thin{};
    const Vec limit = broadcast(carry.lost * dominated);
    for (index_t j = 0; j < w; j += lanes) {
      const Vec pj = tile::load<Vec>(p + j), bj = tile::load<Vec>(rows.b + j);
      const Vec aj = pj * (bj * f);
      tile::store(a + j, aj);
      tile::store(rows.out + j, Before ? pj : aj);
      sum += aj;
      if constexpr (Guarded) {
        loses |= (pj > 0.0) & (bj > 0.0) & (aj < tiny_entry);
        thin |= pj < limit * tile::load<Vec>(reach + j);
      }
    }
    sum = all_sum(sum);
    if (rows.factors != nullptr) *rows.factors++ = f[0];
    if (!(sum[0] >= least_kept)) return false;
    if constexpr (Guarded) {
      carry.lost = any(thin) ? carry.lost * m.growth() * f[0] : 0;
      if (!m.smooth() || any(loses)) carry.lost += per_row;
      if (!(carry.lost <= rows.allowed * sum[0])) return false;
    }
    f = inverse_power(sum);
    carry.exponent += exponent_of(sum[0]);
    carry.kept = sum[0] * f[0];
    multiply(m, a, p);
    rows.b += rows.b_step;
    rows.out += rows.out_step;
  }
  carry.f = f[0];
  return true;
}

}  // namespace

template <bool Before>
bool run_chain(const Transition& m, Carry& carry, Rows rows, index_t n) {
  // A slice between two looks at the clock takes some 20 us.
  const index_t slice = std::max<index_t>(1, (index_t{1} << 18) / (m.width() * m.width() + 64));
  for (index_t t = 0; t < n; t += slice) {
    check_interrupt();
    const index_t count = std::min(slice, n - t);
    const bool good = by_vectors(m.vectors(), [&]<int NV>() {
      if constexpr (NV > 0) {
        return m.guarded() ? run_small<NV, true, Before>(m, carry, rows, count)
                           : run_small<NV, false, Before>(m, carry, rows, count);
      } else {
        return m.guarded() ? run_large<true, Before>(m, carry, rows, count)
                           : run_large<false, Before>(m, carry, rows, count);
      }
    });
    if (!good) return false;
    rows.b += count * rows.b_step;
    rows.out += count * rows.out_step;
    if (rows.factors != nullptr) rows.factors += count;
  }
  return true;
}

template bool run_chain<false>(const Transition&, Carry&, Rows, index_t);
template bool run_chain<true>(const Transition&, Carry&, Rows, index_t);

}  // namespace kernelmill::hmm
