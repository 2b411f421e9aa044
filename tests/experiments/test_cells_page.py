"""docs/cells.md says what the measurements say."""

import pytest

from experiments import cells_page, which_cell
from experiments.cells_page import OF_IMAGES, VECTORS
from tests.experiments.test_page import made_up
from tests.laws.cases import BUILT_IN, CELLS

pytestmark = pytest.mark.slow
EXPERIMENT = which_cell.EXPERIMENT


def test_page_is_made_of_the_results():
    assert cells_page.PAGE.read_text() == cells_page.page()


def test_every_cell_has_a_row():
    rows = {row.cell.partition("(")[0] for row in (*VECTORS, *OF_IMAGES)}
    assert rows == {CELLS[name].spec[0] for name in BUILT_IN}


def test_every_cell_of_vectors_is_compared():
    shown = {row.cell.partition("(")[0] for row in VECTORS}
    assert {cell.name.partition("(")[0] for cell in which_cell.CELLS} == shown


def test_the_table_has_a_row_for_each_cell():
    names = [cell.name for cell in which_cell.CELLS]
    text = EXPERIMENT.section(
        EXPERIMENT.settings, made_up("which_cell", ("lstm", "mgu"))
    )
    assert "nan" not in text
    rows = {
        line.split("|")[1].strip(): line for line in text.splitlines() if "|" in line
    }
    assert set(rows) >= {f"`{name}`" for name in names}
    assert "100%" in rows["`lstm`"]
    assert "100%" not in rows["`gru`"]
