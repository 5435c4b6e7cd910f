"""Turns a WindowCase into an explanation: rule, place, measure, likely cause and remedy.

Pure: no file, no chain, no clock.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from assay.audit.explain.measures import Measure, list_measures
from assay.audit.explain.pay import list_pay
from assay.audit.explain.settled_share import describe_settled
from assay.audit.explain.texts import Text, choose_text
from assay.audit.explain.window_case import Rejudgment, StatedVerdict, WindowCase
from assay.environments.registry import open_environment
from assay.environments.steering import LevelStanding, list_standings
from assay.judge.provable import BY_MODEL
from assay.protocol.commitment import make_object_name
from assay.protocol.prompt_terms import describe_prompts
from assay.protocol.reason import WITHHELD, Reason, name_cost
from assay.protocol.reward_terms import describe_rewards
from assay.protocol.selection import select_committed
from assay.protocol.ss58 import encode_ss58
from assay.verification import Accepted, Refused, compute_score

#: Margins of a slightly wrong reference stay below this, logits: bf16's noise is about 0.04.
_PRECISION_MARGIN = 0.1
#: Most hotkeys of a coldkey that are named.
_OWNED_SHOWN = 8
#: Reasons that concern reading the file rather than its content.
_FETCHING = WITHHELD - {Reason.WRONG_HEADER, Reason.WRONG_CHECKPOINT}
#: Reasons that come from forward passes.
_BY_MODEL = BY_MODEL | {Reason.ACCEPTED}


@dataclass(frozen=True, slots=True)
class ExplainedGroup:
    """A group that the audit looked at."""

    index: int
    rollouts: int  # number of audited rollouts: those that went through the model
    audited: tuple[int, ...] | None  # their places; None if unknown: the lengths decide it
    valued: bool  # all of it was read and scored; else only the audited rollouts
    value: int | None  # None unless it was valued in an accepted file


@dataclass(frozen=True, slots=True)
class Explanation:
    """One hotkey's window, explained."""

    facts: WindowCase
    reason: Reason | None  # None if no known fact decides
    who: str  # source of the verdict
    text: Text | None
    where: Mapping[str, int]
    seen: tuple[str, ...]  # the findings, one sentence each
    measures: tuple[Measure, ...]
    groups: tuple[ExplainedGroup, ...]  # ascending; empty unless the model was run
    score: int | None
    pay: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def rewards(self) -> list[str]:
        """What earns a reward in this window, a sentence each."""
        parameters = self.facts.context.parameters
        return describe_rewards(parameters.rewards, parameters.work.max_tokens)

    @property
    def prompts(self) -> list[str]:
        """The owner's words around each problem, a line each."""
        return describe_prompts(self.facts.context.parameters.environment.prompts)

    @property
    def accepted(self) -> bool | None:
        """True if it was accepted, False if it was refused; None: not known."""
        return None if self.reason is None else self.reason is Reason.ACCEPTED

    @property
    def levels(self) -> list[LevelStanding]:
        """The levels that were asked; empty if the window's checkpoint is not at hand."""
        outline = self.facts.rejudgment.outline
        if outline is None:
            return []
        try:
            environment = open_environment(self.facts.context.parameters.environment)
            return list_standings(outline.manifest, environment)
        except ValueError:  # the environment, or its level, is not of this machine
            return list_standings(outline.manifest, None)

    def to_json(self) -> dict[str, Any]:
        """The explanation as one document, for scripts."""
        facts, text = self.facts, self.text
        return {
            "hotkey": encode_ss58(facts.hotkey),
            "window": facts.context.window,
            "accepted": self.accepted,
            "reason": self.reason and self.reason.value,
            "by": self.who,
            "rule": text and text.rule,
            "section": text and text.section,
            **self.where,
            "seen": list(self.seen),
            "measures": [asdict(measure) for measure in self.measures],
            "causes": list(text.causes) if text else [],
            "remedies": list(text.remedies) if text else [],
            "costs": name_cost(self.reason),
            "groups": [asdict(group) for group in self.groups],
            "levels": [asdict(standing) for standing in self.levels],
            "score": self.score,
            "prompts": self.prompts,
            "rewards": list(self.rewards),
            "said": [_describe(statement) for statement in facts.statements],
            "own": facts.own_verdict and _describe(facts.own_verdict),
            "settlement": facts.settled and describe_settled(facts.settled),
            "pay": list(self.pay),
            "notes": list(self.notes),
        }


