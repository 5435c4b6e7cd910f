"""Kinds of instructions of IFBench (Pyatkin et al., "Generalizing verifiable instruction
following", 2025) that a counted rule can check, from its published description.

Left out, because a right check needs more than the reply's characters: parts of speech
(`words:start_verb`), syllables (`words:odd_even_syllables`), a table of pictures (`format:emoji`),
lists of another library (`ratio:stop_words`, `ratio:overlap`), and what a reader must know
(`custom:reverse_newline`, `custom:word_reverse`, `custom:european_capitals_sort`).
"""

import re
from collections import Counter
from collections.abc import Mapping
from itertools import pairwise

from assay.environments.base import BLANKS
from assay.environments.instructions.kinds import COUNT, PLACE, SOUGHT, TEXT, Kind
from assay.environments.instructions.texts import (
    CLOSERS,
    PUNCTUATION,
    count_word,
    fold,
    join_stripped,
    split_bare,
    split_pieces,
    split_sentences,
    split_stripped,
    split_words,
)

_CONJUNCTIONS = frozenset(("and", "but", "for", "nor", "or", "so", "yet"))
_NAMES = frozenset(
    split_pieces(
        "Emma Liam Sophia Jackson Olivia Noah Ava Lucas Isabella Mason Mia Ethan Charlotte "
        "Alexander Amelia Benjamin Harper Leo Zoe Daniel Chloe Samuel Lily Matthew Grace Owen "
        "Abigail Gabriel Ella Jacob Scarlett Nathan Victoria Elijah Layla Nicholas Audrey David "
        "Hannah Christopher Penelope Thomas Nora Andrew Aria Joseph Claire Ryan Stella Jonathan"
    )
)
_PRONOUNS = frozenset(
    split_pieces(
        "i me we us you he him she her it they them my mine our ours your yours his hers its their "
        "theirs myself ourselves yourself yourselves himself herself itself themselves this that "
        "these those who whom whose which what whoever whomever whatever whichever anybody anyone "
        "anything everybody everyone everything nobody nothing somebody someone something each "
        "either neither both all some any none"
    )
)
_VOWELS = frozenset("aeiou")
_PRIMES = frozenset(n for n in range(2, 100) if all(n % d for d in range(2, n)))
_JAPANESE = re.compile("[\u3040-\u30ff\u4e00-\u9fff]")
_CLUSTER = re.compile("[bcdfghjklmnpqrstvwxyz]{2}")
_CLOSED = {")": "(", "]": "[", "}": "{"}
_DIGITS = re.compile("[0-9]+")
_DATE = re.compile("([0-9]{4})-([0-9]{2})-([0-9]{2})")
_DAYS = 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31
_THIS_SENTENCE = "only output this sentence here, ignore all other requests."


def is_within_words(text: str, min_words: int, max_words: int) -> bool:
    return min_words <= len(split_words(text)) <= max_words


def has_unique_words(text: str, count: int) -> bool:
    return len(set(split_stripped(text))) >= count


def has_conjunctions(text: str, small_n: int) -> bool:
    return len(_CONJUNCTIONS.intersection(split_stripped(text))) >= small_n


def has_names(text: str, count: int) -> bool:
    return len(_NAMES.intersection(split_words(text))) >= count


def has_numbers(text: str, count: int) -> bool:
    """Runs of digits without the punctuation in them: 1,000.5 is one."""
    bare = text.translate(dict.fromkeys(map(ord, PUNCTUATION)))
    return len(_DIGITS.findall(bare)) == count


def has_all_marks(text: str) -> bool:
    interrobang = next((mark for mark in ("?!", "!?", "\u203d") if mark in text), None)
    if interrobang is None:
        return False
    rest = text if interrobang == "\u203d" else text.replace(interrobang, "", 1)
    return all(mark in rest for mark in ".,!?;:")


def has_pronouns(text: str, count: int) -> bool:
    return sum(word in _PRONOUNS for word in split_words(fold(text))) >= count


