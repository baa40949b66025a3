// Trees rewritten for walks of many rows without branches.
//
// Two children stand side by side, so that a node is a threshold and a link: the number of its left
// child, the feature, and whether missing values go left, in 8 bytes for float32 rows. A leaf has
// NaN as its threshold, with its number in the payload, and is its own right child: rows that have
// arrived stay. Nodes come in subtrees of a few levels, and these depth first, so that a walk
// touches few cache lines.
#pragma once

#include <bit>          // std::bit_cast, std::bit_width
#include <cmath>        // std::nextafter
#include <cstdint>      // fixed-width integers
#include <limits>       // lowest
#include <type_traits>  // std::conditional_t
#include <vector>       // what is due

#if defined(__AVX512F__) && defined(__AVX512VL__)
#include <immintrin.h>  // gathers
#endif

#include "ops/tree_forest.hpp"

namespace kernelmill::tree {

// The largest T that is not above t: x <= t for a T is x <= lower(t).
template <class T>
T lower(double t) {
  const T rounded = static_cast<T>(t);
  return static_cast<double>(rounded) > t
             ? std::nextafter(rounded, std::numeric_limits<T>::lowest())
             : rounded;
}

template <class T, class Link>
struct Packed {
  T threshold;
  Link link;
};

// How links are read: bit 0 for the missing, the feature, the left child.
struct LinkBits {
  int feature, child;  // bits of a feature; where the child begins

  LinkBits(index_t features)
      : feature(static_cast<int>(std::bit_width(static_cast<std::uint64_t>(features)))),
        child(feature + 1) {}
  bool fit(int width, index_t nodes) const {
    return child + static_cast<int>(std::bit_width(static_cast<std::uint64_t>(nodes))) <= width;
  }
};

// NaN with a number.
template <class T>
struct Payload {
  using Bits = std::conditional_t<sizeof(T) == 4, std::uint32_t, std::uint64_t>;
  static constexpr int kBits = sizeof(T) == 4 ? 22 : 51;
  static constexpr Bits kQuiet = sizeof(T) == 4 ? Bits{0x7FC00000u} : Bits{0x7FF80000u} << 32;
  static constexpr Bits kMask = (Bits{1} << kBits) - 1;

