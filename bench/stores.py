"""Time and bytes of a window's reading of 256 miners, from a web server 20 ms away, roots checked.

Every miner's file has 1,024 groups of 16 completions, 230 tokens long on average, as one GPU makes;
64 of the groups are distinct. The parts that an audit requests are read from each file and checked
against the root on a simulated chain. The server is a separate process on this machine. It waits 20
ms before it reads from a connection and before each answer. Rows are made up (`rows`), with ids by
Zipf's law with exponent 1.1: no model looks at them. The baseline is the same client reading one
file after the other, for 8 of the miners.
"""

import asyncio
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

import numpy as np

if __name__ == "__main__" and sys.argv[1:2] != ["serve"]:
    from figures import FAST, Figure, report

from rows import ID_BITS, SIZE, TOKENS, draw_by_zipf, make_groups

from assay.artifacts.submissions.read_ahead import THREADS, ReadAhead, fetch
from assay.artifacts.submissions.reader import AUDITED, know_no_mirrors, open_submission
from assay.lab.simulator import SimulatedChain
from assay.network.beacon import LocalBeacon
from assay.network.store.opening import ReadableStores
from assay.protocol.commitment import Commitment, Tag, encode_commitment, make_object_name
from assay.protocol.context import Context
from assay.protocol.encoding import decode, encode
from assay.protocol.parameters import DEMO_TIMING, MAIN_TIMING, MAIN_WORK, PROTOCOL_VERSION
from assay.protocol.ss58 import encode_ss58
from assay.protocol.submission import (
    HEADER_BYTES,
    Header,
    assemble_submission,
    compute_submission_root,
    encode_group,
)
from assay.protocol.window import Phase, compute_block
from assay.session.window_reader import get_challenge, get_context
from assay.subnet.presets import NETUID, make_demo_parameters

MINERS, GROUPS, DISTINCT = 256, 1_024, 64
LATENCY_S, BOUND_S = 0.020, 20.0
ALONE = 8
#: Blocks of one second, and as much time to fetch files as on the main network.
TIMING = replace(
    DEMO_TIMING,
    fetch_end=DEMO_TIMING.audit_offset
    + (MAIN_TIMING.fetch_end - MAIN_TIMING.audit_offset)
    * MAIN_TIMING.slot_ms
    // DEMO_TIMING.slot_ms,
)
GENESIS_MS = 1_700_000_000_000
HOTKEYS = tuple(sha256(b"miner %d" % number).digest() for number in range(MINERS))


@dataclass(frozen=True)
class Sources:
    stores: ReadableStores
    mirrors = staticmethod(know_no_mirrors)


def make_file(parameters: bytes) -> bytes:
    """The first miner's file."""
    random = np.random.default_rng(1)
    groups = make_groups(random, DISTINCT, draw_by_zipf(random, 1.1))
    parts = [encode_group(group, ID_BITS) for group in groups]
    header = Header(
        version=PROTOCOL_VERSION,
        parameters=parameters,
        window=0,
        hotkey=HOTKEYS[0],
        checkpoint=bytes(32),
        groups=GROUPS,
        group_size=SIZE,
        id_bits=ID_BITS,
        index=bytes(32),
        tree=bytes(32),
    )
    return assemble_submission(header, [parts[i % DISTINCT] for i in range(GROUPS)])[0]


def make_context(folder: Path, port: int) -> Context:
    """A window that all miners have committed to. Their files differ in the header: `folder` has
    one whole file and every miner's header."""
    chain = SimulatedChain(
        b"bench", NETUID, GENESIS_MS, DEMO_TIMING.slot_ms, DEMO_TIMING.tempo, (bytes(32), *HOTKEYS)
    )
    beacons = LocalBeacon(
        b"bench", GENESIS_MS, 1_000, lambda: chain.get_block(chain.get_head()).timestamp_ms
    )
    parameters = make_demo_parameters(chain.genesis_hash, beacons.chain, 0, bytes(32), bytes(32))
    parameters = replace(parameters, timing=TIMING, work=replace(MAIN_WORK, max_tokens=2 * TOKENS))
    data = make_file(parameters.digest)
    (folder / "file").write_bytes(data)
    first = decode(Header, data[:HEADER_BYTES])
    for hotkey in HOTKEYS:
        header = replace(first, hotkey=hotkey)
        path = folder / make_object_name(encode_ss58(hotkey), 0)
        path.parent.mkdir()
        path.write_bytes(encode(header))
        root = compute_submission_root(header)
        commitment = Commitment(Tag.MINER, 0, GROUPS, root, f"http://127.0.0.1:{port}")
        chain.set_commitment(hotkey, encode_commitment(commitment))
    for _ in range(compute_block(DEMO_TIMING, 0, Phase.AUDIT) + 6):
        chain.mint()
    challenge = get_challenge(chain, beacons, parameters, 0)
    assert challenge is not None
    context = get_context(chain, beacons, parameters, challenge)
    assert context is not None
    assert len(context.commitments) == MINERS
    return context


