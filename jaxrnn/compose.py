"""Functions that make cells from cells."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn import engine
from jaxrnn._factory import factory
from jaxrnn._spec import name_of, spec_of
from jaxrnn._tree import aligned, check_like, select
from jaxrnn.cell import Cell, Control, call_of, composed
from jaxrnn.gated import Gated

__all__ = [
    "BidirectionalCarry",
    "BidirectionalParams",
    "LearnedCarryParams",
    "bidirectional",
    "learned_carry",
    "residual",
    "stack",
    "with_carries",
]


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
    if not cells:
        raise ValueError("stack: expected at least one cell, got none.")
    _check_cells("stack", *cells)

    def init(key, features):
        params = []
        for cell, k in zip(cells, jax.random.split(key, len(cells)), strict=True):
            params.append(cell.init(k, features))
            if len(params) < len(cells):  # the last may show what is no vector
                features = _shown(cell, params[-1], _row(cell, features)).shape[-1]
        return tuple(params)

    def initial_carry(params, x):
        _check_layers("params", params)
        carry = []
        for cell, p in zip(cells, params, strict=True):
            carry.append(cell.initial_carry(p, x))
            x = _shown(cell, p, x) if len(carry) < len(cells) else None
        return tuple(carry)

    def step(params, carry, x):
        _check_layers("params", params)
        _check_layers("carry", carry)
        new = []
        for cell, p, c in zip(cells, params, carry, strict=True):
            c, x = cell.step(p, c, x)
            new.append(c)
        return tuple(new), x

    def unroll(params, carry, xs, control, run):
        new = []
        fresh = control.fresh or (None,) * len(cells)
        for n, layer in enumerate(zip(cells, params, carry, fresh, strict=True)):
            cell, p, c, f = layer
            c, xs = run(cell, p, c, xs, control.part(n, f))
            new.append(c)
        return tuple(new), xs

    def _check_layers(name, value):
        if not isinstance(value, tuple) or len(value) != len(cells):
            n = len(value) if isinstance(value, tuple) else type(value).__name__
            raise ValueError(
                f"{name}: expected a tuple of {len(cells)} layers, got {n}."
            )

    return Cell(
        init=init,
        initial_carry=initial_carry,
        step=step,
        unroll=unroll,
        event_ndim=cells[0].event_ndim,
        parts=cells,
        spec=spec_of("stack", cells=tuple(cell.spec for cell in cells)),
    )


def layers_of(cell: Cell) -> tuple[Cell, ...] | None:
    """The layers of a cell that `stack` made; None for any other."""
    make, layers, _ = call_of(cell) or (None, None, None)
    return layers if make is stack else None


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
    _check_cells("residual", cell)

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


class BidirectionalParams(NamedTuple):
    """Params of `bidirectional`: those of its two cells."""

    forward: Any
    backward: Any


class BidirectionalCarry(NamedTuple):
    """Carries of `bidirectional`: after the last step, and after the first."""

    forward: Any
    backward: Any


MERGES = {
    "concat": lambda f, b: jnp.concatenate([f, b], axis=-1),
    "sum": jnp.add,
    "mean": lambda f, b: (f + b) / 2,
    "product": jnp.multiply,
}


@factory
def bidirectional(
    forward: Cell, backward: Cell | None = None, *, merge: str | Callable = "concat"
) -> Cell:
    """One cell forwards in time and one backwards, their outputs merged step by step.

    Schuster and Paliwal 1997, https://doi.org/10.1109/78.650093.

    Args:
        forward: the cell that reads from the first valid step to the last.
        backward: the cell that reads from the last to the first; None is one like
            `forward`, with params of its own.
        merge: "concat", "sum", "mean", "product", or ``(h_forward, h_backward) -> h``.

    Returns:
        A cell with params `BidirectionalParams` and a carry `BidirectionalCarry`. Only
        `unroll` runs it: its step raises ValueError, because a step cannot see the
            future.

    Raises:
        ValueError: for an unknown merge.

    Example:
        >>> import jax, jax.numpy as jnp, jaxrnn
        >>> cell = jaxrnn.bidirectional(jaxrnn.gru(4))
        >>> params = cell.init(jax.random.key(0), features=3)
        >>> xs = jnp.ones((6, 2, 3))
        >>> carry, hs = jaxrnn.unroll(cell, params, None, xs, lengths=[6, 4])
        >>> hs.shape
        (6, 2, 8)
    """
    backward = forward if backward is None else backward
    _check_cells("bidirectional", forward, backward)
    if not callable(merge) and merge not in MERGES:
        raise ValueError(
            f"merge: expected one of {sorted(MERGES)} or a function, got {merge!r}."
        )
    join = merge if callable(merge) else MERGES[merge]

    def init(key, features):
        kf, kb = jax.random.split(key)
        return BidirectionalParams(
            forward.init(kf, features), backward.init(kb, features)
        )

    def initial_carry(params, x):
        _check_kind(params, BidirectionalParams)
        return BidirectionalCarry(
            forward.initial_carry(params.forward, x),
            backward.initial_carry(params.backward, x),
        )

    def step(params, carry, x):
        raise ValueError(
            "step: a bidirectional cell has no step, because a step cannot see the "
            "future. Run it with jaxrnn.unroll."
        )

    def unroll(params, carry, xs, control, run):
        fresh = control.fresh or BidirectionalCarry(None, None)
        ahead = control.part(0, fresh.forward)
        back = control.part(1, fresh.backward)._replace(reverse=not control.reverse)
        cf, hf = run(forward, params.forward, carry.forward, xs, ahead)
        cb, hb = run(backward, params.backward, carry.backward, xs, back)
        return BidirectionalCarry(cf, cb), select(control.valid, join(hf, hb), 0)

    cells = (forward, backward)
    name = merge if isinstance(merge, str) else name_of(merge)
    inside = tuple(cell.spec for cell in cells)
    spec = spec_of("bidirectional", cells=inside, merge=name)
    return Cell(
        init=init,
        initial_carry=initial_carry,
        step=step,
        unroll=unroll,
        event_ndim=forward.event_ndim,
        parts=cells,
        spec=spec,
    )


@factory
def with_carries(cell: Cell) -> Cell:
    """The cell with its carry shown at every step: its h is ``(h, carry)``.

    Args:
        cell: any cell; a composition shows the carries of all cells inside. Gated ones
            keep their engine.

    Returns:
        A cell with the params and the carry of `cell`.

    Example:
        >>> import jax, jax.numpy as jnp, jaxrnn
        >>> cell = jaxrnn.with_carries(jaxrnn.lstm(4))
        >>> params = cell.init(jax.random.key(0), features=3)
        >>> last, (hs, carries) = jaxrnn.unroll(cell, params, None, jnp.ones((6, 2, 3)))
        >>> carries.c.shape, bool((carries.c[-1] == last.c).all())
        ((6, 2, 4), True)
    """
    _check_cells("with_carries", cell)

    spec = spec_of("with_carries", cells=(cell.spec,))
    if not composed(cell):
        return _showing(cell)._replace(spec=spec)

    def step(params, carry, x):
        carry, h = cell.step(params, carry, x)
        return carry, (h, carry)

    def unroll(params, carry, xs, control, run):
        def show(inner, params, carry, xs, control):
            if composed(inner):
                return inner.unroll(params, carry, xs, control, show)
            last, (hs, every) = run(_showing(inner), params, carry, xs, control)
            return _Carries(last, every), hs

        seen, hs = show(cell, params, carry, xs, control)
        pick = lambda name: jax.tree.map(
            lambda node: getattr(node, name),
            seen,
            is_leaf=lambda node: isinstance(node, _Carries),
        )
        return pick("last"), (hs, pick("every"))

    return cell._replace(step=step, unroll=unroll, parts=(cell,), spec=spec)


class _Carries(NamedTuple):
    """In place of a cell's carry: the one after its last step, and those of all steps."""

    last: Any
    every: Any


