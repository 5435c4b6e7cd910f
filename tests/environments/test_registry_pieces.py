"""The functions of packages on which `bench/small_pool.py` tries a model."""

import json
from pathlib import Path

import pytest

from assay.environments.pieces.growth import compute_shape
from assay.environments.pieces.piece import check_piece
from assay.environments.pieces.pool import list_first_pieces, read_piece
from tests.absent import has_sandbox

DATA = Path(__file__).parents[2] / "bench" / "data"
ROWS = (DATA / "registry_pieces.jsonl").read_bytes().splitlines()
PERMISSIVE = {"MIT", "BSD-3-Clause", "Apache-2.0", "PSF-2.0"}


def test_each_has_an_origin_whose_licence_is_kept() -> None:
    licences = (DATA / "registry_licences.txt").read_text()
    origins = [json.loads(row)["origin"] for row in ROWS]
    assert len(origins) == 200
    for origin in origins:
        assert origin["licence"] in PERMISSIVE
        assert f"======== {origin['package']}\n" in licences
        assert origin["file"].endswith(".py")
        assert origin["name"]


def test_none_is_like_another_one_or_one_of_the_first_pool() -> None:
    shapes = [compute_shape(read_piece(row, "registry").function) for row in ROWS]
    assert len(set(shapes)) == len(shapes)
    assert not {compute_shape(piece.function) for piece in list_first_pieces()} & set(shapes)


@pytest.mark.skipif(not has_sandbox(), reason="no sandbox: assay sandbox prepare")
@pytest.mark.parametrize("row", ROWS[::10], ids=range(0, len(ROWS), 10))
def test_the_check_finds_what_a_row_says(row: bytes) -> None:
    piece = read_piece(row, "registry")
    assert check_piece(piece.function, piece.inputs).piece == piece
