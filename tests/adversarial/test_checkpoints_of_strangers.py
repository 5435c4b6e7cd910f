"""A trainer publishes a checkpoint whose digest is right and whose files would end programs."""

from pathlib import Path

import pytest

from assay.artifacts.database import Database
from assay.neurons.trainer.setup import TrainerConfig
from assay.neurons.trainer.trainer import Trainer
from assay.protocol.reason import Reason
from assay.protocol.window import Phase, compute_block
from assay.training import LearnConfig
from tests.adversarial.watched import Watched, publish
from tests.hostile_folders import (
    SETTINGS,
    Change,
    list_changes,
    name_another_template,
    write_changed,
    write_overflowing,
)

#: A manifest that names another template than its files have, each with its digest.
MISNAMED = "a manifest of another template"
#: Also a library's panic; a recursion of a library; an error of ours; prompts by the depth of the
#: stack.
ABOUT = (
    MISNAMED,
    "normalizer: a charsmap that is null",
    "empty special tokens",
    "no num_key_value_heads beside head_dim",
    "template: a macro of 187 levels",
)


@pytest.mark.parametrize("about", ABOUT)
def test_its_window_is_void_for_everybody_and_the_next_one_counts(
    fresh_world, tmp_path: Path, about: str
) -> None:
    """Miners, validator and trainer go on, also those that start while it is in force."""
    world = fresh_world
    none = Change(MISNAMED, SETTINGS, ())
    change = next(change for change in (*list_changes(), none) if change.about == about)
    digest = write_changed(tmp_path / "by-hand", change)
    if about == MISNAMED:
        digest = name_another_template(tmp_path / "by-hand")
    world.sources.checkpoints.add(tmp_path / "by-hand", digest)
    database = Database()
    trainer = Trainer(
        world.hotkeys["trainer"],
        world.history,
        world.sources,
        TrainerConfig(LearnConfig(epochs=1), "test:store", last_window=2),
        lambda lesson: None,
        print,
    )
    trainer.step()
    publish(world, digest)
    watched = Watched(world, database=database)
    _go_on(world, watched, trainer, 1)
    assert change.file in watched.audit(1).void
    assert watched.audit(1).missing is None

    publish(world, world.checkpoint.digest)
    again = Watched(world, database=database)  # started anew
    _go_on(world, again, trainer, 2)
    assert again.audit(2).void is None
    assert trainer.course is not None
    assert trainer.course.window > 1
    for name in ("alice", "bob"):
        assert again.audit(2).verdicts[world.hotkeys[name]].accepted


def test_weights_that_overflow_end_nobody(fresh_world, tmp_path: Path) -> None:
    """No program can tell how others compute, so the window is not void. Miners leave it, and
    everybody goes on."""
    world = fresh_world
    digest = write_overflowing(tmp_path / "by-hand")
    world.sources.checkpoints.add(tmp_path / "by-hand", digest)
    publish(world, digest)
    watched = Watched(world)
    _go_on(world, watched, None, 1, until=Phase.CHECKPOINT)
    publish(world, world.checkpoint.digest)
    _go_on(world, watched, None, 2)
    for name in ("alice", "bob"):
        assert watched.audit(1).verdicts[world.hotkeys[name]].reason is Reason.NO_COMMITMENT
        assert watched.audit(2).verdicts[world.hotkeys[name]].accepted


def _go_on(world, watched, trainer, window: int, until=Phase.VERDICT_END) -> None:
    """New blocks until the window's verdicts are final, or to another moment of it, in each of
    which everybody does all it can."""
    end = compute_block(world.parameters.timing, window, until)
    while world.chain.get_head() <= end:
        world.mint()
        while watched.validator.step():
            pass
        while trainer is not None and trainer.step():
            pass
