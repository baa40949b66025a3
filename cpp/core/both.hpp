// Marks functions that also compile for the device (nvcc), from the same text.
#pragma once

#if defined(__CUDACC__)
#define KERNELMILL_BOTH __host__ __device__
#else
#define KERNELMILL_BOTH
#endif
