"""What each reason means, in words: the rule, what usually lies behind it, what to do.

One entry a reason of `assay.protocol.reason`. The numbers of a case stand in `measures`.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from assay.protocol import Reason


@dataclass(frozen=True, slots=True)
class Text:
    """Words for one reason."""

    section: int  # of docs/specification.md
    rule: str  # what was asked for, one sentence
    causes: tuple[str, ...]  # what usually lies behind it, most likely first
    remedies: tuple[str, ...]  # what to do, in order


_DRAFT = (
    "end every rollout with the fp32 reference: `assay mine` does, and so does "
    "`assay.inference.generate_groups`, whatever drafts"
)
_PRECISION = (
    "the last step was not the fp32 reference: bf16, fp16, TF32 or a quantised model drew the token"
)
_STALE = "the model was another than the window's checkpoint: a stale, fine-tuned or smaller one"
_ENCODE = "write the file with `assay.protocol.submission.encode_submission`, as `assay mine` does"
_ALONE = (
    "judge the file before you commit to it: `assay verify … --all` looks at every rollout, not "
    "only at those that an audit happens to draw"
)

TEXTS: Mapping[Reason, Text] = {
    Reason.NOT_REGISTERED: Text(
        2,
        "A hotkey takes part in a window if it holds the same uid, registered at the same block, "
        "at the window's first block and at its commitment block.",
        (
            "the hotkey was registered after the window's first block: it begins with the next one",
            "its uid was taken by a newer registration in the middle of the window",
            "the hotkey was swapped for another in the middle of the window",
            "the miner ran with another hotkey than the one that is registered",
        ),
        (
            "`assay metagraph` shows which hotkeys hold a uid now; `assay register` buys one",
            "mine from the first window that begins after the registration",
        ),
    ),
    Reason.NO_COMMITMENT: Text(
        2,
        "What counts is the commitment to this very window that the chain's state holds at exactly "
        "the window's commitment block.",
        (
            "the commitment was sent too late and stood only after that block",
            "a commitment to another window stood in the slot: there is one slot a hotkey, and the "
            "next commitment overwrites it too early",
            "the miner was not running, or had no group finished in time",
            "another program used the same hotkey's slot",
        ),
        (
            "commit earlier: a larger `commit_margin` under [miner], or fewer `groups`",
            "commit as soon as something is done and again when there is more: the last one counts",
            "`assay status --dir <the miner's folder>` shows when each commitment was sent",
        ),
    ),
    Reason.NOT_REVEALED: Text(
        8,
        "The file must be readable under the locator that was committed to, from the audit's round "
        "up to the last block of fetching.",
        (
            "the store is not readable from outside: private, behind a login or a firewall",
            "the locator on chain names another place than the one written to",
            "the upload failed, was cut off, or came after the last block of fetching",
            "the store was down, too slow, or answered with a redirect to another host",
            "the validator does not open stores of this kind or place",
        ),
        (
            "read the file from another machine than the miner's, under exactly the locator that "
            "stands on chain, and compare its size with what was written",
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
            "a completion went on beyond the parameters' longest",
            "the file was written by another encoder, which takes more bytes than a fixed width",
        ),
        (_ENCODE,),
    ),
    Reason.MALFORMED: Text(
        4,
        "Rows have exactly one encoding: every number in as few bits as the rules allow, every "
        "group's ids coded by their own frequencies, and no byte besides.",
        (
            "the file was written by another encoder, or another version: what it means may be "
            "right, and its bytes are not",
            "the commitment was made for another number of groups than the file's header names, "
            "or for none",
            "another program rewrote the file",
        ),
        (_ENCODE, "compare what the store serves with what was written, byte for byte"),
    ),
    Reason.WRONG_HEADER: Text(
        4,
        "The file's header names version, parameters, window, hotkey, group size and bits of an "
        "id, each as the window and its checkpoint have them.",
        (
            "the file of another window, or of another hotkey, lies under this name",
            "the miner worked by parameters that the owner has replaced meanwhile",
            "the ids were coded for another vocabulary than the checkpoint's",
        ),
        (
            "restart the miner: it reads the parameters in force when it starts",
            "give each hotkey a folder and a place in the store of its own",
        ),
    ),
    Reason.ROOT_MISMATCH: Text(
        4,
        "Header and index are those that the root on chain binds, every group's head the one that "
        "the header's tree binds, and every record of ids or proofs the one that its head names.",
        (
            "the file was uploaded anew after the last commitment that stood in time",
            "a newer commitment came too late, so that an older root counts",
            "a part of the file was changed after the root was computed",
        ),
        (
            "upload first, commit then, and leave the file as it is until verdicts are final",
            "`assay status` shows whether the commitment stood at its block",
        ),
    ),
    Reason.WRONG_CHECKPOINT: Text(
        2,
        "The work is done with the checkpoint in force: the one that the trainer's slot held at "
        "the window's checkpoint block.",
        (
            "the miner went on with the checkpoint of an earlier window",
            "the miner took a checkpoint that was published too late to be in force",
            "the new checkpoint could not be fetched in time",
        ),
        (
            "`assay mine` takes the checkpoint in force by itself: see that it can fetch it "
            "(`assay doctor miner`)",
        ),
    ),
    Reason.TOKEN_OUT_OF_RANGE: Text(
        3,
        "Every token of every completion that is read is an id that the model may draw: below the "
        "vocabulary, known to the tokenizer, and not the padding.",
        (
            "padding was left in the completion",
            "another model's tokenizer or vocabulary was used",
            "the draft was sampled over all rows of the output matrix, unused ones too",
        ),
        ("cut padding off before the file is written", _DRAFT),
    ),
    Reason.WRONG_TERMINATION: Text(
        3,
        "A completion ends with its first end token, which is kept, or at exactly the checkpoint's "
        "longest length.",
        (
            "the completion was truncated: a time limit, or a smaller max_tokens in the engine",
            "the end token was stripped, as many engines do by default",
            "the engine ignored the end token, or knows another one than the manifest names",
        ),
        (
            "keep the end token, and take max_tokens and end tokens from the checkpoint's manifest",
            _DRAFT,
        ),
    ),
    Reason.SKETCH_MISMATCH: Text(
        6,
        "Two bytes a token sketch the hidden state that drew it, and may differ from the "
        "checkpoint's own by a rounding here and there.",
        (
            _STALE,
            "the states were computed in bf16 or from quantised weights",
            "the sketch is of another row: the state that drew the token, before it was appended, "
            "after the final norm",
            "it was made under another window's projection, or the tokens were changed afterwards",
        ),
        (_DRAFT, _ALONE),
    ),
    Reason.LOGPROB_MISMATCH: Text(
        6,
        "At positions that the audit draws, the log-probabilities are the checkpoint's own.",
        (
            "they come from the engine that drafted (bf16, quantised) and not from the reference",
            "they are at another temperature, or over a truncated vocabulary: they are at T = 1 "
            "over all ids that may be drawn",
            _STALE,
        ),
        (_DRAFT, _ALONE),
    ),
    Reason.SAMPLING_MISMATCH: Text(
        5,
        "Every token is the model's own draw under the noise that window, hotkey, group and "
        "rollout give: the id of the best score, and nothing else.",
        (
            _PRECISION,
            _STALE,
            "another temperature, top-k, top-p or a penalty: the draw is over all ids at the "
            "parameters' temperature",
            "another seed: of another window, hotkey, group or rollout; best of several tries",
        ),
        (_DRAFT, _ALONE),
    ),
    Reason.LEDGER_MISMATCH: Text(
        5,
        "Over all audited rollouts of a seat in one settlement, small deviations from the keyed "
        "draw stay within what honest noise can add up to.",
        (
            "the reference runs in a precision that is slightly off: TF32, bf16 in a part of it, "
            "another attention",
            "tokens are steered among near ties",
        ),
        ("compare your machine with the reference: `assay calibrate --model FOLDER`", _DRAFT),
    ),
    Reason.ACCEPTED: Text(
        8,
        "Every check passed on all that the audit drew: without the model on every completion that "
        "was read, with the model on every audited rollout.",
        (),
        (),
    ),
    Reason.INTERNAL: Text(
        8,
        "A validator that cannot judge abstains; where only some files break its judge, these lose "
        "the window.",
        ("the validator's own judge broke on this file: it is not the miner's fault",),
        ("ask the validator what its log says of this window; other validators may have judged",),
    ),
}
