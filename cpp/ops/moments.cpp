#include "ops/moments.hpp"

#include <algorithm>    // std::any_of, std::max, std::min, std::swap
#include <array>        // tiles of all sizes
#include <cmath>        // std::sqrt
#include <type_traits>  // std::is_same_v
#include <utility>      // std::integer_sequence
#include <vector>       // one row's entries

#include "core/parallel.hpp"   // ordered_reduce, parallel_for
#include "core/tile.hpp"       // product_tiles
#include "core/workspace.hpp"  // Workspace
#include "ops/moments_block.hpp"

namespace kernelmill::moments {
namespace {

using Vec = tile::Params<double>::Vec;
constexpr index_t NR = tile::Params<double>::NR;
constexpr int NV = tile::Params<double>::NV, lanes = tile::Params<double>::lanes;

// Up to this many columns each chunk of rows has sums of its own; above, threads share one matrix
// of sums and take blocks of its columns.
constexpr index_t kMostOwn = 512;
constexpr index_t kColumnBlock = 96 / NR * NR;  // 256 keep a thread waiting at the end
// Columns of z that lie side by side for the products of tiles.
constexpr index_t kPanel = lanes < 4 ? 4 : lanes;
// Of z, where threads share the sums: these come from memory once a slab. For 4000 rows of 3001
// columns 8 MB took 10 % more time, and blocks of 256 columns 6 %.
constexpr index_t kSlabBytes = index_t{24} << 20;

// Packing of z, or of w z, along lanes.
struct Columns {
  const double* z;
  index_t stride;
  const double* w;  // or null

  void pack(index_t outer, index_t count, index_t depth, index_t depth_count, double* panel,
            index_t width) const {
    const double* row = z + depth * stride + outer;
    for (index_t p = 0; p < depth_count; ++p, row += stride, panel += width) {
      index_t r = 0;
      const double factor = w == nullptr ? 1.0 : w[depth + p];
      for (; r + lanes <= width; r += lanes) {  // z has zeros beyond its end
        tile::store(panel + r, factor * tile::load<Vec>(row + r));
      }
      for (; r < width; ++r) panel[r] = r < count ? factor * row[r] : 0.0;
    }
  }
};

// to[i][j] += P(i, j).
struct AddTo {
  static constexpr tile::Hooks hooks{};
  double* to;
  index_t stride;

  template <int Rows>
  void tile(const Vec (&acc)[Rows][NV], index_t i0, index_t j0, index_t cols) {
    double* const first = to + i0 * stride + j0;
    if (cols < NR) {
      Vec rows[Rows][NV];  // a copy, so that `acc` itself stays in registers
      KERNELMILL_UNROLL
      for (int r = 0; r < Rows; ++r) {
        KERNELMILL_UNROLL
        for (int v = 0; v < NV; ++v) rows[r][v] = acc[r][v];
      }
      return add_part(rows, Rows, first, cols);
    }
    KERNELMILL_UNROLL
    for (int r = 0; r < Rows; ++r) {
      KERNELMILL_UNROLL
      for (int v = 0; v < NV; ++v) {
        double* const at = first + r * stride + v * lanes;
        tile::store(at, tile::load<Vec>(at) + acc[r][v]);
      }
    }
  }

