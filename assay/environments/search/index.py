"""The best of some documents for a query: BM25 (Robertson, Zaragoza, "The probabilistic relevance
framework", 2009) in whole numbers, with k1 = 1.2 and b = 0.75.

A result is a world's reply, which two machines must not find differently. Floats would decide ties
by the last bit of a logarithm. Here each word of a document has an integer, a score is a sum of
those, and the earlier of two documents with one score is first.
"""

import re
from array import array
from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import count

import numpy as np

from assay.protocol.parameters import MILLION

#: Parts of a doubling in which logarithms are counted.
LOG_PARTS = 1_024
#: k1 · (1 - b) and k1 · b, in millionths.
FIXED, BY_LENGTH = 300_000, 900_000
#: What a word counts at most, by the logarithm of its rarity.
WEIGHT = 1_000

_LOWER = bytes.maketrans(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ", b"abcdefghijklmnopqrstuvwxyz")
_WORD = re.compile(rb"[a-z0-9]+")


def split_words(text: str) -> list[bytes]:
    """The words of a text: its longest parts of ASCII letters and digits, with small letters."""
    return _WORD.findall(text.encode("utf-8", "surrogatepass").translate(_LOWER))


def compute_log(number: int) -> int:
    """⌊1,024 · log2(number)⌋ of a positive integer, exact."""
    return int(number**LOG_PARTS).bit_length() - 1


class Index:
    """Documents by their words.

    Attributes:
        lengths: words of each document.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        """Reads all texts, each of at least one word. The environments' page has the formula."""
        numbers: defaultdict[bytes, int] = defaultdict(count().__next__)
        words, times = array("q"), array("q")
        self.lengths, sizes = list[int](), list[int]()
        for text in texts:
            counts = Counter(split_words(text))
            words.extend([numbers[word] for word in counts])
            times.extend(counts.values())
            self.lengths.append(counts.total())
            sizes.append(len(counts))
        self._numbers = dict(numbers)
        by_word = np.array(words, np.int64)
        # a word's documents stay in their order
        order = np.argsort(by_word, kind="stable")
        holders = np.bincount(by_word, minlength=len(numbers))
        self._starts = np.concatenate(([0], np.cumsum(holders)))
        self._documents = np.repeat(np.arange(len(sizes), dtype=np.int32), sizes)[order]
        often, rarity = np.array(times, np.int64)[order], _compute_rarity(holders, len(sizes))
        norms = FIXED + BY_LENGTH * len(sizes) * np.array(self.lengths) // sum(self.lengths)
        scaled = WEIGHT * MILLION * np.repeat(rarity, holders) * often
        self._weights = scaled // (MILLION * often + norms[self._documents])

    def find(self, words: Sequence[bytes], most: int) -> list[int]:
        """The places of the documents with the highest scores for some words, the best first; those
        without any score are none."""
        scores = np.zeros(len(self.lengths), np.int64)
        for word, times in Counter(words).items():
            number = self._numbers.get(word)
            if number is not None:
                held = slice(*self._starts[number : number + 2])
                np.add.at(scores, self._documents[held], times * self._weights[held])
        found: list[int] = []
        while len(found) < most:
            best = int(scores.argmax())  # of equal ones the first
            if not scores[best]:
                break
            found.append(best)
            scores[best] = 0
        return found


def _compute_rarity(holders: np.ndarray, documents: int) -> np.ndarray:
    """For each word, from the number of documents that hold it: the logarithm of
    (2 · documents + 2) / (2 · holders + 1)."""
    most = compute_log(2 * documents + 2)
    kinds, places = np.unique(holders, return_inverse=True)
    return np.array([most - compute_log(2 * int(kind) + 1) for kind in kinds], np.int64)[places]
