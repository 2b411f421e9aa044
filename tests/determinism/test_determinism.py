"""The same inputs give the same bits; where they cannot, how far apart they are.

docs/numbers.md has the table.
"""

import os
import subprocess
import sys

import numpy as np
import pytest

from tests.determinism.program import CELLS, KINDS, ways

# The largest difference as a part of the largest entry, in float32: sums in another
# order, and a matmul of one row that is another program.
NEAR = 1e-6


def check(name, got, want, same, near=()):
    for kind in (*same, *near):
        for a, b in zip(got[kind], want[kind], strict=True):
            assert np.abs(b).max() > 0.01
            if kind in same:
                np.testing.assert_array_equal(a, b, f"{name}: {kind}")
            else:
                assert np.abs(a - b).max() <= NEAR * np.abs(b).max(), f"{name}: {kind}"


def within(name, found):
    """What holds in one process."""
    once = found["once"]
    check(name, found["again"], once, KINDS)
    check(name, found["not jitted"], once, (), KINDS)
    check(name, found["rows in another order"], once, KINDS[:2], KINDS[2:])
    check(name, found["a row alone"], once, (), KINDS[:2])


@pytest.mark.slow
def test_runs_and_the_order_of_rows():
    within("gru", ways(CELLS["gru"]))


def process(folder, name, **environment):
    """``cell -> way -> kind -> arrays`` of a process of its own."""
    path = folder / f"{name}.npz"
    variables = {k: v for k, v in os.environ.items() if k != "XLA_FLAGS"}
    variables["JAX_ENABLE_COMPILATION_CACHE"] = "false"  # each compiles for itself
    subprocess.run(
        [sys.executable, "-m", "tests.determinism.program", "--out", str(path)],
        env=variables | environment,
        check=True,
        timeout=300,
    )
    found: dict = {}
    with np.load(path) as stored:
        for key in stored:
            cell, way, kind, _ = key.split(": ")
            found.setdefault(cell, {}).setdefault(way, {}).setdefault(kind, []).append(
                stored[key]
            )
    return found


@pytest.mark.slow
@pytest.mark.skipif(
    not hasattr(os, "sched_setaffinity"), reason="a process of one CPU, on Linux alone"
)
def test_processes_and_threads(tmp_path):
    """Two processes, one without threads in a matmul, one on a single CPU."""
    first = process(tmp_path, "first")
    others = {
        "again": process(tmp_path, "again"),
        "no threads": process(
            tmp_path, "one", XLA_FLAGS="--xla_cpu_multi_thread_eigen=false"
        ),
        "one CPU": process(tmp_path, "alone", ONE_CPU="1"),
    }
    for cell in CELLS:
        within(cell, first[cell])
        for name, other in others.items():
            # How sums over all rows are cut depends on the number of CPUs.
            same = KINDS[:2] if name == "one CPU" else KINDS
            near = KINDS[2:] if name == "one CPU" else ()
            label = f"{name}, {cell}"
            check(label, other[cell]["once"], first[cell]["once"], same, near)
