// Lloyd's algorithm in slices, with Hamerly's bounds.
//
// Row i keeps an upper bound u_i on the distance to its own center a and a lower bound l_i on the
// distance to every other center (Hamerly 2010). When centers move by p_j, the triangle inequality
// gives u_i += p_a and l_i -= max_{j != a} p_j. A row whose bounds prove that the comparison of
// computed scores (kmeans_nearest.hpp) would keep a is passed over:
//
//   m = max(l_i, half distance of c_a to its nearest other center),
//   (m - u_i)(m + u_i) = m^2 - u_i^2 > gap(u_i)  =>  the label is a.
//
// The other rows get u_i tightened to the exact distance and, when that does not settle it, go
// through the same product as every row goes through without bounds, gathered by number. Each score
// has the same bits wherever it is computed, so labels are equal, and the statistics are summed
// over all rows in the same order, so centers are equal too, to the bit.

#include <cmath>   // std::sqrt
#include <limits>  // infinity

#include "core/packed_rows.hpp"  // pack_rows_once
#include "ops/kmeans.hpp"
#include "ops/kmeans_nearest.hpp"  // find, Statistics

namespace kernelmill {

using nearest::Centers;
using nearest::Rows;
using nearest::Statistics;

namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// How far each center moved since the bounds were last valid, rounded up, and half the distance
// from each center to its nearest other one, rounded down.
template <class T>
struct Movement {
  explicit Movement(index_t k)
      : drift(static_cast<std::size_t>(k), T{0}), half(static_cast<std::size_t>(k), T{0}) {}

  void measure(const double* before, const double* after, index_t d) {
    largest = second = T{0};
    farthest = -1;
    for (std::size_t j = 0; j < drift.size(); ++j) {
      const index_t at = static_cast<index_t>(j) * d;
      const double moved = std::sqrt(nearest::squared_distance(before + at, 1, after + at, d));
      drift[j] = static_cast<T>(moved) * (1 + 4 * std::numeric_limits<T>::epsilon());
      if (drift[j] > largest || farthest < 0) {
        second = largest;
        largest = drift[j];
        farthest = static_cast<std::int32_t>(j);
      } else if (drift[j] > second) {
        second = drift[j];
      }
    }
  }

  void separate(const double* c, index_t d) {
    const index_t k = static_cast<index_t>(half.size());
    parallel_for(
        k, std::max<index_t>(1, 100'000 / (k * d + 1)), [&](index_t, index_t begin, index_t end) {
          for (index_t j = begin; j < end; ++j) {
            double least = kInfinity;
            for (index_t i = 0; i < k; ++i) {
              if (i == j) continue;
              least = std::min(least, nearest::squared_distance(c + i * d, 1, c + j * d, d));
            }
            half[static_cast<std::size_t>(j)] = static_cast<T>(0.5 * std::sqrt(least)) *
                                                (1 - 4 * std::numeric_limits<T>::epsilon());
          }
        });
  }

  // Moves the bounds of one row whose label is a.
  void apply(std::int32_t a, T& upper, T& lower) const {
    constexpr T slack = 4 * std::numeric_limits<T>::epsilon();
    const T other = a == farthest ? second : largest;
    upper = (upper + drift[static_cast<std::size_t>(a)]) * (1 + slack);
    lower = std::max(lower - other, T{0}) * (1 - slack);
  }

  std::vector<T> drift, half;
  T largest = 0, second = 0;
  std::int32_t farthest = -1;
};

// Few short rows as the steps read them, made once for all steps: packed for the product, and as
// float64 rows (x_1 .. x_d, 1, 0 ..) of whole vectors for the sums of their clusters.
template <class T>
class KeptRows {
  static constexpr int kLanes = 4;
  using Four [[gnu::vector_size(kLanes * sizeof(double))]] = double;

