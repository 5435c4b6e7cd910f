"""The calibration set of a checkpoint: token sequences of its own, never a miner's."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, chain

from assay.protocol.encoding import EncodingError, read_json
from assay.protocol.episode import Reply
from assay.protocol.hashing import Domain, hash_fields


@dataclass(frozen=True, slots=True)
class Passage:
    """One teacher-forced context: token ids of a prompt, of a completion's own tokens, and the
    replies between its turns."""

    prompt: tuple[int, ...]
    completion: tuple[int, ...]
    replies: tuple[Reply, ...] = ()

    @property
    def length(self) -> int:
        """All its tokens."""
        said = sum(len(reply.ids) for reply in self.replies)
        return len(self.prompt) + len(self.completion) + said


def encode_passages(passages: Sequence[Passage]) -> bytes:
    """The file's bytes: JSON, with the id lists of one passage on each line: prompt and turn, and
    of an episode a further reply and turn for each reply."""
    lines = (json.dumps(_split(passage), separators=(",", ":")) for passage in passages)
    return ("[" + ",\n".join(lines) + "]\n").encode()


def _split(passage: Passage) -> list[tuple[int, ...]]:
    spans, begin = [passage.prompt], 0
    for reply in passage.replies:
        spans += [passage.completion[begin : reply.at], reply.ids]
        begin = reply.at
    return [*spans, passage.completion[begin:]]


def _join(spans: Sequence[tuple[int, ...]]) -> Passage:
    """Raises a ValueError where these are no passage's."""
    prompt, *rest = spans
    turns, said = rest[::2], rest[1::2]
    if len(turns) != len(said) + 1 or not all([prompt, *turns]):
        raise ValueError("a passage is a prompt and a turn, then replies, each with a turn")
    ends = accumulate(map(len, turns))
    replies = tuple(Reply(at, ids) for at, ids in zip(ends, said, strict=False))
    return Passage(prompt, tuple(chain.from_iterable(turns)), replies)


def digest_passages(data: bytes) -> bytes:
    """Digest of the file's bytes, as a manifest names it, 32 bytes."""
    return hash_fields(Domain.CALIBRATION_SET, data)


def decode_passages(data: bytes, vocabulary: int = 1 << 32) -> list[Passage]:
    """The calibration set from its file's bytes. Raises an EncodingError where these are not the
    bytes that `encode_passages` writes, or an id is `vocabulary` or more."""
    try:
        lines = [list(map(tuple, spans)) for spans in read_json(data)]
        ids = (i for spans in lines for span in spans for i in span)
        if not all(type(i) is int and 0 <= i < vocabulary for i in ids):
            raise ValueError("an id is not a token's")
        passages = list(map(_join, lines))
        if not passages:
            raise ValueError("it has no passage")
    except (ValueError, TypeError) as error:
        raise EncodingError(f"is not a calibration set: {error}") from None
    if encode_passages(passages) != data:
        raise EncodingError("is not a calibration set: it is not written one passage a line")
    return passages
