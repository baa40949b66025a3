# The _cuda module: built when nvcc is found, left out with -DKERNELMILL_CUDA=OFF.
if(KERNELMILL_CUDA STREQUAL "OFF")
  message(STATUS "KernelMill: CUDA twins left out (KERNELMILL_CUDA=OFF)")
  return()
endif()

include(CheckLanguage)
check_language(CUDA)
if(NOT CMAKE_CUDA_COMPILER)
  if(KERNELMILL_CUDA STREQUAL "ON")
    message(FATAL_ERROR "KernelMill: KERNELMILL_CUDA=ON needs nvcc on the PATH")
  endif()
  message(STATUS "KernelMill: CUDA twins left out (nvcc not found)")
  return()
endif()

# CMake 3.25 does not know how nvcc 12 and later are asked for C++20.
if(CMAKE_VERSION VERSION_LESS 3.26)
  if(KERNELMILL_CUDA STREQUAL "ON")
    message(FATAL_ERROR "KernelMill: KERNELMILL_CUDA=ON needs CMake 3.26, got ${CMAKE_VERSION}")
  endif()
  message(STATUS "KernelMill: CUDA twins left out (CMake ${CMAKE_VERSION}, 3.26 needed)")
  return()
endif()

if(NOT DEFINED CMAKE_CUDA_ARCHITECTURES)
  # Machine code for A100 and H100/H200 and PTX for chips that come later, all from one pass over the
  # source: no kernel uses what compute_90 adds, and a second pass is a quarter of the compile time.
  set(CMAKE_CUDA_ARCHITECTURES OFF)
  set(cuda_code "--generate-code=arch=compute_80,code=[compute_80,sm_80,sm_90]")
endif()
# What runs on the host launches kernels; device code is optimised by its own default.
set(CMAKE_CUDA_FLAGS_RELEASE "-O1 -DNDEBUG")
set(CMAKE_CUDA_STANDARD 20)
set(CMAKE_CUDA_STANDARD_REQUIRED ON)
set(CMAKE_CUDA_RUNTIME_LIBRARY Static)  # importing the module needs no toolkit and no driver
enable_language(CUDA)

file(GLOB cuda_sources CONFIGURE_DEPENDS cuda/ops/*.cu cuda/core/*.cu)
file(GLOB cuda_bindings CONFIGURE_DEPENDS cuda/bindings/*.cpp)
list(APPEND cuda_bindings  # the same on both devices
  cpp/bindings/binder.cpp cpp/bindings/optim.cpp cpp/core/error.cpp)
if(NOT cuda_sources OR NOT cuda_bindings)
  message(STATUS "KernelMill: no CUDA sources")
  return()
endif()
# Four tools read each file from its start, which takes them 1.5 s: files are compiled together, family
# by family, in groups that stay below half a minute. CMake before 3.31 compiles CUDA file by file.
foreach(source IN LISTS cuda_sources)
  get_filename_component(group "${source}" NAME_WE)
  string(REGEX REPLACE "^attention(_backward|_few)$" "attention" group "${group}")
  string(REGEX REPLACE "^(convolution|ctc|embedding|pool)$" "windows" group "${group}")
  string(REGEX REPLACE "^(dropout|linear|norm|random|softmax)$" "layers" group "${group}")
  string(REGEX REPLACE "^(histogram.*|tree)$" "trees" group "${group}")
  string(REGEX REPLACE "^(hmm|kmeans|mixture)_.*" "\\1" group "${group}")
  string(REGEX REPLACE "^(kernels|pairwise|silhouette)$" "distances" group "${group}")
  string(REGEX REPLACE "^(optim|recurrent.*|svm)$" "steps" group "${group}")
  if(source MATCHES "/core/")
    set(group core)
  endif()
  set_source_files_properties("${source}" PROPERTIES UNITY_GROUP "${group}")
endforeach()
find_package(CUDAToolkit REQUIRED)
pybind11_add_module(_cuda MODULE NO_EXTRAS ${cuda_sources} ${cuda_bindings})
set_target_properties(_cuda PROPERTIES ${unity})
if(precompiled)
  target_precompile_headers(_cuda PRIVATE ${precompiled}
    "$<$<COMPILE_LANGUAGE:CXX>:${CMAKE_CURRENT_SOURCE_DIR}/cuda/bindings/device.hpp>")
endif()
target_compile_definitions(_cuda PRIVATE KERNELMILL_MODULE=_cuda)
target_include_directories(_cuda PRIVATE "${CMAKE_CURRENT_SOURCE_DIR}/cuda" "${CMAKE_CURRENT_SOURCE_DIR}/cpp")
# 554: nvcc warns of the views' conversion to views of constants where a `requires` has removed it.
target_compile_options(_cuda PRIVATE
  $<$<COMPILE_LANGUAGE:CUDA>:${cuda_code} --diag-suppress=554 -Xfatbin=-compress-all --expt-relaxed-constexpr -Xcompiler=-Wall,-Wextra,-fopenmp-simd>
  $<$<COMPILE_LANGUAGE:CXX>:-O1 -fopenmp-simd -Wall -Wextra -Wshadow>)  # -O1 as in CMakeLists.txt
if(KERNELMILL_WERROR)
  target_compile_options(_cuda PRIVATE
    $<$<COMPILE_LANGUAGE:CUDA>:-Werror=all-warnings> $<$<COMPILE_LANGUAGE:CXX>:-Werror>)
endif()
target_link_libraries(_cuda PRIVATE CUDA::cudart_static)
if(CMAKE_SYSTEM_NAME STREQUAL "Linux")
  target_link_options(_cuda PRIVATE -static-libstdc++ -static-libgcc -Wl,--exclude-libs,ALL)
endif()
install(TARGETS _cuda LIBRARY DESTINATION kernelmill)
