// One pool of helper threads, made at first use and deliberately never destroyed.
//
// Life of a loop. The caller keeps a Job on its stack and claims chunks from its counter. When the
// pool is free it also publishes the job: it stores the pointer, opens the *gate* and wakes
// helpers. A helper joins by raising the count inside the gate (one compare-and-swap that fails
// once the gate is closed), claims chunks, and lowers the count when it leaves. When nothing is
// left to claim, the caller closes the gate and waits for the count to reach zero: from then on no
// helper can hold the pointer, and the job may leave the stack. A helper that wakes too late finds
// the gate shut, so a small loop never waits for a thread that is still waking up.
//
// Why the pool is leaked. Joining threads in a static destructor hangs where the threads are gone
// (after fork, under Windows' DLL unloading) and races with other destructors; a sleeping thread
// costs nothing at exit, and it touches only memory that is never freed. The shared library pins
// itself in memory for the same reason: helpers must not outlive their code when it is dlclosed.
//
// Fork. Only the forking thread exists in the child. The child forgets the old pool (whatever state
// its words are in) and makes a new one when it first needs it.
#include "core/parallel.hpp"

#include "core/cpu_count.hpp"  // affinity_threads, cgroup_threads

#include <atomic>     // std::atomic
#include <chrono>     // std::chrono::steady_clock
#include <cstdint>    // std::uint32_t
#include <limits>     // std::numeric_limits
#include <mutex>      // std::mutex
#include <stdexcept>  // std::runtime_error
#include <thread>     // std::thread

#if defined(__linux__)
#include <linux/futex.h>  // FUTEX_WAIT_PRIVATE, FUTEX_WAKE_PRIVATE
#include <sched.h>        // sched_getcpu, sched_setaffinity
#include <sys/syscall.h>  // SYS_futex, SYS_gettid
#include <time.h>         // timespec
#include <unistd.h>       // syscall
#else
#include <condition_variable>  // std::condition_variable
#endif
#if defined(__unix__) || defined(__APPLE__)
#include <dlfcn.h>    // dladdr, dlopen
#include <pthread.h>  // pthread_atfork, pthread_sigmask
#include <signal.h>   // sigfillset
#endif
#if defined(__SSE2__)
#include <immintrin.h>  // _mm_getcsr, _mm_setcsr, _mm_pause
#else
#include <cfenv>  // std::fegetenv, std::fesetenv
#endif

namespace kernelmill {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::int64_t kPollNanoseconds = 20'000'000;
constexpr int kMostThreads = 2048;  // what the gate's 12-bit counts can hold, with room

// How long an idle helper looks for the next job before it sleeps, and a caller for its last
// helper.
constexpr std::int64_t kHelperSpinNanoseconds = 100'000;
constexpr std::int64_t kCallerSpinNanoseconds = 50'000;

std::int64_t now_nanoseconds() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(Clock::now().time_since_epoch())
      .count();
}

