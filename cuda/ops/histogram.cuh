// The CUDA implementations of python/kernelmill/ops/histogram.py.
#pragma once

#include "core/call.hpp"   // Call, Arena
#include "core/range.hpp"  // RangeSpace
#include "ops/histogram_types.hpp"
#include "ops/tree.cuh"  // DeviceForest, CheckSpace

namespace kernelmill::histogram {

struct EncodeSpace {
  EncodeSpace(Arena& arena, index_t d)
      : count(arena.take<std::int32_t>(d)), categorical(arena.take<bool>(d)) {}
  std::int32_t* count;
  bool* categorical;
};

// `count` and `categorical` lie on the host.
template <class T>
void encode(const Call& call, MatrixView<const T> X, const double* edges, index_t columns,
            std::span<const std::int32_t> count, std::span<const bool> categorical, index_t blocks,
            index_t width, std::uint8_t* codes, const EncodeSpace& space);

// Scores (k, n) with targets and weights of rows; no weights stand for ones.
struct Labelled {
  const double *y, *weight;
  MatrixView<const double> raw;
};

constexpr index_t kLossBlocks = 512;

struct LossSpace {
  explicit LossSpace(Arena& arena) : pairs(arena.take<double>(2 * kLossBlocks)) {}
  double* pairs;
};

void slopes(const Call& call, const Labelled& rows, Loss loss, double parameter, bool unit,
            double* gradient, double* hessian, const LossSpace& space);

double deviance(const Call& call, const Labelled& rows, Loss loss, double parameter,
                const LossSpace& space);

// Raises unless spans, on the host, and rows lie inside. Waits for the device.
void check_spans(const Call& call, std::span<const std::int32_t> rows, const std::int32_t* spans,
                 index_t m, index_t n, const RangeSpace& space);

struct QuantileSpace {
  // `places` is the number of rows: no span that fits is longer.
  QuantileSpace(Arena& arena, const Call& call, const std::int32_t* spans, index_t m,
                index_t places);
  RangeSpace range;
  std::uint64_t* keys[2];
  double* weights[2];
  std::size_t sort_bytes;
  char* sort;
};

void quantiles(const Call& call, std::span<const double> residual, const double* weight,
               std::span<const std::int32_t> rows, const std::int32_t* spans, index_t m,
               double level, double* value, const QuantileSpace& space);

struct AddSpace {
  AddSpace(Arena& arena, index_t m)
      : range(arena), spans(arena.take<std::int32_t>(2 * m)), value(arena.take<double>(m)) {}
  RangeSpace range;
  std::int32_t* spans;
  double* value;
};

// The m spans and values lie on the host.
void add(const Call& call, std::span<const std::int32_t> rows, const std::int32_t* spans, index_t m,
         const double* value, std::span<double> raw, const AddSpace& space);

struct WalkSpace {
  WalkSpace(Arena& arena, index_t nodes)
      : split(arena.take<std::int32_t>(8 * nodes)), sides(arena.take<std::uint8_t>(32 * nodes)) {}
  std::int32_t* split;
  std::uint8_t* sides;
};

// The tree lies on the host.
void walk(const Call& call, const Codes& codes, const std::int32_t* split,
          const std::uint8_t* sides, index_t nodes, std::int32_t* leaves, const WalkSpace& space);

// Sums in the order of trees, so with the bits of the CPU.
template <class T>
void predict(const Call& call, MatrixView<const T> X, const tree::DeviceForest& forest,
             const double* start, index_t k, double* raw, const tree::CheckSpace& space);

}  // namespace kernelmill::histogram
