// Trees grown on histograms of features that are coded in a byte, for boosting.
//
// Symbols as in python/kernelmill/ops/histogram.py: n rows, d features, k scores of a row, v nodes.
#pragma once

#include "ops/histogram_types.hpp"

namespace kernelmill::histogram {

template <class T>
void edges(MatrixView<const T> X, std::span<const double> weight, index_t cuts,
           MatrixView<double> edges, std::span<std::int32_t> count);

template <class T>
void encode(MatrixView<const T> X, MatrixView<const double> edges,
            std::span<const std::int32_t> count, std::span<const bool> categorical, index_t blocks,
            index_t width, std::uint8_t* codes);

void slopes(std::span<const double> y, MatrixView<const double> raw, std::span<const double> weight,
            index_t loss, double parameter, bool unit, MatrixView<double> gradient,
            MatrixView<double> hessian);

double deviance(std::span<const double> y, MatrixView<const double> raw,
                std::span<const double> weight, index_t loss, double parameter);

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
