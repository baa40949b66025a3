// Memory for results, kept and handed out again.
//
// A fresh large block comes from the kernel page by page, and the page faults of its first writing
// cost several times the writing itself (benchmarks/cpp/memory_bench.cpp). So released blocks stay
// in a process-wide pool, and the next result of about that size gets pages that are already there.
#pragma once

#include <cstddef>  // std::size_t
#include <cstdint>  // std::uint64_t

namespace kernelmill {

// Uninitialised memory of at least `bytes` bytes, 64-byte aligned (2 MiB aligned and eligible for
// huge pages from 4 MiB on). Never null: zero bytes get an address of their own. Thread-safe.
// Throws std::bad_alloc when memory stays short after the cache was given back,
// std::invalid_argument when KERNELMILL_POOL_BYTES is not a byte count.
[[nodiscard]] void* pool_allocate(std::size_t bytes);

// Gives back what pool_allocate returned; null is ignored. Thread-safe, also after main() returned
// and in a forked child. Keeps the block while all kept blocks fit the capacity; the blocks that
// were kept longest go back to the system first.
void pool_release(void* memory) noexcept;

// Returns every kept block to the system; gives the number of bytes.
std::size_t pool_trim() noexcept;

struct PoolStats {
  std::size_t capacity;         // most bytes kept: KERNELMILL_POOL_BYTES, else an eighth of memory
  std::size_t cached_bytes;     // kept now
  std::size_t live_bytes;       // handed out now, rounded up to size classes
  std::size_t peak_live_bytes;  // largest live_bytes so far
  std::uint64_t hits;           // allocations served from kept blocks
  std::uint64_t misses;         // allocations that went to the system
};
PoolStats pool_stats();

// Sets the capacity; 0 keeps nothing. Kept blocks above it are returned at once.
void set_pool_capacity(std::size_t bytes);

// The size class of a request: 8 classes per power of two, so at most 12.5 % above `bytes` (and at
// least 64 bytes). Results of nearly equal size share blocks. Exposed for tests.
std::size_t pool_class_bytes(std::size_t bytes);

}  // namespace kernelmill
