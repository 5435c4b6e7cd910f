"""Files a miner would like to be paid for: one defect each, and the reason it is refused."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from assay.protocol import submission
from assay.protocol.prefix_code import make_prefix_code
from assay.protocol.reason import Reason, Refusal
from assay.protocol.submission import HEADER_BYTES, Opening, Rollout, get_opening_bytes
from assay.verification import get_part_limits

END, VOCABULARY, GROUPS, SIZE = 96, 100, 8, 8  # of the small world (conftest.py)

World = Any  # conftest.World and conftest.Draft: tests cannot import a conftest
Draft = Any
Attack = Callable[[World, Draft], None]

ATTACKS: dict[str, tuple[Reason, Attack]] = {}


def attack(reason: Reason) -> Callable[[Attack], Attack]:
    def add(function: Attack) -> Attack:
        ATTACKS[function.__name__] = reason, function
        return function

    return add


def change(draft: Draft, index: int, rollout: int, **columns: Any) -> None:
    draft.groups[index][rollout] = replace(draft.groups[index][rollout], **columns)


def find_rollout(world: World, draft: Draft, *, ended: bool) -> int:
    """A rollout of the audited group that ended by itself, or at the length limit."""
    group = draft.groups[world.audited]
    ends = [rollout.tokens[-1] == END for rollout in group]
    return ends.index(ended)


def flip(data: bytes, at: int = -1) -> bytes:
    changed = bytearray(data)
    changed[at] ^= 1
    return bytes(changed)


# Before anything is fetched


@attack(Reason.NOT_REGISTERED)
def hotkey_without_a_uid(world: World, draft: Draft) -> None:
    draft.is_member = False


@attack(Reason.NO_COMMITMENT)
def nothing_committed(world: World, draft: Draft) -> None:
    draft.is_committed = False


@attack(Reason.TOO_LARGE)
def one_group_above_the_cap(world: World, draft: Draft) -> None:
    draft.committed_groups = world.parameters.work.group_cap + 1


@attack(Reason.MALFORMED)
def no_group_committed(world: World, draft: Draft) -> None:
    draft.committed_groups = 0


# Header and index


@attack(Reason.NOT_REVEALED)
def file_withheld(world: World, draft: Draft) -> None:
    gone = Refusal(Reason.NOT_REVEALED, "there is no such file", unbound=True)
    draft.change_file = lambda data, opening: gone


@attack(Reason.NOT_REVEALED)
def file_cut_off_in_its_index(world: World, draft: Draft) -> None:
    draft.change_file = lambda data, opening: data[: HEADER_BYTES + 1]


@attack(Reason.MALFORMED)
def a_byte_before_the_header(world: World, draft: Draft) -> None:
    draft.change_file = lambda data, opening: data[:1] + data


@attack(Reason.MALFORMED)
def fewer_groups_in_the_header_than_committed(world: World, draft: Draft) -> None:
    draft.header["groups"] = GROUPS - 1


@attack(Reason.MALFORMED)
def more_groups_committed_than_there_are(world: World, draft: Draft) -> None:
    draft.committed_groups = GROUPS + 1


@attack(Reason.WRONG_HEADER)
def header_of_another_version(world: World, draft: Draft) -> None:
    draft.header["version"] = 1


@attack(Reason.WRONG_HEADER)
def header_of_another_network(world: World, draft: Draft) -> None:
    draft.header["parameters"] = flip(world.parameters.digest)


@attack(Reason.WRONG_HEADER)
def last_window_s_file(world: World, draft: Draft) -> None:
    draft.header["window"] = world.context.window - 1


@attack(Reason.WRONG_HEADER)
def another_miner_s_file(world: World, draft: Draft) -> None:
    draft.header["hotkey"] = world.neighbour


@attack(Reason.WRONG_HEADER)
def smaller_groups(world: World, draft: Draft) -> None:
    draft.header["group_size"] = SIZE - 1


@attack(Reason.WRONG_HEADER)
def wider_ids(world: World, draft: Draft) -> None:
    draft.header["id_bits"] = 8


@attack(Reason.MALFORMED)
def ids_wider_than_any(world: World, draft: Draft) -> None:
    draft.header["id_bits"] = 33


@attack(Reason.ROOT_MISMATCH)
def another_root_committed(world: World, draft: Draft) -> None:
    draft.change_root = flip


@attack(Reason.ROOT_MISMATCH)
def index_changed_after_the_commitment(world: World, draft: Draft) -> None:
    draft.change_file = lambda data, opening: flip(data, get_opening_bytes(GROUPS) - 1)


@attack(Reason.ROOT_MISMATCH)
def an_index_that_the_header_does_not_name(world: World, draft: Draft) -> None:
    draft.header["index"] = bytes(32)


@attack(Reason.ROOT_MISMATCH)
def a_tree_that_the_groups_do_not_make(world: World, draft: Draft) -> None:
    draft.header["tree"] = bytes(32)


@attack(Reason.WRONG_CHECKPOINT)
def work_for_a_stale_checkpoint(world: World, draft: Draft) -> None:
    draft.header["checkpoint"] = bytes(32)


# Parts of a group, other than committed


def change_place(draft: Draft, find: Callable[[Opening], int]) -> None:
    """One bit of the file flipped, at a byte that the opening tells."""
    draft.change_file = lambda data, opening: flip(data, find(opening))


@attack(Reason.NOT_REVEALED)
def audited_group_withheld(world: World, draft: Draft) -> None:
    last = world.chosen[-1].index
    draft.change_file = lambda data, opening: data[: opening.find_group(last).start]


@attack(Reason.ROOT_MISMATCH)
def path_of_a_group_flipped(world: World, draft: Draft) -> None:
    change_place(draft, lambda opening: opening.find_head(world.audited).start)


@attack(Reason.ROOT_MISMATCH)
def head_of_a_group_flipped(world: World, draft: Draft) -> None:
    change_place(draft, lambda opening: opening.find_head(world.audited).end - 1)


@attack(Reason.ROOT_MISMATCH)
def ids_of_a_valued_group_flipped(world: World, draft: Draft) -> None:
    change_place(draft, lambda opening: opening.find_ids(world.audited).end - 1)


@attack(Reason.ROOT_MISMATCH)
def proof_of_an_audited_rollout_flipped(world: World, draft: Draft) -> None:
    """All proofs of its group, because the group's content decides which one is audited."""

    def blank(data: bytes, opening: Opening) -> bytes:
        place = opening.find_proofs(world.audited)
        return data[: place.start] + bytes(place.size) + data[place.end :]

    draft.change_file = blank


