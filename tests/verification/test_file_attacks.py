"""Files a miner would like to be paid for: one defect each, and the reason it is refused."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from assay.protocol import Footer, Reason, Refusal, Rollout
from assay.protocol.submission import encode_rollout

END, VOCABULARY, GROUPS = 96, 100, 8  # of the small world (conftest.py)

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


# The footer


@attack(Reason.NOT_REVEALED)
def file_withheld(world: World, draft: Draft) -> None:
    draft.change_footer = lambda footer: Refusal(Reason.NOT_REVEALED, "there is no such file")


@attack(Reason.MALFORMED)
def header_cut_off(world: World, draft: Draft) -> None:
    draft.change_footer = lambda footer: Footer(footer.header[:-1], footer.leaves)


@attack(Reason.MALFORMED)
def header_with_a_byte_more(world: World, draft: Draft) -> None:
    draft.change_footer = lambda footer: Footer(footer.header + b"\0", footer.leaves)


@attack(Reason.MALFORMED)
def leaf_missing(world: World, draft: Draft) -> None:
    draft.change_footer = lambda footer: Footer(footer.header, footer.leaves[:-1])


@attack(Reason.MALFORMED)
def leaf_added(world: World, draft: Draft) -> None:
    draft.change_footer = lambda footer: Footer(footer.header, (*footer.leaves, footer.leaves[-1]))


@attack(Reason.WRONG_HEADER)
def header_of_another_version(world: World, draft: Draft) -> None:
    draft.header["version"] = 2


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
def fewer_groups_than_committed(world: World, draft: Draft) -> None:
    draft.committed_groups = GROUPS + 1


@attack(Reason.ROOT_MISMATCH)
def another_root_committed(world: World, draft: Draft) -> None:
    draft.change_root = flip


@attack(Reason.ROOT_MISMATCH)
def leaf_changed_after_the_commitment(world: World, draft: Draft) -> None:
    draft.change_footer = lambda footer: Footer(
        footer.header, (flip(footer.leaves[0]), *footer.leaves[1:])
    )


@attack(Reason.ROOT_MISMATCH)
def leaves_in_another_order(world: World, draft: Draft) -> None:
    draft.change_footer = lambda footer: Footer(footer.header, footer.leaves[::-1])


@attack(Reason.WRONG_CHECKPOINT)
def work_for_a_stale_checkpoint(world: World, draft: Draft) -> None:
    draft.header["checkpoint"] = bytes(32)


# Bytes of a group


@attack(Reason.NOT_REVEALED)
def audited_group_withheld(world: World, draft: Draft) -> None:
    draft.change_bytes[world.audited] = lambda data: Refusal(Reason.NOT_REVEALED, "gone")


@attack(Reason.NOT_REVEALED)
def only_audited_groups_uploaded(world: World, draft: Draft) -> None:
    for index in world.chosen.sampled:
        draft.change_bytes[index] = lambda data: Refusal(Reason.NOT_REVEALED, "never uploaded")


@attack(Reason.MALFORMED)
def group_cut_off(world: World, draft: Draft) -> None:
    draft.change_bytes[world.audited] = lambda data: data[:-1]


@attack(Reason.MALFORMED)
def group_with_bytes_after_it(world: World, draft: Draft) -> None:
    draft.change_bytes[world.audited] = lambda data: data + b"\0"


@attack(Reason.MALFORMED)
def rollout_missing(world: World, draft: Draft) -> None:
    draft.groups[world.audited].pop()


@attack(Reason.MALFORMED)
def rollout_without_a_token(world: World, draft: Draft) -> None:
    none = np.zeros(0, np.uint32)
    draft.groups[world.audited][0] = Rollout(none, none, np.zeros((0, 2), np.int8))


@attack(Reason.MALFORMED)
def logprob_above_24_bits(world: World, draft: Draft) -> None:
    logprobs = draft.groups[world.audited][0].logprobs.copy()
    logprobs[0] = 2**24
    change(draft, world.audited, 0, logprobs=logprobs)


@attack(Reason.ROOT_MISMATCH)
def one_bit_of_an_audited_group_flipped(world: World, draft: Draft) -> None:
    draft.change_bytes[world.audited] = flip


@attack(Reason.ROOT_MISMATCH)
def one_bit_of_a_sampled_group_flipped(world: World, draft: Draft) -> None:
    draft.change_bytes[world.chosen.sampled[-1]] = flip


@attack(Reason.ROOT_MISMATCH)
def another_group_of_the_file_served(world: World, draft: Draft) -> None:
    other = b"".join(map(encode_rollout, draft.groups[world.unseen]))
    draft.change_bytes[world.audited] = lambda data: other


# Tokens


@attack(Reason.TOKEN_OUT_OF_RANGE)
def token_beyond_the_vocabulary(world: World, draft: Draft) -> None:
    change_token(world, draft, VOCABULARY)


@attack(Reason.TOKEN_OUT_OF_RANGE)
def largest_token(world: World, draft: Draft) -> None:
    change_token(world, draft, 2**32 - 1)


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
