// The tile product and matmul. Data are small integers stored as floats, so sums are exact at any
// order and results are compared bit for bit.
#include <gtest/gtest.h>  // the test framework

#include <array>             // combinations of layouts
#include <cmath>             // std::isnan
#include <initializer_list>  // thread limits
#include <limits>            // quiet_NaN
#include <numeric>           // std::iota
#include <string>            // failure messages
#include <type_traits>       // std::conditional_t
#include <vector>            // storage

#include "core/parallel.hpp"    // set_thread_limit
#include "core/tile.hpp"        // the product under test
#include "ops/centered.hpp"     // Centered
#include "ops/matmul.hpp"       // matmul under test
#include "ops/matmul_bf16.hpp"  // suits_bf16

namespace {
using kernelmill::index_t;
using kernelmill::MatrixView;
namespace tile = kernelmill::tile;

// A fixed sequence of integers in [-4, 4]: products of 2^20 of them still sum exactly in float.
class SmallIntegers {
 public:
  explicit SmallIntegers(std::uint64_t seed) : state_(seed) {}
  int next() {
    state_ = state_ * 6364136223846793005ULL + 1442695040888963407ULL;
    return static_cast<int>((state_ >> 33) % 9) - 4;
  }

 private:
  std::uint64_t state_;
};

template <class T>
constexpr T nan() {
  return std::numeric_limits<T>::quiet_NaN();
}

enum class Layout { row_major, column_major, padded, strided, reversed, misaligned };
constexpr std::array layouts{Layout::row_major, Layout::column_major, Layout::padded,
                             Layout::strided,   Layout::reversed,     Layout::misaligned};

// A rows x cols matrix in some layout inside a larger block of NaN, so that a read or a kept write
// outside the matrix shows.
template <class T>
struct Matrix {
  std::vector<T> storage;
  MatrixView<T> view;

  Matrix(index_t rows, index_t cols, Layout layout) {
    struct Place {
      index_t row_stride, col_stride, first;
    };
    const index_t margin = 3;
    const Place places[]{{cols, 1, 0},
                         {1, rows, 0},
                         {cols + 5, 1, margin},
                         {2 * cols + 1, 2, margin},
                         {-cols - 2, -1, margin},
                         {cols, 1, 1}};  // in the order of Layout
    const auto [row_stride, col_stride, first] = places[static_cast<int>(layout)];
    const index_t last = (rows - 1) * std::abs(row_stride) + (cols - 1) * std::abs(col_stride);
    storage.assign(static_cast<std::size_t>(std::max<index_t>(last, 0) + first + 1 + margin),
                   nan<T>());
    index_t origin = first;
    if (row_stride < 0) origin += std::max<index_t>(rows - 1, 0) * -row_stride;
    if (col_stride < 0) origin += std::max<index_t>(cols - 1, 0) * -col_stride;
    view = {storage.data() + origin, rows, cols, row_stride, col_stride};
  }

  void fill(std::uint64_t seed) {
    SmallIntegers integers(seed);
    for (index_t i = 0; i < view.rows; ++i) {
      for (index_t j = 0; j < view.cols; ++j) view(i, j) = static_cast<T>(integers.next());
    }
  }

  // Every element outside the matrix is still NaN.
  bool margins_untouched() const {
    std::size_t numbers = 0;
    for (T value : storage) numbers += std::isnan(value) ? 0 : 1;
    return numbers <= static_cast<std::size_t>(view.rows * view.cols);
  }
};

template <class In, class Acc = In>
std::vector<Acc> reference(MatrixView<In> a, MatrixView<In> b) {
  std::vector<Acc> product(static_cast<std::size_t>(a.rows * b.cols), Acc{0});
  for (index_t i = 0; i < a.rows; ++i) {
    for (index_t p = 0; p < a.cols; ++p) {
      const auto value = static_cast<Acc>(a(i, p));
      for (index_t j = 0; j < b.cols; ++j) {
        product[i * b.cols + j] += value * static_cast<Acc>(b(p, j));
      }
    }
  }
  return product;
}

// Records every tile and checks the order guarantee.
template <class T>
struct Recorder {
  using Vec = typename tile::Params<T>::Vec;
  static constexpr int NV = tile::Params<T>::NV, lanes = tile::Params<T>::lanes;
  static constexpr int NR = tile::Params<T>::NR;
  static constexpr tile::Hooks hooks{.panels = true};

