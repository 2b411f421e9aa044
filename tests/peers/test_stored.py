"""Law 3, stored: jaxrnn's values and gradients are those that the peers once computed.

To 1e-10 in float64 and 1e-5 in float32 (compositions in float64 only, to be quick), by
both engines. `make_stored.py` wrote stored.npz; `test_live` asks the peers anew.
"""

from functools import cache
from pathlib import Path

import jax
import numpy as np
import pytest

from tests.peers import cases, maps

STORED = Path(__file__).with_name("stored.npz")

COMPOSED = [("torch", "lstm bidirectional lengths"), ("torch", "gru stack lengths")]
PAIRS = maps.PAIRS + COMPOSED
RUNS = [(*pair, "float64") for pair in maps.PAIRS]
RUNS += [pytest.param(*pair, "float64", marks=pytest.mark.slow) for pair in COMPOSED]
RUNS += [pytest.param(*pair, "float32", marks=pytest.mark.slow) for pair in maps.PAIRS]


@cache
def read():
    with np.load(STORED, allow_pickle=False) as file:
        return dict(file)


def stored(name, who, like):
    """The stored entries as a tree like `like`."""
    paths, treedef = jax.tree.flatten_with_path(like)
    keys = [f"{name}/{who}/{jax.tree_util.keystr(path)}" for path, _ in paths]
    return treedef.unflatten([read()[key] for key in keys])


@cache
def ours(name, dtype, engine):
    case = cases.cast(stored(name, "case", cases.like(name)), dtype)
    return cases.run_jaxrnn(name, case, engine)


@pytest.mark.parametrize("engine", ["scan", "gated"])
@pytest.mark.parametrize(("peer", "name", "dtype"), RUNS)
def test_values_and_gradients_are_the_stored_ones(peer, name, dtype, engine):
    result = ours(name, dtype, engine)
    cases.assert_close(result, stored(name, peer, result), dtype)
