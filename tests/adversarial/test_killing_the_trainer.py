"""A trainer killed anywhere, robbed of its state, or with a failing chain: it publishes the same as
an undisturbed one."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from assay.artifacts.checkpoints import folder as checkpoint_folder
from assay.artifacts.checkpoints.adapter import read_adapter
from assay.artifacts.checkpoints.download import fetch_checkpoint
from assay.artifacts.checkpoints.folder import DownloadSettings
from assay.artifacts.steps import file as step_file
from assay.artifacts.steps import folder as step_folder
from assay.artifacts.steps.config import StepChoice
from assay.inference.checkpoint import load_checkpoint
from assay.inference.folder import verify_manifest
from assay.network import files
from assay.network.chain.errors import ChainError, WrongChainError
from assay.network.chain.values import STATE_BLOCKS
from assay.network.store.base import StoreError
from assay.neurons.trainer import lessons
from assay.neurons.trainer.folder import TrainerError, TrainerFolder
from assay.neurons.trainer.stages import Stage
from assay.protocol.commitment import Commitment, Tag, encode_commitment, parse_commitment
from assay.session.window_reader import BeaconError
from assay.training import Learner, Schedule, name_step, sharding
from tests.adversarial.trainer_bench import HELD, LEARNING, LOST, Bench, Calls, Killed

LOW_RANK = replace(LEARNING, lora_rank=2, learning_rate=1e-2)
#: A third of the points in each run of the tests, all of them in `make kill`.
THIRDS = [0, *(pytest.param(share, marks=pytest.mark.kill) for share in (1, 2))]


@pytest.fixture(scope="module")
def calls():
    """Every call that changes a file counts, too; judging and measuring is done once."""
    calls = Calls()
    with pytest.MonkeyPatch.context() as monkeypatch:
        for owner, name in (
            (files.os, "replace"),
            (Path, "rename"),
            (Path, "unlink"),
            (Path, "mkdir"),
            (shutil, "rmtree"),
            (shutil, "copyfile"),
            (sharding, "save_file"),
            (checkpoint_folder, "save_file"),
        ):
            monkeypatch.setattr(owner, name, count(getattr(owner, name), name, calls))
        monkeypatch.setattr(lessons.WindowReading, "judge", remember(lessons.WindowReading.judge))
        monkeypatch.setattr(
            checkpoint_folder, "measure_manifest", lambda manifest, *_, **__: manifest
        )
        yield calls


def count(original, name, calls):
    def counted(*arguments, **options):
        calls(name)
        return original(*arguments, **options)

    return counted


_JUDGED = {}


def remember(judge):
    def remembering(reading, hotkey, checkpoint, sources):
        key = reading.context.window, hotkey, checkpoint.digest
        if key not in _JUDGED:
            alone = lessons.WindowReading(reading.context, [])
            judge(alone, hotkey, checkpoint, sources)
            assert alone.groups
            alone.groups = alone.groups[:2]  # enough to learn from, and quick
            _JUDGED[key] = alone
        reading.groups += _JUDGED[key].groups

    return remembering


@pytest.fixture
def bench(world, tmp_path, calls):
    bench = Bench(world, tmp_path, calls)
    yield bench
    bench.close()


@pytest.fixture(scope="module")
def undisturbed(world, tmp_path_factory, calls):
    bench = Bench(world, tmp_path_factory.mktemp("undisturbed"), calls)
    before = len(calls.names)
    bench.run()
    bench.calls_made = calls.names[before:]
    bench.close()
    assert len(bench.published) == len(bench.lessons) == len(bench.chain.sent) == 2
    assert bench.said == []
    assert len(bench.calls_made) > 80
    return bench


def require_same(bench, undisturbed):
    assert bench.published == undisturbed.published
    assert bench.chain.slot[1] == undisturbed.chain.slot[1]
    assert bench.read_store() == undisturbed.read_store()
    assert bench.read_steps() == undisturbed.read_steps()


def kill_at(bench, due):
    bench.calls.due = len(bench.calls.names) + due
    with pytest.raises(Killed):
        bench.run()
    bench.start()
    bench.run()


@pytest.mark.parametrize("name", ["save_file", "replace", "put", "set_commitment", "beacon"])
def test_killed_when_it_first_calls(bench, undisturbed, name):
    kill_at(bench, undisturbed.calls_made.index(name) + 1)
    require_same(bench, undisturbed)


def test_killed_between_a_step_s_data_and_its_record(bench, undisturbed, monkeypatch):
    """The second step's state before is the learner's own file under another name, and has been
    named after the step: a rename to a name of the same file does nothing."""
    keep, killed = step_folder.StepFolder.keep_record, []

    def keep_unless_killed(folder, record, child):
        if record.number == 2 and not killed:
            killed.append(record)
            raise Killed
        keep(folder, record, child)

    monkeypatch.setattr(step_folder.StepFolder, "keep_record", keep_unless_killed)
    with pytest.raises(Killed):
        bench.run()
    bench.start()
    bench.run()
    require_same(bench, undisturbed)


RISING = replace(LEARNING, schedule=Schedule("cosine", 2, 5))


def test_a_scheduled_course_killed_at_ten_points(world, tmp_path, calls, undisturbed):
    """Nor does it begin its warm-up again."""
    whole, killed = (Bench(world, tmp_path / name, calls) for name in ("whole", "killed"))
    for bench in (whole, killed):
        bench.start(learning=RISING)
    whole.run()
    made = len(undisturbed.calls_made)
    for point in range(10):
        killed.calls.due = len(killed.calls.names) + made * (point + 1) // 60
        with pytest.raises(Killed):
            killed.run()
        killed.start(learning=RISING)
    killed.run()
    require_same(killed, whole)
    assert [lesson.stats.learning_rate for lesson in whole.lessons] == [0.5e-3, 1e-3]
    assert whole.published != undisturbed.published
    for bench in (whole, killed):
        bench.close()


@pytest.mark.slow
def test_killed_again_and_again(bench, undisturbed):
    """Every restart is killed, too, a little later each time."""
    for due in range(1, 200):
        bench.calls.due = len(bench.calls.names) + due
        try:
            bench.run()
            break
        except Killed:
            bench.start()
    assert due > 20
    require_same(bench, undisturbed)


@pytest.mark.slow
@pytest.mark.parametrize("share", THIRDS)
def test_a_chain_or_store_that_fails_once_at_every_call(world, tmp_path, calls, undisturbed, share):
    """The same trainer continues, reports each error, and publishes the same. One tensor's upload
    is like another's, so only every twentieth of the store's calls fails."""
    calls_made = undisturbed.calls_made
    places = [due for due, name in enumerate(calls_made, 1) if name in _ERRORS]
    stored = [due for due in places if calls_made[due - 1] in ("open", "put")]
    for due in sorted({*places} - {*stored} | {*stored[::20]})[share::3]:
        bench = Bench(world, tmp_path / str(due), calls)
        calls.due, calls.errors = len(calls.names) + due, _ERRORS
        bench.run()
        require_same(bench, undisturbed)
        bench.close()
        shutil.rmtree(tmp_path / str(due))


_ERRORS = {
    "get_head": ChainError,
    "get_block": ChainError,
    "get_members": ChainError,
    "get_commitments": ChainError,
    "set_commitment": ChainError,
    "beacon": BeaconError,
    "open": StoreError,
    "put": StoreError,
}


# --- its messages


def test_a_committed_checkpoint_can_be_fetched(bench):
    """At the moment of the commitment, a reader that knows only the store can fetch it."""
    found, commit = [], bench.chain.set_commitment

    def fetch_first(hotkey, payload):
        digest = parse_commitment(payload).digest
        folder = bench.folder / f"reader-{len(found)}"
        found.append(fetch_checkpoint([bench.store], digest, folder))
        commit(hotkey, payload)

    bench.chain.set_commitment = fetch_first
    bench.run()
    assert [load_checkpoint(f).digest for f in found] == bench.published
    assert len(found) == 2


@pytest.mark.parametrize(("outcome", "sent"), [(LOST, 3), (HELD, 2)])
def test_an_unknown_outcome_is_read_back_before_it_is_sent_again(bench, undisturbed, outcome, sent):
    bench.chain.outcomes = [outcome]
    bench.start(last_window=0)
    bench.run(window=1)
    assert len(bench.chain.sent) == sent - 1
    bench.start()
    bench.run()
    assert len(bench.chain.sent) == sent
    require_same(bench, undisturbed)


@pytest.mark.parametrize("how", ["gone", "cut", "another"])
def test_without_its_optimiser_it_says_so_and_goes_on(bench, undisturbed, how):
    bench.start(last_window=0)
    bench.run(window=1)
    (path,) = [p for p in bench.list_files("trainer") if "learner" in p.name]
    if how == "gone":
        path.unlink()
    elif how == "cut":
        path.write_bytes(path.read_bytes()[:-1_000])
    else:  # with other weights than the checkpoint's
        state = load_file(path)
        save_file({n: t + 1 if n.startswith("master") else t for n, t in state.items()}, path)
    bench.start()
    bench.run()
    assert any("fresh moments" in line for line in bench.said)
    assert [lesson.published.number for lesson in bench.lessons] == [1, 2]
    assert bench.trainer.learner.step == 2  # the place in a schedule is not lost with them
    assert len(bench.published) == 2
    assert bench.published[0] == undisturbed.published[0]
    assert bench.published[1] != undisturbed.published[1]


def test_a_first_start_in_a_running_network(bench, undisturbed, tmp_path):
    """From the checkpoint on chain, fetched, and the window of now; nothing is said twice."""
    bench.run()
    sent = len(bench.chain.sent)
    shutil.rmtree(tmp_path / "trainer")
    shutil.rmtree(tmp_path / "models")
    bench.start(fetching=DownloadSettings(lambda: [bench.store]))
    bench.step()
    assert bench.trainer.window == bench.chain.head // 12 > 1
    assert bench.trainer.course.parent.digest == undisturbed.published[1]
    assert "checkpoint 2" in bench.said[0]
    assert len(bench.chain.sent) == sent


@pytest.mark.parametrize("has_record", [True, False])
def test_another_machine_goes_on_within_the_schedule(bench, tmp_path, has_record):
    """By the step's record in the store. Without one it goes on as after the checkpoint's number,
    so that no warm-up comes again."""
    bench.start(learning=RISING)
    bench.step()
    learner = bench.trainer.learner
    learner.import_state(dict(learner.export_state()) | name_step(40))
    bench.run()
    for name in ("trainer", "steps"):
        shutil.rmtree(tmp_path / name)
    if not has_record:
        for path in bench.list_files("store"):
            if path.name == "step.json":
                path.unlink()
    bench.start(learning=RISING)
    bench.step()
    said = [line for line in bench.said if "schedule_begin" in line]
    if has_record:
        assert (bench.trainer.learner.step, said) == (42, [])
    else:
        assert bench.trainer.learner.step == 2
        assert ["how many steps are behind checkpoint 2" in line for line in said] == [True]


def test_a_checkpoint_that_cannot_be_had_yet_is_waited_for(bench, tmp_path):
    bench.run()
    shutil.rmtree(tmp_path / "trainer")
    shutil.rmtree(tmp_path / "models")
    bench.start()
    assert not bench.trainer.step()
    assert "cannot read" in bench.trainer.trouble.text
    fetch_checkpoint([bench.store], bench.published[1], tmp_path / "models")
    assert bench.trainer.step()


def test_a_folder_that_the_chain_has_left_behind(bench, tmp_path):
    """Another trainer has published since: continuing from the old state would fork the model."""
    bench.start(last_window=0)
    bench.run(window=1)
    shutil.copytree(tmp_path / "trainer", tmp_path / "kept")
    bench.start()
    bench.run()
    bench.start(folder=tmp_path / "kept")
    bench.step()
    assert "another trainer has continued" in bench.said[0]
    assert bench.trainer.course.parent.digest == bench.published[1]


def test_a_store_that_moved_is_said(bench, undisturbed):
    bench.run()
    bench.start(locator="test:moved")
    bench.run()
    last = parse_commitment(bench.chain.sent[-1])
    assert (last.digest, last.locator) == (undisturbed.published[1], "test:moved")
    assert len(bench.chain.sent) == 3


def test_a_slot_with_something_else_is_put_right(bench, world):
    """Until it is, no window has a checkpoint."""
    bench.chain.slot = -1, encode_commitment(Commitment(Tag.MINER, 0, 1, bytes(32), "x"))
    bench.step()
    bench.step()
    said = parse_commitment(bench.chain.sent[0])
    assert (said.tag, said.digest) == (Tag.CHECKPOINT, world.checkpoint.digest)


def test_windows_whose_state_every_node_has_forgotten(bench):
    bench.step()  # it stands before window 0
    bench.chain.head = STATE_BLOCKS + 10  # block 12 is remembered, block 0 is not
    bench.start()
    bench.run()
    assert ["nothing is learned from window 0" in line for line in bench.said] == [True]
    assert len(bench.published) == 1


def test_a_node_that_answers_nothing_costs_no_young_window(bench, undisturbed):
    bench.step()
    bench.chain.head = 40
    answer, bench.chain.get_block = bench.chain.get_block, None

    def refuse(number):
        raise ChainError("the node is busy")

    bench.chain.get_block = refuse
    for _ in range(50):
        assert not bench.trainer.step()
    assert bench.trainer.trouble.text == "the node is busy"
    assert bench.trainer.window == 0
    bench.chain.get_block = answer
    bench.run()
    assert bench.trainer.trouble is None
    require_same(bench, undisturbed)


def test_a_step_that_cannot_be_published_holds_up_all_others(bench, undisturbed, monkeypatch):
    """The trainer neither judges nor learns meanwhile. Nothing is lost."""
    bench.step()
    bench.chain.head = bench.world.chain.get_head()
    while not bench.lessons:
        bench.step()
    assert bench.trainer.stage is Stage.PUBLISH

    def refuse(name, data):
        raise StoreError("the store is full")

    put, made = bench.store.put, len(bench.calls.names)
    monkeypatch.setattr(bench.store, "put", refuse)
    for _ in range(50):
        assert not bench.trainer.step()
        bench.chain.head += 1
    assert (bench.trainer.stage, bench.trainer.window) == (Stage.PUBLISH, 1)
    assert bench.trainer.trouble.text == "the store is full"
    assert not {"beacon", "set_commitment", "get_members"} & set(bench.calls.names[made:])
    assert (len(bench.lessons), bench.chain.sent) == (1, [])
    monkeypatch.setattr(bench.store, "put", put)
    bench.step()
    assert (bench.trainer.stage, bench.trainer.trouble) == (Stage.OPEN, None)
    bench.run()
    require_same(bench, undisturbed)


def test_a_commitment_that_is_lost_is_sent_again_before_all_else(bench, undisturbed):
    """While a window's files are judged, too, and these are judged on."""
    bench.step()
    bench.chain.outcomes, bench.chain.head = [LOST], bench.world.chain.get_head()
    while not (bench.chain.sent and bench.trainer.stage is Stage.JUDGE):
        bench.step()
    judged = len(vars(bench.trainer)["_windows"].reading.waiting)
    bench.chain.head += 12
    while len(bench.chain.sent) == 1:
        bench.step()
    assert bench.trainer.stage is Stage.JUDGE
    assert 0 < len(vars(bench.trainer)["_windows"].reading.waiting) in (judged, judged - 1)
    bench.run()
    require_same(bench, undisturbed)


