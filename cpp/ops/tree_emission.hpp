// Nodes that have grown, written where the caller wants them.
#pragma once

#include <algorithm>  // std::copy_n
#include <cmath>      // std::ldexp
#include <cstring>    // std::memcpy
#include <memory>     // std::unique_ptr
#include <vector>     // parts

#include "core/error.hpp"  // invalid
#include "ops/tree_built.hpp"

namespace kernelmill::tree {

// Writes a tree depth first, as far as its parts have grown; what is written is given back, so that
// few nodes are held twice. Thresholds are looked up here, where many loads overlap. Nodes of kind
// `kPart` stand for the root of another growth.
class Emission {
 public:
  Emission(const Field& f, const Growth& top, std::vector<std::unique_ptr<Growth>>& parts,
           const Grown& grown, index_t tree, int exponent)
      : f_(f),
        exponent_(exponent),
        parts_(parts),
        nodes_(grown.nodes + tree * grown.capacity),
        stats_(grown.stats + tree * grown.capacity * 3),
        values_(grown.value + tree * grown.capacity * grown.width),
        sides_(grown.sides + tree * grown.most_sides * kCodes / 8),
        capacity_(grown.capacity),
        width_(grown.width),
        most_sides_(grown.most_sides),
        stack_{{&top, 0, -1}} {}

  index_t size() const { return at_; }

  // Until the end, or a part that is not there yet.
  void advance() {
    while (!stack_.empty()) {
      Next next = stack_.back();
      const Built* own = &next.growth->nodes[static_cast<std::size_t>(next.node)];
      if (own->feature == kPart) {
        auto& part = parts_[static_cast<std::size_t>(own->left)];
        if (part == nullptr) return;
        stack_.pop_back();
        const std::size_t below = stack_.size();
        write({part.get(), 0, next.parent});
        while (stack_.size() > below) write_top();
        part.reset();
        continue;
      }
      write_top();
    }
  }

 private:
  struct Next {
    const Growth* growth;
    index_t node, parent;  // parent: whose right child it is, or -1
  };

  void write_top() {
    const Next next = stack_.back();
    stack_.pop_back();
    write(next);
  }

  void write(const Next& next) {
    const Built& own = next.growth->nodes[static_cast<std::size_t>(next.node)];
    const index_t at = at_++;
    if (at == capacity_) {
      invalid("tree.grow", "nodes must have room for a whole tree, got ", capacity_);
    }
    if (next.parent >= 0) nodes_[next.parent].right = static_cast<std::int32_t>(at);
    stats_[3 * at] = own.impurity;
    stats_[3 * at + 1] = std::ldexp(own.mass, exponent_);
    stats_[3 * at + 2] = static_cast<double>(own.count);
    std::copy_n(next.growth->values.data() + next.node * width_, width_, values_ + at * width_);
    if (exponent_ != 0 && !f_.classes.empty()) {  // weights of classes
      for (index_t k = 0; k < width_; ++k) {
        values_[at * width_ + k] = std::ldexp(values_[at * width_ + k], exponent_);
      }
    }
    if (own.feature < 0) {
      nodes_[at] = {-2.0, -1, leaves_++};
      return;
    }
    const bool of_levels = (own.feature & kCategory) != 0;
    const double threshold = of_levels        ? static_cast<double>(sets_)
                             : f_.rule.random ? own.threshold
                                              : middle(f_, own);
    nodes_[at] = {threshold, own.feature, 0};
    if (of_levels) {
      if (sets_ == most_sides_) {
        invalid("tree.grow", "sides must have room for a whole tree, got ", most_sides_);
      }
      const LevelSet& set = next.growth->sets[static_cast<std::size_t>(own.levels)];
      std::memcpy(sides_ + sets_++ * kCodes / 8, set.data(), sizeof(set));
    }
    stack_.push_back({next.growth, own.left + 1, at});
    stack_.push_back({next.growth, own.left, -1});
  }

  const Field& f_;
  int exponent_;
  std::vector<std::unique_ptr<Growth>>& parts_;
  Node* nodes_;
  double *stats_, *values_;
  std::uint8_t* sides_;
  index_t capacity_, width_, most_sides_;
  std::vector<Next> stack_;
  index_t at_ = 0, sets_ = 0;
  std::int32_t leaves_ = 0;
};

}  // namespace kernelmill::tree