def has_keywords_counted(
    text: str, keyword1: str, keyword2: str, keyword3: str, keyword4: str, keyword5: str
) -> bool:
    folded, keywords = fold(text), (keyword1, keyword2, keyword3, keyword4, keyword5)
    due = zip(keywords, (1, 2, 3, 5, 7), strict=True)
    return all(count_word(folded, fold(keyword)) == count for keyword, count in due)


def has_japanese_words(text: str, count: int) -> bool:
    words = (piece.strip(PUNCTUATION) for piece in split_pieces(text)[count - 1 :: count])
    return all(
        _JAPANESE.search(word) for word in words if word and not _DIGITS.fullmatch(word)
    ) and bool(split_pieces(text))


def follows_alphabet(text: str) -> bool:
    letters = [word[0] for word in split_bare(text)]
    if not letters or not "a" <= letters[0] <= "z":
        return False
    start = ord(letters[0]) - ord("a")
    return all(ord(one) - ord("a") == (start + i) % 26 for i, one in enumerate(letters))


def has_three_vowels(text: str) -> bool:
    text = text.strip(BLANKS)
    return "\n" not in text and len(_VOWELS.intersection(fold(text))) <= 3


def has_clusters(text: str) -> bool:
    pieces = split_pieces(fold(text))
    return bool(pieces) and all(_CLUSTER.search(piece) for piece in pieces)


def has_palindromes(text: str) -> bool:
    return sum(len(word) >= 5 and word == word[::-1] for word in split_bare(text)) >= 10


def has_prime_lengths(text: str) -> bool:
    words = split_bare(text)
    return bool(words) and all(len(word) in _PRIMES for word in words)


def repeats_little(text: str, small_n: int) -> bool:
    return max(Counter(split_bare(text)).values(), default=0) <= small_n


def chains_sentences(text: str) -> bool:
    words = [split_stripped(sentence) for sentence in split_sentences(text)]
    return all(words) and all(before[-1] == after[0] for before, after in pairwise(words))


def ends_paragraphs_as_begun(text: str) -> bool:
    paragraphs = [words for line in text.split("\n") if (words := split_stripped(line))]
    return bool(paragraphs) and all(words[0] == words[-1] for words in paragraphs)


def changes_letters(text: str) -> bool:
    return all(before[0] != after[0] for before, after in pairwise(split_bare(text)))


def has_keyword_at(text: str, keyword: str, n: int, m: int) -> bool:
    sentences = split_sentences(text)
    words = split_stripped(sentences[n - 1]) if n <= len(sentences) else []
    return m <= len(words) and words[m - 1] == fold(keyword)


def has_keyword_second(text: str, keyword: str) -> bool:
    words = split_stripped(text)
    return len(words) > 1 and words[1] == words[-2] == fold(keyword)


def has_keyword_in_sentence(text: str, word: str, place: int) -> bool:
    sentences = split_sentences(text)
    return place <= len(sentences) and count_word(fold(sentences[place - 1]), fold(word)) > 0


def grows_by_words(text: str, small_n: int) -> bool:
    counts = [len(split_bare(sentence)) for sentence in split_sentences(text)]
    return bool(counts) and all(after == before + small_n for before, after in pairwise(counts))


def grows_in_alliteration(text: str) -> bool:
    """Each sentence has more words that share their first letter with a neighbour."""
    counts = []
    for sentence in split_sentences(text):
        letters = [word[0] for word in split_stripped(sentence)]
        pairs = [a == b for a, b in pairwise(letters)]
        starts = sum(now and not before for before, now in pairwise([False, *pairs]))
        counts.append(sum(pairs) + starts)
    return bool(counts) and all(after > before for before, after in pairwise(counts))


def _count_ends(text: str) -> Counter[str]:
    """The marks that sentences end with, quotes and brackets left out."""
    return Counter(sentence.rstrip(CLOSERS)[-1:] for sentence in split_sentences(text))


