"""Programs for the sandbox: thirty as competitors write them, and 59 that are hostile."""

#: A program and its input.
THIRTY: list[tuple[str, str]] = [
    ("print(sum(map(int, input().split())))", "3 1 4 1 5 9"),
    ("n = input().split()\nprint(max(n, key=int), sorted(n))", "3 1 4 1 5"),
    ("from collections import Counter\nprint(Counter(input()).most_common(3))", "abracadabra"),
    ("a, b = 0, 1\nfor i in range(50):\n    a, b = b, a + b\nprint(a)", ""),
    (
        "n=int(input())\ns=[True]*(n+1)\ns[0]=s[1]=False\n"
        "for i in range(2,int(n**.5)+1):\n    if s[i]:\n"
        "        for j in range(i*i,n+1,i): s[j]=False\nprint(sum(s))",
        "20000",
    ),
    (
        "import heapq\nn,m=map(int,input().split())\ng=[[] for _ in range(n)]\n"
        "for _ in range(m):\n"
        "    a,b,w=map(int,input().split()); g[a].append((b,w)); g[b].append((a,w))\n"
        "d=[10**9]*n; d[0]=0; q=[(0,0)]\nwhile q:\n    c,u=heapq.heappop(q)\n"
        "    if c>d[u]: continue\n    for v,w in g[u]:\n"
        "        if c+w<d[v]: d[v]=c+w; heapq.heappush(q,(d[v],v))\nprint(*d)",
        "60 180\n" + "\n".join(f"{i % 60} {(i * 7 + 1) % 60} {i % 13 + 1}" for i in range(180)),
    ),
    (
        "s,t=input(),input()\nn,m=len(s),len(t)\nd=[[0]*(m+1) for _ in range(n+1)]\n"
        "for i in range(n):\n    for j in range(m):\n"
        "        d[i+1][j+1]=d[i][j]+1 if s[i]==t[j] else max(d[i][j+1],d[i+1][j])\n"
        "print(d[n][m])",
        "ACGTACGTTAGC" * 8 + "\n" + "TAGCTAGGCA" * 8,
    ),
    (
        "from functools import lru_cache\n@lru_cache(None)\ndef f(n,k):\n"
        "    if k==0 or k==n: return 1\n    return f(n-1,k-1)+f(n-1,k)\nprint(f(60,30))",
        "",
    ),
    (
        "import sys\nsys.setrecursionlimit(10**6)\ndef dfs(u,p):\n    s=1\n"
        "    for v in g[u]:\n        if v!=p: s+=dfs(v,u)\n    return s\nn=2000\n"
        "g=[[] for _ in range(n)]\n"
        "for i in range(1,n): g[i].append(i-1); g[i-1].append(i)\nprint(dfs(0,-1))",
        "",
    ),
    (
        "from collections import deque\nr,c=40,40\n"
        "g=[[1 if (i*7+j*13)%5 else 0 for j in range(c)] for i in range(r)]\n"
        "d={(0,0):0};q=deque([(0,0)])\nwhile q:\n    x,y=q.popleft()\n"
        "    for a,b in((x+1,y),(x-1,y),(x,y+1),(x,y-1)):\n"
        "        if 0<=a<r and 0<=b<c and (g[a][b] or (a,b)==(39,39)) a"
        "nd (a,b) not in d: d[a,b]=d[x,y]+1;q.append((a,b))\n"
        "print(d.get((39,39)),len(d))",
        "",
    ),
    (
        "from itertools import permutations\n"
        "print(sum(1 for x in permutations(range(7)) if all(abs(x[i]-x["
        "j])!=j-i for i in range(7) for j in range(i+1,7))))",
        "",
    ),
    (
        "import sys\ndata=sys.stdin.read().split()\n"
        "n=int(data[0]);a=list(map(int,data[1:n+1]))\nst=[];r=[-1]*n\n"
        "for i in range(n):\n    while st and a[st[-1]]<a[i]: r[st.pop()]=i\n"
        "    st.append(i)\nprint(*r[:20])",
        "500 " + " ".join(str(i * 7919 % 1000) for i in range(500)),
    ),
    ("n=int(input())\nprint(pow(3,n,10**9+7),pow(n,-1,10**9+7))", "123456789"),
    ("from fractions import Fraction\nprint(sum(Fraction(1,i) for i in range(1,60)))", ""),
    ("from decimal import Decimal,getcontext\ngetcontext().prec=60\nprint(Decimal(2).sqrt())", ""),
    (
        "import re\nprint(re.findall(r'(\\w+)@(\\w+)\\.com', input()))",
        "ann@x.com, bob@yy.com and eve@z.org, dan@q.com",
    ),
    (
        "import json\nd=json.loads(input())\nprint(json.dumps(sorted(d.items()),indent=1))",
        '{"b": [1, 2, {"c": null}], "a": 1.5}',
    ),
    (
        "class Node:\n    def __init__(s): s.c={};s.e=0\nroot=Node()\n"
        "for w in input().split():\n    n=root\n"
        "    for ch in w: n=n.c.setdefault(ch,Node())\n    n.e+=1\ndef walk(n,p):\n"
        "    if n.e: print(p,n.e)\n    for ch in sorted(n.c): walk(n.c[ch],p+ch)\n"
        "walk(root,'')",
        "to tea ted ten i in inn to",
    ),
    (
        "import math\nprint(math.gcd(123456,7890),math.lcm(12,18),math.comb(40,20),m"
        "ath.isqrt(10**20))",
        "",
    ),
    (
        "par=list(range(1000))\ndef find(x):\n"
        "    while par[x]!=x: par[x]=par[par[x]];x=par[x]\n    return x\n"
        "for i in range(1000):\n    a,b=find(i),find(i*37%1000)\n    par[a]=b\n"
        "print(len({find(i) for i in range(1000)}))",
        "",
    ),
    (
        "s=input()\nn=len(s);b=''\nfor i in range(n):\n    for l,r in((i,i),(i,i+1)):\n"
        "        while l>=0 and r<n and s[l]==s[r]: l-=1;r+=1\n"
        "        if r-l-1>len(b): b=s[l+1:r]\nprint(b)",
        "forgeeksskeegforxyzzyx" * 5,
    ),
    (
        "w=[3,4,5,9,14,7,2];v=[3,4,4,10,15,8,1];W=300\nd=[0]*(W+1)\n"
        "for i in range(len(w)):\n"
        "    for j in range(W,w[i]-1,-1): d[j]=max(d[j],d[j-w[i]]+v[i])\n"
        "print(d[W],d[30])",
        "",
    ),
    (
        "import bisect\na=[]\nfor i in range(1500):\n    x=i*7919%10007\n"
        "    k=bisect.bisect_left(a,x)\n    if k==len(a): a.append(x)\n"
        "    else: a[k]=x\nprint(len(a))",
        "",
    ),
    (
        "n=9\nc=0\ndef q(r,a,b,d):\n    global c\n    if r==n: c+=1; return\n"
        "    for i in range(n):\n"
        "        if not(a>>i&1 or b>>(r+i)&1 or d>>(r-i+n)&1): q(r+1,a|"
        "1<<i,b|1<<(r+i),d|1<<(r-i+n))\nq(0,0,0,0) if n<7 else q(3,7,0,0)\nprint(c)",
        "",
    ),
    (
        "m=[[1,1],[1,0]]\n"
        "def mul(a,b): return [[sum(x*y for x,y in zip(r,c))%1000000007"
        " for c in zip(*b)] for r in a]\nr=[[1,0],[0,1]];e=10**18\nwhile e:\n"
        "    if e&1: r=mul(r,m)\n    m=mul(m,m);e>>=1\nprint(r)",
        "",
    ),
    (
        "from dataclasses import dataclass, field\n@dataclass(order=True)\nclass T:\n"
        "    a:int\n    b:str=field(compare=False)\n"
        "print(sorted([T(3,'x'),T(1,'y'),T(2,'z')]))",
        "",
    ),
    (
        "def f(x):\n    n=0\n    while x!=1: x=x//2 if x%2==0 else 3*x+1;n+=1\n"
        "    return n\nprint(max(range(1,1500),key=f))",
        "",
    ),
    (
        "import statistics,random\nrandom.seed(5)\n"
        "x=[random.randint(1,6) for _ in range(500)]\n"
        "print(statistics.mean(x),statistics.median(x))",
        "",
    ),
    (
        "from datetime import date,timedelta\nd=date(2024,2,28)\n"
        "print([(d+timedelta(i)).isoformat() for i in range(4)],d.strftime('%A'))",
        "",
    ),
    (
        "t=int(input())\nfor _ in range(t):\n    a,b=map(int,input().split())\n"
        "    print('YES' if (a*b)%2==0 else 'NO')",
        "200\n" + "\n".join(f"{i} {i * 3 + 1}" for i in range(200)),
    ),
]

