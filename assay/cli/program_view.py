"""Draws a neuron's status.json for a terminal, from the document alone."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, cast

from rich.console import Group, RenderableType
from rich.text import Text

from assay.artifacts.status.demo import is_demo
from assay.artifacts.status.miner import (
    CommitmentStatus,
    MinedStatus,
    MinerStatus,
    OwnVerdictStatus,
    PaymentStatus,
    SpeedStatus,
    UploadStatus,
)
from assay.artifacts.status.program import ProgramStatus
from assay.artifacts.status.trainer import GateStatus, PaceStatus, ScheduleStatus, TrainerStatus
from assay.artifacts.status.validator import (
    RoundStatus,
    ValidatorStatus,
    WeightsStatus,
    WindowStatus,
    is_validator,
)
from assay.cli.console import make_table
from assay.neurons.program.life import Life, Sign, describe_age, describe_life

#: Seconds after which a final block is called old, and blocks after which weights are.
_LATE_S, _DUE_BLOCKS = 120, 100
#: Counts of episodes: rollouts, their turns and tokens of replies, and those that a sandbox ended.
_EPISODES: tuple[Literal["rollouts", "turns", "replies", "broken"], ...] = (
    "rollouts",
    "turns",
    "replies",
    "broken",
)
#: Fields of a verdict that say where its fault is.
_PLACES: tuple[Literal["group", "rollout", "token"], ...] = ("group", "rollout", "token")
#: Refusals that are shown.
_REFUSED = 8
_STYLES = {Life.RUNNING: "green", Life.BUSY: "yellow", Life.STOPPED: "dim", Life.ENDED: "red"}


def render_program(status: ProgramStatus, sign: Sign) -> RenderableType:
    """Header, then the part of that program."""
    draw: dict[str, Callable[[Any], list[RenderableType]]] = {
        "miner": _render_miner,
        "validator": _render_validator,
        "trainer": _render_trainer,
    }
    return Group(render_head(status, sign), *draw[status["program"]](status))


def render_head(status: ProgramStatus, sign: Sign) -> RenderableType:
    """The part of every program: whether it runs, the chain's head, and problems."""
    text = Text()
    text.append("demo" if is_demo(status) else status["program"], style="bold")
    text.append(f"  {status['hotkey']}  {status['software']}")
    life, words = describe_life(status["state"], sign)
    text.append(f"  {words}\n", style=_STYLES[life])
    countdown, checkpoint = status["countdown"], status["checkpoint"]
    text.append(
        f"subnet {status['netuid']}   block {status['head']:,}   window {status['window_now']:,}"
    )
    is_working = life in (Life.RUNNING, Life.BUSY)  # else blocks go on without it
    if is_working:
        text.append(f"   {countdown['phase']}")
    if is_working and countdown["next"] is not None:
        text.append(
            f", {countdown['next']} in {countdown['blocks']} blocks"
            f" ({describe_age(round(cast(float, countdown['seconds'])))})"
        )
    if checkpoint is not None:
        number = "" if checkpoint["number"] is None else f" {checkpoint['number']}"
        text.append(f"\ncheckpoint{number} in force ({checkpoint['digest'][:16]}…)")
    published = status["published"]
    if published is not None and published["digest"] != (checkpoint and checkpoint.get("digest")):
        text.append(f", {published['number']} published")
    for item in status["fetching"]:
        done, due = item["bytes"] / 1e9, item["of"] / 1e9
        text.append(f"\nfetching checkpoint {item['checkpoint'][:16]}…: {done:.2f} of {due:.2f} GB")
    behind = find_lags(status)
    if behind:
        text.append(f"\nbehind: {'; '.join(behind)}", style="yellow")
    elif is_working:
        text.append("\nup to date", style="green")
    for sentence in (status["trouble"], status["beacon"]["trouble"]):
        if sentence and sentence not in behind:
            text.append(f"\n{sentence}", style="yellow")
    return text


def find_lags(status: ProgramStatus) -> list[str]:
    """The program's delays, by its status alone; empty if there are none."""
    lags = ["a checkpoint is being fetched"] if status["fetching"] else []
    head_at = None if is_demo(status) else status["head_at"]  # a demo's clock may be virtual
    if head_at is not None and status["at"] - head_at > _LATE_S:
        lags.append(f"the newest final block is {describe_age(int(status['at'] - head_at))} old")
    if not is_validator(status):
        return lags
    lags += [
        f"window {window['window']} was not judged in full"
        for window in status["windows"]
        if window["state"] == "final"
        and window["void"] is None
        and len(window["verdicts"]) < (window["members"] or 0)
    ]
    lags += [
        f"the weights of epoch {row['epoch']} are not sent yet"
        for row in status.get("settlements", ())
        if row["state"] == "due" and status["head"] > row["epoch"] + _DUE_BLOCKS
    ]
    return lags


