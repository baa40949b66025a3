// What the bindings of reductions share on both devices: the argument `axis`, and signatures.
#pragma once

#include <pybind11/pybind11.h>  // py::object

#include <string>  // messages
#include <vector>  // flags

#include "core/error.hpp"           // invalid
#include "ops/reduction_rules.hpp"  // Kind

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

// Defines every reduction; `reduce(kind, op, x, axis, ddof, keepdims, out)` runs one.
template <class X, class Reduce>
void define_reductions(py::module_& m, Reduce reduce) {
  auto family = m.def_submodule("reduction");
  for (const reduction::Kind kind : reduction::kKinds) {
    const char* const name = reduction::kNames[static_cast<int>(kind)];
    const std::string op = std::string("reduction.") + name;
    const auto axis = py::arg("axis") = py::none();
    const auto keepdims = py::arg("keepdims") = false;
    const auto out = py::arg("out") = py::none();
    const auto with_ddof = [=](const X& x, const py::object& a, double ddof, bool keep,
                               const py::object& o) {
      return reduce(kind, op.c_str(), x, a, ddof, keep, o);
    };
    if (kind == reduction::Kind::variance) {
      family.def(name, with_ddof, py::arg("x"), axis, py::arg("ddof") = 0.0, keepdims, out);
    } else {
      family.def(
          name,
          [=](const X& x, const py::object& a, bool keep, const py::object& o) {
            return with_ddof(x, a, 0.0, keep, o);
          },
          py::arg("x"), axis, keepdims, out);
    }
  }
}

}  // namespace kernelmill
