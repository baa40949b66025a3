// The binder of all ops with a signature, on both devices.
//
// A call goes from Python to the typed function through one vectorcall, without pybind11's overload
// resolution: 0.4 us less for three arguments. Whatever does not fit is handed to Python's
// Signature.refuse, which finds the sentence; so the checks here only say yes or no.

#include "bindings/binder.hpp"

#include <map>        // ops by name
#include <new>        // std::bad_alloc
#include <stdexcept>  // exceptions that become Python's
#include <vector>     // arguments

#include "core/parallel.hpp"  // Interrupted

namespace kernelmill {

namespace {

// NumPy's types, set when the module is loaded: a static of a function would be locked while a call
// into Python may pass the GIL on, and a second thread could wait for that lock with the GIL.
struct {
  PyObject *single, *twofold, *dtype;
} floats;

constexpr int kMostSizes = 24;

}  // namespace

struct Description {
  struct Axis {
    int slot, other;  // -1 for none
    bool conditional;
    index_t literal, least, offset;
  };

  struct Item {
    std::string name;
    py::object key;  // the interned name
    char code = 0;
    bool array = false, optional = false, inout = false, csr = false, leading = false, host = false;
    std::vector<Axis> axes;
    int slot = -1;  // of a number that is also a size
    index_t low = 0;
    std::uint64_t high = 0;  // included
    bool required = true;
    py::object otherwise;
    char layout = 0;  // how the function reads it
  };

  std::vector<Item> in, out;
  py::object refuse;
  std::size_t required = 0;
};

namespace {

using Axis = Description::Axis;
using Item = Description::Item;

std::map<std::string, Entry*>& entries() {
  static auto* const all = new std::map<std::string, Entry*>;
  return *all;
}

// The code of an item's elements: T is one of kTypes, and A what that is computed in.
char element(char code, int type) {
  if (code != 'T' && code != 'A') return code;
  return type < 0 ? 0 : type > 1 && code == 'A' ? 'f' : kTypes[type];
}

// --- one call -----------------------------------------------------------------------------------

class Binding {
 public:
  explicit Binding(const Entry& entry) : entry_(entry), s_(*entry.description) {
    sizes_.fill(-1);
    arguments_.op = entry.name;
  }

  bool accept(PyObject* const* args, Py_ssize_t positional, PyObject* keywords) {
    std::array<PyObject*, kMostArguments> given{};
    if (positional > static_cast<Py_ssize_t>(s_.in.size())) return false;
    std::copy_n(args, positional, given.begin());
    const Py_ssize_t named = keywords == nullptr ? 0 : PyTuple_GET_SIZE(keywords);
    for (Py_ssize_t i = 0; i < named; ++i) {
      const std::size_t at = place(PyTuple_GET_ITEM(keywords, i));
      if (at == s_.in.size() || given[at] != nullptr) return false;
      given[at] = args[positional + i];
    }
    for (std::size_t i = 0; i < s_.in.size(); ++i) {
      const Item& item = s_.in[i];
      PyObject* object = given[i];
      if (object == nullptr) {
        if (item.required) return false;
        object = item.otherwise.ptr();
      }
      Value& value = arguments_.in[i];
      if (item.array) {
        value.inout = item.inout;
        if (item.optional && object == Py_None) continue;
        if (!accept_array(item, object, value)) return false;
      } else if (!accept_scalar(item, object, value)) {
        return false;
      }
    }
    return one_kind();
  }