 public:
  // Rows are kept if several steps share them, they fit the caches, and the sums of k clusters,
  // which are copied for each block, are few beside them (1800 rows, d = 10, k = 1000, float32 took
  // 13 % longer with kept rows).
  KeptRows(MatrixView<const T> x, index_t k, index_t steps) : d_(x.cols), width_(width(x.cols)) {
    const index_t n = x.rows, bytes = n * (d_ * index_t{sizeof(T)} + width_ * 8);
    const index_t block = std::min(nearest::row_grain(n, k, d_), nearest::block_rows<T>(d_));
    if (steps < 2 || bytes > packed_rows_bytes || 4 * k > n || !begins_at_panels<T>(n, block)) {
      return;
    }
    panels_ = pack_rows_once(x);
    rows_ = Workspace<double>(static_cast<std::size_t>(n * width_));
    double* row = rows_.data();
    for (index_t i = 0; i < n; ++i, row += width_) {
      for (index_t p = 0; p < d_; ++p) row[p] = static_cast<double>(x(i, p));
      row[d_] = 1.0;
      std::fill(row + d_ + 1, row + width_, 0.0);
    }
  }

  const T* panels() const { return panels_.data(); }  // null if rows are not kept

  // Adds rows [begin, end) to the statistics: the same sums in the same order as Statistics::add.
  void add(Statistics& total, index_t k, const std::int32_t* labels, std::span<const T> weight,
           index_t begin, index_t end) const {
    const Workspace<double> memory(static_cast<std::size_t>(k * width_));
    double* const sums = memory.data();
    for (index_t j = 0; j < k; ++j) {
      std::copy_n(total.sums() + j * d_, d_, sums + j * width_);
      sums[j * width_ + d_] = total.weights()[j];
      std::fill(sums + j * width_ + d_ + 1, sums + (j + 1) * width_, 0.0);
    }
    const auto all = [&]<int Vectors>() {
      const index_t vectors = Vectors > 0 ? Vectors : width_ / kLanes;
      const double* row = rows_.data() + begin * width_;
      for (index_t i = begin; i < end; ++i, row += width_) {
        double* const sum = sums + labels[i] * width_;
        if (weight.empty()) {
          KERNELMILL_UNROLL
          for (index_t v = 0; v < vectors; ++v) {
            tile::store(sum + v * kLanes,
                        tile::load<Four>(sum + v * kLanes) + tile::load<Four>(row + v * kLanes));
          }
        } else {
          const auto w = static_cast<double>(weight[static_cast<std::size_t>(i)]);
          for (index_t v = 0; v < vectors; ++v) {
            tile::store(sum + v * kLanes, tile::load<Four>(sum + v * kLanes) +
                                              w * tile::load<Four>(row + v * kLanes));
          }
        }
      }
    };
    if (width_ == kLanes) {
      all.template operator()<1>();
    } else if (width_ == 2 * kLanes) {
      all.template operator()<2>();
    } else {
      all.template operator()<0>();
    }
    for (index_t j = 0; j < k; ++j) {
      std::copy_n(sums + j * width_, d_, total.sums() + j * d_);
      total.weights()[j] = sums[j * width_ + d_];
    }
  }

 private:
  static index_t width(index_t d) { return (d + kLanes) / kLanes * kLanes; }

  index_t d_, width_;
  Workspace<T> panels_;     // [panel][d][NR]
  Workspace<double> rows_;  // (n, width)
};

// One assignment of rows [begin, end) and their statistics.
template <class T>
class Step {
 public:
  Step(MatrixView<const T> x, const KeptRows<T>& kept, const double* c, index_t k,
       const Centers<T>& ready, const Movement<T>& movement, std::int32_t* labels, T* bounds,
       std::span<const T> weight)
      : x_(x),
        kept_(kept),
        c_(c),
        k_(k),
        ready_(ready),
        movement_(movement),
        labels_(labels),
        bounds_(bounds),
        weight_(weight) {}

  void run(Statistics& total, index_t begin, index_t end) const {
    const index_t block = nearest::block_rows<T>(x_.cols);
    for (index_t b = begin; b < end; b += block) {
      const index_t e = std::min(end, b + block);
      total.changed += bounds_ == nullptr ? compare_all(b, e) : compare_some(b, e);
      if (kept_.panels() != nullptr) {
        kept_.add(total, k_, labels_, weight_, b, e);
        continue;
      }
      for (index_t i = b; i < e; ++i) {
        const double w =
            weight_.empty() ? 1.0 : static_cast<double>(weight_[static_cast<std::size_t>(i)]);
        total.add(x_.row(i), x_.col_stride, labels_[i], w);
      }
    }
  }