def read_all(context: Context, sources: Sources, hotkeys: Sequence[bytes]) -> float:
    """Seconds until every file is read and its root checked, as the validator does it."""
    started, left = time.perf_counter(), list(hotkeys)
    kept: list[int] = []
    ahead = ReadAhead(sources, lambda *_: kept.append(1))
    with closing(ahead):
        while left:
            for hotkey in left:
                if not ahead.begin(context, hotkey, context.audit_block.number):
                    break
            found = ahead.choose(context, {AUDITED: left})
            if found is None:
                continue
            hotkey, _ = found
            assert ahead.take(context, hotkey) is not None
            left.remove(hotkey)
        seconds = time.perf_counter() - started
    assert len(kept) == len(hotkeys), "every file was whole"
    return seconds


def read_one_by_one(context: Context, sources: Sources, hotkeys: Sequence[bytes]) -> float:
    started = time.perf_counter()
    for hotkey in hotkeys:
        assert fetch(open_submission(context, hotkey, sources)).is_whole
    return time.perf_counter() - started


# --- the server, a separate process


async def serve(folder: Path) -> None:
    """Serve every miner's file: the same bytes after its own header. Prints its port, then at each
    line of input the requests and bytes of bodies so far."""
    whole = b""
    sent = [0, 0]

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal whole
        await asyncio.sleep(LATENCY_S)
        try:
            while True:
                lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
                await asyncio.sleep(LATENCY_S)
                method, path, _ = lines[0].split()
                headers = dict(line.lower().split(": ", 1) for line in lines[1:] if line)
                if not whole:
                    whole = (folder / "file").read_bytes()
                head, body = f"HTTP/1.1 200 OK\r\nContent-Length: {len(whole)}\r\n\r\n", b""
                if method == "GET":
                    start, last = map(int, headers["range"].removeprefix("bytes=").split("-"))
                    last = min(last, len(whole) - 1)
                    body = whole[start : last + 1]
                    if start == 0:
                        body = (folder / path.lstrip("/")).read_bytes() + body[HEADER_BYTES:]
                    head = (
                        f"HTTP/1.1 206 Partial Content\r\nContent-Length: {len(body)}\r\n"
                        f"Content-Range: bytes {start}-{last}/{len(whole)}\r\n\r\n"
                    )
                writer.write(head.encode() + body)
                await writer.drain()
                sent[0] += 1
                sent[1] += len(body)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    while await asyncio.to_thread(sys.stdin.readline):
        print(*sent, flush=True)


def main() -> None:
    hotkeys = HOTKEYS[: 16 if FAST else MINERS]
    with tempfile.TemporaryDirectory(prefix="assay-") as name:
        folder = Path(name)
        server = subprocess.Popen(
            [sys.executable, __file__, "serve", name],
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert server.stdin is not None
        assert server.stdout is not None
        with server:
            port = int(server.stdout.readline())
            context = make_context(folder, port)
            sources = Sources(ReadableStores([f"http://127.0.0.1:{port}"]))
            read_all(context, sources, hotkeys[:4])  # opens the connections

            def count() -> tuple[int, int]:
                server.stdin.write("\n")  # type: ignore[union-attr]
                server.stdin.flush()  # type: ignore[union-attr]
                requests, sent = map(int, server.stdout.readline().split())  # type: ignore[union-attr]
                return requests, sent

            before, spent = count(), time.process_time()
            seconds = read_all(context, sources, hotkeys)
            after, spent = count(), time.process_time() - spent
            alone = read_one_by_one(context, sources, hotkeys[:ALONE]) * len(hotkeys) / ALONE
            server.terminate()
        size = (folder / "file").stat().st_size
    sent = (after[1] - before[1]) / 1e6
    figures = [
        Figure(
            "files read, roots checked", seconds, "s", "one after the other", alone, bound=BOUND_S
        ),
        Figure("CPU time of the client", spent, "s"),
        Figure("bytes a window", sent, "MB", "all files", len(hotkeys) * size / 1e6),
        Figure("requests a file", (after[0] - before[0]) / len(hotkeys), "requests"),
    ]
    report(
        f"what an audit reads of {len(hotkeys)} miners, {LATENCY_S * 1e3:g} ms away, "
        f"{THREADS} at a time",
        figures,
        THREADS,
    )


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        asyncio.run(serve(Path(sys.argv[2])))
    else:
        main()
