"""Sequences of numbers, two of them marked, as in Hochreiter and Schmidhuber 1997."""

import jax
import jax.numpy as jnp

from jaxrnn.tasks.batch import Batch, clock


def draw(key: jax.Array, batch: int, *, length: int, least: float) -> tuple:
    """Numbers in [least, 1), marks -1, 0 or 1, both [T + T // 10, B], and lengths [B].

    One of the first ten numbers is marked, and one of the first T/2 - 1 that are not
    marked yet; the first and the last mark are -1, so a marked first number loses its mark.
    """
    if length < 22:
        raise ValueError(f"length: expected 22 steps or more, got {length}.")
    of_numbers, of_lengths, early, late = jax.random.split(key, 4)
    most = length + length // 10
    lengths = jax.random.randint(of_lengths, (batch,), length, most + 1, jnp.int32)
    steps, ends = clock(most), lengths[None]
    inside = steps < ends
    numbers = jax.random.uniform(of_numbers, (most, batch), jnp.float32, least)
    one = jax.random.randint(early, (batch,), 0, 10, jnp.int32)
    two = jax.random.randint(late, (batch,), 0, length // 2 - 1, jnp.int32)
    two = two + (two >= one).astype(two.dtype)  # of those that are left
    marks = ((steps == one[None]) | (steps == two[None])).astype(jnp.int32)
    marks = jnp.where((steps == 0) | (steps == ends - 1), -1, marks)
    return jnp.where(inside, numbers, 0), jnp.where(inside, marks, 0), lengths


def lost(length: int) -> float:
    """The probability that the first number was marked and lost its mark."""
    return 0.1 + 0.9 / (length // 2 - 1)


def asked(numbers, marks, answer, lengths) -> Batch:
    """Inputs of numbers and marks, with the answer at each row's last step."""
    inputs = jnp.stack([numbers, marks.astype(numbers.dtype)], axis=-1)
    mask = clock(len(numbers)) == lengths[None] - 1
    targets = jnp.where(mask, answer[None], 0)[..., None]
    return Batch(inputs, targets, mask, lengths)
