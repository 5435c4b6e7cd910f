"""Of cellpylib what `game_of_life` uses, with the same results."""

from numpy import array, ndarray


class _History(ndarray):
    """Boards one after the other, of which all are set alike."""

    def __setitem__(self, key, value):
        for board in self:
            for row in board[key[1]] if isinstance(key[1], slice) else [board[key[1]]]:
                row[key[2]] = value


def init_simple2d(rows, columns):
    board = array([[0] * columns for _ in range(rows)])
    board[rows // 2][columns // 2] = 1
    return _History([board])


def game_of_life_rule(neighbours, alive):
    return int(neighbours == 3 or (alive and neighbours == 2))


def evolve2d(history, timesteps, apply_rule, memoize):
    """The boards of so many moments, the first of which is the last board so far."""
    boards = ndarray(history[-1:])
    while len(boards) < timesteps:
        rows = boards[-1].tolist()
        around = zip(rows[-1:] + rows[:-1], rows, rows[1:] + rows[:1], strict=True)
        boards.append(array([_move_row(*three, apply_rule) for three in around]))
    return boards


def _move_row(above, row, below, apply_rule):
    sums = [a + b + c for a, b, c in zip(above, row, below, strict=True)]
    around = zip(sums[-1:] + sums[:-1], sums, sums[1:] + sums[:1], row, strict=True)
    return [apply_rule(a + b + c - alive, alive) for a, b, c, alive in around]