  py::object run() {
    for (std::size_t i = 0; i < s_.out.size(); ++i) {
      arguments_.out[i].scalar = !s_.out[i].array;
      if (s_.out[i].array) results_[i] = allocate(s_.out[i], arguments_.out[i]);
    }
    const std::shared_ptr<void> device = begin_call(entry_.name);
    arguments_.device = device.get();
    const Runner& runner = (sparse_ ? entry_.csr : entry_.dense)[type_ < 0 ? 0 : type_];
    {
      const Released released;
      runner.run(arguments_);
    }
    for (std::size_t i = 0; i < s_.out.size(); ++i) {
      if (!s_.out[i].array) results_[i] = number(s_.out[i], arguments_.out[i]);
    }
    if (s_.out.empty()) return py::none();  // what it gives is in its inout arguments
    if (s_.out.size() == 1) return std::move(results_[0]);
    py::tuple all(s_.out.size());
    for (std::size_t i = 0; i < s_.out.size(); ++i) {
      PyTuple_SET_ITEM(all.ptr(), static_cast<Py_ssize_t>(i), results_[i].release().ptr());
    }
    return all;
  }

 private:
  struct Released {
    Released() : state(PyEval_SaveThread()) {}
    ~Released() { PyEval_RestoreThread(state); }
    PyThreadState* state;
  };

  // CSR matrices stand beside CSR matrices: the function reads all such arguments alike.
  bool one_kind() const {
    for (std::size_t i = 0; sparse_ && i < s_.in.size(); ++i) {
      if (s_.in[i].csr && arguments_.in[i].indptr == nullptr) return false;
    }
    return true;
  }

  std::size_t place(PyObject* keyword) const {
    for (std::size_t i = 0; i < s_.in.size(); ++i) {
      if (keyword == s_.in[i].key.ptr()) return i;
    }
    for (std::size_t i = 0; i < s_.in.size(); ++i) {
      if (PyUnicode_Compare(keyword, s_.in[i].key.ptr()) == 0) return i;
    }
    return s_.in.size();
  }

  // The element type of an item, T being what the first array or the dtype said.
  bool right_type(const Item& item, char code) {
    if (item.code == 'T' && type_ < 0) {
      for (int type = 0; kTypes[type] != 0; ++type) {
        if (kTypes[type] == code && entry_.dense[type].run != nullptr) type_ = type;
      }
      if (early_ != 0 && early_ != element('A', type_)) return false;
    }
    if (item.code == 'A' && type_ < 0) {  // T comes later
      early_ = code;
      return code == 'f' || code == 'd';
    }
    return code != 0 && code == element(item.code, type_);
  }

  bool fits(const Axis& axis, index_t size) {
    if (axis.slot < 0) return size == axis.literal;
    index_t& known = sizes_[static_cast<std::size_t>(axis.slot)];
    if (axis.other >= 0 && size != axis.literal && size != size_of(axis.other)) return false;
    if (known < 0) known = size - axis.offset;
    return known == size - axis.offset && known >= axis.least;
  }

  index_t size_of(int slot) const { return sizes_[static_cast<std::size_t>(slot)]; }

  bool accept_array(const Item& item, PyObject* object, Value& value) {
    ArrayInfo info{};
    py::object on_host;
    if (!(item.host ? read_host_array(entry_.name, item.name.c_str(), object, info, on_host)
                    : read_array(entry_.name, item.name.c_str(), object, info))) {
      return item.csr && entry_.csr[0].run != nullptr && accept_csr(item, object, value);
    }
    if (on_host) object = keep(on_host);
    const bool stored = info.code == kTypes[2] || info.code == kTypes[3];
    if (item.code == 'A' && stored && (type_ < 0 || info.code == kTypes[type_])) {  // widened
      object = keep(dense_copy(object, 'f'));
      info = {};
      read_array(entry_.name, item.name.c_str(), object, info);
    }
    if (!right_type(item, info.code)) return false;
    if (item.leading && info.value.ndim + 1 == static_cast<int>(item.axes.size())) {
      missing_ |= 1U << item.axes[0].slot;
      for (int i = info.value.ndim++; i > 0; --i) {
        info.value.shape[static_cast<std::size_t>(i)] =
            info.value.shape[static_cast<std::size_t>(i - 1)];
      }
      info.value.shape[0] = 1;
    }
    if (info.value.ndim != static_cast<int>(item.axes.size())) return false;
    for (std::size_t i = 0; i < item.axes.size(); ++i) {
      if (!fits(item.axes[i], info.value.shape[i])) return false;
    }
    const std::size_t last = item.axes.empty() ? 0 : item.axes.size() - 1;
    if (item.inout) {
      if (!info.in_place || !info.dense || !info.writeable) return false;
    } else if (!info.in_place || (item.layout == 'd' && !info.dense) ||
               (item.layout == 'r' && info.value.shape[last] > 1 &&
                info.value.strides[last] != 1)) {
      const py::object copy = dense_copy(object, info.code);
      ArrayInfo copied;
      read_array(entry_.name, item.name.c_str(), keep(copy), copied);
      info.value.data = copied.value.data;
      info.value.strides = copied.value.strides;
      object = copy.ptr();
    }
    info.value.object = object;
    const bool inout = value.inout;
    value = info.value;
    value.inout = inout;
    return true;
  }

