#include "ops/elementwise.hpp"

#include "bindings/common.hpp"
#include "bindings/elementwise_define.hpp"  // define_rows

#include <algorithm>  // std::max, std::min
#include <cstring>    // std::memcpy

namespace kernelmill {

namespace {

using elementwise::kMostInputs;
using elementwise::Row;

// Strides of an array in bytes for every axis of a shape that it is broadcast to.
using Strides = std::array<index_t, elementwise::kMostAxes>;

// kDtypes when it is none of them.
std::size_t dtype_of(const py::dtype& dtype) {
  const char kind = dtype.kind();
  for (std::size_t i = 0; i < kDtypes; ++i) {
    if (kind == "biifffV"[i] && dtype.itemsize() == kItemSizes[i]) return i;
  }
  return kDtypes;
}

// Native byte order, aligned, strides of whole elements.
bool readable(const py::array& a) {
  if ((a.flags() & py::detail::npy_api::NPY_ARRAY_ALIGNED_) == 0) return false;
  const char order = a.dtype().byteorder();
  if (order != '=' && order != '|') return false;
  for (py::ssize_t i = 0; i < a.ndim(); ++i) {
    if (a.strides(i) % a.itemsize() != 0) return false;
  }
  return true;
}

class Call {
 public:
  explicit Call(const Row& row) : row_(row) {}

  py::object operator()(std::span<const py::handle> given, const py::object& out) {
    for (std::size_t i = 0; i < given.size(); ++i) take(i, given[i]);
    choose_type();
    for (std::size_t i = 0; i < given.size(); ++i) convert(i);
    broadcast();
    const Dtype type = row_.result(type_);
    if (!out.is_none()) check_out(out, type);
    const py::array result = out.is_none() ? fresh(type) : py::reinterpret_borrow<py::array>(out);
    const bool copied = !out.is_none() && (!readable(result) || overlaps(result));
    py::array target = copied ? fresh(type) : result;
    Strides steps;
    std::array<Operand, kMostInputs> in;
    for (std::size_t i = 0; i < given.size(); ++i) in[i] = arguments_[i].operand;
    const Operand to{target.mutable_data(), strides_of(target, steps), type};
    const std::span<const Operand> inputs(in.data(), given.size());
    constexpr index_t kShort = 1 << 13;  // less work than handing over the GIL and taking it back
    if (count_ <= kShort) {
      elementwise::run(row_, type_, shape(), inputs, to);
    } else {
      py::gil_scoped_release release;
      elementwise::run(row_, type_, shape(), inputs, to);
    }
    if (copied) out[py::ellipsis()] = target;
    return result;
  }

 private:
  struct Argument {
    std::optional<py::array> array;  // none for a Python number; py::array() would make one
    py::object number;
    std::uint64_t value;  // the number, as an element
    Strides strides;
    Operand operand;
  };

  std::span<const index_t> shape() const { return {shape_.data(), rank_}; }
  std::string name(std::size_t i) const { return row_.argument_name(i); }

  void take(std::size_t i, py::handle given) {
    if (py::isinstance<py::array>(given)) {
      arguments_[i].array = py::reinterpret_borrow<py::array>(given);
    } else {
      arguments_[i].number = py::reinterpret_borrow<py::object>(given);
    }
  }

  // The dtype of the arrays with axes; of the 0-d ones where none has any.
  void choose_type() {
    const Argument* first = nullptr;
    std::size_t at = 0;
    for (std::size_t i = 0; i < row_.arity(); ++i) {
      const Argument& argument = arguments_[i];
      if (!argument.array || !row_.typed(i)) continue;
      if (first == nullptr || (first->array->ndim() == 0 && argument.array->ndim() > 0)) {
        first = &argument;
        at = i;
      }
    }
    if (first == nullptr) {  // where(condition, 1.0, 2.0)
      type_ = Dtype::float64;
      return;
    }
    const std::size_t found = dtype_of(first->array->dtype());
    if (found == kDtypes || row_.loops[found] == nullptr) {
      invalid(row_.op, name(at), " must be ", row_.dtypes(), ", got ", dtype_text(*first->array),
              " (convert it with astype)");
    }
    type_ = static_cast<Dtype>(found);
  }

