"""Programs that look for the dearest unit: each repeats one thing until its instructions are used
up, but for `output`, which is dear to compare."""

#: Shuffles a list of n, without the help of Python's own loops.
_SHUFFLED = (
    "from itertools import repeat, starmap\nfrom random import random\n"
    "def shuffle(x):\n    n = len(x)\n"
    "    k = list(starmap(random, repeat((), n)))\n"
    "    return [x[i] for i in sorted(range(n), key=k.__getitem__)]\n"
)
#: What it repeats → a program, with `{n}` for the number of its nodes or items, if it has such.
DEAR = {
    "lists of lists, in a random order": "x=shuffle([[None] for _ in range({n})])\n"
    "for a, b in zip(x, x[1:] + x[:1]): a[0] = b\n"
    "def walk(p):\n    while True: p=p[0][0][0][0][0][0][0][0]\nwalk(x[0])",
    "contexts of exceptions": "x=shuffle([ValueError() for _ in range({n})])\n"
    "for a, b in zip(x, x[1:]): a.__context__ = b\ndef walk():\n    try: raise x[0]\n"
    "    except ValueError:\n        while True:\n            try: raise KeyError\n"
    "            except KeyError: pass\nwalk()",
    "a dictionary's order": "from collections import OrderedDict\n"
    "x=OrderedDict.fromkeys(range({n}))\n"
    "for i in shuffle(list(x)): x.move_to_end(i)\nwhile True: list(x)",
    "what the collector keeps": "import gc\nx=shuffle([{i: []} for i in range({n})])\n"
    "while x: x.pop()\nx=[{i: []} for i in range({n})]\ngc.freeze()\n"
    "while True: gc.get_freeze_count()",
    "weak references": "import weakref\nclass A: pass\na=A()\n"
    "x=shuffle([weakref.ref(a, print) for _ in range({n})])\nwhile x: x.pop()\n"
    "x=[weakref.ref(a, print) for _ in range({n})]\nwhile True: weakref.getweakrefcount(a)",
    "items of bytes": "import operator\nx=bytes({n} * 16)\n"
    "g=operator.itemgetter(*shuffle(list(range(0, {n} * 16, 16))))\nwhile True: g(x)",
    "a shuffled list, copied": "x=shuffle(list(map(float, range({n}))))\nwhile True: x[:]",
    "an intersection of shuffled sets": "a=set(range({n}))\nk=shuffle(list(range({n})))\n"
    "while True: a.intersection(k)",
    "fresh memory": "x=[]\nwhile True: x.append(bytes({n} * 99))",
    "a set's intersection": "a=set(range(0,10**6,3))\n"
    "k=[(i*7919*104729)%10**6 for i in range(300000)]\nwhile True: a.intersection(k)",
    "zeroed bytes": "while True: bytes(10**6)",
    "random floats, sorted": "import random\nx=[random.random() for _ in range(200000)]\n"
    "while True: sorted(x)",
    "a walk through memory": "import array\nn=4*10**6\nx=array.array('i',[0])*n\n"
    "for i in range(0,n,64): x[i]=(i*40503*64+64*7919)%n//64*64\ni=0\nwhile True: i=x[i]",
    "garbage in a random order": "import gc\nfrom itertools import repeat\n"
    "from operator import setitem\ngc.disable()\nn=60013\n"
    "x=list(map(dict.copy, repeat({0:0}, n)))\n"
    "k=map(n.__rmod__, range(0, n*370247, 370247))\n"
    "any(map(setitem, map(x.__getitem__, k), repeat(0), repeat([])))\nwhile True: gc.collect()",
    "reading at the end": "import os\nwhile True: os.read(0,1)",
    "failing allocations": "while True:\n    try: bytearray(2*10**9)\n    except MemoryError: pass",
    "one byte to standard error": "import os\nwhile True: os.write(2,b'x')",
    "a loop": "while True: pass",
    "a line to standard error": "import sys\nwhile True: print('x'*80, file=sys.stderr)",
    "exceptions": "while True:\n    try: raise ValueError\n    except ValueError: pass",
    "calls": "def f(n): return f(n-1) if n else 0\nwhile True: f(300)",
    "new strings": "while True:\n    s=''\n    for i in range(300): s+=str(i)",
    "copied bytes": "a=bytearray(1<<21);b=bytearray(1<<21)\nwhile True: a[:]=b;b[:]=a",
    "moved bytes": "a=bytearray(1<<20)\nwhile True: a[1:]=a[:-1]",
    "a search": "x=b'a'*(1<<20)\nwhile True: x.find(b'b')",
    "big integers": "x=3**9000\nwhile True: x*x%7",
    "floats": "import math\nwhile True: math.sin(1e22);math.exp(1.1);math.pow(1.1,2.2)",
    "denormal floats": "x=1e-310\nwhile True: x*1.0;x*1.0;x*1.0;x*1.0;x/3.0;x/3.0",
    "a large dictionary": "d={i*7919:i for i in range(150000)}\ni=0\nwhile True:\n"
    "    i=(i+104729)%150000\n    d[i*7919]",
    "sorting": "x=[(i*7919*104729)%1000003 for i in range(100000)]\nwhile True: sorted(x)",
    "a regular expression": "import re\nre.match('(a*)*b', 'a' * 40)",
    "output": "print('\\n' * 250000)",
    "json": "import json\nx=json.dumps(list(range(1000)))\nwhile True: json.loads(x)",
    "compiling": "x='x=[i for i in range(9)]\\n'*50\nwhile True: compile(x,'x','exec')",
}


def has_nodes(name: str) -> bool:
    return "{n}" in DEAR[name]


def write_dear(name: str, nodes: int = 20_000) -> str:
    """The program of a kind, with so many nodes."""
    return _SHUFFLED + DEAR[name].replace("{n}", str(nodes))