def _name_round(moment: RoundStatus | None) -> str:
    """A beacon's round: only verified ones are kept."""
    return "awaited" if moment is None else f"round {moment['round']:,} ✓"


def _render_miner(status: MinerStatus) -> list[RenderableType]:
    work = status["at_work"]
    doing = Text("" if work is None else f"window {work['window']}: {work['groups']} groups done")
    return [
        doing,
        *render_speed(status.get("speed")),
        *render_drafting(status),
        *render_upload(status.get("upload")),
        render_history(status["windows"]),
    ]


def render_speed(speed: SpeedStatus | None) -> list[RenderableType]:
    """How many groups fit into a window; nothing before the first step. Older programs lack it."""
    if speed is None:
        return []
    window = f"the {speed['window_seconds']:,.0f} s of a window"
    if speed["fits"] is None:
        text = Text(f"no group was finished yet in {window}", style="yellow")
    else:
        rate = f"at {speed['tokens_per_second'] or 0.0:,.1f} tokens a second"
        text = Text(f"about {speed['fits']:,} groups fit into {window} {rate}")
    if speed["made"] < speed["step"]:
        made = f"{speed['made']} of {speed['step']} groups"
        text.append(f"; the newest step was cut off with {made}", style="yellow")
    return [text]


def render_drafting(status: MinerStatus) -> list[RenderableType]:
    """The newest step, and servers that draft. Older programs lack these."""
    lines: list[RenderableType] = []
    step = status.get("drafting")
    if step is not None:
        text = f"{step['tokens'] / max(step['seconds'], 1e-9):,.0f} tokens a second"
        if step["kept"] is not None:
            text += f", {step['kept']:.1%} of drafts kept"
        if step["ahead"] is not None:
            text += f", drafted {step['ahead']} tokens ahead"
        seconds = step["drafting_seconds"], step["reading_seconds"], step["seconds"]
        text += ": drafts took {:.1f} s, reading them {:.1f} s, of {:.1f} s".format(*seconds)
        lines.append(Text(text))
        lines += _render_episodes("episodes", *(step.get(name, 0) for name in _EPISODES))
    for engine in status.get("engines", []):
        why = "" if engine["lack"] is None else f": {engine['lack']}"
        lines.append(Text(f"engine {engine['url']}: {engine['state']}{why}"))
    return lines


def _render_episodes(
    which: str, rollouts: float, turns: float, replies: float, broken: float
) -> list[RenderableType]:
    """How long episodes are; nothing where rollouts have one turn. See `_EPISODES`."""
    if turns <= rollouts and not broken:
        return []
    means = f"{turns / rollouts:.1f} turns and {replies / rollouts:,.0f} tokens of replies"
    text = Text(f"{which}: {means} a rollout, on average")
    if broken:
        text.append(f"; the sandbox ended {broken:,.0f} of {rollouts:,.0f}", style="yellow")
    return [text]


def render_upload(up: UploadStatus | None) -> list[RenderableType]:
    """An upload in progress; nothing once it is complete. Older programs lack it."""
    if up is None or up["done"]:
        return []
    text = f"uploading window {up['window']}: {up['bytes'] / 1e6:.1f} of {up['of'] / 1e6:.1f} MB"
    return [Text(text + (f", attempt {up['tries']}" if up["tries"] > 1 else ""))]


def _render_validator(status: ValidatorStatus) -> list[RenderableType]:
    names = ("window", "state", "phase", "challenge", "audit", "accepted", "others")
    windows = make_table(*names)
    for window in status["windows"]:
        accepted, others = count_reasons(v["reason"] for v in window["verdicts"])
        windows.add_row(
            str(window["window"]),
            "void" if window["void"] else window["state"],
            window["countdown"]["phase"],
            _name_round(window["challenge"]),
            _name_round(window["audit"]),
            accepted,
            "; ".join(filter(None, (others, window["void"], window["missing"]))),
        )
    counts = status["counts"]
    judged = (counts.get(f"judged_{name}", {}) for name in _EPISODES)
    return [
        windows,
        *_render_episodes("episodes judged since the start", *(one.get("", 0) for one in judged)),
        _render_verdicts(status["windows"]),
        render_settlements(status["settlements"]),
        _render_newest_shares(status),
        _render_posts(status),
    ]


def count_reasons(reasons: Iterable[str | None]) -> tuple[str, str]:
    """The number of accepted ones, and of each other reason."""
    counts = Counter(reason or "no verdict" for reason in reasons)
    accepted = counts.pop("ACCEPTED", 0)
    return str(accepted), ", ".join(f"{n} {reason}" for reason, n in sorted(counts.items()))


