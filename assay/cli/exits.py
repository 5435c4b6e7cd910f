"""Exit codes, and errors as one line."""

import os
import re
import signal
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import typer

#: The name of a variable of the surroundings in a library's code.
_VARIABLE = re.compile(r"""["']([A-Z][A-Z0-9_]{2,})["']""")
OK, FINDING, COULD_NOT_RUN, INTERRUPTED = 0, 1, 2, 130
TERMINATED = 128 + signal.SIGTERM


@contextmanager
def plain_errors() -> Iterator[None]:
    """Turn errors that a person can fix into one line and exit code 2, and Ctrl-C into 130."""
    try:
        yield
    except KeyboardInterrupt:
        _leave("stopped", INTERRUPTED)
    except BrokenPipeError:  # the reader of our output has closed it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(OK) from None
    except OSError as error:
        _leave(f"{error.filename or _find_place(error)}: {error.strerror or error}", COULD_NOT_RUN)
    except (typer.Exit, typer.Abort):
        raise
    except Exception as error:  # noqa: BLE001 - the outermost loop of a program
        from assay.protocol.errors import OperatorError

        if not isinstance(error, OperatorError):  # a defect of ours: show all details
            from assay.network.text import describe_error, hide

            if named := _find_variables(error):
                why = describe_error(error)
                _leave(
                    f"a library cannot be loaded ({why}): correct or unset {' or '.join(named)}",
                    COULD_NOT_RUN,
                )
            print(hide(traceback.format_exc()), file=sys.stderr)
            _leave("this is a defect in assay; the lines above say where", COULD_NOT_RUN)
        _leave(str(error), COULD_NOT_RUN)


@contextmanager
def cleaning_up() -> Iterator[None]:
    """Let SIGTERM end the block like Ctrl-C, so that what is half-written is removed, and then the
    program. For work that writes a large folder."""

    def end(number: int, frame: object) -> NoReturn:
        raise _Terminated

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    except _Terminated:
        _leave("stopped", TERMINATED)
    finally:
        signal.signal(signal.SIGTERM, before)


class _Terminated(KeyboardInterrupt):
    """SIGTERM has come."""


def _find_place(error: OSError) -> str:
    """The place in our code where an error without a file's name was raised: the system's text
    alone does not explain it."""
    root, place = Path(__file__).parents[1], "file"
    for frame in traceback.extract_tb(error.__traceback__):
        path = Path(frame.filename)
        if path.is_relative_to(root) and "site-packages" not in path.relative_to(root).parts:
            place = f"{path.relative_to(root.parent)}, line {frame.lineno}"
    return place


def _find_variables(error: Exception) -> list[str]:
    """The variables of the surroundings that a library's module reads, where that module could not
    be loaded, as far as they are set: those whose value the error repeats, or else all."""
    loading = [
        frame.filename
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.name == "<module>"
    ]
    if not loading or "site-packages" not in loading[-1]:
        return []
    text = Path(loading[-1]).read_text("utf-8", errors="replace")
    given = os.environ  # noqa: TID251 - the library's own variables
    named = [name for name in dict.fromkeys(_VARIABLE.findall(text)) if given.get(name)]
    return [name for name in named if repr(given[name]) in str(error)] or named


def _leave(message: str, code: int) -> NoReturn:
    from assay.network.text import mask_secrets

    # several settings are wrong: one line for each
    for line in mask_secrets(message).splitlines() or [""]:
        print(f"assay: {line}", file=sys.stderr)
    raise typer.Exit(code)
