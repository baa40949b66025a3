// k-means: the CUDA twins of python/kernelmill/ops/kmeans.py, whose docstrings are the contract.
//
// Symbols: x is (n, d) data, centers (k, d) float64, weight (n) or null for all ones. Every pointer
// is device memory unless said; each op works on the stream of its Call.
#pragma once

#include <cstdint>  // std::int32_t

#include "core/call.hpp"        // Call, Arena, DeviceRows
#include "core/label_sums.hpp"  // LabelSumsSpace

namespace kernelmill {

// Centers as the tiles want them: less the origin, rounded to T, padded to whole tiles.
template <class T>
struct PreparedCenters {
  PreparedCenters(Arena& arena, index_t d, index_t k);

  index_t columns;  // d rounded up to whole stages
  index_t rows;     // k rounded up to whole tiles
  T* origin;        // (columns) a point amid the centers, rounded to T
  T* shifted;       // (rows, columns)
  T* half_norm;     // (rows) half the squared norm; inf beyond k
};

// What an assignment writes; every pointer may be null but labels.
template <class T>
struct Assignment {
  std::int32_t* labels = nullptr;
  int* changed = nullptr;     // set to 1 when a label differs from the one that stood there
  T* squared = nullptr;       // (n)
  double* inertia = nullptr;  // one per block, see inertia_blocks
};

// Room for the inertia of each block and their sum.
index_t inertia_blocks(index_t n);

template <class T>
void assign(const Call& call, const DeviceRows<T>& x, const DeviceRows<double>& centers,
            const T* weight, const Assignment<T>& to, const PreparedCenters<T>& space);

template <class T>
struct LloydSpace {
  LloydSpace(Arena& arena, const Call& call, index_t n, index_t d, index_t k);

  PreparedCenters<T> centers;
  LabelSumsSpace label_sums;
  std::int32_t* labels;  // (n)
  double* inertia;       // (inertia_blocks + 1)
  double* sums;          // (k, d)
  double* weights;       // (k)
  double* shifts;        // (k)
  struct Progress {
    double shift;
    int changed, empty;
  }* progress;
  std::int64_t* range;  // (2)
};

// Fills sums and weights; returns the inertia.
template <class T>
double lloyd_step(const Call& call, const DeviceRows<T>& x, const DeviceRows<double>& centers,
                  const T* weight, double* sums, double* weights, const LloydSpace<T>& space);

struct LloydSlice {
  index_t steps;
  double shift;
  int status;  // as in the specification
};

// centers (k, d, dense), weights (k) and labels (n) are updated; bounds (n, 2) or null.
template <class T>
LloydSlice lloyd(const Call& call, const DeviceRows<T>& x, double* centers, double* weights,
                 index_t k, std::int32_t* labels, T* bounds, const T* weight, index_t n_steps,
                 double tol, const LloydSpace<T>& space);

// x.order holds the rows of the batch, `stored` counts the rows they may name. centers and
// weight_sums are updated; returns the inertia of the batch.
template <class T>
double minibatch_step(const Call& call, const DeviceRows<T>& x, index_t stored, double* centers,
                      double* weight_sums, index_t k, const T* weight, const LloydSpace<T>& space);

template <class T>
struct SeedingSpace {
  SeedingSpace(Arena& arena, index_t n, index_t trials);

  index_t blocks, groups, per_group;  // rows are summed by block, blocks by group
  double* closest;                    // (n) squared distance to the nearest seed
  double* mass;                       // (blocks + groups) of weight times distance
  double* weight_mass;                // (blocks + groups) of weight
  double* left;                       // (blocks, trials), then (trials)
  index_t* candidates;                // (trials)
};

// uniforms (k, trials) dense; indices (k); squared (n). Throws when no row has weight.
template <class T>
void plus_plus(const Call& call, const DeviceRows<T>& x, const double* uniforms, index_t k,
               index_t trials, const T* weight, std::int64_t* indices, T* squared,
               const SeedingSpace<T>& space);

}  // namespace kernelmill
