"""What the Flax modules of `jaxrnn.nnx` and `jaxrnn.linen` share: no state, no Flax."""

import inspect
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrnn import noise
from jaxrnn._tree import as_arrays, check_like, one_step
from jaxrnn.cell import Cell
from jaxrnn.compose import bidirectional as both_ways
from jaxrnn.compose import layers_of, stack
from jaxrnn.unroll import unroll


def layers(
    make: Callable, hidden: int, num_layers: int, bidirectional: bool, /, **options: Any
) -> Cell:
    """`num_layers` of ``make(hidden, **options)``, each read both ways if asked.

    The same call gives the same cell, as `jaxrnn._factory.factory` says.
    """
    if not isinstance(num_layers, int | np.integer) or num_layers < 1:
        raise ValueError(
            f"num_layers: expected a positive integer, got {num_layers!r}."
        )
    cell = make(hidden, **options)
    return stack(*[both_ways(cell) if bidirectional else cell] * num_layers)


def made(make: Any, hidden: int) -> Cell:
    """``make(hidden)``, or a ValueError where that is no cell."""
    cell = make(hidden) if callable(make) else make
    if not callable(make) or not isinstance(cell, Cell):
        raise ValueError(
            "make: expected a factory such as jaxrnn.gru, which is given the hidden "
            f"size and returns a jaxrnn.Cell, got {_named(make)}. {_remedy(make)}"
        )
    return cell


def _named(value: Any) -> str:
    """A class or function by its full name, anything else by its repr if short."""
    if hasattr(value, "__qualname__"):
        return f"{value.__module__}.{value.__qualname__}"
    text = repr(value)
    return text if len(text) <= 80 else f"a {_named(type(value))}"


def _remedy(value: Any) -> str:
    """What to give in place of `value`, which is not a cell or not a factory."""
    if isinstance(value, Cell):
        return (
            "Give the factory itself; for options of the cell, a function such as "
            "lambda hidden: jaxrnn.lstm(hidden, forget_bias=2.0)."
        )
    kind = value if isinstance(value, type) else type(value)
    if kind.__module__.split(".")[0] in ("flax", "jaxrnn"):
        return (
            "The cells are those of jaxrnn.lstm, jaxrnn.gru and jaxrnn.simple_rnn; "
            "jaxrnn.convert maps the weights of Flax's cells to them."
        )
    return "See jaxrnn.Cell for a cell of your own."


def check_module(cell: Any, dropout: Any) -> None:
    """Raises ValueError unless `cell` is one and `dropout` a rate that can act in it."""
    if not isinstance(cell, Cell):
        factory = inspect.isfunction(cell) and cell.__module__.startswith("jaxrnn.")
        called = (
            f"Call it with the hidden size: {cell.__name__}(128)." if factory else ""
        )
        remedy = called or _remedy(cell)
        raise ValueError(f"cell: expected a jaxrnn.Cell, got {_named(cell)}. {remedy}")
    if not isinstance(dropout, int | float | np.number) or not 0 <= dropout < 1:
        raise ValueError(
            f"dropout: expected a rate from 0 to 1, without 1, got {dropout!r}."
        )
    if dropout and not layers_of(cell):
        raise ValueError(
            f"dropout: expected a jaxrnn.stack for dropout between its layers, got "
            f"{cell!r}."
        )
    if dropout and len(cell.parts) == 1:
        warnings.warn(
            f"dropout: {dropout} has no effect. Dropout acts between layers, and there "
            "is one layer.",
            UserWarning,
            stacklevel=3,
        )


def features(xs: Any) -> int:
    """F of inputs ``[..., F]``, in their first leaf."""
    shapes = [np.shape(leaf) for leaf in jax.tree.leaves(_arrays(xs))]
    if not shapes[0]:
        raise ValueError(f"xs: expected arrays [*batch, T, F], got {xs!r}.")
    return shapes[0][-1]


def _arrays(xs: Any) -> Any:
    """`xs` as arrays, of which there must be one at least."""
    if not jax.tree.leaves(xs):
        raise ValueError(
            f"xs: expected arrays [*batch, T, F], got {xs!r}. The carry comes first: "
            "module(None, xs)."
        )
    return as_arrays("xs", xs)


