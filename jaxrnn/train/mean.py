"""Means that add up: over microbatches, devices, steps and evaluation batches."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp


class Mean(NamedTuple):
    """A mean before its division: `total` over `weight`, scalars both.

    A mean of means is wrong as soon as batches differ in how much they hold. Totals and
    weights add up, so a token counts the same in a short row and in a long one.

    Example:
        >>> from jaxrnn import train
        >>> a, b = train.Mean(6.0, 3.0), train.Mean(10.0, 1.0)
        >>> train.Mean(a.total + b.total, a.weight + b.weight).value
        4.0
    """

    total: Any
    weight: Any

    @property
    def value(self):
        """The mean. NaN where the weight is zero: a mean of nothing."""
        return self.total / self.weight


def mean(values: jax.Array, where: jax.Array | None = None) -> Mean:
    """The mean of `values` where `where` holds, before its division.

    Args:
        values: ``[...]``, such as a loss for each token ``[T, B]``.
        where: bool, of the same shape: which of them count; None: all.

    Returns:
        A `Mean`, in float32 or wider. What `values` hold where `where` does not reaches
        neither the mean nor the gradient, NaN included. (A function that makes a NaN from
        a good input has a gradient of NaN there all the same: mask its input too.)

    Raises:
        ValueError: if the shapes differ (nothing is broadcast) or `where` is not bool.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxrnn import train
        >>> losses = jnp.array([[1.0, 2.0], [3.0, jnp.nan]])
        >>> float(train.mean(losses, ~jnp.isnan(losses)).value)
        2.0
    """
    values = jnp.asarray(values)
    # Half precision cannot count beyond a few thousand.
    wide = jnp.promote_types(values.dtype, jnp.float32)
    if where is None:
        return Mean(jnp.sum(values, dtype=wide), jnp.asarray(values.size, wide))
    where = jnp.asarray(where)
    if where.dtype != bool or where.shape != values.shape:
        raise ValueError(
            f"where: expected bool {list(values.shape)}, as values, got {where.dtype} "
            f"{list(where.shape)}. For lengths: jnp.arange(T)[:, None] < lengths."
        )
    total = jnp.sum(jnp.where(where, values, 0), dtype=wide)
    return Mean(total, jnp.sum(where, dtype=wide))
