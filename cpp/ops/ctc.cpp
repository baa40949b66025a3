// The states of a target of S labels are S + 1 blanks b_0, ..., b_S and the labels l_0, ...,
// l_{S-1} between them, kept apart so that loops run over neighbours of one kind. With skip_i = 1
// where l_i differs from l_{i-1}, and sums in log space,
//
//   B_t(i) = y_t(blank) (B_{t-1}(i) + L_{t-1}(i-1))
//   L_t(i) = y_t(l_i)   (L_{t-1}(i) + B_{t-1}(i) + skip_i L_{t-1}(i-1))
//
// are alpha of blanks and labels. They start from a row before the first step with B(0) = 1 and all
// else 0, which makes the first step like the others, and no steps at all a case of the same: p is
// B(S) + L(S-1) of the last row. Backward, with b, l for beta and B = y b, L = y l of the next
// step,
//
//   b_t(i) = B(i) + L(i)        l_t(i) = L(i) + B(i+1) + skip_{i+1} L(i+1)
//
// from a row behind the last step with B(S) = 1 and all else 0. A zero before the first label and
// one behind the last spare the loops their ends, and both kinds are filled up with impossible
// states (y = 0) to whole vectors: no other state follows or comes from them but by y = 0.
//
// Sums of two or three terms take the largest out, which is their only one that needs no
// exponential: 3 exponentials and 2 logarithms a label and step, 2 exponentials for gamma,
// vectorised over i.
#include "ops/ctc.hpp"

#include <algorithm>  // std::fill_n, std::max
#include <cmath>      // INFINITY

#include "core/math.hpp"       // exp, log
#include "core/parallel.hpp"   // parallel_for, check_interrupt
#include "core/workspace.hpp"  // rows

namespace kernelmill::ctc {
namespace {

// Labels and steps of a task: about 20 us.
constexpr index_t kTask = 2000;

// What to take out before exp: nothing where all is -inf.
KERNELMILL_INLINE double shift_of(double largest) { return largest == -INFINITY ? 0.0 : largest; }

// The choices are such that a NaN on either side gets through.
KERNELMILL_INLINE double log_add(double a, double b) {
  const double high = a > b ? a : b, low = a > b ? b : a;
  const double sum = high + kernelmill::log(1.0 + kernelmill::exp(low - shift_of(high)));
  return high == -INFINITY ? low : sum;
}

KERNELMILL_INLINE double log_add(double a, double b, double c) {
  const double high = a > b ? a : b, low = a > b ? b : a;
  const double top = high > c ? high : c, mid = high > c ? c : high, shift = shift_of(top);
  const double others = kernelmill::exp(mid - shift) + kernelmill::exp(low - shift);
  return top == -INFINITY ? mid + low : top + kernelmill::log(1.0 + others);
}

constexpr index_t kLanes = 8;

// One row of either recursion: blanks, then labels with a zero (-inf) on both sides; of both
// `width`, a multiple of kLanes above S.
struct Row {
  double* data;
  index_t width;
  double* blanks() const { return data; }
  double* labels() const { return data + width + 1; }
  static index_t size(index_t width) { return 2 * width + 2; }
  // Everything impossible but the given blank.
  void start(index_t blank) const {
    std::fill_n(data, size(width), -INFINITY);
    data[blank] = 0.0;
  }
};

template <class T>
class Sample {
 public:
  Sample(CubeView<const T> log_probs, index_t n, index_t steps, const std::int64_t* labels,
         index_t stride, index_t s, index_t blank)
      : y_(log_probs.data + n * log_probs.strides[1]),
        step_(log_probs.strides[0]),
        cls_(log_probs.strides[2]),
        blank_(blank),
        steps_(steps),
        s_(s),
        width_((s / kLanes + 1) * kLanes),
        room_(static_cast<std::size_t>(2 * width_ + 1)),
        labels_(static_cast<std::size_t>(s)) {
    std::fill_n(y(), width_, -INFINITY);
    std::fill_n(skips(), width_ + 1, 0.0);
    for (index_t i = 0; i < s; ++i) {
      labels_.data()[i] = labels[i * stride];
      if (i > 0 && labels[i * stride] != labels[(i - 1) * stride]) skips()[i] = 1.0;
    }
  }

  index_t width() const { return width_; }

  // log p; rows[t + 1] is alpha_t. With `keep` false only two rows take turns.
  double alpha(double* rows, bool keep) const {
    const index_t size = Row::size(width_);
    Row row{rows, width_};
    row.start(0);
    for (index_t t = 0; t < steps_; ++t) {
      check_interrupt();
      const Row next{rows + (keep ? t + 1 : (t + 1) % 2) * size, width_};
      const double y_blank = emitted(t);
      const double *b = row.blanks(), *l = row.labels();
      double *nb = next.blanks(), *nl = next.labels();
      nl[-1] = nl[width_] = -INFINITY;
#pragma omp simd
      for (index_t i = 0; i < width_; ++i) nb[i] = y_blank + log_add(b[i], l[i - 1]);
#pragma omp simd
      for (index_t i = 0; i < width_; ++i) {
        const double skipped = skips()[i] != 0.0 ? l[i - 1] : -INFINITY;
        nl[i] = y()[i] + log_add(l[i], b[i], skipped);
      }
      row = next;
    }
    return log_add(row.blanks()[s_], row.labels()[s_ - 1]);
  }

