// All that differs in the face of a level's module: its name and the name of its level. The rest of
// the module's start is compiled once for all levels (cpp/bindings/module.cpp).

void* PyInit__cpu(void);
const char* kernelmill_level(void);
__attribute__((visibility("default"))) void* KERNELMILL_INIT(void);

const char* kernelmill_level(void) { return KERNELMILL_LEVEL_NAME; }
void* KERNELMILL_INIT(void) { return PyInit__cpu(); }
