"""The image of reasoning-gym, loaded when this module is imported (`guest.loading`)."""

from assay.environments.gym.image import GYM
from assay.sandbox.guest.loading import load

IMAGE = load(GYM)
