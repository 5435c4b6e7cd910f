"""The place of a model: device, implementation, share of the device's memory."""

from dataclasses import dataclass

from assay.inference.implementations import DEFAULT_IMPLEMENTATION, require_known
from assay.inference.placing.devices import CPU, find_device, get_free_memory
from assay.inference.placing.model_sizes import compute_weight_bytes


@dataclass(frozen=True, slots=True)
class Placement:
    """The place where a checkpoint's models run.

    Attributes:
        device: torch's name of it: cpu, cuda:0.
        implementation: of the reference; see `assay.inference.implementations`.
        memory_share: most of the memory that is free on the device when a model is loaded.
    """

    device: str = CPU
    implementation: str = DEFAULT_IMPLEMENTATION
    memory_share: float = 1.0

    def compute_weight_bytes(self, stored: int) -> int:
        """Bytes of memory that weights take. `stored` is the size of their files, in bf16."""
        return compute_weight_bytes(stored, self.implementation)

    def has_room_for(self, needed: int) -> bool:
        """Return whether this many more bytes may be used, with a quarter on top for computing with
        them."""
        free = get_free_memory(self.device)
        return free is None or needed * 5 // 4 <= free * self.memory_share


def make_placement(device: str, implementation: str, memory_share: float) -> Placement:
    """The placement that an operator named, after a check that it exists.

    Raises:
        DeviceError: see `find_device`.
        ImplementationError: there is none of that name.
    """
    require_known(implementation)
    return Placement(find_device(device), implementation, memory_share)
