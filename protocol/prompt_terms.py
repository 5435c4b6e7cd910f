"""An owner's prompts in words: what surrounds each part's problems. Specification, section 3."""

from collections.abc import Sequence

from assay.protocol.parameters import Prompts


def describe_prompts(prompts: Sequence[Prompts]) -> list[str]:
    """Each text and each example, a line each. Quoted as `repr` does: no text steers a terminal."""
    return [
        f"{record.part}: {line}"
        for record in prompts
        for line in (
            *(f"{one.name} {one.text!r}" for one in record.texts),
            *(f"example {one.question!r} → {one.answer!r}" for one in record.shots),
        )
    ]
