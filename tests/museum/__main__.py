"""Writes docs/museum.md from the exhibits: python -m tests.museum"""

import importlib
import inspect
import pathlib

from tests import conftest
from tests.museum.left_out import LEFT_OUT

del conftest  # imported for what it sets before the first use of JAX

HERE = pathlib.Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "museum.md"
ABOUT = """# The museum

Faults that recurrent code really had, each with the test that finds it. `make mutants`
plants each fault, and its test must fail. `python -m tests.museum` writes this page.

| | where | what went wrong | the test |
|---|---|---|---|
"""


def hung() -> list:
    """The museum's tests, in order."""
    found = []
    for path in sorted(HERE.glob("test_*.py")):
        module = importlib.import_module(f"tests.museum.{path.stem}")
        found += [t for t in vars(module).values() if hasattr(t, "exhibit")]
    return sorted(found, key=lambda test: test.exhibit.number)


def link(where: str) -> str:
    """An issue or a commit on GitHub; words as they are."""
    for mark, kind in (("#", "issues"), ("@", "commit")):
        repository, found, rest = where.partition(mark)
        if found and " " not in where:
            return f"[{where}](https://github.com/{repository}/{kind}/{rest})"
    return where


def page() -> str:
    lines = []
    for test in hung():
        shown, module = test.exhibit, test.__module__.rpartition(".")[2]
        text = " ".join(inspect.getdoc(test).split())
        guard = f"[{test.__name__[5:].replace('_', ' ')}](../tests/museum/{module}.py)"
        lines.append(
            f"| {shown.number} | {', '.join(map(link, shown.where))} | {text} | {guard} |"
        )
    rest = [
        f"| {number} | {', '.join(map(link, where))} | {text} | {why} |"
        for number, where, text, why in LEFT_OUT
    ]
    head = "\n\n## Left out\n\n| | where | what went wrong | why |\n|---|---|---|---|\n"
    return ABOUT + "\n".join(lines) + head + "\n".join(rest) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page())