#: What a program relies on of Python's start and end → the program, which reads 41.
ENDS: dict[str, str] = {
    "streams of its own, by descriptor and mode": (
        "import io, os, sys\n"
        "class Fast(io.IOBase):\n"
        "    def __init__(self, file):\n"
        "        self.fd, self.buffer = file.fileno(), io.BytesIO()\n"
        "        self.write = self.buffer.write if 'r' not in file.mode else None\n"
        "    def readline(self): return os.read(self.fd, 99)\n"
        "    def flush(self):\n"
        "        if self.write:\n"
        "            os.write(self.fd, self.buffer.getvalue())\n"
        "            self.buffer.seek(0), self.buffer.truncate()\n"
        "fast = Fast(sys.stdin)\nsys.stdout = Fast(sys.stdout)\n"
        "sys.stdout.write(b'%d' % int(fast.readline()))"
    ),
    "a file that is not closed": ("out = open(1, 'w')\nprint(input(), file=out)"),
    "a closed output": "import sys\nprint(input())\nsys.stdout.close()",
    "no output": "import sys\nsys.stdout = None\nprint(input())",
    "line ends": "import sys\nprint(ascii(sys.stdin.read()))\nprint(1, end='\\r\\n')",
    "builtins": "print(__builtins__.__name__, input())",
    "a thread with a large stack": (
        "import sys, threading\nsys.setrecursionlimit(10**6)\nthreading.stack_size(1 << 26)\n"
        "def f(n): return n and f(n - 1) + 1\ndef main(): print(f(int(input()) * 100))\n"
        "t = threading.Thread(target=main)\nt.start()\nt.join()\n"
        "print(t.is_alive(), threading.current_thread() is threading.main_thread())"
    ),
    "a thread that fails": (
        "import threading\nlocal = threading.local()\nlocal.n = 1\n"
        "for n in 1, 0:\n    threading.Thread(target=lambda: print(1 // n), daemon=False).start()\n"
        "print(local.n, threading.active_count() > 0)"
    ),
    "a thread that leaves": (
        "import threading\nt = threading.Timer(0, lambda: (print(1), exit(3)))\n"
        "t.start()\nt.join()\nprint(2)"
    ),
}

