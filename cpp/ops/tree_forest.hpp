// Fitted trees that an op was given.
#pragma once

#include <span>  // std::span

#include "core/error.hpp"  // invalid
#include "ops/tree_node.hpp"

namespace kernelmill::tree {

// Exact trees name values too; those of histograms hold theirs.
[[noreturn]] inline void refuse_nodes(const char* op, bool values = true) {
  invalid(op, "nodes must name features of X, children behind their parent",
          values ? ", and values and" : " and", " sides that exist, got others");
}

struct Forest {
  const Node* nodes;
  std::span<const index_t> roots;
  Sides sides;
  index_t count, features, values;

  Forest(const char* op, std::span<const index_t> words, std::span<const index_t> begins,
         Sides codes, index_t d, index_t most)
      : nodes(reinterpret_cast<const Node*>(words.data())),
        roots(begins),
        sides(codes),
        count(std::ssize(words) / 2),
        features(d),
        values(most) {
    for (std::size_t t = 0; t < roots.size(); ++t) {
      if (roots[t] < 0 || end(static_cast<index_t>(t)) <= roots[t] ||
          end(static_cast<index_t>(t)) > count) {
        refuse_nodes(op);
      }
    }
  }
  index_t trees() const { return std::ssize(roots); }
  index_t end(index_t t) const {
    return t + 1 < trees() ? roots[static_cast<std::size_t>(t + 1)] : count;
  }
  index_t size(index_t t) const { return end(t) - roots[static_cast<std::size_t>(t)]; }
  const Node* tree(index_t t) const { return nodes + roots[static_cast<std::size_t>(t)]; }
  // Whether a node of a tree of some size can be left, or read.
  bool fits(const Node& node, index_t at, index_t size) const {
    return node_fits(node, at, size, features, sides.rows, values);
  }
};

}  // namespace kernelmill::tree