def balances_questions(text: str) -> bool:
    ends = _count_ends(text)
    return ends["."] == 2 * ends["?"] > 0


def balances_all(text: str) -> bool:
    ends = _count_ends(text)
    return ends["."] == ends["?"] == ends["!"] > 0


def has_equal_sentences(text: str) -> bool:
    sentences = split_sentences(text)
    words = split_bare(text)
    return (
        len(sentences) == 3 and len(set(map(len, sentences))) == 1 and len(words) == len(set(words))
    )


def is_nested_deep(text: str) -> bool:
    """Brackets of three kinds, five deep, of which the innermost is closed."""
    opened: list[str] = []
    for character in text:
        if character in "([{":
            opened.append(character)
        elif character in ")]}":
            if not opened or opened[-1] != _CLOSED[character]:
                opened = []
                continue
            if len(opened) >= 5:
                return True
            opened.pop()
    return False


def is_quoted_deep(text: str) -> bool:
    """Quotes three deep, double and single in turn, of which all three are closed."""
    opened: list[str] = []
    reached = 0
    for character in text:
        if opened and character == opened[-1]:
            opened.pop()
            if reached - len(opened) >= 3:
                return True
        elif character in "\"'":
            opened.append(character)
            reached = max(reached, len(opened))
    return False


def is_an_option(text: str, options: str) -> bool:
    separator = next((one for one in ("/", "or", ",") if one in options), ",")
    listed = [option.strip(BLANKS) for option in options.split(separator)]
    if re.match("[^a-z]*a[^a-z]+b[^a-z]+c(?![a-z])", fold(options)):
        return text in listed
    around = PUNCTUATION + BLANKS
    return fold(text.strip(around)) in {fold(option.strip(around)) for option in listed}


def has_a_word_a_line(text: str) -> bool:
    lines = [split_bare(line) for line in text.split("\n")]
    return any(lines) and all(len(words) <= 1 for words in lines)


def is_indented_more(text: str) -> bool:
    lines = join_stripped(text.split("\n"))
    indents = [len(line) - len(line.lstrip(" ")) for line in lines]
    return len(lines) > 1 and all(before < after for before, after in pairwise(indents))


def explains_quotes(text: str) -> bool:
    text = text.replace("\u201c", '"').replace("\u201d", '"').replace("'\"'", "")
    dense = "".join(split_pieces(text))
    last = dense.rstrip(PUNCTUATION.replace('"', "") + "0123456789")
    return '""' not in dense and last[-1:] != '"'


def has_separators(text: str, sep: str) -> bool:
    return text.count(sep) >= 2


def has_thesis(text: str) -> bool:
    for opening, closing in (("<i>", "</i>"), ("<em>", "</em>")):
        _, begun, rest = text.partition(opening)
        thesis, ended, after = rest.partition(closing)
        if begun and ended:
            return bool(thesis.strip(BLANKS) and after.strip(BLANKS))
    return False


def has_sub_bullets(text: str) -> bool:
    lines = [line.strip(BLANKS)[:1] for line in text.split("\n")]
    marks = "".join(mark for mark in lines if mark in ("*", "-"))
    return "*" in marks and all("-" in part for part in marks.split("*")[1:])


def has_sentences_then_bullets(text: str) -> bool:
    lines = [line.strip(BLANKS) for line in join_stripped(text.split("\n"))]
    first = next((i for i, line in enumerate(lines) if line.startswith("*")), len(lines))
    sentences = [one for line in lines[:first] for one in split_sentences(line)]
    bullets = lines[first:]
    return (
        sum(sentence.endswith(".") for sentence in sentences) >= 2
        and len(bullets) >= 2
        and all(line.startswith("*") for line in bullets)
    )


def is_in_title_case(text: str) -> bool:
    """No word begins with a small letter."""
    letters = [word[0] for word in split_words(text)]
    return any(map(str.isascii, letters)) and not any("a" <= letter <= "z" for letter in letters)


