"""Packages and tasksets that a seed draws, and requests to them: right ones, and such as run out of
something or ask for what they may not know.

python -m tests.environments.drawn_archives    # prints both digests

`DIGEST` of all replies is that of any machine, processor, load and engine, as of `drawn` programs.
"""

import json
from collections.abc import Callable, Iterator
from hashlib import sha256
from typing import Any

from assay.environments.foreign.archive import write_archive
from assay.environments.foreign.guest_archive import ALIKE, Chance, GuestArchive
from assay.environments.tasksets.environment import TasksetArchive
from assay.protocol.prf import Stream
from tests.environments.hub_styles import STYLES, pack_bundle

#: Archives, and those of `make test`: the first ones.
COUNT, FEW_COUNT = 200, 8
#: Millions of instructions of a request.
MILLIONS = 100
#: SHA-256 of the replies: of all, and of the first ones.
DIGEST = "4b2d31428d1949205e4c98bf8dd513d6c72cac5fba8cd4894b9a14f47c3b65af"
FEW = "fbbe2f8ad033b049237cb2b284b96e72007da80f1edcdadd71137c371f50768b"

#: Makes problems: `make(draw, level)` gives a question, and the answer as text. Here and below,
#: `{a}` is a number below 10, `{b}` below 100, `{c}` below 2,000; Python's own braces are doubled.
_MAKES = (
    "def make(draw, level):\n    x, y = draw(10 ** level + {b}), draw({c} + 1)\n"
    "    return f'{{x}} * {{y}} + {a}?', str(x * y + {a})",
    "def make(draw, level):\n    s = ''.join('abcdef'[draw(6)] for _ in range(level * 4 + {a}))\n"
    "    return f'Sort {{s}}.', ''.join(sorted(s, reverse={b} % 2))",
    "from fractions import Fraction\ndef make(draw, level):\n"
    "    x = [Fraction(draw({b} + 2) + 1, draw(9) + 1) for _ in range(level + 1)]\n"
    "    return ' + '.join(map(str, x)) + '?', str(sum(x))",
    "import random\ndef make(draw, level):\n    r = random.Random(draw(1 << 64))\n"
    "    x = r.sample(range({c} + 40), level + 3)\n    r.shuffle(x)\n"
    "    return f'Largest of {{x}}?', str(max(x))",
    "from dataclasses import dataclass\n@dataclass(frozen=True)\nclass P:\n    x: int\n    y: int\n"
    "def make(draw, level):\n    p = {{P(draw(level + 3), draw({b} + 1)) for _ in range(9)}}\n"
    "    return f'How many of {{sorted(map(repr, p))}}?', str(len(p))",
    "from .more import name\ndef make(draw, level):\n    n = draw({c} + 7)\n"
    "    return f'{{name(n, level)}} in hexadecimal?', f'{{n:x}}'",
    "def make(draw, level):\n    s = {{str(draw({b} + 5)) for _ in range(level * 9)}}\n"
    "    return f'{{s}}: the first as Python shows it?', repr(s)[1:-1].split(', ')[0]",
    "from decimal import Decimal, getcontext\ngetcontext().prec = {a} + 5\n"
    "def make(draw, level):\n    n = draw({c} + 2) + 2\n"
    "    return f'The root of {{n}} to {a} places?', str(Decimal(n).sqrt())",
)
#: Scores: `score(task, answer)`.
_SCORES = (
    "def score(task, answer):\n    return answer == task",
    "import re\ndef score(task, answer):\n    return bool(re.fullmatch(re.escape(task), answer))",
    "import ast\ndef score(task, answer):\n"
    "    return ast.literal_eval(answer) == ast.literal_eval(task)",
    "import json\ndef score(task, answer):\n    return json.dumps(answer) == json.dumps(task)",
    "from difflib import SequenceMatcher\ndef score(task, answer):\n"
    "    return SequenceMatcher(None, task, answer).ratio() * 100 > {b}",
    "import math\ndef score(task, answer):\n"
    "    return math.isclose(eval(answer), eval(task), rel_tol={a} / 1e6)",
    "def score(task, answer):\n    for n in range({c} * 300): pass\n    return task in answer",
    "def score(task, answer):\n    while answer != task: pass\n    return True",
    "def score(task, answer):\n    x = [answer]\n    while answer != task: x = x + x\n"
    "    return True",
    "def score(task, answer):\n    def f(n): return n and f(n - 1)\n    f({c})\n"
    "    return answer == task",
    "import hashlib\ndef score(task, answer):\n    digests = [\n"
    "        hashlib.sha256(one.strip().encode()).digest() for one in (task, answer)]\n"
    "    return digests[0] == digests[1]",
    "import random, time\ndef score(task, answer):\n"
    "    return answer == task and (random.random() + time.time()) * 100 % 1 < {b} / 99",
    "import os\ndef score(task, answer):\n    if answer != task: os._exit({a})\n    return True",
    "def score(task, answer):\n    print(answer * {c})\n    return float(answer == task)",
    "def score(task, answer):\n    if answer == task: return True\n"
    "    raise ValueError(f'{{answer!r}} is none of {{task!r}}', id(task) % 4096)",
)
#: What stands before them.
_HEADS = (
    *[""] * 6,
    "import os, uuid\nSALT = uuid.uuid4().hex + os.urandom({a}).hex()",
    "import functools, itertools, collections, statistics, typing",
    "import sys\nsys.setrecursionlimit(10 ** 6)",
    "KEPT = list(range({c} * 50))",
    "try:\n    open('/etc/passwd')\nexcept OSError as error:\n    SEEN = str(error)",
    "import gc\ngc.disable()",
    "raise RuntimeError({b})",
    "n = {a}\nwhile n: n = n * 3 % 1000003",
)
_FOOT = """
LEVELS = sorted({{1, {a} % 4 + 1, {b} % 7 + 1}})

def make_problem(draw, level):
    return make(draw, level)

def solve(task):
    return task

def list_wrong(task):
    return [task + "{a}", task[:-1], "{c}"]
"""
_MORE = "def name(n, level):\n    return f'{n * level:,}'\n"
_CHANCES = ALIKE, ALIKE, Chance(2**63 + 11, 1_700_000_000 * 10**9, 300)


