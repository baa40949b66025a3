#include "ops/pool.hpp"

#include "bindings/family.hpp"
#include "core/error.hpp"  // invalid

namespace kernelmill {

namespace {

using pool::Triple;
using pool::Windows;
using Table = std::span<const std::int64_t>;

template <class T>
Triple extents(const DenseView<T>& x) {
  return {x.shape[1], x.shape[2], x.shape[3]};
}

void check(const Windows& w, Table begin) {
  const auto total = static_cast<std::size_t>(w.out[0] + w.out[1] + w.out[2]);
  if (begin.size() != total) {
    invalid("pool", "begin and end must have ", total, " values, got ", begin.size(), " and ",
            begin.size());
  }
  std::size_t i = 0;
  for (std::size_t a = 0; a < 3; ++a) {
    bool inside = w.step[a] >= 1;
    for (index_t o = 0; o < w.out[a]; ++o, ++i) {
      inside = inside && w.begin[i] >= 0 && w.end[i] <= w.in[a];
    }
    if (!inside) invalid("pool", "windows must lie within the planes, got one that does not");
  }
}

template <class T>
void maximum(DenseView<T> x, Table begin, Table end, Table step, index_t oa, index_t ob, index_t oc,
             T* y, std::int64_t* indices) {
  const Windows w{extents(x), {oa, ob, oc}, {step[0], step[1], step[2]}, begin.data(), end.data()};
  check(w, begin);
  pool::maximum<T>(w, x.shape[0], x.data, y, indices);
}

template <class T>
void scatter(DenseView<T> x, DenseView<std::int64_t> indices, index_t a, index_t b, index_t c,
             T* y) {
  pool::scatter<T>(x.shape[0], x.shape[1] * x.shape[2] * x.shape[3], a * b * c, x.data,
                   indices.data, y);
}

template <class T>
void gather(DenseView<T> x, DenseView<std::int64_t> indices, T* y) {
  const index_t size = x.shape[1] * x.shape[2] * x.shape[3];
  pool::gather<T>(x.shape[0], indices.shape[1] * indices.shape[2] * indices.shape[3], size, x.data,
                  indices.data, y);
}

template <class T>
void average(DenseView<T> x, Table begin, Table end, std::span<const double> count, double divisor,
             index_t oa, index_t ob, index_t oc, T* y) {
  const Windows w{extents(x), {oa, ob, oc}, {1, 1, 1}, begin.data(),
                  end.data(), count.data(), divisor};
  check(w, begin);
  pool::average<T>(w, x.shape[0], x.data, y);
}

template <class T>
void average_gradient(DenseView<T> dout, Table begin, Table end, std::span<const double> count,
                      double divisor, index_t a, index_t b, index_t c, T* dx) {
  const Windows w{{a, b, c},  extents(dout), {1, 1, 1}, begin.data(),
                  end.data(), count.data(),  divisor};
  check(w, begin);
  pool::average_gradient<T>(w, dout.shape[0], dout.data, dx);
}

}  // namespace

void bind_pool(Family family) {
  family.op<maximum<float>, maximum<double>>("maximum");
  family.op<scatter<float>, scatter<double>>("scatter");
  family.op<gather<float>, gather<double>>("gather");
  family.op<average<float>, average<double>>("average");
  family.op<average_gradient<float>, average_gradient<double>>("average_gradient");
}

}  // namespace kernelmill
