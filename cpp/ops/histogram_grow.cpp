// Growth of one tree: the leaf whose cut gains most is split.
#include <algorithm>  // std::copy_n, std::max, std::min, std::sort
#include <cmath>      // std::ceil
#include <memory>     // std::unique_ptr
#include <numeric>    // std::iota
#include <queue>      // std::priority_queue
#include <vector>     // std::vector

#include "core/error.hpp"      // invalid
#include "core/memory.hpp"     // pool_allocate
#include "core/parallel.hpp"   // parallel_for
#include "core/random.hpp"     // Philox
#include "core/workspace.hpp"  // Workspace
#include "ops/histogram.hpp"
#include "ops/histogram_build.hpp"
#include "ops/histogram_cuts.hpp"
#include "ops/histogram_steps.hpp"

namespace kernelmill::histogram {
namespace {

struct Leaf {
  index_t start = 0, stop = 0, depth = 0;
  Sums sums;
  Bounds bounds;
  std::vector<bool> groups;  // those that hold all features of the path
  Cut cut;
  index_t histogram = -1;  // its slot
  index_t left = -1, right = -1;

  index_t rows() const { return stop - start; }
};

struct Release {
  void operator()(double* memory) const { pool_release(memory); }
};

// Histograms in use. Leaves that wait keep theirs, up to a limit; then they are built again.
class Slots {
 public:
  Slots(index_t size, index_t most) : size_(size) {
    constexpr index_t bytes = index_t{256} << 20;
    const index_t own = size * static_cast<index_t>(sizeof(double));
    most_ = std::min(most, std::max<index_t>(8, bytes / std::max<index_t>(own, 1)));
  }
  // A slot; the last two are for histograms that nobody keeps. Codes above those counted would be
  // written behind it.
  index_t take(bool scratch) {
    if (free_.empty()) {
      if (std::ssize(memory_) >= most_ + (scratch ? 2 : 0)) return -1;
      const auto bytes = static_cast<std::size_t>(size_ + kCodes) * sizeof(double);
      memory_.emplace_back(static_cast<double*>(pool_allocate(bytes)));
      return std::ssize(memory_) - 1;
    }
    const index_t slot = free_.back();
    free_.pop_back();
    return slot;
  }
  void give(index_t& slot) {
    if (slot >= 0) free_.push_back(slot);
    slot = -1;
  }
  bool crowded() const { return std::ssize(memory_) - std::ssize(free_) >= most_; }
  double* at(index_t slot) const { return memory_[static_cast<std::size_t>(slot)].get(); }

 private:
  index_t size_, most_;
  std::vector<std::unique_ptr<double, Release>> memory_;
  std::vector<index_t> free_;
};

// Rows of a task that partitions, or that adds to a histogram of its own.
constexpr index_t kPartRows = 1 << 15, kBuildRows = 1 << 15, kMostParts = 16;

class Growth {
 public:
  Growth(const Codes& codes, const Features& features, std::span<const double> gradient,
         std::span<const double> hessian, const Rule& rule, std::uint64_t seed,
         std::span<std::int32_t> rows, const Tree& tree)
      : codes_(codes),
        features_(features),
        gradient_(gradient),
        hessian_(hessian),
        rule_(rule),
        seed_(seed),
        rows_(rows),
        tree_(tree),
        steps_(steps_of(gradient, hessian, rule.coarse, seed)),
        shape_{std::ssize(features.counts), stride_of(features.counts)},
        slots_(shape_.size(), tree.split.rows / 2 + 1),
        spare_(static_cast<std::size_t>(2 * std::ssize(rows))) {
    const auto steps = [](double x, double step) { return step > 0 ? x / step : 0; };
    measures_.l1 = steps(rule.l1, steps_.gradient);
    measures_.l2 = steps(rule.l2, steps_.hessian);
    measures_.min_leaf = rule.min_leaf;
    measures_.min_hessian = steps(rule.min_hessian, steps_.hessian);
    measures_.min_gain = rule.min_gain;
    measures_.unit = steps(steps_.gradient * steps_.gradient / 2, steps_.hessian);
    measures_.coarse = steps_.coarse;
    scale_ = steps_.hessian > 0 ? steps_.gradient / steps_.hessian : 1;
  }