  index_t m, n;
  std::vector<T> product = std::vector<T>(static_cast<std::size_t>(m * n), nan<T>());
  index_t panel = -1, panel_end = 0, next_row = 0, panels = 0;
  int tallest = 0, shortest = 1000;
  bool in_panel = false;

  void begin_panel(index_t j0, index_t cols) {
    EXPECT_FALSE(in_panel);
    EXPECT_EQ(j0, panel_end);
    EXPECT_EQ(cols, std::min<index_t>(NR, n - j0));
    in_panel = true;
    panel = j0;
    panel_end = j0 + cols;
    next_row = 0;
    ++panels;
  }
  void end_panel(index_t j0, index_t cols) {
    EXPECT_TRUE(in_panel);
    EXPECT_EQ(j0, panel);
    EXPECT_EQ(j0 + cols, panel_end);
    EXPECT_EQ(next_row, m);
    in_panel = false;
  }
  template <int Rows>
  void tile(const Vec (&acc)[Rows][NV], index_t i0, index_t j0, index_t cols) {
    EXPECT_TRUE(in_panel);
    EXPECT_EQ(i0, next_row);
    EXPECT_EQ(j0, panel);
    EXPECT_EQ(j0 + cols, panel_end);
    next_row = i0 + Rows;
    tallest = std::max(tallest, Rows);
    shortest = std::min(shortest, Rows);
    record<Rows>(acc, i0, j0, cols);
  }
  template <int Rows>
  void record(const Vec (&acc)[Rows][NV], index_t i0, index_t j0, index_t cols) {
    for (int r = 0; r < Rows; ++r) {
      for (int c = 0; c < NR; ++c) {
        const T value = acc[r][c / lanes][c % lanes];
        if (c < cols) {
          EXPECT_TRUE(std::isnan(product[(i0 + r) * n + j0 + c])) << "tile computed twice";
          product[(i0 + r) * n + j0 + c] = value;
        } else {
          EXPECT_EQ(value, T{0}) << "padding lanes";
        }
      }
    }
  }
};

// Takes tiles in any order, each announced or the first of its run.
template <class T>
struct AnyOrder {
  static constexpr tile::Hooks hooks{.prefetch = true};
  using P = tile::Params<T>;

  index_t m, n;
  Recorder<T> recorder{m, n};
  std::vector<T>& product = recorder.product;

