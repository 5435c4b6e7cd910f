/* Compiles modules of Python's library to code, as Programs/_freeze_module.c does, but all of them in
   one process. Standard input has a line for each: its name, a tab, the path of its text. Standard
   output gets a line for each: its name, a tab, the number of bytes that it added to the file
   /src/frozen/all. */

#include <Python.h>
#include <marshal.h>
#include <pycore_import.h>

static const struct _frozen none[] = {{0, 0, 0}};
static const struct _module_alias no_aliases[] = {{0, 0}};
const struct _frozen *_PyImport_FrozenBootstrap = none;
const struct _frozen *_PyImport_FrozenStdlib = none;
const struct _frozen *_PyImport_FrozenTest = none;
const struct _frozen *PyImport_FrozenModules = NULL;
const struct _module_alias *_PyImport_FrozenAliases = no_aliases;

static char text[4 << 20];

static void start(void) {
    PyConfig config;
    PyConfig_InitIsolatedConfig(&config);
    config.site_import = 0;
    config._install_importlib = 0;
    config._init_main = 0;
    config.use_hash_seed = 1;
    config.hash_seed = 0;
    PyStatus status = PyConfig_SetString(&config, &config.program_name, L"freeze");
    if (!PyStatus_Exception(status)) {
        status = Py_InitializeFromConfig(&config);
    }
    if (PyStatus_Exception(status)) {
        Py_ExitStatusException(status);
    }
}

/* The marshalled code of a module; NULL, with an exception set, where its text does not compile. */
static PyObject *freeze(const char *name, const char *path) {
    char file_name[300];
    FILE *file = fopen(path, "rb");
    if (!file) {
        return PyErr_SetFromErrnoWithFilename(PyExc_OSError, path);
    }
    size_t size = fread(text, 1, sizeof text, file);
    fclose(file);
    if (size == sizeof text) {
        return PyErr_Format(PyExc_ValueError, "%s has more than %zu bytes", path, sizeof text - 1);
    }
    text[size] = '\0';
    snprintf(file_name, sizeof file_name, "<frozen %s>", name);
    PyObject *code = Py_CompileStringExFlags(text, file_name, Py_file_input, NULL, 0);
    if (!code) {
        return NULL;
    }
    PyObject *frozen = PyMarshal_WriteObjectToString(code, Py_MARSHAL_VERSION);
    Py_DECREF(code);
    return frozen;
}

int main(void) {
    char line[1000];
    start();
    FILE *out = fopen("/src/frozen/all", "wb");
    while (out && fgets(line, sizeof line, stdin)) {
        char *path = strchr(line, '\t');
        line[strcspn(line, "\n")] = '\0';
        if (!path) {
            return 2;
        }
        *path++ = '\0';
        PyObject *frozen = freeze(line, path);
        if (!frozen) {
            PyErr_Print();
            return 1;
        }
        size_t size = PyBytes_GET_SIZE(frozen);
        if (fwrite(PyBytes_AS_STRING(frozen), 1, size, out) != size) {
            return 3;
        }
        Py_DECREF(frozen);
        printf("%s\t%zu\n", line, size);
    }
    return !out || fclose(out) ? 3 : 0;
}
