"""What all tasks share: types, and one meaning of a key."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrnn.tasks import (
    adding,
    copying,
    counting,
    digits,
    formal,
    multiplication,
    reber,
    temporal_order,
    word_problem,
)

DRAWS = {
    "adding": lambda key: adding.draw(key, 6, length=20),
    "adding 1997": lambda key: adding.draw_1997(key, 6, length=30),
    "copying": lambda key: copying.draw(key, 6, blank=5),
    "counting": lambda key: counting.draw(key, 6, letters=3, n=(1, 9)),
    "digits": lambda key: digits.draw(key, 6),
    "multiplication": lambda key: multiplication.draw(key, 6, length=30),
    "reber": lambda key: reber.draw(key, 6),
    "continual reber": lambda key: reber.draw_continual(key, 6, length=20),
    "word problem": lambda key: word_problem.draw(key, 6, length=9),
    "parity": lambda key: formal.parity(key, 6, length=(3, 9)),
    "even pairs": lambda key: formal.even_pairs(key, 6, length=(3, 9)),
    "arithmetic": lambda key: formal.modular_arithmetic(key, 6, length=(3, 9)),
    "cycle navigation": lambda key: formal.cycle_navigation(key, 6, length=(3, 9)),
    "bucket sort": lambda key: formal.bucket_sort(key, 6, length=(3, 9)),
    "temporal order": lambda key: temporal_order.draw(key, 6, symbols=3),
}


QUICK = ("reber", "digits")


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=() if n in QUICK else pytest.mark.slow) for n in DRAWS],
)
def test_a_key_means_the_same_everywhere(name):
    """With x64 and without, and another key something else."""
    jitted = jax.jit(DRAWS[name])
    batch = jitted(jax.random.key(7))
    for leaf, kind in zip(batch, (None, None, jnp.bool_, jnp.int32), strict=True):
        assert leaf.dtype in ((jnp.float32, jnp.int32) if kind is None else (kind,))
    with jax.enable_x64(False):
        narrow = jitted(jax.random.key(7))
    for a, b in zip(batch, narrow, strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)
    other = jitted(jax.random.key(8))
    assert (other.inputs != batch.inputs).any()


@pytest.mark.slow
@pytest.mark.parametrize("name", DRAWS)
def test_a_key_means_the_same_without_jit(name):
    key = jax.random.key(7)
    for a, b in zip(DRAWS[name](key), jax.jit(DRAWS[name])(key), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_allclose(a, b, rtol=1e-6)  # a fused sum