  // Makes argument i an operand of its dtype. Numbers and 0-d arrays take the dtype of the others.
  void convert(std::size_t i) {
    Argument& argument = arguments_[i];
    const Dtype type = row_.argument(i, type_);
    argument.operand.type = type;
    if (argument.array) {
      const bool same = dtype_of(argument.array->dtype()) == static_cast<std::size_t>(type);
      const char* const dtype = kDtypeNames[static_cast<int>(type)];
      if (same) {
        if (!readable(*argument.array)) {
          argument.array = py::array(argument.array->attr("astype")(dtype));
        }
        argument.operand.data = const_cast<void*>(argument.array->data());
        return;
      }
      if (argument.array->ndim() > 0 || type == Dtype::boolean) {
        invalid(row_.op, name(i), " must be ", dtype,
                row_.kinds[i] == 'b' ? "" : " like the other arrays", ", got ",
                dtype_text(*argument.array), " (convert it with astype)");
      }
      argument.number = argument.array->attr("item")();
      argument.array.reset();
    }
    argument.operand.data = &argument.value;
    if (!store(argument.number.ptr(), type, &argument.value)) {
      PyErr_Clear();
      throw py::type_error(std::string(row_.op) + ": " + name(i) +
                           " must be an array or a number " + "that fits " +
                           kDtypeNames[static_cast<int>(type)] + ", got " +
                           py::repr(argument.number).cast<std::string>());
    }
  }

  static bool store(PyObject* number, Dtype type, void* to) {
    if (type == Dtype::boolean) {
      *static_cast<bool*>(to) = number == Py_True;
      return PyBool_Check(number);
    }
    if (type == Dtype::int32 || type == Dtype::int64) {
      const long long value = PyNumber_Check(number) && !PyFloat_Check(number)
                                  ? PyLong_AsLongLong(number)
                                  : (PyErr_SetNone(PyExc_TypeError), -1);
      const auto narrow = static_cast<std::int32_t>(value);
      std::memcpy(to, &value, sizeof value);
      if (type == Dtype::int32) std::memcpy(to, &narrow, sizeof narrow);
      return !PyErr_Occurred() && (type == Dtype::int64 || narrow == value);
    }
    const double value = PyFloat_AsDouble(number);
    const auto narrow = static_cast<float>(value);
    std::memcpy(to, &value, sizeof value);
    if (type == Dtype::float32) std::memcpy(to, &narrow, sizeof narrow);
    return !PyErr_Occurred();
  }

  index_t extent(const Argument& argument, std::size_t axis) const {
    const auto rank = static_cast<std::size_t>(argument.array->ndim());
    return axis + rank < rank_
               ? 1
               : argument.array->shape(static_cast<py::ssize_t>(axis + rank - rank_));
  }

  void broadcast() {
    for (std::size_t i = 0; i < row_.arity(); ++i) {
      if (!arguments_[i].array) continue;
      rank_ = std::max(rank_, static_cast<std::size_t>(arguments_[i].array->ndim()));
    }
    for (std::size_t axis = 0; axis < rank_; ++axis) {
      index_t size = 1;
      for (std::size_t i = 0; i < row_.arity(); ++i) {
        if (!arguments_[i].array) continue;
        const index_t own = extent(arguments_[i], axis);
        if (own == 1 || own == size) continue;
        if (size != 1) clash();
        size = own;
      }
      shape_[axis] = size;
      count_ *= size;
    }
    for (std::size_t i = 0; i < row_.arity(); ++i) {
      Argument& argument = arguments_[i];
      if (argument.array) {
        argument.operand.strides = strides_of(*argument.array, argument.strides);
      } else {
        argument.strides.fill(0);
        argument.operand.strides = argument.strides.data();
      }
    }
  }

  [[noreturn]] void clash() const {
    std::string shapes, names;
    for (std::size_t i = 0; i < row_.arity(); ++i) {
      names += (i ? ", " : "") + name(i);
      shapes += (i ? ", " : "") + (arguments_[i].array ? shape_text(*arguments_[i].array) : "()");
    }
    invalid(row_.op, names, " must have shapes that broadcast together, got ", shapes);
  }