def _showing(cell: Cell) -> Cell:
    """A cell that is no composition, with its carry shown: its h is ``(h, carry)``."""

    def step(params, carry, x):
        carry, h = cell.step(params, carry, x)
        return carry, (h, carry)

    parts: Any = (cell,)
    if isinstance(cell.parts, Gated):
        output = cell.parts.output
        both = lambda params, carry: (output(params, carry), carry)
        parts = cell.parts._replace(output=both)
    return cell._replace(step=step, unroll=None, parts=parts)


class LearnedCarryParams(NamedTuple):
    """Params of `learned_carry`: the cell's, and its initial carry without a batch.

    ``carry`` has None for leaves that are no floats: integers and keys are not learned.
    """

    cell: Any
    carry: Any


@factory
def learned_carry(cell: Cell) -> Cell:
    """The cell with its initial carry as a parameter, to which resets go too.

    Args:
        cell: any cell.

    Returns:
        A cell with params `LearnedCarryParams`; the carry starts as the cell's own. Of
        images a value for each channel is learned. Only floats are: integers and keys
        stay as the cell gives them.

    Example:
        >>> import jax, jax.numpy as jnp, jaxrnn
        >>> cell = jaxrnn.learned_carry(jaxrnn.gru(4))
        >>> params = cell.init(jax.random.key(0), features=3)
        >>> params = params._replace(carry=params.carry + 0.5)
        >>> h = cell.initial_carry(params, jnp.ones((2, 3)))
        >>> h.shape, float(h[1, 0])
        ((2, 4), 0.5)
    """
    _check_cells("learned_carry", cell)

    def init(key, features):
        params = cell.init(key, features)
        x = _row(cell, features)
        carry = cell.initial_carry(params, x)
        # of an image a value for each channel, so that it may have any size
        one = lambda c: c[(0,) * (x.ndim - 1)] if _is_float(c) else None
        return LearnedCarryParams(params, jax.tree.map(one, carry))

    def initial_carry(params, x):
        _check_kind(params, LearnedCarryParams)
        zeros = cell.initial_carry(params.cell, x)

        def one(zero, learned):
            if learned is None or not _is_float(zero):
                return zero
            if zero.shape[zero.ndim - learned.ndim :] != learned.shape:
                raise ValueError(
                    f"params.carry: expected the last axes of {list(zero.shape)}, "
                    f"got {list(learned.shape)}."
                )
            return jnp.zeros_like(zero) + aligned(learned.astype(zero.dtype), zero)

        return jax.tree.map(one, zeros, params.carry)

    def step(params, carry, x):
        _check_kind(params, LearnedCarryParams)
        return cell.step(params.cell, carry, x)

    def unroll(params, carry, xs, control, run):
        return run(cell, params.cell, carry, xs, control)

    return Cell(
        init=init,
        initial_carry=initial_carry,
        step=step,
        unroll=unroll,
        event_ndim=cell.event_ndim,
        parts=(cell,),
        spec=spec_of("learned_carry", cells=(cell.spec,)),
    )