def test_files_that_are_gone_are_said(bench, monkeypatch):
    """The trainer looks for them at a few blocks, and delays no step for longer."""
    looked = []

    def withhold(reading, hotkey, *_):
        looked.append((reading.context.window, hotkey, bench.chain.head))
        reading.withheld.append(hotkey)

    monkeypatch.setattr(lessons.WindowReading, "judge", withhold)
    bench.run()
    assert ["2 of its files cannot be fetched" in line for line in bench.said] == [True, True]
    assert bench.published == []
    assert len(set(looked)) == len(looked) == 2 * 2 * lessons.LOOKS


def test_a_store_that_is_away_for_a_moment_costs_nothing(bench, undisturbed, monkeypatch):
    """Each window's first file comes at the second look: the step is as if it had come at the
    first."""
    judge, away = lessons.WindowReading.judge, set()

    def look(reading, hotkey, checkpoint, sources):
        if reading.context.window in away:
            judge(reading, hotkey, checkpoint, sources)
        else:
            away.add(reading.context.window)
            reading.withheld.append(hotkey)

    monkeypatch.setattr(lessons.WindowReading, "judge", look)
    bench.run()
    assert away == {0, 1}
    assert bench.said == []
    require_same(bench, undisturbed)


def test_another_chain_ends_it(bench):
    def answer():
        raise WrongChainError("this is another chain")

    bench.chain.get_head = answer
    with pytest.raises(WrongChainError):
        bench.trainer.step()


