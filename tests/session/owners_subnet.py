"""A chain whose owner publishes anything, and a store that hides some of it."""

from dataclasses import dataclass, field, replace
from pathlib import Path

from assay.artifacts.discovery import publish_parameters
from assay.lab.simulator import SimulatedChain
from assay.network.store.base import ObjectStore, StoreError
from assay.network.store.folder import FolderStore
from assay.protocol.amendment import compute_decision_block
from assay.protocol.commitment import Commitment, Tag, encode_commitment
from assay.protocol.parameters import Parameters
from assay.session.parameter_follower import ParameterFollower
from tests.adversarial.mortal import HOTKEYS, TIMING
from tests.amended_parameters import amend

LOCATOR = "https://owner.example"
LENGTH, NOTICE = TIMING.window_blocks, TIMING.notice_windows


@dataclass
class Subnet:
    """A chain whose owner publishes anything."""

    folder: Path
    chain: SimulatedChain
    first: Parameters
    store: FolderStore
    away: set[str] = field(default_factory=set)  # objects that are not served

    def open(self, locator: str) -> ObjectStore:
        if locator != LOCATOR:
            raise StoreError(f"{locator} leads nowhere")
        return Hidden(self.store.root, self.away)

    def follow(self, program: str = "program") -> ParameterFollower:
        return ParameterFollower(self.chain, self.open, self.folder / program)

    def say(
        self, parameters: Parameters, *, number: int | None = None, by: bytes = HOTKEYS["owner"]
    ) -> Parameters:
        """Publishes parameters and names them in a hotkey's slot; the next block holds it."""
        publish_parameters(self.store, parameters)
        window = parameters.start.window if number is None else number
        slot = Commitment(Tag.PARAMETERS, window, 0, parameters.digest, LOCATOR)
        self.chain.set_commitment(by, encode_commitment(slot))
        self.chain.mint()
        return parameters

    def mint_to(self, block: int) -> None:
        while self.chain.get_head() < block:
            self.chain.mint()

    def decide(self, window: int) -> None:
        """Mints to the block that decides an amendment's first window."""
        self.mint_to(compute_decision_block(self.first, window))


class Hidden(FolderStore):
    """A store that does not have some of its objects just now."""

    def __init__(self, root: Path, away: set[str]) -> None:
        super().__init__(root)
        self._away = away

    def get(self, name: str, limit: int) -> bytes | None:
        return None if name in self._away else super().get(name, limit)


def vary(before: Parameters, window: int, share: int = 1) -> Parameters:
    return amend(before, window, work=replace(before.work, prompt_share=share))
