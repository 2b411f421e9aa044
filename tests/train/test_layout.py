"""The modules of jaxrnn.train import downwards only, in the order that it states."""

import ast
import pathlib
import re

import pytest

from jaxrnn import train

ROOT = pathlib.Path(train.__file__).parent
ORDER = [
    name
    for line in re.findall(r"^    [a-z ]+?   +(.*)$", train.__doc__, re.M)
    for name in line.split()
]


def imported(path):
    """The modules of jaxrnn.train that a file imports, inside of functions too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            assert not any(
                alias.name.startswith("jaxrnn.train") for alias in node.names
            )
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}: a relative import"
            if node.module == "jaxrnn.train":
                found |= {alias.name for alias in node.names}
            elif node.module.startswith("jaxrnn.train."):
                found.add(node.module.split(".")[2])
    return found


def test_the_order_has_every_module():
    names = {path.stem for path in ROOT.glob("*.py")} - {"__init__"}
    assert sorted(ORDER) == sorted(names)


@pytest.mark.parametrize("name", ORDER)
def test_a_module_imports_from_those_before_it(name):
    before = set(ORDER[: ORDER.index(name)])
    assert imported(ROOT / f"{name}.py") <= before
