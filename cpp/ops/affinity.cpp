// One pass over the rows an exchange.
//
// A new a(i, j) takes R(i, j) and the sum of column j, so the availabilities of row i can wait
// until the next exchange begins with that row, which then is in the cache: S, R and A are read and
// R and A written once. New numbers of the diagonal are needed at once, for the evidence, and take
// the sums alone.
//
// Of a + s in a row the largest value, first, and the second largest are kept: the largest among
// the others is second where a + s equals first, else first. Where two are equal both say the same.
#include "ops/affinity.hpp"

#include <algorithm>  // std::max, std::min
#include <limits>     // std::numeric_limits
#include <vector>     // sums of columns

#include "core/parallel.hpp"   // ordered_reduce
#include "core/tile_pack.hpp"  // vectors

namespace kernelmill::affinity {
namespace {

using P = tile::Params<double>;
using Vec = P::Vec;
constexpr int kVectors = 4;  // that do not wait for each other
constexpr index_t kStep = kVectors * P::lanes;
constexpr double kLow = -std::numeric_limits<double>::infinity();
constexpr index_t kValues = 1 << 15;  // of a chunk of rows at least, about 20 us
constexpr index_t kChunks = 64;       // at most, as each has its own sums

// The two largest of all values seen.
struct Largest {
  Vec most[kVectors], next[kVectors];
  double first = kLow, second = kLow;

  Largest() {
    for (int v = 0; v < kVectors; ++v) most[v] = next[v] = Vec{} + kLow;
  }
  [[gnu::always_inline]] void see(int v, const Vec& value) {
    const Vec lesser = value < most[v] ? value : most[v];
    most[v] = value > most[v] ? value : most[v];
    next[v] = lesser > next[v] ? lesser : next[v];
  }
  void see(double value) {
    second = std::max(second, std::min(first, value));
    first = std::max(first, value);
  }
  void finish() {
    for (int v = 0; v < kVectors; ++v) {
      for (int l = 0; l < P::lanes; ++l) {
        see(most[v][l]);
        see(next[v][l]);
      }
    }
  }
};

struct Messages {
  MatrixView<double> r, a;
  double damping, rest;

  double damped(double old, double fresh) const { return damping * old + rest * fresh; }

  // Availabilities of row i but its own, from the sums of the columns: of r(j, j) as it is and the
  // positive parts of all other r. Then the two largest of them with similarities, if asked.
  template <bool Update, bool See>
  void available(index_t i, const double* sums, const double* similar, Largest& largest) const {
    part<Update, See>(i, 0, i, sums, similar, largest);
    if constexpr (See) largest.see(a(i, i) + similar[i]);
    part<Update, See>(i, i + 1, r.cols, sums, similar, largest);
    if constexpr (See) largest.finish();
  }

  void responsible(index_t i, const double* similar, const Largest& largest, double* sums) const {
    double* value = r.row(i);
    const double* available = a.row(i);
    const double first = largest.first, second = largest.second, before = sums[i];
    const double keep = damping, take = rest;
    for (index_t j = 0; j < r.cols; ++j) {
      const double best = available[j] + similar[j] == first ? second : first;
      const double fresh = similar[j] - best;
      const double damped = keep * value[j] + take * fresh;
      value[j] = damped;
      sums[j] += damped > 0 ? damped : 0;
    }
    sums[i] = before + value[i];
  }

 private:
  template <bool Update, bool See>
  void part(index_t i, index_t j, index_t end, const double* sums, const double* similar,
            Largest& largest) const {
    const double* responsible = r.row(i);
    double* available = a.row(i);
    const auto fresh = [&](auto value, auto sum) {
      const decltype(value) zero{};
      const auto others = sum - (value > zero ? value : zero);
      return others < zero ? others : zero;
    };
    for (; j + kStep <= end; j += kStep) {
      KERNELMILL_UNROLL
      for (int v = 0; v < kVectors; ++v) {
        const index_t at = j + v * P::lanes;
        auto own = tile::load<Vec>(available + at);
        if constexpr (Update) {
          const auto value = fresh(tile::load<Vec>(responsible + at), tile::load<Vec>(sums + at));
          own = damping * own + rest * value;
          tile::store(available + at, own);
        }
        if constexpr (See) largest.see(v, own + tile::load<Vec>(similar + at));
      }
    }
    for (; j < end; ++j) {
      if constexpr (Update) available[j] = damped(available[j], fresh(responsible[j], sums[j]));
      if constexpr (See) largest.see(available[j] + similar[j]);
    }
  }
};

}  // namespace

void exchange(MatrixView<const double> s, MatrixView<double> r, MatrixView<double> a,
              double damping, MatrixView<double> evidence) {
  const index_t n = s.rows;
  const Messages messages{r, a, damping, 1 - damping};
  using Sums = std::vector<double>;
  const index_t grain = bounded_grain(n, kValues / (n + 1) + 1, kChunks);
  Sums sums;
  for (index_t e = 0; e < evidence.rows; ++e) {
    const auto make = [&] { return Sums(static_cast<std::size_t>(n)); };
    const auto body = [&](Sums& part, index_t, index_t begin, index_t end) {
      std::vector<double> copy;
      for (index_t i = begin; i < end; ++i) {
        const double* similar = s.row(i);
        if (s.col_stride != 1) {
          copy.resize(static_cast<std::size_t>(n));
          for (index_t j = 0; j < n; ++j) copy[static_cast<std::size_t>(j)] = s(i, j);
          similar = copy.data();
        }
        Largest largest;
        if (e > 0) {
          messages.available<true, true>(i, sums.data(), similar, largest);
        } else {
          messages.available<false, true>(i, nullptr, similar, largest);
        }
        messages.responsible(i, similar, largest, part.data());
      }
    };
    const auto merge = [](Sums& into, Sums&& from) {
      for (std::size_t j = 0; j < into.size(); ++j) into[j] += from[j];
    };
    sums = ordered_reduce<Sums>(n, grain, make, body, merge);
    for (index_t j = 0; j < n; ++j) {
      const double others = sums[static_cast<std::size_t>(j)] - r(j, j);
      a(j, j) = messages.damped(a(j, j), others);
      evidence(e, j) = a(j, j) + r(j, j);
    }
  }
  if (evidence.rows == 0) return;
  parallel_for(n, grain, [&](index_t, index_t begin, index_t end) {
    Largest unused;
    for (index_t i = begin; i < end; ++i) {
      messages.available<true, false>(i, sums.data(), nullptr, unused);
    }
  });
}

}  // namespace kernelmill::affinity
