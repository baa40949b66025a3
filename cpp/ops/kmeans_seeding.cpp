// Greedy k-means++ seeding.
//
// Each seed costs two passes: one prices the candidates, one updates the distances to the nearest
// seed and the mass of each block of rows, from which the next candidates are drawn. A candidate is
// priced by its gain, sum of w (D^2 - min(D^2, ||x - c||^2)): the largest gain leaves the least
// sum.
//
// Most rows gain nothing and need not be read (Raff 2021). With s the nearest seed of x, the
// triangle inequality gives ||x - c|| >= ||c - s|| - ||x - s||, so ||c - s||^2 >= 4 ||x - s||^2
// implies that c is no nearer than s. The margin covers rounding, so skipping changes no bit of the
// result.
//
// Rows that fit the caches are packed once instead and all of them priced: finding out which may be
// skipped would take longer than pricing them.
//
// Distances are differences, not an expanded square: a row equal to a seed must have distance
// exactly 0, so that it is never drawn again.

#include <algorithm>  // std::min
#include <cstdint>    // std::int32_t
#include <limits>     // infinity
#include <vector>     // masses

#include "core/error.hpp"        // invalid
#include "core/packed_rows.hpp"  // pack_rows_once
#include "core/parallel.hpp"     // parallel_for
#include "core/tile.hpp"         // packing, vectors
#include "core/workspace.hpp"    // scratch
#include "ops/kmeans.hpp"

namespace kernelmill {

namespace {

// Rows whose mass is summed as one number; drawing walks blocks, then the rows of one block.
constexpr index_t kBlock = 1024;
constexpr index_t kFew = 32;  // the same for the rows of one block, summed when it is walked

template <class T>
class Seeding {
  using P = tile::Params<T>;
  using Vec = typename P::Vec;
  static constexpr index_t NR = P::NR;
  // Candidates priced together: their accumulators must fit the registers.
  static constexpr int kTogether = P::MR >= 14 ? 8 : 4;

 public:
  Seeding(MatrixView<const T> x, std::span<const T> weight, T* closest)
      : x_(x),
        weight_(weight),
        closest_(closest),
        mass_(static_cast<std::size_t>(chunk_count(x.rows, kBlock))),
        nearest_(static_cast<std::size_t>(x.rows), 0),
        grain_(bounded_grain(x.rows, std::max<index_t>(1, 64 / (x.cols + 1) + 1) * kBlock, 256)) {
    std::fill_n(closest_, x.rows, std::numeric_limits<T>::infinity());
    all_packed_ = x.rows * x.cols * index_t{sizeof(T)} <= packed_rows_bytes &&
                  begins_at_panels<T>(x.rows, kBlock);
    if (all_packed_) packed_ = pack_rows_once(x);
  }

  // The first row whose running mass passes u * total, by weight or by weight times distance.
  index_t draw(double u, bool by_distance) const {
    const auto mass = [&](index_t i) {
      const double w = weight_at(i);
      return by_distance ? w * static_cast<double>(closest_[i]) : w;
    };
    const index_t n = x_.rows;
    double goal = u * total_, running = 0;
    index_t block = 0, last = static_cast<index_t>(mass_.size()) - 1;
    while (block < last && running + mass_[static_cast<std::size_t>(block)] <= goal) {
      running += mass_[static_cast<std::size_t>(block++)];
    }
    // Sums of a few rows at a time, which need not wait for each other, then row by row.
    index_t first = block * kBlock;
    for (; first < n; first += kFew) {
      const double next = running + sum_rows(first, std::min(n, first + kFew), by_distance);
      if (next > goal) break;
      running = next;
    }
    for (index_t i = first; i < n; ++i) {
      running += mass(i);
      if (running > goal) return i;
    }
    for (index_t i = n - 1; i > 0; --i) {  // rounding put the goal past the end
      if (mass(i) > 0) return i;
    }
    return 0;
  }

  // Fills the masses of blocks; returns their total.
  double weigh(bool by_distance) {
    by_distance_ = by_distance;
    parallel_for(x_.rows, grain_, [&](index_t, index_t begin, index_t end) {
      for (index_t b = begin; b < end; b += kBlock)
        sum_block(b, std::min(end, b + kBlock), by_distance);
    });
    return add_masses();
  }

