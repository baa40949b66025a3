// Losses and their slopes, values of leaves, and scores of training rows.
#include "ops/histogram.cuh"

#include <algorithm>  // std::clamp, std::min
#include <vector>     // parts

#include "core/launch.cuh"  // launch, block_join
#include "ops/histogram_checks.hpp"
#include "ops/histogram_losses.hpp"

namespace kernelmill::histogram {
namespace {

__device__ double weight_of(const double* weight, index_t i) {
  return weight == nullptr ? 1.0 : weight[i];
}

struct Range {
  double low, high;
};

__global__ void range_kernel(const double* y, index_t n, Range* out) {
  __shared__ double shared[kThreads];
  double low = y[0], high = low;
  for (index_t i = threadIdx.x; i < n; i += kThreads) {
    low = y[i] < low ? y[i] : low;
    high = y[i] > high ? y[i] : high;
  }
  low = block_join<kThreads>(low, shared, [](double a, double b) { return a < b ? a : b; });
  high = block_join<kThreads>(high, shared, [](double a, double b) { return a > b ? a : b; });
  if (threadIdx.x == 0) *out = {low, high};
}

template <Loss loss>
__global__ void slopes_kernel(const Labelled rows, double parameter, bool unit, double* gradient,
                              double* hessian) {
  const index_t n = rows.raw.cols;
  for (index_t e = global_thread(); e < rows.raw.rows * n; e += global_threads()) {
    const index_t k = e / n, i = e - k * n;
    const double x = rows.raw.data[k * rows.raw.row_stride + i * rows.raw.col_stride];
    const Slope slope = slope_of<loss>(x, rows.y[i], parameter);
    const double w = weight_of(rows.weight, i);
    gradient[e] = slope.g * w;
    if (!unit) hessian[e] = slope.h * w;
  }
}

// The largest score of a row, and the sum of exp(score - largest).
struct Normaliser {
  double top = -INFINITY, sum = 0;

