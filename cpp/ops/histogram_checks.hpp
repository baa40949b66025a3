// What the ops of histograms refuse, on the CPU and on a GPU.
#pragma once

#include <algorithm>  // std::min

#include "core/error.hpp"  // invalid
#include "ops/histogram_types.hpp"

namespace kernelmill::histogram {

// `columns` thresholds or levels of a feature at most.
inline void check_edges(index_t d, index_t places, std::span<const std::int32_t> count,
                        std::span<const bool> categorical, index_t columns) {
  if (places < d) {
    invalid("histogram.encode", "blocks times width must be at least ", d, ", got ", places);
  }
  for (std::size_t f = 0; f < count.size(); ++f) {
    if (count[f] < 0 || count[f] > std::min<index_t>(columns, 254 + categorical[f])) {
      invalid("histogram.encode", "count must be at most ", columns,
              ", 254 and 255 for levels, got ", count[f]);
    }
  }
}

inline void check_codes(const Codes& codes, std::span<const std::int32_t> counts) {
  const index_t d = std::ssize(counts);
  std::int32_t least = 1, most = 0;
  for (const std::int32_t count : counts) {
    least = std::min(least, count);
    most = std::max(most, count);
  }
  if (codes.blocks * codes.width < d || least < 1 || most > kCodes) {
    invalid("histogram.grow", "counts must be of at most ", codes.blocks * codes.width,
            " features, from 1 to 256, got ", d, " up to ", most);
  }
}

inline void check_split(const Codes& codes, const MatrixView<const std::int32_t>& split) {
  bool fits = split.rows > 0;
  for (index_t v = 0; fits && v < split.rows; ++v) {
    if (split(v, 0) < 0) continue;
    fits = split(v, 0) < codes.blocks * codes.width && split(v, 3) > v && split(v, 4) > v &&
           split(v, 3) < split.rows && split(v, 4) < split.rows;
  }
  if (!fits) {
    invalid("histogram.walk",
            "split must name features of the codes and children behind their parent, got others");
  }
}

// Smallest and largest target of the multinomial loss.
inline void check_classes(const char* op, double low, double high, index_t classes) {
  if (low >= 0 && high < static_cast<double>(classes)) return;
  invalid(op, "y must hold classes below ", classes, ", got ", low, " to ", high);
}

// Spans of `places` rows.
inline bool spans_fit(const MatrixView<const std::int32_t>& spans, index_t places) {
  bool fits = true;
  for (index_t i = 0; i < spans.rows; ++i) {
    fits = fits && 0 <= spans(i, 0) && spans(i, 0) <= spans(i, 1) && spans(i, 1) <= places;
  }
  return fits;
}

[[noreturn]] inline void refuse_spans(const char* op, index_t places, index_t n) {
  invalid(op, "spans and rows must lie in ", places, " places and ", n, " rows, got others");
}

}  // namespace kernelmill::histogram
