"""Round trips with the libraries themselves, in float32 and to 1e-6: their weights give
here what they give there, and ours give there what they give here.
"""

import jax
import numpy as np
import pytest

import jaxrnn
from tests.convert.libraries import LIBRARIES, PAIRS, B, F, T, cell_of
from tests.installed import need
from tests.peers.runs import MODULES

FORMS = [(1, 1), (2, 1), (1, 2), (2, 2)]
QUICK = [("linen", "gru", 1, 1)]  # Flax is always there
CASES = [(*pair, *form) for pair in PAIRS for form in FORMS]


def marked(case):
    """Both layers and both ways, or neither, are slow; one of the two is nightly."""
    when = pytest.mark.slow if case[2] == case[3] else pytest.mark.nightly
    return pytest.param(*case, marks=[when] * (case not in QUICK))


def close(a, b):
    assert np.shape(a) == np.shape(b)
    assert np.asarray(a).dtype == np.asarray(b).dtype == np.float32
    np.testing.assert_allclose(a, b, rtol=0, atol=1e-6 * max(1, np.abs(b).max()))


@pytest.mark.parametrize(
    ("library", "kind", "layers", "ways"), [marked(case) for case in CASES]
)
def test_there_and_back(library, kind, layers, ways):
    need(MODULES[library].split(".")[0])
    random = np.random.RandomState(list(f"{library} {kind} {layers}{ways}".encode()))
    peer = LIBRARIES[library]
    network = peer.make(kind, layers, ways, random)
    xs = np.float32(random.randn(T, B, F))

    cell, params = peer.take(network.weights, kind, ways)
    assert repr(cell) == repr(cell_of(kind, layers, ways))
    theirs = network.run(network.weights, xs)
    _, ours = jaxrnn.unroll(cell, params, None, xs)
    assert np.abs(theirs).max() > 0.1
    close(ours, theirs)

    params = jax.tree.map(lambda a: np.float32(0.5 * random.randn(*a.shape)), params)
    if (library, kind) == ("nnx", "gru"):  # which has no bn
        params = jax.tree.map(
            lambda p: p._replace(bn=0 * p.bn),
            params,
            is_leaf=lambda p: isinstance(p, jaxrnn.cells.GRUParams),
        )
    _, ours = jaxrnn.unroll(cell, params, None, xs)
    given = peer.give(cell, params, kind)
    assert all(isinstance(a, np.ndarray) for a in jax.tree.leaves(given))
    close(ours, network.run(given, xs))
    assert np.abs(ours - theirs).max() > 0.05

    again, back = peer.take(given, kind, ways)
    assert repr(again) == repr(cell)
    for a, b in zip(jax.tree.leaves(back), jax.tree.leaves(params), strict=True):
        close(a, b)
