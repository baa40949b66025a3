// Nearest centers: the epilogue of the tile product that keeps a running argmin.

#include "ops/kmeans_nearest.hpp"

namespace kernelmill::nearest {

namespace {

// best = min_j s_j, its j, and with Second the runner-up; one Found per panel of rows.
template <class T, bool Second>
class Epilogue {
  using P = tile::Params<T>;
  using Vec = typename P::Vec;
  using Number = typename Found<T>::Number;
  using Index [[gnu::vector_size(sizeof(Vec))]] = Number;

 public:
  static constexpr tile::Hooks hooks{.panels = true};

  Epilogue(const Centers<T>& centers, const Rows<T>& rows, index_t end, Receiver<T> receive)
      : norms_(centers.norms.data()), rows_(rows), end_(end), receive_(receive) {}

  void begin_panel(index_t j0, index_t cols) {
    rows_.prefetch(j0 + cols, std::min(end_, j0 + cols + P::NR));
    for (int v = 0; v < P::NV; ++v) {
      best_[v] = Vec{} + std::numeric_limits<T>::infinity();
      if constexpr (Second) second_[v] = best_[v];
      index_[v] = Index{};
    }
  }

  template <int Rows>
  [[gnu::always_inline]] void tile(const Vec (&acc)[Rows][P::NV], index_t i0, index_t, index_t) {
    for (int v = 0; v < P::NV; ++v) {
      Vec best = best_[v];
      [[maybe_unused]] Vec second = second_[v];
      Index index = index_[v];
      KERNELMILL_UNROLL
      for (int r = 0; r < Rows; ++r) {
        const Vec score = acc[r][v] + norms_[i0 + r];
        const auto closer = score < best;
        if constexpr (Second) {
          const Vec loser = closer ? best : score;
          second = loser < second ? loser : second;
        }
        best = closer ? score : best;
        index = closer ? Index{} + static_cast<Number>(i0 + r) : index;
      }
      best_[v] = best;
      if constexpr (Second) second_[v] = second;
      index_[v] = index;
    }
  }

  void end_panel(index_t j0, index_t cols) {
    // Lanes of vectors are read as the array that they are: copies took 5 ns per panel.
    receive_({j0, cols, reinterpret_cast<const Number*>(index_), reinterpret_cast<const T*>(best_),
              Second ? reinterpret_cast<const T*>(second_) : nullptr});
  }

 private:
  const T* norms_;
  const Rows<T>& rows_;
  index_t end_;
  Receiver<T> receive_;
  Vec best_[P::NV];
  Vec second_[P::NV];
  Index index_[P::NV];
};

// Packing: rows that are packed already, with the origin moved. Calls begin at a panel.
template <class T>
struct CenteredPanels {
  const T* panels;
  index_t d;
  const T* offset;

  void pack(index_t outer, index_t, index_t depth, index_t depth_count, T* panel, index_t) const {
    using P = tile::Params<T>;
    const T* from = panels + outer * d + depth * P::NR;
    for (index_t p = 0; p < depth_count; ++p) {
      const T shift = offset[depth + p];
      KERNELMILL_UNROLL
      for (int v = 0; v < P::NV; ++v, from += P::lanes, panel += P::lanes) {
        tile::store(panel, tile::load<typename P::Vec>(from) - shift);
      }
    }
  }
};

template <class T, bool Second>
void find_with(const Rows<T>& rows, index_t begin, index_t end, const Centers<T>& centers,
               Receiver<T> receive) {
  Epilogue<T, Second> epilogue(centers, rows, end, receive);
  const MatrixView<const T>& x = rows.x;
  if (rows.panels != nullptr) {
    const CenteredPanels<T> packed{rows.panels, x.cols, centers.offset.data()};
    tile::product<T>(centers.packed, packed, begin, end, epilogue);
  } else if (rows.number == nullptr) {
    tile::product<T>(centers.packed, centered(x, centers.offset), begin, end, epilogue);
  } else {
    const Centered<tile::Gathered<T, index_t>, T> some{
        {x.data, x.row_stride, x.col_stride, rows.number}, centers.offset.data()};
    tile::product<T>(centers.packed, some, begin, end, epilogue);
  }
}

}  // namespace

template <class T>
void find(const Rows<T>& rows, index_t begin, index_t end, const Centers<T>& centers,
          bool runner_up, Receiver<T> receive) {
  if (runner_up) {
    find_with<T, true>(rows, begin, end, centers, receive);
  } else {
    find_with<T, false>(rows, begin, end, centers, receive);
  }
}

KERNELMILL_FOR_FLOATS(find)

}  // namespace kernelmill::nearest
