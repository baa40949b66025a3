// The one way the library uses more than one thread: parallel_for, over one process-wide pool.
//
// What an op author can rely on:
//  - Chunk c covers [c * grain, min(n, (c + 1) * grain)): bounds depend on n and grain alone, never
//    on the number of threads. Write results per chunk, combine them in chunk order, and the bits
//    are the same at any thread count (ordered_reduce does this).
//  - At most min(thread_limit(), chunks) threads run, the caller among them. One chunk, a limit of
//    one, or a call from inside another parallel_for runs on the calling thread alone.
//  - Chunks are claimed one by one in rising order, so uneven chunks balance.
//  - An exception in a chunk is rethrown on the caller; the lowest throwing chunk wins at any
//  thread
//    count, later chunks are skipped.
//  - Several threads may call at once: one of them gets the helpers, the others work alone and take
//    over the helpers once these are free. Callers and helpers together stay within the limit.
//
// Choose grain so that one chunk is worth at least ~20 us. An empty two-chunk loop costs 0.15 us
// when the helper is awake (it looks around for 100 us after each loop) and 10 us when a futex has
// to wake it, on a 2-core virtual machine (benchmarks/cpp/parallel_bench.cpp).
#pragma once

#include <algorithm>    // std::max, std::min
#include <exception>    // std::exception
#include <optional>     // std::optional
#include <type_traits>  // std::remove_reference_t
#include <utility>      // std::forward, std::move
#include <vector>       // std::vector

#include "core/error.hpp"   // invalid
#include "core/matrix.hpp"  // index_t

namespace kernelmill {

// Thrown on the calling thread when the interrupt poll says stop (Ctrl-C in Python).
struct Interrupted : std::exception {
  const char* what() const noexcept override { return "interrupted"; }
};

// The threads one parallel_for may use, the caller included: the number last set, else
// available_threads().
int thread_limit();

// Sets the limit of the whole process; 0 goes back to available_threads(). It may exceed the number
// of cores and may change while loops run: helpers above the new limit leave after their chunk.
void set_thread_limit(int limit);

// min(CPUs this thread may run on, CPU quota of its cgroups rounded up), at least 1. Evaluated at
// first use and again in a forked child (core/cpu_count.hpp).
int available_threads();

// Sets what asks the outside world whether to stop (Python: are signals pending?). It is called on
// the thread that called parallel_for only, between chunks and while waiting, at most every 20 ms.
// True skips the chunks not yet begun and throws Interrupted from parallel_for. Null turns it off.
void set_interrupt_poll(bool (*poll)());

// The same question for long serial loops (and long chunks): throws Interrupted when the answer is
// yes. Cheap enough for once every few microseconds of work: one clock read.
void check_interrupt();

// Number of chunks of `grain` indices that cover n.
inline index_t chunk_count(index_t n, index_t grain) { return n <= 0 ? 0 : (n - 1) / grain + 1; }

// The smallest multiple of min_grain that cuts n into at most max_chunks chunks. It depends on data
// sizes only, so a reduction whose chunk count must be bounded (big partial states) keeps its bits.
inline index_t bounded_grain(index_t n, index_t min_grain, index_t max_chunks) {
  min_grain = std::max<index_t>(min_grain, 1);
  max_chunks = std::max<index_t>(max_chunks, 1);
  const index_t tiles = chunk_count(n, min_grain);
  return min_grain * std::max<index_t>(1, chunk_count(tiles, max_chunks));
}

namespace detail {
using ChunkFunction = void (*)(void* body, index_t chunk, index_t begin, index_t end);
void run_chunks(index_t n, index_t grain, index_t chunks, ChunkFunction function, void* body);

// Whose turn it is to fold the states of ordered_reduce.
class Turns {
 public:
  explicit Turns(index_t chunks);
  Turns(const Turns&) = delete;
  Turns& operator=(const Turns&) = delete;
  ~Turns();
  // The state of `chunk` waits. Gives the chunk that the caller must fold now, or -1.
  index_t deposit(index_t chunk);
  // After folding: the next chunk to fold, or -1.
  index_t next();

 private:
  struct State;
  State* state_;
};
}  // namespace detail

// Calls body(chunk, begin, end) once for every chunk.
template <class Body>
void parallel_for(index_t n, index_t grain, Body&& body) {
  if (grain < 1) invalid("parallel_for", "grain must be at least 1, got ", grain);
  const index_t chunks = chunk_count(n, grain);
  if (chunks == 0) return;
  if (chunks == 1) {
    body(index_t{0}, index_t{0}, n);
    return;
  }
  using Function = std::remove_reference_t<Body>;
  detail::run_chunks(
      n, grain, chunks,
      [](void* f, index_t chunk, index_t begin, index_t end) {
        (*static_cast<Function*>(f))(chunk, begin, end);
      },
      const_cast<void*>(static_cast<const void*>(&body)));
}

// Map and reduce with the same bits at any thread count. Every chunk fills its own make() through
// body(State&, chunk, begin, end); states are folded in chunk order, state 0 first, by
// merge(State& into, State&& from). merge is never called twice at a time. A state is merged as
// soon as all before it are, so about as many states as threads are alive at once, not one per
// chunk.
template <class State, class Make, class Body, class Merge>
State ordered_reduce(index_t n, index_t grain, Make&& make, Body&& body, Merge&& merge) {
  if (grain < 1) invalid("ordered_reduce", "grain must be at least 1, got ", grain);
  const index_t chunks = chunk_count(n, grain);
  if (chunks <= 1) {
    State state = make();
    if (chunks == 1) body(state, index_t{0}, index_t{0}, n);
    return state;
  }
  std::vector<std::optional<State>> waiting(static_cast<std::size_t>(chunks));
  std::optional<State> total;
  detail::Turns turns(chunks);
  parallel_for(n, grain, [&](index_t chunk, index_t begin, index_t end) {
    State state = make();
    body(state, chunk, begin, end);
    waiting[static_cast<std::size_t>(chunk)].emplace(std::move(state));
    for (index_t c = turns.deposit(chunk); c >= 0; c = turns.next()) {
      State from = std::move(*waiting[static_cast<std::size_t>(c)]);
      waiting[static_cast<std::size_t>(c)].reset();
      if (total.has_value()) {
        merge(*total, std::move(from));
      } else {
        total.emplace(std::move(from));
      }
    }
  });
  return std::move(*total);
}

}  // namespace kernelmill

// For threadpoolctl, which finds them in the shared library by name.
extern "C" {
int kernelmill_get_num_threads();
void kernelmill_set_num_threads(int limit);
}
