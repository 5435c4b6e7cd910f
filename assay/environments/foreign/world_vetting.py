"""Attacks on worlds: whether episodes can be right without what a model should learn.

Worlds are asked twice, the second time in another order, and a package's also with other
randomness, another time and other addresses in memory. They are shown right turns and wrong ones,
silence, hostile texts, and the right turns of other problems. No reply to turns that ask nothing
may hold what the right turns say.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

from assay.environments.base import ANSWER_BYTES, Problem, State
from assay.environments.foreign.guest_archive import GuestArchive
from assay.environments.foreign.hostile_answers import CODE, FILLINGS, write_long
from assay.environments.foreign.package_world import PackageEpisode
from assay.environments.foreign.thoughts import check_thoughts, write_thought
from assay.environments.foreign.vet_report import (
    CONSTANTS,
    SHARE,
    VetCheck,
    check_constant,
    check_cost,
    check_faults,
    draw_number,
)
from assay.environments.worlds.world import WorldEnvironment
from assay.protocol.hashing import DIGEST_BYTES
from assay.protocol.parameters import MILLION
from assay.sandbox import count_cores

#: A level and a number: a problem.
Entry = tuple[int, int]
#: Right episodes whose turns are tried on all problems of the lowest level.
_POLICIES = 20
#: Characters of a hostile turn, and between two turns in one.
_SIZE, _BETWEEN = 3_000, ("\n", ", ", " or ")
#: A word of a turn, by which replies are searched for it.
_WORD = re.compile(r"[0-9A-Za-z]+")


class Worlds(Protocol):
    """Worlds that are attacked."""

    @property
    def levels(self) -> Sequence[int]:
        """Ascending."""

    @property
    def turns(self) -> int:
        """The most of an episode."""

    @property
    def millions(self) -> int:
        """Millions of instructions of an episode; 0: none are counted."""

    def ask(self, kind: str, level: int, number: int) -> dict[str, Any]:
        """The reply to `make`, `right turns` or `wrong turns`, as of `GuestArchive.ask`."""

    def open(self, level: int, number: int) -> State:
        """The state of a problem before its first turn."""


@dataclass(frozen=True, slots=True)
class PackageWorlds:
    """Those of a package."""

    archive: GuestArchive
    levels: Sequence[int]
    turns: int
    millions: int

    def ask(self, kind: str, level: int, number: int) -> dict[str, Any]:
        return self.archive.ask(kind, level, number)

    def open(self, level: int, number: int) -> State:
        left = self.millions * MILLION
        return PackageEpisode(self.archive, level, number, self.turns, left)


@dataclass(frozen=True, slots=True)
class OwnWorlds:
    """Those of an environment of Assay's own."""

    environment: WorldEnvironment
    millions: int = 0

    @property
    def levels(self) -> Sequence[int]:
        return self.environment.levels

    @property
    def turns(self) -> int:
        return self.environment.turns

    def ask(self, kind: str, level: int, number: int) -> dict[str, Any]:
        """See `Worlds.ask`. Wrong turns are right ones of which the last says nothing."""
        problem = self._make(level, number)
        if kind == "make":
            return {"prompt": problem.prompt}
        turns = list(self.environment.solve(problem))
        return {"turns": turns} if kind == "right turns" else {"wrong": [[*turns[:-1], ""]]}

    def open(self, level: int, number: int) -> State:
        return self.environment.open(self._make(level, number))

    def _make(self, level: int, number: int) -> Problem:
        return self.environment.make_problem(number.to_bytes(DIGEST_BYTES, "big"), [level])


@dataclass(frozen=True, slots=True)
class _Played:
    """An episode: what was said to its turns, and whether it is right."""

    turns: tuple[str, ...]
    replies: tuple[str, ...]
    is_right: bool
    fault: str | None = field(default=None, compare=False)
    is_costly: bool = field(default=False, compare=False)
    instructions: int = field(default=0, compare=False)


