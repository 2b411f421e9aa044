"""What all probes share: a run that stands in for the engine in each cell inside."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn import engine
from jaxrnn.cell import Cell, Run, composed
from jaxrnn.noise import without_noise
from jaxrnn.unroll import unroll


class _Fed(NamedTuple):
    """In place of a leaf of the carry: that leaf, and one of the `feed`."""

    carry: Any
    feed: Any


def through(
    leaf: Run,
    cell: Cell,
    params: Any,
    carry: Any,
    xs: Any,
    *,
    feed: Any = None,
    **options: Any,
) -> tuple[Any, Any]:
    """`jaxrnn.unroll` of `cell`, with `leaf` as the run of each cell inside.

    Args:
        leaf: a run for a cell that is no composition. What it returns in place of the
            carry comes back in the place of that cell's carry.
        cell, params, carry, xs, options: see `jaxrnn.unroll`.
        feed: a tree like the carry, or like its upper part, of which each cell inside
            gets its share: see `fed`.
    """

    def run(cell, params, carry, xs, control):
        if composed(cell):
            return cell.unroll(params, carry, xs, control, run)
        if not (cell.parts or jax.tree.leaves(carry)):  # no memory: nothing to see
            return engine.run(cell, params, carry, xs, control)
        return leaf(cell, params, carry, xs, control)

    def whole(params, carry, xs, control, _):
        if feed is not None:
            each = lambda share, c: jax.tree.map(lambda leaf: _Fed(leaf, share), c)
            carry = jax.tree.map(each, feed, carry)
        return run(cell, params, carry, xs, control)

    return unroll(cell._replace(unroll=whole), params, carry, xs, **options)


def fed(carry: Any) -> tuple[Any, Any]:
    """The carry of a cell inside, and its share of what `through` was given as `feed`."""
    pick = lambda name: jax.tree.map(
        lambda pair: getattr(pair, name),
        carry,
        is_leaf=lambda node: isinstance(node, _Fed),
    )
    return pick("carry"), pick("feed")


def norm(g: jax.Array) -> jax.Array:
    """The norm over the last axis, scaled so that small squares do not flush to zero."""
    largest = jnp.max(jnp.abs(g), axis=-1, keepdims=True, initial=0)
    scale = jnp.where(largest == 0, 1, largest)
    return scale[..., 0] * jnp.linalg.norm(g / scale, axis=-1)


def opened(cell: Cell, params: Any, carry: Any, x: Any) -> tuple[Any, Any]:
    """A gated cell's gates at a step, and the carry after it."""
    project, recur, activate, update, _ = cell.parts
    gates = activate(params, carry, recur(params, carry, project(params, x)))
    return without_noise(gates), update(params, carry, gates)


def stepping(cell: Cell, step: Callable) -> Cell:
    """A cell that is no composition, with another step, which the plain scan runs."""
    return cell._replace(step=step, unroll=None, parts=())


def is_float(leaf: Any) -> bool:
    """Whether a leaf has a gradient: integers and keys have none."""
    return jnp.issubdtype(leaf.dtype, jnp.inexact)


def check_cell(cell: Any) -> None:
    if not isinstance(cell, Cell):
        raise ValueError(
            f"cell: expected a jaxrnn.Cell, got {cell!r}. Wrap a bare step in jaxrnn.Cell."
        )