 private:
  [[gnu::noinline]] void add_part(const Vec (*acc)[NV], int rows, double* first,
                                  index_t cols) const {
    double row[NR];
    for (int r = 0; r < rows; ++r, first += stride) {
      for (int v = 0; v < NV; ++v) tile::store(row + v * lanes, acc[r][v]);
      for (index_t l = 0; l < cols; ++l) first[l] += row[l];
    }
  }
};

// Columns of whole panels.
index_t panel_columns(index_t columns) { return (columns + kPanel - 1) / kPanel * kPanel; }

// A block of rows z as panels [panel][rows][kPanel], and memory that is needed next.
struct Panels {
  const double* data;
  index_t rows, columns;
  const char* next;
  index_t next_bytes;
};

// Up to kPanel columns times `Wide` panels: at most 24 accumulators of 32 registers, 12 of 16, and
// 8 where a product takes a register of its own.
constexpr int kPanelVectors = static_cast<int>(kPanel) / lanes;
constexpr int kMostWide = KERNELMILL_LEVEL == 2 ? 1 : 3;

// to += the products of the columns from i on with `Wide` panels from j on. Memory from `next` on
// is fetched meanwhile, `step` bytes for each row: all of it at once would fill the queue that
// loads wait in.
template <int Rows, int Wide>
[[gnu::noinline]] void multiply_tile(const Panels& z, index_t i, index_t j, const char* next,
                                     index_t step, double* to, index_t stride) {
  constexpr int vectors = Wide * kPanelVectors;
  const index_t size = kPanel * z.rows;
  Vec acc[Rows][vectors] = {};
  const double* a = z.data + i * z.rows;
  const double* b = z.data + j * z.rows;
  for (index_t p = 0; p < z.rows; ++p, a += kPanel, b += kPanel, next += step) {
    __builtin_prefetch(next, 0, 2);
    Vec column[vectors];
    KERNELMILL_UNROLL
    for (int v = 0; v < vectors; ++v) {
      column[v] = tile::load<Vec>(b + v / kPanelVectors * size + v % kPanelVectors * lanes);
    }
    KERNELMILL_UNROLL
    for (int r = 0; r < Rows; ++r) {
      KERNELMILL_UNROLL
      for (int v = 0; v < vectors; ++v) acc[r][v] += a[r] * column[v];
    }
  }
  to += i * stride + j;
  KERNELMILL_UNROLL
  for (int r = 0; r < Rows; ++r) {
    KERNELMILL_UNROLL
    for (int v = 0; v < vectors; ++v) {
      double* const at = to + r * stride + v * lanes;
      const index_t cols = z.columns - j - v * lanes;
      if (cols >= lanes) {
        tile::store(at, tile::load<Vec>(at) + acc[r][v]);
      } else {
        const Vec sums = acc[r][v];
        for (index_t l = 0; l < cols; ++l) at[l] += sums[l];
      }
    }
  }
}

// to += z z' on and below the diagonal, tile by tile: the last columns make a tile of less height,
// so that a column more costs what it adds. What is needed next is fetched meanwhile: rows that are
// read in bursts would keep memory waiting between them.
void multiply_panels(const Panels& z, double* to, index_t stride) {
  using Tile = void (*)(const Panels&, index_t, index_t, const char*, index_t, double*, index_t);
  static constexpr auto tiles = []<int... At>(std::integer_sequence<int, At...>) {
    return std::array<Tile, sizeof...(At)>{&multiply_tile<At % kPanel + 1, At / kPanel + 1>...};
  }(std::make_integer_sequence<int, kPanel * kMostWide>{});
  const index_t panels = panel_columns(z.columns) / kPanel;
  const index_t pairs = panels * (panels + 1) / 2;
  const char* next = z.next;
  for (index_t first = 0; first < panels; first += kMostWide) {
    const index_t last = std::min<index_t>(first + kMostWide, panels);
    for (index_t i = first; i < panels; ++i) {
      const index_t wide = std::min(last, i + 1) - first;
      const index_t tall = std::min(kPanel, z.columns - i * kPanel);
      const index_t step = (z.next_bytes * wide + pairs * z.rows - 1) / (pairs * z.rows);
      tiles[static_cast<std::size_t>((wide - 1) * kPanel + tall - 1)](z, i * kPanel, first * kPanel,
                                                                      next, step, to, stride);
      next += step * z.rows;
    }
  }
}

index_t first_tile(const tile::PackedA<double>& a, index_t row) {
  index_t t = 0;
  while (t < a.tiles() && a.tile_row(t + 1) <= row) ++t;
  return t;
}

// Everything about one call: where rows come from, and how z is made of them.
template <class X, class T>
struct Problem {
  static constexpr bool dense = !std::is_same_v<X, CsrView<T>>;
  X x;
  MatrixView<const double> y;
  std::span<const double> origin;
  std::span<const T> weight;
  bool moved;  // whether x has an origin

  index_t columns() const { return x.cols + y.cols + 1; }

