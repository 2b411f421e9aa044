"""Writes docs/transformations.md from the table: python -m tests.transformations"""

import pathlib

from tests import conftest
from tests.transformations.table import COLUMNS, TRANSFORMATIONS

PAGE = pathlib.Path(__file__).parents[2] / "docs" / "transformations.md"
del conftest  # imported for what it sets before the first use of JAX

PAGE = pathlib.Path(__file__).parents[2] / "docs" / "transformations.md"
ABOUT = """# Cells and transformations

JAX transformations that a program may apply to `jaxrnn.unroll`. Every case has lengths
and resets. Each mark is a test: values and gradients equal those of the same
transformation of a Python loop of `step`, in float64 to 1e-11.
`pytest tests/transformations -m ""` runs all of them; `make test`, `make slow` and
`make nightly` run parts. `own_gated` is a user's cell made by `gated`, with closed-over
numbers and an integer in its carry. `bare` is a user's `Cell` without an engine.
The built-in gated cells that have no column are run by the same engines.
`python -m tests.transformations` writes this page.

"""


def page() -> str:
    head = "| | " + " | ".join(name.replace("_", " ") for name in COLUMNS) + " |\n"
    head += "|---" * (1 + len(COLUMNS)) + "|\n"
    rows = [f"| {name} |" + " ✓ |" * len(COLUMNS) for name in TRANSFORMATIONS]
    return ABOUT + head + "\n".join(rows) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page())