  const index_t* strides_of(const py::array& array, Strides& strides) const {
    const auto rank = static_cast<std::size_t>(array.ndim());
    std::fill_n(strides.begin(), rank_ - rank, 0);
    for (std::size_t axis = 0; axis < rank; ++axis) {
      const auto own = static_cast<py::ssize_t>(axis);
      strides[rank_ - rank + axis] = array.shape(own) == 1 ? 0 : array.strides(own);
    }
    return strides.data();
  }

  py::array fresh(Dtype type) const {
    std::vector<py::ssize_t> extents(shape_.begin(), shape_.begin() + static_cast<index_t>(rank_));
    switch (type) {
      case Dtype::boolean:
        return result<bool>(std::move(extents));
      case Dtype::int32:
        return result<std::int32_t>(std::move(extents));
      case Dtype::int64:
        return result<std::int64_t>(std::move(extents));
      case Dtype::float32:
        return result<float>(std::move(extents));
      default:
        return result<double>(std::move(extents));
    }
  }

  void check_out(const py::object& out, Dtype type) const {
    if (!py::isinstance<py::array>(out)) {
      throw py::type_error(std::string(row_.op) + ": out must be an array, got " +
                           py::str(py::type::of(out).attr("__name__")).cast<std::string>());
    }
    const auto array = py::reinterpret_borrow<py::array>(out);
    bool fits = dtype_of(array.dtype()) == static_cast<std::size_t>(type) && array.writeable() &&
                static_cast<std::size_t>(array.ndim()) == rank_;
    for (std::size_t axis = 0; fits && axis < rank_; ++axis) {
      const auto own = static_cast<py::ssize_t>(axis);
      const bool once = shape_[axis] <= 1 || array.size() == 0 || array.strides(own) != 0;
      fits = array.shape(own) == shape_[axis] && once;
    }
    if (!fits) {
      std::string want;
      for (index_t size : shape()) want += std::to_string(size) + ",";
      const char* const dtype = kDtypeNames[static_cast<int>(type)];
      invalid(row_.op, "out must be a writeable ", dtype, " array of shape (", want, "), got ",
              dtype_text(array), " of shape ", shape_text(array));
    }
  }

  // Whether out shares memory with an argument in another way than element on element.
  bool overlaps(const py::array& out) const {
    const auto bounds = [](const py::array& a) {
      auto low = reinterpret_cast<std::uintptr_t>(a.data()), high = low;
      for (py::ssize_t i = 0; i < a.ndim(); ++i) {
        const auto reach = static_cast<std::uintptr_t>((a.shape(i) - 1) * a.strides(i));
        (a.strides(i) < 0 ? low : high) += reach;
      }
      return std::pair(low, high + static_cast<std::uintptr_t>(a.itemsize()));
    };
    if (count_ == 0) return false;
    const auto [low, high] = bounds(out);
    Strides steps;
    strides_of(out, steps);
    for (std::size_t i = 0; i < row_.arity(); ++i) {
      const Argument& argument = arguments_[i];
      if (!argument.array) continue;
      const auto [other_low, other_high] = bounds(*argument.array);
      if (other_high <= low || high <= other_low) continue;
      const bool same = argument.array->data() == out.data() &&
                        argument.array->itemsize() == out.itemsize() &&
                        std::equal(steps.begin(), steps.begin() + static_cast<index_t>(rank_),
                                   argument.strides.begin());
      if (!same) return true;
    }
    return false;
  }

  const Row& row_;
  Dtype type_ = Dtype::float64;
  std::size_t rank_ = 0;
  index_t count_ = 1;
  std::array<index_t, elementwise::kMostAxes> shape_;
  std::array<Argument, kMostInputs> arguments_;
};

}  // namespace

void bind_elementwise(py::module_& m) {
  static_assert(kMostInputs == 4);
  define_rows(m, elementwise::rows(),
              [](const Row& row, std::span<const py::handle> given, const py::object& out) {
                return Call(row)(given, out);
              });
}

}  // namespace kernelmill