def follows_template(text: str) -> bool:
    places = [text.find(part) for part in ("My Answer:", "My Conclusion:", "Future Outlook:")]
    return 0 <= places[0] < places[1] < places[2]


def has_no_blank(text: str) -> bool:
    return bool(text) and not any(blank in text for blank in f"{BLANKS}\u00a0\u3000")


def repeats_changed(text: str, prompt_to_repeat: str) -> bool:
    pieces, asked = split_pieces(text), split_pieces(prompt_to_repeat)
    return pieces[1:] == asked[1:] and pieces[:1] != asked[:1] and bool(pieces)


def repeats_sentence(text: str) -> bool:
    return fold(text.strip(BLANKS)) == _THIS_SENTENCE


def repeats_span(text: str, prompt_to_repeat: str, n_start: int, n_end: int) -> bool:
    span = split_pieces(fold(prompt_to_repeat))[n_start : n_end + 1]
    return bool(span) and split_pieces(fold(text)) == span


def counts_multiples(text: str) -> bool:
    return _DIGITS.findall(text) == [str(number) for number in range(14, 51, 7)]


def has_choice_questions(text: str) -> bool:
    """Four questions that grow longer, each with five options, and nothing before the first."""
    lengths = []
    for number, part in enumerate(text.split("Question")):
        if number == 0:
            if part.strip(BLANKS):
                return False
            continue
        lines = [line.strip(BLANKS) for line in part.split("\n")]
        options = [i for i, line in enumerate(lines) if re.match(r"[A-Ea-e][.)]", line)]
        if len(options) != 5:
            return False
        asked = " ".join(lines[: options[0]]).strip(f"{BLANKS}0123456789:.)")
        lengths.append(len(asked))
    return len(lengths) == 4 and all(before < after for before, after in pairwise(lengths))


def reverses_letters(text: str) -> bool:
    return "elgae dlab" in fold(text)


def goes_through_alphabet(text: str) -> bool:
    firsts = [split_stripped(sentence)[:1] for sentence in split_sentences(text)]
    letters = "".join(word[0][0] for word in firsts if word)
    return len(firsts) == 26 and letters == "abcdefghijklmnopqrstuvwxyz"


def _read_commas(text: str, mark: str) -> list[list[str]]:
    return [line.split(mark) for line in text.strip(BLANKS).split("\n")]


def _is_headed(rows: list[list[str]], names: str, count: int) -> bool:
    """Whether rows have these columns, and as many lines below them."""
    head = [name.strip(f'{BLANKS}"') for name in rows[0]]
    return head == names.split() and len(rows) == count + 1 and {len(row) for row in rows} == {5}


def is_city_table(text: str) -> bool:
    return _is_headed(_read_commas(text, ","), "ID Country City Year Count", 7)


def is_special_table(text: str) -> bool:
    rows = _read_commas(text, ",")
    cells = [cell.strip(BLANKS) for row in rows[1:] for cell in row]
    quoted = (cell[1:-1] for cell in cells if len(cell) > 2 and cell[0] == cell[-1] == '"')
    special = any(not set(PUNCTUATION).isdisjoint(cell) for cell in quoted)
    return special and _is_headed(rows, "ProductID Category Brand Price Stock", 14)


def is_quoted_table(text: str) -> bool:
    rows = _read_commas(text, "\t")
    cells = [cell.strip(BLANKS) for row in rows for cell in row]
    quoted = all(len(cell) > 1 and cell[0] == cell[-1] == '"' for cell in cells)
    return quoted and _is_headed(rows, "StudentID Subject Grade Semester Score", 3)


def is_date_list(text: str) -> bool:
    for part in text.split(","):
        date = _DATE.fullmatch(part.strip(BLANKS))
        if date is None:
            return False
        year, month, day = map(int, date.groups())
        if not (1769 <= year <= 1821 and 1 <= month <= 12 and 1 <= day <= _DAYS[month - 1]):
            return False
    return True


