"""Datasets of reasoning-gym: the legal levels of each, the refused ones and why, and the form of an
answer where a question has several right ones.

The tables come from trials. Every dataset made problems at every level in the sandbox's image and
in a native Python with hash seed 0, and both made the same. Each scorer saw its own answers, its
neighbours' and the tricks of tests/environments. A level is left out if its problems took too many
instructions, were too long to ask, had no answer that the scorer takes, or had a rounded answer.
What is left was measured (`COSTS_FILE`), and a level of which a problem took more than `MAKING_MAX`
is not offered. Consensus: part of the version.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from assay.protocol.parameters import MILLION

#: Instructions for making a problem: many times what most take, and less than some searches.
MAKING_MAX = 5_000 * MILLION
#: What the dearest problem of each level takes, with all its attempts, and of which seed it is, of
#: so many seeds, for one image: `bench/gym_costs.py` writes it.
COSTS_FILE = Path(__file__).with_name("costs.json")

#: Number of levels → datasets that have the levels from 1 to that number.
_BY_LEVELS = {
    1: "acre gsm_symbolic jugs list_functions rubiks_cube",
    2: "bf caesar_cipher circuit_logic",
    3: "binary_matrix complex_arithmetic game_of_life mahjong_puzzle",
    4: """
        ab arc_1d arc_agi binary_alternation calendar_arithmetic
        cryptarithm decimal_arithmetic dice futoshiki gcd graph_color
        group_anagrams kakurasu knights_knaves largest_island lcm maze n_queens needle_haystack
        number_filtering palindrome_generation palindrome_partitioning path_star
        polynomial_equations pool_matrix prime_factorization rotten_oranges
        shortest_path simple_equations simple_geometry spiral_matrix
        string_insertion string_splitting string_synthesis syllogism tower_of_hanoi tsumego
        word_sequence_reversal isomorphic_strings ransom_note simple_integration
    """,
    5: """
        base_conversion basic_arithmetic color_cube_rotation count_bits count_primes
        decimal_chain_sum manipulate_matrix mini_sudoku
        power_function rectangle_count rotate_matrix spell_backward
        string_manipulation sudoku word_sorting
    """,
    6: "emoji_mystery figlet_font",
    8: "number_sorting",
    9: "aiw family_relationships",
    10: "bitwise_arithmetic quantum_lock self_reference",
    11: "chain_sum products",
    36: "leg_counting",
}
#: Dataset → the levels that were measured.
MEASURED: Mapping[str, tuple[int, ...]] = MappingProxyType(
    {
        **{
            name: tuple(range(1, count + 1))
            for count, names in _BY_LEVELS.items()
            for name in names.split()
        },
        "modulo_grid": (1, 3, 4, 5, 6),
        "zebra_puzzles": (1, 2, 3),
        "sokoban": (2, 3, 4, 6, 7, 8, 9, 10, 11, 12, 13, 14),
    }
)


def _offer_levels() -> dict[str, tuple[int, ...]]:
    """Of each dataset the levels of which no problem was too dear."""
    dearest: Any = json.loads(COSTS_FILE.read_text())["dearest"]
    return {
        name: tuple(level for level in levels if dearest[name][str(level)][0] <= MAKING_MAX)
        for name, levels in MEASURED.items()
    }


_OFFERED = _offer_levels()
#: Dataset → its legal levels.
LEVELS: Mapping[str, tuple[int, ...]] = MappingProxyType(
    {name: levels for name, levels in _OFFERED.items() if levels}
)

_ORDERED = "its problems follow the order of a set, which is another one on another machine"
_TAKES_ONE = "many of its questions have several right answers, and its scorer takes one"
_DEAR = "making a problem takes thousands of millions of instructions"
#: Dataset → the reason for refusing it.
REFUSED: Mapping[str, str] = MappingProxyType(
    {
        "advanced_geometry": "it asks for three decimals, and its scorer looks at two",
        "boxnet": "it gives no answer of its own to check its scorer by",
        "codeio": _TAKES_ONE,
        "coin_flip": "its scorer takes wrong answers: 0 for a chance of one in eight",
        "composite": "a mixture of its own kind: use mix",
        "countdown": "its scorer takes expressions that miss the target by a hundred-thousandth",
        "course_schedule": _ORDERED,
        "fraction_simplification": "its scorer takes a right answer with anything after it",
        "game_of_life_halting": "its scorer takes any answer",
        "intermediate_integration": "its own answers follow the order of a set, and for some of "
        "them sympy takes thousands of millions of instructions",
        "knight_swap": "its curriculum makes no legal problem",
        "letter_counting": "it counts capitals with small letters, and does not say so",
        "letter_jumble": _TAKES_ONE,
        "number_format": "it shows numbers in other spellings than its answer has, and its scorer "
        "takes a neighbour of the right one",
        "number_sequence": "of some numbers it makes no problem in any reasonable time",
        "polynomial_multiplication": _ORDERED,
        "propositional_logic": "some constant conclusions are right whatever the premises are",
        "puzzle24": "its scorer takes wrong answers: a sum of any four numbers that makes 24",
        "rearc": _ORDERED,
        "rush_hour": "it gives no answer of its own to check its scorer by",
        "sentence_reordering": _TAKES_ONE,
        "survo": "some of its puzzles have several solutions, and its scorer takes one",
        "time_intervals": "where it asks for milliseconds its answer is often one too few",
        "word_ladder": _DEAR,
        **{name: _DEAR for name, levels in _OFFERED.items() if not levels},
    }
)

#: Dataset → differences from the reference that do not count. `case`: upper and lower case, in
#: ASCII. `zeros`: zeros at the end of a decimal, and its point if no other digit follows. `blanks`:
#: all blanks. `ends`: blanks at the ends of lines.
ALIKE: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "complex_arithmetic": ("zeros", "blanks"),
        "decimal_arithmetic": ("zeros",),
        "figlet_font": ("case",),
        "futoshiki": ("ends",),
        "pool_matrix": ("zeros",),
        "zebra_puzzles": ("case",),
    }
)
#: Most characters of an answer that is not the reference, unless twice the reference's length is
#: more.
ANSWER_MAX = 256

_NUMBER = r"-?[0-9]+(?:\.[0-9]+)?"
_WORDS = r'\["[a-z]+"(?:, ?"[a-z]+")*\]'
_BITS = r"\[[01](?:, ?[01])*\]"
_MOVE = r'"(?:fill [A-Z]|empty [A-Z]|pour [A-Z]->[A-Z])"'
_ROLE = r"[A-Z][a-z]+ is an? [a-z]+"
_DISK = r"Move disk [0-9]{1,2} from Peg [0-9] to Peg [0-9]"
_FACE = r"[LRDUBFMESXYZ]w?'?"


def _write_sum(variable: str) -> str:
    """The form of a sum of powers of a variable, each with a coefficient, and C."""
    count = r"[0-9]{1,6}"
    factor = rf"(?:{count}(?:/{count})?|\({count}/{count}\))\*"
    term = rf"(?:(?:{factor})?{variable}(?:\*\*{count})?(?:/{count})?|C)"
    return rf"-?{term}(?: ?[+-] ?{term})*"


_FORMS = {
    "cryptarithm": r"[A-Z]=[0-9](?:, ?[A-Z]=[0-9])*",
    "decimal_chain_sum": _NUMBER,
    "game_of_life": rf"\[{_BITS}(?:, ?{_BITS})*\]",
    "graph_color": r'\{"[0-9]+": [0-9]+(?:, "[0-9]+": [0-9]+)*\}',
    "group_anagrams": rf"\[{_WORDS}(?:, ?{_WORDS})*\]",
    "jugs": rf"\[{_MOVE}(?:, ?{_MOVE})*\]",
    "kakurasu": r"[01](?: [01])*(?:\n[01](?: [01])*)*",
    "knights_knaves": rf"{_ROLE}(?:, {_ROLE})*,? and {_ROLE}\.?",
    "n_queens": r"[Q_](?: [Q_])*(?:\n[Q_](?: [Q_])*)*",
    "palindrome_generation": r"[a-z]+",
    "palindrome_partitioning": rf"\[{_WORDS}(?:, ?{_WORDS})*\]",
    "polynomial_equations": rf"{_NUMBER}(?:, {_NUMBER})*",
    "power_function": r"-?[1-9]\.[0-9]{2}e[+-]?[0-9]{1,3}",
    "quantum_lock": r"[A-C](?: ?\u2192 ?[A-C])*",
    "rubiks_cube": rf"{_FACE}(?: {_FACE})*",
    "shortest_path": r"(?:up|down|left|right)(?: (?:up|down|left|right))*",
    "simple_integration": "|".join(_write_sum(one) for one in "xX"),
    "sokoban": r"[UDLR]+",
    "tower_of_hanoi": rf"{_DISK}(?:\n{_DISK})*",
}
#: Dataset whose questions have several right answers, or one in several spellings → the form of a
#: whole answer, as Python's `re` reads it. For other datasets only the reference is right. No form
#: has room for a second answer, for words beside it, or for a name that a scorer would look up, but
#: those of functions.
FORMS: Mapping[str, re.Pattern[str]] = MappingProxyType(
    {name: re.compile(form) for name, form in _FORMS.items()}
)
#: Dataset whose scorer would take an answer that goes on → text that may not occur more often than
#: in the reference, because it separates items, moves or rows.
COUNTED: Mapping[str, str] = MappingProxyType(
    {
        "cryptarithm": "=",
        "game_of_life": ",",
        "graph_color": ":",
        "group_anagrams": '"',
        "knights_knaves": " is ",
        "palindrome_partitioning": '"',
        "rubiks_cube": " ",
    }
)

#: Dataset with a form → millions of instructions that scoring an answer may take, unless an owner
#: says otherwise: more than twice what any right answer in trials took.
SCORER_UNITS: Mapping[str, int] = MappingProxyType(
    {
        **dict.fromkeys(FORMS, 200),
        **{"rubiks_cube": 500, "sokoban": 500},
        "simple_integration": 1_000,
    }
)
