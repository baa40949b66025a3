// What stands under the runtime: counted references, NumPy's arrays, what Python told, and what a
// node saves.
#pragma once

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <utility>  // std::exchange

namespace kernelmill::runtime {

using Number = long long;

// A counted reference.
class Ref {
 public:
  Ref() = default;
  explicit Ref(PyObject* owned) : p_(owned) {}
  Ref(Ref&& other) noexcept : p_(std::exchange(other.p_, nullptr)) {}
  Ref& operator=(Ref&& other) noexcept {
    PyObject* old = std::exchange(p_, std::exchange(other.p_, nullptr));
    Py_XDECREF(old);
    return *this;
  }
  Ref(const Ref&) = delete;
  Ref& operator=(const Ref&) = delete;
  ~Ref() { Py_XDECREF(p_); }
  static Ref of(PyObject* borrowed) { return Ref(Py_XNewRef(borrowed)); }
  PyObject* get() const { return p_; }
  explicit operator bool() const { return p_ != nullptr; }

 private:
  PyObject* p_ = nullptr;
};

inline bool none(const PyObject* p) { return p == nullptr || p == Py_None; }

// The head of NumPy's array object, which its ABI fixes.
struct Array {
  PyObject_HEAD char* data;
  int ndim;
  Py_ssize_t* shape;
  Py_ssize_t* strides;
  PyObject* base;
  PyObject* dtype;
};

// What Python told `connect`.
inline struct Known {
  PyTypeObject *array, *tensor, *leaf, *part, *rule;
  PyObject *float32, *float64;
  PyObject* recording;
  PyObject *arithmetic, *deliver, *hooked, *freed, *check, *sum_to, *add, *rerun;
  PyObject* rules[4];                          // of add, subtract, multiply, divide
  PyObject* operations[4];                     // and their ops
  Py_ssize_t data, grad, node;                 // slots of a tensor
  Py_ssize_t forward, saves, extras, several;  // slots of a rule
  Py_ssize_t backward, broadcasts, plan, rerun_slot;
} known;

inline PyObject* active;  // the context variable of `kernelmill.backend`
inline PyObject *name_number, *name_shape, *name_base, *name_hooks, *name_node, *name_index,
    *name_choose;
inline PyObject* name_apply;
inline PyObject *no_arrays, *no_options;
inline Number last_number, last_write;
inline int anomalies;
inline bool forms;  // whether `Rule.apply` chooses the form of a rule for its inputs

inline PyObject*& slot(PyObject* object, Py_ssize_t offset) {
  return *reinterpret_cast<PyObject**>(reinterpret_cast<char*>(object) + offset);
}

inline const Array* as_array(PyObject* p) {
  return Py_TYPE(p) == known.array ? reinterpret_cast<const Array*>(p) : nullptr;
}

// The value of a context variable, new; null with an error set.
inline Ref value_of(PyObject* variable) {
  PyObject* value = nullptr;
  PyContextVar_Get(variable, nullptr, &value);
  return Ref(value);
}

// What a node saves: `arrays` and the result as `Rule.saves` says, where a gradient that is wanted
// needs them, then the extras.
inline Ref saved_of(PyObject* rule, PyObject* const* arrays, PyObject* const* nodes,
                    Py_ssize_t count, PyObject* result, PyObject* extras) {
  PyObject* const saves = slot(rule, known.saves);
  const Py_ssize_t all = saves == Py_None ? count : PyTuple_GET_SIZE(saves);
  const Py_ssize_t more = extras == nullptr ? 0 : PyTuple_GET_SIZE(extras);
  if (all + more == 0) return Ref::of(no_arrays);
  Ref made(PyTuple_New(all + more));
  if (!made) return made;
  for (Py_ssize_t k = 0; k < all; ++k) {
    PyObject* value = k < count ? arrays[k] : Py_None;
    if (saves != Py_None) {
      PyObject* const pair = PyTuple_GET_ITEM(saves, k);
      const Py_ssize_t place = PyLong_AsSsize_t(PyTuple_GET_ITEM(pair, 0));
      PyObject* const users = PyTuple_GET_ITEM(pair, 1);
      bool used = PyTuple_GET_SIZE(users) == 0;
      for (Py_ssize_t u = 0; !used && u < PyTuple_GET_SIZE(users); ++u) {
        const Py_ssize_t user = PyLong_AsSsize_t(PyTuple_GET_ITEM(users, u));
        used = user >= 0 && user < count && nodes[user] != Py_None;
      }
      if (place >= count) {
        PyErr_Format(PyExc_IndexError, "%R: saves input %zd of %zd", rule, place, count);
        return Ref();
      }
      value = !used ? Py_None : place < 0 ? result : arrays[place];
    }
    PyTuple_SET_ITEM(made.get(), k, Py_NewRef(value));
  }
  for (Py_ssize_t k = 0; k < more; ++k) {
    PyTuple_SET_ITEM(made.get(), all + k, Py_NewRef(PyTuple_GET_ITEM(extras, k)));
  }
  return made;
}

}  // namespace kernelmill::runtime
