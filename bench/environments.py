"""Problems made and scored a second on one core, per environment; for one that foreign code makes,
with the trips to its cage."""

from hashlib import sha256
from time import process_time

from figures import Figure, report

from assay.environments import Environment, gym, make_environment, parse_choice

#: Name, levels, an answer in form, problems a run, and how many a second there should be.
ROWS = (
    ("arithmetic", [5, 6], "7+15=22\n22+3=25\n#### 25", 20_000, 10_000),
    ("sat", [20], "#### " + "01" * 10, 2_000, 1_000),
    ("gsm", [4], "12+5=17\n#### 17", 10_000, None),
    ("mix,arithmetic=3,gsm=2,sat=1", [1_005, 2_004, 3_020], "#### 25", 5_000, None),
    ("reasoning_gym:chain_sum", [3], "#### 25", 1_000, None),
    ("reasoning_gym:word_sorting", [1], "#### a, b, c", 1_000, None),
    ("reasoning_gym:mini_sudoku", [1], "#### 1 2 3 4", 300, None),
)
REPEATS = 5


def measure_rate(environment: Environment, levels: list[int], answer: str, count: int) -> float:
    """Problems made and scored a second of processor time, this process and its cage: the best
    of several runs, each of other seeds."""
    rates = []
    for repeat in range(REPEATS):
        seeds = [sha256(f"{repeat} {i}".encode()).digest() for i in range(count)]
        started = get_processor_time()
        for seed in seeds:
            environment.score(environment.make_problem(seed, levels), answer)
        rates.append(count / (get_processor_time() - started))
    return max(rates)


def get_processor_time() -> float:
    """Seconds that this process and its caged child have worked."""
    child = gym._get_cage()._child
    return process_time() + (child.get_processor_time() if child else 0.0)


def main() -> None:
    figures = []
    for text, levels, answer, count, needed in ROWS:
        name, settings = parse_choice(text)
        try:
            environment = make_environment(name, settings)
        except ValueError as error:  # reasoning-gym is an extra
            print(f"left out: {error}")
            continue
        environment.make_problem(bytes(32), levels)  # a child is started here
        rate = measure_rate(environment, levels, answer, count)
        figures.append(
            Figure(
                f"made and scored: {text}",
                1e6 / rate,
                "µs",
                f"{rate:,.0f} a second",
                bound=None if needed is None else 1e6 / needed,
            )
        )
    report("environments, one core", figures, 1)


if __name__ == "__main__":
    main()
