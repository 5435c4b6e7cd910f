"""The documentation says the same about the code as the code itself."""

import re

import pytest

from tests.tree import ROOT, list_sources

PAGES = [*sorted(ROOT.glob("*.md")), ROOT / "judge" / "README.md"]
PAGES += sorted((ROOT / "docs").glob("*.md"))


def test_every_name_in_a_store_stands_in_the_specification():
    """Functions that make names are found by their calls; the table is made by calling them."""
    sources = [path.read_text() for path in list_sources()]
    makers = {
        name
        for text in sources
        for name in re.findall(r"^def (make_\w*name)\((?!self)", text, re.M)
    }
    assert len(makers) >= 11
    table = (ROOT / "docs" / "specification.py").read_text()
    called = set(re.findall(r"\b(make_\w*name)\(", table))
    assert makers == called


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_path_that_a_page_names_is_there(page):
    text = page.read_text()
    linked = [m for m in re.findall(r"\]\(([^)#:]+)\)", text) if not m.startswith("http")]
    for target in linked:
        assert (page.parent / target).exists(), target
    inner = "|".join(path.name for path in (ROOT / "assay").glob("[a-z]*/"))
    tops = f"bench|docs|tests|protocol|verification|neurons|devnet|assay/(?:{inner})"
    named = re.findall(rf"`((?:{tops})/[\w/.-]+)(?:::\w+)?`", text)
    for target in named:
        assert (ROOT / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_test_that_a_page_names_is_there(page):
    for path, name in re.findall(r"`((?:devnet/)?tests/[\w/]+\.py)::(\w+)`", page.read_text()):
        assert f"def {name}(" in (ROOT / path).read_text(), f"{path}::{name}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_figure_that_a_page_quotes_was_measured(page):
    """Quoted as `[33.3 ms](figures.md#verify)`; the section has it in a cell."""
    text = (ROOT / "docs" / "figures.md").read_text()
    sections = dict(re.findall(r"^### (\w+)\n(.*?)(?=^##|\Z)", text, re.M | re.S))
    for quoted, name in re.findall(r"\[(-?\d[^]]*)\]\([\w/]*figures\.md#(\w+)\)", page.read_text()):
        cells = {cell.strip() for cell in re.split(r"\||: ", sections[name])}
        assert quoted in cells, f"{quoted} is no figure of {name}"


def test_the_readme_s_figures_lead_to_their_page():
    assert "figures.md#" in (ROOT / "README.md").read_text()


def test_every_result_has_a_target_that_makes_it_again():
    # a real runtime, an engine, hours, another's model and program
    by_hand = {"chain", "clients", "engine", "evidence", "suite_scores"}
    by_hand |= {"public_run", "real_demo", "real_engine", "real_honest", "real_model"}
    by_hand |= {"real_warm_start", "registered_run"}
    makefile = (ROOT / "Makefile").read_text()
    lists = re.findall(r"^(?:STUDIES := |\t@for script in )([a-z_ ]+)", makefile, re.M)
    made = {name for names in lists for name in names.split()}
    on_a_card = re.findall(r"bench-on-gpu,([a-z_]+)|gpu-([a-z_]+)\.json", makefile)
    made |= {f"gpu-{one or other}" for one, other in on_a_card}
    results = {file.stem for file in (ROOT / "bench" / "results").glob("*.json")}
    assert results <= made | by_hand
