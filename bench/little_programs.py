"""Little programs without end, by a seed: what the model of `small_pool.py` reads before it learns.

Each is one function of one or two arguments in the part of Python that pieces are written in: an
expression, a value that a loop gathers, a branch, a few assignments. Expressions are drawn by type,
and most of them mean nothing. The project's own check, run here since no stranger wrote them, says
which are pieces.
"""

import ast
from collections.abc import Container, Iterator
from random import Random

from assay.environments.pieces import inside
from assay.environments.pieces.growth import compute_shape
from assay.environments.pieces.piece import Piece

if not hasattr(ast.FunctionDef, "type_params"):  # of Python 3.12, which `inside` runs in
    ast.FunctionDef.type_params = []  # type: ignore[attr-defined]
#: Inputs of a piece; characters of an input or output, and nodes, at most.
INPUTS, VALUE_MOST, SIZE_MOST = 5, 40, 64
_LETTERS = "abcdehlmoprstxyz"
#: Names of variables: the normal form gives others.
_VARIABLES = "pqrstuvw"


class Writer:
    """Writes programs with one source of randomness."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.names: dict[str, str] = {}  # variable → its type: int, str, ints or words

    def write_program(self) -> tuple[str, list[str]]:
        """A function's text, and its inputs."""
        kinds = self.random.choice(
            (
                "int",
                "ints",
                "str",
                "words",
                "int int",
                "ints int",
                "str int",
                "str str",
                "ints ints",
            )
        ).split()
        self.names = {f"x{i}": kind for i, kind in enumerate(kinds)}
        head = f"def f({', '.join(self.names)}):\n"
        body = "".join(f"    {line}\n" for line in self.write_body())
        given = [", ".join(map(self.write_value, kinds)) for _ in range(INPUTS)]
        return head + body, list(dict.fromkeys(given))

    def write_value(self, kind: str) -> str:
        random = self.random
        match kind:
            case "int":
                return str(random.choice((random.randrange(10), random.randrange(100))))
            case "ints":
                most = random.choice((10, 10, 30))
                return str([random.randrange(most) for _ in range(random.randrange(1, 6))])
            case "str":
                return repr(self.write_word())
            case _:
                return str([self.write_word() for _ in range(random.randrange(1, 4))])

    def write_word(self) -> str:
        random = self.random
        word = "".join(random.choice(_LETTERS) for _ in range(random.randrange(1, 6)))
        return random.choice(
            (word, word, word, word.upper(), word.title(), word + " " + word[::-1])
        )

    def write_body(self) -> list[str]:
        random = self.random
        way = random.randrange(10)
        if way < 4:
            return [f"return {self.write_any(2)}"]
        if way == 4:
            kind = random.choice(("int", "str", "ints"))
            one, other = self.write(kind, 1), self.write(kind, 1)
            return [f"if {self.write('bool', 1)}:", f"    return {one}", f"return {other}"]
        if way == 5:
            lines = []
            for _ in range(random.randrange(1, 3)):
                name, kind = self.take_name(), random.choice(("int", "ints", "str"))
                lines.append(f"{name} = {self.write(kind, 1)}")
                self.names[name] = kind
            return [*lines, f"return {self.write_any(1)}"]
        if way == 6 and "int" in self.names.values():
            name, number = self.choose("int"), self.take_name()
            base = random.choice((2, 3, 10))
            gathered = random.choice((f"{name} % {base}", "1", f"{name}"))
            return [
                f"{number} = {random.randrange(2)}",
                f"while {name} > 0:",
                f"    {number} {random.choice('+++*')}= {gathered}",
                f"    {name} //= {base}",
                f"return {number}",
            ]
        return self.write_loop()

    def write_loop(self) -> list[str]:
        """A value that a loop gathers."""
        random, kept = self.random, dict(self.names)
        result, kind = self.take_name(), random.choice(("int", "int", "ints", "str"))
        walked, item = self.write_walk()
        each = self.take_name(result)
        self.names[each] = item
        start = {"int": str(random.randrange(3)), "ints": "[]", "str": "''"}[kind]
        if kind == "int":
            step = f"{result} {random.choice(('+', '+', '+', '-', '*'))}= {self.write('int', 1)}"
            if random.random() < 0.2:
                step = (
                    f"{result} = {random.choice(('max', 'min'))}({result}, {self.write('int', 1)})"
                )
        elif kind == "ints":
            step = f"{result}.append({self.write('int', 1)})"
        else:
            step = f"{result} += {self.write('str', 1)}"
        lines = [f"    {step}"]
        if random.random() < 0.5:
            lines = [f"    if {self.write('bool', 1)}:", f"        {step}"]
        self.names = kept
        return [f"{result} = {start}", f"for {each} in {walked}:", *lines, f"return {result}"]

    def write_walk(self) -> tuple[str, str]:
        """Something to walk along, and the type of its items."""
        name, kind = self.random.choice(list(self.names.items()))
        if kind == "int":
            return f"range({self.random.choice((name, f'1, {name} + 1'))})", "int"
        return name, "int" if kind == "ints" else "str"

    def take_name(self, *taken: str) -> str:
        return next(one for one in _VARIABLES if one not in self.names and one not in taken)

    def choose(self, kind: str) -> str | None:
        fitting = [name for name, its in self.names.items() if its == kind]
        return self.random.choice(fitting) if fitting else None

    def write_any(self, depth: int) -> str:
        kind = self.random.choice(
            ("int", "int", "int", "ints", "ints", "str", "str", "words", "bool")
        )
        if self.random.random() < 0.07:
            return f"({self.write('int', 1)}, {self.write(kind, 1)})"
        return self.write(kind, depth)

    def write(self, kind: str, depth: int) -> str:
        """An expression of a type."""
        random, name = self.random, self.choose(kind)
        if depth <= 0 or random.random() < 0.15:
            if name is not None and (kind != "int" or random.random() < 0.7):
                return name
            if depth <= 0:
                return self.write_least(kind)
        options: list[str] = getattr(self, f"_list_{kind}")()
        text = random.choice(options)
        while "{" in text:  # in turn, so that the text's order is that of the draws
            before, _, rest = text.partition("{")
            want, _, behind = rest.partition("}")
            text = before + self._fill(want, depth - 1) + behind
        return text

    def write_least(self, kind: str) -> str:
        ints, text = self.choose("ints"), self.choose("str") or self.choose("words")
        if kind == "int":
            if (ints or text) and self.random.random() < 0.5:
                return f"len({ints or text})"
            return str(self.random.randrange(1, 10))
        if kind == "bool":
            return f"{self.write('int', 0)} > {self.random.randrange(6)}"
        if kind == "str":
            return f"str({self.write('int', 0)})"
        if kind == "words":
            return f"[{self.write('str', 0)}]"
        return f"[{self.write('int', 0)}, {self.write('int', 0)}]"

    def _fill(self, want: str, depth: int) -> str:
        """What stands for a mark: an expression of a type, a digit, a letter, or a walk."""
        if want == "digit":
            return str(self.random.randrange(1, 6))
        if want == "letter":
            return self.random.choice(_LETTERS)
        if not want.startswith("walk"):
            return self.write(want, depth)
        kept, (walked, item) = dict(self.names), self.write_walk()
        each = self.take_name()
        self.names[each] = item
        made = self.write(want.removeprefix("walk "), min(depth, 1))
        ending = f" if {self.write('bool', 0)}" if self.random.random() < 0.3 else ""
        self.names = kept
        return f"{made} for {each} in {walked}{ending}"

    def _list_int(self) -> list[str]:
        every = [
            "{int} + {int}", "{int} - {int}", "({int}) * {digit}", "{int} * {int}",
            "({int}) // {digit}", "({int}) % {digit}", "abs({int} - {int})", "max({int}, {int})",
            "min({int}, {int})", "({int} if {bool} else {int})", "sum(({walk int}))",
        ]  # fmt: skip
        if ints := self.choose("ints"):
            every += [f"sum({ints})", f"max({ints})", f"min({ints})", f"{ints}[0]", f"{ints}[-1]"]
            every += [f"len({ints})", f"{ints}.count({{int}})", "sum({ints})", "len({ints})"]
        if text := self.choose("str"):
            every += [f"len({text})", f"{text}.count('{{letter}}')", f"{text}.find('{{letter}}')"]
            every += ["len({str})", f"len(set({text}))"]
        if words := self.choose("words"):
            every += [f"len({words})", f"len({words}[0])", "sum(({walk int}))"]
        return every

    def _list_ints(self) -> list[str]:
        every = ["[{walk int}]", "[{walk int}]", "[{int}, {int}]", "list(range({int}))"]
        if ints := self.choose("ints"):
            every += [
                f"{ints}[::-1]",
                f"sorted({ints})",
                f"{ints}[{{digit}}:]",
                f"{ints}[:{{digit}}]",
            ]
            every += [f"{ints} + [{{int}}]", f"sorted(set({ints}))", "{ints} + {ints}"]
            every += [f"{ints}[::2]", f"{ints}[1:] + {ints}[:1]", f"sorted({ints}, reverse=True)"]
        return every

    def _list_str(self) -> list[str]:
        every = [
            "str({int})",
            "'{letter}' * ({int})",
            "''.join(({walk str}))",
            "'{letter}' + {str}",
        ]
        if text := self.choose("str"):
            every += [f"{text}[::-1]", f"{text}.upper()", f"{text}.lower()", f"{text}.title()"]
            every += [f"{text} + '{{letter}}'", f"{text}[:{{digit}}]", f"{text}[{{digit}}:]"]
            every += [f"{text} * 2", f"{text}.replace('{{letter}}', '{{letter}}')", "{str} + {str}"]
            every += [f"{text}[0]", f"{text}[-1]", f"''.join(sorted({text}))"]
        if words := self.choose("words"):
            every += [f"'{{letter}}'.join({words})", f"{words}[0]", f"{words}[-1]", f"max({words})"]
        return every

    def _list_words(self) -> list[str]:
        every = ["[{walk str}]", "[{str}, {str}]"]
        if text := self.choose("str"):
            every += [
                f"list({text})",
                f"{text}.split()",
                f"sorted({text})",
                f"{text}.split('{{letter}}')",
            ]
        if words := self.choose("words"):
            every += [f"sorted({words})", f"{words}[::-1]", f"{words}[1:]", f"{words} + [{{str}}]"]
        return every

    def _list_bool(self) -> list[str]:
        every = [
            "{int} > {int}", "{int} == {int}", "({int}) % 2 == 0", "({int}) % {digit} == 0",
            "{int} < {int}", "all(({walk bool}))", "any(({walk bool}))", "not {bool}",
            "{bool} and {bool}", "{bool} or {bool}",
        ]  # fmt: skip
        if ints := self.choose("ints"):
            every += [f"{{int}} in {ints}", f"{ints} == sorted({ints})", f"{ints} == {ints}[::-1]"]
        if text := self.choose("str"):
            every += [f"'{{letter}}' in {text}", f"{text} == {text}[::-1]", f"{text}.isupper()"]
            every += [f"{text}.startswith('{{letter}}')", f"{text} > '{{letter}}'"]
        return every


def write_pieces(seed: int, left_out: Container[str] = ()) -> Iterator[Piece]:
    """Pieces without end, each once. None has a shape of `left_out`: see `compute_shape`."""
    writer, seen = Writer(Random(seed)), set[str]()
    while True:
        text, given = writer.write_program()
        try:
            form, size, *pairs = inside.check(text, *given)
        except inside.Fault:
            continue
        piece = Piece(form, tuple(pairs[::2]), tuple(pairs[1::2]), int(size))
        fits = max(map(len, pairs)) <= VALUE_MOST and piece.size <= SIZE_MOST
        fits &= len(piece.inputs) == INPUTS
        if form in seen or not fits or compute_shape(form) in left_out:
            continue
        seen.add(form)
        yield piece
