"""The table of docs/models.md is what the installed transformers' classes come to."""

import pytest

from assay.inference.families import FAMILIES
from assay.inference.plain.opening import get_library_version
from tests.inference.plain_types import FAMILY, NO, OWN, list_types, read_page, try_type


def read_column() -> dict[str, str]:
    """Of the installed version; a version that the page lacks is not tried."""
    columns = read_page()
    if get_library_version() not in columns:
        pytest.skip(f"the page has columns of {', '.join(columns)}")
    return columns[get_library_version()]


def test_a_column_has_every_type_once() -> None:
    assert [*read_column()] == list_types()


def test_all_families_of_the_table_are_families() -> None:
    for column in read_page().values():
        assert {kind for kind, cell in column.items() if cell == FAMILY} == {*FAMILIES} & {*column}


@pytest.mark.parametrize("kind", list_types())
def test_a_type_comes_to_its_cell(kind: str) -> None:
    assert try_type(kind) == read_column()[kind]


def test_a_type_opens_and_another_one_says_why_not() -> None:
    assert try_type("gpt_neox").startswith(OWN)
    assert try_type("phimoe").startswith(f"{NO}(choices): ")
