"""What it takes to make problems of reasoning-gym: `assay/environments/gym/costs.json`, from which
follow the levels that are offered.

python bench/gym_costs.py              # a quarter of an hour on two cores
python bench/gym_costs.py --check      # makes the dearest problem of each level again

For each dataset and level it makes the problems of the same seeds, and counts the instructions of
all attempts of each, which are the same on every machine. A level is measured no further once a
problem was above the bound. With 95 % certainty, fewer than 3 / n of a level's problems are dearer
than the dearest of n. Another image needs another table: a test says so.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from hashlib import sha256
from typing import Any

from assay.environments import gym
from assay.environments.gym import environment as module
from assay.environments.gym.datasets import COSTS_FILE, MEASURED
from assay.network.files import write_file
from assay.sandbox.guest import Budget, Reply, Request

#: Problems of each level: with 95 % certainty fewer than 5 % of a level's are dearer than the
#: dearest of them.
SEEDS = 59
_run = module.run
_spent = [0]


def _count(request: Request, budget: Budget, *more: Any) -> Reply:
    reply = _run(request, budget, *more)
    _spent[0] += reply.instructions
    return reply


def measure(dataset: str, level: int, seed: int) -> int:
    """Instructions of all attempts for the problem of a seed."""
    module.run = _count
    module.LEVELS, module.REFUSED = MEASURED, {}  # also those that are not offered
    environment = gym.ReasoningGym(dataset, {})
    _spent[0] = 0
    environment.make_problem(sha256(b"%d" % seed).digest(), [level])
    return _spent[0]


def find_dearest(asked: tuple[str, int, int]) -> tuple[int, int]:
    """Instructions of a level's dearest problem, and its seed."""
    dataset, level, seeds = asked
    dearest = 0, 0
    for seed in range(seeds):
        dearest = max(dearest, (measure(dataset, level, seed), -seed))
        if dearest[0] > gym.MAKING_MAX:
            break
    return dearest[0], -dearest[1]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, default=SEEDS, help="problems of each level")
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument("--check", action="store_true", help="compare with the file, dearest only")
    asked = parser.parse_args()
    if asked.check:
        return check(asked.processes)
    started = time.monotonic()
    rows: dict[str, dict[str, list[int]]] = {name: {} for name in sorted(MEASURED)}
    work = [(name, level, asked.seeds) for name in rows for level in MEASURED[name]]
    with ProcessPoolExecutor(asked.processes) as pool:
        for (name, level, _), found in zip(work, pool.map(find_dearest, work), strict=True):
            rows[name][str(level)] = list(found)
            print(f"{name}, level {level}: {found[0] / 1e6:,.0f} million", flush=True)
    document = {"image": gym.GYM.image_digest, "seeds": asked.seeds, "dearest": rows}
    write_file(COSTS_FILE, "".join(write_lines(document)).encode())
    print(f"{len(work)} levels in {time.monotonic() - started:,.0f} s: {COSTS_FILE}")
    return 0


def write_lines(document: dict[str, Any]) -> Iterator[str]:
    """The document with a line for each dataset."""
    head = {name: value for name, value in document.items() if name != "dearest"}
    yield json.dumps(head)[:-1] + ', "dearest": {\n'
    yield ",\n".join(
        f"{json.dumps(n)}: {json.dumps(row)}" for n, row in document["dearest"].items()
    )
    yield "\n}}\n"


def check(processes: int) -> int:
    """Exit 1 if a level's dearest problem takes other instructions than the file says."""
    known = json.loads(COSTS_FILE.read_text())["dearest"]
    rows = [(n, int(level), seed, cost) for n in known for level, (cost, seed) in known[n].items()]
    with ProcessPoolExecutor(processes) as pool:
        found = list(pool.map(measure, *zip(*(row[:3] for row in rows), strict=True)))
    other = [row for row, cost in zip(rows, found, strict=True) if row[3] != cost]
    print(*other, f"{len(rows)} levels, {len(other)} differ", sep="\n")
    return 1 if other else 0


if __name__ == "__main__":
    sys.exit(main())
