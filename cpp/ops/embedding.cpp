// Gradients of the table are sums over positions, which are sorted by the row that they name (a
// counting sort, which keeps their order), so that each row is summed by one thread.
#include "ops/embedding.hpp"

#include <algorithm>  // std::max, std::fill_n
#include <string>     // messages
#include <stdexcept>  // std::out_of_range
#include <vector>     // positions

#include "core/error.hpp"      // invalid
#include "core/parallel.hpp"   // parallel_for
#include "core/workspace.hpp"  // Workspace

namespace kernelmill::embedding {
namespace {

// Values of a task.
constexpr index_t kTask = 1 << 15;

index_t grain_of(index_t values) {
  return std::max<index_t>(1, kTask / std::max<index_t>(1, values));
}

void check(const char* op, std::span<const index_t> index, index_t rows) {
  for (const index_t i : index) {
    if (i >= 0 && i < rows) continue;
    throw std::out_of_range(std::string(op) + ": index must be in [0, " + std::to_string(rows) +
                            "), got " + std::to_string(i));
  }
}

template <class T>
void check(const char* op, const Bags<T>& bags, index_t rows) {
  check(op, bags.index, rows);
  const auto n = static_cast<index_t>(bags.index.size());
  const auto b = static_cast<index_t>(bags.offsets.size());
  bool good = b > 0 ? bags.begin(0) == 0 : n == 0;
  for (index_t i = 0; i < b; ++i) good &= bags.begin(i) <= bags.end(i);
  if (!good) {
    std::string given;
    for (index_t i = 0; i < std::min<index_t>(b, 8); ++i) {
      given += (i ? ", " : "") + std::to_string(bags.begin(i));
    }
    invalid(op, "offsets must begin with 0 and never fall or pass the ", n, " indices, got [",
            given, "]");
  }
  if (!bags.sample_weight.empty() && bags.mode != Mode::sum) {
    invalid(op, "sample_weight must be None unless mode is 0 (sum), got mode ",
            static_cast<int>(bags.mode));
  }
}

// dweight[r] = the sum of add(position, total) over the positions of row r, none for padding.
template <class T, class Add>
void scatter(std::span<const index_t> index, index_t padding, MatrixView<T> dweight, Add add) {
  std::vector<index_t> ends(static_cast<std::size_t>(dweight.rows) + 1), order(index.size());
  for (const index_t r : index) ++ends[static_cast<std::size_t>(r) + 1];
  for (std::size_t r = 1; r < ends.size(); ++r) ends[r] += ends[r - 1];
  std::vector<index_t> next(ends.begin(), ends.end() - 1);
  for (std::size_t p = 0; p < index.size(); ++p) {
    order[static_cast<std::size_t>(next[static_cast<std::size_t>(index[p])]++)] =
        static_cast<index_t>(p);
  }
  const index_t d = dweight.cols;
  parallel_for(dweight.rows, grain_of(d), [&](index_t, index_t begin, index_t end) {
    Workspace<double> memory(static_cast<std::size_t>(d));
    double* const total = memory.data();
    for (index_t r = begin; r < end; ++r) {
      const index_t first = ends[static_cast<std::size_t>(r)];
      const index_t last = r == padding ? first : ends[static_cast<std::size_t>(r) + 1];
      T* const to = dweight.row(r);
      if (first == last) {
        std::fill_n(to, d, T{0});
        continue;
      }
      std::fill_n(total, d, 0.0);
      for (index_t p = first; p < last; ++p) add(order[static_cast<std::size_t>(p)], total);
      for (index_t j = 0; j < d; ++j) to[j] = static_cast<T>(total[j]);
    }
  });
}

// The positions of a bag that are not padding.
template <class T>
index_t counted(const Bags<T>& bags, index_t b) {
  index_t count = 0;
  for (index_t p = bags.begin(b); p < bags.end(b); ++p) {
    count += bags.index[static_cast<std::size_t>(p)] != bags.padding;
  }
  return count;
}

// at[j] = the first position of the largest entry of column j, -1 where there is none.
template <class T>
void largest(MatrixView<const T> weight, const Bags<T>& bags, index_t b, index_t* at) {
  std::fill_n(at, weight.cols, index_t{-1});
  for (index_t p = bags.begin(b); p < bags.end(b); ++p) {
    const index_t row = bags.index[static_cast<std::size_t>(p)];
    if (row == bags.padding) continue;
    for (index_t j = 0; j < weight.cols; ++j) {
      if (at[j] >= 0) {
        const T best = weight(bags.index[static_cast<std::size_t>(at[j])], j), v = weight(row, j);
        if (!(v > best || (v != v && best == best))) continue;
      }
      at[j] = p;
    }
  }
}

}  // namespace

template <class T>
void forward(MatrixView<const T> weight, std::span<const index_t> index, MatrixView<T> y) {
  check("embedding.forward", index, weight.rows);
  parallel_for(y.rows, grain_of(y.cols), [&](index_t, index_t begin, index_t end) {
    for (index_t i = begin; i < end; ++i) {
      const T* const from = weight.row(index[static_cast<std::size_t>(i)]);
      T* const to = y.row(i);
      if (weight.col_stride == 1) {
        std::copy_n(from, y.cols, to);
      } else {
        for (index_t j = 0; j < y.cols; ++j) to[j] = from[j * weight.col_stride];
      }
    }
  });
}

template <class T>
void backward(MatrixView<const T> dout, std::span<const index_t> index, index_t padding,
              MatrixView<T> dweight) {
  check("embedding.backward", index, dweight.rows);
  scatter(index, padding, dweight, [&](index_t p, double* total) {
    for (index_t j = 0; j < dout.cols; ++j) total[j] += static_cast<double>(dout(p, j));
  });
}

template <class T>
void bag(MatrixView<const T> weight, const Bags<T>& bags, MatrixView<T> y) {
  check("embedding.bag", bags, weight.rows);
  const index_t d = weight.cols;
  const index_t mean_size = static_cast<index_t>(bags.index.size()) / std::max<index_t>(1, y.rows);
  parallel_for(y.rows, grain_of(d * (mean_size + 1)), [&](index_t, index_t begin, index_t end) {
    Workspace<double> memory(static_cast<std::size_t>(d));
    std::vector<index_t> at(bags.mode == Mode::max ? static_cast<std::size_t>(d) : 0);
    double* const total = memory.data();
    for (index_t b = begin; b < end; ++b) {
      T* const to = y.row(b);
      if (bags.mode == Mode::max) {
        largest(weight, bags, b, at.data());
        for (index_t j = 0; j < d; ++j) {
          const index_t p = at[static_cast<std::size_t>(j)];
          to[j] = p < 0 ? T{0} : weight(bags.index[static_cast<std::size_t>(p)], j);
        }
        continue;
      }
      std::fill_n(total, d, 0.0);
      for (index_t p = bags.begin(b); p < bags.end(b); ++p) {
        const auto position = static_cast<std::size_t>(p);
        const index_t row = bags.index[position];
        if (row == bags.padding) continue;
        const double w =
            bags.sample_weight.empty() ? 1.0 : static_cast<double>(bags.sample_weight[position]);
        const T* const from = weight.row(row);
        for (index_t j = 0; j < d; ++j) {
          total[j] += w * static_cast<double>(from[j * weight.col_stride]);
        }
      }
      const index_t count = bags.mode == Mode::mean ? counted(bags, b) : 1;
      const double size = static_cast<double>(std::max<index_t>(1, count));
      for (index_t j = 0; j < d; ++j) to[j] = static_cast<T>(total[j] / size);
    }
  });
}

template <class T>
void bag_backward(MatrixView<const T> dout, MatrixView<const T> weight, const Bags<T>& bags,
                  MatrixView<T> dweight, std::span<T> dsample_weight) {
  check("embedding.bag_backward", bags, weight.rows);
  const index_t d = weight.cols, n = static_cast<index_t>(bags.index.size());
  std::vector<index_t> bag_of(bags.index.size());
  std::vector<double> factor(bags.index.size(), 1.0);
  Workspace<index_t> chosen(
      static_cast<std::size_t>(bags.mode == Mode::max ? dout.rows * d : index_t{0}));
  for (index_t b = 0; b < dout.rows; ++b) {
    const index_t size = bags.mode == Mode::mean ? counted(bags, b) : 1;
    for (index_t p = bags.begin(b); p < bags.end(b); ++p) {
      const auto position = static_cast<std::size_t>(p);
      bag_of[position] = b;
      factor[position] = bags.sample_weight.empty()
                             ? 1.0 / static_cast<double>(std::max<index_t>(1, size))
                             : static_cast<double>(bags.sample_weight[position]);
    }
  }
  if (bags.mode == Mode::max) {
    parallel_for(dout.rows, grain_of(d), [&](index_t, index_t begin, index_t end) {
      for (index_t b = begin; b < end; ++b) largest(weight, bags, b, chosen.data() + b * d);
    });
  }
  scatter(bags.index, bags.padding, dweight, [&](index_t p, double* total) {
    const index_t b = bag_of[static_cast<std::size_t>(p)];
    const double w = factor[static_cast<std::size_t>(p)];
    const index_t* const at = bags.mode == Mode::max ? chosen.data() + b * d : nullptr;
    for (index_t j = 0; j < d; ++j) {
      if (at == nullptr || at[j] == p) total[j] += w * static_cast<double>(dout(b, j));
    }
  });
  parallel_for(n, grain_of(d), [&](index_t, index_t begin, index_t end) {
    for (index_t p = begin; p < end; ++p) {
      const auto position = static_cast<std::size_t>(p);
      const index_t row = bags.index[position], b = bag_of[position];
      double sum = 0;
      if (!bags.sample_weight.empty() && row != bags.padding) {
        for (index_t j = 0; j < d; ++j) {
          sum += static_cast<double>(dout(b, j)) * static_cast<double>(weight(row, j));
        }
      }
      dsample_weight[position] = static_cast<T>(sum);
    }
  });
}

KERNELMILL_EMBEDDING(, float)
KERNELMILL_EMBEDDING(, double)

}  // namespace kernelmill::embedding
