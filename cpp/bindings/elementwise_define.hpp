// Defines the elementwise functions of a device; it must have declared its elementwise::rows().
#pragma once

#include <pybind11/pybind11.h>  // py::module_

#include <array>    // arguments
#include <span>     // std::span
#include <utility>  // std::index_sequence

namespace kernelmill {

namespace py = pybind11;

template <class Row, class Run, class... Handles>
void define_row(py::module_& family, const Row& row, Run run) {
  [&]<std::size_t... i>(std::index_sequence<i...>) {
    family.def(
        row.name,
        [&row, run](Handles... given, const py::object& out) {
          const std::array<py::handle, sizeof...(given)> all{given...};
          return run(row, all, out);
        },
        py::arg(row.argument_name(i).c_str())..., py::arg("out") = py::none());
  }(std::index_sequence_for<Handles...>{});
}

// `run(row, arguments, out)` computes a row; `arguments` is a std::span of py::handle.
template <class Rows, class Run>
void define_rows(py::module_& m, const Rows& rows, Run run) {
  using H = py::handle;
  using Row = typename Rows::value_type;
  constexpr void (*definers[])(py::module_&, const Row&, Run) = {
      define_row<Row, Run, H>, define_row<Row, Run, H, H>, define_row<Row, Run, H, H, H>,
      define_row<Row, Run, H, H, H, H>};
  auto family = m.def_submodule("elementwise");
  for (const Row& row : rows) definers[row.arity() - 1](family, row, run);
}

}  // namespace kernelmill
