# Instruction-set levels. The whole C++ side is compiled once per level into its own module, so that
# no function compiled for AVX-512 can be chosen by the linker for an older machine.

# Names of the levels to build for the target processor.
function(kernelmill_levels out request)
  if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64|amd64)$")
    set(known v2 v3 v4)
  elseif(CMAKE_SYSTEM_PROCESSOR MATCHES "^(aarch64|arm64|ARM64)$")
    set(known arm64)
  else()
    message(FATAL_ERROR "KernelMill: processor must be x86-64 or 64-bit Arm, got ${CMAKE_SYSTEM_PROCESSOR}")
  endif()
  if(request STREQUAL "all")
    set(levels ${known})
  elseif(request STREQUAL "native")
    kernelmill_native_level(levels)
  else()
    set(levels ${request})
  endif()
  if(KERNELMILL_CPP_TESTS AND NOT KERNELMILL_PYTHON)
    list(APPEND known generic)  # Arm's vectors and blocking constants on any processor
  endif()
  foreach(level IN LISTS levels)
    if(NOT level IN_LIST known)
      message(FATAL_ERROR "KERNELMILL_LEVELS: must be all, native or some of ${known}, got ${level}")
    endif()
  endforeach()
  set(${out} ${levels} PARENT_SCOPE)
endfunction()

# The best level that the building machine runs.
function(kernelmill_native_level out)
  if(NOT DEFINED KERNELMILL_NATIVE_LEVEL)
    try_run(ran compiled "${CMAKE_CURRENT_BINARY_DIR}/isa"
            SOURCES "${CMAKE_CURRENT_SOURCE_DIR}/cpp/isa/probe.c"
            COMPILE_DEFINITIONS -DKERNELMILL_PROBE_MAIN
            RUN_OUTPUT_VARIABLE level)
    if(NOT compiled OR NOT ran EQUAL 0)
      message(FATAL_ERROR "KernelMill: cannot find the native instruction-set level: ${level}")
    endif()
    string(STRIP "${level}" level)
    set(KERNELMILL_NATIVE_LEVEL "${level}" CACHE INTERNAL "native instruction-set level")
  endif()
  set(${out} "${KERNELMILL_NATIVE_LEVEL}" PARENT_SCOPE)
endfunction()

# Compile and link options of a target that holds C++ compute code for one level.
function(kernelmill_options target level)
  if(level MATCHES "^v([234])$")
    target_compile_options(${target} PRIVATE -march=x86-64-${level})
    target_compile_definitions(${target} PRIVATE KERNELMILL_LEVEL=${CMAKE_MATCH_1})
    if(level STREQUAL "v4")
      target_compile_options(${target} PRIVATE -mprefer-vector-width=512)
    endif()
  else()
    target_compile_definitions(${target} PRIVATE KERNELMILL_LEVEL=0)
  endif()
  target_compile_definitions(${target} PRIVATE KERNELMILL_LEVEL_NAME="${level}")
  target_include_directories(${target} PRIVATE "${CMAKE_CURRENT_SOURCE_DIR}/cpp")
  # No global fast-math. errno and floating-point traps are not used by any op; contraction to FMA
  # keeps one rounding instead of two. -fopenmp-simd honours pragmas and needs no runtime.
  target_compile_options(${target} PRIVATE
    -fno-math-errno -fno-trapping-math -ffp-contract=fast -fopenmp-simd
    -Wall -Wextra -Wshadow -Wconversion -Wno-sign-conversion -Wno-psabi)
  if(CMAKE_CXX_COMPILER_ID MATCHES "Clang")
    # A loop that clang leaves scalar is slower, not wrong.
    target_compile_options(${target} PRIVATE -Wno-pass-failed -Wno-unknown-warning-option)
  endif()
  if(KERNELMILL_WERROR)
    target_compile_options(${target} PRIVATE -Werror)
  endif()
  find_package(Threads REQUIRED)
  target_link_libraries(${target} PRIVATE Threads::Threads)
  if(CMAKE_SYSTEM_NAME STREQUAL "Linux" AND NOT KERNELMILL_SANITIZE)
    # The wheel must run on systems with an older libstdc++ and must not lend its copy to others.
    target_link_options(${target} PRIVATE -static-libstdc++ -static-libgcc -Wl,--exclude-libs,ALL -Wl,--gc-sections)
  endif()
endfunction()
