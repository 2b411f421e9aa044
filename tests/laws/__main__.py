"""What a row of the table costs: python -m tests.laws own_deep

CPU seconds of the quick suite's tests that have the cell as a parameter, by file. The
process is fresh and nothing is compiled beforehand, so what the rows share is counted
too: JAX's own warming up, and helpers of the tests. `--warm lstm` runs another row first
and does not count it.
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


class Row:
    """A plugin that runs the tests of some cells alone, and adds up CPU seconds."""

    def __init__(self, cells: list[str]):
        self.cells = cells
        self.seconds: dict = {cell: collections.Counter() for cell in cells}

    def pytest_collection_modifyitems(self, config, items):
        found = {
            cell: [i for i in items if cell in parameters(i)] for cell in self.cells
        }
        keep = [item for cell in self.cells for item in found[cell]]
        config.hook.pytest_deselected(items=[i for i in items if i not in set(keep)])
        items[:] = list(dict.fromkeys(keep))

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item):
        start = time.process_time()
        done = yield
        spent = time.process_time() - start
        for cell in self.cells:
            if cell in parameters(item):
                name = f"{item.path.relative_to(TESTS)}::{item.originalname}"
                self.seconds[cell][name] += spent
        return done


def parameters(item: pytest.Item) -> list[str]:
    values = item.callspec.params.values() if hasattr(item, "callspec") else ()
    return [value for value in values if isinstance(value, str)]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.laws", description=__doc__)
    parser.add_argument("cells", nargs="+")
    parser.add_argument("--warm", action="append", default=[])
    options = parser.parse_args()
    row = Row([*options.warm, *options.cells])
    with tempfile.TemporaryDirectory() as empty:
        os.environ["JAX_COMPILATION_CACHE_DIR"] = empty
        arguments = ["-q", "--no-header", "-p", "no:cacheprovider", "-m", QUICK]
        pytest.main([*arguments, str(TESTS)], plugins=[row])
    for cell in options.cells:
        print(f"\n{cell}: {row.seconds[cell].total():.1f} CPU seconds")
        for name, seconds in row.seconds[cell].most_common():
            print(f"{seconds:6.2f}  {name}")


if __name__ == "__main__":
    main()
