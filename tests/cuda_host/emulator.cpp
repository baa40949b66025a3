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

struct Fiber {
  ucontext_t context;  // to start it; from then on `resume`: swapcontext asks the kernel each time
  jmp_buf resume;
  bool started = false;
  std::unique_ptr<char[]> stack = std::make_unique<char[]>(kStack);
  State state = State::done;
  unsigned thread = 0;
  std::vector<Copy> open;                 // not committed
  std::vector<std::vector<Copy>> groups;  // committed, oldest first
};

std::vector<std::unique_ptr<Fiber>> fibers;
Fiber* current = nullptr;
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

void start() {
  (*body)();
  current->state = State::done;
  _longjmp(scheduler, 1);
}

void wait(State state) {
  Fiber* const self = current;
  self->state = state;
  if (_setjmp(self->resume) == 0) _longjmp(scheduler, 1);
}

// Runs a fiber until it waits or ends. Nothing with a destructor may live in this frame.
void resume(Fiber* fiber) {
  current = fiber;
  if (_setjmp(scheduler) != 0) return;
  if (fiber->started) _longjmp(fiber->resume, 1);
  fiber->started = true;
  setcontext(&fiber->context);
}

// Lets everyone go on who waits with all others of the group that can still come.
bool release(unsigned begin, unsigned end, State barrier) {
  bool any = false;
  for (unsigned t = begin; t < end; ++t) {
    const State state = fibers[t]->state;
    if (state == barrier) any = true;
    if (state != barrier && state != State::done) return false;
  }
  if (!any) return false;
  for (unsigned t = begin; t < end; ++t) {
    if (fibers[t]->state == barrier) fibers[t]->state = State::ready;
  }
  return true;
}

void run_block(unsigned threads) {
  std::vector<unsigned> order(threads);
  for (unsigned t = 0; t < threads; ++t) {
    order[t] = t;
    Fiber& fiber = *fibers[t];
    fiber.thread = t;
    fiber.state = State::ready;
    fiber.started = false;
    fiber.open.clear();
    fiber.groups.clear();
    getcontext(&fiber.context);
    fiber.context.uc_stack.ss_sp = fiber.stack.get();
    fiber.context.uc_stack.ss_size = kStack;
    fiber.context.uc_link = nullptr;
    makecontext(&fiber.context, start, 0);
  }
  while (true) {
    std::shuffle(order.begin(), order.end(), generator());
    bool ran = false, left = false;
    for (unsigned t : order) {
      Fiber& fiber = *fibers[t];
      if (fiber.state == State::ready) {
        threadIdx = dim3(t);
        resume(&fiber);
        ran = true;
      }
      left = left || fiber.state != State::done;
    }
    if (!left) return;
    bool released = false;
    for (unsigned w = 0; w < threads; w += 32) {
      const bool warp = release(w, std::min(threads, w + 32), State::at_warp_barrier);
      released = released || warp;
    }
    if (!released) released = release(0, threads, State::at_block_barrier);
    if (!released && !ran) throw std::runtime_error("emulator: a barrier was not reached by all");
  }
}

}  // namespace

cudaError_t run(dim3 grid, dim3 block, const std::function<void()>& kernel) {
  const unsigned threads = block.x;
  if (threads == 0 || threads > kMostThreads || grid.x == 0 || grid.x > 2147483647u ||
      grid.y == 0 || grid.y > 65535u) {
    return cudaErrorInvalidConfiguration;
  }
  static std::mutex one_at_a_time;  // several threads may call ops
  const std::lock_guard lock(one_at_a_time);
  while (fibers.size() < threads) fibers.push_back(std::make_unique<Fiber>());
  gridDim = grid;
  blockDim = block;
  body = &kernel;
  for (unsigned y = 0; y < grid.y; ++y) {
    for (unsigned x = 0; x < grid.x; ++x) {
      blockIdx = dim3(x, y);
      run_block(threads);
    }
  }
  return cudaSuccess;
}

void block_barrier() { wait(State::at_block_barrier); }
void warp_barrier() { wait(State::at_warp_barrier); }
int lane() { return static_cast<int>(current->thread % 32); }
unsigned char* warp_slot(int at) { return slots[current->thread / 32][at]; }

}  // namespace emulator

void __pipeline_memcpy_async(void* to, const void* from, std::size_t bytes) {
  const auto misaligned = [bytes](const void* p) {
    return reinterpret_cast<std::size_t>(p) % bytes != 0;
  };
  if ((bytes != 4 && bytes != 8 && bytes != 16) || misaligned(to) || misaligned(from)) {
    throw std::runtime_error("emulator: cp.async needs 4, 8 or 16 aligned bytes");
  }
  emulator::current->open.push_back({to, from, bytes});
}

void __pipeline_commit() {
  emulator::current->groups.push_back(std::move(emulator::current->open));
  emulator::current->open.clear();
}

void __pipeline_wait_prior(std::size_t groups) {
  auto& waiting = emulator::current->groups;
  while (waiting.size() > groups) {
    for (const auto& copy : waiting.front()) std::memcpy(copy.to, copy.from, copy.bytes);
    waiting.erase(waiting.begin());
  }
}
