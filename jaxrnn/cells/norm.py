"""The layer norm of the cells that have one."""

from typing import Any

import jax
import jax.numpy as jnp

from jaxrnn._tree import wide


def normed(a: jax.Array, epsilon: Any) -> jax.Array:
    """``(a - mean) / sqrt(variance + epsilon)`` over the last axis."""
    dtype, a = a.dtype, a.astype(wide(a.dtype))
    off = a - jnp.mean(a, -1, keepdims=True)
    variance = jnp.mean(off * off, -1, keepdims=True)
    return (off * jax.lax.rsqrt(variance + epsilon)).astype(dtype)
