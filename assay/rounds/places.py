"""The places of a trainer in its rounds, as `ROUND_COURSE` lets them follow, each on disk first.

Where a round begins, the trainer's course has to follow: `ContinueFrom` is what it goes on with.
"""

from dataclasses import replace

from assay.artifacts.checkpoints.folder import CheckpointFolder, open_checkpoint
from assay.artifacts.checkpoints.publish import publish_checkpoint
from assay.network.chain.ports import BlockReader
from assay.protocol.amendment import ParameterHistory
from assay.protocol.commitment import Commitment, Tag, encode_commitment
from assay.rounds.beginning import find_first_end, find_outer, find_parent
from assay.rounds.calendar import Round, find_round, find_rounds
from assay.rounds.config import RoundConfig
from assay.rounds.course import ROUND_COURSE, ContinueFrom, RoundCourse, RoundEvent, RoundPlace
from assay.rounds.folder import RoundFolder, TrueCheckpoint
from assay.rounds.merging import RoundMerge
from assay.rounds.outer_step import OuterState, compute_outer_root
from assay.rounds.trainer_stores import TrainerStores
from assay.training import name_masters, name_step


class RoundPlaces:
    """One trainer's places, one after the other.

    Attributes:
        place: the current one; None before the first look.

    Raises (all methods): as `RoundKeeper`.
    """

    def __init__(
        self,
        hotkey: bytes,
        history: ParameterHistory,
        chain: BlockReader,
        checkpoints: CheckpointFolder,
        stores: TrainerStores,
        folder: RoundFolder,
        config: RoundConfig,
    ) -> None:
        self._hotkey, self._history, self._chain = hotkey, history, chain
        self._checkpoints, self._stores = checkpoints, stores
        self._folder, self._config = folder, config
        self.place: RoundPlace | None = None

    def enter(
        self, event: RoundEvent | None, place: RoundPlace, outer: OuterState | None = None
    ) -> RoundPlace:
        """Take a place, once its folder has it. `event`: None at the beginning; `outer`: its outer
        state, if the folder has another."""
        before = self.place
        if before is not None and event is not None:
            follows = ROUND_COURSE[type(before.stage)][event]
            if follows is not type(place.stage):
                raise ValueError(f"{follows.name} follows, not {place.stage.name}: {event}")
        state = place.to_state()
        if outer is not None or before is None or state != before.to_state():
            self._folder.save(state, outer)
        self.place = place
        return place

    def resume(self) -> RoundPlace | None:
        """The folder's place, if its round can go on."""
        stored = self._folder.load(self._history.first.digest)
        if stored is None or find_rounds(self._history, stored.end - 1) is None:
            return None
        outer = self._folder.load_outer(stored.outer)
        if outer is not None:
            self.place = RoundPlace.from_state(stored, outer)
        return self.place

    def begin(
        self, course: RoundCourse, window: int, event: RoundEvent | None = None
    ) -> ContinueFrom:
        """Begin with the checkpoint in force, and learn from this window at the earliest."""
        parameters, head = self._history.get(window), self._chain.get_head()
        parent = find_parent(self._chain, parameters, head)
        base = open_checkpoint(self._checkpoints, parent.digest, parameters)
        stores = self._stores.list_at(head)
        outer = find_outer(base, stores, self._config.children)
        end = find_first_end(parameters, parent, head)
        steps = self._config.count_steps(base, course.learner.step or None, stores)
        place = RoundPlace(
            self._history.first.digest,
            end,
            base.digest,
            outer,
            compute_outer_root(outer),
            None,
            (TrueCheckpoint(base.digest, base.manifest.number),),
        )
        window = max(window, end - len(find_round(parameters, parameters.start.window).windows))
        return self.restart(course, event, place, outer, window=window, steps=steps)

    def restart(
        self,
        course: RoundCourse,
        event: RoundEvent | None,
        place: RoundPlace,
        outer: OuterState | None = None,
        *,
        window: int = 0,
        steps: int | None = None,
    ) -> ContinueFrom:
        """Take the beginning of a round. The course goes on with the outer state's masters and its
        learner's own moments. `steps`: behind it, if the learner's own count is not to be used."""
        place = self.enter(event, place, outer)
        parameters = self._history.get(place.end - 1)
        base = open_checkpoint(self._checkpoints, place.base, parameters)
        begin = dict(course.learner.export_state()) | name_masters(place.outer.masters)
        if steps is not None:
            begin |= name_step(steps)
        learner = self._folder.write_begin(begin)
        self._folder.clear_shelf()
        window = max(course.window, window)
        if parameters.rounds is not None:  # else this was the last round
            window = max(window, self.get_round(place).windows.start)
        return ContinueFrom(base, learner, window)

    def go_on(
        self, course: RoundCourse, event: RoundEvent, place: RoundPlace, merging: RoundMerge
    ) -> ContinueFrom:
        """Begin the next round with the newest true checkpoint, and the outer state there."""
        of = merging.facts.of
        merging.forget()
        new = RoundPlace(
            place.network,
            self.find_next_end(of),
            place.true[-1].digest,
            place.outer,
            compute_outer_root(place.outer),
            # from the child that was shown; one that is made again in its round adds the same
            place.child or place.residual,
            place.true,
        )
        return self.restart(course, event, new, place.outer, window=of.end)

    def anchor(self, of: Round, command: ContinueFrom) -> ContinueFrom:
        """Let identity's trainer name the parent that it continues from: it is in force when no
        round's checkpoint is."""
        if self._hotkey != of.parameters.identity.trainer:
            return command
        base, locator = command.base, self._config.locator
        publish_checkpoint(self._config.store, base.folder, base.digest)
        anchor = Commitment(Tag.CHECKPOINT, base.manifest.number, 0, base.digest, locator)
        return replace(command, payload=encode_commitment(anchor))

    def get_round(self, place: RoundPlace) -> Round:
        """The round of a place."""
        return find_round(self._history.get(place.end - 1), place.end - 1)

    def find_next_end(self, of: Round) -> int:
        """The end of the round after one."""
        return of.end + (self._history.get(of.end).rounds or of.rounds).windows