  // Takes row `row` as the next seed: updates the distances and the masses of blocks; returns their
  // total.
  double add_seed(index_t row) {
    const T* const seed = gather({&row, 1});
    const std::vector<T> reach = reach_of(1);
    const auto number = static_cast<std::int32_t>(static_cast<index_t>(seeds_.size()) /
                                                  std::max<index_t>(x_.cols, 1));
    parallel_for(x_.rows, grain_, [&](index_t, index_t begin, index_t end) {
      Workspace<index_t> memory(kBlock);
      for (index_t b = begin; b < end; b += kBlock) {
        const index_t e = std::min(end, b + kBlock);
        const index_t count = in_reach(b, e, reach, memory.data());
        for_panels(memory.data(), count, [&](const index_t* rows, index_t cols, const T* panel) {
          alignas(64) T distance[NR];
          measure<1>(panel, seed, distance);
          if (all_packed_) {  // a panel is a run of rows, and nobody asks for their nearest seeds
            T* const closest = closest_ + rows[0];
            for (index_t r = 0; r < cols; ++r) {
              closest[r] = distance[r] < closest[r] ? distance[r] : closest[r];
            }
            return;
          }
          for (index_t r = 0; r < cols; ++r) {
            if (!(distance[r] < closest_[rows[r]])) continue;
            closest_[rows[r]] = distance[r];
            nearest_[static_cast<std::size_t>(rows[r])] = number;
          }
        });
        if (count > 0 || !by_distance_) sum_block(b, e, true);
      }
    });
    by_distance_ = true;
    seeds_.insert(seeds_.end(), seed, seed + x_.cols);
    return add_masses();
  }

  // The candidate that leaves the least sum of w min(closest, distance), the first among ties.
  index_t best_of(std::span<const index_t> rows) {
    const index_t count = static_cast<index_t>(rows.size());
    if (count == 1) return rows[0];
    const T* const candidates = gather(rows);
    const std::vector<T> reach = reach_of(count);
    const index_t d = x_.cols;
    const std::vector<double> gain = ordered_reduce<std::vector<double>>(
        x_.rows, grain_, [&] { return std::vector<double>(static_cast<std::size_t>(count), 0.0); },
        [&](std::vector<double>& sum, index_t, index_t begin, index_t end) {
          Workspace<index_t> memory(kBlock);
          Workspace<double> lanes(static_cast<std::size_t>(count * NR));  // sums of each lane
          std::fill_n(lanes.data(), count * NR, 0.0);
          for (index_t b = begin; b < end; b += kBlock) {
            const index_t near = in_reach(b, std::min(end, b + kBlock), reach, memory.data());
            for_panels(
                memory.data(), near, [&](const index_t* numbers, index_t cols, const T* panel) {
                  alignas(64) T distance[kTogether * NR];
                  alignas(64) T before[NR] = {};  // beyond cols nothing is gained
                  alignas(64) double weight[NR] = {};
                  for (index_t r = 0; r < cols; ++r) before[r] = closest_[numbers[r]];
                  if (!weight_.empty()) {
                    for (index_t r = 0; r < cols; ++r) weight[r] = weight_at(numbers[r]);
                  }
                  for (index_t c = 0; c < count; c += kTogether) {
                    const int together = static_cast<int>(std::min<index_t>(kTogether, count - c));
                    measure_some(together, panel, candidates + c * d, distance);
                    for (int t = 0; t < together; ++t) {
                      add_gain(before, distance + t * NR, weight, lanes.data() + (c + t) * NR);
                    }
                  }
                });
          }
          for (index_t c = 0; c < count; ++c) {
            for (index_t r = 0; r < NR; ++r) {
              sum[static_cast<std::size_t>(c)] += lanes.data()[c * NR + r];
            }
          }
        },
        [](std::vector<double>& into, std::vector<double>&& from) {
          for (std::size_t c = 0; c < into.size(); ++c) into[c] += from[c];
        });
    return rows[static_cast<std::size_t>(std::max_element(gain.begin(), gain.end()) -
                                         gain.begin())];
  }

 private:
  double weight_at(index_t i) const {
    return weight_.empty() ? 1.0 : static_cast<double>(weight_[static_cast<std::size_t>(i)]);
  }

