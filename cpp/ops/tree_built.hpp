// Nodes of a tree while it grows.
#pragma once

#include <cstddef>  // std::size_t
#include <cstdint>  // std::int32_t
#include <limits>   // infinity
#include <memory>   // std::unique_ptr
#include <utility>  // std::move
#include <vector>   // nodes

#include "core/kept_blocks.hpp"  // drop_kept_blocks
#include "ops/tree.hpp"          // Field
#include "ops/tree_measure.hpp"  // LevelSet

namespace kernelmill::tree {

// splitmix64: the key of a child, which no other node has.
inline std::uint64_t child_key(std::uint64_t key, std::uint64_t side) {
  std::uint64_t z = 2 * key + side + 0x9E3779B97F4A7C15u;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  return z ^ (z >> 31);
}

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// A fitted node; children count from the first node of its `Growth`, and stand side by side.
struct Built {
  double impurity, mass;
  union {
    double threshold;        // of a drawn cut
    std::int32_t beside[2];  // rows whose values lie below and above the cut; or kMissing
    std::int32_t levels;     // which set of levels goes left
  };
  std::int32_t count, feature, left;  // the feature with the bits of `Node`
};
static_assert(sizeof(Built) == 40);
constexpr std::int32_t kLeaf = -1, kPart = -2;  // `feature` of nodes that are no splits

// Between the last value on the left and the first on the right; infinity before the missing.
inline double middle(const Field& f, const Built& node) {
  if (node.beside[1] == kMissing) return kInfinity;
  const index_t feature = node.feature & kFeature;
  const double low = f.value(feature, node.beside[0]), high = f.value(feature, node.beside[1]);
  const double t = low / 2 + high / 2;            // the sum may overflow
  return (low <= t && t < high ? t : low) + 0.0;  // not -0
}

// What a thread keeps of the last tree for the next: fresh pages for nodes took a quarter of the
// time of a forest of ten classes.
struct Spare {
  std::vector<Built> nodes;
  std::vector<double> values;
  static constexpr std::size_t kMost = std::size_t{1} << 21;  // numbers
  // What is kept of a tree that grew alone; boosting grows such trees again and again.
  static constexpr std::size_t kFew = std::size_t{1} << 14;

  // Blocks of this many bytes that the caller's thread kept between two trees were 3 MB of the 9 of
  // boosting on 50k rows: what boosting computes meanwhile fits into them.
  static constexpr std::size_t kLargeBlock = std::size_t{1} << 16;

  // After a tree that grew alone.
  static void give_back() {
    if (own().nodes.capacity() > kFew) own() = {};
    drop_kept_blocks(kLargeBlock);
  }

  static Spare& own() {
    thread_local Spare spare;
    return spare;
  }
};

// The nodes of a tree, or of a part of one.
struct Growth {
  std::vector<Built> nodes;
  std::vector<double> values;  // of the nodes
  std::vector<LevelSet> sets;  // of levels

  Growth() {
    nodes.swap(Spare::own().nodes);
    values.swap(Spare::own().values);
  }
  Growth(const Growth&) = default;
  Growth(Growth&&) = default;
  ~Growth() {
    Spare& spare = Spare::own();
    keep(nodes, spare.nodes);
    keep(values, spare.values);
  }

  // Taken from what grew them, or copied: what waits to be written then has room for no more than
  // it holds.
  std::unique_ptr<Growth> taken() { return std::make_unique<Growth>(std::move(*this)); }
  std::unique_ptr<Growth> copied() const { return std::make_unique<Growth>(*this); }

 private:
  template <class T>
  static void keep(std::vector<T>& own, std::vector<T>& spare) {
    if (own.capacity() > Spare::kMost || own.capacity() <= spare.capacity()) return;
    own.clear();
    own.swap(spare);
  }
};

}  // namespace kernelmill::tree
