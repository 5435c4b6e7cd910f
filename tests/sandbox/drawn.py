"""Programs that a seed draws: over the standard library, with inputs, right ones and such as run
out of something.

`DIGEST` of all is that of any machine, processor, load and engine: whoever gets another one judges
otherwise than the network.
"""

import json
from collections.abc import Iterable
from hashlib import sha256

from assay.protocol.prf import Stream
from assay.sandbox.guest import Reply

#: Programs, and those of `make test`: the first ones.
COUNT, FEW_COUNT = 1_000, 60
#: Instructions of each.
INSTRUCTIONS = 100_000_000
#: SHA-256 of outputs, ends and counts: of all, and of the first ones.
DIGEST = "9d2ae794f2b83c0a0375bfe211cd3660e56a32cafe3762bef68674a56938c548"
FEW = "8597fe3c3642b77b68f9a07221dca69b7775c7223d3a227fc3a7a1f49cf3d09e"

#: A program with `{a}`, `{b}`, `{c}` for numbers, and how many whole numbers its input has: `{a}`
#: is below 10, `{b}` below 100, `{c}` below 2,000. Braces of Python's own are doubled.
_PROGRAMS: tuple[tuple[str, int], ...] = (
    ("print(sum(map(int, input().split())), {a})", 40),
    ("x = sorted(set(input().split()), key=lambda s: (len(s), s))\nprint(x[:{b}], len(x))", 60),
    (
        "from collections import Counter, deque\nc = Counter(input())\nprint(c.most_common({a}))\n"
        "d = deque(c, maxlen=3)\nd.rotate({b})\nprint(d)",
        30,
    ),
    (
        "import heapq\nx = list(map(int, input().split()))\nn = 20\ng = [[] for _ in range(n)]\n"
        "for i, w in enumerate(x): g[i % n].append(((i * {b} + 1) % n, w))\n"
        "d, q = [10**9] * n, [(0, 0)]\nd[0] = 0\nwhile q:\n    c, u = heapq.heappop(q)\n"
        "    for v, w in g[u]:\n        if c + w < d[v]:\n            d[v] = c + w\n"
        "            heapq.heappush(q, (d[v], v))\nprint(*d)",
        80,
    ),
    (
        "s = input()\nt = s[::-1][:{b}]\nd = [[0] * (len(t) + 1) for _ in range(len(s) + 1)]\n"
        "for i, a in enumerate(s):\n    for j, b in enumerate(t):\n"
        "        d[i + 1][j + 1] = d[i][j] + 1 if a == b else max(d[i][j + 1], d[i + 1][j])\n"
        "print(d[-1][-1])",
        8,
    ),
    ("import re\nprint(re.sub(r'(\\d)(\\d*)', r'\\2\\1', input()), re.findall('{a}+', '{c}'))", 30),
    ("import re\nprint(re.match('(a*)*b', 'a' * ({b} % 24)))", 0),
    (
        "import json\nx = list(map(int, input().split()))\n"
        "t = json.dumps({{'a': x, 'b': {{str(i): i / 7 for i in x[:{a}]}}}}, indent=1)\n"
        "print(len(t), json.loads(t)['b'], t[-{b}:])",
        30,
    ),
    (
        "from fractions import Fraction\nfrom decimal import Decimal, getcontext\n"
        "getcontext().prec = {b} + 2\nx = list(map(int, input().split()))\n"
        "print(sum(Fraction(1, i + 1) for i in x[:{a}]), Decimal({c} + 1).sqrt(), "
        "Decimal({c} + 1).ln())",
        12,
    ),
    (
        "import random, statistics\nrandom.seed({c})\n"
        "x = [random.gauss({a}, 2) for _ in range({b} + 2)]\n"
        "random.shuffle(x)\nprint(statistics.mean(x), statistics.stdev(x), random.sample(x, 2))",
        0,
    ),
    (
        "from datetime import date, datetime, timedelta\n"
        "d = date(2000 + {b}, 1, 1) + timedelta({c})\n"
        "print(d, d.strftime('%A %j %U'), d.isocalendar(), datetime.fromtimestamp({c} * 86399))",
        0,
    ),
    (
        "from dataclasses import dataclass, field\n@dataclass(order=True, frozen=True)\nclass T:\n"
        "    a: int\n    b: str = field(compare=False)\nx = input().split()\n"
        "print(sorted(T(int(s) % {b} if {b} else 0, s) for s in x), hash(T({a}, '')))",
        12,
    ),
    (
        "from itertools import accumulate, combinations, groupby, permutations\n"
        "x = list(map(int, input().split()))\nprint(max(combinations(x, 3), key=sum), "
        "[(k, len(list(g))) for k, g in groupby(x, lambda i: i % 3)], list(accumulate(x))[{a}:])\n"
        "print(sum(p[0] < p[-1] for p in permutations(range({a} % 7))))",
        14,
    ),
    (
        "import math\nx = [i * {c} / 7 + 0.1 for i in range(1, 9)]\n"
        "print([math.sin(i) for i in x], [math.exp(-i / 99) for i in x], math.lgamma({b} + 1))\n"
        "print('%.3e|%8.3f|%g' % (x[1], x[2], x[3]))\n"
        "print(f'{{x[4]:,.2f}}', round(x[5], 1), x[6] ** 0.5)",
        0,
    ),
    (
        "n = {c} + 2\nprint(pow(3, n), pow(5, 10**18 + n, 10**9 + 7))\n"
        "print(7**n // 3**n, (1 << n) % {b}1)",
        0,
    ),
    (
        "import base64, hashlib, zlib\nd = input().encode() * ({a} + 1)\n"
        "print(hashlib.sha256(d).hexdigest(), hashlib.blake2b(d, digest_size=9).hexdigest())\n"
        "z = zlib.compress(d)\nprint(len(z), zlib.crc32(z), base64.b85encode(z[:{b}]))",
        30,
    ),
    ("def f(n): return 1 + f(n - 1) if n else 0\nprint(f({c}))", 0),
    (
        "import sys\nfrom functools import lru_cache\nsys.setrecursionlimit(10**6)\n"
        "@lru_cache(None)\ndef f(n): return n < 2 or f(n - 1) + f(n - 2)\nprint(f({c}) % 10**9)",
        0,
    ),
    ("x = input().split()\nprint(x[{a}], flush=True)\nprint(int(x[{b}]) // (int(x[0]) % 3))", 30),
    ("import sys\nprint(input())\nsys.exit({c} % 300)", 2),
    ("try:\n    {{}}[{a}]\nexcept KeyError as e:\n    raise ValueError({b}) from e", 0),
    ("n = {c}\nwhile True:\n    n = n * 3 % 1000003", 0),
    ("print({a}, flush=True)\nx = [{b}]\nwhile True: x = x + x", 0),
    ("while True: print('x' * {c})", 0),
    ("s = 0\nfor i in range({c}): s += i * i % 7\nprint(s)", 0),
    (
        "class V:\n    __slots__ = 'x', 'y'\n    def __init__(s, x, y): s.x, s.y = x, y\n"
        "    def __add__(s, o): return V(s.x + o.x, s.y * o.y % 97)\n"
        "    def __repr__(s): return f'V({{s.x}}, {{s.y}})'\n"
        "    def __matmul__(s, o): return s.x * o.y - s.y * o.x\n"
        "a, b = V({a}, {b}), V({b}, {c})\nfor i in range({b}): a += b\nprint(a, a @ b)",
        0,
    ),
    (
        "import array, math, struct\nx = array.array('d', map(float, input().split()))\n"
        "x[0] = math.inf - math.inf\nx[1] *= -1\nprint(x.tobytes()[:{b}].hex(), "
        "struct.pack('>fe', x[2], {a} / 3).hex(), struct.unpack('<d', struct.pack('<Q', {c})), "
        "struct.pack('>d', -x[0]))",
        12,
    ),
    (
        "import difflib, textwrap\nx = input()\nprint(textwrap.fill(x, {b} + 9))\n"
        "print(difflib.SequenceMatcher(None, x, x[{a}:] + x[:{a}]).ratio())",
        20,
    ),
    (
        "import bisect\na = []\nfor i in range({c}):\n    x = i * 7919 % 10007\n"
        "    k = bisect.bisect_left(a, x)\n    a[k:k + 1] = [x]\nprint(len(a), a[:{a}])",
        0,
    ),
    (
        "print(id([]) % 4096, hash('{c}'), {{'a', 'b', '{c}', {b}}})\n"
        "print(hash(0.{c}1), hash(({a}, None)))",
        0,
    ),
    (
        "import os, random, secrets, time, uuid\n"
        "print(os.urandom({a}), random.random(), uuid.uuid4())\n"
        "time.sleep({b})\nprint(time.time(), time.perf_counter_ns(), secrets.randbelow({c} + 1))",
        0,
    ),
    (
        "import ast\nt = ast.parse('x = [i ** {a} for i in range({b}) if i % 3]')\n"
        "print(ast.dump(t)[:99], ast.unparse(t))\nexec(compile(t, 'a', 'exec'))\n"
        "print(sum(x), eval('{c} + len(x)'))",
        0,
    ),
    ("t = {a}\nfor i in range({c} * 25): t = (t,)\nprint(hash(t) % 1000)", 0),
    (
        "import queue, threading\nq = queue.Queue()\n"
        "t = [threading.Thread(target=q.put, args=(i * {b},)) for i in range({a})]\n"
        "for i in t: i.start()\nfor i in t: i.join()\nprint(sorted(q.queue))",
        0,
    ),
    (
        "import unicodedata\ns = ''.join(map(chr, range({c}, {c} + {b})))\n"
        "print(ascii(unicodedata.normalize('NFKD', s)), s.upper() == s.casefold(), s.isalnum())\n"
        "print(ascii(s.title()[:{a}]), s.encode('utf-16-be').hex()[-{b}:])",
        0,
    ),
    ("import os\nprint({c}, flush=True)\nos.write(1, bytes(range({b})))\nos._exit({a} * 100)", 0),
    ("import os\nos.write(1, b'{c}')\nos.abort()", 0),
    (
        "n = {b}\ns = [True] * (n + 2)\nfor i in range(2, n + 1):\n    if s[i]:\n"
        "        for j in range(i * i, n + 1, i): s[j] = False\n"
        "print([i for i in range(2, n + 1) if s[i]])",
        0,
    ),
    (
        "def gen(n):\n    got = yield n\n    while got:\n        got = yield got * 2 - {a}\n"
        "g = gen({b})\nnext(g)\ntry:\n    for i in range(9, -1, -1): print(g.send(i), end=' ')\n"
        "except StopIteration: print('end')",
        0,
    ),
    (
        "match list(map(int, input().split())):\n"
        "    case [x, y, *rest] if x > y: print('falls', rest)\n"
        "    case [x, y, *_]: print('rises', x ^ y, x & ~y)\n"
        "print(*map(bin, range({a})), (y := {c}) - y)",
        5,
    ),
)


def draw_programs(count: int = COUNT) -> list[tuple[str, str]]:
    """The first programs, each with its input."""
    stream = Stream(sha256(b"programs of the sandbox").digest())
    return [_draw(stream) for _ in range(count)]


def _draw(stream: Stream) -> tuple[str, str]:
    text, numbers = stream.choose(_PROGRAMS)
    a, b, c = (stream.draw_below(bound) for bound in (10, 100, 2_000))
    given = " ".join(str(stream.draw_below(1_000)) for _ in range(numbers))
    return text.format(a=a, b=b, c=c), f"{given}\n"


def digest_replies(replies: Iterable[Reply]) -> str:
    """SHA-256 of what became of programs."""
    rows = [(sha256(one.output).hexdigest(), one.end, one.instructions) for one in replies]
    return sha256(json.dumps(rows).encode()).hexdigest()