  double sum_rows(index_t begin, index_t end, bool by_distance) const {
    double sum = 0;
    if (weight_.empty() && by_distance) {
#pragma omp simd reduction(+ : sum)
      for (index_t i = begin; i < end; ++i) sum += static_cast<double>(closest_[i]);
    } else {
      for (index_t i = begin; i < end; ++i) {
        sum += by_distance ? weight_at(i) * static_cast<double>(closest_[i]) : weight_at(i);
      }
    }
    return sum;
  }

  void sum_block(index_t begin, index_t end, bool by_distance) {
    mass_[static_cast<std::size_t>(begin / kBlock)] = sum_rows(begin, end, by_distance);
  }

  double add_masses() {
    total_ = 0;
    for (double m : mass_) total_ += m;
    return total_;
  }

  // Adds what a panel of rows gains from one candidate, lane by lane.
  void add_gain(const T* before, const T* distance, const double* weight, double* sums) const {
    const bool weighted = !weight_.empty();
#pragma omp simd
    for (index_t r = 0; r < NR; ++r) {
      const T after = distance[r] < before[r] ? distance[r] : before[r];
      const double gain = static_cast<double>(before[r]) - static_cast<double>(after);
      sums[r] += weighted ? weight[r] * gain : gain;
    }
  }

  // For each seed, the squared distance from which on a row of that seed may gain from one of the
  // first `count` candidates.
  std::vector<T> reach_of(index_t count) const {
    if (all_packed_) return {};
    const index_t d = x_.cols, seeds = d == 0 ? 0 : static_cast<index_t>(seeds_.size()) / d;
    const double margin = 1 + 16.0 * static_cast<double>(d + 8) *
                                  static_cast<double>(std::numeric_limits<T>::epsilon());
    std::vector<T> reach(static_cast<std::size_t>(std::max<index_t>(seeds, 1)), T{0});
    for (index_t s = 0; s < seeds; ++s) {
      double least = std::numeric_limits<double>::infinity();
      for (index_t c = 0; c < count; ++c) {
        const T* const a = seeds_.data() + s * d;
        const T* const b = candidates_.data() + c * d;
        double sum = 0;
#pragma omp simd reduction(+ : sum)
        for (index_t p = 0; p < d; ++p) {
          const double difference = static_cast<double>(a[p]) - static_cast<double>(b[p]);
          sum += difference * difference;
        }
        least = std::min(least, sum);
      }
      reach[static_cast<std::size_t>(s)] = static_cast<T>(least / (4 * margin));
    }
    return reach;
  }

  // Numbers of the rows of [begin, end) that may gain; of all of them where X is packed.
  index_t in_reach(index_t begin, index_t end, const std::vector<T>& reach,
                   index_t* numbers) const {
    if (all_packed_) {
      for (index_t i = begin; i < end; ++i) numbers[i - begin] = i;
      return end - begin;
    }
    index_t count = 0;
    for (index_t i = begin; i < end; ++i) {
      const auto seed = static_cast<std::size_t>(nearest_[static_cast<std::size_t>(i)]);
      numbers[count] = i;
      count += closest_[i] > reach[seed];
    }
    return count;
  }

  // Rows of X as dense vectors (count, d).
  const T* gather(std::span<const index_t> rows) {
    const index_t d = x_.cols;
    candidates_.resize(rows.size() * static_cast<std::size_t>(d));
    for (std::size_t c = 0; c < rows.size(); ++c) {
      for (index_t p = 0; p < d; ++p) {
        candidates_[c * static_cast<std::size_t>(d) + static_cast<std::size_t>(p)] = x_(rows[c], p);
      }
    }
    return candidates_.data();
  }

  // Calls body(numbers, cols, panel) with panels of at most NR of the rows, packed as [d][NR].
  template <class Body>
  void for_panels(const index_t* numbers, index_t count, Body&& body) const {
    if (all_packed_) {  // the rows are a whole block, which begins at a panel
      for (index_t j0 = 0; j0 < count; j0 += NR) {
        body(numbers + j0, std::min(NR, count - j0),
             static_cast<const T*>(packed_.data() + numbers[j0] * x_.cols));
      }
      return;
    }
    const tile::Gathered<T, index_t> rows{x_.data, x_.row_stride, x_.col_stride, numbers};
    Workspace<T> panel(static_cast<std::size_t>(NR * x_.cols));
    for (index_t j0 = 0; j0 < count; j0 += NR) {
      const index_t cols = std::min(NR, count - j0);
      if (x_.col_stride == 1) {  // the next panel, as rows in reach may lie apart
        constexpr index_t line = 64 / static_cast<index_t>(sizeof(T));
        const index_t width = std::min<index_t>(x_.cols, 4 * line);
        for (index_t j = j0 + NR; j < std::min(count, j0 + 2 * NR); ++j) {
          for (index_t p = 0; p < width; p += line) __builtin_prefetch(x_.row(numbers[j]) + p);
        }
      }
      rows.pack(j0, cols, 0, x_.cols, panel.data(), NR);
      body(numbers + j0, cols, static_cast<const T*>(panel.data()));
    }
  }

