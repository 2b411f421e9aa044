"""The batch that tasks of numbers or symbols return."""

from typing import NamedTuple

import jax
import jax.numpy as jnp


class Batch(NamedTuple):
    """Sequences, the target of each step, and which steps are scored.

    Fields:
        inputs: [T, B, F] float32, or [T, B] int32 symbols; zero beyond a row's length.
        targets: [T, B, ...], the targets of each step; zero where nothing is asked.
        mask: bool [T, B], the steps that are scored.
        lengths: int32 [B], the number of steps of each row.
    """

    inputs: jax.Array
    targets: jax.Array
    mask: jax.Array
    lengths: jax.Array


def clock(steps: int) -> jax.Array:
    """The steps 0 to `steps` - 1 beside rows, int32 [T, 1]."""
    return jnp.arange(steps, dtype=jnp.int32)[:, None]
