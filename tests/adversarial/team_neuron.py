"""A team of two: the first process is a trainer with miners' groups, the other follows. One of them
may be killed within the second step, or stopped there for ever, or be killed when it begins to
write the second state.

It is each process of the team: `python -m tests.adversarial.team_neuron FOLDER [RANK
lesson|stop|save|host|round [follow]]`. `host` kills the program that started it, too. `round` kills
nobody: the first process is a trainer of a round. With `follow` the first is on another host.
"""

import json
import os
import signal
import sys
from functools import partial
from pathlib import Path

import torch

from assay.training import LearnConfig, sharding, team_watch
from assay.training.learner import Learner
from assay.training.team import follow, join_team
from assay.training.team_network import TeamNetwork
from tests.adversarial.conftest import World, make_world
from tests.adversarial.round_bench import NAMES, OFFSET, RoundBench
from tests.adversarial.trainer_bench import Bench, Calls

RATE = 1e-4
CONFIG = LearnConfig(
    epochs=1,
    groups_per_batch=64,
    tokens_per_pass=512,
    learning_rate=RATE,
    from_genesis=True,
    kl_weight=0.1,
)


def make_miners(folder: Path) -> World:
    """Two windows mined; the same each time."""
    world = make_world(folder)
    for window in (0, 1):
        world.contexts[window] = world.open_context(window)
    return world


def train(folder: Path, world: World) -> Bench:
    """A trainer that learns from both windows; one that was killed is back when they are over."""
    bench = Bench(world, folder, Calls())
    if (folder / "trainer" / "trainer.json").exists():
        bench.chain.head = world.chain.get_head()
    bench.start(learning=CONFIG)
    bench.run()
    bench.close()
    return bench


def play_round(folder: Path) -> dict[str, object]:
    """A round of three trainers of which two never come: the measurer's publication, and the groups
    that were learned from until then and in the next round's first window."""
    bench = RoundBench(folder / "rounds")
    bench.run_round(0, without=NAMES[1:])
    base, _ = bench.get_base(NAMES[0])
    after = bench.get_round(1).windows.start + 1
    bench.run_to(after * bench.parameters.timing.window_blocks + OFFSET, without=NAMES[1:])
    lessons = [[one.window, one.stats.tokens] for one in bench.lessons[NAMES[0]]]
    bench.close()
    played = {"base": base.hex(), "lessons": lessons}
    (folder / "round.json").write_text(json.dumps(played))
    return played


def die_in_second_lesson(how: signal.Signals = signal.SIGKILL, is_host: bool = False) -> None:
    """Has this process end there, or stop; with its host, if asked to."""
    learn, update, begun = Learner.learn, torch.optim.AdamW.step, []

    def counting(self, *arguments):
        begun.append(arguments)
        return learn(self, *arguments)

    def dying(self, closure=None):
        if len(begun) == 2:
            if is_host:
                os.kill(os.getppid(), how)
            os.kill(os.getpid(), how)
        return update(self, closure)

    Learner.learn, torch.optim.AdamW.step = counting, dying


def die_in_second_save() -> None:
    """Has this process end there, with an empty file begun."""
    make, begun = sharding.make_header, []

    def dying(tensors):
        begun.append(True)
        if len(begun) == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return make(tensors)

    sharding.make_header = dying


def main(
    folder: Path, dying: str | None = None, where: str | None = None, role: str | None = None
) -> None:
    torch.set_num_threads(1)
    team_watch.BEAT_S, team_watch.MISSED_MAX = 0.5, 20  # nobody waits for minutes here
    faults = {
        "lesson": die_in_second_lesson,
        "stop": partial(die_in_second_lesson, signal.SIGSTOP),
        "save": die_in_second_save,
        "host": partial(die_in_second_lesson, is_host=True),
    }
    follows = role == "follow"
    # two torchruns of one machine, which has other addresses: they open their stores on all
    network = TeamNetwork("127.0.0.1", open_to_network=True)
    with join_team(follows=follows, network=network) as rank:
        if str(rank) == dying and where in faults:
            faults[where]()
        if rank:
            follow(leaves=follows)
            (folder / "followed").touch()
            return
        if where == "round":
            play_round(folder)
            return
        worlds = len([*folder.glob("world-*")])  # one for each start
        bench = train(folder, make_miners(folder / f"world-{worlds}"))
        found = [[lesson.window, lesson.stats.tokens] for lesson in bench.lessons]
        (folder / "lessons.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
