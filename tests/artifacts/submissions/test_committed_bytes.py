"""A reader takes the parts that the root binds, from any store; claims about unbound parts count
for nothing."""

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.artifacts.store_objects import make_mirror_name
from assay.artifacts.submissions.pack import (
    PackedPart,
    PackedRefusal,
    compute_pack_max,
    measure_pack,
    pack_parts,
)
from assay.artifacts.submissions.read_ahead import fetch
from assay.artifacts.submissions.reader import (
    AUDITED,
    CommittedSubmission,
    KnownMirror,
    ReadRequest,
)
from assay.judge.pack import PackedSubmission, PackError, decode_pack, encode_pack
from assay.network.store.base import StoreError
from assay.protocol.commitment import make_object_name
from assay.protocol.reason import Reason, Refusal
from assay.protocol.ss58 import encode_ss58
from assay.protocol.submission import Range, encode_group
from tests.artifacts.conftest import (
    HOTKEY,
    ID_BITS,
    MemorySource,
    Shown,
    are_equal,
    expect,
    make_groups,
    show,
)


@pytest.fixture(scope="module")
def shown() -> Shown:
    return show(make_groups(6))


class Store:
    """Objects in memory, by name; it remembers which were asked for."""

    def __init__(self, **objects: bytes | None) -> None:
        self.objects = dict(objects)
        self.asked: list[str] = []

    def open(self, name: str) -> MemorySource:
        self.asked.append(name)
        return MemorySource(self.objects.get(name))

    def get(self, name: str, limit: int) -> bytes | None:
        self.asked.append(name)
        return self.objects.get(name)


class Broken(Store):
    def open(self, name: str) -> MemorySource:
        raise StoreError("the wire is cut")

    def get(self, name: str, limit: int) -> bytes | None:
        raise StoreError("the wire is cut")


def serve(shown: Shown, data: bytes | None) -> Store:
    """A miner's own store."""
    name = make_object_name(encode_ss58(HOTKEY), shown.context.window)
    return Store(**{name: data})


def mirror(
    shown: Shown, pack: bytes | PackedSubmission, samples: PackedSubmission | None = None
) -> Store:
    data = pack if isinstance(pack, bytes) else encode_pack(pack)
    window, root = shown.context.window, shown.committed.root
    objects: dict[str, bytes | None] = {make_mirror_name(window, root): data}
    if samples is not None:
        objects[make_mirror_name(window, root, samples=True)] = encode_pack(samples)
    return Store(**objects)


def open_from(
    shown: Shown, own: Store, *mirrors: Store, request: ReadRequest = AUDITED
) -> CommittedSubmission:
    sources: Any = SimpleNamespace(
        stores=SimpleNamespace(get=lambda locator: own),
        mirrors=lambda root: [KnownMirror(store) for store in mirrors],  # type: ignore[arg-type]
    )
    return CommittedSubmission(shown.context, HOTKEY, shown.committed, sources, request)


def pack(shown: Shown, request: ReadRequest = AUDITED) -> PackedSubmission:
    """The parts of the file that a validator has read."""
    parts: dict[Range, bytes | Refusal] = {}
    fetch(open_from(shown, serve(shown, shown.data), request=request), parts=parts)
    packed = pack_parts(HOTKEY, parts)
    assert packed is not None
    return packed


def assert_read(shown: Shown, own: Store, *mirrors: Store) -> None:
    """Check that everything an audit requests is there, and is as committed."""
    found = shown.read(open_from(shown, own, *mirrors))
    plain = shown.read()
    assert not isinstance(found, Refusal), found
    assert not isinstance(plain, Refusal)
    for one, other in zip(found, plain, strict=True):
        assert are_equal(list(one.audited.values()), list(other.audited.values()))


@given(place=st.integers(0, 2**16), other=st.integers(1, 255))
def test_a_store_with_other_bytes_is_made_good_by_a_mirror(
    shown: Shown, place: int, other: int
) -> None:
    """Wherever they are, and whether or not the audit asks for them."""
    served = bytearray(shown.data)
    served[place % len(served)] ^= other
    assert_read(shown, serve(shown, bytes(served)), mirror(shown, pack(shown)))


@pytest.mark.parametrize("left", [0, 1, 100, 300])
def test_a_store_with_too_few_bytes_is_made_good_by_a_mirror(shown: Shown, left: int) -> None:
    own = serve(shown, shown.data[:left])
    expect(shown.read(open_from(shown, own)), Reason.NOT_REVEALED, "ends before")
    assert_read(shown, own, mirror(shown, pack(shown)))


def test_a_store_that_is_away_is_made_good_by_a_mirror(shown: Shown) -> None:
    assert_read(shown, serve(shown, None), Broken(), Store(), mirror(shown, pack(shown)))
    assert_read(shown, Broken(), mirror(shown, pack(shown)))
    with pytest.raises(StoreError, match="the wire is cut"):
        shown.read(open_from(shown, Broken(), Store()))


def test_no_mirror_is_asked_while_the_miner_shows_what_it_committed_to(shown: Shown) -> None:
    """A fault that the root binds included: nobody has other bytes."""
    idle = mirror(shown, pack(shown))
    assert_read(shown, serve(shown, shown.data), idle)
    assert idle.asked == []
    head, ids, proofs = encode_group(make_groups(6)[0], ID_BITS)
    lie = shown.change(dict.fromkeys(range(6), (head + b"\0", ids, proofs)))
    idle = mirror(lie, pack(shown))
    found = lie.read(open_from(lie, serve(lie, lie.data), idle))
    expect(found, Reason.MALFORMED)
    assert isinstance(found, Refusal)
    assert not found.unbound
    assert idle.asked == []


