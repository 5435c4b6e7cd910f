"""The small files of text: tokenizer.json, tokenizer_config.json, the template, the end tokens.

Of several templates transformers' choice is taken, of several lists of end tokens their union. What
a hub keeps in further files is put where a checkpoint's digest covers it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerFast

from assay.environments.base import ask
from assay.gate.chat_template import PROBE, ChatTemplate
from assay.gate.files import JSON_BYTES, SMALL_FILE_BYTES
from assay.gate.tokenizer_file import find_size_fault
from assay.gate.tokenizer_settings import (
    DECODER_TABLE,
    SPECIAL_LISTS,
    SPECIAL_NAMES,
    SPECIAL_TABLES,
)
from assay.inference.folder import MANIFEST_FILE, TOKENIZER_FILES, CheckpointError, hold_alone
from assay.inference.tokenizing.folder_tokenizer import load_tokenizer, make_tokenizer
from assay.protocol.encoding import Json, read_json
from assay.subnet.adoption.notes import Notes, name_some
from assay.subnet.adoption.source import dump, read_source_file, read_source_json

CORE, SETTINGS = TOKENIZER_FILES
GENERATION_FILE = "generation_config.json"
#: What an adoption did, in the folder that it wrote.
ADOPTION_FILE = "adoption.json"
#: Files in which libraries store a chat template: newer ones, and those of models that see.
TEMPLATE_FILE, OTHER_TEMPLATE_FILE = "chat_template.jinja", "chat_template.json"
TEMPLATE_FOLDER = "additional_chat_templates"
_NAMES_FILE, _ADDED_FILE = "special_tokens_map.json", "added_tokens.json"
#: Tokenizers in formats that nothing here reads.
_OTHER_TOKENIZERS = (
    *("tekken.json", "tokenizer.model", "tokenizer.model.v3", "spiece.model"),
    *("vocab.json", "qwen.tiktoken", "tiktoken.model", "tokenizer.tiktoken"),
)
#: The template of a base model that was trained with a token before each text: what the plain form
#: has.
BARE_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}{{ message.content }}"
    "{% if message.role != 'user' %}{{ '\\n\\n' }}{% endif %}{% endfor %}"
)
#: Classes that load tokenizer.json as it is: others rebuild it in their own way.
_CLASSES = ("PreTrainedTokenizerFast", "TokenizersBackend")
#: Fields that are written anew, or name code of the folder.
_LEFT = ("auto_map", "chat_template")
#: Most end tokens of a manifest.
_ENDS_MAX = 16
#: Fields of generation_config.json by which others draw, at the values that change nothing.
_DRAWING: Mapping[str, float] = {
    "temperature": 1.0,
    "top_k": 0,
    "top_p": 1.0,
    "min_p": 0.0,
    "typical_p": 1.0,
    "repetition_penalty": 1.0,
    "no_repeat_ngram_size": 0,
}


@dataclass(frozen=True)
class Texts:
    """The files of an adopted model's tokenizer.

    Attributes:
        files: tokenizer.json and tokenizer_config.json.
        generation: generation_config.json for other programs.
        ends: id and text of each end token, the one that closes a turn first.
    """

    files: Mapping[str, bytes]
    generation: Mapping[str, Json]
    ends: Sequence[tuple[int, str]]


def adopt_texts(
    folder: Path, config: Mapping[str, Json], wanted: Sequence[str], notes: Notes
) -> Texts:
    """The tokenizer's files of a source, past the gate.

    Args:
        config: completed.
        wanted: texts or ids of the end tokens; none: found.

    Raises:
        CheckpointError: one is missing or refused: says which, and what to change.
    """
    vocabulary: Any = config["vocab_size"]
    core = _read_core(folder, notes)
    settings = _read_settings(folder, notes)
    _trim_core(core, vocabulary, settings, notes)
    known = _list_tokens(core, settings)
    _mend_specials(settings, known, notes)
    template = _choose_template(folder, settings, notes)
    if template == "":
        notes.dropped.append("the empty chat template, by which a prompt would have no text")
        template = None
    generation = read_source_json(folder, GENERATION_FILE) or {}
    _name_end(settings, known, (config, generation), notes)
    first = _find_first(core, settings, known)
    if template is None and first is not None:
        template = BARE_TEMPLATE
        settings["bos_token"] = first
        notes.guessed.append(
            f"prompts begin with {first}, as the tokenizer adds it: the template {template}"
        )
    files = {CORE: _dump_core(folder, core), SETTINGS: dump(_finish(settings, template, notes))}
    with hold_alone(files) as alone:
        tokenizer = _load(alone, folder, vocabulary)
    wanted = wanted or _read_settled(folder)
    ends = _find_ends(tokenizer, known, config, generation, wanted, vocabulary, notes)
    with hold_alone(files) as alone:
        _check(alone, folder, tokenizer, vocabulary, [number for number, _ in ends], notes)
    _note_texts(template, ends, generation, notes)
    kept = {
        name: generation[name]
        for name in ("bos_token_id", "pad_token_id")
        if generation.get(name) is not None
    }
    return Texts(files, kept | {"eos_token_id": [number for number, _ in ends]}, ends)


def _dump_core(folder: Path, core: dict[str, Json]) -> bytes:
    """tokenizer.json as it was, unless it was mended."""
    data = read_source_file(folder, CORE)
    assert data is not None
    return data if read_json(data) == core else dump(core)


def _finish(settings: Mapping[str, Json], template: str | None, notes: Notes) -> dict[str, Json]:
    """tokenizer_config.json for Assay and for others, which load the same tokenizer by it."""
    if "auto_map" in settings:
        notes.dropped.append(f"{SETTINGS}: auto_map, which runs code of the folder")
    kept = {name: value for name, value in settings.items() if name not in _LEFT}
    if kept.get("tokenizer_class") not in _CLASSES:
        kept["tokenizer_class"] = _CLASSES[0]
    return kept if template is None else kept | {"chat_template": template}


def _load(alone: Path, folder: Path, vocabulary: int) -> PreTrainedTokenizerFast:
    """The tokenizer past the gate, whose message names the source."""
    try:
        return load_tokenizer(alone, vocabulary)
    except CheckpointError as error:
        raise CheckpointError(str(error).replace(str(alone), str(folder))) from None


def _check(
    alone: Path,
    folder: Path,
    tokenizer: PreTrainedTokenizerFast,
    vocabulary: int,
    ends: Sequence[int],
    notes: Notes,
) -> None:
    """Raise a CheckpointError if nobody could use the tokenizer. Note a template that needs more
    than a question."""
    try:
        made = make_tokenizer(alone, tokenizer, vocabulary, ends)
    except CheckpointError as error:
        raise CheckpointError(str(error).replace(str(alone), str(folder))) from None
    if lost := [end for end in ends if not made.drawable[end]]:
        raise CheckpointError(f"end token {lost[0]} is the padding token, which nobody may draw")
    try:
        made.write(ask(PROBE))
    except ValueError as error:
        notes.guessed.append(f"that your words are what its template needs: {error}")


def _read_core(folder: Path, notes: Notes) -> dict[str, Json]:
    """tokenizer.json without what a user of it has set for himself."""
    fault = find_size_fault(read_source_file(folder, CORE) or b"")
    if fault is not None:
        raise CheckpointError(f"{folder}: {fault}")
    core = read_source_json(folder, CORE, SMALL_FILE_BYTES)
    if core is None:
        others = [name for name in _OTHER_TOKENIZERS if (folder / name).exists()]
        if not others:
            raise CheckpointError(f"{folder} has no {CORE}: fetch it")
        raise CheckpointError(
            f'{folder} has no {CORE}, only {name_some(others)}: convert it: python -c "from '
            "transformers import AutoTokenizer as A; "
            "A.from_pretrained('FOLDER').save_pretrained('NEW')\""
        )
    for name in ("truncation", "padding"):
        if core.get(name) is not None:
            core[name] = None
            notes.dropped.append(f"{CORE}: {name}, which would cut or fill prompts")
    return core


def _read_settings(folder: Path, notes: Notes) -> dict[str, Json]:
    """tokenizer_config.json, with what older libraries kept beside it."""
    settings = read_source_json(folder, SETTINGS) or {}
    beside = read_source_json(folder, _NAMES_FILE) or {}
    names = []
    for name in SPECIAL_NAMES:
        if settings.get(name) in (None, "") and _text_of(beside.get(name)):
            settings[name] = beside[name]
            names.append(name)
    if names:
        notes.kept.append(f"{', '.join(names)} of {_NAMES_FILE}")
    added = read_source_json(folder, _ADDED_FILE) or {}
    table = settings.get(DECODER_TABLE)
    if added and not table:
        settings[DECODER_TABLE] = {
            str(number): {"content": text, "special": False, "normalized": False}
            for text, number in added.items()
        }
    return settings


def _trim_core(
    core: dict[str, Json], vocabulary: int, settings: Mapping[str, Json], notes: Notes
) -> None:
    """Drop special tokens at the end for which the model has no row, such as those of pictures.

    Raises:
        CheckpointError: a token of texts is among them: somebody has added it, and lost its row.
    """
    added = core.get("added_tokens")
    if not isinstance(added, list):
        return
    beyond = [
        token
        for token in added
        if isinstance(token, dict) and type(token.get("id")) is int and token["id"] >= vocabulary
    ]
    texts = [str(token.get("content")) for token in beyond]
    for token, text in zip(beyond, texts, strict=True):
        if token.get("special") is not True:
            raise CheckpointError(
                f"{CORE} has the token {text[:60]} with id {token['id']}, and the model has "
                f"{vocabulary} ids: remove the token, or take the model that was trained with it"
            )
    if beyond:
        core["added_tokens"] = [token for token in added if token not in beyond]
        table: Any = settings.get(DECODER_TABLE)
        for token in beyond if isinstance(table, dict) else ():
            table.pop(str(token["id"]), None)
        notes.dropped.append(f"{CORE}: {name_some(texts)}: the model has {vocabulary} ids")


@dataclass(frozen=True)
class _Tokens:
    """What a tokenizer's files name: text → id of all entries, and of those beside the model's; and
    id → text."""

    entries: Mapping[str, int]
    added: Mapping[str, int]
    texts: Mapping[int, str]


def _list_tokens(core: Mapping[str, Json], settings: Mapping[str, Json]) -> _Tokens:
    listed = core.get("added_tokens")
    added = {
        token["content"]: token["id"]
        for token in (listed if isinstance(listed, list) else ())
        if isinstance(token, dict)
        and isinstance(token.get("content"), str)
        and type(token.get("id")) is int
    }
    table = settings.get(DECODER_TABLE)
    for number, token in (table if isinstance(table, dict) else {}).items():
        text = token.get("content") if isinstance(token, dict) else None
        if isinstance(text, str) and number.isdecimal() and len(number) < 10:
            added.setdefault(text, int(number))
    model = core.get("model")
    own = model.get("vocab") if isinstance(model, dict) else None
    known = own if isinstance(own, dict) else {}
    entries = {**known, **added}
    texts = {number: text for text, number in reversed(entries.items()) if type(number) is int}
    return _Tokens(entries, added, texts)


def _text_of(token: Json) -> str | None:
    """The text of a special token, in any of its forms."""
    text = token.get("content") if isinstance(token, dict) else token
    return text if isinstance(text, str) and text else None


def _mend_specials(settings: dict[str, Json], known: _Tokens, notes: Notes) -> None:
    """Leave only special tokens that the tokenizer has, as texts where they were half an object."""
    lost = []
    for name in [name for name in settings if name.endswith("_token")]:
        token = settings[name]
        text = _text_of(token)
        if text is None:
            if token is None or token == "" or isinstance(token, dict):
                del settings[name]
        elif text not in known.entries:
            lost.append(f"{name} {text}")
            del settings[name]
        elif isinstance(token, dict) and "__type" not in token:
            settings[name] = text
    for name in SPECIAL_LISTS:
        tokens = settings.get(name)
        if isinstance(tokens, list):
            texts = [_text_of(token) for token in tokens]
            lost += [str(text) for text in texts if text not in known.entries]
            settings[name] = [text for text in texts if text in known.entries]
    for name in SPECIAL_TABLES:
        table = settings.get(name)
        if isinstance(table, dict):
            named = {key: _text_of(token) for key, token in table.items()}
            lost += [f"{key} {text}" for key, text in named.items() if text not in known.entries]
            settings[name] = {key: text for key, text in named.items() if text in known.entries}
    if lost:
        notes.dropped.append(f"{SETTINGS}: {name_some(lost)}: tokenizer.json has no such token")


def _choose_template(folder: Path, settings: Mapping[str, Json], notes: Notes) -> str | None:
    """The template that transformers takes: of its own file, else of tokenizer_config.json."""
    stored = _pick_named(folder, settings.get("chat_template"), SETTINGS, notes)
    for path in sorted((folder / TEMPLATE_FOLDER).glob("*.jinja")):
        notes.dropped.append(f"{TEMPLATE_FOLDER}/{path.name}: the default template is used")
    data = read_source_file(folder, TEMPLATE_FILE, JSON_BYTES)
    if data is not None:
        try:
            own = data.decode("utf-8-sig").replace("\r\n", "\n")
        except UnicodeDecodeError as error:
            raise CheckpointError(f"{folder / TEMPLATE_FILE} is not UTF-8: {error}") from None
        if own.encode() != data:
            notes.converted.append(f"{TEMPLATE_FILE}: without a byte order mark, lines end in \\n")
        if stored not in (None, own):
            notes.dropped.append(
                f"{SETTINGS}: its chat_template: {TEMPLATE_FILE} comes first, as in transformers"
            )
        return own
    other = read_source_json(folder, OTHER_TEMPLATE_FILE)
    if other is None:
        return stored
    found = _pick_named(folder, other.get("chat_template"), OTHER_TEMPLATE_FILE, notes)
    if stored is None:
        return found
    if found not in (None, stored):
        notes.dropped.append(f"{OTHER_TEMPLATE_FILE}: the template of {SETTINGS} is the text's")
    return stored


def _pick_named(folder: Path, found: Json, file: str, notes: Notes) -> str | None:
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
    default = named.get("default")
    if not isinstance(default, str):
        names = ", ".join(sorted(named))[:200] or "none"
        raise CheckpointError(
            f"{folder / file}: chat_template is not one text, nor a list with one named default "
            f"(named are {names}): leave the one to use"
        )
    if others := sorted({*named} - {"default"}):
        notes.dropped.append(f"{file}: the templates {', '.join(others)[:200]}: default is used")
    return default


def _find_first(
    core: Mapping[str, Json], settings: Mapping[str, Json], known: _Tokens
) -> str | None:
    """The token that the tokenizer by itself puts before a text."""
    asked = settings.get("add_bos_token")
    if asked is not None:
        return _text_of(settings.get("bos_token")) if asked is True else None
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


def _iterate_ids(value: Json) -> Iterator[int]:
    """The ids of an `eos_token_id`, which is one or a list."""
    for number in value if isinstance(value, list) else [value]:
        if type(number) is int:
            yield number


def _name_end(
    settings: dict[str, Json], known: _Tokens, others: Sequence[Mapping[str, Json]], notes: Notes
) -> None:
    """Give a tokenizer that names no eos_token the first that the model's config has."""
    if _text_of(settings.get("eos_token")) is not None:
        return
    for other in others:
        for number in _iterate_ids(other.get("eos_token_id")):
            text = known.texts.get(number)
            if text is not None and text in known.added:
                settings["eos_token"] = text
                notes.guessed.append(f"eos_token {text}: by eos_token_id {number}")
                return


