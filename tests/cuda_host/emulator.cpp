// The scheduler behind cuda_runtime.h: one fiber per CUDA thread.

#include <csetjmp>     // switching between fibers
#include <ucontext.h>  // making them

#include <cuda_pipeline.h>
#include <cuda_runtime.h>

#include <cstdlib>    // std::getenv
#include <memory>     // std::unique_ptr
#include <mutex>      // std::mutex
#include <random>     // std::mt19937
#include <stdexcept>  // std::runtime_error
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

// Runs one thread after another: a thread keeps its fiber only while it waits.
struct Fiber {
  ucontext_t context;  // to start it; from then on `resume`: swapcontext asks the kernel each time
  jmp_buf resume;
  bool started = false;
  std::unique_ptr<char[]> stack = std::make_unique<char[]>(kStack);
};

struct Thread {
  unsigned number = 0;
  State state = State::done;
  Fiber* fiber = nullptr;
  std::vector<Copy> copies;       // that have not landed
  std::vector<std::size_t> ends;  // of those that were committed, by group
};

std::vector<std::unique_ptr<Fiber>> fibers;
std::vector<Fiber*> idle;
std::vector<Thread> threads(kMostThreads);
std::vector<Thread*> order;  // of this round
std::size_t place = 0;       // of the next thread in it
Thread* current = nullptr;
jmp_buf scheduler;
const std::function<void()>* body = nullptr;
unsigned char slots[kMostThreads / 32][32][16];

std::mt19937& generator() {
  static std::mt19937 made([] {
    const char* seed = std::getenv("KERNELMILL_EMULATOR_SEED");
    return seed == nullptr ? 0u : static_cast<unsigned>(std::atoi(seed));
  }());
  return made;
}

void run_current() {
  threadIdx = dim3(current->number);
  (*body)();
  current->state = State::done;
}

// What a fiber does: threads that have not begun, as long as one is next, without the scheduler.
void run_threads() {
  while (true) {
    run_current();
    Fiber* const self = current->fiber;
    while (place < order.size() && order[place]->state == State::ready && !order[place]->fiber) {
      current->fiber = nullptr;
      current = order[place++];
      current->fiber = self;
      run_current();
    }
    if (_setjmp(self->resume) == 0) _longjmp(scheduler, 1);
  }
}

void wait(State state) {
  Fiber* const self = current->fiber;
  current->state = state;
  if (_setjmp(self->resume) == 0) _longjmp(scheduler, 1);
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

// Runs a thread, and others behind it, until one waits or all have ended. Nothing with a destructor
// may live in this frame.
void resume(Thread* thread) {
  current = thread;
  if (current->fiber == nullptr) current->fiber = idle_fiber();
  if (_setjmp(scheduler) != 0) {
    if (current->state == State::done) {
      idle.push_back(current->fiber);
      current->fiber = nullptr;
    }
    return;
  }
  if (current->fiber->started) _longjmp(current->fiber->resume, 1);
  current->fiber->started = true;
  setcontext(&current->fiber->context);
}

// Lets everyone go on who waits with all others of the group that can still come.
bool release(unsigned begin, unsigned end, State barrier) {
  bool any = false;
  for (unsigned t = begin; t < end; ++t) {
    const State state = threads[t].state;
    if (state == barrier) any = true;
    if (state != barrier && state != State::done) return false;
  }
  if (!any) return false;
  for (unsigned t = begin; t < end; ++t) {
    if (threads[t].state == barrier) threads[t].state = State::ready;
  }
  return true;
}

void run_block(unsigned count) {
  order.resize(count);
  for (unsigned t = 0; t < count; ++t) {
    Thread& thread = threads[t];
    thread.number = t;
    thread.state = State::ready;
    thread.fiber = nullptr;  // lost where a block failed
    thread.copies.clear();
    thread.ends.clear();
    order[t] = &thread;
  }
  while (true) {
    std::shuffle(order.begin(), order.end(), generator());
    bool ran = false, left = false;
    for (place = 0; place < count;) {
      Thread* const thread = order[place++];
      if (thread->state != State::ready) continue;
      resume(thread);
      ran = true;
    }
    for (unsigned t = 0; t < count; ++t) left = left || threads[t].state != State::done;
    if (!left) return;
    bool released = false;
    for (unsigned w = 0; w < count; w += 32) {
      const bool warp = release(w, std::min(count, w + 32), State::at_warp_barrier);
      released = released || warp;
    }
    if (!released) released = release(0, count, State::at_block_barrier);
    if (!released && !ran) throw std::runtime_error("emulator: a barrier was not reached by all");
  }
}

}  // namespace

cudaError_t run(dim3 grid, dim3 block, const std::function<void()>& kernel) {
  const unsigned count = block.x;
  if (count == 0 || count > kMostThreads || grid.x == 0 || grid.x > 2147483647u ||
      grid.y == 0 || grid.y > 65535u) {
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

void block_barrier() { wait(State::at_block_barrier); }
void warp_barrier() { wait(State::at_warp_barrier); }
int lane() { return static_cast<int>(current->number % 32); }
unsigned char* warp_slot(int at) { return slots[current->number / 32][at]; }

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
  auto& [number, state, fiber, copies, ends] = *emulator::current;
  if (ends.size() <= groups) return;
  const std::size_t landed = ends[ends.size() - groups - 1];
  for (std::size_t c = 0; c < landed; ++c) std::memcpy(copies[c].to, copies[c].from, copies[c].bytes);
  copies.erase(copies.begin(), copies.begin() + static_cast<std::ptrdiff_t>(landed));
  ends.erase(ends.begin(), ends.end() - static_cast<std::ptrdiff_t>(groups));
  for (std::size_t& end : ends) end -= landed;
}