  void prefetch(index_t i0, index_t rows, index_t j0) {
    EXPECT_LE(i0, m);
    EXPECT_LE(rows, (P::MR));
    EXPECT_LT(j0, n);
  }
  template <int Rows>
  void tile(const typename P::Vec (&acc)[Rows][P::NV], index_t i0, index_t j0, index_t cols) {
    recorder.template record<Rows>(acc, i0, j0, cols);
  }
};

// What no product takes: hooks that are misspelt, or not declared.
template <class T>
struct Plain {
  static constexpr tile::Hooks hooks{};
  using P = tile::Params<T>;
  template <int Rows>
  void tile(const typename P::Vec (&)[Rows][P::NV], index_t, index_t, index_t) {}
};
struct MisspeltTile {
  static constexpr tile::Hooks hooks{};
  template <int Rows, class Tile>
  void tiles(const Tile&, index_t, index_t, index_t) {}
};
struct MisspeltPanel : Plain<float> {
  static constexpr tile::Hooks hooks{.panels = true};
  void begin_panel(index_t, index_t) {}
  void end_pannel(index_t, index_t) {}
};
struct MisspeltPrefetch : Plain<float> {
  static constexpr tile::Hooks hooks{.prefetch = true};
  void prefech(index_t, index_t, index_t) {}
};
struct UndeclaredPrefetch : Plain<float> {
  void prefetch(index_t, index_t, index_t) {}
};
struct MisspeltPack {
  void packs(index_t, index_t, index_t, index_t, float*, index_t) const {}
};
static_assert(tile::Epilogue<Plain<float>, float> && !tile::Epilogue<Plain<float>, double>);
static_assert(tile::Epilogue<Recorder<double>, double> && tile::Epilogue<AnyOrder<float>, float>);
static_assert(!tile::Epilogue<int, float> && !tile::Epilogue<MisspeltTile, float>);
static_assert(!tile::Epilogue<MisspeltPanel, float> && !tile::Epilogue<MisspeltPrefetch, float>);
static_assert(!tile::Epilogue<UndeclaredPrefetch, float>);
static_assert(tile::Packing<tile::Strided<float>, double> && !tile::Packing<MisspeltPack, float>);

// A recorder of a part of the product that starts at (row0, column0).
template <class T>
struct Shifted : Recorder<T> {
  using P = tile::Params<T>;
  index_t row0, column0;
  void begin_panel(index_t j, index_t c) { Recorder<T>::begin_panel(j - column0, c); }
  void end_panel(index_t j, index_t c) { Recorder<T>::end_panel(j - column0, c); }
  template <int Rows>
  void tile(const typename P::Vec (&acc)[Rows][P::NV], index_t i, index_t j, index_t c) {
    Recorder<T>::template tile<Rows>(acc, i - row0, j - column0, c);
  }
};

// Expects NaN in the last row and column and nowhere else.
template <class T>
struct NanInLastRowAndColumn : Recorder<T> {
  using P = tile::Params<T>;
  template <int Rows>
  void tile(const typename P::Vec (&acc)[Rows][P::NV], index_t i0, index_t j0, index_t cols) {
    for (int r = 0; r < Rows; ++r) {
      for (int c = 0; c < cols; ++c) {
        const bool expected = i0 + r == this->m - 1 || j0 + c == this->n - 1;
        EXPECT_EQ(std::isnan(acc[r][c / P::lanes][c % P::lanes]), expected);
      }
    }
    this->next_row = i0 + Rows;
  }
};

template <class T>
class TileProduct : public testing::Test {};
template <class T>
class Matmul : public testing::Test {};
using Scalars = testing::Types<float, double>;
TYPED_TEST_SUITE(TileProduct, Scalars);
TYPED_TEST_SUITE(Matmul, Scalars);

template <class T>
tile::Strided<T> rows_policy(const MatrixView<T>& a) {
  return {a.data, a.row_stride, a.col_stride};
}
template <class T>
tile::Strided<T> columns_policy(const MatrixView<T>& b) {
  return {b.data, b.col_stride, b.row_stride};
}

std::string description(index_t m, index_t n, index_t k, std::initializer_list<Layout> of) {
  std::string text = "m, n, k, layouts:";
  // Not " " + text: gcc 12 at -O3 warns of an overlap that is not there.
  for (index_t size : {m, n, k}) text.append(" ").append(std::to_string(size));
  for (Layout layout : of) text.append(" ").append(std::to_string(static_cast<int>(layout)));
  return text;
}

template <class In, class Acc = In>
void check_product(index_t m, index_t n, index_t k, Layout layout_a, Layout layout_b) {
  SCOPED_TRACE(description(m, n, k, {layout_a, layout_b}));
  Matrix<In> a(m, k, layout_a), b(k, n, layout_b);
  a.fill(1);
  b.fill(2);
  const std::vector<Acc> expected = reference<In, Acc>(a.view, b.view);
  const tile::PackedA<Acc> packed(rows_policy(a.view), m, k);
  Recorder<Acc> recorder{m, n};
  tile::product<Acc>(packed, columns_policy(b.view), 0, n, recorder);
  EXPECT_EQ(recorder.panel_end, n);
  EXPECT_EQ(recorder.product, expected);
  if (m > 0 && n > 0) {
    EXPECT_LE(recorder.tallest, (tile::Params<Acc>::MR));
    EXPECT_LE(recorder.tallest - recorder.shortest, 1);
  }
  if (a.view.col_stride != 1) return;
  AnyOrder<Acc> unordered{m, n};
  tile::product<Acc>(tile::RowsA<In, Acc>(a.view.data, a.view.row_stride, m, k),
                     columns_policy(b.view), 0, n, unordered);
  EXPECT_EQ(unordered.product, expected);
}

TYPED_TEST(TileProduct, AllTails) {
  using P = tile::Params<TypeParam>;
  const std::vector<index_t> columns{0,         1,     P::lanes - 1, P::lanes,     P::lanes + 1,
                                     P::NR - 1, P::NR, P::NR + 1,    8 * P::NR + 2};
  const std::vector<index_t> rows{
      0, 1, 2, 3, P::MR / 2, P::MR - 1, P::MR, P::MR + 1, 8 * P::MR + 2};
  const std::vector<index_t> depths{0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33};
  for (index_t m : rows) {
    for (index_t n : columns) {
      for (index_t k : depths) {
        check_product<TypeParam>(m, n, k, Layout::padded, Layout::padded);
        check_product<TypeParam>(m, n, k, Layout::column_major, Layout::column_major);
      }
    }
  }
}

TYPED_TEST(TileProduct, EveryTileHeightOfEitherPacking) {
  using P = tile::Params<TypeParam>;
  for (index_t m = 1; m <= 2 * P::MR + 1; ++m) {
    for (Layout layout : layouts) check_product<TypeParam>(m, P::NR + 1, 6, layout, layout);
  }
}

TYPED_TEST(TileProduct, DepthIsSplit) {
  using P = tile::Params<TypeParam>;
  for (index_t k : {P::KC - 1, P::KC, P::KC + 1, 2 * P::KC + 1, 3 * P::KC - 1}) {
    for (index_t m : {1, P::MR + 1, P::MC + 1}) {
      for (index_t n : {1, P::NR + 1, P::NC + 1}) {
        check_product<TypeParam>(m, n, k, Layout::row_major, Layout::column_major);
      }
    }
    check_product<TypeParam>(P::MR + 1, P::NR - 1, k, Layout::strided, Layout::reversed);
  }
}

TYPED_TEST(TileProduct, DepthChunksCoverTheDepth) {
  using P = tile::Params<TypeParam>;
  for (index_t k = 0; k < 8 * P::KC; ++k) {
    const tile::DepthChunks<TypeParam> chunks(k);
    ASSERT_GE(chunks.count, 1);
    ASSERT_LE(chunks.size, (P::KC));
    ASSERT_GE(chunks.count * chunks.size, k);
    ASSERT_TRUE(k == 0 || (chunks.count - 1) * chunks.size < k) << k;
  }
}

TYPED_TEST(TileProduct, AllLayouts) {
  using P = tile::Params<TypeParam>;
  for (Layout layout_a : layouts) {
    for (Layout layout_b : layouts) {
      check_product<TypeParam>(2 * P::MR + 3, 2 * P::NR + 3, 21, layout_a, layout_b);
    }
  }
}

// Stored as one type, multiplied as another: what is packed is the converted element, so the bits
// are those of a matrix that was converted first.
TYPED_TEST(TileProduct, StorageOfAnotherType) {
  using Acc = TypeParam;
  using In = std::conditional_t<std::is_same_v<Acc, float>, double, float>;
  using P = tile::Params<Acc>;
  for (index_t m : {1, 3, P::MR + 1}) {
    for (index_t n : {1, P::lanes + 1, P::NR, 2 * P::NR + 1}) {
      for (index_t k : {0, 1, 2, 3, 4, 7, 8, 16, 17, 33, P::KC + 1}) {
        for (Layout layout : layouts) check_product<In, Acc>(m, n, k, layout, layout);
      }
    }
  }
  const index_t m = P::MR + 2, n = 2 * P::NR + 3, k = 37;
  Matrix<In> a(m, k, Layout::row_major), b(n, k, Layout::padded);
  Matrix<Acc> a_as(m, k, Layout::row_major), b_as(n, k, Layout::padded);
  SmallIntegers integers(21);
  const auto fill = [&](const auto& x, const auto& x_as) {
    for (index_t i = 0; i < x.rows * k; ++i) {
      x(i / k, i % k) = static_cast<In>(integers.next() + 0.3) / 3;
      x_as(i / k, i % k) = static_cast<Acc>(x(i / k, i % k));
    }
  };
  fill(a.view, a_as.view);
  fill(b.view, b_as.view);
  std::vector<index_t> order(n);
  for (index_t j = 0; j < n; ++j) order[j] = (7 * j + 3) % n;
  std::vector<Acc> origin(k);
  for (Acc& value : origin) value = static_cast<Acc>(integers.next()) / 3;
  const auto run = [&](const auto& x, const auto& y) {
    using Stored = std::remove_cvref_t<decltype(x(0, 0))>;
    const kernelmill::Centered<tile::Gathered<Stored, index_t>, Acc> columns{
        {y.data, y.row_stride, y.col_stride, order.data()}, origin.data()};
    Recorder<Acc> recorder{m, n};
    tile::product<Acc>(tile::PackedA<Acc>(rows_policy(x), m, k), columns, 0, n, recorder);
    return recorder.product;
  };
  EXPECT_EQ(run(a.view, b.view), run(a_as.view, b_as.view));
}

TYPED_TEST(TileProduct, ColumnRangeAndTileRange) {
  using T = TypeParam;
  using P = tile::Params<T>;
  const index_t m = 4 * P::MR + 1, n = 3 * P::NR, k = 9, skip = 5;
  Matrix<T> a(m, k, Layout::row_major), b(k, n + skip, Layout::column_major);
  a.fill(3);
  b.fill(4);
  const std::vector<T> all = reference(a.view, b.view);
  const tile::PackedA<T> packed(rows_policy(a.view), m, k);
  const index_t row = packed.tile_row(1), rows = packed.tile_row(4) - row;

  Shifted<T> recorder{{rows, n}, row, skip};
  tile::product_tiles<T>(packed, 1, 4, columns_policy(b.view), skip, skip + n, recorder);
  for (index_t i = 0; i < rows; ++i) {
    for (index_t j = 0; j < n; ++j) {
      EXPECT_EQ(recorder.product[i * n + j], all[(row + i) * (n + skip) + skip + j]);
    }
  }
}

TYPED_TEST(TileProduct, TriangularOperand) {
  using T = TypeParam;
  using P = tile::Params<T>;
  for (index_t m : {index_t{1}, index_t{P::MR}, index_t{P::MR + 1}, index_t{3 * P::MR + 2},
                    index_t{P::KC + 5}}) {
    const index_t n = P::NR + 3;
    Matrix<T> a(m, m, Layout::row_major), b(m, n, Layout::column_major);
    a.fill(7);
    b.fill(8);
    for (index_t i = 0; i < m; ++i) {
      for (index_t p = i + 1; p < m; ++p) a.view(i, p) = T{0};
    }
    const std::vector<T> expected = reference(a.view, b.view);
    // What the product promises not to read: the packed elements from a tile's last row on.
    const tile::TriangularA<T> packed(rows_policy(a.view), m, m);
    for (index_t t = 0; t < packed.tiles(); ++t) {
      for (index_t i = packed.tile_row(t); i < packed.tile_row(t + 1); ++i) {
        for (index_t p = packed.tile_row(t + 1); p < m; ++p) a.view(i, p) = nan<T>();
      }
    }
    const tile::TriangularA<T> spoiled(rows_policy(a.view), m, m);
    for (const auto* operand : {&packed, &spoiled}) {
      Recorder<T> recorder{m, n};
      tile::product<T>(*operand, columns_policy(b.view), 0, n, recorder);
      EXPECT_EQ(recorder.product, expected) << "m=" << m;
    }
  }
}

TYPED_TEST(TileProduct, GatheredRows) {
  using T = TypeParam;
  using P = tile::Params<T>;
  const index_t m = P::MR + 2, n = 2 * P::NR + 3;
  for (index_t k : {index_t{1}, index_t{5}, index_t{37}, index_t{P::KC + 3}}) {
    for (Layout layout : layouts) {
      Matrix<T> a(m, k, Layout::row_major), x(2 * n, k, layout);
      a.fill(5);
      x.fill(6);
      std::vector<std::int32_t> chosen(n);
      std::vector<index_t> chosen_a(m);
      for (index_t j = 0; j < n; ++j) chosen[j] = static_cast<std::int32_t>((7 * j + 3) % (2 * n));
      for (index_t i = 0; i < m; ++i) chosen_a[i] = (i * i) % m;
      const tile::Gathered<T, index_t> policy_a{a.view.data, a.view.row_stride, a.view.col_stride,
                                                chosen_a.data()};
      const tile::Gathered<T> policy_b{x.view.data, x.view.row_stride, x.view.col_stride,
                                       chosen.data()};
      const tile::PackedA<T> packed(policy_a, m, k);
      Recorder<T> recorder{m, n};
      tile::product<T>(packed, policy_b, 0, n, recorder);
      for (index_t i = 0; i < m; ++i) {
        for (index_t j = 0; j < n; ++j) {
          T sum = 0;
          for (index_t p = 0; p < k; ++p) sum += a.view(chosen_a[i], p) * x.view(chosen[j], p);
          ASSERT_EQ(recorder.product[i * n + j], sum);
        }
      }
    }
  }
}

TYPED_TEST(TileProduct, NanStaysInItsRowAndColumn) {
  using T = TypeParam;
  using P = tile::Params<T>;
  const index_t m = 2 * P::MR + 1, n = P::NR + 3, k = 11;
  Matrix<T> a(m, k, Layout::row_major), b(k, n, Layout::column_major);
  a.fill(7);
  b.fill(8);
  a.view(m - 1, 2) = nan<T>();
  b.view(1, n - 1) = nan<T>();
  NanInLastRowAndColumn<T> recorder{{m, n}};
  tile::product<T>(tile::PackedA<T>(rows_policy(a.view), m, k), columns_policy(b.view), 0, n,
                   recorder);
}

// Values that do not sum exactly: the bits must not depend on where the element lies in the
// product.
TYPED_TEST(TileProduct, BitsDoNotDependOnPosition) {
  using T = TypeParam;
  using P = tile::Params<T>;
  for (index_t k : {index_t{19}, index_t{2 * P::KC + 7}}) {
    const index_t m = 3 * P::MR + 2, n = 2 * P::NR + 1;
    Matrix<T> a(m, k, Layout::row_major), b(k, n, Layout::row_major);
    SmallIntegers integers(9);
    for (index_t i = 0; i < m; ++i) {
      for (index_t p = 0; p < k; ++p) a.view(i, p) = static_cast<T>(integers.next() + 0.37) / 3;
    }
    for (index_t p = 0; p < k; ++p) {
      for (index_t j = 0; j < n; ++j) b.view(p, j) = static_cast<T>(integers.next() + 0.11) / 7;
    }
    Recorder<T> all{m, n};
    tile::product<T>(tile::PackedA<T>(rows_policy(a.view), m, k), columns_policy(b.view), 0, n,
                     all);
    for (index_t i : {index_t{0}, index_t{P::MR + 1}, m - 1}) {
      for (index_t j : {index_t{0}, index_t{P::lanes - 1}, index_t{P::NR}, n - 1}) {
        Recorder<T> one{1, 1};
        const tile::Strided<T> row{&a.view(i, 0), k, 1}, column{&b.view(0, j), 1, n};
        tile::product<T>(tile::PackedA<T>(row, 1, k), column, 0, 1, one);
        EXPECT_EQ(one.product[0], all.product[i * n + j]);
      }
    }
  }
}

// With each limit of threads; 0 is none.
template <class T>
void check_matmul(index_t m, index_t n, index_t k, Layout layout_a, Layout layout_b,
                  Layout layout_out, T alpha, T beta,
                  std::initializer_list<int> thread_limits = {0}) {
  SCOPED_TRACE(description(m, n, k, {layout_a, layout_b, layout_out}));
  Matrix<T> a(m, k, layout_a), b(k, n, layout_b), start(m, n, layout_out);
  a.fill(11);
  b.fill(12);
  std::vector<T> expected = reference(a.view, b.view);
  if (beta != T{0}) start.fill(13);
  for (index_t i = 0; i < m; ++i) {
    for (index_t j = 0; j < n; ++j) {
      T& value = expected[i * n + j];
      value *= alpha;
      if (beta != T{0}) value += beta * start.view(i, j);
    }
  }
  for (const int limit : thread_limits) {
    Matrix<T> out(m, n, layout_out);
    if (beta != T{0}) out.fill(13);
    kernelmill::set_thread_limit(limit);
    kernelmill::matmul<T>(a.view, b.view, out.view, alpha, beta);
    index_t wrong = 0;
    for (index_t i = 0; i < m; ++i) {
      for (index_t j = 0; j < n; ++j) wrong += out.view(i, j) == expected[i * n + j] ? 0 : 1;
    }
    EXPECT_EQ(wrong, 0) << "at most " << limit << " threads";
    EXPECT_TRUE(out.margins_untouched());
  }
  kernelmill::set_thread_limit(0);
}

TYPED_TEST(Matmul, AllTailsIntoNan) {
  using P = tile::Params<TypeParam>;
  for (index_t m : {0, 1, P::lanes - 1, P::lanes + 1, P::MR - 1, P::MR + 1, 8 * P::MR + 2}) {
    for (index_t n : {0, 1, P::lanes, P::NR - 1, P::NR, P::NR + 1, 8 * P::NR + 2}) {
      for (index_t k : {0, 1, 3, 8, 33, P::KC + 1}) {
        check_matmul<TypeParam>(m, n, k, Layout::row_major, Layout::row_major, Layout::row_major, 1,
                                0);
      }
    }
  }
}

TYPED_TEST(Matmul, AllLayouts) {
  using P = tile::Params<TypeParam>;
  for (Layout layout_a : layouts) {
    for (Layout layout_b : layouts) {
      for (Layout layout_out : layouts) {
        check_matmul<TypeParam>(2 * P::MR + 3, 2 * P::NR + 3, 21, layout_a, layout_b, layout_out, 1,
                                0);
        check_matmul<TypeParam>(P::NR + 3, P::MR + 3, 5, layout_a, layout_b, layout_out, 2, -3);
      }
    }
  }
}

TYPED_TEST(Matmul, NoDepthScalesTheOutput) {
  check_matmul<TypeParam>(5, 40, 0, Layout::row_major, Layout::row_major, Layout::row_major, 1, 3);
  check_matmul<TypeParam>(5, 40, 0, Layout::row_major, Layout::row_major, Layout::row_major, 1, 0);
}

TYPED_TEST(Matmul, LargeEnoughForSeveralTasks) {
  for (auto [m, n, k] : {std::array<index_t, 3>{300, 500, 700},
                         {2000, 37, 129},
                         {9, 3001, 600},
                         {17, 33, 40000},
                         {1200, 5, 2100},
                         {129, 129, 1025},
                         {1, 1, 99999}}) {
    check_matmul<TypeParam>(m, n, k, Layout::row_major, Layout::row_major, Layout::row_major, 1, 0,
                            {1, 2, 7});
    check_matmul<TypeParam>(m, n, k, Layout::column_major, Layout::padded, Layout::column_major, 1,
                            2, {1, 2, 7});
  }
}

// Blocks are halved until there are enough for the threads, down to single tiles.
TYPED_TEST(Matmul, FewTilesForManyThreads) {
  for (auto [m, n, k] : {std::array<index_t, 3>{9, 3001, 600},
                         {120, 160, 3000},
                         {280, 320, 600},
                         {200, 150, 513},
                         {20, 2000, 500},
                         {2000, 20, 500}}) {
    check_matmul<TypeParam>(m, n, k, Layout::row_major, Layout::row_major, Layout::row_major, 1, 0,
                            {2, 7, 16, 64, 1000});
  }
}

// Values that do not sum exactly: neither the threads, nor the other rows and columns, nor the path
// taken (one task, blocks, parallel depth) change bits; but tiles of bfloat16 have their own.
TYPED_TEST(Matmul, SameBitsAtAnyThreadCountAndPosition) {
  using T = TypeParam;
  for (auto [m, n, k] : {std::array<index_t, 3>{211, 403, 1501}, {31, 37, 9000}}) {
    std::vector<T> a(m * k), b(k * n), start(m * n), first;
    SmallIntegers integers(17);
    for (T& value : a) value = static_cast<T>(integers.next() + 0.3) / 3;
    for (T& value : b) value = static_cast<T>(integers.next() + 0.1) / 7;
    for (T& value : start) value = static_cast<T>(integers.next() + 0.7) / 11;
    const T alpha = T{1} / 3, beta = T{5} / 7;
    for (int threads : {1, 2, 7}) {
      kernelmill::set_thread_limit(threads);
      std::vector<T> out = start;
      kernelmill::matmul<T>(kernelmill::dense<const T>(a.data(), m, k),
                            kernelmill::dense<const T>(b.data(), k, n),
                            kernelmill::dense<T>(out.data(), m, n), alpha, beta);
      EXPECT_EQ(out, first.empty() ? first = out : first);
    }
    if (std::is_same_v<T, float> && kernelmill::suits_bf16(m, n, k)) continue;
    for (index_t place = 0; place < 9; ++place) {
      const index_t i = std::array{index_t{0}, index_t{17}, m - 1}[place / 3];
      const index_t j = std::array{index_t{0}, index_t{33}, n - 1}[place % 3];
      T one = start[i * n + j];
      kernelmill::matmul<T>({&a[i * k], 1, k, k, 1}, {&b[j], k, 1, n, 1}, {&one, 1, 1, 1, 1}, alpha,
                            beta);
      EXPECT_EQ(one, first[i * n + j]);
    }
  }
  kernelmill::set_thread_limit(0);
}

TYPED_TEST(Matmul, ShapesMustAgree) {
  using T = TypeParam;
  std::vector<T> x(100);
  const MatrixView<const T> a = kernelmill::dense<const T>(x.data(), 3, 4);
  try {
    kernelmill::matmul<T>(a, a, kernelmill::dense<T>(x.data() + 50, 3, 4), T{1}, T{0});
    FAIL() << "no exception";
  } catch (const std::invalid_argument& error) {
    EXPECT_STREQ(error.what(),
                 "matmul: shapes must be (m, k) x (k, n) -> (m, n), got (3, 4) x (3, 4) -> (3, 4)");
  }
}

}  // namespace
