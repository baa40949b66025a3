// Blocking constants of the tile product (core/tile.hpp), one table per instruction-set level.
//
// A micro-tile is MR rows by NV vectors of `lanes` columns. Its MR * NV accumulators, NV vectors of
// B and at least one broadcast of A must fit the register file, and MR * NV must be at least the
// fused-multiply-add latency times its throughput (4 * 2 = 8 on current x86-64 cores).
// A panel of B, KC * NR elements, is read once per tile and should stay in the L1 or the near part
// of the L2 cache; a block of A, MC * KC elements, is read once per panel and should stay in L2.
#pragma once

#include "core/matrix.hpp"  // index_t

#if defined(KERNELMILL_BINDINGS) || defined(KERNELMILL_EVERY_LEVEL)
#error "what is compiled once for all levels must not see what differs between levels"
#endif

#if !defined(KERNELMILL_LEVEL)
#if defined(__AVX512F__)
#define KERNELMILL_LEVEL 4
#elif defined(__AVX2__) && defined(__FMA__)
#define KERNELMILL_LEVEL 3
#elif defined(__x86_64__)
#define KERNELMILL_LEVEL 2
#else
#define KERNELMILL_LEVEL 0
#endif
#endif

// Full unrolling of the loop that follows: arrays of vectors live in registers only if every index
// is a constant.
#if defined(__clang__)
#define KERNELMILL_UNROLL _Pragma("clang loop unroll(full)")
#else
#define KERNELMILL_UNROLL _Pragma("GCC unroll 32")
#endif

namespace kernelmill::tile {

// What one level decides, for elements of `bytes` each. A block of partial sums (MC * NC) and a
// block of A (MC * KC) stay in the L2 cache while panels pass by: about 0.5 MB at level 4, 0.6 MB
// at level 3, where the sums are read and written once per chunk and may come from further away.
#if KERNELMILL_LEVEL == 4
struct Level {  // 32 registers of 64 bytes: 28 accumulators
  static constexpr int vector_bytes = 64, rows = 14, vectors = 2, block_columns_bytes = 2048;
  static constexpr int depth(int bytes) { return 1024 / bytes; }
  static constexpr int block_rows(int) { return 168; }
};
#elif KERNELMILL_LEVEL == 3
struct Level {  // 16 registers of 32 bytes: 12 accumulators
  static constexpr int vector_bytes = 32, rows = 6, vectors = 2, block_columns_bytes = 2048;
  // A panel of doubles takes half of L1. A depth of 128 took 3 % more time for squares, as a tile
  // loads and stores its partial sums once per chunk; 512 floats, all of L1, gained nothing.
  static constexpr int depth(int) { return 256; }
  static constexpr int block_rows(int bytes) { return 768 / bytes; }
};
#elif KERNELMILL_LEVEL == 2
struct Level {  // 16 registers of 16 bytes, no fused multiply-add: one register for the product
  static constexpr int vector_bytes = 16, rows = 6, vectors = 2, block_columns_bytes = 1024;
  static constexpr int depth(int bytes) { return 1024 / bytes; }
  static constexpr int block_rows(int) { return 240; }
};
#else
struct Level {  // 32 registers of 16 bytes (Arm NEON): 24 accumulators
  static constexpr int vector_bytes = 16, rows = 8, vectors = 3, block_columns_bytes = 1152;
  static constexpr int depth(int bytes) { return 1024 / bytes; }
  static constexpr int block_rows(int) { return 240; }
};
#endif

template <class T>
struct Params {
  using Vec [[gnu::vector_size(Level::vector_bytes)]] = T;
  static constexpr int lanes = Level::vector_bytes / static_cast<int>(sizeof(T));
  static constexpr int MR = Level::rows;
  static constexpr int NV = Level::vectors;
  static constexpr int NR = NV * lanes;
  static constexpr int KC = Level::depth(sizeof(T));
  static constexpr int MC = Level::block_rows(sizeof(T));
  static constexpr int NC = Level::block_columns_bytes / static_cast<int>(sizeof(T)) / NR * NR;
};

}  // namespace kernelmill::tile
