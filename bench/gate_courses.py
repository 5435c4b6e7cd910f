"""How soon bets on pairs tell a better or a worse course, and how often they are wrong.

    python bench/gate_courses.py [--fast]

Courses are drawn: at each checkpoint 256 problems, of which a share differs between it and its
milestone, with so many more wins than losses that the gain is the course's. Nothing is played. The
bets are those of `protocol/betting.py`, in floats for 10,000 courses at a time; of fifty of them
each checkpoint is read by the exact integers as well. α is 5 %.
"""

import numpy as np
from figures import FAST, Figure, report

from assay.protocol.betting import STAKES, Pairs, is_better, is_worse

ASKED, ERROR = 256, 50_000
COURSES = 500 if FAST else 10_000
#: Courses that are given up one after the other, and checkpoints of each.
RETRIES, EACH = 50, 8
#: Courses of which each checkpoint is read by exact integers too.
READ = 5 if FAST else 50
_KEPT = np.log1p(np.array(STAKES) / 16), np.log1p(-np.array(STAKES) / 16)
#: Differing pairs of 100 of the public run's model.
USUAL = 0.17
Counts = tuple[np.ndarray, np.ndarray]


def draw(differing: float, gains: list[float], courses: int = COURSES) -> Counts:
    """Wins and losses of courses, [courses, checkpoints] each."""
    generator = np.random.default_rng(0)
    parts = [
        generator.multinomial(
            ASKED, [(differing + gain) / 2, (differing - gain) / 2, 1 - differing], size=courses
        )
        for gain in gains
    ]
    counts = np.stack(parts, axis=1)
    return counts[:, :, 0], counts[:, :, 1]


def find_worse(counts: Counts) -> np.ndarray:
    """Checkpoints until a course is called worse; 0: never."""
    wins, losses = counts
    held, begun = np.zeros((len(wins), len(STAKES))), 0.0
    found = np.zeros(len(wins), dtype=int)
    for n in range(1, wins.shape[1] + 1):
        part = (2**32 // (n * (n + 1))) / 2**32
        gained = losses[:, n - 1, None] * _KEPT[0] + wins[:, n - 1, None] * _KEPT[1]
        held, begun = (held + part) * np.exp(gained), begun + part
        passed = held.mean(axis=1) + 1 - begun >= 10**6 / ERROR
        found[(found == 0) & passed] = n
    return found


def find_better(counts: Counts, attempt: int = 1) -> np.ndarray:
    """Checkpoints until a course is called better; 0: never."""
    wins, losses = (np.cumsum(part, axis=1)[:, :, None] for part in counts)
    capital = np.exp(wins * _KEPT[0] + losses * _KEPT[1]).mean(axis=2)
    passed = capital >= 1.644935 * attempt**2 * 10**6 / ERROR
    return np.where(passed.any(axis=1), passed.argmax(axis=1) + 1, 0)


def compare(counts: Counts) -> int:
    """Courses of the first that exact integers read otherwise."""
    worse, better, differ = find_worse(counts), find_better(counts), 0
    for course in range(READ):
        pairs = [
            Pairs(ASKED, int(w), int(k)) for w, k in zip(*(c[course] for c in counts), strict=True)
        ]
        reads = range(1, len(pairs) + 1)
        exact = (
            next((n for n in reads if is_worse(pairs[:n], ERROR)), 0),
            next((n for n in reads if is_better(pairs[:n], 1, ERROR)), 0),
        )
        differ += exact != (worse[course], better[course])
    return differ


def count_problems(found: np.ndarray, before: int = 0) -> float:
    """Median problems asked until something was named, behind so many checkpoints."""
    return float(np.median(np.where(found, found - before, np.inf))) * ASKED


def main() -> None:
    alike = draw(USUAL, [0.0] * 200)
    figures = [
        Figure(
            f"alike, {COURSES:,} courses of 200 checkpoints: called worse",
            int((find_worse(alike) > 0).sum()),
            "courses",
            bound=COURSES * ERROR / 10**6,
        ),
        Figure(
            f"alike, {COURSES:,} courses of 200 checkpoints: called better",
            int((find_better(alike) > 0).sum()),
            "courses",
            bound=COURSES * ERROR / 10**6,
        ),
        Figure(
            "courses that exact integers read otherwise",
            compare(draw(USUAL, [0.0] * 60, READ)),
            "courses",
            bound=0,
        ),
    ]
    generator, retries = np.random.default_rng(1), np.zeros(COURSES, dtype=bool)
    for attempt in range(1, RETRIES + 1):
        parts = [USUAL / 2, USUAL / 2, 1 - USUAL]
        drawn = generator.multinomial(ASKED, parts, size=(COURSES, EACH))
        retries |= find_better((drawn[..., 0], drawn[..., 1]), attempt) > 0
    name = f"alike, {RETRIES} courses of {EACH} from one milestone, one after the other: any better"
    most = COURSES * ERROR / 10**6
    figures.append(Figure(name, int(retries.sum()), f"of {COURSES:,}", bound=most))
    for share in (0.10, USUAL, 0.25, 0.40):
        usual = share == USUAL
        fall = count_problems(find_worse(draw(share, [-0.05] * 60)))
        hidden = count_problems(find_worse(draw(share, [0.02] * 10 + [-0.05] * 60)), 10)
        figures += [
            Figure(
                f"fall of 5 points, {share:.0%} differ: until named",
                fall,
                "problems",
                bound=600 if usual else None,
            ),
            Figure(
                f"behind ten that gained 2, {share:.0%} differ: until named",
                hidden,
                "problems",
                bound=1_400 if usual else None,
            ),
        ]
    for pace in (0.24, 0.4):
        found = find_better(draw(USUAL, [min(pace * n / 100, USUAL) for n in range(1, 41)]))
        late = float(np.quantile(found, 0.9))
        figures.append(
            Figure(
                f"{pace} points a checkpoint: until better, median",
                float(np.median(found)),
                "checkpoints",
                "nine in ten",
                late,
            )
        )
    report("Bets on pairs of drawn courses", figures, threads=1)


if __name__ == "__main__":
    main()
