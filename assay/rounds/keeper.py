"""A trainer's course through rounds: begin at the parent, learn from its share, name a child on
chain, show it after the deadline, merge, continue.

The trainer's program learns from windows by ordinary steps. Between two windows it asks the keeper
what to do next (`advance`). The keeper does not choose a step's groups; `find_unfit` only says why
a window's groups may not be used.

The keeper trusts no published checkpoint: it compares each with its own merge
(`published.py`). A trainer that joins later, or was away for a round, has no merge of its
own: it begins with the checkpoint in force.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum, auto
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from torch import Tensor

from assay.artifacts.checkpoints.folder import CheckpointFolder, open_checkpoint
from assay.artifacts.checkpoints.publish import publish_checkpoint
from assay.artifacts.ports import StoreFinder
from assay.artifacts.steps.folder import StepFolder, digest_tensors_of, read_step, read_taken
from assay.artifacts.steps.store import publish_step
from assay.environments import compute_next_levels
from assay.inference import Checkpoint, read_tensors
from assay.network import ObjectStore
from assay.network.chain import ChainError, ForgottenError
from assay.network.chain.ports import BlockReader
from assay.protocol import Commitment, Context, Parameters, Phase, Tag, encode_commitment
from assay.protocol.amendment import ParameterHistory
from assay.protocol.hashing import ZERO_DIGEST
from assay.protocol.manifest import HeldOutCounts
from assay.protocol.window import compute_block, compute_window
from assay.rounds.calendar import (
    Round,
    compute_line,
    compute_share,
    find_last_round,
    find_round,
    has_pause,
)
from assay.rounds.child_store import (
    RoundReader,
    WithheldError,
    count_outer_bytes,
    put_child,
    put_outer,
    put_pieces,
    put_record,
    read_pieces,
    reveal,
)
from assay.rounds.child_verdict import ChildFiles, ChildStep, RoundFacts, is_fresh
from assay.rounds.difference_form import FormError, choose_form
from assay.rounds.folder import TRUE_MAX, MadeStep, RoundFolder, RoundState, TrueCheckpoint
from assay.rounds.in_force import InForce, find_published, get_in_force, get_in_force_at
from assay.rounds.merging import Merge, RoundMerge, find_children
from assay.rounds.outer_records import ROUND_VERSION, ChildRecord, MergeRecord
from assay.rounds.outer_step import OuterState, begin_outer, compute_outer_root, round_masters
from assay.rounds.published import get_patience, judge_published
from assay.rounds.trainer_stores import TrainerStores
from assay.training import Learner, name_masters, name_step, pick_masters


class NextThing(Enum):
    """A trainer's next action."""

    LEARN = auto()  # learn from a window by an ordinary step
    WAIT = auto()  # for blocks
    GO_ON = auto()  # something was done: ask again


class CountHeldOut(Protocol):
    """Measures a checkpoint on held-out problems: its success under a window's parameters, with
    other weights if there are any."""

    def __call__(
        self, checkpoint: Checkpoint, window: int, weights: Mapping[str, Tensor] | None = None
    ) -> HeldOutCounts: ...


class RoundCourse(Protocol):
    """A trainer's place in its course, as far as rounds change it."""

    window: int
    parent: Checkpoint
    learner: Learner
    learned: bool
    uploaded: bool
    state: bytes | None


C = TypeVar("C", bound=RoundCourse)


@dataclass(frozen=True, slots=True)
class RoundConfig:
    """The parts of a trainer's program that its rounds need.

    Attributes:
        store: the trainer's own store; locator: its address, as on chain.
        steps: records of its steps.
        get_context: returns a window's context; None if it is not known yet.
        count: None: levels stay.
        count_steps: returns the steps behind a course that goes on with a checkpoint, from its own
            count, if it has one, and stores that may have the checkpoint's step.
    """

    folder: Path
    store: ObjectStore
    locator: str
    steps: StepFolder
    publish_states: bool
    get_context: Callable[[Parameters, int], Context | None]
    count: CountHeldOut | None
    count_steps: Callable[[Checkpoint, int | None, Sequence[ObjectStore]], int]