def _render_verdicts(windows: Sequence[WindowStatus]) -> RenderableType:
    """The last refusals with their reasons, newest first."""
    refused = [
        (window["window"], verdict)
        for window in reversed(windows)
        for verdict in window["verdicts"]
        if verdict["reason"] not in ("ACCEPTED", "NO_COMMITMENT", "NOT_REGISTERED")
    ]
    text = Text()
    for number, verdict in refused[:_REFUSED]:
        text.append(f"window {number}  {verdict['reason']}", style="yellow")
        detail = "".join(c if c.isprintable() else "?" for c in verdict["detail"])
        text.append(f"  {verdict['hotkey'][:11]}…  {detail}\n")
    return text


def _render_newest_shares(status: ValidatorStatus) -> RenderableType:
    if not status["settlements"]:
        return Text("")
    newest = status["settlements"][0]
    hotkeys = {str(v["uid"]): v["hotkey"] for w in status["windows"] for v in w["verdicts"]}
    return render_shares(newest["scores"] or {}, newest["weights"], hotkeys)


def render_shares(
    scores: dict[str, int], weights: dict[str, int], hotkeys: dict[str, str]
) -> RenderableType:
    """The result of each uid of a settlement; those with nothing are left out. All by uid."""
    total = sum(weights.values()) or 1
    uids = {uid for uid, figure in (*scores.items(), *weights.items()) if figure}
    table = make_table("uid", "score", "weight", "share", "hotkey", left=("hotkey",))
    for uid in sorted(uids, key=int):
        weight, score = weights.get(uid, 0), scores.get(uid)
        table.add_row(
            uid,
            "" if score is None else f"{score:,}",
            f"{weight:,}",
            f"{100 * weight / total:.1f} %",
            hotkeys.get(uid, ""),
        )
    return table if table.rows else Text("")


def _render_posts(status: ValidatorStatus) -> RenderableType:
    """The state of settlements on their way to the ledger: nothing if none is posted."""
    counts = Counter(post["state"] for post in status.get("posts", []))
    problem = status.get("posting_trouble")
    if not counts and not problem:
        return Text("")
    states = ", ".join(f"{n} {state}" for state, n in sorted(counts.items()))
    text = Text(f"ledger: {states or 'nothing to post yet'}")
    if problem:
        text.append(f"\n{problem}", style="yellow")
    return text


def render_settlements(rows: Sequence[WeightsStatus]) -> RenderableType:
    """A validator's weights and their state."""
    if not rows:
        return Text("nothing is settled yet", style="dim")
    table = make_table("epoch", "weights", "sent at", "confirmed at", "uids", "trouble")
    for row in rows:
        cells = (row["sent_at"], row["confirmed_at"], len(row["weights"]), row["trouble"])
        table.add_row(
            str(row["epoch"]), row["state"], *("" if cell is None else str(cell) for cell in cells)
        )
    return table


def render_pace(pace: PaceStatus | None) -> list[RenderableType]:
    """A trainer's bottleneck. Older programs lack it."""
    if pace is None:
        return []
    spent = (
        f"judging {pace['judging_seconds']:,.0f} s, learning {pace['learning_seconds']:,.0f} s, "
        f"publishing {pace['publishing_seconds']:,.0f} s, waiting {pace['waiting_seconds']:,.0f} s"
    )
    usable = pace["groups_usable"]
    fit = "" if usable is None else f", {usable:,} could be used"
    return [
        Text(
            f"bottleneck: {pace['holds_back']}; {pace['groups_came']:,.1f} groups arrive a window"
            f"{fit}; the last {pace['windows']} windows: {spent}"
        )
    ]


def _find_style(state: str) -> str:
    return {"learns": "green", "collapses": "red", "is starved": "yellow"}.get(state, "dim")


def _render_schedule(schedule: ScheduleStatus | None) -> list[RenderableType]:
    """The learning rate, where it changes. Older programs lack it."""
    if schedule is None or (schedule["name"] == "constant" and schedule["phase"] == "peak"):
        return []
    of = "" if schedule["length"] is None else f" of {schedule['length']:,}"
    place = f"step {schedule['position']:,}{of} of schedule {schedule['name']}"
    is_over = schedule["phase"] == "over"
    where = f"{place}, past its end: the rate stays" if is_over else f"{place}, {schedule['phase']}"
    return [
        Text(f"learning rate {schedule['rate']:.3g}: {where}", style="yellow" if is_over else "")
    ]


def render_gate(gate: GateStatus) -> list[RenderableType]:
    """What a gate has shown: the gain, the course, and the newest return."""
    low, high = gate["gain_low"], gate["gain_high"]
    good, bad = low is not None and low > 0, high is not None and high < 0
    style = "green" if good else "red" if bad else ""
    lines: list[RenderableType] = [
        Text(gate["gain_sentence"], style=style),
        Text(gate["course_sentence"]),
    ]
    if back := gate["returned"]:
        milestone = "its milestone" if back["milestone"] is None else f"{back['milestone']}"
        lines.append(Text(f"newest return: checkpoint {back['number']} is {milestone} again"))
    return lines


