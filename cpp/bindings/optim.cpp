// Ops over lists of arrays check their arguments here, on both devices.
#include "ops/optim.hpp"

#include <sstream>      // names
#include <string_view>  // std::string_view

#include "bindings/common.hpp"

namespace kernelmill {

namespace {

using optim::Array;
using optim::kFloat32, optim::kFloat64;
using optim::Rule;
using optim::Type;

std::vector<std::string> words(const char* text) {
  std::istringstream in(text);
  return {std::istream_iterator<std::string>(in), {}};
}

#if defined(KERNELMILL_BINDINGS)
constexpr const char *kArray = "NumPy", *kListTypes = "float32 or float64";
constexpr std::string_view kListCodes = "fd";
#else
constexpr const char *kArray = "CuPy", *kListTypes = "float32, float64, float16 or bfloat16";
constexpr std::string_view kListCodes = "fdeE";
#endif

std::string text_of(py::handle object, const char* attribute) {
  return py::str(object.attr(attribute));
}

std::string type_name(py::handle object) {
  return py::str(py::type::of(object).attr("__name__")).cast<std::string>();
}

// A list or tuple, whose items stay alive as long as it.
std::vector<py::handle> items_of(const char* op, const std::string& name, py::handle list) {
  if (!PyList_Check(list.ptr()) && !PyTuple_Check(list.ptr())) {
    throw py::type_error(std::string(op) + ": " + name + " must be a list of arrays, got " +
                         type_name(list));
  }
  std::vector<py::handle> items;
  for (const py::handle item : py::reinterpret_borrow<py::sequence>(list)) items.push_back(item);
  return items;
}

Type type_of(const ArrayInfo& info) { return static_cast<Type>(kListCodes.find(info.code)); }

ArrayInfo array_of(const char* op, const std::string& name, std::size_t i, py::handle object) {
  ArrayInfo info;
  const std::string place = name + "[" + std::to_string(i) + "]";
  if (!read_array(op, place.c_str(), object.ptr(), info)) {
    throw py::type_error(std::string(op) + ": " + place + " must be a " + kArray + " array, got " +
                         type_name(object));
  }
  if (info.code == 0 || kListCodes.find(info.code) == kListCodes.npos) {
    invalid(op, place, " must be ", kListTypes, ", got ", text_of(object, "dtype"),
            " (convert it with astype)");
  }
  return info;
}

// Lists of arrays, the first of which says how many there are and of what dtypes and shapes.
class Lists {
 public:
  explicit Lists(const char* op) : op_(op) {}

  std::size_t size() const { return arrays.size(); }

  void parameters(py::handle list) {
    first_ = items_of(op_, "parameters", list);
    for (std::size_t i = 0; i < first_.size(); ++i) {
      const ArrayInfo info = updated("parameters", i, first_[i]);
      const index_t size = size_of(first_[i].ptr());
      arrays.push_back({info.value.data, nullptr, {}, size, type_of(info), 0, nullptr});
    }
  }

  // Any layout: what is not dense is copied.
  void gradients(py::handle list) {
    const std::vector<py::handle> items = same_length("gradients", list);
    for (std::size_t i = 0; i < items.size(); ++i) {
      const ArrayInfo info = array_of(op_, "gradients", i, items[i]);
      like_first("gradients", i, arrays[i].type, info, items[i]);
      read(arrays[i], info, items[i]);
    }
  }

  // What `gradients` does for lists of their own shapes.
  void alone(const std::string& name, py::handle list) {
    const std::vector<py::handle> items = items_of(op_, name, list);
    for (std::size_t i = 0; i < items.size(); ++i) {
      const ArrayInfo info = array_of(op_, name, i, items[i]);
      const index_t size = size_of(items[i].ptr());
      arrays.push_back({nullptr, nullptr, {}, size, type_of(info), 0, nullptr});
      read(arrays.back(), info, items[i]);
    }
  }

  void state(const std::string& name, std::size_t number, py::handle list) {
    const std::vector<py::handle> items = same_length(name, list);
    for (std::size_t i = 0; i < items.size(); ++i) {
      const ArrayInfo info = updated(name, i, items[i]);
      like_first(name, i, arrays[i].type == kFloat64 ? kFloat64 : kFloat32, info, items[i]);
      arrays[i].states[number] = info.value.data;
      arrays[i].kept |= 1U << number;
    }
  }

  std::vector<Array> arrays;

 private:
  std::vector<py::handle> same_length(const std::string& name, py::handle list) const {
    std::vector<py::handle> items = items_of(op_, name, list);
    if (items.size() != size()) {
      invalid(op_, name, " must have ", size(), " arrays like parameters, got ", items.size());
    }
    return items;
  }

  ArrayInfo updated(const std::string& name, std::size_t i, py::handle object) const {
    const ArrayInfo info = array_of(op_, name, i, object);
    if (!info.dense || !info.writeable || !info.in_place) {
      invalid(op_, name, "[", i,
              "] must be C-contiguous, aligned and writeable, got an array that ",
              info.dense ? info.writeable ? "is byte-swapped or unaligned" : "is read-only"
                         : "is not C-contiguous");
    }
    return info;
  }

