"""Round trips with the libraries themselves, in float32 to 1e-6 and in float64 to 1e-10:
their weights give here what they give there, and ours give there what they give here.
"""

import jax
import numpy as np
import pytest

import jaxrnn
from tests.convert.libraries import LIBRARIES, PAIRS, B, F, T, cell_of
from tests.installed import need
from tests.peers.runs import MODULES

FORMS = [(1, 1), (2, 1), (1, 2), (2, 2)]
QUICK = [("linen", "gru", 1, 1, "float32")]  # Flax is always there
CASES = [(*pair, *form, "float32") for pair in PAIRS for form in FORMS]
CASES += [(*pair, 1, 1, "float64") for pair in PAIRS]
CLOSE = {"float32": 1e-6, "float64": 1e-10}


def marked(case):
    """Both layers and both ways, or neither, are slow; one of the two is nightly."""
    when = pytest.mark.slow if case[2] == case[3] else pytest.mark.nightly
    return pytest.param(*case, marks=[when] * (case not in QUICK))


def close(a, b, dtype="float32"):
    assert np.shape(a) == np.shape(b)
    assert np.asarray(a).dtype == np.asarray(b).dtype == dtype
    scale = max(1, np.abs(b).max())
    np.testing.assert_allclose(a, b, rtol=0, atol=CLOSE[dtype] * scale)


@pytest.mark.parametrize(
    ("library", "kind", "layers", "ways", "dtype"), [marked(case) for case in CASES]
)
def test_there_and_back(library, kind, layers, ways, dtype):
    need(MODULES[library].split(".")[0])
    random = np.random.RandomState(list(f"{library} {kind} {layers}{ways}".encode()))
    peer = LIBRARIES[library]
    network = peer.make(kind, layers, ways, random, dtype)
    xs = random.randn(T, B, F).astype(dtype)

    cell, params = peer.take(network.weights, kind, ways)
    assert repr(cell) == repr(cell_of(kind, layers, ways))
    theirs = network.run(network.weights, xs)
    _, ours = jaxrnn.unroll(cell, params, None, xs)
    assert np.abs(theirs).max() > 0.1
    close(ours, theirs, dtype)

    params = jax.tree.map(
        lambda a: (0.5 * random.randn(*a.shape)).astype(dtype), params
    )
    if (library, kind) == ("nnx", "gru"):  # which has no bn
        params = jax.tree.map(
            lambda p: p._replace(bn=0 * p.bn),
            params,
            is_leaf=lambda p: isinstance(p, jaxrnn.cells.GRUParams),
        )
    _, ours = jaxrnn.unroll(cell, params, None, xs)
    given = peer.give(cell, params, kind)
    assert all(isinstance(a, np.ndarray) for a in jax.tree.leaves(given))
    close(ours, network.run(given, xs), dtype)
    assert np.abs(ours - theirs).max() > 0.05

    again, back = peer.take(given, kind, ways)
    assert repr(again) == repr(cell)
    for a, b in zip(jax.tree.leaves(back), jax.tree.leaves(params), strict=True):
        close(a, b, dtype)