def test_a_step_that_nobody_could_use_is_left_out(bench, undisturbed, monkeypatch):
    """Weights that are no numbers: window 0 is taken back, moments and all, and said."""
    state, spoilt = Learner.bf16_state, []

    def spoil(self):
        weights = state(self)
        if not spoilt:
            spoilt.append(True)
            weights["lm_head.weight"] = torch.full_like(weights["lm_head.weight"], torch.nan)
        return weights

    monkeypatch.setattr(Learner, "bf16_state", spoil)
    bench.run()
    assert ["window 0 is left out" in line for line in bench.said] == [True]
    assert [lesson.window for lesson in bench.lessons] == [1]
    assert bench.lessons[0].published.parent == bench.world.checkpoint.digest
    assert bench.lessons[0].published.number == 1


def test_a_step_whose_gradient_is_not_finite_is_left_out(bench):
    """Nothing is published, and the next window begins with what there was before."""
    bench.start(learning=replace(LEARNING, learning_rate=1e37, epochs=2))
    bench.run()
    assert [line.partition(": the gradient")[0] for line in bench.said] == [
        "trainer: window 0 is left out",
        "trainer: window 1 is left out",
    ]
    assert bench.lessons == []
    assert bench.chain.sent == []


@pytest.mark.parametrize(
    ("owner", "name"),
    [(sharding, "save_file"), (step_file.pq, "write_table"), (step_folder, "write_json")],
)
def test_a_full_disk_loses_nothing(bench, undisturbed, monkeypatch, owner, name):
    with monkeypatch.context() as patch:

        def refuse(*arguments, **options):
            raise OSError(28, "No space left on device")

        patch.setattr(owner, name, refuse)
        with pytest.raises(TrainerError, match="No space left"):
            bench.run()
    bench.run()  # as after a new start
    require_same(bench, undisturbed)


