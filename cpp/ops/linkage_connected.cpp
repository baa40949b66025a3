// Hierarchies whose merges are limited to connected clusters: a heap of pairs, with lazy deletion.
//
// A cluster is known by its name: rows are 0 to n - 1, merge i makes n + i. So a pair that waits is
// stale when one of its names is gone, and a cluster's list of neighbours is ascending by itself:
// a new name is the largest. Lists keep names that are gone until they are merged.
#include <algorithm>  // std::make_heap, std::max, std::min, std::pop_heap, std::push_heap, std::sort
#include <cmath>      // std::sqrt
#include <utility>    // std::pair
#include <vector>     // lists

#include "core/error.hpp"      // invalid
#include "core/parallel.hpp"   // check_interrupt
#include "core/workspace.hpp"  // Workspace
#include "ops/linkage.hpp"

namespace kernelmill::linkage {
namespace {

constexpr index_t kOften = index_t{1} << 16;  // pairs between looks for an interrupt, some ms

auto& item(auto& values, index_t i) { return values[static_cast<std::size_t>(i)]; }

struct Near {
  index_t name;
  double distance;
};

// Orders a heap: the closest pair on top, of equals that whose later cluster was made first.
struct Pair {
  double distance;
  index_t later, earlier;
  bool operator<(const Pair& other) const {
    if (distance != other.distance) return distance > other.distance;
    if (later != other.later) return later > other.later;
    return earlier > other.earlier;
  }
};

// Rules say how far a union of clusters a and b, named k, is from a third, c:
//   begin(a, b, height, k), then both(c, p, q) and one(c, p) for c at distances p and q.
template <class Rule>
void merge_connected(const char* op, std::span<const double> distances,
                     std::span<const index_t> lower, std::span<const index_t> upper, Rule& rule,
                     const Merges& merges) {
  const index_t m = merges.children.rows, n = m + 1, pairs = static_cast<index_t>(lower.size());
  std::vector<std::vector<Near>> near(static_cast<std::size_t>(n + m));
  std::vector<Pair> waiting;
  waiting.reserve(lower.size());
  const auto refuse = [&](index_t p, index_t q) {
    invalid(op, "pairs must be rows of 0 to ", m, ", the lower one first, each pair once, got (", p,
            ", ", q, ")");
  };
  for (index_t e = 0; e < pairs; ++e) {
    const index_t p = item(lower, e), q = item(upper, e);
    if (!(0 <= p && p < q && q < n)) refuse(p, q);
    item(near, p).push_back({q, item(distances, e)});
    item(near, q).push_back({p, item(distances, e)});
    waiting.push_back({item(distances, e), q, p});
  }
  for (index_t p = 0; p < n; ++p) {
    auto& own = item(near, p);
    std::sort(own.begin(), own.end(), [](const Near& a, const Near& b) { return a.name < b.name; });
    for (std::size_t i = 1; i < own.size(); ++i) {
      if (own[i].name == own[i - 1].name) {
        refuse(std::min(p, own[i].name), std::max(p, own[i].name));
      }
    }
  }
  std::make_heap(waiting.begin(), waiting.end());
  std::vector<char> gone(near.size());
  std::vector<index_t> size(near.size(), 1);
  index_t work = 0;
  for (index_t k = n; k < n + m; ++k) {
    const auto stale = [&](const Pair& pair) {
      return item(gone, pair.later) || item(gone, pair.earlier);
    };
    while (!waiting.empty() && stale(waiting.front())) {
      std::pop_heap(waiting.begin(), waiting.end());
      waiting.pop_back();
    }
    if (waiting.empty()) {
      invalid(op, "pairs must connect all rows, got ", n + m - k + 1, " parts");
    }
    const auto [height, b, a] = waiting.front();
    std::pop_heap(waiting.begin(), waiting.end());
    waiting.pop_back();
    item(gone, a) = item(gone, b) = 1;
    item(size, k) = item(size, a) + item(size, b);
    merges.children(k - n, 0) = a;
    merges.children(k - n, 1) = b;
    item(merges.heights, k - n) = height;
    item(merges.sizes, k - n) = item(size, k);
    rule.begin(a, b, height, k);
    auto &first = item(near, a), &second = item(near, b), &own = item(near, k);
    own.reserve(first.size() + second.size());
    const auto add = [&](index_t c, double distance) {
      own.push_back({c, distance});
      item(near, c).push_back({k, distance});
      waiting.push_back({distance, k, c});
      std::push_heap(waiting.begin(), waiting.end());
    };
    auto p = first.begin(), q = second.begin();
    while (p != first.end() || q != second.end()) {
      if (q == second.end() || (p != first.end() && p->name < q->name)) {
        if (!item(gone, p->name)) add(p->name, rule.one(p->name, p->distance));
        ++p;
      } else if (p == first.end() || q->name < p->name) {
        if (!item(gone, q->name)) add(q->name, rule.one(q->name, q->distance));
        ++q;
      } else {
        if (!item(gone, p->name)) add(p->name, rule.both(p->name, p->distance, q->distance));
        ++p, ++q;
      }
    }
    work += 64 + static_cast<index_t>(first.size() + second.size());
    std::vector<Near>().swap(first);
    std::vector<Near>().swap(second);
    if (work >= kOften) {
      check_interrupt();
      work = 0;
    }
  }
}

struct Distances {
  Linkage linkage;
  std::vector<double> size;
  double a = 0, b = 0;
  void begin(index_t p, index_t q, double, index_t k) {
    a = item(size, p), b = item(size, q);
    item(size, k) = a + b;
  }
  double both(index_t, double p, double q) const {
    if (linkage == kComplete) return std::max(p, q);
    if (linkage == kSingle) return std::min(p, q);
    return (a * p + b * q) / (a + b);
  }
  double one(index_t, double p) const { return p; }
};

// Sums of the rows of each cluster, in the place of one of its two children.
template <class T>
class Means {
 public:
  Means(MatrixView<const T> x, index_t names)
      : d_(x.cols), sums_(static_cast<std::size_t>(x.rows * x.cols)) {
    size_.assign(static_cast<std::size_t>(names), 1.0);
    place_.resize(size_.size());
    for (index_t i = 0; i < x.rows; ++i) {
      item(place_, i) = i;
      for (index_t p = 0; p < d_; ++p) {
        sums_.data()[i * d_ + p] = static_cast<double>(x(i, p)) - static_cast<double>(x(0, p));
      }
    }
  }
  double height(index_t a, index_t b) const {
    const double *const s = sum(a), *const t = sum(b);
    const double u = item(size_, a), v = item(size_, b);
    double square = 0;
    for (index_t p = 0; p < d_; ++p) {
      const double apart = s[p] / u - t[p] / v;
      square += apart * apart;
    }
    return std::sqrt(square * (2 * u * v / (u + v)));
  }
  void begin(index_t a, index_t b, double, index_t k) {
    double* const s = sum(a);
    const double* const t = sum(b);
    for (index_t p = 0; p < d_; ++p) s[p] += t[p];
    item(place_, k) = item(place_, a);
    item(size_, k) = item(size_, a) + item(size_, b);
    new_ = k;
  }
  double both(index_t c, double, double) const { return height(new_, c); }
  double one(index_t c, double) const { return height(new_, c); }

