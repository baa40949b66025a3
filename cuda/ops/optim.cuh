// The CUDA implementations of python/kernelmill/ops/optim.py: all arrays of a list in one launch
// for each dtype.
#pragma once

#include <array>  // states

#include "core/call.hpp"  // Call, Arena
#include "ops/optim.hpp"  // Array, Rule

namespace kernelmill::optim {

// An array as kernels read it, and where its chunks begin among those of all.
struct Item {
  void* parameter;
  const void* gradient;
  std::array<void*, kMostStates> states;
  unsigned kept;
  index_t size, first_chunk;
  double scalars[kMostScalars];
};

// The items of one dtype, on the host.
struct Items {
  std::span<const Item> items;
  index_t chunks;
  Type type;
};

constexpr index_t kChunk = 4096;  // elements of a block
constexpr std::size_t kTypes = kBFloat16 + 1;

struct ItemSpace {
  ItemSpace(Arena& arena, index_t count, index_t chunks)
      : items(arena.take<Item>(count)),
        parts{arena.take<double>(chunks), arena.take<double>(chunks)} {}
  Item* items;
  double* parts[2];
};

void step(const Call& call, const Rule& rule, const Items& items, const ItemSpace& space);

// The norm of the gradients of the items of all dtypes; the spaces fit one each.
double norm(const Call& call, const std::array<Items, kTypes>& items, double order,
            const std::array<const ItemSpace*, kTypes>& spaces);

}  // namespace kernelmill::optim
