#include "ops/silhouette.hpp"

#include "bindings/family.hpp"

namespace kernelmill {

void bind_silhouette(Family family) {
  family.op<cluster_distance_sums<float>, cluster_distance_sums<double>>("cluster_distance_sums");
}

}  // namespace kernelmill
