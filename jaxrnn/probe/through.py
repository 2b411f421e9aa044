"""The way through a cell made of cells, which all probes share."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn import engine
from jaxrnn.cell import Cell
from jaxrnn.gated import Gated


class BidirectionalGates(NamedTuple):
    """Gates of `jaxrnn.bidirectional`: those of its two cells."""

    forward: Any
    backward: Any


def through(
    leaf: Callable, cell: Any, params, carry, xs, control, given, shown: bool = True
) -> tuple:
    """``(carry, hs, seen)`` of a cell, with `leaf` in place of each cell inside.

    Args:
        leaf: ``(cell, params, carry, xs, control, given) -> (carry, hs, seen)``, for a
            cell that is no composition.
        cell: a cell or a composition.
        params, carry, xs, control: see `Cell.unroll`.
        given: None, or a tree like the carry for `leaf`.
        shown: whether the caller reads hs.
    """
    kind = cell.spec[0] if cell.spec and not isinstance(cell.parts, Gated) else None
    if kind == "stack":
        fresh = control.fresh or (None,) * len(cell.parts)
        given = given or (None,) * len(cell.parts)
        layers = []
        for part, p, c, f, g in zip(
            cell.parts, params, carry, fresh, given, strict=True
        ):
            c, xs, seen = through(leaf, part, p, c, xs, control._replace(fresh=f), g)
            layers.append((c, seen))
        carry, seen = zip(*layers, strict=True)
        return carry, xs, seen
    if kind == "residual":
        carry, hs, seen = through(
            leaf, cell.parts[0], params, carry, xs, control, given
        )
        return carry, jax.tree.map(jnp.add, hs, xs), seen
    if kind == "learned_carry":
        part = cell.parts[0]
        return through(leaf, part, params.cell, carry, xs, control, given, shown)
    if kind == "with_carries" and (cell.parts[0].parts or cell.parts[0].unroll):
        part = cell.parts[0]
        if shown:  # the carries inside at every step are known to its own step alone
            raise ValueError(
                f"cell: expected a composition without with_carries around it, got "
                f"{cell!r}. Probe {part!r}."
            )
        return through(leaf, part, params, carry, xs, control, given, shown)
    if (
        kind == "bidirectional" and given is None
    ):  # its merge is known to its unroll alone
        fresh = control.fresh or (None, None)
        there = control._replace(fresh=fresh[0])
        back = control._replace(fresh=fresh[1], reverse=not control.reverse)
        seen = [
            through(leaf, part, p, c, xs, way, None)[2]
            for part, p, c, way in zip(
                cell.parts, params, carry, (there, back), strict=True
            )
        ]
        return *engine.run(cell, params, carry, xs, control), BidirectionalGates(*seen)
    return leaf(cell, params, carry, xs, control, given)


def norm(g: jax.Array) -> jax.Array:
    """The norm over the last axis, scaled so that small squares do not flush to zero."""
    largest = jnp.max(jnp.abs(g), axis=-1, keepdims=True, initial=0)
    scale = jnp.where(largest == 0, 1, largest)
    return scale[..., 0] * jnp.linalg.norm(g / scale, axis=-1)


def opened(cell: Cell, params: Any, carry: Any, x: Any) -> tuple[Any, Any]:
    """A gated cell's gates at a step, and the carry after it."""
    project, recur, activate, update, _ = cell.parts
    gates = activate(params, carry, recur(params, carry, project(params, x)))
    return gates, update(carry, gates)


def is_float(leaf: Any) -> bool:
    """Whether a leaf has a gradient: integers and keys have none."""
    return jnp.issubdtype(leaf.dtype, jnp.inexact)


def check_cell(cell: Any) -> None:
    if not isinstance(cell, Cell):
        raise ValueError(
            f"cell: expected a jaxrnn.Cell, got {cell!r}. Wrap a bare step in jaxrnn.Cell."
        )


def one_way(cell: Cell, probe: str) -> None:
    """Refuses a cell of two directions."""
    if cell.spec[:1] == ("bidirectional",):
        raise ValueError(
            f"cell: {probe} expects one that runs in one direction, got "
            f"{cell!r}. Probe its two cells on their own, the second with reverse=True."
        )