def test_two_trainers_never_share_a_folder(bench):
    with pytest.raises(TrainerError, match="another trainer runs"):
        TrainerFolder(bench.folder / "trainer")


def test_a_folder_of_another_network_or_hotkey(bench, world):
    bench.step()
    bench.close()
    folder = TrainerFolder(bench.folder / "trainer")
    with pytest.raises(TrainerError, match="of its own"):
        folder.load(bytes(32), bench.hotkey)
    with pytest.raises(TrainerError, match="of its own"):
        folder.load(world.parameters.digest, bytes(32))
    assert folder.load(world.parameters.digest, bench.hotkey).window == 0
    (bench.folder / "trainer" / "trainer.json").write_text("{")
    with pytest.raises(TrainerError, match="move the folder away"):
        folder.load(world.parameters.digest, bench.hotkey)
    folder.close()


@pytest.mark.parametrize("cut", [False, True])
def test_a_course_under_other_parameters_is_put_aside(bench, world, undisturbed, cut):
    """Started again when the owner has published others, it learns from the chain's checkpoint on;
    the old course stays to look at, also where it was cut off in the middle of moving it."""
    bench.run()
    bench.close()
    course, before = bench.folder / "trainer", world.parameters.digest
    files = {p.name: p.read_bytes() for p in course.iterdir()}
    assert len(files) == 2
    aside = course / f"parameters-{before.hex()[:32]}"
    aside.mkdir()
    (aside / "learner-of-a-course-before.safetensors").touch()
    (learner,) = course.glob("learner-*")
    if cut:  # killed here
        learner.rename(aside / learner.name)
    others = replace(world.parameters, work=replace(world.parameters.work, audited_rollouts=5))
    bench.start(parameters=others)
    bench.step()
    assert {p.name: p.read_bytes() for p in aside.iterdir()} == files
    assert any("training starts anew" in line and str(aside) in line for line in bench.said)
    assert bench.trainer.course.learned is False
    bench.close()
    folder = TrainerFolder(course)
    with pytest.raises(TrainerError, match="of its own"):
        folder.set_aside(before, bytes(32))
    assert folder.set_aside(others.digest, bench.hotkey) is None
    assert folder.load(others.digest, bench.hotkey).parameters == others.digest
    folder.close()


