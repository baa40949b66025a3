#include "core/memory.hpp"

#include <array>          // free lists by class
#include <bit>            // std::bit_width
#include <charconv>       // std::from_chars
#include <cstdlib>        // std::getenv
#include <fstream>        // memory limits of the machine and the cgroup
#include <mutex>          // std::mutex
#include <new>            // std::bad_alloc, aligned operator new
#include <string>         // std::string
#include <string_view>    // std::string_view
#include <unordered_map>  // sizes of live blocks
#include <vector>         // one free list, newest at the back

#if defined(__unix__) || defined(__APPLE__)
#include <pthread.h>  // pthread_atfork
#include <unistd.h>   // sysconf
#endif
#if defined(__linux__)
#include <sys/mman.h>  // madvise
#endif
#if defined(__SANITIZE_ADDRESS__)
#define KERNELMILL_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define KERNELMILL_ASAN 1
#endif
#endif
#if defined(KERNELMILL_ASAN)
#include <sanitizer/asan_interface.h>  // ASAN_POISON_MEMORY_REGION
#else
#define ASAN_POISON_MEMORY_REGION(address, size) ((void)(address), (void)(size))
#define ASAN_UNPOISON_MEMORY_REGION(address, size) ((void)(address), (void)(size))
#endif

#include "core/error.hpp"  // invalid

namespace kernelmill {
namespace {

constexpr std::size_t kSmallest = 64;
constexpr std::size_t kHugePage = std::size_t{1} << 21;
constexpr std::size_t kHugeFrom = std::size_t{1} << 22;
constexpr std::size_t kLargest = std::size_t{1} << 62;

// Class 8 k + j holds (8 + j) 2^(k-3) bytes: the top four bits of a size, rounded up.
constexpr unsigned kClasses = 8 * 63;

unsigned class_of(std::size_t bytes) {
  if (bytes <= kSmallest) bytes = kSmallest;
  const unsigned exponent = static_cast<unsigned>(std::bit_width(bytes)) - 1;
  const std::size_t step = std::size_t{1} << (exponent - 3);
  const std::size_t eighths =
      (bytes + step - 1) / step;  // 8 ... 16, and 16 is the next power of two
  return eighths == 16 ? 8 * (exponent + 1) : 8 * exponent + static_cast<unsigned>(eighths - 8);
}

std::size_t class_bytes(unsigned size_class) {
  return std::size_t{8 + size_class % 8} << (size_class / 8 - 3);
}

std::align_val_t alignment(std::size_t bytes) {
  return std::align_val_t{bytes >= kHugeFrom ? kHugePage : kSmallest};
}

void* system_allocate(std::size_t bytes) noexcept {
  void* memory = ::operator new(bytes, alignment(bytes), std::nothrow);
#if defined(__linux__)
  // Advice only: where huge pages are off the block works as it is. Rounded down to whole pages of
  // the block, so a neighbour's memory is never advised.
  if (memory != nullptr && bytes >= kHugeFrom) {
    madvise(memory, bytes / kHugePage * kHugePage, MADV_HUGEPAGE);
  }
#endif
  return memory;
}

void system_release(void* memory, std::size_t bytes) noexcept {
  ::operator delete(memory, alignment(bytes));
}

// An eighth of what this process may use: physical memory or the cgroup's limit, whichever is less.
std::size_t default_capacity() {
  std::size_t memory = std::size_t{8} << 30;
#if defined(_SC_PHYS_PAGES)
  const long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
  if (pages > 0 && page > 0)
    memory = static_cast<std::size_t>(pages) * static_cast<std::size_t>(page);
#endif
#if defined(__linux__)
  for (const char* path :
       {"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"}) {
    std::size_t limit = 0;  // "max" does not parse and leaves physical memory standing
    if (std::ifstream(path) >> limit && limit > 0 && limit < memory) memory = limit;
  }
#endif
  return memory / 8;
}

std::size_t configured_capacity() {
  const char* text = std::getenv("KERNELMILL_POOL_BYTES");
  if (text == nullptr) return default_capacity();
  const std::string_view value(text);
  std::size_t bytes = 0;
  const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), bytes);
  if (error != std::errc{} || end != value.data() + value.size()) {
    invalid("pool_allocate", "KERNELMILL_POOL_BYTES must be a whole number of bytes, got '", value,
            "' (0 keeps nothing)");
  }
  return bytes;
}

class Pool {
 public:
  explicit Pool(std::size_t capacity) : capacity_(capacity) {}

