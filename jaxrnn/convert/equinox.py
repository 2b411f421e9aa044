"""Equinox's cells: ``weight_ih [G H, F]``, i f g o and r z n, one bias, and bias_n."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxrnn.cell import Cell
from jaxrnn.convert import _kinds
from jaxrnn.convert._arrays import array, floating, names_of
from jaxrnn.convert._assemble import assemble, matched, refuse
from jaxrnn.convert._foreign import explained
from jaxrnn.convert._kind import Kind, Layout
from jaxrnn.convert._kinds import kind_of, kinds_of, layout_for
from jaxrnn.convert._nesting import nested, unnested
from jaxrnn.convert._packing import reordered
from jaxrnn.convert._refusals import no_bias
from jaxrnn.convert._walk import put_together, take_apart

NAMES = ("weight_ih", "weight_hh", "bias")


def from_equinox(
    cells: Any, *, merge: str | Callable = "concat", dtype: Any = None
) -> tuple[Cell, Any]:
    """The cell and the params of Equinox's LSTMCell or GRUCell.

    Args:
        cells: a cell, or a mapping of its fields; a list with one entry per layer,
            where a pair ``(forward, backward)`` is a bidirectional layer.
        merge: of bidirectional layers.
        dtype: of the params; None is the weights' own. ``"float32"`` reads half
            precision without loss.

    Returns:
        ``(cell, params)``: a bare cell for one layer, else a `stack`; params are copies.

    Raises:
        ValueError: for what has no such fields, shapes that do not agree, or numbers
            that overflow the dtype. For a model around the cells the error says where
            they are.

    Example:
        >>> import numpy as np
        >>> from jaxrnn import convert
        >>> random = np.random.RandomState(0)
        >>> fields = dict(weight_ih=random.randn(16, 3), weight_hh=random.randn(16, 4))
        >>> cell, params = convert.from_equinox(fields)
        >>> cell
        lstm(hidden=4)
    """
    read = partial(_read, dtype=floating(dtype))
    with explained("cells", cells, partial(read, "cells")):
        layers = nested("cells", cells, read)
    return put_together(layers, merge=merge)


def _read(name: str, cell: Any, dtype: Any) -> Any:
    kinds = kinds_of("Equinox")
    found = _fields(name, cell, kinds)
    wx, wh = found["weight_ih"].T, found["weight_hh"].T
    biases = [found["bias"]] if "bias" in found else []
    tensors = {n: a.T for n, a in found.items() if n not in NAMES}
    options: dict[str, Any] = dict(dtype=dtype, titles=(*NAMES, *tensors))
    match = matched(name, wh, tensors, kinds)
    if match is None:
        otherwise = None
        if (lacking := _lacking(wh)) is not None:
            kinds = [*kinds, (lacking, Layout("", ""))]
            otherwise = (
                f"{name}: expected 3 or 4 gates, got weight_hh {list(wh.T.shape)}. "
                f"Equinox has no {lacking.title}."
            )
        raise refuse(name, wx, wh, biases, tensors, kinds, otherwise, **options)
    kind, layout, fields = match
    turn = lambda a: reordered(a, layout.gates, kind.gates)
    options |= dict(among=[kind], **fields)
    return assemble(name, turn(wx), turn(wh), [*map(turn, biases)], **options)


def _fields(name: str, cell: Any, kinds: list) -> dict[str, np.ndarray]:
    """The arrays of a cell, or of a mapping, by their names."""
    more = list(dict.fromkeys(n for _, one in kinds for n in one.tensors.values()))
    if isinstance(cell, Mapping):
        found = names_of(name, cell, NAMES[:2], (NAMES[2], *more))
    else:
        found = {n: getattr(cell, n, None) for n in (*NAMES, *more)}
    if any(found.get(n) is None for n in NAMES[:2]):
        raise ValueError(
            f"{name}: expected an Equinox LSTMCell or GRUCell, or its fields weight_ih, "
            f"weight_hh, bias and bias_n, got {type(cell).__name__}."
        )
    found = {n: found.get(n) for n in (*NAMES, *more)}
    return {n: array(f"{name}: {n}", a) for n, a in found.items() if a is not None}


def _lacking(wh: np.ndarray) -> Kind | None:
    """A kind that has this recurrent kernel, and that Equinox does not have."""
    fits = (k for k in _kinds.KINDS if "Equinox" not in k.layouts and k.fits(wh, {}))
    return next(fits, None)


def to_equinox(cell: Cell, params: Any, *, bias: bool = True) -> Any:
    """The fields of the Equinox cells that compute what the cell does.

    Args:
        cell: `lstm` or `gru`, a `bidirectional` of two such, or a `stack` of either.
        params: the cell's.
        bias: False for cells with ``use_bias=False``; biases must then be zero.

    Returns:
        field -> NumPy array, to be put in place by ``eqx.tree_at``; a pair of such for
        a bidirectional layer; for two layers or more a list. The dtype is the params'.
        bfloat16 comes as JAX arrays: Equinox's filters do not know NumPy's as floats,
        and ``eqx.filter_grad`` would pass over them.

    Raises:
        ValueError: for a cell that Equinox does not have, with the reason.

    Example:
        >>> import jax, jaxrnn
        >>> from jaxrnn import convert
        >>> cell = jaxrnn.gru(4)
        >>> fields = convert.to_equinox(cell, cell.init(jax.random.key(0), 3))
        >>> {name: a.shape for name, a in fields.items()}
        {'weight_ih': (12, 3), 'weight_hh': (12, 4), 'bias': (12,), 'bias_n': (4,)}
    """

    def write(p):
        kind = kind_of(p)
        if kind is not None and "Equinox" not in kind.layouts:
            raise ValueError(f"cell: Equinox has no {kind.title}, got {cell!r}.")
        kind, layout = layout_for("Equinox", p)
        turn = lambda a: reordered(a, kind.gates, layout.gates)
        fields = {"weight_ih": turn(p.wx).T, "weight_hh": turn(p.wh).T}
        biases = {"bias": turn(p.b)}
        for field, tensor in layout.tensors.items():
            where = fields if kind.fields[field].gate is None else biases
            where[tensor] = getattr(p, field).T
        if not bias:
            no_bias("Equinox", p)
        else:
            fields |= biases
        return {name: _known(np.array(a, order="C")) for name, a in fields.items()}

    return unnested(take_apart(cell, params).params, write)


def _known(a: np.ndarray) -> Any:
    return a if np.issubdtype(a.dtype, np.floating) else jnp.asarray(a)
