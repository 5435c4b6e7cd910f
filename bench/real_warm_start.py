"""What the warm start of a real model took, and what it taught.

    assay train warm-start SmolLM2-135M-Instruct.Q4_1.gguf --recipe smollm2-135m-gsm \\
        --lora-rank 0 --level 1 --level 2 --level 3 --out DIR
    python bench/real_warm_start.py --out DIR

Run both on the same machine. The minutes are those of steps and trials, without reading the model.
Trials are of levels that it is taught; the network's own are harder.
"""

import json

import torch
from figures import OUT, Figure, report

#: Of the warm start, on two cores.
MINUTES = 30
#: Of the answers, at the end: the share that has the form that the environment reads.
READ = 0.95


def main() -> None:
    if OUT is None:
        raise SystemExit("--out DIR: the folder of a warm start, which has ended")
    kept = json.loads((OUT / "warm_start.json").read_text())
    if kept["end"] is None:
        raise SystemExit(f"the warm start of {OUT} has not ended: its command continues it")
    progress = kept["progress"]
    first, last = progress["trials"][0], progress["trials"][-1]

    def share(trial: dict[str, dict[str, int]], what: str) -> float:
        return trial[what]["solved"] / trial[what]["asked"]

    report(
        "the warm start of a real model",
        [
            Figure("steps and trials", progress["seconds"] / 60, "minutes", bound=MINUTES),
            Figure("steps", progress["step"], ""),
            Figure("tokens taught", progress["tokens"], "tokens"),
            Figure("held-out loss", last["loss"], "", "before", first["loss"]),
            Figure("held-out problems", last["solved"]["asked"], "problems"),
            Figure("solved", share(last, "solved"), "share", "before", share(first, "solved")),
            Figure(
                "read", share(last, "read"), "share", "before", share(first, "read"), least=READ
            ),
        ],
        torch.get_num_threads(),
    )


if __name__ == "__main__":
    main()
