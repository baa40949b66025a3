// Tables of windows are on the host: they are checked here and copied to the device.
#include "ops/pool.cuh"

#include "bindings/device.hpp"
#include "core/error.hpp"  // invalid

namespace kernelmill {

namespace {

using pool::Extents;
using pool::TableSpace;
using pool::Windows;
using Table = std::span<const std::int64_t>;

template <class T>
Extents extents(const DenseView<T>& x) {
  return {x.shape[1], x.shape[2], x.shape[3]};
}

// The windows with their tables on the device.
const TableSpace& place_tables(const Call& call, Scratch* scratch, Windows& w, Table begin,
                               Table end, std::span<const double> count = {}) {
  const index_t total = w.out.sum();
  if (static_cast<index_t>(begin.size()) != total) {
    invalid("pool", "begin and end must have ", total, " values, got ", begin.size(), " and ",
            begin.size());
  }
  const index_t in[] = {w.in.a, w.in.b, w.in.c}, out[] = {w.out.a, w.out.b, w.out.c};
  const index_t steps[] = {w.step.a, w.step.b, w.step.c};
  std::size_t i = 0;
  for (int a = 0; a < 3; ++a) {
    bool inside = steps[a] >= 1;
    for (index_t o = 0; o < out[a]; ++o, ++i) inside &= begin[i] >= 0 && end[i] <= in[a];
    if (!inside) invalid("pool", "windows must lie within the planes, got one that does not");
  }
  const auto& space = scratch->make<TableSpace>(total, w.in.sum());
  upload(call, space.begin, begin.data(), total);
  upload(call, space.end, end.data(), total);
  upload(call, space.count, count.data(), static_cast<index_t>(count.size()));
  w.begin = space.begin;
  w.end = space.end;
  w.count = space.count;
  return space;
}

template <class T>
void maximum(const Call& call, Scratch* scratch, DenseView<T> x, Table begin, Table end, Table step,
             index_t oa, index_t ob, index_t oc, T* y, std::int64_t* indices) {
  Windows w{extents(x), {oa, ob, oc}, {step[0], step[1], step[2]}, nullptr, nullptr, nullptr, 1};
  place_tables(call, scratch, w, begin, end);
  pool::maximum<T>(call, w, x.shape[0], x.data, y, indices);
}

template <class T>
void scatter(const Call& call, Scratch* scratch, DenseView<T> x, DenseView<std::int64_t> indices,
             index_t a, index_t b, index_t c, T* y) {
  const index_t values = extents(x).product();
  pool::scatter<T>(call, x.shape[0], values, a * b * c, x.data, indices.data, y,
                   scratch->make<pool::SortSpace>(call, x.shape[0] * values));
}

template <class T>
void gather(const Call& call, Scratch* scratch, DenseView<T> x, DenseView<std::int64_t> indices,
            T* y) {
  pool::gather<T>(call, x.shape[0], extents(indices).product(), extents(x).product(), x.data,
                  indices.data, y, scratch->make<RangeSpace>());
}

template <class T>
void average(const Call& call, Scratch* scratch, DenseView<T> x, Table begin, Table end,
             std::span<const double> count, double divisor, index_t oa, index_t ob, index_t oc,
             T* y) {
  Windows w{extents(x), {oa, ob, oc}, {1, 1, 1}, nullptr, nullptr, nullptr, divisor};
  place_tables(call, scratch, w, begin, end, count);
  pool::average<T>(call, w, x.shape[0], x.data, y);
}

template <class T>
void average_gradient(const Call& call, Scratch* scratch, DenseView<T> dout, Table begin, Table end,
                      std::span<const double> count, double divisor, index_t a, index_t b,
                      index_t c, T* dx) {
  Windows w{{a, b, c}, extents(dout), {1, 1, 1}, nullptr, nullptr, nullptr, divisor};
  const TableSpace& space = place_tables(call, scratch, w, begin, end, count);
  pool::average_gradient<T>(call, w, dout.shape[0], dout.data, dx, space);
}

}  // namespace

void bind_pool(Family family) {
  family.op<KERNELMILL_STORED(maximum)>("maximum");
  family.op<KERNELMILL_STORED(scatter)>("scatter");
  family.op<KERNELMILL_STORED(gather)>("gather");
  family.op<KERNELMILL_STORED(average)>("average");
  family.op<KERNELMILL_STORED(average_gradient)>("average_gradient");
}

}  // namespace kernelmill
