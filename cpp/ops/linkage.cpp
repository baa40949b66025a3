// Hierarchies of clusters: by a minimum spanning tree, or by chains of nearest neighbours.
//
// Ward's distance of clusters a and b with centers c and sizes s is
//
//   sqrt(2 s_a s_b / (s_a + s_b)) ||c_a - c_b||,
//
// so centers and sizes are all it takes: O(n d) memory. Complete and average linkage need the
// distances of all pairs. A chain goes from a cluster to its nearest one until two are each other's
// nearest, which are merged; with these linkages no merge brings two clusters nearer, so the chain
// that is left stays one, and the merges are those of always merging the closest pair.
#include "ops/linkage.hpp"

#include <algorithm>  // std::find, std::lower_bound, std::sort, std::swap
#include <cmath>      // std::sqrt
#include <vector>     // states

#include "ops/neighbors_blocks.hpp"

namespace kernelmill::linkage {
namespace {

using neighbors::block_distances;
using neighbors::kInfinity;
using neighbors::kLanes;
using neighbors::kWidth;
using neighbors::Vec;

constexpr index_t kSquare = 512;  // rows of which all distances fit the caches twice, 2 MB

struct Merge {
  double height;
  index_t a, b;  // a row of each cluster
};

// Orders merges by height and names clusters: rows are 0 to n - 1, merge i makes cluster n + i.
void write(std::vector<Merge>& found, const Merges& merges) {
  const index_t m = static_cast<index_t>(found.size()), n = m + 1;
  std::stable_sort(found.begin(), found.end(),
                   [](const Merge& a, const Merge& b) { return a.height < b.height; });
  std::vector<index_t> parent(static_cast<std::size_t>(n + m)), size(parent.size(), 1);
  for (index_t i = 0; i < n + m; ++i) parent[static_cast<std::size_t>(i)] = i;
  const auto root = [&](index_t i) {
    while (parent[static_cast<std::size_t>(i)] != i) {
      index_t& up = parent[static_cast<std::size_t>(i)];
      up = parent[static_cast<std::size_t>(up)];
      i = up;
    }
    return i;
  };
  for (index_t i = 0; i < m; ++i) {
    const Merge& merge = found[static_cast<std::size_t>(i)];
    index_t a = root(merge.a), b = root(merge.b);
    if (a > b) std::swap(a, b);
    parent[static_cast<std::size_t>(a)] = parent[static_cast<std::size_t>(b)] = n + i;
    size[static_cast<std::size_t>(n + i)] =
        size[static_cast<std::size_t>(a)] + size[static_cast<std::size_t>(b)];
    merges.children(i, 0) = a;
    merges.children(i, 1) = b;
    merges.heights[static_cast<std::size_t>(i)] = merge.height;
    merges.sizes[static_cast<std::size_t>(i)] = size[static_cast<std::size_t>(n + i)];
  }
}

// Points in blocks of kWidth, those in use first.
class Points {
 public:
  template <class T>
  explicit Points(MatrixView<const T> x)
      : d_(x.cols),
        count_(x.rows),
        memory_(static_cast<std::size_t>(chunk_count(x.rows, kWidth) * kWidth * x.cols)),
        name_(static_cast<std::size_t>(x.rows)) {
    std::fill_n(memory_.data(), chunk_count(x.rows, kWidth) * kWidth * d_, kInfinity);
    for (index_t i = 0; i < count_; ++i) {
      name_[static_cast<std::size_t>(i)] = i;
      for (index_t p = 0; p < d_; ++p) at(i, p) = static_cast<double>(x(i, p));
    }
  }

  index_t d() const { return d_; }
  index_t count() const { return count_; }
  index_t blocks() const { return chunk_count(count_, kWidth); }
  double& at(index_t i, index_t p) {
    return memory_.data()[(i / kWidth * d_ + p) * kWidth + i % kWidth];
  }
  const double* block(index_t b) const { return memory_.data() + b * d_ * kWidth; }
  void copy(index_t i, double* q) {
    for (index_t p = 0; p < d_; ++p) q[p] = at(i, p);
  }
  index_t name(index_t i) const { return name_[static_cast<std::size_t>(i)]; }
  // Takes point i out; the last one takes its place.
  void remove(index_t i) {
    --count_;
    name_[static_cast<std::size_t>(i)] = name_[static_cast<std::size_t>(count_)];
    for (index_t p = 0; p < d_; ++p) {
      at(i, p) = at(count_, p);
      at(count_, p) = kInfinity;
    }
  }

