"""What functions that make cells from cells share."""

from typing import Any

import jax
import jax.numpy as jnp

from jaxrnn import engine
from jaxrnn.cell import Cell, Control


def row_of(cell: Cell, features: int) -> jax.ShapeDtypeStruct:
    """The type of one row's x: a vector, an image that kernels fit into, or a token."""
    if cell.event_ndim == 0:
        return jax.ShapeDtypeStruct((), jnp.int32)
    space = (32,) * ((cell.event_ndim or 1) - 1)
    return jax.ShapeDtypeStruct((*space, features), jnp.zeros(()).dtype)


def shown(cell: Cell, params: Any, x: Any) -> Any:
    """The type of h for one x: of an unroll of one step, as not every cell steps."""

    def run(params, x):
        xs = jax.tree.map(lambda a: a[None], x)
        carry = cell.initial_carry(params, x)
        _, hs = engine.run(cell, params, carry, xs, Control())
        return jax.tree.map(lambda a: a[0], hs)

    return jax.eval_shape(run, params, x)


def check_cells(name: str, *cells: Any) -> None:
    for cell in cells:
        if isinstance(cell, list | tuple) and not isinstance(cell, Cell):
            raise ValueError(
                f"{name}: expected a jaxrnn.Cell, got a {type(cell).__name__} of "
                f"{len(cell)}. Unpack it: {name}(*cells)."
            )
        if not isinstance(cell, Cell):
            called = " Call it: lstm(hidden=128)." if callable(cell) else ""
            raise ValueError(f"{name}: expected a jaxrnn.Cell, got {cell!r}.{called}")


def check_kind(params: Any, kind: type) -> None:
    if not isinstance(params, kind):
        raise ValueError(
            f"params: expected {kind.__name__}, got {type(params).__name__}. "
            "Is this another cell's?"
        )
