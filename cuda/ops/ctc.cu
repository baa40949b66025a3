// A block of threads takes one sample through its steps; cpp/ops/ctc.cpp derives the recursions of
// blanks and labels. A row holds the S + 1 blanks of a step, then its S labels. Going back, gamma
// takes the place of alpha, and a second kernel, all steps at once, adds gamma up by classes: a
// label at its first place adds those of its other places in order.

#include "ops/ctc.cuh"

#include <algorithm>  // std::clamp
#include <limits>     // infinity

#include "core/launch.cuh"  // launch, block_sum

namespace kernelmill::ctc {
namespace {

constexpr int kMostThreads = 256;
constexpr int kGather = 128;

__device__ double minus_infinity() { return -std::numeric_limits<double>::infinity(); }

// The choices are such that a NaN on either side gets through.
__device__ double log_add(double a, double b) {
  const double high = a > b ? a : b, low = a > b ? b : a;
  if (high == minus_infinity()) return low;
  return high + ::log1p(::exp(low - high));
}
__device__ double log_add(double a, double b, double c) {
  const double high = a > b ? a : b, low = a > b ? b : a;
  const double top = high > c ? high : c, mid = high > c ? c : high;
  if (top == minus_infinity()) return mid + low;
  return top + ::log1p(::exp(mid - top) + ::exp(low - top));
}

template <class T>
struct Samples {
  CubeView<const T> y;
  const Label* labels;
  const index_t *input_lengths, *target_lengths;
  index_t most, blank, rows;
  double *log_p, *passes, *ahead;
  __host__ __device__ index_t width() const { return 2 * most + 1; }
};

template <class T>
struct Sample {
  const T* y;
  index_t step_stride, class_stride, steps, s;  // s labels
  const Label* labels;
  double* rows;
  double* ahead;
  __device__ Sample(const Samples<T>& all, index_t n)
      : y(all.y.data + n * all.y.strides[1]),
        step_stride(all.y.strides[0]),
        class_stride(all.y.strides[2]),
        steps(all.input_lengths[n]),
        s(all.target_lengths[n]),
        labels(all.labels + n * all.most),
        rows(all.passes + n * all.rows * all.width()),
        ahead(all.ahead == nullptr ? nullptr : all.ahead + n * 2 * all.width()) {}
  __device__ double emitted(index_t t, index_t k) const {
    return static_cast<double>(y[t * step_stride + k * class_stride]);
  }
  // Whether label i may follow label i - 1 at once.
  __device__ bool skips(index_t i) const {
    return i > 0 && i < s && labels[i].label != labels[i - 1].label;
  }
};

// alpha of all steps where `gradient`, else of the last two; then gamma in its place.
template <class T>
__global__ void __launch_bounds__(kMostThreads)
    passes_kernel(const Samples<T> all, bool gradient, T* losses) {
  const Sample<T> sample(all, blockIdx.x);
  const index_t s = sample.s, steps = sample.steps, width = all.width();
  const double none = minus_infinity();
  for (index_t i = threadIdx.x; i < 2 * s + 1; i += blockDim.x) {
    sample.rows[i] = i == 0 ? 0.0 : none;
  }
  __syncthreads();
  const auto row = [&](index_t t) { return sample.rows + (gradient ? t : t % 2) * width; };
  for (index_t t = 0; t < steps; ++t) {
    const double *const b = row(t), *const l = b + s + 1;
    double *const nb = row(t + 1), *const nl = nb + s + 1;
    const double y_blank = sample.emitted(t, all.blank);
    for (index_t i = threadIdx.x; i <= s; i += blockDim.x) {
      const double before = i > 0 ? l[i - 1] : none;
      nb[i] = y_blank + log_add(b[i], before);
      if (i < s) {
        const double skipped = sample.skips(i) ? before : none;
        nl[i] = sample.emitted(t, sample.labels[i].label) + log_add(l[i], b[i], skipped);
      }
    }
    __syncthreads();
  }
  const double* const last = row(steps);
  const double log_p = log_add(last[s], s > 0 ? last[2 * s] : none);
  if (threadIdx.x == 0) {
    losses[blockIdx.x] = static_cast<T>(-log_p);
    all.log_p[blockIdx.x] = log_p;
  }
  if (!gradient || log_p == none) return;

  // beta of the step after this one, times its y.
  for (index_t i = threadIdx.x; i < 2 * s + 1; i += blockDim.x) {
    sample.ahead[i] = i == s ? 0.0 : none;
  }
  __syncthreads();
  bool second = false;
  for (index_t t = steps - 1; t >= 0; --t) {
    const double *const b = sample.ahead + second * width, *const l = b + s + 1;
    second = !second;
    double *const nb = sample.ahead + second * width, *const nl = nb + s + 1;
    double *const ab = row(t + 1), *const al = ab + s + 1;
    const double y_blank = sample.emitted(t, all.blank);
    for (index_t i = threadIdx.x; i <= s; i += blockDim.x) {
      const double beta = log_add(b[i], i < s ? l[i] : none);
      nb[i] = beta + y_blank;
      ab[i] = ::exp(ab[i] + beta - log_p);
      if (i < s) {
        const double skipped = sample.skips(i + 1) ? l[i + 1] : none;
        const double of_label = log_add(l[i], b[i + 1], skipped);
        nl[i] = of_label + sample.emitted(t, sample.labels[i].label);
        al[i] = ::exp(al[i] + of_label - log_p);
      }
    }
    __syncthreads();
  }
}

// One block a step and sample.
template <class T>
__global__ void __launch_bounds__(kGather) gather_kernel(const Samples<T> all, T* gradient) {
  __shared__ double shared[kGather];
  const index_t samples = all.y.shape[1], classes = all.y.shape[2];
  const index_t t = static_cast<index_t>(blockIdx.x) / samples;
  const index_t n = static_cast<index_t>(blockIdx.x) - t * samples;
  const Sample<T> sample(all, n);
  T* const to = gradient + static_cast<index_t>(blockIdx.x) * classes;
  for (index_t k = threadIdx.x; k < classes; k += kGather) to[k] = T(0.0F);
  if (t >= sample.steps || all.log_p[n] == minus_infinity()) return;
  const double *const blanks = sample.rows + (t + 1) * all.width(), *const labels =
                                                                        blanks + sample.s + 1;
  double sum = 0;
  for (index_t i = threadIdx.x; i <= sample.s; i += kGather) sum += blanks[i];
  sum = block_sum<kGather>(sum, shared);  // all threads have written their zeros
  if (threadIdx.x == 0) to[all.blank] = static_cast<T>(0.0 - sum);
  for (index_t i = threadIdx.x; i < sample.s; i += kGather) {
    if (!sample.labels[i].first) continue;
    double total = 0;
    for (index_t at = i; at >= 0; at = sample.labels[at].next) total += labels[at];
    to[sample.labels[i].label] = static_cast<T>(0.0 - total);
  }
}

}  // namespace

Space::Space(Arena& arena, const Targets& targets, index_t steps, bool gradient)
    : rows(gradient ? steps + 1 : 2) {
  const auto n = static_cast<index_t>(targets.input_lengths.size());
  const index_t width = 2 * targets.most + 1;
  labels = arena.take<Label>(n * targets.most);
  input_lengths = arena.take<index_t>(n);
  target_lengths = arena.take<index_t>(n);
  log_p = arena.take<double>(n);
  passes = arena.take<double>(n * rows * width);
  ahead = gradient ? arena.take<double>(n * 2 * width) : nullptr;
}

template <class T>
void losses(const Call& call, CubeView<const T> log_probs, const Targets& targets, T* losses,
            T* gradient, const Space& space) {
  const index_t n = log_probs.shape[1], steps = log_probs.shape[0];
  if (n == 0) return;
  upload(call, space.labels, targets.labels.data(), n * targets.most);
  upload(call, space.input_lengths, targets.input_lengths.data(), n);
  upload(call, space.target_lengths, targets.target_lengths.data(), n);
  const Samples<T> all{log_probs,    space.labels,  space.input_lengths, space.target_lengths,
                       targets.most, targets.blank, space.rows,          space.log_p,
                       space.passes, space.ahead};
  const int threads = power_of_two(std::clamp<index_t>(targets.most + 1, 32, kMostThreads));
  launch(call, passes_kernel<T>, dim3(static_cast<unsigned>(n)), threads, all, gradient != nullptr,
         losses);
  if (gradient == nullptr || steps == 0) return;
  launch(call, gather_kernel<T>, dim3(static_cast<unsigned>(steps * n)), kGather, all, gradient);
}

KERNELMILL_FOR_STORED(losses)

}  // namespace kernelmill::ctc
