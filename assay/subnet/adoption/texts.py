"""The small files of text: tokenizer.json, tokenizer_config.json, the template, the end tokens.

Of several templates transformers' choice is taken, of several lists of end tokens their union. What
a hub keeps in further files is put where a checkpoint's digest covers it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerFast

from assay.environments.base import ask
from assay.gate.chat_template import PROBE, ChatTemplate
from assay.gate.files import SMALL_FILE_BYTES
from assay.gate.tokenizer_file import find_size_fault
from assay.gate.tokenizer_files import digest_template
from assay.gate.tokenizer_settings import (
    DECODER_TABLE,
    SPECIAL_LISTS,
    SPECIAL_NAMES,
    SPECIAL_TABLES,
)
from assay.inference.folder import CONFIG_FILE, TOKENIZER_FILES, CheckpointError, hold_alone
from assay.inference.tokenizing.folder_tokenizer import load_tokenizer, make_tokenizer
from assay.protocol.encoding import Json, read_json
from assay.subnet.adoption.end_tokens import Endings, choose_ends, read_settled
from assay.subnet.adoption.notes import Notes, name_some
from assay.subnet.adoption.source import dump, read_source_file, read_source_json
from assay.subnet.adoption.templates import (
    BARE_TEMPLATE,
    begin,
    choose_template,
    find_first,
    note_switches,
)
from assay.subnet.adoption.tokens import KnownTokens, iterate_ids, list_tokens, text_of

CORE, SETTINGS = TOKENIZER_FILES
GENERATION_FILE = "generation_config.json"
_NAMES_FILE, _ADDED_FILE = "special_tokens_map.json", "added_tokens.json"
#: Tokenizers in formats that nothing here reads.
_OTHER_TOKENIZERS = (
    *("tekken.json", "tokenizer.model", "tokenizer.model.v3", "spiece.model"),
    *("vocab.json", "qwen.tiktoken", "tiktoken.model", "tokenizer.tiktoken"),
)
#: Classes that load tokenizer.json as it is: others rebuild it in their own way.
_CLASSES = ("PreTrainedTokenizerFast", "TokenizersBackend")
#: Fields that are written anew, or name code of the folder.
_LEFT = ("auto_map", "chat_template")
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
class TextSource:
    """Where the tokenizer's files of a source are.

    Attributes:
        puts_bos: whether the token before a text stands before what a chat template writes, too: so
            llama.cpp reads its files, and transformers does not.
    """

    folder: Path
    puts_bos: bool = False


@dataclass(frozen=True)
class Texts:
    """The files of an adopted model's tokenizer.

    Attributes:
        files: tokenizer.json and tokenizer_config.json.
        generation: generation_config.json for other programs.
        ends: id and text of each end token, the one that closes a turn first.
        template: digest of the chat template, hex.
    """

    files: Mapping[str, bytes]
    generation: Mapping[str, Json]
    ends: Sequence[tuple[int, str]]
    template: str


def adopt_texts(
    source: TextSource,
    config: Mapping[str, Json],
    wanted: Sequence[str],
    given: Path | None,
    notes: Notes,
) -> Texts:
    """The tokenizer's files of a source, past the gate.

    Args:
        config: completed.
        wanted: texts or ids of the end tokens; none: found.
        given: a file with the chat template to use; None: the source's own.

    Raises:
        CheckpointError: one is missing or refused: says which, and what to change.
    """
    folder, vocabulary = source.folder, int(str(config["vocab_size"]))
    core = _read_core(folder, notes)
    settings = _read_settings(folder, notes)
    _trim_core(core, vocabulary, settings, notes)
    known = list_tokens(core, settings)
    _mend_specials(settings, known, notes)
    generation = read_source_json(folder, GENERATION_FILE) or {}
    _name_end(settings, known, (config, generation), notes)
    first = find_first(core, settings, known)
    template = choose_template(folder, settings, given, notes)
    template = begin(template, first, source.puts_bos, notes)
    if template == BARE_TEMPLATE and first is not None:
        settings["bos_token"] = first
    files = {CORE: _dump_core(folder, core), SETTINGS: dump(_finish(settings, template, notes))}
    with hold_alone(files) as alone:
        tokenizer = _load(alone, folder, vocabulary)
    digest = digest_template(template).hex()
    endings = Endings(
        known,
        _find_closing(tokenizer, template, known, notes),
        tokenizer.special_tokens_map.get("eos_token"),
        tokenizer.special_tokens_map.get("bos_token"),
        {
            name: one.get("eos_token_id")
            for name, one in ((CONFIG_FILE, config), (GENERATION_FILE, generation))
        },
        vocabulary,
    )
    ends = choose_ends(endings, wanted, read_settled(folder), digest, notes)
    with hold_alone(files) as alone:
        _check(alone, folder, tokenizer, vocabulary, [number for number, _ in ends], notes)
    _note_texts(template, ends, generation, notes)
    kept = {
        name: generation[name]
        for name in ("bos_token_id", "pad_token_id")
        if generation.get(name) is not None
    }
    kept |= {"eos_token_id": [number for number, _ in ends]}
    return Texts(files, kept, ends, digest)


def _find_closing(
    tokenizer: PreTrainedTokenizerFast, template: str | None, known: KnownTokens, notes: Notes
) -> str | None:
    """The added token with which the template closes an answer. Notes what else it does."""
    if template in (None, BARE_TEMPLATE):
        return None
    try:
        compiled = ChatTemplate(template, tokenizer.special_tokens_map)
    except ValueError:  # the gate says what is wrong with it
        return None
    note_switches(compiled, template, notes)
    closing = compiled.find_closing(known.added)
    if closing is None:
        notes.guessed.append(
            "that the end tokens end an answer, though the chat template closes it with none that "
            "the tokenizer has added"
        )
    return closing


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
        written = made.write(ask(PROBE))
    except ValueError as error:
        notes.guessed.append(f"that your words are what its template needs: {error}")
        return
    if PROBE.strip() not in written:
        notes.guessed.append(
            "that your words make up for the chat template, which leaves out a question of text "
            "alone, or changes it"
        )


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
    """tokenizer_config.json, with what older libraries kept beside it: as in transformers, that is
    read where there is no table of added tokens, and then special_tokens_map.json comes first."""
    settings = read_source_json(folder, SETTINGS) or {}
    beside = read_source_json(folder, _NAMES_FILE) or {}
    more = {
        name: beside[name]
        for name in (*SPECIAL_NAMES, *SPECIAL_LISTS)
        if beside.get(name) not in (None, "") and beside[name] != settings.get(name)
    }
    named = [
        name
        for name in SPECIAL_NAMES
        if name in more and text_of(more[name]) != text_of(settings.get(name))
    ]
    if DECODER_TABLE in settings:
        if named:
            notes.dropped.append(
                f"{', '.join(named)} of {_NAMES_FILE}: {SETTINGS} has the tokens, and comes first "
                "as in transformers"
            )
        return settings
    settings |= more
    if named:
        notes.kept.append(f"{', '.join(named)} of {_NAMES_FILE}")
    added = read_source_json(folder, _ADDED_FILE) or {}
    if added:
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


def _mend_specials(settings: dict[str, Json], known: KnownTokens, notes: Notes) -> None:
    """Leave only special tokens that the tokenizer has, as texts where they were half an object."""
    lost = []
    for name in [name for name in settings if name.endswith("_token")]:
        token = settings[name]
        text = text_of(token)
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
            texts = [text_of(token) for token in tokens]
            lost += [str(text) for text in texts if text not in known.entries]
            settings[name] = [text for text in texts if text in known.entries]
    for name in SPECIAL_TABLES:
        table = settings.get(name)
        if isinstance(table, dict):
            named = {key: text_of(token) for key, token in table.items()}
            lost += [f"{key} {text}" for key, text in named.items() if text not in known.entries]
            settings[name] = {key: text for key, text in named.items() if text in known.entries}
    if lost:
        notes.dropped.append(f"{SETTINGS}: {name_some(lost)}: tokenizer.json has no such token")


def _name_end(
    settings: dict[str, Json],
    known: KnownTokens,
    others: Sequence[Mapping[str, Json]],
    notes: Notes,
) -> None:
    """Give a tokenizer that names no eos_token the first that the model's config has."""
    if text_of(settings.get("eos_token")) is not None:
        return
    for other in others:
        for number in iterate_ids(other.get("eos_token_id")):
            text = known.texts.get(number)
            if text is not None and text in known.added:
                settings["eos_token"] = text
                notes.guessed.append(f"eos_token {text}: by eos_token_id {number}")
                return


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
