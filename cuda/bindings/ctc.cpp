// Targets and lengths are read on the host, where they are checked without waiting for the device.
#include "ops/ctc.cuh"

#include <limits>  // std::numeric_limits
#include <string>  // messages

#include "bindings/device.hpp"
#include "core/error.hpp"  // invalid

namespace kernelmill {

namespace {

using ctc::Targets;
using Lengths = std::span<const index_t>;

std::vector<index_t> checked(const Call& call, const char* name, Lengths lengths, index_t most) {
  for (const index_t length : lengths) {
    if (length < 0 || length > most) {
      invalid(call.op, name, " must be in [0, ", most, "], got ", length);
    }
  }
  return {lengths.begin(), lengths.end()};
}

Targets targets_of(const Call& call, index_t steps, index_t classes,
                   MatrixView<const index_t> given, Lengths input_lengths, Lengths target_lengths,
                   index_t blank) {
  if (blank < 0 || blank >= classes) {
    invalid(call.op, "blank must be in [0, ", classes, "), got ", blank);
  }
  constexpr index_t limit = std::numeric_limits<std::int32_t>::max();
  if (classes > limit) {
    invalid(call.op, "log_probs must have at most ", limit, " classes on a GPU, got ", classes);
  }
  Targets targets{{},
                  checked(call, "input_lengths", input_lengths, steps),
                  checked(call, "target_lengths", target_lengths, given.cols),
                  given.cols,
                  blank};
  targets.labels.resize(static_cast<std::size_t>(given.rows * given.cols));
  std::vector<std::int32_t> after(static_cast<std::size_t>(classes), -1);  // where a class stands
  for (index_t n = 0; n < given.rows; ++n) {
    const index_t length = targets.target_lengths[static_cast<std::size_t>(n)];
    ctc::Label* const row = targets.labels.data() + n * given.cols;
    for (index_t i = 0; i < length; ++i) {
      const index_t label = given(n, i);
      if (label < 0 || label >= classes || label == blank) {
        invalid(call.op, "target must hold classes in [0, ", classes, ") other than the blank, ",
                blank, ", got ", label);
      }
    }
    for (index_t i = length; i-- > 0;) {
      const index_t label = given(n, i);
      std::int32_t& next = after[static_cast<std::size_t>(label)];
      row[i] = {static_cast<std::int32_t>(label), next, 1};
      if (next >= 0) row[next].first = 0;
      next = static_cast<std::int32_t>(i);
    }
    for (index_t i = 0; i < length; ++i) after[static_cast<std::size_t>(row[i].label)] = -1;
  }
  return targets;
}

template <class T>
void forward(const Call& call, Scratch* scratch, CubeView<const T> log_probs,
             MatrixView<const index_t> target, Lengths input_lengths, Lengths target_lengths,
             index_t blank, T* losses) {
  const Targets targets = targets_of(call, log_probs.shape[0], log_probs.shape[2], target,
                                     input_lengths, target_lengths, blank);
  ctc::losses<T>(call, log_probs, targets, losses, nullptr,
                 scratch->make<ctc::Space>(targets, log_probs.shape[0], false));
}

template <class T>
void gradient(const Call& call, Scratch* scratch, CubeView<const T> log_probs,
              MatrixView<const index_t> target, Lengths input_lengths, Lengths target_lengths,
              index_t blank, T* losses, T* derivative) {
  const Targets targets = targets_of(call, log_probs.shape[0], log_probs.shape[2], target,
                                     input_lengths, target_lengths, blank);
  ctc::losses<T>(call, log_probs, targets, losses, derivative,
                 scratch->make<ctc::Space>(targets, log_probs.shape[0], true));
}

}  // namespace

void bind_ctc(Family family) {
  family.op<KERNELMILL_STORED(forward)>("forward");
  family.op<KERNELMILL_STORED(gradient)>("gradient");
}

}  // namespace kernelmill
