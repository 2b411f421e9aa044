"""Checks of what says which steps count: lengths, mask, resets."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def check_flag(name: str, value: Any) -> None:
    """Raises ValueError unless `value` is a bool."""
    if not isinstance(value, bool | np.bool_):
        raise ValueError(f"{name}: expected True or False, got {value!r}.")


def length_of(argument: str, xs: Any) -> Any:
    """T of a pytree of ``[T, ...]``."""
    leaves = jax.tree.leaves_with_path(xs)
    if not leaves:
        raise ValueError(
            f"{argument}: expected arrays [T, *batch, F], got none. For dynamics without "
            "inputs give xs without features: jnp.zeros((T, batch, 0))."
        )
    length = leaves[0][1].shape[:1]
    for path, a in leaves:
        name = f"{argument}{jax.tree_util.keystr(path)}"
        if a.ndim == 0:
            raise ValueError(f"{name}: expected [T, *batch, F], got a scalar.")
        if a.shape[:1] != length:
            raise ValueError(
                f"{name}: expected {length[0]} steps, as in the first leaf, got "
                f" {list(a.shape)}. Time is axis 0."
            )
    return length[0]


def valid_steps(length: Any, batch: tuple, lengths: Any, mask: Any) -> Any:
    """Lengths and mask, checked, in one: bool ``[T, *batch]``, or None for all steps."""
    valid = check_steps("mask", mask, length, batch)
    if lengths is None:
        return valid
    lengths = _lengths(lengths, length, batch)
    steps = jnp.arange(length)
    ends = lengths.astype(steps.dtype)[None]
    inside = jnp.expand_dims(steps, range(1, ends.ndim)) < ends
    return inside if valid is None else valid & inside


def check_steps(name: str, value: Any, length: Any, batch: tuple) -> jax.Array | None:
    """A mask or resets, checked."""
    if value is None:
        return None
    value = value if hasattr(value, "dtype") else np.asarray(value)
    if value.dtype != bool:
        raise ValueError(
            f"{name}: expected bool, got {value.dtype}. Use .astype(bool)."
        )
    if value.shape != (length, *batch):
        raise ValueError(
            f"{name}: expected {[length, *batch]}, got {list(value.shape)}. "
            "Time is axis 0."
        )
    return jnp.asarray(value)


def _lengths(value: Any, length: Any, batch: tuple) -> jax.Array:
    """Lengths, checked; the values of a `jax.Array` are not looked at."""
    known = not isinstance(value, jax.Array)
    value = np.asarray(value) if known else value
    if not jnp.issubdtype(value.dtype, jnp.integer):
        raise ValueError(
            f"lengths: expected integers, got {value.dtype}. Use "
            "np.asarray(lengths).astype(int)."
        )
    if value.shape != batch:
        raise ValueError(
            f"lengths: expected the batch shape {list(batch)}, got {list(value.shape)}."
        )
    if known and isinstance(length, int) and value.size:
        if value.min() < 0 or value.max() > length:
            raise ValueError(
                f"lengths: expected 0 to {length}, the steps in xs, "
                f"got {value.min()} to {value.max()}."
            )
    return jnp.asarray(value)
