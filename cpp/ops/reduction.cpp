// All reductions are one loop: a panel of kLanes columns is reduced over up to kRows rows, lane by
// lane, by a loop that vectorises over lanes (`Panel`), and the states of panels are merged in
// order. Lanes are neighbouring results where the reduced axis is not adjacent in memory, else
// neighbouring elements of one result. What is not adjacent is copied to a buffer first. The
// variance and the log-sum-exp take two passes over a panel, which stays in the cache, so memory is
// read once and deviations are about the panel's own mean.

#include "ops/reduction.hpp"

#include <algorithm>    // std::min, std::max
#include <array>        // offsets
#include <type_traits>  // std::conditional_t, std::integral_constant
#include <utility>      // std::index_sequence

#include "core/math.hpp"       // exp
#include "core/parallel.hpp"   // parallel_for
#include "core/workspace.hpp"  // Workspace

namespace kernelmill::reduction {
namespace {

constexpr int kLanes =
    32;  // float64 sums of one row: 4 registers at level 4, enough to hide latency
constexpr index_t kRows = 128;  // 32 along columns: sum as fast, log-sum-exp a third slower
// Elements of a task: 20 to 60 us.
constexpr index_t kTask = 1 << 16;
constexpr index_t kTaskColumns = 1024;

// Reduces lane l over x[r * stride + l] for r < rows into states[l]; `common`: lanes belong to one
// result and share a scale or mean.
template <Kind kind, class T>
struct Panel {
  static void run(const T* x, index_t rows, index_t stride, bool common, const double* origin,
                  State* states) {
    double a[kLanes] = {}, b[kLanes] = {};
    if constexpr (kind == Kind::sum || kind == Kind::mean) {
      sum(x, rows, stride, a, [](T v, int) { return static_cast<double>(v); });
    } else if constexpr (kind == Kind::max || kind == Kind::min) {
      extreme(x, rows, stride, a, [](T v) { return v; });
    } else if constexpr (is_index(kind)) {
      index(x, rows, stride, a, b);
    } else if constexpr (kind == Kind::variance) {
      // About the first element of the result, so that means keep their digits far from zero.
      sum(x, rows, stride, a, [&](T v, int l) { return static_cast<double>(v) - origin[l]; });
      double total = 0;
      for (double v : a) total += v;
      for (double& v : a) {
        v = common ? total / static_cast<double>(rows * kLanes) : v / static_cast<double>(rows);
      }
      sum(x, rows, stride, b, [&](T v, int l) {
        const double d = static_cast<double>(v) - origin[l] - a[l];
        return d * d;
      });
    } else if constexpr (kind == Kind::logsumexp) {
      extreme(x, rows, stride, a, [](T v) { return v; });
      if (common) share_largest(a);
      T shift[kLanes];
      for (int l = 0; l < kLanes; ++l)
        shift[l] = std::fabs(a[l]) < HUGE_VAL ? static_cast<T>(a[l]) : T(0);
      sum(x, rows, stride, b,
          [&](T v, int l) { return static_cast<double>(kernelmill::exp(v - shift[l])); });
      for (int l = 0; l < kLanes; ++l) {
        if (!(std::fabs(a[l]) < HUGE_VAL)) b[l] = a[l] == -HUGE_VAL ? 0.0 : a[l] > 0 ? 1.0 : a[l];
      }
    } else {
      sum(x, rows, stride, b,
          [](T v, int) { return static_cast<double>(v) * static_cast<double>(v); });
      bool safe = true;
      for (int l = 0; l < kLanes; ++l) {
        a[l] = 1;
        safe &= b[l] > 1e-280 && b[l] < 1e280;
      }
      if (!safe) rescaled(x, rows, stride, common, a, b);
    }
    for (int l = 0; l < kLanes; ++l) states[l] = {a[l], b[l], rows};
  }