 private:
  index_t d_, count_;
  Workspace<double> memory_;
  std::vector<index_t> name_;
};

// Prim's algorithm: of the points outside, each knows its nearest one inside.
template <class M>
std::vector<Merge> spanning_tree(const M& metric, Points points, std::span<const double> floors) {
  const index_t n = points.count(), d = points.d();
  std::vector<Merge> edges;
  edges.reserve(static_cast<std::size_t>(std::max<index_t>(n - 1, 0)));
  const std::size_t padded = static_cast<std::size_t>(points.blocks() * kWidth);
  const Workspace<double> nearest(padded);
  const Workspace<index_t> from(padded);
  const Workspace<double> q(static_cast<std::size_t>(d));
  // Least sums of the points, by place.
  const Workspace<double> floor(padded);
  std::fill_n(floor.data(), padded, 0.0);
  for (index_t i = 0; i < static_cast<index_t>(floors.size()); ++i) {
    floor.data()[i] =
        std::max(0.0, neighbors::reduced_limit(metric, floors[static_cast<std::size_t>(i)], d));
  }
  std::fill_n(nearest.data(), padded, kInfinity);
  std::fill_n(from.data(), padded, index_t{0});
  index_t inside = 0;  // place of the point that was added last
  for (index_t step = 0; step + 1 < n; ++step) {
    if (step % 64 == 0) check_interrupt();
    const index_t name = points.name(inside);
    points.copy(inside, q.data());
    points.remove(inside);
    const index_t last = points.count();
    const Vec low_own = Vec{} + floor.data()[inside];
    floor.data()[inside] = floor.data()[last];
    nearest.data()[inside] = nearest.data()[last];
    from.data()[inside] = from.data()[last];
    nearest.data()[last] = kInfinity;
    double least = kInfinity;
    index_t where = 0;
    for (index_t b = 0; b < points.blocks(); ++b) {
      alignas(64) double distance[kWidth];
      block_distances(metric, q.data(), points.block(b), d, kWidth, distance);
      double* const own = nearest.data() + b * kWidth;
      index_t* const origin = from.data() + b * kWidth;
      Vec low = tile::load<Vec>(distance);
      for (index_t l = 0; l < kWidth; l += kLanes) {
        Vec now = tile::load<Vec>(distance + l);
        const Vec before = tile::load<Vec>(own + l);
        const Vec theirs = tile::load<Vec>(floor.data() + b * kWidth + l);
        now = now < low_own ? low_own : now;
        now = now < theirs ? theirs : now;
        using Number [[gnu::vector_size(sizeof(Vec))]] = index_t;
        const auto nearer = now < before;
        const Vec best = nearer ? now : before;
        tile::store(own + l, best);
        const Number number = tile::load<Number>(origin + l);
        tile::store(origin + l, nearer ? Number{} + name : number);
        if (l == 0) low = best;
        low = best < low ? best : low;
      }
      double lane[kLanes];
      tile::store(lane, low);
      for (const double value : lane) {
        if (value < least) {
          least = value;
          where = b;
        }
      }
    }
    inside = where * kWidth;
    while (least < kInfinity && nearest.data()[inside] != least) ++inside;
    edges.push_back({metric.finish(least, d), points.name(inside), from.data()[inside]});
  }
  return edges;
}

// The clusters of Ward's method. Chains hold names, as places change.
class Ward {
 public:
  explicit Ward(Points points)
      : points_(std::move(points)),
        n_(points_.count()),
        size_(static_cast<std::size_t>(points_.blocks() * kWidth), 1.0),
        place_(static_cast<std::size_t>(n_)),
        q_(static_cast<std::size_t>(points_.d())) {
    for (index_t i = 0; i < n_; ++i) place_[static_cast<std::size_t>(i)] = i;
  }

  std::vector<Merge> run() {
    std::vector<Merge> merges;
    std::vector<index_t> chain;
    for (index_t step = 0; static_cast<index_t>(merges.size()) + 1 < n_; ++step) {
      if (step % 64 == 0) check_interrupt();
      if (chain.empty()) chain.push_back(points_.name(0));
      const index_t top = place(chain.back());
      index_t near = -1;
      double least = kInfinity;
      if (chain.size() > 1) {  // equal distances end a chain
        near = place(chain[chain.size() - 2]);
        points_.copy(top, q_.data());
        least = square(top, near);
      }
      search(top, near, least);
      if (chain.size() > 1 && points_.name(near) == chain[chain.size() - 2]) {
        chain.pop_back();
        chain.pop_back();
        merges.push_back({std::sqrt(least), points_.name(top), points_.name(near)});
        merge(top, near);
      } else {
        chain.push_back(points_.name(near));
      }
    }
    return merges;
  }

