// The extension module of every instruction-set level: `_cpu_v2`, `_cpu_v3`, `_cpu_v4`,
// `_cpu_arm64`. What a level adds is in cpp/isa/module.c.

#include "bindings/common.hpp"  // load_numpy, bind_families

#include "core/memory.hpp"    // pool_trim
#include "core/parallel.hpp"  // thread limits, interrupts

extern "C" const char* kernelmill_level();
extern "C" bool kernelmill_tiles();

namespace {

namespace py = pybind11;

// Asked by long ops on the calling thread: has a signal handler raised (Ctrl-C)?
bool signal_raised() {
  py::gil_scoped_acquire gil;
  return PyErr_CheckSignals() != 0;
}

}  // namespace

PYBIND11_MODULE(_cpu, m, py::mod_gil_not_used()) {
  using namespace kernelmill;
  set_interrupt_poll(&signal_raised);
  py::register_exception_translator([](std::exception_ptr error) {
    try {
      if (error) std::rethrow_exception(error);
    } catch (const Interrupted&) {
      // The handler's exception is already set; KeyboardInterrupt if something cleared it.
      if (!PyErr_Occurred()) PyErr_SetNone(PyExc_KeyboardInterrupt);
    }
  });

  m.attr("level") = kernelmill_level();
  m.def("tiles", &kernelmill_tiles);
  m.attr("compiler") =
#if defined(__clang__)
      "clang " __clang_version__;
#else
      "gcc " __VERSION__;
#endif
  m.def("thread_limit", &thread_limit);
  m.def("set_thread_limit", &set_thread_limit, py::arg("n"));
  m.def("available_threads", [] { return available_threads(); });
  m.def("pool_trim", [] { pool_trim(); });
  m.def("pool_array", [](index_t rows, index_t cols, char code) {
    const index_t shape[2] = {rows, cols};
    void* data = nullptr;
    return new_array(code, 2, shape, data);
  });

  bind_convolution(m);
  bind_elementwise(m);
  bind_optim(m);
  bind_reduction(m);
  load_numpy();
  bind_families(m);
}