def run(
    cell: Cell,
    params: Any,
    carry: Any,
    xs: Any,
    *,
    time_major: bool = False,
    dropout: float = 0.0,
    lengths: Any = None,
    mask: Any = None,
    resets: Any = None,
    **options: Any,
) -> tuple[Any, Any]:
    """`jaxrnn.unroll` of inputs whose time follows the batch: ``xs [*batch, T, F]``.

    Args:
        cell, params, carry: as `jaxrnn.unroll` takes them.
        xs: ``[*batch, T, F]``, or ``[T, *batch, F]`` if `time_major`.
        time_major: whether time is axis 0 of xs, mask, resets and outputs.
        dropout: the rate between the layers of a `stack`.
        lengths: int ``[*batch]``.
        mask, resets: bool ``[*batch, T]``.
        options: the other options of `jaxrnn.unroll`.

    Returns:
        ``(carry, hs)`` with ``hs [*batch, T, H]``.
    """
    xs = _arrays(xs)
    axis = 0 if time_major else _time_axis(xs, cell.event_ndim or 1)
    if not time_major:
        leading = jax.tree.leaves(xs)[0].shape[: axis + 1]
        _check("mask", mask, leading)
        _check("resets", resets, leading)
        _check("lengths", lengths, leading[:-1])
        mask, resets = _time_first(mask, axis), _time_first(resets, axis)
        xs = jax.tree.map(lambda a: jnp.moveaxis(a, axis, 0), xs)
    if carry is not None:
        like = jax.eval_shape(
            cell.initial_carry, as_arrays("params", params), one_step(xs)
        )
        order = "[T, *batch, F]" if time_major else "[*batch, T, F]"
        remedy = (
            f"xs is {order} here, with time_major={time_major}. None stands for the "
            "initial carry."
        )
        carry = as_arrays("carry", carry)
        check_like("carry", carry, like, remedy)
    options |= dict(lengths=lengths, mask=mask, resets=resets)
    if dropout:
        cell = _with_dropout(cell, dropout)
    carry, hs = unroll(cell, params, carry, xs, **options)
    return carry, jax.tree.map(lambda a: jnp.moveaxis(a, 0, axis), hs)


def _with_dropout(cell: Cell, rate: float) -> Cell:
    """A `stack` with dropout from each layer to the next; params and carry are the same."""
    *below, top = cell.parts
    return stack(*[noise.dropout(layer, rate) for layer in below], top)


def _time_axis(xs: Any, events: int) -> int:
    """Where time is in ``[*batch, T, F]``: the same place in every leaf.

    Args:
        xs: the inputs.
        events: how many trailing axes are one row's, such as those of an image.
    """
    axes = {leaf.ndim - 1 - events for leaf in jax.tree.leaves(xs)}
    if len(axes) != 1 or min(axes) < 0:
        shapes = [list(leaf.shape) for leaf in jax.tree.leaves(xs)]
        raise ValueError(
            f"xs: expected [*batch, T, F], the same axes in every leaf, got {shapes}. "
            "For inputs of another kind put time first and say time_major=True."
        )
    return axes.pop()


def _check(name: str, value: Any, expected: tuple) -> None:
    """Here, where time is last; `unroll` speaks of it as first."""
    if value is not None and np.shape(value) != expected:
        raise ValueError(
            f"{name}: expected {list(expected)}, the leading axes of xs "
            f"[*batch, T, F], got {list(np.shape(value))}. If time is axis 0 of xs, say "
            "time_major=True."
        )


def _time_first(value: Any, axis: int) -> Any:
    """A mask or resets ``[*batch, T]``, time first."""
    if value is None:
        return None
    value = value if hasattr(value, "dtype") else np.asarray(value)
    return jnp.moveaxis(value, axis, 0)


def annotate(params: Any, sharding: Mapping | None, box: Callable) -> Any:
    """``box(leaf, names)`` for every leaf of `params`.

    Args:
        params: a pytree of arrays.
        sharding: field name -> mesh axis name of each dimension, such as
            ``{"wx": (None, "model")}``; a leaf that is not named gets None.
        box: ``(array, names or None) -> anything``.
    """
    names = dict(sharding or {})

    def one(path, leaf):
        axes = names.get(_field(path))
        if axes is not None and len(axes) != leaf.ndim:
            raise ValueError(
                f"sharding[{_field(path)!r}]: expected {leaf.ndim} axis names for "
                f"{list(leaf.shape)}, got {axes!r}."
            )
        return box(leaf, axes)

    known = {_field(path) for path, _ in jax.tree.leaves_with_path(params)}
    if not known >= set(names):
        raise ValueError(
            f"sharding: expected names among {sorted(known)}, got {sorted(names)}."
        )
    return jax.tree.map_with_path(one, params)


def _field(path: tuple) -> str:
    return jax.tree_util.keystr(path[-1:], simple=True)
