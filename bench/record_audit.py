"""`assay audit` over 24 windows × 64 miners of the demo's size, on one core.

Without a model, every miner's file has 12 groups of 8 genuine completions. They come from a pool
and not from the miner's own problems, which only the model can tell. The validator's own code makes
the record. It is read once from the miners' files, which makes the bundle, and then from the
bundle. With the small model, whose passes end early on false work, two windows have genuine work of
64 miners, each with the groups that an audit reads. Twenty-four windows take twelve times as long.
Seconds are processor time, so other work of the machine does not count.
"""

import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from hashlib import sha256
from itertools import islice
from pathlib import Path

import torch
from figures import Figure, report, time_cpu
from work import load_genesis, make_requests

from assay.artifacts.submissions.judge import examine_file, judge_with_checkpoint
from assay.artifacts.submissions.reader import open_submission
from assay.artifacts.submissions.reading import AbsentSubmission
from assay.audit.auditor import audit
from assay.audit.bundle import open_bundle
from assay.audit.bundle_export import export_bundle
from assay.audit.ports import Models, Public
from assay.audit.sources import FetchedOutlines, StoredSubmissions
from assay.environments.dealing import make_miner_problem
from assay.environments.registry import open_environment
from assay.inference.checkpoint import Checkpoint
from assay.inference.generate import GroupRequest, generate_groups
from assay.lab import simulator
from assay.lab.demo.run import ModelFolders
from assay.lab.simulator import SimulatedChain
from assay.network.beacon import LocalBeacon
from assay.network.store.folder import open_folder
from assay.neurons.miner.miner import Group
from assay.neurons.validator.judged_window import JudgedWindow, Settlement
from assay.neurons.validator.make_records import Author, RecordHeads, make_records
from assay.protocol.amendment import ParameterHistory
from assay.protocol.commitment import Commitment, Tag, encode_commitment, make_object_name
from assay.protocol.context import Context
from assay.protocol.encoding import encode
from assay.protocol.parameters import DEMO_TIMING
from assay.protocol.record import make_settlement_record_name, make_window_record_name
from assay.protocol.seeds import compute_projection_seed, compute_rollout_seed
from assay.protocol.ss58 import encode_ss58
from assay.protocol.submission import encode_submission, get_id_bits
from assay.protocol.window import Phase, compute_block, compute_settled_windows
from assay.session.window_reader import get_challenge, get_context
from assay.subnet.presets import NETUID, make_demo_parameters
from assay.training import GENESIS
from assay.verification import (
    Result,
    Seat,
    Verdict,
    compute_score,
    compute_settlement,
    compute_weights,
    make_projection,
)

MINERS, WINDOWS, GROUPS, POOL = 64, 24, 12, 48
#: Windows of genuine work: one settlement.
GENUINE = 2
GENESIS_MS = 1_700_000_000_000
LOCATOR = "bench:store"
SECONDS, MODEL_SECONDS = 10, 60
OTHERS = tuple(sha256(name).digest() for name in (b"owner", b"trainer", b"validator"))
OWNER, TRAINER, VALIDATOR = OTHERS
HOTKEYS = tuple(sha256(b"miner %d" % number).digest() for number in range(MINERS))