 private:
  double* sum(index_t name) const { return sums_.data() + item(place_, name) * d_; }

  index_t d_, new_ = 0;
  Workspace<double> sums_;
  std::vector<double> size_;    // by name
  std::vector<index_t> place_;  // by name
};

}  // namespace

void connected(std::span<const double> distances, std::span<const index_t> lower,
               std::span<const index_t> upper, Linkage linkage, const Merges& merges) {
  const index_t m = merges.children.rows;
  Distances rule{linkage, std::vector<double>(static_cast<std::size_t>(2 * m + 1), 1.0)};
  merge_connected("linkage.connected", distances, lower, upper, rule, merges);
}

template <class T>
void connected_ward(MatrixView<const T> x, std::span<const index_t> lower,
                    std::span<const index_t> upper, const Merges& merges) {
  check_merges("linkage.connected_ward", x.rows, merges);
  const index_t n = x.rows;
  Means<T> rule(x, n + merges.children.rows);
  std::vector<double> distances(lower.size());
  for (std::size_t e = 0; e < lower.size(); ++e) {
    const index_t p = lower[e], q = upper[e];
    if (0 <= p && p < q && q < n) distances[e] = rule.height(p, q);  // others are refused
  }
  merge_connected("linkage.connected_ward", distances, lower, upper, rule, merges);
}

KERNELMILL_FOR_FLOATS(connected_ward)

}  // namespace kernelmill::linkage