def explain(facts: WindowCase) -> Explanation:
    """Explain a window. Validators' claims come first, and own findings fill their gaps."""
    rejudged = facts.rejudgment.verdict
    statement = next((s for s in facts.statements if s.reason is not None), None)
    words = statement or facts.own_verdict
    reason = words.reason if words is not None else None
    who = words.who if words is not None and reason is not None else ""
    if reason is None and rejudged is not None:
        reason = rejudged.reason
        without = "" if facts.rejudgment.has_model else ", without a model"
        who = f"the judge on this machine{without}"
    agrees = rejudged is not None and rejudged.reason is reason
    where = _find_where(words, facts, agrees)
    statistics = _get_statistics(words, facts, agrees)
    turns = facts.context.parameters.work.turns
    text = None if reason is None else _order(choose_text(reason, turns), reason, statistics)
    groups = _list_groups(words, facts, reason) if reason in _BY_MODEL else ()
    return Explanation(
        facts=facts,
        reason=reason,
        who=who,
        text=text,
        where=where,
        seen=tuple(_list_seen(words, facts, reason, agrees)),
        measures=list_measures(facts, reason, statistics),
        groups=groups,
        score=_compute_score(words, facts, reason),
        pay=tuple(list_pay(facts)),
        notes=tuple(_list_notes(facts, reason)),
    )


def _describe(statement: StatedVerdict) -> dict[str, Any]:
    return {
        "who": statement.who,
        "outcome": statement.outcome and statement.outcome.value,
        "reason": statement.reason and statement.reason.value,
        "detail": statement.detail,
        "score": statement.score,
    }


def _find_where(words: StatedVerdict | None, facts: WindowCase, agrees: bool) -> dict[str, int]:
    rejudged = facts.rejudgment.verdict
    sources: list[Any] = [rejudged.fault] if agrees and isinstance(rejudged, Refused) else []
    sources += [words] if words is not None else []
    for source in sources:
        where = {name: getattr(source, name) for name in ("group", "rollout", "token")}
        if where["group"] is not None:
            place = facts.rejudgment.place if agrees else None
            where["turn"] = None if place is None else place.turn
            return {name: value for name, value in where.items() if value is not None}
    return {}


def _get_statistics(
    words: StatedVerdict | None, facts: WindowCase, agrees: bool
) -> Mapping[str, float]:
    """The statistics measured here if the model was available, else the validator's."""
    rejudged = facts.rejudgment.verdict
    if agrees and rejudged is not None and facts.rejudgment.has_model:
        statistics: dict[str, float] = rejudged.to_record().to_json(0)["statistics"]
        return statistics
    return {} if words is None else words.statistics


def _order(text: Text, reason: Reason, statistics: Mapping[str, float]) -> Text:
    """The text with its causes reordered, if the figures suggest that."""
    margin = statistics.get("margin_max", 0.0)
    if reason is not Reason.SAMPLING_MISMATCH or margin < _PRECISION_MARGIN:
        return text
    precision, model, *others = text.causes
    return Text(text.section, text.rule, (*others, model, precision), text.remedies)


def _list_groups(
    words: StatedVerdict | None, facts: WindowCase, reason: Reason
) -> tuple[ExplainedGroup, ...]:
    rejudgment, committed = facts.rejudgment, facts.context.commitments.get(facts.hotkey)
    if committed is None:
        return ()
    chosen = select_committed(facts.context, facts.hotkey, committed.groups)
    audited = {**(words.audited if words is not None else {}), **rejudgment.audited}
    valued = [group.index for group in chosen if group.valued]
    values: dict[int, int] = {}
    if reason is Reason.ACCEPTED and isinstance(rejudgment.verdict, Accepted):
        values = {group.index: group.value for group in rejudgment.verdict.groups}
    elif words is not None and len(words.values) == len(valued):
        values = dict(zip(valued, words.values, strict=True))
    return tuple(
        ExplainedGroup(g.index, g.rollouts, audited.get(g.index), g.valued, values.get(g.index))
        for g in chosen
    )


def _compute_score(
    words: StatedVerdict | None, facts: WindowCase, reason: Reason | None
) -> int | None:
    if words is not None:
        return words.score
    verdict = facts.rejudgment.verdict
    return compute_score(verdict) if verdict is not None and reason is Reason.ACCEPTED else None


