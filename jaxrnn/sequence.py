"""What readouts of padded sequences need: the last output of each row, and the flip."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrnn._time import check_flag, length_of, valid_steps
from jaxrnn._tree import as_arrays, select

__all__ = ["flip", "last_output"]


def last_output(
    hs: Any, *, lengths: Any = None, mask: Any = None, reverse: bool = False
) -> Any:
    """The output that each row computed last: at its last valid step.

    Under `reverse` that is the row's first valid step. If the row has a valid step and no
    reset follows it, this is a GRU's final carry, an LSTM's final h, or that of a stack's
    top layer. Resets do not change which step is read.

    Args:
        hs: outputs ``[T, *batch, H]`` of `jaxrnn.unroll`, or a pytree of
            ``[T, *batch, ...]``.
        lengths: int ``[*batch]``, as `jaxrnn.unroll` was given them.
        mask: bool ``[T, *batch]``, as `jaxrnn.unroll` was given it.
        reverse: whether `jaxrnn.unroll` ran with ``reverse=True``.

    Returns:
        ``[*batch, H]``, or a pytree of ``[*batch, ...]``: zeros for a row without a valid
        step. What invalid steps hold (NaN included) reaches neither value nor gradient.

    Raises:
        ValueError: for lengths or a mask of another shape or dtype, and no outputs.

    Example:
        The readout of a bidirectional cell: each half where its own direction ends.

        >>> import jax, jax.numpy as jnp, jaxrnn
        >>> cell = jaxrnn.bidirectional(jaxrnn.gru(4))
        >>> params = cell.init(jax.random.key(0), features=3)
        >>> xs = jax.random.normal(jax.random.key(1), (6, 2, 3))
        >>> carry, hs = jaxrnn.unroll(cell, params, None, xs, lengths=[6, 4])
        >>> there, back = jnp.split(hs, 2, axis=-1)
        >>> there = jaxrnn.last_output(there, lengths=[6, 4])
        >>> back = jaxrnn.last_output(back, lengths=[6, 4], reverse=True)
        >>> ends = there - carry.forward, back - carry.backward
        >>> bool(max(abs(end).max() for end in ends) < 1e-6)
        True
    """
    check_flag("reverse", reverse)
    hs = as_arrays("hs", hs)
    length = length_of("hs", hs)
    valid = valid_steps(length, _batch("hs", hs, lengths, mask), lengths, mask)
    if isinstance(length, int) and length == 0:
        return jax.tree.map(lambda a: jnp.zeros(a.shape[1:], a.dtype), hs)
    if valid is None:
        return jax.tree.map(lambda a: a[0 if reverse else -1], hs)
    first = lambda valid: jnp.argmax(valid, axis=0)
    at = first(valid) if reverse else length - 1 - first(valid[::-1])
    found = jnp.any(valid, axis=0)
    taken = jax.tree.map(lambda a: _taken(a, at[None])[0], hs)
    return select(found, taken, 0)


def flip(xs: Any, *, lengths: Any = None, mask: Any = None) -> Any:
    """Reverses each row's valid steps in time; which steps are valid does not change.

    With `lengths` row b becomes ``xs[lengths[b] - 1], ..., xs[0]`` and its padding stays
    behind it; with a mask the valid steps change places among themselves. So
    ``unroll(..., reverse=True)`` equals flip, `jaxrnn.unroll`, flip, and flip twice gives
    the valid steps back.

    Args:
        xs: ``[T, *batch, F]``, or a pytree of ``[T, *batch, ...]``.
        lengths: int ``[*batch]``; None: all T steps.
        mask: bool ``[T, *batch]``; with lengths, both must hold.

    Returns:
        As `xs`; zero at steps that are not valid. What those hold (NaN included) reaches
        neither value nor gradient.

    Raises:
        ValueError: for lengths or a mask of another shape or dtype, and no arrays.

    Example:
        >>> import jax.numpy as jnp, jaxrnn
        >>> xs = jnp.array([[1, 5], [2, 6], [3, 7]])  # [T, batch]
        >>> jaxrnn.flip(xs, lengths=[3, 2]).tolist()
        [[3, 6], [2, 5], [1, 0]]
    """
    xs = as_arrays("xs", xs)
    length = length_of("xs", xs)
    valid = valid_steps(length, _batch("xs", xs, lengths, mask), lengths, mask)
    if valid is None or (isinstance(length, int) and length == 0):
        return jax.tree.map(lambda a: jnp.flip(a, 0), xs)
    # The n-th valid step from the front comes from the n-th valid step from the back.
    number = jnp.cumsum(valid, axis=0)  # from 1
    order = jnp.argsort(~valid, axis=0, stable=True)  # places of valid steps come first
    from_back = jnp.maximum(number[-1:] - number, 0)
    at = jnp.take_along_axis(order, from_back, axis=0)
    return select(valid, jax.tree.map(lambda a: _taken(a, at), xs), 0)


def _batch(name: str, values: Any, lengths: Any, mask: Any) -> tuple:
    """The batch shape that lengths and mask have, with which every leaf must begin."""
    if mask is not None:
        said, batch = "mask", np.shape(mask)[1:]
    elif lengths is not None:
        said, batch = "lengths", np.shape(lengths)
    else:
        return ()
    leaves = jax.tree.leaves(values)
    for leaf in leaves:
        # One row's length is never stretched over a batch of vectors.
        alone = not batch and len(leaves) == 1 and leaf.ndim > 2
        if leaf.shape[1 : 1 + len(batch)] != batch or alone:
            raise ValueError(
                f"{said}: expected the batch shape of {name} [T, *batch, ...], which is "
                f"{list(leaf.shape)}, got {list(batch)}. Time is axis 0."
            )
    return batch


def _taken(a: jax.Array, at: jax.Array) -> jax.Array:
    """``a[at[n], row]`` for every row: `a` is [T, *batch, ...] and `at` [N, *batch]."""
    at = jnp.expand_dims(at, range(at.ndim, a.ndim))
    return jnp.take_along_axis(a, at, axis=0)
