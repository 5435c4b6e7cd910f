"""The frames of a network's replies: written by its owner, or derived from the model's template."""

from collections.abc import Callable, Iterator

from assay.environments.base import Frame, Manner
from assay.environments.registry import list_manners, list_turns
from assay.gate.tokenizer import FolderTokenizer
from assay.inference.tokenizing.reply_frames import FoundFrame, choose_frame, find_frames, quote
from assay.protocol.encoding import to_json
from assay.protocol.parameters import (
    REPLY_AFTER,
    REPLY_BEFORE,
    REPLY_FORM,
    REPLY_JSON,
    Parameters,
    Prompts,
    PromptText,
)
from assay.subnet.presets import change_parameters

_NAMES = (REPLY_AFTER, REPLY_BEFORE, REPLY_FORM)


def fill_frames(
    parameters: Parameters, tokenizer: FolderTokenizer, say: Callable[[str], None]
) -> Parameters:
    """The parameters with a frame for each part whose worlds reply and whose owner wrote none.

    The same parameters and template always give the same result. Parts that are plain stay as they
    are, and so do all where no episode has a second turn, or the model has no chat template.

    Args:
        say: called with each frame, how faithful it is, and what the owner should know, in lines.

    Raises:
        ConfigError: nobody could run a network with these parameters.
    """
    records = {one.part: one for one in parameters.environment.prompts}
    for part, manner in _list_replied(parameters):
        frame = _fill(part, manner, tokenizer, say)
        if frame is not None:
            old = records.get(part) or Prompts(part, (), ())
            texts = sorted((*old.texts, *_write(frame)), key=lambda one: one.name)
            records[part] = Prompts(part, tuple(texts), old.shots)
    made = tuple(records[part] for part in sorted(records))
    if made == parameters.environment.prompts:
        return parameters
    return change_parameters(parameters, {"environment": {"prompts": [to_json(o) for o in made]}})


def find_closer_fault(parameters: Parameters, tokenizer: FolderTokenizer) -> str | None:
    """Why no reply could follow a turn as the template closes it, and what to change; None: one
    could, or the network's problems have no replies."""
    for part, manner in _list_replied(parameters):
        if not tokenizer.has_template:
            continue
        found = find_frames(tokenizer, manner)
        closers = [one.closer for one in found if one.closer is not None]
        if closers and choose_frame(found, manner) is None:
            end = quote(closers[0])
            return (
                f"{part}: the chat template closes a turn with {end}, and the manifest's first end "
                f"token is {quote(tokenizer.closer)}: adopt the model anew with --end-token {end} "
                "before the others"
            )
    return None


def describe_frames(
    part: str, manner: Manner, found: list[FoundFrame]
) -> tuple[FoundFrame | None, list[str]]:
    """The frame that a part takes from the template, None if the owner wrote one or it has none,
    and what to say, in lines."""
    chosen = choose_frame(found, manner)
    lines = [f"{part}: replies in role {one.role}: {_describe(one)}" for one in found]
    if any(manner.get(name) is not None for name in _NAMES):
        same = [one for one in found if one.frame == manner.frame]
        if same:
            comparison = f"it is the template's of role {same[0].role}: {same[0].verdict}"
        elif chosen is not None:
            comparison = "it stays, and differs from those of the template"
        else:
            comparison = "the template has none to compare it with"
        return None, [*lines, f"{part}: you wrote the frame {_show(manner.frame)}: {comparison}"]
    if chosen is not None:
        return chosen, [*lines, f"{part}: the frame of role {chosen.role} is taken"]
    lines.append(
        f"{part}: no frame is taken: write one under [environment.prompts.{part}], such as "
        f'{REPLY_BEFORE} = "\\n" and {REPLY_AFTER} = "\\n", or say plain=1'
    )
    return None, lines


def _fill(
    part: str, manner: Manner, tokenizer: FolderTokenizer, say: Callable[[str], None]
) -> Frame | None:
    if not tokenizer.has_template:
        return None
    chosen, lines = describe_frames(part, manner, find_frames(tokenizer, manner))
    for line in lines:
        say(line)
    return None if chosen is None else chosen.frame


def _list_replied(parameters: Parameters) -> Iterator[tuple[str, Manner]]:
    """The parts whose worlds reply and whose problems go through a template."""
    if parameters.work.turns == 1:
        return
    turns = list_turns(parameters.environment)
    for part, manner in list_manners(parameters.environment).items():
        if turns[part] > 1 and not manner.plain:
            yield part, manner


def _write(frame: Frame) -> list[PromptText]:
    texts = [PromptText(REPLY_BEFORE, frame.before), PromptText(REPLY_AFTER, frame.after)]
    return texts + ([PromptText(REPLY_FORM, REPLY_JSON)] if frame.as_json else [])


def _describe(found: FoundFrame) -> str:
    if found.frame is None:
        return f"the template gives no frame: {found.fault}"
    return f"{_show(found.frame)}: {found.verdict}"


def _show(frame: Frame) -> str:
    form = f", {REPLY_FORM} {quote(REPLY_JSON)}" if frame.as_json else ""
    return f"{REPLY_BEFORE} {quote(frame.before)}, {REPLY_AFTER} {quote(frame.after)}{form}"
