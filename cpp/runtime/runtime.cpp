// What happens around each call of a compiled op, where Python would cost more than the op itself:
// the choice of the implementation (`ops/_op.py`) and the tape of `kernelmill.nn` (`nn/_tape.py`).
//
// An addition of 16 numbers takes 0.3 us. In Python recording it took 1.5 us more and going
// back 1.9; here both together take 0.6. Only the usual case is here:
// floats of one dtype in NumPy arrays, gradients as arrays. Everything else is handed to the Python
// functions that `connect` is given, which say what is true.

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <structmember.h>  // T_OBJECT and so on

#include <algorithm>  // std::ranges::sort, std::ranges::lower_bound
#include <array>      // arguments of a call
#include <map>        // pending gradients by number
#include <utility>    // std::move, std::exchange
#include <vector>     // gradients of a call

#include "state.hpp"  // Ref, known, slot, saved_of

namespace {

using namespace kernelmill::runtime;

// --- ops ----------------------------------------------------------------------------------------

struct Dispatch {
  PyObject_HEAD vectorcallfunc call;
  PyObject* cpu;
  char array_free;
};

PyTypeObject* array_type;  // known before `connect`, which only networks call

PyObject* dispatch(PyObject* self, PyObject* const* args, std::size_t flags, PyObject* names) {
  const auto* op = reinterpret_cast<Dispatch*>(self);
  const Py_ssize_t count = PyVectorcall_NARGS(flags);
  if (!none(op->cpu) && (op->array_free || (count > 0 && Py_TYPE(args[0]) == array_type))) {
    const Ref backend = value_of(active);
    if (!backend) return nullptr;
    if (backend.get() == Py_None) return PyObject_Vectorcall(op->cpu, args, flags, names);
  }
  const Ref choose(PyObject_GetAttr(self, name_choose));
  return choose ? PyObject_Vectorcall(choose.get(), args, static_cast<std::size_t>(count), names)
                : nullptr;
}

PyObject* dispatch_new(PyTypeObject* type, PyObject*, PyObject*) {
  PyObject* self = type->tp_alloc(type, 0);
  if (self != nullptr) reinterpret_cast<Dispatch*>(self)->call = dispatch;
  return self;
}

int dispatch_traverse(PyObject* self, visitproc visit, void* arg) {
  Py_VISIT(reinterpret_cast<Dispatch*>(self)->cpu);
  return 0;
}

int dispatch_clear(PyObject* self) {
  Py_CLEAR(reinterpret_cast<Dispatch*>(self)->cpu);
  return 0;
}

void dispatch_dealloc(PyObject* self) {
  PyObject_GC_UnTrack(self);
  dispatch_clear(self);
  Py_TYPE(self)->tp_free(self);
}

PyMemberDef dispatch_members[] = {
    {"_cpu", T_OBJECT, offsetof(Dispatch, cpu), 0, nullptr},
    {"array_free", T_BOOL, offsetof(Dispatch, array_free), 0, nullptr},
    {nullptr, 0, 0, 0, nullptr}};

PyTypeObject DispatchType{};  // filled at import

// --- nodes --------------------------------------------------------------------------------------

struct Node {
  PyObject_HEAD PyObject *rule, *parents, *saved, *options, *shape, *hooks, *layer;
  Number number;
};

PyTypeObject NodeType{};

Node* as_node(PyObject* p) {
  return Py_TYPE(p) == &NodeType ? reinterpret_cast<Node*>(p) : nullptr;
}

// Takes over no references.
PyObject* make_node(PyObject* rule, PyObject* parents, PyObject* saved, PyObject* options,
                    PyObject* shape) {
  Node* made = PyObject_GC_New(Node, &NodeType);
  if (made == nullptr) return nullptr;
  made->rule = Py_NewRef(rule);
  made->parents = Py_NewRef(parents);
  made->saved = Py_NewRef(saved);
  made->options = Py_XNewRef(options);
  made->shape = Py_NewRef(shape);
  made->hooks = made->layer = nullptr;
  made->number = ++last_number;
  PyObject_GC_Track(made);
  return reinterpret_cast<PyObject*>(made);
}

PyObject* node_call(PyObject*, PyObject* const* args, std::size_t flags, PyObject* names) {
  if (PyVectorcall_NARGS(flags) != 5 || names != nullptr) {
    PyErr_SetString(PyExc_TypeError, "Node: must be called with 5 arguments");
    return nullptr;
  }
  return make_node(args[0], args[1], args[2], args[3], args[4]);
}

int node_traverse(PyObject* self, visitproc visit, void* arg) {
  const auto* n = reinterpret_cast<Node*>(self);
  for (PyObject* p : {n->rule, n->parents, n->saved, n->options, n->shape, n->hooks, n->layer}) {
    Py_VISIT(p);
  }
  return 0;
}

int node_clear(PyObject* self) {
  auto* n = reinterpret_cast<Node*>(self);
  for (PyObject** p :
       {&n->rule, &n->parents, &n->saved, &n->options, &n->shape, &n->hooks, &n->layer}) {
    Py_CLEAR(*p);
  }
  return 0;
}

void node_dealloc(PyObject* self) {
  PyObject_GC_UnTrack(self);
  Py_TRASHCAN_BEGIN(self, node_dealloc)  // a long chain must not use up the stack
      node_clear(self);
  PyObject_GC_Del(self);
  Py_TRASHCAN_END
}

PyMemberDef node_members[] = {{"rule", T_OBJECT, offsetof(Node, rule), READONLY, nullptr},
                              {"parents", T_OBJECT, offsetof(Node, parents), 0, nullptr},
                              {"saved", T_OBJECT, offsetof(Node, saved), 0, nullptr},
                              {"options", T_OBJECT, offsetof(Node, options), READONLY, nullptr},
                              {"shape", T_OBJECT, offsetof(Node, shape), READONLY, nullptr},
                              {"hooks", T_OBJECT, offsetof(Node, hooks), 0, nullptr},
                              {"layer", T_OBJECT, offsetof(Node, layer), 0, nullptr},
                              {"number", T_LONGLONG, offsetof(Node, number), READONLY, nullptr},
                              {nullptr, 0, 0, 0, nullptr}};

// --- results and operators ----------------------------------------------------------------------

PyObject* wrapped(PyObject* array, PyObject* node) {
  PyObject* made = known.tensor->tp_alloc(known.tensor, 0);
  if (made == nullptr) return nullptr;
  slot(made, known.data) = Py_NewRef(array);
  slot(made, known.grad) = Py_NewRef(Py_None);
  slot(made, known.node) = Py_NewRef(node);
  return made;
}

PyObject* wrap(PyObject*, PyObject* const* args, Py_ssize_t count) {
  if (count != 2) {
    PyErr_SetString(PyExc_TypeError, "wrap: must be called with 2 arguments");
    return nullptr;
  }
  return wrapped(args[0], args[1]);
}

constexpr const char* kOperations[] = {"add", "subtract", "multiply", "divide"};
constexpr int kAdd = 0, kMultiply = 2, kDivide = 3;

PyObject* operate(int which, bool reverse, PyObject* self, PyObject* other) {
  PyObject *a = slot(self, known.data), *p = slot(self, known.node);
  PyObject *b = other, *q = Py_None;
  const Array* left = a == nullptr ? nullptr : as_array(a);
  bool plain = left != nullptr && anomalies == 0 &&
               (!reverse || which == kAdd || which == kMultiply) &&
               (left->dtype == known.float32 || left->dtype == known.float64);
  if (plain) {
    if (PyObject_TypeCheck(other, known.tensor)) {
      b = slot(other, known.data);
      q = slot(other, known.node);
      const Array* right = as_array(b);
      plain = right != nullptr && right->dtype == left->dtype;
    } else {
      plain = PyFloat_CheckExact(other) || PyLong_CheckExact(other);
    }
  }
  if (!plain) {
    const Ref name(PyUnicode_InternFromString(kOperations[which]));
    return PyObject_CallFunctionObjArgs(known.arithmetic, name.get(), reverse ? other : self,
                                        reverse ? self : other, nullptr);
  }
  const Ref keep_a = Ref::of(a), keep_b = Ref::of(b), keep_p = Ref::of(p), keep_q = Ref::of(q);
  PyObject* const operands[] = {a, b};
  const Ref result(dispatch(known.operations[which], operands, 2, nullptr));
  if (!result) return nullptr;
  if (p == Py_None && q == Py_None) return wrapped(result.get(), Py_None);
  const Ref record = value_of(known.recording);
  if (!record) return nullptr;
  if (record.get() != Py_True) return wrapped(result.get(), Py_None);
  Ref saved;
  if (which == kMultiply) {
    saved = Ref(PyTuple_Pack(2, p == Py_None ? Py_None : b, q == Py_None ? Py_None : a));
  } else if (which == kDivide) {
    saved = Ref(PyTuple_Pack(2, b, q == Py_None ? Py_None : result.get()));
  } else {
    saved = Ref::of(no_arrays);
  }
  const Ref parents(PyTuple_Pack(2, p, q));
  const Ref shape(PyObject_GetAttr(result.get(), name_shape));
  if (!saved || !parents || !shape) return nullptr;
  const Ref node(
      make_node(known.rules[which], parents.get(), saved.get(), no_options, shape.get()));
  return node ? wrapped(result.get(), node.get()) : nullptr;
}

template <int which, bool reverse>
PyObject* method(PyObject* self, PyObject* other) {
  return operate(which, reverse, self, other);
}

PyMethodDef operators[] = {{"__add__", method<0, false>, METH_O, nullptr},
                           {"__radd__", method<0, true>, METH_O, nullptr},
                           {"__sub__", method<1, false>, METH_O, nullptr},
                           {"__rsub__", method<1, true>, METH_O, nullptr},
                           {"__mul__", method<2, false>, METH_O, nullptr},
                           {"__rmul__", method<2, true>, METH_O, nullptr},
                           {"__truediv__", method<3, false>, METH_O, nullptr},
                           {"__rtruediv__", method<3, true>, METH_O, nullptr}};

// --- rules --------------------------------------------------------------------------------------

constexpr Py_ssize_t kMostInputs = 16;

// `Rule.apply`, for rules of one result.
PyObject* rule_call(PyObject* self, PyObject* args, PyObject* options) {
  const Py_ssize_t count = PyTuple_GET_SIZE(args);
  if (known.tensor == nullptr || anomalies != 0 || forms || count > kMostInputs ||
      slot(self, known.several) == Py_True) {
    const Ref apply(PyObject_GetAttr(self, name_apply));
    return apply ? PyObject_Call(apply.get(), args, options) : nullptr;
  }
  std::array<Ref, kMostInputs> held_arrays, held_nodes;
  std::array<PyObject*, kMostInputs> arrays, nodes;
  bool tensors = false, needed = false;
  for (Py_ssize_t i = 0; i < count; ++i) {
    const auto at = static_cast<std::size_t>(i);
    arrays[at] = PyTuple_GET_ITEM(args, i);
    nodes[at] = Py_None;
    if (!PyObject_TypeCheck(arrays[at], known.tensor)) continue;
    tensors = true;
    nodes[at] = slot(arrays[at], known.node);
    arrays[at] = slot(arrays[at], known.data);
    held_arrays[at] = Ref::of(arrays[at]);
    held_nodes[at] = Ref::of(nodes[at]);
    needed = needed || nodes[at] != Py_None;
  }
  Ref result(PyObject_VectorcallDict(slot(self, known.forward), arrays.data(),
                                     static_cast<std::size_t>(count), options));
  if (!result) return nullptr;
  Ref extras;
  if (slot(self, known.extras) == Py_True) {
    if (!PyTuple_CheckExact(result.get()) || PyTuple_GET_SIZE(result.get()) != 2) {
      PyErr_Format(PyExc_TypeError, "%R: forward must give a result and extras", self);
      return nullptr;
    }
    extras = Ref::of(PyTuple_GET_ITEM(result.get(), 1));
    result = Ref::of(PyTuple_GET_ITEM(result.get(), 0));
  }
  if (!tensors) return Py_NewRef(result.get());
  if (!needed) return wrapped(result.get(), Py_None);
  const Ref record = value_of(known.recording);
  if (!record) return nullptr;
  if (record.get() != Py_True) return wrapped(result.get(), Py_None);
  const Ref saved = saved_of(self, arrays.data(), nodes.data(), count, result.get(), extras.get());
  const Ref parents(PyTuple_New(count)), shape(PyObject_GetAttr(result.get(), name_shape));
  const Ref own(options == nullptr ? PyDict_New() : PyDict_Copy(options));
  if (!saved || !parents || !shape || !own) return nullptr;
  for (Py_ssize_t i = 0; i < count; ++i) {
    PyTuple_SET_ITEM(parents.get(), i, Py_NewRef(nodes[static_cast<std::size_t>(i)]));
  }
  const Ref node(make_node(self, parents.get(), saved.get(), own.get(), shape.get()));
  return node ? wrapped(result.get(), node.get()) : nullptr;
}

PyTypeObject RuleType{};  // filled at import; `Rule` derives from it

// --- the way back -------------------------------------------------------------------------------

struct Pending {
  Ref node, g;  // g of a node with several results is a dict by index
  bool own;     // whether nobody else holds g
};

Number number_of(PyObject* node) {
  if (const Node* n = as_node(node)) return n->number;
  const Ref number(PyObject_GetAttr(node, name_number));
  return number ? PyLong_AsLongLong(number.get()) : -1;
}

// Whether the memory is another array's. A capsule is memory of the ops' pool, for one array.
bool is_view(PyObject* array) {
  if (const Array* a = as_array(array)) return a->base != nullptr && !PyCapsule_CheckExact(a->base);
  const Ref base(PyObject_GetAttr(array, name_base));
  PyErr_Clear();
  return !none(base.get());
}

// Whether the gradient of the shape of the result has that of the input, too.
int same_shape(PyObject* g, PyObject* parent, Ref& shape) {
  if (const Node* n = as_node(parent)) {
    shape = Ref::of(n->shape);
  } else {
    shape = Ref(PyObject_GetAttr(parent, name_shape));
    if (!shape) return -1;
  }
  const Array* a = as_array(g);
  if (a != nullptr && PyTuple_CheckExact(shape.get())) {
    bool same = PyTuple_GET_SIZE(shape.get()) == a->ndim;
    for (int i = 0; same && i < a->ndim; ++i) {
      same = PyLong_AsSsize_t(PyTuple_GET_ITEM(shape.get(), i)) == a->shape[i];
    }
    return same;
  }
  const Ref given(PyObject_GetAttr(g, name_shape));
  return given ? PyObject_RichCompareBool(given.get(), shape.get(), Py_EQ) : -1;
}

class Pass {
 public:
  explicit Pass(bool retain) : retain_(retain) {}

