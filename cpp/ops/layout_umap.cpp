// Epochs of UMAP. Within an epoch every point moves by itself, against the places that the others
// had when the epoch began: any number of threads gives the same bits. Pulls are steps one after
// another, so they run for many points side by side; pushes of one point run side by side.
#include <algorithm>  // std::copy, std::max, std::min
#include <cmath>      // std::floor
#include <vector>     // std::vector

#include "core/math.hpp"      // exp, log
#include "core/parallel.hpp"  // parallel_for
#include "core/random.hpp"    // Philox
#include "ops/layout.hpp"

namespace kernelmill::layout {

namespace {

constexpr int kLanes = 64;      // points side by side: several registers hide their latency
constexpr int kDrawn = 16;      // points that push at once
constexpr int kKept = 4;        // axes whose differences are kept
constexpr float kClip = 4.0f;   // most that a coordinate is pushed at once
constexpr float kNear = 1e-3f;  // keeps the push of close points finite
constexpr double kTurn = 0.61803398874989485;  // golden ratio: edges take turns evenly

KERNELMILL_INLINE float clipped(float g) { return std::min(std::max(g, -kClip), kClip); }

class Epoch {
 public:
  Epoch(const float* others, index_t m, index_t axes, bool itself, const Graph& graph,
        std::span<const float> rates, const Epochs& epochs, index_t number)
      : others_(others),
        m_(m),
        axes_(axes),
        itself_(itself),
        graph_(graph),
        rates_(rates),
        epochs_(epochs),
        number_(number),
        a_(static_cast<float>(epochs.a)),
        b_(static_cast<float>(epochs.b)),
        step_(static_cast<float>(epochs.alpha * (1.0 - static_cast<double>(number) /
                                                           static_cast<double>(epochs.total)))) {}

  struct Buffers {
    std::vector<char> acts;
    std::vector<std::int32_t> near;  // of the edges that act, kLanes apart
    std::vector<float> y, t, moved;
  };

  // Moves some points, at most kLanes.
  void move(MatrixView<float> y, index_t first, index_t last, Buffers& buffers) const {
    const auto lanes = static_cast<int>(last - first);
    int counts[kLanes] = {};
    const int most = list(first, lanes, counts, buffers);
    buffers.y.assign(static_cast<std::size_t>(axes_ * kLanes), 0.0f);
    buffers.t.resize(static_cast<std::size_t>(axes_ * kLanes));
    buffers.moved.resize(static_cast<std::size_t>(axes_));
    for (int l = 0; l < lanes; ++l) {
      for (index_t c = 0; c < axes_; ++c) {
        buffers.y[static_cast<std::size_t>(c * kLanes + l)] = y(first + l, c);
      }
    }
    for (int s = 0; s < most; ++s) {
      pull(buffers, counts, s);
      if (itself_) pull(buffers, counts, s);  // as the other end of the same edge
    }
    for (int l = 0; l < lanes; ++l) {
      float* place = y.row(first + l);
      for (index_t c = 0; c < axes_; ++c) {
        place[c] = buffers.y[static_cast<std::size_t>(c * kLanes + l)];
      }
      if (m_ > 0) push(place, first + l, counts[l] * epochs_.negatives, buffers.moved.data());
    }
  }

 private:
  // Lists the edges that act; gives the longest list.
  int list(index_t first, int lanes, int* counts, Buffers& buffers) const {
    const index_t from = graph_.offsets[static_cast<std::size_t>(first)];
    const index_t to = graph_.offsets[static_cast<std::size_t>(first + lanes)];
    buffers.acts.resize(static_cast<std::size_t>(to - from));
    const float* rates = rates_.data() + from;
    char* acts = buffers.acts.data();
    const auto epoch = static_cast<double>(number_);
    for (index_t e = 0; e < to - from; ++e) {
      const auto rate = static_cast<double>(rates[e]);
      double phase = static_cast<double>(from + e) * kTurn;
      phase -= std::floor(phase);
      acts[e] = std::floor((epoch + 1) * rate + phase) > std::floor(epoch * rate + phase);
    }
    index_t longest = 0;
    for (int l = 0; l < lanes; ++l) {
      const auto i = static_cast<std::size_t>(first + l);
      longest = std::max(longest, graph_.offsets[i + 1] - graph_.offsets[i]);
    }
    if (buffers.near.size() < static_cast<std::size_t>(longest * kLanes)) {
      buffers.near.resize(static_cast<std::size_t>(longest * kLanes));
    }
    int most = 0;
    for (int l = 0; l < lanes; ++l) {
      const auto i = static_cast<std::size_t>(first + l);
      int count = 0;
      for (index_t e = graph_.offsets[i]; e < graph_.offsets[i + 1]; ++e) {
        if (acts[e - from] == 0) continue;
        buffers.near[static_cast<std::size_t>(count++ * kLanes + l)] =
            graph_.indices[static_cast<std::size_t>(e)];
      }
      counts[l] = count;
      most = std::max(most, count);
    }
    return most;
  }

