"""The tool `search`: what fits a query among the documents of `search:SHA256`."""

from collections.abc import Callable, Sequence


class SearchTool:
    """A search, of which only an environment with documents knows the results."""

    name = "search"
    version = 1
    argument = "query"
    about = "Finds the documents that fit a query best."
    argument_about = "words to find in the documents"
    is_one_line = True
    identity: tuple[bytes, ...] = ()
    scorers = 1

    def __init__(
        self, answer: Callable[[str], str] | None = None, proof_arguments: Sequence[str] = ()
    ) -> None:
        """Args: `answer` is the result of a query; None: this only tells what the tool is."""
        self._answer, self.proof_arguments = answer, proof_arguments

    def require(self) -> None:
        """See `Tool.require`. It needs nothing but the environment's file."""

    def call(self, argument: str, memory: object) -> tuple[str, object]:
        """See `Tool.call`: searches take no budget, because turns bound their number."""
        assert self._answer is not None, "an environment without documents has no search"
        return self._answer(argument), memory
