// The extension module `_cuda`: the CUDA twins. Importing it needs no driver and makes no context;
// the CUDA runtime is linked in and wakes at the first call.

#include <cuda_runtime_api.h>  // device queries

#include "bindings/common.hpp"

namespace {

namespace py = pybind11;

// What kernelmill.info() shows. Never throws, and no query here makes a context.
py::dict device_info() {
  py::list devices;
  int count = 0;
  cudaError_t error = cudaGetDeviceCount(&count);
  for (int i = 0; error == cudaSuccess && i < count; ++i) {
    cudaDeviceProp properties{};
    error = cudaGetDeviceProperties(&properties, i);
    if (error != cudaSuccess) break;
    py::dict device;
    device["name"] = properties.name;
    device["compute_capability"] =
        std::to_string(properties.major) + "." + std::to_string(properties.minor);
    device["memory_gib"] = static_cast<double>(properties.totalGlobalMem >> 20) / 1024.0;
    devices.append(device);
  }
  std::string why;
  int driver = 0;  // stays 0 without a driver, which the error below would call too old
  if (cudaDriverGetVersion(&driver) == cudaSuccess && driver == 0) {
    why = "no CUDA driver is installed";
    cudaGetLastError();
  } else if (error != cudaSuccess) {
    why = std::string("CUDA reports: ") + cudaGetErrorString(error);
    cudaGetLastError();  // leave no error behind
  } else if (count == 0) {
    why = "no CUDA device was found";
  }
  py::dict found;
  found["usable"] = why.empty();
  found["why"] = why;
  found["devices"] = devices;
  return found;
}

}  // namespace

PYBIND11_MODULE(KERNELMILL_MODULE, m, py::mod_gil_not_used()) {
  using namespace kernelmill;
  m.def("device_info", &device_info);
  m.def("allow_tf32", &allow_tf32);
  m.attr("cuda_version") = CUDART_VERSION;
  bind_convolution(m);
  bind_elementwise(m);
  bind_optim(m);
  bind_reduction(m);
  bind_families(m);
}