  // Adds a gradient to what a node has got so far.
  bool send(PyObject* node, Ref g, bool own) {
    const Number number = number_of(node);
    if (number < 0) return false;
    const auto at = pending_.lower_bound(number);
    if (at == pending_.end() || at->first != number) {
      pending_.emplace_hint(at, number, Pending{Ref::of(node), std::move(g), own});
      return true;
    }
    Pending& old = at->second;
    if (!old.own && own) std::swap(old.g, g);  // a residual connection's, and its branch's
    PyObject* const fresh = old.own || own ? Py_False : Py_True;
    old.own = true;
    old.g = Ref(PyObject_CallFunctionObjArgs(known.add, old.g.get(), g.get(), fresh, nullptr));
    return static_cast<bool>(old.g);
  }

  bool run() {
    while (!pending_.empty()) {
      const auto last = std::prev(pending_.end());
      Pending next = std::move(last->second);
      pending_.erase(last);
      if (!visit(next)) return false;
      if (++visited_ % 1024 == 0 && PyErr_CheckSignals() != 0) return false;
    }
    return true;
  }

 private:
  bool visit(Pending& at) {
    PyObject* node = at.node.get();
    Node* n = as_node(node);
    Ref hooks = n != nullptr ? Ref::of(n->hooks) : Ref(PyObject_GetAttr(node, name_hooks));
    if (n == nullptr && !hooks) return false;
    if (!none(hooks.get())) {
      Ref g(PyObject_CallFunctionObjArgs(known.hooked, node, at.g.get(), nullptr));
      if (!g) return false;
      at.own = at.own && g.get() == at.g.get();
      at.g = std::move(g);
    }
    if (n != nullptr) return through(n, at.g.get());
    if (Py_TYPE(node) == known.part) return collect(node, at.g.get());
    return static_cast<bool>(Ref(PyObject_CallFunctionObjArgs(
        known.deliver, node, at.g.get(), at.own ? Py_True : Py_False, nullptr)));
  }

