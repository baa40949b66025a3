#include "ops/random.hpp"

#include "bindings/family.hpp"

namespace kernelmill {

namespace {

using Word = std::uint64_t;

// The number of items says how long the result is; the functions read it off the span.
template <class T>
void uniform(Word seed, Word stream, Word start, index_t, std::span<T> out) {
  random::uniform<T>(seed, stream, start, out);
}

template <class T>
void normal(Word seed, Word stream, Word start, index_t, std::span<T> out) {
  random::normal<T>(seed, stream, start, out);
}

void integers(Word seed, Word stream, Word start, index_t, Word high, std::span<std::int64_t> out) {
  random::integers(seed, stream, start, high, out);
}

void permutations(Word seed, Word stream, Word start, index_t, index_t,
                  MatrixView<std::int64_t> out) {
  random::permutations(seed, stream, start, out);
}

}  // namespace

void bind_random(Family family) {
  family.op<uniform<float>, uniform<double>>("uniform");
  family.op<normal<float>, normal<double>>("normal");
  family.op<integers>("integers");
  family.op<permutations>("permutations");
}

}  // namespace kernelmill