@dataclass(slots=True)
class _Transcript:
    """The record of one asking."""

    contents: dict[Entry, list[Any]] = field(default_factory=dict)
    episodes: dict[Entry, list[_Played]] = field(default_factory=dict)
    faults: dict[str, list[str]] = field(default_factory=dict)
    thoughts: list[bool] = field(default_factory=list)
    tried: int = 0
    instructions: int = 0

    def note(self, check: str, entry: Entry, fault: str) -> None:
        where = f"level {entry[0]}, number {entry[1]}"
        self.faults.setdefault(check, []).append(f"{where}: {fault}")


def attack_worlds(worlds: Worlds, again: Worlds, problems: int) -> tuple[VetCheck, ...]:
    """The checks that worlds must pass.

    Args:
        again: the same worlds, for the second asking.
        problems: number tried at each level.

    Raises:
        WorkerError: no sandbox can run.
    """
    entries = [(level, draw_number(level, i)) for level in worlds.levels for i in range(problems)]
    first = _examine(worlds, entries, thorough=True)
    if "bounded" in first.faults or "problems" in first.faults or "right turns" in first.faults:
        return tuple(_list_faults(worlds, first))
    second = _examine(again, entries[::-1], thorough=False)
    concluded = (*_list_faults(worlds, first, second), _compare(worlds, first, second))
    if worlds.millions:
        concluded += (
            check_cost("a right or a silent episode", first.instructions, worlds.millions),
        )
    if not all(check.passed for check in concluded):
        return concluded
    if first.thoughts:
        concluded += (check_thoughts(first.thoughts),)
    return *concluded, *_try_policies(worlds)


def _examine(worlds: Worlds, entries: Sequence[Entry], *, thorough: bool) -> _Transcript:
    """Ask each problem. After an episode has once taken all instructions, ask nothing more."""
    transcript = _Transcript()
    lasts = {worlds.levels[0], worlds.levels[-1]}
    for entry in entries:
        if "bounded" in transcript.faults:
            break
        is_first = thorough and entry[0] in lasts and entry[1] == draw_number(entry[0], 0)
        other = entry[0], draw_number(entry[0], len(entries))  # none of them
        _examine_problem(worlds, entry, other, transcript, is_first)
    return transcript