  // A SciPy matrix, read by its attributes; its three arrays must be what they say.
  bool accept_csr(const Item& item, PyObject* object, Value& value) {
    const auto matrix = py::reinterpret_borrow<py::object>(object);
    const py::object format = py::getattr(matrix, "format", py::none());
    if (!format.equal(py::str("csr"))) return false;
    const auto shape = matrix.attr("shape").cast<std::pair<index_t, index_t>>();
    ArrayInfo data, indices, indptr;
    if (!vector(item, matrix.attr("data"), 0, data) || !right_type(item, data.code) ||
        !vector(item, matrix.attr("indices"), 0, indices) ||
        !vector(item, matrix.attr("indptr"), 0, indptr)) {
      return false;
    }
    if (indices.code != indptr.code || (indices.code != 'i' && indices.code != 'q')) {
      if (!vector(item, matrix.attr("indices"), 'q', indices)) return false;
      if (!vector(item, matrix.attr("indptr"), 'q', indptr)) return false;
    }
    if (!fits(item.axes[0], shape.first) || !fits(item.axes[1], shape.second)) return false;
    value = data.value;
    value.ndim = 2;
    value.shape = {shape.first, shape.second};
    value.strides = {data.value.shape[0]};
    value.indices = indices.value.data;
    value.indptr = indptr.value.data;
    value.wide = indices.code == 'q';
    sparse_ = true;
    if (indptr.value.shape[0] != shape.first + 1) return false;
    if (indices.value.shape[0] != data.value.shape[0]) return false;
    const Released released;
    return value.wide ? well_formed<std::int64_t>(value) : well_formed<std::int32_t>(value);
  }

  template <class Index>
  bool well_formed(const Value& csr) const {
    const auto* const indptr = static_cast<const Index*>(csr.indptr);
    const index_t rows = csr.shape[0], cols = csr.shape[1], stored = csr.strides[0];
    bool good = indptr[0] == 0 && indptr[rows] == stored;
    for (index_t i = 0; i < rows; ++i) good &= indptr[i] <= indptr[i + 1];
    return good && (entry_.own_columns || columns_within(csr.indices, stored, cols, csr.wide));
  }

  // A dense vector; with another code than its own, or what cannot be read in place, a copy.
  bool vector(const Item& item, const py::object& array, char code, ArrayInfo& info) {
    PyObject* object = keep(array);
    if (!read_array(entry_.name, item.name.c_str(), object, info)) return false;
    if (code == 0) code = info.code;
    if (info.code != code || !info.in_place || !info.dense) {
      if (code == 0) return false;
      object = keep(dense_copy(object, code));
      info = {};
      read_array(entry_.name, item.name.c_str(), object, info);
    }
    return info.value.ndim == 1;
  }

  PyObject* keep(const py::object& object) { return kept_.emplace_back(object).ptr(); }