class Stage:
    """A subnet of one validator, played as far as its record needs.

    Args:
        windows: number of windows.
        genuine: if True, each miner has its own groups, as many as an audit reads; if False, groups
            from a pool.
    """

    def __init__(self, folder: Path, checkpoint: Checkpoint, windows: int, genuine: bool) -> None:
        self.folder, self.checkpoint = folder, checkpoint
        self.windows, self.genuine = range(windows), genuine
        self.chain = SimulatedChain(
            b"bench",
            NETUID,
            GENESIS_MS,
            DEMO_TIMING.slot_ms,
            DEMO_TIMING.tempo,
            (*OTHERS, *HOTKEYS),
        )
        self.beacons = LocalBeacon(
            b"bench",
            GENESIS_MS,
            1_000,
            lambda: self.chain.get_block(self.chain.get_head()).timestamp_ms,
        )
        self.parameters = make_demo_parameters(
            self.chain.genesis_hash, self.beacons.chain, 0, TRAINER, checkpoint.digest
        )
        self.stores = {LOCATOR: open_folder(folder / "store")}
        self.records = open_folder(folder / "records")
        self.audits: dict[int, JudgedWindow] = {}
        self.ends, self.last_epoch = RecordHeads(), 0
        self.pool = [] if genuine else self.generate(make_requests(checkpoint, POOL, 8), bytes(32))
        announced = Commitment(Tag.PARAMETERS, 0, 0, self.parameters.digest, LOCATOR)
        self.chain.set_commitment(OWNER, encode_commitment(announced))
        last = compute_block(DEMO_TIMING, windows - 1, Phase.VERDICT_END) + 2 * DEMO_TIMING.tempo
        for _ in range(last):
            self.play_block()

    def play_block(self) -> None:
        self.chain.mint()
        head = self.chain.get_head()
        window, offset = divmod(head, DEMO_TIMING.window_blocks)
        if offset == 8 and window in self.windows:
            self.mine(window)
        if offset == 11 and window - 1 in self.windows:
            self.judge(window - 1)
        if self.chain.is_epoch(head):
            self.settle(head)

    def generate(self, requests: Sequence[GroupRequest], seed: bytes) -> list[Group]:
        temperature, checkpoint = self.parameters.work.temperature, self.checkpoint
        return generate_groups(
            requests,
            checkpoint.get_drafter(temperature),
            checkpoint.get_reference(temperature),
            checkpoint.get_rules(temperature),
            make_projection(compute_projection_seed(seed), checkpoint.manifest),
        )

    def mine(self, window: int) -> None:
        """Write and commit to every miner's file."""
        challenge = get_challenge(self.chain, self.beacons, self.parameters, window)
        assert challenge is not None
        count = self.parameters.work.audited_rollouts if self.genuine else GROUPS
        made = iter(self.make_genuine(challenge.seed, count) if self.genuine else ())
        for number, hotkey in enumerate(HOTKEYS):
            first = (window * MINERS + number) * GROUPS
            groups = list(islice(made, count)) or [
                self.pool[(first + 7 * index) % POOL] for index in range(count)
            ]
            data, root = encode_submission(
                groups,
                parameters=self.parameters.digest,
                window=window,
                hotkey=hotkey,
                checkpoint=challenge.checkpoint,
                id_bits=get_id_bits(len(self.checkpoint.tokenizer.drawable)),
            )
            self.stores[LOCATOR].put(make_object_name(encode_ss58(hotkey), window), data)
            commitment = Commitment(Tag.MINER, window, count, root, LOCATOR)
            self.chain.set_commitment(hotkey, encode_commitment(commitment))

    def make_genuine(self, seed: bytes, count: int) -> list[Group]:
        environment = open_environment(self.parameters.environment)
        requests = []
        for hotkey in HOTKEYS:
            for index in range(count):
                levels = self.checkpoint.manifest.levels
                problem = make_miner_problem(environment, seed, hotkey, index, levels)
                size = self.parameters.work.group_size
                seeds = tuple(compute_rollout_seed(seed, hotkey, index, r) for r in range(size))
                prompt = tuple(self.checkpoint.tokenizer.encode(problem.conversation))
                requests.append(GroupRequest(prompt, seeds))
        return self.generate(requests, seed)

    def judge(self, window: int) -> None:
        challenge = get_challenge(self.chain, self.beacons, self.parameters, window)
        assert challenge is not None
        context = get_context(self.chain, self.beacons, self.parameters, challenge)
        assert context is not None
        self.audits[window] = JudgedWindow(challenge, context)
        for hotkey in context.members:
            self.audits[window].add(self.judge_one(context, hotkey), 0, 0.0)

    def judge_one(self, context: Context, hotkey: bytes) -> Verdict:
        """The judge's verdict if the work is genuine; else the verdict that genuine work would
        get."""
        files = StoredSubmissions(self.stores)
        reader = AbsentSubmission() if hotkey in OTHERS else open_submission(context, hotkey, files)
        if self.genuine:
            return judge_with_checkpoint(
                reader, hotkey, context, self.checkpoint, validator=VALIDATOR
            )
        examined = examine_file(reader, hotkey, context, self.checkpoint)
        if isinstance(examined, Verdict):
            return examined
        return replace(examined.presume(), witness=bytes(2 * self.parameters.work.audited_rollouts))

    def settle(self, epoch: int) -> None:
        """Make a settlement, its records and its weights, as the validator does."""
        due = compute_settled_windows(DEMO_TIMING, self.last_epoch, epoch)
        windows = [window for window in due if window in self.audits]
        results = [
            Result(window, Seat(m.uid, m.registered_at), verdict.reason, compute_score(verdict))
            for window in windows
            for hotkey, m in self.audits[window].context.members.items()  # type: ignore[union-attr]
            if (verdict := self.audits[window].verdicts[hotkey])
        ]
        if windows:
            scores = compute_settlement(results)
            weights = compute_weights({seat.uid: s for seat, s in scores.items()}, 0, 0)
            held = self.chain.get_members(epoch).items()
            holders = {Seat(m.uid, m.registered_at): hotkey for hotkey, m in held}
            settlement = Settlement(epoch, tuple(windows), (), scores, weights, holders)
            author = Author("assay bench", ParameterHistory(self.parameters), VALIDATOR)
            records, record = make_records(author, self.ends, settlement, self.audits)
            address = encode_ss58(VALIDATOR)
            for one in records:
                self.records.put(make_window_record_name(address, one.window), encode(one))
            self.records.put(make_settlement_record_name(address, epoch), encode(record))
            self.ends = RecordHeads(records[-1].digest, record.digest, epoch)
            self.chain.set_weights(VALIDATOR, weights)
        self.last_epoch = epoch

    def export(self) -> Path:
        """Export a bundle as an auditor does who has nothing yet."""
        mirrors = [ModelFolders(self.folder / "models")]
        public = Public(
            chain=self.chain,
            beacons=self.beacons,
            parameters=self.parameters,
            history=ParameterHistory(self.parameters),
            records=self.records,
            submissions=StoredSubmissions(self.stores),
            outlines=FetchedOutlines(self.folder / "scratch", lambda: mirrors),
            copies={},
        )
        out = self.folder / "bundle"
        found = export_bundle(
            public, VALIDATOR, self.windows, out, self.folder / "kept", mirrors, lambda *_: None
        )
        assert found.matched, found
        return out


