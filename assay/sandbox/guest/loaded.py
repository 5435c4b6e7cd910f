"""The interpreter's image, loaded when this module is imported (`loading`)."""

from assay.sandbox.guest.descriptor import INTERPRETER
from assay.sandbox.guest.loading import load

IMAGE = load(INTERPRETER)
