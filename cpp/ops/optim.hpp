// Twins of python/kernelmill/ops/optim.py: a loop per rule of optim_table.py, dtype and choice of
// states.
#pragma once

#include <array>  // states
#include <span>   // std::span

#include "core/matrix.hpp"  // index_t

namespace kernelmill::optim {

constexpr int kMostStates = 3;
constexpr int kMostScalars = 16;

// One array of a list, dense: float64 or float32.
struct Array {
  void* parameter;
  const void* gradient;
  std::array<void*, kMostStates> states;  // null for one that is not kept
  index_t size;
  bool wide;
  unsigned kept;          // a bit for each state that is there
  const double* options;  // in the order of Rule::options
};

using Loop = void (*)(const Array&, const double* scalars, index_t begin, index_t end);

struct Rule {
  const char *name, *op, *states, *options;  // names, separated by spaces
  std::span<const double> defaults;
  unsigned optional;  // a bit for each state that may be left out
  int n_states;
  void (*prepare)(const double* options, double* scalars);
  std::array<std::array<Loop, 1 << kMostStates>, 2> loops;  // by `wide` and `kept`
};

std::span<const Rule> rules();

// One step of all arrays.
void run(const Rule& rule, std::span<const Array> arrays);

// The norm of the given order (above 0, or infinity) of the gradients of all arrays.
double norm(std::span<const Array> arrays, double order);

}  // namespace kernelmill::optim
