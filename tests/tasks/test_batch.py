"""What all tasks share: types, and one meaning of a key."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrnn.tasks import adding, copying, temporal_order

DRAWS = {
    "adding": lambda key: adding.draw(key, 6, length=20),
    "adding 1997": lambda key: adding.draw_1997(key, 6, length=30),
    "copying": lambda key: copying.draw(key, 6, blank=5),
    "temporal order": lambda key: temporal_order.draw(key, 6, symbols=3),
}


@pytest.mark.parametrize("name", DRAWS)
def test_a_key_means_the_same_everywhere(name):
    """Under jit, without x64, and apart from other keys."""
    draw = DRAWS[name]
    jitted = jax.jit(draw)
    batch = draw(jax.random.key(7))
    for leaf, kind in zip(batch, (None, None, jnp.bool_, jnp.int32), strict=True):
        assert leaf.dtype in ((jnp.float32, jnp.int32) if kind is None else (kind,))
    with jax.enable_x64(False):
        narrow = jitted(jax.random.key(7))
    for a, b, c in zip(batch, jitted(jax.random.key(7)), narrow, strict=True):
        assert a.dtype == b.dtype == c.dtype
        np.testing.assert_allclose(a, b, rtol=1e-6)  # a fused sum
        np.testing.assert_array_equal(b, c)
    other = jitted(jax.random.key(8))
    assert (other.inputs != batch.inputs).any()
