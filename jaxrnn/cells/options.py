"""What the cells' factories share: their options checked, their biases drawn."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxrnn._tree import aligned, wide
from jaxrnn.initializers import per_gate


class Draw(NamedTuple):
    """How params are drawn: the options that all factories share.

    Fields:
        kernel_init: ``(key, (F, H), dtype)``, the input kernel of one gate.
        recurrent_init: ``(key, (H, H), dtype)``, the recurrent kernel of one gate.
        bias_init: ``(key, H, dtype) -> b``, the whole bias; None is zeros but for a gate
            that has another start.
        dtype: of the params; None is JAX's default float.
    """

    kernel_init: Callable
    recurrent_init: Callable
    bias_init: Callable | None
    dtype: Any

    def dense(self, gates, key, features, hidden, *, shown=None, **start) -> tuple:
        """``wx [F, G H], wh [P, G H], b [G H]`` for the G gates of a cell.

        Args:
            gates: in order, a letter each.
            key, features, hidden: a PRNG key, F and H.
            shown: P, the width of what the recurrent kernel reads; None is H.
            start: gate letter -> the start of its bias, a number or an array [H].
        """
        kx, kh, kb = jax.random.split(key, 3)
        features, shown = check_features(features), hidden if shown is None else shown
        n, dtype = len(gates), self.dtype
        return (
            per_gate(self.kernel_init, n, kx, (features, hidden), dtype),
            per_gate(self.recurrent_init, n, kh, (shown, hidden), dtype),
            draw_bias(gates, self.bias_init, kb, hidden, dtype, **start),
        )

    def full(self, size: int, value: Any) -> jax.Array:
        """A vector [size] of one value, or of an array [size]."""
        dtype = jnp.zeros((), self.dtype).dtype
        value = jnp.asarray(value, wide(dtype))
        return jnp.broadcast_to(value, size).astype(dtype)


def times(vector: jax.Array, rows: jax.Array) -> jax.Array:
    """``vector [H]`` times every row of ``rows [*batch, H]``."""
    return aligned(vector, rows) * rows


def check_hidden(hidden: Any, least: int = 1) -> int:
    """`hidden` as an int. Raises ValueError if it is no integer from `least`, 1 or 2."""
    return _integer("hidden", hidden, least)


def beside(value: Any, rows: jax.Array) -> jax.Array:
    """A number or an array [H], of the dtype and the rank of ``rows [*batch, H]``."""
    return aligned(jnp.asarray(value, rows.dtype), rows)


def check_width(name: str, value: Any) -> int:
    """`value` as an int. Raises ValueError if it is no positive integer."""
    return _integer(name, value, 1)


def check_features(features: Any) -> int:
    """`features` as an int. Raises ValueError if it is no integer from 0."""
    return _integer("features", features, 0)


def _integer(name: str, value: Any, least: int) -> int:
    number = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not number or value < least:
        kind = "a positive integer" if least == 1 else f"an integer from {least}"
        raise ValueError(f"{name}: expected {kind}, got {value!r}.")
    return int(value)


def check_flag(name: str, value: Any) -> None:
    """Raises ValueError unless `value` is a bool."""
    if not isinstance(value, bool | np.bool_):
        raise ValueError(f"{name}: expected True or False, got {value!r}.")


def check_number(name: str, value: Any, hidden: int | None = None) -> None:
    """Raises ValueError unless it is a number or, where there is a width, one a unit."""
    real = isinstance(value, jax.Array) or np.asarray(value).dtype.kind in "iuf"
    shapes = ((),) if hidden is None else ((), (hidden,))
    if not real or np.shape(value) not in shapes:
        kind = "a number" if hidden is None else f"a number or an array [{hidden}]"
        raise ValueError(f"{name}: expected {kind}, got {value!r}.")


ACTIVATIONS = {"tanh": jnp.tanh, "relu": jax.nn.relu}


def activation_of(activation: Any) -> tuple[Callable, Any]:
    """An activation as a function, and as a `Cell.spec` has it.

    Raises ValueError for what is neither the name of one nor a function.
    """
    if not callable(activation) and activation not in ACTIVATIONS:
        raise ValueError(
            f"activation: expected one of {sorted(ACTIVATIONS)} or a function, "
            f"got {activation!r}."
        )
    phi = activation if callable(activation) else ACTIVATIONS[activation]
    # jnp.tanh and "tanh" are one activation, and so have one name.
    return phi, {f: name for name, f in ACTIVATIONS.items()}.get(phi, phi)


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


def gate_bias(
    name: str, value: Any, default: float, hidden: int, bias_init: Any
) -> Any:
    """What the bias of a gate starts from: `value`, or `default` where that is None.

    Raises ValueError unless it is a number or an array [hidden], the only bias given.
    """
    if value is None:
        return default
    if bias_init is not None:
        raise ValueError(
            f"{name}: bias_init draws the whole bias. Give one of the two."
        )
    if np.shape(value) not in ((), (hidden,)):
        raise ValueError(
            f"{name}: expected a number or an array [{hidden}], "
            f"got {list(np.shape(value))}."
        )
    return value