 private:
  template <class F>
  KERNELMILL_INLINE static void sum(const T* x, index_t rows, index_t stride, double* to, F f) {
    double s[kLanes] = {};
    for (index_t r = 0; r < rows; ++r, x += stride) {
#pragma omp simd
      for (int l = 0; l < kLanes; ++l) s[l] += f(x[l], l);
    }
    std::copy_n(s, kLanes, to);
  }
  // The largest f(x) (the smallest for min); NaN where there is one.
  template <class F>
  KERNELMILL_INLINE static void extreme(const T* x, index_t rows, index_t stride, double* to, F f) {
    T m[kLanes];
    for (int l = 0; l < kLanes; ++l) m[l] = f(x[l]);
    for (index_t r = 1; r < rows; ++r) {
      x += stride;
#pragma omp simd
      for (int l = 0; l < kLanes; ++l) {
        const T v = f(x[l]);
        const T best = (kind == Kind::min ? v < m[l] : v > m[l]) ? v : m[l];
        m[l] = v != v ? v : best;
      }
    }
    std::copy_n(m, kLanes, to);
  }
  static void index(const T* x, index_t rows, index_t stride, double* a, double* b) {
    using Index = std::conditional_t<sizeof(T) == 4, std::int32_t, std::int64_t>;
    T m[kLanes];
    Index at[kLanes] = {};
    std::copy_n(x, kLanes, m);
    for (index_t r = 1; r < rows; ++r) {
      x += stride;
#pragma omp simd
      for (int l = 0; l < kLanes; ++l) {
        const T v = x[l];
        const bool beyond = kind == Kind::argmin ? v < m[l] : v > m[l];
        const bool better = beyond | ((v != v) & (m[l] == m[l]));
        m[l] = better ? v : m[l];
        at[l] = better ? static_cast<Index>(r) : at[l];
      }
    }
    std::copy_n(m, kLanes, a);
    std::copy_n(at, kLanes, b);
  }
  static void share_largest(double* a) {
    double largest = a[0];
    for (int l = 1; l < kLanes; ++l) {
      if (chosen<Kind::max>(a[l], largest)) largest = a[l];
    }
    std::fill_n(a, kLanes, largest);
  }
  // Squares that left the range of float64, or zeros, infinities and NaN.
  static void rescaled(const T* x, index_t rows, index_t stride, bool common, double* a,
                       double* b) {
    extreme(x, rows, stride, a, [](T v) { return std::fabs(v); });
    if (common) share_largest(a);
    double scale[kLanes];
    for (int l = 0; l < kLanes; ++l) {
      const bool normal = a[l] > 0 && a[l] < HUGE_VAL;
      b[l] = a[l] == 0 ? 0 : 1;
      scale[l] = normal ? a[l] : 0;
    }
    double squares[kLanes];
    sum(x, rows, stride, squares, [&](T v, int l) {
      const double u = static_cast<double>(v) / scale[l];
      return u * u;
    });
    for (int l = 0; l < kLanes; ++l) {
      if (scale[l] > 0) b[l] = squares[l];
    }
  }
};

template <Kind kind, class T>
class Reduction {
 public:
  Reduction(const T* x, const Axes& kept, const Axes& reduced, double ddof, void* out)
      : x_(reinterpret_cast<const char*>(x)),
        kept_(kept.merged()),
        reduced_(reduced.merged()),
        ddof_(ddof),
        out_(out),
        results_(kept.count()),
        elements_(reduced.count()) {}

  void run() {
    if (results_ == 0) return;
    const bool adjacent = reduced_.sizes.size() == 1 && reduced_.strides[0] == sizeof(T);
    // Copying runs is a quarter of the work of exchanging axes: (64, 32, 28, 28) to (32,).
    const bool runs =
        reduced_.strides.back() == sizeof(T) && reduced_.sizes.back() >= index_t{kLanes};
    along_ = adjacent ? elements_ >= 4 * kLanes : runs || results_ < 8;
    // Bounds of tasks depend on shapes and strides alone.
    index_t per_task = results_, depth = elements_;
    if (along_) {
      depth = std::min(elements_, kTask);
      per_task = std::max<index_t>(1, kTask / std::max<index_t>(1, elements_));
    } else {
      per_task = std::min(results_, kTaskColumns);
      depth = std::max(kRows, kTask / per_task / kRows * kRows);
    }
    const index_t columns = chunk_count(results_, per_task);
    const index_t parts = std::max<index_t>(1, chunk_count(elements_, depth));
    Workspace<State> partial(static_cast<std::size_t>(parts > 1 ? parts * results_ : 0));
    parallel_for(columns * parts, 1, [&](index_t task, index_t, index_t) {
      const index_t part = task / columns, begin = task % columns * per_task;
      const index_t end = std::min(results_, begin + per_task);
      Workspace<State> local(static_cast<std::size_t>(parts > 1 ? 0 : end - begin));
      State* states = parts > 1 ? partial.data() + part * results_ + begin : local.data();
      std::fill_n(states, end - begin, State{});
      const index_t first = part * depth, last = std::min(elements_, first + depth);
      along_ ? along(begin, end, first, last, states) : across(begin, end, first, last, states);
      if (parts == 1) write(begin, end, states);
    });
    if (parts == 1) return;
    parallel_for(results_, kTaskColumns, [&](index_t, index_t begin, index_t end) {
      State* states = partial.data();
      for (index_t part = 1; part < parts; ++part) {
        for (index_t o = begin; o < end; ++o) merge<kind>(states[o], states[part * results_ + o]);
      }
      write(begin, end, states + begin);
    });
  }

