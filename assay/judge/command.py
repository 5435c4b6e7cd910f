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
from signal import SIG_DFL, SIGINT, SIGPIPE, signal
from typing import Any

from assay.protocol.errors import OperatorError

OK, REFUSED, UNDONE = 0, 1, 2
#: Most bytes of an answer.
_ANSWER_BYTES = 1 << 20
#: Runs a subcommand: its exit code.
_Run = Callable[[argparse.Namespace], int]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command, and leave with its exit code."""
    signal(SIGPIPE, SIG_DFL)  # whoever closes our output wants no more of it, and no traceback
    try:
        code = run(arguments)
        if sys.stdout is not None:
            sys.stdout.flush()
    except KeyboardInterrupt:
        code = 128 + SIGINT
    except OSError as error:
        print(f"assay-judge: stdout: {error.strerror}", file=sys.stderr)
        sys.stdout, code = None, UNDONE  # nor does anybody flush it again
    sys.exit(code)


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command line. Returns its exit code; argparse leaves by itself with 2."""
    options = _make_parser().parse_args(arguments)
    act: _Run = options.act
    try:
        if sys.stdout is None:
            raise ValueError("stdout is closed")
        for file in options.problems:
            if not file.is_file():
                raise ValueError(f"{file} is not a file of problems")
        if options.problems:
            from assay.environments.problem_file import add_problem_files

            add_problem_files(options.problems)
        return act(options)
    except (OperatorError, ValueError, OSError, ImportError) as error:
        about = str(error)
        if isinstance(error, OSError):
            about = f"{error.filename or 'its output'}: {error.strerror}"
        print(_clean(f"assay-judge: {about}"), file=sys.stderr)
        return UNDONE


def _make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("assay-judge", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, act: _Run, about: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=about, description=about)
        command.set_defaults(act=act, problems=[])
        command.add_argument("--json", action="store_true", help="print one JSON document")
        return command

    file = add("file", _judge_file, "Judge a miner's file, or a bundle's part of one.")
    file.add_argument("file", type=Path, metavar="FILE", help="*.rollouts, or as in a bundle")
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
    beacon.add_argument("--previous", metavar="HEX", help="of a chained scheme")
    beacon.add_argument("--context", type=Path, help="verify by the beacon chain of this context")
    problem = add("problem", _make_problem, "Make a problem, by a window or by what is named.")
    score = add("score", _score_answer, "Score an answer to a problem, before length costs reward.")
    score.add_argument(
        "--answer",
        required=True,
        metavar="TEXT",
        help="- reads it from stdin, without the line break that ends it",
    )
    for command in (file, problem, score):
        window = command.add_mutually_exclusive_group(required=command is file)
        window.add_argument("--context", type=Path, help="the window's context, JSON")
        window.add_argument(
            "--bundle", type=Path, metavar="FOLDER", help="that has the window and its checkpoint"
        )
        command.add_argument("--window", type=int, metavar="N", help="of the bundle")
        command.add_argument(
            "--checkpoint", type=Path, metavar="FOLDER", help="of the context's; without tensors"
        )
    for command in (problem, score):
        command.add_argument(
            "name",
            metavar="NAME",
            nargs="?",
            help="an environment, such as sat,k=4 [default: the window's]",
        )
        command.add_argument(
            "--seed", metavar="HEX", help="challenge seed [default: the window's, or zeros]"
        )
        command.add_argument("--hotkey", metavar="SS58", help="of the miner [default: zeros]")
        command.add_argument("--index", type=int, default=0, metavar="N", help="[default: 0]")
        command.add_argument(
            "--level",
            type=int,
            action="append",
            metavar="LEVEL",
            help="in force, several times [default: the checkpoint's, or all of the environment]",
        )
    for command in (file, bundle, problem, score):
        command.add_argument(
            "--problems",
            type=Path,
            action="append",
            default=[],
            metavar="FILE",
            help="a file of problems that the network uses",
        )
    table = add("table", _show_table, "Show a miner's file as a table: CSV, or JSON with all ids.")
    table.add_argument("file", type=Path, metavar="FILE")
    prepare = add("prepare", _prepare, "Prepare the sandbox for programs (extra `envs`).")
    prepare.add_argument("--for", dest="image", choices=["reasoning_gym"])
    return parser


# --- judging


