#include "core/workspace.hpp"

#include <algorithm>  // std::max, std::min_element
#include <array>      // the kept blocks
#include <new>        // aligned operator new

#if defined(__linux__)
#include <sys/mman.h>  // madvise
#endif

namespace kernelmill::detail {

namespace {

constexpr std::size_t largest_kept = std::size_t{64} << 20;

constexpr std::size_t huge_page = std::size_t{2} << 20;

std::align_val_t alignment(std::size_t bytes) {
  return std::align_val_t{bytes < huge_page ? 64 : huge_page};
}

void release(Block& block) noexcept {
  if (block.data != nullptr) ::operator delete(block.data, alignment(block.bytes));
  block = {};
}

// The few blocks that a thread keeps, for all element types together.
std::array<Block, 6>& kept_blocks() {
  thread_local struct Kept {
    ~Kept() {
      for (Block& block : blocks) release(block);
    }
    std::array<Block, 6> blocks{};
  } kept;
  return kept.blocks;
}

}  // namespace

// The smallest kept block that is large enough, or a new one. Not one that is far larger: whoever
// needs it next would have to get fresh pages from the system, which took 20 ms for 8 MB where
// the host of a virtual machine had to find them first.
Block take_block(std::size_t bytes) {
  if (bytes == 0) return {};
  // Four times: the blocks of successive calls differ that much; 4 KiB are no loss to anybody.
  const std::size_t most = 4 * std::max(bytes, std::size_t{1024});
  Block* best = nullptr;
  for (Block& block : kept_blocks()) {
    if (block.bytes < bytes || block.bytes > most) continue;
    if (best == nullptr || block.bytes < best->bytes) best = &block;
  }
  if (best != nullptr) return std::exchange(*best, {});
  if (bytes < huge_page) return {::operator new(bytes, alignment(bytes)), bytes};
  // Whole huge pages: a product walks megabytes of packed operand again and again, and misses of
  // the translation buffer would cost it several per cent.
  bytes = (bytes + huge_page - 1) / huge_page * huge_page;
  Block block{::operator new(bytes, alignment(bytes)), bytes};
#if defined(MADV_HUGEPAGE)
  madvise(block.data, bytes, MADV_HUGEPAGE);  // a hint: failure changes nothing but speed
#endif
  return block;
}

// Keeps the block in place of the smallest kept one, unless it is too large to hold on to.
void give_block(Block block) noexcept {
  if (block.bytes <= largest_kept) {
    auto& blocks = kept_blocks();
    auto smallest = std::min_element(blocks.begin(), blocks.end(),
                                     [](auto& a, auto& b) { return a.bytes < b.bytes; });
    if (smallest->bytes < block.bytes) std::swap(*smallest, block);
  }
  release(block);
}

}  // namespace kernelmill::detail
