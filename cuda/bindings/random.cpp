#include "ops/random.cuh"

#include "bindings/device.hpp"
#include "core/error.hpp"  // invalid

namespace kernelmill {

namespace {

using Word = std::uint64_t;

Sequence ends_in_range(const Call& call, const Sequence& from, index_t n) {
  if (from.start + static_cast<Word>(n) > Word{1} << 63) {
    invalid(call.op, "start + n must be at most 2**63, got start ", from.start, " and n ", n);
  }
  return from;
}

template <class T>
void uniform_items(const Call& call, Word seed, Word stream, Word start, index_t n, T* out) {
  uniform<T>(call, ends_in_range(call, {seed, stream, start}, n), n, out);
}

template <class T>
void normal_items(const Call& call, Word seed, Word stream, Word start, index_t n, T* out) {
  normal<T>(call, ends_in_range(call, {seed, stream, start}, n), n, out);
}

void integer_items(const Call& call, Word seed, Word stream, Word start, index_t n, Word high,
                   std::int64_t* out) {
  integers(call, ends_in_range(call, {seed, stream, start}, n), n, high, out);
}

}  // namespace

void bind_random(Family family) {
  family.op<uniform_items<float>, uniform_items<double>>("uniform");
  family.op<normal_items<float>, normal_items<double>>("normal");
  family.op<integer_items>("integers");
}

}  // namespace kernelmill
