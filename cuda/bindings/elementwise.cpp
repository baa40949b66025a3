#include "ops/elementwise.cuh"

#include "bindings/common.hpp"
#include "bindings/elementwise_define.hpp"  // define_rows

#include <algorithm>  // std::find, std::max
#include <cstring>    // std::memcpy

namespace kernelmill {

namespace {

using elementwise::kMostInputs;
using elementwise::Row;

// kDtypes when it is none of them.
std::size_t place_of_dtype(const std::string& name) {
  if (name == "|b1") return 0;
  return static_cast<std::size_t>(std::find(std::begin(kDtypeNames), std::end(kDtypeNames), name) -
                                  kDtypeNames);
}

py::object apply(const Row& row, std::span<const py::handle> given, const py::object& out) {
  struct Argument {
    bool is_array = false;
    DeviceArray array;
    std::vector<index_t> strides;
  };
  Argument arguments[kMostInputs];
  std::uint64_t values[kMostInputs] = {};
  std::size_t rank = 0, typed = given.size();
  for (std::size_t i = 0; i < given.size(); ++i) {
    Argument& a = arguments[i];
    a.is_array = py::hasattr(given[i], "__cuda_array_interface__");
    if (!a.is_array) continue;
    a.array =
        DeviceArray(row.op, row.argument_name(i), py::reinterpret_borrow<py::object>(given[i]));
    rank = std::max(rank, a.array.shape.size());
    if (!row.typed(i)) continue;
    const bool first = typed == given.size();
    if (first || (arguments[typed].array.shape.empty() && !a.array.shape.empty())) typed = i;
  }
  Dtype type = Dtype::float64;
  if (typed < given.size()) {
    const std::size_t found = place_of_dtype(arguments[typed].array.dtype);
    if (found == kDtypes || row.loops[found] == nullptr) {
      invalid(row.op, row.argument_name(typed), " must be ", row.dtypes(), ", got ",
              arguments[typed].array.dtype, " (convert it with astype)");
    }
    type = static_cast<Dtype>(found);
  }
  std::vector<index_t> shape(rank, 1);
  for (std::size_t i = 0; i < given.size(); ++i) {
    Argument& a = arguments[i];
    const auto want = row.argument(i, type);
    const char* name = kDtypeNames[static_cast<int>(want)];
    if (!a.is_array) {
      if (want == Dtype::float16 || want == Dtype::bfloat16) name = "float32";  // not rounded
      // A 0-d array of the dtype on the host checks the number and holds its bits.
      const auto numpy = py::module_::import("numpy");
      const py::handle number = given[i];
      const bool whole = want == Dtype::int32 || want == Dtype::int64;
      // NumPy's arrays have an __index__, but only those without axes are numbers.
      const bool array =
          py::isinstance(number, numpy.attr("ndarray")) && number.attr("ndim").cast<int>() > 0;
      const bool fits = array                    ? false
                        : want == Dtype::boolean ? PyBool_Check(number.ptr()) != 0
                        : whole                  ? PyIndex_Check(number.ptr()) != 0
                                                 : PyFloat_Check(number.ptr()) != 0 ||
                                                       PyIndex_Check(number.ptr()) != 0 ||
                                                       py::isinstance(number, numpy.attr("number"));
      if (!fits) {
        throw py::type_error(std::string(row.op) + ": " + row.argument_name(i) +
                             " must be an array or a number that fits " + name + ", got " +
                             (array ? "a NumPy array (move it with cupy.asarray)"
                                    : py::repr(number).cast<std::string>()));
      }
      const auto bytes = numpy.attr("array")(number, name).attr("tobytes")().cast<std::string>();
      std::memcpy(&values[i], bytes.data(), bytes.size());
      continue;
    }
    if (place_of_dtype(a.array.dtype) != static_cast<std::size_t>(want)) {
      const bool whole = want == Dtype::int32 || want == Dtype::int64;
      const bool truncates = whole && a.array.dtype.substr(0, 3) != "int";
      if (!a.array.shape.empty() || want == Dtype::boolean || truncates) {
        invalid(row.op, row.argument_name(i), " must be ", name,
                row.kinds[i] == 'b' ? "" : " like the other arrays", ", got ", a.array.dtype,
                " (convert it with astype)");
      }
      a.array = DeviceArray(row.op, row.argument_name(i), given[i].attr("astype")(name));
    }
    for (std::size_t axis = 0; axis < a.array.shape.size(); ++axis) {
      const index_t own = a.array.shape[axis];
      index_t& size = shape[axis + rank - a.array.shape.size()];
      if (own != 1 && size != 1 && own != size) {
        std::string names, shapes;
        for (std::size_t k = 0; k < given.size(); ++k) {
          const auto text = arguments[k].is_array ? arguments[k].array.text() : "a number";
          names += (k ? ", " : "") + row.argument_name(k);
          shapes += (k ? ", " : "") + text.substr(text.find('('));
        }
        invalid(row.op, names, " must have shapes that broadcast together, got ", shapes);
      }
      size = own == 1 ? size : own;
    }
  }
  const auto strides_of = [&](const DeviceArray& array) {
    std::vector<index_t> strides(rank, 0);
    const std::size_t skip = rank - array.shape.size();
    for (std::size_t axis = skip; axis < rank; ++axis) {
      if (array.shape[axis - skip] != 1) strides[axis] = array.strides[axis - skip];
    }
    return strides;
  };
  const Dtype result = row.result(type);
  const char* const result_name = kDtypeNames[static_cast<int>(result)];
  const auto fresh = [&] {
    return cupy().attr("empty")(py::tuple(py::cast(shape)), result_name).cast<py::object>();
  };
  py::object target = out.is_none() ? fresh() : out;
  DeviceArray to(row.op, "out", target);
  if (place_of_dtype(to.dtype) != static_cast<std::size_t>(result) || to.shape != shape) {
    invalid(row.op, "out must be a ", result_name, " array of the broadcast shape, got ",
            to.text());
  }
  // Where out shares memory with an argument in another way than element on element, a copy.
  std::vector<index_t> to_strides = strides_of(to);
  std::array<Operand, kMostInputs> in;
  const auto bounds = [](const DeviceArray& a) {
    auto low = reinterpret_cast<std::uintptr_t>(a.data), high = low;
    for (std::size_t axis = 0; axis < a.shape.size(); ++axis) {
      const index_t reach = (a.shape[axis] - 1) * a.strides[axis];
      (reach < 0 ? low : high) += static_cast<std::uintptr_t>(reach);
    }
    return std::pair(low, high);
  };
  bool overlaps = false;
  for (std::size_t i = 0; i < given.size(); ++i) {
    Argument& a = arguments[i];
    a.strides = a.is_array ? strides_of(a.array) : std::vector<index_t>(rank, 0);
    in[i] = {a.is_array ? a.array.data : nullptr, a.strides.data(), row.argument(i, type)};
    if (!a.is_array || out.is_none()) continue;
    const auto [low, high] = bounds(a.array);
    const auto [out_low, out_high] = bounds(to);
    const bool same = a.array.data == to.data && a.strides == to_strides &&
                      in[i].item() == kItemSizes[static_cast<int>(result)];
    overlaps = overlaps || (low <= out_high && out_low <= high && !same);
  }
  if (overlaps) {
    target = fresh();
    to = DeviceArray(row.op, "out", target);
    to_strides = strides_of(to);
  }
  const Call call = current(row.op);
  {
    py::gil_scoped_release release;
    row.loops[static_cast<std::size_t>(type)](call, shape, {in.data(), given.size()}, values,
                                              {to.data, to_strides.data(), result});
  }
  if (!overlaps) return target;
  out[py::ellipsis()] = target;
  return out;
}

}  // namespace

void bind_elementwise(py::module_& m) {
  static_assert(kMostInputs == 4);
  define_rows(m, elementwise::rows(), &apply);
}

}  // namespace kernelmill
