"""Recipes: each file describes a subnet, from the model's folder to the hardware.

A recipe has a model's sizes, the environment and its levels, the network's parameters as changes
to a preset, how checkpoint 0 is calibrated, the trainer's settings, and what a run is expected to
be, as inputs of arithmetic. `assay subnet publish --recipe` and `assay train --recipe` work by it,
`assay plan` counts with it. Start with `genesis-arithmetic.toml`, the demo's own. Nothing here is
code: `assay.subnet.recipe` reads these files.
"""

from pathlib import Path

#: Folder of the recipes that are shipped: `<name>.toml`.
RECIPES = Path(__file__).parent

__all__ = ["RECIPES"]
