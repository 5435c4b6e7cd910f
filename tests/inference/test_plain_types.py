"""The table of docs/models.md is what the installed transformers' classes come to."""

from tests.inference.plain_types import OPENS, list_types, make_table, read_table, try_type


def test_the_page_lists_every_type_once() -> None:
    table = read_table()
    assert all(f"`{kind}`" in table for kind in list_types())


def test_the_page_is_what_all_types_come_to() -> None:
    assert make_table((kind, try_type(kind)) for kind in list_types()) == read_table()


def test_a_type_opens_and_another_one_says_why_not() -> None:
    assert try_type("gpt_neox") == OPENS
    assert "topk" in try_type("phimoe")
