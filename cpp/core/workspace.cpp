#include "core/workspace.hpp"

#include <algorithm>  // std::max, std::min_element
#include <array>      // the kept blocks
#include <cstdint>    // std::uintptr_t
#include <cstring>    // std::memcpy
#include <new>        // aligned operator new

#if defined(__linux__)
#include <sys/mman.h>  // madvise
#endif

#include "core/kept_blocks.hpp"

namespace kernelmill::detail {

namespace {

constexpr std::size_t largest_kept = std::size_t{64} << 20;

constexpr std::size_t huge_page = std::size_t{2} << 20;

constexpr std::size_t line = 64;

// A block below a huge page lies in a plain allocation, whose address stands before it. glibc's
// aligned allocation does not find the chunks that it freed (its bug 14581): blocks that come and
// go left holes of 30 MB in a fit of 50 stumps that needs 11.
void* allocate(std::size_t bytes) {
  if (bytes >= huge_page) return ::operator new(bytes, std::align_val_t{huge_page});
  void* const whole = ::operator new(bytes + line + sizeof(void*));
  const auto first = reinterpret_cast<std::uintptr_t>(whole) + sizeof(void*);
  auto* const data = static_cast<char*>(whole) + sizeof(void*) + (-first & (line - 1));
  std::memcpy(data - sizeof(void*), &whole, sizeof(void*));
  return data;
}

void release(Block& block) noexcept {
  if (block.bytes >= huge_page) {
    ::operator delete(block.data, std::align_val_t{huge_page});
  } else if (block.data != nullptr) {
    void* whole;
    std::memcpy(&whole, static_cast<char*>(block.data) - sizeof(void*), sizeof(void*));
    ::operator delete(whole);
  }
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
  if (bytes < huge_page) return {allocate(bytes), bytes};
  // Whole huge pages: a product walks megabytes of packed operand again and again, and misses of
  // the translation buffer would cost it several per cent.
  bytes = (bytes + huge_page - 1) / huge_page * huge_page;
  Block block{allocate(bytes), bytes};
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

void kernelmill::drop_kept_blocks(std::size_t least) noexcept {
  for (detail::Block& block : detail::kept_blocks()) {
    if (block.bytes >= least) detail::release(block);
  }
}
