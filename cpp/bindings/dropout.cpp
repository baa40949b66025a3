#include "ops/dropout.hpp"

#include "bindings/family.hpp"

namespace kernelmill {

template <class T>
static void drop(MatrixView<const T> x, double p, std::uint64_t seed, std::uint64_t stream,
                 double scale, double shift, double dropped, bool rows, MatrixView<T> y) {
  dropout::dropout<T>(x, {p, seed, stream, rows}, static_cast<T>(scale), static_cast<T>(shift),
                      static_cast<T>(dropped), y);
}

void bind_dropout(Family family) { family.op<drop<float>, drop<double>>("dropout"); }

}  // namespace kernelmill
