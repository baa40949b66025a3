// A set of values that share statistics is worked on by the threads of one team (core/team.cuh),
// which passes over it two or three times; after the first, most of it is in a cache.

#include "ops/norm.cuh"

#include "core/team.cuh"  // Team

namespace kernelmill::norm {
namespace {

constexpr int kThreads = Team::kThreads;

struct Place {
  index_t i, c, j;
};

// Sets: groups of channels of one sample, or with groups = 0 the channels of the batch.
struct Sets {
  index_t groups, n, c, k;

  template <class T>
  Sets(const CubeView<T>& x, index_t groups_)
      : groups(groups_), n(x.shape[0]), c(x.shape[1]), k(x.shape[2]) {}
  __host__ __device__ index_t count() const { return groups > 0 ? n * groups : c; }
  __host__ __device__ index_t width() const { return groups > 0 ? c / groups : 1; }
  __host__ __device__ index_t size() const { return groups > 0 ? width() * k : n * k; }
  __device__ Place at(index_t set, index_t e) const {
    const index_t outer = k == 1 ? e : e / k, j = k == 1 ? 0 : e - outer * k;
    if (groups == 0) return {outer, set, j};
    const index_t i = set / groups;
    return {i, (set - i * groups) * width() + outer, j};
  }
  // The number of the statistics of a place, where those are of `groups_` groups.
  __device__ index_t statistic(const Place& p, index_t groups_) const {
    return groups_ > 0 ? p.i * groups_ + p.c / (c / groups_) : p.c;
  }

