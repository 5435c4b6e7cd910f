"""Builds the models of `detection.py` and `assay gauntlet`: two minutes, once."""

import argparse
from pathlib import Path
from time import perf_counter

import torch

from assay.lab.gauntlet.bench_models import build_models


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to fill")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    started = perf_counter()
    build_models(arguments.out)
    print(f"everything is in {arguments.out}, {perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