class RoundKeeper(Generic[C]):
    """One trainer's rounds.

    Args:
        save: saves a course with its learner's state.
        announce: commits a payload on chain, after its bytes are uploaded; False: not included yet.
        report: called with one line for the operator.

    Raises (all methods): ChainError, StoreError: the caller tries again later. CheckpointError: a
        checkpoint cannot be used. RoundFolderError: its folder cannot be used.
    """

    def __init__(
        self,
        hotkey: bytes,
        history: ParameterHistory,
        chain: BlockReader,
        checkpoints: CheckpointFolder,
        stores: StoreFinder,
        config: RoundConfig,
        save: Callable[[C], None],
        announce: Callable[[C, bytes], bool],
        report: Callable[[str], None],
    ) -> None:
        self._hotkey, self._history, self._chain = hotkey, history, chain
        self._checkpoints, self._config = checkpoints, config
        self._stores = TrainerStores(hotkey, history, chain, stores, config.store)
        self._save, self._announce, self._report = save, announce, report
        self._folder = RoundFolder(config.folder)
        self.state: RoundState | None = None
        self._outer: OuterState | None = None
        self._contexts: dict[int, Context] = {}
        self._merging: RoundMerge | None = None
        self._published = self._revealed = ZERO_DIGEST
        self._short = self._looked_back = -1  # ends of rounds

    def find_rounds(self, window: int) -> Parameters | None:
        """The parameters of a window, if they have rounds."""
        end = self._history.end
        if end is not None and window >= end:
            return None
        parameters = self._history.get(window)
        return parameters if parameters.rounds is not None else None

    def find_begun(self, window: int) -> int | None:
        """The first window of rounds that an amendment introduces, if it is later than `window` and
        the chain has decided the checkpoint that they begin with; else None."""
        latest = self._history.latest
        first = latest.start.window
        if latest.rounds is None or window >= first:
            return None
        decided = compute_block(latest.timing, first, Phase.CHECKPOINT)
        return first if self._chain.get_head() >= decided else None

    def is_own(self, context: Context, hotkey: bytes, index: int) -> bool:
        """Whether a group is in this trainer's share."""
        rounds = context.parameters.rounds
        if rounds is None:
            return True
        drawn = compute_share(rounds.trainers, context.audit_seed, hotkey, index)
        return drawn == self._hotkey

    def find_unfit(self, context: Context) -> str | None:
        """Why the current round may not use a window's groups, or None."""
        self._contexts[context.window] = context
        return self._find_unfit(context, self._require_state())

    def advance(self, course: C) -> NextThing:
        """Do what is due between two windows, and return the next action."""
        state = self._begin(course) if self.state is None else self.state
        start, history = self._history.get(course.window).start, self._history
        # an amendment names where to begin anew, or rounds ended since and begin again
        if start.number > state.true[-1].number or has_pause(history, state.end, start.window):
            state = self._begin(course, anew=True)
        if self._is_elsewhere(course, state):
            self._adopt(course, state)
            return NextThing.GO_ON
        state = self._note_step(course, state)
        of = self._get_round(state)
        head, half = self._chain.get_head(), of.rounds.child_blocks // 2
        if course.window < of.end and head < of.deadline - half:
            return NextThing.LEARN
        if head >= of.opening and self._looked_back != of.end:
            is_late = self._look_back(course, state, of)
            self._looked_back = of.end
            if is_late:
                return NextThing.GO_ON
        if head < of.deadline:
            return self._name_child(course, state, of, head)
        try:
            return self._merge(course, state, of, head)
        except ForgottenError:
            self._report(
                f"round {of.end}: the nodes have forgotten its deadline's state, so this trainer "
                "begins anew with the checkpoint in force"
            )
            course.window = max(course.window, compute_window(of.parameters.timing, head))
            self._begin(course, anew=True)
            return NextThing.GO_ON

    # --- where a round begins

    def _begin(self, course: C, anew: bool = False) -> RoundState:
        """Resume from the folder, or begin with the checkpoint in force."""
        stored = None if anew else self._folder.load(self._history.first.digest)
        if stored is not None and self.find_rounds(stored.end - 1) is not None:
            self._outer = self._folder.load_outer(stored.outer)
            if self._outer is not None:
                self.state = stored
                return stored
        parameters = self._history.get(course.window)
        head = self._chain.get_head()
        in_force = self._find_parent(parameters, head)
        base = open_checkpoint(self._checkpoints, in_force.digest, parameters)
        outer = self._find_outer(base)
        first = find_round(parameters, parameters.start.window)
        last = find_last_round(parameters, head)
        end = first.end if last is None else last.end + len(last.windows)
        if in_force.number > parameters.start.window:
            end = in_force.number + len(first.windows)
        root = compute_outer_root(outer)
        true = (TrueCheckpoint(base.digest, base.manifest.number),)
        network = self._history.first.digest
        state = RoundState(network, end, base.digest, root, (), ZERO_DIGEST, ZERO_DIGEST, true)
        self._folder.save(state, outer)
        self.state, self._outer = state, outer
        self._merging, self._published = None, ZERO_DIGEST  # of a round that is given up
        course.window = max(course.window, end - len(first.windows))
        own = course.learner.step or None
        steps = self._config.count_steps(base, own, self._stores.list_at(head))
        self._adopt(course, state, steps)
        return state

    def _find_parent(self, parameters: Parameters, head: int) -> InForce:
        """The checkpoint that a trainer without a saved round begins with."""
        if find_last_round(parameters, head) is None:  # all begin alike, whenever they begin
            try:
                return get_in_force(self._chain, parameters, parameters.start.window)
            except ForgottenError:
                pass
        return get_in_force_at(self._chain, parameters, head)

    def _find_outer(self, base: Checkpoint) -> OuterState:
        """The outer state at a checkpoint: its merge's, or without momentum if a step made it."""
        weights: dict[str, Tensor] = {}
        for file in sorted(base.folder.glob("*.safetensors")):
            weights |= read_tensors(file)
        resting = begin_outer(weights)
        if base.manifest.step == ZERO_DIGEST:
            return resting
        head = self._chain.get_head()
        reader = RoundReader(self._stores.list_at(head), self._config.folder / "children")
        try:
            merge = reader.read_merge_record(base.manifest.step)
        except WithheldError:  # a step made it
            return resting
        try:
            return reader.read_outer(merge.outer_after, count_outer_bytes(resting.masters))
        except WithheldError as error:
            raise ChainError(f"the masters of the round's parent cannot be read: {error}") from None

    def _is_elsewhere(self, course: C, state: RoundState) -> bool:
        """Whether the course was started anew, so that it does not continue the round."""
        parent = course.parent
        last = state.steps[-1].child if state.steps else state.base
        if parent.digest == last:
            return not course.learned
        return parent.manifest.parent != last or parent.manifest.number > state.end

    def _adopt(self, course: C, state: RoundState, steps: int | None = None) -> None:
        """Set a course to the beginning of its round: the outer state's masters, its own
        moments, and `steps` behind it, if they are others than its own."""
        outer = self._require_outer()
        parameters = self._history.get(state.end - 1)
        base = open_checkpoint(self._checkpoints, state.base, parameters)
        begin = dict(course.learner.export_state()) | name_masters(outer.masters)
        begin |= {} if steps is None else name_step(steps)
        course.learner.load_state(self._folder.write_begin(begin))
        if state.steps or state.child != ZERO_DIGEST:
            state = replace(state, steps=(), child=ZERO_DIGEST)
            self._folder.save(state)
        self._folder.clear_shelf()
        self.state = state
        course.parent, course.learned, course.state = base, True, None
        course.uploaded = True
        if parameters.rounds is not None:  # else this was the last round
            course.window = max(course.window, self._get_round(state).windows.start)
        self._save(course)

    def _note_step(self, course: C, state: RoundState) -> RoundState:
        """Add the step that the course has taken since, if any."""
        last = state.steps[-1].child if state.steps else state.base
        manifest = course.parent.manifest
        if course.parent.digest == last:
            return state
        self._folder.keep_manifest(manifest)
        config = self._config
        if config.publish_states:  # who repeats the step needs its initial state and its parent
            shelf = self._folder.open_shelf()
            for line in publish_step(shelf, config.steps, manifest, with_state=True):
                self._report(line)
            publish_checkpoint(shelf, course.parent.folder, manifest.digest)
        steps = (*state.steps, MadeStep(manifest.step, course.parent.digest))
        self.state = replace(state, steps=steps)
        self._folder.save(self.state)
        return self.state

    # --- its child

    def _name_child(self, course: C, state: RoundState, of: Round, head: int) -> NextThing:
        """Make the child, and commit to it on chain from the opening on, unless that is done."""
        if not state.steps or self._hotkey not in of.rounds.trainers:
            return NextThing.WAIT
        if state.child == ZERO_DIGEST:
            try:
                state = self._make_child(course, state, of, in_haste=head >= of.opening)
            except FormError as error:
                self._report(f"round {of.end}: this trainer's child {error}; its steps are dropped")
                self._adopt(course, state)
                return NextThing.GO_ON
            self.state = state
            self._folder.save(state)
        if head < of.opening:
            return NextThing.WAIT
        child = Commitment(Tag.CHILD, of.end, 0, state.child, self._config.locator)
        payload = encode_commitment(child)
        if self._chain.get_commitments(head).get(self._hotkey) == payload:
            return NextThing.WAIT
        return NextThing.GO_ON if self._announce(course, payload) else NextThing.WAIT

    def _make_child(self, course: C, state: RoundState, of: Round, in_haste: bool) -> RoundState:
        """Put the child on the shelf, and return the state that names it. In haste, its success is
        not measured."""
        config, outer = self._config, self._require_outer()
        steps = [self._read_own(step) for step in state.steps]
        whole = dict(course.learner.export_state())
        form = choose_form(of.rounds)
        residual = self._folder.load_residual(state.residual)
        if residual is None:
            self._report("the last child's residual is missing: this child is made without it")
        pieces, left = form.encode(outer.masters, pick_masters(whole), residual or {})
        decoded = form.decode(outer.masters, pieces)
        base = open_checkpoint(self._checkpoints, state.base, of.parameters)
        counts: HeldOutCounts = ()
        if config.count is not None and not in_haste:
            counts = config.count(base, of.end - 1, round_masters(decoded))
        path = self._folder.write_begin(whole)
        held = path.read_bytes()
        record = ChildRecord(
            ROUND_VERSION,
            of.parameters.digest,
            of.end,
            self._hotkey,
            state.outer,
            tuple(step.record.digest for step in steps),
            digest_tensors_of(whole.items()),
            digest_tensors_of(decoded.items()),
            tuple(sha256(piece).digest() for piece in pieces),
            sha256(held).digest(),
            counts,
        )
        shelf = self._folder.open_shelf()
        if config.publish_states:
            put_pieces(shelf, [held])
        child = ChildFiles(record, base.manifest, steps, decoded)
        put_child(shelf, child, pieces, config.steps.folder)
        self._folder.write_residual(record.digest, left)
        return replace(state, child=record.digest)

    def _read_own(self, made: MadeStep) -> ChildStep:
        manifest = self._folder.load_manifest(made.child)
        step = read_step(self._config.steps.get_path(manifest.number, made.record))
        return ChildStep(step.record, step.child, manifest, read_taken(step))

    # --- the merge

    def _merge(self, course: C, state: RoundState, of: Round, head: int) -> NextThing:
        """After the deadline: show the child, publish in turn, and continue from the true
        checkpoint."""
        if self._revealed != state.child:
            reveal(self._folder.open_shelf(), self._config.store)
            self._revealed = state.child
        merging = self._merging
        if merging is None:
            merging = self._merging = self.open_merge(state, of)
        merging.gather(self._stores.list_by(merging.commitments, head), get_patience(of))
        slots = self._chain.get_commitments(head)
        published = find_published(self._chain, of, slots, head)
        if published is not None:
            merge = self._judge(merging, published)
            if merge is None:
                self._continue(course, state, merging, state.true, self._require_outer())
                self._looked_back = self._require_state().end  # it is decided
            else:
                self._take_up(course, state, merging, published, merge)
            return NextThing.GO_ON
        shortage = merging.find_shortage()
        if shortage is not None:
            return self._miss(course, state, merging, head, shortage)
        line = compute_line(of, self._chain.get_block(of.deadline).hash)
        if self._hotkey not in line or head < of.get_turn(line.index(self._hotkey)):
            return NextThing.WAIT
        if self._published == ZERO_DIGEST:
            self._published = self._publish(state, merging)
            return NextThing.GO_ON  # it took long: another may have published
        payload = encode_commitment(
            Commitment(Tag.CHECKPOINT, of.end, 0, self._published, self._config.locator)
        )
        if slots.get(self._hotkey) == payload:
            return NextThing.WAIT
        return NextThing.GO_ON if self._announce(course, payload) else NextThing.WAIT

    def open_merge(self, state: RoundState, of: Round) -> RoundMerge:
        """A round whose deadline has passed, before its children are read."""
        slots = self._chain.get_commitments(of.deadline)
        contexts = {}
        for window in of.windows:
            context = self._get_context(window)
            if context is not None and self._find_unfit(context, state) is None:
                contexts[window] = context
        parent = self._checkpoints.get(state.base).manifest
        facts = RoundFacts(of, self._require_outer(), state.outer, parent, contexts)
        folder = self._config.folder / "children"
        return RoundMerge(facts, find_children(of, slots), state.base, folder)

    def _publish(self, state: RoundState, merging: RoundMerge) -> bytes:
        """Measure the merged checkpoint, and upload it with everything it was merged from."""
        of, config, merge = merging.facts.of, self._config, merging.merge()
        base = open_checkpoint(self._checkpoints, state.base, of.parameters)
        counts = () if config.count is None else config.count(base, of.end)
        record = MergeRecord(
            ROUND_VERSION,
            f"assay {version('assay')}",
            of.parameters.digest,
            of.end,
            state.base,
            merge.children,
            state.outer,
            merge.after,
            merge.tensors,
            self._hotkey,
        )
        levels = compute_next_levels(of.parameters, base.manifest.levels, counts)
        manifest = self._checkpoints.publish(
            base, merge.weights, record.digest, levels, counts, of.end
        )
        made = open_checkpoint(self._checkpoints, manifest.digest, of.parameters)
        for child in merging.gathered.values():
            if child.files is not None and child.pieces is not None:
                put_child(config.store, child.files, read_pieces(child.pieces), merging.folder)
        put_outer(config.store, merge.outer, merge.after)
        put_record(config.store, record)
        publish_checkpoint(config.store, made.folder, made.digest)
        return made.digest

    def _miss(
        self, course: C, state: RoundState, merging: RoundMerge, head: int, shortage: str
    ) -> NextThing:
        """Publish nothing without a majority of the children. If nobody has published when all
        turns are over, continue from the round's parent."""
        of = merging.facts.of
        if head < of.turns_end:
            if self._short != of.end:
                self._short = of.end
                self._report(
                    f"round {of.end}: {shortage}; this trainer publishes nothing unless it finds "
                    "more of them"
                )
            return NextThing.WAIT
        self._report(
            f"round {of.end} is lost: {shortage}, and nobody published its checkpoint; this "
            "trainer continues from the round's parent"
        )
        self._continue(course, state, merging, state.true, self._require_outer())
        self._anchor(course, of)
        return NextThing.GO_ON

    def _look_back(self, course: C, state: RoundState, of: Round) -> bool:
        """Take up a true checkpoint of the round before, if this trainer gave that round up and a
        checkpoint was published later. None counts after this round's opening."""
        start = of.windows.start
        if start <= of.parameters.start.window or state.true[-1].number >= start:
            return False
        earlier = replace(state, end=start, steps=(), child=ZERO_DIGEST)
        before = self._get_round(earlier)
        try:
            slots = self._chain.get_commitments(of.opening)
            published = find_published(self._chain, before, slots, of.opening)
            if published is None:
                return False
            merging = self.open_merge(earlier, before)
        except ForgottenError:
            return False
        merge = self._judge(merging, published)
        if merge is None:
            merging.forget()
            return False
        self._take_up(course, earlier, merging, published, merge)
        return True

    def _judge(self, merging: RoundMerge, published: Commitment) -> Merge | None:
        """The round's merge if the published checkpoint is true; else None, and a report."""
        of = merging.facts.of
        fault, merge = judge_published(
            published,
            merging,
            self._stores.list_with(published.locator, self._chain.get_head()),
            self._checkpoints,
            self._config.folder / "children",
        )
        if fault is not None:
            self._report(
                f"checkpoint {of.end} ({published.digest.hex()[:16]}…) differs from the "
                f"round's result: {fault}; it is in force until the next round's, and this trainer "
                "continues from the round's parent"
            )
        for line in merging.list_left_out(merge):
            self._report(f"round {of.end}: {line}")
        return merge if fault is None else None

    def _take_up(
        self, course: C, state: RoundState, merging: RoundMerge, published: Commitment, merge: Merge
    ) -> None:
        """Continue from a true checkpoint."""
        of = merging.facts.of
        true = (*state.true, TrueCheckpoint(published.digest, of.end))[-TRUE_MAX:]
        self._continue(course, state, merging, true, merge.outer)
        self._anchor(course, of)

    def _continue(
        self,
        course: C,
        state: RoundState,
        merging: RoundMerge,
        true: tuple[TrueCheckpoint, ...],
        outer: OuterState,
    ) -> None:
        """Begin the next round with the newest true checkpoint."""
        of, base = merging.facts.of, true[-1].digest
        root = compute_outer_root(outer)
        end = of.end + (self._history.get(of.end).rounds or of.rounds).windows
        merging.forget()
        # from the child that was shown; one that is made again in its round adds the same residual
        residual = state.residual if state.child == ZERO_DIGEST else state.child
        new = RoundState(state.parameters, end, base, root, (), ZERO_DIGEST, residual, true)
        self._folder.save(new, outer)
        self.state, self._outer, self._merging = new, outer, None
        # the round's own stay: a checkpoint of a round that was given up can still come
        self._contexts = {w: c for w, c in self._contexts.items() if w >= of.windows.start}
        self._published = ZERO_DIGEST
        course.window = max(course.window, of.end)
        self._adopt(course, new)

    def _anchor(self, course: C, of: Round) -> None:
        """Let identity's trainer name the parent that it continues from: it is in force when no
        round's checkpoint is."""
        if self._hotkey != of.parameters.identity.trainer:
            return
        base = course.parent
        anchor = Commitment(
            Tag.CHECKPOINT, base.manifest.number, 0, base.digest, self._config.locator
        )
        publish_checkpoint(self._config.store, base.folder, base.digest)
        self._announce(course, encode_commitment(anchor))

    # --- lookups

    def _find_unfit(self, context: Context, state: RoundState) -> str | None:
        of = self._get_round(state)
        numbers = {true.digest: true.number for true in state.true}
        number = numbers.get(context.checkpoint)
        if number is None:
            return "its rollouts are of a checkpoint that differs from its round's result"
        if not is_fresh(of, numbers[state.base], number):
            return f"its rollouts are of checkpoint {number}, too old for this round"
        return None

    def _get_context(self, window: int) -> Context | None:
        if window not in self._contexts:
            context = self._config.get_context(self._history.get(window), window)
            if context is None:
                return None
            self._contexts[window] = context
        return self._contexts[window]

    def _get_round(self, state: RoundState) -> Round:
        return find_round(self._history.get(state.end - 1), state.end - 1)

    def _require_state(self) -> RoundState:
        if self.state is None:
            raise RuntimeError("a round is asked for before it began")
        return self.state

    def _require_outer(self) -> OuterState:
        if self._outer is None:
            raise RuntimeError("a round's state is asked for before it began")
        return self._outer