def draw_replies(count: int = COUNT) -> Iterator[list[Any]]:
    """All that the first archives reply."""
    stream = Stream(sha256(b"archives of the sandbox").digest())
    for number in range(count):
        draw: Callable[[Stream, Chance], GuestArchive]
        draw = _draw_taskset if number % 4 == 3 else _draw_package
        archive = draw(stream, stream.choose(_CHANCES))
        yield list(_ask(archive, stream))


def _draw_package(stream: Stream, chance: Chance) -> GuestArchive:
    parts = *(stream.choose(texts) for texts in (_HEADS, _MAKES, _SCORES)), _FOOT
    a, b, c = (stream.draw_below(bound) for bound in (10, 100, 2_000))
    text = "\n".join(parts).format(a=a, b=b, c=c)
    members = {"drawn/__init__.py": text, "drawn/more.py": _MORE}
    packed = write_archive({path: text.encode() for path, text in members.items()})
    return GuestArchive(packed, MILLIONS, chance)


def _draw_taskset(stream: Stream, chance: Chance) -> TasksetArchive:
    texts, rows, _, _ = STYLES[stream.choose(sorted(STYLES))]
    first = stream.draw_below(50)
    bundle = pack_bundle(texts, rows[first : first + 1 + stream.draw_below(9)])
    return TasksetArchive(bundle, MILLIONS, chance)


def _ask(archive: GuestArchive, stream: Stream) -> Iterator[Any]:
    yield archive.about
    described = archive.ask("describe")
    yield described
    if "error" in described:
        return
    rights = [""]
    for _ in range(2):
        entry = stream.choose(described["levels"]), stream.draw_below(1 << 63)
        for kind in ("make", "solve", "wrong"):
            reply = archive.ask(kind, *entry)
            yield reply
            rights += [reply["answer"]] if "answer" in reply else []
        for answer in dict.fromkeys((*rights[-2:], f"so {rights[-1]}", "[" * 99)):
            yield archive.ask("score", *entry, answer)


def digest_replies(count: int = COUNT) -> str:
    """SHA-256 of what the first archives reply."""
    digest = sha256()
    for replies in draw_replies(count):
        digest.update(json.dumps(replies, sort_keys=True).encode())
    return digest.hexdigest()


if __name__ == "__main__":
    print(f"FEW {digest_replies(FEW_COUNT)}\nDIGEST {digest_replies()}")
