// Growing a tree: leaves of equal size, found by medians along the widest side of each part.
#include "ops/neighbors.hpp"

#include <algorithm>  // std::nth_element, std::sort
#include <vector>     // parts

#include "ops/neighbors_blocks.hpp"

namespace kernelmill::neighbors {
namespace {

struct Part {
  index_t first, last;  // leaves
};

// Leaves that go to the left half: whole groups of 2, 4, 8, ..., so that the leaves of a group of
// boxes are a part of their own.
index_t left_leaves(index_t leaves) {
  index_t half = 1;
  while (2 * half < leaves) half *= 2;
  return half;
}

struct Key {
  double value;
  index_t row;
  friend bool operator<(const Key& a, const Key& b) {
    return a.value < b.value || (a.value == b.value && a.row < b.row);
  }
};

template <class T>
class Grower {
 public:
  Grower(MatrixView<const T> x, index_t leaves, std::span<index_t> order)
      : x_(x), leaves_(leaves), order_(order.data()) {}

  void run() {
    for (index_t i = 0; i < x_.rows; ++i) order_[i] = i;
    std::vector<Part> parts{{0, leaves_}}, next;
    while (!parts.empty()) {
      // Parts of one generation do not depend on each other; those of the first few are large, and
      // later ones many.
      std::vector<Part> split(2 * parts.size());
      const index_t count = static_cast<index_t>(parts.size());
      parallel_for(count, std::max<index_t>(1, count / 64), [&](index_t, index_t a, index_t b) {
        for (index_t i = a; i < b; ++i) {
          const Part part = parts[static_cast<std::size_t>(i)];
          Part* const to = &split[static_cast<std::size_t>(2 * i)];
          to[0] = to[1] = part;
          if (part.last - part.first < 2) continue;
          to[0].last = to[1].first = part.first + left_leaves(part.last - part.first);
          halve(part, to[1].first);
        }
      });
      next.clear();
      for (const Part& part : split) {
        if (part.last - part.first > 1) next.push_back(part);
      }
      parts.swap(next);
    }
  }

 private:
  index_t begin(index_t leaf) const { return leaf_begin(leaf, x_.rows, leaves_); }

  void halve(Part part, index_t middle) {
    const index_t from = begin(part.first), to = begin(part.last), n = to - from;
    index_t widest = 0;
    double width = -1;
    const index_t d = x_.cols;
    const Workspace<double> range(static_cast<std::size_t>(2 * d));
    double *const low = range.data(), *const high = low + d;
    std::fill(low, low + d, kInfinity);
    std::fill(high, high + d, -kInfinity);
    for (index_t i = from; i < to; ++i) {
      const T* const row = x_.row(order_[i]);
      for (index_t p = 0; p < d; ++p) {
        const double value = static_cast<double>(row[p * x_.col_stride]);
        low[p] = value < low[p] ? value : low[p];
        high[p] = value > high[p] ? value : high[p];
      }
    }
    for (index_t p = 0; p < d; ++p) {
      if (high[p] - low[p] > width) {
        width = high[p] - low[p];
        widest = p;
      }
    }
    const Workspace<Key> keys(static_cast<std::size_t>(n));
    for (index_t i = 0; i < n; ++i) {
      const index_t row = order_[from + i];
      keys.data()[i] = {static_cast<double>(x_(row, widest)), row};
    }
    std::nth_element(keys.data(), keys.data() + (begin(middle) - from), keys.data() + n);
    for (index_t i = 0; i < n; ++i) order_[from + i] = keys.data()[i].row;
  }

  MatrixView<const T> x_;
  index_t leaves_;
  index_t* order_;
};

// Boxes of the items of one level, from the points or from the boxes below.
template <class T>
void fill_leaves(MatrixView<const T> x, const Levels& levels, const index_t* order, T* points,
                 double* boxes) {
  const index_t n = x.rows, d = x.cols, leaves = levels.items(0);
  parallel_for(leaves, std::max<index_t>(1, 4096 / (d + 1)), [&](index_t, index_t a, index_t b) {
    for (index_t l = a; l < b; ++l) {
      const index_t from = leaf_begin(l, n, leaves), count = leaf_begin(l + 1, n, leaves) - from;
      T* const block = points + l * d * kWidth;
      double* const low = boxes + l / kFan * 2 * d * kFan + l % kFan;
      double* const high = low + d * kFan;
      for (index_t p = 0; p < d; ++p) {
        double least = kInfinity, largest = -kInfinity;
        for (index_t i = 0; i < kWidth; ++i) {
          const T value = i < count ? x(order[from + i], p) : std::numeric_limits<T>::infinity();
          block[p * kWidth + i] = value;
          if (i >= count) continue;
          least = std::min(least, static_cast<double>(value));
          largest = std::max(largest, static_cast<double>(value));
        }
        low[p * kFan] = least;
        high[p * kFan] = largest;
      }
    }
  });
}

void fill_level(int level, index_t d, const Levels& levels, double* boxes) {
  const double* const below = boxes + levels.first_group(level - 1) * 2 * d * kFan;
  double* const here = boxes + levels.first_group(level) * 2 * d * kFan;
  for (index_t item = 0; item < levels.items(level); ++item) {
    const double* const group = below + item * 2 * d * kFan;
    double* const to = here + item / kFan * 2 * d * kFan + item % kFan;
    for (index_t p = 0; p < 2 * d; ++p) {
      const double* const side = group + p * kFan;
      to[p * kFan] =
          p < d ? *std::min_element(side, side + kFan) : *std::max_element(side, side + kFan);
    }
  }
}

}  // namespace

template <class T>
void grow(MatrixView<const T> x, index_t leaves, index_t groups, std::span<index_t> order,
          T* points, double* boxes) {
  const index_t n = x.rows, d = x.cols;
  if (leaves < 1 || leaves > std::max<index_t>(n, 1) || (n + leaves - 1) / leaves > kWidth) {
    invalid("neighbors.grow", "leaves must have 1 to ", kWidth, " rows each, got ", leaves,
            " leaves for ", n, " rows");
  }
  const Levels levels(leaves);
  if (groups != levels.groups()) {
    invalid("neighbors.grow", "groups must be ", levels.groups(), " for ", leaves, " leaves, got ",
            groups);
  }
  Grower<T>(x, leaves, order).run();
  parallel_for(leaves, 512, [&](index_t, index_t a, index_t b) {
    for (index_t l = a; l < b; ++l) {
      std::sort(order.data() + leaf_begin(l, n, leaves),
                order.data() + leaf_begin(l + 1, n, leaves));
    }
  });
  for (index_t g = 0; g < groups; ++g) {
    double* const box = boxes + g * 2 * d * kFan;
    std::fill(box, box + d * kFan, kInfinity);
    std::fill(box + d * kFan, box + 2 * d * kFan, -kInfinity);
  }
  fill_leaves(x, levels, order.data(), points, boxes);
  for (int level = 1; level < levels.count(); ++level) fill_level(level, d, levels, boxes);
}

KERNELMILL_FOR_FLOATS(grow)

}  // namespace kernelmill::neighbors
