// Scratch memory that a thread keeps between calls, so that blocked loops allocate nothing after
// the first call.
#pragma once

#include <cstddef>  // std::size_t
#include <utility>  // std::swap, std::exchange

namespace kernelmill {

namespace detail {

struct Block {
  void* data = nullptr;
  std::size_t bytes = 0;
};

// From and back to the blocks that the calling thread keeps. Not inline: there are hundreds of
// workspaces, and each would be compiled with a copy of them.
Block take_block(std::size_t bytes);
void give_block(Block block) noexcept;

}  // namespace detail

// 64-byte aligned, uninitialised room for `count` values of a trivial type T, taken from the blocks
// that the calling thread keeps and given back on destruction. Move-only.
template <class T>
class Workspace {
 public:
  Workspace() = default;
  explicit Workspace(std::size_t count) : block_(detail::take_block(count * sizeof(T))) {}
  Workspace(Workspace&& other) noexcept : block_(std::exchange(other.block_, {})) {}
  Workspace& operator=(Workspace&& other) noexcept {
    std::swap(block_, other.block_);
    return *this;
  }
  ~Workspace() {
    if (block_.data != nullptr) detail::give_block(block_);
  }

  T* data() const { return static_cast<T*>(block_.data); }

 private:
  detail::Block block_;
};

}  // namespace kernelmill