  static T of(index_t number) { return std::bit_cast<T>(kQuiet | static_cast<Bits>(number)); }
  static std::int32_t in(T threshold) {
    return static_cast<std::int32_t>(std::bit_cast<Bits>(threshold) & kMask);
  }
};

// What else is known of a packed tree.
struct PackedTree {
  bool plain = false;      // false: it is to be walked as it is
  bool levels = false;     // whether there are splits of levels
  std::int32_t first = 0;  // added to the numbers of leaves
  int steps = 0;           // to where most leaves lie
};

// Room for a packed tree of so many nodes: the root is node 1, so that children share a line.
inline index_t packed_size(index_t size) { return size + 1; }

// Levels of a subtree that lies together.
constexpr int kTogether = 3;

// False where the nodes are not a tree. A leaf's number is its own in the tree, or that of its
// values.
template <class T, class Link>
bool pack(const Forest& forest, index_t t, bool by_value, const LinkBits& bits, Packed<T, Link>* to,
          PackedTree& made) {
  struct Item {
    std::int32_t from, at;
  };
  struct Due {
    Item item;
    int depth;
  };
  const index_t size = forest.size(t);
  const Node* const tree = forest.tree(t);
  std::vector<Due> due{{{0, 1}, 0}};
  std::vector<Item> level, next;
  index_t last = 2, leaves = 0, lowest = INT32_MAX, highest = 0;
  double depths = 0;  // of leaves
  bool plain = size > 1;
  for (index_t v = 0; v < size; ++v) {
    if (tree[v].feature >= 0) continue;
    lowest = std::min<index_t>(lowest, by_value ? tree[v].right : v);
    highest = std::max<index_t>(highest, by_value ? tree[v].right : v);
  }
  plain = plain && highest - lowest <= static_cast<index_t>(Payload<T>::kMask);
  while (!due.empty()) {
    Due own = due.back();
    due.pop_back();
    level.assign(1, own.item);
    for (int k = 0; k <= kTogether && !level.empty(); ++k) {
      next.clear();
      for (const Item& item : level) {
        const Node& node = tree[item.from];
        if (!forest.fits(node, item.from, size)) return false;
        if (node.feature < 0) {
          const index_t number = by_value ? node.right : item.from;
          to[item.at] = {Payload<T>::of(number - lowest),
                         static_cast<Link>(static_cast<Link>(item.at - 1) << bits.child)};
          depths += own.depth + k;
          ++leaves;
          continue;
        }
        if (k == kTogether) {
          due.push_back({item, own.depth + k});
          continue;
        }
        if (last + 2 > packed_size(size)) return false;
        made.levels |= (node.feature & kCategory) != 0;
        const auto missing = static_cast<Link>((node.feature & kMissing) != 0);
        const auto feature = static_cast<Link>(node.feature & kFeature);
        to[item.at] = {
            lower<T>(node.threshold),
            static_cast<Link>(static_cast<Link>(last) << bits.child | feature << 1 | missing)};
        next.push_back({item.from + 1, static_cast<std::int32_t>(last)});
        next.push_back({node.right, static_cast<std::int32_t>(last + 1)});
        last += 2;
      }
      level.swap(next);
    }
  }
  made.plain = plain && !made.levels;
  made.first = static_cast<std::int32_t>(leaves > 0 ? lowest : 0);
  made.steps =
      1 + static_cast<int>(0.75 * depths / static_cast<double>(std::max<index_t>(1, leaves)));
  return true;
}

constexpr index_t kLanes = 32;  // rows that go down side by side
constexpr int kSteps = 3;       // between two looks at which rows have arrived

// Takes rows some steps down; `at` is where row l stands, `row` where its values begin.
template <bool gaps, class T, class Link>
void descend(const Packed<T, Link>* tree, const LinkBits& bits, const T* X, const std::int32_t* row,
             int steps, std::int32_t* at) {
  const Link mask = static_cast<Link>((Link{1} << bits.feature) - 1);
  std::int32_t own[kLanes];
  for (index_t l = 0; l < kLanes; ++l) own[l] = at[l];
  for (int step = 0; step < steps; ++step) {
#pragma GCC unroll 8
    for (index_t l = 0; l < kLanes; ++l) {
      const Packed<T, Link>& node = tree[own[l]];
      const T x = X[row[l] + static_cast<std::int32_t>(node.link >> 1 & mask)];
      bool right = !(x <= node.threshold);
      if constexpr (gaps) right &= !((x != x) & static_cast<bool>(node.link & 1));
      own[l] = static_cast<std::int32_t>(node.link >> bits.child) + right;
    }
  }
  for (index_t l = 0; l < kLanes; ++l) at[l] = own[l];
}

// Numbers of the leaves of rows, which lie one after another. All go down as far as most leaves
// lie; then those which have not arrived are gathered again and again. `alive` is scratch.
template <bool gaps, class T, class Link>
void walk_lanes(const Packed<T, Link>* tree, const PackedTree& about, const LinkBits& bits,
                const T* X, index_t d, index_t rows, std::int32_t* leaves, std::int32_t* alive) {
  std::int32_t row[kLanes], at[kLanes];
  int steps = about.steps;
  index_t count = 0;
  for (index_t first = 0; first < rows; first += kLanes) {
    for (index_t l = 0; l < kLanes; ++l) {
      row[l] = static_cast<std::int32_t>(std::min(first + l, rows - 1) * d);
      at[l] = 1;
    }
    descend<gaps>(tree, bits, X, row, steps, at);
    const index_t lanes = std::min(kLanes, rows - first);
    for (index_t l = 0; l < lanes; ++l) {
      leaves[first + l] = at[l];
      alive[count] = static_cast<std::int32_t>(first + l);
      const T threshold = tree[at[l]].threshold;
      count += threshold == threshold;
    }
  }
  while (count > 0) {
    index_t kept = 0;
    for (index_t first = 0; first < count; first += kLanes) {
      const index_t lanes = std::min(kLanes, count - first);
      std::int32_t own[kLanes];
      for (index_t l = 0; l < kLanes; ++l) {
        own[l] = alive[first + std::min(l, lanes - 1)];
        row[l] = own[l] * static_cast<std::int32_t>(d);
        at[l] = leaves[own[l]];
      }
      descend<gaps>(tree, bits, X, row, kSteps, at);
      for (index_t l = 0; l < lanes; ++l) {
        leaves[own[l]] = at[l];
        alive[kept] = own[l];
        const T threshold = tree[at[l]].threshold;
        kept += threshold == threshold;
      }
    }
    count = kept;
  }
  for (index_t i = 0; i < rows; ++i) {
    leaves[i] = about.first + Payload<T>::in(tree[leaves[i]].threshold);
  }
}

#if defined(__AVX512F__) && defined(__AVX512VL__)
// GCC 12's header of intrinsics warns about itself (bug 105593).
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
// Rows of a register, by the type of their values: 32-bit numbers beside 32- or 64-bit values.
template <class T>
struct Wide;

template <>
struct Wide<float> {
  using Node = Packed<float, std::uint32_t>;
  using Ints = __m512i;
  using Mask = __mmask16;
  static constexpr int lanes = 16;