  // One of several results: the gradients wait in a dict for the node that made them.
  bool collect(PyObject* part, PyObject* g) {
    const Ref origin(PyObject_GetAttr(part, name_node)), index(PyObject_GetAttr(part, name_index));
    if (!origin || !index) return false;
    Pending& at = pending_[number_of(origin.get())];
    if (!at.node) at = {Ref::of(origin.get()), Ref(PyDict_New()), false};
    return at.g && PyDict_SetItem(at.g.get(), index.get(), g) == 0;
  }

  bool through(Node* n, PyObject* g) {
    auto* node = reinterpret_cast<PyObject*>(n);
    if (none(n->parents)) {
      const Ref error(PyObject_CallOneArg(known.freed, node));
      if (error) PyErr_SetObject(reinterpret_cast<PyObject*>(Py_TYPE(error.get())), error.get());
      return false;
    }
    if (n->number < last_write && !Ref(PyObject_CallOneArg(known.check, node))) return false;
    const Ref parents = Ref::of(n->parents), saved = Ref::of(n->saved);
    PyObject* plan = slot(n->rule, known.plan);
    const bool done = slot(n->rule, known.rerun_slot) == Py_True ? again(node, g)
                      : none(plan) ? ruled(n, g, parents.get())
                                   : planned(n, g, parents.get(), saved.get(), plan);
    if (done && !retain_) {
      Py_XDECREF(std::exchange(n->saved, nullptr));
      Py_XDECREF(std::exchange(n->parents, nullptr));
    }
    return done;
  }

