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

// One assignment of rows [begin, end) and their statistics.
template <class T>
class Step {
 public:
  Step(MatrixView<const T> x, const double* c, index_t k, const Centers<T>& ready,
       const Movement<T>& movement, std::int32_t* labels, T* bounds, std::span<const T> weight)
      : x_(x),
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
    nearest::find<T>(Rows<T>{x_}, begin, end, ready_, false, receive);
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
  const double* c_;
  index_t k_;
  const Centers<T>& ready_;
  const Movement<T>& movement_;
  std::int32_t* labels_;
  T* bounds_;
  std::span<const T> weight_;
};

}  // namespace

template <class T>
LloydSlice lloyd(MatrixView<const T> x, double* centers, double* weights, index_t k,
                 std::int32_t* labels, T* bounds, std::span<const T> weight, index_t n_steps,
                 double tol) {
  const index_t n = x.rows, d = x.cols, grain = nearest::row_grain(n, k, d);
  LloydSlice slice;
  Movement<T> movement(k);
  std::vector<double> next(static_cast<std::size_t>(k * d));
  while (slice.steps < n_steps && slice.status == LloydStatus::running) {
    const Centers<T> ready(MatrixView<const double>{centers, k, d, d, 1});
    if (bounds != nullptr) movement.separate(centers, d);
    const Step<T> step(x, centers, k, ready, movement, labels, bounds, weight);
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

#define KERNELMILL_INSTANTIATE(T)                                                                 \
  template LloydSlice lloyd<T>(MatrixView<const T>, double*, double*, index_t, std::int32_t*, T*, \
                               std::span<const T>, index_t, double);
KERNELMILL_INSTANTIATE(float)
KERNELMILL_INSTANTIATE(double)
#undef KERNELMILL_INSTANTIATE

}  // namespace kernelmill