  index_t run() {
    std::iota(rows_.begin(), rows_.end(), 0);
    leaves_.resize(1);
    leaves_[0].stop = std::ssize(rows_);
    leaves_[0].groups.assign(static_cast<std::size_t>(features_.groups.rows), true);
    if (tree_.split.rows > 1 && shape_.features > 0) look_at({0, -1}, -1);
    push(0);
    while (std::ssize(leaves_) + 2 <= tree_.split.rows && !waiting_.empty()) {
      check_interrupt();
      const index_t best = waiting_.top().second;
      waiting_.pop();
      split(best);
    }
    add_up_leaves();
    emit();
    return std::ssize(leaves_);
  }

 private:
  static index_t stride_of(std::span<const std::int32_t> counts) {
    std::int32_t most = 1;
    for (const std::int32_t count : counts) most = std::max(most, count);
    return (most + 7) / 8 * 8;
  }

  Leaf& leaf(index_t i) { return leaves_[static_cast<std::size_t>(i)]; }

  bool may_split(const Leaf& own) const {
    return static_cast<double>(own.rows()) >= 2 * std::max(rule_.min_leaf, 1.0) &&
           !(0 < rule_.max_depth && rule_.max_depth <= static_cast<double>(own.depth));
  }

  // Features that a leaf may split.
  void allow(const Leaf& own, index_t number, std::vector<char>& allowed) const {
    const index_t d = shape_.features;
    allowed.assign(static_cast<std::size_t>(d), 1);
    const auto& groups = features_.groups;
    index_t some = d;
    if (groups.rows > 0) {
      some = 0;
      for (index_t f = 0; f < d; ++f) {
        bool any = false;
        for (index_t q = 0; q < groups.rows; ++q) {
          any = any || (own.groups[static_cast<std::size_t>(q)] && groups(q, f));
        }
        allowed[static_cast<std::size_t>(f)] = any;
        some += any;
      }
    }
    const auto most = std::max<index_t>(
        1, static_cast<index_t>(std::ceil(rule_.share * static_cast<double>(some))));
    if (most >= some) return;
    std::vector<std::pair<std::uint32_t, index_t>> words;
    const Philox philox(seed_, static_cast<std::uint64_t>(number));
    for (index_t f = 0; f < d; ++f) {
      if (!allowed[static_cast<std::size_t>(f)]) continue;
      words.emplace_back(philox.block(static_cast<std::uint64_t>(f / 4)).w[f % 4], f);
    }
    std::sort(words.begin(), words.end());
    for (index_t i = most; i < some; ++i) {
      allowed[static_cast<std::size_t>(words[static_cast<std::size_t>(i)].second)] = 0;
    }
  }

  void push(index_t i) {
    Leaf& own = leaf(i);
    if (own.cut.feature < 0) {
      slots_.give(own.histogram);
      return;
    }
    waiting_.emplace(own.cut.gain, i);
  }

  struct Lower {  // the largest gain first, then the oldest leaf
    using Entry = std::pair<double, index_t>;
    bool operator()(const Entry& a, const Entry& b) const {
      return a.first != b.first ? a.first < b.first : a.second > b.second;
    }
  };

  struct Pair {
    index_t small, large;  // the second -1 for a leaf alone
  };