def _find_ends(
    tokenizer: PreTrainedTokenizerFast,
    known: _Tokens,
    config: Mapping[str, Json],
    generation: Mapping[str, Json],
    wanted: Sequence[str],
    vocabulary: int,
    notes: Notes,
) -> list[tuple[int, str]]:
    """The end tokens, the one that closes a model's turn first.

    Raises:
        CheckpointError: there are none, or `wanted` names something else than a token.
    """
    if wanted:
        chosen = dict.fromkeys(_parse_end(text, known) for text in wanted)
        if len(chosen) > _ENDS_MAX:
            raise CheckpointError(
                f"{len(chosen)} tokens are to end a completion: at most {_ENDS_MAX} may"
            )
        return list(chosen)
    found: dict[int, str] = {}
    closing = _find_closing(tokenizer, known)
    own = tokenizer.special_tokens_map.get("eos_token")
    if closing is not None:
        found[known.entries[closing]] = closing
    if own is not None and own in known.entries:
        found[known.entries[own]] = own
    if closing is not None and own is not None and closing != own:
        notes.guessed.append(
            f"{closing} ends a completion first: the template closes the model's turn with it; "
            f"the tokenizer's eos_token is {own}"
        )
    begins = tokenizer.special_tokens_map.get("bos_token")
    ordinary = []
    for where, document in (("config.json", config), (GENERATION_FILE, generation)):
        for number in _iterate_ids(document.get("eos_token_id")):
            text = known.texts.get(number)
            if number in found:
                continue
            if text is None or number >= vocabulary:
                ordinary.append(f"{number} of {where} is no token")
            elif text not in known.added:
                ordinary.append(f"{number} of {where} is the text {text!r}")
            elif text == begins:
                ordinary.append(f"{number} of {where} is {text}, which begins a text")
            else:
                found[number] = text
    if ordinary:
        notes.dropped.append(f"eos_token_id {name_some(ordinary)}: no end token")
    if not found:
        raise CheckpointError(
            "neither tokenizer_config.json, config.json nor generation_config.json names a token "
            "that ends a completion: name it with --end-token"
        )
    ends = list(found.items())
    if more := [text for _, text in ends[_ENDS_MAX:]]:
        notes.dropped.append(f"end tokens {name_some(more)}: at most {_ENDS_MAX} may be")
    return ends[:_ENDS_MAX]