class Known(dict[bytes, Checkpoint]):
    """Opened models by digest."""


def audit_bundle(folder: Path, windows: range, models: Models | None) -> None:
    """Do all that `assay audit --offline` does after its imports."""
    with tempfile.TemporaryDirectory(prefix="assay-") as scratch:
        opened = open_bundle(folder, Path(scratch))
        found = audit(replace(opened.public, models=models), VALIDATOR, windows)
    assert found.matched, found
    claims = sum(window.claims for window in found.windows)
    assert claims == (0 if models else MINERS * len(windows))


def main() -> None:
    torch.set_num_threads(1)
    simulator.STATE_BLOCKS = 1 << 20  # an archive node
    checkpoint = load_genesis()
    with tempfile.TemporaryDirectory(prefix="assay-") as name:
        folder = Path(name)
        (folder / "models").mkdir()
        (folder / "models" / checkpoint.digest.hex()).symlink_to(GENESIS)
        print("  mining, judging and recording", file=sys.stderr)
        stage = Stage(folder, checkpoint, WINDOWS, genuine=False)
        whole = Path(name) / "bundle"
        wall, cpu = time_cpu(stage.export)
        _, offline = time_cpu(lambda: audit_bundle(whole, range(WINDOWS), None))
        size = sum(path.stat().st_size for path in whole.rglob("*") if path.is_file())
    with tempfile.TemporaryDirectory(prefix="assay-") as name:
        folder = Path(name)
        (folder / "models").mkdir()
        (folder / "models" / checkpoint.digest.hex()).symlink_to(GENESIS)
        print("  the same with genuine work", file=sys.stderr)
        Stage(folder, checkpoint, GENUINE, genuine=True).export()
        models = Known({checkpoint.digest: checkpoint})
        _, modelled = time_cpu(lambda: audit_bundle(folder / "bundle", range(GENUINE), models))
    report(
        f"assay audit of {WINDOWS} windows × {MINERS} miners, demo model",
        [
            Figure("from a bundle, without a model", offline, "s", bound=SECONDS),
            Figure(
                "from a bundle, with the model",
                WINDOWS / GENUINE * modelled,
                "s",
                bound=MODEL_SECONDS,
            ),
            Figure(
                "from miners' files, with the bundle written: CPU time",
                cpu,
                "s",
                "on the clock",
                wall,
            ),
            Figure("size of the bundle", size / 2**20, "MiB"),
        ],
        1,
    )


if __name__ == "__main__":
    main()