  // distance[t * NR + r] = ||panel row r - candidate t||^2.
  template <int Count>
  void measure(const T* panel, const T* candidates, T* distance) const {
    constexpr int NV = P::NV, lanes = P::lanes;
    const index_t d = x_.cols;
    Vec acc[Count][NV];
    KERNELMILL_UNROLL
    for (int t = 0; t < Count; ++t) {
      KERNELMILL_UNROLL
      for (int v = 0; v < NV; ++v) acc[t][v] = Vec{};
    }
    for (index_t p = 0; p < d; ++p, panel += NR) {
      KERNELMILL_UNROLL
      for (int v = 0; v < NV; ++v) {
        const Vec x = tile::load<Vec>(panel + v * lanes);
        KERNELMILL_UNROLL
        for (int t = 0; t < Count; ++t) {
          const Vec difference = x - candidates[t * d + p];
          acc[t][v] += difference * difference;
        }
      }
    }
    KERNELMILL_UNROLL
    for (int t = 0; t < Count; ++t) {
      KERNELMILL_UNROLL
      for (int v = 0; v < NV; ++v) tile::store(distance + t * NR + v * lanes, acc[t][v]);
    }
  }

  template <int Count = kTogether>
  void measure_some(int count, const T* panel, const T* candidates, T* distance) const {
    if constexpr (Count > 1) {
      if (count < Count) return measure_some<Count - 1>(count, panel, candidates, distance);
    }
    measure<Count>(panel, candidates, distance);
  }

  MatrixView<const T> x_;
  std::span<const T> weight_;
  T* closest_;
  std::vector<double> mass_;
  std::vector<std::int32_t> nearest_;  // (n): nearest seed; 0 before there is one
  index_t grain_;
  double total_ = 0;
  Workspace<T> packed_;  // panels of NR rows as [d][NR], if all_packed_
  bool all_packed_ = false;
  std::vector<T> candidates_;  // (count, d)
  std::vector<T> seeds_;       // (seeds so far, d)
  bool by_distance_ = false;   // whether masses hold w D^2
};

template <class T>
void seed_once(MatrixView<const T> x, MatrixView<const double> uniforms, std::span<const T> weight,
               std::int64_t* indices, T* squared_distances) {
  Seeding<T> seeding(x, weight, squared_distances);
  if (!(seeding.weigh(false) > 0)) {
    invalid("kmeans.plus_plus", "sample_weight must have a positive sum, got 0");
  }
  bool by_distance = false;
  std::vector<index_t> rows;
  for (index_t s = 0; s < uniforms.rows; ++s) {
    rows.clear();
    for (index_t t = 0; t < (s == 0 ? 1 : uniforms.cols); ++t) {
      rows.push_back(seeding.draw(uniforms(s, t), by_distance));
    }
    const index_t seed = seeding.best_of(rows);
    indices[s] = seed;
    by_distance = seeding.add_seed(seed) > 0;
    if (!by_distance) seeding.weigh(false);  // every row is a seed: draw by weight
  }
}

}  // namespace

template <class T>
void plus_plus(MatrixView<const T> x, MatrixView<const double> uniforms, index_t r,
               std::span<const T> weight, std::int64_t* indices, T* squared_distances) {
  const index_t k = r == 0 ? 0 : uniforms.rows / r;
  parallel_for(r, 1, [&](index_t i, index_t, index_t) {
    seed_once(x, uniforms.row_range(i * k, (i + 1) * k), weight, indices + i * k,
              squared_distances + i * x.rows);
  });
}

KERNELMILL_FOR_FLOATS(plus_plus)

}  // namespace kernelmill
