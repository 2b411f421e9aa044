"""Equinox's cells: ``weight_ih [G H, F]``, i f g o and r z n, one bias, and bias_n."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxrnn.cell import Cell
from jaxrnn.convert._arrays import array, floating, names_of
from jaxrnn.convert._foreign import explained
from jaxrnn.convert._kinds import assemble, kind_of
from jaxrnn.convert._walk import nested, no_bias, put_together, take_apart, unnested

# Kinds by their names in `jaxrnn.convert._kinds.KINDS`; one of them has a bias_n.
HAS = ("gru", "lstm")
FIELDS = ("weight_ih", "weight_hh", "bias", "bias_n")


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
    if isinstance(cell, Mapping):
        fields = names_of(name, cell, FIELDS[:2], FIELDS[2:])
        have = {name: fields.get(name) for name in FIELDS}
    else:
        have = {name: getattr(cell, name, None) for name in FIELDS}
    if have["weight_ih"] is None or have["weight_hh"] is None:
        raise ValueError(
            f"{name}: expected an Equinox LSTMCell or GRUCell, or its fields weight_ih, "
            f"weight_hh, bias and bias_n, got {type(cell).__name__}."
        )
    wx, wh = (array(f"{name}: {n}", have[n]).T for n in FIELDS[:2])
    biases = [] if have["bias"] is None else [have["bias"]]
    options = dict(dtype=dtype, titles=FIELDS, among=("simple_rnn", *HAS))
    options |= dict(bn=have["bias_n"])
    params = assemble(name, wx, wh, biases, **options)
    if kind_of(params).name not in HAS:
        raise ValueError(
            f"{name}: expected 3 or 4 gates, got weight_hh {list(wh.T.shape)}. Equinox "
            "has no simple RNN."
        )
    return params


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
        if kind.name not in HAS:
            title = kind.name.replace("_", " ").replace("rnn", "RNN")
            raise ValueError(f"cell: Equinox has no {title}, got {cell!r}.")
        fields = {"weight_ih": p.wx.T, "weight_hh": p.wh.T}
        if not bias:
            no_bias("Equinox", p)
        else:
            fields["bias"] = p.b
            if "bn" in kind.fields:
                fields["bias_n"] = p.bn
        return {name: _known(np.array(a, order="C")) for name, a in fields.items()}

    return unnested(take_apart(cell, params).params, write)


def _known(a: np.ndarray) -> Any:
    return a if np.issubdtype(a.dtype, np.floating) else jnp.asarray(a)
