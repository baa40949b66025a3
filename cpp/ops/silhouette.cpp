// Distances from a distance epilogue (ops/distances.hpp), summed by cluster while in registers.
//
// y is cut into segments, each with an origin of its own: a piece of one large cluster, or some
// small clusters together. Within a compact cluster the squares of the distances are then of the
// size of the norms, so that next to no entry is spoiled by cancellation, however far the clusters
// lie apart. Within a tile at most MR distances are added in T; all else runs in double.
#include "ops/silhouette.hpp"

#include <algorithm>  // std::clamp, std::max, std::min, std::upper_bound
#include <vector>     // segments

#include "core/error.hpp"      // invalid
#include "core/parallel.hpp"   // parallel_for
#include "core/tile.hpp"       // PackedA, product
#include "core/workspace.hpp"  // norms
#include "ops/distances.hpp"   // DistanceEpilogue

namespace kernelmill {
namespace {

template <class T>
struct ClusterSums {
  static constexpr tile::Hooks hooks{.panels = true};
  using Vec = typename tile::Params<T>::Vec;
  static constexpr int NV = tile::Params<T>::NV, lanes = tile::Params<T>::lanes;
  static constexpr int NR = NV * lanes;

  std::span<const std::int64_t> offsets;
  index_t first_row, first_cluster;  // of the segment
  MatrixView<double> out;

  index_t cluster = 0;  // that `sums` belongs to
  double sums[NR] = {};

  void begin_panel(index_t, index_t) { cluster = first_cluster; }
  void end_panel(index_t j0, index_t cols) { flush(j0, cols); }

  template <int Rows>
  void tile(const Vec (&distance)[Rows][NV], index_t i0, index_t j0, index_t cols) {
    const index_t row = first_row + i0;
    if (row + Rows <= end()) [[likely]] {
      Vec total[NV];
      KERNELMILL_UNROLL
      for (int v = 0; v < NV; ++v) total[v] = distance[0][v];
      KERNELMILL_UNROLL
      for (int r = 1; r < Rows; ++r) {
        KERNELMILL_UNROLL
        for (int v = 0; v < NV; ++v) total[v] += distance[r][v];
      }
      add(total);
      return;
    }
    Vec rows[Rows][NV];  // a copy, so that `distance` itself stays in registers
    KERNELMILL_UNROLL
    for (int r = 0; r < Rows; ++r) {
      KERNELMILL_UNROLL
      for (int v = 0; v < NV; ++v) rows[r][v] = distance[r][v];
    }
    add_each(rows, row, Rows, j0, cols);
  }

 private:
  index_t end() const { return offsets[static_cast<std::size_t>(cluster) + 1]; }

  // Rows of several clusters, one by one.
  [[gnu::noinline]] void add_each(const Vec (*distance)[NV], index_t row, int rows, index_t j0,
                                  index_t cols) {
    for (int r = 0; r < rows; ++r) {
      if (row + r >= end()) {
        flush(j0, cols);
        while (row + r >= end()) ++cluster;
      }
      add(distance[r]);
    }
  }

  void add(const Vec (&distance)[NV]) {
    T lane[NR];
    KERNELMILL_UNROLL
    for (int v = 0; v < NV; ++v) tile::store(lane + v * lanes, distance[v]);
#pragma omp simd
    for (int l = 0; l < NR; ++l) sums[l] += static_cast<double>(lane[l]);
  }

  [[gnu::noinline]] void flush(index_t j0, index_t cols) {
    for (index_t l = 0; l < cols; ++l) out(j0 + l, cluster) += sums[l];
    std::fill(sums, sums + NR, 0.0);
  }
};

// A cluster of fewer rows shares its segment: packing the queries once per segment costs about as
// much as 10 rows of it.
constexpr index_t small_cluster = 256;
// Packed rows of a segment stay in the L2 cache while the queries pass.
constexpr index_t segment_bytes = index_t{256} << 10;
// Packed segments alive at a time.
constexpr index_t packed_bytes = index_t{64} << 20;
// Multiply-adds and square roots that are worth a task: about 100 us on one core.
constexpr index_t task_work = index_t{1} << 23;
constexpr int origin_rows = 256;

struct Segment {
  index_t begin, end, cluster;  // rows, and the cluster of the first
};

std::vector<Segment> cut(std::span<const std::int64_t> offsets, index_t largest) {
  std::vector<Segment> segments;
  bool open = false;  // the last segment holds small clusters and has room
  for (std::size_t g = 0; g + 1 < offsets.size(); ++g) {
    const index_t begin = offsets[g], rows = offsets[g + 1] - begin;
    const index_t cluster = static_cast<index_t>(g);
    if (rows == 0) continue;
    if (rows < small_cluster) {
      if (open) {
        segments.back().end += rows;
      } else {
        segments.push_back({begin, begin + rows, cluster});
      }
      open = segments.back().end - segments.back().begin < small_cluster;
      continue;
    }
    open = false;
    const index_t pieces = chunk_count(rows, largest);
    for (index_t p = 0; p < pieces; ++p) {
      segments.push_back({begin + rows * p / pieces, begin + rows * (p + 1) / pieces, cluster});
    }
  }
  return segments;
}

// A segment of y, packed around its origin.
template <class T>
struct Packed {
  Packed(const Segment& of, MatrixView<const T> y)
      : segment(of),
        rows(y.row_range(of.begin, of.end)),
        origin(origin_of<T, origin_rows>(y.cols, rows)),
        norms(static_cast<std::size_t>(rows.rows)),
        a(rows.rows, rows.cols) {}

