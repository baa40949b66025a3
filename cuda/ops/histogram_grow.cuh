// The parts of growth on a GPU.
//
// Gradients and hessians are whole multiples of a step here as on the CPU, and all that threads add
// up together are integers: sums do not depend on the order of atomic additions, and a tree has the
// same bits on every run. Sums of what is no integer are taken in an order fixed by places alone.
#pragma once

#include <vector>  // std::vector

#include "core/call.hpp"  // Call, Arena
#include "ops/histogram_growth.hpp"
#include "ops/histogram_types.hpp"

namespace kernelmill::histogram {

// Gradient and hessian of a row in steps: `Coarse::Pair`, or this.
struct Fine {
  std::int64_t gradient, hessian;
};

// A sum of a histogram, as the device adds to it.
using Whole = unsigned long long;

// The best cut of a feature or of a node, and the sums of the node.
struct Looked {
  Cut cut;
  Sums node;
};

// Rows [begin, end) in the order of leaves, whose gradients a block adds up.
struct Piece {
  index_t begin, end;
};
constexpr index_t kPieceRows = 8192;

// Rows of a block that partitions: so many for each of its threads.
constexpr int kPartThreads = 256, kPartEach = 16;
constexpr index_t kPartRows = kPartThreads * kPartEach;

constexpr int kSizeBlocks = 512;

struct GrowSpace {
  GrowSpace(Arena& arena, const Features& features, index_t n, index_t nodes)
      : fine(arena.take<Fine>(n)),
        spare(arena.take<std::int32_t>(n)),
        lefts(arena.take<std::int32_t>(div_up(n, kPartRows))),
        sizes(arena.take<Sizes>(kSizeBlocks)) {
    const Shape shape = shape_of(features.counts);
    const index_t d = shape.features;
    histograms = arena.take<Whole>(Slots(shape.size(), nodes / 2 + 1).count() * shape.size());
    looked = arena.take<Looked>(2 * d + 2);
    counts = arena.take<std::int32_t>(d);
    monotonic = arena.take<std::int32_t>(d);
    categorical = arena.take<bool>(d);
    allowed = arena.take<char>(2 * d);
    const index_t most = n / kPieceRows + nodes / 2 + 1;
    pieces = arena.take<Piece>(most);
    sums = arena.take<double>(2 * most);
  }
  Coarse::Pair* coarse() const { return reinterpret_cast<Coarse::Pair*>(fine); }

  Fine* fine;
  std::int32_t *spare, *lefts;
  Sizes* sizes;  // of the rows of a block
  Whole* histograms;
  Looked* looked;  // of the features of both members, and the best of each
  std::int32_t *counts, *monotonic;
  bool* categorical;
  char* allowed;
  Piece* pieces;
  double* sums;  // of gradients and of hessians
};

// Everything about the rows that growth reads.
struct GrowRows {
  Codes codes;
  std::span<const double> gradient, hessian;
  std::span<std::int32_t> rows;

  bool one() const { return std::ssize(hessian) == 1; }
};

// Sizes and roundings of gradients and hessians. Waits for the device.
struct DeviceSteps : StepSizes {
  DeviceSteps(const Call& call, const GrowRows& given, double coarse_from, std::uint64_t seed,
              const GrowSpace& space);
  double only = 0;  // the hessian that stands for all
};

// Writes the histogram of the rows of a leaf to `out`.
void build(const Call& call, const GrowRows& given, bool coarse, const Leaf& leaf,
           const Shape& shape, const GrowSpace& space, Whole* out);

// A leaf whose histogram is searched: `own`, first less `less` where there is that.
struct Member {
  Whole* own = nullptr;
  const Whole* less = nullptr;
  const char* allowed = nullptr;  // features, or all
  Bounds bounds;
  Looked* looked = nullptr;  // of features
  Looked* best = nullptr;
};

struct Members {
  Member at[2];
  int count = 0;
};

void search(const Call& call, const Members& members, const Measures& measures, const Shape& shape,
            bool monotonic, const GrowSpace& space);

// Moves the rows that go left to the front, each side in its order.
void partition(const Call& call, const Codes& codes, const Leaf& leaf, std::int32_t* rows,
               const GrowSpace& space);

// Sums of gradients and hessians over each piece: two numbers for each.
std::vector<double> piece_sums(const Call& call, const GrowRows& given,
                               const std::vector<Piece>& pieces, const GrowSpace& space);

// The tree is written on the host.
index_t grow(const Call& call, const GrowRows& given, const Features& features, const Rule& rule,
             std::uint64_t seed, const Tree& tree, const GrowSpace& space);

}  // namespace kernelmill::histogram
