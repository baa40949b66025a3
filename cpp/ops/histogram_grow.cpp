// Growth of one tree on the CPU: histograms in tasks of blocks of features, and parts of rows.
#include <algorithm>  // std::copy_n, std::max, std::min
#include <memory>     // std::unique_ptr
#include <numeric>    // std::iota
#include <vector>     // std::vector

#include "core/memory.hpp"     // pool_allocate
#include "core/parallel.hpp"   // parallel_for
#include "core/workspace.hpp"  // Workspace
#include "ops/histogram.hpp"
#include "ops/histogram_build.hpp"
#include "ops/histogram_checks.hpp"
#include "ops/histogram_growth.hpp"

namespace kernelmill::histogram {
namespace {

struct Release {
  void operator()(double* memory) const { pool_release(memory); }
};

// Rows of a task that partitions, or that adds to a histogram of its own.
constexpr index_t kPartRows = 1 << 15, kBuildRows = 1 << 16, kMostParts = 16;

class Growth : public GrowthOf<Growth> {
 public:
  Growth(const Codes& codes, const Features& features, std::span<const double> gradient,
         std::span<const double> hessian, const Rule& rule, std::uint64_t seed,
         std::span<std::int32_t> rows, const Tree& tree, const Steps& steps)
      : GrowthOf(features, rule, seed, std::ssize(rows), tree, steps),
        codes_(codes),
        gradient_(gradient),
        hessian_(hessian),
        rows_(rows),
        steps_(steps),
        spare_(static_cast<std::size_t>(2 * std::ssize(rows))) {
    std::iota(rows_.begin(), rows_.end(), 0);
  }

