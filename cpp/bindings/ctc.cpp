#include "ops/ctc.hpp"

#include <string>  // messages

#include "bindings/family.hpp"
#include "core/error.hpp"  // invalid

namespace kernelmill {

namespace {

using Target = MatrixView<const std::int64_t>;
using ctc::Lengths;

void check_lengths(const std::string& op, const char* name, Lengths lengths, index_t most) {
  for (const std::int64_t length : lengths) {
    if (length < 0 || length > most) {
      invalid(op, name, " must be in [0, ", most, "], got ", length);
    }
  }
}

void check(const std::string& op, index_t steps, index_t classes, Target target,
           Lengths input_lengths, Lengths target_lengths, index_t blank) {
  if (blank < 0 || blank >= classes) {
    invalid(op, "blank must be in [0, ", classes, "), got ", blank);
  }
  check_lengths(op, "input_lengths", input_lengths, steps);
  check_lengths(op, "target_lengths", target_lengths, target.cols);
  for (index_t n = 0; n < target.rows; ++n) {
    for (index_t i = 0; i < target_lengths[static_cast<std::size_t>(n)]; ++i) {
      const std::int64_t label = target(n, i);
      if (label < 0 || label >= classes || label == blank) {
        invalid(op, "target must hold classes in [0, ", classes, ") other than the blank, ", blank,
                ", got ", label);
      }
    }
  }
}

template <class T>
void forward(CubeView<const T> log_probs, Target target, Lengths input_lengths,
             Lengths target_lengths, index_t blank, T* losses) {
  check("ctc.forward", log_probs.shape[0], log_probs.shape[2], target, input_lengths,
        target_lengths, blank);
  ctc::losses<T>(log_probs, target, input_lengths, target_lengths, blank, losses, nullptr);
}

template <class T>
void gradient(CubeView<const T> log_probs, Target target, Lengths input_lengths,
              Lengths target_lengths, index_t blank, T* losses, T* derivative) {
  check("ctc.gradient", log_probs.shape[0], log_probs.shape[2], target, input_lengths,
        target_lengths, blank);
  ctc::losses<T>(log_probs, target, input_lengths, target_lengths, blank, losses, derivative);
}

}  // namespace

void bind_ctc(Family family) {
  family.op<forward<float>, forward<double>>("forward");
  family.op<gradient<float>, gradient<double>>("gradient");
}

}  // namespace kernelmill
