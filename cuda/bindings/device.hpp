// How CUDA ops are declared: cpp/bindings/family.hpp with the parameters of this device.
#pragma once

#include <memory>  // std::shared_ptr
#include <vector>  // what a call keeps

#include "bindings/family.hpp"  // Family, Read
#include "core/call.hpp"        // Call, Arena, DeviceRows
#include "core/half.hpp"        // Float16, BFloat16

// A function for each of kTypes: `family.op<KERNELMILL_STORED(forward)>("forward")`.
#define KERNELMILL_STORED(function, ...)                                                   \
  function<float __VA_OPT__(, ) __VA_ARGS__>, function<double __VA_OPT__(, ) __VA_ARGS__>, \
      function<Float16 __VA_OPT__(, ) __VA_ARGS__>, function<BFloat16 __VA_OPT__(, ) __VA_ARGS__>

namespace kernelmill {

template <>
constexpr char code_of<Float16>() {
  return 'e';
}
template <>
constexpr char code_of<BFloat16>() {
  return 'E';
}

// Whether kernels may read float32 as tf32 where they multiply (attention); at first not.
void allow_tf32(bool allowed);

// Temporary memory of one call, from CuPy's pool.
class Scratch {
 public:
  // A Space(arena, arguments...): measured, allocated, and laid out.
  template <class Space, class... Arguments>
  const Space& make(const Arguments&... arguments) {
    Arena measure;
    Space(measure, arguments...);
    Arena arena(allocate(measure.bytes()));
    const auto space = std::make_shared<Space>(arena, arguments...);
    kept_.push_back(space);
    return *space;
  }

 private:
  void* allocate(std::size_t bytes);  // takes the GIL
  std::vector<std::shared_ptr<const void>> kept_;
};

// What a call is made with, and keeps until its work is queued.
struct DeviceCall {
  Call call;
  Scratch scratch;
};

template <>
struct Read<Call> {
  static std::string codes() { return {}; }
  static Call from(Reader& reader) { return static_cast<DeviceCall*>(reader.all().device)->call; }
};

template <>
struct Read<Scratch*> {
  static std::string codes() { return {}; }
  static Scratch* from(Reader& reader) {
    return &static_cast<DeviceCall*>(reader.all().device)->scratch;
  }
};

template <class T>
struct Read<DeviceRows<T>> {
  static std::string codes() { return {'r', code_of<T>()}; }
  static DeviceRows<T> from(Reader& reader) {
    const Value& value = reader.next();
    return {static_cast<const T*>(value.data), value.shape[0], value.shape[1], value.strides[0],
            nullptr};
  }
};

// An array whose last axis is adjacent: made dense where it is not.
template <class T, int N>
struct AdjacentView {
  StridedView<T, N> view;
};

template <class T, int N>
struct Read<AdjacentView<const T, N>> {
  static std::string codes() { return {'r', code_of<T>()}; }
  static AdjacentView<const T, N> from(Reader& reader) {
    return {Read<StridedView<const T, N>>::from(reader)};
  }
};

}  // namespace kernelmill