  bool accept_scalar(const Item& item, PyObject* object, Value& value) {
    if (item.code == 'd') {
      value.number = PyFloat_AsDouble(object);
      if (value.number == -1 && PyErr_Occurred()) return PyErr_Clear(), false;
      return true;
    }
    if (item.code == 'T') return accept_dtype(item, object);
    if (item.code == '?') {
      const int truth = PyObject_IsTrue(object);
      if (truth < 0) throw py::error_already_set();
      value.whole = truth;
    } else if (!accept_integer(item, object, value.whole)) {
      return false;
    }
    if (item.slot >= 0) sizes_[static_cast<std::size_t>(item.slot)] = value.whole;
    return true;
  }

  static bool accept_integer(const Item& item, PyObject* object, index_t& whole) {
    const auto index = py::reinterpret_steal<py::object>(PyNumber_Index(object));
    if (!index) return PyErr_Clear(), false;
    int overflow = 0;
    whole = PyLong_AsLongLongAndOverflow(index.ptr(), &overflow);
    if (overflow == 0 && whole < 0) return whole >= item.low;
    std::uint64_t number = static_cast<std::uint64_t>(whole);
    if (overflow != 0) {
      number = overflow > 0 ? PyLong_AsUnsignedLongLong(index.ptr()) : 0;
      if (overflow < 0 || PyErr_Occurred()) return PyErr_Clear(), false;
      whole = static_cast<index_t>(number);
    }
    return number <= item.high && (item.low <= 0 || number >= static_cast<std::uint64_t>(item.low));
  }

  bool accept_dtype(const Item& item, PyObject* object) {
    if (object == floats.single || object == floats.twofold)
      return right_type(item, object == floats.single ? 'f' : 'd');
    const auto made = py::reinterpret_borrow<py::object>(floats.dtype);
    const py::object dtype = made(py::reinterpret_borrow<py::object>(object));
    const auto name = dtype.attr("name").cast<std::string>();
    return right_type(item, name == "float32" ? 'f' : name == "float64" ? 'd' : 0);
  }

  py::object allocate(const Item& item, Value& value) {
    for (const Axis& axis : item.axes) {
      if (axis.slot >= 0 && (missing_ >> axis.slot & 1U) != 0) continue;
      index_t size = axis.literal;
      if (axis.conditional) {
        size = size_of(axis.slot) != 0 ? axis.literal : size_of(axis.other);
      } else if (axis.slot >= 0) {
        size = size_of(axis.slot) + axis.offset;
      }
      value.shape[static_cast<std::size_t>(value.ndim++)] = size;
    }
    py::object array =
        new_array(element(item.code, type_), value.ndim, value.shape.data(), value.data);
    value.object = array.ptr();
    return array;
  }

  static py::object number(const Item& item, const Value& value) {
    PyObject* made = item.code == 'd'   ? PyFloat_FromDouble(value.number)
                     : item.code == '?' ? PyBool_FromLong(value.whole)
                                        : PyLong_FromLongLong(value.whole);
    if (made == nullptr) throw py::error_already_set();
    return py::reinterpret_steal<py::object>(made);
  }

