"""torch's state dicts: ``weight_ih_l0 [G H, F]``, i f g o and r z n, two biases.

torch adds its two biases, except for the GRU's n, where r scales the second one.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from jaxrnn.cell import Cell
from jaxrnn.convert._arrays import array, floating, numpys
from jaxrnn.convert._assemble import assemble, matched, refuse
from jaxrnn.convert._kinds import kinds_of, layout_for
from jaxrnn.convert._packing import put_in, reordered, taken_out
from jaxrnn.convert._refusals import no_bias
from jaxrnn.convert._state_dict import PARTS, explain, grouped, suffix_of
from jaxrnn.convert._walk import check_options, put_together, take_apart


def from_torch(
    state_dict: Mapping[str, Any],
    *,
    prefix: str = "",
    activation: str | Callable = "tanh",
    dtype: Any = None,
) -> tuple[Cell, Any]:
    """The cell and the params of a ``torch.nn`` RNN, LSTM, GRU or one of their cells.

    Names and shapes say the kind, the widths, ``proj_size``, the layers, the directions
    and ``bias=False``.

    Args:
        state_dict: name -> tensor or array, from ``module.state_dict()`` or
            `read_safetensors`.
        prefix: of the names to read, such as ``"encoder.lstm."`` in a whole model.
        activation: of simple RNNs, torch's ``nonlinearity``. A state dict does not
            hold it.
        dtype: of the params; None is the weights' own. ``"float32"`` reads half
            precision without loss.

    Returns:
        ``(cell, params)``: a bare cell for one layer, else a `stack`; params are copies.
        ``b`` is the sum of torch's two biases, made in float64 and rounded once.

    Raises:
        ValueError: for names that belong to no such module, missing layers, shapes that
            do not agree, and numbers that overflow the dtype. For a checkpoint, a
            name's prefix, weight norm, pruning and the like the error gives the code
            that mends it.

    Example:
        >>> import numpy as np, jaxrnn
        >>> from jaxrnn import convert
        >>> state = {"weight_ih_l0": np.ones((12, 3)), "weight_hh_l0": np.ones((12, 4))}
        >>> cell, params = convert.from_torch(state)  # bias=False; three gates: a GRU
        >>> cell, params.wx.shape
        (gru(hidden=4), (3, 12))
    """
    dtype = floating(dtype)
    try:
        layers = [
            tuple(
                _read(cell, prefix, suffix_of(*place), dtype) for place, cell in layer
            )
            for layer in grouped(state_dict, prefix)
        ]
    except ValueError as error:
        raise ValueError(f"{error}{explain(state_dict, prefix)}") from error.__cause__
    return put_together(layers, activation=activation)


def _read(weights: Mapping, prefix: str, suffix: str, dtype: Any) -> Any:
    called = {name: prefix + name + suffix for name in (*PARTS, *weights)}
    biases = [name for name in PARTS[2:] if name in weights]
    _check_parts(weights, called, biases)
    found = {n: array(f"state_dict: {called[n]}", a) for n, a in weights.items()}
    wx, wh = found["weight_ih"].T, found["weight_hh"].T
    terms = [found[name] for name in biases]
    tensors = {n: found[n].T for n in found if n not in PARTS}
    titles = [
        called["weight_ih"],
        called["weight_hh"],
        f"{called['bias_ih']} + {called['bias_hh']}",
    ]
    options: dict[str, Any] = dict(dtype=dtype, titles=titles)
    kinds = kinds_of("torch")
    match = matched("state_dict", wh, tensors, kinds)
    if match is None:
        raise refuse("state_dict", wx, wh, terms, tensors, kinds, **options)
    kind, layout, fields = match
    titles += [called[layout.tensors[field]] for field in fields]
    seconds = kind.second_biases(layout)
    if biases and seconds and terms[1].shape == (kind.width({"wh": wh, **fields}),):
        terms[1], split = taken_out(terms[1], layout.gates, seconds)
        titles += [called["bias_hh"]] * len(split)
        fields |= split
    turn = lambda a: reordered(a, layout.gates, kind.gates)
    options |= dict(among=[kind], **fields)
    return assemble("state_dict", turn(wx), turn(wh), [*map(turn, terms)], **options)


def _check_parts(weights: Mapping, called: Mapping, biases: list) -> None:
    """Raises ValueError unless there are both kernels, and both biases or none."""
    expected = PARTS if biases else PARTS[:2]
    missing = [called[name] for name in expected if name not in weights]
    if not missing:
        return
    zeros = ""
    if len(biases) == 1 and len(missing) == 1:
        other = f"np.zeros_like(state_dict[{called[biases[0]]!r}])"
        zeros = f" If there was none, give state_dict | {{{missing[0]!r}: {other}}}."
    raise ValueError(
        f"state_dict: expected weight_ih, weight_hh and both biases or none, but "
        f"{missing} is missing.{zeros}"
    )


def to_torch(
    cell: Cell, params: Any, *, prefix: str = "", bias: bool = True
) -> dict[str, np.ndarray]:
    """The state dict of the ``torch.nn`` module that computes what the cell does.

    Args:
        cell: `simple_rnn` (tanh or relu), `lstm`, `projected_lstm` or `gru`, a
            `bidirectional` of two alike that are concatenated, or a `stack` of either,
            all of one width.
        params: the cell's.
        prefix: put before every name.
        bias: False for a module with ``bias=False``; biases must then be zero.

    Returns:
        name -> NumPy array. The first of torch's two biases is ``b`` and the second is
        zero, except that the GRU's second bias of n is ``bn``. Load them with
        ``{name: torch.from_numpy(a) for name, a in ...}``. The dtype is the params',
        but float32 for bfloat16, which torch cannot read from NumPy.
        ``load_state_dict`` casts to the module's dtype, and no number changes.

    Raises:
        ValueError: for a cell that torch does not have, with the reason.

    Example:
        >>> import jax, jaxrnn
        >>> from jaxrnn import convert
        >>> cell = jaxrnn.bidirectional(jaxrnn.lstm(4))
        >>> state = convert.to_torch(cell, cell.init(jax.random.key(0), 3))
        >>> state["weight_ih_l0_reverse"].shape
        (16, 3)
    """
    apart = take_apart(cell, params)
    check_options("torch", apart, ("tanh", "relu"), ("concat",))
    every = [p for layer in apart.params for p in layer]
    alike = {(type(p), p.wh.shape, p.b.shape) for p in every}
    ways = {len(layer) for layer in apart.params}
    if len(alike) > 1 or len(ways) > 1 or len(set(apart.activations)) > 1:
        raise ValueError(
            "cell: torch has one kind of cell, one width, one activation and one number "
            f"of directions for all layers, got {cell!r}."
        )
    for p in every:
        if hasattr(p, "wp") and p.wp.shape[0] <= p.wp.shape[1]:
            raise ValueError(
                "cell: torch's proj_size is less than its hidden_size, got "
                f"{list(p.wp.shape)[::-1]} of {cell!r}."
            )
    state = {}
    for number, layer in enumerate(apart.params):
        for p, way in zip(layer, ("", "_reverse"), strict=False):
            if not bias:
                no_bias("torch", p)
            for name, a in _write(p, bias).items():
                state[f"{prefix}{name}_l{number}{way}"] = np.array(numpys(a), order="C")
    return state


def _write(p: Any, bias: bool) -> dict:
    kind, layout = layout_for("torch", p)
    turn = lambda a: reordered(a, kind.gates, layout.gates)
    weights = {"weight_ih": turn(p.wx).T, "weight_hh": turn(p.wh).T}
    weights |= {name: getattr(p, field).T for field, name in layout.tensors.items()}
    if not bias:
        return weights
    second = put_in(p, kind.gates, kind.second_biases(layout))
    return weights | {"bias_ih": turn(p.b), "bias_hh": turn(second)}
