// Connectionist temporal classification: the C++ implementations of python/kernelmill/ops/ctc.py,
// whose docstrings are the contract.
#pragma once

#include <cstdint>  // std::int64_t
#include <span>     // std::span

#include "core/matrix.hpp"  // CubeView, MatrixView

namespace kernelmill::ctc {

using Lengths = std::span<const std::int64_t>;

// log_probs (T, N, C), target (N, M); lengths, labels and blank are in range. losses holds N
// values; gradient (T, N, C) is dense, or null where only the losses are wanted.
template <class T>
void losses(CubeView<const T> log_probs, MatrixView<const std::int64_t> target,
            Lengths input_lengths, Lengths target_lengths, index_t blank, T* losses, T* gradient);

}  // namespace kernelmill::ctc
