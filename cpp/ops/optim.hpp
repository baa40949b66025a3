// The implementations of python/kernelmill/ops/optim.py on both devices: a loop for each rule of
// optim_table.py.
#pragma once

#include <array>  // states
#include <span>   // std::span

#include "core/matrix.hpp"  // index_t

namespace kernelmill::optim {

constexpr int kMostStates = 3;
constexpr int kMostScalars = 16;

// What parameters and gradients are stored as; states are float64 of float64, else float32. Those
// of 16 bits are on a GPU only.
enum Type : std::size_t { kFloat32, kFloat64, kFloat16, kBFloat16 };

// One array of a list, dense.
struct Array {
  void* parameter;
  const void* gradient;
  std::array<void*, kMostStates> states;  // null for one that is not kept
  index_t size;
  Type type;
  unsigned kept;          // a bit for each state that is there
  const double* options;  // in the order of Rule::options
};

struct Rule {
  const char *name, *op, *states, *options;  // names, separated by spaces
  std::span<const double> defaults;
  unsigned optional;  // a bit for each state that may be left out
  void (*prepare)(const double* options, double* scalars);
  std::size_t number;  // its place among the rules
};

// The rule of a struct that cmake/optim_rows.py wrote.
template <class R>
constexpr Rule rule_of(std::size_t number) {
  return {R::name, R::op, R::states, R::options, R::defaults, R::optional, &R::prepare, number};
}

std::span<const Rule> rules();

// `device` is what begin_call gave. -------------------------------------------------------------

// One step of all arrays.
void run(void* device, const Rule& rule, std::span<const Array> arrays);

// The norm of the given order (above 0, or infinity) of the gradients of all arrays.
double norm(void* device, std::span<const Array> arrays, double order);

}  // namespace kernelmill::optim