void cpu_relax() {
#if defined(__SSE2__)
  _mm_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Looks for a moment before the caller of this goes to sleep. It yields between looks: on a busy
// machine the thread it waits for may stand in the queue of this very core (a woken helper usually
// lands on its waker's), and spinning would keep it there.
template <class Ready>
void look_until(std::int64_t nanoseconds, Ready&& ready) {
  const std::int64_t until = now_nanoseconds() + nanoseconds;
  do {
    for (int i = 0; i < 32; ++i) {
      if (ready()) return;
      cpu_relax();
    }
    std::this_thread::yield();
  } while (now_nanoseconds() < until);
}

// The floating-point mode (flush-to-zero, rounding). Helpers take the caller's: a library built
// with -ffast-math may have switched one thread to flush-to-zero and not the others, and then the
// bits of a result would depend on which thread ran a chunk.
#if defined(__SSE2__)
using FloatMode = unsigned;
FloatMode float_mode() { return _mm_getcsr() & ~0x3fu; }  // without the sticky exception flags
void set_float_mode(FloatMode mode) { _mm_setcsr(mode); }
#else
using FloatMode = std::fenv_t;
FloatMode float_mode() {
  FloatMode mode{};
  std::fegetenv(&mode);
  return mode;
}
void set_float_mode(const FloatMode& mode) { std::fesetenv(&mode); }
#endif

// Sleeping on a word: returns when it no longer holds `expected`, on a wake, on a time-out
// (negative: none) or for no reason.
#if defined(__linux__)
struct Parking {
  std::atomic<std::uint32_t> word{0};
  static_assert(sizeof(std::atomic<std::uint32_t>) == 4);

  void wait(std::uint32_t expected, std::int64_t nanoseconds) {
    timespec limit{static_cast<time_t>(nanoseconds / 1'000'000'000),
                   static_cast<long>(nanoseconds % 1'000'000'000)};
    syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, expected, nanoseconds < 0 ? nullptr : &limit);
  }
  void wake(int count) { syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, count); }
};
#else
struct Parking {
  std::atomic<std::uint32_t> word{0};
  std::mutex mutex;
  std::condition_variable changed;

  void wait(std::uint32_t expected, std::int64_t nanoseconds) {
    std::unique_lock lock(mutex);
    const auto differs = [&] { return word.load() != expected; };
    if (nanoseconds < 0) {
      changed.wait(lock, differs);
    } else {
      changed.wait_for(lock, std::chrono::nanoseconds(nanoseconds), differs);
    }
  }
  void wake(int) {
    {
      std::lock_guard lock(mutex);
    }  // whoever has compared is now asleep and hears the call
    changed.notify_all();
  }
};
#endif

struct Pool;

// One loop. Lives on the stack of its caller.
struct Job {
  detail::ChunkFunction function;
  void* body;
  index_t n;
  index_t grain;
  index_t chunks;
  FloatMode mode{};
  Pool* pool = nullptr;   // the pool whose gate this job holds, if any
  bool orphaned = false;  // the process forked inside the loop: its helpers are gone
  std::atomic<bool> cancelled{false};
  // Chunks after this one are skipped. Chunks before it always run: that makes the lowest throwing
  // chunk the same at any thread count.
  std::atomic<index_t> last{std::numeric_limits<index_t>::max()};
  std::mutex error_mutex{};
  index_t error_chunk = std::numeric_limits<index_t>::max();
  std::exception_ptr error{};
  alignas(64) std::atomic<index_t> next{0};  // own cache line: every claim writes it

  // The next chunk to run, or -1.
  index_t claim() {
    if (next.load(std::memory_order_relaxed) >= chunks) return -1;
    const index_t chunk = next.fetch_add(1, std::memory_order_relaxed);
    return chunk < chunks && chunk <= last.load(std::memory_order_relaxed) ? chunk : -1;
  }

  void execute(index_t chunk) noexcept {
    try {
      function(body, chunk, chunk * grain, std::min(n, (chunk + 1) * grain));
    } catch (...) {
      std::lock_guard lock(error_mutex);
      if (chunk < error_chunk) {
        error_chunk = chunk;
        error = std::current_exception();
        if (!cancelled.load(std::memory_order_relaxed)) {
          last.store(chunk, std::memory_order_relaxed);
        }
      }
    }
  }

  void cancel() {
    std::lock_guard lock(error_mutex);
    cancelled.store(true, std::memory_order_relaxed);
    last.store(-1, std::memory_order_relaxed);
  }
};

// What a thread knows about itself. Trivial, so nothing runs at thread exit.
struct ThreadState {
  Job* job = nullptr;  // the loop this thread is inside of
  bool helper = false;
  std::int64_t last_poll = 0;
};
constinit thread_local ThreadState self;

constinit std::atomic<bool (*)()> interrupt_poll{nullptr};
constinit std::atomic<int> chosen_limit{0};      // 0: not chosen
constinit std::atomic<int> cached_available{0};  // 0: not yet evaluated

// Asks the poll function when it is due. Only for threads that are not helpers.
bool interrupt_pending() {
  bool (*const poll)() = interrupt_poll.load(std::memory_order_relaxed);
  if (poll == nullptr) return false;
  const std::int64_t now = now_nanoseconds();
  if (now - self.last_poll < kPollNanoseconds) return false;
  self.last_poll = now;
  return poll();
}

// The gate: bit 31 open, bit 30 the caller sleeps, bits 12-23 helpers wanted, bits 0-11 helpers in.
constexpr std::uint32_t kOpen = 1u << 31;
constexpr std::uint32_t kCallerSleeps = 1u << 30;
constexpr std::uint32_t kCount = 0xfff;
constexpr int kWantedShift = 12;

#if defined(__linux__)
// A helper as the kernel knows it, and the CPU on which it last looked around (-1: it sleeps).
struct Placed {
  std::atomic<int> thread{0};
  std::atomic<int> cpu{-1};

  void look() {
    const int now = sched_getcpu();
    if (cpu.load(std::memory_order_relaxed) != now) cpu.store(now, std::memory_order_relaxed);
  }
};

// Keeps some helpers off the CPU of their caller while it wakes them, and sends away one that is
// awake there. The kernel searches the fewer CPUs for an idle one the fewer there are, and on two
// it often queues a helper behind its caller for milliseconds, where yielding brings neither
// forward: products of 256 x 256 then ran at the speed of one core for up to 40 calls (Linux 6.18).
// From where they wake the threads may go anywhere again.
class WokenElsewhere {
 public:
  static constexpr int most = 3;  // threads; with more CPUs the kernel finds an idle one by itself

  // Of `count` helpers, all or only those that were last seen on this CPU.
  WokenElsewhere(const Placed* helpers, int count, bool all) : count_(count), helpers_(helpers) {
    const int here = sched_getcpu();
    for (int i = 0; i < count_; ++i) {
      moved_[i] = false;
      const int thread = helpers_[i].thread;
      const bool known = here >= 0 && thread != 0;  // not before it runs: 0 is this thread
      if (!known || !(all || helpers_[i].cpu.load(std::memory_order_relaxed) == here)) continue;
      if (sched_getaffinity(thread, sizeof(cpu_set_t), &before_[i]) != 0) continue;
      cpu_set_t elsewhere = before_[i];
      CPU_CLR(static_cast<unsigned>(here), &elsewhere);
      if (CPU_COUNT(&elsewhere) == 0) continue;
      moved_[i] = sched_setaffinity(thread, sizeof(cpu_set_t), &elsewhere) == 0;
    }
  }
  ~WokenElsewhere() {
    for (int i = 0; i < count_; ++i) {
      if (moved_[i]) sched_setaffinity(helpers_[i].thread, sizeof(cpu_set_t), &before_[i]);
    }
  }
  WokenElsewhere(const WokenElsewhere&) = delete;
  WokenElsewhere& operator=(const WokenElsewhere&) = delete;

 private:
  int count_;
  const Placed* helpers_;
  bool moved_[most];
  cpu_set_t before_[most];
};
#endif

struct Pool {
  alignas(64) Parking gate;
  Job* job = nullptr;                          // valid while inside the gate
  alignas(64) std::atomic<bool> taken{false};  // some caller owns the gate
  alignas(64) std::atomic<int> callers{0};     // threads inside a loop of several chunks
  alignas(64) Parking signal;                  // bumped whenever helpers should look at the gate
  std::atomic<int> sleepers{0};
  int helpers = 0;  // threads made so far; belongs to the owner of the gate
#if defined(__linux__)
  Placed placed[WokenElsewhere::most];  // the first helpers
#endif

  void work(int number);
  void leave();
  bool try_join();
  bool surplus_leaves();
  void call_helpers(int wanted);
  void call_one();
  void make_helpers(int wanted);
  bool try_publish(Job& job);
  void close(Job& job, bool may_poll);
};

constinit std::atomic<Pool*> current_pool{nullptr};

// True when threads have cores of their own, so that looking around for a moment harms nobody.
bool may_spin() { return thread_limit() <= available_threads(); }

// A helper may enter or stay while callers and helpers together are within the limit.
bool Pool::try_join() {
  std::uint32_t seen = gate.word.load(std::memory_order_relaxed);
  while (true) {
    const std::uint32_t inside = seen & kCount;
    if ((seen & kOpen) == 0 || inside >= ((seen >> kWantedShift) & kCount)) return false;
    if (callers.load(std::memory_order_relaxed) + static_cast<int>(inside) + 1 > thread_limit()) {
      return false;
    }
    if (gate.word.compare_exchange_weak(seen, seen + 1, std::memory_order_acq_rel,
                                        std::memory_order_relaxed)) {
      return true;
    }
  }
}

bool Pool::surplus_leaves() {
  const int others = callers.load(std::memory_order_relaxed);
  const int limit = thread_limit();
  std::uint32_t seen = gate.word.load(std::memory_order_relaxed);
  while (others + static_cast<int>(seen & kCount) > limit) {
    if (gate.word.compare_exchange_weak(seen, seen - 1, std::memory_order_acq_rel,
                                        std::memory_order_relaxed)) {
      if ((seen & kCount) == 1 && (seen & kCallerSleeps) != 0) gate.wake(1);
      return true;
    }
  }
  return false;
}

void Pool::leave() {
  const std::uint32_t before = gate.word.fetch_sub(1, std::memory_order_acq_rel);
  if ((before & kCount) == 1 && (before & kCallerSleeps) != 0) gate.wake(1);
}

// The life of a helper.
void Pool::work([[maybe_unused]] int number) {
  self.helper = true;
#if defined(__linux__)
  Placed* const place = number < WokenElsewhere::most ? &placed[number] : nullptr;
  if (place != nullptr) place->thread = static_cast<int>(syscall(SYS_gettid));
#endif
  while (true) {
    const std::uint32_t heard = signal.word.load(std::memory_order_seq_cst);
    if (try_join()) {
      Job& mine = *job;
      self.job = &mine;
      set_float_mode(mine.mode);
      bool inside = true;
      for (index_t chunk = mine.claim(); chunk >= 0; chunk = mine.claim()) {
        mine.execute(chunk);
        if (surplus_leaves()) {
          inside = false;
          break;
        }
      }
      self.job = nullptr;
      if (inside) leave();
    }
    if (may_spin()) {
      look_until(kHelperSpinNanoseconds, [&] {
#if defined(__linux__)
        if (place != nullptr) place->look();
#endif
        return signal.word.load(std::memory_order_relaxed) != heard;
      });
    }
    // Announced before the kernel compares the word: a caller that bumps the word either sees this
    // sleeper and wakes it, or bumped before the comparison, which then fails.
    sleepers.fetch_add(1, std::memory_order_seq_cst);
#if defined(__linux__)
    if (place != nullptr) place->cpu.store(-1, std::memory_order_relaxed);  // in nobody's way
#endif
    if (signal.word.load(std::memory_order_seq_cst) == heard) signal.wait(heard, -1);
    sleepers.fetch_sub(1, std::memory_order_seq_cst);
  }
}

void Pool::call_helpers(int wanted) {
  signal.word.fetch_add(1, std::memory_order_seq_cst);
  const int asleep = sleepers.load(std::memory_order_seq_cst);
  const int awake = helpers - asleep;  // those look at the gate without being called
  const bool wake = wanted > awake && asleep > 0;
#if defined(__linux__)
  const bool few = helpers <= WokenElsewhere::most && may_spin();
  const WokenElsewhere elsewhere(placed, few ? helpers : 0, wake);
#endif
  if (wake) signal.wake(wanted - std::max(awake, 0));
}

void Pool::call_one() {
  signal.word.fetch_add(1, std::memory_order_seq_cst);
  if (sleepers.load(std::memory_order_seq_cst) > 0) signal.wake(1);
}

void Pool::make_helpers(int wanted) {
#if defined(__unix__) || defined(__APPLE__)
  // Signals are for the threads of the application: a helper must not be the one to run its
  // handler.
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
#endif
  try {
    while (helpers < wanted) {
      std::thread thread([this, number = helpers] { work(number); });
#if defined(__linux__)
      const std::string name = "kernelmill-" + std::to_string(helpers + 1);
      pthread_setname_np(thread.native_handle(), name.c_str());
#endif
      thread.detach();
      ++helpers;
    }
  } catch (const std::exception&) {
    // The system gives no more threads: the loop runs with those there are.
  }
#if defined(__unix__) || defined(__APPLE__)
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
#endif
}

// Opens the gate for `published` if no other loop holds it and there is work for a helper.
bool Pool::try_publish(Job& published) {
  const index_t left = published.chunks - published.next.load(std::memory_order_relaxed);
  const int limit = std::min(thread_limit(), kMostThreads);
  if (left < 2 || callers.load(std::memory_order_relaxed) >= limit) return false;
  if (taken.load(std::memory_order_relaxed) || taken.exchange(true, std::memory_order_acquire)) {
    return false;
  }
  const int wanted = static_cast<int>(std::min<index_t>(limit, left)) - 1;
  if (helpers < wanted) make_helpers(wanted);
  job = &published;
  published.pool = this;
  published.mode = float_mode();
  gate.word.store(kOpen | static_cast<std::uint32_t>(wanted) << kWantedShift,
                  std::memory_order_release);
  call_helpers(wanted);
  return true;
}

// Shuts the gate and waits until the last helper has left.
void Pool::close(Job& published, bool may_poll) {
  std::uint32_t seen = gate.word.fetch_and(~kOpen, std::memory_order_acq_rel) & ~kOpen;
  if ((seen & kCount) != 0 && may_spin()) {
    look_until(kCallerSpinNanoseconds, [&] {
      seen = gate.word.load(std::memory_order_acquire);
      return (seen & kCount) == 0;
    });
  }
  while ((seen & kCount) != 0 && !published.orphaned) {
    seen = gate.word.fetch_or(kCallerSleeps, std::memory_order_acq_rel) | kCallerSleeps;
    if ((seen & kCount) == 0) break;
    gate.wait(seen, kPollNanoseconds);
    if (may_poll && !published.cancelled.load(std::memory_order_relaxed) && interrupt_pending()) {
      published.cancel();
    }
    seen = gate.word.load(std::memory_order_acquire);
  }
  published.pool = nullptr;
  if (!published.orphaned) taken.store(false, std::memory_order_release);
}

#if defined(__unix__) || defined(__APPLE__)
void forget_pool_in_child() {
  current_pool.store(nullptr, std::memory_order_relaxed);
  cached_available.store(0, std::memory_order_relaxed);
  if (self.job != nullptr) self.job->orphaned = true;
  self.last_poll = 0;
}

// Keeps this shared library mapped for ever; harmless where it is part of the executable.
void pin_library() {
  Dl_info where{};
  if (dladdr(reinterpret_cast<void*>(&forget_pool_in_child), &where) != 0 &&
      where.dli_fname != nullptr) {
    dlopen(where.dli_fname, RTLD_LAZY | RTLD_NOLOAD | RTLD_NODELETE);
  }
}

// At load time rather than at first use: no first-use lock that a fork could leave held.
[[maybe_unused]] const bool prepared = [] {
  pin_library();
  return pthread_atfork(nullptr, nullptr, forget_pool_in_child) == 0;
}();
#endif

Pool& pool() {
  Pool* found = current_pool.load(std::memory_order_acquire);
  if (found != nullptr) return *found;
  Pool* const made = new Pool;
  if (current_pool.compare_exchange_strong(found, made, std::memory_order_acq_rel)) return *made;
  delete made;
  return *found;
}

// Ends the loop of its caller however the stack unwinds: after this no helper knows the job.
struct Visit {
  Pool& owner;
  Job& job;

  Visit(Pool& pool, Job& j) : owner(pool), job(j) {
    self.job = &job;
    owner.callers.fetch_add(1, std::memory_order_relaxed);
  }
  void close(bool may_poll) {
    if (job.pool != nullptr) owner.close(job, may_poll);
  }
  ~Visit() {
    close(false);
    self.job = nullptr;
    if (job.orphaned) return;
    owner.callers.fetch_sub(1, std::memory_order_seq_cst);
    // A helper may have stood aside for this caller: somebody else's loop can have it back.
    if ((owner.gate.word.load(std::memory_order_seq_cst) & kOpen) != 0) owner.call_one();
  }
  Visit(const Visit&) = delete;
  Visit& operator=(const Visit&) = delete;
};

void run_alone(index_t n, index_t grain, index_t chunks, detail::ChunkFunction function,
               void* body) {
  for (index_t chunk = 0; chunk < chunks; ++chunk) {
    if (chunk > 0) check_interrupt();
    function(body, chunk, chunk * grain, std::min(n, (chunk + 1) * grain));
  }
}

}  // namespace

namespace detail {

void run_chunks(index_t n, index_t grain, index_t chunks, ChunkFunction function, void* body) {
  if (self.job != nullptr || thread_limit() == 1) {
    run_alone(n, grain, chunks, function, body);
    return;
  }
  Pool& helpers = pool();
  Job job{.function = function, .body = body, .n = n, .grain = grain, .chunks = chunks};
  {
    Visit visit(helpers, job);
    while (true) {
      if (job.pool == nullptr) helpers.try_publish(job);
      const index_t chunk = job.claim();
      if (chunk < 0) break;
      job.execute(chunk);
      const bool stop = interrupt_pending();
      if (job.orphaned) break;
      if (stop) job.cancel();
    }
    visit.close(true);
  }
  if (job.orphaned) {
    throw std::runtime_error(
        "parallel_for: the process forked inside a parallel loop, whose result the child cannot "
        "have");
  }
  if (job.cancelled.load(std::memory_order_relaxed)) throw Interrupted();
  if (job.error) std::rethrow_exception(job.error);
}

struct Turns::State {
  std::mutex mutex{};
  std::vector<char> waiting;
  index_t next = 0;      // first chunk not yet folded
  bool folding = false;  // some thread is; others only leave their state behind

  // The caller holds the mutex.
  index_t take() {
    const auto at = static_cast<std::size_t>(next);
    folding = at < waiting.size() && waiting[at] != 0;
    return folding ? next++ : -1;
  }
};

Turns::Turns(index_t chunks)
    : state_(new State{.waiting = std::vector<char>(static_cast<std::size_t>(chunks))}) {}

Turns::~Turns() { delete state_; }

index_t Turns::deposit(index_t chunk) {
  std::lock_guard lock(state_->mutex);
  state_->waiting[static_cast<std::size_t>(chunk)] = 1;
  return state_->folding ? -1 : state_->take();
}

index_t Turns::next() {  // merge may be long: the others deposit and go on meanwhile
  std::lock_guard lock(state_->mutex);
  return state_->take();
}

}  // namespace detail

void set_interrupt_poll(bool (*poll)()) { interrupt_poll.store(poll, std::memory_order_relaxed); }

void check_interrupt() {
  Job* const job = self.job;
  if (job != nullptr && job->cancelled.load(std::memory_order_relaxed)) throw Interrupted();
  if (self.helper || !interrupt_pending()) return;
  if (job != nullptr && !job->orphaned) job->cancel();
  throw Interrupted();
}

int thread_limit() {
  const int chosen = chosen_limit.load(std::memory_order_relaxed);
  return chosen > 0 ? chosen : available_threads();
}

void set_thread_limit(int limit) {
  if (limit < 0) invalid("set_thread_limit", "limit must be at least 0, got ", limit);
  chosen_limit.store(std::min(limit, kMostThreads), std::memory_order_relaxed);
}

int available_threads() {
  int count = cached_available.load(std::memory_order_relaxed);
  if (count > 0) return count;
  const int quota = cgroup_threads();
  count = quota > 0 ? std::min(quota, affinity_threads()) : affinity_threads();
  cached_available.store(count, std::memory_order_relaxed);
  return count;
}

}  // namespace kernelmill

// The only names besides the module's own that the shared library shows: built with hidden
// visibility, they must say otherwise to be found by threadpoolctl.
extern "C" {
#if defined(__GNUC__)
#define KERNELMILL_VISIBLE __attribute__((visibility("default"), used))
#else
#define KERNELMILL_VISIBLE
#endif
KERNELMILL_VISIBLE int kernelmill_get_num_threads() { return kernelmill::thread_limit(); }
KERNELMILL_VISIBLE void kernelmill_set_num_threads(int limit) {
  kernelmill::set_thread_limit(limit < 0 ? 0 : limit);
}
}
