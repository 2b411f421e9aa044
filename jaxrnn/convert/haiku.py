"""Haiku's params: one matrix on ``[x, h]``, i g f o, and 1 added to f at run time.

Here that 1 is part of the forget bias: `from_haiku` adds it and `to_haiku` subtracts it.
Haiku's VanillaRNN uses relu and has two biases, which are added. Its GRU resets before the
matmul, and its z opens what ours keeps, so that gate's weights change sign.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from jaxrnn.cell import Cell
from jaxrnn.convert._arrays import floating
from jaxrnn.convert._foreign import explained
from jaxrnn.convert._haiku_cells import named, read_module, stem_of, write_module
from jaxrnn.convert._kinds import kinds_of
from jaxrnn.convert._walk import check_convolutions, put_together, take_apart


def from_haiku(
    params: Mapping[str, Mapping],
    *,
    names: Sequence[str] | None = None,
    bidirectional: bool = False,
    merge: str | Callable = "concat",
    dtype: Any = None,
) -> tuple[Cell, Any]:
    """The cell and the params of Haiku's LSTM, GRU, VanillaRNN or ConvLSTM modules.

    Args:
        params: module name -> name -> array, as ``init`` returns them.
        names: the modules' names in the order of the layers, such as
            ``("lstm", "lstm_1")``. None is all modules, in the order of their numbers,
            if they are called lstm, gru, vanilla_rnn or conv2_dlstm. Another kind of
            network with these names and shapes would be read as one of them.
        bidirectional: whether forward and backward modules alternate.
        merge: of bidirectional layers.
        dtype: of the params; None is the weights' own. ``"float32"`` reads half
            precision without loss.

    Returns:
        ``(cell, params)``: a bare cell for one layer, else a `stack`; params are copies.
        Sums (Haiku's 1 on the forget bias, a VanillaRNN's two biases) are made in
        float64 and rounded once. A VanillaRNN is ``simple_rnn(..., activation="relu")``,
        a GRU ``gru(..., reset_after=False)``.

    Raises:
        ValueError: for modules that are none of these, for shapes that do not agree,
            and for numbers that overflow the dtype. For a training state the error
            says where the params are.

    Example:
        >>> import numpy as np
        >>> from jaxrnn import convert
        >>> random = np.random.RandomState(0)
        >>> linear = {"w": random.randn(3 + 4, 16), "b": np.zeros(16)}
        >>> cell, params = convert.from_haiku({"lstm/linear": linear})
        >>> cell, params.b[4:8].tolist()  # Haiku's +1
        (lstm(hidden=4), [1.0, 1.0, 1.0, 1.0])
    """
    read = partial(
        _layers, names=names, bidirectional=bidirectional, dtype=floating(dtype)
    )
    with explained("params", params, _network):
        layers = read(params)
    return put_together(layers, activation="relu", merge=merge)


def _modules(params: Any) -> dict[str, dict]:
    """Module name -> part -> its weights."""
    if not isinstance(params, Mapping) or not all(isinstance(n, str) for n in params):
        raise ValueError(
            "params: expected module names and their params, got "
            f"{type(params).__name__}."
        )
    modules: dict[str, dict] = {}
    for name, weights in params.items():
        module, _, part = name.rpartition("/")
        if not module or (isinstance(weights, Mapping) and "w_i" in weights):
            module, part = name, ""  # a GRU, or a module that is not recurrent
        modules.setdefault(module, {})[part] = weights
    return modules


def _layers(params: Any, *, names: Any, bidirectional: bool, dtype: Any) -> list:
    modules = _modules(params)
    if names is None:
        stems = {stem_of(module) for module in modules}
        known = {stem.rpartition("/")[2] for stem in stems} <= _stems()
        if len(stems) != 1 or not known:
            recurrent = tuple(sorted(filter(_is_recurrent, modules), key=_number))
            such = f", such as names={recurrent}" if recurrent else ""
            raise ValueError(
                f"params: expected modules of one name, lstm, gru or vanilla_rnn, got "
                f"{sorted(modules)}. Give names= in the order of the layers{such}."
            )
        names = sorted(modules, key=_number)
    if len(set(names)) != len(names):
        raise ValueError(f"names: expected each once, got {list(names)}.")
    for name in names:
        if name not in modules:
            raise ValueError(
                f"names: expected some of {sorted(modules)}, got {name!r}."
            )
    made = [read_module(name, modules[name], dtype) for name in names]
    if bidirectional and len(made) % 2:
        raise ValueError(
            "bidirectional: expected an even number of modules, forward and backward "
            f"alternating, got {list(names)}."
        )
    ways = 2 if bidirectional else 1
    return [tuple(made[n : n + ways]) for n in range(0, len(made), ways)]


def _network(part: Any) -> bool:
    return any(map(_is_recurrent, _modules(part)))


def _is_recurrent(module: str) -> bool:
    return stem_of(module).rpartition("/")[2] in _stems()


def _stems() -> set[str]:
    """What Haiku calls modules, before it numbers them."""
    return {layout.cell for _, layout in kinds_of("Haiku")}


def _number(module: str) -> int:
    match = re.search(r"_(\d+)$", module)
    return int(match[1]) if match else 0


def to_haiku(
    cell: Cell,
    params: Any,
    *,
    names: Sequence[str] | None = None,
    double_bias: bool = True,
) -> dict[str, dict]:
    """The params of the Haiku modules that compute what the cell does.

    Args:
        cell: `lstm`, `gru` with ``reset_after=False``, `conv_lstm`, a `simple_rnn` with
            relu, a `bidirectional` of two such, or a `stack` of either.
        params: the cell's.
        names: the modules' names in the order of the layers, forward and backward
            alternating. None is Haiku's own names: ``lstm``, ``lstm_1`` and so on.
        double_bias: a VanillaRNN's option of that name.

    Returns:
        module name -> name -> NumPy array of the params' dtype, bfloat16 too.

    Raises:
        ValueError: for a cell that Haiku does not have, with the reason.

    Example:
        >>> import jax, jaxrnn
        >>> from jaxrnn import convert
        >>> cell = jaxrnn.stack(jaxrnn.lstm(4), jaxrnn.lstm(5))
        >>> tree = convert.to_haiku(cell, cell.init(jax.random.key(0), 3))
        >>> {name: linear["w"].shape for name, linear in tree.items()}
        {'lstm/linear': (7, 16), 'lstm_1/linear': (9, 20)}
    """
    apart = take_apart(cell, params)
    check_convolutions("Haiku", cell, apart, own=False)
    if any(activation != "relu" for activation in apart.activations):
        raise ValueError(f"cell: Haiku's VanillaRNN is relu alone, got {cell!r}.")
    flat = [p for layer in apart.params for p in layer]
    if names is None:
        stems = [named(p) for p in flat]
        count = [stems[:n].count(stem) for n, stem in enumerate(stems)]
        names = [f"{s}_{n}" if n else s for s, n in zip(stems, count, strict=True)]
    if len(names) != len(flat) or len(set(names)) != len(flat):
        raise ValueError(
            f"names: expected {len(flat)} different ones, got {list(names)}."
        )
    tree = {}
    for name, p in zip(names, flat, strict=True):
        for part, weights in write_module(p, double_bias).items():
            tree[f"{name}/{part}" if part else name] = weights
    return tree
