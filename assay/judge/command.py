"""`assay-judge`: judges files and bundles, verifies beacons, makes problems and scores answers.

Exit code 0: FORM_OK, or all that was checked matched. 1: refused, or something differs. 2: it could
not be done, or not all of what is checked could be.
"""

import argparse
import csv
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from assay.protocol.errors import OperatorError

OK, REFUSED, UNDONE = 0, 1, 2
#: Most bytes of a context and of an answer.
_CONTEXT_BYTES, _ANSWER_BYTES = 64 << 20, 1 << 20
_NO_SEED = "00" * 32
#: Runs a subcommand: its exit code.
_Run = Callable[[argparse.Namespace], int]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command, and leave with its exit code."""
    sys.exit(run(arguments))


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command line. Returns its exit code; argparse leaves by itself with 2."""
    options = _make_parser().parse_args(arguments)
    act: _Run = options.act
    try:
        if options.problems:
            from assay.environments import add_problem_files

            add_problem_files(options.problems)
        return act(options)
    except BrokenPipeError:
        raise
    except (OperatorError, ValueError, OSError, ImportError) as error:
        print(_clean(f"assay-judge: {error}"), file=sys.stderr)
        return UNDONE


def _make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("assay-judge", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, act: _Run, about: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=about, description=about)
        command.set_defaults(act=act, problems=[])
        command.add_argument("--json", action="store_true", help="print one JSON document")
        return command

    file = add("file", _judge_file, "Judge a miner's file against a window's context.")
    file.add_argument("file", type=Path, metavar="FILE", help="a miner's file, *.rollouts")
    file.add_argument("--context", type=Path, required=True, help="the window's context, JSON")
    file.add_argument("--checkpoint", type=Path, metavar="FOLDER", help="of the one in force")
    file.add_argument("--hotkey", metavar="SS58", help="whose file it is [default: as it says]")
    bundle = add("bundle", _judge_bundle, "Check the record in a bundle of an audit.")
    bundle.add_argument("bundle", type=Path, metavar="FOLDER", help="`assay demo` leaves one")
    for command in (file, bundle):
        command.add_argument(
            "--allow-local-beacon", action="store_true", help="accept another chain than quicknet"
        )
    beacon = add("beacon", _verify_beacon, "Verify the signature of a round of drand's quicknet.")
    beacon.add_argument("round", type=int, metavar="ROUND")
    beacon.add_argument("signature", metavar="HEX")
    beacon.add_argument("--previous", default="", metavar="HEX", help="of a chained scheme")
    beacon.add_argument("--context", type=Path, help="verify by the beacon chain of this context")
    problem = add("problem", _make_problem, "Make a problem as a miner gets it.")
    score = add("score", _score_answer, "Score an answer to a problem.")
    score.add_argument("--answer", required=True, metavar="TEXT", help="- reads it from stdin")
    for command in (problem, score):
        command.add_argument("name", metavar="NAME", help="an environment, such as sat,k=4")
        command.add_argument("--seed", default=_NO_SEED, metavar="HEX", help="challenge seed")
        command.add_argument("--hotkey", metavar="SS58", help="of the miner [default: nobody]")
        command.add_argument("--index", type=int, default=0, metavar="N")
        command.add_argument("--level", type=int, action="append", metavar="LEVEL")
    for command in (file, bundle, problem, score):
        command.add_argument(
            "--problems", type=Path, action="append", default=[], help="a file of problems"
        )
    table = add("table", _show_table, "Show a miner's file as a table: CSV, or JSON with all ids.")
    table.add_argument("file", type=Path, metavar="FILE")
    prepare = add("prepare", _prepare, "Prepare the sandbox for programs (extra `envs`).")
    prepare.add_argument("--for", dest="image", choices=["reasoning_gym"])
    return parser


# --- judging