 private:
  index_t place(index_t name) const { return place_[static_cast<std::size_t>(name)]; }
  double& size(index_t i) { return size_[static_cast<std::size_t>(i)]; }

  // Of clusters at places i, which q_ holds, and j.
  double square(index_t i, index_t j) {
    alignas(64) double distance[kWidth];
    block_distances(neighbors::Euclidean{}, q_.data(), points_.block(j / kWidth), points_.d(),
                    kWidth, distance);
    return weight(size(i), size(j)) * distance[j % kWidth];
  }
  static double weight(double a, double b) { return 2 * a * b / (a + b); }

  // Replaces `near` where another cluster is nearer than `least`.
  void search(index_t i, index_t& near, double& least) {
    points_.copy(i, q_.data());
    const double own = size(i), lowest = weight(own, 1);
    for (index_t b = 0; b < points_.blocks(); ++b) {
      alignas(64) double distance[kWidth];
      block_distances(neighbors::Euclidean{}, q_.data(), points_.block(b), points_.d(), kWidth,
                      distance);
      // Weights grow with the other's size: where even that of one row is too much, none is needed.
      double low = kInfinity;
#pragma omp simd reduction(min : low)
      for (index_t l = 0; l < kWidth; ++l) low = distance[l] < low ? distance[l] : low;
      const bool mine = i / kWidth == b;  // holds a distance of 0
      if (!mine && low * lowest >= least) continue;
      for (index_t l = 0; l < kWidth; ++l) {
        const index_t j = b * kWidth + l;
        if (j == i || j >= points_.count()) continue;
        const double there = weight(own, size(j)) * distance[l];
        if (there < least || near < 0) {
          least = there;
          near = j;
        }
      }
    }
  }

  void merge(index_t a, index_t b) {
    const double total = size(a) + size(b), share = size(b) / total;
    for (index_t p = 0; p < points_.d(); ++p) {
      points_.at(a, p) += share * (points_.at(b, p) - points_.at(a, p));
    }
    size(a) = total;
    const index_t last = points_.count() - 1;
    place_[static_cast<std::size_t>(points_.name(last))] = b;
    size(b) = size(last);
    points_.remove(b);
  }

