// The CUDA twins of python/kernelmill/ops/reduction.py.
#pragma once

#include "core/call.hpp"            // Call, Arena
#include "ops/reduction_rules.hpp"  // Kind, State

namespace kernelmill::reduction {

constexpr int kMostAxes = 16;

// Axes of an array: sizes, and strides in bytes.
struct Axes {
  int rank = 0;
  index_t sizes[kMostAxes], strides[kMostAxes];
  index_t count = 1;

  void add(index_t size, index_t stride);  // drops size 1, merges neighbours
};

// How the work is cut: by shapes alone.
struct Cut {
  Cut(const Axes& kept, const Axes& reduced);
  bool blocks;     // a block a result; else a thread a result
  index_t parts;   // of the reduced elements
  index_t length;  // of a part
};

struct Space {
  Space(Arena& arena, const Cut& cut, index_t results)
      : states(arena.take<State>(cut.parts * results)) {}
  State* states;
};

// out[o] = the reduction of x over `reduced`, as for C++.
template <class T>
void run(const Call& call, Kind kind, const T* x, const Axes& kept, const Axes& reduced,
         double ddof, const Cut& cut, const Space& space, void* out);

}  // namespace kernelmill::reduction
