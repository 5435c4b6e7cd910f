"""What can go wrong with a source of beacons, each with what to do."""

from assay.protocol.errors import OperatorError


class BeaconSourceError(OperatorError):
    """A source or server of beacons cannot be used as it was set up, or is closed."""
