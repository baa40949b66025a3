// The CUDA loops of the rows of python/kernelmill/ops/elementwise_table.py.
#pragma once

#include <cstdint>  // std::uint64_t

#include "core/call.hpp"             // Call
#include "ops/elementwise_plan.hpp"  // BasicRow, Operand

namespace kernelmill::elementwise {

// Queues the loop over device memory. An operand without data is a number: values[i] holds its
// bits.
using Launch = void (*)(const Call& call, std::span<const index_t> shape,
                        std::span<const Operand> in, const std::uint64_t* values,
                        const Operand& out);
using Row = BasicRow<Launch>;

std::span<const Row> rows();

}  // namespace kernelmill::elementwise