  Points points_;
  index_t n_;
  std::vector<double> size_;    // by place
  std::vector<index_t> place_;  // by name
  Workspace<double> q_;
};

}  // namespace

void check_merges(const char* op, index_t n, const Merges& merges) {
  const index_t m = std::max<index_t>(n - 1, 0);
  if (merges.children.rows != m) {
    invalid(op, "m must be ", m, ", got ", merges.children.rows);
  }
}

template <class T>
void single(MatrixView<const T> x, neighbors::Measure measure, std::span<const double> least,
            const Merges& merges) {
  check_merges("linkage.single", x.rows, merges);
  if (x.rows < 2) return;
  neighbors::with_metric(measure, "linkage.single", [&](const auto& metric) {
    if constexpr (!std::is_same_v<std::decay_t<decltype(metric)>, neighbors::NanEuclidean>) {
      std::vector<Merge> edges = spanning_tree(metric, Points(x), least);
      write(edges, merges);
    }
  });
}

template <class T>
void ward(MatrixView<const T> x, const Merges& merges) {
  check_merges("linkage.ward", x.rows, merges);
  if (x.rows < 2) return;
  std::vector<Merge> found = Ward(Points(x)).run();
  write(found, merges);
}

void chain(index_t n, Linkage linkage, std::span<double> distances, const Merges& merges) {
  if (static_cast<index_t>(distances.size()) != n * (n - 1) / 2) {
    invalid("linkage.chain", "distances must be ", n * (n - 1) / 2, " for ", n, " rows, got ",
            distances.size());
  }
  const auto item = [](auto& values, index_t i) -> auto& {
    return values[static_cast<std::size_t>(i)];
  };
  std::vector<double> size(static_cast<std::size_t>(n), 1.0);
  std::vector<std::vector<index_t>> members(static_cast<std::size_t>(n));
  std::vector<index_t> alive(static_cast<std::size_t>(n)), rows(alive);  // alive is ascending
  for (index_t i = 0; i < n; ++i) {
    item(members, i) = {i};
    item(alive, i) = i;
    item(rows, i) = i * n - i * (i + 1) / 2 - i - 1;
  }
  double* const D = distances.data();
  const index_t* const row = rows.data();  // D[row[i] + j], for i < j
  // Calls with the place of the distance of i to each j alive but i, and j, in order.
  const auto each = [&](index_t i, const auto& visit) {
    const index_t own = row[i];
    auto at = alive.begin();
    for (; *at < i; ++at) visit(row[*at] + i, *at);
    if (*at == i) ++at;
    for (; at != alive.end(); ++at) visit(own + *at, *at);
  };
  const auto place = [&](index_t i, index_t j) { return row[std::min(i, j)] + std::max(i, j); };
  // Of few rows all distances twice, infinite on the diagonal and in the columns of clusters that
  // are gone: rows are then scanned without gaps. 200 rows take 0.12 ms, not 0.20.
  const bool few = n <= kSquare;
  const Workspace<double> memory(few ? static_cast<std::size_t>(n * n) : 0);
  double* const full = memory.data();
  for (index_t i = 0; few && i < n; ++i) {
    full[i * n + i] = kInfinity;
    for (index_t j = i + 1; j < n; ++j) full[i * n + j] = full[j * n + i] = D[row[i] + j];
  }
  std::vector<Merge> found;
  std::vector<index_t> path;
  while (static_cast<index_t>(found.size()) + 1 < n) {
    check_interrupt();
    if (path.empty()) path.push_back(alive.front());
    const index_t top = path.back();
    index_t near = path.size() > 1 ? path[path.size() - 2] : alive[top == alive.front() ? 1 : 0];
    double least = few ? full[top * n + near] : D[place(top, near)];
    if (few) {
      const double* const own = full + top * n;
      double low = kInfinity;
#pragma omp simd reduction(min : low)
      for (index_t j = 0; j < n; ++j) low = own[j] < low ? own[j] : low;
      if (low < least) {
        least = low;
        near = std::find(own, own + n, low) - own;
      }
    } else {
      each(top, [&](index_t at, index_t j) {
        if (D[at] < least) {
          least = D[at];
          near = j;
        }
      });
    }
    if (path.size() < 2 || near != path[path.size() - 2]) {
      path.push_back(near);
      continue;
    }
    path.pop_back();
    path.pop_back();
    found.push_back({least, top, near});
    const double a = item(size, top), b = item(size, near);
    item(size, near) = a + b;
    alive.erase(std::lower_bound(alive.begin(), alive.end(), top));
    const auto merge = [&](const auto& merged) {
      if (few) {
        double* const own = full + near * n;
        const double* const other = full + top * n;
        for (index_t j = 0; j < n; ++j) own[j] = merged(other[j], own[j], j);
        own[near] = own[top] = kInfinity;
        for (const index_t j : alive) {
          full[j * n + near] = own[j];
          full[j * n + top] = kInfinity;
        }
        return;
      }
      each(near, [&](index_t at, index_t j) { D[at] = merged(D[place(top, j)], D[at], j); });
    };
    if (linkage == kComplete) {
      merge([](double p, double q, index_t) { return std::max(p, q); });
    } else if (linkage == kSingle) {
      merge([](double p, double q, index_t) { return std::min(p, q); });
    } else if (linkage == kAverage) {
      merge([a, b](double p, double q, index_t) { return (a * p + b * q) / (a + b); });
    } else {
      merge([&](double p, double q, index_t j) {
        const double c = item(size, j);
        const double square = ((a + c) * p * p + (b + c) * q * q - c * least * least) / (a + b + c);
        return std::sqrt(std::max(square, 0.0));
      });
    }
    // No later step reads the distances of pairs that are together now.
    auto &gone = item(members, top), &kept = item(members, near);
    for (const index_t i : gone) {
      for (const index_t j : kept) D[place(i, j)] = least;
    }
    if (gone.size() > kept.size()) gone.swap(kept);
    kept.insert(kept.end(), gone.begin(), gone.end());
    std::vector<index_t>().swap(gone);
  }
  write(found, merges);
}

KERNELMILL_FOR_FLOATS(single)
KERNELMILL_FOR_FLOATS(ward)

}  // namespace kernelmill::linkage
