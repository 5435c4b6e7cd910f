"""The keeper of a trainer's rounds: begin at the parent, learn from its share, name a child on
chain, show it after the deadline, merge, continue. `course` has the states and what follows from
each.

The trainer's program learns from windows by ordinary steps. Between two windows it asks the keeper
what to do next (`advance`), and does that with its own course. The keeper does not choose a step's
groups; `find_unfit` only says why a window's groups may not be used.

The keeper trusts no published checkpoint: it compares each with its own merge (`published.py`).
"""

from collections.abc import Callable
from dataclasses import replace

from assay.artifacts.checkpoints.folder import CheckpointFolder, open_checkpoint
from assay.artifacts.ports import StoreFinder
from assay.inference.checkpoint import Checkpoint
from assay.network.chain.errors import ForgottenError
from assay.network.chain.ports import BlockReader
from assay.protocol.amendment import ParameterHistory
from assay.protocol.commitment import Commitment, Tag, encode_commitment
from assay.protocol.context import Context
from assay.protocol.parameters import Parameters
from assay.protocol.window import Phase, compute_block, compute_window
from assay.rounds.calendar import Round, compute_line, compute_share, find_rounds, has_pause
from assay.rounds.child_store import reveal
from assay.rounds.child_verdict import RoundFacts, is_fresh
from assay.rounds.config import RoundConfig
from assay.rounds.course import (
    Announce,
    Command,
    ContinueFrom,
    Learning,
    Merging,
    Named,
    NextThing,
    Published,
    RoundCourse,
    RoundEvent,
    RoundPlace,
)
from assay.rounds.difference_form import FormError
from assay.rounds.folder import TRUE_MAX, MadeStep, RoundFolder, TrueCheckpoint
from assay.rounds.in_force import find_published
from assay.rounds.making import keep_step, make_child, publish_merge
from assay.rounds.merging import Merge, RoundMerge, find_children
from assay.rounds.places import RoundPlaces
from assay.rounds.published import get_patience, judge_published
from assay.rounds.trainer_stores import TrainerStores


