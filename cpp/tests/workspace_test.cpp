// Blocks that a thread keeps between workspaces.
#include "core/workspace.hpp"

#include <gtest/gtest.h>

#include "core/kept_blocks.hpp"

namespace kernelmill {
namespace {

// A kept block serves a smaller request, so that its size tells whether it was kept.
std::size_t bytes_of_next(std::size_t asked) {
  const detail::Block block = detail::take_block(asked);
  detail::give_block(block);
  return block.bytes;
}

TEST(Workspace, KeepsBlocksUntilTheyAreDropped) {
  drop_kept_blocks(0);
  {
    Workspace<char> large(200000), small(2000);
  }
  EXPECT_EQ(bytes_of_next(100000), 200000u);
  drop_kept_blocks(200001);
  EXPECT_EQ(bytes_of_next(100000), 200000u);
  drop_kept_blocks(200000);
  EXPECT_EQ(bytes_of_next(100000), 100000u);
  EXPECT_EQ(bytes_of_next(1900), 2000u);
}

}  // namespace
}  // namespace kernelmill