def _judge_file(options: argparse.Namespace) -> int:
    from assay.judge.form import form_to_json, judge_form
    from assay.judge.pack import MissingPartError
    from assay.judge.shown_file import open_file
    from assay.protocol.beacon import QUICKNET
    from assay.protocol.ss58 import decode_ss58

    shown = open_file(options.file)
    if options.window is None:
        options.window = shown.window
    context, outline = _open_window(options)
    drands = context.parameters.beacon == QUICKNET
    _require_beacon(drands, options.allow_local_beacon, "window")
    hotkey = shown.hotkey if options.hotkey is None else decode_ss58(options.hotkey)
    if hotkey is None:
        raise ValueError(
            f"{options.file} is no miner's file of this version, *.rollouts, nor a bundle's part "
            "of one; to judge what a miner showed all the same, name the miner with --hotkey"
        )
    note = None
    try:
        verdict = judge_form(shown.read, context, hotkey, outline)
    except MissingPartError:  # a bundle has no samples of a file that the audit refused
        note = "its samples are not here: whoever audited it refused it before them"
        verdict = judge_form(shown.read, context, hotkey, outline, samples=False)
    document = form_to_json(verdict)
    checked = document["checked"] = ["beacons", *verdict.checked]
    lines = [f"{verdict.word} {document['hotkey']} in window {verdict.window}: {verdict.detail}"]
    lines += [f"checked: {', '.join(checked)}"]
    lines += [f"not checked: {', '.join(verdict.not_checked)}"]
    if outline is None:
        note = "name the checkpoint's folder with --checkpoint to check more"
    elif outline.no_text is not None:
        note = f"no text was read: {outline.no_text}"
    if note is not None:
        document["note"] = note
        lines.append(note)
    _print(document, options.json, lines)
    if verdict.reason is not None:
        return REFUSED
    return UNDONE if outline is not None and outline.no_text is not None else OK


def _open_window(options: argparse.Namespace) -> tuple[Any, Any]:
    """The context that the options name, and the checkpoint's outline or None."""
    from assay.judge.bundle import open_bundle
    from assay.judge.checkpoint import open_outline
    from assay.judge.shown_file import read_context

    if options.bundle is None:
        context = read_context(options.context)
        if options.checkpoint is None:
            return context, None
        return context, open_outline(options.checkpoint, context.checkpoint)
    if options.window is None:
        raise ValueError("name the window of the bundle with --window")
    bundle = open_bundle(options.bundle)
    context = bundle.read_context(options.window)
    if options.checkpoint is not None:
        return context, open_outline(options.checkpoint, context.checkpoint)
    return context, bundle.open_outline(context.checkpoint)


def _judge_bundle(options: argparse.Namespace) -> int:
    from assay.judge.bundle import open_bundle
    from assay.judge.bundle_check import check_bundle, list_checked, report_to_json

    bundle = open_bundle(options.bundle)
    _require_beacon(bundle.uses_quicknet, options.allow_local_beacon, "bundle")
    report = check_bundle(bundle)
    checked, not_checked = list_checked(report)
    lines = []
    for window in report.windows:
        if window.outcome is not None and not window.members:
            lines.append(
                f"window {window.window}: {window.outcome.value}: {window.note or 'no row'}"
            )
        for member in window.members:
            found = member.found.word if member.found else "no file was read"
            note = f": {member.note}" if member.note else ""
            lines.append(f"window {window.window}: {member.address} {member.stated}: {found}{note}")
    for settlement in report.settlements:
        if settlement.record is None:
            continue
        weights = ", ".join(f"uid {uid} {weight}" for uid, weight in settlement.weights.items())
        lines.append(f"epoch {settlement.epoch}: weights {weights or 'none'}")
    lines += [f"not checked: {text}" for text in report.missing]
    lines += [f"DIFFERS: {text}" for text in report.differences]
    lines += [f"checked: {', '.join(checked)}", f"not checked: {', '.join(not_checked)}"]
    _print(report_to_json(report), options.json, lines)
    if report.differences:
        return REFUSED
    return UNDONE if report.missing else OK


def _require_beacon(is_drands: bool, allows_local: bool, where: str) -> None:
    if not is_drands and not allows_local:
        raise ValueError(
            f"the {where}'s beacon chain is not quicknet, so that whoever has its key chose the "
            "audit; if it is a demo's own, add --allow-local-beacon"
        )


# --- the rest