class RoundKeeper:
    """One trainer's rounds.

    Args:
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
        report: Callable[[str], None],
    ) -> None:
        self._hotkey, self._history, self._chain = hotkey, history, chain
        self._checkpoints, self._config, self._report = checkpoints, config, report
        self._stores = TrainerStores(hotkey, history, chain, stores, config.store)
        self._folder = RoundFolder(config.folder)
        self._places = RoundPlaces(
            hotkey, history, chain, checkpoints, self._stores, self._folder, config
        )
        self._contexts: dict[int, Context] = {}
        #: the end of the round in which it has looked for the checkpoint of the round before
        self._looked_back: int | None = None

    @property
    def place(self) -> RoundPlace | None:
        """Return where it stands, None before the first look."""
        return self._places.place

    def find_rounds(self, window: int) -> Parameters | None:
        """The parameters of a window, if they have rounds."""
        return find_rounds(self._history, window)

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
        if self.place is None:
            return "its round has not begun here"
        return self._find_unfit(context, self.place)

    def advance(self, course: RoundCourse) -> Command:
        """Do what is due between two windows, and return what the trainer does next."""
        place = self._places.place or self._places.resume()
        if place is None:
            return self._places.begin(course, course.window)
        start = self._history.get(course.window).start
        # an amendment names where to begin anew, or rounds ended since and begin again
        if start.number > place.true[-1].number or has_pause(
            self._history, place.end, start.window
        ):
            return self._places.begin(course, course.window, RoundEvent.AMENDED)
        if _is_elsewhere(course, place):
            return self._places.restart(course, RoundEvent.MISLAID, place.beginning)
        if course.parent.digest != place.last:
            place = self._note_step(course.parent, place)
        of, head = self._places.get_round(place), self._chain.get_head()
        is_early = course.window < of.end and head < of.deadline - of.rounds.child_blocks // 2
        if is_early and isinstance(place.stage, Learning):
            return NextThing.LEARN
        if head >= of.opening and self._looked_back != of.end:
            late = self._look_back(course, place, of)
            self._looked_back = of.end
            if late is not None:
                return late
        if head < of.deadline:
            return self._name_child(course, place, of, head)
        try:
            return self._merge(course, place, of, head)
        except ForgottenError:
            self._report(
                f"round {of.end}: the nodes have forgotten its deadline's state, so this trainer "
                "begins anew with the checkpoint in force"
            )
            window = max(course.window, compute_window(of.parameters.timing, head))
            return self._places.begin(course, window, RoundEvent.FORGOTTEN)

    def open_merge(self, place: RoundPlace, of: Round) -> RoundMerge:
        """A round whose deadline has passed, before its children are read."""
        slots = self._chain.get_commitments(of.deadline)
        contexts = {}
        for window in of.windows:
            context = self._get_context(window)
            if context is not None and self._find_unfit(context, place) is None:
                contexts[window] = context
        parent = self._checkpoints.get_outline(place.base).manifest
        facts = RoundFacts(of, place.outer, place.root, parent, contexts)
        return RoundMerge(facts, find_children(of, slots), place.base, self._config.children)

    def _note_step(self, made: Checkpoint, place: RoundPlace) -> RoundPlace:
        """Add the step that the course has taken since."""
        keep_step(made, self._folder, self._config, self._report)
        steps = (*place.steps, MadeStep(made.manifest.step, made.digest))
        return self._places.enter(RoundEvent.STEPPED, replace(place, steps=steps))

    # --- its child

    def _name_child(self, course: RoundCourse, place: RoundPlace, of: Round, head: int) -> Command:
        """Make the child, and commit to it on chain from the opening on, unless that is done."""
        if not place.steps or self._hotkey not in of.rounds.trainers:
            return NextThing.WAIT
        if isinstance(place.stage, Learning):
            try:
                child = self._make_child(course, place, of, in_haste=head >= of.opening)
            except FormError as error:
                line = f"this trainer's worker update {error}; its steps are dropped"
                self._report(f"round {of.end}: {line}")
                return self._places.restart(course, RoundEvent.CHILD_FAILED, place.beginning)
            place = self._places.enter(RoundEvent.CHILD_MADE, replace(place, stage=Named(child)))
        if head < of.opening or not isinstance(place.stage, Named):
            return NextThing.WAIT
        child = place.stage.child
        return self._announce(Commitment(Tag.CHILD, of.end, 0, child, self._config.locator), head)

    def _make_child(
        self, course: RoundCourse, place: RoundPlace, of: Round, *, in_haste: bool
    ) -> bytes:
        return make_child(
            self._hotkey,
            place,
            of,
            open_checkpoint(self._checkpoints, place.base, of.parameters),
            course.learner,
            self._folder,
            self._config,
            in_haste=in_haste,
            report=self._report,
        )

    def _announce(self, commitment: Commitment, head: int) -> Command:
        payload = encode_commitment(commitment)
        if self._chain.get_commitments(head).get(self._hotkey) == payload:
            return NextThing.WAIT
        return Announce(payload)

    # --- the merge

    def _show(self, place: RoundPlace, of: Round) -> RoundPlace:
        """Show the child, and open the merge."""
        if place.child is not None:
            reveal(self._folder.open_shelf(), self._config.store)
        stage = Merging(place.child, self.open_merge(place, of))
        return self._places.enter(RoundEvent.DEADLINE, replace(place, stage=stage))

    def _merge(self, course: RoundCourse, place: RoundPlace, of: Round, head: int) -> Command:
        """After the deadline: publish in turn, and continue from the true checkpoint."""
        if isinstance(place.stage, Learning | Named):
            place = self._show(place, of)
        stage = place.stage
        assert isinstance(stage, Merging | Published)
        merging = stage.merging
        merging.gather(self._stores.list_by(merging.commitments, head), get_patience(of))
        slots = self._chain.get_commitments(head)
        published = find_published(self._chain, of, slots, head)
        if published is not None:
            merge = self._judge(merging, published)
            if merge is not None:
                return self._take_up(course, RoundEvent.TRUE, place, merging, published, merge)
            command = self._go_on(course, RoundEvent.FALSE, place, merging)
            self._looked_back = self._places.find_next_end(of)  # it is decided
            return command
        if isinstance(stage, Merging):
            shortage = merging.find_shortage()
            if shortage is not None:
                return self._miss(course, place, stage, head, shortage)
            line = compute_line(of, self._chain.get_block(of.deadline).hash)
            if self._hotkey not in line or head < of.get_turn(line.index(self._hotkey)):
                return NextThing.WAIT
            base = open_checkpoint(self._checkpoints, place.base, of.parameters)
            made = publish_merge(
                self._hotkey, place, merging, base, self._checkpoints, self._config
            )
            stage = Published(place.child, merging, made)
            self._places.enter(RoundEvent.IN_TURN, replace(place, stage=stage))
            return NextThing.GO_ON  # it took long: another may have published
        made = stage.checkpoint
        return self._announce(
            Commitment(Tag.CHECKPOINT, of.end, 0, made, self._config.locator), head
        )

    def _miss(
        self, course: RoundCourse, place: RoundPlace, stage: Merging, head: int, shortage: str
    ) -> Command:
        """Publish nothing without a majority of the children. If nobody has published when all
        turns are over, continue from the round's parent."""
        of = stage.merging.facts.of
        if head < of.turns_end:
            if not stage.is_short:
                self._places.enter(
                    RoundEvent.SHORT, replace(place, stage=replace(stage, is_short=True))
                )
                self._report(
                    f"round {of.end}: {shortage}; this trainer publishes nothing unless it finds "
                    "more of them"
                )
            return NextThing.WAIT
        self._report(
            f"round {of.end} is lost: {shortage}, and nobody published its checkpoint; this "
            "trainer continues from the round's parent"
        )
        return self._places.anchor(of, self._go_on(course, RoundEvent.LOST, place, stage.merging))

    def _look_back(self, course: RoundCourse, place: RoundPlace, of: Round) -> ContinueFrom | None:
        """Take up a true checkpoint of the round before, if this trainer gave that round up and a
        checkpoint was published later. None counts after this round's opening."""
        start = of.windows.start
        if start <= of.parameters.start.window or place.true[-1].number >= start:
            return None
        earlier = replace(place.beginning, end=start)
        before = self._places.get_round(earlier)
        try:
            slots = self._chain.get_commitments(of.opening)
            published = find_published(self._chain, before, slots, of.opening)
            if published is None:
                return None
            merging = self.open_merge(earlier, before)
        except ForgottenError:
            return None
        merge = self._judge(merging, published)
        if merge is None:
            merging.forget()
            return None
        return self._take_up(course, RoundEvent.LATE, earlier, merging, published, merge)

    def _judge(self, merging: RoundMerge, published: Commitment) -> Merge | None:
        """The round's merge if the published checkpoint is true; else None, and a report."""
        of = merging.facts.of
        fault, merge = judge_published(
            published,
            merging,
            self._stores.list_with(published.locator, self._chain.get_head()),
            self._checkpoints,
            self._config.children,
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
        self,
        course: RoundCourse,
        event: RoundEvent,
        place: RoundPlace,
        merging: RoundMerge,
        published: Commitment,
        merge: Merge,
    ) -> ContinueFrom:
        """Continue from a true checkpoint."""
        of = merging.facts.of
        true = (*place.true, TrueCheckpoint(published.digest, of.end))[-TRUE_MAX:]
        merged = replace(place, true=true, outer=merge.outer)
        return self._places.anchor(of, self._go_on(course, event, merged, merging))

    def _go_on(
        self, course: RoundCourse, event: RoundEvent, place: RoundPlace, merging: RoundMerge
    ) -> ContinueFrom:
        """Begin the next round."""
        command = self._places.go_on(course, event, place, merging)
        # the round's own stay: a checkpoint of a round that was given up can still come
        start = merging.facts.of.windows.start
        self._contexts = {w: c for w, c in self._contexts.items() if w >= start}
        return command

    # --- lookups

    def _find_unfit(self, context: Context, place: RoundPlace) -> str | None:
        of = self._places.get_round(place)
        numbers = {true.digest: true.number for true in place.true}
        number = numbers.get(context.checkpoint)
        if number is None:
            return "its rollouts are of a checkpoint that differs from its round's result"
        if not is_fresh(of, numbers[place.base], number):
            return f"its rollouts are of checkpoint {number}, too old for this round"
        return None

    def _get_context(self, window: int) -> Context | None:
        if window not in self._contexts:
            context = self._config.get_context(self._history.get(window), window)
            if context is None:
                return None
            self._contexts[window] = context
        return self._contexts[window]


def _is_elsewhere(course: RoundCourse, place: RoundPlace) -> bool:
    """Whether the course was started anew, so that it does not continue the round."""
    parent = course.parent
    if parent.digest == place.last:
        return not course.learned
    return parent.manifest.parent != place.last or parent.manifest.number > place.end
