"""The means of a loss over batches, without updates: `evaluate`."""

from collections.abc import Callable, Iterable
from typing import Any

import jax
import numpy as np

from jaxrnn.train.batches import batch_axis_of, each
from jaxrnn.train.gradient import make_forward
from jaxrnn.train.loss import check_loss
from jaxrnn.train.processes import to_host
from jaxrnn.train.record import add_up, plain, quotient, totals
from jaxrnn.train.same import reused


def evaluate(
    loss: Callable,
    params: Any,
    batches: Iterable,
    *,
    shared: Any = None,
    batch_axis: Any = None,
    mesh: jax.sharding.Mesh | None = None,
) -> dict[str, float | None]:
    """The loss's means over all of `batches`, each token weighing the same.

    Args:
        loss: see `make_step`; it gets key None, and a carry that starts as None and flows
            from one batch to the next.
        params: the model's.
        batches: an iterable that ends.
        shared: what the loss gets as ``carry.shared`` with each batch; see `init`.
        batch_axis, mesh: see `make_step`.

    Returns:
        Name -> value; None for one that is not finite.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxrnn import train
        >>> def loss(params, carry, batch, key):
        ...     return None, {"loss": train.mean((batch - params) ** 2)}
        >>> train.evaluate(loss, 1.0, [jnp.array([3.0, 3.0]), jnp.array([1.0])])
        {'loss': 2.6666666666666665}
    """
    check_loss(loss)
    batch_axis = batch_axis_of(batches, batch_axis)
    found = evaluated(loss, params, each("batches", batches), shared, batch_axis, mesh)
    return {name: plain(value) for name, value in found.items()}


def evaluated(loss, params, batches, shared, batch_axis, mesh) -> dict:
    """What `evaluate` returns, as arrays, NaN where a mean is not finite."""
    forward = reused(_forward, (loss,), batch_axis=batch_axis, mesh=mesh)
    found = means_over(
        lambda carry, batch: forward(params, carry, shared, batch), batches
    )
    if not found:
        raise ValueError(
            "batches: expected at least one, got none. A used-up iterator?"
        )
    return found


def means_over(forward: Callable, batches: Iterable) -> dict[str, np.ndarray]:
    """Name -> the mean over all `batches`, NaN where it is not finite; {} for none.

    `forward` is ``(carry, batch) -> (carry, means)``; the first carry is None.
    """
    carry, sums = None, {}
    for batch in batches:
        carry, means = forward(carry, batch)
        add_up(sums, totals(to_host(means)))
    found = {name: quotient(value) for name, value in sums.items()}
    return {name: np.where(np.isfinite(v), v, np.nan) for name, v in found.items()}


def _forward(functions, **options) -> Callable:
    return make_forward(*functions, **options)