  // Finds cuts of a leaf, or of two siblings from the histogram of their parent.
  void look_at(const Pair& pair, index_t parent) {
    const index_t d = shape_.features, width = codes_.width;
    const index_t blocks = (d + width - 1) / width;
    Leaf* const members[2] = {&leaf(pair.small), pair.large < 0 ? nullptr : &leaf(pair.large)};
    // Numbers of draws rise with the number of the leaf.
    bool looks[2] = {};
    std::vector<char> allowed[2];
    for (int s = 0; s < 2; ++s) {
      if (members[s] == nullptr || !may_split(*members[s])) continue;
      looks[s] = true;
      allow(*members[s], s == 0 ? pair.small : pair.large, allowed[s]);
    }
    if (!looks[0] && !looks[1]) {
      slots_.give(parent);
      return;
    }
    Leaf& small = *members[0];
    const bool differ = looks[1] && parent >= 0;  // the larger one is a difference
    const bool direct = looks[0] || differ;       // the smaller one is added up
    index_t slot[2] = {-1, -1};
    if (direct) slot[0] = slots_.take(true);
    if (differ) {
      slot[1] = parent;
    } else {
      slots_.give(parent);
      if (looks[1]) slot[1] = slots_.take(true);
    }
    const auto* const rows = rows_.data();
    std::vector<Cut> cuts[2];
    for (int s = 0; s < 2; ++s) {
      if (looks[s]) cuts[s].resize(static_cast<std::size_t>(d));
    }

    // Many rows of a leaf go to tasks with histograms of their own.
    index_t parts[2] = {1, 1}, grain[2] = {1, 1};
    for (int s = 0; s < 2; ++s) {
      if (slot[s] < 0 || (s == 1 && differ)) continue;
      grain[s] = bounded_grain(members[s]->rows(), kBuildRows, kMostParts);
      parts[s] = std::max<index_t>(1, chunk_count(members[s]->rows(), grain[s]));
    }
    const auto counts_of = [&](index_t b) {
      const index_t first = b * width;
      return features_.counts.subspan(static_cast<std::size_t>(first),
                                      static_cast<std::size_t>(std::min(width, d - first)));
    };
    const auto built = [&](int s, index_t b, index_t part, double* out) {
      const index_t begin = part * grain[s], all = members[s]->rows();
      const index_t end = parts[s] == 1 ? all : std::min(all, begin + grain[s]);
      build(codes_, b, steps_, rows + members[s]->start + begin, end - begin, counts_of(b), shape_,
            out + b * width * shape_.feature_size());
    };
    Workspace<double> partial[2];
    for (int s = 0; s < 2; ++s) {
      if (parts[s] == 1) continue;
      partial[s] =
          Workspace<double>(static_cast<std::size_t>((parts[s] - 1) * shape_.size() + kCodes));
      parallel_for(blocks * parts[s], 1, [&](index_t, index_t begin, index_t end) {
        for (index_t t = begin; t < end; ++t) {
          const index_t part = t / blocks;
          double* const out =
              part == 0 ? slots_.at(slot[s]) : partial[s].data() + (part - 1) * shape_.size();
          built(s, t % blocks, part, out);
        }
      });
    }

    const bool root = small.sums.rows == 0;
    const auto finish = [&](index_t b) {
      const auto counts = counts_of(b);
      for (int s = 0; s < 2; ++s) {
        if (slot[s] < 0 || (s == 1 && differ)) continue;
        double* const own = slots_.at(slot[s]);
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
        if (differ) {
          double* const own = slots_.at(slot[1]) + at;
          const double* const from = slots_.at(slot[0]) + at;
          for (index_t i = 0; i < shape_.feature_size(); ++i) own[i] -= from[i];
        }
        for (int s = 0; s < 2 && !root; ++s) {
          if (looks[s] && allowed[s][static_cast<std::size_t>(f)]) {
            look_at_feature(*members[s], slots_.at(slot[s]) + at, f,
                            cuts[s][static_cast<std::size_t>(f)]);
          }
        }
      }
    };
    // Nanoseconds of a block, about.
    const index_t work = (parts[0] == 1 ? small.rows() * width / 2 : 0) +
                         width * shape_.stride * (looks[0] + looks[1] + 1) * 3;
    const index_t blocks_of_task = std::max<index_t>(1, 20'000 / std::max<index_t>(work, 1));
    const auto finish_all = [&] {
      parallel_for(blocks, blocks_of_task, [&](index_t, index_t begin, index_t end) {
        for (index_t b = begin; b < end; ++b) finish(b);
      });
    };
    finish_all();
    if (root) {  // its sums are known only now
      const double* const own = slots_.at(slot[0]);
      for (index_t c = 0; c < features_.counts[0]; ++c) {
        small.sums.G += own[c];
        small.sums.H += own[shape_.stride + c];
        small.sums.rows += own[2 * shape_.stride + c];
      }
      const index_t features = std::max<index_t>(1, 20'000 / (shape_.stride * 3));
      parallel_for(d, features, [&](index_t, index_t begin, index_t end) {
        for (index_t f = begin; f < end; ++f) {
          if (!allowed[0][static_cast<std::size_t>(f)]) continue;
          look_at_feature(small, own + f * shape_.feature_size(), f,
                          cuts[0][static_cast<std::size_t>(f)]);
        }
      });
    }
    for (int s = 0; s < 2; ++s) {
      for (const Cut& cut : cuts[s]) {
        if (cut.feature >= 0 && cut.gain > members[s]->cut.gain) members[s]->cut = cut;
      }
      if (slot[s] < 0) continue;
      if (looks[s] && members[s]->cut.feature >= 0 && !slots_.crowded()) {
        members[s]->histogram = slot[s];
      } else {
        slots_.give(slot[s]);
      }
    }
  }

  void look_at_feature(const Leaf& own, const double* histogram, index_t f, Cut& cut) const {
    const auto at = static_cast<std::size_t>(f);
    const int sign = features_.monotonic.empty() ? 0 : features_.monotonic[at];
    look(measures_, histogram, shape_.stride, features_.counts[at], features_.categorical[at], sign,
         own.sums, own.bounds, static_cast<std::int32_t>(f), cut);
  }

  void split(index_t parent) {
    const index_t middle = partition(leaf(parent));
    const index_t first = std::ssize(leaves_);
    leaves_.resize(leaves_.size() + 2);
    Leaf& own = leaf(parent);
    own.left = first;
    own.right = first + 1;
    Leaf &left = leaf(first), &right = leaf(first + 1);
    left.start = own.start;
    left.stop = right.start = middle;
    right.stop = own.stop;
    left.depth = right.depth = own.depth + 1;
    left.bounds = right.bounds = own.bounds;
    left.sums = own.cut.left;
    right.sums = {own.sums.G - left.sums.G, own.sums.H - left.sums.H,
                  own.sums.rows - left.sums.rows};
    const auto f = static_cast<std::size_t>(own.cut.feature);
    const int sign = features_.monotonic.empty() ? 0 : features_.monotonic[f];
    if (sign != 0) {
      const double between = (own.cut.left_value + own.cut.right_value) / 2;
      (sign > 0 ? left : right).bounds.high = between;
      (sign > 0 ? right : left).bounds.low = between;
    }
    left.groups = own.groups;
    for (index_t q = 0; q < features_.groups.rows; ++q) {
      const auto at = static_cast<std::size_t>(q);
      left.groups[at] = left.groups[at] && features_.groups(q, own.cut.feature);
    }
    right.groups = left.groups;
    index_t histogram = own.histogram;
    own.histogram = -1;
    if (std::ssize(leaves_) + 2 > tree_.split.rows) {  // no room for their children
      slots_.give(histogram);
      return;
    }
    const bool swapped = right.rows() < left.rows();
    look_at({first + swapped, first + !swapped}, histogram);
    push(first);
    push(first + 1);
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
        // Both are written and one is kept: sides are hard to predict.
        *left = side ? row : *left;
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

  // The sums of leaves are those of what was given, not of whole steps.
  void add_up_leaves() {
    std::vector<index_t> ends;
    for (index_t i = 0; i < std::ssize(leaves_); ++i) {
      if (leaf(i).left < 0) ends.push_back(i);
    }
    exact_.resize(leaves_.size());
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
        exact_[static_cast<std::size_t>(ends[static_cast<std::size_t>(e)])] = {
            (G[0] + G[1]) + (G[2] + G[3]), (H[0] + H[1]) + (H[2] + H[3]), 0};
      }
    });
  }