  // A checkpoint: what its function uses is known when it has run again.
  bool again(PyObject* node, PyObject* g) {
    const Ref pairs(PyObject_CallFunctionObjArgs(known.rerun, node, g, nullptr));
    if (!pairs || !PyList_Check(pairs.get())) return false;
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(pairs.get()); ++i) {
      PyObject* pair = PyList_GET_ITEM(pairs.get(), i);
      if (!send(PyTuple_GET_ITEM(pair, 0), Ref::of(PyTuple_GET_ITEM(pair, 1)), false)) return false;
    }
    return true;
  }

  bool ruled(Node* n, PyObject* g, PyObject* parents) {
    PyObject* const args[] = {g, n->saved, reinterpret_cast<PyObject*>(n)};
    const Ref given(PyObject_Vectorcall(slot(n->rule, known.backward), args, 3, nullptr));
    if (!given) return false;
    const bool several = PyTuple_CheckExact(given.get());
    const Py_ssize_t count = PyTuple_GET_SIZE(parents);
    if ((several ? PyTuple_GET_SIZE(given.get()) : 1) != count) {
      PyErr_Format(PyExc_ValueError, "%R: backward must give %zd gradients", n->rule, count);
      return false;
    }
    std::vector<PyObject*> all;  // in order, as one may go to two parents
    for (Py_ssize_t i = 0; several && i < count; ++i) {
      all.push_back(PyTuple_GET_ITEM(given.get(), i));
    }
    std::ranges::sort(all);
    for (Py_ssize_t i = 0; i < count; ++i) {
      PyObject* parent = PyTuple_GET_ITEM(parents, i);
      PyObject* d = several ? PyTuple_GET_ITEM(given.get(), i) : given.get();
      if (parent == Py_None || d == Py_None) continue;
      const auto at = std::ranges::lower_bound(all, d);
      const bool shared = d == g || (several && at + 1 != all.end() && at[1] == d);
      if (!pass_on(n, parent, Ref::of(d), !shared)) return false;
    }
    return true;
  }

