"""Of pycosat what `zebra_puzzles` uses: all solutions of clauses, which there are few of. Their
order is another one."""


def itersolve(clauses):
    """Yields each solution: a list of the variables from 1 on, negative where false.

    Args:
        clauses: no clause names a literal twice.
    """
    return _Search(clauses).solve()


class _Search:
    """Unit propagation with two watched literals a clause, and a choice of a value where that ends.

    Attributes:
        value: literal → whether it is true; None: that is open.
        trail: true literals in the order in which they became so.
    """

    def __init__(self, clauses):
        clauses = [list(clause) for clause in clauses]
        self.count = max((max(map(abs, clause), default=0) for clause in clauses), default=0)
        literals = [*range(1, self.count + 1), *range(-self.count, 0)]
        self.value = dict.fromkeys(literals)
        self.watched = {literal: [] for literal in literals}
        self.trail = []
        self.units = [clause[0] for clause in clauses if len(clause) == 1]
        self.is_contradictory = not all(clauses)
        for clause in clauses:
            if len(clause) > 1:
                self.watched[clause[0]].append(clause)
                self.watched[clause[1]].append(clause)

    def solve(self):
        if self.is_contradictory or not all(map(self.assume, self.units)):
            return
        choices = []  # the length of the trail before each, and what was chosen
        while True:
            free = next((n for n in range(1, self.count + 1) if self.value[n] is None), None)
            if free is None:
                yield [n if self.value[n] else -n for n in range(1, self.count + 1)]
            else:
                choices.append((len(self.trail), free))
                if self.assume(free):
                    continue
            while choices:
                size, chosen = choices.pop()
                self.undo(size)
                if chosen > 0:
                    choices.append((size, -chosen))
                    if self.assume(-chosen):
                        break
            else:
                return

    def undo(self, size):
        for literal in self.trail[size:]:
            self.value[literal] = self.value[-literal] = None
        del self.trail[size:]

    def assume(self, literal):
        """Make a literal true, with all that follows. Returns whether nothing contradicts."""
        value, trail = self.value, self.trail
        if value[literal] is not None:
            return value[literal]
        place = len(trail)
        value[literal], value[-literal] = True, False
        trail.append(literal)
        while place < len(trail):
            false = -trail[place]
            place += 1
            kept, looked = [], self.watched[false]
            for number, clause in enumerate(looked):
                if clause[0] == false:
                    clause[0], clause[1] = clause[1], false
                first = clause[0]
                if value[first]:
                    kept.append(clause)
                    continue
                for n in range(2, len(clause)):
                    if value[clause[n]] is not False:
                        clause[1], clause[n] = clause[n], false
                        self.watched[clause[1]].append(clause)
                        break
                else:
                    kept.append(clause)
                    if value[first] is False:
                        self.watched[false] = kept + looked[number + 1 :]
                        return False
                    value[first], value[-first] = True, False
                    trail.append(first)
            self.watched[false] = kept
        return True