def _verify_beacon(options: argparse.Namespace) -> int:
    from assay.judge.shown_file import read_context
    from assay.protocol.beacon import QUICKNET, Beacon, Scheme, is_valid_beacon

    chain = QUICKNET
    if options.context is not None:
        chain = read_context(options.context).parameters.beacon
    if not 1 <= options.round < 1 << 64:
        raise ValueError("ROUND is not from 1 to 2^64 - 1")
    signature = _parse_hex("HEX, the signature,", options.signature)
    if len(signature) != chain.scheme.signature_bytes:
        raise ValueError(
            f"HEX has {len(signature)} bytes, and a signature of this chain "
            f"{chain.scheme.signature_bytes}"
        )
    if options.previous is not None and chain.scheme is not Scheme.CHAINED_G2:
        raise ValueError("this chain's rounds are not chained: leave out --previous")
    beacon = Beacon(options.round, signature, _parse_hex("--previous", options.previous or ""))
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


def _parse_hex(what: str, text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise ValueError(f"{what} is not hex") from None


def _open_problem(options: argparse.Namespace) -> tuple[Any, Any, Any]:
    """The environment and the problem that the options name, and the window's context or None."""
    from assay.environments.dealing import make_miner_problem
    from assay.environments.listing import complete_name
    from assay.environments.registry import (
        make_environment,
        open_environment,
        open_environment_of,
        parse_choice,
    )
    from assay.protocol.manifest import start_levels
    from assay.protocol.ss58 import decode_ss58

    context = outline = None
    if options.bundle is not None or options.context is not None:
        context, outline = _open_window(options)
    elif options.checkpoint is not None or options.window is not None:
        raise ValueError("name the window with --bundle or --context, too")
    if options.name is not None:
        environment = make_environment(*parse_choice(complete_name(options.name)))
    elif context is None:
        raise ValueError("name an environment, or a window with --bundle or --context")
    elif outline is None:
        environment = open_environment(context.parameters.environment)
    else:
        choice = context.parameters.environment
        environment = open_environment_of(choice, outline.manifest, outline.pool)
    seed = bytes(32) if context is None else context.challenge_seed
    if options.seed is not None:
        seed = _parse_hex("--seed", options.seed)
    if len(seed) != 32:
        raise ValueError("--seed is not 64 hex digits")
    if not 0 <= options.index < 1 << 32:
        raise ValueError("--index is not from 0 to 4,294,967,295")
    owner = bytes(32) if options.hotkey is None else decode_ss58(options.hotkey)
    if outline is None or options.name is not None or options.level:
        levels = start_levels(sorted(set(options.level or environment.levels)))
    else:
        levels = outline.manifest.levels
    problem = make_miner_problem(environment, seed, owner, options.index, levels)
    return environment, problem, context


def _make_problem(options: argparse.Namespace) -> int:
    _, problem, _ = _open_problem(options)
    messages = [{"role": one.role, "content": one.content} for one in problem.conversation.messages]
    document = {"level": problem.level, "prompt": problem.prompt, "messages": messages}
    _print(document, options.json, [problem.prompt])
    return OK


def _score_answer(options: argparse.Namespace) -> int:
    from assay.environments.rewards import choose_rewards, compute_reward

    environment, problem, context = _open_problem(options)
    parts = environment.score(problem, _read_answer(options.answer))
    rewards = choose_rewards(environment.rated) if context is None else context.parameters.rewards
    reward = compute_reward(parts, 0, rewards, 1)  # no token yet
    document = {"reward": reward, **asdict(parts)}
    _print(document, options.json, [f"{name} {value}" for name, value in document.items()])
    return OK


def _read_answer(given: str) -> str:
    if given != "-":
        data = given.encode(errors="surrogateescape")
    elif sys.stdin is None:
        raise ValueError("stdin is closed, and no answer is there")
    else:
        data = sys.stdin.buffer.read(_ANSWER_BYTES + 1).removesuffix(b"\n")
    if len(data) > _ANSWER_BYTES:
        raise ValueError(f"the answer has more than {_ANSWER_BYTES:,} bytes")
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise ValueError("the answer is not UTF-8") from None


def _show_table(options: argparse.Namespace) -> int:
    from assay.judge.shown_file import open_named
    from assay.judge.whole_file import list_rows, read_whole
    from assay.protocol.encoding import EncodingError, to_json

    try:
        with open_named(options.file) as file:
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
