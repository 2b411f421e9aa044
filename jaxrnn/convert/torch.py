"""torch's state dicts: ``weight_ih_l0 [G H, F]``, i f g o and r z n, two biases.

torch adds its two biases, but for the GRU's n, where r scales the second one.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from jaxrnn.cell import Cell
from jaxrnn.cells.gru import GRUParams
from jaxrnn.convert.layers import (
    array,
    assemble,
    no_bias,
    only,
    pack,
    put_together,
    take_apart,
)

NAME = re.compile(r"(weight|bias)_(ih|hh|hr)(?:_l(\d+)(_reverse)?)?")


def from_torch(
    state_dict: Mapping[str, Any],
    *,
    prefix: str = "",
    activation: str | Callable = "tanh",
) -> tuple[Cell, Any]:
    """The cell and the params of a ``torch.nn`` RNN, LSTM, GRU or one of their cells.

    Kind, widths, layers, directions and ``bias=False`` are read off names and shapes.

    Args:
        state_dict: name -> tensor or array, as ``module.state_dict()`` gives it, or
            `read_safetensors`.
        prefix: of the names to read, such as ``"encoder.lstm."`` in a whole model's.
        activation: of simple RNNs, torch's ``nonlinearity``: no state dict tells it.

    Returns:
        ``(cell, params)``: a bare cell for one layer, else a `stack`; params are copies.
        Where torch has two biases, ``b`` is their sum.

    Raises:
        ValueError: for names that belong to no such module, missing layers, shapes that
            do not agree, and ``proj_size``.

    Example:
        >>> import numpy as np, jaxrnn
        >>> from jaxrnn import convert
        >>> state = {"weight_ih_l0": np.ones((12, 3)), "weight_hh_l0": np.ones((12, 4))}
        >>> cell, params = convert.from_torch(state)  # bias=False; three gates: a GRU
        >>> cell, params.wx.shape
        (gru(hidden=4), (3, 12))
    """
    if not isinstance(state_dict, Mapping):
        raise ValueError(
            "state_dict: expected names and tensors, such as module.state_dict(), got "
            f"{type(state_dict).__name__}."
        )
    found: dict[tuple, dict] = {}
    for name, value in state_dict.items():
        if not isinstance(name, str):
            raise ValueError(f"state_dict: expected names, got {name!r}.")
        if not name.startswith(prefix):
            continue
        match = NAME.fullmatch(name.removeprefix(prefix))
        if match is None:
            raise ValueError(
                f"state_dict: expected weight_ih_l0 and so on, got {name!r}. Give the "
                "prefix of one module's names, such as prefix='lstm.'."
            )
        what, which, layer, reverse = match.groups()
        if which == "hr":
            raise ValueError(
                f"state_dict: {name!r} is the projection of an LSTM with proj_size, "
                "and no cell here has one."
            )
        place = (None if layer is None else int(layer), reverse is not None)
        found.setdefault(place, {})[f"{what}_{which}"] = value
    if not found:
        raise ValueError(
            f"state_dict: expected names that begin with {prefix + 'weight_ih'!r}, got "
            f"{sorted(state_dict)}."
        )
    numbers = {layer for layer, _ in found}
    layers = [None] if numbers == {None} else list(range(len(numbers)))
    ways = (False, True) if any(reverse for _, reverse in found) else (False,)
    expected = {(layer, way) for layer in layers for way in ways}
    if set(found) != expected:
        raise ValueError(
            f"state_dict: expected {len(numbers)} layers of {len(ways)} directions "
            f"each, got {sorted(state_dict)}."
        )
    if len({frozenset(weights) for weights in found.values()}) != 1:
        raise ValueError(
            f"state_dict: expected the same names in all layers, got "
            f"{sorted(state_dict)}."
        )
    made = [tuple(_read(found[n, way], n, way) for way in ways) for n in layers]
    return put_together(made, activation=activation)


def _read(weights: Mapping, layer: int | None, reverse: bool) -> Any:
    suffix = "" if layer is None else f"_l{layer}{'_reverse' * reverse}"
    weights = {name: array(name + suffix, value) for name, value in weights.items()}
    names = sorted(weights)
    kernels, biases = ["weight_hh", "weight_ih"], ["bias_hh", "bias_ih"]
    if names not in (kernels, sorted(kernels + biases)):
        raise ValueError(
            f"state_dict: expected weight_ih{suffix}, weight_hh{suffix} and both biases "
            f"or none, got {[name + suffix for name in names]}."
        )
    name = f"state_dict[..{suffix}]"
    wx, wh = weights["weight_ih"].T, weights["weight_hh"].T
    if names == kernels:
        return assemble(name, wx, wh)
    b, recurrent = weights["bias_ih"], weights["bias_hh"]
    if b.shape != recurrent.shape:
        raise ValueError(
            f"{name}: expected biases of one shape, got {list(b.shape)} and "
            f"{list(recurrent.shape)}."
        )
    if wh.ndim == 2 and wh.shape[1] == 3 * wh.shape[0]:
        n = 2 * wh.shape[0]
        return assemble(
            name, wx, wh, np.append(b[:n] + recurrent[:n], b[n:]), recurrent[n:]
        )
    return assemble(name, wx, wh, b + recurrent)


def to_torch(
    cell: Cell, params: Any, *, prefix: str = "", bias: bool = True
) -> dict[str, np.ndarray]:
    """The state dict of the ``torch.nn`` module that computes what the cell does.

    Args:
        cell: `simple_rnn` (tanh or relu), `lstm` or `gru`, a `bidirectional` of two
            alike that are concatenated, or a `stack` of either, all of one width.
        params: the cell's.
        prefix: put before every name.
        bias: False for a module with ``bias=False``; biases must then be zero.

    Returns:
        name -> NumPy array. Of torch's two biases the first is ``b`` and the second
        zero, but for the GRU's n, which has ``bn``. Loaded by
        ``{name: torch.from_numpy(a) for name, a in ...}``.

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
    only("torch", apart, ("tanh", "relu"), ("concat",))
    alike = {(type(p), len(p.wh)) for layer in apart.params for p in layer}
    ways = {len(layer) for layer in apart.params}
    if len(alike) > 1 or len(ways) > 1 or len(set(apart.activations)) > 1:
        raise ValueError(
            "cell: torch has one kind of cell, one width, one activation and one number "
            f"of directions for all layers, got {cell!r}."
        )
    state = {}
    for number, layer in enumerate(apart.params):
        for p, way in zip(layer, ("", "_reverse"), strict=False):
            if not bias:
                no_bias("torch", p)
            for name, a in _write(p, bias).items():
                state[f"{prefix}{name}_l{number}{way}"] = np.array(a, order="C")
    return state


def _write(p: Any, bias: bool) -> dict:
    weights = {"weight_ih": p.wx.T, "weight_hh": p.wh.T}
    if not bias:
        return weights
    second = np.zeros_like(p.b)
    if isinstance(p, GRUParams):
        second = pack(np.zeros_like(p.b[: 2 * len(p.bn)]), p.bn)
    return weights | {"bias_ih": p.b, "bias_hh": second}
