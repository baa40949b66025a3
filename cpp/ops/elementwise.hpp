// Twins of python/kernelmill/ops/elementwise.py: a loop per row of elementwise_table.py and dtype,
// over broadcast and strided operands, in parallel chunks.
#pragma once

#include <span>  // std::span

#include "ops/elementwise_plan.hpp"  // BasicRow, Dtype, Operand

namespace kernelmill::elementwise {

// out[i] = f(in[0][i], in[1][i], ...) over n adjacent elements; out may be one of the inputs.
using Loop = void (*)(const void* const* in, void* out, index_t n);

using Row = BasicRow<Loop>;

std::span<const Row> rows();

// The result over `shape`; each operand has a stride in bytes for every axis, 0 where it is
// broadcast. `out` may have the memory of an operand with the same strides, and must not overlap
// one otherwise.
void run(const Row& row, Dtype type, std::span<const index_t> shape, std::span<const Operand> in,
         const Operand& out);

}  // namespace kernelmill::elementwise
