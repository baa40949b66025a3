// Shortest paths by Dijkstra's method, from each point by itself.
//
// fl(a + w) never falls where a rises, so the least sum over all paths, added up from the source
// on, is one number, whatever order the heap has among equals.
#include <algorithm>  // std::max, std::min, std::ranges::fill
#include <limits>     // std::numeric_limits
#include <vector>     // std::vector

#include "core/parallel.hpp"  // parallel_for
#include "ops/layout.hpp"

namespace kernelmill::layout {

namespace {

constexpr index_t kGrain = 8192;  // points and edges of the searches of a chunk, at least 20 us
constexpr double kFar = std::numeric_limits<double>::infinity();

struct Edge {
  double length;
  std::int32_t point;
};

// The shortest edge from each point to each other.
struct Edges {
  std::vector<index_t> offsets;
  std::vector<Edge> all;

  Edges(const Graph& graph, std::span<const double> lengths) {
    const auto n = static_cast<index_t>(graph.offsets.size()) - 1;
    std::vector<index_t> place(n, -1);  // of the edge to a point, among those of this one
    offsets.reserve(n + 1);
    all.reserve(lengths.size());
    for (index_t i = 0; i < n; ++i) {
      const auto begin = static_cast<index_t>(all.size());
      offsets.push_back(begin);
      for (index_t e = graph.offsets[i]; e < graph.offsets[i + 1]; ++e) {
        const std::int32_t j = graph.indices[e];
        if (place[j] >= begin) {
          all[place[j]].length = std::min(all[place[j]].length, lengths[e]);
        } else {
          place[j] = static_cast<index_t>(all.size());
          all.push_back({lengths[e], j});
        }
      }
    }
    offsets.push_back(static_cast<index_t>(all.size()));
  }
};

// Points by their distance, the nearest on top; four children each, so that paths are half as long
// as those of two and a point's children share a cache line. Each point knows its place.
class Search {
 public:
  explicit Search(const Edges& edges)
      : edges_(edges),
        n_(static_cast<index_t>(edges.offsets.size()) - 1),
        heap_(n_),
        place_(n_),
        known_(n_) {}

  std::span<const double> from(std::int32_t source) {
    std::ranges::fill(known_, kFar);
    count_ = 0;
    place_[source] = count_++;
    rise(source, 0);
    while (count_ > 0) {
      const auto [distance, point] = heap_[0];
      if (--count_ > 0) sink(heap_[count_]);
      for (index_t e = edges_.offsets[point]; e < edges_.offsets[point + 1]; ++e) {
        const auto [length, next] = edges_.all[e];
        const double there = distance + length;
        if (there < known_[next]) {
          if (known_[next] == kFar) place_[next] = count_++;
          rise(next, there);
        }
      }
    }
    return known_;
  }

 private:
  void put(Edge entry, index_t at) {
    heap_[at] = entry;
    place_[entry.point] = at;
  }

  void rise(std::int32_t point, double distance) {
    known_[point] = distance;
    index_t at = place_[point];
    while (at > 0) {
      const index_t parent = (at - 1) / 4;
      if (heap_[parent].length <= distance) break;
      put(heap_[parent], at);
      at = parent;
    }
    put({distance, point}, at);
  }

  void sink(Edge entry) {
    index_t at = 0;
    for (index_t child = 1; child < count_; child = 4 * at + 1) {
      index_t least = child;
      for (index_t c = child + 1; c < std::min(child + 4, count_); ++c) {
        if (heap_[c].length < heap_[least].length) least = c;
      }
      if (entry.length <= heap_[least].length) break;
      put(heap_[least], at);
      at = least;
    }
    put(entry, at);
  }

  const Edges& edges_;
  index_t n_, count_ = 0;
  std::vector<Edge> heap_;  // distances and points
  std::vector<index_t> place_;
  std::vector<double> known_;
};

}  // namespace

void paths(const Graph& graph, std::span<const double> lengths, MatrixView<double> distances) {
  const index_t n = distances.rows;
  const Edges edges(graph, lengths);
  const index_t work = n + static_cast<index_t>(edges.all.size());
  parallel_for(n, std::max<index_t>(1, kGrain / std::max<index_t>(work, 1)),
               [&](index_t, index_t first, index_t last) {
                 Search search(edges);
                 for (index_t i = first; i < last; ++i) {
                   const auto known = search.from(static_cast<std::int32_t>(i));
                   for (index_t j = 0; j < n; ++j) distances(i, j) = known[j];
                 }
               });
}

}  // namespace kernelmill::layout
