"""The cost of a draw from a row of V = 151,936 logits, with the row's measurement: bytes moved by
each backend, and time. For tensors, the bytes are those of every operand and result of every
kernel; for the fused passes, those that they read and write. On a GPU the time is compared with a
log-softmax."""

import numpy as np
import torch
from figures import FAST, Figure, measure_together, report
from torch.utils._python_dispatch import TorchDispatchMode

from assay.inference.draws import sampler as sampler_module
from assay.inference.draws.row_statistics import RowMeter
from assay.inference.draws.sampler import KeyedSampler, load_card_kernels, make_keys
from assay.protocol.draw import compute_slack, draw_token
from assay.protocol.gumbel import BOUND_SLOPE, BOUND_START, FRACTION_BITS
from assay.protocol.words import compute_words

VOCABULARY, TEMPERATURE, ROWS = (9_001, 1_024, 2) if FAST else (151_936, 1_024, 8)
#: Rows on a card: as many as a chunk of the reference has at this vocabulary.
CARD_ROWS = ROWS if FAST else (1 << 24) // VOCABULARY
#: Ids in one program of the card's kernels, and its output for a block: five numbers of 4 bytes.
BLOCK, BLOCK_BYTES = 4_096, 20
_VIEWS = (
    "view",
    "expand",
    "unsqueeze",
    "select",
    "slice",
    "unbind",
    "alias",
    "detach",
    "t.default",
)


class ByteCount(TorchDispatchMode):
    """Counts kernels, and bytes of their operands and results."""

    def __init__(self) -> None:
        super().__init__()
        self.kernels = self.bytes = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        if not any(view in str(func) for view in _VIEWS):
            self.kernels += 1
            self.bytes += sum(map(_count_bytes, (args, out)))
        return out


def _count_bytes(value: object) -> int:
    if torch.is_tensor(value):
        return value.numel() * value.element_size()
    if isinstance(value, list | tuple):
        return sum(map(_count_bytes, value))
    return 0


def main() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    logits = torch.randn(ROWS, VOCABULARY) * 3
    keys, positions = make_keys([bytes([i]) * 32 for i in range(ROWS)]), torch.arange(ROWS)
    sampler = KeyedSampler(np.ones(VOCABULARY, bool), TEMPERATURE)
    meter = RowMeter(sampler)
    tokens = sampler.draw(logits, keys, positions)[0]
    row = keys, positions, tokens
    figures = [*_count_tensors(meter, logits, row), *_count_fused(logits, keys)]
    figures += _time_compiled(meter, logits, row)
    if torch.cuda.is_available() or FAST:
        figures += _time_on_card()
    else:
        print("no GPU here: the time beside a log-softmax on one is not measured")
    report(f"a draw from a row, and the row's measurement, at V = {VOCABULARY:,}", figures, 1)


def _count_tensors(
    meter: RowMeter, logits: torch.Tensor, row: tuple[torch.Tensor, ...]
) -> list[Figure]:
    """Bytes of the path of a card without Triton."""
    kept, sampler_module.is_for_a_cpu = sampler_module.is_for_a_cpu, lambda _: False
    try:
        with ByteCount() as count:
            meter.measure_on_tensors(logits.clone(), *row)
    finally:
        sampler_module.is_for_a_cpu = kept
    name = f"plain tensors: bytes moved, {count.kernels} kernels"
    return [Figure(name, count.bytes / ROWS / 1e6, "MB/row")]


def _count_fused(logits: torch.Tensor, keys: torch.Tensor) -> list[Figure]:
    """Bytes of kernels that read each logit, and whether it may be drawn, once. A card's kernels
    read some again."""
    once = 5 * VOCABULARY
    blocks = -(-VOCABULARY // BLOCK)
    again = sum(
        _count_blocks(row, key, position)
        for position, (row, key) in enumerate(zip(logits.numpy(), keys.numpy(), strict=True))
    )
    # the block that gives the first floor is read in addition
    card = once + 2 * blocks * BLOCK_BYTES + (again / ROWS + 1) * 5 * BLOCK
    return [
        Figure("compiled for a CPU: bytes moved", once / 1e6, "MB/row", bound=2.0),
        Figure("a GPU's kernels: bytes moved, 2 kernels", card / 1e6, "MB/row", bound=2.0),
        Figure("a GPU's kernels: blocks read again", again / ROWS, f"of {blocks}"),
    ]


def _count_blocks(logits: np.ndarray, key: np.ndarray, position: int) -> int:
    """Blocks that may hold the winner when the likeliest id's score is known."""
    words = compute_words(key[None].astype(np.uint64), np.array([position], np.uint64), VOCABULARY)
    bits = np.invert(words[0]).astype(np.float32).view(np.int32).astype(np.float32)
    bounds = logits + (np.float32(BOUND_START) - np.float32(BOUND_SLOPE) * bits)
    likely = int(bounds.argmax())
    alone = np.arange(VOCABULARY) == likely
    score = draw_token(logits, alone, tuple(key.tolist()), position, TEMPERATURE)[1]
    magnitude = float(np.abs(logits).max())
    floor = score / (1 << FRACTION_BITS) - compute_slack(magnitude, TEMPERATURE)
    starts = np.arange(0, VOCABULARY, BLOCK)
    return int((np.maximum.reduceat(bounds, starts) >= floor).sum())


def _time_compiled(
    meter: RowMeter, logits: torch.Tensor, row: tuple[torch.Tensor, ...]
) -> list[Figure]:
    """Times of one pass, of a draw with the measurements in plain tensors, and of a log-softmax
    alone."""
    fused, apart, plain = measure_together(
        [
            lambda: meter.measure(logits, *row),
            lambda: meter.measure_on_tensors(logits.clone(), *row),
            lambda: logits.log_softmax(dim=1),
        ]
    )
    milliseconds = [seconds / ROWS * 1e3 for seconds in (fused, apart, plain)]
    name = "compiled for a CPU, one thread"
    baseline = "a compiled draw, the rest on tensors"
    return [
        Figure(name, milliseconds[0], "ms/row", baseline, milliseconds[1], ratio_bound=0.7),
        Figure(name, milliseconds[0], "ms/row", "a log-softmax alone", milliseconds[2]),
    ]


def _time_on_card() -> list[Figure]:
    """Times of the card's kernels and of a log-softmax that reads and writes the same rows."""
    on_card = torch.cuda.is_available()
    device = torch.device("cuda" if on_card else "cpu")
    logits = torch.randn(CARD_ROWS, VOCABULARY, device=device) * 3
    sampler = KeyedSampler(np.ones(VOCABULARY, bool), TEMPERATURE, device)
    keys = make_keys([bytes(32)] * CARD_ROWS, device)
    positions = torch.arange(CARD_ROWS, device=device)
    tokens = sampler.draw(logits, keys, positions)[0]
    meter = RowMeter(sampler)
    assert not on_card or load_card_kernels(logits.device) is not None

    def wait(run):
        def waiting() -> None:
            run()
            if on_card:
                torch.cuda.synchronize()

        return waiting

    fused, plain = measure_together(
        [
            wait(lambda: meter.measure(logits, keys, positions, tokens)),
            wait(lambda: logits.log_softmax(dim=1)),
        ]
    )
    where = torch.cuda.get_device_name() if on_card else "a CPU in the card's place"
    name = f"{where}, {CARD_ROWS} rows"
    unit = 1e6 / CARD_ROWS
    return [Figure(name, fused * unit, "µs/row", "log-softmax", plain * unit, ratio_bound=1.3)]


if __name__ == "__main__":
    main()
