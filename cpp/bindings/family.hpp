// How a family declares its ops: `family.op<assign<float>, assign<double>>("assign")`.
//
// The types of the C++ function say how each argument is handed over; the signature in
// python/kernelmill/ops/<family>.py says what it must be. The binder (binder.cpp, the same on both
// devices) checks one against the other when Python describes the op, then at each call checks the
// arguments, allocates the results, releases the GIL and runs the function. So this header, which
// every family includes, needs neither Python nor pybind11.
//
// A function takes its arguments in the order of the signature. What it writes, inout arrays first
// and then the results, is in that order too; the two sequences may be mixed. Numbers among the
// results are returned, as one value or a std::tuple.
#pragma once

#include <array>    // std::array
#include <cstdint>  // fixed-width integers
#include <span>     // std::span
#include <string>   // codes
#include <tuple>    // parameters
#include <utility>  // std::index_sequence

#include "core/csr.hpp"     // CsrView
#include "core/matrix.hpp"  // MatrixView, index_t

struct _object;  // PyObject

namespace kernelmill {

constexpr int kMostArguments = 16, kMostResults = 8;
constexpr int kMostAxes = 4;

// One argument or result of a call, checked. Without initialisers, so that all of a call's are
// zeroed by one memset.
struct Value {
  void* data;       // null for what was left out
  _object* object;  // the Python array, for ops that another library runs
  int ndim;
  bool inout;   // an argument that is written
  bool scalar;  // a result that the function returns
  bool wide;    // whether the indices of a CSR matrix are int64, else int32
  std::array<index_t, kMostAxes> shape;
  std::array<index_t, kMostAxes> strides;  // in elements
  double number;                           // float
  index_t whole;                           // int and bool; a uint64 keeps its bits
  const void *indices, *indptr;            // CSR

  std::size_t size() const {
    std::size_t product = data == nullptr ? 0 : 1;
    for (int i = 0; i < ndim; ++i) {
      product *= static_cast<std::size_t>(shape[static_cast<std::size_t>(i)]);
    }
    return product;
  }
};

struct Arguments {
  const char* op;  // "family.op", for messages
  std::array<Value, kMostArguments> in;
  std::array<Value, kMostResults> out;
  void* device;  // what the device's own parameters are read from
};

// Hands out arguments and results in order.
class Reader {
 public:
  explicit Reader(Arguments& arguments) : arguments_(arguments) {}
  const Arguments& all() const { return arguments_; }
  const Value& next() {
    while (arguments_.in[in_].inout) ++in_;
    return arguments_.in[in_++];
  }
  // Inout arguments first, then the results that are arrays.
  const Value& target() {
    while (inout_ < kMostArguments) {
      const Value& value = arguments_.in[inout_++];
      if (value.inout) return value;
    }
    while (arguments_.out[out_].scalar) ++out_;
    return arguments_.out[out_++];
  }

