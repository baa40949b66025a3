// Scratch memory that a thread keeps between calls, so that blocked loops allocate nothing after
// the first call.
#pragma once

#include <algorithm>  // std::max, std::min_element
#include <array>      // the kept blocks
#include <cstddef>    // std::size_t
#include <new>        // aligned operator new
#include <utility>    // std::swap, std::exchange

#if defined(__linux__)
#include <sys/mman.h>  // madvise
#endif

namespace kernelmill {

namespace detail {

struct Block {
  void* data = nullptr;
  std::size_t bytes = 0;
};

// The few blocks that a thread keeps, for all element types together.
class KeptBlocks {
 public:
  static KeptBlocks& local() {
    thread_local KeptBlocks kept;
    return kept;
  }
  ~KeptBlocks() {
    for (Block& block : blocks_) release(block);
  }
  // The smallest kept block that is large enough, or a new one. Not one that is far larger: whoever
  // needs it next would have to get fresh pages from the system, which took 20 ms for 8 MB where
  // the host of a virtual machine had to find them first.
  Block take(std::size_t bytes) {
    if (bytes == 0) return {};
    // Four times: the blocks of successive calls differ that much; 4 KiB are no loss to anybody.
    const std::size_t most = 4 * std::max(bytes, std::size_t{1024});
    Block* best = nullptr;
    for (Block& block : blocks_) {
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
  void give(Block block) noexcept {
    if (block.bytes <= largest_kept) {
      auto smallest = std::min_element(blocks_.begin(), blocks_.end(),
                                       [](auto& a, auto& b) { return a.bytes < b.bytes; });
      if (smallest->bytes < block.bytes) std::swap(*smallest, block);
    }
    release(block);
  }

 private:
  static constexpr std::size_t largest_kept = std::size_t{64} << 20;

  static constexpr std::size_t huge_page = std::size_t{2} << 20;

  static std::align_val_t alignment(std::size_t bytes) {
    return std::align_val_t{bytes < huge_page ? 64 : huge_page};
  }
  static void release(Block& block) noexcept {
    if (block.data != nullptr) ::operator delete(block.data, alignment(block.bytes));
    block = {};
  }

  std::array<Block, 6> blocks_{};
};

}  // namespace detail

// 64-byte aligned, uninitialised room for `count` values of a trivial type T, taken from the blocks
// that the calling thread keeps and given back on destruction. Move-only.
template <class T>
class Workspace {
 public:
  Workspace() = default;
  explicit Workspace(std::size_t count)
      : block_(detail::KeptBlocks::local().take(count * sizeof(T))) {}
  Workspace(Workspace&& other) noexcept : block_(std::exchange(other.block_, {})) {}
  Workspace& operator=(Workspace&& other) noexcept {
    std::swap(block_, other.block_);
    return *this;
  }
  ~Workspace() {
    if (block_.data != nullptr) detail::KeptBlocks::local().give(block_);
  }

  T* data() const { return static_cast<T*>(block_.data); }

 private:
  detail::Block block_;
};

}  // namespace kernelmill
