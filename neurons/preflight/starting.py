"""The brief checks of a program that starts. They find what breaks unnoticed."""

from assay.network.store.base import ObjectStore
from assay.neurons.preflight.examination import PreflightInputs, warn_briefly
from assay.neurons.program.neuron import NeuronSession
from assay.session.resources import now_ms


def warn_at_start(
    session: NeuronSession,
    role: str,
    store: ObjectStore | None = None,
    locator: str = "",
    proposal_tries: int = 0,
) -> None:
    """Log a line for each problem.

    Args:
        store: for writing, with its locator; None: there is none.
        proposal_tries: of a trainer, see `StepChoice`.
    """
    around = PreflightInputs(
        role=role,
        folder=session.folder,
        groups_per_step=0,
        hotkey=session.account.hotkey,
        chain=session.chain,
        parameters=session.parameters,
        followed=session.followed,
        relays=session.beacons.check,
        store=store,
        proposal_tries=proposal_tries,
        shown=None if store is None else session.sources.stores.get(locator),
    )
    warn_briefly(around, now_ms())
