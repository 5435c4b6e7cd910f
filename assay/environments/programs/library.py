"""The parts of Python's library that programs use most and MicroPython lacks, in Python.

A module is put before a program that names it, as a class behind an underscore: `import` finds it
in `sys.modules`. It runs inside the interpreter and counts like the program's own lines.
"""

import re
from collections.abc import Mapping
from hashlib import sha256

_TYPING = """
class _typing:
    class _Any:
        def __getitem__(self, key):
            return self
        def __call__(self, *args, **kwargs):
            return args[-1] if args else self
    Any = Dict = List = Set = Tuple = Optional = Union = Callable = Iterable = Iterator = _Any()
    Sequence = Mapping = Generator = FrozenSet = Deque = DefaultDict = Type = Counter = _Any()
    TypeVar = NamedTuple = Generic = Literal = cast = _Any()
    TYPE_CHECKING = False
"""
_COLLECTIONS = """
import collections as _c
class _collections:
    deque, namedtuple, OrderedDict = _c.deque, _c.namedtuple, _c.OrderedDict
    class defaultdict(dict):
        def __init__(self, default_factory=None, *args):
            super().__init__(*args)
            self.default_factory = default_factory
        def __getitem__(self, key):
            if key not in self:
                if self.default_factory is None:
                    raise KeyError(key)
                self[key] = self.default_factory()
            return super().__getitem__(key)
    class Counter(dict):
        def __init__(self, items=()):
            super().__init__()
            self.update(items)
        def __getitem__(self, key):
            return self.get(key, 0)
        def update(self, items):
            if isinstance(items, dict):
                for key, count in items.items():
                    self[key] = self.get(key, 0) + count
            else:
                for key in items:
                    self[key] = self.get(key, 0) + 1
        def most_common(self, n=None):
            ranked = sorted(self.items(), key=lambda item: -item[1])
            return ranked if n is None else ranked[:n]
        def elements(self):
            for key, count in self.items():
                for _ in range(count):
                    yield key
"""
_ITERTOOLS = """
class _itertools:
    def count(start=0, step=1):
        while True:
            yield start
            start += step
    def repeat(value, times=None):
        while times is None or times > 0:
            yield value
            times = None if times is None else times - 1
    def cycle(items):
        items = list(items)
        while items:
            for item in items:
                yield item
    def chain(*iterables):
        for iterable in iterables:
            for item in iterable:
                yield item
    def accumulate(items, function=None):
        total = first = object()
        for item in items:
            if total is first:
                total = item
            else:
                total = total + item if function is None else function(total, item)
            yield total
    def takewhile(test, items):
        for item in items:
            if not test(item):
                break
            yield item
    def zip_longest(*iterables, fillvalue=None):
        rows = [list(iterable) for iterable in iterables]
        for i in range(max([len(row) for row in rows] or [0])):
            yield tuple([row[i] if i < len(row) else fillvalue for row in rows])
    def product(*iterables, repeat=1):
        found = [()]
        for pool in [tuple(iterable) for iterable in iterables] * repeat:
            found = [some + (item,) for some in found for item in pool]
        for some in found:
            yield some
    def _choose(n, r, next):
        chosen = []
        i = 0
        while True:
            if len(chosen) == r:
                yield tuple(chosen)
            elif i < n:
                if next is None and i in chosen:
                    i += 1
                else:
                    chosen.append(i)
                    i = 0 if next is None else i + next
                continue
            while True:
                if not chosen:
                    return
                i = chosen.pop() + 1
                if i < n:
                    break
    def permutations(items, r=None):
        items = tuple(items)
        for found in _itertools._choose(len(items), len(items) if r is None else r, None):
            yield tuple([items[i] for i in found])
    def combinations(items, r):
        items = tuple(items)
        for found in _itertools._choose(len(items), r, 1):
            yield tuple([items[i] for i in found])
    def combinations_with_replacement(items, r):
        items = tuple(items)
        for found in _itertools._choose(len(items), r, 0):
            yield tuple([items[i] for i in found])
    def groupby(items, key=None):
        group = []
        for item in items:
            name = item if key is None else key(item)
            if group and name != last:
                yield last, iter(group)
                group = []
            group.append(item)
            last = name
        if group:
            yield last, iter(group)
    def islice(items, *bounds):
        start, stop, step = (0, bounds[0], 1) if len(bounds) == 1 else (tuple(bounds) + (1,))[:3]
        step = step or 1
        i = 0
        wanted = start or 0
        for item in items:
            if stop is not None and i >= stop:
                break
            if i == wanted:
                yield item
                wanted += step
            i += 1
"""
_FUNCTOOLS = """
class _functools:
    def reduce(function, items, *initial):
        items = iter(items)
        total = initial[0] if initial else next(items)
        for item in items:
            total = function(total, item)
        return total
    def lru_cache(maxsize=128, typed=False):
        def keep(function):
            known = {}
            def call(*args, **kwargs):
                key = (args, tuple(sorted(kwargs.items()))) if kwargs else args
                if key not in known:
                    known[key] = function(*args, **kwargs)
                return known[key]
            return call
        return keep(maxsize) if callable(maxsize) else keep
    def cache(function):
        return _functools.lru_cache(None)(function)
    def partial(function, *args, **kwargs):
        def call(*more, **others):
            named = dict(kwargs)
            named.update(others)
            return function(*(args + more), **named)
        return call
    def cmp_to_key(compare):
        class Key:
            def __init__(self, value):
                self.value = value
            def __lt__(self, other):
                return compare(self.value, other.value) < 0
        return Key
    def wraps(function):
        return lambda wrapper: wrapper
"""
_BISECT = """
class _bisect:
    def bisect_left(items, x, lo=0, hi=None):
        hi = len(items) if hi is None else hi
        while lo < hi:
            middle = (lo + hi) // 2
            if items[middle] < x:
                lo = middle + 1
            else:
                hi = middle
        return lo
    def bisect_right(items, x, lo=0, hi=None):
        hi = len(items) if hi is None else hi
        while lo < hi:
            middle = (lo + hi) // 2
            if x < items[middle]:
                hi = middle
            else:
                lo = middle + 1
        return lo
    bisect = bisect_right
    def insort(items, x):
        items.insert(_bisect.bisect_right(items, x), x)
    insort_right = insort
    def insort_left(items, x):
        items.insert(_bisect.bisect_left(items, x), x)
"""
_STRING = """
class _string:
    ascii_lowercase = "abcdefghijklmnopqrstuvwxyz"
    ascii_uppercase = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    ascii_letters = ascii_lowercase + ascii_uppercase
    digits = "0123456789"
    hexdigits = "0123456789abcdefABCDEF"
    punctuation = "!\\"#$%&'()*+,-./:;<=>?@[\\\\]^_`{|}~"
    whitespace = " \\t\\n\\r\\x0b\\x0c"
"""
_FUTURE = """
class ___future__:
    annotations = division = None
"""
_INPUT = """
class _input:
    def input(prompt=""):
        if prompt != "":
            print(prompt, end="")
        line = _sys.stdin.readline()
        if not line:
            raise EOFError
        return line[:-1] if line[-1] == "\\n" else line
input = _input.input
"""
#: Module → its source; and `input`, because MicroPython's own ends lines after 255 bytes.
LIBRARY: Mapping[str, str] = {
    "__future__": _FUTURE,
    "typing": _TYPING,
    "collections": _COLLECTIONS,
    "itertools": _ITERTOOLS,
    "functools": _FUNCTOOLS,
    "bisect": _BISECT,
    "string": _STRING,
    "input": _INPUT,
}
#: The digest of these sources, as the environment's digest names them.
LIBRARY_DIGEST = sha256("".join(LIBRARY.values()).encode()).hexdigest()
_IMPORT = re.compile(r"^[ \t]*(?:from|import)[ \t]+([^\n#]*)", re.MULTILINE)
_NAME, _INPUTS = re.compile(r"[A-Za-z_]+"), re.compile(r"\binput\b")


def add_library(program: str) -> str:
    """The program, preceded by `input` and the modules that a line of import in it names."""
    named = set(_NAME.findall(" ".join(_IMPORT.findall(program))))
    named |= set(_INPUTS.findall(program))
    used = [name for name in LIBRARY if name in named]
    if not used:
        return program
    sources = [f"{LIBRARY[name]}_sys.modules[{name!r}] = _{name}\n" for name in used]
    return f"import sys as _sys\n{''.join(sources)}{program}"
