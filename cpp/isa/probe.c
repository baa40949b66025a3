/* Which instruction-set level does this machine run? Compiled for the baseline processor, so that
 * it can be asked anywhere before a faster module is loaded. Built twice: as the Python module
 * `_isa` and, with KERNELMILL_PROBE_MAIN, as the program that CMake asks for the native level. */

static const char* best_level(void) {
#if defined(__x86_64__)
  __builtin_cpu_init();
  const int v2 = __builtin_cpu_supports("sse3") && __builtin_cpu_supports("ssse3") &&
                 __builtin_cpu_supports("sse4.1") && __builtin_cpu_supports("sse4.2") &&
                 __builtin_cpu_supports("popcnt");
  const int v3 = v2 && __builtin_cpu_supports("avx") && __builtin_cpu_supports("avx2") &&
                 __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2") &&
                 __builtin_cpu_supports("fma");
  const int v4 = v3 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                 __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
                 __builtin_cpu_supports("avx512vl");
  return v4 ? "v4" : v3 ? "v3" : v2 ? "v2" : "baseline";
#elif defined(__aarch64__)
  return "arm64";
#else
  return "unknown";
#endif
}

#ifdef KERNELMILL_PROBE_MAIN
#include <stdio.h> /* puts */
int main(void) { return puts(best_level()) < 0; }
#else
#include <Python.h>

static PyObject* detect(PyObject* self, PyObject* args) {
  (void)self;
  (void)args;
  return PyUnicode_FromString(best_level());
}

static PyMethodDef methods[] = {
    {"detect", detect, METH_NOARGS, "Best instruction-set level that this processor runs."},
    {NULL, NULL, 0, NULL}};

static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT, "_isa", NULL, 0, methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__isa(void) { return PyModule_Create(&module); }
#endif
