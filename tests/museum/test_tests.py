"""The tests themselves: what they run on, and that they can fail."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn.linen
from tests.laws.cases import CELLS, example
from tests.museum.exhibits import exhibit


@exhibit(
    68,
    "keras-team/keras@05dd51e",
    plant=(
        "jaxrnn/linen.py",
        "_Recurrent.__call__",
        'not deterministic and (drops or self.has_rng("dropout"))',
        "False",
    ),
)
def test_dropout_that_was_never_on():
    """The test harness never set training mode, so dropout was tested while off."""
    module = jaxrnn.linen.GRU(4, num_layers=2, dropout=0.5)
    xs = jax.random.normal(jax.random.key(0), (2, 5, 3))
    variables = module.init(jax.random.key(0), None, xs, deterministic=True)
    with pytest.raises(ValueError, match="deterministic"):
        module.apply(variables, None, xs)
    rngs = {"dropout": jax.random.key(1)}
    on, off = (
        module.apply(variables, None, xs, deterministic=d, rngs=rngs)[1] for d in (0, 1)
    )
    assert (on != off).any()


@exhibit(
    69,
    "keras-team/keras#22421",
    plant=(
        "tests/conftest.py",
        "",
        "jax.config.update('jax_num_cpu_devices', 4)",
        "jax.config.update('jax_num_cpu_devices', 1)",
    ),
)
def test_tests_that_run_somewhere_else():
    """The tests of one backend silently ran on another."""
    assert jax.default_backend() == "cpu"
    assert len(jax.devices()) == 4
    assert jnp.ones(()).dtype == jnp.float64


@exhibit(
    70,
    "the tests of flax, keras, equinox and jax.experimental.rnn, read in 2026",
    plant=(
        "tests/laws/cases.py",
        "randomise.one",
        "jnp.asarray(scale * rng.randn(*a.shape), a.dtype)",
        "jnp.full(a.shape, scale, a.dtype)",
    ),
)
def test_inputs_and_weights_that_are_all_alike():
    """Inputs of ones hide reversed time, and equal weights hide swapped gates."""
    for name in CELLS:
        params, carry, xs = example(name)
        floats = lambda tree: np.concatenate(
            [np.ravel(a) for a in jax.tree.leaves(tree) if a.dtype == jnp.float64]
        )
        for tree in (params, carry, xs):
            values = floats(tree)
            assert len(np.unique(values)) == len(values), name
            assert (values != 0).all(), name
