"""A kind of environment, as its module declares it: what there is to know before one is opened.

A module ends with one record, its `KIND`. `registry.KINDS` is the table of them, and everything
that is asked by name follows from it: what a person may choose, which files are looked at, what a
machine needs. Start with `Drawn`, which is all that most kinds have.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from assay.environments.answer_form import AnswerForm, declare_form
from assay.environments.base import PART_LEVELS, Environment, Param
from assay.environments.problem_formats import RowFormat


@dataclass(frozen=True, slots=True)
class Drawn:
    """The environment `name`, whose problems are drawn from their seed alone.

    Attributes:
        make: from settings; raises ValueError for illegal ones.
        about: a line for people.
        settings: but the form of answers.
    """

    make: Callable[[Mapping[str, int]], Environment]
    about: str
    settings: Mapping[str, Param] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class FromFile:
    """Environments `name:SHA256`, whose problems are those of a file.

    Attributes:
        make: from 64 hex digits and settings; raises ValueError for illegal ones, or without such a
            file.
        settings: but the form of answers.
        levels: that any such file may have.
        rows: that it reads; None: its file is no table, or one that no columns tell.
        tells: from the objects among a file's first rows, and its lines, whether it is one, where
            its columns alone do not.
        archive: whether it reads an archive whose first member has that name; None: it reads none.
        is_drawn: whether its code makes problems from numbers; False: they are the file's own, and
            whoever has it knows them.
    """

    make: Callable[[str, Mapping[str, int]], Environment]
    settings: Mapping[str, Param] = field(default_factory=dict)
    levels: Sequence[int] = range(1, PART_LEVELS)
    rows: RowFormat | None = None
    tells: Callable[[Sequence[dict[str, Any]], Sequence[bytes]], bool] | None = None
    archive: Callable[[str], bool] | None = None
    is_drawn: bool = False


@dataclass(frozen=True, slots=True)
class FromDataset:
    """Environments `name:DATASET`, whose problems a library makes.

    Attributes:
        make: from a dataset and settings; raises ValueError for illegal ones.
        about: a line for people.
        levels: of each dataset.
        refused: dataset → why it has no environment.
        list_settings: a dataset's, but the form of answers.
        require_dataset: raises ValueError if there is none of that name.
    """

    make: Callable[[str, Mapping[str, int]], Environment]
    about: str
    levels: Mapping[str, Sequence[int]]
    refused: Mapping[str, str]
    list_settings: Callable[[str], Mapping[str, Param]]
    require_dataset: Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Kind:
    """Environments of one name, in up to three ways.

    Attributes:
        name: ASCII, unique.
        version: increases whenever any problem or score would change.
        form: of answers, unless an owner chooses another; None: it has no such setting.
        drawn, file, datasets: how it gets its problems.
        require: raises ValueError if this machine lacks what scoring needs; None: it needs nothing.
        asks_pool: whether its problems depend on a checkpoint's pool.
    """

    name: str
    version: int
    form: AnswerForm | None = None
    drawn: Drawn | None = None
    file: FromFile | None = None
    datasets: FromDataset | None = None
    require: Callable[[], None] | None = None
    asks_pool: bool = False

    def list_settings(self, what: str | None = None) -> dict[str, Param]:
        """The settings of the environment `name`, or of `name:what`; none: there is no such one."""
        if what is None:
            own = None if self.drawn is None else self.drawn.settings
        elif self.datasets is not None:
            own = self.datasets.list_settings(what)
        else:
            own = None if self.file is None else self.file.settings
        return {} if own is None else {**own, **declare_form(self.form)}
