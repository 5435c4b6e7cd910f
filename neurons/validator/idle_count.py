"""How many settlements in a row nobody earned in: a validator's count between its settlements.

A published record has the same count, from which anybody derives it again. Specification, section
9.
"""

from assay.artifacts.database import Database


class IdleCount:
    """The count after the newest settlement, 0 before the first.

    Raises (every method):
        JournalError: the database cannot be used; nothing was written.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        with database.transaction():
            database.execute("CREATE TABLE IF NOT EXISTS idle (settlements INTEGER NOT NULL)")

    def load(self) -> int:
        """The count."""
        rows = self._database.execute("SELECT settlements FROM idle")
        return rows[0][0] if rows else 0

    def put(self, settlements: int) -> None:
        """Note the count, within the caller's transaction or in its own."""
        with self._database.transaction():
            self._database.execute("DELETE FROM idle")
            self._database.execute("INSERT INTO idle VALUES (?)", (settlements,))