def _read_settled(folder: Path) -> list[str]:
    """The end tokens of a folder that was adopted, or of a checkpoint; none of others."""
    for name in (ADOPTION_FILE, MANIFEST_FILE):
        settled = (read_source_json(folder, name) or {}).get("end_tokens")
        if settled is not None:
            return [str(number) for number in _iterate_ids(settled)]
    return []


def _parse_end(text: str, known: _Tokens) -> tuple[int, str]:
    """A token by its id or its text. Digits are an id: no number in an answer should end it."""
    if text.isdecimal() and len(text) < 10:
        name = known.texts.get(int(text))
        if name is not None:
            return int(text), name
    elif text in known.entries:
        return known.entries[text], text
    raise CheckpointError(f"end token {text[:60]!r} is no token of {CORE}")


def _find_closing(tokenizer: PreTrainedTokenizerFast, known: _Tokens) -> str | None:
    """The added token with which the template closes an answer."""
    if not isinstance(tokenizer.chat_template, str):
        return None
    try:
        template = ChatTemplate(tokenizer.chat_template, tokenizer.special_tokens_map)
    except ValueError:  # the gate says what is wrong with it
        return None
    return template.find_closing(known.added)


def _note_texts(
    template: str | None,
    ends: Sequence[tuple[int, str]],
    generation: Mapping[str, Json],
    notes: Notes,
) -> None:
    notes.kept.append("end tokens " + ", ".join(f"{number} {text}" for number, text in ends))
    if template is None:
        notes.kept.append("prompts as bare text: there is no chat template")
    odd = [name for name, plain in _DRAWING.items() if generation.get(name) not in (None, plain)]
    if odd and generation.get("do_sample") is not False:
        notes.dropped.append(
            f"{GENERATION_FILE}: {', '.join(odd)}: people who use this model elsewhere sample "
            "differently"
        )
