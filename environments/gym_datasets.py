"""Which datasets of reasoning-gym are asked, at which levels, and which are not and why.

Found by making problems of every dataset at every level in two processes, with other hash seeds and
in opposite orders, and by showing each scorer its own answers, its neighbours' and the tricks of
tests/environments. A level is left out where problems of it could not be made within two seconds,
were too long to ask, or had no answer that its scorer takes. Consensus: part of the version.
"""

from collections.abc import Mapping
from types import MappingProxyType

#: Number of levels → datasets that have levels 1 to so many.
_BY_LEVELS = {
    1: "acre gsm_symbolic jugs list_functions rubiks_cube",
    2: "bf caesar_cipher circuit_logic survo",
    3: "binary_matrix game_of_life mahjong_puzzle",
    4: """
        ab advanced_geometry arc_1d arc_agi binary_alternation calendar_arithmetic codeio
        complex_arithmetic cryptarithm decimal_arithmetic dice futoshiki gcd graph_color
        group_anagrams kakurasu knights_knaves largest_island lcm maze n_queens needle_haystack
        number_filtering number_format palindrome_generation palindrome_partitioning path_star
        polynomial_equations pool_matrix prime_factorization rotten_oranges sentence_reordering
        shortest_path simple_equations simple_geometry spiral_matrix
        string_insertion string_splitting string_synthesis syllogism tower_of_hanoi tsumego
        word_sequence_reversal zebra_puzzles
    """,
    5: """
        base_conversion basic_arithmetic color_cube_rotation count_bits count_primes countdown
        course_schedule decimal_chain_sum letter_jumble manipulate_matrix mini_sudoku
        power_function propositional_logic rectangle_count rotate_matrix spell_backward
        string_manipulation sudoku word_sorting
    """,
    6: "emoji_mystery figlet_font",
    7: "rearc time_intervals",
    8: "letter_counting number_sorting",
    9: "aiw family_relationships",
    10: "bitwise_arithmetic quantum_lock self_reference",
    11: "chain_sum products",
    36: "leg_counting",
}
#: Dataset → its legal levels.
LEVELS: Mapping[str, tuple[int, ...]] = MappingProxyType(
    {
        **{
            name: tuple(range(1, count + 1))
            for count, names in _BY_LEVELS.items()
            for name in names.split()
        },
        "modulo_grid": (1, 3, 4, 5, 6),
        "sokoban": (2, 3, 4, 6, 7, 8, 9, 10, 11, 12, 13, 14),
    }
)

_SIMPLIFIES = (
    "its scorer simplifies an answer with sympy, in a number of steps that hangs on what was "
    "simplified before, and in native ones that nothing bounds"
)
#: Dataset → why it is not asked.
REFUSED: Mapping[str, str] = MappingProxyType(
    {
        "boxnet": "it gives no answer of its own to check its scorer by",
        "coin_flip": "its scorer takes wrong answers: 0 for a chance of one in eight",
        "composite": "a mixture of its own kind: use mix",
        "fraction_simplification": "its scorer takes a right answer with anything after it",
        "game_of_life_halting": "its scorer takes any answer",
        "intermediate_integration": _SIMPLIFIES,
        "isomorphic_strings": "its problems depend on the process, on Python's hash seed",
        "knight_swap": "its curriculum makes no legal problem",
        "number_sequence": "of some numbers it makes no problem in any reasonable time",
        "polynomial_multiplication": "its problems depend on the process, on Python's hash seed",
        "puzzle24": "its scorer takes wrong answers: a sum of any four numbers that makes 24",
        "ransom_note": "its problems depend on the process, on Python's hash seed",
        "rush_hour": "it gives no answer of its own to check its scorer by",
        "simple_integration": _SIMPLIFIES,
        "word_ladder": "its problems depend on the process, on Python's hash seed",
    }
)