# --- with another optimiser


@pytest.mark.parametrize("optimizer", ["adamw8bit", "muon"])
def test_a_trainer_with_another_optimiser_that_is_killed_publishes_the_same(
    world, tmp_path, calls, optimizer
):
    if optimizer == "adamw8bit":
        pytest.importorskip("bitsandbytes", reason="bitsandbytes is of the extra `adamw8bit`")
    learning = replace(LEARNING, optimizer=optimizer)
    whole, killed = (Bench(world, tmp_path / name, calls) for name in ("whole", "killed"))
    before = len(calls.names)
    whole.start(learning=learning)
    whole.run()
    names = calls.names[before:]
    whole.close()
    killed.start(learning=learning)
    for name in ("put", "save_file", "set_commitment"):
        calls.due = len(calls.names) + names.index(name) + 1
        with pytest.raises(Killed):
            killed.run()
        killed.start(learning=learning)
    killed.run()
    require_same(killed, whole)
    killed.close()


# --- with groups of earlier windows


def test_a_trainer_that_replays_and_is_killed_publishes_the_same(
    world, tmp_path, calls, monkeypatch
):
    """Between the second step's data and its record, when its spare groups are written and the
    oldest are dropped."""
    choice = StepChoice(replay_share=0.5, replay_staleness=1, external_groups=3)
    keep, killed = step_folder.StepFolder.keep_record, []

    def keep_unless_killed(folder, record, child):
        if record.number == 2 and folder.folder.is_relative_to(tmp_path / "killed") and not killed:
            killed.append(record)
            raise Killed
        keep(folder, record, child)

    monkeypatch.setattr(step_folder.StepFolder, "keep_record", keep_unless_killed)
    benches = []
    for name in ("whole", "killed"):
        bench = Bench(world, tmp_path / name, calls)
        steps = step_folder.StepFolder(tmp_path / name / "steps", spare=2)
        given = {"choice": choice, "steps": steps}
        bench.start(**given)
        if name == "killed":
            with pytest.raises(Killed):
                bench.run()
            bench.start(**given)
        bench.run()
        bench.close()
        benches.append(bench)
    assert killed
    assert killed[0].replayed
    require_same(*benches)