def _judge_file(options: argparse.Namespace) -> int:
    from assay.judge.checkpoint import open_outline
    from assay.judge.form import form_to_json, judge_form, read_file

    context = _read_context(options.context)
    _require_beacon(context.parameters.beacon, options.allow_local_beacon, "context")
    hotkey = _read_hotkey(options.file, options.hotkey)
    outline = None
    if options.checkpoint is not None:
        outline = open_outline(options.checkpoint, context.checkpoint)
    verdict = judge_form(read_file(options.file), context, hotkey, outline)
    document = form_to_json(verdict)
    if outline is None:
        document["note"] = "name the checkpoint's folder with --checkpoint to check more"
    elif outline.no_text is not None:
        document["note"] = f"no text was read: {outline.no_text}"
    lines = [f"{verdict.word} {document['hotkey']} in window {verdict.window}: {verdict.detail}"]
    lines += [f"checked: {', '.join(verdict.checked)}"]
    lines += [f"not checked: {', '.join(verdict.not_checked)}"]
    _print(document, options.json, [*lines, *([document["note"]] if "note" in document else [])])
    return OK if verdict.reason is None else REFUSED


def _judge_bundle(options: argparse.Namespace) -> int:
    from assay.judge.bundle import open_bundle
    from assay.judge.bundle_check import check_bundle, list_checked, report_to_json

    bundle = open_bundle(options.bundle)
    for parameters in bundle.history.all:
        _require_beacon(parameters.beacon, options.allow_local_beacon, "bundle")
    report = check_bundle(bundle)
    checked, not_checked = list_checked(report)
    lines = [
        f"window {window.window}: {member.address} {member.stated}: "
        f"{member.found.word if member.found else 'no file was read'}"
        f"{': ' + member.note if member.note else ''}"
        for window in report.windows
        for member in window.members
    ]
    for settlement in report.settlements:
        weights = ", ".join(f"uid {uid} {weight}" for uid, weight in settlement.weights.items())
        lines.append(f"epoch {settlement.epoch}: weights {weights or 'none'}")
    lines += [f"not checked: {text}" for text in report.missing]
    lines += [f"DIFFERS: {text}" for text in report.differences]
    lines += [f"checked: {', '.join(checked)}", f"not checked: {', '.join(not_checked)}"]
    lines += [f"no text was read: {report.no_text}"] if report.no_text else []
    _print(report_to_json(report), options.json, lines)
    if report.differences:
        return REFUSED
    return UNDONE if report.missing else OK


def _require_beacon(chain: Any, allows_local: bool, where: str) -> None:
    from assay.protocol.beacon import QUICKNET

    if chain != QUICKNET and not allows_local:
        raise ValueError(
            f"the {where}'s beacon chain is not quicknet, so that whoever has its key chose the "
            "audit; if it is a demo's own, add --allow-local-beacon"
        )


def _read_context(path: Path) -> Any:
    from assay.protocol.context import context_from_json, find_context_fault
    from assay.protocol.encoding import EncodingError, read_json

    with path.open("rb") as file:
        data = file.read(_CONTEXT_BYTES + 1)
    if len(data) > _CONTEXT_BYTES:
        raise ValueError(f"{path} has more than {_CONTEXT_BYTES:,} bytes")
    try:
        context = context_from_json(read_json(data))
    except EncodingError as error:
        raise ValueError(f"{path} is no context: {error}") from None
    fault = find_context_fault(context)
    if fault is None and context.audit is None:
        fault = "its audit beacon is not known yet"
    if fault is not None:
        raise ValueError(f"{path}: {fault}")
    return context


def _read_hotkey(file: Path, given: str | None) -> bytes:
    """The hotkey that was named, or that the file names."""
    from assay.protocol.encoding import EncodingError, decode
    from assay.protocol.ss58 import decode_ss58
    from assay.protocol.submission import HEADER_BYTES, Header

    if given is not None:
        return decode_ss58(given)
    if not file.is_file():
        raise ValueError(f"{file} is no file: name a miner's file, *.rollouts")
    with file.open("rb") as opened:
        data = opened.read(HEADER_BYTES)
    try:
        return decode(Header, data).hotkey
    except EncodingError as error:
        raise ValueError(f"{file} {error}: name its hotkey with --hotkey") from None


# --- the rest


