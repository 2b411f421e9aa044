"""What a row of the table costs: python -m tests.laws own_deep

CPU seconds of the quick suite's tests of a cell, in a fresh process where nothing is
compiled beforehand. A test that has half of the table's cells is of the row:
a new cell gets it too. The others have the cell as their representative.

`--warm lstm` runs another row first, and so leaves out what the rows share.
"""

import argparse
import collections
import os
import pathlib
import tempfile
import time

import pytest

QUICK = "not slow and not nightly"
TESTS = pathlib.Path(__file__).parents[1]


class Rows:
    """A plugin that runs the tests of some cells alone, and adds up CPU seconds.

    Fields:
        seconds: by cell and test function.
        cells_of: the cells that each test function has.
    """

    def __init__(self, cells: list[str]):
        self.cells = cells
        self.seconds = {cell: collections.Counter() for cell in cells}
        self.cells_of = collections.defaultdict(set)

    def pytest_collection_modifyitems(self, config, items):
        from tests.laws.cases import CELLS

        for item in items:
            if not item.get_closest_marker("slow"):
                if not item.get_closest_marker("nightly"):
                    self.cells_of[function(item)] |= CELLS.keys() & parameters(item)
        self.common = {f for f, c in self.cells_of.items() if 2 * len(c) >= len(CELLS)}
        mine = lambda cell: [item for item in items if cell in parameters(item)]
        items[:] = dict.fromkeys(item for cell in self.cells for item in mine(cell))

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item):
        start = time.process_time()
        done = yield
        for cell in parameters(item) & self.seconds.keys():
            self.seconds[cell][function(item)] += time.process_time() - start
        return done

    def show(self, cell: str) -> None:
        for title, rows in (("as a row", True), ("as a representative", False)):
            seconds = self.seconds[cell]
            some = {f: s for f, s in seconds.items() if (f in self.common) == rows}
            print(f"\n{cell}, {title}: {sum(some.values()):.1f} CPU seconds")
            for name in sorted(some, key=some.get, reverse=True):
                print(f"{some[name]:6.2f}  {name}")


def function(item: pytest.Item) -> str:
    return f"{item.path.relative_to(TESTS.parent)}::{item.originalname}"


def parameters(item: pytest.Item) -> set[str]:
    values = item.callspec.params.values() if hasattr(item, "callspec") else ()
    return {value for value in values if isinstance(value, str)}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.laws")
    parser.add_argument("cells", nargs="+")
    parser.add_argument("--warm", action="append", default=[])
    options = parser.parse_args()
    rows = Rows([*options.warm, *options.cells])
    with tempfile.TemporaryDirectory() as empty:
        os.environ["JAX_COMPILATION_CACHE_DIR"] = empty
        arguments = ["-p", "no:cacheprovider", "-m", QUICK, str(TESTS)]
        status = pytest.main(arguments, plugins=[rows])
    for cell in options.cells:
        rows.show(cell)
    raise SystemExit(status)


if __name__ == "__main__":
    main()