  void pack() {
    a.pack(CenteredWithNorms{centered(rows, origin), norms.data(), 0, rows.cols}, 0, a.tiles());
  }

  Segment segment;
  MatrixView<const T> rows;
  std::vector<T> origin, norms;
  tile::PackedA<T> a;
};

template <class T>
void add_segments(MatrixView<const T> x, std::vector<Packed<T>>& slab,
                  std::span<const std::int64_t> offsets, MatrixView<double> out) {
  using P = tile::Params<T>;
  const index_t count = static_cast<index_t>(slab.size()), d = x.cols;
  parallel_for(count, 1,
               [&](index_t s, index_t, index_t) { slab[static_cast<std::size_t>(s)].pack(); });
  const index_t rows = slab.back().segment.end - slab.front().segment.begin;
  const index_t panels = std::clamp<index_t>(task_work / (rows * (d + 16) * P::NR), 1, 16);
  const index_t grain = panels * P::NR;
  parallel_for(x.rows, grain, [&](index_t, index_t begin, index_t end) {
    Workspace<T> norms(static_cast<std::size_t>(grain));
    for (const Packed<T>& part : slab) {
      const CenteredWithNorms queries{centered(x, part.origin), norms.data(), begin, d};
      ClusterSums<T> finish{offsets, part.segment.begin, part.segment.cluster, out};
      DistanceEpilogue<T, ClusterSums<T>> epilogue(part.rows, part.norms.data(), x, norms.data(),
                                                   begin, false, finish);
      tile::product<T>(part.a, queries, begin, end, epilogue);
    }
  });
}

void check_offsets(std::span<const std::int64_t> offsets, index_t rows) {
  bool rise = !offsets.empty() && offsets.front() == 0 && offsets.back() == rows;
  for (std::size_t g = 0; rise && g + 1 < offsets.size(); ++g) rise = offsets[g] <= offsets[g + 1];
  if (!rise) {
    invalid("silhouette.cluster_distance_sums", "offsets must rise from 0 to ", rows, ", got ",
            offsets.size(), " numbers that do not");
  }
}

}  // namespace

template <class T>
void cluster_distance_sums(MatrixView<const T> x, MatrixView<const T> y,
                           std::span<const std::int64_t> offsets, MatrixView<double> out) {
  check_offsets(offsets, y.rows);
  const index_t k = static_cast<index_t>(offsets.size()) - 1;
  if (x.cols != y.cols || out.rows != x.rows || out.cols != k) {
    invalid("silhouette.cluster_distance_sums",
            "shapes must be (n, d), (m, d), (k + 1,) -> (n, k), got (", x.rows, ", ", x.cols,
            "), (", y.rows, ", ", y.cols, "), (", k + 1, ",) -> (", out.rows, ", ", out.cols, ")");
  }
  for (index_t i = 0; i < out.rows; ++i) {
    for (index_t g = 0; g < k; ++g) out(i, g) = 0;
  }
  if (x.rows == 0 || x.cols == 0) return;
  const index_t bytes = x.cols * static_cast<index_t>(sizeof(T));
  const std::vector<Segment> segments =
      cut(offsets, std::clamp<index_t>(segment_bytes / bytes, small_cluster, 8192));
  std::vector<Packed<T>> slab;
  index_t held = 0;
  for (std::size_t s = 0; s < segments.size(); ++s) {
    slab.emplace_back(segments[s], y);
    held += (segments[s].end - segments[s].begin) * bytes;
    if (held < packed_bytes && s + 1 < segments.size()) continue;
    add_segments(x, slab, offsets, out);
    slab.clear();
    held = 0;
  }
}

KERNELMILL_FOR_FLOATS(cluster_distance_sums)

}  // namespace kernelmill