# --- with LoRA


@pytest.fixture
def low_rank(world, tmp_path, calls):
    """A function: a bench with LoRA, in a folder of this name."""
    pytest.importorskip("peft", reason="peft is of the extra `train`")
    benches = []

    def make(name):
        benches.append(Bench(world, tmp_path / name, calls))
        benches[-1].start(learning=LOW_RANK)
        return benches[-1]

    yield make
    for bench in benches:
        bench.close()


def test_a_low_rank_trainer_that_is_killed_publishes_the_same(low_rank):
    whole = low_rank("whole")
    before = len(whole.calls.names)
    whole.run()
    names = whole.calls.names[before:]
    killed = low_rank("killed")
    for name in ("put", "save_file", "set_commitment"):
        killed.calls.due = len(killed.calls.names) + names.index(name) + 1
        with pytest.raises(Killed):
            killed.run()
        killed.start(learning=LOW_RANK)
    killed.run()
    require_same(killed, whole)
    assert whole.said == []


def test_a_low_rank_trainer_without_its_optimiser_continues_the_factors(low_rank, world):
    """Whoever takes its place has no more. The checkpoints stay changes of the genesis."""
    bench = low_rank("lost")
    bench.start(last_window=0, learning=LOW_RANK)
    bench.run(window=1)
    (path,) = [p for p in bench.list_files("trainer") if "learner" in p.name]
    path.unlink()
    bench.start(learning=replace(LOW_RANK, lora_rank=3))
    assert not bench.trainer.step()
    assert "set lora_rank = 2 under [trainer], or 0" in bench.trainer.trouble.text
    bench.start(learning=LOW_RANK)
    bench.run()
    assert any("fresh moments" in line for line in bench.said)
    first, second = (bench.folder / "models" / digest.hex() for digest in bench.published)
    adapters = [read_adapter(folder, verify_manifest(folder)) for folder in (first, second)]
    assert {adapter.base for adapter in adapters} == {world.checkpoint.digest}
    names = adapters[0].factors.keys()
    assert any(not torch.equal(*(a.factors[n].left for a in adapters)) for n in names)
    moved = [(a.factors[n].right.float() for a in adapters) for n in names]
    assert all((one - other).abs().max() < 0.1 * other.abs().max() for one, other in moved)
    reader = bench.folder / "reader"
    for digest in bench.published:
        fetch_checkpoint([bench.store], digest, reader)
    assert {path.name for path in reader.iterdir()} == {
        digest.hex() for digest in (world.checkpoint.digest, *bench.published)
    }
