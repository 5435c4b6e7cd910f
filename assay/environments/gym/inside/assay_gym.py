"""Makes and scores entries of reasoning-gym's datasets: a request in, a reply out.

When the image is made, an entry of each dataset is made and scored, so that the modules and caches
that this takes are there in every run.
"""

import base64
import contextlib
import decimal
import io
import json
import marshal
import os
import random
import sys
import types

#: Packages that only refused datasets call.
_ABSENT = ["dateutil", "dateutil.parser", "psutil", "pytz", "yaml", "zss"]
#: Fields with a right answer, in entries without an answer of their own.
_EXAMPLES = "example_answer", "example_correct_answer", "possible_answer"
#: Most bytes of an entry that is kept.
_KEPT_MAX = 1 << 16


class _Absent(types.ModuleType):
    """A module that has all names, and nothing to call."""

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return object


for _name in _ABSENT:
    sys.modules[_name] = _Absent(_name)

import numpy
from reasoning_gym.algorithmic import group_anagrams
from reasoning_gym.cognition import figlet_fonts
from reasoning_gym.games.n_queens import NQueensDataset
from reasoning_gym.graphs import family_relationships
from wide_sets import WideSet
from reasoning_gym.factory import CURRICULA, DATASETS, create_curriculum


class _Words:
    """The file of anagrams, which two datasets read anew for each entry: its lines read once."""

    def __init__(self, path):
        with path.open() as opened:
            self._lines = [{"words": json.loads(line)["words"]} for line in opened]

    def open(self):
        return contextlib.nullcontext(self._lines)

    @staticmethod
    def loads(text):
        return text if isinstance(text, dict) else json.loads(text)


_words = _Words(figlet_fonts.get_data_file_path("anagrams.jsonl"))
for _module in (group_anagrams, figlet_fonts):
    _module.get_data_file_path = lambda _: _words
    _module.json = types.SimpleNamespace(loads=_words.loads, dumps=json.dumps)
#: All solutions of each size that is asked: they are found once.
_solutions = {n: NQueensDataset._get_all_solutions(None, n) for n in (4, 6, 8, 10)}
NQueensDataset._get_all_solutions = lambda _, n: _solutions[n]
family_relationships.set = WideSet


def serve():
    """Answer the request on standard input: a dataset, a level, a number and, to score an answer,
    that and what was kept of the entry; as JSON."""
    name, level, number, *given = json.loads(sys.stdin.buffer.read())
    sys.stdout = sys.stderr = io.StringIO()  # some datasets print
    try:
        dataset = _open(name, level, number)
        if given:
            answer, kept = given
            entry = marshal.loads(base64.b64decode(kept)) if kept else dataset[0]
            reply = float(dataset.score_answer(answer, entry)) >= 1.0
        else:
            entry = dataset[0]
            reply = entry["question"], _get_reference(entry), _keep(entry)
    except BaseException:
        os._exit(1)
    os.write(1, json.dumps(reply).encode())
    os._exit(0)


def _open(name, level, number):
    """A dataset of one entry."""
    random.seed(number)
    numpy.random.seed(number)
    decimal.setcontext(decimal.DefaultContext.copy())  # some leave theirs behind
    made, config = DATASETS[name]
    sizes = {"seed": number, "size": 1}
    if name in CURRICULA:
        curriculum = create_curriculum(name)
        curriculum.set_global_level(level - 1)
        return made(config=curriculum.generate_configuration(sizes))
    return made(config=config(**sizes))


def _keep(entry):
    """An entry as text, so that it need not be made again; empty: it has other than plain data, or
    is long."""
    try:
        data = marshal.dumps(entry)
    except ValueError:
        return ""
    return base64.b64encode(data).decode() if len(data) <= _KEPT_MAX else ""


def _get_reference(entry):
    """The entry's own answer, or an example of one."""
    known = entry["answer"], *(entry["metadata"].get(name) for name in _EXAMPLES)
    reference = next(one for one in known if one is not None)
    return reference if isinstance(reference, str) else json.dumps(reference)


#: The datasets that are offered, but `sokoban`, whose first level makes no entry.
_WARM = """
ab acre aiw arc_1d arc_agi base_conversion basic_arithmetic bf binary_alternation binary_matrix
bitwise_arithmetic caesar_cipher calendar_arithmetic chain_sum circuit_logic color_cube_rotation
complex_arithmetic count_bits count_primes cryptarithm decimal_arithmetic decimal_chain_sum dice
emoji_mystery family_relationships figlet_font futoshiki game_of_life gcd graph_color
group_anagrams gsm_symbolic isomorphic_strings jugs kakurasu knights_knaves largest_island lcm
leg_counting list_functions mahjong_puzzle manipulate_matrix maze mini_sudoku modulo_grid n_queens
needle_haystack number_filtering number_sorting palindrome_generation palindrome_partitioning
path_star polynomial_equations pool_matrix power_function prime_factorization products quantum_lock
ransom_note rectangle_count rotate_matrix rotten_oranges rubiks_cube self_reference shortest_path
simple_equations simple_geometry simple_integration spell_backward spiral_matrix string_insertion
string_manipulation string_splitting string_synthesis sudoku syllogism tower_of_hanoi tsumego
word_sequence_reversal word_sorting zebra_puzzles
"""

for _name in _WARM.split():
    _dataset = _open(_name, 1, 1)
    _entry = _dataset[0]
    _dataset.score_answer(_get_reference(_entry), _entry)