 private:
  Arguments& arguments_;
  std::size_t in_ = 0, inout_ = 0, out_ = 0;
};

template <class T>
constexpr char code_of() {
  if constexpr (std::is_same_v<T, float>) return 'f';
  if constexpr (std::is_same_v<T, double>) return 'd';
  if constexpr (std::is_same_v<T, std::int32_t>) return 'i';
  if constexpr (std::is_same_v<T, std::int64_t>) return 'q';
  if constexpr (std::is_same_v<T, std::uint64_t>) return 'Q';
  if constexpr (std::is_same_v<T, std::uint8_t>) return 'B';
  if constexpr (std::is_same_v<T, bool>) return '?';
}

// How a parameter of type P is read. `codes` lists what it consumes, two letters each: 'm' an
// array of any strides, 'r' one whose columns are adjacent, 'd' a dense array, 'c' a CSR matrix,
// 's' a number, 'o' a result or inout array; then the element type.
template <class P>
struct Read {
  static_assert(std::is_arithmetic_v<P>, "the binder knows no such parameter");
  static std::string codes() { return {'s', code_of<P>()}; }
  static P from(Reader& reader) {
    const Value& value = reader.next();
    return std::is_floating_point_v<P> ? static_cast<P>(value.number) : static_cast<P>(value.whole);
  }
};

template <class T>
struct Read<MatrixView<const T>> {
  static std::string codes() { return {'m', code_of<T>()}; }
  static MatrixView<const T> from(Reader& reader) {
    const Value& value = reader.next();
    return {static_cast<const T*>(value.data), value.shape[0], value.shape[1], value.strides[0],
            value.strides[1]};
  }
};

template <class T>
struct Read<MatrixView<T>> {
  static std::string codes() { return {'o', code_of<T>()}; }
  static MatrixView<T> from(Reader& reader) {
    const Value& value = reader.target();
    return dense(static_cast<T*>(value.data), value.shape[0], value.shape[1]);
  }
};

// Of N axes: 'm' and 'o' as for matrices.
template <class T, int N>
struct Read<StridedView<T, N>> {
  static std::string codes() {
    return {std::is_const_v<T> ? 'm' : 'o', code_of<std::remove_const_t<T>>()};
  }
  static StridedView<T, N> from(Reader& reader) {
    const Value& v = std::is_const_v<T> ? reader.next() : reader.target();
    StridedView<T, N> view{static_cast<T*>(v.data)};
    index_t dense = 1;
    for (std::size_t a = N; a-- > 0; dense *= v.shape[a]) {
      view.shape[a] = v.shape[a];
      view.strides[a] = std::is_const_v<T> ? v.strides[a] : dense;
    }
    return view;
  }
};

template <class T>
struct Read<std::span<const T>> {
  static std::string codes() { return {'d', code_of<T>()}; }
  static std::span<const T> from(Reader& reader) {
    const Value& value = reader.next();
    return {static_cast<const T*>(value.data), value.size()};
  }
};

template <class T>
struct Read<std::span<T>> {
  static std::string codes() { return {'o', code_of<T>()}; }
  static std::span<T> from(Reader& reader) {
    const Value& value = reader.target();
    return {static_cast<T*>(value.data), value.size()};
  }
};

template <class T>
struct Read<const T*> {
  static std::string codes() { return {'d', code_of<T>()}; }
  static const T* from(Reader& reader) { return static_cast<const T*>(reader.next().data); }
};

template <class T>
struct Read<T*> {
  static std::string codes() { return {'o', code_of<T>()}; }
  static T* from(Reader& reader) { return static_cast<T*>(reader.target().data); }
};

// A dense array of any number of axes, where an axis that was left out counts as one of size 1.
template <class T>
struct DenseView {
  const T* data = nullptr;
  int ndim = 0;
  std::array<index_t, kMostAxes> shape{};
};

template <class T>
struct Read<DenseView<T>> {
  static std::string codes() { return {'d', code_of<T>()}; }
  static DenseView<T> from(Reader& reader) {
    const Value& value = reader.next();
    return {static_cast<const T*>(value.data), value.ndim, value.shape};
  }
};

template <class T>
struct Read<CsrView<T>> {
  static std::string codes() { return {'c', code_of<T>()}; }
  static CsrView<T> from(Reader& reader) {
    const Value& v = reader.next();
    return {v.shape[0], v.shape[1], v.strides[0], static_cast<const T*>(v.data),
            v.indices,  v.indptr,   v.wide};
  }
};

// A pair of a typed function without its type, and what its parameters consume.
struct Runner {
  void (*run)(Arguments&) = nullptr;
  std::string codes;
};

// Stores the numbers that a function returns.
class Returned {
 public:
  explicit Returned(Arguments& arguments) : out_(arguments.out) {}
  void put(double number) { next().number = number; }
  void put(index_t number) { next().whole = number; }
  template <class... N>
  void put(const std::tuple<N...>& numbers) {
    std::apply([this](auto... number) { (put(number), ...); }, numbers);
  }

 private:
  Value& next() {
    while (!out_[at_].scalar) ++at_;
    return out_[at_++];
  }
  std::array<Value, kMostResults>& out_;
  std::size_t at_ = 0;
};

template <auto function>
struct Erased;
template <class R, class... P, R (*function)(P...)>
struct Erased<function> {
  static void run(Arguments& arguments) {
    Reader reader(arguments);
    // Braces: parameters are read from left to right.
    std::tuple<std::decay_t<P>...> parameters{Read<std::decay_t<P>>::from(reader)...};
    if constexpr (std::is_void_v<R>) {
      std::apply(function, parameters);
    } else {
      Returned(arguments).put(std::apply(function, parameters));
    }
  }
  static Runner runner() { return {&run, (std::string() + ... + Read<std::decay_t<P>>::codes())}; }
};

struct Description;

// Codes of what T may stand for: float32, float64, and on a GPU float16 and bfloat16.
constexpr char kTypes[] = "fdeE";

// An op of one module.
struct Entry {
  const char* name;
  Runner dense[4], csr[4];                   // by the type that T stands for: kTypes
  const Description* description = nullptr;  // its signature, once Python has given it
  bool own_columns = false;

  template <auto single, auto twofold>
  Entry& with_csr() {
    csr[0] = Erased<single>::runner();
    csr[1] = Erased<twofold>::runner();
    return *this;
  }
  // The op throws ForeignColumn for a column that CSR rows cannot have, before it does anything
  // that lasts: for ops that take about as long as reading the columns once more.
  Entry& checks_columns() {
    own_columns = true;
    return *this;
  }
};

// A submodule under construction.
class Family {
 public:
  Family(_object* module, const char* name) : module_(module), name_(name) {}

  // One function for each of kTypes, or one for all of the first two.
  template <auto single, auto twofold = single, auto... halves>
  Entry& op(const char* name) {
    Entry& entry = add(name);
    std::size_t at = 0;
    for (const Runner& runner :
         {Erased<single>::runner(), Erased<twofold>::runner(), Erased<halves>::runner()...}) {
      entry.dense[at++] = runner;
    }
    return entry;
  }

 private:
  Entry& add(const char* name);
  _object* module_;
  std::string name_;
};

}  // namespace kernelmill