def _row(cell: Cell, features: int) -> jax.ShapeDtypeStruct:
    """The type of one row's x: a vector, or an image of a size that kernels fit into."""
    space = (32,) * ((cell.event_ndim or 1) - 1)
    return jax.ShapeDtypeStruct((*space, features), jnp.zeros(()).dtype)


def _shown(cell: Cell, params: Any, x: Any) -> Any:
    """The type of h for one x: of an unroll of one step, as not every cell steps."""

    def run(params, x):
        xs = jax.tree.map(lambda a: a[None], x)
        carry = cell.initial_carry(params, x)
        _, hs = engine.run(cell, params, carry, xs, Control())
        return jax.tree.map(lambda a: a[0], hs)

    return jax.eval_shape(run, params, x)


def _is_float(a: jax.Array) -> bool:
    return jnp.issubdtype(a.dtype, jnp.inexact)


def _check_cells(name: str, *cells: Any) -> None:
    for cell in cells:
        if isinstance(cell, list | tuple) and not isinstance(cell, Cell):
            raise ValueError(
                f"{name}: expected a jaxrnn.Cell, got a {type(cell).__name__} of "
                f"{len(cell)}. Unpack it: {name}(*cells)."
            )
        if not isinstance(cell, Cell):
            called = " Call it: lstm(hidden=128)." if callable(cell) else ""
            raise ValueError(f"{name}: expected a jaxrnn.Cell, got {cell!r}.{called}")


def _check_kind(params: Any, kind: type) -> None:
    if not isinstance(params, kind):
        raise ValueError(
            f"params: expected {kind.__name__}, got {type(params).__name__}. "
            "Is this another cell's?"
        )