  __device__ Normaliser(const double* x, index_t k, index_t step) {
    for (index_t c = 0; c < k; ++c) top = x[c * step] > top ? x[c * step] : top;
    for (index_t c = 0; c < k; ++c) sum += exp(x[c * step] - top);
  }
};

__global__ void multinomial_kernel(const Labelled rows, bool unit, double* gradient,
                                   double* hessian) {
  const index_t n = rows.raw.cols, k = rows.raw.rows, step = rows.raw.row_stride;
  for (index_t i = global_thread(); i < n; i += global_threads()) {
    const double* const x = rows.raw.data + i * rows.raw.col_stride;
    const Normaliser of(x, k, step);
    const double w = weight_of(rows.weight, i);
    const auto own = static_cast<index_t>(rows.y[i]);
    for (index_t c = 0; c < k; ++c) {
      const double p = exp(x[c * step] - of.top) / of.sum;
      gradient[c * n + i] = w * (p - (c == own ? 1.0 : 0.0));
      if (!unit) hessian[c * n + i] = w * (p * (1 - p));
    }
  }
}

// Loss and weight of the rows of a block.
struct Total {
  double loss, weight;
};

template <class Each>
__device__ void add_up(const Labelled& rows, Total* out, Each each) {
  __shared__ double shared[kThreads];
  double loss = 0, weight = 0;
  for (index_t i = global_thread(); i < rows.raw.cols; i += global_threads()) {
    const double w = weight_of(rows.weight, i);
    loss += each(rows.raw.data + i * rows.raw.col_stride, rows.y[i]) * w;
    weight += w;
  }
  loss = block_sum<kThreads>(loss, shared);
  weight = block_sum<kThreads>(weight, shared);
  if (threadIdx.x == 0) out[blockIdx.x] = {loss, weight};
}

template <Loss loss>
__global__ void loss_kernel(const Labelled rows, double parameter, Total* out) {
  add_up(rows, out, [&](const double* x, double y) { return loss_of<loss>(x[0], y, parameter); });
}

__global__ void multinomial_loss_kernel(const Labelled rows, Total* out) {
  const index_t k = rows.raw.rows, step = rows.raw.row_stride;
  add_up(rows, out, [&](const double* x, double y) {
    const Normaliser of(x, k, step);
    return of.top + log(of.sum) - x[static_cast<index_t>(y) * step];
  });
}

// Block (span, part) takes every gridDim.y-th stretch of the span.
__global__ void add_kernel(const std::int32_t* rows, const std::int32_t* spans, const double* value,
                           double* raw) {
  const double own = value[blockIdx.x];
  const index_t stop = spans[2 * blockIdx.x + 1];
  index_t i = spans[2 * blockIdx.x] + static_cast<index_t>(blockIdx.y) * kThreads + threadIdx.x;
  for (; i < stop; i += static_cast<index_t>(gridDim.y) * kThreads) raw[rows[i]] += own;
}

void check_loss(const Call& call, Loss loss, const Labelled& rows, const LossSpace& space) {
  if (loss != Loss::multinomial || rows.raw.cols == 0) return;
  auto* const range = reinterpret_cast<Range*>(space.pairs);
  launch(call, range_kernel, 1, kThreads, rows.y, rows.raw.cols, range);
  Range found{};
  download(call, &found, range, 1);
  check_classes(call.op, found.low, found.high, rows.raw.rows);
}

}  // namespace

void slopes(const Call& call, const Labelled& rows, Loss loss, double parameter, bool unit,
            double* gradient, double* hessian, const LossSpace& space) {
  check_loss(call, loss, rows, space);
  const index_t n = rows.raw.cols, k = rows.raw.rows;
  if (unit) fill(call, hessian, k, 1.0);
  if (n == 0 || k == 0) return;
  if (loss == Loss::multinomial) {
    launch(call, multinomial_kernel, grid_for(n, kThreads), kThreads, rows, unit, gradient,
           hessian);
    return;
  }
  for_loss(loss, [&](auto of) {
    launch(call, slopes_kernel<decltype(of)::value>, grid_for(k * n, kThreads), kThreads, rows,
           parameter, unit, gradient, hessian);
  });
}

double deviance(const Call& call, const Labelled& rows, Loss loss, double parameter,
                const LossSpace& space) {
  check_loss(call, loss, rows, space);
  const index_t n = rows.raw.cols;
  if (n == 0 || rows.raw.rows == 0) return 0;
  auto* const totals = reinterpret_cast<Total*>(space.pairs);
  const index_t blocks = std::min(kLossBlocks, div_up(n, kThreads));
  const auto grid = static_cast<unsigned>(blocks);
  if (loss == Loss::multinomial) {
    launch(call, multinomial_loss_kernel, grid, kThreads, rows, totals);
  } else {
    for_loss(loss, [&](auto of) {
      launch(call, loss_kernel<decltype(of)::value>, grid, kThreads, rows, parameter, totals);
    });
  }
  std::vector<Total> parts(static_cast<std::size_t>(blocks));
  download(call, parts.data(), totals, blocks);
  Total all{};
  for (const Total& part : parts) {
    all.loss += part.loss;
    all.weight += part.weight;
  }
  return all.loss / all.weight;
}

void add(const Call& call, std::span<const std::int32_t> rows, const std::int32_t* spans, index_t m,
         const double* value, std::span<double> raw, const AddSpace& space) {
  const index_t places = std::ssize(rows);
  check_spans(call, rows, spans, m, std::ssize(raw), space.range);
  if (m == 0 || places == 0) return;
  upload(call, space.spans, spans, 2 * m);
  upload(call, space.value, value, m);
  const index_t parts = std::clamp<index_t>(div_up(places, 4 * kThreads * m), 1, 1024);
  launch(call, add_kernel, dim3(static_cast<unsigned>(m), static_cast<unsigned>(parts)), kThreads,
         rows.data(), space.spans, space.value, raw.data());
}

}  // namespace kernelmill::histogram