  // Pulls each point towards the neighbour of its edge number s.
  void pull(Buffers& buffers, const int* counts, int s) const {
    // Lanes without such an edge read the first point, and stay where they are.
    std::int32_t at[kLanes];
    float d2[kLanes], g[kLanes], acts[kLanes];
    const std::int32_t* near = buffers.near.data() + s * kLanes;
    for (int l = 0; l < kLanes; ++l) {
      at[l] = s < counts[l] ? near[l] : 0;
      acts[l] = s < counts[l] ? 1.0f : 0.0f;
      d2[l] = 0;
    }
    for (index_t c = 0; c < axes_; ++c) {
      const float* y = buffers.y.data() + c * kLanes;
      const float* x = others_ + c;
      float* t = buffers.t.data() + c * kLanes;
      // Read first: a loop that gathers does not vectorise.
      float there[kLanes];
      for (int l = 0; l < kLanes; ++l) there[l] = x[at[l] * axes_];
      for (int l = 0; l < kLanes; ++l) {
        const float difference = y[l] - there[l];
        t[l] = difference;
        d2[l] += difference * difference;
      }
    }
    const float a = a_, b = b_;
    for (int l = 0; l < kLanes; ++l) {
      const float power = kernelmill::exp((b - 1) * kernelmill::log(d2[l]));
      const float pulled = -2 * a * b * power / (1 + a * power * d2[l]);
      g[l] = d2[l] > 0 ? pulled * acts[l] : 0.0f;
    }
    for (index_t c = 0; c < axes_; ++c) {
      float* y = buffers.y.data() + c * kLanes;
      const float* t = buffers.t.data() + c * kLanes;
      const float step = step_;
      for (int l = 0; l < kLanes; ++l) y[l] += step * clipped(g[l] * t[l]);
    }
  }

  // Pushes a point away from drawn ones, from all at once.
  void push(float* y, index_t i, index_t count, float* moved) const {
    const float a = a_, b = b_, top = 2 * static_cast<float>(epochs_.gamma) * b_;
    const Philox numbers(epochs_.seed, static_cast<std::uint64_t>(number_));
    const auto m = static_cast<std::uint64_t>(m_);
    const std::int32_t mine = itself_ ? static_cast<std::int32_t>(i) : -1;
    for (index_t from = 0; from < count; from += kDrawn) {
      const auto drawn = static_cast<int>(std::min<index_t>(kDrawn, count - from));
      std::int32_t at[kDrawn];
      float d2[kDrawn], g[kDrawn], apart[kKept][kDrawn];
      const auto base =
          (static_cast<std::uint64_t>(i) << 24) + static_cast<std::uint64_t>(from / 4);
      for (int block = 0; block < kDrawn / 4; ++block) {
        const PhiloxWords words = numbers.block(base + static_cast<std::uint64_t>(block));
        at[4 * block] = static_cast<std::int32_t>((words.w[0] * m) >> 32);
        at[4 * block + 1] = static_cast<std::int32_t>((words.w[1] * m) >> 32);
        at[4 * block + 2] = static_cast<std::int32_t>((words.w[2] * m) >> 32);
        at[4 * block + 3] = static_cast<std::int32_t>((words.w[3] * m) >> 32);
      }
      for (int k = 0; k < kDrawn; ++k) d2[k] = 0;
      for (index_t c = 0; c < axes_; ++c) {
        const float* x = others_ + c;
        const float yc = y[c];
        float* t = apart[c < kKept ? c : 0];
        for (int k = 0; k < kDrawn; ++k) t[k] = x[at[k] * axes_];
        for (int k = 0; k < kDrawn; ++k) {
          t[k] = yc - t[k];
          d2[k] += t[k] * t[k];
        }
      }
      for (int k = 0; k < kDrawn; ++k) {
        const float power = kernelmill::exp(b * kernelmill::log(d2[k]));
        const float pushed = top / ((kNear + d2[k]) * (1 + a * power));
        g[k] = ((at[k] == mine) | (k >= drawn)) ? 0.0f : pushed;
      }
      for (index_t c = 0; c < axes_; ++c) {
        const float* x = others_ + c;
        const float yc = y[c];
        float* t = apart[c < kKept ? c : 0];
        if (axes_ > kKept && (c == 0 || c >= kKept)) {  // its place was used again
          for (int k = 0; k < kDrawn; ++k) t[k] = yc - x[at[k] * axes_];
        }
        float sum = 0;
#pragma omp simd reduction(+ : sum)
        for (int k = 0; k < kDrawn; ++k) sum += clipped(g[k] * t[k]);
        moved[c] = step_ * sum;
      }
      for (index_t c = 0; c < axes_; ++c) y[c] += moved[c];
    }
  }

  const float* others_;
  index_t m_, axes_;
  bool itself_;  // whether the others are the points
  const Graph& graph_;
  std::span<const float> rates_;
  const Epochs& epochs_;
  index_t number_;
  float a_, b_, step_;
};

}  // namespace

void umap(MatrixView<float> y, MatrixView<const float> z, const Graph& graph,
          std::span<const float> rates, const Epochs& epochs) {
  const index_t n = y.rows, axes = y.cols;
  const bool itself = z.data == nullptr;
  const index_t m = itself ? n : z.rows;
  std::vector<float> others(static_cast<std::size_t>(m * axes));
  if (!itself) {
    for (index_t i = 0; i < m; ++i) {
      for (index_t c = 0; c < axes; ++c) others[static_cast<std::size_t>(i * axes + c)] = z(i, c);
    }
  }
  for (index_t number = epochs.first; number < epochs.first + epochs.count; ++number) {
    if (itself) std::copy(y.data, y.data + n * axes, others.begin());
    const Epoch epoch(others.data(), m, axes, itself, graph, rates, epochs, number);
    parallel_for(n, 2 * kLanes, [&](index_t, index_t first, index_t last) {
      Epoch::Buffers buffers;
      for (index_t i = first; i < last; i += kLanes) {
        epoch.move(y, i, std::min(last, i + kLanes), buffers);
      }
    });
  }
}

}  // namespace kernelmill::layout