  // `Rule.plan`: for each input None, True (the gradient as it is), or an op and its arguments.
  bool planned(Node* n, PyObject* g, PyObject* parents, PyObject* saved, PyObject* plan) {
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(parents); ++i) {
      PyObject *parent = PyTuple_GET_ITEM(parents, i), *step = PyTuple_GET_ITEM(plan, i);
      if (parent == Py_None || step == Py_None) continue;
      Ref d = step == Py_True ? Ref::of(g) : computed(step, g, saved);
      const bool fresh = d.get() != g;
      if (!d || !pass_on(n, parent, std::move(d), fresh)) return false;
    }
    return true;
  }

  static Ref computed(PyObject* step, PyObject* g, PyObject* saved) {
    std::array<PyObject*, 8> args;
    PyObject* places = PyTuple_GET_ITEM(step, 1);
    const Py_ssize_t count = PyTuple_GET_SIZE(places);
    for (Py_ssize_t k = 0; k < count; ++k) {
      const long at = PyLong_AsLong(PyTuple_GET_ITEM(places, k));
      args[static_cast<std::size_t>(k)] = at == 0 ? g : PyTuple_GET_ITEM(saved, at - 1);
    }
    return Ref(
        dispatch(PyTuple_GET_ITEM(step, 0), args.data(), static_cast<std::size_t>(count), nullptr));
  }

  bool pass_on(const Node* n, PyObject* parent, Ref d, bool fresh) {
    if (slot(n->rule, known.broadcasts) == Py_True) {
      Ref shape;
      const int same = same_shape(d.get(), parent, shape);
      if (same < 0) return false;
      if (!same) {
        d = Ref(PyObject_CallFunctionObjArgs(known.sum_to, d.get(), shape.get(), nullptr));
        if (!d) return false;
      }
    }
    const bool own = fresh && !is_view(d.get());
    return send(parent, std::move(d), own);
  }

  std::map<Number, Pending> pending_;
  long visited_ = 0;
  bool retain_;
};

