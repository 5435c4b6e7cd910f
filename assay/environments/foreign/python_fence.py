"""Python's own fence around a stranger's package: an audit hook that refuses events, and names that
are removed from memory before the package runs.

The sandboxed child loads this file by its path, and the file imports only the standard library. No
other module can import it, and the box drops it once the fence is shut.
"""

import sys
import types
from collections.abc import Callable
from typing import Any

#: Audit events that are allowed once a package is loaded. The hook refuses all others.
_HARMLESS = frozenset({"builtins.id", "compile", "resource.setrlimit", "sys.unraisablehook"})
#: Modules that are emptied: clocks, signals, and everything that tells one machine from another.
_OF_MACHINE = "time", "posix", "os", "resource", "select", "signal", "_signal"
#: Names that are removed from modules that Python's imports need: they make new modules or threads.
_OF_IMPORTS = {
    "_imp": (
        *("create_builtin", "exec_builtin", "create_dynamic", "exec_dynamic", "init_frozen"),
        *("get_frozen_object", "find_frozen"),
    ),
    "_thread": ("start_new_thread", "start_new", "get_native_id", "interrupt_main"),
}
#: Names that are removed from `sys` before steps are counted: they find frames, end the count or
#: describe the machine.
_OF_SYS = (
    *("_getframe", "_getframemodulename", "_current_frames", "_current_exceptions"),
    *("settrace", "gettrace", "setprofile", "getprofile", "call_tracing", "monitoring"),
    *("executable", "_base_executable", "argv", "orig_argv", "path", "prefix", "exec_prefix"),
    *("base_prefix", "base_exec_prefix", "version", "_git", "_framework"),
)
#: Attributes of classes and functions that may be set later: dataclasses and named tuples do so.
_NAMING = frozenset({"__doc__", "__module__", "__qualname__", "__defaults__", "__bases__"})
#: Attributes of a function that code may read to learn its parameters.
_READ = frozenset({"__code__", "__defaults__", "__kwdefaults__"})


def make_hook(
    local: frozenset[str], find_word: Callable[[Any], str | None] | None
) -> tuple[Callable[[str, tuple[Any, ...]], None], Callable[[object], object]]:
    """Two functions: an audit hook that refuses every event that a package does not need, and a
    function that allows the next call of `sys.settrace`, once for each call.

    The hook holds everything that it needs, so code that finds this module's names, or Python's,
    cannot change what it does.

    Args:
        local: modules that may be imported. For an absent module of their package, the hook raises
            Python's ModuleNotFoundError.
        find_word: returns the first forbidden name in code that was compiled from text at run time.
    """
    harmless, naming, read, error = _HARMLESS, _NAMING, _READ, PermissionError
    absent, kind, text = ModuleNotFoundError, type, str
    allowed: list[object] = []

    def refuse(event: str, arguments: tuple[Any, ...]) -> None:
        if event in harmless:
            return
        if event == "sys.settrace" and allowed:
            allowed.clear()
            return
        if event == "exec":
            code = arguments[0]
            if find_word is None or code.co_filename != "<string>" or find_word(code) is None:
                return
        elif event == "import" and kind(name := arguments[0]) is text:
            if name in local:
                return
            if name.partition(".")[0] in local:
                raise absent(f"No module named {name!r}", name=name)
        elif (event == "object.__setattr__" and arguments[1] in naming) or (
            event == "object.__getattr__" and arguments[1] in read
        ):
            return
        raise error(f"{event} is not for a package")

    return refuse, allowed.append  # native: calling it counts no step


def hide_sys() -> None:
    """Remove the names in `_OF_SYS`."""
    for name in _OF_SYS:
        vars(sys).pop(name, None)


def hide_machine() -> list[tuple[dict[str, Any], str]]:
    """Empty the modules of `_OF_MACHINE`, here and for all copies, and remove their functions from
    other modules. A copy would take a millisecond to do this itself. The few modules that serve
    this process get stand-ins.

    Returns:
        The places of the stand-ins, as (globals, name). A copy has to remove them.
    """
    hidden = {name: sys.modules[name] for name in _OF_MACHINE if name in sys.modules}
    # `signal` is written in Python and calls names that are removed, so its stand-in is native.
    native = {name: vars(sys.modules["_" * (name == "signal") + name]) for name in hidden}
    main = vars(sys.modules["__main__"])
    ours: list[dict[str, Any]] = [vars(one) for one in main.values() if _is_unlisted(one)]
    replaced = []
    for space in ours:
        for name in hidden.keys() & space.keys():
            values = vars(hidden[name]) | native[name]
            used = values.keys() & _list_names(space)  # each copy removes them, which costs time
            space[name] = types.SimpleNamespace(**{key: values[key] for key in used})
            replaced.append((space, name))
    for module, names in _OF_IMPORTS.items():
        for name in names:
            vars(sys.modules[module]).pop(name, None)
    for space, name in _list_held(hidden):
        space.pop(name, None)
    for emptied in hidden.values():
        vars(emptied).clear()
    hide_sys()
    return replaced


def _list_names(space: dict[str, Any]) -> set[str]:
    """The names of globals and attributes that a module's functions and methods use."""
    kinds = [vars(one) for one in space.values() if isinstance(one, type)]
    objects = [one for names in (space, *kinds) for one in names.values()]
    codes = [one.__code__ for one in objects if isinstance(one, types.FunctionType)]
    for code in codes:
        codes += [one for one in code.co_consts if isinstance(one, types.CodeType)]
    return {name for code in codes for name in code.co_names}


def _is_unlisted(one: object) -> bool:
    """Whether `one` is a module that was loaded by its path, for this process."""
    return isinstance(one, types.ModuleType) and one.__name__ not in sys.modules


def _list_held(modules: dict[str, types.ModuleType]) -> list[tuple[dict[str, Any], str]]:
    """The places where other modules hold these modules or their functions, as (globals, name)."""
    functions = types.BuiltinFunctionType, types.FunctionType
    holders = []
    for space in [vars(one) for one in sys.modules.values() if one not in modules.values()]:
        for name, one in space.items():
            of_these = type(one) in functions and one.__module__ in modules
            if of_these or any(one is module for module in modules.values()):
                holders.append((space, name))
    return holders