def test_a_fault_that_a_mirror_shows_stands_where_the_root_binds_it(shown: Shown) -> None:
    """These bytes are those that the miner committed to, whichever store shows them."""
    head, ids, proofs = encode_group(make_groups(6)[0], ID_BITS)
    lie = shown.change(dict.fromkeys(range(6), (head + b"\0", ids, proofs)))
    found = lie.read(open_from(lie, serve(lie, None), mirror(lie, pack(lie))))
    expect(found, Reason.MALFORMED)


def test_mirrors_with_a_part_each_make_a_whole(shown: Shown) -> None:
    whole = pack(shown)
    halves = [PackedSubmission(HOTKEY, whole.parts[place::2]) for place in (0, 1)]
    assert_read(shown, serve(shown, None), *(mirror(shown, half) for half in halves))
    found = shown.read(open_from(shown, serve(shown, None), mirror(shown, halves[0])))
    expect(found, Reason.NOT_REVEALED, "no such file")


def find_fault(shown: Shown, own: Store, *mirrors: Store, late: bool = False) -> Refusal | None:
    """The fault of the samples, or None."""
    reader = open_from(shown, own, *mirrors, request=ReadRequest(samples=True, late=late))
    return shown.find_sample_fault(reader)


def test_mirrors_keep_samples_beside_audited_parts(shown: Shown) -> None:
    audited, sampled = pack(shown), pack(shown, ReadRequest(samples=True))
    gone, whole = serve(shown, None), mirror(shown, audited, sampled)
    assert find_fault(shown, serve(shown, shown.data)) is None
    assert find_fault(shown, gone, whole) is None
    assert len(whole.asked) == 1
    assert_read(shown, gone, whole)
    # neither has the parts of the other
    expect(find_fault(shown, gone, mirror(shown, audited)), Reason.NOT_REVEALED, "no such file")
    expect(find_fault(shown, gone, mirror(shown, audited, audited)), Reason.NOT_REVEALED)
    expect(shown.read(open_from(shown, gone, mirror(shown, sampled))), Reason.NOT_REVEALED)
    starts = [{part.start for part in pack.parts} for pack in (audited, sampled)]
    assert starts[0] - starts[1]
    assert starts[1] - starts[0]
    assert measure_pack(sampled) <= compute_pack_max(shown.context.parameters, samples=True)


def test_after_fetch_end_mirrors_alone_are_asked(shown: Shown) -> None:
    """The miner's own store is, by now, too late with whatever it shows."""
    own = serve(shown, shown.data)
    whole = mirror(shown, pack(shown), pack(shown, ReadRequest(samples=True)))
    late = ReadRequest(late=True)
    for found in (
        shown.read(open_from(shown, own, request=late)),
        find_fault(shown, own, late=True),
    ):
        expect(found, Reason.NOT_REVEALED, "not shown in time")
        assert isinstance(found, Refusal)
        assert found.unbound
    assert not isinstance(shown.read(open_from(shown, own, whole, request=late)), Refusal)
    assert find_fault(shown, own, Broken(), whole, late=True) is None
    assert own.asked == []


def change_parts(packed: PackedSubmission, **fields: Any) -> PackedSubmission:
    parts = (PackedPart(part.start, part.size, part.data, None) for part in packed.parts)
    changed = (
        PackedPart(
            fields.get("start", part.start),
            fields.get("size", part.size),
            fields.get("data", part.data),
            fields.get("refusal"),
        )
        for part in parts
    )
    return PackedSubmission(packed.hotkey, tuple(changed))


LIES: dict[str, Any] = {
    "nothing": lambda good: b"",
    "junk": lambda good: b"x" * 100,
    "a pack cut off": lambda good: encode_pack(good)[:-1],
    "a pack with a byte more": lambda good: encode_pack(good) + b"x",
    "no part": lambda good: change_parts(PackedSubmission(HOTKEY, ())),
    "other bytes": lambda good: change_parts(good, data=b"junk"),
    "zeros of the right size": lambda good: PackedSubmission(
        HOTKEY, tuple(PackedPart(p.start, p.size, bytes(p.size), None) for p in good.parts)
    ),
    "neither bytes nor a refusal": lambda good: change_parts(good, data=None),
    **{
        f"word of {reason}": lambda good, reason=reason: change_parts(
            good, data=None, refusal=PackedRefusal(reason, "so says the mirror")
        )
        for reason in (Reason.MALFORMED, Reason.SAMPLING_MISMATCH, Reason.ACCEPTED)
    },
}


@pytest.mark.parametrize("name", LIES)
def test_a_mirror_that_lies_changes_nothing(shown: Shown, name: str) -> None:
    liar = mirror(shown, LIES[name](pack(shown)))
    gone = serve(shown, None)
    assert shown.read(open_from(shown, gone, liar)) == shown.read(open_from(shown, gone))
    assert_read(shown, gone, liar, mirror(shown, pack(shown)))
    assert_read(shown, serve(shown, shown.data), liar)


def test_a_pack_is_read_back_and_measured_by_all_that_a_peer_chooses(shown: Shown) -> None:
    packed = pack(shown)
    assert decode_pack(encode_pack(packed)) == packed
    assert packed.is_whole
    assert measure_pack(packed) == sum(part.size for part in packed.parts)
    assert measure_pack(packed) <= compute_pack_max(shown.context.parameters)
    refusal = PackedRefusal(Reason.NOT_REVEALED, "d" * 50)
    refused = PackedSubmission(HOTKEY, (*packed.parts, PackedPart(0, 9, None, refusal)))
    assert measure_pack(refused) == measure_pack(packed) + 50
    assert not refused.is_whole
    with pytest.raises(PackError, match="damaged"):
        decode_pack(encode_pack(packed)[:-1])
