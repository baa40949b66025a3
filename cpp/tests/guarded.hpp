// Memory whose surroundings are watched: what lies before and behind it must stay as it was.
#pragma once

#include <cstddef>  // std::size_t
#include <random>   // std::mt19937_64
#include <span>     // std::span
#include <vector>   // memory

#include "core/matrix.hpp"  // CubeView, MatrixView, index_t

namespace kernelmill {

// Sizes around the lanes of every level, and one of many vectors.
inline constexpr index_t kSizes[] = {1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 64, 65, 130};

// n values that begin off the vector grid: normal ones, or all `fill`.
template <class T>
class Guarded {
 public:
  explicit Guarded(index_t n, T fill) : n_(n), memory_(static_cast<std::size_t>(n + 6), kGuard) {
    for (index_t i = 0; i < n; ++i) data()[i] = fill;
  }
  static Guarded normal(index_t n, unsigned seed, double scale = 1) {
    Guarded made(n, T(0));
    std::mt19937_64 bits(seed);
    std::normal_distribution<double> draw(0, scale);
    for (index_t i = 0; i < n; ++i) made.data()[i] = static_cast<T>(draw(bits));
    return made;
  }
  T* data() { return memory_.data() + 3; }
  T& operator[](index_t i) { return data()[i]; }
  std::span<T> span() { return {data(), static_cast<std::size_t>(n_)}; }
  MatrixView<T> matrix(index_t rows, index_t cols) { return dense(data(), rows, cols); }
  CubeView<T> cube(index_t n, index_t c, index_t k) { return {data(), {n, c, k}, {c * k, k, 1}}; }
  bool intact() const {
    bool good = true;
    for (index_t i = 0; i < 3; ++i) {
      good &= memory_[static_cast<std::size_t>(i)] == kGuard;
      good &= memory_[static_cast<std::size_t>(n_ + 3 + i)] == kGuard;
    }
    return good;
  }

 private:
  static constexpr T kGuard = T(-12345);
  index_t n_;
  std::vector<T> memory_;
};

}  // namespace kernelmill