PyObject* back(PyObject*, PyObject* args) {
  PyObject *node, *g;
  int retain;
  if (!PyArg_ParseTuple(args, "OOp", &node, &g, &retain)) return nullptr;
  Pass pass(retain != 0);
  if (!pass.send(node, Ref::of(g), false) || !pass.run()) return nullptr;
  Py_RETURN_NONE;
}

// --- the module ---------------------------------------------------------------------------------

PyObject* next_number(PyObject*, PyObject*) { return PyLong_FromLongLong(++last_number); }

PyObject* mark_write(PyObject*, PyObject*) {
  return PyLong_FromLongLong(last_write = ++last_number);
}

PyObject* watch(PyObject*, PyObject* number) {
  anomalies = static_cast<int>(PyLong_AsLong(number));
  if (PyErr_Occurred()) return nullptr;
  Py_RETURN_NONE;
}

PyObject* use_forms(PyObject*, PyObject*) {
  forms = true;
  Py_RETURN_NONE;
}

// Where the instances of a class keep a slot; -1 with an error set.
Py_ssize_t place(PyTypeObject* type, const char* name) {
  const Ref found(PyObject_GetAttrString(reinterpret_cast<PyObject*>(type), name));
  if (found && Py_TYPE(found.get()) == &PyMemberDescr_Type) {
    return reinterpret_cast<PyMemberDescrObject*>(found.get())->d_member->offset;
  }
  PyErr_Format(PyExc_TypeError, "connect: %s must have a slot %s", type->tp_name, name);
  return -1;
}

PyObject* connect(PyObject*, PyObject* args) {
  PyObject *operations, *rules;
  auto& k = known;
  if (!PyArg_ParseTuple(args, "OOOOOOOOOOOOOOOO!O!", &k.tensor, &k.leaf, &k.part, &k.rule,
                        &k.float32, &k.float64, &k.recording, &k.arithmetic, &k.deliver, &k.hooked,
                        &k.freed, &k.check, &k.sum_to, &k.add, &k.rerun, &PyTuple_Type, &operations,
                        &PyTuple_Type, &rules)) {
    return nullptr;
  }
  Py_INCREF(args);  // for good: everything above is borrowed from it
  k.array = array_type;
  for (int i = 0; i < 4; ++i) {
    k.operations[i] = PyTuple_GET_ITEM(operations, i);
    k.rules[i] = PyTuple_GET_ITEM(rules, i);
  }
  k.data = place(k.tensor, "data");
  k.grad = place(k.tensor, "grad");
  k.node = place(k.tensor, "_node");
  k.forward = place(k.rule, "forward");
  k.saves = place(k.rule, "saves");
  k.extras = place(k.rule, "extras");
  k.several = place(k.rule, "several");
  k.backward = place(k.rule, "backward");
  k.broadcasts = place(k.rule, "broadcasts");
  k.plan = place(k.rule, "plan");
  k.rerun_slot = place(k.rule, "reruns");
  if (PyErr_Occurred()) return nullptr;
  for (PyMethodDef& each : operators) {
    const Ref made(PyDescr_NewMethod(k.tensor, &each));
    if (!made || PyObject_SetAttrString(reinterpret_cast<PyObject*>(k.tensor), each.ml_name,
                                        made.get()) != 0) {
      return nullptr;
    }
  }
  Py_RETURN_NONE;
}

