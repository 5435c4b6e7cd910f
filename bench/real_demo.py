"""A look at a real model's subnet, of one process: what a demo of its recipe took, and what it saw.

    assay demo --recipe smollm2-135m-gsm --model warm/model --out DIR
    python bench/real_demo.py --out DIR

It promises no points: twelve windows of sixteen groups are a third of a run by `public_run.py`, and
300 problems tell a difference of eight points from none.
"""

import json

import torch
from figures import OUT, Figure, report

#: Of the demo, on two cores.
MINUTES = 60


def main() -> None:
    if OUT is None:
        raise SystemExit("--out DIR: the folder of a demo by a recipe, which has ended")
    summary = json.loads((OUT / "summary.json").read_text())
    files = [one for window in summary["windows"] for one in window["verdicts"]]
    honest = [one["reason"] == "ACCEPTED" for one in files if one["role"] == "honest"]
    cheats = [one["reason"] == "ACCEPTED" for one in files if one["role"] != "honest"]
    tried = summary["accuracy"]
    report(
        "a demo of a real model's recipe, in one process",
        [
            Figure("the whole demo", summary["seconds"] / 60, "minutes", bound=MINUTES),
            Figure("windows", len(summary["windows"]), "windows"),
            Figure("peak memory", summary["peak_rss_mib"], "MiB"),
            Figure("honest files accepted", sum(honest), "files", least=len(honest)),
            Figure("files of int4 weights accepted", sum(cheats), "files", bound=0),
            Figure("files of int4 weights refused", len(cheats) - sum(cheats), "files"),
            Figure("held-out problems", tried["problems"], "problems"),
            Figure("solved before", tried["before"], "share"),
            Figure("solved after", tried["after"], "share"),
        ],
        torch.get_num_threads(),
    )


if __name__ == "__main__":
    main()