@attack(Reason.ROOT_MISMATCH)
def another_group_of_the_file_served(world: World, draft: Draft) -> None:
    def swap(data: bytes, opening: Opening) -> bytes:
        here, there = opening.find_group(world.audited), opening.find_group(world.unseen)
        other = data[there.start : there.end][: here.size].ljust(here.size, b"\0")
        return data[: here.start] + other + data[here.end :]

    draft.change_file = swap


# Parts of a group that no encoder writes, under a true root


@attack(Reason.MALFORMED)
def head_cut_off(world: World, draft: Draft) -> None:
    draft.change_parts[world.audited] = lambda parts: (parts[0][:-1], *parts[1:])


@attack(Reason.MALFORMED)
def head_with_a_byte_after_it(world: World, draft: Draft) -> None:
    draft.change_parts[world.audited] = lambda parts: (parts[0] + b"\0", *parts[1:])


@attack(Reason.MALFORMED)
def empty_head(world: World, draft: Draft) -> None:
    draft.change_parts[world.audited] = lambda parts: (b"", *parts[1:])


@attack(Reason.MALFORMED)
def bytes_that_belong_to_no_rollout(world: World, draft: Draft) -> None:
    draft.change_parts[world.audited] = lambda parts: (*parts[:2], parts[2] + b"\0")


@attack(Reason.MALFORMED)
def ids_by_a_code_that_is_not_their_own(world: World, draft: Draft) -> None:
    """It decodes to the same ids: only that another code follows from them is wrong."""
    group = draft.groups[world.audited]
    tokens = np.concatenate([rollout.tokens for rollout in group]).astype(np.int64)
    other = make_prefix_code(np.append(tokens, [3] * len(tokens)), 7)
    make = submission.make_prefix_code
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            submission,
            "make_prefix_code",
            lambda numbers, bits: other if bits == 7 else make(numbers, bits),
        )
        parts = submission.encode_group(group, 7)
    draft.change_parts[world.audited] = lambda honest: parts