PyMethodDef functions[] = {
    {"back", back, METH_VARARGS, "Send a gradient from a node to the leaves."},
    {"connect", connect, METH_VARARGS, "Learn the classes and functions of the tape."},
    {"mark_write", mark_write, METH_NOARGS, "Number a change in place."},
    {"next_number", next_number, METH_NOARGS, "A number larger than all before."},
    {"use_forms", use_forms, METH_NOARGS,
     "Let `Rule.apply` choose the forms of rules from now on."},
    {"watch", watch, METH_O, "Leave operators to Python where the number is not 0."},
    {"wrap", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(wrap)), METH_FASTCALL,
     "A tensor over the result of an op, without the questions that users' data are asked."},
    {nullptr, nullptr, 0, nullptr}};

PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "_runtime", nullptr, -1, functions, nullptr, nullptr, nullptr, nullptr};

bool ready(PyObject* module) {
  DispatchType.tp_name = "kernelmill._runtime.Dispatch";
  DispatchType.tp_doc = "A callable that runs `_cpu` where it can, else its method `_choose`.";
  DispatchType.tp_basicsize = sizeof(Dispatch);
  DispatchType.tp_flags =
      Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_HAVE_VECTORCALL;
  DispatchType.tp_vectorcall_offset = offsetof(Dispatch, call);
  DispatchType.tp_call = PyVectorcall_Call;
  DispatchType.tp_new = dispatch_new;
  DispatchType.tp_members = dispatch_members;
  DispatchType.tp_traverse = dispatch_traverse;
  DispatchType.tp_clear = dispatch_clear;
  DispatchType.tp_dealloc = dispatch_dealloc;
  NodeType.tp_name = "kernelmill.nn._tape.Node";
  NodeType.tp_doc =
      "One call of a rule: `Node(rule, parents, saved, options, shape)`.\n\n"
      "parents are the nodes of the inputs, None for an input that needs no gradient; saved is as\n"
      "`rule.saves` says, then what the forward pass added. Both are None once the node has been\n"
      "used and freed. layer is where it was made, known in anomaly mode only.";
  NodeType.tp_basicsize = sizeof(Node);
  NodeType.tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE;
  NodeType.tp_vectorcall = node_call;
  NodeType.tp_members = node_members;
  NodeType.tp_traverse = node_traverse;
  NodeType.tp_clear = node_clear;
  NodeType.tp_dealloc = node_dealloc;
  RuleType.tp_name = "kernelmill._runtime.Rule";
  RuleType.tp_doc = "A callable that records what `forward` makes, or calls its method `apply`.";
  RuleType.tp_basicsize = sizeof(PyObject);
  RuleType.tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE;
  RuleType.tp_call = rule_call;
  RuleType.tp_new = PyType_GenericNew;
  for (PyTypeObject* type : {&DispatchType, &NodeType, &RuleType}) {
    Py_SET_REFCNT(reinterpret_cast<PyObject*>(type), 1);  // static: never freed
    if (PyType_Ready(type) < 0) return false;
  }
  name_number = PyUnicode_InternFromString("number");
  name_shape = PyUnicode_InternFromString("shape");
  name_base = PyUnicode_InternFromString("base");
  name_hooks = PyUnicode_InternFromString("hooks");
  name_node = PyUnicode_InternFromString("node");
  name_index = PyUnicode_InternFromString("index");
  name_choose = PyUnicode_InternFromString("_choose");
  name_apply = PyUnicode_InternFromString("apply");
  no_arrays = PyTuple_New(0);
  no_options = PyDict_New();
  active = PyContextVar_New("kernelmill_backend", Py_None);
  const Ref numpy(PyImport_ImportModule("numpy"));
  if (!numpy) return false;
  array_type = reinterpret_cast<PyTypeObject*>(PyObject_GetAttrString(numpy.get(), "ndarray"));
  return array_type != nullptr && active != nullptr &&
         PyModule_AddObjectRef(module, "active", active) == 0 &&
         PyModule_AddType(module, &DispatchType) == 0 && PyModule_AddType(module, &NodeType) == 0 &&
         PyModule_AddType(module, &RuleType) == 0;
}

}  // namespace

PyMODINIT_FUNC PyInit__runtime() {
  PyObject* module = PyModule_Create(&definition);
  if (module != nullptr && !ready(module)) Py_CLEAR(module);
  return module;
}
