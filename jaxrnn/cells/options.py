"""What the cells' factories share: their options checked, their biases drawn."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrnn._tree import wide


def check_hidden(hidden: Any) -> int:
    """`hidden` as an int. Raises ValueError if it is no positive integer."""
    return _integer("hidden", hidden, 1)


def check_features(features: Any) -> int:
    """`features` as an int. Raises ValueError if it is no integer from 0."""
    return _integer("features", features, 0)


def _integer(name: str, value: Any, least: int) -> int:
    number = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not number or value < least:
        kind = "a positive integer" if least else "an integer from 0"
        raise ValueError(f"{name}: expected {kind}, got {value!r}.")
    return int(value)


def zeros(x: Any, hidden: int) -> jax.Array:
    """``[*batch, hidden]`` for a floating ``x [*batch, F]``, else a ValueError."""
    if not hasattr(x, "shape") or not jnp.issubdtype(x.dtype, jnp.floating):
        kind = getattr(x, "dtype", type(x).__name__)
        raise ValueError(
            f"x: expected one floating array [*batch, F], got {kind}. Cast it with "
            ".astype(float), or embed tokens first."
        )
    if not x.shape:
        raise ValueError("x: expected [*batch, F], got a scalar. Add a feature axis.")
    return jnp.zeros((*x.shape[:-1], hidden))


def draw_bias(gates, bias_init, key, hidden, dtype, **start) -> jax.Array:
    """A cell's whole bias: from `bias_init`, or zeros but for the gates in `start`.

    Args:
        gates: the cell's gates in order, a letter each.
        bias_init: ``(key, hidden, dtype) -> b [len(gates) * hidden]``, or None.
        key, hidden, dtype: what `bias_init` gets; draws are float32 or wider.
        start: gate letter -> number or array [hidden].
    """
    dtype = jnp.zeros((), dtype).dtype
    if bias_init is None:
        starts = [jnp.asarray(start.get(g, 0), wide(dtype)) for g in gates]
        b = [jnp.broadcast_to(one, hidden) for one in starts]
        return jnp.concatenate(b).astype(dtype)
    b = bias_init(key, hidden, wide(dtype))
    if b.shape != (len(gates) * hidden,):
        raise ValueError(
            f"bias_init: expected a bias [{len(gates) * hidden}] for the gates "
            f"{gates!r}, got {list(b.shape)}. Such as chrono(100, gates={gates!r})."
        )
    return b.astype(dtype)


def check_gate_bias(name: str, value: Any, hidden: int, bias_init: Any) -> None:
    """Raises ValueError unless `value` is None, a number or an array [hidden]."""
    if value is None:
        return
    if bias_init is not None:
        raise ValueError(
            f"{name}: bias_init draws the whole bias. Give one of the two."
        )
    if np.shape(value) not in ((), (hidden,)):
        raise ValueError(
            f"{name}: expected a number or an array [{hidden}], "
            f"got {list(np.shape(value))}."
        )
