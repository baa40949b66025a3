// The scheduler behind cuda_runtime.h: one fiber per CUDA thread.

#include <ucontext.h>  // making fibers

#include <cuda_pipeline.h>
#include <cuda_runtime.h>

#include <array>      // jumps, warps
#include <cstdint>    // std::uint64_t
#include <cstdlib>    // std::getenv
#include <memory>     // std::unique_ptr
#include <mutex>      // std::mutex
#include <stdexcept>  // std::runtime_error
#include <utility>    // std::swap
#include <vector>     // fibers

dim3 threadIdx, blockIdx, blockDim, gridDim;

namespace emulator {
namespace {

constexpr std::size_t kStack = 128 * 1024;
constexpr unsigned kMostThreads = 1024;

struct Copy {
  void* to;
  const void* from;
  std::size_t bytes;
};

enum class State { ready, at_block_barrier, at_warp_barrier, done };

// The compiler's own jumps: those of <csetjmp> take half of the time of all emulation.
using Jump = std::array<void*, 5>;
#define KERNELMILL_STAY(jump) (__builtin_setjmp((jump).data()) == 0)
[[noreturn]] inline void go(Jump& jump) { __builtin_longjmp(jump.data(), 1); }

// Runs one thread after another: a thread keeps its fiber only while it waits.
struct Fiber {
  ucontext_t context;  // to start it; from then on `resume`
  Jump resume;
  bool started = false;
  std::unique_ptr<char[]> stack = std::make_unique<char[]>(kStack);
};

struct Thread {
  unsigned number = 0, exchanges = 0;
  State state = State::done;
  Fiber* fiber = nullptr;
  std::vector<Copy> copies;       // that have not landed
  std::vector<std::size_t> ends;  // of those that were committed, by group
};

// How many of a group are where.
struct Group {
  unsigned size = 0, waiting = 0, done = 0;
  bool complete() const { return waiting > 0 && waiting + done == size; }
};

std::vector<std::unique_ptr<Fiber>> fibers;
std::vector<Fiber*> idle;
std::vector<Thread> threads(kMostThreads);
std::array<Group, kMostThreads / 32> warps;
Group block;
std::vector<Thread*> order;  // of this round
std::size_t place = 0;       // of the next thread in it
Thread* current = nullptr;
Jump scheduler;
const std::function<void()>* body = nullptr;
unsigned char slots[2][kMostThreads][16];

// xorshift64*, started from the seed.
unsigned below(std::size_t bound) {
  static std::uint64_t state = [] {
    const char* seed = std::getenv("KERNELMILL_EMULATOR_SEED");
    return 0x9E3779B97F4A7C15u + (seed == nullptr ? 0u : static_cast<unsigned>(std::atoi(seed)));
  }();
  state ^= state >> 12;
  state ^= state << 25;
  state ^= state >> 27;
  const std::uint64_t high = (state * 0x2545F4914F6CDD1Du) >> 32;
  return static_cast<unsigned>((high * bound) >> 32);
}

void run_current() {
  threadIdx = dim3(current->number);
  (*body)();
  current->state = State::done;
  ++block.done;
  ++warps[current->number / 32].done;
}

// The next thread of the round that can go on; null where all have been asked.
Thread* next() {
  while (place < order.size() && order[place]->state != State::ready) ++place;
  return place < order.size() ? order[place] : nullptr;
}

// Leaves a fiber that can be resumed: to a thread that waits in another one, or to the scheduler.
[[noreturn]] void leave() {
  Thread* const thread = next();
  if (thread == nullptr || thread->fiber == nullptr) go(scheduler);
  ++place;
  current = thread;
  go(thread->fiber->resume);
}

// What a fiber does: threads that have not begun, as long as one is next.
[[gnu::noinline]] void run_threads() {
  while (true) {
    run_current();
    Fiber* const self = current->fiber;
    for (Thread* thread = next(); thread != nullptr && thread->fiber == nullptr; thread = next()) {
      ++place;
      current->fiber = nullptr;
      current = thread;
      current->fiber = self;
      run_current();
    }
    current->fiber = nullptr;
    idle.push_back(self);
    if (KERNELMILL_STAY(self->resume)) leave();
  }
}

[[gnu::noinline]] void wait(State state, Group& group) {
  current->state = state;
  ++group.waiting;
  if (KERNELMILL_STAY(current->fiber->resume)) leave();
  threadIdx = dim3(current->number);
}

Fiber* idle_fiber() {
  if (idle.empty()) {
    fibers.push_back(std::make_unique<Fiber>());
    Fiber* const made = fibers.back().get();
    getcontext(&made->context);
    made->context.uc_stack.ss_sp = made->stack.get();
    made->context.uc_stack.ss_size = kStack;
    made->context.uc_link = nullptr;
    makecontext(&made->context, run_threads, 0);
    return made;
  }
  Fiber* const taken = idle.back();
  idle.pop_back();
  return taken;
}

// Runs threads until one has to begin in a fiber of its own, or all have been asked. Nothing with a
// destructor may live in this frame.
[[gnu::noinline]] void resume(Thread* thread) {
  current = thread;
  if (current->fiber == nullptr) current->fiber = idle_fiber();
  if (!KERNELMILL_STAY(scheduler)) return;
  if (current->fiber->started) go(current->fiber->resume);
  current->fiber->started = true;
  setcontext(&current->fiber->context);
}

// Lets everyone go on who waits with all others of the group that can still come.
bool release(Group& group, unsigned begin, State barrier) {
  if (!group.complete()) return false;
  for (unsigned t = begin; t < begin + group.size; ++t) {
    if (threads[t].state == barrier) threads[t].state = State::ready;
  }
  group.waiting = 0;
  return true;
}

void run_block(unsigned count) {
  order.resize(count);
  block = {count};
  for (unsigned w = 0; w < count; w += 32) warps[w / 32] = {std::min(count - w, 32u)};
  for (unsigned t = 0; t < count; ++t) {
    Thread& thread = threads[t];
    thread.number = t;
    thread.exchanges = 0;
    thread.state = State::ready;
    thread.fiber = nullptr;  // lost where a block failed
    thread.copies.clear();
    thread.ends.clear();
    order[t] = &thread;
  }
  while (true) {
    for (std::size_t t = count; t > 1; --t) std::swap(order[t - 1], order[below(t)]);
    place = 0;
    while (Thread* const thread = next()) {
      ++place;
      resume(thread);
    }
    if (block.done == count) return;
    bool released = false;
    for (unsigned w = 0; w < count; w += 32) {
      const bool warp = release(warps[w / 32], w, State::at_warp_barrier);
      released = released || warp;
    }
    if (!released && !release(block, 0, State::at_block_barrier)) {
      throw std::runtime_error("emulator: a barrier was not reached by all");
    }
  }
}

}  // namespace

cudaError_t run(dim3 grid, dim3 block, const std::function<void()>& kernel) {
  const unsigned count = block.x;
  if (count == 0 || count > kMostThreads || grid.x == 0 || grid.x > 2147483647u || grid.y == 0 ||
      grid.y > 65535u) {
    return cudaErrorInvalidConfiguration;
  }
  static std::mutex one_at_a_time;  // several threads may call ops
  const std::lock_guard lock(one_at_a_time);
  gridDim = grid;
  blockDim = block;
  body = &kernel;
  for (unsigned y = 0; y < grid.y; ++y) {
    for (unsigned x = 0; x < grid.x; ++x) {
      blockIdx = dim3(x, y);
      run_block(count);
    }
  }
  return cudaSuccess;
}

void block_barrier() { wait(State::at_block_barrier, block); }
void warp_barrier() { wait(State::at_warp_barrier, warps[current->number / 32]); }
int lane() { return static_cast<int>(current->number % 32); }
// Two sets take turns: nobody writes to one again before all have met at the other.
unsigned char* warp_slot(int at) {
  return slots[current->exchanges % 2][current->number / 32 * 32 + static_cast<unsigned>(at)];
}
void exchanged() { ++current->exchanges; }

}  // namespace emulator

void __pipeline_memcpy_async(void* to, const void* from, std::size_t bytes) {
  const auto misaligned = [bytes](const void* p) {
    return reinterpret_cast<std::size_t>(p) % bytes != 0;
  };
  if ((bytes != 4 && bytes != 8 && bytes != 16) || misaligned(to) || misaligned(from)) {
    throw std::runtime_error("emulator: cp.async needs 4, 8 or 16 aligned bytes");
  }
  emulator::current->copies.push_back({to, from, bytes});
}

void __pipeline_commit() { emulator::current->ends.push_back(emulator::current->copies.size()); }

void __pipeline_wait_prior(std::size_t groups) {
  auto& copies = emulator::current->copies;
  auto& ends = emulator::current->ends;
  if (ends.size() <= groups) return;
  const std::size_t landed = ends[ends.size() - groups - 1];
  for (std::size_t c = 0; c < landed; ++c)
    std::memcpy(copies[c].to, copies[c].from, copies[c].bytes);
  copies.erase(copies.begin(), copies.begin() + static_cast<std::ptrdiff_t>(landed));
  ends.erase(ends.begin(), ends.end() - static_cast<std::ptrdiff_t>(groups));
  for (std::size_t& end : ends) end -= landed;
}