  // The value of a leaf from its exact sums, or of an inner node from those in steps.
  double value_of(index_t i) {
    const Leaf& own = leaf(i);
    if (own.left >= 0) {
      return measures_.value(own.sums.G, own.sums.H, own.bounds.low, own.bounds.high) * scale_;
    }
    const Sums& sums = exact_[static_cast<std::size_t>(i)];
    const double size = std::max(0.0, std::fabs(sums.G) - rule_.l1);
    const double best =
        sums.H + rule_.l2 > 0 ? -std::copysign(size, sums.G) / (sums.H + rule_.l2) : 0.0;
    return std::min(std::max(best, own.bounds.low * scale_), own.bounds.high * scale_);
  }

  // Writes the nodes, depth first.
  void emit() {
    struct Due {
      index_t leaf, parent;
      bool right;
    };
    std::vector<Due> due{{0, -1, false}};
    index_t at = 0;
    for (; !due.empty(); ++at) {
      const Due next = due.back();
      due.pop_back();
      if (next.parent >= 0) tree_.split(next.parent, next.right ? 4 : 3) = static_cast<int>(at);
      const Leaf& own = leaf(next.leaf);
      const bool inner = own.left >= 0;
      const auto small = [](index_t x) { return static_cast<std::int32_t>(x); };
      const std::int32_t split[8] = {inner ? own.cut.feature : -1,
                                     inner ? own.cut.code : 0,
                                     inner && own.cut.missing_left,
                                     -1,
                                     -1,
                                     small(own.start),
                                     small(own.stop),
                                     small(own.depth)};
      std::copy_n(split, 8, tree_.split.row(at));
      const Sums& exact = exact_[static_cast<std::size_t>(next.leaf)];
      double* const stats = tree_.stats.row(at);
      stats[0] = inner ? own.cut.gain * measures_.unit : 0;
      stats[1] = rule_.rate * value_of(next.leaf);
      stats[2] = inner ? own.sums.G * steps_.gradient : exact.G;
      stats[3] = inner ? own.sums.H * steps_.hessian : exact.H;
      for (index_t c = 0; c < 32; ++c) {
        tree_.sides(at, c) =
            inner ? static_cast<std::uint8_t>(own.cut.sides[static_cast<std::size_t>(c / 8)] >>
                                              (8 * (c % 8)))
                  : std::uint8_t{0};
      }
      if (!inner) continue;
      due.push_back({own.right, at, true});
      due.push_back({own.left, at, false});
    }
    for (; at < tree_.split.rows; ++at) {
      std::fill_n(tree_.split.row(at), 8, 0);
      std::fill_n(tree_.stats.row(at), 4, 0.0);
      std::fill_n(tree_.sides.row(at), 32, std::uint8_t{0});
    }
  }

