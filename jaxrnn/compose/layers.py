"""Layers: cells on top of each other, and what goes past them."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxrnn._factory import factory
from jaxrnn._spec import spec_of
from jaxrnn._tree import check_like
from jaxrnn.cell import Cell, call_of
from jaxrnn.compose._shared import check_cells, row_of, shown


@factory
def stack(*cells: Cell) -> Cell:
    """Cells on top of each other: each reads the outputs of the one before.

    It is unrolled layer by layer, so each layer keeps its fast engine.

    Args:
        cells: from the bottom up, of any widths and kinds.

    Returns:
        A cell whose params and carry are tuples with one entry a layer, and whose h is
        that of the last.

    Raises:
        ValueError: for no cells, or params or a carry of another number of layers.

    Example:
        >>> import jax, jax.numpy as jnp, jaxrnn
        >>> cell = jaxrnn.stack(jaxrnn.lstm(4), jaxrnn.gru(5))
        >>> params = cell.init(jax.random.key(0), features=3)
        >>> (lstm_carry, h), hs = jaxrnn.unroll(cell, params, None, jnp.ones((6, 2, 3)))
        >>> lstm_carry.c.shape, hs.shape
        ((2, 4), (6, 2, 5))
    """
    return _layered("stack", cells, reads=_below, shows=_last)


def layers_of(cell: Cell) -> tuple[Cell, ...] | None:
    """The layers of a cell that `stack` made; None for any other."""
    make, layers, _ = call_of(cell) or (None, None, None)
    return layers if make is stack else None


@factory
def skip(*cells: Cell) -> Cell:
    """A `stack` whose every layer also reads the input, and which shows every layer.

    The first reads x, each other ``[x, h]`` with the h of the one before; shown are the
    outputs of all, in order, as one. Graves 2013, arXiv:1308.0850; Haiku's
    ``deep_rnn_with_skip_connections``.

    Args:
        cells: from the bottom up, of any widths and kinds.

    Returns:
        A cell whose params and carry are tuples with one entry a layer.

    Raises:
        ValueError: for no cells, or params or a carry of another number of layers.

    Example:
        >>> import jax, jax.numpy as jnp, jaxrnn
        >>> cell = jaxrnn.skip(jaxrnn.lstm(4), jaxrnn.gru(5))
        >>> params = cell.init(jax.random.key(0), features=3)
        >>> carry, hs = jaxrnn.unroll(cell, params, None, jnp.ones((6, 2, 3)))
        >>> hs.shape, params[1].wx.shape  # the second reads 3 + 4 features
        ((6, 2, 9), (7, 15))
    """
    return _layered("skip", cells, reads=_with_input, shows=_joined)


def _layered(
    name: str, cells: tuple[Cell, ...], reads: Callable, shows: Callable
) -> Cell:
    """Layers, unrolled one after the other.

    Args:
        name: of the factory.
        cells: from the bottom up.
        reads: what a layer reads, from the input and the output of the layer below.
        shows: the output, from those of all layers.
    """
    if not cells:
        raise ValueError(f"{name}: expected at least one cell, got none.")
    check_cells(name, *cells)

    def check(name, value):
        if not isinstance(value, tuple) or len(value) != len(cells):
            n = len(value) if isinstance(value, tuple) else type(value).__name__
            raise ValueError(
                f"{name}: expected a tuple of {len(cells)} layers, got {n}."
            )

    def init(key, features):
        x, params = row_of(cells[0], features), []
        for cell, k in zip(cells, jax.random.split(key, len(cells)), strict=True):
            params.append(cell.init(k, features))
            if len(params) < len(cells):  # the last may show what is no vector
                h = shown(cell, params[-1], row_of(cell, features))
                features = jax.eval_shape(reads, x, h).shape[-1]
        return tuple(params)

    def initial_carry(params, x):
        check("params", params)
        read, carry = x, []
        for cell, p in zip(cells, params, strict=True):
            carry.append(cell.initial_carry(p, read))
            if len(carry) < len(cells):
                read = jax.eval_shape(reads, x, shown(cell, p, read))
        return tuple(carry)

    def step(params, carry, x):
        check("params", params)
        check("carry", carry)
        new, hs = [], []
        for cell, p, c in zip(cells, params, carry, strict=True):
            c, h = cell.step(p, c, reads(x, hs[-1]) if hs else x)
            new.append(c)
            hs.append(h)
        return tuple(new), shows(hs)

    def unroll(params, carry, xs, control, run):
        new, hs = [], []
        fresh = control.fresh or (None,) * len(cells)
        for n, layer in enumerate(zip(cells, params, carry, fresh, strict=True)):
            cell, p, c, f = layer
            read = reads(xs, hs[-1]) if hs else xs
            c, h = run(cell, p, c, read, control.part(n, f))
            new.append(c)
            hs.append(h)
        return tuple(new), shows(hs)

    return Cell(
        init=init,
        initial_carry=initial_carry,
        step=step,
        unroll=unroll,
        event_ndim=cells[0].event_ndim,
        parts=cells,
        spec=spec_of(name, cells=tuple(cell.spec for cell in cells)),
    )


def _below(x: Any, h: Any) -> Any:
    return h


def _last(hs: list) -> Any:
    return hs[-1]


def _with_input(x: Any, h: Any) -> Any:
    return _joined([x, h])


def _joined(arrays: list) -> jax.Array:
    """Inputs or outputs of layers, as one: along the last axis."""
    shapes = [list(a.shape[:-1]) for a in arrays]
    if any(shape != shapes[0] for shape in shapes):
        raise ValueError(
            f"skip: expected inputs and outputs that differ in their last axis alone, "
            f"got {[list(a.shape) for a in arrays]}. Images must keep their size."
        )
    return jnp.concatenate(arrays, axis=-1)


@factory
def residual(cell: Cell) -> Cell:
    """The cell's input added to its output: ``h + x``.

    Args:
        cell: its outputs must be as wide as its inputs.

    Returns:
        A cell with the params and the carry of `cell`.

    Raises:
        ValueError: when stepped, if h and x differ in shape.

    Example:
        >>> import jax, jax.numpy as jnp, jaxrnn
        >>> cell = jaxrnn.residual(jaxrnn.gru(3))
        >>> params = cell.init(jax.random.key(0), features=3)
        >>> h, y = cell.step(params, jnp.zeros(3), jnp.ones(3))
        >>> bool(jnp.allclose(y, h + 1))
        True
    """
    check_cells("residual", cell)

    def add(h, x):
        remedy = "A residual cell's outputs must be as wide as its inputs."
        check_like("h", h, x, remedy, dtypes=False)
        return jax.tree.map(jnp.add, h, x)

    def step(params, carry, x):
        carry, h = cell.step(params, carry, x)
        return carry, add(h, x)

    def unroll(params, carry, xs, control, run):
        carry, hs = run(cell, params, carry, xs, control)
        return carry, add(hs, xs)  # both are zero where a step is not valid

    return cell._replace(
        step=step,
        unroll=unroll,
        parts=(cell,),
        spec=spec_of("residual", cells=(cell.spec,)),
    )
