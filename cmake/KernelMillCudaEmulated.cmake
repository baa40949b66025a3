# The CUDA sources compiled by the host compiler against tests/cuda_host: blocks, barriers and warp
# shuffles are emulated, so that their results can be checked on machines without a GPU. The module
# lands in <build>/cuda_emulated; it is never installed.
if(NOT KERNELMILL_CUDA_EMULATED)
  return()
endif()
set(host "${CMAKE_CURRENT_SOURCE_DIR}/tests/cuda_host")
file(GLOB emulated_cu CONFIGURE_DEPENDS cuda/ops/*.cu cuda/core/*.cu)
file(GLOB emulated_cpp CONFIGURE_DEPENDS cuda/bindings/*.cpp)
list(APPEND emulated_cpp cpp/bindings/binder.cpp cpp/bindings/optim.cpp cpp/core/error.cpp)
set(emulated_sources)
foreach(source IN LISTS emulated_cu)  # nvcc must not claim them, so they are included by a .cpp
  get_filename_component(name "${source}" NAME)
  set(wrapper "${CMAKE_CURRENT_BINARY_DIR}/cuda_emulated/${name}.cpp")
  file(CONFIGURE OUTPUT "${wrapper}" CONTENT "#include \"${source}\"\n")
  list(APPEND emulated_sources "${wrapper}")
endforeach()
pybind11_add_module(_cuda_emulated MODULE NO_EXTRAS ${emulated_sources} ${emulated_cpp}
                    "${host}/emulator.cpp")
set_target_properties(_cuda_emulated PROPERTIES ${unity}
  OUTPUT_NAME _cuda LIBRARY_OUTPUT_DIRECTORY "${CMAKE_CURRENT_BINARY_DIR}/cuda_emulated")
target_compile_definitions(_cuda_emulated PRIVATE KERNELMILL_MODULE=_cuda)
target_include_directories(_cuda_emulated PRIVATE
  "${host}/include" "${CMAKE_CURRENT_SOURCE_DIR}/cuda" "${CMAKE_CURRENT_SOURCE_DIR}/cpp")
# Kernels read shared memory as packs of 16 bytes, which device compilers allow.
target_compile_options(_cuda_emulated PRIVATE -O1 -fno-strict-aliasing -Wno-unknown-pragmas)
set_source_files_properties("${host}/emulator.cpp" PROPERTIES COMPILE_OPTIONS -O2)
