// The argument `axis` of a reduction, for the bindings of both devices.
#pragma once

#include <pybind11/pybind11.h>  // py::object

#include <string>  // messages
#include <vector>  // flags

#include "core/error.hpp"  // invalid

namespace kernelmill {

namespace py = pybind11;

// Which axes are reduced. `axis` is None, an integer or a tuple of integers.
inline std::vector<bool> chosen_axes(const char* op, const py::object& axis, py::ssize_t rank) {
  std::vector<bool> chosen(static_cast<std::size_t>(rank), axis.is_none());
  if (axis.is_none()) return chosen;
  const auto choose = [&](py::handle one) {
    if (!PyIndex_Check(one.ptr())) {
      throw py::type_error(std::string(op) + ": axis must be None, an integer or a tuple of " +
                           "integers, got " + py::repr(axis).cast<std::string>());
    }
    const auto given = one.cast<py::ssize_t>();
    const py::ssize_t at = given < 0 ? given + rank : given;
    if (at < 0 || at >= rank || chosen[static_cast<std::size_t>(at)]) {
      invalid(op, "axis must name different axes of an array with ", rank, ", got ",
              py::repr(axis).cast<std::string>());
    }
    chosen[static_cast<std::size_t>(at)] = true;
  };
  if (py::isinstance<py::tuple>(axis)) {
    for (py::handle one : axis) choose(one);
  } else {
    choose(axis);
  }
  return chosen;
}

}  // namespace kernelmill