  void* allocate(std::size_t bytes) {
    if (bytes > kLargest) throw std::bad_alloc();
    const unsigned size_class = class_of(bytes);
    const std::size_t size = class_bytes(size_class);
    void* memory = nullptr;
    {
      const std::lock_guard lock(mutex_);
      auto& kept = free_[size_class];
      if (!kept.empty()) {
        memory = kept.back().memory;
        live_.emplace(memory, size_class);
        kept.pop_back();
        cached_ -= size;
        ++hits_;
        count_live(size);
      }
    }
    if (memory != nullptr) {
      ASAN_UNPOISON_MEMORY_REGION(memory, size);
      return memory;
    }
    memory = system_allocate(size);
    if (memory == nullptr) {
      trim();
      memory = system_allocate(size);
      if (memory == nullptr) throw std::bad_alloc();
    }
    const std::lock_guard lock(mutex_);
    try {
      live_.emplace(memory, size_class);
    } catch (...) {
      system_release(memory, size);
      throw;
    }
    ++misses_;
    count_live(size);
    return memory;
  }

  void release(void* memory) noexcept {
    std::size_t size;
    {
      const std::lock_guard lock(mutex_);
      const auto found = live_.find(memory);
      if (found == live_.end())
        return;  // not ours, or released before: touching it could only harm
      const unsigned size_class = found->second;
      size = class_bytes(size_class);
      live_.erase(found);
      live_bytes_ -= size;
      if (size <= capacity_) {
        shrink_to(capacity_ - size);
        try {
          free_[size_class].push_back({memory, ++clock_});
          ASAN_POISON_MEMORY_REGION(memory, size);
          cached_ += size;
          return;
        } catch (...) {  // no memory for the list: the block goes back instead
        }
      }
    }
    system_release(memory, size);
  }

  std::size_t trim() noexcept {
    const std::lock_guard lock(mutex_);
    const std::size_t before = cached_;
    shrink_to(0);
    return before;
  }

  void set_capacity(std::size_t bytes) noexcept {
    const std::lock_guard lock(mutex_);
    capacity_ = bytes;
    shrink_to(capacity_);
  }

  PoolStats stats() {
    const std::lock_guard lock(mutex_);
    return {capacity_, cached_, live_bytes_, peak_live_, hits_, misses_};
  }

  std::mutex& mutex() { return mutex_; }

 private:
  struct Kept {
    void* memory;
    std::uint64_t since;
  };

  void count_live(std::size_t size) {
    live_bytes_ += size;
    if (live_bytes_ > peak_live_) peak_live_ = live_bytes_;
  }

  // Returns the longest-kept blocks until at most `target` bytes are kept. The scan over the lists'
  // fronts is short next to the unmapping that follows it.
  void shrink_to(std::size_t target) noexcept {
    while (cached_ > target) {
      std::vector<Kept>* oldest = nullptr;
      std::size_t size = 0;
      for (unsigned c = 0; c < kClasses; ++c) {
        auto& kept = free_[c];
        if (!kept.empty() && (oldest == nullptr || kept.front().since < oldest->front().since)) {
          oldest = &kept;
          size = class_bytes(c);
        }
      }
      void* memory = oldest->front().memory;
      oldest->erase(oldest->begin());
      cached_ -= size;
      ASAN_UNPOISON_MEMORY_REGION(memory, size);
      system_release(memory, size);
    }
  }

  std::mutex mutex_;
  std::array<std::vector<Kept>, kClasses> free_;
  std::unordered_map<void*, unsigned> live_;  // to size class
  std::size_t capacity_, cached_ = 0, live_bytes_ = 0, peak_live_ = 0;
  std::uint64_t clock_ = 0, hits_ = 0, misses_ = 0;
};

Pool* make_pool();

// Never destroyed: arrays may be released after the destructors of static objects have run.
Pool& pool() {
  static Pool* const instance = make_pool();
  return *instance;
}

Pool* make_pool() {
  Pool* made = new Pool(configured_capacity());
#if defined(__unix__) || defined(__APPLE__)
  // A fork while another thread is inside the pool would leave the child's copy locked for ever.
  pthread_atfork([] { pool().mutex().lock(); }, [] { pool().mutex().unlock(); },
                 [] { pool().mutex().unlock(); });
#endif
  return made;
}

}  // namespace

void* pool_allocate(std::size_t bytes) { return pool().allocate(bytes); }

void pool_release(void* memory) noexcept {
  if (memory != nullptr) pool().release(memory);
}

std::size_t pool_trim() noexcept { return pool().trim(); }

PoolStats pool_stats() { return pool().stats(); }

void set_pool_capacity(std::size_t bytes) { pool().set_capacity(bytes); }

std::size_t pool_class_bytes(std::size_t bytes) { return class_bytes(class_of(bytes)); }

}  // namespace kernelmill