  // Calls give(t, gamma of blanks, gamma of labels) for all steps, the last one first. `alphas` are
  // all rows, `ahead` is room for one more row, `gamma` for 2 width() numbers.
  template <class Give>
  void beta(double* alphas, double log_p, double* ahead, double* gamma, Give give) const {
    const Row w{ahead, width_};
    w.start(s_);
    double *b = w.blanks(), *l = w.labels(), *gb = gamma, *gl = gamma + width_;
    for (index_t t = steps_ - 1; t >= 0; --t) {
      check_interrupt();
      const double y_blank = emitted(t);
      const Row alpha{alphas + (t + 1) * Row::size(width_), width_};
      const double *ab = alpha.blanks(), *al = alpha.labels();
      // beta of labels, then of blanks: a label reads blanks behind it that are still those ahead.
#pragma omp simd
      for (index_t i = 0; i < width_; ++i) {
        const double skipped = skips()[i + 1] != 0.0 ? l[i + 1] : -INFINITY;
        gl[i] = log_add(l[i], b[i + 1], skipped);
      }
#pragma omp simd
      for (index_t i = 0; i < width_; ++i) {
        const double beta = log_add(b[i], l[i]);
        b[i] = beta + y_blank;
        gb[i] = kernelmill::exp(ab[i] + beta - log_p);
      }
#pragma omp simd
      for (index_t i = 0; i < width_; ++i) {
        l[i] = gl[i] + y()[i];
        gl[i] = kernelmill::exp(al[i] + gl[i] - log_p);
      }
      give(t, gb, gl);
    }
  }

 private:
  double* y() const { return room_.data(); }
  double* skips() const { return room_.data() + width_; }
  // Fetches log y_t of the labels and returns that of the blank.
  double emitted(index_t t) const {
    const T* const row = y_ + t * step_;
    for (index_t i = 0; i < s_; ++i) y()[i] = static_cast<double>(row[labels_.data()[i] * cls_]);
    return static_cast<double>(row[blank_ * cls_]);
  }

  const T* y_;
  index_t step_, cls_, blank_, steps_, s_, width_;
  Workspace<double> room_;
  Workspace<std::int64_t> labels_;
};

}  // namespace

template <class T>
void losses(CubeView<const T> log_probs, MatrixView<const std::int64_t> target,
            Lengths input_lengths, Lengths target_lengths, index_t blank, T* losses, T* gradient) {
  const index_t steps = log_probs.shape[0], batch = log_probs.shape[1],
                classes = log_probs.shape[2];
  const index_t grain =
      std::max<index_t>(1, kTask / std::max<index_t>(1, steps * (target.cols + 1 + classes / 64)));
  parallel_for(batch, grain, [&](index_t, index_t begin, index_t end) {
    for (index_t n = begin; n < end; ++n) {
      const auto at = static_cast<std::size_t>(n);
      const index_t length = input_lengths[at], s = target_lengths[at];
      const Sample<T> sample(log_probs, n, length, target.row(n), target.col_stride, s, blank);
      const bool keep = gradient != nullptr;
      const index_t width = sample.width(), size = Row::size(width), rows = keep ? length + 1 : 2;
      Workspace<double> room(static_cast<std::size_t>((rows + 1) * size + 2 * width + classes));
      const double log_p = sample.alpha(room.data(), keep);
      losses[n] = static_cast<T>(-log_p);
      if (!keep) continue;
      double *ahead = room.data() + rows * size, *gamma = ahead + size, *sums = gamma + 2 * width;
      const auto row = [&](index_t t) { return gradient + (t * batch + n) * classes; };
      const index_t first_zero = log_p == -INFINITY ? 0 : length;
      for (index_t t = first_zero; t < steps; ++t) std::fill_n(row(t), classes, T(0));
      if (first_zero == 0) continue;
      sample.beta(room.data(), log_p, ahead, gamma, [&](index_t t, double* gb, double* gl) {
        std::fill_n(sums, classes, 0.0);
        double blanks = 0;
#pragma omp simd reduction(+ : blanks)
        for (index_t i = 0; i <= s; ++i) blanks += gb[i];
        sums[blank] = blanks;
        for (index_t i = 0; i < s; ++i) sums[target(n, i)] += gl[i];
        for (index_t k = 0; k < classes; ++k) row(t)[k] = static_cast<T>(0.0 - sums[k]);
      });
    }
  });
}

#define KERNELMILL_CTC(T)                                                                      \
  template void losses<T>(CubeView<const T>, MatrixView<const std::int64_t>, Lengths, Lengths, \
                          index_t, T*, T*);
KERNELMILL_CTC(float)
KERNELMILL_CTC(double)

}  // namespace kernelmill::ctc
