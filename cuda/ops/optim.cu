// A block takes a chunk of one array, which it finds by halving.

#include "ops/optim.cuh"

#include <cmath>   // std::sqrt, std::pow
#include <limits>  // infinity

#include "core/launch.cuh"                // launch
#include "core/team.cuh"                  // Team
#include "ops/elementwise_functions.cuh"  // maximum, where

namespace kernelmill::optim {
namespace {

constexpr int kThreads = Team::kThreads;
constexpr double kInfinity = std::numeric_limits<double>::infinity();

namespace table {

// What the rules call.
using elementwise::maximum;
using elementwise::where;
using std::pow;
using std::sqrt;

#define KERNELMILL_LOOP __device__
#define KERNELMILL_SIMD
#include "optim_rows.inc"

}  // namespace table

// The part of an item that belongs to a chunk of all.
struct Part {
  const Item* item;
  index_t begin, end;
  __device__ Part(const Item* items, index_t n, index_t chunk) {
    index_t low = 0, high = n;  // items without elements have no chunk
    while (high - low > 1) {
      const index_t middle = low + (high - low) / 2;
      (items[middle].first_chunk <= chunk ? low : high) = middle;
    }
    item = items + low;
    begin = (chunk - item->first_chunk) * kChunk;
    end = min(item->size, begin + kChunk);
  }
};

template <class R, class T>
__global__ void __launch_bounds__(kThreads) step_kernel(const Item* items, index_t n) {
  const Part part(items, n, blockIdx.x);
  const Item& item = *part.item;
  for (index_t e = part.begin + threadIdx.x; e < part.end; e += kThreads) {
    R::template loop<Acc<T>>(item.kept, static_cast<T*>(item.parameter),
                             static_cast<const T*>(item.gradient), item.states.data(), item.scalars,
                             e, e + 1);
  }
}

// Calls run(T{}) for what the items are stored as.
template <class Run>
void with_type(Type type, Run run) {
  switch (type) {
    case kFloat32:
      return run(float{});
    case kFloat64:
      return run(double{});
    case kFloat16:
      return run(Float16{});
    case kBFloat16:
      return run(BFloat16{});
  }
}

enum class Term { magnitude, sum, square, power };

template <class T>
__global__ void __launch_bounds__(kThreads)
    norm_kernel(const Item* items, index_t n, const Team team, Term term, double largest,
                double order, double* parts) {
  __shared__ double shared[kThreads];
  const Part part(items, n, blockIdx.x);
  const auto rule = [term](double a, double b) {
    return term == Term::magnitude ? (a != a || a > b ? a : b) : a + b;
  };
  double total = 0;
  for (index_t e = part.begin + threadIdx.x; e < part.end; e += kThreads) {
    double x = ::fabs(static_cast<double>(static_cast<const T*>(part.item->gradient)[e]));
    x /= largest;
    if (term == Term::square) x *= x;
    if (term == Term::power) x = ::pow(x, order);
    total = rule(total, x);
  }
  total = team.join(total, shared, rule);
  if (threadIdx.x == 0) parts[blockIdx.x] = total;
}

template <class R>
void launch_step(const Call& call, const Items& items, const Item* at) {
  with_type(items.type, [&]<class T>(T) {
    launch(call, step_kernel<R, T>, static_cast<unsigned>(items.chunks), kThreads, at,
           static_cast<index_t>(items.items.size()));
  });
}

#define KERNELMILL_NUMBER(rule) number_##rule,
enum Number : std::size_t { KERNELMILL_RULES(KERNELMILL_NUMBER) };
#define KERNELMILL_RULE(rule) rule_of<table::rule>(number_##rule),
constexpr Rule kRules[] = {KERNELMILL_RULES(KERNELMILL_RULE)};
using Launch = void (*)(const Call&, const Items&, const Item*);
#define KERNELMILL_LAUNCH(rule) launch_step<table::rule>,
constexpr Launch kLaunches[] = {KERNELMILL_RULES(KERNELMILL_LAUNCH)};

// Parts are reduced like one more array until one is left.
double reduce(const Call& call, const Items& all, Term term, double largest, double order,
              const ItemSpace& space) {
  if (all.chunks == 0) return 0;
  const Team team(kChunk, false);
  const auto pass = [&](const Items& items, double* parts) {
    upload(call, space.items, items.items.data(), static_cast<index_t>(items.items.size()));
    with_type(items.type, [&]<class T>(T) {
      launch(call, norm_kernel<T>, static_cast<unsigned>(items.chunks), kThreads, space.items,
             static_cast<index_t>(items.items.size()), team, term, largest, order, parts);
    });
  };
  int now = 0;
  index_t left = all.chunks;
  pass(all, space.parts[now]);
  if (term != Term::magnitude) term = Term::sum;
  largest = 1;
  for (; left > 1; now ^= 1) {
    const Item parts{nullptr, space.parts[now], {}, 0, left, 0, {}};
    left = div_up(left, kChunk);
    pass({{&parts, 1}, left, kFloat64}, space.parts[now ^ 1]);
  }
  double total = 0;
  download(call, &total, space.parts[now], 1);
  return total;
}

}  // namespace

std::span<const Rule> rules() { return kRules; }

void step(const Call& call, const Rule& rule, const Items& items, const ItemSpace& space) {
  if (items.chunks == 0) return;
  upload(call, space.items, items.items.data(), static_cast<index_t>(items.items.size()));
  kLaunches[rule.number](call, items, space.items);
}

double norm(const Call& call, const std::array<Items, kTypes>& items, double order,
            const std::array<const ItemSpace*, kTypes>& spaces) {
  const auto total = [&](Term term, double largest) {
    double joined = 0;
    for (std::size_t i = 0; i < kTypes; ++i) {
      const double part = reduce(call, items[i], term, largest, order, *spaces[i]);
      if (term != Term::magnitude) {
        joined += part;
      } else if (part != part || part > joined) {
        joined = part;
      }
    }
    return joined;
  };
  if (order == 2) {
    // Squares of float32 fit float64; those of float64 may not, at either end.
    const double squares = total(Term::square, 1);
    if (squares > 1e-280 && squares < kInfinity) return std::sqrt(squares);
  }
  const double largest = total(Term::magnitude, 1);
  if (!(largest > 0) || largest == kInfinity || order == kInfinity) return largest;
  if (order == 1) return largest * total(Term::sum, largest);
  if (order == 2) return largest * std::sqrt(total(Term::square, largest));
  return largest * std::pow(total(Term::power, largest), 1 / order);
}

}  // namespace kernelmill::optim