  void find(Pair& pair) {
    check_interrupt();
    const index_t d = shape_.features, width = codes_.width;
    const index_t blocks = (d + width - 1) / width;
    Leaf& small = *pair.members[0];
    const auto* const rows = rows_.data();
    std::vector<Cut> cuts[2];
    for (int s = 0; s < 2; ++s) {
      if (pair.looks[s]) cuts[s].resize(static_cast<std::size_t>(d));
      // Memory is taken here: tasks only ask where it is.
      if (pair.slots[s] >= 0) reserve(pair.slots[s]);
    }

    // Many rows of a leaf go to tasks with histograms of their own.
    index_t parts[2] = {1, 1}, grain[2] = {1, 1};
    for (int s = 0; s < 2; ++s) {
      if (pair.slots[s] < 0 || (s == 1 && pair.differ)) continue;
      grain[s] = bounded_grain(pair.members[s]->rows(), kBuildRows, kMostParts);
      parts[s] = std::max<index_t>(1, chunk_count(pair.members[s]->rows(), grain[s]));
    }
    const auto counts_of = [&](index_t b) {
      const index_t first = b * width;
      return features_.counts.subspan(static_cast<std::size_t>(first),
                                      static_cast<std::size_t>(std::min(width, d - first)));
    };
    const auto built = [&](int s, index_t b, index_t part, double* out) {
      const index_t begin = part * grain[s], all = pair.members[s]->rows();
      const index_t end = parts[s] == 1 ? all : std::min(all, begin + grain[s]);
      build(codes_, b, steps_, rows + pair.members[s]->start + begin, end - begin, counts_of(b),
            shape_, out + b * width * shape_.feature_size());
    };
    Workspace<double> partial[2];
    for (int s = 0; s < 2; ++s) {
      if (parts[s] == 1) continue;
      partial[s] =
          Workspace<double>(static_cast<std::size_t>((parts[s] - 1) * shape_.size() + kCodes));
      parallel_for(blocks * parts[s], 1, [&](index_t, index_t begin, index_t end) {
        for (index_t t = begin; t < end; ++t) {
          const index_t part = t / blocks;
          double* const out = part == 0 ? histogram_at(pair.slots[s])
                                        : partial[s].data() + (part - 1) * shape_.size();
          built(s, t % blocks, part, out);
        }
      });
    }

    const bool root = small.sums.rows == 0;
    const auto finish = [&](index_t b) {
      const auto counts = counts_of(b);
      for (int s = 0; s < 2; ++s) {
        if (pair.slots[s] < 0 || (s == 1 && pair.differ)) continue;
        double* const own = histogram_at(pair.slots[s]);
        if (parts[s] == 1) {
          built(s, b, 0, own);
          continue;
        }
        const index_t at = b * width * shape_.feature_size();
        const index_t size = std::ssize(counts) * shape_.feature_size();
        for (index_t part = 0; part + 1 < parts[s]; ++part) {
          const double* const from = partial[s].data() + part * shape_.size() + at;
          for (index_t i = 0; i < size; ++i) own[at + i] += from[i];
        }
      }
      for (index_t f = b * width; f < b * width + std::ssize(counts); ++f) {
        const index_t at = f * shape_.feature_size();
        if (pair.differ) {
          double* const own = histogram_at(pair.slots[1]) + at;
          const double* const from = histogram_at(pair.slots[0]) + at;
          for (index_t i = 0; i < shape_.feature_size(); ++i) own[i] -= from[i];
        }
        for (int s = 0; s < 2 && !root; ++s) {
          if (pair.looks[s] && pair.allowed[s][static_cast<std::size_t>(f)]) {
            look_at_feature(*pair.members[s], histogram_at(pair.slots[s]) + at, f,
                            cuts[s][static_cast<std::size_t>(f)]);
          }
        }
      }
    };
    // Nanoseconds of a block, about.
    const index_t work = (parts[0] == 1 ? small.rows() * width / 2 : 0) +
                         width * shape_.stride * (pair.looks[0] + pair.looks[1] + 1) * 3;
    const index_t blocks_of_task = std::max<index_t>(1, 20'000 / std::max<index_t>(work, 1));
    const auto finish_all = [&] {
      parallel_for(blocks, blocks_of_task, [&](index_t, index_t begin, index_t end) {
        for (index_t b = begin; b < end; ++b) finish(b);
      });
    };
    finish_all();
    if (root) {  // its sums are known only now
      const double* const own = histogram_at(pair.slots[0]);
      for (index_t c = 0; c < features_.counts[0]; ++c) {
        small.sums.G += own[c];
        small.sums.H += own[shape_.stride + c];
        small.sums.rows += own[2 * shape_.stride + c];
      }
      const index_t features = std::max<index_t>(1, 20'000 / (shape_.stride * 3));
      parallel_for(d, features, [&](index_t, index_t begin, index_t end) {
        for (index_t f = begin; f < end; ++f) {
          if (!pair.allowed[0][static_cast<std::size_t>(f)]) continue;
          look_at_feature(small, own + f * shape_.feature_size(), f,
                          cuts[0][static_cast<std::size_t>(f)]);
        }
      });
    }
    for (int s = 0; s < 2; ++s) {
      for (const Cut& cut : cuts[s]) {
        if (cut.feature >= 0 && cut.gain > pair.members[s]->cut.gain) pair.members[s]->cut = cut;
      }
    }
  }

  // Moves the rows that go left to the front, each side in its order; gives where the right begins.
  index_t partition(const Leaf& own) {
    std::uint8_t goes_left[kCodes];
    for (index_t c = 0; c < kCodes; ++c) goes_left[c] = own.cut.goes_left(c);
    const std::uint8_t* const codes = codes_.feature(own.cut.feature);
    const index_t width = codes_.width, n = own.rows();
    std::int32_t* const rows = rows_.data() + own.start;
    std::int32_t* const lefts = spare_.data() + own.start;
    std::int32_t* const rights = lefts + std::ssize(rows_);
    const index_t parts = chunk_count(n, kPartRows);
    std::vector<index_t> count(static_cast<std::size_t>(parts + 1), 0);
    parallel_for(n, kPartRows, [&](index_t part, index_t begin, index_t end) {
      std::int32_t* const left_begin = (parts == 1 ? rows : lefts) + begin;
      std::int32_t *left = left_begin, *right = rights + begin;
      constexpr index_t ahead = 32;
      for (index_t i = begin; i < end; ++i) {
        __builtin_prefetch(codes + rows[std::min(i + ahead, n - 1)] * width);
        const std::int32_t row = rows[i];
        const std::uint8_t side = goes_left[codes[row * width]];
        // Both are written and one is kept: sides are hard to predict. Places up to this row's have
        // been read, so that on the left may be one of them.
        *left = row;
        *right = row;
        left += side;
        right += !side;
      }
      count[static_cast<std::size_t>(part + 1)] = left - left_begin;
    });
    for (std::size_t part = 0; part < static_cast<std::size_t>(parts); ++part) {
      count[part + 1] += count[part];
    }
    const index_t middle = count.back();
    parallel_for(n, kPartRows, [&](index_t part, index_t begin, index_t end) {
      const index_t before = count[static_cast<std::size_t>(part)];
      const index_t own_left = count[static_cast<std::size_t>(part + 1)] - before;
      if (parts > 1) std::copy_n(lefts + begin, own_left, rows + before);
      std::copy_n(rights + begin, end - begin - own_left, rows + middle + begin - before);
    });
    return own.start + middle;
  }

  void add_up(const std::vector<index_t>& ends, std::vector<Sums>& exact) {
    const bool one = hessian_.size() == 1;
    const index_t grain =
        std::max<index_t>(1, std::ssize(ends) * 8192 / std::max<index_t>(1, std::ssize(rows_)));
    parallel_for(std::ssize(ends), grain, [&](index_t, index_t begin, index_t end) {
      for (index_t e = begin; e < end; ++e) {
        const Leaf& own = leaf(ends[static_cast<std::size_t>(e)]);
        constexpr index_t lanes = 4;
        double G[lanes] = {}, H[lanes] = {};
        const std::int32_t* const rows = rows_.data() + own.start;
        const index_t n = own.rows();
        const double *g = gradient_.data(), *h = hessian_.data();
        index_t i = 0;
        for (; i + lanes <= n; i += lanes) {
          for (index_t l = 0; l < lanes; ++l) {
            G[l] += g[rows[i + l]];
            if (!one) H[l] += h[rows[i + l]];
          }
        }
        for (; i < n; ++i) {
          G[0] += g[rows[i]];
          if (!one) H[0] += h[rows[i]];
        }
        if (one) H[0] = static_cast<double>(n) * hessian_[0];
        exact[static_cast<std::size_t>(ends[static_cast<std::size_t>(e)])] = {
            (G[0] + G[1]) + (G[2] + G[3]), (H[0] + H[1]) + (H[2] + H[3]), 0};
      }
    });
  }

 private:
  // Codes above those counted would be written behind a histogram.
  void reserve(index_t slot) {
    const auto bytes = static_cast<std::size_t>(shape_.size() + kCodes) * sizeof(double);
    const auto count = static_cast<std::size_t>(slot + 1);
    while (memory_.size() < count) {
      memory_.emplace_back(static_cast<double*>(pool_allocate(bytes)));
    }
  }
  double* histogram_at(index_t slot) const { return memory_[static_cast<std::size_t>(slot)].get(); }

  void look_at_feature(const Leaf& own, const double* histogram, index_t f, Cut& cut) const {
    const auto place = static_cast<std::size_t>(f);
    look(search_of(own, f), histogram, shape_.stride, features_.counts[place],
         features_.categorical[place], static_cast<std::int32_t>(f), cut);
  }

  const Codes& codes_;
  std::span<const double> gradient_, hessian_;
  std::span<std::int32_t> rows_;
  const Steps& steps_;
  Workspace<std::int32_t> spare_;
  std::vector<std::unique_ptr<double, Release>> memory_;  // of slots
};

}  // namespace

index_t grow(const Codes& codes, const Features& features, std::span<const double> gradient,
             std::span<const double> hessian, const Rule& rule, std::uint64_t seed,
             std::span<std::int32_t> rows, const Tree& tree) {
  check_codes(codes, features.counts);
  const Steps steps = steps_of(gradient, hessian, rule.coarse, seed);
  return Growth(codes, features, gradient, hessian, rule, seed, rows, tree, steps).run();
}

}  // namespace kernelmill::histogram
