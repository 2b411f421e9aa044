"""The list of faults, and how one is planted."""

import textwrap

import pytest

from tests.mutants.__main__ import files_with, misplaced
from tests.mutants.faults import MODULES
from tests.mutants.planting import Fault, module, planted


@pytest.mark.slow  # 0.03 s each, of which there are 139
@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.faults[0].name)
def test_every_fault_has_its_place(module):
    """Whoever changes the source brings the list up to date."""
    assert not list(filter(None, (misplaced(module, fault) for fault in module.faults)))


SOURCE = textwrap.dedent("""
    import math
    from jax import lax
    SIZE = 3

    def outer(a, b):
        def inner(c):
            if c > SIZE:  # a comment
                return math.sin(a) + lax.select(c, a, b)
            return (a
                    + b) * c
        return inner(a) + inner(b)

    class Box:
        def inner(self, a):
            self.left = a
            self.right = a - 1
""")


def plant(function, old, new, source=SOURCE):
    return planted(source, Fault("a fault", function, old, new))


@pytest.mark.parametrize(
    ("function", "old", "new", "seen"),
    [
        # layout, and parentheses where the new place needs them
        ("outer.inner", "(a+b)*c", "a * b + c", "return a * b + c"),
        ("outer.inner", "a + b", "a - b", "return (a - b) * c"),
        ("outer", "inner(b)", "inner(a) - b", "return inner(a) + (inner(a) - b)"),
        # a local by another name, also in what is put there; twice the same
        ("outer.inner", "(x + y) * z", "(x - z) * y", "return (a - c) * b"),
        ("outer.inner", "z > SIZE", "z", "if c:"),
        # statements: one that goes, one more, the only one of its block
        ("Box.inner", "self.left = a", "", "def inner(self, a):\n        self.right"),
        (
            "Box.inner",
            "self.left = a",
            "a = 2\nself.left = a",
            "a = 2\n        self.left",
        ),
        ("Box", "self.left = a\nself.right = a - 1", "", "pass"),
        ("", "SIZE = 3", "SIZE = 4", "SIZE = 4"),
    ],
)
def test_a_fault_is_planted_in_the_tree(function, old, new, seen):
    text = plant(function, old, new)
    assert seen in text
    compile(text, "planted", "exec")


@pytest.mark.parametrize(
    ("function", "old", "new", "message"),
    [
        ("outer.deeper", "a", "b", "no function 'outer.deeper'"),
        ("outer.inner", "a", "b", "one place for 'a' in outer.inner, got 3"),
        ("outer.inner", "x", "b", "one place for 'x' in outer.inner, got"),
        ("outer.inner", "x + x", "x", "got 0"),  # one name is one name
        ("outer.inner", "(x + y) * z", "x + spare", "spare is no name there"),
        ("outer.inner", "math.cos(a)", "a", "got 0"),  # an attribute is meant as it is
        ("outer.inner", "lax.sin(a)", "a", "got 0"),  # and so is a module
        ("outer.inner", "c > 4", "c", "got 0"),
        ("Box.inner", "self.right = a - 1", "self.right = a-1", "something else"),
    ],
)
def test_a_fault_without_its_place(function, old, new, message):
    with pytest.raises(ValueError, match=message):
        plant(function, old, new)


def test_two_names_are_two_names():
    doubled = "def f(x):\n    return x + x\n"
    for old in ("y + x", "x + y"):
        with pytest.raises(ValueError, match="got 0"):
            plant("f", old, "x", doubled)
    assert "return x * 2" in plant("f", "y + y", "y * 2", doubled)


def test_a_renamed_local_keeps_its_faults():
    """All names that a function may change, not those that it shares with others."""
    renamed = SOURCE.replace("(c)", "(deep)").replace("c > SIZE", "deep > SIZE")
    renamed = renamed.replace("select(c,", "select(deep,").replace("* c", "* deep")
    for old, new in (("(a + b) * c", "a * c"), ("c > SIZE", "c < SIZE")):
        text = plant("outer.inner", old, new, renamed)
        assert text == plant("outer.inner", old, new).replace("(c)", "(deep)").replace(
            "c > SIZE", "deep > SIZE"
        ).replace("select(c,", "select(deep,").replace("* c", "* deep").replace(
            "c < SIZE", "deep < SIZE"
        )


def test_a_function_that_moved_is_found_again():
    """In a file that has none of this name, and in one that is gone."""
    assert "jaxrnn/cells/lstm.py" in files_with("lstm.init")
    assert files_with("") == files_with("lstm.nothing") == []
    for path in ("jaxrnn/cells/gru.py", "jaxrnn/cells/gone.py"):
        lost = module(path, "tests", ("a fault", "lstm.init", "features", "3"))
        assert "lstm.init is in jaxrnn/cells/lstm.py." in misplaced(lost, *lost.faults)