def _render_trainer(status: TrainerStatus) -> list[RenderableType]:
    pace = [*render_pace(status.get("pace")), *_render_schedule(status.get("schedule"))]
    if silence := status.get("silence"):  # older programs lack it
        pace = [*pace, Text(silence, style="yellow")]
    if course := status.get("course"):  # older programs lack it
        pace = [*pace, Text(course["sentence"], style=_find_style(course["state"]))]
    if gate := status.get("gate"):  # older programs lack it
        pace = [*pace, *render_gate(gate)]
    if pool := status.get("pool"):  # older programs lack it
        pace = [*pace, Text(f"pool: {pool['sentence']}")]
    if not status["steps"]:
        return [*pace, Text("no step yet", style="dim")]
    tried = {point["number"]: point["correct"] / point["problems"] for point in status["held_out"]}
    names = (
        "window",
        "groups",
        "mean reward",
        "zero-variance",
        "checkpoint",
        "eval accuracy",
        "digest",
    )
    table = make_table(*names, left=("digest",))
    for step in status["steps"]:
        digest = step["digest"][:16] + "…"
        table.add_row(
            str(step["window"]),
            str(step["groups"]),
            "" if step["reward"] is None else f"{step['reward']:.3f}",
            f"{step['stats']['dropped'] / step['groups']:.0%}" if step["groups"] else "",
            str(step["checkpoint"]),
            f"{tried[step['checkpoint']]:.3f}" if step["checkpoint"] in tried else "",
            digest,
        )
    # older programs lack these
    waiting = sum(step.get("waiting", 0) for step in status["steps"])
    delayed = sum(step.get("delayed", 0) for step in status["steps"])
    expired = sum(step.get("expired", 0) for step in status["steps"])
    if waiting or delayed or expired:
        pace.append(
            Text(
                f"proposals: in these steps {waiting:,} groups began to wait for their reward, "
                f"{delayed:,} were learned from late, {expired:,} expired"
            )
        )
    alarm = status["alarm"]
    return [*pace, table] if alarm is None else [*pace, table, Text(alarm, style="red")]


def render_history(rows: Sequence[MinedStatus]) -> RenderableType:
    """One line for each window, and below the table the reasons of refusals."""
    if not rows:
        return Text("no window was mined yet", style="dim")
    names = ("window", "groups", "committed", "own verdict", "score", "weight", "alpha")
    table = make_table(*names, left=("committed", "own verdict"))
    remarks = []
    for row in rows:
        groups, verdict, payment = row["groups"], row["verdict"], row["payment"]
        table.add_row(
            str(row["window"]),
            f"{groups['done']}/{groups['wanted']}",
            _name_commitment(row["commitment"]),
            _name_verdict(verdict),
            f"{verdict['score']:,}" if verdict else "",
            _name_weights(payment),
            f"{payment['emission_rao_alpha'] / 1e9:.4f}" if payment else "",
        )
        if words := _find_words(row):
            remarks.append(Text(f"window {row['window']}: {'; '.join(words)}", style="yellow"))
    return Group(table, *remarks)


def _name_commitment(commitment: CommitmentStatus | None) -> Text:
    if commitment is None or commitment["sent_at"] is None:
        return Text("–", style="dim")
    stood = commitment["stood"]
    words = "" if stood is None else (" ✓" if stood else " ✗")
    return Text(f"at {commitment['sent_at']}{words}", style="red" if stood is False else "")


def _name_verdict(verdict: OwnVerdictStatus | None) -> Text:
    if verdict is None:
        return Text("not judged yet", style="dim")
    if verdict["reason"] is None:
        return Text("unknown", style="yellow")
    style = "green" if verdict["accepted"] else "red"
    return Text(verdict["reason"] + ("" if verdict["final"] else " so far"), style=style)


def _name_weights(payment: PaymentStatus | None) -> str:
    if payment is None:
        return ""
    shares = [weight["share"] for weight in payment["weights"]]
    return f"{max(shares):.1%} by {len(shares)}" if shares else "0"


def _find_words(row: MinedStatus) -> list[str]:
    """Further information about a window beside its line."""
    words = [row["note"]] if row["note"] else []
    verdict, payment, commitment = row["verdict"], row["payment"], row["commitment"]
    if commitment is not None and commitment["stood"] is False:
        words.append("the commitment was not on chain at its block")
    if verdict is not None and not verdict["accepted"]:
        where = [f"{name} {verdict[name]}" for name in _PLACES if name in verdict]
        words.append(f"{verdict['detail']}{' (' + ', '.join(where) + ')' if where else ''}")
        if verdict["costs"]:
            words.append(f"it costs {verdict['costs']}")
    if payment is not None and payment["note"]:
        words.append(payment["note"])
    return words