@attack(Reason.MALFORMED)
def logprob_above_24_bits(world: World, draft: Draft) -> None:
    for r, rollout in enumerate(draft.groups[world.audited]):
        change(draft, world.audited, r, logprobs=rollout.logprobs | np.uint32(2**24))


@attack(Reason.MALFORMED)
def sketch_beyond_its_range(world: World, draft: Draft) -> None:
    for r, rollout in enumerate(draft.groups[world.audited]):
        change(draft, world.audited, r, sketch=np.full_like(rollout.sketch, -128))


@attack(Reason.TOO_LARGE)
def a_part_larger_than_any_honest_one(world: World, draft: Draft) -> None:
    most = get_part_limits(world.parameters.work, 7).proofs
    draft.change_parts[world.unseen] = lambda parts: (*parts[:2], bytes(most + 1))


@attack(Reason.TOO_LARGE)
def a_rollout_longer_than_any_may_be(world: World, draft: Draft) -> None:
    count = world.parameters.work.max_tokens + 1
    column = np.zeros(count, np.uint32)
    draft.groups[world.audited][0] = Rollout(column, column, np.zeros((count, 2), np.int8))


# Tokens


@attack(Reason.TOKEN_OUT_OF_RANGE)
def token_beyond_the_vocabulary(world: World, draft: Draft) -> None:
    change_token(world, draft, VOCABULARY)


@attack(Reason.TOKEN_OUT_OF_RANGE)
def largest_token(world: World, draft: Draft) -> None:
    change_token(world, draft, 2**7 - 1)


@attack(Reason.TOKEN_OUT_OF_RANGE)
def token_that_may_not_be_drawn(world: World, draft: Draft) -> None:
    change_token(world, draft, END + 1)


def change_token(world: World, draft: Draft, token: int) -> None:
    tokens = draft.groups[world.audited][0].tokens.copy()
    tokens[0] = token
    change(draft, world.audited, 0, tokens=tokens)


@attack(Reason.WRONG_TERMINATION)
def completion_stopped_early(world: World, draft: Draft) -> None:
    r = find_rollout(world, draft, ended=False)
    world.rewrite(draft, world.audited, r, draft.groups[world.audited][r].tokens[:-1])


@attack(Reason.WRONG_TERMINATION)
def tokens_after_the_end(world: World, draft: Draft) -> None:
    r = find_rollout(world, draft, ended=True)
    world.rewrite(draft, world.audited, r, [*draft.groups[world.audited][r].tokens, 3])


@attack(Reason.WRONG_TERMINATION)
def two_end_tokens(world: World, draft: Draft) -> None:
    r = find_rollout(world, draft, ended=True)
    world.rewrite(draft, world.audited, r, [*draft.groups[world.audited][r].tokens, END])


@attack(Reason.WRONG_TERMINATION)
def padding_beyond_the_limit(world: World, draft: Draft) -> None:
    r = find_rollout(world, draft, ended=False)
    world.rewrite(draft, world.audited, r, [*draft.groups[world.audited][r].tokens, 3])


@attack(Reason.WRONG_TERMINATION)
def genuine_sampling_beyond_the_limit_to_an_end_token(world: World, draft: Draft) -> None:
    r = find_rollout(world, draft, ended=False)
    prompt, seed = world.get_prompt(world.audited), world.get_seed(world.audited, r)
    tokens = world.forward.complete(prompt, seed, 10_000)
    assert tokens[-1] == END
    assert len(tokens) > world.manifest.max_tokens
    world.rewrite(draft, world.audited, r, tokens)


@pytest.mark.parametrize("name", ATTACKS)
def test_attack_is_refused(world: World, name: str) -> None:
    reason, apply = ATTACKS[name]
    draft = world.mine()
    apply(world, draft)
    world.check_refusal(world.judge(draft), reason)
