// The CUDA implementations of python/kernelmill/ops/ctc.py.
#pragma once

#include <cstdint>  // std::int32_t
#include <vector>   // targets on the host

#include "core/call.hpp"  // Call, Arena, CubeView

namespace kernelmill::ctc {

struct Label {
  std::int32_t label;
  std::int32_t next;   // where the label stands again, -1 behind the last place
  std::int32_t first;  // whether this is its first place
};

// Targets on the host: n rows of `most` labels, of which a sample has lengths[i].
struct Targets {
  std::vector<Label> labels;  // (n, most)
  std::vector<index_t> input_lengths, target_lengths;
  index_t most, blank;
};

struct Space {
  Space(Arena& arena, const Targets& targets, index_t steps, bool gradient);
  Label* labels;
  index_t *input_lengths, *target_lengths;
  index_t rows;    // of a sample
  double* log_p;   // (n)
  double* passes;  // (n, rows, 2 most + 1): alpha, then gamma
  double* ahead;   // (n, 2, 2 most + 1): beta of two steps
};

// log_probs (T, N, C). losses holds N values; gradient (T, N, C) is dense, or null where only the
// losses are wanted.
template <class T>
void losses(const Call& call, CubeView<const T> log_probs, const Targets& targets, T* losses,
            T* gradient, const Space& space);

}  // namespace kernelmill::ctc
