"""The chat template of a model: which one of several, how a prompt begins, what a reader is told.

Of several templates transformers' choice is taken. What it writes must be what the model was
trained to read: the token before each text, the thinking switch, and what closes an answer.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from assay.environments.base import Message, ask
from assay.gate.chat_template import PROBE, ChatTemplate
from assay.gate.files import JSON_BYTES
from assay.inference.folder import CheckpointError
from assay.protocol.encoding import Json
from assay.subnet.adoption.notes import Notes
from assay.subnet.adoption.source import read_source_file, read_source_json
from assay.subnet.adoption.tokens import KnownTokens, text_of

SETTINGS_FILE = "tokenizer_config.json"
#: Files in which libraries store a chat template: newer ones, and those of models that see.
TEMPLATE_FILE, OTHER_TEMPLATE_FILE = "chat_template.jinja", "chat_template.json"
TEMPLATE_FOLDER = "additional_chat_templates"
_DEFAULT = "default"
#: The template of a base model that was trained with a token before each text: what the plain form
#: has.
BARE_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}{{ message.content }}"
    "{% if message.role != 'user' %}{{ '\\n\\n' }}{% endif %}{% endfor %}"
)
#: What puts that token before what a template writes.
_BEGIN = "{{ bos_token }}"
#: By which templates are told whether a model is to think.
_SWITCHES = ("enable_thinking", "thinking")


def choose_template(
    folder: Path, settings: Mapping[str, Json], given: Path | None, notes: Notes
) -> str | None:
    """The template that is given, else the one that transformers takes: of its own file, else of
    tokenizer_config.json; None: there is none.

    Args:
        given: a file with a template, or a JSON file that has one under `chat_template`.

    Raises:
        CheckpointError: a file cannot be read, or it has several, and none is the default.
    """
    if given is not None:
        chosen: str | None = _read_given(given, notes)
        notes.kept.append(f"the chat template of {given}")
        if _has_template(folder, settings):
            notes.dropped.append("the model's own chat template: --chat-template comes first")
    else:
        chosen = _find_template(folder, settings, notes)
    if chosen == "":
        notes.dropped.append("the empty chat template, by which a prompt would have no text")
        return None
    return chosen


def _has_template(folder: Path, settings: Mapping[str, Json]) -> bool:
    stored = (folder / name for name in (TEMPLATE_FILE, OTHER_TEMPLATE_FILE, TEMPLATE_FOLDER))
    return bool(settings.get("chat_template")) or any(path.exists() for path in stored)


def _read_given(file: Path, notes: Notes) -> str:
    if file.suffix == ".json":
        named = (read_source_json(file.parent, file.name) or {}).get("chat_template")
        chosen = _pick_named(file, named, notes)
    else:
        chosen = _read_template(file, notes)
    if chosen is None:
        raise CheckpointError(f"{file} has no chat template: name a file that has one")
    return chosen


def _read_template(file: Path, notes: Notes) -> str | None:
    data = read_source_file(file.parent, file.name, JSON_BYTES)
    if data is None:
        return None
    try:
        text = data.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise CheckpointError(f"{file} is not UTF-8: {error}") from None
    if text.encode() != data:
        notes.converted.append(f"{file.name}: without a byte order mark, lines end in \\n")
    return text


def _find_template(folder: Path, settings: Mapping[str, Json], notes: Notes) -> str | None:
    files = sorted((folder / TEMPLATE_FOLDER).glob("*.jinja"))
    own = _read_template(folder / TEMPLATE_FILE, notes)
    for path in files:
        name = f"{TEMPLATE_FOLDER}/{path.name}"
        if path.stem != _DEFAULT:
            notes.dropped.append(f"{name}: the default template is used")
            continue
        if own is not None:
            notes.dropped.append(f"{TEMPLATE_FILE}: {name} comes first, as in transformers")
        own = _read_template(path, notes)
    if own is None and files:  # with these transformers takes none of another file
        raise CheckpointError(
            f"{folder / TEMPLATE_FOLDER} has no default template, only "
            f"{', '.join(path.stem for path in files)[:200]}: name the file to use with "
            "--chat-template"
        )
    stored = settings.get("chat_template")
    if own is not None:
        if stored not in (None, own):
            notes.dropped.append(
                f"{SETTINGS_FILE}: its chat_template: {TEMPLATE_FILE} comes first, as in "
                "transformers"
            )
        return own
    stored = _pick_named(folder / SETTINGS_FILE, stored, notes)
    other = read_source_json(folder, OTHER_TEMPLATE_FILE)
    if other is None:
        return stored
    found = _pick_named(folder / OTHER_TEMPLATE_FILE, other.get("chat_template"), notes)
    if stored is None:
        return found
    if found not in (None, stored):
        notes.dropped.append(
            f"{OTHER_TEMPLATE_FILE}: the template of {SETTINGS_FILE} is the text's"
        )
    return stored


def _pick_named(file: Path, found: Json, notes: Notes) -> str | None:
    """A template, which may be one of several by name: the default one."""
    if found is None or isinstance(found, str):
        return found
    named: dict[str, Json] = {}
    if isinstance(found, dict):
        named = found
    elif isinstance(found, list):
        for one in found:
            if isinstance(one, dict) and isinstance(one.get("name"), str):
                named[one["name"]] = one.get("template")
    default = named.get(_DEFAULT)
    if not isinstance(default, str):
        names = ", ".join(sorted(named))[:200] or "none"
        raise CheckpointError(
            f"{file}: chat_template is not one text, nor a list with one named default "
            f"(named are {names}): name a file with the one to use with --chat-template"
        )
    if others := sorted({*named} - {_DEFAULT}):
        notes.dropped.append(
            f"{file.name}: the templates {', '.join(others)[:200]}: default is used"
        )
    return default


def find_first(
    core: Mapping[str, Json], settings: Mapping[str, Json], known: KnownTokens
) -> str | None:
    """The token that the tokenizer by itself puts before a text."""
    asked = settings.get("add_bos_token")
    if asked is not None:
        return text_of(settings.get("bos_token")) if asked is True else None
    for part in _iterate_processors(core.get("post_processor")):
        pieces = part.get("single")
        head = pieces[0] if isinstance(pieces, list) and pieces else None
        token = head.get("SpecialToken") if isinstance(head, dict) else None
        text = token.get("id") if isinstance(token, dict) else None
        if isinstance(text, str) and text in known.entries:
            return text
    return None


def _iterate_processors(processor: Json) -> Iterator[dict[str, Json]]:
    if isinstance(processor, dict):
        inner = processor.get("processors")
        for part in inner if isinstance(inner, list) else [processor]:
            if isinstance(part, dict) and part.get("type") == "TemplateProcessing":
                yield part


def begin(template: str | None, first: str | None, puts: bool, notes: Notes) -> str | None:
    """The template by which prompts begin as the model's texts did in training.

    Args:
        first: the token that the tokenizer by itself puts before a text.
        puts: whether it stands before what a template writes, too, as in llama.cpp.
    """
    if first is None:
        return template
    if template is None:
        notes.guessed.append(
            f"prompts begin with {first}, as the tokenizer adds it: the template {BARE_TEMPLATE}"
        )
        return BARE_TEMPLATE
    if _begins_with(template, first):
        return template
    if puts:
        notes.converted.append(
            f"the chat template: it begins with {first}, which the file puts before every text"
        )
        return _BEGIN + template
    notes.guessed.append(
        f"that prompts begin without {first}, which the tokenizer puts before every other text: "
        "the chat template writes none, and transformers adds none. bos=1 puts it there"
    )
    return template


def _begins_with(template: str, first: str) -> bool:
    """Whether what it writes begins with a token."""
    with suppress(ValueError):  # the gate says what is wrong with it
        compiled = ChatTemplate(template, {"bos_token": first})
        for text in _try_messages(compiled, ask(PROBE).messages):
            return text.startswith(first)
    return "bos_token" in template or first in template


def _try_messages(template: ChatTemplate, messages: Sequence[Message]) -> Iterator[str]:
    """What a template writes: some need a system text, and some allow none."""
    for before in ((), (Message("system", "x"),)):
        with suppress(ValueError):
            yield template.render((*before, *messages))


def note_switches(template: ChatTemplate, source: str, notes: Notes) -> None:
    """Note by what a template is told whether a model is to think, and what it does untold."""
    asked = ask(PROBE).messages
    for name in _SWITCHES:
        if name not in source:
            continue
        written = []
        for told in ((), ((name, True),), ((name, False),)):
            with suppress(ValueError):
                written.append(template.render(asked, told))
        if len(written) < 3 or written[1] == written[2]:
            continue
        default = {written[1]: "true", written[2]: "false"}.get(written[0], "neither value")
        other = "true" if default == "false" else "false"
        notes.kept.append(
            f"the template's thinking switch {name}: unset it is as {default}; "
            f"arguments = {{ {name} = {other} }} under [environment.prompts.FAMILY] turns it"
        )
