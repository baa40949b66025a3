// One tile product for every op that compares rows with rows: a block takes kRowsA rows of A and
// kRowsB rows of B through shared memory and keeps kPerA x kPerB results in the registers of each
// thread. What is done per element is the Step (one line of algebra), what is done with the
// finished results is the caller's epilogue, while they are still in registers.
//
// Shared memory holds, per row, one stage of 64 bytes of columns and 16 bytes of padding. With a
// pitch of 80 bytes, 16-byte reads of 8 adjacent rows touch all 32 banks once.
#pragma once

#include <cuda_pipeline.h>  // __pipeline_memcpy_async

#include <algorithm>  // std::max, std::min
#include <cstdint>    // std::uintptr_t

#include "core/launch.cuh"  // index_t, DeviceRows

namespace kernelmill {

// 16 bytes, moved by one instruction.
template <class T>
struct alignas(16) Pack {
  static constexpr int size = 16 / sizeof(T);
  T at[size];
};

// acc += a b
struct Product {
  template <class T>
  static __device__ void apply(T& acc, T a, T b) {
    acc += a * b;
  }
};

// acc += (a - b)^2: no cancellation however far the rows lie from the origin
struct SquaredDifference {
  template <class T>
  static __device__ void apply(T& acc, T a, T b) {
    const T difference = a - b;
    acc += difference * difference;
  }
};

template <class T>
struct Stage {
  static constexpr int columns = 64 / sizeof(T);
  static constexpr int packs = 4;
  static constexpr int pitch = columns + Pack<T>::size;
};

// Thread t copies pack t % 4 of rows t / 4 + i kThreads / 4: one address and fixed steps from it.
template <class T, int kRows, int kThreads>
struct CopyPlan {
  static constexpr int step = kThreads / Stage<T>::packs;  // rows between a thread's packs
  static constexpr int count = (kRows + step - 1) / step;  // packs of a thread
  static_assert(kThreads % Stage<T>::packs == 0);

  static __device__ int row() { return static_cast<int>(threadIdx.x) / Stage<T>::packs; }
  static __device__ int column() {
    return static_cast<int>(threadIdx.x) % Stage<T>::packs * Pack<T>::size;
  }
  static __device__ bool has(int i) { return kRows % step == 0 || row() + i * step < kRows; }
  static __device__ T* place(T* shared, int i) {
    return shared + row() * Stage<T>::pitch + column() + i * step * Stage<T>::pitch;
  }
};

// Brings kRows rows of any matrix to shared memory past the registers (cp.async), less `origin`
// (padded with zeros to whole stages) where there is one. Rows and columns beyond the matrix read
// as zero. Each thread takes the origin off the elements that it copied itself.
template <class T, int kRows, int kThreads>
class RowLoader {
  using Plan = CopyPlan<T, kRows, kThreads>;

 public:
  __device__ RowLoader(const DeviceRows<T>& rows, index_t first, bool aligned, const T* origin)
      : origin_(origin == nullptr ? nullptr : origin + Plan::column()),
        left_(rows.d - Plan::column()),
        aligned_(aligned) {
#pragma unroll
    for (int i = 0; i < Plan::count; ++i) {
      const index_t row = first + Plan::row() + i * Plan::step;
      from_[i] = nullptr;
      if (Plan::has(i) && row < rows.n) {
        from_[i] = rows.data + (rows.order == nullptr ? row : rows.order[row]) * rows.stride +
                   Plan::column();
      }
    }
  }

  __device__ void begin(index_t column, T* shared) {
    const bool whole = aligned_ && column + Pack<T>::size <= left_;
#pragma unroll
    for (int i = 0; i < Plan::count; ++i) {
      if (!Plan::has(i)) continue;
      T* const to = Plan::place(shared, i);
      if (whole && from_[i] != nullptr) {
        __pipeline_memcpy_async(to, from_[i] + column, sizeof(Pack<T>));
      } else {
        copy_elements(to, from_[i], column);
      }
    }
    __pipeline_commit();
  }

  __device__ void finish(index_t column, T* shared) {
    __pipeline_wait_prior(0);
    if (origin_ == nullptr) return;
    const Pack<T> shift = *reinterpret_cast<const Pack<T>*>(origin_ + column);
#pragma unroll
    for (int i = 0; i < Plan::count; ++i) {
      if (!Plan::has(i)) continue;
      auto* const to = reinterpret_cast<Pack<T>*>(Plan::place(shared, i));
      Pack<T> x = *to;
#pragma unroll
      for (int e = 0; e < Pack<T>::size; ++e) x.at[e] -= shift.at[e];
      *to = x;
    }
  }

 private:
  // Edges and unaligned rows. Not unrolled: it must not crowd the registers of the usual path.
  __device__ void copy_elements(T* to, const T* from, index_t column) {
#pragma unroll 1
    for (int e = 0; e < Pack<T>::size; ++e) {
      if (from != nullptr && column + e < left_) {
        __pipeline_memcpy_async(to + e, from + column + e, sizeof(T));
      } else {
        to[e] = 0;
      }
    }
  }

  const T* from_[Plan::count];  // null beyond the last row
  const T* origin_;
  index_t left_;  // columns from the thread's first to the end of a row
  bool aligned_;
};

// Brings kRows rows of a matrix that is padded to whole tiles and stages.
template <class T, int kRows, int kThreads>
class PaddedLoader {
  using Plan = CopyPlan<T, kRows, kThreads>;

 public:
  __device__ PaddedLoader(const T* rows, index_t stride)
      : from_(rows + Plan::row() * stride + Plan::column()), step_(Plan::step * stride) {}