  Team team() const { return Team(size(), groups == 0 && k == 1); }
};

template <class T>
__device__ double at(const CubeView<T>& x, const Place& p) {
  return static_cast<double>(x.data[offset_of(x, p.i, p.c, p.j)]);
}
template <class T>
__device__ double or_else(const T* values, index_t c, double otherwise) {
  return values == nullptr ? otherwise : static_cast<double>(values[c]);
}

// Calls body(set, first element of the thread) by all threads of a block; without a set there is no
// element, and the set is the last.
template <class Body>
__device__ void each_set(const Sets& sets, const Team& team, Body body) {
  for (index_t first = static_cast<index_t>(blockIdx.x) * team.side; first < sets.count();
       first += static_cast<index_t>(gridDim.x) * team.side) {
    const index_t set = first + team.place();
    body(set, set < sets.count() ? team.lane() : sets.size());
  }
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    forward_kernel(const CubeView<const T> x, const Sets sets, const Team team, double eps,
                   bool centered, const Scale<T> parameters, const Statistics to, CubeView<T> y) {
  __shared__ double shared[kThreads];
  const index_t size = sets.size();
  const auto count = static_cast<double>(size);
  each_set(sets, team, [&](index_t set, index_t begin) {
    double scale = 1;
    if constexpr (sizeof(T) == 8) {  // squares of float32 fit float64
      double largest = 0;
      for (index_t e = begin; e < size; e += team.lanes()) {
        largest = ::fmax(largest, ::fabs(at(x, sets.at(set, e))));
      }
      if (team.largest(largest, shared) > 1e150) scale = 0x1p-600;
    }
    double mean = 0;
    if (centered) {
      double sum = 0;
      for (index_t e = begin; e < size; e += team.lanes()) sum += scale * at(x, sets.at(set, e));
      mean = team.sum(sum, shared) / count;
    }
    double sum = 0, squares = 0;
    for (index_t e = begin; e < size; e += team.lanes()) {
      const double u = scale * at(x, sets.at(set, e)) - mean;
      sum += u;
      squares += u * u;
    }
    squares = team.sum(squares, shared) / count;
    if (centered) {  // what rounding left in the mean
      const double rest = team.sum(sum, shared) / count;
      mean += rest;
      squares -= rest * rest;
    }
    const double inverse = scale / ::sqrt(squares + eps * scale * scale);
    mean /= scale;
    if (set < sets.count() && team.lane() == 0) {
      to.mean[set] = mean;
      to.inverse[set] = inverse;
      if (to.variance != nullptr) to.variance[set] = squares / (scale * scale);
    }
    for (index_t e = begin; e < size; e += team.lanes()) {
      const Place p = sets.at(set, e);
      const double z = (at(x, p) - mean) * inverse;
      y.data[offset_of(y, p.i, p.c, p.j)] = static_cast<T>(
          z * or_else(parameters.weight, p.c, 1.0) + or_else(parameters.bias, p.c, 0.0));
    }
  });
}

template <class T>
__global__ void evaluate_kernel(const CubeView<const T> x, const double* mean,
                                const double* inverse, const Scale<T> parameters, CubeView<T> y) {
  const index_t c = x.shape[1], k = x.shape[2];
  for (index_t e = global_thread(); e < x.shape[0] * c * k; e += global_threads()) {
    const index_t row = e / k;
    const Place p{row / c, row % c, e - row * k};
    const double z = (at(x, p) - mean[p.c]) * inverse[p.c];
    y.data[e] = static_cast<T>(z * or_else(parameters.weight, p.c, 1.0) +
                               or_else(parameters.bias, p.c, 0.0));
  }
}

// The sums over sets of g and g z; from them dx unless it has no memory, and for sets that are
// channels the gradients of parameters unless they are null.
template <class T>
__global__ void __launch_bounds__(kThreads)
    backward_kernel(const CubeView<const T> dout, const CubeView<const T> x, const Sets sets,
                    const Team team, const double* mean, const double* inverse, index_t groups,
                    const Acc<T>* weight, Gradient kind, CubeView<T> dx, Acc<T>* dweight,
                    Acc<T>* dbias) {
  __shared__ double shared[kThreads];
  const index_t size = sets.size();
  const auto count = static_cast<double>(size);
  each_set(sets, team, [&](index_t set, index_t begin) {
    double sum = 0, product = 0;
    for (index_t e = begin; e < size; e += team.lanes()) {
      const Place p = sets.at(set, e);
      const index_t s = sets.statistic(p, groups);
      const double g = at(dout, p) * (dx.data == nullptr ? 1.0 : or_else(weight, p.c, 1.0));
      sum += g;
      product += g * ((at(x, p) - mean[s]) * inverse[s]);
    }
    sum = team.sum(sum, shared);
    product = team.sum(product, shared);
    if (dweight != nullptr && set < sets.count() && team.lane() == 0) {
      dweight[set] = static_cast<Acc<T>>(product);
      dbias[set] = static_cast<Acc<T>>(sum);
    }
    if (dx.data == nullptr) return;
    const double mean_g = kind == Gradient::centered ? sum / count : 0.0;
    const double mean_gz = kind == Gradient::given ? 0.0 : product / count;
    for (index_t e = begin; e < size; e += team.lanes()) {
      const Place p = sets.at(set, e);
      const index_t s = sets.statistic(p, groups);
      const double g = at(dout, p) * or_else(weight, p.c, 1.0);
      double value = g;
      if (kind != Gradient::given) {
        value = g - (at(x, p) - mean[s]) * inverse[s] * mean_gz - mean_g;
      }
      dx.data[offset_of(dx, p.i, p.c, p.j)] = static_cast<T>(inverse[s] * value);
    }
  });
}

}  // namespace

template <class T>
void forward(const Call& call, CubeView<const T> x, index_t groups, double eps, bool centered,
             const Scale<T>& scale, const Statistics& to, CubeView<T> y) {
  const Sets sets(x, groups);
  const Team team = sets.team();
  launch(call, forward_kernel<T>, team.grid(sets.count()), kThreads, x, sets, team, eps, centered,
         scale, to, y);
}

template <class T>
void evaluate(const Call& call, CubeView<const T> x, const double* mean, const double* inverse,
              const Scale<T>& scale, CubeView<T> y) {
  launch(call, evaluate_kernel<T>, grid_for(x.shape[0] * x.shape[1] * x.shape[2], kThreads),
         kThreads, x, mean, inverse, scale, y);
}

template <class T>
void backward(const Call& call, CubeView<const T> dout, CubeView<const T> x, index_t groups,
              const double* mean, const double* inverse, const Acc<T>* weight, Gradient kind,
              CubeView<T> dx, Acc<T>* dweight, Acc<T>* dbias) {
  const auto run = [&](const Sets& sets, CubeView<T> to, Acc<T>* to_weight, Acc<T>* to_bias) {
    const Team team = sets.team();
    launch(call, backward_kernel<T>, team.grid(sets.count()), kThreads, dout, x, sets, team, mean,
           inverse, groups, weight, kind, to, to_weight, to_bias);
  };
  run(Sets(x, 0), CubeView<T>{}, dweight, dbias);
  run(Sets(x, groups), dx, nullptr, nullptr);
}

KERNELMILL_FOR_STORED(forward)
KERNELMILL_FOR_STORED(evaluate)
KERNELMILL_FOR_STORED(backward)

}  // namespace kernelmill::norm