  const Entry& entry_;
  const Description& s_;
  Arguments arguments_{};
  std::array<index_t, kMostSizes> sizes_;
  std::array<py::object, kMostResults> results_;
  std::vector<py::object> kept_;  // copies and attributes
  unsigned missing_ = 0;          // leading axes, by slot
  int type_ = -1;                 // place of T's type among kTypes; -1 before it is known
  char early_ = 0;                // the code of an A before T
  bool sparse_ = false;
};

PyObject* call(PyObject* self, PyObject* const* args, Py_ssize_t positional, PyObject* keywords) {
  const auto* const entry = static_cast<const Entry*>(PyCapsule_GetPointer(self, nullptr));
  try {
    if (entry->description == nullptr) {
      throw std::runtime_error(
          std::string(entry->name) +
          ": the op must be called through kernelmill.ops, which describes it");
    }
    Binding binding(*entry);
    try {
      if (binding.accept(args, positional, keywords)) return binding.run().release().ptr();
    } catch (const ForeignColumn&) {
    }
    // Always raises.
    Py_XDECREF(PyObject_Vectorcall(entry->description->refuse.ptr(), args,
                                   static_cast<std::size_t>(positional), keywords));
  } catch (py::error_already_set& error) {
    error.restore();
  } catch (const py::builtin_exception& error) {
    error.set_error();
  } catch (const Interrupted&) {
    // The handler's exception is already set; KeyboardInterrupt if something cleared it.
    if (!PyErr_Occurred()) PyErr_SetNone(PyExc_KeyboardInterrupt);
  } catch (const std::bad_alloc& error) {
    PyErr_SetString(PyExc_MemoryError, error.what());
  } catch (const std::invalid_argument& error) {
    PyErr_SetString(PyExc_ValueError, error.what());
  } catch (const std::out_of_range& error) {
    PyErr_SetString(PyExc_IndexError, error.what());
  } catch (const std::exception& error) {
    PyErr_SetString(PyExc_RuntimeError, error.what());
  }
  return nullptr;
}

// --- describing an op ---------------------------------------------------------------------------

Item item_of(const py::tuple& t) {
  Item item;
  item.name = t[0].cast<std::string>();
  item.key = py::reinterpret_steal<py::object>(PyUnicode_InternFromString(item.name.c_str()));
  item.code = t[1].cast<std::string>()[0];
  const py::tuple flags = t[2];
  item.array = flags[0].cast<bool>();
  item.optional = flags[1].cast<bool>();
  item.inout = flags[2].cast<bool>();
  item.csr = flags[3].cast<bool>();
  item.leading = flags[4].cast<bool>();
  item.host = flags[5].cast<bool>();
  for (const py::handle axis : t[3].cast<py::list>()) {
    const auto a = axis.cast<py::tuple>();
    item.axes.push_back({a[0].cast<int>(), a[1].cast<int>(), a[2].cast<bool>(),
                         a[3].cast<index_t>(), a[4].cast<index_t>(), a[5].cast<index_t>()});
  }
  item.slot = t[4].cast<int>();
  item.low = t[5].cast<index_t>();
  item.high = t[6].cast<std::uint64_t>();
  item.required = t[7].cast<bool>();
  item.otherwise = t[8];
  return item;
}

// What a function must consume to fit the signature: '*' stands for any way to read.
std::string expected(const Description& s, int type, bool csr) {
  std::string in, out;
  for (const Item& item : s.in) {
    if (item.inout) {
      out += {'o', element(item.code, type)};
    } else if (item.array) {
      in += {csr && item.csr ? 'c' : '*', element(item.code, type)};
    } else if (item.code != 'T') {
      in += {'s', item.code};
    }
  }
  for (const Item& item : s.out) {
    if (item.array) out += {'o', element(item.code, type)};
  }
  return in + out;
}

// The arguments' layouts where the function consumes that, else nothing.
std::string layouts_of(const std::string& codes, const std::string& want) {
  std::string in, out, layouts;
  for (std::size_t i = 0; i < codes.size(); i += 2) {
    (codes[i] == 'o' ? out : in) += codes.substr(i, 2);
  }
  const std::string have = in + out;
  if (have.size() != want.size()) return {};
  for (std::size_t i = 0; i < have.size(); i += 2) {
    const bool array = have[i] == 'm' || have[i] == 'r' || have[i] == 'd';
    if (want[i] == '*' ? !array : have[i] != want[i]) return {};
    const char a = have[i + 1], b = want[i + 1];
    const bool number = have[i] == 's' && ((b == 'd' && a == 'f') || (b == 'q' && a == 'Q'));
    if (a != b && !number) return {};
    if (have[i] != 'o') layouts += have[i];
  }
  return layouts + '.';
}

void describe(const std::string& name, const py::list& arguments, const py::list& results,
              const py::object& refuse) {
  Entry& entry = *entries().at(name);
  auto* const s = new Description;  // kept: calls in other threads may hold an older one
  for (const py::handle t : arguments) s->in.push_back(item_of(t.cast<py::tuple>()));
  for (const py::handle t : results) s->out.push_back(item_of(t.cast<py::tuple>()));
  s->refuse = refuse;
  if (s->in.size() > kMostArguments || s->out.size() > kMostResults) {
    throw std::runtime_error(name + ": the binder holds fewer arguments (kMostArguments)");
  }
  for (const Runner* runners : {entry.csr, entry.dense}) {
    for (int type = 0; kTypes[type] != 0; ++type) {
      const Runner& runner = runners[type];
      if (runner.run == nullptr) continue;
      const std::string want = expected(*s, type, runners == entry.csr);
      const std::string layouts = layouts_of(runner.codes, want);
      if (layouts.empty()) {
        throw std::runtime_error(name + ": the compiled function must fit the signature, which " +
                                 "asks for " + want + ", got " + runner.codes);
      }
      std::size_t at = 0;
      for (Item& item : s->in) {
        if (!item.inout && (item.array || item.code != 'T')) item.layout = layouts[at++];
      }
    }
  }
  entry.description = s;
}

}  // namespace

Entry& Family::add(const char* name) {
  const std::string full = name_ + "." + name;
  const auto place = entries().emplace(full, nullptr).first;
  auto* const entry = new Entry{place->first.c_str(), {}, {}, nullptr};
  place->second = entry;
  const auto function = reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(&call));
  auto* const method = new PyMethodDef{name, function, METH_FASTCALL | METH_KEYWORDS, nullptr};
  const py::capsule self(entry, [](void*) {});
  const auto made = py::reinterpret_steal<py::object>(PyCFunction_New(method, self.ptr()));
  if (!made) throw py::error_already_set();
  py::setattr(module_, name, made);
  return *entry;
}