def _list_seen(
    words: StatedVerdict | None, facts: WindowCase, reason: Reason | None, agrees: bool
) -> list[str]:
    rejudged = facts.rejudgment.verdict
    seen = []
    if facts.owned:
        seen.append(_name_owned(facts.owned))
    if agrees and rejudged is not None:
        seen.append(rejudged.detail)
    elif words is not None and words.detail:
        seen.append(words.detail)
    if agrees and facts.rejudgment.place is not None:
        seen += _describe_turn(facts.rejudgment, reason)
    close, outline = facts.rejudgment.measured, facts.rejudgment.outline
    if agrees and close is not None and outline is not None and isinstance(rejudged, Refused):
        read = outline.tokenizer.decode
        ends = outline.manifest.end_tokens

        def name(token: int) -> str:
            return f"{token} ({'an end token' if token in ends else repr(read([token]))})"

        if reason is Reason.SAMPLING_MISMATCH:
            seen.append(
                f"it submitted id {name(close.claimed)}; seeded Gumbel-max sampling draws id "
                f"{name(close.drawn)}"
            )
            seen.append(
                f"{close.off} of the rollout's {close.tokens} tokens are not the ones that "
                f"seeded Gumbel-max sampling draws, "
                f"{close.above_cap} of them beyond the cap; the fingerprints, which are compared "
                f"first, passed"
            )
        if reason is Reason.LOGPROB_MISMATCH:
            claimed, measured = close.logprobs
            seen.append(
                f"at token {rejudged.fault.token} it claims {claimed:.6f} nats (−ln p), and the "
                f"verification pass has {measured:.6f}"
            )
    committed = facts.context.commitments.get(facts.hotkey)
    if reason is Reason.NOT_REVEALED and committed is not None:
        name_there = make_object_name(encode_ss58(facts.hotkey), facts.context.window)
        seen.append(f"the validator looked for {name_there} under {committed.locator!r}")
    return seen


def _describe_turn(rejudgment: Rejudgment, reason: Reason | None) -> list[str]:
    """The turn in question, and what the world said before it."""
    place, unlike = rejudgment.place, rejudgment.unlike
    assert place is not None  # the caller has checked
    if reason is Reason.SKETCH_MISMATCH and unlike is not None:
        place = unlike
        seen = [
            f"the first turn whose fingerprint differs is turn {place.turn}; turns count from 0"
        ]
    else:
        seen = [f"this token is token {place.token} of turn {place.turn}; turns count from 0"]
    if place.reply is not None:
        seen.append(
            f"before this turn the environment replied, as derived here in {place.reply_tokens} "
            f"tokens "
            f"with the text around it: {place.reply!r}"
        )
    elif place.turn:
        seen.append(
            "before this turn the episode had ended, as derived here: the environment gave no reply"
        )
    return seen


def _name_owned(owned: Sequence[bytes]) -> str:
    listed = ", ".join(encode_ss58(hotkey) for hotkey in owned[:_OWNED_SHOWN])
    more = f" and {len(owned) - _OWNED_SHOWN} more" if len(owned) > _OWNED_SHOWN else ""
    return (
        "the address is a member's coldkey, not a hotkey: name one of its hotkeys with --hotkey: "
        f"{listed}{more}"
    )


def _list_notes(facts: WindowCase, reason: Reason | None) -> list[str]:
    rejudged = facts.rejudgment.verdict
    notes = list(facts.notes)
    others = [s for s in facts.statements if s.reason is not None]
    notes += [f"{s.who} says {s.reason}" for s in others[1:] if s.reason is not others[0].reason]
    if rejudged is not None and reason is not None and rejudged.reason is not reason:
        notes.append(_compare(facts, reason, rejudged.reason))
    if facts.own_verdict is not None and others and facts.own_verdict.reason not in (None, reason):
        notes.append(
            f"the miner's own judge had said {facts.own_verdict.reason}: {facts.own_verdict.detail}"
        )
    return [*notes, *facts.rejudgment.lacks]


def _compare(facts: WindowCase, stated: Reason, here: Reason) -> str:
    """The reason why two judges may differ without either being wrong."""
    if stated is Reason.LEDGER_MISMATCH:
        return (
            f"judged by itself the file is {here}: the ledger adds up all windows of the "
            "settlement, and one file cannot show it"
        )
    if stated in _FETCHING:
        return (
            f"the file that can be read from here now is {here}: the validator could not read it, "
            "or read another one then"
        )
    return f"judged here it is {here}: `assay audit` shows whether the validator's record is true"
