"""Whether a network's problems can be learned by heart, and the same environment with other files.

A gate asks problems that are drawn when a checkpoint is in force. If they are made from numbers,
nobody has seen them before. The rows of a file are known to whoever has the file, so a gate asks
them of another file than the one that is trained on, and its trainer could still learn that one.
"""

from collections.abc import Sequence

from assay.environments.base import Environment
from assay.environments.registry import KINDS, list_parts, make_environment
from assay.protocol.parameters import EnvironmentChoice, Prompts, Setting

#: What a gate's problems are to the trainer: made from a seed that nobody knew, or rows of a file
#: that it may have learned, drawn by such a seed.
UNKNOWN, DRAWN_AFTER = "unknown", "drawn after"


def name_choice(environment: Environment, prompts: Sequence[Prompts] = ()) -> EnvironmentChoice:
    """An environment in the form of the parameters: all settings, the owner's prompts, and the
    digest of this code."""
    return EnvironmentChoice(
        name=environment.name,
        settings=tuple(Setting(k, v) for k, v in sorted(environment.params.items())),
        prompts=tuple(prompts),
        digest=environment.digest,
    )


def list_file_parts(choice: EnvironmentChoice) -> list[str]:
    """The parts of an environment whose problems are the rows of a file. Opens no file."""
    parts = list_parts(choice.name, {one.name: one.value for one in choice.settings})
    return [part for part in parts if _is_listed(part)]


def name_draw(choice: EnvironmentChoice) -> str:
    """What a gate's problems of an environment are called."""
    return DRAWN_AFTER if list_file_parts(choice) else UNKNOWN


def replace_files(choice: EnvironmentChoice, files: Sequence[str]) -> EnvironmentChoice:
    """The same environment with other files, all else being equal.

    Args:
        files: `family:SHA256` for each part that reads one.

    Raises:
        ValueError: they are not one for each, or this machine lacks one.
    """
    parts, renamed = list_file_parts(choice), dict[str, str]()
    for file in files:
        family = file.partition(":")[0]
        of = [part for part in parts if part.partition(":")[0] == family]
        if len(of) != 1 or of[0] in renamed:
            listed = ", ".join(parts) or "no file"
            raise ValueError(
                f"{file} is in the place of one part's file: {choice.name} has {listed}"
            )
        renamed[of[0]] = file
    if left := [part for part in parts if part not in renamed]:
        raise ValueError(f"no other file is named in the place of {left[0]}")

    def rename(name: str) -> str:
        part, dot, setting = name.partition(".")
        return f"{renamed.get(part, part)}{dot}{setting}"

    prompts = [Prompts(rename(one.part), one.texts, one.shots) for one in choice.prompts]
    settings = {rename(one.name): one.value for one in choice.settings}
    return name_choice(make_environment(rename(choice.name), settings, prompts), prompts)


def find_evaluation_fault(
    choice: EnvironmentChoice, evaluation: EnvironmentChoice | None
) -> str | None:
    """Why a gate cannot ask problems of `evaluation` of a network that trains on `choice`, or None.
    Opens no file.

    Args:
        evaluation: None: the gate has no environment of its own.
    """
    trained = list_file_parts(choice)
    if evaluation is None:
        if not trained:
            return None
        families = ", ".join(f'"{part.partition(":")[0]}:SHA256"' for part in trained)
        return (
            f"{trained[0]} is what the network trains on, row by row: name a file that it does not "
            f"train on, as in environment = [{families}] under [gate], or leave the gate out"
        )
    asked = list_file_parts(evaluation)
    if _list_kinds(choice) != _list_kinds(evaluation):
        return "its environment is not the network's with other files: parts or settings differ"
    if twice := sorted(set(trained) & set(asked)):
        return f"{twice[0]} is the file that the network trains on: name another"
    return None


def _is_listed(part: str) -> bool:
    family, colon, _ = part.partition(":")
    kind = KINDS.get(family)
    return bool(colon) and kind is not None and kind.file is not None and not kind.file.is_drawn


def _list_kinds(choice: EnvironmentChoice) -> object:
    """An environment without its files."""

    def strip(name: str) -> str:
        part, dot, setting = name.partition(".")
        return f"{part.partition(':')[0] if _is_listed(part) else part}{dot}{setting}"

    settings = sorted((strip(one.name), one.value) for one in choice.settings)
    prompts = [(strip(one.part), one.texts, one.shots) for one in choice.prompts]
    return strip(choice.name), settings, prompts