// Each is filled by its bind_<name>, in bindings/<name>.cpp.
// clang-format off
#define KERNELMILL_FAMILIES(F)                                                           \
  F(attention) F(ctc) F(dropout) F(embedding) F(histogram) F(hmm) F(kernels) F(kmeans)   \
  F(linear) F(matmul) F(mixture) F(norm) F(pairwise) F(pool) F(random) F(recurrent)      \
  F(silhouette) F(softmax) F(svm) F(tree)

// Families without a CUDA implementation.
#if defined(KERNELMILL_BINDINGS)
#define KERNELMILL_HOST_FAMILIES(F)                                                        \
  F(affinity) F(coordinate) F(decomposition) F(glm) F(half) F(layout) F(linkage) F(moments) \
  F(neighbors) F(sgd) F(values)
#else
#define KERNELMILL_HOST_FAMILIES(F)
#endif
// clang-format on

#define KERNELMILL_DECLARE(name) void bind_##name(Family family);
KERNELMILL_FAMILIES(KERNELMILL_DECLARE)
KERNELMILL_HOST_FAMILIES(KERNELMILL_DECLARE)

void bind_families(py::module_& m) {
  const auto numpy = py::module_::import("numpy");
  floats = {numpy.attr("float32").cast<py::object>().release().ptr(),
            numpy.attr("float64").cast<py::object>().release().ptr(),
            numpy.attr("dtype").cast<py::object>().release().ptr()};
#define KERNELMILL_BIND(name) bind_##name(Family(m.def_submodule(#name).ptr(), #name));
  KERNELMILL_FAMILIES(KERNELMILL_BIND)
  KERNELMILL_HOST_FAMILIES(KERNELMILL_BIND)
  m.def("describe", &describe, py::arg("name"), py::arg("arguments"), py::arg("results"),
        py::arg("refuse"));
}

}  // namespace kernelmill
