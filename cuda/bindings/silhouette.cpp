#include "ops/silhouette.cuh"

#include "bindings/device.hpp"
#include "core/error.hpp"  // invalid

namespace kernelmill {

// offsets are few and decide what is read, so they are checked on the host.
template <class T>
static void checked(const Call& call, DeviceRows<T> x, DeviceRows<T> y,
                    DenseView<std::int64_t> offsets, double* sums) {
  const index_t k = offsets.shape[0] - 1;
  std::vector<index_t> host(static_cast<std::size_t>(k + 1));
  download(call, host.data(), offsets.data, k + 1);
  bool rise = host.front() == 0 && host.back() == y.n;
  for (std::size_t g = 1; rise && g < host.size(); ++g) rise = host[g - 1] <= host[g];
  if (!rise) invalid(call.op, "offsets must rise from 0 to ", y.n, ", got others");
  cluster_distance_sums<T>(call, x, y, offsets.data, k, sums);
}

void bind_silhouette(Family family) {
  family.op<checked<float>, checked<double>>("cluster_distance_sums");
}

}  // namespace kernelmill
