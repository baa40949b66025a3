#include "bindings/common.hpp"

#include <algorithm>  // std::min, std::equal
#include <array>      // descriptors

#include "core/csr.hpp"       // columns_below
#include "core/memory.hpp"    // pool_allocate
#include "core/parallel.hpp"  // ordered_reduce

namespace kernelmill {

namespace {

using Api = py::detail::npy_api;

constexpr std::string_view kCodes = "dfiqB?";

// NumPy's functions, and its own descriptors of native element types: there is one of each, so that
// the usual check of a dtype is one comparison of pointers.
struct NumPy {
  const Api& api = Api::get();
  std::array<PyObject*, kCodes.size()> descriptors{
      api.PyArray_DescrFromType_(Api::NPY_DOUBLE_), api.PyArray_DescrFromType_(Api::NPY_FLOAT_),
      api.PyArray_DescrFromType_(Api::NPY_INT32_),  api.PyArray_DescrFromType_(Api::NPY_INT64_),
      api.PyArray_DescrFromType_(Api::NPY_UINT8_),  api.PyArray_DescrFromType_(Api::NPY_BOOL_)};

  PyObject* descriptor(char code) const { return descriptors[kCodes.find(code)]; }
};

// Set when the module is loaded. A static of a function would be locked while NumPy's table is
// found, which may pass the GIL on: a second thread could then wait for that lock with the GIL, for
// ever.
const NumPy* loaded = nullptr;

const NumPy& numpy() { return *loaded; }

// The code of an unusual descriptor, and whether it is of native byte order.
char code_of(PyObject* descr, bool& native) {
  const auto dtype = py::reinterpret_borrow<py::dtype>(descr);
  native = dtype.byteorder() == '=' || dtype.byteorder() == '|';
  const char kind = dtype.kind();
  const py::ssize_t size = dtype.itemsize();
  if (kind == 'f') return size == 4 ? 'f' : size == 8 ? 'd' : 0;
  if (kind == 'i') return size == 4 ? 'i' : size == 8 ? 'q' : 0;
  return kind == 'u' && size == 1 ? 'B' : kind == 'b' ? '?' : 0;
}

constexpr index_t bytes_of(char code) {
  return code == 'd' || code == 'q' ? 8 : code == 'f' || code == 'i' ? 4 : 1;
}

}  // namespace

void load_numpy() { loaded = new NumPy; }

bool read_array(const char*, const char*, PyObject* object, ArrayInfo& info) {
  const NumPy& np = numpy();
  if (!np.api.PyArray_Check_(object)) return false;
  const auto* const array = py::detail::array_proxy(object);
  bool native = true;
  for (std::size_t i = 0; i < kCodes.size(); ++i) {
    if (array->descr == np.descriptors[i]) {
      info.code = kCodes[i];
      break;
    }
  }
  if (info.code == 0) info.code = code_of(array->descr, native);
  const index_t size = bytes_of(info.code);
  info.value.data = array->data;
  info.value.ndim = array->nd;
  info.dense = (array->flags & Api::NPY_ARRAY_C_CONTIGUOUS_) != 0;
  info.writeable = (array->flags & Api::NPY_ARRAY_WRITEABLE_) != 0;
  info.in_place =
      native &&
      reinterpret_cast<std::uintptr_t>(array->data) % static_cast<std::uintptr_t>(size) == 0;
  for (int i = 0; i < std::min(array->nd, kMostAxes); ++i) {
    const auto at = static_cast<std::size_t>(i);
    info.value.shape[at] = array->dimensions[i];
    info.value.strides[at] = array->strides[i] / size;
    info.in_place = info.in_place && array->strides[i] % size == 0;
  }
  return true;
}

bool read_host_array(const char* op, const char* name, PyObject* object, ArrayInfo& info,
                     py::object&) {
  return read_array(op, name, object, info);
}

index_t size_of(PyObject* array) { return py::reinterpret_borrow<py::array>(array).size(); }

bool same_shape(PyObject* a, PyObject* b) {
  const auto* const x = py::detail::array_proxy(a);
  const auto* const y = py::detail::array_proxy(b);
  return x->nd == y->nd && std::equal(x->dimensions, x->dimensions + x->nd, y->dimensions);
}

py::object dense_copy(PyObject* array, char code) {
  return py::module_::import("numpy").attr("array")(
      py::reinterpret_borrow<py::object>(array),
      py::reinterpret_borrow<py::object>(numpy().descriptor(code)), py::arg("order") = "C");
}

// Large arrays come from the pool: fresh pages cost more than the arithmetic of an elementwise op.
// Small ones come from NumPy, whose own cache is quicker.
py::object new_array(char code, int ndim, const index_t* shape, void*& data) {
  constexpr std::size_t kPooled = std::size_t{1} << 18;
  const Api& api = numpy().api;
  std::size_t bytes = static_cast<std::size_t>(bytes_of(code));
  bool pooled = true;  // sizes that overflow are left for NumPy to refuse
  for (int i = 0; i < ndim; ++i) {
    pooled = !__builtin_mul_overflow(bytes, static_cast<std::size_t>(shape[i]), &bytes) && pooled;
  }
  void* memory = nullptr;
  if (pooled && bytes >= kPooled) {
    memory = pool_allocate(bytes);
    if (memory == nullptr) throw std::bad_alloc();
  }
  PyObject* const descr = numpy().descriptor(code);
  Py_INCREF(descr);  // taken over by the array
  static_assert(sizeof(Py_intptr_t) == sizeof(index_t));
  const auto array = py::reinterpret_steal<py::object>(api.PyArray_NewFromDescr_(
      api.PyArray_Type_, descr, ndim, reinterpret_cast<const Py_intptr_t*>(shape), nullptr, memory,
      memory == nullptr ? 0 : Api::NPY_ARRAY_WRITEABLE_, nullptr));
  if (!array) {
    pool_release(memory);
    throw py::error_already_set();
  }
  if (memory != nullptr) {
    api.PyArray_SetBaseObject_(
        array.ptr(), py::capsule(memory, [](void* p) { pool_release(p); }).release().ptr());
  }
  data = py::detail::array_proxy(array.ptr())->data;
  return array;
}

bool columns_within(const void* columns, index_t count, index_t cols, bool wide) {
  return ordered_reduce<bool>(
      count, index_t{1} << 16, [] { return true; },
      [&](bool& all, index_t, index_t begin, index_t end) {
        all = wide ? columns_below(static_cast<const std::int64_t*>(columns) + begin, end - begin,
                                   cols)
                   : columns_below(static_cast<const std::int32_t*>(columns) + begin, end - begin,
                                   cols);
      },
      [](bool& into, bool&& part) { into = into && part; });
}

std::shared_ptr<void> begin_call(const char*) { return nullptr; }

}  // namespace kernelmill
