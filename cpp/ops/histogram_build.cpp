#include "ops/histogram_build.hpp"

#include <algorithm>  // std::fill_n, std::min
#include <array>      // the table of widths
#include <utility>    // std::index_sequence

namespace kernelmill::histogram {
namespace {

// Rows of a leaf lie apart, and reorder buffers see few of them ahead.
constexpr index_t kAhead = 32;
// Features of a block: sums for 16 x 256 codes are 32 KiB, and stay in the first-level cache.
constexpr index_t kMostWidth = 16;

template <int W>
void add_words(const std::uint8_t* codes, const std::uint64_t* words, const std::int32_t* rows,
               index_t begin, index_t end, index_t last, std::uint64_t* sums) {
  for (index_t i = begin; i < end; ++i) {
    const index_t ahead = rows[std::min(i + kAhead, last)];
    __builtin_prefetch(codes + ahead * W);
    __builtin_prefetch(words + ahead);
    const index_t row = rows[i];
    const std::uint8_t* const code = codes + row * W;
    const std::uint64_t word = words[row];
    for (int j = 0; j < W; ++j) sums[j * kCodes + code[j]] += word;
  }
}

using AddWords = void (*)(const std::uint8_t*, const std::uint64_t*, const std::int32_t*, index_t,
                          index_t, index_t, std::uint64_t*);

template <std::size_t... W>
constexpr std::array<AddWords, sizeof...(W)> table(std::index_sequence<W...>) {
  return {&add_words<static_cast<int>(W) + 1>...};
}
constexpr auto kAddWords = table(std::make_index_sequence<kMostWidth>());

// Adds the fields of words to the three sums of a feature.
void unpack(const std::uint64_t* words, index_t count, index_t stride, double* out) {
  double *const G = out, *const H = out + stride, *const C = out + 2 * stride;
  for (index_t c = 0; c < count; ++c) {
    const auto word = static_cast<std::int64_t>(words[c]);
    // The lowest field with its sign; what it borrowed goes back to the others.
    const auto low = static_cast<std::int32_t>(static_cast<std::uint32_t>(word) << 6) >> 6;
    const std::int64_t rest = word - low;
    const auto middle = static_cast<std::int32_t>((rest >> kFieldBits) & ((1 << kFieldBits) - 1));
    const auto high =
        static_cast<std::int32_t>(static_cast<std::uint64_t>(rest) >> (2 * kFieldBits));
    G[c] += static_cast<double>(low);
    H[c] += static_cast<double>(middle);
    C[c] += static_cast<double>(high);
  }
}

}  // namespace

void build(const Codes& codes, index_t block, const Steps& steps, const std::int32_t* rows,
           index_t n, std::span<const std::int32_t> counts, const Shape& shape, double* out) {
  const index_t width = codes.width, own = std::ssize(counts);
  const std::uint8_t* const from = codes.block(block);
  std::fill_n(out, own * shape.feature_size(), 0.0);
  if (n == 0) return;
  if (!steps.coarse) {
    const double* const pairs = steps.pairs.data();
    for (index_t i = 0; i < n; ++i) {
      const index_t row = rows[i];
      const std::uint8_t* const code = from + row * width;
      const double g = pairs[2 * row], h = pairs[2 * row + 1];
      double* to = out;
      for (index_t j = 0; j < own; ++j, to += shape.feature_size()) {
        double* const at = to + code[j];
        at[0] += g;
        at[shape.stride] += h;
        at[2 * shape.stride] += 1;
      }
    }
    return;
  }
  alignas(64) std::uint64_t sums[kMostWidth * kCodes];
  for (index_t begin = 0; begin < n; begin += kWordRows) {
    for (index_t j = 0; j < width; ++j) {
      std::fill_n(sums + j * kCodes, j < own ? counts[static_cast<std::size_t>(j)] : 1, 0u);
    }
    const index_t end = std::min(n, begin + kWordRows);
    kAddWords[static_cast<std::size_t>(width - 1)](from, steps.words.data(), rows, begin, end,
                                                   n - 1, sums);
    for (index_t j = 0; j < own; ++j) {
      unpack(sums + j * kCodes, counts[static_cast<std::size_t>(j)], shape.stride,
             out + j * shape.feature_size());
    }
  }
}

}  // namespace kernelmill::histogram
