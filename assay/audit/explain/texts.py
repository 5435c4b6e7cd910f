"""The meaning of each reason in words: the rule, the usual cause, the remedy.

There is one entry for each reason of `assay.protocol.reason`. `measures` has a case's numbers.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from assay.protocol.reason import Reason


@dataclass(frozen=True, slots=True)
class Text:
    """Words for one reason."""

    section: int  # of docs/specification.md
    rule: str  # the requirement, one sentence
    causes: tuple[str, ...]  # the usual causes, most likely first
    remedies: tuple[str, ...]  # what to do, in order


_DRAFT = (
    "let the fp32 verification pass decide every token: `assay mine` and "
    "`assay.inference.generate.generate_groups` do this with any drafter"
)
_PRECISION = (
    "the last step was not the fp32 verification pass: bf16, fp16, TF32 or a quantised model drew "
    "the token"
)
_STALE = "the model was another than the window's checkpoint: a stale, fine-tuned or smaller one"
_ENCODE = "write the file with `assay.protocol.submission.encode_submission`, as `assay mine` does"
_ALONE = (
    "judge the file before you commit to it: `assay verify … --all` checks every rollout, not only "
    "those that an audit happens to draw"
)

TEXTS: Mapping[Reason, Text] = {
    Reason.NOT_REGISTERED: Text(
        2,
        "A hotkey takes part in a window if it holds the same uid, registered at the same block, "
        "at the window's first block and at its commitment block.",
        (
            "the hotkey was registered after the window's first block: it starts with the next one",
            "its uid was taken by a newer registration in the middle of the window",
            "the hotkey was swapped for another in the middle of the window",
            "the miner ran with another hotkey than the one that is registered",
        ),
        (
            "`assay metagraph` shows which hotkeys have a uid now; `assay register` buys one",
            "mine from the first window that begins after the registration",
        ),
    ),
    Reason.NO_COMMITMENT: Text(
        2,
        "The commitment to this window must be in the chain's state at exactly the window's "
        "commitment block.",
        (
            "the commitment was sent too late and was on chain only after that block",
            "a commitment to another window was in the slot: a hotkey has one slot, and the next "
            "commitment overwrote it too early",
            "the miner was not running, or had no group finished in time",
            "another program used the same hotkey's slot",
        ),
        (
            "commit earlier: a larger `commit_margin` under [miner], or fewer `groups`",
            "commit as soon as a group is done, and again when there are more: the last one counts",
            "`assay status --dir <the miner's folder>` shows when each commitment was sent",
        ),
    ),
    Reason.NOT_REVEALED: Text(
        8,
        "The file must be readable under the committed store URL, from the audit's round up to "
        "FETCH_END.",
        (
            "the store is not readable from outside: private, behind a login or a firewall",
            "the store URL on chain names another place than the one written to",
            "the upload failed, was cut off, or ended after FETCH_END",
            "the store was down, too slow, or answered with a redirect to another host",
            "the validator does not open stores of this kind or place",
        ),
        (
            "read the file from another machine than the miner's, under exactly the store URL on "
            "chain, and compare its size with the written one",
            "keep files in place until the window's verdicts are final",
        ),
    ),
    Reason.TOO_LARGE: Text(
        4,
        "A commitment names at most as many groups as the parameters allow; a group's head, ids "
        "and proofs have at most as many bytes, and its rollouts at most as many tokens, as those "
        "of an honest one.",
        (
            "more groups were committed than the parameters allow",
            "a completion is longer than the parameters allow",
            "the file was written by another encoder, which takes more bytes than a fixed width",
        ),
        (_ENCODE,),
    ),
    Reason.MALFORMED: Text(
        4,
        "Rows have exactly one encoding: every number in as few bits as the rules allow, every "
        "group's ids coded by their own frequencies, and no other byte.",
        (
            "the file was written by another encoder, or another version: its content may be "
            "right, but its bytes are not",
            "the commitment was made for another number of groups than the file's header names, "
            "or for none",
            "another program rewrote the file",
        ),
        (_ENCODE, "compare the served bytes with the written ones"),
    ),
    Reason.WRONG_HEADER: Text(
        4,
        "The file's header names version, parameters, window, hotkey, group size and bits of an "
        "id, each as the window and its checkpoint have them.",
        (
            "the file of another window, or of another hotkey, has this name",
            "the miner used parameters that the owner has replaced meanwhile",
            "the ids were coded for another vocabulary than the checkpoint's",
        ),
        (
            "restart the miner: it reads the parameters in force when it starts",
            "give each hotkey its own folder and its own place in the store",
        ),
    ),
    Reason.ROOT_MISMATCH: Text(
        4,
        "The root on chain binds header and index, the header's tree binds every group's head, and "
        "the head binds every record of ids or proofs.",
        (
            "the file was uploaded again after the last commitment that was on chain in time",
            "a newer commitment came too late, so that an older root counts",
            "a part of the file was changed after the root was computed",
        ),
        (
            "upload first, commit then, and leave the file as it is until verdicts are final",
            "`assay status` shows whether the commitment was on chain at its block",
        ),
    ),
    Reason.WRONG_CHECKPOINT: Text(
        2,
        "The work must be done with the checkpoint in force: the one that the trainer's "
        "commitment named "
        "at the window's checkpoint block.",
        (
            "the miner continued with the checkpoint of an earlier window",
            "the miner used a checkpoint that was published too late to be in force",
            "the new checkpoint could not be fetched in time",
        ),
        (
            "`assay mine` uses the checkpoint in force by itself: make sure that it can fetch it "
            "(`assay doctor miner`)",
        ),
    ),
    Reason.TOKEN_OUT_OF_RANGE: Text(
        3,
        "Every token of a completion is an id that the model may draw: within the vocabulary, "
        "known to the tokenizer, and not the padding.",
        (
            "padding was left in the completion",
            "another model's tokenizer or vocabulary was used",
            "the draft was sampled over all rows of the output matrix, unused ones too",
        ),
        ("remove padding before the file is written", _DRAFT),
    ),
    Reason.WRONG_TERMINATION: Text(
        3,
        "A completion ends with its first end token, which is kept, or at exactly the checkpoint's "
        "longest length.",
        (
            "the completion was truncated: a time limit, or a smaller max_tokens in the engine",
            "the end token was stripped, as many engines do by default",
            "the engine ignored the end token, or uses another one than the manifest names",
        ),
        (
            "keep the end token, and take max_tokens and end tokens from the checkpoint's manifest",
            _DRAFT,
        ),
    ),
    Reason.SKETCH_MISMATCH: Text(
        6,
        "Two bytes a token, the activation fingerprint, are of the hidden state that drew it. They "
        "may differ from the checkpoint's own by an occasional rounding.",
        (
            _STALE,
            "the states were computed in bf16 or from quantised weights",
            "the fingerprint is of another row: the state that drew the token, before it was "
            "appended, "
            "after the final norm",
            "it was made under another window's projection, or the tokens were changed afterwards",
        ),
        (_DRAFT, _ALONE),
    ),
    Reason.LOGPROB_MISMATCH: Text(
        6,
        "At positions that the audit draws, the log-probabilities are the checkpoint's own.",
        (
            "they come from the engine that drafted (bf16, quantised) and not from the "
            "verification pass",
            "they are at another temperature, or over a truncated vocabulary: they must be at "
            "T = 1 over all ids that may be drawn",
            _STALE,
        ),
        (_DRAFT, _ALONE),
    ),
    Reason.SAMPLING_MISMATCH: Text(
        5,
        "Every token is the model's own draw under the noise of its window, hotkey, group and "
        "rollout: the id with the best score, and no other.",
        (
            _PRECISION,
            _STALE,
            "another temperature, top-k, top-p or a penalty was used: the draw is over all ids at "
            "the parameters' temperature",
            "the seed was another window's, hotkey's, group's or rollout's; or best of several",
        ),
        (_DRAFT, _ALONE),
    ),
    Reason.LEDGER_MISMATCH: Text(
        5,
        "Over all audited rollouts of a seat in one settlement, small deviations from "
        "seeded Gumbel-max sampling stay within what honest noise can add up to.",
        (
            "the verification pass runs in a precision that is slightly off: TF32, bf16 in a "
            "part of it, "
            "another attention",
            "tokens are steered among numerical ties",
        ),
        ("compare two implementations on your machine: `assay calibrate --model FOLDER`", _DRAFT),
    ),
    Reason.ACCEPTED: Text(
        8,
        "Every check of the audit passed: without the model on every completion that was read, "
        "with the model on every audited rollout.",
        (),
        (),
    ),
    Reason.INTERNAL: Text(
        8,
        "A validator that cannot judge abstains. If only some files break its judge, these lose "
        "the window.",
        ("the validator's own judge broke on this file: it is not the miner's fault",),
        ("ask the validator what its log says of this window; other validators may have judged",),
    ),
}

_OTHER_REPLY = (
    "a reply before the turn was not the environment's, or was given to the model with other "
    "tokens "
    "around it"
)
#: What is said of episodes in place of that.
_OF_EPISODES: Mapping[Reason, Text] = {
    Reason.WRONG_TERMINATION: Text(
        3,
        "An episode ends with the turn that its environment does not reply to, with the last of "
        "the "
        "turns or tokens that it may have, or where its context has no room; and it goes on after "
        "every other turn.",
        (
            "the completion was truncated: a time limit, or a smaller max_tokens in the engine",
            "the engine ignored the end token of a turn, or stripped it",
            "the episode was played by another version of the environment, or by other parameters",
        ),
        (
            "let `assay mine` play the episode: it asks an engine for one turn after the other",
            _DRAFT,
        ),
    ),
    Reason.SKETCH_MISMATCH: replace(
        TEXTS[Reason.SKETCH_MISMATCH], causes=(*TEXTS[Reason.SKETCH_MISMATCH].causes, _OTHER_REPLY)
    ),
}


def choose_text(reason: Reason, turns: int) -> Text:
    """What is said of a reason in a network whose rollouts have up to so many turns."""
    of_episodes = _OF_EPISODES.get(reason) if turns > 1 else None
    return of_episodes or TEXTS[reason]
