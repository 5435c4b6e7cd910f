"""A return to a milestone is verified as what it is, and steps behind one repeat bit for bit."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from shutil import copytree
from typing import Any

import pytest
import torch

from assay.artifacts.checkpoints.folder import CheckpointFolder
from assay.artifacts.checkpoints.publish import publish_checkpoint
from assay.artifacts.steps.folder import Step, StepFolder, read_step, read_step_groups
from assay.artifacts.steps.request import StepRequest
from assay.artifacts.steps.returns import Return, get_return_path, keep_return, read_return
from assay.audit.provenance.behind_returns import find_across, find_false_beginning
from assay.audit.provenance.reexecution import reexecute
from assay.audit.provenance.return_check import check_return
from assay.network.files import write_json
from assay.network.store.folder import open_folder
from assay.protocol.encoding import to_json
from assay.protocol.gate import Outcome
from assay.protocol.manifest import Manifest
from assay.training import Learner
from tests.adversarial.test_courses_behind_a_milestone import AT_ONCE, Living


@dataclass
class Returned:
    """A network whose trainer returned to its first checkpoint, and learned again behind it."""

    living: Living
    manifest: Manifest  # of the return
    after: Manifest  # of the step behind it

    @property
    def made(self) -> Return:
        number, digest = self.manifest.number, self.manifest.step
        return read_return(get_return_path(self.living.steps, number, digest))

    @property
    def step(self) -> Step:
        return read_step(self.living.steps.get_path(self.after.number, self.after.step))

    @property
    def models(self) -> CheckpointFolder:
        return CheckpointFolder(self.living.world.folder / "models")


@pytest.fixture(scope="module")
def returned(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Returned]:
    torch.set_num_threads(1)
    living = Living(tmp_path_factory.mktemp("returned"), error_worse=AT_ONCE)
    honest = Learner.bf16_state

    def spoil(learner: Learner) -> dict[str, torch.Tensor]:
        state = honest(learner)
        if learner.step == 1:  # flat weights answer nothing rightly
            for weight in learner.model.parameters():
                weight.data.mul_(0.2)
            state = honest(learner)
        return state

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Learner, "bf16_state", spoil)
        manifest = living.live(lambda one: one.course.outcome is Outcome.RETURN)
    after = living.live(lambda one: one.number == manifest.number + 1)
    living.live(lambda one: one.number > after.number)  # so that it is uploaded
    yield Returned(living, manifest, after)
    living.trainer.close()


def test_an_honest_return_is_verified_as_one(returned: Returned) -> None:
    comparison = check_return(returned.made, returned.models)
    assert comparison.equal, comparison.detail
    number = returned.manifest.number
    assert comparison.detail == (
        f"checkpoint {number} is a return: milestone 0 again; nothing was learned"
    )
    assert "moments are new" in comparison.remarks[0]


def test_a_step_behind_a_return_repeats(returned: Returned) -> None:
    comparison = reexecute(returned.step, returned.models)
    assert comparison.equal, comparison.detail
    assert not comparison.remarks


def test_a_stranger_fetches_a_return_and_the_step_behind_it(
    returned: Returned, tmp_path: Path
) -> None:
    folder = returned.living.folder
    rest = folder / "rest"
    first = returned.models.get(returned.manifest.course.milestone)
    publish_checkpoint(open_folder(rest), first.folder, first.digest)
    stores = ((folder / "published").as_uri(), rest.as_uri())
    made, models = StepRequest(returned.manifest.digest.hex(), None, stores, tmp_path).open_made()
    assert isinstance(made, Return)
    assert made.record == returned.made.record
    assert check_return(made, CheckpointFolder(models)).equal
    step, models = StepRequest(returned.after.digest.hex(), None, stores, tmp_path).open_made()
    assert isinstance(step, Step)
    assert find_false_beginning(step, returned.manifest) == (None, ())


@pytest.mark.parametrize("name", ["tensors", "milestone", "parent", "number"])
def test_a_return_s_record_that_is_not_its_checkpoint_s_is_named(
    returned: Returned, name: str
) -> None:
    honest = returned.made
    values = {
        "tensors": b"t" * 32,
        "milestone": returned.manifest.parent,
        "parent": honest.record.milestone,
        "number": honest.record.number + 1,
    }
    lie = replace(honest, record=replace(honest.record, **{name: values[name]}))
    comparison = check_return(lie, returned.models)
    assert not comparison.equal
    assert "names another record" in comparison.detail


def test_a_return_that_carries_other_tensors_is_named(returned: Returned, tmp_path: Path) -> None:
    """Its own record says so, too: then its milestone does not."""
    honest, models = returned.made, returned.living.world.folder / "models"
    record = replace(honest.record, tensors=returned.after.tensors)
    lie = replace(returned.manifest, tensors=returned.after.tensors, step=record.digest)
    folder = models / lie.digest.hex()
    copytree(models / returned.after.digest.hex(), folder)
    write_json(folder / "manifest.json", to_json(lie))
    made = replace(honest, record=record, child=lie.digest)
    comparison = check_return(made, returned.models)
    assert not comparison.equal
    assert comparison.detail == "its record has another tensors"


def test_a_state_that_is_neither_the_milestone_s_nor_new_is_named(
    returned: Returned, tmp_path: Path
) -> None:
    honest, state = returned.made, b"o" * 32
    record = replace(honest.record, optimiser=state)
    step = replace(returned.step.record, optimiser_before=state)
    fault, _ = find_false_beginning(replace(returned.step, record=step), returned.manifest)
    assert fault == "it begins with another optimiser's state than its return names"
    # a return and the step behind it that lie alike
    models = CheckpointFolder(tmp_path / "models")
    for digest in (honest.child, record.milestone, record.parent):
        models.add(returned.living.world.folder / "models" / digest.hex(), digest)
    lie = replace(returned.manifest, step=record.digest)
    folder = tmp_path / "models" / lie.digest.hex()
    copytree(models.get(honest.child).folder, folder)
    write_json(folder / "manifest.json", to_json(lie))
    steps = StepFolder(tmp_path / "steps")
    copytree(returned.living.steps.folder / "rules", steps.folder / "rules")
    keep_return(steps, record, lie.digest)
    steps.keep_record(replace(step, parent=lie.digest), b"c" * 32)
    made = read_return(get_return_path(steps, record.number, record.digest))
    comparison = check_return(made, models)
    assert not comparison.equal
    wrong = "it goes on neither with the state behind its milestone nor with a new one"
    assert comparison.detail == wrong


def test_a_step_that_learns_from_given_up_rollouts_is_named(returned: Returned) -> None:
    groups, models = read_step_groups(returned.step), returned.models
    given_up: Any = models.get_outline(returned.manifest.parent)
    asked = groups, returned.manifest, lambda one: given_up, models.get_outline
    fault, _ = find_across(*asked, returned.living.gate)
    assert fault is not None
    assert fault.endswith(f"which return {returned.manifest.number} has given up")

    def lack(digest: bytes) -> Any:
        raise AssertionError(digest)

    honest: Any = models.get_outline(returned.manifest.digest)
    assert find_across(
        groups, returned.manifest, lambda one: honest, lack, returned.living.gate
    ) == (None, ())
