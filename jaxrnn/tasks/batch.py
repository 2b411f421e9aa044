"""What every task of numbers or symbols draws."""

from typing import NamedTuple

import jax
import jax.numpy as jnp


class Batch(NamedTuple):
    """Sequences, what is asked at each step, and which steps count.

    Fields:
        inputs: [T, B, F] float32, or [T, B] int32 symbols; zero beyond a row's length.
        targets: [T, B, ...], what is wanted at each step; zero where nothing is asked.
        mask: bool [T, B], the steps that are asked about and scored.
        lengths: int32 [B], each row's steps.
    """

    inputs: jax.Array
    targets: jax.Array
    mask: jax.Array
    lengths: jax.Array


def clock(steps: int) -> jax.Array:
    """The steps 0 to `steps` - 1 beside rows, int32 [T, 1]."""
    return jnp.arange(steps, dtype=jnp.int32)[:, None]