 private:
  const T& element(index_t offset) const { return *reinterpret_cast<const T*>(x_ + offset); }

  // One result after another; lanes are neighbouring elements.
  void along(index_t begin, index_t end, index_t first, index_t last, State* states) const {
    alignas(64) T buffer[kRows * kLanes];
    const bool adjacent = reduced_.sizes.size() == 1 && reduced_.strides[0] == sizeof(T);
    for (index_t o = begin; o < end; ++o) {
      const index_t base = kept_.offset(o);
      double origin[kLanes];
      for (index_t at = first; at < last; at += kRows * kLanes) {
        const index_t count = std::min(kRows * kLanes, last - at), rows = count / kLanes;
        const T* from = &element(base + (adjacent ? at * static_cast<index_t>(sizeof(T)) : 0));
        if (!adjacent) {
          copy_runs(base, at, count, buffer);
          from = buffer;
        }
        std::fill_n(origin, kLanes, static_cast<double>(element(base)));
        State lanes[kLanes];
        if (rows > 0) {
          Panel<kind, T>::run(from, rows, kLanes, true, origin, lanes);
          fold(lanes, kLanes, at, states[o - begin]);
        }
        if (const index_t rest = count % kLanes; rest > 0) {
          T tail[kLanes];  // the last element again and again, never merged
          for (index_t l = 0; l < kLanes; ++l)
            tail[l] = from[rows * kLanes + std::min(l, rest - 1)];
          Panel<kind, T>::run(tail, 1, kLanes, false, origin, lanes);
          fold(lanes, rest, at + rows * kLanes, states[o - begin]);
        }
      }
    }
  }
  // Elements at, ..., at + count - 1 of a result, by whole runs where the last axis is adjacent.
  void copy_runs(index_t base, index_t at, index_t count, T* to) const {
    if (reduced_.strides.back() != static_cast<index_t>(sizeof(T))) {
      walk(reduced_, at, at + count,
           [&](index_t i, index_t offset) { to[i] = element(base + offset); });
      return;
    }
    for (index_t run = 0; count > 0; at += run, to += run, count -= run) {
      run = std::min(count, reduced_.sizes.back() - at % reduced_.sizes.back());
      std::copy_n(&element(base + reduced_.offset(at)), run, to);
    }
  }
  // Merges lanes of one result: element r of lane l is number at + r kLanes + l.
  static void fold(State* lanes, index_t count, index_t at, State& into) {
    for (index_t l = 0; l < count; ++l) {
      if (is_index(kind)) lanes[l].b = static_cast<double>(at + l) + kLanes * lanes[l].b;
      merge<kind>(into, lanes[l]);
    }
  }