 private:
  index_t compare_all(index_t begin, index_t end) const {
    index_t changed = 0;
    const auto receive = [&](const nearest::Found<T>& found) {
      for (index_t r = 0; r < found.rows; ++r) {
        const auto label = static_cast<std::int32_t>(found.index[r]);
        changed += labels_[found.j0 + r] != label;
        labels_[found.j0 + r] = label;
      }
    };
    const Rows<T> rows{x_, nullptr, kept_.panels()};
    nearest::find<T>(rows, begin, end, ready_, false, receive);
    return changed;
  }

  bool settled(T upper, T lower) const {
    return lower > upper && (lower - upper) * (lower + upper) > ready_.score_gap(upper);
  }

  double distance(index_t i, index_t j) const {
    return std::sqrt(
        nearest::squared_distance(x_.row(i), x_.col_stride, c_ + j * x_.cols, x_.cols));
  }

  index_t compare_some(index_t begin, index_t end) const {
    constexpr T slack = 8 * std::numeric_limits<T>::epsilon();
    Workspace<index_t> open(static_cast<std::size_t>(end - begin));
    index_t* const number = open.data();
    index_t count = 0;
    for (index_t i = begin; i < end; ++i) {
      const std::int32_t a = labels_[i];
      bool done = false;
      if (a >= 0) {
        T upper = bounds_[2 * i], lower = bounds_[2 * i + 1];
        movement_.apply(a, upper, lower);
        bounds_[2 * i] = upper;
        bounds_[2 * i + 1] = lower;
        done = settled(upper, std::max(lower, movement_.half[static_cast<std::size_t>(a)]));
      }
      number[count] = i;
      count += !done;
    }
    index_t left = 0;
    for (index_t c = 0; c < count; ++c) {
      const index_t i = number[c];
      const std::int32_t a = labels_[i];
      bool done = false;
      if (a >= 0) {
        const T upper = static_cast<T>(distance(i, a)) * (1 + slack);
        bounds_[2 * i] = upper;
        done = settled(upper,
                       std::max(bounds_[2 * i + 1], movement_.half[static_cast<std::size_t>(a)]));
      }
      number[left] = i;
      left += !done;
    }
    index_t changed = 0;
    const auto receive = [&](const nearest::Found<T>& found) {
      for (index_t r = 0; r < found.rows; ++r) {
        const index_t i = number[found.j0 + r];
        const auto label = static_cast<std::int32_t>(found.index[r]);
        changed += labels_[i] != label;
        labels_[i] = label;
        const double d = distance(i, label);
        const T upper = static_cast<T>(d) * (1 + slack);
        // s_second - s_best is the gap of squared distances up to twice the score error.
        const double gap = static_cast<double>(found.second[r]) -
                           static_cast<double>(found.best[r]) -
                           static_cast<double>(ready_.score_gap(upper));
        bounds_[2 * i] = upper;
        bounds_[2 * i + 1] = static_cast<T>(std::sqrt(std::max(0.0, d * d + gap))) * (1 - slack);
      }
    };
    nearest::find<T>(Rows<T>{x_, number}, 0, left, ready_, true, receive);
    return changed;
  }

