#include "ops/dropout.cuh"

#include "bindings/device.hpp"
#include "core/error.hpp"  // invalid

namespace kernelmill {

template <class T>
static void drop(const Call& call, MatrixView<const T> x, double p, std::uint64_t seed,
                 std::uint64_t stream, double scale, double shift, double dropped, bool rows,
                 T* y) {
  if (!(p >= 0 && p <= 1)) invalid(call.op, "p must be in [0, 1], got ", p);
  dropout::dropout<T>(call, x, {p, seed, stream, rows}, static_cast<Acc<T>>(scale),
                      static_cast<Acc<T>>(shift), static_cast<Acc<T>>(dropped), y);
}

void bind_dropout(Family family) { family.op<KERNELMILL_STORED(drop)>("dropout"); }

}  // namespace kernelmill
