// Trees grown on histograms of features that are coded in a byte, for boosting.
//
// Symbols as in python/kernelmill/ops/histogram.py: n rows, d features, k scores of a row, v nodes.
#pragma once

#include <cstdint>  // std::uint8_t
#include <span>     // std::span

#include "core/matrix.hpp"  // MatrixView
#include "ops/tree_node.hpp"

namespace kernelmill::histogram {

using tree::kCategory, tree::kCodes, tree::kFeature, tree::kMissing, tree::Node;

// Rows in blocks of features: codes[(block * n + row) * width + feature in block].
struct Codes {
  const std::uint8_t* data = nullptr;
  index_t blocks = 0, n = 0, width = 0;

  const std::uint8_t* block(index_t b) const { return data + b * n * width; }
  // The code of feature f of row 0; that of the next row is `width` further.
  const std::uint8_t* feature(index_t f) const { return block(f / width) + f % width; }
};

template <class T>
void edges(MatrixView<const T> X, std::span<const double> weight, index_t cuts,
           MatrixView<double> edges, std::span<std::int32_t> count);

template <class T>
void encode(MatrixView<const T> X, MatrixView<const double> edges,
            std::span<const std::int32_t> count, std::span<const bool> categorical, index_t blocks,
            index_t width, std::uint8_t* codes);

enum class Loss { squared, absolute, quantile, huber, log_cosh, poisson, gamma, log, multinomial };

void slopes(std::span<const double> y, MatrixView<const double> raw, std::span<const double> weight,
            index_t loss, double parameter, bool unit, MatrixView<double> gradient,
            MatrixView<double> hessian);

double deviance(std::span<const double> y, MatrixView<const double> raw,
                std::span<const double> weight, index_t loss, double parameter);

// What governs growth, in the order of `rule`.
struct Rule {
  double rate, l2, l1, min_leaf, min_hessian, max_depth, share, min_gain, coarse;
};

struct Features {
  std::span<const std::int32_t> counts;
  std::span<const bool> categorical;
  std::span<const std::int32_t> monotonic;  // may be empty
  MatrixView<const bool> groups;            // may have no rows
};

struct Tree {
  MatrixView<std::int32_t> split;
  MatrixView<double> stats;
  MatrixView<std::uint8_t> sides;
};

index_t grow(const Codes& codes, const Features& features, std::span<const double> gradient,
             std::span<const double> hessian, const Rule& rule, std::uint64_t seed,
             std::span<std::int32_t> rows, const Tree& tree);

void quantiles(std::span<const double> residual, std::span<const double> weight,
               std::span<const std::int32_t> rows, MatrixView<const std::int32_t> spans,
               double level, std::span<double> value);

void add(std::span<const std::int32_t> rows, MatrixView<const std::int32_t> spans,
         std::span<const double> value, std::span<double> raw);

void walk(const Codes& codes, MatrixView<const std::int32_t> split,
          MatrixView<const std::uint8_t> sides, std::span<std::int32_t> leaves);

template <class T>
void predict(MatrixView<const T> X, std::span<const index_t> nodes, std::span<const index_t> roots,
             MatrixView<const std::uint8_t> sides, std::span<const double> start,
             MatrixView<double> raw);

}  // namespace kernelmill::histogram