#: What it tries → the program.
HOSTILE: dict[str, str] = {
    "loop": "while True: pass",
    "loop in C: sum of range": "print(sum(range(10**12)))",
    "loop in C: list.index": "x=[0]*10**7\nwhile True: x.index(1)",
    "any(repeat)": "from itertools import repeat\nany(repeat(0))",
    "recursion, Python": "import sys\nsys.setrecursionlimit(10**9)\ndef f(): f()\nf()",
    "recursion, lru_cache": (
        "import sys\nsys.setrecursionlimit(10**9)\nfrom functools import lru_cache\n"
        "@lru_cache(None)\ndef f(n): return f(n+1)\nf(0)"
    ),
    "recursion, __getattr__": (
        "class A:\n    def __getattr__(s,n): return getattr(s,n+'x')\nA().y"
    ),
    "recursion, sort keys": "def f(n): return sorted([1,2],key=lambda q:f(n+1))\nf(0)",
    "recursion, repr": "x=[]\nfor i in range(10**5): x=[x]\nprint(len(repr(x)))",
    "recursion, compile": "eval('('*90000)",
    "recursion, nested lists in ast": "compile('['*5000+']'*5000,'x','eval')",
    "recursion, unary": "eval('-'*200000+'1')",
    "recursion, dealloc": "x=None\nfor i in range(10**6): x=(x,)\ndel x\nprint('ok')",
    "recursion, json": "import json\njson.loads('['*10**6)",
    "recursion, pickle": "import pickle\nx=[]\nfor i in range(10**5): x=[x]\npickle.dumps(x)",
    "recursion, copy": "import copy\nx=[]\nfor i in range(10**4): x=[x]\ncopy.deepcopy(x)",
    "memory, doubling": "x=[1]\nwhile True: x=x+x",
    "memory, bytearrays kept": "x=[]\nwhile True: x.append(bytearray(10**6))",
    "memory, one giant": "x=bytearray(2**31)",
    "memory, string": "s='a'\nwhile True: s+=s",
    "memory, caught again and again": (
        "while True:\n    try:\n        x=[bytearray(10**6) for _ in range(10**4)]\n"
        "    except MemoryError: pass"
    ),
    "output, lines": "while True: print('x'*1000)",
    "output, one byte a call": "import os\nwhile True: os.write(1,b'x')",
    "output, stderr": "import sys\nwhile True: sys.stderr.write('x\\n'); sys.stderr.flush()",
    "output, os.write of nothing": "import os\nwhile True: os.write(2,b'')",
    "huge power": "print(len(str(7**(10**8))))",
    "huge product": "x=3**100000\nwhile True: x*=x",
    "huge decimal": (
        "import decimal\ndecimal.getcontext().prec=10**8\nprint(decimal.Decimal(2).sqrt())"
    ),
    "int of text": "import sys\nsys.set_int_max_str_digits(0)\nint('7'*10**6)",
    "factorial": "import math\nmath.factorial(10**7)",
    "regex": "import re\nre.match('(a*)*(b|c)$','a'*40)",
    "regex 2": "import re\nre.match(r'(.*)(.*)(.*)(.*)(.*)(.*)x','a'*2000)",
    "catch everything": "while True:\n    try: 1/0\n    except BaseException: continue",
    "exception in __del__": (
        "class A:\n    def __del__(s): raise SystemExit(0)\n"
        "for i in range(10**5): A()\nprint('survived')"
    ),
    "exception whose str raises": (
        "class E(Exception):\n    def __str__(s): raise E\n    __repr__=__str__\nraise E"
    ),
    "files": (
        "import os\nfor f in ('/etc/passwd','/proc/self/environ','.','/','/usr/loc"
        "al/lib/python3.12/os.py','../..','/dev/stdin'):\n"
        "    try: print(f,open(f).read(20))\n"
        "    except Exception as e: print(f,type(e).__name__,e)\n"
        "    try: print(os.listdir(f)[:3])\n"
        "    except Exception as e: print(f,type(e).__name__)\n"
        "try: open('written','w')\nexcept Exception as e: print(e)"
    ),
    "environment, arguments, host": (
        "import os,sys\nprint(dict(os.environ),sys.argv,sys.platform)\n"
        "for f in ('getpid','getcwd','getuid','uname','cpu_count','getlogin'):\n"
        "    try: print(f,getattr(os,f)())\n"
        "    except BaseException as e: print(f,type(e).__name__,e)"
    ),
    "time and randomness": (
        "import time,os,random,uuid,secrets\n"
        "print(time.time(),time.perf_counter(),time.monotonic(),os.uran"
        "dom(4),random.random(),uuid.uuid4(),secrets.token_hex(4),hash("
        "'a'),id(object())%64, {'a','b','c'})\ntime.sleep(10**6)\n"
        "print(time.localtime())"
    ),
    "threads, processes, sockets": (
        "import os\ntry:\n"
        "    import threading; threading.Thread(target=print).start()\n"
        "except BaseException as e: print(type(e).__name__,e)\n"
        "for m in ('socket','ssl','ctypes','subprocess','multiprocessin"
        "g','signal','mmap','fcntl','resource','select','asyncio','sqlite3'):\n"
        "    try: __import__(m); print(m,'imported')\n"
        "    except BaseException as e: print(m,type(e).__name__,e)\n"
        "for f in ('fork','kill','system','execv','popen','pipe','dup2'):\n"
        "    try: print(f, getattr(os,f))\n"
        "    except BaseException as e: print(f,type(e).__name__)\ntry:\n"
        "    import socket; socket.socket().connect(('127.0.0.1',80))\n"
        "except BaseException as e: print(type(e).__name__,e)"
    ),
    "gc and frames": (
        "import gc,sys\nn=0\nfor o in gc.get_objects(): n+=1\n"
        "print(n, gc.get_count(), gc.get_threshold())\n"
        "print(sys._getframe(0).f_back and sys._getframe(1).f_locals.keys())\n"
        "gc.collect()\nfor t in (lambda: gc.set_threshold(1), lambda: [gc.get_referre"
        "rs(o) for o in range(9)]): t()\nprint(len([0]*10))"
    ),
    "the server's own frame": (
        "import sys\nf=sys._getframe(1)\n"
        "print(f.f_code.co_name, f.f_locals.get('status'))\nimport os\nos._exit(0)"
    ),
    "exit codes": "import os\nprint('right answer',flush=True)\nos._exit(256)",
    "abort": "import os\nos.abort()",
    "signals": (
        "import signal,os\nprint(signal.Signals)\ntry: signal.alarm(1)\n"
        "except BaseException as e: print(type(e).__name__,e)\n"
        "signal.raise_signal(signal.SIGINT)"
    ),
    "faulthandler": "import faulthandler\nfaulthandler._sigsegv()",
    "bytecode forged": (
        "def f(): pass\nimport types\n"
        "f.__code__=f.__code__.replace(co_code=bytes([100,255,100,255,8"
        "3,0]*50),co_stacksize=0)\nf()"
    ),
    "bytecode: wild read": (
        "def f(): return 1\n"
        "f.__code__=f.__code__.replace(co_code=bytes([0x97,0,100,250,83,0]))\n"
        "print(type(f()))"
    ),
    "close stdout": (
        "import sys,os\nprint('a')\nsys.stdout.close()\nos.close(1)\nos.write(1,b'zz')"
    ),
    "replace stdout": (
        "import sys\nclass W:\n    def write(s,x): raise SystemExit(0)\n"
        "    flush=None\nsys.stdout=W()\nprint('x')"
    ),
    "replace os._exit": "import os\nos._exit=lambda n: print('no exit')\nraise SystemExit(3)",
    "binary output": "import sys\nsys.stdout.buffer.write(bytes(range(256))*4)",
    "surrogates": "print('\\ud800')",
    "big read": "import os\nprint(len(os.read(0,2**30)))",
    "hash collisions": (
        "class A:\n    def __hash__(s): return 1\n    def __eq__(s,o): return False\n"
        "d={}\nwhile True: d[A()]=1"
    ),
    "int hash collisions": "d={}\nfor i in range(10**5): d[i*(2**31-1)]=1\nprint(len(d))",
    "unicode normalise": (
        "import unicodedata\nwhile True: unicodedata.normalize('NFKC','\\ufdfa'*100000)"
    ),
    "str replace": "s='a'*10**6\nwhile True: s.replace('a','bb')",
    "zlib bomb": "import zlib\nd=zlib.compress(bytes(10**7))\nwhile True: zlib.decompress(d)",
    "hashing": "import hashlib\nb=bytes(10**7)\nwhile True: hashlib.sha256(b).digest()",
}
