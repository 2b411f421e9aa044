"""The list of the laws is whole, and each names tests that exist."""

import ast
import functools
import inspect
import pathlib

import pytest

import jaxrnn
from tests.laws import LAWS, cases

TESTS = pathlib.Path(__file__).parents[1]


@functools.cache
def functions(path):
    tree = ast.parse((TESTS / path).read_text())
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_the_list_is_whole():
    assert [law.number for law in LAWS] == list(range(1, 17))
    assert len({law.name for law in LAWS}) == len(LAWS)
    untested = [law.name for law in LAWS if not law.tests]
    # The law of associative cells begins with the first way to make one.
    assert untested == ([] if hasattr(jaxrnn, "associative") else ["associative"])


@pytest.mark.parametrize(
    ("law", "test"),
    [(law, test) for law in LAWS for test in law.tests],
    ids=lambda value: value.name if hasattr(value, "name") else value,
)
def test_each_names_tests_that_exist(law, test):
    path, name = test.split("::")
    assert name in functions(path)
    assert name.startswith("test_")


def test_each_file_of_laws_is_named():
    """But for what tests the tests."""
    named = {test.split("::")[0] for law in LAWS for test in law.tests}
    files = {f"laws/{path.name}" for path in (TESTS / "laws").glob("test_*.py")}
    assert files - named == {"laws/test_laws.py", "laws/test_numpy_jaxpr.py"}


def test_each_way_to_make_a_cell_is_in_the_table():
    """A new factory of cells is one more row."""
    makes = [getattr(jaxrnn.noise, name) for name in jaxrnn.noise.__all__]
    for name in jaxrnn.__all__:
        f = getattr(jaxrnn, name)
        if inspect.isfunction(f) and f.__annotations__.get("return") is jaxrnn.Cell:
            makes.append(f)
    kinds = {kind for cell in cases.CELLS.values() for kind in kinds_in(cell.spec)}
    builders = {"gated", "associative", "linear"}  # of which cells are made, not cells
    assert {f.__name__ for f in makes} - builders <= kinds


def kinds_in(spec):
    """The kinds of a cell and of those that it was made of."""
    if spec:
        yield spec[0]
        inside = dict(option for option in spec[1:] if len(option) == 2)
        for cell in inside.get("cells", ()):
            yield from kinds_in(cell)
