"""The form in which a child's masters cross the wire, as parameters name it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from assay.protocol.encoding import EncodingError
from assay.protocol.parameters import Rounds
from assay.rounds.mapped_masters import write_mapped
from assay.rounds.outer_step import Masters
from assay.rounds.wire import (
    DifferenceForm,
    compute_size_limit,
    decode_difference,
    decode_tensors,
    encode_difference,
    require_pieces,
)


class FormError(ValueError):
    """A child that cannot be written, or pieces that are not what a form writes."""


@dataclass(frozen=True, slots=True)
class WireForm:
    """A trainer's upload of its child, encoded and decoded: whatever `encode` leaves out, `decode`
    gives the same masters on every machine, and these are merged."""

    form: DifferenceForm

    def encode(
        self, parent: Masters, child: Masters, residual: Masters
    ) -> tuple[list[bytes], Masters]:
        """A child's pieces, and the residual: the part left out, which its trainer keeps for its
        next child. Raises FormError if the child has numbers that this form cannot write."""
        try:
            return encode_difference(parent, child, self.form, residual)
        except ValueError as error:
            raise FormError(f"cannot be written: {error}") from None

    def decode(self, parent: Masters, pieces: Sequence[bytes]) -> Masters:
        """The masters that the pieces encode. Raises FormError if the pieces are not of this
        form."""
        try:
            return decode_difference(parent, pieces, self.form)
        except EncodingError as error:
            raise FormError(f"is not one of its form: {error}") from None

    def decode_file(
        self, parent: Masters, sizes: Sequence[int], pieces: Path, into: Path
    ) -> Masters:
        """The same as `decode`, from a file with the pieces in a row, into another file.

        Args:
            sizes: of the pieces, bytes.

        Raises:
            FormError: as `decode`. OSError.
        """
        try:
            require_pieces(sizes, parent, self.form)
            with pieces.open("rb") as file:
                return write_mapped(into, decode_tensors(parent, file.read, self.form))
        except EncodingError as error:
            raise FormError(f"is not one of its form: {error}") from None

    def compute_limit(self, parent: Masters) -> int:
        """Most bytes of all pieces together."""
        return compute_size_limit(parent, self.form)


def choose_form(rounds: Rounds) -> WireForm:
    """The form that parameters name."""
    return WireForm(DifferenceForm(rounds.kept, rounds.chunk, rounds.bits, rounds.feedback))