  static Ints all(int x) { return _mm512_set1_epi32(x); }
  static Ints numbers() {
    return _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  }
  static Ints add(Ints a, Ints b) { return _mm512_add_epi32(a, b); }
  static Ints times(Ints a, Ints b) { return _mm512_mullo_epi32(a, b); }
  static Ints least(Ints a, Ints b) { return _mm512_min_epi32(a, b); }
  static Ints select(Mask m, Ints a, Ints b) { return _mm512_mask_blend_epi32(m, b, a); }
  static Ints expand(Ints old, Mask m, Ints x) { return _mm512_mask_expand_epi32(old, m, x); }
  static Mask below(Mask m, Ints a, Ints b) { return _mm512_mask_cmplt_epi32_mask(m, a, b); }
  static void scatter(std::int32_t* to, Mask m, Ints at, Ints x) {
    _mm512_mask_i32scatter_epi32(to, m, at, x, 4);
  }
  // One step down of rows at nodes `own`, whose values begin at `from`; which are at leaves, whose
  // numbers go to `leaf`.
  template <bool gaps>
  static Mask step(const Node* tree, const LinkBits& bits, const float* X, Ints from, Ints& own,
                   Ints& leaf) {
    const Ints even = _mm512_add_epi32(numbers(), numbers()), odd = _mm512_add_epi32(even, all(1));
    const Ints a = _mm512_i32gather_epi64(_mm512_castsi512_si256(own), tree, 8);
    const Ints b = _mm512_i32gather_epi64(_mm512_extracti64x4_epi64(own, 1), tree, 8);
    const Ints bare = _mm512_permutex2var_epi32(a, even, b);
    const Ints link = _mm512_permutex2var_epi32(a, odd, b);
    const Ints feature = _mm512_and_si512(_mm512_srli_epi32(link, 1), all((1 << bits.feature) - 1));
    const __m512 threshold = _mm512_castsi512_ps(bare);
    const __m512 x = _mm512_i32gather_ps(add(from, feature), X, 4);
    Mask right = _mm512_cmp_ps_mask(x, threshold, _CMP_NLE_UQ);
    if constexpr (gaps) {
      const Mask missing = _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q);
      right = static_cast<Mask>(right & ~_mm512_mask_test_epi32_mask(missing, link, all(1)));
    }
    const Ints left = _mm512_srl_epi32(link, _mm_cvtsi32_si128(bits.child));
    own = _mm512_mask_add_epi32(left, right, left, all(1));
    leaf = _mm512_and_si512(bare, all(static_cast<int>(Payload<float>::kMask)));
    return _mm512_cmp_ps_mask(threshold, threshold, _CMP_UNORD_Q);
  }
};

template <>
struct Wide<double> {
  using Node = Packed<double, std::uint64_t>;
  using Ints = __m256i;
  using Mask = __mmask8;
  static constexpr int lanes = 8;