  MatrixView<const T> x_;
  const KeptRows<T>& kept_;
  const double* c_;
  index_t k_;
  const Centers<T>& ready_;
  const Movement<T>& movement_;
  std::int32_t* labels_;
  T* bounds_;
  std::span<const T> weight_;
};

template <class T>
LloydSlice descend(MatrixView<const T> x, const KeptRows<T>& kept, double* centers, double* weights,
                   index_t k, std::int32_t* labels, T* bounds, std::span<const T> weight,
                   index_t n_steps, double tol) {
  const index_t n = x.rows, d = x.cols, grain = nearest::row_grain(n, k, d);
  LloydSlice slice;
  Movement<T> movement(k);
  std::vector<double> next(static_cast<std::size_t>(k * d));
  while (slice.steps < n_steps && slice.status == LloydStatus::running) {
    check_interrupt();  // of a run that is one chunk, or a chunk of a larger loop
    const Centers<T> ready(centers, k, d);
    if (bounds != nullptr) movement.separate(centers, d);
    const Step<T> step(x, kept, centers, k, ready, movement, labels, bounds, weight);
    const Statistics total = ordered_reduce<Statistics>(
        n, grain, [&] { return Statistics(k, d); },
        [&](Statistics& into, index_t, index_t begin, index_t end) { step.run(into, begin, end); },
        [](Statistics& into, Statistics&& from) { into.merge(from); });

    bool empty = false;
    double shift = 0;
    for (index_t j = 0; j < k; ++j) {
      const double w = weights[j] = total.weights()[j];
      empty = empty || !(w > 0);
      for (index_t p = 0; p < d; ++p) {
        const index_t at = j * d + p;
        const double moved = w > 0 ? total.sums()[at] / w : centers[at];
        shift += (moved - centers[at]) * (moved - centers[at]);
        next[static_cast<std::size_t>(at)] = moved;
      }
    }
    if (bounds != nullptr) movement.measure(centers, next.data(), d);
    std::copy(next.begin(), next.end(), centers);
    slice.shift = shift;
    ++slice.steps;
    if (empty) {
      slice.status = LloydStatus::empty_cluster;
    } else if (total.changed == 0) {
      slice.status = LloydStatus::same_labels;
    } else if (shift <= tol) {
      slice.status = LloydStatus::small_shift;
    }
  }
  if (bounds != nullptr && slice.steps > 0) {
    // The last movement, so that the bounds hold for the centers handed back.
    parallel_for(n, 1 << 16, [&](index_t, index_t begin, index_t end) {
      for (index_t i = begin; i < end; ++i) {
        movement.apply(labels[i], bounds[2 * i], bounds[2 * i + 1]);
      }
    });
  }
  return slice;
}

}  // namespace

template <class T>
LloydSlice lloyd(MatrixView<const T> x, double* centers, double* weights, index_t k,
                 std::int32_t* labels, T* bounds, std::span<const T> weight, index_t n_steps,
                 double tol) {
  const KeptRows<T> kept(x, k, bounds == nullptr ? n_steps : 0);
  return descend(x, kept, centers, weights, k, labels, bounds, weight, n_steps, tol);
}

template <class T>
void restarts(MatrixView<const T> x, MatrixView<const std::int64_t> starts,
              std::span<const T> weight, index_t max_steps, double tol, double* centers,
              std::int32_t* labels, T* squared_distances, std::int64_t* steps,
              std::int32_t* status) {
  const index_t n = x.rows, d = x.cols, k = starts.cols;
  const KeptRows<T> kept(x, k, max_steps);
  parallel_for(starts.rows, 1, [&](index_t run, index_t, index_t) {
    double* const c = centers + run * k * d;
    for (index_t j = 0; j < k; ++j) {
      for (index_t p = 0; p < d; ++p) c[j * d + p] = static_cast<double>(x(starts(run, j), p));
    }
    const std::span label(labels + run * n, static_cast<std::size_t>(n));
    const std::span squared(squared_distances + run * n, static_cast<std::size_t>(n));
    std::fill(label.begin(), label.end(), -1);
    const Workspace<double> weights(static_cast<std::size_t>(k));
    const LloydSlice slice =
        descend<T>(x, kept, c, weights.data(), k, label.data(), nullptr, weight, max_steps, tol);
    assign<T>(x, MatrixView<const double>{c, k, d, d, 1}, label, squared);
    steps[run] = slice.steps;
    status[run] = static_cast<std::int32_t>(slice.status);
  });
}

KERNELMILL_FOR_FLOATS(lloyd)
KERNELMILL_FOR_FLOATS(restarts)

}  // namespace kernelmill