def _examine_problem(
    worlds: Worlds, entry: Entry, other: Entry, transcript: _Transcript, is_first: bool
) -> None:
    kinds = {"make": "problems", "right turns": "right turns", "wrong turns": "wrong turns"}
    replies = {kind: worlds.ask(kind, *entry) for kind in kinds}
    for kind, check in kinds.items():
        if "error" in replies[kind]:
            transcript.note(check, entry, replies[kind]["error"])
    transcript.contents[entry] = [
        replies[kind].get(name)
        for kind, name in (("make", "prompt"), ("right turns", "turns"), ("wrong turns", "wrong"))
    ]
    if any("error" in reply for reply in replies.values()):
        return
    prompt: str = replies["make"]["prompt"]
    right: list[str] = replies["right turns"]["turns"]
    wrong: list[list[str]] = replies["wrong turns"]["wrong"]
    played = play(worlds, entry, right)
    _note_all(transcript, entry, "", [played])
    transcript.instructions = max(transcript.instructions, played.instructions)
    if not played.is_right:
        why = played.fault or "its score is not True"
        transcript.note("right turns", entry, f"{right[-1][:60]!r} at the end: {why}")
    elif len(played.turns) < len(right):
        transcript.note("right turns", entry, f"it is over after {len(played.turns)} of them")
    elif worlds.millions:  # of our own `try_thoughts` says it
        thoughts = [write_thought(wrong[0][-1] if wrong else "", turn) for turn in right]
        transcript.thoughts.append(play(worlds, entry, thoughts).is_right)
    if not wrong:
        transcript.note("wrong turns", entry, "list_wrong names none")
    silent = play(worlds, entry, [""] * worlds.turns)
    transcript.instructions = max(transcript.instructions, silent.instructions)
    _note_all(transcript, entry, "silence", [silent])
    texts = [" ", *CODE, prompt]
    long: list[str] = []
    if is_first:
        texts += [filling * (_SIZE // len(filling)) for filling in FILLINGS]
        long = list(write_long(right[-1], ANSWER_BYTES))
    _note_all(transcript, entry, "wrong turns", _play_all(worlds, entry, wrong))
    _note_all(transcript, entry, "", _play_all(worlds, entry, ([text] for text in long)))
    starts: list[list[str]] = [[], right[:-1]] if right[1:] else [[]]
    for before in starts:
        played_texts = _play_texts(worlds, entry, before, texts)
        _note_all(transcript, entry, "hostile turns", played_texts)
    answer = _answer_as(replies["right turns"], worlds.ask("right turns", *other))
    if answer.strip() and answer != right[-1]:
        for between in _BETWEEN:
            pair = (f"{right[-1]}{between}{answer}", f"{answer}{between}{right[-1]}")
            both = list(_play_all(worlds, entry, ([*right[:-1], text] for text in pair)))
            if all(one.is_right for one in both):
                transcript.note("hostile turns", entry, f"{pair[0][:60]!r} earns, in both orders")
            _note_all(transcript, entry, "", both)


def _answer_as(solved: dict[str, Any], other: dict[str, Any]) -> str:
    """Another problem's last right turn, in the form of this one's where it is known."""
    if "form" in solved and "bare" in other:
        before, after = solved["form"]
        return f"{before}{other['bare']}{after}"
    turns: list[str] = other.get("turns", [""])
    return turns[-1]


def play(worlds: Worlds, entry: Entry, turns: Sequence[str]) -> _Played:
    """An episode of such turns, as far as it goes."""
    state, replies = worlds.open(*entry), list[str]()
    for turn in turns:
        state, reply = state.step(turn, is_ended=True)
        if reply is None:
            break
        replies.append(reply)
    seen = tuple(turns[: len(replies) + 1])
    is_right = state.score().is_right
    if not isinstance(state, PackageEpisode):
        return _Played(seen, tuple(replies), is_right)
    instructions = worlds.millions * MILLION - state.left
    return _Played(seen, tuple(replies), is_right, state.error, state.is_costly, instructions)


def _play_all(worlds: Worlds, entry: Entry, episodes: Iterable[Sequence[str]]) -> Iterator[_Played]:
    with ThreadPoolExecutor(count_cores()) as executor:
        yield from executor.map(partial(play, worlds, entry), episodes)


def _play_texts(
    worlds: Worlds, entry: Entry, before: Sequence[str], texts: Sequence[str]
) -> Iterator[_Played]:
    """Episodes in which each of some texts is a turn, behind those before: as many of them in an
    episode as it has turns for."""
    left = worlds.turns - len(before)
    while texts:
        played = play(worlds, entry, [*before, *texts[:left]])
        yield played
        texts = texts[max(1, len(played.turns) - len(before)) :]


def _note_all(
    transcript: _Transcript, entry: Entry, check: str, episodes: Iterable[_Played]
) -> None:
    """Note episodes, none of which may be right if there is a check of that, and no package may
    raise for it."""
    for played in episodes:
        transcript.tried += 1
        transcript.episodes.setdefault(entry, []).append(played)
        last = f"{played.turns[-1][:60]!r}"
        if played.is_costly:
            transcript.note("bounded", entry, f"turn {len(played.turns)}, {last}: {played.fault}")
        elif played.fault is not None and check:
            transcript.note("hostile turns", entry, f"{last}: {played.fault}")
        if check and played.is_right:
            shown = f"saying nothing {len(played.turns)} times" if check == "silence" else last
            transcript.note(check, entry, f"{shown} earns")


def _list_faults(worlds: Worlds, *transcripts: _Transcript) -> Iterator[VetCheck]:
    first = transcripts[0]
    good = {
        "problems": f"{len(first.contents)} of all levels",
        "right turns": "what solves a problem earns",
        "wrong turns": "no wrong episode that is named earns",
        "silence": "an episode without a word earns nothing",
        "hostile turns": f"none of {first.tried} episodes earns for them",
    }
    if worlds.millions:
        good["bounded"] = "no episode took too many instructions"
    for name, detail in good.items():
        faults = next((one.faults[name] for one in transcripts if name in one.faults), [])
        yield check_faults(name, faults, detail)


def _compare(worlds: Worlds, first: _Transcript, second: _Transcript) -> VetCheck:
    def is_same(entry: Entry) -> bool:
        known = {one.turns: one for one in first.episodes.get(entry, ())}
        return first.contents[entry] == second.contents.get(entry) and all(
            known.get(one.turns, one) == one for one in second.episodes.get(entry, ())
        )

    parted = sorted(entry for entry in first.contents if not is_same(entry))
    more = ", with other randomness, time and addresses in memory" if worlds.millions else ""
    detail = f"in another order{more}: the same"
    if parted:
        level, number = parted[0]
        detail = f"level {level}, number {number} is another in another order{more}"
    return VetCheck("same twice", not parted, detail)


def _try_policies(worlds: Worlds) -> Iterator[VetCheck]:
    """Play the right turns of some problems of the lowest level in all, and search the replies to
    turns that ask nothing for what is right."""
    level = worlds.levels[0]
    entries = [(level, draw_number(level, i)) for i in range(CONSTANTS)]
    rights = {entry: worlds.ask("right turns", *entry).get("turns", [""]) for entry in entries}
    policies = list(dict.fromkeys(map(tuple, rights.values())))[:_POLICIES]
    solved = dict.fromkeys(policies, 0)
    heard: dict[Entry, list[str]] = {}
    lasts = list(dict.fromkeys(right[-1] for right in rights.values()))
    for entry in entries:
        played = list(_play_all(worlds, entry, policies))
        for policy, one in zip(policies, played, strict=True):
            solved[policy] += one.is_right
        others = [last for last in lasts if last != rights[entry][-1]][:2]
        asking_nothing = [[text] * worlds.turns for text in ("", *others)]
        careless = [
            *_play_all(worlds, entry, asking_nothing),
            *_play_texts(worlds, entry, [], CODE),
        ]
        heard[entry] = [reply for one in careless for reply in one.replies]
    yield _search({entry: right[-1] for entry, right in rights.items()}, heard)
    best = max(policies, key=lambda policy: solved[policy])
    yield check_constant("constant turns", "; ".join(best), solved[best], CONSTANTS, level)


def _search(rights: dict[Entry, str], heard: dict[Entry, list[str]]) -> VetCheck:
    """Whether replies hold the words of a problem's last right turn that are its own. Those of
    other problems are searched too: what stands in replies by chance stands there as often."""
    words = {entry: set(_WORD.findall(right)) for entry, right in rights.items()}
    own = {
        entry: {one for one in mine if 2 * sum(one in w for w in words.values()) <= len(words)}
        for entry, mine in words.items()
    }
    replies = {entry: [set(_WORD.findall(text)) for text in heard[entry]] for entry in rights}

    def holds(where: Entry, what: Entry) -> bool:
        return bool(own[what]) and any(own[what] <= reply for reply in replies[where])

    leaks = [entry for entry in rights if holds(entry, entry)]
    others = [(a, b) for a in rights for b in rights if own[a] != own[b]]
    chance = sum(holds(a, b) for a, b in others)
    by_chance = len(leaks) * len(others) <= 2 * chance * len(rights)
    passed = len(leaks) * SHARE <= len(rights) or (bool(others) and by_chance)
    detail = f"no reply to turns that ask nothing says it, but for {len(leaks)} of {len(rights)}"
    if not passed:
        entry = leaks[0]
        reply = next(t for t in heard[entry] if own[entry] <= set(_WORD.findall(t)))
        detail = f"{reply[:60]!r} says what is right, as in {len(leaks)} of {len(rights)} problems"
    return VetCheck("replies", passed, detail)
