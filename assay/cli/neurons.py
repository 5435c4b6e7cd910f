"""`assay mine`, `assay validate`, `assay train`: each starts a neuron."""

import sys

from assay.cli.checks_view import render_dry_run
from assay.cli.console import print_result
from assay.neurons.miner import program as miner
from assay.neurons.settings.sections import Settings
from assay.neurons.trainer import program as trainer
from assay.neurons.validator import program as validator


def run_miner(settings: Settings, as_json: bool, quiet: bool, dry_run: bool) -> int:
    """Mine until asked to stop, or check everything that mining needs."""
    if not dry_run:
        miner.run_miner(settings, as_json, quiet)
        return 0
    result = miner.check_mining(settings, as_json)
    print_result(result.to_json(), as_json, render_dry_run(result))
    return 0 if result.ready else 1


def run_validator(settings: Settings, as_json: bool, quiet: bool) -> int:
    """Validate until asked to stop."""
    validator.run_validator(settings, as_json, quiet)
    return 0


def run_trainer(settings: Settings, as_json: bool, quiet: bool) -> int:
    """Train until asked to stop, alone or in a team of processes."""
    return trainer.run_trainer(settings, as_json, quiet, again=["-m", "assay", *sys.argv[1:]])
