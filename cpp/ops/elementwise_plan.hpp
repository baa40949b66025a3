// What the C++ and CUDA loops share: dtypes, rows, operands with strides, and the fewest axes that
// describe operands together.
#pragma once

#include <array>        // axes
#include <cstddef>      // std::size_t
#include <cstdlib>      // std::abs
#include <span>         // std::span
#include <string>       // messages
#include <string_view>  // names
#include <utility>      // std::swap

#include "core/matrix.hpp"  // index_t

namespace kernelmill {

enum class Dtype { boolean, int32, int64, float32, float64, float16, bfloat16 };
inline constexpr std::size_t kDtypes = 7;
inline constexpr const char* kDtypeNames[] = {"bool",    "int32",   "int64",   "float32",
                                              "float64", "float16", "bfloat16"};
inline constexpr index_t kItemSizes[] = {1, 4, 8, 4, 8, 2, 2};

struct Operand {
  void* data = nullptr;  // of an input: only read
  const index_t* strides = nullptr;
  Dtype type = Dtype::float64;
  index_t item() const { return kItemSizes[static_cast<std::size_t>(type)]; }
};

namespace elementwise {

inline constexpr std::size_t kMostInputs = 4;
inline constexpr std::size_t kMostAxes = 64;  // as NumPy

// A row of elementwise_table.py; Loop is what runs it on a device.
template <class Loop>
struct BasicRow {
  const char* name;
  const char* op;       // "elementwise." name, for messages
  const char* names;    // of the arguments, separated by spaces
  const char* kinds;    // of the arguments: T, or b for bool
  bool predicate;       // the result is bool
  Loop loops[kDtypes];  // by the dtype of the T arguments; null where there is none

  std::size_t arity() const { return std::string_view(kinds).size(); }
  Dtype argument(std::size_t i, Dtype type) const {
    return kinds[i] == 'b' ? Dtype::boolean : type;
  }
  Dtype result(Dtype type) const { return predicate ? Dtype::boolean : type; }
  // Whether the dtype of argument i is that of the row: a condition says nothing about it.
  bool typed(std::size_t i) const { return kinds[i] == 'T' || loops[0] != nullptr; }

  std::string argument_name(std::size_t i) const {
    std::string_view rest = names;
    for (; i > 0; --i) rest.remove_prefix(rest.find(' ') + 1);
    return std::string(rest.substr(0, rest.find(' ')));
  }
  std::string dtypes() const {
    std::string text;
    for (std::size_t i = 0; i < kDtypes; ++i) {
      if (loops[i] == nullptr) continue;
      text += (text.empty() ? "" : " or ") + std::string(kDtypeNames[i]);
    }
    return text;
  }
};

// Axes in the order of the result's memory, without those of size 1, neighbours merged where every
// operand steps through both as through one. Operand 0 is the result.
struct Plan {
  std::size_t rank = 0, operands = 0;
  index_t count = 1;
  std::array<index_t, kMostAxes> shape;
  std::array<std::array<index_t, kMostAxes>, kMostInputs + 1> strides;
  std::array<Operand, kMostInputs + 1> at;

  Plan(std::span<const index_t> extents, std::span<const Operand> in, const Operand& out)
      : operands(in.size() + 1) {
    at[0] = out;
    for (std::size_t o = 1; o < operands; ++o) at[o] = in[o - 1];
    std::array<std::size_t, kMostAxes> order;
    std::size_t axes = 0;
    for (std::size_t axis = 0; axis < extents.size(); ++axis) {
      count *= extents[axis];
      if (extents[axis] != 1) order[axes++] = axis;
    }
    // By hand: rank is small, and most results are in order already.
    for (std::size_t i = 1; i < axes; ++i) {
      for (std::size_t j = i;
           j > 0 && std::abs(out.strides[order[j - 1]]) < std::abs(out.strides[order[j]]); --j) {
        std::swap(order[j - 1], order[j]);
      }
    }
    for (std::size_t i = 0; i < axes; ++i) {
      const index_t size = extents[order[i]];
      bool merged = rank > 0;
      for (std::size_t o = 0; merged && o < operands; ++o) {
        merged = strides[o][rank - 1] == at[o].strides[order[i]] * size;
      }
      rank += merged ? 0 : 1;
      shape[rank - 1] = merged ? shape[rank - 1] * size : size;
      for (std::size_t o = 0; o < operands; ++o) strides[o][rank - 1] = at[o].strides[order[i]];
    }
    if (rank == 0) {
      rank = 1;
      shape[0] = 1;
      for (std::size_t o = 0; o < operands; ++o) strides[o][0] = at[o].item();
    }
  }

  // Whether element i of the operand follows element i - 1 in memory throughout.
  bool flat(std::size_t operand) const {
    index_t step = at[operand].item();
    for (std::size_t axis = rank; axis-- > 0; step *= shape[axis]) {
      if (strides[operand][axis] != step) return false;
    }
    return true;
  }
  // Whether the operand is one element for all.
  bool constant(std::size_t operand) const {
    for (std::size_t axis = 0; axis < rank; ++axis) {
      if (strides[operand][axis] != 0) return false;
    }
    return true;
  }
};

}  // namespace elementwise
}  // namespace kernelmill