  const Codes& codes_;
  const Features& features_;
  std::span<const double> gradient_, hessian_;
  const Rule& rule_;
  std::uint64_t seed_;
  std::span<std::int32_t> rows_;
  const Tree& tree_;
  Steps steps_;
  Shape shape_;
  Slots slots_;
  Workspace<std::int32_t> spare_;
  Measures measures_;
  double scale_ = 1;
  std::vector<Leaf> leaves_;
  std::vector<Sums> exact_;
  std::priority_queue<Lower::Entry, std::vector<Lower::Entry>, Lower> waiting_;
};

}  // namespace

index_t grow(const Codes& codes, const Features& features, std::span<const double> gradient,
             std::span<const double> hessian, const Rule& rule, std::uint64_t seed,
             std::span<std::int32_t> rows, const Tree& tree) {
  const index_t d = std::ssize(features.counts);
  std::int32_t least = 1, most = 0;
  for (const std::int32_t count : features.counts) {
    least = std::min(least, count);
    most = std::max(most, count);
  }
  if (codes.blocks * codes.width < d || least < 1 || most > kCodes) {
    invalid("histogram.grow", "counts must be of at most ", codes.blocks * codes.width,
            " features, from 1 to 256, got ", d, " up to ", most);
  }
  return Growth(codes, features, gradient, hessian, rule, seed, rows, tree).run();
}

}  // namespace kernelmill::histogram