def _verify_beacon(options: argparse.Namespace) -> int:
    from assay.protocol.beacon import QUICKNET, Beacon, is_valid_beacon

    chain = QUICKNET
    if options.context is not None:
        chain = _read_context(options.context).parameters.beacon
    try:
        parts = bytes.fromhex(options.signature), bytes.fromhex(options.previous)
    except ValueError:
        raise ValueError("the signature is not hex") from None
    beacon = Beacon(options.round, *parts)
    is_valid = is_valid_beacon(chain, beacon)
    document = {
        "round": beacon.round,
        "chain": chain.chain_hash.hex(),
        "valid": is_valid,
        "randomness": beacon.randomness.hex() if is_valid else None,
    }
    said = f"is valid, randomness {beacon.randomness.hex()}" if is_valid else "is not the chain's"
    _print(document, options.json, [f"round {beacon.round}: the signature {said}"])
    return OK if is_valid else REFUSED


def _open_problem(options: argparse.Namespace) -> tuple[Any, Any]:
    """The environment and the problem that the options name."""
    from assay.environments import make_environment, make_miner_problem, parse_choice
    from assay.protocol.manifest import start_levels
    from assay.protocol.ss58 import decode_ss58

    environment = make_environment(*parse_choice(options.name))
    try:
        seed = bytes.fromhex(options.seed)
    except ValueError:
        seed = b""
    if len(seed) != 32:
        raise ValueError("--seed is not 64 hex digits")
    if not 0 <= options.index < 1 << 32:
        raise ValueError("--index is not from 0 to 4,294,967,295")
    owner = bytes(32) if options.hotkey is None else decode_ss58(options.hotkey)
    levels = start_levels(sorted(set(options.level or environment.levels)))
    return environment, make_miner_problem(environment, seed, owner, options.index, levels)


def _make_problem(options: argparse.Namespace) -> int:
    _, problem = _open_problem(options)
    messages = [{"role": one.role, "content": one.content} for one in problem.conversation.messages]
    document = {"level": problem.level, "prompt": problem.prompt, "messages": messages}
    _print(document, options.json, [problem.prompt])
    return OK


def _score_answer(options: argparse.Namespace) -> int:
    from assay.environments import choose_rewards, compute_reward

    environment, problem = _open_problem(options)
    answer = options.answer
    if answer == "-":
        data = sys.stdin.buffer.read(_ANSWER_BYTES + 1)
        if len(data) > _ANSWER_BYTES:
            raise ValueError(f"the answer has more than {_ANSWER_BYTES:,} bytes")
        answer = data.decode()
    parts = environment.score(problem, answer)
    # by rewards in which length costs nothing
    reward = compute_reward(parts, 0, choose_rewards(environment.rated), 1)
    document = {"reward": reward, **asdict(parts)}
    _print(document, options.json, [f"{name} {value}" for name, value in document.items()])
    return OK


def _show_table(options: argparse.Namespace) -> int:
    from assay.judge.whole_file import list_rows, read_whole
    from assay.protocol.encoding import EncodingError, to_json

    if not options.file.is_file():
        raise ValueError(f"{options.file} is no file: name a miner's file, *.rollouts")
    try:
        with options.file.open("rb") as file:
            opening, groups = read_whole(file)
            rows = list_rows(groups)
    except EncodingError as error:
        raise ValueError(f"{options.file} {error}") from None
    if options.json:
        print(json.dumps({"header": to_json(opening.header), "rollouts": rows}))
        return OK
    table = csv.writer(sys.stdout, lineterminator="\n")
    table.writerow(("group", "rollout", "tokens", "mean_logprob"))
    for row in rows:
        logprobs = row["logprobs"]
        mean = round(sum(logprobs) / len(logprobs), 6)
        table.writerow((row["group"], row["rollout"], len(row["tokens"]), mean))
    return OK


def _prepare(options: argparse.Namespace) -> int:
    from assay.environments.gym.image import GYM
    from assay.sandbox.guest import INTERPRETER, prepare

    def tell(doing: str) -> None:
        print(doing, file=sys.stderr)

    ready = prepare(None, tell, INTERPRETER if options.image is None else GYM)
    document = {"artifact": str(ready.artifact), "made": [*ready.made]}
    _print(document, options.json, [f"the sandbox is prepared: {ready.artifact}"])
    return OK


def _print(document: dict[str, Any], as_json: bool, lines: Sequence[str]) -> None:
    print(json.dumps(document) if as_json else "\n".join(map(_clean, lines)))


def _clean(text: str) -> str:
    """A text without what could steer a terminal: strangers wrote parts of it."""
    return "".join(one if one.isprintable() or one == "\n" else "\ufffd" for one in text)


if __name__ == "__main__":
    main()