  void fill(index_t begin, index_t rows, double* z, double* w) const {
    const index_t d = x.cols, m = y.cols, stride = padded(columns());
    fill_rows(x, begin, rows, moved ? origin.data() : nullptr, z, stride);
    for (index_t r = 0; r < rows; ++r) {
      double* const row = z + r * stride;
      for (index_t q = 0; q < m; ++q) {
        row[d + q] = y(begin + r, q) - origin[static_cast<std::size_t>(d + q)];
      }
      row[d + m] = 1.0;
      std::fill(row + d + m + 1, row + stride, 0.0);
      if (!weight.empty()) w[r] = static_cast<double>(weight[static_cast<std::size_t>(begin + r)]);
    }
  }
};

struct Sums {
  explicit Sums(index_t columns) : size(columns * columns), memory(static_cast<std::size_t>(size)) {
    std::fill_n(memory.data(), size, 0.0);
  }
  index_t size;
  Workspace<double> memory;
};

template <class Body>
void reduce(index_t n, index_t columns, double* out, const Body& body) {
  // So many that the sums of a chunk cost little beside it; fewer of few rows, for all threads, as
  // long as a chunk is some 30 microseconds.
  constexpr index_t least = 512, worth = index_t{1} << 21;
  const index_t rows = std::min(std::max<index_t>(2048, 8 * columns),
                                std::max({least, n / 4, worth / (columns * columns)}));
  const index_t grain = (rows + kBlockRows - 1) / kBlockRows * kBlockRows;
  const Sums sums = ordered_reduce<Sums>(
      n, grain, [&] { return Sums(columns); },
      [&](Sums& state, index_t, index_t begin, index_t end) {
        body(state.memory.data(), begin, end);
      },
      [](Sums& into, Sums&& from) {
        for (index_t i = 0; i < into.size; ++i) into.memory.data()[i] += from.memory.data()[i];
      });
  std::copy_n(sums.memory.data(), sums.size, out);
}

// Rows about their origin as panels, for rows whose elements are adjacent.
template <class T>
void fill_panels(const Problem<MatrixView<const T>, T>& problem, index_t begin, index_t rows,
                 const double* origin, double* panels) {
  const index_t d = problem.x.cols, m = problem.y.cols;
  const index_t whole = d / kPanel * kPanel, size = kPanel * rows;
  for (index_t r = 0; r < rows; ++r) {
    const T* const x = problem.x.row(begin + r);
    const double root =
        problem.weight.empty()
            ? 1.0
            : std::sqrt(static_cast<double>(problem.weight[static_cast<std::size_t>(begin + r)]));
    double* to = panels + r * kPanel;
    for (index_t j = 0; j < whole; j += kPanel, to += size) {
#pragma omp simd
      for (index_t l = 0; l < kPanel; ++l) {
        to[l] = root * (static_cast<double>(x[j + l]) - origin[j + l]);
      }
    }
    index_t l = 0;
    const auto put = [&](double value) {
      to[l] = root * value;
      if (++l == kPanel) {
        l = 0;
        to += size;
      }
    };
    for (index_t j = whole; j < d; ++j) put(static_cast<double>(x[j]) - origin[j]);
    for (index_t q = 0; q < m; ++q) put(problem.y(begin + r, q) - origin[d + q]);
    put(1.0);
    while (l != 0) put(0.0);
  }
}

// Each chunk of rows adds to sums of its own.
template <class P>
void by_rows(const P& problem, double* out) {
  const index_t columns = problem.columns(), stride = padded(columns);
  reduce(problem.x.rows, columns, out, [&](double* sums, index_t begin, index_t end) {
    Workspace<double> memory(static_cast<std::size_t>(kBlockRows * (stride + 1)));
    double* const z = memory.data();
    double* const w = problem.weight.empty() ? nullptr : z + kBlockRows * stride;
    for (index_t i = begin; i < end; i += kBlockRows) {
      const index_t rows = std::min(kBlockRows, end - i);
      if constexpr (P::dense) {
        const auto& x = problem.x;
        if (x.col_stride == 1) {
          fill_panels(problem, i, rows, problem.origin.data(), z);
          const index_t bytes = std::min(kBlockRows, end - i - rows) * x.row_stride *
                                static_cast<index_t>(sizeof(*x.data));
          const char* const next = reinterpret_cast<const char*>(x.row(i + rows));
          multiply_panels({z, rows, columns, next, x.row_stride > 0 ? bytes : 0}, sums, columns);
          continue;
        }
      }
      problem.fill(i, rows, z, w);
      add_products(z, rows, columns, w, sums, columns);
    }
  });
}

// Threads take blocks of columns of one matrix of sums, slab of rows by slab.
template <class P>
void by_columns(const P& problem, double* out) {
  const index_t n = problem.x.rows, columns = problem.columns(), stride = padded(columns);
  const index_t blocks = std::max<index_t>(
      1, kSlabBytes / (stride * kBlockRows * static_cast<index_t>(sizeof(double))));
  const index_t slab = std::min(n, blocks * kBlockRows);
  Workspace<double> memory(static_cast<std::size_t>(slab * (stride + 1)));
  double* const z = memory.data();
  double* const w = problem.weight.empty() ? nullptr : z + slab * stride;
  for (index_t begin = 0; begin < n; begin += slab) {
    const index_t rows = std::min(slab, n - begin);
    parallel_for(rows, 64, [&](index_t, index_t first, index_t last) {
      problem.fill(begin + first, last - first, z + first * stride, w == nullptr ? w : w + first);
    });
    tile::PackedA<double> a(columns, rows);
    tile::PackedB<double> b(columns, rows);
    parallel_for(a.tiles(), 8, [&](index_t, index_t first, index_t last) {
      a.pack(tile::Strided<double>{z, 1, stride}, first, last);
    });
    parallel_for(columns, kColumnBlock, [&](index_t, index_t first, index_t last) {
      b.pack(Columns{z, stride, w}, first, first, last);
    });
    parallel_for(columns, kColumnBlock, [&](index_t, index_t first, index_t last) {
      AddTo epilogue{out, columns};
      tile::product_tiles<double>(a, first_tile(a, first), a.tiles(), b, first, last, epilogue);
    });
  }
}

// Rows of few stored entries, pair by pair.
template <class T>
void by_pairs(const Problem<CsrView<T>, T>& problem, double* out) {
  const index_t columns = problem.columns(), d = problem.x.cols, m = problem.y.cols;
  problem.x.visit([&](const auto& csr) {
    reduce(csr.rows, columns, out, [&](double* sums, index_t begin, index_t end) {
      std::vector<index_t> place;
      std::vector<double> value;
      for (index_t i = begin; i < end; ++i) {
        place.clear();
        value.clear();
        const auto put = [&](index_t p, double v) {
          place.push_back(p);
          value.push_back(v);
        };
        for (auto at = csr.indptr[i]; at < csr.indptr[i + 1]; ++at) {
          put(csr.indices[at], static_cast<double>(csr.data[at]));
        }
        for (index_t q = 0; q < m; ++q) {
          put(d + q, problem.y(i, q) - problem.origin[static_cast<std::size_t>(d + q)]);
        }
        put(d + m, 1.0);
        const double w = problem.weight.empty()
                             ? 1.0
                             : static_cast<double>(problem.weight[static_cast<std::size_t>(i)]);
        for (std::size_t a = 0; a < place.size(); ++a) {
          const double scaled = w * value[a];
          for (std::size_t b = 0; b <= a; ++b) {
            // Of entries out of order, or repeated, the pair is met once: both halves of a
            // repeated one are its.
            const auto [low, high] = std::minmax(place[a], place[b]);
            const double term = scaled * value[b];
            sums[high * columns + low] += a != b && low == high ? 2 * term : term;
          }
        }
      }
    });
  });
}

template <class X, class T>
void run(const X& x, MatrixView<const double> y, std::span<const double> origin,
         std::span<const T> weight, MatrixView<double> out) {
  const auto shift = origin.first(static_cast<std::size_t>(x.cols));
  const bool moved = std::any_of(shift.begin(), shift.end(), [](double o) { return o != 0.0; });
  const Problem<X, T> problem{x, y, origin, weight, moved};
  const index_t columns = problem.columns();
  std::fill_n(out.data, columns * columns, 0.0);
  if (x.rows == 0) return;
  if constexpr (std::is_same_v<X, CsrView<T>>) {
    // A pair costs about as much as 32 products of a tile.
    const double stored = static_cast<double>(x.stored) / static_cast<double>(x.rows);
    const double pairs = (stored + static_cast<double>(y.cols)) * 5.6;
    if (!moved && pairs < static_cast<double>(columns)) {
      by_pairs(problem, out.data);
      mirror(out.data, columns);
      return;
    }
  }
  if (columns <= kMostOwn) {
    by_rows(problem, out.data);
  } else {
    by_columns(problem, out.data);
  }
  mirror(out.data, columns);
}

}  // namespace

void add_products(const double* z, index_t rows, index_t columns, const double* w, double* to,
                  index_t stride) {
  const index_t length = padded(columns), width = panel_columns(columns);
  Workspace<double> panels(static_cast<std::size_t>(width * rows));
  for (index_t r = 0; r < rows; ++r) {
    const double root = w == nullptr ? 1.0 : std::sqrt(w[r]);
    for (index_t j = 0; j < width; j += lanes) {
      double* const at = panels.data() + j / kPanel * kPanel * rows + r * kPanel + j % kPanel;
      tile::store(at, root * tile::load<Vec>(z + r * length + j));
    }
  }
  multiply_panels({panels.data(), rows, columns, reinterpret_cast<const char*>(z), 0}, to, stride);
}

void mirror(double* products, index_t columns) {
  constexpr index_t block = 32;
  for (index_t i0 = 0; i0 < columns; i0 += block) {
    for (index_t j0 = 0; j0 <= i0; j0 += block) {
      for (index_t i = i0; i < std::min(columns, i0 + block); ++i) {
        for (index_t j = j0; j < std::min(i, j0 + block); ++j) {
          products[j * columns + i] = products[i * columns + j];
        }
      }
    }
  }
}

template <class T>
void products(MatrixView<const T> x, MatrixView<const double> y, std::span<const double> origin,
              std::span<const T> sample_weight, MatrixView<double> out) {
  run(x, y, origin, sample_weight, out);
}
template <class T>
void csr_products(CsrView<T> x, MatrixView<const double> y, std::span<const double> origin,
                  std::span<const T> sample_weight, MatrixView<double> out) {
  run(x, y, origin, sample_weight, out);
}

KERNELMILL_FOR_FLOATS(products)
KERNELMILL_FOR_FLOATS(csr_products)

}  // namespace kernelmill::moments