  // kLanes results side by side.
  void across(index_t begin, index_t end, index_t first, index_t last, State* states) const {
    alignas(64) T buffer[kRows * kLanes] = {};
    std::array<index_t, kRows> down;
    std::array<index_t, kLanes> right;
    for (index_t at = first; at < last; at += kRows) {
      const index_t rows = std::min(kRows, last - at);
      bool even = true;
      walk(reduced_, at, at + rows, [&](index_t i, index_t offset) {
        down[static_cast<std::size_t>(i)] = offset;
        even &= i < 2 || offset - down[static_cast<std::size_t>(i - 1)] == down[1] - down[0];
      });
      const index_t step = rows > 1 ? down[1] - down[0] : 0;
      for (index_t o = begin; o < end; o += kLanes) {
        const index_t lanes = std::min<index_t>(kLanes, end - o);
        bool adjacent = even && lanes == kLanes;
        walk(kept_, o, o + lanes, [&](index_t i, index_t offset) {
          right[static_cast<std::size_t>(i)] = offset;
          adjacent &= offset - right[0] == i * static_cast<index_t>(sizeof(T));
        });
        const T* from = buffer;
        index_t stride = kLanes;
        if (adjacent) {
          from = &element(right[0] + down[0]);
          stride = step / static_cast<index_t>(sizeof(T));
        } else {
          for (index_t l = 0; l < lanes; ++l) {
            for (index_t r = 0; r < rows; ++r) {
              buffer[r * kLanes + l] =
                  element(right[static_cast<std::size_t>(l)] + down[static_cast<std::size_t>(r)]);
            }
          }
        }
        double origin[kLanes] = {};
        for (index_t l = 0; l < lanes; ++l) {
          origin[l] = static_cast<double>(element(right[static_cast<std::size_t>(l)]));
        }
        State found[kLanes];
        Panel<kind, T>::run(from, rows, stride, false, origin, found);
        for (index_t l = 0; l < lanes; ++l) {
          if (is_index(kind)) found[l].b += static_cast<double>(at);
          merge<kind>(states[o - begin + l], found[l]);
        }
      }
    }
  }

  // visit(i, offset of element begin + i)
  template <class Visit>
  static void walk(const Axes& axes, index_t begin, index_t end, Visit visit) {
    const index_t width = axes.sizes.back(), step = axes.strides.back();
    for (index_t i = 0; begin < end;) {
      index_t offset = axes.offset(begin);
      const index_t run = std::min(end - begin, width - begin % width);
      for (index_t k = 0; k < run; ++k, ++i, offset += step) visit(i, offset);
      begin += run;
    }
  }

  void write(index_t begin, index_t end, const State* states) const {
    for (index_t o = begin; o < end; ++o) {
      const double value = finish<kind>(states[o - begin], ddof_);
      if constexpr (is_index(kind)) {
        static_cast<std::int64_t*>(out_)[o] = static_cast<std::int64_t>(value);
      } else {
        static_cast<T*>(out_)[o] = static_cast<T>(value);
      }
    }
  }

  const char* x_;
  Axes kept_, reduced_;
  double ddof_;
  void* out_;
  index_t results_, elements_;
  bool along_ = false;
};

}  // namespace

index_t Axes::count() const {
  index_t n = 1;
  for (index_t size : sizes) n *= size;
  return n;
}

Axes Axes::merged() const {
  Axes to;
  for (std::size_t axis = 0; axis < sizes.size(); ++axis) {
    if (sizes[axis] == 1) continue;
    if (!to.sizes.empty() && to.strides.back() == sizes[axis] * strides[axis]) {
      to.sizes.back() *= sizes[axis];
      to.strides.back() = strides[axis];
    } else {
      to.add(sizes[axis], strides[axis]);
    }
  }
  if (to.sizes.empty()) to.add(1, 0);
  return to;
}

index_t Axes::offset(index_t index) const {
  index_t offset = 0;
  for (std::size_t axis = sizes.size(); axis-- > 0;) {
    const index_t next = axis > 0 ? index / sizes[axis] : 0;
    offset += (index - next * sizes[axis]) * strides[axis];
    index = next;
  }
  return offset;
}

template <class T>
void run(Kind kind, const T* x, const Axes& kept, const Axes& reduced, double ddof, void* out) {
  const auto one = [&]<Kind k>(std::integral_constant<Kind, k>) {
    if (kind == k) Reduction<k, T>(x, kept, reduced, ddof, out).run();
  };
  [&]<std::size_t... i>(std::index_sequence<i...>) {
    (one(std::integral_constant<Kind, kKinds[i]>()), ...);
  }(std::make_index_sequence<std::size(kKinds)>());
}

KERNELMILL_FOR_FLOATS(run)

}  // namespace kernelmill::reduction
