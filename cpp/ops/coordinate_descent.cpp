#include "ops/coordinate_descent.hpp"

#include <algorithm>  // std::clamp, std::copy_n, std::fill_n, std::find, std::max
#include <cmath>      // std::fabs, std::sqrt
#include <limits>     // eps

#include "core/parallel.hpp"  // check_interrupt, parallel_for

namespace kernelmill::coordinate {
namespace {

// Sweeps over what moved, between two over all coordinates, which see what joins.
constexpr index_t kActiveSweeps = 9;
constexpr int kSteps = 5;            // differences of positions that are combined
constexpr double kRidge = 1e-12;     // of their products, as a share of the trace
constexpr double kMostWeight = 1e6;  // sum of sizes, by which rounding grows
// What a combination must gain, in gains of the sweeps that it is made of. Along directions in
// which the objective is flat it multiplies rounding by up to 1e6, for little: weights that repeat
// rows would no longer give the coefficients of repeated rows.
constexpr double kWorth = 10;
constexpr double kResolution = 1e-24;  // of squares; shorter differences are rounding

// Changes that wait, so that some rows of G are added in one go: four halve the loads and stores of
// the gradient. From 2048 features on rows come from memory, and two threads read faster than one.
constexpr std::size_t kPending = 8, kManyPending = 32;
constexpr index_t kManyFeatures = 2048, kColumns = 512;

}  // namespace

Descent::Descent(MatrixView<const double> gram, std::span<const std::int64_t> order,
                 index_t targets, bool positive)
    : d_(gram.rows),
      m_(targets),
      gram_(gram),
      order_(order.begin(), order.end()),
      positive_(positive),
      simple_(targets == 1 && gram.col_stride == 1),
      diagonal_(static_cast<std::size_t>(d_)),
      lengths_(static_cast<std::size_t>(d_)),
      steps_(static_cast<std::size_t>(d_)),
      inverse_l1_(static_cast<std::size_t>(d_)),
      half_l2_(static_cast<std::size_t>(d_)),
      rho_(static_cast<std::size_t>(m_)),
      change_(static_cast<std::size_t>(m_)),
      most_pending_(d_ >= kManyFeatures ? kManyPending : kPending) {
  pending_.reserve(most_pending_);
  pending_change_.reserve(most_pending_);
  std::vector<bool> visited(static_cast<std::size_t>(d_));
  for (const std::int64_t j : order_) visited[static_cast<std::size_t>(j)] = true;
  whole_ = std::find(visited.begin(), visited.end(), false) == visited.end();
  for (index_t j = 0; j < d_; ++j) {
    diagonal_[std::size_t(j)] = gram(j, j);
    lengths_[std::size_t(j)] = std::sqrt(std::max(gram(j, j), 0.0));
  }
}

void Descent::begin(const double* target, double square, const double* l1, const double* l2,
                    double* coef, double* gradient) {
  target_ = target;
  square_ = square;
  l1_ = l1;
  l2_ = l2;
  coef_ = coef;
  gradient_ = gradient;
  live_ = order_;
  bounded_ = false;
  remembered_ = 0;
  penalised_ = true;
  for (index_t j = 0; j < d_; ++j) penalised_ = penalised_ && !(l1[j] == 0.0 && l2[j] == 0.0);
  if (m_ != 1) return;
  for (index_t j = 0; j < d_; ++j) {
    const auto at = static_cast<std::size_t>(j);
    const double curvature = diagonal_[at] + l2[j];
    steps_[at] = curvature > 0.0 ? 1.0 / curvature : 0.0;
    inverse_l1_[at] = l2[j] == 0.0 && l1[j] > 0.0 ? 1.0 / l1[j] : 0.0;
    half_l2_[at] = l2[j] > 0.0 ? 0.5 / l2[j] : 0.0;
  }
}

std::tuple<index_t, double> Descent::run(double tol, index_t sweeps) {
  index_t taken = 0;
  if (order_.empty()) sweeps = 0;
  // A small gap leaves coefficients of collinear features far away: the last sweep must have moved
  // none by more than a share of the largest that goes with the tolerance. Diabetes at alpha_max /
  // 1000 ended 7 % from the optimum without, 0.5 % with 1e-4 (scikit-learn: 0.15 %); with 1e-4 at a
  // tolerance of 1e-8, too, it was 0.4 % off at alpha=1e-4, now 2e-6. Working sets ask for 0.3 of
  // the tolerance, which is why it is 4 times as much.
  const double relative = square_ > 0.0 ? tol / square_ : 0.0;
  const double share = std::max(relative, std::clamp(4 * relative, 1e-10, 1e-4));
  bool settled = true;  // what was right before has nothing to prove
  for (double gap = best_gap();; gap = best_gap()) {
    if ((gap <= tol && settled) || taken >= sweeps) return {taken, gap};
    screen(gap);
    const double first = sweep(false);
    ++taken;
    settled = first <= share * share * longest();
    if (!(first > 0.0)) continue;
    remember();
    if (settled && best_gap() <= tol) continue;
    for (index_t s = 0; s < kActiveSweeps; ++s) {
      const double moved = sweep(true);
      if (moved <= 0.01 * first) {
        const double little = share * share * longest();
        settled = moved <= little && called() <= little;
        break;
      }
      remember();
    }
  }
}

// The largest G_jj |change|^2 of the coordinates that are zero, if each were alone to move.
double Descent::called() const {
  double largest = 0;
  for (const index_t j : live_) {
    if (!zero(coef_ + j * m_)) continue;
    const double square = diagonal_[std::size_t(j)], over = norm(gradient_, j) - l1_[j];
    const double curvature = square + l2_[j];
    if (!(over <= 0.0) && curvature > 0.0) {
      largest = std::max(largest, square * over * over / (curvature * curvature));
    }
  }
  return largest;
}

// The largest G_jj |B_j|^2.
double Descent::longest() const {
  double largest = 0;
  for (index_t j = 0; j < d_; ++j) {
    double size = 0;
    for (index_t p = j * m_; p < (j + 1) * m_; ++p) size += coef_[p] * coef_[p];
    largest = std::max(largest, diagonal_[std::size_t(j)] * size);
  }
  return largest;
}

// The largest G_jj |change|^2 of a sweep.
double Descent::sweep(bool active) {
  if (simple_) return sweep_one(active);
  double largest = 0;
  for (const index_t j : live_) {
    double* const b = coef_ + j * m_;
    if (active && zero(b)) continue;
    const double square = diagonal_[std::size_t(j)], curvature = square + l2_[j];
    const double* const a = gradient_ + j * m_;
    double norm = 0;
    for (index_t t = 0; t < m_; ++t) {
      double rho = a[t] + square * b[t];
      if (positive_) rho = rho < 0.0 ? 0.0 : rho;
      rho_[std::size_t(t)] = rho;
      norm += rho * rho;
    }
    norm = std::sqrt(norm);
    const bool moves = curvature > 0.0 && !(norm <= l1_[j]);
    const double factor = moves ? (1.0 - l1_[j] / norm) / curvature : 0.0;
    double size = 0;
    bool changed = false;
    for (index_t t = 0; t < m_; ++t) {
      const double after = moves ? rho_[std::size_t(t)] * factor : 0.0;
      const double change = after - b[t];
      change_[std::size_t(t)] = change;
      changed = changed || !(change == 0.0);
      size += change * change;
      b[t] = after;
    }
    if (!changed) continue;
    move(j, gradient_);
    largest = std::max(largest, square * size);
    if ((++moved_ & 255) == 0) check_interrupt();
  }
  return largest;
}

// The same for one target: a coordinate sees the changes that the gradient still lacks.
double Descent::sweep_one(bool active) {
  double largest = 0;
  for (const index_t j : live_) {
    const double b = coef_[j];
    if (active && b == 0.0) continue;
    double a = gradient_[j];
    for (std::size_t p = 0; p < pending_.size(); ++p) a -= pending_[p][j] * pending_change_[p];
    const double square = diagonal_[std::size_t(j)], l1 = l1_[j], step = steps_[std::size_t(j)];
    double rho = a + square * b;
    if (positive_) rho = rho < 0.0 ? 0.0 : rho;
    double after = 0;
    if (step > 0.0 && !(std::fabs(rho) <= l1)) {
      // b and a step, rather than what rho gives: where a is l1 within rounding, b stays as it is.
      after = b + (a - std::copysign(l1, rho) - l2_[j] * b) * step;
      if (after * rho < 0.0) after = 0;
    }
    const double change = after - b;
    coef_[j] = after;
    if (change == 0.0) continue;
    pending_.push_back(gram_.row(j));
    pending_change_.push_back(change);
    if (pending_.size() == most_pending_) flush(gradient_);
    largest = std::max(largest, square * change * change);
    if ((++moved_ & 255) == 0) check_interrupt();
  }
  flush(gradient_);
  return largest;
}

// gradient -= G_j change'.
void Descent::move(index_t j, double* gradient) {
  for (index_t p = 0; p < d_; ++p) {
    const double g = gram_(j, p);
    for (index_t t = 0; t < m_; ++t) gradient[p * m_ + t] -= g * change_[std::size_t(t)];
  }
}

void Descent::flush(double* to) {
  const std::size_t count = pending_.size();
  const auto apply = [&](index_t, index_t begin, index_t end) {
    std::size_t p = 0;
    for (; p + 4 <= count; p += 4) {
      const double *g0 = pending_[p], *g1 = pending_[p + 1], *g2 = pending_[p + 2],
                   *g3 = pending_[p + 3];
      const double *c = pending_change_.data() + p, c0 = c[0], c1 = c[1], c2 = c[2], c3 = c[3];
#pragma omp simd
      for (index_t q = begin; q < end; ++q) {
        to[q] = to[q] - g0[q] * c0 - g1[q] * c1 - g2[q] * c2 - g3[q] * c3;
      }
    }
    for (; p < count; ++p) {
      const double* const g = pending_[p];
      const double c = pending_change_[p];
#pragma omp simd
      for (index_t q = begin; q < end; ++q) to[q] -= g[q] * c;
    }
  };
  if (d_ >= kManyFeatures && count >= kPending) {
    parallel_for(d_, kColumns, apply);
  } else if (count > 0) {
    apply(0, 0, d_);
  }
  pending_.clear();
  pending_change_.clear();
}

bool Descent::zero(const double* b) const {
  for (index_t t = 0; t < m_; ++t) {
    if (b[t] != 0.0) return false;
  }
  return true;
}

// The norm of a row of slopes, of its positive part where that is what counts.
double Descent::norm(const double* slope, index_t j) const {
  if (m_ == 1) return std::fabs(positive_ && slope[j] < 0.0 ? 0.0 : slope[j]);
  double norm = 0;
  for (index_t t = 0; t < m_; ++t) {
    double a = slope[j * m_ + t];
    if (positive_) a = a < 0.0 ? 0.0 : a;
    norm += a * a;
  }
  return std::sqrt(norm);
}

// What a residual with these slopes is multiplied by to be a point of the dual.
double Descent::scale(const double* slope) const {
  if (m_ == 1) {
    const double least = positive_ ? 0.0 : -std::numeric_limits<double>::infinity();
    const double* const inverse = inverse_l1_.data();
    double most = 1;
#pragma omp simd reduction(max : most)
    for (index_t j = 0; j < d_; ++j) {
      const double share = std::fabs(slope[j] < least ? 0.0 : slope[j]) * inverse[j];
      most = share > most ? share : most;
    }
    return 1 / most;
  }
  double scale = 1;
  for (index_t j = 0; j < d_; ++j) {
    if (!(l2_[j] == 0.0 && l1_[j] > 0.0)) continue;
    const double size = norm(slope, j);
    if (size * scale > l1_[j]) scale = l1_[j] / size;
  }
  return scale;
}

double Descent::residual() const {
  double explained = 0;
  const index_t size = d_ * m_;
#pragma omp simd reduction(+ : explained)
  for (index_t p = 0; p < size; ++p) explained += (target_[p] + gradient_[p]) * coef_[p];
  const double left = square_ - explained;
  return left < 0.0 ? 0.0 : left;
}

// Of the position and the residual at `dual`, where the slopes are `slope`.
double Descent::gap(const double* dual, const double* slope) const {
  if (m_ == 1 && penalised_) return gap_one(dual, slope);
  const double c = scale(slope);
  double along = 0, apart = 0;
  for (index_t p = 0; p < d_ * m_; ++p) {
    const double delta = dual[p] - coef_[p];
    along += gradient_[p] * delta;
    apart += delta * (gradient_[p] - slope[p]);
  }
  double gap = 0.5 * ((1 - c) * (1 - c) * residual() + 2 * c * (1 - c) * along + c * c * apart);
  gap = gap < 0.0 ? 0.0 : gap;
  for (index_t j = 0; j < d_; ++j) {
    const double size = norm(slope, j);
    if (l1_[j] == 0.0 && l2_[j] == 0.0) {
      if (diagonal_[std::size_t(j)] > 0.0) gap += size * size / (2 * diagonal_[std::size_t(j)]);
      continue;
    }
    double b = 0, product = 0;
    for (index_t t = 0; t < m_; ++t) {
      const index_t at = j * m_ + t;
      b += coef_[at] * coef_[at];
      product += slope[at] * coef_[at];
    }
    b = std::sqrt(b);
    const double past = c * size - l1_[j], beyond = past < 0.0 ? 0.0 : past;
    gap += l1_[j] * b + l2_[j] / 2 * b * b - c * product;
    if (l2_[j] > 0.0) gap += beyond * beyond / (2 * l2_[j]);
  }
  return gap;
}

double Descent::gap_one(const double* dual, const double* slope) const {
  const double c = scale(slope), *const half = half_l2_.data();
  const double least = positive_ ? 0.0 : -std::numeric_limits<double>::infinity();
  double along = 0, apart = 0, rest = 0;
#pragma omp simd reduction(+ : along, apart, rest)
  for (index_t j = 0; j < d_; ++j) {
    const double b = coef_[j], delta = dual[j] - b;
    along += gradient_[j] * delta;
    apart += delta * (gradient_[j] - slope[j]);
    const double size = std::fabs(slope[j] < least ? 0.0 : slope[j]);
    const double past = c * size - l1_[j], beyond = past * past * half[j];
    rest +=
        l1_[j] * std::fabs(b) + l2_[j] / 2 * b * b - c * slope[j] * b + (past > 0.0 ? beyond : 0.0);
  }
  const double gap =
      0.5 * ((1 - c) * (1 - c) * residual() + 2 * c * (1 - c) * along + c * c * apart);
  return (gap < 0.0 ? 0.0 : gap) + rest;
}

// The least gap with the residual here, and with the best of those that were combined.
double Descent::best_gap() {
  const double here = gap(coef_, gradient_);
  if (!bounded_) return here;
  const index_t size = d_ * m_;
  double* const dual = memory_.data() + 2 * (kSteps + 2) * size;
  const double other = gap(dual, dual + size);
  if (other < here) return other;
  std::copy_n(coef_, size, dual);
  std::copy_n(gradient_, size, dual + size);
  return here;
}

// Leaves out coordinates that are zero now and, by the sphere around the dual point that holds the
// best one, at the optimum.
void Descent::screen(double gap) {
  if (!penalised_ || !whole_) return;
  const double eps = std::numeric_limits<double>::epsilon();
  const double radius = std::sqrt(2 * (gap + double(d_ + 8) * eps * square_));
  const double* const slope =
      bounded_ ? memory_.data() + (2 * (kSteps + 2) + 1) * d_ * m_ : gradient_;
  const double c = scale(slope);
  std::erase_if(live_, [&](std::int64_t j) {
    return zero(coef_ + j * m_) && c * norm(slope, j) + lengths_[std::size_t(j)] * radius < l1_[j];
  });
}

// By how much the objective falls between two positions.
double Descent::gain(const double* from, const double* slope, const double* coef,
                     const double* gradient) const {
  double gain = 0;
  if (m_ == 1) {
#pragma omp simd reduction(+ : gain)
    for (index_t j = 0; j < d_; ++j) {
      const double product = (slope[j] + gradient[j]) * (coef[j] - from[j]);
      const double before = std::fabs(from[j]), after = std::fabs(coef[j]);
      gain += product / 2 - (after - before) * (l1_[j] + l2_[j] / 2 * (after + before));
    }
    return gain;
  }
  for (index_t j = 0; j < d_; ++j) {
    double before = 0, after = 0, product = 0;
    for (index_t p = j * m_; p < (j + 1) * m_; ++p) {
      before += from[p] * from[p];
      after += coef[p] * coef[p];
      product += (slope[p] + gradient[p]) * (coef[p] - from[p]);
    }
    before = std::sqrt(before);
    after = std::sqrt(after);
    gain += product / 2 - (after - before) * (l1_[j] + l2_[j] / 2 * (after + before));
  }
  return gain;
}

// Moves there if the objective falls by more than `least`. What is zero here stays so, and what
// would change its sign becomes zero, or be negative where it must not: sums of positions have no
// zeros of their own.
bool Descent::adopt(double* coef, double* gradient, double least) {
  const index_t size = d_ * m_;
  for (index_t j = 0; j < d_; ++j) {
    double* const b = coef + j * m_;
    const bool leaves = m_ == 1 ? !(b[0] * coef_[j] > 0.0) : zero(coef_ + j * m_);
    for (index_t t = 0; t < m_; ++t) {
      const double own = b[t];
      if (own == 0.0 || !(leaves || (positive_ && own < 0.0))) continue;
      for (index_t p = 0; p < d_; ++p) gradient[p * m_ + t] += gram_(j, p) * own;
      b[t] = 0.0;
    }
  }
  if (!(gain(coef_, gradient_, coef, gradient) > least)) return false;
  std::copy_n(coef, size, coef_);
  std::copy_n(gradient, size, gradient_);
  return true;
}

void Descent::predict(const double* coef, const double* gradient, double t) {
  const index_t size = d_ * m_;
  memory_.resize(static_cast<std::size_t>(2 * (kSteps + 3) * size));
  double *const b = memory_.data(), *const a = b + size;
  for (index_t p = 0; p < size; ++p) {
    b[p] = coef_[p] + t * (coef_[p] - coef[p]);
    a[p] = gradient_[p] + t * (gradient_[p] - gradient[p]);
  }
  adopt(b, a, 0.0);
}

// Positions after sweeps: kSteps + 1 of them, then the combination, then the dual point.
void Descent::remember() {
  const index_t size = d_ * m_;
  memory_.resize(static_cast<std::size_t>(2 * (kSteps + 3) * size));
  const auto keep = [&] {
    double* const to = memory_.data() + 2 * remembered_++ * size;
    std::copy_n(coef_, size, to);
    std::copy_n(gradient_, size, to + size);
  };
  keep();
  if (remembered_ <= kSteps) return;
  extrapolate();
  remembered_ = 0;
  keep();
}

// Weights of sum 1 for which the combined difference is least.
bool Descent::weigh(double* weights) const {
  const index_t size = d_ * m_;
  double products[kSteps][kSteps] = {}, trace = 0, explained = 0;
  for (int k = 0; k < kSteps; ++k) {
    const double *const b = memory_.data() + 2 * k * size, *const b1 = b + 2 * size;
    const double *const a = b + size, *const a1 = b1 + size;
    for (int l = 0; l <= k; ++l) {
      const double *const e = memory_.data() + 2 * l * size, *const e1 = e + 2 * size;
      const double *const f = e + size, *const f1 = e1 + size;
      double sum = 0;
      for (index_t j = 0; j < d_; ++j) {
        for (index_t p = j * m_; p < (j + 1) * m_; ++p) {
          const double step = b1[p] - b[p], other = e1[p] - e[p];
          sum += l2_[j] * step * other - (step * (f1[p] - f[p]) + other * (a1[p] - a[p])) / 2;
        }
      }
      products[k][l] = sum;
    }
    trace += products[k][k];
  }
  for (index_t p = 0; p < size; ++p) explained += (target_[p] + gradient_[p]) * coef_[p];
  if (!(trace > kResolution * std::fabs(explained))) return false;
  double total = 0, sizes = 0;
  for (int k = 0; k < kSteps; ++k) {  // Cholesky, and L z = 1
    products[k][k] += kRidge * trace;
    for (int l = 0; l <= k; ++l) {
      double sum = products[k][l];
      for (int p = 0; p < l; ++p) sum -= products[k][p] * products[l][p];
      if (l < k) {
        products[k][l] = sum / products[l][l];
      } else if (!(sum > 0.0)) {
        return false;
      } else {
        products[k][k] = std::sqrt(sum);
      }
    }
    double sum = 1;
    for (int p = 0; p < k; ++p) sum -= products[k][p] * weights[p];
    weights[k] = sum / products[k][k];
  }
  for (int k = kSteps - 1; k >= 0; --k) {
    for (int p = k + 1; p < kSteps; ++p) weights[k] -= products[p][k] * weights[p];
    weights[k] /= products[k][k];
    total += weights[k];
    sizes += std::fabs(weights[k]);
  }
  for (int k = 0; k < kSteps; ++k) weights[k] /= total;
  return sizes <= kMostWeight * std::fabs(total);
}

// Q - G B anew: of gradients that are combined, errors would be as large as the weights.
void Descent::slopes(const double* coef, double* gradient) {
  std::copy_n(target_, d_ * m_, gradient);
  for (index_t j = 0; j < d_; ++j) {
    const double* const b = coef + j * m_;
    if (zero(b)) continue;
    if (simple_) {
      pending_.push_back(gram_.row(j));
      pending_change_.push_back(b[0]);
      if (pending_.size() == most_pending_) flush(gradient);
    } else {
      std::copy_n(b, m_, change_.data());
      move(j, gradient);
    }
  }
  flush(gradient);
}

void Descent::extrapolate() {
  double weights[kSteps];
  if (!weigh(weights)) return;
  const index_t size = d_ * m_;
  double *const b = memory_.data() + 2 * (kSteps + 1) * size, *const dual = b + 2 * size;
  const double* const last = memory_.data() + 2 * kSteps * size;
  std::copy_n(last, size, b);
  for (int k = 0; k + 1 < kSteps; ++k) {
    const double *const at = memory_.data() + 2 * (k + 1) * size, c = weights[k];
#pragma omp simd
    for (index_t p = 0; p < size; ++p) b[p] += c * (at[p] - last[p]);
  }
  slopes(b, b + size);
  const double* const first = memory_.data();
  const double swept = gain(first, first + size, coef_, gradient_);
  if (adopt(b, b + size, kWorth * swept) || !penalised_) return;
  if (bounded_ && !(gap(b, b + size) < gap(dual, dual + size))) return;
  std::copy_n(b, 2 * size, dual);
  bounded_ = true;
}

}  // namespace kernelmill::coordinate
