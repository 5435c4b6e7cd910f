"""A race between relays for a beacon, compared with the quicker of them alone.

Two relays on this machine wait 20 ms and 60 ms before they answer. The quicker one fails every
tenth request: with an error in one row, by silence in the other. Each round is requested once by
the race and once by a client of the quicker relay alone, in turn. When that client fails, it has no
round, and its median is of the other rounds.
"""

import logging
import statistics
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack, closing
from itertools import count
from pathlib import Path
from time import perf_counter

from figures import Figure, report

sys.path.append(str(Path(__file__).parents[1]))

from assay.network.beacon import HttpBeacons, LocalBeacon, RelayTimeouts
from tests.network.beacon.relay import (
    Answer,
    Relay,
    describe,
    send,
    send_and_stall,
    serve,
    write_answer,
)

QUICK_S, SLOW_S = 0.020, 0.060
#: The quicker relay fails one in this many requests.
FAILS_EVERY = 10
ROUNDS = 300
LOCAL = LocalBeacon(b"race", 0, 1_000, lambda: 10**9)


def get_fields(number: int) -> dict[str, object] | None:
    beacon = LOCAL.get(number)
    return None if beacon is None else describe(beacon)


def fail_at_times(failure: Answer) -> Answer:
    """The quicker relay's answers, with `failure` at every tenth request."""
    requests, good = count(1), serve(get_fields, QUICK_S)

    async def answer(path: str, writer: object) -> None:
        await (good if next(requests) % FAILS_EVERY else failure)(path, writer)

    return answer


def measure_both(failure: Answer) -> tuple[list[float], list[float], int]:
    """Seconds of each round for the race and for the quicker relay alone, and the number of rounds
    that the latter lacked."""
    with ExitStack() as stack:
        relays = [Relay(fail_at_times(failure)) for _ in range(2)]  # each client has its own
        relays.append(Relay(serve(get_fields, SLOW_S)))
        for relay in relays:
            stack.enter_context(closing(relay))
        raced_quick, alone_quick, slow = (relay.url for relay in relays)

        def open_source(*urls: str) -> Callable[[int], float | None]:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            patience = RelayTimeouts(answer_s=1)
            source = HttpBeacons(LOCAL.chain, urls, folder, lambda: 10**9, patience)
            stack.enter_context(closing(source))

            def get(number: int) -> float | None:
                started = perf_counter()
                found = source.get(number)
                return None if found is None else perf_counter() - started

            return get

        race, alone = open_source(slow, raced_quick), open_source(alone_quick)
        pairs = [(race(number), alone(number)) for number in range(1, ROUNDS + 1)]
    raced = [taken for taken, _ in pairs if taken is not None]
    assert len(raced) == ROUNDS, "the race has every round"
    own = [taken for _, taken in pairs if taken is not None]
    return raced, own, ROUNDS - len(own)


def main() -> None:
    logging.getLogger("assay.beacon").setLevel(logging.ERROR)  # it would log each failure
    figures = []
    for words, failure in {
        "a tenth of requests fail": send(write_answer(b"", 500)),
        "a tenth of requests get no answer": send_and_stall(b""),
    }.items():
        raced, own, lacking = measure_both(failure)
        median, best = statistics.median(raced) * 1e3, statistics.median(own) * 1e3
        figures.append(
            Figure(f"race, {words}: median", median, "ms", "alone", best, ratio_bound=1.10)
        )
        slowest = statistics.quantiles(raced, n=20)[-1] * 1e3
        figures.append(Figure(f"race, {words}: 95 of 100 within", slowest, "ms"))
        figures.append(Figure(f"race, {words}: rounds missing", 0, "rounds", "alone", lacking))
    report(
        f"beacons from two relays, {QUICK_S * 1e3:g} ms and {SLOW_S * 1e3:g} ms away", figures, 1
    )


if __name__ == "__main__":
    main()