  __device__ void begin(index_t column, T* shared) {
#pragma unroll
    for (int i = 0; i < Plan::count; ++i) {
      if (!Plan::has(i)) continue;
      __pipeline_memcpy_async(Plan::place(shared, i), from_ + i * step_ + column, sizeof(Pack<T>));
    }
    __pipeline_commit();
  }

  __device__ void finish(index_t, T*) { __pipeline_wait_prior(0); }

 private:
  const T* from_;
  index_t step_;
};

// Rows are stored as In, in shared memory too; registers and Step compute in Acc.
template <class In, int kRowsA_, int kRowsB_, int kPerA_, int kPerB_, class Acc = In>
struct Tile {
  static constexpr int kRowsA = kRowsA_, kRowsB = kRowsB_, kPerA = kPerA_, kPerB = kPerB_;
  static constexpr int kAcrossA = kRowsA / kPerA;
  static constexpr int kAcrossB = kRowsB / kPerB;
  static constexpr int kThreads = kAcrossA * kAcrossB;
  static constexpr int kWarpsB = kAcrossB / 8;
  // A warp covers 4 x 8 threads, so that its 16-byte reads of shared memory coincide in pairs of
  // lanes and half a warp needs one pass.
  static_assert(kAcrossA % 4 == 0 && kAcrossB % 8 == 0 && kRowsA % kPerA == 0 &&
                kRowsB % kPerB == 0);

  struct alignas(16) Shared {
    In a[2][kRowsA * Stage<In>::pitch];
    In b[2][kRowsB * Stage<In>::pitch];
  };

  // Thread (a, b) owns rows a + kAcrossA i of A and b + kAcrossB j of B. Bits 0 and 4 of the lane
  // choose a, bits 1 to 3 choose b.
  static __device__ int place_a() {
    const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
    return warp / kWarpsB * 4 + (lane & 1) + (lane >> 4) * 2;
  }
  static __device__ int place_b() {
    const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
    return warp % kWarpsB * 8 + ((lane >> 1) & 7);
  }

  // acc[i][j] takes Step over d columns of the thread's rows. All threads of the block call it; on
  // return none of them reads shared memory any more.
  template <class Step, class LoaderA, class LoaderB>
  static __device__ void accumulate(Shared& shared, LoaderA& load_a, LoaderB& load_b, index_t d,
                                    Acc (&acc)[kPerA][kPerB]) {
    const int stages = static_cast<int>((d + Stage<In>::columns - 1) / Stage<In>::columns);
    if (stages == 0) return;
    load_a.begin(0, shared.a[0]);
    load_b.begin(0, shared.b[0]);
    load_a.finish(0, shared.a[0]);
    load_b.finish(0, shared.b[0]);
    __syncthreads();
    const int own_a = place_a() * Stage<In>::pitch, own_b = place_b() * Stage<In>::pitch;
    for (int stage = 0; stage < stages; ++stage) {
      const int now = stage & 1, next = now ^ 1;
      const bool more = stage + 1 < stages;
      const index_t column = static_cast<index_t>(stage + 1) * Stage<In>::columns;
      if (more) {
        load_a.begin(column, shared.a[next]);
        load_b.begin(column, shared.b[next]);
      }
      multiply<Step>(shared.a[now] + own_a, shared.b[now] + own_b, acc);
      if (more) {
        load_a.finish(column, shared.a[next]);
        load_b.finish(column, shared.b[next]);
      }
      __syncthreads();
    }
  }

 private:
  template <class Step>
  static __device__ void multiply(const In* own_a, const In* own_b, Acc (&acc)[kPerA][kPerB]) {
#pragma unroll
    for (int q = 0; q < Stage<In>::columns; q += Pack<In>::size) {
      Pack<In> a[kPerA];
#pragma unroll
      for (int i = 0; i < kPerA; ++i) {
        a[i] = *reinterpret_cast<const Pack<In>*>(own_a + kAcrossA * i * Stage<In>::pitch + q);
      }
#pragma unroll
      for (int j = 0; j < kPerB; ++j) {
        const Pack<In> b =
            *reinterpret_cast<const Pack<In>*>(own_b + kAcrossB * j * Stage<In>::pitch + q);
#pragma unroll
        for (int e = 0; e < Pack<In>::size; ++e) {
#pragma unroll
          for (int i = 0; i < kPerA; ++i)
            Step::apply(acc[i][j], static_cast<Acc>(a[i].at[e]), static_cast<Acc>(b.at[e]));
        }
      }
    }
  }
};

// The tile of ops whose results are those of all pairs of rows.
template <class T>
struct PairTile;
template <>
struct PairTile<float> {
  using type = Tile<float, 128, 64, 8, 8>;
};
template <>
struct PairTile<double> {
  using type = Tile<double, 64, 64, 4, 4>;
};

// Calls run(part, first, blocks) for parts of the rows of x, from `first` on, of which each takes a
// launch: `across` blocks for every kRows rows, and at most kMaxBlocks.
template <int kRows, class T, class Run>
void by_launches(const DeviceRows<T>& x, index_t across, Run&& run) {
  const index_t most = std::max<index_t>(1, kMaxBlocks / across) * kRows;
  for (index_t first = 0; first < x.n; first += most) {
    DeviceRows<T> part = x;
    part.n = std::min(most, x.n - first);
    if (x.order == nullptr) {
      part.data = x.data + first * x.stride;
    } else {
      part.order = x.order + first;
    }
    run(part, first, dim3(static_cast<unsigned>(div_up(part.n, kRows) * across)));
  }
}

// Whether every row of the matrix starts on 16 bytes.
template <class T>
bool packs_aligned(const DeviceRows<T>& rows) {
  return reinterpret_cast<std::uintptr_t>(rows.data) % 16 == 0 && rows.stride % Pack<T>::size == 0;
}

}  // namespace kernelmill