  static Ints all(int x) { return _mm256_set1_epi32(x); }
  static Ints numbers() { return _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7); }
  static Ints add(Ints a, Ints b) { return _mm256_add_epi32(a, b); }
  static Ints times(Ints a, Ints b) { return _mm256_mullo_epi32(a, b); }
  static Ints least(Ints a, Ints b) { return _mm256_min_epi32(a, b); }
  static Ints select(Mask m, Ints a, Ints b) { return _mm256_mask_blend_epi32(m, b, a); }
  static Ints expand(Ints old, Mask m, Ints x) { return _mm256_mask_expand_epi32(old, m, x); }
  static Mask below(Mask m, Ints a, Ints b) { return _mm256_mask_cmplt_epi32_mask(m, a, b); }
  static void scatter(std::int32_t* to, Mask m, Ints at, Ints x) {
    _mm256_mask_i32scatter_epi32(to, m, at, x, 4);
  }
  template <bool gaps>
  static Mask step(const Node* tree, const LinkBits& bits, const double* X, Ints from, Ints& own,
                   Ints& leaf) {
    const Ints words = _mm256_add_epi32(own, own);  // two a node
    const __m512d threshold = _mm512_i32gather_pd(words, tree, 8);
    const __m512i link = _mm512_i32gather_epi64(_mm256_add_epi32(words, all(1)), tree, 8);
    const __m512i mask = _mm512_set1_epi64((std::int64_t{1} << bits.feature) - 1);
    const __m512i feature = _mm512_and_si512(_mm512_srli_epi64(link, 1), mask);
    const __m512d x = _mm512_i32gather_pd(add(from, _mm512_cvtepi64_epi32(feature)), X, 8);
    Mask right = _mm512_cmp_pd_mask(x, threshold, _CMP_NLE_UQ);
    if constexpr (gaps) {
      const Mask missing = _mm512_cmp_pd_mask(x, x, _CMP_UNORD_Q);
      const Mask follow = _mm512_mask_test_epi64_mask(missing, link, _mm512_set1_epi64(1));
      right = static_cast<Mask>(right & ~follow);
    }
    const Ints left = _mm512_cvtepi64_epi32(_mm512_srl_epi64(link, _mm_cvtsi32_si128(bits.child)));
    own = _mm256_mask_add_epi32(left, right, left, all(1));
    leaf = _mm256_and_si256(_mm512_cvtepi64_epi32(_mm512_castpd_si512(threshold)), all(INT32_MAX));
    return _mm512_cmp_pd_mask(threshold, threshold, _CMP_UNORD_Q);
  }
};

// A lane whose row has arrived takes the next row, so that all lanes work, and a row's values stay
// in the first cache for its whole walk.
template <bool gaps, class T>
void walk_wide(const typename Wide<T>::Node* tree, const PackedTree& about, const LinkBits& bits,
               const T* X, index_t d, index_t rows, std::int32_t* leaves) {
  using W = Wide<T>;
  constexpr int groups = 4, steps = 4, lanes = W::lanes;
  const auto root = W::all(1), width = W::all(static_cast<int>(d));
  const auto count = W::all(static_cast<int>(rows)), last = W::all(static_cast<int>(rows - 1));
  typename W::Ints own[groups], row[groups], from[groups], leaf[groups];
  typename W::Mask arrived[groups];
  int next = lanes * groups;
  index_t open = rows;
#pragma GCC unroll 4
  for (int g = 0; g < groups; ++g) {
    own[g] = root;
    row[g] = W::add(W::numbers(), W::all(lanes * g));
    from[g] = W::times(W::least(row[g], last), width);
  }
  while (open > 0) {
    for (int step = 0; step < steps; ++step) {
#pragma GCC unroll 4
      for (int g = 0; g < groups; ++g) {
        arrived[g] = W::template step<gaps>(tree, bits, X, from[g], own[g], leaf[g]);
      }
    }
#pragma GCC unroll 4
    for (int g = 0; g < groups; ++g) {
      const auto here = arrived[g];
      if (here == 0) continue;
      const auto real = W::below(here, row[g], count);
      W::scatter(leaves, real, row[g], W::add(leaf[g], W::all(about.first)));
      open -= __builtin_popcount(real);
      row[g] = W::expand(row[g], here, W::add(W::numbers(), W::all(next)));
      next += __builtin_popcount(here);
      from[g] = W::times(W::least(row[g], last), width);
      own[g] = W::select(here, root, own[g]);
    }
  }
}
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif
#endif

// The fastest of these; `alive` is scratch for as many numbers.
template <bool gaps, class T, class Link>
void walk(const Packed<T, Link>* tree, const PackedTree& about, const LinkBits& bits, const T* X,
          index_t d, index_t rows, std::int32_t* leaves, std::int32_t* alive) {
#if defined(__AVX512F__) && defined(__AVX512VL__)
  if constexpr (std::is_same_v<Packed<T, Link>, typename Wide<T>::Node>) {
    walk_wide<gaps>(tree, about, bits, X, d, rows, leaves);
    return;
  }
#endif
  walk_lanes<gaps>(tree, about, bits, X, d, rows, leaves, alive);
}

}  // namespace kernelmill::tree
