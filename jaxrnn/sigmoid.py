"""The sigmoid of gates, whose derivative holds where a gate is nearly open."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from jaxrnn._tree import wide

__all__ = ["sigmoid"]


def sigmoid(x: Any) -> jax.Array:
    """The logistic sigmoid ``σ(x) = 1 / (1 + e⁻ˣ)``, with ``σ'(x) = σ(x) σ(-x)``.

    Its values are those of `jax.nn.sigmoid`, or within 2 eps of them where the derivative
    is computed too. `jax.nn.sigmoid` has the derivative ``σ(x) (1 - σ(x))``,
    which is 0 as soon as σ(x) rounds to 1: from x = 6 in bfloat16, 9 in float16 and 17 in
    float32. A gate that is open there could never be closed again by training. ``σ(-x)``
    does not cancel: here the relative error is a few eps for every x at which the
    derivative is a normal number of the dtype. Derivatives of every order are right. All
    gates of this library use it; use it in the gates of your own cells.

    Value and derivative share one exponential. The gradients of a training step take at
    most 2% longer on a CPU (docs/numbers.md; `python -m benchmarks.sigmoid` measures it).

    Args:
        x: an array of any shape, or a number.

    Returns:
        ``σ(x)`` in the dtype of `x`, JAX's default float for integers; 0 and 1 for
        infinities, with derivative 0, and NaN for NaN.

    Example:
        >>> import jax, jax.numpy as jnp, jaxrnn
        >>> x = jnp.asarray(6.0, jnp.bfloat16)
        >>> float(jax.grad(jax.nn.sigmoid)(x)), round(float(jax.grad(jaxrnn.sigmoid)(x)), 4)
        (0.0, 0.0025)
    """
    x = jnp.asarray(x)
    if not jnp.issubdtype(x.dtype, jnp.inexact):
        x = x.astype(float)
    return _sigmoid(x) if jnp.issubdtype(x.dtype, jnp.floating) else jax.nn.sigmoid(x)


@jax.custom_jvp
def _sigmoid(x: jax.Array) -> jax.Array:
    return jax.nn.sigmoid(x)


@_sigmoid.defjvp
def _derivative(primals: tuple, tangents: tuple) -> tuple[jax.Array, jax.Array]:
    (x,), (dx,) = primals, tangents
    # In float32, because three roundings to a half dtype are more than one.
    opened, _, slope = _parts(x.astype(wide(x.dtype)))
    return opened.astype(x.dtype), dx * slope.astype(x.dtype)


@jax.custom_jvp
def _parts(x: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """``σ(x), σ(-x), σ'(x)``, all from the lesser of the first two.

    The greater is 1 minus the lesser, at least 1/2, so the difference does not cancel.
    Nothing overflows. The lesser is given the sign of x, so that one array per gate is
    enough: XLA's backward loop then has as many kernels as for ``σ(x) (1 - σ(x))``. With
    two arrays it had three more, and took up to a tenth longer at H=32.
    """
    signed = jnp.copysign(jax.nn.sigmoid(-jnp.abs(x)), x)
    less = jnp.abs(signed)
    more = 1 - less
    bits = lax.bitcast_convert_type(signed, f"int{8 * signed.dtype.itemsize}")
    shuts = bits < 0  # of zero too, which has a sign
    return jnp.where(shuts, less, more), jnp.where(shuts, more, less), less * more


@_parts.defjvp
def _derivatives(primals: tuple, tangents: tuple) -> tuple:
    (x,), (dx,) = primals, tangents
    opened, closed, slope = _parts(x)
    d = dx * slope
    return (opened, closed, slope), (d, -d, d * (closed - opened))
