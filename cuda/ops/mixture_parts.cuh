// The parts of a mixture's step, for steps that go over the rows block by block.
#pragma once

#include "ops/mixture.cuh"  // Mixture, JointSpace, MomentSpace

namespace kernelmill {

// Fills the space from the mixture; the rows come later.
template <class T>
void prepare_joint(const Call& call, const Mixture& mixture, const JointSpace<T>& space);

template <class T>
void joint_rows(const Call& call, const DeviceRows<T>& x, const Mixture& mixture, T* log_joint,
                const JointSpace<T>& space);

// Blocks of share_rows; each writes one sum of weight times log_prob.
index_t share_blocks(index_t n);

// share gets weight times the responsibilities; rows without weight get 0.
template <class T>
void share_rows(const Call& call, const T* joint, index_t n, index_t k, const T* weight,
                double* share, double* likelihood);

// Adds the rows to what is there, or replaces it when `first`. Rows without weight read as the
// means. Pooled squares are about space.origin until finish_moments.
template <class T>
void add_moments(const Call& call, const DeviceRows<T>& x, const T* weight, const double* share,
                 const double* means, index_t k, Covariance covariance, bool first,
                 const Moments& to, const MomentSpace& space);

void start_moments(const Call& call, const double* means, index_t k, index_t d,
                   Covariance covariance, const Moments& to, const MomentSpace& space);
void finish_moments(const Call& call, const double* means, index_t k, index_t d,
                    Covariance covariance, const Moments& to, const MomentSpace& space);

}  // namespace kernelmill