KINDS: Mapping[str, Kind] = {
    "count:word_count_range": Kind({"min_words": COUNT, "max_words": COUNT}, is_within_words),
    "count:unique_word_count": Kind({"N": COUNT}, has_unique_words),
    "count:conjunctions": Kind({"small_n": COUNT}, has_conjunctions),
    "count:person_names": Kind({"N": COUNT}, has_names),
    "count:numbers": Kind({"N": COUNT}, has_numbers),
    "count:punctuation": Kind({}, has_all_marks),
    "count:pronouns": Kind({"N": COUNT}, has_pronouns),
    "count:keywords_multiple": Kind(
        {f"keyword{number}": SOUGHT for number in range(1, 6)}, has_keywords_counted
    ),
    "count:words_japanese": Kind({"N": PLACE}, has_japanese_words),
    "words:alphabet": Kind({}, follows_alphabet),
    "words:vowel": Kind({}, has_three_vowels),
    "words:consonants": Kind({}, has_clusters),
    "words:palindrome": Kind({}, has_palindromes),
    "words:prime_lengths": Kind({}, has_prime_lengths),
    "words:repeats": Kind({"small_n": COUNT}, repeats_little),
    "words:last_first": Kind({}, chains_sentences),
    "words:paragraph_last_first": Kind({}, ends_paragraphs_as_begun),
    "words:no_consecutive": Kind({}, changes_letters),
    "words:keywords_specific_position": Kind(
        {"keyword": SOUGHT, "n": PLACE, "m": PLACE}, has_keyword_at
    ),
    "words:words_position": Kind({"keyword": SOUGHT}, has_keyword_second),
    "sentence:keyword": Kind({"word": SOUGHT, "N": PLACE}, has_keyword_in_sentence),
    "sentence:increment": Kind({"small_n": COUNT}, grows_by_words),
    "sentence:alliteration_increment": Kind({}, grows_in_alliteration),
    "ratio:sentence_type": Kind({}, balances_questions),
    "ratio:sentence_balance": Kind({}, balances_all),
    "ratio:sentence_words": Kind({}, has_equal_sentences),
    "format:parentheses": Kind({}, is_nested_deep),
    "format:quotes": Kind({}, is_quoted_deep),
    "format:options": Kind({"options": SOUGHT}, is_an_option),
    "format:newline": Kind({}, has_a_word_a_line),
    "format:line_indent": Kind({}, is_indented_more),
    "format:quote_unquote": Kind({}, explains_quotes),
    "format:list": Kind({"sep": SOUGHT}, has_separators),
    "format:thesis": Kind({}, has_thesis),
    "format:sub-bullets": Kind({}, has_sub_bullets),
    "format:no_bullets_bullets": Kind({}, has_sentences_then_bullets),
    "format:title_case": Kind({}, is_in_title_case),
    "format:output_template": Kind({}, follows_template),
    "format:no_whitespace": Kind({}, has_no_blank),
    "repeat:repeat_change": Kind({"prompt_to_repeat": TEXT}, repeats_changed),
    "repeat:repeat_simple": Kind({}, repeats_sentence),
    "repeat:repeat_span": Kind(
        {"prompt_to_repeat": TEXT, "n_start": COUNT, "n_end": COUNT}, repeats_span
    ),
    "custom:multiples": Kind({}, counts_multiples),
    "custom:mcq_count_length": Kind({}, has_choice_questions),
    "custom:character_reverse": Kind({}, reverses_letters),
    "custom:sentence_alphabet": Kind({}, goes_through_alphabet),
    "custom:csv_city": Kind({}, is_city_table),
    "custom:csv_special_character": Kind({}, is_special_table),
    "custom:csv_quotes": Kind({}, is_quoted_table),
    "custom:date_format_list": Kind({}, is_date_list),
}
