"""What `assay plan --measure` quotes beside what a run took, in processor seconds of one thread: a
miner's groups of a window, and a validator's judgement of the file.

The quote is made from a few layers of made-up weights, for the run's own lengths: a recipe states
an average, which a run need not have. Runs are timed before the measurement and behind it, and the
median counts: what else a machine does changes a processor's speed within minutes. The demo's
model is shipped. For the real models name a folder that has one or both, as `assay adopt` or a warm
start left them:

    python bench/quotes.py --out DIR  # with smollm2-135m-gsm/, gemma-3-270m.toml, gemma-3-270m/

The more a machine has to do beside, the less often each part is timed within the minute. Tests are
the recipe's, rates of the sampling test the demo's: those cost no time.
"""

import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import torch
from audit import MINER, mine, open_window
from figures import FAST, OUT, Figure, report, time_cpu
from work import load_genesis

from assay.artifacts.checkpoints.folder import measure_manifest
from assay.artifacts.submissions.file import SubmissionFile
from assay.artifacts.submissions.judge import judge_with_checkpoint
from assay.gate.tokenizer_files import digest_template
from assay.inference.checkpoint import Checkpoint, load_checkpoint
from assay.inference.folder import (
    CALIBRATION_FILE,
    MANIFEST_FILE,
    PASSAGES_FILE,
    digest_structure,
    digest_tensors,
    digest_tokenizer,
)
from assay.inference.generate import DraftCount
from assay.inference.placing.devices import CPU
from assay.network.files import write_json
from assay.network.store.folder import open_file
from assay.protocol.encoding import to_json
from assay.protocol.manifest import compute_tensor_root, start_levels
from assay.protocol.reason import Reason
from assay.subnet.genesis_checkpoint import open_bare_tokenizer, read_end_tokens
from assay.subnet.machine_speed import MeasuredPace
from assay.subnet.machine_timing import LIMIT_S, measure_machine
from assay.subnet.recipe import Lengths, Recipe, read_recipe
from assay.subnet.window_costs import DISK
from assay.training import GENESIS

THREADS = 1
#: Judgements of a file before the measurement, and as many behind it; a miner's run is one each.
JUDGED = 3
#: A recipe, its model's folder in OUT, and a miner's groups; the first is shipped.
SUBJECTS = (
    ("genesis-arithmetic", None, 8),
    ("smollm2-135m-gsm", "smollm2-135m-gsm", 4),
    ("gemma-3-270m.toml", "gemma-3-270m", 4),
)
#: Files of a model's folder.
_FILES = ("config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja")
#: Largest error of a quote, a share of what the run took.
ERROR = 0.2


def main() -> None:
    torch.set_num_threads(THREADS)
    figures: list[Figure] = []
    for name, folder, groups in SUBJECTS:
        if folder is None:
            figures += compare("the shipped model", read_recipe(name), load_genesis(), groups)
        elif OUT is not None and (OUT / folder).is_dir() and not FAST:
            recipe = read_recipe(str(OUT / name) if name.endswith(".toml") else name)
            with TemporaryDirectory() as temporary:
                made = write_checkpoint(OUT / folder, Path(temporary), recipe)
                figures += compare(folder, recipe, made, groups)
    report("Quotes of `assay plan --measure` beside runs, processor seconds", figures, THREADS)


def write_checkpoint(model: Path, folder: Path, recipe: Recipe) -> Checkpoint:
    """A checkpoint of an adopted model, with the demo's calibration: that costs no time."""
    for name in (*_FILES, *(path.name for path in model.glob("*.safetensors"))):
        if (model / name).exists():
            shutil.copyfile(model / name, folder / name)
    for name in (CALIBRATION_FILE, PASSAGES_FILE):
        shutil.copyfile(GENESIS / name, folder / name)
    manifest = replace(
        load_genesis().manifest,
        structure=digest_structure(folder),
        tokenizer=digest_tokenizer(folder),
        chat_template=digest_template(open_bare_tokenizer(folder).chat_template),
        tensors=compute_tensor_root(digest_tensors(folder)),
        end_tokens=read_end_tokens(folder),
        max_tokens=recipe.make_rules().work.max_tokens,
        levels=start_levels(recipe.levels),
    )
    write_json(folder / MANIFEST_FILE, to_json(measure_manifest(manifest, folder)))
    return load_checkpoint(folder)


def compare(name: str, recipe: Recipe, checkpoint: Checkpoint, groups: int) -> Iterator[Figure]:
    """A miner's and a validator's quote beside what they took."""
    rules = recipe.make_rules()
    tell(name)
    own = {"environment": rules.environment, "work": rules.work, "tests": rules.tests}
    context = open_window(checkpoint, lambda demo: replace(demo, **own))
    count = DraftCount()
    data, committed = mine(checkpoint, context, groups, count)  # compiles, too
    lengths = Lengths(
        (count.read - count.settling - count.submitted) / groups, count.submitted / count.rollouts
    )
    with TemporaryDirectory() as temporary:
        path = Path(temporary) / "file.rollouts"
        path.write_bytes(data)

        def judge() -> None:
            file = SubmissionFile(open_file(path))
            verdict = judge_with_checkpoint(file, MINER, committed, checkpoint)
            assert verdict.reason is Reason.ACCEPTED, verdict

        mined, judged = [], []

        def run() -> None:
            mined.append(time_cpu(lambda: mine(checkpoint, context, groups))[1])
            judged.extend(time_cpu(judge)[1] for _ in range(JUDGED))

        judge()
        run()
        speed = measure_machine(set_lengths(recipe, lengths, groups), CPU, tell)
        run()
    pace, work = MeasuredPace(recipe.model, speed, rules.work.max_tokens, DISK), rules.work
    drawn = groups * work.group_size
    quoted = pace.draft(lengths, drawn, drawn, groups) + pace.write(groups)
    read = drawn * lengths.completion
    quoted += pace.read(lengths, read + groups * lengths.prompt, read, groups)
    yield from compare_with(
        f"{name}: a miner's {groups} groups of {work.group_size}", quoted, mined
    )
    read = work.audited_rollouts * lengths.completion
    shown = min(groups, work.audited_rollouts)
    quoted = pace.read(lengths, read + shown * lengths.prompt, read, 1) + pace.examine(1, shown)
    yield from compare_with(
        f"{name}: a validator's {work.audited_rollouts} rollouts", quoted, judged
    )
    yield Figure(f"{name}: the measurement", speed.took, "s of processor")
    yield Figure(f"{name}: the measurement, by the clock", speed.took_wall, "s", bound=LIMIT_S)


def set_lengths(recipe: Recipe, lengths: Lengths, groups: int) -> Recipe:
    """The recipe with a run's lengths and groups."""
    change = {
        "prompt_tokens": round(lengths.prompt),
        "completion_tokens": round(lengths.completion),
        "groups_per_step": groups,
    }
    return recipe.model_copy(update={"course": recipe.course.model_copy(update=change)})


def compare_with(name: str, quoted: float, took: Sequence[float]) -> Iterator[Figure]:
    """A quote beside the median of several runs."""
    run = median(took)
    tell(f"{name}: {quoted:.3g} s quoted, {run:.3g} taken")
    yield Figure(name, quoted, "s", "the run", run)
    yield Figure(f"{name}: error of the quote", abs(quoted / run - 1), "share", bound=ERROR)


def tell(text: str) -> None:
    print(f"  {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
