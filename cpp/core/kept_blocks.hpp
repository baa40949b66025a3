// What a thread keeps for its next workspaces, given back.
#pragma once

#include <cstddef>  // std::size_t

namespace kernelmill {

// Gives back the blocks of at least so many bytes that the calling thread keeps: before work of
// another kind, which cannot take them.
void drop_kept_blocks(std::size_t least) noexcept;

}  // namespace kernelmill
