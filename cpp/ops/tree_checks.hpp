// What growth refuses, and whether values are missing.
#pragma once

#include <atomic>  // std::atomic
#include <cmath>   // std::floor

#include "core/error.hpp"     // invalid
#include "core/parallel.hpp"  // parallel_for
#include "ops/tree.hpp"       // Field, Ranks

namespace kernelmill::tree {

inline void check_targets(const Field& f, index_t width) {
  const index_t outputs = f.y.cols;
  bool fits = f.classes.empty() || std::ssize(f.classes) == outputs;
  index_t sum = f.classes.empty() ? outputs : 0;
  for (const index_t c : f.classes) sum += c;
  fits = fits && sum == width;
  for (index_t k = 0; fits && k < std::ssize(f.classes); ++k) {
    const auto most = static_cast<double>(f.classes[static_cast<std::size_t>(k)]);
    bool own = true;
    for (index_t i = 0; i < f.y.rows; ++i) {
      const double y = f.y(i, k);
      own &= y >= 0 && y < most && y == std::floor(y);
    }
    fits = own;
  }
  if (!fits) {
    invalid("tree.grow",
            "y must hold numbers of classes, and classes and value fit it, got others");
  }
}

inline void check_ranks(const Field& f) {
  const Ranks& ranks = f.ranks;
  if (f.by_values() && !f.rule.random && f.X_double.data != nullptr &&
      ranks.rows * ranks.features > 0) {
    invalid("tree.grow", "ranks must be given for cuts of float64 that are not drawn, got none");
  }
  if (ranks.rows >= kMissing) {
    invalid("tree.grow", "X must have fewer than 2**30 rows, got ", ranks.rows);
  }
  if (f.by_values()) return;
  if (!ranks.binned() && (ranks.bytes > 4 || ranks.rows > Ranks::missing(ranks.bytes))) {
    invalid("tree.grow",
            "ranks must have 1 or 4 bytes each, or 2 for up to 65535 rows, or 3 for up to ",
            Ranks::missing(3), ", got ", ranks.bytes, " for ", ranks.rows, " rows");
  }
}

inline void check_levels(const Field& f) {
  for (index_t j = 0; j < std::ssize(f.categorical); ++j) {
    for (index_t i = 0; f.of_levels(j) && i < f.ranks.rows; ++i) {
      const double code = f.value(j, i);
      if (code != code) continue;
      if (!(code >= 0 && code < static_cast<double>(kCodes) && code == std::floor(code))) {
        invalid("tree.grow",
                "values of categorical features must be whole numbers from 0 to 255, got ", code);
      }
    }
  }
}

// Whether values are missing and, where they stand for ranks, which features are whole numbers.
inline void look_at_values(Field& f) {
  const index_t rows = f.ranks.rows, features = f.ranks.features;
  f.gaps = f.rule.random;
  if (f.rule.random) return;
  if (f.by_values()) {
    const index_t grain = bounded_grain(rows, 2048, 16);
    const auto size = static_cast<std::size_t>(features);
    std::vector<std::uint8_t> found(size * static_cast<std::size_t>(chunk_count(rows, grain)), 1);
    std::atomic<bool> gaps = false;
    parallel_for(rows, grain, [&](index_t chunk, index_t begin, index_t end) {
      std::uint8_t* const whole = found.data() + chunk * features;
      std::uint8_t missing = 0, any = 1;
      for (index_t i = begin; i < end; ++i) {
        for (index_t j = 0; j < features; ++j) {
          const float x = f.X_single(i, j);
          missing |= static_cast<std::uint8_t>(x != x);
        }
        if (any == 0) continue;
        any = 0;
        for (index_t j = 0; j < features; ++j) {
          const float x = f.X_single(i, j);
          any |= whole[j] &= static_cast<std::uint8_t>(int{x != x} | int{x == std::floor(x)});
        }
      }
      if (missing != 0) gaps = true;
    });
    f.gaps = gaps;
    f.whole.assign(size, 1);
    for (std::size_t k = 0; k < found.size(); ++k) f.whole[k % size] &= found[k];
    return;
  }
  for (index_t j = 0; j < features && !f.gaps; ++j) {
    f.with_ranks(j, [&](const auto& rank) {
      bool any = false;
      for (index_t i = 0; i < rows; ++i) any |= rank(i) == kNoRank;
      f.gaps |= any;
    });
  }
}

}  // namespace kernelmill::tree
