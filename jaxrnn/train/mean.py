"""Means that add up: over microbatches, devices, steps and evaluation batches."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn._tree import wide


class Mean(NamedTuple):
    """A mean before its division: `total` over `weight`, scalars both.

    A mean of means is wrong as soon as batches differ in how much they hold. Totals and
    weights add up, so a token counts the same in a short row and in a long one.

    Means of different things, such as one per token and one per sequence, are added by
    ``+`` and scaled by ``*``; the `Sum` keeps each with its own weight.

    Example:
        >>> from jaxrnn import train
        >>> a, b = train.Mean(6.0, 3.0), train.Mean(10.0, 1.0)
        >>> train.Mean(a.total + b.total, a.weight + b.weight).value
        4.0
        >>> (a + 0.5 * b).value
        7.0
    """

    total: Any
    weight: Any

    @property
    def value(self):
        """The mean. NaN where the weight is zero: a mean of nothing."""
        return self.total / self.weight

    def __add__(self, other: Any) -> Any:
        return _added(self, other)

    def __radd__(self, other: Any) -> Any:
        return _added(other, self)

    def __mul__(self, factor: Any) -> "Mean":
        return Mean(self.total * factor, self.weight)

    __rmul__ = __mul__
    __array_ufunc__ = None  # so that a NumPy number leaves * to us


class Sum(NamedTuple):
    """A sum of means, each with a weight of its own; made by ``mean + mean``.

    Fields:
        terms: a tuple of `Mean`.
    """

    terms: tuple

    @property
    def value(self):
        """The sum of the means. NaN where a weight is zero."""
        return sum(term.value for term in self.terms)

    def __add__(self, other: Any) -> "Sum":
        return _added(self, other)

    def __radd__(self, other: Any) -> "Sum":
        return _added(other, self)

    def __mul__(self, factor: Any) -> "Sum":
        return Sum(tuple(term * factor for term in self.terms))

    __rmul__ = __mul__
    __array_ufunc__ = None  # so that a NumPy number leaves * to us


def terms(mean: Any) -> tuple:
    """The `Mean`s that `mean` is the sum of."""
    return (mean,) if isinstance(mean, Mean) else mean.terms


def divisor(weight: Any) -> Any:
    """`weight`, and 1 where it is 0: nothing is divided by what there is none of."""
    return jnp.where(weight == 0, jnp.ones_like(weight), weight)


def _added(one: Any, other: Any) -> Any:
    if type(one) is int and one == 0:  # where sum() begins
        return other
    for mean in (one, other):
        if not isinstance(mean, Mean | Sum):
            raise ValueError(
                f"expected a train.Mean on both sides of +, got {mean!r}. "
                "train.mean(values) makes one."
            )
    return Sum(terms(one) + terms(other))


def mean(values: jax.Array, where: jax.Array | None = None) -> Mean:
    """The mean of `values` where `where` holds, before its division.

    Args:
        values: ``[...]``, such as a loss for each token ``[T, B]``.
        where: bool, of the same shape: which of them count; None: all.

    Returns:
        A `Mean`, in float32 or wider. What `values` hold where `where` is False reaches
        neither the mean nor its derivative with respect to `values`, NaN included.

        It cannot undo what came before: where a target is NaN, the derivative of
        ``(h - target) ** 2`` is 0 times NaN, which is NaN. Replace such targets before
        they enter the loss: ``target = jnp.where(where, target, 0)``.

    Raises:
        ValueError: if the shapes differ (nothing is broadcast) or `where` is not bool.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from jaxrnn import train
        >>> losses = jnp.array([[1.0, 2.0], [3.0, jnp.nan]])
        >>> float(train.mean(losses, ~jnp.isnan(losses)).value)
        2.0
        >>> target = jnp.array([1.0, jnp.nan])  # no label for the second
        >>> known = ~jnp.isnan(target)
        >>> def loss(h):
        ...     errors = (h - jnp.where(known, target, 0)) ** 2
        ...     return train.mean(errors, known).value
        >>> jax.grad(loss)(jnp.array([3.0, 5.0])).tolist()
        [4.0, 0.0]
    """
    values = jnp.asarray(values)
    # Half precision cannot count beyond a few thousand.
    kind = wide(values.dtype)
    if where is None:
        return Mean(jnp.sum(values, dtype=kind), jnp.asarray(values.size, kind))
    where = jnp.asarray(where)
    if where.dtype != bool or where.shape != values.shape:
        raise ValueError(
            f"where: expected bool {list(values.shape)}, as values, got {where.dtype} "
            f"{list(where.shape)}. For lengths: jnp.arange(T)[:, None] < lengths."
        )
    total = jnp.sum(jnp.where(where, values, 0), dtype=kind)
    return Mean(total, jnp.sum(where, dtype=kind))