  void like_first(const std::string& name, std::size_t i, Type type, const ArrayInfo& info,
                  py::handle object) const {
    const py::handle first = first_[i];
    if (type_of(info) == type && same_shape(first.ptr(), object.ptr())) return;
    const std::string dtype = type == arrays[i].type ? text_of(first, "dtype") : "float32";
    invalid(op_, name, "[", i, "] must be ", dtype, " of shape ", text_of(first, "shape"),
            " like the parameter, got ", text_of(object, "dtype"), " of shape ",
            text_of(object, "shape"));
  }

  void read(Array& array, const ArrayInfo& info, py::handle object) {
    array.gradient = info.value.data;
    if (info.dense && info.in_place) return;
    kept_.push_back(dense_copy(object.ptr(), info.code));
    ArrayInfo copied;
    read_array(op_, "gradients", kept_.back().ptr(), copied);
    array.gradient = copied.value.data;
  }

  const char* op_;
  std::vector<py::handle> first_;
  std::vector<py::object> kept_;  // copies
};

// One number for all arrays, or one for each.
void read_option(const Rule& rule, const std::string& name, py::handle given, std::size_t at,
                 std::size_t per_array, std::vector<double>& options) {
  const std::size_t n = options.size() / per_array;
  const bool each = PyList_Check(given.ptr()) || PyTuple_Check(given.ptr());
  const auto number = [&](py::handle object) {
    const double value = PyFloat_AsDouble(object.ptr());
    if (value == -1 && PyErr_Occurred()) {
      PyErr_Clear();
      throw py::type_error(std::string(rule.op) + ": " + name +
                           " must be a number or a list of numbers, got " + type_name(object));
    }
    return value;
  };
  if (!each) {
    const double value = number(given);
    for (std::size_t i = 0; i < n; ++i) options[i * per_array + at] = value;
    return;
  }
  const auto list = py::reinterpret_borrow<py::sequence>(given);
  if (list.size() != n) {
    invalid(rule.op, name, " must have ", n, " numbers, one for each array, got ", list.size());
  }
  for (std::size_t i = 0; i < n; ++i) options[i * per_array + at] = number(list[i]);
}

// Lists come by place or by name, options by name.
void step(const Rule& rule, const py::args& args, const py::kwargs& kwargs) {
  std::vector<std::string> names{"parameters", "gradients"};
  const std::vector<std::string> states = words(rule.states), option_names = words(rule.options);
  names.insert(names.end(), states.begin(), states.end());
  if (args.size() > names.size()) {
    throw py::type_error(std::string(rule.op) + ": too many positional arguments");
  }
  std::size_t used = 0;
  const auto named = [&](const std::string& name) {
    const py::handle found = PyDict_GetItemString(kwargs.ptr(), name.c_str());
    used += static_cast<bool>(found);
    return found;
  };
  Lists lists(rule.op);
  for (std::size_t i = 0; i < names.size(); ++i) {
    const py::handle by_name = named(names[i]);
    if (i < args.size() && by_name) {
      throw py::type_error(std::string(rule.op) + ": multiple values for argument '" + names[i] +
                           "'");
    }
    const py::handle given = i < args.size() ? py::handle(args[i]) : by_name;
    const bool missing = !given || given.is_none();
    if (missing && i >= 2 && (rule.optional >> (i - 2) & 1U) != 0) continue;
    if (!given) {
      throw py::type_error(std::string(rule.op) + ": missing a required argument: '" + names[i] +
                           "'");
    }
    if (i == 0) lists.parameters(given);
    if (i == 1) lists.gradients(given);
    if (i >= 2) lists.state(names[i], i - 2, given);
  }
  const std::size_t n = option_names.size();
  std::vector<double> options(lists.size() * n);
  for (std::size_t i = 0; i < lists.size(); ++i) {
    std::copy(rule.defaults.begin(), rule.defaults.end(),
              options.begin() + static_cast<index_t>(i * n));
    lists.arrays[i].options = &options[i * n];
  }
  for (std::size_t at = 0; at < n; ++at) {
    if (const py::handle given = named(option_names[at])) {
      read_option(rule, option_names[at], given, at, n, options);
    }
  }
  if (used != kwargs.size()) {
    throw py::type_error(std::string(rule.op) + ": unexpected keyword argument");
  }
  const std::shared_ptr<void> device = begin_call(rule.op);
  const py::gil_scoped_release release;
  optim::run(device.get(), rule, lists.arrays);
}

double norm(const py::object& arrays, double order) {
  constexpr const char* op = "optim.norm";
  if (!(order > 0)) invalid(op, "order must be above 0, got ", order);
  Lists lists(op);
  lists.alone("arrays", arrays);
  const std::shared_ptr<void> device = begin_call(op);
  const py::gil_scoped_release release;
  return optim::norm(device.get(), lists.arrays, order);
}

}  // namespace

void bind_optim(py::module_& m) {
  auto family = m.def_submodule("optim");
  for (const Rule& rule : optim::rules()) {
    family.def(rule.name, [&rule](const py::args& args, const py::kwargs& kwargs) {
      step(rule, args, kwargs);
    });
  }
  family.def("norm", &norm, py::arg("arrays"), py::arg("order") = 2.0);
}

}  // namespace kernelmill
